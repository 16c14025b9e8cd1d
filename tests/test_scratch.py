"""The network from scratch against torch.nn and d2l; what it writes, and how it draws."""

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rnnlib import guards, scratch, text
from rnnlib.d2l_bridge import d2l_model, load_d2l
from rnnlib.environment import evaluating, single_steps
from rnnlib.gradients import detach
from rnnlib.scratch import ScratchRNN, generate, next_token_probabilities, rnn_params
from rnnlib.text import one_hot

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
    ours, theirs = ScratchRNN(V, H, sigma=0.1), d2l_model(V, H, CPU)
    for p, q in zip(ours.params, theirs.params, strict=True):
        q.data.copy_(p.data)

    losses, norms, cross_entropy = [], [], F.cross_entropy

    def recorded(logits, targets, **options):
        losses.append(cross_entropy(logits, targets))
        return cross_entropy(logits, targets, **options)

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
    nll, tokens = scratch.train_epoch(ours, again, torch.optim.SGD(ours.parameters(), lr), clip=1.0)
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


ALPHABET = " abcdefghijklmnopqrstuvwxyz"
VOCAB = text.Vocab(ALPHABET)
logits_lists = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=8)
properties = settings(derandomize=True, deadline=None, max_examples=100)


def lively_model(seed=0):
    """Return an untrained network that is far from uniform."""
    torch.manual_seed(seed)
    return ScratchRNN(len(VOCAB), 16, sigma=0.5)


class Memoryless(nn.Module):
    """Always predicts the same distribution, over V tokens; its state counts the tokens that it has read."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log())
        self.read, self.modes = [], []

    def begin_state(self, batch_size, device=None):
        return torch.zeros(batch_size, 1, device=device)

    def forward(self, ids, state=None):
        assert ids.shape[0] == 1 and ids.dtype == torch.long
        assert int(state) == len(self.read), "the state comes from the token before"
        self.read += ids[0].tolist()
        self.modes.append((self.training, torch.is_grad_enabled()))
        return self.logits.repeat(ids.shape[1], 1), state + ids.shape[1]


class TupleModel(nn.Module):
    """A language model on nn.LSTM, whose state is a tuple."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(len(VOCAB), 8), nn.LSTM(8, 8)
        self.dropout, self.linear = nn.Dropout(0.5), nn.Linear(8, len(VOCAB))

    def begin_state(self, batch_size, device=None):
        zeros = torch.zeros(1, batch_size, 8, device=device)
        return zeros, zeros

    def forward(self, ids, state=None):
        outputs, state = self.layer(self.dropout(self.embedding(ids.T)), state)
        return 5 * self.linear(outputs.flatten(0, 1)), state


def entropy(p):
    return float(torch.special.entr(p).sum())


# The distribution to draw from


@properties
@given(logits=logits_lists)
def test_temperature_one_is_softmax(logits):
    logits = torch.tensor(logits)
    torch.testing.assert_close(next_token_probabilities(logits), torch.softmax(logits, -1))


def test_temperature_by_hand():
    """p is proportional to exp(logit / T): the odds of 8 to 1 become 64 to 1 at T = 1/2 and 2 to 1 at T = 3."""
    logits = torch.tensor([math.log(8.0), 0.0])
    for temperature, odds in ((1, 8), (0.5, 64), (3, 2)):
        p = next_token_probabilities(logits, temperature)
        assert float(p[0] / p[1]) == pytest.approx(odds, rel=1e-5)


@properties
@given(logits=logits_lists, top_k=st.integers(1, 8))
def test_temperature_zero_is_argmax(logits, top_k):
    p = next_token_probabilities(torch.tensor(logits), 0, top_k=min(top_k, len(logits)))
    assert p.tolist() == [float(i == logits.index(max(logits))) for i in range(len(logits))]


