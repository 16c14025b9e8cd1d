"""Gradients by hand against autograd, clipping against PyTorch and by hand."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rnnlib import gradients, scratch, text, training
from rnnlib.gradients import bptt, clip_gradients, cross_entropy, detach, squared_error
from rnnlib.guards import Diverged
from rnnlib.scratch import rnn

NAMES = ("W_xh", "W_hh", "b_h", "W_hq", "b_q", "H_0")
AUTOGRAD_LOSS = {cross_entropy: F.cross_entropy, squared_error: F.mse_loss}
sizes = st.integers(1, 6)


def draw_case(T, N, V, num_hiddens, loss, seed=0):
    """Draw inputs, targets, a nonzero state and five parameters, all large enough to matter, in float64."""
    torch.manual_seed(seed)
    params = scratch.rnn_params(V, num_hiddens, dtype=torch.float64, sigma=0.7)
    for b in (params[2], params[4]):
        b.normal_()
    ids, targets = torch.randint(V, (N, T)), torch.randint(V, (T * N,))
    inputs = text.one_hot(ids, V, torch.float64)  # (T, N, V)
    if loss is squared_error:
        inputs, targets = torch.randn_like(inputs), torch.randn(T * N, V, dtype=torch.float64)
    return inputs, targets, torch.randn(N, num_hiddens, dtype=torch.float64), params


def by_autograd(inputs, targets, H, params, loss):
    """Return what bptt returns, with the gradients left to autograd."""
    leaves = [p.clone().requires_grad_() for p in (*params, H)]
    outputs, _ = rnn(inputs, leaves[-1], leaves[:-1])
    value = AUTOGRAD_LOSS[loss](outputs, targets)
    *grads, dH = torch.autograd.grad(value, leaves)
    return value.detach(), grads, dH


def assert_equals_autograd(function, case, loss):
    """Compare loss, five gradients and the state's gradient with autograd's, to 1e-10."""
    value, grads, dH = function(*case, loss)
    expected_value, expected, expected_dH = by_autograd(*case, loss)
    assert abs(value - expected_value) < 1e-10
    for name, got, wanted in zip(NAMES, (*grads, dH), (*expected, expected_dH), strict=True):
        assert got.shape == wanted.shape, name
        assert (got - wanted).abs().max() < 1e-10, name


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, sizes, sizes, st.sampled_from([cross_entropy, squared_error]), st.integers(0, 99))
@example(1, 1, 1, 1, cross_entropy, 0)
@example(1, 4, 3, 5, squared_error, 0)
@example(6, 1, 3, 5, cross_entropy, 0)
def test_equals_autograd_for_any_shape(T, N, V, num_hiddens, loss, seed):
    assert_equals_autograd(bptt, draw_case(T, N, V, num_hiddens, loss, seed), loss)


@pytest.mark.parametrize("loss", AUTOGRAD_LOSS)
def test_equals_autograd_over_a_hundred_steps(loss):
    inputs, targets, H, params = draw_case(100, 3, 28, 32, loss)
    params[1] /= 4  # a spectral radius of 1: the gradients neither vanish nor explode
    assert_equals_autograd(bptt, (inputs, targets, H, params), loss)


@pytest.mark.parametrize("loss", AUTOGRAD_LOSS)
def test_equals_autograd_when_saturated(loss):
    inputs, targets, H, params = draw_case(20, 2, 5, 6, loss)
    params[0] *= 30
    assert_equals_autograd(bptt, (inputs, targets, H, params), loss)


def test_by_finite_differences():
    inputs, targets, H, params = draw_case(4, 2, 3, 2, cross_entropy)
    _, grads, _ = bptt(inputs, targets, H, params)
    for p, gradient in zip(params, grads, strict=True):
        for i in range(p.numel()):
            values = []
            for step in (1e-5, -2e-5):
                p.view(-1)[i] += step
                values.append(float(bptt(inputs, targets, H, params)[0]))
            p.view(-1)[i] += 1e-5
            assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(gradient.view(-1)[i]), abs=1e-8)


def test_changes_nothing_and_builds_no_graph():
    inputs, targets, H, params = draw_case(5, 2, 3, 4, cross_entropy)
    case = (inputs, targets, H, *params)
    before = [tensor.clone() for tensor in case]
    for p in params:
        p.requires_grad_()
    value, grads, dH = bptt(inputs, targets, H, params)
    assert not any(tensor.requires_grad for tensor in (value, *grads, dH))
    assert all(p.grad is None for p in params)
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(case, before, strict=True))


def test_trains_like_autograd():
    """Twenty steps of SGD, by hand and by autograd, end in the same parameters."""
    torch.manual_seed(0)
    ids = torch.randint(7, (400,))
    model = scratch.ScratchRNN(7, 8, dtype=torch.float64, sigma=0.3)
    params = [p.detach().clone() for p in model.params]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    by_hand, expected = [], []
    for _ in range(4):
        for X, Y in text.random_batches(ids, 4, 10, seed=1):
            H = torch.zeros(4, 8, dtype=torch.float64)
            value, grads, _ = bptt(text.one_hot(X, 7, H.dtype), Y.T.reshape(-1), H, params)
            for p, g in zip(params, grads, strict=True):
                p -= 0.5 * g
            by_hand.append(float(value))
            logits, _ = model(X)
            loss = F.cross_entropy(logits, Y.T.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(float(loss.detach()))
    assert by_hand == pytest.approx(expected, abs=1e-10)
    assert all((p - q).abs().max() < 1e-10 for p, q in zip(params, model.params, strict=True))
    assert by_hand[-1] < by_hand[0]


FAULTS = {
    "tanh' dropped": (" * (1 - after[t] ** 2)", ""),
    "tanh' of the state before": ("(1 - after[t] ** 2)", "(1 - before[t] ** 2)"),
    "no path through time": ("(D[t] + dH)", "D[t]"),
    "forwards in time": ("in reversed(range(len(inputs)))", "in range(len(inputs))"),
    "W_hh not transposed": ("D[t] @ W_hh.T", "D[t] @ W_hh"),
    "last step only": ("before.T @ D,", "before[-len(H):].T @ D[-len(H):],"),
    "W_hh meets the state after": ("before.T @ D,", "after.T @ D,"),
    "state's gradient without W_hh": ("return value, grads, dH", "return value, grads, D[:len(H)]"),
}


def with_fault(old, new):
    """Return bptt with one place of its source changed."""
    source = inspect.getsource(bptt)
    assert source.count(old) == 1, f"the fault has lost its place: {old}"
    names = dict(vars(gradients))
    exec(source.replace(old, new), names)
    return names["bptt"]


@pytest.mark.parametrize("loss", AUTOGRAD_LOSS)
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault, loss):
    case = draw_case(4, 3, 5, 5, loss)
    with pytest.raises(AssertionError):
        assert_equals_autograd(with_fault(*FAULTS[fault]), case, loss)


def test_losses_against_torch():
    outputs = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    for loss, targets in ((cross_entropy, torch.randint(5, (6,))), (squared_error, torch.randn(6, 5).double())):
        value, gradient = loss(outputs.detach(), targets)
        expected = AUTOGRAD_LOSS[loss](outputs, targets)
        assert abs(value - expected) < 1e-12
        assert (gradient - torch.autograd.grad(expected, outputs)[0]).abs().max() < 1e-12


def test_cross_entropy_of_huge_logits_is_finite():
    value, gradient = cross_entropy(torch.tensor([[1e4, -1e4], [0.0, 3e4]]), torch.tensor([0, 1]))
    assert value == 0 and gradient.abs().max() == 0
    assert math.isfinite(cross_entropy(torch.tensor([[1e30, -1e30]]), torch.tensor([1]))[0])


def windows_of_a_carried_state(cut):
    """Train over three windows with a carried state, cut by a function between them; return the graph's last depth."""
    model = scratch.ScratchRNN(5, 4, dtype=torch.float64, sigma=0.5)
    state, depths = model.begin_state(2), []
    for _ in range(3):
        logits, state = model(torch.randint(5, (2, 3)), cut(state))
        loss = logits.logsumexp(1).mean()
        loss.backward()
        depths.append(tanh_nodes(loss))
    return depths


