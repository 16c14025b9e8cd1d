"""Training does what it says: the perplexity is that of all tokens, the state is carried and cut, stop means resume."""

import csv
import math
from importlib import resources

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tqdm import tqdm

from rnnlib import data, environment, guards, scratch, text
from rnnlib.scratch import ScratchRNN, perplexity, train_epoch
from rnnlib.training import History, fit

LOOP = [i * i % 11 for i in range(800)]  # a text of 11 letters that repeats itself


def silent(history, status, final):
    """A report that shows nothing."""


class Table(nn.Module):
    """A language model that looks the logits of the next token up in a table, by the token before it."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))

    def begin_state(self, batch_size, device=None):
        return torch.zeros(batch_size, 1, device=device)

    def forward(self, ids, state=None):
        return self.logits[ids.T.reshape(-1)], state


def table_of_losses(*losses):
    """Return a Table for which the token 0 after token i costs so many nats."""
    losses = torch.tensor(losses)
    return Table(torch.stack([-losses, torch.log(-torch.expm1(-losses))], 1))


def batch(token, rows, steps):
    """Return a minibatch in which token 0 always follows this token."""
    return torch.full((rows, steps), token), torch.zeros(rows, steps, dtype=torch.long)


class Spy(ScratchRNN):
    """Remembers the states that come in and go out, and the mode in which it is called."""

    def __init__(self):
        super().__init__(11, 8)
        self.received, self.returned, self.modes = [], [], []

    def forward(self, ids, state=None):
        self.received.append(state)
        self.modes.append((self.training, torch.is_grad_enabled()))
        logits, state = super().forward(ids, state)
        self.returned.append(state)
        return logits, state


class TinyLSTM(nn.Module):
    """A language model on nn.LSTM, whose state is a tuple, with dropout."""

    def __init__(self, vocab_size=11, num_hiddens=12, dropout=0.5):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        self.layer = nn.LSTM(num_hiddens, num_hiddens)
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(num_hiddens, vocab_size)
        self.received = []

    def begin_state(self, batch_size, device=None):
        zeros = torch.zeros(1, batch_size, self.layer.hidden_size, device=device)
        return zeros, zeros

    def forward(self, ids, state=None):
        self.received.append(state)
        outputs, state = self.layer(self.dropout(self.embedding(ids.T)), state)
        return self.linear(outputs.flatten(0, 1)), state


class Interrupting:
    """Batches whose nth pass is broken off in the middle, as by the stop button."""

    def __init__(self, batches, at_pass):
        self.batches, self.at_pass, self.passes = batches, at_pass, 0

    def __iter__(self):
        self.passes += 1
        for i, minibatch in enumerate(self.batches):
            if self.passes == self.at_pass and i == 2:
                raise KeyboardInterrupt
            yield minibatch


def rows_without_times(history):
    return [{key: row[key] for key in ("epoch", "train", "valid", "sample")} for row in history]


def values(model):
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def loop_batches(**options):
    return text.sequential_batches(LOOP, 4, 10, **options)


# Perplexity


def test_uniform_guess_has_the_perplexity_of_the_vocabulary():
    assert perplexity(Table(torch.zeros(28, 28)), [batch(3, 4, 5)]) == pytest.approx(28, rel=1e-6)


def test_always_certain_and_right_is_one():
    ids = torch.arange(40).reshape(4, 10) % 7
    oracle = Table(torch.eye(7).roll(1, 1) * 100)  # token i is followed by token i + 1
    assert perplexity(oracle, [(ids, (ids + 1) % 7)]) == pytest.approx(1, abs=1e-6)


def test_certain_and_wrong_is_infinite():
    assert perplexity(Table([[0.0, -math.inf], [-math.inf, 0.0]]), [batch(1, 2, 3)]) == math.inf
    assert scratch.safe_exp(1e6) == math.inf
    assert (
        perplexity(Table([[0.0, 0.0], [800.0, 0.0]]), [(torch.ones(1, 1).long(), torch.ones(1, 1).long())]) == math.inf
    )


def test_losses_are_averaged_before_the_exponential():
    """Losses of 2, 2 and 4 nats: exp of their mean is 14.39, while the mean of exp would be 23.1."""
    batches = [batch(i, 4, 5) for i in range(3)]
    model = table_of_losses(2.0, 2.0, 4.0)
    assert perplexity(model, batches) == pytest.approx(math.exp(8 / 3), rel=1e-5)
    assert round(perplexity(model, batches), 2) == 14.39
    mean_of_exponentials = sum(perplexity(model, [one]) for one in batches) / 3
    assert round(mean_of_exponentials, 1) == 23.1
    (row,) = fit(model, batches, 1, lr=1e-9, report=silent)
    assert row["train"] == pytest.approx(14.39, abs=0.005), "the training perplexity is the same quantity"


def test_every_token_counts_the_same():
    """Minibatches of 3, 10 and 1 tokens with losses of 1, 2 and 3 nats."""
    batches = [batch(0, 1, 3), batch(1, 2, 5), batch(2, 1, 1)]
    model = table_of_losses(1.0, 2.0, 3.0)
    assert perplexity(model, batches) == pytest.approx(math.exp((3 * 1 + 10 * 2 + 1 * 3) / 14), rel=1e-5)
    nll, tokens = train_epoch(model, batches, torch.optim.SGD(model.parameters(), lr=0.0))
    assert tokens == 14
    assert nll == pytest.approx(26, rel=1e-5)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=5))
def test_perplexity_is_the_geometric_mean_over_tokens(shapes):
    torch.manual_seed(len(shapes))
    model = Table(torch.randn(5, 5, dtype=torch.float64) * 3)
    batches = [(torch.randint(5, shape), torch.randint(5, shape)) for shape in shapes]
    p = torch.softmax(model.logits.detach(), 1)
    inverse = [1 / float(p[x, y]) for X, Y in batches for x, y in zip(X.flatten(), Y.flatten(), strict=True)]
    got = perplexity(model, batches)
    assert got == pytest.approx(math.prod(inverse) ** (1 / len(inverse)), rel=1e-9)
    assert got <= sum(inverse) / len(inverse) * (1 + 1e-9), "exp of the mean is at most the mean of exp"


def test_targets_are_time_first():
    """Rows differ, so that targets in another order than the logits would cost more."""
    X = torch.tensor([[0, 1, 2], [3, 4, 5]])
    oracle = Table(torch.eye(6).roll(1, 1) * 100)
    assert perplexity(oracle, [(X, (X + 1) % 6)]) == pytest.approx(1, abs=1e-6)


def test_mean_nll_is_the_logarithm_of_perplexity():
    model = ScratchRNN(11, 8)
    batches = loop_batches(offset=0)
    assert math.exp(scratch.mean_nll(model, batches)) == pytest.approx(perplexity(model, batches), rel=1e-12)


@pytest.mark.parametrize("was_training", [True, False])
def test_dropout_is_off_while_measuring_and_restored(was_training):
    model = TinyLSTM()
    model.train(was_training)
    batches = loop_batches(offset=0)
    assert perplexity(model, batches) == perplexity(model, batches), "no dropout"
    assert model.training is was_training and model.dropout.training is was_training
    for broken in ([], Interrupting(batches, at_pass=1)):
        with pytest.raises((ValueError, KeyboardInterrupt)):
            perplexity(model, broken)
        assert model.training is was_training and model.dropout.training is was_training


def test_measuring_needs_no_graph_and_changes_nothing():
    model = Spy()
    before = values(model)
    perplexity(model, loop_batches())
    assert set(model.modes) == {(False, False)}
    assert torch.equal(values(model), before) and all(p.grad is None for p in model.parameters())


# The state from minibatch to minibatch


def test_state_is_carried_along_sequential_batches_and_cut():
    model = Spy()
    train_epoch(model, loop_batches(), torch.optim.SGD(model.parameters(), lr=0.1))
    assert len(model.received) > 5
    assert not model.received[0].any()
    for received, returned in zip(model.received[1:], model.returned, strict=False):
        assert received.any() and torch.equal(received, returned)
        assert returned.grad_fn is not None
        assert received.grad_fn is None and not received.requires_grad


def test_state_starts_afresh_for_other_batches():
    shuffled = text.random_batches(LOOP, 4, 10)
    for batches in (shuffled, list(shuffled), [(X, Y) for X, Y in loop_batches()]):
        model = Spy()
        train_epoch(model, batches, torch.optim.SGD(model.parameters(), lr=0.1))
        assert len(model.received) > 5
        assert not any(state.any() for state in model.received)


@pytest.mark.parametrize("wrap", [list, tqdm, iter, lambda batches: text.BatchPortions(batches, 100)])
def test_state_is_carried_through_what_wraps_the_batches(wrap):
    model, wrapped = Spy(), Spy()
    wrapped.load_state_dict(model.state_dict())
    for reader, batches in ((model, loop_batches(offset=0)), (wrapped, wrap(loop_batches(offset=0)))):
        scratch.mean_nll(reader, batches)
    assert len(model.received) == len(wrapped.received) > 5
    assert all(torch.equal(a, b) for a, b in zip(model.received, wrapped.received, strict=True))
    assert not wrapped.received[0].any() and all(state.any() for state in wrapped.received[1:])


def test_each_pass_starts_afresh():
    model = Spy()
    batches = loop_batches(offset=0)
    fit(model, batches, 2, report=silent)
    steps = len(model.received) // 2
    assert not model.received[0].any() and not model.received[steps].any()
    assert model.received[1].any() and model.received[steps + 1].any()


def test_both_parts_of_an_lstm_state_are_carried_and_cut():
    model = TinyLSTM(dropout=0.0)
    train_epoch(model, loop_batches(), torch.optim.SGD(model.parameters(), lr=0.1))
    for state in model.received[1:]:
        assert isinstance(state, tuple) and len(state) == 2
        assert all(part.any() and part.grad_fn is None for part in state)


def test_uncut_state_would_fail():
    """Why the state is cut: the graph of the minibatch before is gone after its backward pass."""
    model = ScratchRNN(11, 8)
    state = None
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        for X, Y in loop_batches():
            logits, state = model(X, state)
            F.cross_entropy(logits, Y.T.reshape(-1)).backward()


# One step


def test_one_step_of_sgd_by_hand():
    model = ScratchRNN(11, 8)
    X, Y = next(iter(loop_batches(offset=0)))
    logits, _ = model(X)
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    gradients = torch.autograd.grad(loss, list(model.params))
    expected = [p.detach() - 0.3 * g for p, g in zip(model.params, gradients, strict=True)]
    for p in model.params:
        p.grad = torch.ones_like(p)  # a leftover that must not be added
    nll, tokens = train_epoch(model, [(X, Y)], torch.optim.SGD(model.parameters(), lr=0.3), clip=math.inf)
    assert tokens == 40 and nll == pytest.approx(40 * float(loss.detach()), rel=1e-6)
    for p, want in zip(model.params, expected, strict=True):
        torch.testing.assert_close(p.detach(), want)


def test_a_step_is_at_most_the_clip_long():
    model = ScratchRNN(11, 8)
    before = values(model)
    train_epoch(model, [next(iter(loop_batches()))], torch.optim.SGD(model.parameters(), lr=1.0), clip=0.01)
    assert float((values(model) - before).norm()) == pytest.approx(0.01, rel=1e-3)


# fit


def corpus_of_ten_thousand_characters():
    """Return ids and vocabulary of The Time Machine if it is here, else of the course's story; downloads nothing."""
    if data.where()["time_machine"].startswith("http"):
        raw = (resources.files("rnnlib.data.standins") / "the_tide_mill.txt").read_text(encoding="utf-8")
    else:
        raw = data.load_text("time_machine")
    tokens = text.tokenize(text.clean(raw))[:10_000]
    assert len(tokens) == 10_000
    vocab = text.Vocab(tokens)
    return vocab[tokens], vocab