def test_greedy_takes_the_first_of_equals():
    assert next_token_probabilities(torch.tensor([1.0, 3.0, 3.0]), 0).tolist() == [0, 1, 0]
    assert next_token_probabilities(torch.zeros(4), 0.0).tolist() == [1, 0, 0, 0]


@properties
@given(logits=logits_lists, temperatures=st.tuples(st.floats(0.01, 50), st.floats(0.01, 50)))
def test_higher_temperature_means_more_entropy(logits, temperatures):
    low, high = (next_token_probabilities(torch.tensor(logits), T) for T in sorted(temperatures))
    assert entropy(low) <= entropy(high) + 1e-4
    for p in (low, high):
        assert float(p.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("temperature", [1e-3, 1e-10, 1e-40, 1e-50, 1e-300, 5e-324])
@pytest.mark.parametrize("top_k", [None, 2])
def test_tiny_temperature_is_greedy(temperature, top_k):
    logits = torch.tensor([[1.0, 2.0, -3.0], [900.0, 1000.0, -math.inf]])
    assert next_token_probabilities(logits, temperature, top_k).tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("temperature", [1e6, 1e38, 1e300])
def test_huge_temperature_is_uniform(temperature):
    logits = torch.tensor([1.0, 2.0, -3.0, 0.0])
    torch.testing.assert_close(next_token_probabilities(logits, temperature), torch.full((4,), 0.25))
    torch.testing.assert_close(next_token_probabilities(logits, temperature, 2), torch.tensor([0.5, 0.5, 0, 0]))


@properties
@given(logits=logits_lists, temperature=st.floats(0.1, 5), data=st.data())
def test_top_k_keeps_the_k_largest_and_renormalises(logits, temperature, data):
    k = data.draw(st.integers(1, len(logits)))
    logits = torch.tensor(logits, dtype=torch.float64)
    p, full = next_token_probabilities(logits, temperature, k), next_token_probabilities(logits, temperature)
    kept = p > 0
    assert int(kept.sum()) == k, "exactly k, also among equals"
    assert k == len(logits) or logits[kept].min() >= logits[~kept].max()
    torch.testing.assert_close(p[kept], full[kept] / full[kept].sum())
    assert float(p.sum()) == pytest.approx(1)


def test_top_k_of_equals():
    p = next_token_probabilities(torch.zeros(5), 1.0, 2)
    assert sorted(p.tolist()) == [0, 0, 0, 0.5, 0.5]


@properties
@given(logits=st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True))
def test_top_one_is_greedy(logits):
    logits = torch.tensor(logits, dtype=torch.float32)
    for temperature in (0.0, 0.1, 1.0, 10.0):
        assert torch.equal(next_token_probabilities(logits, temperature, 1), next_token_probabilities(logits, 0))


@pytest.mark.parametrize("temperature", [0, 0.5])
def test_rows_are_treated_one_by_one(temperature):
    logits = torch.randn(2, 3, 7)
    p = next_token_probabilities(logits, temperature, 4)
    assert p.shape == (2, 3, 7)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(p[i, j], next_token_probabilities(logits[i, j], temperature, 4))


def test_logits_are_left_alone():
    logits = torch.randn(7)
    before = logits.clone()
    for temperature in (0, 0.5):
        next_token_probabilities(logits, temperature, 3)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("temperature", "top_k", "expected"),
    [
        (1.0, None, [0.5, 0.3, 0.15, 0.05]),
        (0.5, None, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (1.0, 2, [0.625, 0.375, 0, 0]),
    ],
)
def test_generate_draws_from_this_distribution(temperature, top_k, expected):
    """Pearson's chi-square of 4000 draws; 3 degrees of freedom exceed 30 once in a million seeds."""
    vocab = text.Vocab("abcd")  # and <unk>, which is never drawn: the others share its probability
    draws = generate(Memoryless([0.2, 0.4, 0.24, 0.12, 0.04]), vocab, ["a"], 4000, temperature, top_k, seed=1)[1:]
    counts = [draws.count(token) for token in vocab.tokens[1:]]
    assert sum(counts) == 4000
    assert all(count == 0 for count, p in zip(counts, expected, strict=True) if p == 0)
    assert sum((count - 4000 * p) ** 2 / (4000 * p) for count, p in zip(counts, expected, strict=True) if p) < 30


