"""Reviews and their classifier: words, padding, read-outs, training."""

import collections
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import pretraining
from rnnlib import layers, sentiment, training
from rnnlib.sentiment import PAD, UNK

Review = collections.namedtuple("Review", "id label rating text")
TEXTS = ["A GOOD film.<br /><br />Don't miss it...", "bad, bad film; it's long", "", "🙂", "the film the film"]


def test_tokens():
    assert sentiment.tokenize_review("Don’t miss it...<br />They'll LOVE it!") == (
        ["do", "n't", "miss", "it", "...", "they", "'ll", "love", "it", "!"]
    )
    assert sentiment.tokenize_review("café 7/10 🙂") == ["café", "7", "/", "10", "🙂"]
    assert sentiment.tokenize_review("can't rock'n'roll") == ["ca", "n't", "rock", "'", "n", "'", "roll"]


def test_vocabulary_has_two_special_tokens():
    vocab = sentiment.review_vocab(TEXTS, size=8)
    assert len(vocab) == 8
    assert (vocab["<unk>"], vocab["<pad>"], vocab["film"]) == (UNK, PAD, 2)
    assert UNK != PAD
    assert vocab["never seen"] == UNK


@pytest.mark.parametrize("text", ["", "   ", "<br />", "\n\t"])
def test_a_review_without_words_is_one_unknown(text):
    assert sentiment.encode(text, sentiment.review_vocab(TEXTS)).tolist() == [UNK]


def test_no_review_contains_padding():
    vocab = sentiment.review_vocab(TEXTS)
    for text in [*TEXTS, "<pad> <unk>"]:
        assert PAD not in sentiment.encode(text, vocab)


def test_truncation():
    ids = torch.arange(20)
    assert sentiment.head(ids, 8).tolist() == list(range(8))
    assert sentiment.tail(ids, 8).tolist() == list(range(12, 20))
    assert sentiment.both_ends(ids, 8).tolist() == [0, 1, *range(14, 20)]
    for keep in (sentiment.head, sentiment.tail, sentiment.both_ends):
        assert torch.equal(keep(ids, 20), ids)
        assert torch.equal(keep(ids, 50), ids)


def test_padding():
    ids, lengths = sentiment.pad([torch.tensor([5, 6, 7]), torch.tensor([8])])
    assert ids.tolist() == [[5, 6, 7], [8, PAD, PAD]]
    assert lengths.tolist() == [3, 1]
    assert sentiment.pad([torch.tensor([8])], length=3)[0].tolist() == [[8, PAD, PAD]]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 5))
def test_a_pass_deals_out_every_review_once(lengths, batch_size, seed):
    rows = [torch.full((length,), 2 + i) for i, length in enumerate(lengths)]
    buckets = sentiment.Buckets(rows, torch.arange(len(rows)) % 2, batch_size, seed)
    seen = []
    batches = list(buckets)
    assert len(batches) == len(buckets)
    for ids, sizes, labels in batches:
        assert ids.shape[1] == sizes.max()
        for row, size, label in zip(ids, sizes, labels, strict=True):
            place = int(row[0]) - 2
            assert torch.equal(row[:size], rows[place]) and label == place % 2
            assert (row[size:] == PAD).all()
            seen.append(place)
    assert sorted(seen) == list(range(len(rows)))


def test_batches_hold_reviews_of_like_length_in_a_new_order_each_pass():
    generator = torch.Generator().manual_seed(1)
    rows = [torch.ones(int(n), dtype=torch.int64) for n in torch.randint(1, 400, (2000,), generator=generator)]
    buckets = sentiment.Buckets(rows, torch.arange(2000) % 2, 20)
    first, second = list(buckets), list(buckets)
    words = sum(len(row) for row in rows)
    assert sum(ids.numel() for ids, _, _ in first) < 1.05 * words
    assert [sizes.tolist() for _, sizes, _ in first] != [sizes.tolist() for _, sizes, _ in second]
    again = sentiment.Buckets(rows, torch.arange(2000) % 2, 20)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True)), "the seed fixes the order"


