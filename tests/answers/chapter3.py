"""Answers to the exercises of chapter 3."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import check
from rnnlib.gradients import gaussian_matrix, orthogonal_matrix

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items() if exercise.chapter == 3}


def in_single(name):
    """Return the solution computed in float32."""

    def answer(*arguments):
        return SOLUTIONS[name](*(a.float() if isinstance(a, torch.Tensor) else a for a in arguments))

    return answer


def laid(grads):
    """Return all gradients end to end."""
    return torch.cat([g.flatten() for g in grads])


def scaled(factor_of):
    """Return an answer that multiplies all gradients by one factor."""
    return lambda grads, theta: [factor_of(laid(grads), theta) * g for g in grads]


def clipped_at_once(grads, theta):
    everything = laid(grads)
    everything = everything * (theta / (everything.norm() + 1e-6)).clamp(max=1)
    parts = everything.split([g.numel() for g in grads])
    return tuple(part.view_as(g) for part, g in zip(parts, grads, strict=True))


def clipped_by_library(grads, theta):
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in grads]
    for parameter, g in zip(parameters, grads, strict=True):
        parameter.grad = g.clone()
    nn.utils.clip_grad_norm_(parameters, theta)
    return [parameter.grad for parameter in parameters]


def clipped_in_a_loop(grads, theta):
    total = 0.0
    for g in grads:
        for value in g.flatten().tolist():
            total += value * value
    if total <= theta**2:
        return [g.clone() for g in grads]
    return [g * theta / total**0.5 for g in grads]


def clipped_by_einsum(grads, theta):
    square = sum(torch.einsum("i,i->", g.flatten(), g.flatten()) for g in grads)
    return [g * np.float64(min(1.0, theta / (square.sqrt().item() + 1e-6))) for g in grads]


def clipped_in_place(grads, theta):
    factor = min(1.0, theta / (laid(grads).norm() + 1e-6))
    return [g.mul_(factor) for g in grads]


def clip_each(size):
    """Return an answer that clips each tensor by a size of its own."""
    return lambda grads, theta: [g if size(g) <= theta else g * theta / size(g) for g in grads]


CLIP_BY_NORM = {
    "solution": (SOLUTIONS["clip_by_norm"], "Right"),
    "at once, a tuple": (clipped_at_once, "Right"),
    "library": (clipped_by_library, "Right"),
    "loop": (clipped_in_a_loop, "Right"),
    "einsum, NumPy scalars": (clipped_by_einsum, "Right"),
    "float32": (lambda grads, theta: clipped_at_once([g.float() for g in grads], theta), "Right"),
    "per tensor": (clip_each(torch.norm), "clips every tensor by its own norm"),
    "by value": (lambda grads, theta: [g.minimum(g * 0 + theta).maximum(g * 0 - theta) for g in grads], "by itself"),
    "always": (scaled(lambda g, theta: theta / (g.norm() + 1e-6)), "the factor is at most 1"),
    "squared": (scaled(lambda g, theta: min(1, theta / g.dot(g))), "divides by the squared norm"),
    "norms added": (
        lambda grads, theta: [g * min(1, theta / float(sum(h.norm() for h in grads))) for g in grads],
        "adds the norms of the tensors",
    ),
    "in place": (clipped_in_place, "the gradients that were handed in have changed"),
    "a norm of zero": (scaled(lambda g, theta: (theta / g.norm()).clamp(max=1) if g.any() else 0 / g.norm()), "zeros"),
    "never": (lambda grads, theta: [g.clone() for g in grads], "clipping at θ=1 should be"),
    "θ ignored": (scaled(lambda g, theta: (1 / (g.norm() + 1e-6)).clamp(max=1)), "clipping at θ="),
    "largest value": (scaled(lambda g, theta: (theta / g.abs().max()).clamp(max=1)), "clipping at θ=1 should be"),
    "one tensor": (lambda grads, theta: laid(clipped_at_once(grads, theta)), "a list of 2 tensors"),
    "the first alone": (lambda grads, theta: clipped_at_once(grads, theta)[:1], "a list of 2 tensors"),
    "flat": (lambda grads, theta: [g.flatten() for g in clipped_at_once(grads, theta)], "a clipped gradient should"),
    "the norm": (lambda grads, theta: float(laid(grads).norm()), "a list of 2 tensors"),
}


def gradient_in_numpy(states, D):
    return torch.from_numpy(np.tensordot(states.numpy()[:-1], D.numpy(), axes=([0, 1], [0, 1])))


def gradient_in_loops(states, D):
    found = torch.zeros(states.shape[2], states.shape[2], dtype=D.dtype)
    for t in range(len(D)):
        for n in range(D.shape[1]):
            found += torch.outer(states[t, n], D[t, n])
    return found


def gradient_by_autograd(states, D):
    W_hh = torch.zeros(states.shape[2], states.shape[2], dtype=D.dtype, requires_grad=True)
    (found,) = torch.autograd.grad(((states[:-1] @ W_hh) * D).sum(), W_hh)
    return found


RECURRENT_GRADIENT = {
    "solution": (SOLUTIONS["recurrent_gradient"], "Right"),
    "zip": (lambda states, D: sum(H.T @ D_t for H, D_t in zip(states[:-1], D, strict=True)), "Right"),
    "bmm": (lambda states, D: (states[:-1].transpose(1, 2) @ D).sum(0), "Right"),
    "einsum": (lambda states, D: torch.einsum("tnj,tnk->jk", states[: len(D)], D), "Right"),
    "NumPy": (gradient_in_numpy, "Right"),
    "loops": (gradient_in_loops, "Right"),
    "autograd": (gradient_by_autograd, "Right"),
    "float32": (in_single("recurrent_gradient"), "Right"),
    "states after": (lambda states, D: (states[1:].transpose(1, 2) @ D).sum(0), "the state before it, states[t]"),
    "last step": (lambda states, D: states[len(D) - 1].T @ D[-1], "has the last step alone"),
    "first step": (lambda states, D: (states[:1].mT @ D[:1])[0], "has the first step alone"),
    "transposed": (lambda states, D: (D.mT @ states[:-1]).sum(0), "is transposed"),
    "mean over steps": (lambda states, D: (states[:-1].mT @ D).mean(0), "the gradient is their sum"),
    "mean over all": (lambda states, D: (states[:-1].mT @ D).mean(0) / D.shape[1], "so only add"),
    "sums multiplied": (
        lambda states, D: states[:-1].sum(0).sum(0)[:, None] * D.sum(0).sum(0),
        "sums the states and D before it multiplies",
    ),
    "not summed": (lambda states, D: states[:-1].mT @ D, "should have shape (2, 2), but (3, 2, 2) came"),
    "one more": (lambda states, D: states.flatten(0, 1)[-len(D) * D.shape[1] :].T @ D.flatten(0, 1), "state before"),
    "D forgotten": (lambda states, D: (states[:-1].mT @ states[1:]).sum(0), "the gradient for T=3, N=2 should"),
    "minus": (lambda states, D: -(states[:-1].mT @ D).sum(0), "the gradient for"),
    "nothing": (lambda states, D: None, "did you forget `return`"),
}


def stretch(W_hh):
    """Return the largest singular value by power iteration."""
    v = torch.ones(len(W_hh), dtype=W_hh.dtype) + torch.arange(len(W_hh)) / 7
    for _ in range(2000):
        v = F.normalize(W_hh.T @ (W_hh @ v), dim=0)
    return (W_hh @ v).norm()


SURELY_VANISHES = {
    "solution": (SOLUTIONS["surely_vanishes"], "Right"),
    "NumPy": (lambda W, s: np.linalg.norm(W.numpy(), 2) * s < 1, "Right"),
    "singular values": (lambda W, s: all((x * s < 1).item() for x in torch.linalg.svdvals(W)), "Right"),
    "float32": (in_single("surely_vanishes"), "Right"),
    "a tensor": (lambda W, s: torch.linalg.matrix_norm(W, 2) * s < 1, "Right"),
    "an array": (lambda W, s: np.asarray(np.linalg.svd(W.numpy())[1][0] * s < 1), "Right"),
    "power iteration": (lambda W, s: bool(stretch(W) * s < 1 - 1e-9), "Right"),
    "eigenvalues of W'W": (lambda W, s: bool(torch.linalg.eigvalsh(W.T @ W)[-1] * s**2 < 1 - 1e-9), "Right"),
    "eigenvalues": (lambda W, s: bool(max(abs(np.linalg.eigvals(W.numpy()))) * s < 1), "goes by the eigenvalues"),
    "Frobenius": (lambda W, s: bool(W.square().sum().sqrt() * s < 1), "larger than the largest singular value"),
    "smallest": (lambda W, s: bool(torch.linalg.svdvals(W)[-1] * s < 1), "goes by the smallest singular value"),
    "divided": (lambda W, s: bool(torch.linalg.svdvals(W)[0] / s < 1), "divides by the slope"),
    "no slope": (lambda W, s: bool(torch.linalg.svdvals(W)[0] < 1), "leaves the slope out"),
    "at most 1": (lambda W, s: bool(torch.linalg.svdvals(W)[0] * s <= 1 + 1e-12), "a product of exactly 1"),
    "explodes": (lambda W, s: bool(torch.linalg.svdvals(W)[0] * s > 1), "asked is what is sure to vanish"),
    "slope alone": (lambda W, s: s < 1, "the answer should be"),
    "always": (lambda W, s: True, "the answer should be False"),
    "a number": (lambda W, s: int(torch.linalg.svdvals(W)[0] * s < 1), "should be True or False, but an int came"),
    "the bound": (lambda W, s: torch.linalg.svdvals(W)[0] * s, "should be True or False, but a Tensor came"),
    "one for each": (lambda W, s: torch.linalg.svdvals(W) * s < 1, "should be True or False, but a Tensor came"),
}


def recursion(dH_out, states, W_hh, at_step=lambda output, future, slope: (output + future) * slope, back=None):
    """Go back through the steps with a rule for D[t] and a matrix for the way back."""
    found, future = [], torch.zeros_like(states[0])
    for output, after in zip(dH_out.flip(0), states[1:].flip(0), strict=True):
        found.append(at_step(output, future, 1 - after.square()))
        future = found[-1] @ (W_hh.T if back is None else back(W_hh))
    return torch.stack(found[::-1])


def recursion_by_einsum(dH_out, states, W_hh):
    D = [torch.zeros_like(states[0])]
    for output, after in zip(dH_out.flip(0), states[1:].flip(0), strict=True):
        D.insert(0, (output + torch.einsum("nk,hk->nh", D[0], W_hh)) * (1 - after.square()))
    return torch.stack(D[:-1])


def recursion_by_autograd(dH_out, states, W_hh):
    """Rebuild the inputs of the tanh from the states, and ask autograd."""
    before = torch.atanh(states[1:]) - states[:-1] @ W_hh
    drive, H, found = before.clone().requires_grad_(), states[0], []
    for a in drive:
        H = torch.tanh(a + H @ W_hh)
        found.append(H)
    return torch.autograd.grad(torch.stack(found), drive, dH_out)[0]


def recursion_in_numpy(dH_out, states, W_hh):
    out, h, W = (tensor.numpy() for tensor in (dH_out, states, W_hh))
    D = np.zeros_like(out)
    for t in range(len(out) - 1, -1, -1):
        future = D[t + 1] @ W.T if t + 1 < len(out) else 0.0
        D[t] = (out[t] + future) * (1 - h[t + 1] ** 2)
    return torch.from_numpy(D)


def only_last(dH_out):
    return torch.cat([torch.zeros_like(dH_out[:-1]), dH_out[-1:]])


BACKWARD_RECURSION = {
    "solution": (SOLUTIONS["backward_recursion"], "Right"),
    "einsum": (recursion_by_einsum, "Right"),
    "stack": (recursion, "Right"),
    "autograd": (recursion_by_autograd, "Right"),
    "NumPy": (recursion_in_numpy, "Right"),
    "float32": (in_single("backward_recursion"), "Right"),
    "no slope": (lambda *a: recursion(*a, lambda output, future, slope: output + future), "lacks the slope"),
    "slope on the output": (
        lambda *a: recursion(*a, lambda output, future, slope: output * slope + future),
        "multiplies only dH_out[t] by the slope",
    ),
    "slope on the future": (
        lambda *a: recursion(*a, lambda output, future, slope: output + future * slope),
        "multiplies only what comes from the future",
    ),
    "the states before": (
        lambda d, h, W: recursion(d, torch.cat([h[:1], h[:-1]]), W),
        "takes the slope from the state before the step",
    ),
    "not transposed": (lambda *a: recursion(*a, back=lambda W: W), "not its transpose"),
    "no time": (lambda *a: recursion(*a, lambda output, future, slope: output * slope), "has no path through time"),
    "last alone": (lambda d, h, W: recursion(only_last(d), h, W), "starts from the last output alone"),
    "forwards": (
        lambda d, h, W: recursion(d.flip(0), torch.cat([h[:1], h[1:].flip(0)]), W).flip(0),
        "runs from the first step to the last",
    ),
    "newest first": (lambda *a: recursion(*a).flip(0), "has the steps in the wrong order"),
    "tanh twice": (lambda d, h, W: recursion(d, h.tanh(), W), "takes the tanh of the states once more"),
    "sigmoid's slope": (
        lambda d, h, W: recursion(d, (1 - h * (1 - h)).clamp(0).sqrt(), W),
        "D for T=2, N=1 should be",
    ),
    "the first state too": (lambda d, h, W: F.pad(recursion(d, h, W), (0, 0, 0, 0, 1, 0)), "D should have shape"),
    "a list": (lambda *a: list(recursion(*a)), "D should be a tensor"),
    "what reaches H_0": (lambda d, h, W: recursion(d, h, W)[0] @ W.T, "D should have shape"),
}


def stepping(*acts, cut=lambda state: state.detach(), targets=lambda Y: Y.T.flatten(), give=None):
    """Return a training step whose parts act in this order, and which cuts the state by a rule of its own."""

    def step(model, X, Y, state, optimizer, theta):
        logits, state = model(X, cut(state))
        loss = F.cross_entropy(logits, targets(Y))
        parameters = list(model.parameters())
        known = {
            "clear": lambda: optimizer.zero_grad(set_to_none=False),
            "backward": lambda: loss.backward(),
            "clip": lambda: nn.utils.clip_grad_norm_(parameters, theta),
            "clip each": lambda: [nn.utils.clip_grad_norm_([p], theta) for p in parameters],
            "clip values": lambda: nn.utils.clip_grad_value_(parameters, theta),
            "clip at 1": lambda: nn.utils.clip_grad_norm_(parameters, 1.0),
            "step": lambda: optimizer.step(),
        }
        for act in acts:
            known[act]()
        return (loss.item(), state) if give is None else give(loss, state, model)

    return step


def not_cut(state):
    state.detach()
    return state


def step_by_hand(model, X, Y, state, optimizer, theta):
    """Differentiate, clip and step without backward and without the optimizer's step."""
    logits, state = model(X, state.detach())
    log_p = logits.log_softmax(1)
    loss = -log_p[torch.arange(len(log_p)), Y.T.reshape(-1)].mean()
    grads = torch.autograd.grad(loss, list(model.parameters()))
    grads = clipped_at_once(grads, theta)
    lr = optimizer.param_groups[0]["lr"]
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads, strict=True):
            p.grad = g
            p -= lr * g
    return loss.item(), state


