"""Faults that the public reported, with their siblings: nothing silent, nothing raw.

Each test is a kind: what was reported stands first, cases of the same kind that nobody reported stand beside it.
"""

import collections
import functools
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import (
    baselines,
    data,
    directions,
    explore,
    gates,
    gradients,
    layers,
    memory_tasks,
    plots,
    pretrained,
    scratch,
    sentiment,
    text,
    training,
)

TEXT = "the time traveller " * 200
VOCAB = text.Vocab(list(TEXT))
V = len(VOCAB)


def corpus():
    return VOCAB[list(TEXT)]


def minibatches(num_steps=10):
    return text.sequential_batches(corpus(), 4, num_steps, offset=0)


def quiet(history, line, final):
    """Report nothing."""


def refused(message, call, *arguments, **options):
    """Assert that a call is refused in these words."""
    with pytest.raises(ValueError, match=message):
        call(*arguments, **options)


# 1. Labels


@pytest.mark.parametrize(
    "labels", [[2, 1], [-1, 1], [0.5, 1], ["pos", "neg"], [None, 1], [math.nan, 0], [[0], [1]]], ids=repr
)
def test_labels_are_0_or_1(labels):
    refused("labels must be 0 or 1|same shape", sentiment.accuracy, torch.tensor([3.0, -3.0]), labels)
    refused("labels must be 0 or 1", sentiment.Buckets, [[2], [3]], labels, 2)
    model = classifier()
    refused("labels must be 0 or 1", training.evaluate, model, [[2], [3]], labels)
    options = {"epochs": 1, "optimizer": torch.optim.SGD(model.parameters(), 0.1), "report": quiet}
    refused("labels must be 0 or 1", training.fit_classifier, model, sentiment.Buckets([[2], [3]], [0, 1], 2),
            valid=([[2], [3]], labels), **options)  # fmt: skip


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, pd.Series, lambda x: np.array(x, dtype=bool),
                                  lambda x: torch.tensor(x, dtype=torch.float32)])  # fmt: skip
def test_right_labels_of_any_kind_count_alike(kind):
    assert sentiment.accuracy(torch.tensor([3.0, -3.0, 2.0]), kind([1, 0, 0])) == pytest.approx(2 / 3)
    ((_, _, labels),) = sentiment.Buckets([[2], [3], [4]], kind([1, 0, 0]), 3)
    assert sorted(labels.tolist()) == [0, 0, 1]


def test_reviews_with_other_labels_are_refused():
    Row = collections.namedtuple("Row", "label")
    refused("labels must be 0 or 1", sentiment.hold_out_blocks, [Row(4), Row(0), Row(1)], 1)
    refused("labels must be 0 or 1", explore.ThresholdDesk, [1.0, -1.0], [4, 0], ["a", "b"])


# 2. Containers


def classifier():
    torch.manual_seed(0)
    return sentiment.SentimentClassifier(nn.Embedding(9, 4), nn.LSTM(4, 3)).eval()


ROWS = [[2, 3, 4], [5, 6, 7], [8, 2, 3]]
CONTAINERS = {
    "tuple": tuple,
    "array": np.array,
    "array of objects": lambda rows: np.array([*rows, None], dtype=object)[:-1],
    "tensor": torch.tensor,
    "list of tensors": lambda rows: [torch.tensor(row) for row in rows],
    "list of uint16": lambda rows: [np.array(row, dtype=np.uint16) for row in rows],
    "Series": pd.Series,
    "Series with another index": lambda rows: pd.Series(rows, index=[7, 3, 5]),
    "deque": collections.deque,
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_rows_in_any_container_score_as_the_list_does(kind):
    expected = sentiment.score_reviews(classifier(), ROWS)
    torch.testing.assert_close(sentiment.score_reviews(classifier(), CONTAINERS[kind](ROWS)), expected)
    ids, lengths = sentiment.pad(CONTAINERS[kind](ROWS))
    assert (ids.tolist(), lengths.tolist()) == (ROWS, [3, 3, 3])


NO_ORDER = [set(), {0: [2], 1: [3]}, iter([[2], [3]]), "the film", pd.DataFrame({"a": [1]}), 3, None]


@pytest.mark.parametrize("rows", NO_ORDER, ids=lambda value: type(value).__name__)
def test_what_has_no_order_is_refused_by_name(rows):
    refused("rows|row 0", sentiment.score_reviews, classifier(), rows)
    refused("rows|row 0", sentiment.Buckets, rows, [0, 1], 2)


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Series, collections.deque, lambda x: pd.Series(x, index=[5, 9])])
def test_texts_in_any_container_give_the_same_vocabulary(kind):
    texts = ["a good film", "a bad film"]
    assert sentiment.review_vocab(kind(texts)).tokens == sentiment.review_vocab(texts).tokens


