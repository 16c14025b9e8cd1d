"""Exercises of chapter 3: backpropagation through time, clipping and truncation."""

import math

import torch
import torch.nn.functional as F

from rnnlib.check._frame import (
    Exercise,
    Wrong,
    expect_close,
    expect_shape,
    expect_something,
    expect_truth,
    slip_in_all,
    within,
)
from rnnlib.gradients import clip_gradients, detach, gaussian_matrix, jacobian_products, orthogonal_matrix
from rnnlib.scratch import ScratchRNN


def _draw(*shapes, seed=0, scale=1.0):
    """Draw tensors of normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# ★ Clip a list of gradients together


def clip_by_norm(grads, theta):
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    scale = min(1.0, theta / (float(norm) + 1e-6))
    return [scale * g for g in grads]


def _each_by_its_norm(grads, theta):
    return [g * min(1.0, theta / float(g.norm())) for g in grads]


def _each_value(grads, theta):
    return [g.clamp(-theta, theta) for g in grads]


def _always(grads, theta):
    norm = torch.cat([g.flatten() for g in grads]).norm()
    return [theta / norm * g for g in grads]


def _by_square(grads, theta):
    square = float(sum((g**2).sum() for g in grads))
    return [min(1.0, theta / square) * g for g in grads]


def _by_sum_of_norms(grads, theta):
    total = float(sum(g.norm() for g in grads))
    return [min(1.0, theta / total) * g for g in grads]


def _in_place(grads, theta):
    for g, clipped in zip(grads, clip_by_norm(grads, theta), strict=True):
        g.copy_(clipped)
    return grads


def _divides_by_zero(grads, theta):
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    return [g / norm * min(float(norm), theta) for g in grads]


CLIP_SLIPS = {
    "per tensor": (_each_by_its_norm, "clips every tensor by its own norm, which turns the direction"),
    "by value": (_each_value, "cuts off every number by itself, which turns the direction"),
    "always rescaled": (_always, "makes a gradient shorter than θ longer: the factor is at most 1"),
    "squared norm": (_by_square, "divides by the squared norm: take the square root of the sum of squares"),
    "sum of norms": (_by_sum_of_norms, "adds the norms of the tensors: add their squares, then take the root"),
}
CLIP_HABITS = {
    "in place": (_in_place, "the gradients that were handed in have changed: return new tensors"),
    "norm zero": (
        _divides_by_zero,
        "gradients that are all zero should come back as zeros: their norm is 0, by which nothing can be divided",
    ),
}


def _test_clip_by_norm(answer):
    worked = [torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([[2.0, 4.0]], dtype=torch.float64)]  # norm 5
    cases = [(worked, 1.0), (worked, 10.0), (worked, 4.9), (worked, 5.1)]
    cases += [(_draw((4, 3), (3,), (2, 2), seed=seed, scale=3.0), 2.0) for seed in range(20)]
    for grads, theta in cases:
        given = [g.clone() for g in grads]
        got = answer(given, theta)
        expect_something(got)
        if not isinstance(got, (list, tuple)) or len(got) != len(grads):
            raise Wrong(f"the result should be a list of {len(grads)} tensors, one for each gradient")
        for g, place in zip(got, grads, strict=True):
            expect_shape(g, place.shape, "a clipped gradient")
        laid = [torch.cat([g.flatten() for g in slip(grads, theta)]) for slip, _ in CLIP_SLIPS.values()]
        slips = list(zip(laid, (sentence for _, sentence in CLIP_SLIPS.values()), strict=True))
        expected = torch.cat([g.flatten() for g in clip_by_norm(grads, theta)])
        expect_close(torch.cat([g.flatten() for g in got]), expected, f"clipping at θ={theta:g}", slips, 1e-4)
        if not all(torch.equal(g, kept) for g, kept in zip(given, grads, strict=True)):
            raise Wrong(CLIP_HABITS["in place"][1])
    zeros = [torch.zeros_like(g) for g in worked]
    try:
        stayed = not any(g.any() for g in answer(zeros, 1.0))
    except ZeroDivisionError:
        stayed = False
    if not stayed:
        raise Wrong(CLIP_HABITS["norm zero"][1])


CLIP_BY_NORM = Exercise(
    "clip_by_norm",
    chapter=3,
    stars=1,
    test=_test_clip_by_norm,
    solution=clip_by_norm,
    section="The remedy",
    wrong=CLIP_SLIPS | CLIP_HABITS,
    hints=(
        "One norm for all: that of the vector you get when you lay all gradients end to end.",
        "Its square is the sum of the squares of all numbers in all tensors.",
        "Every tensor is multiplied by the same factor, min(1, θ / (norm + 1e-6)); the 1e-6 is for a norm of 0.",
    ),
)


# ★ The gradient of W_hh, a sum over time


def recurrent_gradient(states, D):
    return states[:-1].flatten(0, 1).T @ D.flatten(0, 1)


RECURRENT_SLIPS = {
    "states after": (
        lambda states, D: torch.einsum("tnh,tnk->hk", states[1:], D),
        "multiplies by the state after each step: W_hh reads the state before it, states[t]",
    ),
    "last step only": (lambda states, D: states[-2].T @ D[-1], "has the last step alone: every step adds its share"),
    "first step only": (lambda states, D: states[0].T @ D[0], "has the first step alone: every step adds its share"),
    "transposed": (
        lambda states, D: torch.einsum("tnh,tnk->kh", states[:-1], D),
        "is transposed: rows are for the units that W_hh reads, columns for those that it writes",
    ),
    "mean over steps": (
        lambda states, D: torch.einsum("tnh,tnk->hk", states[:-1], D) / len(D),
        "is the mean over the steps; the gradient is their sum",
    ),
    "mean over all": (
        lambda states, D: torch.einsum("tnh,tnk->hk", states[:-1], D) / D[..., 0].numel(),
        "is the mean over steps and sequences: the loss has divided already, so only add",
    ),
    "product of sums": (
        lambda states, D: states[:-1].sum((0, 1)).outer(D.sum((0, 1))),
        "sums the states and D before it multiplies: each state belongs to the D of its own step and sequence",
    ),
}


def _test_recurrent_gradient(answer):
    for seed, (T, N, num_hiddens) in enumerate(((3, 2, 2), (2, 1, 2), (1, 1, 2), (7, 3, 4))):
        states, D = _draw((T + 1, N, num_hiddens), (T, N, num_hiddens), seed=seed)
        got = answer(states.tanh(), D.clone())
        expect_shape(got, (num_hiddens, num_hiddens), "the gradient of W_hh")
        slips = [(slip(states.tanh(), D), sentence) for slip, sentence in RECURRENT_SLIPS.values()]
        expect_close(got, recurrent_gradient(states.tanh(), D), f"the gradient for T={T}, N={N}", slips)


RECURRENT_GRADIENT = Exercise(
    "recurrent_gradient",
    chapter=3,
    stars=1,
    test=_test_recurrent_gradient,
    solution=recurrent_gradient,
    section="Sums over time",
    wrong=RECURRENT_SLIPS,
    hints=(
        "The formula is the second of the six sums: which state stands in it, and which is transposed?",
        "states[t] is the state before the step that D[t] belongs to; add up one product for each step.",
        "states[:-1].flatten(0, 1) stacks these states, (T * N, H); one product with the stacked D is the sum.",
    ),
)


# ★★ Does the bound make sure that a gradient vanishes?


def surely_vanishes(W_hh, max_slope):
    sigma_max = torch.linalg.matrix_norm(W_hh, 2)
    return bool(sigma_max * max_slope < 1)


def _by_radius(W_hh, max_slope):
    return bool(torch.linalg.eigvals(W_hh).abs().max() * max_slope < 1)


def _by_frobenius(W_hh, max_slope):
    return bool(W_hh.norm() * max_slope < 1)


def _without_slope(W_hh, max_slope):
    return bool(torch.linalg.matrix_norm(W_hh, 2) < 1)


def _at_most(W_hh, max_slope):
    return bool(torch.linalg.matrix_norm(W_hh, 2) * max_slope <= 1)


def _by_smallest(W_hh, max_slope):
    return bool(torch.linalg.svdvals(W_hh).min() * max_slope < 1)


def _divided_by_slope(W_hh, max_slope):
    return bool(torch.linalg.matrix_norm(W_hh, 2) / max_slope < 1)


def _explodes(W_hh, max_slope):
    return bool(torch.linalg.matrix_norm(W_hh, 2) * max_slope > 1)


VANISH_SLIPS = {
    "spectral radius": (
        _by_radius,
        "goes by the eigenvalues; a matrix whose eigenvalues are all 0 can make a gradient grow for many steps, so it "
        "is the largest singular value that bounds a step",
    ),
    "Frobenius norm": (
        _by_frobenius,
        "goes by a norm that is larger than the largest singular value, such as Frobenius': it misses gradients that "
        "the bound makes vanish",
    ),
    "smallest singular value": (
        _by_smallest,
        "goes by the smallest singular value: that is the least that a step can shrink a gradient to, and the largest "
        "bounds it",
    ),
    "divided by the slope": (
        _divided_by_slope,
        "divides by the slope: a step multiplies a gradient by the matrix and by the slope",
    ),
    "no slope": (
        _without_slope,
        "leaves the slope out: a sigmoid has a slope of at most 1/4, which shrinks every step",
    ),
    "not below": (_at_most, "is True for a product of exactly 1 as well, but the identity keeps a gradient for ever"),
    "turned round": (
        _explodes,
        "is True where σ_max times the slope is above 1; asked is what is sure to vanish by the bound",
    ),
}


def _test_surely_vanishes(answer):
    rotation = torch.linalg.qr(_draw((6, 6))[0])[0]
    # All eigenvalues are 0. Turned, or with any slopes between 0 and 1 the gradient would be sure to end at exactly 0.
    shift = rotation.T @ torch.diag(torch.ones(5, dtype=torch.float64), 1) @ rotation
    cases = ((0.9 * rotation, 1.0), (2 * shift, 1.0), (3 * rotation, 0.25), (5 * rotation, 0.25), (1.5 * shift, 0.9))
    cases += ((0.3 * rotation, 1.0), (torch.eye(6, dtype=torch.float64), 1.0))
    stretch = torch.diag(torch.tensor([2.0, 0.5, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64))
    cases += ((rotation.T @ stretch @ rotation, 1.0), (0.5 * rotation, 0.25))
    got = [expect_truth(answer(W_hh.clone(), max_slope), "the result") for W_hh, max_slope in cases]
    sentence = slip_in_all(got, cases, VANISH_SLIPS.values())
    if sentence:
        raise Wrong(f"the answer {sentence}")
    for verdict, (W_hh, max_slope) in zip(got, cases, strict=True):
        if verdict != surely_vanishes(W_hh, max_slope):
            radius, sigma = torch.linalg.eigvals(W_hh).abs().max(), torch.linalg.matrix_norm(W_hh, 2)
            raise Wrong(
                f"for ρ = {radius:.2f}, σ_max = {sigma:.2f} and slopes up to {max_slope} the answer should be "
                f"{not verdict}, but {verdict} came"
            )


SURELY_VANISHES = Exercise(
    "surely_vanishes",
    chapter=3,
    stars=2,
    test=_test_surely_vanishes,
    solution=surely_vanishes,
    section="What is certain",
    wrong=VANISH_SLIPS,
    hints=(
        "What is the most that one step back, (gradient * slope) @ W_hh.T, can multiply the length of a gradient by?",
        "A matrix stretches a vector by at most its largest singular value, slopes by at most the largest slope.",
        "torch.linalg.matrix_norm(W_hh, 2) is the largest singular value; compare its product with the slope to 1.",
    ),
)


# ★★ The backward recursion


def backward_recursion(dH_out, states, W_hh):
    D, dH = torch.zeros_like(dH_out), torch.zeros_like(dH_out[0])
    for t in reversed(range(len(dH_out))):
        D[t] = (dH_out[t] + dH) * (1 - states[t + 1] ** 2)
        dH = D[t] @ W_hh.T
    return D


def _recursion(dH_out, states, W_hh, slope=lambda states: 1 - states[1:] ** 2, back=lambda W: W.T):
    """Run the recursion with a slope and a matrix that may be wrong."""
    slopes, D, dH = slope(states), torch.zeros_like(dH_out), torch.zeros_like(dH_out[0])
    for t in reversed(range(len(dH_out))):
        D[t] = (dH_out[t] + dH) * slopes[t]
        dH = D[t] @ back(W_hh)
    return D


def _slope_on_one(dH_out, states, W_hh, on_output):
    slopes, D, dH = 1 - states[1:] ** 2, torch.zeros_like(dH_out), torch.zeros_like(dH_out[0])
    for t in reversed(range(len(dH_out))):
        D[t] = dH_out[t] * slopes[t] + dH if on_output else dH_out[t] + dH * slopes[t]
        dH = D[t] @ W_hh.T
    return D


def _last_only(dH_out, states, W_hh):
    only = torch.zeros_like(dH_out)
    only[-1] = dH_out[-1]
    return _recursion(only, states, W_hh)


def _forwards(dH_out, states, W_hh):
    slopes, D, dH = 1 - states[1:] ** 2, torch.zeros_like(dH_out), torch.zeros_like(dH_out[0])
    for t in range(len(dH_out)):
        D[t] = (dH_out[t] + dH) * slopes[t]
        dH = D[t] @ W_hh.T
    return D


RECURSION_SLIPS = {
    "no tanh'": (
        lambda d, h, W: _recursion(d, h, W, slope=lambda h: torch.ones_like(h[1:])),
        "lacks the slope of the tanh, 1 - h²",
    ),
    "slope on the output alone": (
        lambda d, h, W: _slope_on_one(d, h, W, on_output=True),
        "multiplies only dH_out[t] by the slope: what comes back from the future goes through the tanh of step t too",
    ),
    "slope on the future alone": (
        lambda d, h, W: _slope_on_one(d, h, W, on_output=False),
        "multiplies only what comes from the future by the slope: dH_out[t] goes through the tanh of step t too",
    ),
    "slope of the state before": (
        lambda d, h, W: _recursion(d, h, W, slope=lambda h: 1 - h[:-1] ** 2),
        "takes the slope from the state before the step: states[0] is H_0, so step t ends in states[t + 1]",
    ),
    "not transposed": (
        lambda d, h, W: _recursion(d, h, W, back=lambda W: W),
        "goes back through W_hh, not its transpose",
    ),
    "no path through time": (
        lambda d, h, W: d * (1 - h[1:] ** 2),
        "has no path through time: a state also acts through all later states",
    ),
    "last step only": (_last_only, "starts from the last output alone: every step has an output that pulls"),
    "forwards": (_forwards, "runs from the first step to the last: what comes from the future has to be known first"),
    "newest first": (
        lambda d, h, W: backward_recursion(d, h, W).flip(0),
        "has the steps in the wrong order: the loop meets the last step first, but D[0] belongs to the first",
    ),
    "tanh twice": (
        lambda d, h, W: _recursion(d, h, W, slope=lambda h: 1 - torch.tanh(h[1:]) ** 2),
        "takes the tanh of the states once more: they are values of tanh already, and the slope is 1 - h²",
    ),
}


def _test_backward_recursion(answer):
    for seed, (T, N, num_hiddens) in enumerate(((2, 1, 2), (1, 2, 3), (6, 3, 4), (9, 2, 5))):
        dH_out, noise, W_hh = _draw((T, N, num_hiddens), (T + 1, N, num_hiddens), (num_hiddens, num_hiddens), seed=seed)
        states = torch.tanh(noise)
        got = answer(dH_out.clone(), states.clone(), W_hh.clone())
        expect_shape(got, dH_out.shape, "D")
        slips = [(slip(dH_out, states, W_hh), sentence) for slip, sentence in RECURSION_SLIPS.values()]
        expect_close(got, backward_recursion(dH_out, states, W_hh), f"D for T={T}, N={N}", slips if T > 1 else ())


BACKWARD_RECURSION = Exercise(
    "backward_recursion",
    chapter=3,
    stars=2,
    test=_test_backward_recursion,
    solution=backward_recursion,
    section="The recursion over time",
    wrong=RECURSION_SLIPS,
    hints=(
        "Start at the last step, where nothing comes from the future, and keep what flows back in a variable dH.",
        "Two things pull at the state of step t: its own output, dH_out[t], and what comes back from step t + 1.",
        "D[t] = (dH_out[t] + dH) * (1 - states[t + 1] ** 2), then dH = D[t] @ W_hh.T.",
    ),
)


# ★★ A training step with two bugs


def training_step(model, X, Y, state, optimizer, theta):
    logits, state = model(X, detach(state))
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(model.parameters(), theta)
    optimizer.step()
    return float(loss.detach()), state


def _thrown_away(model, X, Y, state, optimizer, theta):
    state.detach()
    logits, state = model(X, state)
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(model.parameters(), theta)
    optimizer.step()
    return float(loss.detach()), state


def _state_ignored(model, X, Y, state, optimizer, theta):
    return training_step(model, X, Y, model.begin_state(len(X)), optimizer, theta)


def _targets_row_by_row(model, X, Y, state, optimizer, theta):
    T, N = Y.T.shape
    return training_step(model, X, Y.reshape(T, N).T, state, optimizer, theta)  # its Y.T.reshape(-1) is Y.reshape(-1)


def _restarted(model, X, Y, state, optimizer, theta):
    loss, _ = training_step(model, X, Y, state, optimizer, theta)
    return loss, model.begin_state(len(X))


def _in_order(*order):
    """Return a training step that clears, differentiates, clips and steps in this order."""

    def step(model, X, Y, state, optimizer, theta):
        logits, state = model(X, detach(state))
        loss = F.cross_entropy(logits, Y.T.reshape(-1))
        acts = {
            "clear": optimizer.zero_grad,
            "backward": loss.backward,
            "clip": lambda: clip_gradients(model.parameters(), theta),
            "step": optimizer.step,
        }
        for act in order:
            acts[act]()
        return float(loss.detach()), state

    return step


def _loss_on_its_graph(model, X, Y, state, optimizer, theta):
    logits, _ = model(X, detach(state))
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    return loss, training_step(model, X, Y, state, optimizer, theta)[1]


def _clipping(clip):
    """Return a training step that clips in its own way."""

    def step(model, X, Y, state, optimizer, theta):
        logits, state = model(X, detach(state))
        loss = F.cross_entropy(logits, Y.T.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        clip(list(model.parameters()), theta)
        optimizer.step()
        return float(loss.detach()), state

    return step


def _clip_each(parameters, theta):
    for p in parameters:
        clip_gradients([p], theta)


STEP_HABITS = {
    "loss on its graph": (
        _loss_on_its_graph,
        "the loss that comes back still hangs on its graph, which stays in memory for as long as the loss is kept: "
        "return a plain number",
    ),
}
STEP_SLIPS = {
    "detach thrown away": (_thrown_away, "goes back into the graph of the minibatch before"),
    "state restarted": (_restarted, "does not hand on the state after the last step"),
    "state ignored": (_state_ignored, "does not read on from the state that it was given"),
    "targets row by row": (
        _targets_row_by_row,
        "meets the logits of one step with the target of another: logits come time first, so Y.T.reshape(-1)",
    ),
    "no step": (_in_order("clear", "backward", "clip"), "never changes the parameters: call optimizer.step()"),
    "clip first": (
        _in_order("clear", "clip", "backward", "step"),
        "steps with gradients that are not clipped: clip after backward, which computes them, and before the step",
    ),
    "clip last": (_in_order("clear", "backward", "step", "clip"), "clips after the optimizer has already stepped"),
    "clipped per tensor": (
        _clipping(_clip_each),
        "clips each parameter's gradient by its own norm: clip them all together, by one norm",
    ),
    "clipped by value": (
        _clipping(torch.nn.utils.clip_grad_value_),
        "cuts off every number of the gradients by itself: clip all of them together, by one norm",
    ),
    "θ ignored": (
        _clipping(lambda parameters, theta: clip_gradients(parameters, 1.0)),
        "clips at 1, not at the theta that it was given",
    ),
    "never cleared": (
        _in_order("backward", "clip", "step"),
        "adds up the gradients of all minibatches: clear the old ones in every step",
    ),
    "cleared too late": (
        _in_order("backward", "clear", "clip", "step"),
        "clears the gradients that it just computed: zero_grad comes before backward",
    ),
}


def _trace(step):
    """Take three steps with a carried state; return all that they leave behind, by what it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ScratchRNN(5, 6, dtype=torch.float64, sigma=0.5)
        ids = torch.randint(5, (2, 13))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    state, trace = model.begin_state(2), {}
    for number, start in enumerate((0, 4, 8), start=1):
        X, Y = ids[:, start : start + 4], ids[:, start + 1 : start + 5]
        result = step(model, X, Y, state, optimizer, 0.05)
        expect_something(result)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise Wrong("the result should be the loss and the state, in this order")
        loss, state = result
        expect_shape(state, (2, 6), "the state")
        parts = {"the loss": torch.as_tensor(loss), "the state": state}
        expect_shape(parts["the loss"], (), "the loss")
        if parts["the loss"].requires_grad:
            raise Wrong(STEP_HABITS["loss on its graph"][1])
        for name, p in zip(("W_xh", "W_hh", "b_h", "W_hq", "b_q"), model.params, strict=True):
            parts[name] = p
            parts[f"the gradient of {name}"] = torch.zeros_like(p) if p.grad is None else p.grad
        trace.update({f"{name} after step {number}": part.detach().clone() for name, part in parts.items()})
    return trace