def tanh_nodes(loss):
    """Count the steps of the recurrence in the graph of a loss."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return sum("Tanh" in node.name() for node in seen)


def test_a_detached_state_keeps_the_graph_short():
    assert windows_of_a_carried_state(detach) == [3, 3, 3]


@pytest.mark.parametrize("cut", [lambda state: state, lambda state: (state.detach(), state)[1]])
def test_a_state_that_is_not_detached_is_caught(cut):
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        windows_of_a_carried_state(cut)


def test_a_detached_state_keeps_its_values():
    state = torch.randn(2, 3, requires_grad=True) * 2
    cut = detach(state)
    assert torch.equal(cut, state) and not cut.requires_grad and cut.data_ptr() == state.data_ptr()
    assert all(not part.requires_grad for part in detach((state, state + 1)))


shapes = st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=5)


def params_with_gradients(shapes, scale, seed=0, missing=()):
    """Draw parameters with gradients of this scale; those at the places in ``missing`` have none."""
    torch.manual_seed(seed)
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    for place, p in enumerate(params):
        if place not in missing:
            p.grad = scale * torch.randn_like(p)
    return params


def laid_end_to_end(params):
    return torch.cat([p.grad.flatten() for p in params if p.grad is not None])


def assert_clips_like_torch(clip, shapes, theta, scale, seed=0, missing=()):
    """Compare the gradients left behind and the norm returned with those of torch.nn.utils.clip_grad_norm_."""
    ours, theirs = (params_with_gradients(shapes, scale, seed, missing) for _ in range(2))
    norm = clip(iter(ours), theta)
    expected_norm = nn.utils.clip_grad_norm_(theirs, theta)
    assert torch.allclose(norm, expected_norm.to(norm.dtype), rtol=1e-12, atol=0)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        assert p.grad is None or torch.allclose(p.grad, q.grad, rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 99), st.sets(st.integers(0, 4)))
@example([(3, 2), (3,)], 1.0, 100.0, 0, {1})
@example([()], 1.0, 0.0, 0, set())
@example([(2,)], 1.0, 1.0, 0, {0})
@example([(4, 4), (4,)], math.inf, 5.0, 0, set())
def test_equals_torch(shapes, theta, scale, seed, missing):
    assert_clips_like_torch(clip_gradients, shapes, theta, scale, seed, missing)


def test_a_worked_case():
    params = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    params[0].grad, params[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert clip_gradients(params, 1.0) == 5.0  # the norm before clipping
    assert torch.allclose(laid_end_to_end(params), torch.tensor([0.6, 0.8]), atol=1e-6)
    assert torch.allclose(clip_gradients(params, 1.0), torch.tensor(1.0), atol=1e-6)


def test_a_small_gradient_is_left_alone():
    params = params_with_gradients([(4, 4), (4,)], scale=1e-3)
    before = laid_end_to_end(params)
    clip_gradients(params, 1.0)
    assert torch.equal(laid_end_to_end(params), before)


def test_the_direction_stays_and_the_norm_is_theta():
    params = params_with_gradients([(9, 4), (4,), (4, 9)], scale=10.0)
    before = laid_end_to_end(params)
    clip_gradients(params, 0.5)
    after = laid_end_to_end(params)
    assert torch.cosine_similarity(before, after, dim=0) == pytest.approx(1, abs=1e-12)
    assert after.norm() == pytest.approx(0.5, rel=1e-6)


def test_no_gradient_anywhere():
    assert clip_gradients([nn.Parameter(torch.ones(2))], 1.0) == 0
    assert clip_gradients([], 1.0) == 0


def test_a_gradient_that_is_not_finite_is_refused_and_kept():
    for bad in (math.nan, math.inf):
        params = params_with_gradients([(3,)], scale=1.0)
        params[0].grad[1] = bad
        before = params[0].grad.clone()
        with pytest.raises(Diverged, match=f"their norm is {bad}"):
            clip_gradients(params, 1.0)
        assert torch.equal(params[0].grad.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("theta", [0, -1.0, math.nan])
def test_theta_must_be_above_zero(theta):
    with pytest.raises(ValueError, match="must be above 0: it is the largest gradient norm"):
        clip_gradients(params_with_gradients([(3,)], 1.0), theta)


def per_tensor(params, theta):
    """Give every tensor the norm theta of its own."""
    params = list(params)
    norm = laid_end_to_end(params).norm()
    for p in params:
        p.grad *= torch.clamp(theta / (p.grad.norm() + 1e-6), max=1.0)
    return norm


def by_value(params, theta):
    """Cut every entry off at theta."""
    params = list(params)
    norm = laid_end_to_end(params).norm()
    for p in params:
        p.grad.clamp_(-theta, theta)
    return norm


def always_rescaled(params, theta):
    """Leave the minimum with 1 out, so that small gradients grow."""
    params = list(params)
    norm = laid_end_to_end(params).norm()
    for p in params:
        p.grad *= theta / (norm + 1e-6)
    return norm


def norm_afterwards(params, theta):
    """Report the norm that is left."""
    params = list(params)
    clip_gradients(params, theta)
    return laid_end_to_end(params).norm()


CLIPPING_FAULTS = {
    "per tensor": (per_tensor, 1.0),
    "by value": (by_value, 1.0),
    "always rescaled": (always_rescaled, 100.0),
    "norm afterwards": (norm_afterwards, 1.0),
}


@pytest.mark.parametrize("fault", CLIPPING_FAULTS)
def test_planted_clipping_fault_is_caught(fault):
    clip, theta = CLIPPING_FAULTS[fault]
    with pytest.raises(AssertionError):
        assert_clips_like_torch(clip, [(5, 4), (4,)], theta, scale=3.0)


def relu_rnn(inputs, H, params):
    """The recurrence with ReLU, which lets states and gradients grow."""
    W_xh, W_hh, b_h, W_hq, b_q = params
    outputs = []
    for X in inputs:
        H = torch.relu(X @ W_xh + H @ W_hh + b_h)
        outputs.append(H @ W_hq + b_q)
    return torch.cat(outputs), H


class ReluRNN(scratch.ScratchRNN):
    recurrence = staticmethod(relu_rnn)


def train_relu(clip, epochs):
    """Train a ReLU network that starts at the identity, on a hundred steps a time, on a short repeating text."""
    torch.manual_seed(0)
    model = ReluRNN(7, 32)
    nn.init.eye_(model.params[1])
    ids = (torch.arange(4000) ** 2) % 7
    batches = text.random_batches(ids, 16, 100)
    return training.fit(model, batches, epochs, lr=0.3, clip=clip, report=lambda *_: None)


def test_without_clipping_the_gradients_explode_and_fit_says_so():
    history = train_relu(math.inf, 5)
    assert history.status == "diverged" and len(history) == 0


def test_with_clipping_the_same_network_trains():
    history = train_relu(0.3, 30)
    assert history.status == "finished"
    assert history[-1]["train"] < 0.7 * history[0]["train"]
