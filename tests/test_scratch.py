"""ScratchRNN computes what torch.nn.RNN and d2l compute, to the last digits, and explains wrong inputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnnlib import text, training
from rnnlib.d2l_bridge import load_d2l, scratch_model
from rnnlib.scratch import ScratchRNN, detach, one_hot, rnn_params

CPU = torch.device("cpu")
exact = {"rtol": 0, "atol": 1e-10}
sizes = st.integers(1, 6)
SENTENCE = "the time traveller for so it will be convenient to speak of him was expounding a recondite matter to us "


def double_model(vocab_size, num_hiddens, seed=0):
    """Return a ScratchRNN in float64 whose weights and biases all matter, and none so much that errors grow in time."""
    torch.manual_seed(seed)
    model = ScratchRNN(vocab_size, num_hiddens, dtype=torch.float64, sigma=num_hiddens**-0.5)
    for b in (model.params[2], model.params[4]):
        b.data.normal_()
    return model


def torch_twin(model):
    """Return torch.nn.RNN and nn.Linear with the weights of a ScratchRNN."""
    W_xh, W_hh, b_h, W_hq, b_q = (p.detach() for p in model.params)
    V, H = W_xh.shape
    layer, linear = torch.nn.RNN(V, H, dtype=W_xh.dtype), torch.nn.Linear(H, V, dtype=W_xh.dtype)
    layer.load_state_dict(
        {"weight_ih_l0": W_xh.T, "weight_hh_l0": W_hh.T, "bias_ih_l0": b_h, "bias_hh_l0": torch.zeros_like(b_h)}
    )
    linear.load_state_dict({"weight": W_hq.T, "bias": b_q})
    return layer, linear


def test_parameters_of_the_classic_model():
    model = ScratchRNN(28, 512)
    shapes = [(28, 512), (512, 512), (512,), (512, 28), (28,)]
    assert [tuple(p.shape) for p in model.params] == shapes
    assert [p.numel() for p in model.params] == [14_336, 262_144, 512, 14_336, 28]
    assert sum(p.numel() for p in model.parameters()) == 291_356
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())


def test_parameters_are_drawn_as_asked():
    W_xh, W_hh, b_h, W_hq, b_q = rnn_params(100, 80, dtype=torch.float64, input_scale=2.0, sigma=0.1)
    for W, scale in ((W_xh, 2.0), (W_hh, 0.1), (W_hq, 0.1)):
        assert W.dtype == torch.float64
        assert float(W.std()) == pytest.approx(scale, rel=0.05)
        assert abs(float(W.mean())) < 0.05 * scale
    assert not b_h.any() and not b_q.any()


def test_same_seed_same_parameters():
    def draw(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in ScratchRNN(5, 4).params])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_shapes_of_a_minibatch():
    model = ScratchRNN(28, 512)
    ids = torch.arange(10).reshape(2, 5)
    logits, state = model(ids, model.begin_state(2))
    assert logits.shape == (10, 28)
    assert state.shape == (2, 512)
    assert model.begin_state(3).shape == (3, 512) and not model.begin_state(3).any()


def test_one_hot_is_time_first():
    ids = torch.tensor([[0, 2], [1, 1], [2, 0]])  # (N, T) = (3, 2)
    rows = one_hot(ids, 4)
    assert rows.shape == (2, 3, 4) and rows.dtype == torch.float32
    assert torch.equal(rows.argmax(-1), ids.T) and torch.equal(rows.sum(-1), torch.ones(2, 3))
    assert torch.equal(one_hot(ids.to(torch.uint8), 4, torch.float64), rows.double())


def test_one_step_by_hand():
    model = ScratchRNN(2, 2, dtype=torch.float64)
    numbers = (
        [[0.5, -1.0], [0.25, 2.0]],  # W_xh
        [[0.1, 0.2], [-0.3, 0.4]],  # W_hh
        [0.05, -0.05],  # b_h
        [[1.0, -1.0], [3.0, 0.5]],  # W_hq
        [0.2, 0.4],  # b_q
    )
    for p, values in zip(model.params, numbers, strict=True):
        p.data = torch.tensor(values, dtype=torch.float64)
    logits, state = model(torch.tensor([[1]]), torch.tensor([[0.6, -0.5]], dtype=torch.float64))
    h = [math.tanh(0.25 + 0.6 * 0.1 + 0.5 * 0.3 + 0.05), math.tanh(2.0 + 0.6 * 0.2 - 0.5 * 0.4 - 0.05)]
    assert state.tolist()[0] == pytest.approx(h, abs=1e-14)
    assert logits.tolist()[0] == pytest.approx([h[0] + 3 * h[1] + 0.2, -h[0] + 0.5 * h[1] + 0.4], abs=1e-14)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(V=sizes, H=sizes, N=sizes, T=sizes, seed=st.integers(0, 99))
@example(V=1, H=1, N=1, T=1, seed=0)
@example(V=28, H=33, N=4, T=35, seed=0)
def test_is_the_rnn_of_torch(V, H, N, T, seed):
    """Logits, last state and every gradient, that of the first state included."""
    model = double_model(V, H, seed)
    layer, linear = torch_twin(model)
    ids, first = torch.randint(V, (N, T)), torch.randn(N, H, dtype=torch.float64)
    ours, theirs = first.clone().requires_grad_(), first.clone().requires_grad_()

    logits, state = model(ids, ours)
    outputs, last = layer(F.one_hot(ids.T, V).double(), theirs[None])
    expected = linear(outputs).reshape(T * N, V)
    torch.testing.assert_close(logits, expected, **exact)
    torch.testing.assert_close(state, last[0], **exact)

    towards = torch.randn_like(logits), torch.randn_like(state)
    torch.autograd.backward((logits, state), towards)
    torch.autograd.backward((expected, last[0]), towards)
    pairs = [
        (model.params[0].grad, layer.weight_ih_l0.grad.T),
        (model.params[1].grad, layer.weight_hh_l0.grad.T),
        (model.params[2].grad, layer.bias_ih_l0.grad),
        (model.params[3].grad, linear.weight.grad.T),
        (model.params[4].grad, linear.bias.grad),
        (ours.grad, theirs.grad),
    ]
    for got, want in pairs:
        torch.testing.assert_close(got, want, **exact)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(T=st.integers(2, 9), data=st.data())
def test_a_carried_state_makes_one_long_run(T, data):
    model = double_model(7, 5)
    cut = data.draw(st.integers(1, T - 1))
    ids = torch.randint(7, (3, T))
    logits, state = model(ids)
    first, middle = model(ids[:, :cut])
    second, last = model(ids[:, cut:], middle)
    torch.testing.assert_close(torch.cat([first, second]), logits, **exact)  # time first, so the runs just follow
    torch.testing.assert_close(last, state, **exact)


def test_rows_do_not_mix():
    """Row t * N + n of the logits belongs to sequence n at time step t."""
    model = double_model(7, 5)
    ids = torch.randint(7, (3, 4))
    logits, state = model(ids)
    for n in range(3):
        alone, last = model(ids[n : n + 1])
        torch.testing.assert_close(logits[n::3], alone, **exact)
        torch.testing.assert_close(state[n : n + 1], last, **exact)


def test_starts_from_zeros_by_default():
    model = double_model(7, 5)
    ids = torch.randint(7, (3, 4), dtype=torch.int32)
    torch.testing.assert_close(model(ids), model(ids, torch.zeros(3, 5, dtype=torch.float64)), **exact)


def test_detach_cuts_the_graph_and_keeps_the_values():
    H = torch.ones(2, requires_grad=True) * 3
    for state in (H, (H, H * 2)):
        cut = detach(state)
        assert type(cut) is type(state)
        for before, after in zip(state, cut, strict=True):
            assert torch.equal(before, after) and not after.requires_grad
    outer, (inner, _) = detach((H, (H, H)))  # a state of states
    assert not outer.requires_grad and not inner.requires_grad


@pytest.fixture(scope="module")
def d2l():
    try:
        return load_d2l()
    except ImportError as reason:  # whatever the cause; tests/test_d2l_bridge.py sees to it that it is a good one
        pytest.skip(str(reason))


@pytest.mark.parametrize("make_batches", [text.sequential_batches, text.random_batches])
def test_trains_step_for_step_as_d2l(d2l, monkeypatch, make_batches):
    """The same weights and minibatches give the same losses in 20 steps of d2l's own training loop."""
    V, H, lr = 28, 64, 1.0
    corpus = text.Vocab(SENTENCE)[(list(SENTENCE) * 9)[: 20 * 4 * 10 + 1]]
    batches = make_batches(corpus, 4, 10, offset=0)
    minibatches = list(batches)
    assert len(minibatches) == 20
    ours, theirs = ScratchRNN(V, H, sigma=0.1), scratch_model(V, H, CPU)
    for p, q in zip(ours.params, theirs.params, strict=True):
        q.data.copy_(p.data)

    losses, norms, cross_entropy = [], [], F.cross_entropy

    def recorded(logits, targets):
        losses.append(cross_entropy(logits, targets))
        return losses[-1]

    def updater(batch_size):
        norms.append(float(torch.sqrt(sum((p.grad**2).sum() for p in theirs.params))))
        d2l.sgd(theirs.params, lr, batch_size)

    shuffled = make_batches is text.random_batches
    perplexity, _ = d2l.train_epoch_ch8(theirs, minibatches, recorded, updater, CPU, use_random_iter=shuffled)
    expected, losses = torch.stack(losses).detach(), []
    assert norms.count(pytest.approx(1, abs=1e-5)) >= 5, "the clipping was at work"
    assert expected[-1] < expected[0] - 0.5, "something was learned"

    again = minibatches if shuffled else batches  # a list, so that the order is the same
    monkeypatch.setattr(F, "cross_entropy", recorded)
    nll, tokens = training.train_epoch(ours, again, torch.optim.SGD(ours.parameters(), lr), clip=1.0)
    torch.testing.assert_close(torch.stack(losses).detach(), expected, rtol=1e-6, atol=1e-6)
    assert math.exp(nll / tokens) == pytest.approx(perplexity, rel=1e-5)
    for p, q in zip(ours.params, theirs.params, strict=True):
        torch.testing.assert_close(p.data, q.data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [0, -3, 2.0, "8", None, True])