def test_texts_that_are_none_are_refused():
    for texts in ({"a film", "b"}, {"a": "film"}, "one film", [b"film"], [None], 3):
        refused("texts", sentiment.review_vocab, texts)


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor, pd.Series, lambda x: np.array(x, np.uint8),
                                  lambda x: pd.Series(x, index=range(len(x), 0, -1))])  # fmt: skip
def test_a_corpus_in_any_container_gives_the_same_minibatches(kind):
    ours, expected = (list(text.sequential_batches(ids, 4, 10, offset=0)) for ids in (kind(corpus()), corpus()))
    assert all(
        torch.equal(a, b) for one, other in zip(ours, expected, strict=True) for a, b in zip(one, other, strict=True)
    )


# 3. Foreign vocabularies


class D2l:
    """As d2l's Vocab of 1.0: a dict of ids, a list of tokens, __getitem__."""

    def __init__(self, tokens):
        self.idx_to_token = ["<unk>", *sorted(set(tokens))]
        self.token_to_idx = {token: i for i, token in enumerate(self.idx_to_token)}

    def __len__(self):
        return len(self.idx_to_token)

    def __getitem__(self, tokens):
        if not isinstance(tokens, (list, tuple)):
            return self.token_to_idx.get(tokens, 0)
        return [self[token] for token in tokens]


class Torchtext:
    """As torchtext's Vocab: it looks up when called, and offers get_stoi and get_itos."""

    def __init__(self, tokens):
        self.tokens = ["<unk>", *sorted(set(tokens))]

    def __len__(self):
        return len(self.tokens)

    def __call__(self, tokens):
        return [self.tokens.index(token) for token in tokens]

    def get_stoi(self):
        return {token: i for i, token in enumerate(self.tokens)}

    def get_itos(self):
        return self.tokens


class Tokenizer:
    """As the vocabulary of the package tokenizers."""

    def __init__(self, tokens):
        self.tokens = sorted(set(tokens))

    def get_vocab(self):
        return {token: i for i, token in enumerate(self.tokens)}


def plain_dict(tokens):
    return {token: i for i, token in enumerate(sorted(set(tokens)))}


FOREIGN = {"d2l": D2l, "torchtext": Torchtext, "tokenizers": Tokenizer, "dict": plain_dict}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_vocabulary_serves(kind):
    foreign = FOREIGN[kind]("abc")
    own = text.as_vocab(foreign)
    model = scratch.ScratchRNN(len(own), 4)
    written = scratch.generate(model, foreign, "ab", 20, seed=0)
    assert len(written) == 22
    assert set(written) <= set("abc")
    assert scratch.generate(model, foreign, written, 1, seed=0).startswith(written)
    assert directions.reread_and_write(model, foreign, "ab", 3, window=2)[:2] == "ab"
    assert explore.TemperatureDesk(model, foreign, "ab", 9).readout()


def test_a_foreign_vocabulary_of_words_encodes():
    words = ["a", "film", "good"]
    assert sentiment.encode("A good film", D2l(words)).tolist() == [1, 3, 2]
    assert sentiment.encode("A good film", Torchtext(words)).tolist() == [1, 3, 2]
    refused("id 0 of the vocabulary is 'a': it must be '<unk>'", sentiment.encode, "a", plain_dict(words))


