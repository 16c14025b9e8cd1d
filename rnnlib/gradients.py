"""How gradients travel through time: products of Jacobians, gradients by lag, truncation (built in chapter 3).

Everything here measures; nothing trains. Give it float64: over a hundred steps norms fall below what float32 can hold.
"""

import torch
import torch.nn.functional as F

from rnnlib.scratch import check_sizes, detach


def linear_unit(a):
    """Return the activation a itself and its slope, which is 1 everywhere."""
    return a, torch.ones_like(a)


def tanh_unit(a):
    """Return the activation tanh(a) and its slope, 1 - tanh(a)^2."""
    h = torch.tanh(a)
    return h, 1 - h**2


def relu_unit(a):
    """Return the activation max(a, 0) and its slope, 1 where a > 0 and 0 elsewhere."""
    return torch.relu(a), (a > 0).to(a.dtype)


def gaussian_matrix(num_hiddens, radius, generator=None):
    """Draw normal numbers, (H, H) in float64, scaled to a spectral radius, the largest modulus of an eigenvalue."""
    W = torch.randn(num_hiddens, num_hiddens, generator=generator, dtype=torch.float64)
    return W * radius / torch.linalg.eigvals(W).abs().max()


def orthogonal_matrix(num_hiddens, scale, generator=None):
    """Draw an orthogonal matrix times a scale, which is the modulus of every eigenvalue and every singular value.

    All orthogonal matrices are equally likely (Mezzadri, 2007). (H, H) in float64.
    """
    W = torch.randn(num_hiddens, num_hiddens, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(W)
    return scale * Q * R.diagonal().sign()  # so that all are equally likely


def shift_matrix(num_hiddens, scale, generator=None):
    """Return the matrix that hands each unit's value, times a scale, to the next unit; (H, H) in float64.

    It is nilpotent: all eigenvalues are 0, and H steps empty it. Nothing is drawn; ``generator`` is there so that the
    three matrices are called alike.
    """
    return scale * torch.diag(torch.ones(num_hiddens - 1, dtype=torch.float64), 1)


def jacobian_products(W_hh, drive, h, activation=tanh_unit):
    """Run one sequence and return how each state depends on the first: P_t = P_{t-1} W_hh diag(slope_t).

    Args:
        W_hh: (H, H).
        drive: what the input adds at each step, X_t W_xh + b_h, (T, H).
        h: the first state, (H,).
        activation: a -> (value, slope), such as :func:`tanh_unit`.

    Returns:
        products (T, H, H): entry [t, i, j] is dh_{t+1}[j] / dh_0[i], for row vectors h_t = phi(drive_t + h_{t-1} W_hh).
        slopes (T, H): the slope of every unit at every step.
    """
    P, products, slopes = torch.eye(len(W_hh), dtype=W_hh.dtype), [], []
    for x in drive:  # x: (H,)
        h, slope = activation(x + h @ W_hh)  # (H,), (H,)
        P = (P @ W_hh) * slope  # (H, H): column j times the slope of unit j
        products.append(P)
        slopes.append(slope)
    return torch.stack(products), torch.stack(slopes)


def gradient_by_lag(run, drive):
    """Return how strongly the last state depends on what came in k steps earlier, for k = 0 .. T - 1.

    Args:
        run: a function from the drive to the last state, (T, N, H) -> (N, H).
        drive: what the input adds at each step, (T, N, H).

    Returns:
        The norm of d(sum of the last state / sqrt(H)) / d(drive at lag k), averaged over the N rows, (T,).
    """
    drive = drive.detach().requires_grad_()
    last = run(drive)  # (N, H)
    (gradient,) = torch.autograd.grad(last.sum() / last.shape[-1] ** 0.5, drive)
    return gradient.norm(dim=-1).mean(dim=-1).flip(0)  # (T,), lag 0 first


def truncated_gradient(model, X, Y, num_steps):
    """Read a minibatch in windows: the state is carried from window to window, its gradient is not.

    Args:
        model: ``logits, state = model(ids, state)``.
        X, Y: ids and targets, (N, T).
        num_steps: steps in a window; T or more gives the full gradient.

    Returns:
        The mean loss over all N * T tokens, and its truncated gradient: all parameters laid end to end.

    Raises:
        ValueError: if num_steps is not a whole number of at least 1.
    """
    check_sizes(num_steps=num_steps)
    params, state, total = list(model.parameters()), model.begin_state(len(X)), 0.0
    gradient = torch.cat([torch.zeros_like(p).flatten() for p in params])
    for x, y in zip(X.split(num_steps, dim=1), Y.split(num_steps, dim=1), strict=True):
        logits, state = model(x, detach(state))
        loss = F.cross_entropy(logits, y.T.reshape(-1), reduction="sum") / Y.numel()
        gradient += torch.cat([g.flatten() for g in torch.autograd.grad(loss, params)])
        total += float(loss.detach())
    return total, gradient


def saved_bytes(forward, params=()):
    """Return how many bytes a forward computation stores for its backward pass, each tensor counted once.

    Args:
        forward: a function without arguments.
        params: tensors that stay in memory anyway, and are not counted.
    """
    stored, kept = {}, {p.untyped_storage().data_ptr() for p in params}

    def remember(tensor):
        if tensor.untyped_storage().data_ptr() not in kept:
            size = tensor.numel() * tensor.element_size()
            stored[tensor.data_ptr(), tensor.shape] = size
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        # The result keeps the graph, and so the addresses, alive until all are counted.
        result = forward()
    del result
    return sum(stored.values())