def _laid(trace):
    return torch.cat([part.double().flatten() for part in trace.values()])


def _test_training_step(answer):
    try:
        got = _trace(answer)
    except RuntimeError as error:
        if "second time" in str(error) or "inplace operation" in str(error):
            raise Wrong(
                f"the second training step {STEP_SLIPS['detach thrown away'][1]}: state.detach() returns a new tensor, "
                "and a result that is thrown away cuts nothing"
            ) from None
        raise
    if torch.allclose(_laid(got), _laid(_trace(_in_order("backward", "clip", "step", "clear")))):
        return  # clears behind itself, which is right as well
    for name, (slip, sentence) in STEP_SLIPS.items():
        if name != "detach thrown away" and torch.allclose(_laid(got), _laid(_trace(slip))):
            raise Wrong(f"the training step {sentence}")
    for what, expected in _trace(training_step).items():
        expect_close(got[what], expected, what)


TRAINING_STEP = Exercise(
    "training_step",
    chapter=3,
    stars=2,
    test=_test_training_step,
    solution=training_step,
    section="6. Cut the graph on purpose: truncation",
    wrong=STEP_SLIPS | STEP_HABITS,
    hints=(
        "There are two bugs: one in how the state is cut, one in the order of the calls.",
        "detach returns a new tensor. And when are there gradients to clip?",
        "Use detach(state) as the model's argument; clear, backward, clip, step is the order.",
    ),
)