# Generation


@pytest.mark.parametrize(("prefix", "num_tokens"), [("abc", 5), ("a", 1), ("ab", 0)])
def test_every_token_is_read_exactly_once(prefix, num_tokens):
    model, vocab = Memoryless([0.25] * 4), text.Vocab("abc")
    written = generate(model, vocab, list(prefix), num_tokens, seed=3)
    assert written[: len(prefix)] == list(prefix)
    assert len(model.read) == len(written) == len(prefix) + num_tokens
    assert vocab.decode(model.read) == written
    assert set(model.modes) == {(False, False)}, "evaluation mode, no graph"


@pytest.mark.parametrize("make_model", [lively_model, TupleModel])
def test_greedy_equals_reading_everything_again_each_time(make_model):
    """The carried state stands for all that was read: ids, logits and argmax, without the state, give the same."""
    model = make_model().eval()
    ids = VOCAB[list("time traveller")]
    for _ in range(15):
        logits, _ = model(torch.tensor([ids]), model.begin_state(1))
        ids.append(1 + int(logits[-1, 1:].argmax()))  # <unk> is never written
    expected = VOCAB.decode(ids)
    assert len(set(expected[14:])) > 1
    assert generate(model, VOCAB, list("time traveller"), 15, temperature=0) == expected


def test_greedy_needs_no_seed():
    model = lively_model()
    assert generate(model, VOCAB, "the", 20, 0, seed=1) == generate(model, VOCAB, "the", 20, 0, seed=2)
    assert generate(model, VOCAB, "the", 20, 0) == generate(model, VOCAB, "the", 20, 1.0, top_k=1)


@pytest.mark.parametrize("make_model", [lively_model, TupleModel])
def test_same_seed_same_text(make_model):
    model = make_model()
    assert generate(model, VOCAB, "the", 30, seed=1) == generate(model, VOCAB, "the", 30, seed=1)
    assert generate(model, VOCAB, "the", 30, seed=1) != generate(model, VOCAB, "the", 30, seed=2)


def test_without_a_seed_every_text_is_new():
    model, texts = lively_model(), set()
    for _ in range(3):
        torch.manual_seed(0)  # a chapter begins so; its texts vary all the same
        texts.add(generate(model, VOCAB, "the", 30))
    assert len(texts) == 3


@pytest.mark.parametrize("seed", [None, 1])
def test_global_random_state_is_untouched(seed):
    model = lively_model()

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    generate(model, VOCAB, "the", 5, seed=seed)
    assert states() == before


def test_text_for_a_text_and_list_for_a_list():
    model = lively_model()
    as_text = generate(model, VOCAB, "the", 9, seed=1)
    as_list = generate(model, VOCAB, ["t", "h", "e"], 9, seed=1)
    assert isinstance(as_text, str) and as_text.startswith("the")
    assert isinstance(as_list, list) and len(as_list) == 12
    assert "".join(as_list) == as_text


def test_model_of_words():
    words = text.Vocab(["the", "time", "machine", "and", "the", "traveller"])
    torch.manual_seed(0)
    model = ScratchRNN(len(words), 8)
    written = generate(model, words, ["the", "time"], 4, seed=0)
    assert written[:2] == ["the", "time"] and len(written) == 6
    assert all(token in words for token in written)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("was_training", [True, False])
def test_mode_and_settings_are_restored(monkeypatch, was_training, fast):
    model = TupleModel().train(was_training)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", fast)
    generate(model, VOCAB, "the", 3)
    assert model.training is was_training and model.dropout.training is was_training
    with pytest.raises(KeyboardInterrupt), evaluating(model):
        assert not model.training and torch.backends.mkldnn.enabled is fast
        raise KeyboardInterrupt
    with single_steps():
        assert not torch.backends.mkldnn.enabled
    assert model.training is was_training and model.dropout.training is was_training
    assert torch.backends.mkldnn.enabled is fast