def test_buckets_name_bad_input():
    row = torch.tensor([2])
    with pytest.raises(ValueError, match="rows is empty, 0 reviews"):
        sentiment.Buckets([], [], 4)
    with pytest.raises(ValueError, match="2 reviews and 1 labels"):
        sentiment.Buckets([row, row], [1], 4)
    with pytest.raises(ValueError, match="batch_size"):
        sentiment.Buckets([row], [1], 0)


def test_split_holds_out_the_last_ids_of_each_class():
    rows = [Review(f"{['neg', 'pos'][label]}/{i}_1", label, 1, "x") for label in (0, 1) for i in range(10)]
    train, valid = sentiment.hold_out_blocks(rows, num_valid=3)
    assert [r.id for r in valid] == ["neg/7_1", "neg/8_1", "neg/9_1", "pos/7_1", "pos/8_1", "pos/9_1"]
    assert sorted(train + valid) == sorted(rows)
    for bad in (0, 10, -2):
        with pytest.raises(ValueError, match=f"num_valid={bad} must be at least 1 and below 10"):
            sentiment.hold_out_blocks(rows, bad)
    with pytest.raises(ValueError, match="num_valid=1 must be at least 1 and below 0"):
        sentiment.hold_out_blocks([], 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sentiment.head(torch.arange(3), -1), "length=-1 must be a whole number of at least 1"),
        (lambda: sentiment.tail(torch.arange(3), 0), "length=0 must be"),
        (lambda: sentiment.both_ends(torch.arange(3), 0), "length=0 must be"),
        (lambda: sentiment.review_vocab("one review"), "texts='one review' is one review: give a list of them"),
        (lambda: sentiment.review_vocab(TEXTS, size=2), "size=2 must be a whole number of at least 3"),
        (lambda: sentiment.pad([]), "rows is empty, 0 reviews"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("rows", [torch.full((3, 4), 2), torch.full((3, 4), 2).numpy()])
def test_buckets_take_rows_of_equal_length_as_one_array(rows):
    ((ids, lengths, labels),) = sentiment.Buckets(rows, [0, 1, 1], 4)
    assert (ids.shape, lengths.tolist(), sorted(labels.tolist())) == ((3, 4), [4, 4, 4], [0, 1, 1])


V, D, H = 30, 6, 5
READOUTS = {
    "last": sentiment.last_state,
    "both ends": sentiment.both_ends_state,
    "mean": sentiment.mean_state,
    "max": sentiment.max_state,
    "mean and max": sentiment.mean_and_max,
}


def readers():
    return {
        "LSTM": nn.LSTM(D, H),
        "GRU, two layers": nn.GRU(D, H, num_layers=2),
        "both, packed": nn.LSTM(D, H, bidirectional=True),
        "both, two layers, packed": nn.GRU(D, H, num_layers=2, bidirectional=True),
        "both, flipped": sentiment.BothWays(nn.LSTM, D, H),
        "both, flipped RNN": sentiment.BothWays(nn.RNN, D, H),
    }


def classifier(layer, readout="mean and max", seed=0):
    torch.manual_seed(seed)
    embedding = nn.Sequential(sentiment.DropWords(0.3), nn.Embedding(V, D))
    return sentiment.SentimentClassifier(embedding, readers()[layer], READOUTS[readout]).double()


def random_rows(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, V, (n,), generator=generator) for n in lengths]


PAIRS = [(layer, readout) for layer in readers() for readout in READOUTS if readout != "both ends" or "both" in layer]