# ★★★ Back through a residual network


def residual_gradient(dH, states, W_hh):
    for before, after in zip(reversed(states[:-1]), reversed(states[1:]), strict=True):
        slope = 1 - (after - before) ** 2
        dH = dH + (dH * slope) @ W_hh.T
    return dH


def _residual(dH, states, W_hh, slope=lambda before, after: 1 - (after - before) ** 2, skip=1.0, back=lambda W: W.T):
    """Go back with a slope, a skip connection and a matrix that may be wrong."""
    for t in reversed(range(len(states) - 1)):
        dH = skip * dH + (dH * slope(states[t], states[t + 1])) @ back(W_hh)
    return dH


def _slope_last(dH, states, W_hh):
    for t in reversed(range(len(states) - 1)):
        dH = dH + (dH @ W_hh.T) * (1 - (states[t + 1] - states[t]) ** 2)
    return dH


def _slope_on_both(dH, states, W_hh):
    for t in reversed(range(len(states) - 1)):
        dH = dH * (1 - (states[t + 1] - states[t]) ** 2)
        dH = dH + dH @ W_hh.T
    return dH


RESIDUAL_SLIPS = {
    "no skip": (
        lambda d, h, W: _residual(d, h, W, skip=0.0),
        "forgets the direct path: h_t contains h_{t-1} itself, so dH also comes back unchanged",
    ),
    "slope of the state": (
        lambda d, h, W: _residual(d, h, W, slope=lambda before, after: 1 - after**2),
        "takes the slope 1 - h_t²; here tanh(a_t) is not h_t but h_t - h_{t-1}",
    ),
    "no slope": (
        lambda d, h, W: _residual(d, h, W, slope=lambda before, after: torch.ones_like(after)),
        "lacks the slope of the tanh",
    ),
    "slope on both": (
        _slope_on_both,
        "multiplies the direct path by the slope too: only what comes back through the tanh meets it",
    ),
    "not transposed": (
        lambda d, h, W: _residual(d, h, W, back=lambda W: W),
        "goes back through W_hh, not its transpose",
    ),
    "slope after the matrix": (
        _slope_last,
        "multiplies by the slope after W_hh.T: on the way back the tanh comes first",
    ),
    "forwards": (
        lambda d, h, W: _residual(d, h.flip(0), W),
        "runs from the first step to the last: the way back begins at the last",
    ),
}


