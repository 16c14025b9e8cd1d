"""The classifier: padding, packing and company change no logit; training keeps the best; any text gets an answer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib import models, reviews, sentiment

V, D, H = 30, 6, 5
READOUTS = {
    "last": models.last_state,
    "both ends": models.both_ends_state,
    "mean": models.mean_state,
    "max": models.max_state,
    "mean and max": models.mean_and_max,
}


def layers():
    return {
        "LSTM": nn.LSTM(D, H),
        "GRU, two layers": nn.GRU(D, H, num_layers=2),
        "both, packed": nn.LSTM(D, H, bidirectional=True),
        "both, two layers, packed": nn.GRU(D, H, num_layers=2, bidirectional=True),
        "both, flipped": models.BothWays(nn.LSTM, D, H),
        "both, flipped RNN": models.BothWays(nn.RNN, D, H),
    }


def classifier(layer, readout="mean and max", seed=0):
    torch.manual_seed(seed)
    embedding = nn.Sequential(models.DropWords(0.3), nn.Embedding(V, D))
    return models.SentimentClassifier(embedding, layers()[layer], READOUTS[readout]).double()


def random_rows(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, V, (n,), generator=generator) for n in lengths]


PAIRS = [(layer, readout) for layer in layers() for readout in READOUTS if readout != "both ends" or "both" in layer]


@pytest.mark.parametrize("layer, readout", PAIRS)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 20), st.integers(0, 100))
@torch.no_grad()
def test_neither_padding_nor_company_changes_a_logit(layer, readout, lengths, extra, seed):
    model = classifier(layer, readout, seed).eval()
    rows = random_rows(lengths, seed)
    alone = torch.cat([model(row[None]) for row in rows])
    ids, sizes = reviews.pad(rows)
    together = model(ids, sizes)
    longer = model(*reviews.pad(rows, length=ids.shape[1] + extra))
    order = torch.randperm(len(rows))
    shuffled = model(ids[order], sizes[order])
    for logits in (together, longer, shuffled[order.argsort()], sentiment.logits(model, rows, batch_size=2)):
        torch.testing.assert_close(logits, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_flipping_equals_packing_in_outputs_and_gradients(cell):
    torch.manual_seed(0)
    ours, theirs = models.BothWays(cell, D, H).double(), cell(D, H, bidirectional=True).double()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            source = ours.back if name.endswith("_reverse") else ours.ahead
            weight.copy_(getattr(source, name.removesuffix("_reverse")))
    lengths = torch.tensor([7, 1, 4, 7])
    inputs = torch.randn(7, 4, D, dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0])
    real = models.real_steps(expected, lengths)
    outputs = ours(inputs, lengths) * real
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)
    weights = torch.randn_like(expected)
    (ours_grad,) = torch.autograd.grad((outputs * weights).sum(), inputs)
    (theirs_grad,) = torch.autograd.grad((expected * weights).sum(), inputs)
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=0, atol=1e-10)


def test_readouts_by_hand():
    outputs = torch.tensor([[1.0, -4.0], [3.0, -2.0], [100.0, 100.0]])[:, None]  # (T, N, D), the last is padding
    lengths = torch.tensor([2])
    assert models.last_state(outputs, lengths).tolist() == [[3, -2]]
    assert models.both_ends_state(outputs, lengths).tolist() == [[3, -4]]
    assert models.mean_state(outputs, lengths).tolist() == [[2, -3]]
    assert models.max_state(outputs, lengths).tolist() == [[3, -2]]
    assert models.mean_and_max(outputs, lengths).tolist() == [[2, -3, 3, -2]]


def test_end_states_are_those_of_a_packed_layer():
    torch.manual_seed(0)
    layer = nn.GRU(D, H, bidirectional=True)
    inputs, lengths = torch.randn(6, 3, D), torch.tensor([2, 6, 1])
    _, h_n = layer(pack_padded_sequence(inputs, lengths, enforce_sorted=False))
    outputs = models.read_padded(layer, inputs, lengths)
    expected = models.end_state(layer, h_n)
    torch.testing.assert_close(models.both_ends_state(outputs, lengths), expected)
    assert not torch.allclose(models.last_state(outputs, lengths), expected), "the backward state has read one word"


def test_words_are_dropped_in_training_alone():
    drop = models.DropWords(0.25)
    ids = torch.full((100, 100), 7)
    torch.manual_seed(0)
    dropped = drop(ids)
    assert set(dropped.unique().tolist()) == {0, 7}
    assert 0.22 < (dropped == 0).double().mean() < 0.28
    assert torch.equal(drop.eval()(ids), ids)


@pytest.mark.parametrize(
    "text", ["", "good", "word " * 5000, "🙂🙂🙂", "<br /><br />", "<b>Zyx</b> qqqq", "zzzz xxxx yyyy", "\x96 ¡"]
)
@pytest.mark.parametrize("layer", ["LSTM", "both, packed", "both, flipped"])
def test_any_review_gets_a_probability(text, layer):
    vocab = reviews.review_vocab(["a good film and a bad film"], size=V)
    model = classifier(layer).float()
    (p,) = sentiment.logits(model, [reviews.encode(text, vocab)]).sigmoid().tolist()
    assert 0 < p < 1
    assert model.training, "the mode is put back"


def toy(num=64, seed=0):
    """Return reviews in which word 2 means good and word 3 bad."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (num,), generator=generator)
    rows = random_rows(torch.randint(2, 9, (num,), generator=generator).tolist(), seed)
    for row, label in zip(rows, labels, strict=True):
        row[row < 4] = 4
        row[len(row) // 2] = 3 - label
    return rows, labels


def trained(epochs=12, report=lambda *_: None, **options):
    torch.manual_seed(0)
    model = models.SentimentClassifier(nn.Embedding(V, D), models.BothWays(nn.LSTM, D, H), dropout=0.0)
    rows, labels = toy()
    options = {"valid": toy(seed=1)} | options
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    progress = sentiment.fit_classifier(
        model, reviews.Buckets(rows, labels, 8), epochs, optimizer, report=report, **options
    )
    return model, progress


def test_training_learns_and_keeps_the_best():
    model, progress = trained()
    assert progress.status == "finished"
    assert progress.best["accuracy"] > 0.95
    rows, labels = toy(seed=1)
    assert sentiment.accuracy(sentiment.logits(model, rows), labels) == progress.best["accuracy"]
    assert progress[-1]["epoch"] == 12
    assert progress[-1]["loss"] < 0.3 < progress[0]["loss"]


def test_the_best_weights_come_back(monkeypatch):
    accuracies = iter([0.5, 0.9, 0.6])
    snapshots = []

    def evaluate(model, rows, labels):
        snapshots.append(model.linear.weight.detach().clone())
        return {"valid_loss": 1.0, "accuracy": next(accuracies)}

    monkeypatch.setattr(sentiment, "evaluate", evaluate)
    model, progress = trained(epochs=3)
    assert progress.best["epoch"] == 2
    assert torch.equal(model.linear.weight, snapshots[1])


def test_without_held_out_reviews_nothing_is_selected():
    _, progress = trained(epochs=2, valid=None)
    assert progress.column("accuracy") == ([], [])
    with pytest.raises(ValueError, match="no held-out accuracy"):
        _ = progress.best
    assert progress.plot() is not None


def test_the_stop_button_leaves_a_usable_model():
    def press(progress, status, final):
        if len(progress) == 5 and not final:
            raise KeyboardInterrupt

    model, progress = trained(report=press)
    assert progress.status == "stopped"
    assert len(progress) == 5
    assert sentiment.logits(model, toy()[0]).isfinite().all()


def test_a_loss_that_explodes_is_said():
    torch.manual_seed(0)
    model = models.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    with torch.no_grad():
        model.linear.weight.fill_(math.nan)
    rows, labels = toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    progress = sentiment.fit_classifier(model, reviews.Buckets(rows, labels, 8), 2, optimizer, report=lambda *_: None)
    assert progress.status == "diverged"


def test_an_interrupt_before_the_first_round_is_said():
    class Interrupting(reviews.Buckets):
        def __iter__(self):
            raise KeyboardInterrupt

    lines, model = [], models.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    progress = sentiment.fit_classifier(
        model,
        Interrupting(*toy(), 8),
        1,
        torch.optim.SGD(model.parameters(), 0.1),
        report=lambda progress, status, final: lines.append(status),
    )
    assert (progress.status, lines) == ("stopped", ["stopped · the model is kept"])


@pytest.mark.parametrize(
    ("batches", "message"),
    [([], "the batches are empty"), ((one for one in "ab"), "a generator doesn't know how many minibatches it has")],
)
def test_batches_that_cannot_be_trained_on_are_named(batches, message):
    model = models.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    with pytest.raises(ValueError, match=message):
        sentiment.fit_classifier(model, batches, 1, torch.optim.SGD(model.parameters(), 0.1), report=lambda *_: None)


@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_batch_size_of_logits_is_checked(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size} must be a whole number"):
        sentiment.logits(classifier("LSTM"), toy()[0], batch_size)


def test_the_mode_is_put_back_after_an_error():
    model = classifier("LSTM").train()
    with pytest.raises(IndexError):
        sentiment.logits(model, [torch.tensor([V + 1])])
    assert model.training


def test_accuracy_needs_one_label_for_each_logit():
    assert sentiment.accuracy(torch.tensor([1.0, -1.0]), [1, 1]) == 0.5
    with pytest.raises(ValueError, match=r"logits \(4, 1\), labels \(4,\): the two must have the same shape"):
        sentiment.accuracy(torch.zeros(4, 1), torch.zeros(4))


def test_optimizer_of_another_model_is_named():
    other = nn.Linear(2, 2)
    model = models.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    rows, labels = toy()
    with pytest.raises(ValueError, match="another model"):
        sentiment.fit_classifier(model, reviews.Buckets(rows, labels, 8), 1, torch.optim.SGD(other.parameters(), 0.1))


def test_two_language_models_do_not_see_what_they_guess():
    """Change one word: the forward states before it and the backward states after it must stay."""
    torch.manual_seed(0)
    layer = models.BothWays(nn.LSTM, D, H).double()
    inputs, lengths = torch.randn(6, 1, D, dtype=torch.float64), torch.tensor([6])
    changed = inputs.clone()
    changed[3] += 1
    before, after = layer(inputs, lengths), layer(changed, lengths)
    moved = (before - after).abs().sum(dim=(1,)) > 0  # (T, 2H)
    assert not moved[:3, :H].any() and moved[3:, :H].all()
    assert moved[:4, H:].all() and not moved[4:, H:].any()


def test_two_language_models_learn_a_pattern():
    torch.manual_seed(0)
    rows = [torch.tensor([2, 3, 4, 5] * 5)[i % 4 :] for i in range(32)]
    counts = torch.bincount(torch.cat(rows), minlength=V)
    pair = sentiment.TwoLanguageModels(nn.Embedding(V, D), models.BothWays(nn.LSTM, D, H), counts, 8, dropout=0.0)
    optimizer = torch.optim.Adam(pair.parameters(), lr=0.03)
    losses = []
    for _ in range(15):
        for ids, lengths, _ in reviews.Buckets(rows, torch.zeros(32), 8):
            loss = pair(ids, lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_sampled_softmax_tends_to_the_full_one():
    torch.manual_seed(0)
    embedding, layer = nn.Embedding(V, D), models.BothWays(nn.LSTM, D, H)
    pair = sentiment.TwoLanguageModels(embedding, layer, torch.ones(V), num_noise=40_000)
    guesses, targets = torch.randn(50, D), torch.randint(V, (50,))
    full = nn.functional.cross_entropy(guesses @ embedding.weight.T, targets)
    assert abs((pair.loss(guesses, targets) - full).item()) < 0.05


def test_chunks_lose_only_single_words():
    rows = random_rows([9, 1, 4, 5])
    pieces = sentiment.chunks(rows, 4)
    assert [len(piece) for piece in pieces] == [4, 4, 4, 4]
    assert torch.equal(torch.cat(pieces[:2]), rows[0][:8])


def test_vectors_from_elsewhere():
    embedding = nn.Embedding(4, 2)
    vectors, found = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, -3.0], [1.0, 2.0]]), torch.tensor([0, 0, 1, 1]) == 1
    before = embedding.weight.clone()
    sentiment.use_vectors(embedding, vectors, torch.zeros(4, dtype=torch.bool))
    assert torch.equal(embedding.weight, before), "without any vector nothing changes"
    sentiment.use_vectors(embedding, vectors, found)
    assert torch.equal(embedding.weight[2:], vectors[2:])
    assert not torch.equal(embedding.weight[:2], before[:2])
    assert embedding.weight.requires_grad