@pytest.mark.parametrize(
    "vocab", [None, "abc", ["a", "b"], {"a": 1, "b": 2}, {"a": 0, "b": 0}, {"a": "0"}, {}, D2l, 3], ids=repr
)
def test_what_is_no_vocabulary_is_refused_in_a_sentence(vocab):
    refused("vocab=.*must be a text.Vocab", scratch.generate, scratch.ScratchRNN(2, 3), vocab, "ab", 2)
    refused("vocab=.*must be a text.Vocab", directions.reread_and_write, scratch.ScratchRNN(2, 3), vocab, "ab", 2, 3)
    refused("vocab=.*must be a text.Vocab", sentiment.encode, "a film", vocab)


# 4. Ignored targets


def with_ignored(share=0.6):
    generator = torch.Generator().manual_seed(0)
    X = torch.randint(V, (2, 4, 10), generator=generator)
    Y = torch.randint(V, (2, 4, 10), generator=generator)
    Y[torch.rand(Y.shape, generator=generator) < share] = -100
    return list(zip(X, Y, strict=True))


@torch.no_grad()
def counted_nll(model, batches):
    """Return the sum of the losses of what counts, and how many there are: the definition."""
    total, count = 0.0, 0
    for X, Y in batches:
        logits, _ = model(X)
        for row, target in zip(logits, Y.T.reshape(-1), strict=True):
            if target >= 0:
                total, count = total + float(-torch.log_softmax(row.double(), 0)[target]), count + 1
    return total, count


MODELS = {
    "ScratchRNN": lambda: scratch.ScratchRNN(V, 8, sigma=0.5),
    "ScratchLSTM": lambda: gates.ScratchLSTM(V, 8, sigma=0.5),
    "LanguageModel": lambda: layers.LanguageModel(nn.GRU(V, 8), V),
    "FastRNN": lambda: layers.FastRNN(V, 8, sigma=0.5),
    "Bidirectional": lambda: directions.Bidirectional(scratch.ScratchRNN(V, 8), scratch.ScratchRNN(V, 8)),
}


@pytest.mark.parametrize("name", MODELS)
def test_ignored_targets_count_nowhere(name):
    torch.manual_seed(0)
    model, batches = MODELS[name](), with_ignored()
    total, count = counted_nll(model, batches)
    assert scratch.mean_nll(model, batches) == pytest.approx(total / count, rel=1e-4)
    assert scratch.perplexity(model, batches) == pytest.approx(math.exp(total / count), rel=1e-4)
    frozen = torch.optim.SGD(model.parameters(), lr=1e-12)
    nll, tokens = scratch.train_epoch(model, batches, frozen)
    assert (nll, tokens) == (pytest.approx(total, rel=1e-4), count)
    history = training.fit(model, batches, 1, optimizer=frozen, valid_batches=batches, report=quiet)
    assert history[0]["train"] == pytest.approx(math.exp(total / count), rel=1e-4)
    assert history[0]["valid"] == pytest.approx(math.exp(total / count), rel=1e-4)


def test_ignored_targets_count_nowhere_by_position_and_in_windows():
    model, batches = scratch.ScratchRNN(V, 8, sigma=0.5), with_ignored(0.3)
    total, _ = counted_nll(model, batches)
    by_position = directions.perplexity_by_position(model, batches)
    weights = sum((Y != -100).sum(0) for _, Y in batches)
    assert float((by_position.log() * weights).sum()) == pytest.approx(total, rel=1e-4)
    X, Y = batches[0]
    for num_steps in (1, 3, 10):
        loss, gradient = gradients.truncated_gradient(model, X, Y, num_steps)
        assert loss == pytest.approx(float(F.cross_entropy(model(X)[0], Y.T.reshape(-1))), rel=1e-4)
    (expected,) = torch.autograd.grad(F.cross_entropy(model(X)[0], Y.T.reshape(-1)), [model.params[4]])
    torch.testing.assert_close(gradient[-V:], expected)