def test_learns_ten_thousand_characters_by_heart():
    """The promise of chapter 2: training perplexity 1.1 within 130 epochs, then the model writes what it has read."""
    ids, vocab = corpus_of_ten_thousand_characters()
    model = ScratchRNN(len(vocab), 256)

    def stop_at_goal(history, status, final):
        if not final and history[-1]["train"] <= 1.1:
            raise KeyboardInterrupt

    history = fit(model, text.sequential_batches(ids, 32, 35), 130, report=stop_at_goal)
    assert 1 <= history[-1]["train"] <= 1.1
    assert history.first_epoch(1.1) == len(history) <= 130
    assert 10 < history[0]["train"] < 28, "a beginner in the first epoch"
    lines = "".join(vocab.decode(ids))
    places = [lines[start : start + 70] for start in range(1000, 9000, 1000)]
    known = [scratch.generate(model, vocab, place[:50], 20, temperature=0) == place for place in places]
    assert sum(known) >= 5, "it goes on as the text does"


@pytest.mark.parametrize("make_batches", [text.sequential_batches, text.random_batches])
@pytest.mark.parametrize("make_model", [lambda: ScratchRNN(11, 16), lambda: TinyLSTM(dropout=0.0)])
def test_learns_a_loop_with_any_batches_and_model(make_model, make_batches):
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    held_out = loop_batches(offset=3)
    history = fit(model, make_batches(LOOP, 4, 10), 8, valid_batches=held_out, optimizer=optimizer, report=silent)
    assert history.status == "finished"
    assert history[0]["train"] > 3 * history[-1]["train"]
    assert history[-1]["train"] < 2 and history[-1]["valid"] < 2
    assert perplexity(model, held_out) == history[-1]["valid"]


