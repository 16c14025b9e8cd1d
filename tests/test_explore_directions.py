"""The explorers of chapter 6 show what is known: a planted leak, exact zeros, words that are found."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import directions, explore, text
from rnnlib.drawings import draw_two_readers
from rnnlib.explore.directions import _votes

VOCAB = text.Vocab("the time traveller abcdfghijkmnopqsuwxyz ")


class NextSeer(nn.Module):
    """A language model that reads the answer off its input, wherever there is one, and guesses uniformly elsewhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def begin_state(self, batch_size, device=None):
        return torch.zeros(batch_size, 1, device=device)

    def forward(self, ids, state=None):
        logits = torch.zeros(*ids.T.shape, len(VOCAB))
        logits[:-1] = 50.0 * F.one_hot(ids.T[1:], len(VOCAB))
        return logits.flatten(0, 1), state


class Unknowing(NextSeer):
    """A language model that knows nothing."""

    def forward(self, ids, state=None):
        return torch.zeros(ids.numel(), len(VOCAB)), state


@pytest.fixture(scope="module")
def detector():
    ids = torch.arange(400) ** 2 % len(VOCAB)
    return explore.LeakDetector(Unknowing(), NextSeer(), VOCAB, ids, num_steps=12, num_tokens=20)


def test_leak_detector_finds_a_planted_leak(detector):
    data = detector.measure(position=3, passage=1)
    assert data["curves"]["both"].tolist() == pytest.approx([1.0] * 11 + [len(VOCAB)])
    assert data["curves"]["forward"].tolist() == pytest.approx([len(VOCAB)] * 12)
    assert data["likely"]["both"].tolist() == pytest.approx([1.0] * 11 + [1 / len(VOCAB)])
    assert data["characters"] == VOCAB.decode(detector.ids[12:25])
    assert data["guesses"]["both"] == data["characters"][3]


def test_leak_detector_draws_what_it_measures(detector):
    data = detector.measure(position=12, passage=0)
    curve, bars, _ = detector.draw(data).axes
    forward, both = curve.lines[:2]
    assert np.allclose(both.get_ydata(), data["curves"]["both"]) and both.get_label() == "both"
    assert np.allclose(forward.get_ydata(), data["curves"]["forward"])
    labels = [label.get_text() for label in bars.get_xticklabels()]
    assert labels == [token.replace(" ", "␣") for token in data["characters"][1:]]
    assert f"at the last position {len(VOCAB):.2f}." in detector.describe(data)


@pytest.fixture(scope="module")
def who():
    return explore.WhoSeesWhat()


@pytest.mark.parametrize(
    ("half", "pattern"), [("forward [:H]", np.tril), ("backward [H:]", np.triu), ("both", lambda ones: ones)]
)
def test_who_sees_what_in_one_layer(who, half, pattern):
    data = who.measure(half, 1, "output[:, -1]")
    assert ((data["matrix"] > 0) == (pattern(np.ones((12, 12))) > 0)).all()


@pytest.mark.parametrize(
    ("layers", "read_out", "seen"),
    [
        (1, "output[:, -1]", [12, 1]),
        (1, "output[:, 0]", [1, 12]),
        (1, "h_n[-2], h_n[-1]", [12, 12]),
        (2, "output[:, -1]", [12, 12]),
    ],
)
def test_who_sees_what_in_a_read_out(who, layers, read_out, seen):
    data = who.measure("both", layers, read_out)
    assert (data["strip"] > 0).sum(1).tolist() == seen
    assert f"its forward half depends on {seen[0]} of 12 characters, its backward half on {seen[1]}" in who.describe(
        data
    )


def test_who_sees_what_counts_leaks(who):
    leaks = {half: who.describe(who.measure(half, 1, "output[:, -1]")) for half in who.halves}
    assert "0 of 11 outputs depend on the character that comes next" in leaks["forward [:H]"]
    assert "11 of 11 outputs" in leaks["backward [H:]"] and "11 of 11 outputs" in leaks["both"]
    assert "11 of 11 outputs" in who.describe(who.measure("forward [:H]", 2, "output[:, -1]"))


def test_who_sees_what_names_a_wrong_choice(who):
    with pytest.raises(ValueError, match="half='left' is not known"):
        who.measure("left", 1, "output[:, -1]")
    with pytest.raises(ValueError, match="read_out='output' is not known"):
        who.measure("both", 1, "output")


def test_two_readers_draws_both_chains():
    (axes,) = draw_two_readers(num_steps=3).axes
    labels = [label.get_text() for label in axes.texts if label.get_text()]
    assert labels.count(r"$\overrightarrow{H}_1$") == labels.count(r"$\overleftarrow{H}_1$") == 1
    assert labels.count("$X_3$") == labels.count("$O_3$") == 1
    chains = [(arrow.xyann, arrow.xy) for arrow in axes.texts if getattr(arrow, "xy", None)]
    assert ((0, 1), (1, 1)) in chains and ((1, 2), (0, 2)) in chains
    assert ((1, 1), (0, 1)) not in chains and ((0, 2), (1, 2)) not in chains


@pytest.fixture
def ends():
    explorer_class, arguments = explore.catalogue()["WordEnds"]
    return explorer_class(**arguments)


def test_word_ends_measures_each_reader(ends):
    """Readers that always or never see an end find what they must."""
    with torch.no_grad():
        for splitter, bias in zip(ends.splitters.values(), (-9.0, 9.0, -9.0), strict=True):
            splitter.readout.weight.zero_()
            splitter.readout.bias.fill_(bias)
    data = ends.measure("I am a Time traveller.", future=2)
    assert data["letters"] == "iamatimetraveller"
    assert data["found"] == {"forward only": 0, "both": 2 / 5, "both, deep": 0}
    assert data["votes"] == pytest.approx(np.full((17, 2), 4.5))
    assert "both 40%" in ends.describe(data) and "“iamatimetraveller”" in ends.describe(data)


def test_word_ends_looks_ahead_as_far_as_it_says(ends):
    short, far = (ends.measure("the time traveller", future)["votes"] for future in (3, 60))
    both = ends.splitters["both"]
    ids = torch.tensor(ends.vocab[list("thetimetraveller")])
    for future, shown in ((3, short), (60, far)):
        states = directions.states_with_lookahead(both, ids, future, context=60)
        assert shown == pytest.approx(_votes(both, states).detach().numpy())
    assert np.allclose(short[:, 0], far[:, 0], atol=1e-6)
    assert not np.allclose(short[:-4, 1], far[:-4, 1])
    assert np.allclose(short[-4:, 1], far[-4:, 1], atol=1e-6)


def test_word_ends_explains_a_text_too_short_or_too_long(ends):
    for sentence, number in (("a", 1), ("letters " * 12, 84)):
        with pytest.raises(ValueError, match=f"the text has {number} letters: give it 2 to 60"):
            ends.measure(sentence, future=2)
    with pytest.raises(ValueError, match="no words: give it at least one letter"):
        ends.measure("?!", future=2)