@pytest.mark.parametrize("target", [-1, -99, V, 10**6])
def test_other_targets_outside_the_vocabulary_are_named(target):
    X, Y = with_ignored()[0]
    Y = Y.clone()
    Y[0, 0] = target
    model = scratch.ScratchRNN(V, 4)
    for call in (lambda: scratch.perplexity(model, [(X, Y)]), lambda: training.fit(model, [(X, Y)], 1, report=quiet),
                 lambda: directions.perplexity_by_position(model, [(X, Y)]),
                 lambda: gradients.truncated_gradient(model, X, Y, 5)):  # fmt: skip
        refused(f"target {target} is outside 0 to", call)


def test_nothing_but_ignored_targets_is_refused():
    X, Y = with_ignored()[0]
    nothing, model = [(X, torch.full_like(Y, -100))], scratch.ScratchRNN(V, 4)
    for call in (lambda: scratch.mean_nll(model, nothing), lambda: training.fit(model, nothing, 1, report=quiet),
                 lambda: directions.perplexity_by_position(model, nothing),
                 lambda: training.fit(model, minibatches(), 1, valid_batches=nothing, report=quiet),
                 lambda: gradients.truncated_gradient(model, *nothing[0], 5)):  # fmt: skip
        refused("ignored", call)


def test_an_ignored_minibatch_among_others_changes_nothing_and_is_no_nan():
    X, Y = with_ignored()[0]
    model = scratch.ScratchRNN(V, 4)
    batches = [(X, Y), (X, torch.full_like(Y, -100))]
    assert scratch.perplexity(model, batches) == pytest.approx(scratch.perplexity(model, batches[:1]))
    history = training.fit(model, batches, 2, report=quiet)
    assert history.status == "finished"
    assert all(math.isfinite(row["train"]) for row in history)


# 7. Mixed precision


LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


def has_mixed_lstm():
    """Tell whether PyTorch itself runs an LSTM in bfloat16 on this processor; one without AVX-512 has no kernel."""
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            nn.LSTM(2, 3)(torch.randn(2, 1, 2))
    except RuntimeError:
        return False
    return True


needs_mixed_lstm = pytest.mark.skipif(not has_mixed_lstm(), reason="PyTorch has no LSTM in bfloat16 for this processor")
mixable = [pytest.param(name, marks=needs_mixed_lstm if name == "LSTM" else ()) for name in LAYERS]


@pytest.mark.parametrize("name", ["ScratchRNN", "ScratchLSTM", "FastRNN", *mixable])
def test_autocast_around_fit_learns_as_without(name):
    def trained(context):
        torch.manual_seed(0)
        model = layers.LanguageModel(LAYERS[name](V, 16), V) if name in LAYERS else MODELS[name]()
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        with context:
            return training.fit(model, minibatches(), 6, optimizer=optimizer, valid_batches=minibatches(), report=quiet)

    mixed = trained(torch.autocast("cpu", dtype=torch.bfloat16))
    assert mixed.status == "finished"
    assert mixed[-1]["valid"] == pytest.approx(trained(torch.autocast("cpu", enabled=False))[-1]["valid"], rel=0.15)


@needs_mixed_lstm
def test_autocast_around_a_classifier_and_a_splitter():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = classifier()
        options = {"valid": (ROWS, [0, 1, 0]), "report": quiet}
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        history = training.fit_classifier(model, sentiment.Buckets(ROWS, [0, 1, 0], 3), 40, optimizer, **options)
        splitter = directions.WordSplitter(nn.GRU(5, 8))
        directions.train_splitter(splitter, torch.tensor([0, 1, 2, 3, 4] * 30), torch.tensor([0.0, 0, 0, 0, 1] * 30), 5)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def test_double_precision_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        found = memory_tasks.learn("GRU", "add the two marked numbers", 4, 0, max_steps=2)
        assert found["steps"] == 2
        history = training.fit(scratch.ScratchRNN(V, 4), minibatches(), 1, report=quiet)
        assert plots.png(history.plot())
    finally:
        torch.set_default_dtype(torch.float32)


# 8. Checkpoints


def finished(**options):
    model = layers.LanguageModel(nn.GRU(4, 4), V, nn.Embedding(V, 4))
    history = training.fit(model, minibatches(), 2, landmarks={"unigram": np.float32(17.5)}, report=quiet, **options)
    return model, history