def test_runs_on_the_best_device():
    device = environment.best_device()
    model = ScratchRNN(11, 16, device)
    history = fit(model, loop_batches(), 2, valid_batches=loop_batches(offset=0), report=silent)
    assert history[-1]["train"] < history[0]["train"] < 12
    assert {p.device.type for p in model.parameters()} == {device.type}
    assert len(scratch.generate(model, text.Vocab("abcdefghij"), list("abc"), 5, seed=0)) == 8


def train_with_seed(seed, make_batches):
    torch.manual_seed(seed)
    model = TinyLSTM()
    batches = make_batches(LOOP, 4, 10, seed=seed)
    return rows_without_times(fit(model, batches, 3, valid_batches=loop_batches(offset=0), report=silent))


@pytest.mark.parametrize("make_batches", [text.sequential_batches, text.random_batches])
def test_same_seed_same_history(make_batches):
    assert train_with_seed(1, make_batches) == train_with_seed(1, make_batches)
    assert train_with_seed(1, make_batches) != train_with_seed(2, make_batches)


def test_learning_rate_and_optimizer_are_used():
    model = ScratchRNN(11, 8)
    history = fit(model, loop_batches(), 1, lr=0.25, report=silent)
    assert isinstance(history.optimizer, torch.optim.SGD)
    assert history.optimizer.param_groups[0]["lr"] == 0.25
    optimizer = torch.optim.Adam(model.parameters())
    assert fit(model, loop_batches(), 1, optimizer=optimizer, report=silent).optimizer is optimizer