RIGHT_ORDER = ("clear", "backward", "clip", "step")
TRAINING_STEP = {
    "solution": (SOLUTIONS["training_step"], "Right"),
    "library": (stepping(*RIGHT_ORDER), "Right"),
    "by hand": (step_by_hand, "Right"),
    "cleared behind": (stepping("backward", "clip", "step", "clear"), "Right"),
    "a list": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: [loss.item(), state]), "Right"),
    "NumPy": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: (np.float64(loss.item()), state)), "Right"),
    "float32": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: (np.float32(loss.item()), state)), "Right"),
    "a tensor, cut behind": (
        stepping(*RIGHT_ORDER, give=lambda loss, state, model: (loss.detach(), state.detach())),
        "Right",
    ),
    "not cut": (stepping(*RIGHT_ORDER, cut=not_cut), "goes back into the graph of the minibatch before"),
    "state from zeros": (stepping(*RIGHT_ORDER, cut=torch.zeros_like), "does not read on from the state"),
    "state not handed on": (
        stepping(*RIGHT_ORDER, give=lambda loss, state, model: (loss.item(), 0 * state.detach())),
        "does not hand on the state",
    ),
    "targets batch first": (
        stepping(*RIGHT_ORDER, targets=lambda Y: Y.flatten()),
        "meets the logits of one step with the target of another",
    ),
    "no step": (stepping("clear", "backward", "clip"), "never changes the parameters"),
    "clip too early": (stepping("clear", "clip", "backward", "step"), "clip after backward"),
    "not clipped": (stepping("clear", "backward", "step"), "steps with gradients that are not clipped"),
    "clip too late": (stepping("clear", "backward", "step", "clip"), "clips after the optimizer has already stepped"),
    "clip each": (stepping("clear", "backward", "clip each", "step"), "clips each parameter's gradient by its own"),
    "clip values": (stepping("clear", "backward", "clip values", "step"), "cuts off every number of the gradients"),
    "θ ignored": (stepping("clear", "backward", "clip at 1", "step"), "clips at 1, not at the theta"),
    "never cleared": (stepping("backward", "clip", "step"), "adds up the gradients of all minibatches"),
    "cleared too late": (stepping("backward", "clear", "clip", "step"), "clears the gradients that it just computed"),
    "loss on its graph": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: (loss, state)), "hangs on its graph"),
    "loss alone": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: loss.item()), "the loss and the state"),
    "the other way round": (stepping(*RIGHT_ORDER, give=lambda loss, state, model: (state, loss.item())), "the state"),
}


