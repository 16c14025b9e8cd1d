"""Reading in both directions: equal to torch.nn, honest about who sees what, and the measurements of chapter 6."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib import directions, gates, layers, scratch, text, training
from rnnlib.directions import Bidirectional, both_ways
from rnnlib.explore.directions import _votes
from rnnlib.gates import ScratchGRU, ScratchLSTM
from rnnlib.gradients import detach
from rnnlib.scratch import ScratchRNN

exact = {"rtol": 0, "atol": 1e-10}
sizes = st.integers(1, 5)
DOUBLE = {"dtype": torch.float64}
VOCAB = text.Vocab("the time traveller abcdfghijkmnopqsuwxyz ")
STEPS = {nn.RNN: directions.rnn_step, nn.LSTM: gates.lstm_step, nn.GRU: gates.gru_step}
CELLS = {nn.RNN: ScratchRNN, nn.LSTM: ScratchLSTM, nn.GRU: ScratchGRU}


def layer_params(layer, which):
    """Return the parameters of one level and direction of a layer of torch as the tensors of rnnlib.scratch."""
    if not isinstance(layer, nn.RNN):
        return gates.from_torch(layer, which)
    W_x, W_h, b_x, b_h = (
        getattr(layer, f"{name}_{which}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return [W_x.T, W_h.T, b_x + b_h]


def start(kind, layers, N, H):
    """Return the random first state of a bidirectional layer of torch: for each row of h_0 a tensor or a pair."""
    rows = [torch.randn(N, H, **DOUBLE, requires_grad=True) for _ in range(2 * layers)]
    if kind is nn.LSTM:
        return [(row, torch.randn(N, H, **DOUBLE, requires_grad=True)) for row in rows]
    return rows


def flat(state):
    """Return all tensors in a nested state."""
    return [state] if isinstance(state, torch.Tensor) else [tensor for part in state for tensor in flat(part)]


def stacked(rows):
    """Return the states of all rows as torch takes and gives them: a tensor, or a pair of tensors."""
    if isinstance(rows[0], torch.Tensor):
        return torch.stack(rows)
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


@pytest.mark.parametrize("kind", STEPS)
@settings(derandomize=True, deadline=None, max_examples=20)
@given(D=sizes, H=sizes, N=sizes, T=sizes, layers=st.integers(1, 3), seed=st.integers(0, 99))
@example(D=1, H=1, N=1, T=1, layers=1, seed=0)
@example(D=3, H=4, N=1, T=6, layers=2, seed=0)
@example(D=3, H=4, N=5, T=1, layers=2, seed=0)
def test_is_the_bidirectional_layer_of_torch(kind, D, H, N, T, layers, seed):
    """Outputs, states and all gradients, those of the inputs and first states included."""
    torch.manual_seed(seed)
    layer = kind(D, H, layers, bidirectional=True, **DOUBLE)
    X = torch.randn(T, N, D, **DOUBLE, requires_grad=True)
    rows = start(kind, layers, N, H)

    outputs, last_rows = X, []
    for level in range(layers):
        params = [layer_params(layer, f"l{level}{end}") for end in ("", "_reverse")]
        outputs, last = both_ways(STEPS[kind], outputs, rows[2 * level : 2 * level + 2], params)
        last_rows += last
    expected, h_n = layer(X, stacked(rows))
    torch.testing.assert_close(outputs, expected, **exact)
    torch.testing.assert_close(stacked(last_rows), h_n, **exact)

    towards = [torch.randn_like(tensor) for tensor in (outputs, *flat(h_n))]
    wanted = [*layer.parameters(), X, *flat(rows)]
    got = torch.autograd.grad([outputs, *flat(stacked(last_rows))], wanted, towards)
    for ours, theirs in zip(got, torch.autograd.grad([expected, *flat(h_n)], wanted, towards), strict=True):
        torch.testing.assert_close(ours, theirs, **exact)


def bidirectional_model(kind, V, H):
    """Return a LanguageModel on a bidirectional layer, and two scratch models with its weights."""
    model = layers.LanguageModel(kind(V, H, bidirectional=True, **DOUBLE), V)
    ahead, back = (CELLS[kind](V, H, **DOUBLE) for _ in range(2))
    readouts = model.linear.weight.T.split(H), (model.linear.bias, torch.zeros(V, **DOUBLE))
    for scratch_model, end, W_hq, b_q in zip((ahead, back), ("", "_reverse"), *readouts, strict=True):
        params = [*layer_params(model.rnn, f"l0{end}"), W_hq, b_q]
        for ours, theirs in zip(scratch_model.params, params, strict=True):
            ours.data.copy_(theirs)
    return model, ahead, back


@pytest.mark.parametrize("kind", CELLS)
@settings(derandomize=True, deadline=None, max_examples=20)
@given(V=st.integers(1, 6), H=sizes, N=sizes, T=sizes, seed=st.integers(0, 99))
@example(V=1, H=1, N=1, T=1, seed=0)
@example(V=28, H=16, N=4, T=35, seed=0)
def test_adding_two_readouts_is_reading_out_both_states(kind, V, H, N, T, seed):
    """Bidirectional equals the bidirectional LanguageModel: logits, states, and the gradients of the weights."""
    torch.manual_seed(seed)
    model, ahead, back = bidirectional_model(kind, V, H)
    ids = torch.randint(V, (N, T))
    logits, state = Bidirectional(ahead, back)(ids)
    expected, h_n = model(ids)
    torch.testing.assert_close(logits, expected, **exact)
    torch.testing.assert_close(stacked(state), h_n, **exact)

    towards = torch.randn_like(logits)
    (logits * towards).sum().backward()
    (expected * towards).sum().backward()
    both = torch.cat([ahead.params[-2].grad, back.params[-2].grad])  # (2H, V)
    torch.testing.assert_close(both, model.linear.weight.grad.T, **exact)
    for scratch_model, end in ((ahead, ""), (back, "_reverse")):
        torch.testing.assert_close(scratch_model.params[-1].grad, model.linear.bias.grad, **exact)
        inputs = torch.cat([W.grad for W in scratch_model.params[:-2] if W.dim() == 2][::2], 1)  # (V, gates * H)
        torch.testing.assert_close(inputs, getattr(model.rnn, f"weight_ih_l0{end}").grad.T, **exact)


@pytest.mark.parametrize("make", [ScratchRNN, ScratchLSTM, ScratchGRU])
def test_bidirectional_has_the_interface_of_every_model(make):
    model = Bidirectional(make(28, 8), make(28, 8))
    corpus = [i * i % 28 for i in range(500)]
    batches = text.random_batches(corpus, 4, 10)
    history = training.fit(model, batches, 2, valid_batches=batches, report=lambda *news: None)
    assert history[-1]["train"] < history[0]["train"]
    logits, state = model(torch.zeros(3, 5, dtype=torch.long), model.begin_state(3))
    assert logits.shape == (15, 28)
    assert [tensor.shape for tensor in flat(state)] == [(3, 8)] * len(flat(state))
    assert not any(tensor.requires_grad for tensor in flat(detach(state)))


def test_bidirectional_explains_wrong_inputs():
    model = Bidirectional(ScratchRNN(5, 3), ScratchRNN(5, 3))
    with pytest.raises(ValueError, match="id 7 is outside 0 to 4"):
        model(torch.tensor([[7]]))
    with pytest.raises(ValueError, match=r"\[\(2, 3\), \(2, 3\)\] but these ids need \[\(1, 3\), \(1, 3\)\]"):
        model(torch.tensor([[1, 2]]), model.begin_state(2))


# Who sees what


def halves(layer):
    """Return the functions from inputs (T, D) to the forward and the backward half of a layer's output (T, H)."""
    H = layer.hidden_size
    return [lambda X, part=part: layer(X[:, None])[0][:, 0, part] for part in (slice(0, H), slice(H, None))]