def test_modes_during_fit():
    model = Spy()
    model.eval()
    fit(model, [next(iter(loop_batches()))], 2, valid_batches=[next(iter(loop_batches()))], report=silent)
    assert model.modes == [(True, True), (False, False)] * 2
    assert model.training


def test_held_out_text_is_measured_every_so_many_epochs_and_last():
    history = fit(
        ScratchRNN(11, 8), loop_batches(), 5, valid_batches=loop_batches(offset=0), valid_every=2, report=silent
    )
    assert history.column("valid")[0] == [2, 4, 5]
    assert history.column("train")[0] == [1, 2, 3, 4, 5]


def test_samples_are_taken_every_so_many_epochs_and_last():
    lines = iter("abc")
    history = fit(ScratchRNN(11, 8), loop_batches(), 5, sample=lambda: next(lines), sample_every=2, report=silent)
    assert history.column("sample") == ([2, 4, 5], ["a", "b", "c"])


def test_scheduler_is_stepped_after_every_epoch():
    model, rates = ScratchRNN(11, 8), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)

    def sample():
        rates.append(optimizer.param_groups[0]["lr"])

    fit(
        model, loop_batches(), 3, optimizer=optimizer, scheduler=scheduler, sample=sample, sample_every=1, report=silent
    )
    assert rates == [1, 0.5, 0.25]
    assert optimizer.param_groups[0]["lr"] == 0.125