def test_guards_look_once_at_what_a_loop_of_single_steps_reads(monkeypatch):
    looked = []
    check_ids = guards.check_ids
    monkeypatch.setattr(guards, "check_ids", lambda ids, V: looked.append(tuple(ids.shape)) or check_ids(ids, V))
    model = ScratchRNN(len(VOCAB), 4)
    generate(model, VOCAB, "the", 50)
    assert not looked
    with pytest.raises(KeyboardInterrupt), single_steps():
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match=r"^id 99 is outside 0 to"):
        model(torch.tensor([[99]]))


def test_dropout_is_off():
    model = TupleModel().train()
    assert len({generate(model, VOCAB, "the time", 30, temperature=0) for _ in range(3)}) == 1


# Wrong arguments


@pytest.mark.parametrize("temperature", [-0.1, -math.inf, math.inf, math.nan])
def test_wrong_temperature_is_explained(temperature):
    message = f"^temperature={temperature!r} must be a finite number above 0 .*, or 0 for greedy$"
    with pytest.raises(ValueError, match=message):
        next_token_probabilities(torch.zeros(3), temperature)
    with pytest.raises(ValueError, match=message):
        generate(lively_model(), VOCAB, "the", 3, temperature)


@pytest.mark.parametrize("top_k", [0, -1, 4, 1.5, "2", True])
def test_wrong_top_k_is_explained(top_k):
    with pytest.raises(ValueError, match=f"^top_k={top_k!r} must be a whole number from 1 to the vocabulary size, 3$"):
        next_token_probabilities(torch.zeros(3), 1.0, top_k)


@pytest.mark.parametrize("size", [20, 30])
def test_vocabulary_of_another_model_is_named(size):
    with pytest.raises(ValueError, match=f"the model has {size} tokens but the vocabulary has 28: give the one"):
        generate(ScratchRNN(size, 4), VOCAB, "the", 3)


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_said(temperature, value):
    model = lively_model()
    with torch.no_grad():
        model.params[4][3] = value
    with pytest.raises(ValueError, match=f"the largest logit is {value}, .* train it with a smaller learning rate"):
        generate(model, VOCAB, "the", 3, temperature)


@pytest.mark.parametrize("num_tokens", [-1, 2.0, "5", None, True])
def test_wrong_number_of_tokens_is_explained(num_tokens):
    with pytest.raises(ValueError, match=f"^num_tokens={num_tokens!r} must be a whole number from 0 on$"):
        generate(lively_model(), VOCAB, "the", num_tokens)


@pytest.mark.parametrize("empty", ["", []])
def test_empty_prefix_is_explained(empty):
    with pytest.raises(ValueError, match="the prefix is empty: give the model at least one token"):
        generate(lively_model(), VOCAB, empty, 3)


def test_unknown_tokens_are_named_with_the_remedy():
    model = lively_model()
    prefix = "The Time Machine, 1895"
    with pytest.raises(ValueError) as caught:
        generate(model, VOCAB, prefix, 3)
    message = str(caught.value)
    assert "has tokens that the model has never seen: ',', '1', '5', '8', '9', 'M', 'T'. " in message
    assert "Machine" not in message, "a long prefix is not printed"
    assert "rnnlib.text.clean(prefix)" in message
    assert generate(model, VOCAB, text.clean(prefix), 3).startswith("the time machine")
    with pytest.raises(ValueError, match="never seen: 'time'"):
        generate(model, VOCAB, ["time"], 3)
    words = text.Vocab(["time", "machine"])
    with pytest.raises(ValueError, match="a model of words needs a list of words"):
        generate(ScratchRNN(3, 4), words, "time machine", 3)