def test_what_a_checkpoint_may_hold(tmp_path):
    model, history = finished()
    model.linear.weight = model.embedding.weight  # tied
    path = tmp_path / "tied.safetensors"
    history[0]["valid"] = np.float32(3.0)
    history[1]["valid"] = torch.tensor(2.0)
    pretrained.save(path, model, history[:2], corpus())
    other, _ = finished()
    other.linear.weight = other.embedding.weight
    found = pretrained.load_or_train(other, lambda: pytest.fail("trained"), corpus(), path)
    assert [row["valid"] for row in found] == [3.0, 2.0]
    assert found.landmarks == {"unigram": 17.5}
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(other(ids)[0], model(ids)[0])


def test_the_keys_of_a_compiled_model_are_plain(tmp_path):
    model, history = finished()
    compiled = torch.compile(model, backend="eager")
    path = tmp_path / "compiled.safetensors"
    pretrained.save(path, compiled, history, corpus())
    assert not [name for name in pretrained.load(path)[0] if "_orig_mod" in name]
    for target in (finished()[0], torch.compile(finished()[0], backend="eager")):
        pretrained.load_or_train(target, lambda: pytest.fail("trained"), corpus(), path)
        torch.testing.assert_close(target(torch.tensor([[1]]))[0], model(torch.tensor([[1]]))[0])


def test_a_slice_of_a_history_is_a_history():
    _, history = finished()
    for part in (history[:1], history[-1:], history + list(history), history.copy(), history[::-1]):
        assert type(part) is training.History
        assert part.landmarks == history.landmarks
        assert part.optimizer is history.optimizer
    progress = training.Progress()
    assert type(progress[:0]) is training.Progress


def test_training_on_from_a_checkpoint_needs_an_optimizer(tmp_path):
    model, history = finished()
    pretrained.save(tmp_path / "m.safetensors", model, history, corpus())
    loaded = pretrained.load_or_train(model, list, corpus(), tmp_path / "m.safetensors")
    refused("this history has no optimizer", training.fit, model, minibatches(), 1, history=loaded, report=quiet)
    adam = torch.optim.Adam(model.parameters())
    assert training.fit(model, minibatches(), 1, history=loaded, optimizer=adam, report=quiet).optimizer is adam


@pytest.mark.parametrize("content", [b"", b"abc", b"\x08" + bytes(40), b"{}", "foreign", "half"], ids=repr)
def test_a_truncated_or_foreign_file_is_refused(tmp_path, content):
    from safetensors.torch import save_file

    model, history = finished()
    path = tmp_path / "m.safetensors"
    if content == "foreign":
        save_file({"a": torch.zeros(2)}, path)
    else:
        pretrained.save(path, model, history, corpus())
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    refused(
        "is damaged or no checkpoint|no history of a training", pretrained.load_or_train, model, list, corpus(), path
    )


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    model, history = finished()
    path = tmp_path / "m.safetensors"
    pretrained.save(path, model, history, corpus())
    before = path.read_bytes()
    monkeypatch.setattr(
        pretrained, "save_file", lambda weights, part, facts: (_ for _ in ()).throw(OSError(28, "disk full"))
    )
    refused("can't be written", pretrained.save, path, model, history, corpus())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


# 9. Raw errors


EVERY = {**MODELS, **{name: lambda layer=layer: layers.LanguageModel(layer(V, 4), V) for name, layer in LAYERS.items()},
         "ScratchGRU": lambda: gates.ScratchGRU(V, 4), "classifier": lambda: classifier(),
         "WordSplitter": lambda: directions.WordSplitter(nn.GRU(V, 4)),
         "embedding": lambda: layers.LanguageModel(nn.GRU(4, 4), V, nn.Embedding(V, 4)),
         "ManyToOne": lambda: layers.ManyToOne(nn.GRU(4, 4), 2, nn.Embedding(V, 4))}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("wrong", [99, -1])
def test_ids_outside_the_vocabulary_are_named_by_every_model(name, wrong):
    refused(f"id {wrong} is outside 0 to", EVERY[name](), torch.tensor([[1, wrong]]))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.uint16])