def test_report_after_every_epoch_and_at_the_end():
    calls = []

    def report(history, status, final):
        calls.append((len(history), history.status, status, final))

    history = fit(
        ScratchRNN(11, 8),
        loop_batches(),
        5,
        valid_batches=loop_batches(offset=0),
        landmarks={"uniform": 11.0},
        report=report,
    )
    assert history.landmarks == {"uniform": 11.0}
    assert [(epochs, how, final) for epochs, how, _, final in calls] == [
        *[(epoch, "running", False) for epoch in range(1, 6)],
        (5, "finished", True),
    ]
    statuses = [status for _, _, status, _ in calls]
    assert [status.split(" · ")[0] for status in statuses] == [f"epoch {n}/5" for n in (1, 2, 3, 4, 5, 5)]
    assert ["ETA" in status for status in statuses] == [False, False, True, True, False, False]
    best = history.best
    assert f"train {history[-1]['train']:.2f}" in statuses[-1]
    assert f"held-out {history[-1]['valid']:.2f} (best {best['valid']:.2f} @{best['epoch']})" in statuses[-1]


def test_row_holds_speed_and_time():
    (row,) = fit(ScratchRNN(11, 8), loop_batches(offset=0), 1, report=silent)
    assert tuple(row) == History.keys
    assert row["seconds"] > 0
    tokens = sum(Y.numel() for _, Y in loop_batches(offset=0))
    assert row["tokens_per_second"] * row["seconds"] == pytest.approx(tokens)


# Stop and go on


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def test_stopped_in_the_middle_of_an_epoch():
    model, last = ScratchRNN(11, 16), []
    batches = Interrupting(loop_batches(), at_pass=4)
    history = fit(
        model,
        batches,
        8,
        optimizer=adam(model),
        report=lambda history, status, final: last.append((status, final, values(model))),
    )
    assert history.status == "stopped"
    assert [row["epoch"] for row in history] == [1, 2, 3]
    status, final, _ = last[-1]
    assert final and status.startswith("stopped after 3 epochs") and "history=history" in status
    assert torch.isfinite(values(model)).all()
    assert not torch.equal(values(model), last[-2][2]), "what was learned in epoch 4 is kept"
    assert perplexity(model, loop_batches()) < 11
    assert len(scratch.generate(model, text.Vocab("abcdefghij"), list("abc"), 5, seed=0)) == 8

    optimizer = history.optimizer
    again = fit(model, batches, 2, history=history, report=lambda *call: last.append(call))
    assert again is history and history.optimizer is optimizer
    assert history.status == "finished"
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert last[-1][1].startswith("epoch 5/5")
    steps = 3 * 19 + 2 + 2 * 19  # of the three epochs, the broken one, and the two that followed
    assert {int(state["step"]) for state in optimizer.state.values()} == {steps}


def test_stop_and_resume_is_one_long_run():
    """Stopped between two epochs, a resumed training ends where an undisturbed one does, moments and all."""
    valid = loop_batches(offset=0)

    def train(report):
        torch.manual_seed(0)
        model, batches = ScratchRNN(11, 16), loop_batches()
        history = fit(model, batches, 6, valid_batches=valid, optimizer=adam(model), report=report)
        if history.status == "stopped":
            fit(model, batches, 6 - len(history), valid_batches=valid, history=history, report=silent)
        return model, history

    def stop_after_three(history, status, final):
        if len(history) == 3 and not final:
            raise KeyboardInterrupt

    whole, whole_history = train(silent)
    halves, halves_history = train(stop_after_three)
    assert rows_without_times(whole_history) == rows_without_times(halves_history)
    assert torch.equal(values(whole), values(halves))


