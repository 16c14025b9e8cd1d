"""Gradients through time: by hand, clipped, cut, and measured (chapter 3).

What measures wants float64: over a hundred steps norms fall below what float32 can
hold.
"""

import torch
import torch.nn.functional as F

from rnnlib import guards


def detach(state):
    """Cut a state, a tensor or a tuple of states, off its graph, keeping its values."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(detach(part) for part in state)


def clip_gradients(params, theta):
    """Scale all gradients by min(1, theta / norm), so that their norm is at most theta.

    The norm is that of all laid end to end (Pascanu, Mikolov and Bengio, 2013), so the
    step keeps its direction. Returns the norm before, a tensor without dimensions.
    """
    guards.check_clipping(params, theta)
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    guards.check_finite(norm)
    # The 1e-6 is there for a norm of 0, as in PyTorch.
    scale = torch.clamp(theta / (norm + 1e-6), max=1.0)
    for g in grads:
        g.mul_(scale)
    return norm


def cross_entropy(logits, targets):
    """Return the mean cross-entropy and its gradient: (softmax - one-hot) / rows.

    logits: (rows, V); targets: ids (rows,). The gradient is with respect to the logits.
    """
    guards.check_entropy(logits, targets)
    log_p = torch.log_softmax(logits, dim=1)  # (rows, V)
    chosen = F.one_hot(targets, logits.shape[1])  # (rows, V)
    loss = -(log_p * chosen).sum() / len(targets)
    return loss, (log_p.exp() - chosen) / len(targets)


def squared_error(outputs, targets):
    """Return the mean squared error and its gradient: 2 (outputs - targets) / numbers.

    outputs, targets: real numbers (rows, Q). The gradient is with respect to the
    outputs.
    """
    guards.check_shapes("outputs (R, Q), targets (R, Q)", outputs, targets)
    error = outputs - targets  # (rows, Q)
    return (error**2).mean(), 2 * error / error.numel()


@torch.no_grad()
def bptt(inputs, targets, H, params, loss=cross_entropy):
    """Return the loss of :func:`rnnlib.scratch.rnn`, its gradients, that of H (N, H).

    D_t = (dO_t W_hq^T + D_{t+1} W_hh^T) * (1 - H_t^2), D_{T+1} = 0, before the tanh;
    every weight gathers what it did at all steps (Werbos, 1990). inputs: (T, N, V);
    targets, time first: ids (T * N,) or real numbers (T * N, Q), as the loss takes
    them.
    """
    guards.check_bptt(inputs, H, params, loss)
    W_xh, W_hh, b_h, W_hq, b_q = params
    states = [H]
    for X in inputs:  # forward: X (N, V)
        states.append(torch.tanh(X @ W_xh + states[-1] @ W_hh + b_h))  # (N, H)
    before, after = torch.stack(states[:-1]), torch.stack(states[1:])  # (T, N, H) each
    value, dO = loss(after.flatten(0, 1) @ W_hq + b_q, targets)  # dO: (T * N, Q)
    D, dH = (dO @ W_hq.T).reshape(after.shape), torch.zeros_like(H)  # (T, N, H), (N, H)
    for t in reversed(range(len(inputs))):  # backward
        D[t] = (D[t] + dH) * (1 - after[t] ** 2)  # (N, H)
        dH = D[t] @ W_hh.T  # (N, H)
    inputs, before, after, D = (M.flatten(0, 1) for M in (inputs, before, after, D))
    # One product of stacked time steps, (T * N, ...), for each sum over time:
    grads = [inputs.T @ D, before.T @ D, D.sum(0), after.T @ dO, dO.sum(0)]
    return value, grads, dH


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
    """Draw normal numbers, (H, H) in float64, scaled to a spectral radius.

    That is the largest modulus of an eigenvalue.
    """
    guards.check_draw(num_hiddens, generator, radius=radius)
    W = torch.randn(num_hiddens, num_hiddens, generator=generator, dtype=torch.float64)
    return W * radius / torch.linalg.eigvals(W).abs().max()


def orthogonal_matrix(num_hiddens, scale, generator=None):
    """Draw an orthogonal matrix times a scale, (H, H) in float64 (Mezzadri, 2007).

    The scale is the modulus of every eigenvalue and every singular value.
    """
    guards.check_draw(num_hiddens, generator, scale=scale)
    W = torch.randn(num_hiddens, num_hiddens, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(W)
    return scale * Q * R.diagonal().sign()  # so that all are equally likely


def shift_matrix(num_hiddens, scale, generator=None):
    """Return the (H, H) matrix in float64 that hands each unit's value on to the next.

    It is nilpotent: all eigenvalues are 0, and H steps empty it. Nothing is drawn;
    ``generator`` is there so that the three matrices are called alike.
    """
    guards.check_draw(num_hiddens, generator, scale=scale)
    return scale * torch.diag(torch.ones(num_hiddens - 1, dtype=torch.float64), 1)


def jacobian_products(W_hh, drive, h, activation=tanh_unit):
    """Return P_t = P_{t-1} W_hh diag(slope_t) of one sequence, and the slopes (T, H).

    drive: X_t W_xh + b_h, (T, H); h: the first state (H,); activation: a -> (value,
    slope). Entry [t, i, j] of the products (T, H, H) is dh_{t+1}[j] / dh_0[i].
    """
    guards.check_drive(W_hh, drive, h, activation)
    P, products, slopes = torch.eye(len(W_hh), dtype=W_hh.dtype), [], []
    for x in drive:  # x: (H,)
        h, slope = activation(x + h @ W_hh)  # (H,), (H,)
        P = (P @ W_hh) * slope  # (H, H): column j times the slope of unit j
        products.append(P)
        slopes.append(slope)
    return torch.stack(products), torch.stack(slopes)


def gradient_by_lag(run, drive):
    """Return how the last state depends on what came in k steps earlier, (T,).

    run: from a drive (T, N, H) to the last state (N, H). It is the norm of d(sum of the
    last state / sqrt(H)) / d(drive at lag k), the mean over N rows.
    """
    guards.check_run(run, drive)
    drive = drive.detach().requires_grad_()
    last = run(drive)  # (N, H)
    (gradient,) = torch.autograd.grad(last.sum() / last.shape[-1] ** 0.5, drive)
    return gradient.norm(dim=-1).mean(dim=-1).flip(0)  # (T,), lag 0 first


def truncated_gradient(model, X, Y, num_steps):
    """Read X, Y (N, T) in windows: the state is carried, its gradient is not.

    Returns the mean loss over all targets (one of -100 counts for nothing) and its
    gradient, all parameters laid end to end; ``num_steps`` of T or more give the full
    one.
    """
    guards.check_truncation(model, X, Y, num_steps)
    params, state, total = list(model.parameters()), model.begin_state(len(X)), 0.0
    gradient = torch.cat([torch.zeros_like(p).flatten() for p in params])
    num_targets = (Y != -100).sum()
    for x, y in zip(X.split(num_steps, dim=1), Y.split(num_steps, dim=1), strict=True):
        logits, state = model(x, detach(state))
        loss = F.cross_entropy(logits, y.T.reshape(-1), reduction="sum") / num_targets
        gradient += torch.cat([g.flatten() for g in torch.autograd.grad(loss, params)])
        total += loss.detach()
    return float(total), gradient


def backward_bytes(forward, params=()):
    """Return how many bytes ``forward()`` stores for its backward pass.

    Each tensor counts once; ``params``, which stay in memory anyway, don't count.
    """
    guards.check_saving(forward, params)
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