@pytest.mark.parametrize("layer, readout", PAIRS)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 20), st.integers(0, 100))
@torch.no_grad()
def test_neither_padding_nor_company_changes_a_logit(layer, readout, lengths, extra, seed):
    model = classifier(layer, readout, seed).eval()
    rows = random_rows(lengths, seed)
    alone = torch.cat([model(row[None]) for row in rows])
    ids, sizes = sentiment.pad(rows)
    together = model(ids, sizes)
    longer = model(*sentiment.pad(rows, length=ids.shape[1] + extra))
    order = torch.randperm(len(rows))
    shuffled = model(ids[order], sizes[order])
    for logits in (together, longer, shuffled[order.argsort()], sentiment.score_reviews(model, rows, batch_size=2)):
        torch.testing.assert_close(logits, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
@torch.no_grad()
def test_lengths_may_come_in_any_container(kind):
    model = classifier("LSTM", "mean", 0).eval()
    ids, lengths = sentiment.pad(random_rows([5, 2, 7]))
    assert torch.equal(model(ids, kind(lengths.tolist())), model(ids, lengths))
    for wrong in ([5, 2], [5, 2, 8], [5.0, 2.0, 7.0]):
        with pytest.raises(ValueError, match="length"):
            model(ids, kind(wrong))


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_flipping_equals_packing_in_outputs_and_gradients(cell):
    torch.manual_seed(0)
    ours, theirs = sentiment.BothWays(cell, D, H).double(), cell(D, H, bidirectional=True).double()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            source = ours.back if name.endswith("_reverse") else ours.ahead
            weight.copy_(getattr(source, name.removesuffix("_reverse")))
    lengths = torch.tensor([7, 1, 4, 7])
    inputs = torch.randn(7, 4, D, dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0])
    real = sentiment.real_steps(expected, lengths)
    outputs = ours(inputs, lengths) * real
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)
    weights = torch.randn_like(expected)
    (ours_grad,) = torch.autograd.grad((outputs * weights).sum(), inputs)
    (theirs_grad,) = torch.autograd.grad((expected * weights).sum(), inputs)
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=0, atol=1e-10)


def test_readouts_by_hand():
    outputs = torch.tensor([[1.0, -4.0], [3.0, -2.0], [100.0, 100.0]])[:, None]  # (T, N, D), the last is padding
    lengths = torch.tensor([2])
    assert sentiment.last_state(outputs, lengths).tolist() == [[3, -2]]
    assert sentiment.both_ends_state(outputs, lengths).tolist() == [[3, -4]]
    assert sentiment.mean_state(outputs, lengths).tolist() == [[2, -3]]
    assert sentiment.max_state(outputs, lengths).tolist() == [[3, -2]]
    assert sentiment.mean_and_max(outputs, lengths).tolist() == [[2, -3, 3, -2]]


def test_end_states_are_those_of_a_packed_layer():
    torch.manual_seed(0)
    layer = nn.GRU(D, H, bidirectional=True)
    inputs, lengths = torch.randn(6, 3, D), torch.tensor([2, 6, 1])
    _, h_n = layer(pack_padded_sequence(inputs, lengths, enforce_sorted=False))
    outputs = sentiment.read_padded(layer, inputs, lengths)
    expected = layers.end_state(layer, h_n)
    torch.testing.assert_close(sentiment.both_ends_state(outputs, lengths), expected)
    assert not torch.allclose(sentiment.last_state(outputs, lengths), expected), "the backward state has read one word"


def test_words_are_dropped_in_training_alone():
    drop = sentiment.DropWords(0.25)
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
    vocab = sentiment.review_vocab(["a good film and a bad film"], size=V)
    model = classifier(layer).float()
    (p,) = sentiment.score_reviews(model, [sentiment.encode(text, vocab)]).sigmoid().tolist()
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
    model = sentiment.SentimentClassifier(nn.Embedding(V, D), sentiment.BothWays(nn.LSTM, D, H), dropout=0.0)
    rows, labels = toy()
    options = {"valid": toy(seed=1)} | options
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    progress = training.fit_classifier(
        model, sentiment.Buckets(rows, labels, 8), epochs, optimizer, report=report, **options
    )
    return model, progress


def test_training_learns_and_keeps_the_best():
    model, progress = trained()
    assert progress.status == "finished"
    assert progress.best["accuracy"] > 0.95
    rows, labels = toy(seed=1)
    assert sentiment.accuracy(sentiment.score_reviews(model, rows), labels) == progress.best["accuracy"]
    assert progress[-1]["epoch"] == 12
    assert progress[-1]["loss"] < 0.3 < progress[0]["loss"]


def test_the_best_weights_come_back(monkeypatch):
    accuracies = iter([0.5, 0.9, 0.6])
    snapshots = []

    def evaluate(model, rows, labels):
        snapshots.append(model.linear.weight.detach().clone())
        return {"valid_loss": 1.0, "accuracy": next(accuracies)}

    monkeypatch.setattr(training, "evaluate", evaluate)
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
    assert sentiment.score_reviews(model, toy()[0]).isfinite().all()