@pytest.mark.parametrize("name", ["vocab_size", "num_hiddens"])
def test_sizes_must_be_positive_whole_numbers(name, size):
    arguments = {"vocab_size": 5, "num_hiddens": 4, name: size}
    with pytest.raises(ValueError, match=f"^{name}={size!r} must be a whole number of at least 1$"):
        ScratchRNN(**arguments)
    with pytest.raises(ValueError, match=name):
        rnn_params(**arguments)


WRONG_IDS = {
    "a list": ([[1, 2]], r"not a list: use torch\.tensor\(ids\)"),
    "one row without its batch": (torch.tensor([1, 2]), r"shape \(N, T\), at least \(1, 1\), not \(2,\)"),
    "one-hot rows": (torch.zeros(2, 3, 5), r"not \(2, 3, 5\)"),
    "no time step": (torch.zeros(2, 0, dtype=torch.long), r"not \(2, 0\)"),
    "no row": (torch.zeros(0, 3, dtype=torch.long), r"not \(0, 3\)"),
    "real numbers": (torch.zeros(2, 3), r"whole numbers \(torch\.long\), not torch\.float32: give token ids"),
    "truth values": (torch.ones(2, 3, dtype=torch.bool), r"not torch\.bool"),
    "too large": (torch.tensor([[0, 4], [5, 1]]), "^id 5 is outside 0 to 4: was the text coded with another"),
    "negative": (torch.tensor([[0, -2]]), "^id -2 is outside 0 to 4"),
}


