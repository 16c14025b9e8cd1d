"""Checkpoints: written, read, refused for another text; the shipped one keeps its promise."""

import json
import math

import pytest
import torch
from torch import nn

from rnnlib import data, pretrained, regularised, scratch, text, training
from rnnlib.layers import LanguageModel

IDS = [i * i % 5 for i in range(600)]


def small_model(num_hiddens=4):
    return LanguageModel(nn.RNN(5, num_hiddens), 5)


def train(model, epochs=2):
    batches = text.sequential_batches(IDS, 4, 5, offset=0)
    return training.fit(
        model, batches, epochs, valid_batches=batches, landmarks={"uniform": 5.0}, report=lambda *_: None
    )


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A model whose checkpoint "small" is the only one there is."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    model = small_model()
    history = train(model)
    pretrained.save(tmp_path / "small.safetensors", model, history, IDS)
    return model, history


def never():
    raise AssertionError("trained, although there is a checkpoint")


def test_loads_what_was_saved(saved):
    model, history = saved
    other = small_model()
    found = pretrained.load_or_train(other, never, IDS, checkpoint="small")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert list(found) == list(history)
    assert (found.landmarks, found.status) == ({"uniform": 5.0}, "finished")
    assert found.best == history.best
    found.plot()


def test_trains_without_a_checkpoint(saved):
    model = small_model()
    assert len(pretrained.load_or_train(model, lambda: train(model, 3), IDS)) == 3


def test_another_text_is_never_judged_by_this_checkpoint(saved, capsys):
    model = small_model()
    other_ids = [*IDS[:-1], (IDS[-1] + 1) % 5]
    assert len(pretrained.load_or_train(model, lambda: train(model, 1), other_ids, checkpoint="small")) == 1
    assert "learned from another text" in capsys.readouterr().out


def test_misfits_are_named(saved):
    with pytest.raises(ValueError, match="no checkpoint 'smal'; there are: small"):
        pretrained.load("smal")
    with pytest.raises(ValueError, match="'small' doesn't fit this model"):
        pretrained.load_or_train(small_model(num_hiddens=3), never, IDS, checkpoint="small")