@pytest.mark.parametrize("where", ["the first epoch", "measuring", "writing a sample"])
def test_stopped_elsewhere(where):
    def stop():
        raise KeyboardInterrupt

    model = TinyLSTM()
    first = Interrupting(loop_batches(), at_pass=1)
    options = {
        "the first epoch": {"train_batches": first},
        "measuring": {"train_batches": loop_batches(), "valid_batches": first},
        "writing a sample": {"train_batches": loop_batches(), "sample": stop, "sample_every": 1},
    }[where]
    history = fit(model, epochs=3, report=silent, **options)
    trained = 0 if where == "the first epoch" else 1  # a trained epoch counts, whatever was stopped after it
    assert (history.status, len(history)) == ("stopped", trained)
    assert model.training
    fit(model, loop_batches(), 1, history=history, report=silent)
    assert (history.status, len(history)) == ("finished", trained + 1)


class Poisoned(ScratchRNN):
    """Its logits are multiplied by a factor from the fifth minibatch on."""

    def __init__(self, factor):
        super().__init__(11, 8)
        self.factor, self.calls = factor, 0

    def forward(self, ids, state=None):
        self.calls += 1
        logits, state = super().forward(ids, state)
        return logits * (self.factor if self.calls >= 5 else 1), state


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_diverged_training_stops_with_finite_weights(factor):
    model, calls = Poisoned(factor), []
    history = fit(model, loop_batches(), 3, report=lambda *call: calls.append(call))
    assert history.status == "diverged"
    assert len(history) == 0 and len(calls) == 1
    _, status, final = calls[0]
    assert final
    for part in ("stopped in epoch 1", "norm is nan", "exploded", "smaller learning rate", "clip"):
        assert part in status
    assert model.calls == 5, "not one minibatch more"
    assert torch.isfinite(values(model)).all() and values(model).any()
    model.factor = 1
    fit(model, loop_batches(), 1, history=history, report=silent)
    assert history.status == "finished" and math.isfinite(history[-1]["train"])


def test_explosion_of_a_linear_recurrence():
    """Without tanh, large weights and no clipping the state grows until its gradient is no number."""

    class Linear(ScratchRNN):
        @staticmethod
        def recurrence(inputs, H, params):
            W_xh, W_hh, b_h, W_hq, b_q = params
            outputs = []
            for X in inputs:
                H = X @ W_xh + H @ W_hh + b_h
                outputs.append(H @ W_hq + b_q)
            return torch.cat(outputs), H

    model = Linear(11, 16, sigma=1.0)
    history = fit(model, loop_batches(), 5, clip=math.inf, report=silent)
    assert history.status == "diverged"
    assert torch.isfinite(values(model)).all()


@pytest.mark.parametrize(("lr", "worse"), [(300.0, True), (1.0, False)])
def test_an_explosion_that_stays_finite_is_said(lr, worse):
    torch.manual_seed(0)
    calls = []
    history = fit(ScratchRNN(11, 16), loop_batches(), 3, lr=lr, report=lambda *call: calls.append(call))
    assert history.status == ("diverged" if worse else "finished") and math.isfinite(history[-1]["train"])
    assert (history[-1]["train"] > 2 * 11) == worse
    assert ("worse than guessing at random: try a smaller learning rate" in calls[-1][1]) == worse
    assert calls[-1][1].startswith("epoch 3/3")


def test_train_epoch_raises_diverged():
    model = Poisoned(math.nan)
    with pytest.raises(guards.Diverged, match="their norm is nan"):
        train_epoch(model, loop_batches(), torch.optim.SGD(model.parameters(), lr=1.0))


# Wrong arguments


def test_used_up_batches_are_explained():
    model = ScratchRNN(11, 8)
    before = values(model)
    generator = (minibatch for minibatch in loop_batches())
    with pytest.raises(ValueError, match="train_batches is a generator, which is used up after one pass: give a list"):
        fit(model, generator, 2, report=silent)
    with pytest.raises(ValueError, match="the batches are empty"):
        fit(model, [], 1, report=silent)
    with pytest.raises(ValueError, match="valid_batches is a generator, which is used up"):
        fit(model, loop_batches(), 2, valid_batches=(one for one in loop_batches()), report=silent)
    assert torch.equal(values(model), before), "found out before the training"
    with pytest.raises(ValueError, match="the batches are empty"):
        perplexity(model, [])


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None])
@pytest.mark.parametrize("name", ["epochs", "valid_every", "sample_every"])
def test_numbers_of_epochs_must_be_positive_and_whole(name, value):
    options = {"epochs": 1, name: value}
    model = ScratchRNN(11, 8)
    before = values(model)
    with pytest.raises(ValueError, match=f"^{name}={value!r} must be a whole number of at least 1$"):
        fit(model, loop_batches(), valid_batches=loop_batches(), sample=str, report=silent, **options)
    assert torch.equal(values(model), before), "found out before the training"