@pytest.mark.parametrize("case", WRONG_IDS)
def test_wrong_ids_are_explained(case):
    ids, message = WRONG_IDS[case]
    with pytest.raises(ValueError, match=message):
        ScratchRNN(5, 4)(ids)


WRONG_STATES = {
    "another batch size": (torch.zeros(3, 4), r"shape \(3, 4\) but these ids need \(2, 4\): call begin_state"),
    "another network": (torch.zeros(2, 5), r"shape \(2, 5\) but these ids need \(2, 4\)"),
    "no batch": (torch.zeros(4), r"shape \(4,\)"),
    "a text": ("abc", "the state is a str, not a tensor or a tuple of tensors: begin with begin_state"),
    "an array": (np.zeros((2, 4)), "the state is a ndarray"),
    "more digits": (torch.zeros(2, 4).double(), r"torch.float64 but .* convert it with .to\(torch.float32\)"),
    "a tuple": ((torch.zeros(2, 4),), r"shape \[\(2, 4\)\] but these ids need \(2, 4\)"),
}


@pytest.mark.parametrize("case", WRONG_STATES)
def test_wrong_states_are_explained(case):
    state, message = WRONG_STATES[case]
    with pytest.raises(ValueError, match=message):
        ScratchRNN(5, 4)(torch.tensor([[1, 2], [3, 4]]), state)