def residual(dH, states, W_hh, at_step=lambda dH, slope, W: dH + (dH * slope) @ W.T):
    """Go back with a rule for one step."""
    for t in range(len(states) - 1, 0, -1):
        dH = at_step(dH, 1 - (states[t] - states[t - 1]).square(), W_hh)
    return dH


def residual_by_recursion(dH, states, W_hh):
    if len(states) == 1:
        return dH
    slope = 1 - (states[-1] - states[-2]) ** 2
    return residual_by_recursion(dH + torch.einsum("nk,hk->nh", dH * slope, W_hh), states[:-1], W_hh)


def residual_by_autograd(dH, states, W_hh):
    drive = torch.atanh(states[1:] - states[:-1]) - states[:-1] @ W_hh
    start = states[0].clone().requires_grad_()
    H = start
    for a in drive:
        H = H + torch.tanh(a + H @ W_hh)
    return torch.autograd.grad(H, start, dH)[0]


def residual_by_jacobians(dH, states, W_hh):
    rows = []
    for n in range(len(dH)):
        row = dH[n]
        for before, after in zip(states[:-1, n].flip(0), states[1:, n].flip(0), strict=True):
            row = row @ (torch.eye(len(W_hh), dtype=W_hh.dtype) + (1 - (after - before) ** 2)[:, None] * W_hh.T)
        rows.append(row)
    return torch.stack(rows)