def test_a_model_that_is_refused_stays_as_it_was(saved):
    model = LanguageModel(nn.RNN(4, 4), 5, nn.Embedding(5, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = r"embedding.weight is nothing in the checkpoint and \(5, 4\) in the model"
    with pytest.raises(ValueError, match=message):
        pretrained.load_or_train(model, never, IDS, checkpoint="small")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bytes_kept", [0, 4, -20])
def test_a_damaged_file_is_named_with_the_remedy(saved, bytes_kept):
    path = pretrained.FOLDER / "small.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_kept])
    with pytest.raises(ValueError, match=r"small.safetensors is damaged .*: install rnnlib again, or train it"):
        pretrained.load("small")


def test_command_names_its_choices():
    with pytest.raises(SystemExit, match="choose from shakespeare_gru"):
        pretrained._main(["hamlet"])


def test_command_trains_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    model = small_model()
    monkeypatch.setattr(pretrained, "RECIPES", {"small": lambda: (model, train(model), IDS)})
    pretrained._main([])
    assert "small: held-out perplexity" in capsys.readouterr().out
    weights, facts = pretrained.load("small")
    assert set(weights) == set(model.state_dict())
    assert len(json.loads(facts["history"])) == 2


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_falls_in_a_straight_line_to_nothing(epochs):
    ids = [i * i % 11 for i in range(20_000)]
    model = LanguageModel(nn.RNN(11, 4), 11)
    history = pretrained.train_shakespeare(model, ids[:17_000], ids[17_000:], epochs, report=lambda *_: None)
    assert len(history) == 10 * epochs
    assert [row["epoch"] for row in history if row["valid"] is not None] == [epochs * i for i in range(1, 11)]
    assert history.optimizer.param_groups[0]["lr"] == pytest.approx(5e-5)


# The shipped checkpoint


def test_checkpoints_are_small_and_reproducible():
    files = list(pretrained.FOLDER.glob("*.safetensors"))
    assert {file.stem for file in files} == set(pretrained.RECIPES)
    for file in files:
        assert file.stat().st_size < 4_000_000
        _, facts = pretrained.load(file.stem)
        history = json.loads(facts["history"])
        assert history[-1]["epoch"] == len(history)


def test_the_larger_network_learns_as_it_says_and_is_stored_as_a_plain_lstm():
    model = LanguageModel(nn.LSTM(8, 12, 2), 11, nn.Embedding(11, 8))
    learner = regularised._Learner(model).eval()
    ids = torch.arange(30).reshape(2, 15) % 11
    torch.testing.assert_close(learner(ids, [None, None])[0], model.eval()(ids)[0])
    text_ids = torch.as_tensor([i * i % 11 for i in range(7_000)])
    history = regularised.train_regularised(
        model, text_ids[:5_000], text_ids[5_000:], passes=20, rows=8, num_steps=20, lr=2e-2
    )
    assert [row["epoch"] for row in history] == list(range(1, 21))
    assert history[-1]["valid"] < 2.5 < 5 < history[0]["valid"]
    assert scratch.perplexity(model, text.sequential_batches(text_ids[5_000:], 32, 50, offset=0)) == pytest.approx(
        history[-1]["valid"]
    )


def test_the_larger_network_beats_the_smaller_one_on_the_held_out_text():
    ids = torch.as_tensor(pretrained.CHARACTERS[list(data.load_text("shakespeare"))])
    ids = ids[int(0.9 * len(ids)) :][:20_000]
    batches = text.sequential_batches(ids, 32, 50, offset=0)
    larger, smaller = (
        scratch.perplexity(pretrained.load_model(name)[0], batches) for name in ("shakespeare_lstm", "shakespeare_gru")
    )
    assert larger < 0.97 * smaller


def test_shakespeare_needs_at_most_2_25_bits_a_character():
    characters = list(data.load_text("shakespeare"))
    vocab = text.Vocab(characters)
    ids = vocab[characters]
    size = int(0.9 * len(ids))
    weights, facts = pretrained.load("shakespeare_gru")
    if facts["fingerprint"] != pretrained.fingerprint(ids[:size]):
        pytest.skip("tiny Shakespeare itself is not here")
    model = LanguageModel(nn.GRU(64, 256), len(vocab), nn.Embedding(len(vocab), 64))
    model.load_state_dict(weights)
    batches = text.sequential_batches(ids[size:], 32, 50, offset=0)
    bits = scratch.mean_nll(model, batches) / math.log(2)
    assert 2.0 < bits <= 2.25
    assert bits == pytest.approx(math.log2(json.loads(facts["history"])[-1]["valid"]), abs=0.01)


# BatchPortions


def test_portions_go_through_a_pass_and_start_anew():
    windows = text.sequential_batches(torch.arange(111), 2, 5, offset=0)  # 11 minibatches
    whole = [X for X, _ in windows]
    portions = text.BatchPortions(windows, 4)
    lengths = []
    seen = []
    for _ in range(6):
        portion = [X for X, _ in portions]
        lengths.append(len(portion))
        seen += portion
    assert lengths == [4, 4, 3, 4, 4, 3]
    assert len(seen) == 2 * len(whole)
    assert all(torch.equal(a, b) for a, b in zip(seen, whole + whole, strict=True))


def test_minibatches_of_a_portion_say_whether_they_continue():
    portions = text.BatchPortions(text.sequential_batches(torch.arange(111), 2, 5, offset=0), 4)
    assert [[pair.continues for pair in portions] for _ in range(4)] == [
        [False, True, True, True],
        [True, True, True, True],
        [True, True, True],
        [False, True, True, True],
    ]
    shuffled = text.BatchPortions(text.random_batches(torch.arange(50), 2, 5), 2)
    assert not any(pair.continues for _ in range(4) for pair in shuffled)