def test_small_whole_numbers_are_ids(name, dtype):
    torch.manual_seed(0)
    model, ids = EVERY[name]().eval(), torch.tensor([[1, 2, 3]])
    small, expected = (
        outputs[0] if isinstance(outputs, tuple) else outputs for outputs in (model(ids.to(dtype)), model(ids))
    )
    torch.testing.assert_close(small, expected)


def test_what_fit_is_given_is_looked_at_before_the_first_step():
    model = scratch.ScratchRNN(V, 4)
    before = [p.clone() for p in model.parameters()]
    wrong = {
        "history=": {"history": [{"epoch": 1}]},
        "scheduler=": {"scheduler": [torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), 1.0), 1)]},
        "needs a closure": {"optimizer": torch.optim.LBFGS(model.parameters())},
        "optimizer=": {"optimizer": "adam"},
        "sample=": {"sample": "a text"},
        "report=": {"report": 3},
        "landmarks=": {"landmarks": [1, 2]},
        "clip=": {"clip": None},
        "lr=": {"lr": "fast"},
        "id 99": {"valid_batches": [(torch.full((2, 3), 99), torch.ones(2, 3).long())]},
        "valid_batches": {"valid_batches": []},
        "epochs=": {"epochs": 2.0},
    }
    for message, options in wrong.items():
        refused(message, training.fit, model, minibatches(), **({"epochs": 1, "report": quiet} | options))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_what_fit_classifier_is_given_is_looked_at_before_the_first_step():
    model = classifier()
    before = [p.clone() for p in model.parameters()]
    adam = torch.optim.Adam(model.parameters())
    for valid in (
        ([[2]], [0, 1]),
        ([], []),
        ([[99]], [0]),
        ([[]], [0]),
        ([[2]], [3]),
        [[2]],
        ([2], [1]),
        ("ab", [0, 1]),
    ):
        refused("valid|rows|labels|row", training.fit_classifier, model, sentiment.Buckets(ROWS, [0, 1, 0], 3), 1, adam,
                valid=valid, report=quiet)  # fmt: skip
    for message, options in {
        "history=": {"history": [1]},
        "scheduler=": {"scheduler": 3},
        "rounds=": {"rounds": 0},
    }.items():
        refused(
            message,
            training.fit_classifier,
            model,
            sentiment.Buckets(ROWS, [0, 1, 0], 3),
            1,
            adam,
            report=quiet,
            **options,
        )
    lbfgs = torch.optim.LBFGS(model.parameters())
    refused(
        "needs a closure", training.fit_classifier, model, sentiment.Buckets(ROWS, [0, 1, 0], 3), 1, lbfgs, report=quiet
    )
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("seed", ["a", 1.5, -1, 2**70, [1], True], ids=repr)
def test_seeds_are_named_everywhere(seed):
    model = scratch.ScratchRNN(V, 4)
    refused("seed=", scratch.generate, model, VOCAB, "the", 2, seed=seed)
    refused("seed=", directions.reread_and_write, model, VOCAB, "the", 2, 3, seed=seed)
    refused("seed=", text.sequential_batches, corpus(), 4, 10, seed=seed)
    refused("seed=", text.random_batches, corpus(), 4, 10, seed=seed)
    refused("seed=", sentiment.Buckets, ROWS, [0, 1, 0], 2, seed)


@pytest.mark.parametrize(
    "prefix",
    [None, 3, b"the", [], "", {"t": 1}, iter("the"), torch.tensor(1.0)],
    ids=lambda value: type(value).__name__,
)
def test_prefixes_are_named(prefix):
    refused("prefix", scratch.generate, scratch.ScratchRNN(V, 4), VOCAB, prefix, 2)
    refused("prefix", directions.reread_and_write, scratch.ScratchRNN(V, 4), VOCAB, prefix, 2, 3)


@pytest.mark.parametrize("perplexity", ["x", None, -1, math.nan, [3]], ids=repr)
def test_a_threshold_that_is_none_is_named(perplexity):
    refused("perplexity=", training.History().first_epoch, perplexity)
    refused("key=", training.History().first_epoch, 2.0, key="valid_loss")


