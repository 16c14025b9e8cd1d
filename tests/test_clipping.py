"""clip_gradients scales all gradients together, as PyTorch does; clipping per tensor or by value is caught."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rnnlib import scratch, text, training
from rnnlib.scratch import clip_gradients

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


def test_a_gradient_that_is_not_finite_shows_in_the_norm():
    for bad in (math.nan, math.inf):
        params = params_with_gradients([(3,)], scale=1.0)
        params[0].grad[1] = bad
        assert not torch.isfinite(clip_gradients(params, 1.0))


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


FAULTS = {
    "per tensor": (per_tensor, 1.0),
    "by value": (by_value, 1.0),
    "always rescaled": (always_rescaled, 100.0),
    "norm afterwards": (norm_afterwards, 1.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault):
    clip, theta = FAULTS[fault]
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
