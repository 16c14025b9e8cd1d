"""The explorers of chapter 9 show what the model computes: its weights, its beam, and measured curves as they are."""

import itertools
import math

import numpy as np
import pytest
import torch

from rnnlib import attention, explore, pretrained
from rnnlib.attention import LETTERS, PHONEMES
from rnnlib.drawings import draw_four_shapes, draw_maps, draw_one_look
from rnnlib.explore.attention import _letters_of, look


@pytest.fixture(scope="module")
def model():
    return pretrained.trained_phoneme_model()


def source_of(word):
    return torch.tensor([LETTERS[list(word)]])


@pytest.mark.parametrize("word", ["", "two words", "naïve", "a" * 17, "c3po"])
def test_words_that_cannot_be_read_are_named_with_the_remedy(word):
    with pytest.raises(ValueError, match="type one word of 1 to 16 letters from a to z"):
        _letters_of(word)


def test_words_are_cleaned():
    assert _letters_of("  Photograph ") == "photograph"


def test_checkpoint_reads_words_that_were_held_out_or_invented(model):
    """Its promise, on words whose phonemes nobody doubts."""
    written = {w: " ".join(PHONEMES.decode(look(model, source_of(w))[0][:-1])) for w in ("photograph", "nation", "bip")}
    assert written == {"photograph": "F OW T AH G R AE F", "nation": "N EY SH AH N", "bip": "B IH P"}


# The inspector


def test_inspector_shows_the_weights_of_the_steps_it_writes(model):
    inspector = explore.AttentionInspector(model)
    data = inspector.measure("knight", 2)
    memory, state, ids = model.encoder(source_of("knight")), None, torch.tensor([[attention.BOS]])
    for row, phoneme in zip(data["weights"], data["phonemes"], strict=True):
        with torch.no_grad():
            logits, state, weights = model.decoder(ids, memory, state)
        assert row == pytest.approx(weights[0, 0].numpy(), abs=1e-5)
        ids = logits.argmax(-1)
        assert PHONEMES.tokens[int(ids)] == phoneme
    assert data["phonemes"] == ["N", "AY", "T", "<eos>"]
    assert data["weights"].sum(1) == pytest.approx(np.ones(4))


def test_inspector_says_what_the_row_says(model):
    inspector = explore.AttentionInspector(model)
    data = inspector.measure("photograph", 1)
    assert data["candidates"][0][0] == "F"
    place = int(data["weights"][0].argmax())
    sentence = inspector.describe(data)
    assert (
        f"looks most at letter {place + 1}, “{'photograph'[place]}”, with weight {data['weights'][0].max():.2f}."
        in sentence
    )
    assert "F OW T AH G R AE F" in sentence


def test_inspector_stays_at_the_end_of_a_short_word(model):
    data = explore.AttentionInspector(model).measure("at", 20)
    assert data["step"] == len(data["phonemes"]) == 3
    assert "the end (⏎)" in explore.AttentionInspector(model).describe(data)


# The bottleneck


def rows():
    curve = {str(length): 1 / length for length in range(1, 26)}
    return [
        {"model": kind, "hidden": hidden} | {n: value * share for n, value in curve.items()}
        for hidden in (16, 64)
        for kind, share in (("none", 0.5), ("dot", 1.0))
    ]


def test_bottleneck_shows_what_was_measured():
    bottleneck = explore.Bottleneck(rows())
    data = bottleneck.measure(10, 64)
    assert data["at"] == {"without attention": 0.05, "with attention": 0.1}
    lines = bottleneck.draw(data).axes[0].lines
    assert list(lines[0].get_ydata()) == [0.5 / n for n in range(1, 26)]
    assert list(lines[1].get_ydata()) == [1 / n for n in range(1, 26)]
    assert "10 letters: 5% are copied without a mistake from one state, 10% with attention." in bottleneck.describe(
        data
    )


def test_bottleneck_takes_the_first_of_several_seeds():
    several = rows() + [row | {"10": 0.9} for row in rows()]
    assert explore.Bottleneck(several).measure(10, 16)["at"]["with attention"] == 0.1


# The beam


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("word", ["lead", "philosophy", "a"])
def test_tree_keeps_what_beam_search_finds(model, word, width):
    data = explore.BeamTree(model).measure(word, width)
    texts = []
    for t, nodes in enumerate(data["steps"]):
        for node in nodes:
            if node["fate"] == "ended":
                path, place = [], node["parent"]
                for step in reversed(data["steps"][:t]):
                    path.insert(0, step[place]["phoneme"])
                    place = step[place]["parent"]
                texts.append((node["score"], " ".join(path)))
    assert len(texts) == width
    for (score, text), (found, spoken) in zip(sorted(texts, reverse=True), data["results"], strict=True):
        assert (text, score) == (spoken, pytest.approx(found, abs=1e-4))


def test_tree_of_width_one_is_greedy(model):
    tree = explore.BeamTree(model)
    data = tree.measure("nation", 1)
    (greedy,) = attention.until_eos(attention.greedy(model, source_of("nation"), 20))
    assert data["results"][0][1].split() == PHONEMES.decode(greedy)
    assert all(sum(node["fate"] != "cut" for node in nodes) == 1 for nodes in data["steps"])


def test_scores_fall_along_a_path(model):
    steps = explore.BeamTree(model).measure("sioux", 3)["steps"]
    for before, nodes in itertools.pairwise(steps):
        assert all(node["score"] <= before[node["parent"]]["score"] for node in nodes)
        assert all(before[node["parent"]]["fate"] == "kept" for node in nodes)


def test_both_ways_to_say_lead_are_in_the_beam(model):
    assert {"L EH D", "L IY D"} <= {text for _, text in explore.BeamTree(model).measure("lead", 3)["results"]}


# Drawings


def test_one_look_is_a_softmax_of_dot_products():
    _, products, shares = draw_one_look().axes
    scores = [bar.get_height() for bar in products.patches]
    weights = [bar.get_height() for bar in shares.patches]
    total = sum(map(math.exp, scores))
    assert weights == pytest.approx([math.exp(score) / total for score in scores])
    assert scores == pytest.approx([3.8, 3.7, -0.8, -2.0])


def test_four_shapes_have_their_arrows():
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in draw_four_shapes().axes]
    assert [title.split(":")[0] for title in titles] == [
        "many to one",
        "one to many",
        "many to many, aligned",
        "encoder → decoder",
    ]


def test_map_has_a_row_for_each_token_written():
    fig = draw_maps([(np.eye(3), "abc", ["1", "2", "<eos>"])])
    axes = fig.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "2", "⏎"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert np.array_equal(axes.images[0].get_array(), np.eye(3))