RESIDUAL_GRADIENT = {
    "solution": (SOLUTIONS["residual_gradient"], "Right"),
    "recursion, einsum": (residual_by_recursion, "Right"),
    "autograd": (residual_by_autograd, "Right"),
    "Jacobians": (residual_by_jacobians, "Right"),
    "a list of states": (lambda dH, states, W: residual(dH, list(states), W), "Right"),
    "float32": (in_single("residual_gradient"), "Right"),
    "no skip": (lambda *a: residual(*a, lambda dH, slope, W: (dH * slope) @ W.T), "forgets the direct path"),
    "slope of the state": (
        lambda dH, h, W: residual(dH, torch.cumsum(torch.cat([0 * h[:1], h[1:]]), 0), W),
        "here tanh(a_t) is not h_t but h_t - h_{t-1}",
    ),
    "no slope": (lambda *a: residual(*a, lambda dH, slope, W: dH + dH @ W.T), "lacks the slope"),
    "slope on both": (lambda *a: residual(*a, lambda dH, s, W: (dH * s) + (dH * s) @ W.T), "only what comes back"),
    "not transposed": (lambda *a: residual(*a, lambda dH, s, W: dH + (dH * s) @ W), "not its transpose"),
    "matrix first": (lambda *a: residual(*a, lambda dH, s, W: dH + (dH @ W.T) * s), "multiplies by the slope after"),
    "forwards": (lambda dH, h, W: residual(dH, h.flip(0), W), "the way back begins at the last"),
    "unchanged": (lambda dH, h, W: dH, "the gradient for"),
    "one step": (lambda dH, h, W: residual(dH, h[-2:], W), "the gradient for"),
    "a step too few": (lambda dH, h, W: residual(dH, h[1:], W), "the gradient for"),
    "minus": (lambda *a: residual(*a, lambda dH, s, W: dH - (dH * s) @ W.T), "the gradient for"),
    "all steps": (
        lambda dH, h, W: torch.stack([residual(dH, h[t:], W) for t in range(len(h))]),
        "should have shape (1, 2), but (2, 1, 2) came",
    ),
}