def test_a_loss_that_explodes_is_said():
    torch.manual_seed(0)
    model = sentiment.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    with torch.no_grad():
        model.linear.weight.fill_(math.nan)
    rows, labels = toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    progress = training.fit_classifier(model, sentiment.Buckets(rows, labels, 8), 2, optimizer, report=lambda *_: None)
    assert progress.status == "diverged"


def test_an_interrupt_before_the_first_round_is_said():
    class Interrupting(sentiment.Buckets):
        def __iter__(self):
            raise KeyboardInterrupt

    lines, model = [], sentiment.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    progress = training.fit_classifier(
        model,
        Interrupting(*toy(), 8),
        1,
        torch.optim.SGD(model.parameters(), 0.1),
        report=lambda progress, status, final: lines.append(status),
    )
    assert (progress.status, lines) == (
        "stopped",
        ["stopped after 0 epochs; the model is kept, and history=history goes on"],
    )


@pytest.mark.parametrize(
    ("batches", "message"),
    [([], "the batches are empty"), ((one for one in "ab"), "a generator doesn't know how many minibatches it has")],
)
def test_batches_that_cannot_be_trained_on_are_named(batches, message):
    model = sentiment.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    with pytest.raises(ValueError, match=message):
        training.fit_classifier(model, batches, 1, torch.optim.SGD(model.parameters(), 0.1), report=lambda *_: None)


@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_batch_size_of_logits_is_checked(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size} must be a whole number"):
        sentiment.score_reviews(classifier("LSTM"), toy()[0], batch_size)


def test_the_mode_is_put_back_after_an_error():
    model = classifier("LSTM").train()
    with pytest.raises(ValueError, match="outside 0 to"):
        model(torch.full((1, 2), V + 1))
    with pytest.raises(ValueError, match="the model has vectors for 0 to"):
        sentiment.score_reviews(model, [torch.tensor([V + 1])])
    assert model.training


def test_accuracy_needs_one_label_for_each_logit():
    assert sentiment.accuracy(torch.tensor([1.0, -1.0]), [1, 1]) == 0.5
    with pytest.raises(ValueError, match=r"logits \(4, 1\), labels \(4,\): the two must have the same shape"):
        sentiment.accuracy(torch.zeros(4, 1), torch.zeros(4))


def test_optimizer_of_another_model_is_named():
    other = nn.Linear(2, 2)
    model = sentiment.SentimentClassifier(nn.Embedding(V, D), nn.LSTM(D, H))
    rows, labels = toy()
    with pytest.raises(ValueError, match="another model"):
        training.fit_classifier(model, sentiment.Buckets(rows, labels, 8), 1, torch.optim.SGD(other.parameters(), 0.1))


def test_two_language_models_do_not_see_what_they_guess():
    """Change one word: the forward states before it and the backward states after it must stay."""
    torch.manual_seed(0)
    layer = sentiment.BothWays(nn.LSTM, D, H).double()
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
    pair = pretraining.TwoLanguageModels(nn.Embedding(V, D), sentiment.BothWays(nn.LSTM, D, H), counts, 8, dropout=0.0)
    optimizer = torch.optim.Adam(pair.parameters(), lr=0.03)
    losses = []
    for _ in range(15):
        for ids, lengths, _ in sentiment.Buckets(rows, torch.zeros(32), 8):
            loss = pair(ids, lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_sampled_softmax_tends_to_the_full_one():
    torch.manual_seed(0)
    embedding, layer = nn.Embedding(V, D), sentiment.BothWays(nn.LSTM, D, H)
    pair = pretraining.TwoLanguageModels(embedding, layer, torch.ones(V), num_noise=40_000)
    guesses, targets = torch.randn(50, D), torch.randint(V, (50,))
    full = nn.functional.cross_entropy(guesses @ embedding.weight.T, targets)
    assert abs((pair.loss(guesses, targets) - full).item()) < 0.05


def test_chunks_lose_only_single_words():
    rows = random_rows([9, 1, 4, 5])
    pieces = pretraining.chunks(rows, 4)
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
    progress = pretraining.pretrain(model, rows, epochs=8, batch_size=8, lr=0.03, report=lambda *_: None)
    assert progress.status == "finished"
    assert progress[-1]["loss"] < progress[0]["loss"]
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"embedding", "rnn"}, "the read-out is not a part of the language models"
