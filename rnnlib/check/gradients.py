"""Exercises of chapter 3: backpropagation through time, clipping and truncation."""

import torch
import torch.nn.functional as F

from rnnlib.check.frame import Exercise, Wrong, expect_close, expect_shape
from rnnlib.scratch import ScratchRNN, clip_gradients, detach


def _draw(*shapes, seed=0, scale=1.0):
    """Draw tensors of normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# ★ Clip a list of gradients together


def clip_by_norm(grads, theta):
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    scale = min(1.0, theta / float(norm))
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


CLIP_SLIPS = {
    "per tensor": (_each_by_its_norm, "clips every tensor by its own norm, which turns the direction"),
    "by value": (_each_value, "cuts off every number by itself, which turns the direction"),
    "always rescaled": (_always, "makes a gradient shorter than θ longer: the factor is at most 1"),
    "squared norm": (_by_square, "divides by the squared norm: take the square root of the sum of squares"),
    "sum of norms": (_by_sum_of_norms, "adds the norms of the tensors: add their squares, then take the root"),
}


def _test_clip_by_norm(answer):
    worked = [torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([[2.0, 4.0]], dtype=torch.float64)]  # norm 5
    cases = [(worked, 1.0), (worked, 10.0)]
    cases += [(_draw((4, 3), (3,), (2, 2), seed=seed, scale=3.0), 2.0) for seed in range(20)]
    for grads, theta in cases:
        got = answer([g.clone() for g in grads], theta)
        if not isinstance(got, (list, tuple)) or len(got) != len(grads):
            raise Wrong(f"the result should be a list of {len(grads)} tensors, one for each gradient")
        for g, place in zip(got, grads, strict=True):
            expect_shape(g, place.shape, "a clipped gradient")
        laid = [torch.cat([g.flatten() for g in slip(grads, theta)]) for slip, _ in CLIP_SLIPS.values()]
        slips = list(zip(laid, (sentence for _, sentence in CLIP_SLIPS.values()), strict=True))
        expected = torch.cat([g.flatten() for g in clip_by_norm(grads, theta)])
        expect_close(torch.cat([g.flatten() for g in got]), expected, f"clipping at θ={theta:g}", slips, 1e-4)


CLIP_BY_NORM = Exercise(
    "clip_by_norm",
    chapter=3,
    stars=1,
    test=_test_clip_by_norm,
    solution=clip_by_norm,
    wrong=CLIP_SLIPS,
    hints=(
        "One norm for all: that of the vector you get when you lay all gradients end to end.",
        "Its square is the sum of the squares of all numbers in all tensors.",
        "Every tensor is multiplied by the same factor, min(1, θ / norm).",
    ),
)


# ★★ Can you be sure that a gradient vanishes?


def surely_vanishes(W_hh, max_slope):
    sigma_max = torch.linalg.matrix_norm(W_hh, 2)
    return bool(sigma_max * max_slope < 1)


def _by_radius(W_hh, max_slope):
    return bool(torch.linalg.eigvals(W_hh).abs().max() * max_slope < 1)


def _by_frobenius(W_hh, max_slope):
    return bool(W_hh.norm() * max_slope < 1)


def _without_slope(W_hh, max_slope):
    return bool(torch.linalg.matrix_norm(W_hh, 2) < 1)


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
        "goes by the Frobenius norm, which is larger than the largest singular value: it misses gradients that vanish",
    ),
    "no slope": (
        _without_slope,
        "leaves the slope out: a sigmoid has a slope of at most 1/4, which shrinks every step",
    ),
    "turned round": (_explodes, "is True where σ_max times the slope is above 1; asked is what is sure to vanish"),
}


def _test_surely_vanishes(answer):
    rotation = torch.linalg.qr(_draw((6, 6))[0])[0]
    shift = torch.diag(torch.ones(5, dtype=torch.float64), 1)
    cases = ((0.9 * rotation, 1.0), (2 * shift, 1.0), (3 * rotation, 0.25), (5 * rotation, 0.25), (1.5 * shift, 0.9))
    got = [answer(W_hh.clone(), max_slope) for W_hh, max_slope in cases]
    if not all(isinstance(verdict, bool) for verdict in got):
        raise Wrong(f"the result should be True or False, but a {type(got[0]).__name__} came")
    for slip, sentence in VANISH_SLIPS.values():
        if got == [slip(*case) for case in cases]:
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


def _last_only(dH_out, states, W_hh):
    only = torch.zeros_like(dH_out)
    only[-1] = dH_out[-1]
    return _recursion(only, states, W_hh)


RECURSION_SLIPS = {
    "no tanh'": (
        lambda d, h, W: _recursion(d, h, W, slope=lambda h: torch.ones_like(h[1:])),
        "lacks the slope of the tanh, 1 - h²",
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


STEP_SLIPS = {
    "detach thrown away": (_thrown_away, "goes back into the graph of the minibatch before"),
    "state restarted": (_restarted, "does not hand on the state after the last step"),
    "clip first": (
        _in_order("clear", "clip", "backward", "step"),
        "steps with gradients that are not clipped: clip after backward, which computes them, and before the step",
    ),
    "clip last": (_in_order("clear", "backward", "step", "clip"), "clips after the optimizer has already stepped"),
    "never cleared": (
        _in_order("backward", "clip", "step"),
        "adds up the gradients of all minibatches: call optimizer.zero_grad() in every step",
    ),
    "cleared too late": (
        _in_order("backward", "clear", "clip", "step"),
        "clears the gradients that it just computed: zero_grad comes before backward",
    ),
}


def _trace(step):
    """Take three steps with a carried state; return all that they leave behind, laid end to end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ScratchRNN(5, 6, dtype=torch.float64, sigma=0.5)
        ids = torch.randint(5, (2, 13))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    state, trace = model.begin_state(2), []
    for start in (0, 4, 8):
        X, Y = ids[:, start : start + 4], ids[:, start + 1 : start + 5]
        result = step(model, X, Y, state, optimizer, 0.05)
        if not isinstance(result, tuple) or len(result) != 2:
            raise Wrong("the result should be the loss and the state, in this order")
        loss, state = result
        expect_shape(state, (2, 6), "the state")
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.params]
        parts = [torch.as_tensor(loss), state, *model.params, *gradients]
        trace += [part.detach().double().flatten() for part in parts]
    return torch.cat(trace)