def test_the_embedding_learns_at_its_own_rate():
    model = sentiment.new_classifier(V, num_hiddens=H, embed_size=D)
    optimizer, scheduler = sentiment.new_optimizer(model, 100, lr=0.3, embedding_lr=0.1)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(list(model.parameters()))
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step() if len(rates) < 100 else None
    words, others = zip(*rates, strict=True)
    assert max(words) == pytest.approx(0.1) and max(others) == pytest.approx(0.3)
    assert others.index(max(others)) == pytest.approx(15, abs=1)
    assert others[-1] < 0.001


def test_forget_gates_begin_open():
    model = sentiment.new_classifier(V, num_hiddens=H, embed_size=D)
    for direction in (model.rnn.ahead, model.rnn.back):
        assert (direction.bias_ih_l0[H : 2 * H] == 1).all()
        assert (direction.bias_ih_l0[:H] != 1).all()


def test_pretraining_changes_the_classifier_itself():
    torch.manual_seed(0)
    model = sentiment.new_classifier(V, num_hiddens=H, embed_size=D)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = [torch.tensor([2, 3, 4, 5] * 5)] * 32
    progress = sentiment.pretrain(model, rows, epochs=8, batch_size=8, lr=0.03, report=lambda *_: None)
    assert progress.status == "finished"
    assert progress[-1]["loss"] < progress[0]["loss"]
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"embedding", "rnn"}, "the read-out is not a part of the language models"