@pytest.mark.parametrize("clip", [0, -1.0, math.nan, "a"])
def test_clip_must_be_positive(clip):
    with pytest.raises(ValueError, match=f"^clip={clip!r} must be above 0: it is the largest gradient norm"):
        fit(ScratchRNN(11, 8), loop_batches(), 1, clip=clip, report=silent)


def test_optimizer_of_another_model_is_refused():
    """The classic slip: the cell of the model was run again, that of the optimizer was not."""
    old, new = ScratchRNN(11, 8), ScratchRNN(11, 8)
    with pytest.raises(ValueError, match="parameters of another model, so this one would learn nothing"):
        fit(new, loop_batches(), 1, optimizer=torch.optim.SGD(old.parameters(), lr=1.0), report=silent)
    history = fit(old, loop_batches(), 1, report=silent)
    with pytest.raises(ValueError, match="another model"):
        fit(new, loop_batches(), 1, history=history, report=silent)
    fit(old, loop_batches(), 1, history=history, report=silent)
    some = torch.optim.SGD(list(new.parameters())[3:], lr=1.0)
    fit(new, loop_batches(), 1, optimizer=some, report=silent)  # only the read-out: that is fine


# History


def recorded(*rows):
    """Return a History of (train, valid) pairs."""
    history = History({"uniform": 28.0})
    for epoch, (train, valid) in enumerate(rows, start=1):
        sample = 'he said, "tick"\ntock' if epoch == 2 else None
        numbers = {"tokens_per_second": 1e5, "seconds": 0.1}
        history.append({"epoch": epoch, "train": train, "valid": valid, **numbers, "sample": sample})
    return history


def test_best_is_the_lowest_held_out_perplexity():
    assert recorded((9.0, 10.0), (5.0, 8.0), (2.0, None), (1.1, 12.0)).best["epoch"] == 2
    assert recorded((9.0, None), (5.0, None), (6.0, None)).best["epoch"] == 2
    assert recorded((9.0, math.inf), (8.0, 7.0)).best["epoch"] == 2
    with pytest.raises(ValueError, match="the history is empty"):
        _ = History().best


def test_first_epoch_below_a_perplexity():
    history = recorded((9.0, None), (5.0, 8.0), (2.0, None), (3.0, 6.0))
    assert history.first_epoch(5.0) == 2
    assert history.first_epoch(2.5) == 3
    assert history.first_epoch(1.0) is None
    assert history.first_epoch(7.0, key="valid") == 4
    assert History().first_epoch(2.0) is None


def test_column_leaves_out_what_was_not_measured():
    history = recorded((9.0, None), (5.0, 8.0), (2.0, None), (3.0, 6.0))
    assert history.column("train") == ([1, 2, 3, 4], [9.0, 5.0, 2.0, 3.0])
    assert history.column("valid") == ([2, 4], [8.0, 6.0])
    assert History().column("train") == ([], [])


def test_csv_round_trip(tmp_path):
    history = recorded((9.0, None), (5.123456789012345, 8.0), (math.inf, math.inf))
    history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row, written in zip(history, rows, strict=True):
        assert tuple(written) == History.keys
        for key, value in row.items():
            text_of_it = written[key]
            assert (text_of_it or None) == value if key == "sample" or value is None else float(text_of_it) == value


def test_csv_of_an_empty_history_has_its_heading(tmp_path):
    History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().strip() == "epoch,train,valid,tokens_per_second,seconds,sample"


def test_plot_shows_the_history():
    (axes,) = recorded((9.0, 10.0), (5.0, 8.0)).plot().axes
    assert list(axes.lines[0].get_ydata()) == [9.0, 5.0]