# 10. <unk>


def rare_text():
    return "the time traveller " * 50 + "xyz"


RARE = {
    "characters": (text.Vocab(list(rare_text()), min_freq=2), list("tim"), "x"),
    "words": (text.Vocab(rare_text().split(), min_freq=2), ["the", "time"], "xyz"),
    "with <pad>": (text.Vocab(list(rare_text()), min_freq=2, reserved=("<pad>",)), list("tim"), "x"),
}


class Eager(nn.Module):
    """Scores <unk> and <pad> far above all else: what is never written must be struck out, not unlikely."""

    def __init__(self, vocab):
        super().__init__()
        self.vocab_size, self.weight = len(vocab), nn.Parameter(torch.zeros(1))
        self.special = [vocab[token] for token in ("<unk>", "<pad>") if token in vocab]

    def begin_state(self, batch_size, device=None):
        return torch.zeros(batch_size, 1)

    def forward(self, ids, state=None):
        logits = torch.zeros(ids.numel(), self.vocab_size)
        logits[:, self.special] = 1e4
        return logits, state


@pytest.mark.parametrize("name", RARE)
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0}, {"temperature": 5.0}, {"top_k": 1}, {"top_k": 2}], ids=repr
)
def test_generated_text_holds_no_unknown_and_has_the_length_asked_for(name, options):
    vocab, prefix, _ = RARE[name]
    for model in (Eager(vocab), scratch.ScratchRNN(len(vocab), 6, sigma=0.5)):
        written = scratch.generate(model, vocab, prefix, 40, seed=1, **options)
        assert len(written) == len(prefix) + 40
        assert written[: len(prefix)] == prefix
        assert not {"<unk>", "<pad>"} & set(written)
        assert scratch.generate(model, vocab, written, 5, seed=1)[:-5] == written
        assert directions.reread_and_write(model, vocab, prefix, 9, window=4).startswith("".join(prefix))


def test_a_text_comes_back_as_a_text_of_that_length():
    vocab, _, rare = RARE["characters"]
    model = scratch.ScratchRNN(len(vocab), 6)
    written = scratch.generate(model, vocab, f"the {rare}", 30, seed=2)
    assert len(written) == 35, "a rare character of the prefix stays as it is, one character long"
    assert written.startswith(f"the {rare}")
    assert len(scratch.generate(model, vocab, written, 10, seed=2)) == 45
    assert len(directions.reread_and_write(model, vocab, f"the {rare}", 10, window=5)) == 15


@pytest.mark.parametrize("name", RARE)
def test_a_rare_token_was_trained_as_unknown_and_another_was_never_seen(name):
    vocab, prefix, rare = RARE[name]
    model = scratch.ScratchRNN(len(vocab), 6)
    assert scratch.generate(model, vocab, [*prefix, rare], 3, seed=0)[len(prefix)] == rare
    refused("never seen: 'Q'", scratch.generate, model, vocab, [*prefix, "Q"], 3)


def test_the_rare_tokens_of_d2l_are_known_as_unknown():
    foreign = D2l("abc")
    foreign.token_freqs = [("a", 9), ("b", 8), ("c", 7), ("z", 1)]
    model = scratch.ScratchRNN(len(foreign), 4)
    assert scratch.generate(model, foreign, "abz", 5, seed=0)[:3] == "abz"
    refused("never seen: 'Q'", scratch.generate, model, foreign, "abQ", 5)


def test_a_vocabulary_of_nothing_to_write_is_refused():
    vocab = text.Vocab(list("abc"), min_freq=9)
    refused("no token to write", scratch.generate, scratch.ScratchRNN(1, 3), vocab, "abc", 2)