def held(scale_of, turn=orthogonal_matrix):
    """Return an answer that makes a matrix whose scale follows a rule."""
    return lambda drive: turn(drive.shape[1], scale_of(drive), torch.Generator().manual_seed(1))


def measured_scale(drive):
    """Return the scale at which the mean logarithm of the slopes is made up for, by fixed-point iteration."""
    rotation, scale = orthogonal_matrix(drive.shape[1], 1.0, torch.Generator().manual_seed(1)), 1.5
    for _ in range(8):
        H, logs, v = torch.zeros_like(drive[0]), 0.0, F.normalize(torch.ones_like(drive[0]), dim=0)
        for a in drive:
            H = torch.tanh(a + H @ (scale * rotation))
            v = (v @ rotation) * (1 - H**2) * scale
            logs, v = logs + v.norm().log(), F.normalize(v, dim=0)
        scale = scale * float((-logs / len(drive)).exp())
    return scale


HOLD_GRADIENT = {
    "solution": (SOLUTIONS["hold_gradient"], "Right"),
    "float32": (lambda drive: SOLUTIONS["hold_gradient"](drive).float(), "Right"),
    "transposed": (lambda drive: SOLUTIONS["hold_gradient"](drive).T, "Right"),
    "fixed point": (held(measured_scale), "Right"),
    "nearly 1": (held(lambda drive: 1.0), "lets the gradient vanish"),
    "Gaussian": (held(lambda drive: 1.0, gaussian_matrix), "lets the gradient vanish"),
    "zeros": (lambda drive: torch.zeros(64, 64, dtype=torch.float64), "lets the gradient vanish"),
    "too large": (held(lambda drive: 30.0), "lets it explode"),
    "overflow": (lambda drive: torch.full((64, 64), 1e308, dtype=torch.float64), "lets it explode"),
    "one for all": (held(lambda drive: 1.85), "is as large for every size of the inputs"),
    "too flat": (held(lambda drive: 1.3 + 0.3 * float(drive.std())), "too small with inputs of size 1 and 3"),
    "too steep": (
        held(lambda drive: measured_scale(drive) * (1.2 if drive.std() > 2 else 1)),
        "too large with inputs of size 3",
    ),
    "the scale": (measured_scale, "W_hh should be a tensor"),
    "the drive": (lambda drive: drive, "W_hh should have shape (64, 64)"),
    "not a number": (lambda drive: torch.full((64, 64), float("nan")), "numbers that are not finite"),
    "nothing": (lambda drive: None, "did you forget `return`"),
}

ANSWERS = {
    "recurrent_gradient": RECURRENT_GRADIENT,
    "clip_by_norm": CLIP_BY_NORM,
    "surely_vanishes": SURELY_VANISHES,
    "backward_recursion": BACKWARD_RECURSION,
    "training_step": TRAINING_STEP,
    "residual_gradient": RESIDUAL_GRADIENT,
    "hold_gradient": HOLD_GRADIENT,
}
