"""Answers to the exercises of chapter 3."""

import numpy as np
import torch

from rnnlib import check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items() if exercise.chapter == 3}


def slips(name):
    """Return the slips that a checker knows, each with the sentence that names it."""
    return dict(check.catalogue()[name].wrong)


def in_single(name):
    """Return the solution computed in float32."""

    def answer(*arguments):
        return SOLUTIONS[name](*(a.float() if isinstance(a, torch.Tensor) else a for a in arguments))

    return answer


def clipped_at_once(grads, theta):
    laid = torch.cat([g.flatten() for g in grads])
    laid = laid * (theta / (laid.norm() + 1e-6)).clamp(max=1)
    return tuple(part.view_as(g) for part, g in zip(laid.split([g.numel() for g in grads]), grads, strict=True))


def clipped_by_library(grads, theta):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    for parameter, g in zip(parameters, grads, strict=True):
        parameter.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, theta)
    return [parameter.grad for parameter in parameters]


def stepped_with_list(*arguments):
    return list(SOLUTIONS["training_step"](*arguments))


def stepped_with_numpy(*arguments):
    loss, state = SOLUTIONS["training_step"](*arguments)
    return np.float64(loss), state


def stepped_with_tensor(*arguments):
    loss, state = SOLUTIONS["training_step"](*arguments)
    return torch.tensor(loss, dtype=torch.float64), state.detach()


def recursion_by_einsum(dH_out, states, W_hh):
    D = [torch.zeros_like(states[0])]
    for output, after in zip(dH_out.flip(0), states[1:].flip(0), strict=True):
        D.insert(0, (output + torch.einsum("nk,hk->nh", D[0], W_hh)) * (1 - after.square()))
    return torch.stack(D[:-1])


def residual_by_recursion(dH, states, W_hh):
    if len(states) == 1:
        return dH
    slope = 1 - (states[-1] - states[-2]) ** 2
    return residual_by_recursion(dH + torch.einsum("nk,hk->nh", dH * slope, W_hh), states[:-1], W_hh)


ANSWERS = {
    "clip_by_norm": slips("clip_by_norm")
    | {
        "solution": (SOLUTIONS["clip_by_norm"], "Right"),
        "at once, a tuple": (clipped_at_once, "Right"),
        "library": (clipped_by_library, "Right"),
        "float32": (lambda g, theta: clipped_at_once([x.float() for x in g], theta), "Right"),
        "one tensor": (lambda g, theta: torch.cat([x.flatten() for x in g]), "a list of 2 tensors"),
    },
    "surely_vanishes": slips("surely_vanishes")
    | {
        "solution": (SOLUTIONS["surely_vanishes"], "Right"),
        "NumPy": (lambda W, s: np.linalg.norm(W.numpy(), 2) * s < 1, "Right"),
        "singular values": (lambda W, s: all((x * s < 1).item() for x in torch.linalg.svdvals(W)), "Right"),
        "float32": (in_single("surely_vanishes"), "Right"),
        "a tensor": (lambda W, s: torch.linalg.matrix_norm(W, 2) * s < 1, "bool(…) makes one"),
        "always": (lambda W, s: True, "the answer should be False"),
    },
    "backward_recursion": slips("backward_recursion")
    | {
        "solution": (SOLUTIONS["backward_recursion"], "Right"),
        "einsum": (recursion_by_einsum, "Right"),
        "float32": (in_single("backward_recursion"), "Right"),
    },
    "training_step": slips("training_step")
    | {
        "solution": (SOLUTIONS["training_step"], "Right"),
        "a list": (stepped_with_list, "Right"),
        "NumPy": (stepped_with_numpy, "Right"),
        "a tensor, cut behind": (stepped_with_tensor, "Right"),
    },
    "residual_gradient": slips("residual_gradient")
    | {
        "solution": (SOLUTIONS["residual_gradient"], "Right"),
        "recursion": (residual_by_recursion, "Right"),
        "float32": (in_single("residual_gradient"), "Right"),
        "unchanged": (lambda dH, states, W: dH, "the gradient for"),
    },
    "hold_gradient": slips("hold_gradient")
    | {
        "solution": (SOLUTIONS["hold_gradient"], "Right"),
        "float32": (lambda drive: SOLUTIONS["hold_gradient"](drive).float(), "Right"),
        "transposed": (lambda drive: SOLUTIONS["hold_gradient"](drive).T, "Right"),
        "nothing": (lambda drive: None, "did you forget `return`"),
    },
}