def test_a_second_press_on_stop_loses_nothing():
    """The first press stops the training, the second falls into the last drawing."""

    def report(history, status, final):
        if final or len(history) == 2:
            raise KeyboardInterrupt

    history = fit(ScratchRNN(11, 8), loop_batches(), 5, report=report)
    assert (history.status, len(history)) == ("stopped", 2)


def test_learning_rate_of_a_resumed_training():
    model = ScratchRNN(11, 8)
    history = fit(model, loop_batches(), 1, lr=1.0, report=silent)
    fit(model, loop_batches(), 1, lr=0.125, history=history, report=silent)
    assert [group["lr"] for group in history.optimizer.param_groups] == [0.125]
    fit(model, loop_batches(), 1, history=history, report=silent)
    assert [group["lr"] for group in history.optimizer.param_groups] == [0.125]


@pytest.mark.parametrize("lr", [0, -1, math.nan, math.inf, "a"])
def test_learning_rate_must_be_positive_and_finite(lr):
    model = ScratchRNN(11, 8)
    before = values(model)
    with pytest.raises(ValueError, match=f"^lr={lr!r} must be a finite number above 0"):
        fit(model, loop_batches(), 1, lr=lr, report=silent)
    assert torch.equal(values(model), before)


REFUSED = {
    "lr": lambda model: {"lr": -1.0},
    "clip": lambda model: {"lr": 0.5, "clip": 0},
    "batches": lambda model: {"lr": 0.5, "valid_batches": iter([])},
    "another model": lambda model: {"optimizer": adam(ScratchRNN(11, 8))},
    "scheduler": lambda model: {"lr": 0.5, "scheduler": torch.optim.lr_scheduler.StepLR(adam(model), 1)},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_training_leaves_the_history_alone(case):
    model = ScratchRNN(11, 8)
    history = fit(model, loop_batches(), 1, landmarks={"uniform": 11.0}, report=silent)
    optimizer = history.optimizer
    with pytest.raises(ValueError):
        options = REFUSED[case](model)
        fit(model, loop_batches(), 1, history=history, landmarks={"unigram": 9.0}, report=silent, **options)
    assert (history.status, history.landmarks, len(history)) == ("finished", {"uniform": 11.0}, 1)
    assert history.optimizer is optimizer and [group["lr"] for group in optimizer.param_groups] == [1.0]


def test_another_error_is_passed_on_and_the_history_says_failed():
    def sample():
        raise OSError("no text today")

    history = History()
    with pytest.raises(OSError, match="no text today"):
        fit(ScratchRNN(11, 8), loop_batches(), 2, sample=sample, sample_every=1, history=history, report=silent)
    assert (history.status, len(history)) == ("failed", 1)


def test_learning_rate_beside_an_optimizer_is_refused():
    model = ScratchRNN(11, 8)
    with pytest.raises(ValueError, match=r"lr=0\.1 would be ignored: give the learning rate to your optimizer"):
        fit(model, loop_batches(), 1, optimizer=adam(model), lr=0.1, report=silent)


def test_scheduler_of_another_optimizer_is_refused():
    model = ScratchRNN(11, 8)
    stranger = torch.optim.lr_scheduler.StepLR(adam(model), 1)
    with pytest.raises(ValueError, match="belongs to another optimizer"):
        fit(model, loop_batches(), 1, optimizer=adam(model), scheduler=stranger, report=silent)
    optimizer = adam(model)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        fit(model, loop_batches(), 1, optimizer=optimizer, scheduler=plateau, report=silent)


def test_gradients_outside_the_optimizer_do_not_pile_up():
    """Clipping looks at all parameters, so those that the optimizer leaves alone must not grow from step to step."""
    model = ScratchRNN(11, 8)
    fit(model, loop_batches(), 1, optimizer=torch.optim.SGD(model.params[3:], lr=0.0), report=silent)
    once = [p.grad.norm() for p in model.params]
    fit(model, loop_batches(), 4, optimizer=torch.optim.SGD(model.params[3:], lr=0.0), report=silent)
    for before, p in zip(once, model.params, strict=True):
        assert p.grad.norm() < 3 * before