def _test_residual_gradient(answer):
    for seed, (T, N, num_hiddens) in enumerate(((1, 1, 2), (2, 2, 3), (7, 3, 4))):
        dH, drive, H, W_hh = _draw(
            (N, num_hiddens), (T, N, num_hiddens), (N, num_hiddens), (num_hiddens, num_hiddens), seed=seed, scale=0.7
        )
        states = [H]
        for a in drive:
            states.append(states[-1] + torch.tanh(a + states[-1] @ W_hh))
        states = torch.stack(states)
        got = answer(dH.clone(), states.clone(), W_hh.clone())
        expect_shape(got, dH.shape, "the gradient with respect to H_0")
        slips = [(slip(dH, states, W_hh), sentence) for slip, sentence in RESIDUAL_SLIPS.values()]
        expect_close(got, residual_gradient(dH, states, W_hh), f"the gradient for T={T}", slips)


RESIDUAL_GRADIENT = Exercise(
    "residual_gradient",
    chapter=3,
    stars=3,
    test=_test_residual_gradient,
    solution=residual_gradient,
    section="7. Remedies",
    wrong=RESIDUAL_SLIPS,
    hints=(
        "Two paths lead from h_{t-1} to h_t: the sum, and the tanh. Add what comes back along each.",
        "The tanh of step t is h_t - h_{t-1}, and its slope is one minus its square.",
        "dH = dH + (dH * slope) @ W_hh.T, from the last step back to the first.",
    ),
)