def _test_training_step(answer):
    try:
        got = _trace(answer)
    except RuntimeError as error:
        if "second time" in str(error):
            raise Wrong(
                f"the second training step {STEP_SLIPS['detach thrown away'][1]}: state.detach() returns a new tensor, "
                "and a result that is thrown away cuts nothing"
            ) from None
        raise
    slips = [(_trace(slip), sentence) for name, (slip, sentence) in STEP_SLIPS.items() if name != "detach thrown away"]
    expect_close(got, _trace(training_step), "the training step", slips)


TRAINING_STEP = Exercise(
    "training_step",
    chapter=3,
    stars=2,
    test=_test_training_step,
    solution=training_step,
    wrong=STEP_SLIPS,
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
    "not transposed": (
        lambda d, h, W: _residual(d, h, W, back=lambda W: W),
        "goes back through W_hh, not its transpose",
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
    wrong=RESIDUAL_SLIPS,
    hints=(
        "Two paths lead from h_{t-1} to h_t: the sum, and the tanh. Add what comes back along each.",
        "The tanh of step t is h_t - h_{t-1}, and its slope is one minus its square.",
        "dH = dH + (dH * slope) @ W_hh.T, from the last step back to the first.",
    ),
)


EXERCISES = (CLIP_BY_NORM, SURELY_VANISHES, BACKWARD_RECURSION, TRAINING_STEP, RESIDUAL_GRADIENT)