# 11. Own text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("own", ["Café naïve, 1895.", "时间旅行者微笑着环顾我们，" * 5, "Привет, мир!"], ids=ascii)
def test_a_text_of_ones_own_is_read_and_cleaned(tmp_path, monkeypatch, capsys, encoding, own):
    path = tmp_path / "my.txt"
    path.write_bytes(own.encode(encoding))
    monkeypatch.chdir(tmp_path)
    for name in ("my.txt", "./my.txt", str(path), path):
        assert data.load_text(name) == own
    cleaned = text.clean(own)
    letters = [c for c in own.lower() if c.isalpha()]
    assert [c for c in cleaned if c != " "] == letters, "no letter is lost"


def test_a_decomposed_text_is_composed(tmp_path):
    path = tmp_path / "my.txt"
    path.write_text("Cafe\u0301", encoding="utf-8")
    assert data.load_text(str(path)) == "Café"


@pytest.mark.parametrize(
    ("content", "message"), [("Café".encode("latin-1"), "UTF-8"), (b"", "is empty"), (b"a\0b\0", "zero bytes")]
)
def test_a_file_that_is_no_text_is_explained(tmp_path, content, message):
    path = tmp_path / "my.txt"
    path.write_bytes(content)
    refused(message, data.load_text, str(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    refused("nowhere.txt", data.load_text, str(tmp_path / "nowhere.txt"))
    refused("unknown|no such|is no", data.load_text, "my book")
    refused("folder|directory|file", data.load_text, str(tmp_path))


def test_own_texts_go_from_cleaning_to_generation():
    for own in ("Café naïve à Noël. " * 60, "时间旅行者微笑着环顾我们，说明原理。" * 40):
        cleaned = text.clean(own)
        vocab = text.Vocab(cleaned)
        ids = vocab[list(cleaned)]
        cut = int(0.8 * len(ids))
        model = scratch.ScratchRNN(len(vocab), 16)
        marks = baselines.landmarks(ids[:cut], ids[cut:], len(vocab))
        batches = text.sequential_batches(ids[:cut], 4, 10)
        sample = functools.partial(scratch.generate, model, vocab, cleaned[:4], 20)
        history = training.fit(model, batches, 2, landmarks=marks, sample=sample, report=quiet)
        assert plots.png(history.plot())
        assert explore.BatchRibbon(cleaned[:60]).readout()
        assert explore.PerplexityRuler(ids[:cut], ids[cut:], len(vocab)).readout()


# 12. Quiet surprises


@pytest.mark.parametrize("wrap", [list, tuple, lambda b: b, lambda b: [*b]], ids=["list", "tuple", "itself", "stars"])
def test_the_state_is_carried_through_a_list(wrap):
    model = scratch.ScratchRNN(V, 8, sigma=0.5)
    assert scratch.perplexity(model, wrap(minibatches())) == pytest.approx(scratch.perplexity(model, minibatches()))


def test_the_state_is_carried_through_a_progress_bar():
    from tqdm import tqdm

    model = scratch.ScratchRNN(V, 8, sigma=0.5)
    found = scratch.perplexity(model, list(tqdm(minibatches(), file=io.StringIO())))
    assert found == pytest.approx(scratch.perplexity(model, minibatches()))


def test_a_word_is_no_character():
    refused("look up list", VOCAB.__getitem__, "time")
    refused("look up list", VOCAB.__getitem__, ["t", "time"])
    refused("is a int", VOCAB.__getitem__, 3)
    assert text.Vocab(["time", "the"])["traveller"] == 0, "a vocabulary of words has words that it lacks"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_a_training_prints_on_any_terminal(encoding):
    code = (
        "from rnnlib import scratch, text, training; ids = [1, 2, 3] * 50;"
        "h = training.fit(scratch.ScratchRNN(4, 3), text.sequential_batches(ids, 2, 5), 4); print(h.status)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=120)
    assert found.returncode == 0, found.stderr.decode()
    assert found.stdout.decode(encoding).strip().endswith("finished")


def test_an_explosion_is_no_success():
    for lr in (10.0, 1e3):
        torch.manual_seed(0)
        history = training.fit(scratch.ScratchRNN(V, 32), minibatches(), 4, lr=lr, clip=math.inf, report=quiet)
        assert history.status == "diverged" or history[-1]["train"] <= 2 * V, json.dumps(history)