# ★★★ Go further: hold a gradient for a hundred steps


def hold_gradient(drive):
    rotation = orthogonal_matrix(drive.shape[1], 1.0)
    low, high = 0.0, 100.0
    for _ in range(20):
        scale = (low + high) / 2
        products, _ = jacobian_products(scale * rotation, drive, torch.zeros_like(drive[0]))
        if torch.linalg.matrix_norm(products[-1], 2) < 1:
            low = scale
        else:
            high = scale
    return low * rotation


def _drive(size, seed):
    """Draw what the input adds at each step, (T, H) = (100, 64)."""
    return size * torch.randn(100, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _length_after(W_hh, size):
    """Return the geometric mean, over five other sequences, of the norm of dh_100 / dh_0."""
    logs = []
    for seed in range(1, 6):
        products, _ = jacobian_products(W_hh, _drive(size, seed), torch.zeros(64, dtype=torch.float64))
        if not products[-1].isfinite().all():  # it overflowed
            return math.inf
        logs.append(torch.linalg.matrix_norm(products[-1], 2).log())
    return float(torch.stack(logs).mean().exp())


def _one_scale_for_all(drive):
    return orthogonal_matrix(drive.shape[1], 1.85, torch.Generator().manual_seed(0))


def _scale_too_flat(drive):
    scale = 1.3 + 0.3 * float(drive.std())
    return orthogonal_matrix(drive.shape[1], scale, torch.Generator().manual_seed(0))


LOWEST, HIGHEST = 0.001, 1000  # the norms of the goal, so far apart that luck with a random matrix doesn't decide
HOLD_SLIPS = {
    "radius one": (
        lambda drive: gaussian_matrix(drive.shape[1], 1.0, torch.Generator().manual_seed(0)),
        "lets the gradient vanish",
    ),
    "one scale for all": (_one_scale_for_all, "is as large for every size of the inputs: measure with the drive"),
    "too large": (lambda drive: 10 * _one_scale_for_all(drive), "lets it explode"),
    "scale too flat": (_scale_too_flat, "is too small with inputs of size 1 and 3"),
}


def _test_hold_gradient(answer):
    found, lengths = {}, []
    for size in (0.3, 1.0, 3.0):
        W_hh, _ = within(60, answer, _drive(size, 0))
        expect_shape(W_hh, (64, 64), "W_hh")
        if not W_hh.isfinite().all():
            raise Wrong(f"W_hh has numbers that are not finite with inputs of size {size:g}: NaN or infinity")
        W_hh = W_hh.detach().double()
        lengths.append(float(W_hh.norm()))
        found[size] = _length_after(W_hh, size)
    measured = ", ".join(f"{norm:.2g} with inputs of size {size:g}" for size, norm in found.items())
    report = f"measured: after 100 steps the norm is {measured}; the goal is {LOWEST} to {HIGHEST}, for all three"
    small = [f"{size:g}" for size, norm in found.items() if norm < LOWEST]
    large = [f"{size:g}" for size, norm in found.items() if norm > HIGHEST]
    if len(small) == 3:
        raise Wrong(f"{report}. Your matrix {HOLD_SLIPS['radius one'][1]}: the slopes of the tanh shrink every step")
    if len(large) == 3:
        raise Wrong(f"{report}. Your matrix {HOLD_SLIPS['too large'][1]}: make it smaller")
    if (small or large) and max(lengths) < 1.1 * min(lengths):
        raise Wrong(f"{report}. Your matrix {HOLD_SLIPS['one scale for all'][1]} that you are given")
    missed = [
        f"too {how} with inputs of size {' and '.join(at)}" for how, at in (("small", small), ("large", large)) if at
    ]
    if missed:
        raise Wrong(f"{report}. Your matrix is {', and '.join(missed)}")
    if not all(LOWEST <= norm <= HIGHEST for norm in found.values()):
        raise Wrong(report)  # a norm that is not a number
    return f"M{report[1:]}."


HOLD_GRADIENT = Exercise(
    "hold_gradient",
    chapter=3,
    stars=3,
    test=_test_hold_gradient,
    solution=hold_gradient,
    section="A rule of thumb that works",
    wrong=HOLD_SLIPS,
    hints=(
        "A rotation treats all directions alike, so one number is left to choose: its scale. What shrinks each step?",
        "jacobian_products(scale * rotation, drive, h_0) measures it: too small a norm asks for a larger scale.",
        "Halve an interval of scales again and again: take the upper half where the norm after 100 steps is below 1.",
    ),
)


EXERCISES = (
    RECURRENT_GRADIENT,
    CLIP_BY_NORM,
    BACKWARD_RECURSION,
    SURELY_VANISHES,
    TRAINING_STEP,
    RESIDUAL_GRADIENT,
    HOLD_GRADIENT,
)