def test_dependencies_of_known_functions():
    X = torch.randn(4, 2, **DOUBLE)
    factors = torch.tensor([3.0, 4.0], **DOUBLE)
    five = torch.full((4,), 5.0, **DOUBLE).diag()  # |(3, 4)| = 5
    torch.testing.assert_close(directions.dependencies(lambda X: (X * factors).sum(1, keepdim=True), X), five, **exact)
    sums = directions.dependencies(lambda X: X.cumsum(0), X)
    torch.testing.assert_close(sums, math.sqrt(2) * torch.ones(4, 4, **DOUBLE).tril(), **exact)


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("T", [1, 6])
def test_one_layer_sees_two_triangles(kind, T):
    """The exact zeros of autograd: the forward half knows no future and the backward half no past."""
    layer, X = kind(3, 2, bidirectional=True, **DOUBLE), torch.randn(T, 3, **DOUBLE)
    ahead, back = (directions.dependencies(half, X) for half in halves(layer))
    assert torch.equal(ahead > 0, torch.ones(T, T).tril() > 0)
    assert torch.equal(back > 0, torch.ones(T, T).triu() > 0)


def test_two_layers_see_everything():
    layer, X = nn.RNN(3, 2, 2, bidirectional=True, **DOUBLE), torch.randn(5, 3, **DOUBLE)
    assert all((directions.dependencies(half, X) > 0).all() for half in halves(layer))


# The final state


def test_final_state_of_a_layer_without_padding():
    layer, X = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), torch.randn(2, 5, 3)
    output, h_n = layer(X)
    right = torch.cat([output[:, -1, :4], output[:, 0, 4:]], 1)
    torch.testing.assert_close(torch.cat([h_n[-2], h_n[-1]], 1), right)
    torch.testing.assert_close(layers.end_state(layer, h_n), right)
    assert not torch.allclose(output[:, -1], right)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(T=st.integers(2, 6), data=st.data())
def test_final_state_with_padding(T, data):
    """A packed state is that of the sequence alone; output[:, -1] and an unpacked state are not."""
    lengths = torch.tensor([T, data.draw(st.integers(1, T - 1))])
    torch.manual_seed(0)
    layer = nn.GRU(3, 4, bidirectional=True, batch_first=True, **DOUBLE)
    X = torch.randn(2, T, 3, **DOUBLE)
    alone, h_alone = layer(X[1:, : lengths[1]])
    packed, h_n = layer(pack_padded_sequence(X, lengths, batch_first=True, enforce_sorted=False))
    padded, _ = pad_packed_sequence(packed, batch_first=True)
    right = torch.cat([h_alone[-2], h_alone[-1]], 1)
    torch.testing.assert_close(layers.end_state(layer, h_n)[1:], right, **exact)
    torch.testing.assert_close(padded[1:, : lengths[1]], alone, **exact)
    assert not padded[1, lengths[1] :].any(), "zeros after the end"
    unpacked, h_unpacked = layer(X)
    for wrong in (padded[1:, -1], unpacked[1:, -1], layers.end_state(layer, h_unpacked)[1:]):
        assert not torch.allclose(wrong, right)


# Perplexity by position, and writing


class Copier(nn.Module):
    """A model that knows the next token of every position but the last, there it guesses uniformly."""

    def __init__(self, V):
        super().__init__()
        self.V, self.weight = V, nn.Parameter(torch.zeros(1))

    def forward(self, ids, state=None):
        logits = torch.zeros(*ids.T.shape, self.V)
        logits[:-1] = 50.0 * F.one_hot(ids.T[1:], self.V)
        return logits.flatten(0, 1), state


def test_perplexity_by_position_finds_a_copier():
    batches = text.random_batches([i * i % 7 for i in range(200)], 5, 6, offset=0)
    by_position = directions.perplexity_by_position(Copier(7), batches)
    torch.testing.assert_close(by_position, torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 7.0]))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_perplexity_by_position_agrees_with_perplexity(batch_size):
    """Its geometric mean is the perplexity of all tokens."""
    model = Bidirectional(ScratchRNN(7, 5, sigma=0.5), ScratchRNN(7, 5, sigma=0.5))
    batches = text.random_batches([i * i % 7 for i in range(199)], batch_size, 6, offset=0)  # 33 windows
    by_position = directions.perplexity_by_position(model, batches)
    assert float(by_position.log().mean().exp()) == pytest.approx(scratch.perplexity(model, batches), rel=1e-5)


def test_rereading_writes_what_a_carried_state_writes():
    """With a window as long as the text, a forward model writes the same either way."""
    from rnnlib import scratch

    model = ScratchRNN(len(VOCAB), 16, sigma=0.5)
    written = directions.reread_and_write(model, VOCAB, "the time", 30, window=99, seed=3)
    assert written == scratch.generate(model, VOCAB, "the time", 30, seed=3)


def test_rereading_reads_no_further_than_its_window():
    model = ScratchRNN(len(VOCAB), 16, sigma=0.5)
    one, two = (directions.reread_and_write(model, VOCAB, start + "time", 20, window=4) for start in ("the ", "q"))
    assert one[4:] == two[1:]
    with pytest.raises(ValueError, match="window=0"):
        directions.reread_and_write(model, VOCAB, "time", 1, window=0)
    with pytest.raises(ValueError, match="never seen: 'T'"):
        directions.reread_and_write(model, VOCAB, "Time", 1, window=4)


def test_measuring_and_rereading_leave_the_mode_alone():
    layer = nn.GRU(len(VOCAB), 4)
    model = layers.LanguageModel(layer, len(VOCAB), dropout=0.5).train()
    batches = text.sequential_batches([1, 2, 3] * 20, 2, 5)
    directions.perplexity_by_position(model, batches)
    assert model.training
    written = {directions.reread_and_write(model, VOCAB, "time", 20, window=4, seed=1) for _ in range(3)}
    assert model.training and len(written) == 1, "dropout is off meanwhile"


def test_measuring_and_rereading_name_bad_input():
    model = ScratchRNN(len(VOCAB), 4)
    with pytest.raises(ValueError, match="the batches are empty"):
        directions.perplexity_by_position(model, [])
    with pytest.raises(ValueError, match="num_tokens=-2 must be a whole number from 0 on"):
        directions.reread_and_write(model, VOCAB, "time", -2, window=4)
    with pytest.raises(ValueError, match="the model has 5 tokens"):
        directions.reread_and_write(ScratchRNN(5, 4), VOCAB, "time", 2, window=4)


def test_splitter_needs_more_letters_than_a_window():
    splitter = directions.WordSplitter(nn.GRU(5, 3))
    with pytest.raises(ValueError, match="9 letters are too few for windows of num_steps=64"):
        directions.train_splitter(splitter, torch.zeros(9, dtype=torch.long), torch.zeros(9), 1)


# Words without spaces


def test_hide_and_put_spaces():
    letters, ends = directions.hide_spaces("i am the time")
    assert letters == "iamthetime"
    assert ends == [1, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    assert directions.put_spaces(letters, ends) == "i am the time"
    assert directions.put_spaces(letters, [0] * 10) == letters
    with pytest.raises(ValueError, match="no words"):
        directions.hide_spaces("  ")


@settings(derandomize=True, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=6))
def test_hidden_spaces_come_back(words):
    letters, ends = directions.hide_spaces(" ".join(words))
    assert directions.put_spaces(letters, ends) == " ".join(words)
    assert sum(ends) == len(words) == len(directions.word_spans(ends))
    assert directions.words_found(ends, ends) == 1.0


def test_words_found_by_hand():
    _, ends = directions.hide_spaces("a bc def")
    assert directions.word_spans(ends) == {(0, 0), (1, 2), (3, 5)}
    guesses = {(1, 0, 1, 0, 0, 1): 1, (0, 0, 1, 0, 0, 1): 1 / 3, (1, 0, 1, 0, 0, 0): 1, (1, 1, 1, 0, 1, 1): 1 / 3}
    for guess, share in guesses.items():
        assert directions.words_found(guess, ends) == pytest.approx(share), guess
    assert directions.words_found([0] * 6, ends) == 0


def splitter(two, layers=1, V=27, H=5):
    return directions.WordSplitter(nn.LSTM(V, H, layers, bidirectional=two)).eval()


def test_splitter_reads_out_each_letter():
    model = splitter(True)
    ids = torch.randint(27, (3, 8))
    logits = model(ids)
    assert logits.shape == (8, 3)
    for n in range(3):
        torch.testing.assert_close(logits[:, n], model(ids[n : n + 1])[:, 0])
    assert model.layer.weight_ih_l0.std() > 0.8 and model.layer.weight_ih_l0_reverse.std() > 0.8
    with pytest.raises(ValueError, match="batch_first"):
        directions.WordSplitter(nn.LSTM(27, 5, batch_first=True))


def test_flipped_reads_from_the_right():
    model = splitter(False)
    ids = torch.randint(27, (1, 6))
    changed = ids.clone()
    changed[0, 2] = (ids[0, 2] + 1) % 27
    moved = (directions.Flipped(model)(ids) != directions.Flipped(model)(changed))[:, 0]
    assert moved.tolist() == [True, True, True, False, False, False]


def test_votes_sum_to_the_logit():
    model = splitter(True)
    ids = torch.randint(27, (9,))
    states = directions.states_with_lookahead(model, ids, future=99, context=99)
    both = _votes(model, states)
    assert both.shape == (9, 2)
    torch.testing.assert_close(both.sum(1), model(ids[None])[:, 0])
    changed = ids.clone()
    changed[-1] = (ids[-1] + 1) % 27
    later = _votes(model, directions.states_with_lookahead(model, changed, future=99, context=99))
    assert torch.equal(later[:-1, 0], both[:-1, 0]), "the forward vote knows no future"
    assert (later[:, 1] != both[:, 1]).all()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("future", "context"), [(0, 0), (0, 3), (2, 0), (3, 4), (99, 99)])
def test_lookahead_is_reading_each_window_alone(layers, future, context):
    model = splitter(True, layers)
    ids = torch.randint(27, (8,))
    states = directions.states_with_lookahead(model, ids, future, context)
    for t in range(8):
        first = max(0, t - context)
        window = ids[first : t + 1 + future]
        outputs, _ = model.layer(text.one_hot(window[None], 27))
        torch.testing.assert_close(states[t], outputs[t - first, 0])


def test_both_directions_learn_what_one_cannot():
    """Ends are told by the next letter alone: only a reader of the future can know them."""
    torch.manual_seed(0)
    ids = torch.randint(7, (3000,))
    ends = F.pad((ids[1:] > 3).float(), (0, 1))
    readers = {
        "ahead": splitter(False, V=7),
        "back": directions.Flipped(splitter(False, V=7)),
        "both": splitter(True, V=7),
    }
    found = {}
    for name, model in readers.items():
        directions.train_splitter(model, ids[:2500], ends[:2500], steps=200, lr=0.03, num_steps=20)
        guess = model(ids[None, 2500:])[:, 0] > 0
        found[name] = float((guess == (ends[2500:] > 0)).float().mean())
    assert found["ahead"] < 0.7 < 0.95 < min(found["back"], found["both"])
