"""The explorers of chapter 7 show what is known: a state that halves at each pad, planted words, counted errors."""

import numpy as np
import pytest
import torch
from torch import nn

from rnnlib import explore, sentiment
from rnnlib.explore.sentiment import PRAISE, _last_lines, _probability
from rnnlib.lettering import drawable

VOCAB = sentiment.review_vocab(["good bad but plain"])


def halving_classifier():
    """A state is half the one before plus 3 for “good”, 1 for “bad” and 0 for all else."""
    embedding = nn.Embedding(len(VOCAB), 1)
    layer = nn.RNN(1, 1, nonlinearity="relu")
    with torch.no_grad():
        embedding.weight.zero_()
        embedding.weight[VOCAB[["good", "bad"]], 0] = torch.tensor([3.0, 1.0])
        for weight, value in ((layer.weight_ih_l0, 1), (layer.weight_hh_l0, 0.5), (layer.bias_ih_l0, 0)):
            weight.fill_(value)
        layer.bias_hh_l0.zero_()
    return sentiment.SentimentClassifier(embedding, layer)


class WordCounter(nn.Module):
    """A classifier that adds 1 for each “good”, takes away 2 for each “bad”, and starts from 0.5."""

    def __init__(self):
        super().__init__()
        weights = torch.zeros(len(VOCAB))
        weights[VOCAB[["good", "bad"]]] = torch.tensor([1.0, -2.0])
        self.weights = nn.Parameter(weights)

    def forward(self, ids, lengths):
        return 0.5 + self.weights[ids].sum(dim=1)


# The padding lens


@pytest.fixture(scope="module")
def lens():
    return explore.PaddingLens(halving_classifier(), VOCAB, "good", "bad")


def test_padding_lens_by_hand(lens):
    """One word each: states 3 and 1, then halves: 2 / 2^n apart, their means 2 (2 - 1 / 2^n) / (n + 1)."""
    n = np.arange(201)
    last, mean, peak = (lens.measure(3, name)["distances"] for name in lens.read_outs)
    assert last["pads read"][:30] == pytest.approx(2.0 * 0.5 ** n[:30], rel=1e-5)
    assert mean["pads read"] == pytest.approx(2.0 * (2 - 0.5**n) / (n + 1), rel=1e-4)
    assert peak["pads read"] == pytest.approx(np.full(201, 2.0))
    for distances in (last, mean, peak):
        assert distances["lengths known"] == pytest.approx(np.full(201, 2.0))


def test_padding_lens_scores_by_hand(lens):
    """States 3 and 1 score +1 and -1, so a state h scores h - 2; after one pad they are 1.5 and 0.5."""
    scores = lens.measure(1, "last state")["scores"]
    assert scores["pads read"][:, 1] == pytest.approx([-0.5, -1.5])
    assert (scores["lengths known"] == np.array([[1.0], [-1.0]])).all()
    sentence = lens.readout(pads=1, read_out="last state")
    assert "2 apart without pads" in sentence and "1 apart if the pads are read, 2 if" in sentence
    assert "become -0.50 and -1.50." in sentence


def test_padding_lens_of_an_untrained_lstm():
    explorer_class, arguments = explore.catalogue()["PaddingLens"]
    lens = explorer_class(**arguments)
    distances = lens.measure(47, "last state")["distances"]
    assert distances["pads read"][47] < 1e-6 * distances["pads read"][0]
    assert distances["lengths known"] == pytest.approx(np.full(201, distances["pads read"][0]), rel=1e-5)


def test_padding_lens_reads_like_the_classifier():
    """With lengths known, its mean is what a classifier with that read-out scores."""
    explorer_class, arguments = explore.catalogue()["PaddingLens"]
    vocab = arguments["vocab"]
    torch.manual_seed(0)
    layer = sentiment.BothWays(nn.LSTM, 5, 4)
    model = sentiment.SentimentClassifier(nn.Embedding(len(vocab), 5), layer, sentiment.mean_state).eval()
    states = explorer_class(model, vocab).states["mean"][0, 1]  # (pads, D)
    logit = sentiment.score_reviews(model, [sentiment.encode(PRAISE, vocab)])
    assert torch.allclose(model.linear(states).squeeze(1), logit.expand(201), atol=1e-5)


def test_padding_lens_draws_what_it_measures(lens):
    data = lens.measure(5, "mean")
    far, score = lens.draw(data).axes
    assert far.lines[2].get_ydata() == pytest.approx(data["distances"]["pads read"])
    assert far.lines[3].get_xdata() == [5] and far.lines[3].get_label() == "pads read"
    assert [line.get_label() for line in score.lines[1:8:2]] == [
        "first, lengths known",
        "second, lengths known",
        "first, pads read",
        "second, pads read",
    ]


def test_padding_lens_explains_what_it_cannot_show(lens):
    with pytest.raises(ValueError, match="read_out='first' is not known: use one of last state, mean, max"):
        lens.measure(0, "first")
    with pytest.raises(ValueError, match="give two that differ in a word"):
        explore.PaddingLens(halving_classifier(), VOCAB, "good", "GOOD")


# The running verdict


@pytest.fixture(scope="module")
def verdict():
    return explore.RunningVerdict(WordCounter(), VOCAB)


def test_running_verdict_by_hand(verdict):
    """Logits after each word: 1.5, 1.5, -0.5, 0.5; it turns at the third word and at the fourth."""
    data = verdict.measure("good but bad GOOD", 1)
    logits = np.log(data["p"] / (1 - data["p"]))
    assert logits == pytest.approx([1.5, 1.5, -0.5, 0.5])
    assert data["turns"].tolist() == [2, 3]
    assert data["bars"] == [("bad", 3, -2.0), ("good", 1, 1.0), ("good", 4, 1.0), ("but", 2, 0.0)]
    sentence = verdict.describe(data)
    assert "positive after word 4, the last: P(positive) 0.622" in sentence
    assert data["leap"] == 2  # from 0.818 to 0.378
    assert "it turned for the last time at “good” (4); its largest step, -0.44, came at “bad” (3);" in sentence
    assert "most influential: “bad” at 3, which adds -2 to the logit." in sentence


def test_running_verdict_leaves_out_neighbours_together(verdict):
    data = verdict.measure("good but bad good", 2)
    assert data["bars"] == [("but bad", 2, -2.0), ("good but", 1, 1.0), ("bad good", 3, -1.0)] or data["bars"] == [
        ("but bad", 2, -2.0),
        ("bad good", 3, -1.0),
        ("good but", 1, 1.0),
    ]


def test_running_verdict_of_a_long_review_says_between_which_places_it_turned(verdict):
    """Of 199 words every second one is judged; the logit is above 0 up to word 120, and below from word 121 on."""
    data = verdict.measure("good " + "but " * 119 + "bad " * 79, 1)
    assert data["ends"].tolist() == list(range(1, 200, 2))
    assert "turned for the last time at" not in verdict.describe(data)
    assert "turned for the last time between words 119 and 121;" in verdict.describe(data)
    assert "came between words 119 and 121;" in verdict.describe(data)


def test_running_verdict_says_when_nothing_turns(verdict):
    assert verdict.measure("good", 1)["leap"] is None and "largest step" not in verdict.readout(review="but but")
    assert "positive" in verdict.readout(review="good good") and "it never turned" in verdict.readout(review="good")


@pytest.mark.parametrize(
    ("review", "count"),
    [
        ("", 1),
        (" \n<br />", 1),
        ("😀 👍🏽 漢字 \x00 $5 $x $ $", None),
        ("<script>alert('good')</script> &amp; **bad** `", None),
        ("never heard of these", 4),
        ("x" * 5000, 1),
        ("good bad but plain nonsense " * 1000, 5000),
    ],
)
@pytest.mark.filterwarnings("error")
def test_running_verdict_reads_any_text(review, count):
    explorer_class, arguments = explore.catalogue()["RunningVerdict"]
    explorer = explorer_class(**arguments)
    for span in (1, 3):
        data = explorer.measure(review, span)
        assert count is None or len(data["words"]) == count
        assert data["ends"][-1] == len(data["words"]) and len(data["ends"]) <= explorer.most_prefixes
        assert explorer.draw(data)._repr_png_()
        assert explorer.describe(data).endswith(".")


def test_running_verdict_of_unknown_words_rests_on_none(verdict):
    sentence = verdict.readout(review="never heard of these")
    assert "no word changes it" in sentence and "unknown to the model: 4 of 4 words" in sentence


def test_running_verdict_reads_the_last_words_only():
    short = explore.RunningVerdict(WordCounter(), VOCAB, max_length=2)
    data = short.measure("bad bad good good", 1)
    assert np.log(data["p"] / (1 - data["p"])) == pytest.approx([-1.5, -3.5, -0.5, 2.5])
    assert data["bars"] == [("good", 3, 1.0), ("good", 4, 1.0)] and data["first_left_out"] == 2
    assert "(of the last 2)" in short.describe(data)


def test_running_verdict_draws_what_it_measures(verdict):
    data = verdict.measure("good but bad good", 1)
    curve, bars = verdict.draw(data).axes
    assert curve.lines[0].get_ydata() == pytest.approx(data["p"])
    assert "the last turn, at “good” (4)" in curve.get_title("left") + curve.get_title()
    assert [label.get_text() for label in bars.texts] == ["bad (3)", "good (1)", "good (4)", "but (2)"]


def test_running_verdict_has_a_button_for_each_sample():
    explorer = explore.RunningVerdict(WordCounter(), VOCAB, {"one": "good", "two": "bad"})
    assert explorer.presets == {"one": {"review": "good"}, "two": {"review": "bad"}}
    assert explorer.controls["review"].value == "good"


def test_drawable_puts_a_box_for_what_the_font_lacks():
    assert drawable("fine — été, \x00\U000e0041") == "fine — été, □□"
    assert drawable("漢") in ("漢", "□"), "some machines have a font for it"


# The threshold desk


@pytest.fixture(scope="module")
def desk():
    """Probabilities .95, .8, .6, .3 of positive reviews and .92, .4, .2, .1 of negative ones."""
    p = torch.tensor([0.95, 0.8, 0.6, 0.3, 0.92, 0.4, 0.2, 0.1], dtype=torch.float64)
    texts = ["p95", "p80", "p60", "p30", "n92", "n40", "n20", "n10"]
    return explore.ThresholdDesk(p.logit(), [1, 1, 1, 1, 0, 0, 0, 0], texts)


def test_threshold_desk_by_hand(desk):
    data = desk.measure(0.5, "false positive")
    assert data["counts"].tolist() == [[3, 1], [1, 3]]
    assert data["rates"] == {"precision": 0.75, "recall": 0.75, "accuracy": 0.75}
    assert data["worst"] == (pytest.approx(0.92), "n92")
    data = desk.measure(0.9, "false negative")
    assert data["counts"].tolist() == [[3, 1], [3, 1]]
    assert data["rates"] == {"precision": 0.5, "recall": 0.25, "accuracy": 0.5}
    assert data["worst"] == (pytest.approx(0.3), "p30")
    sentence = desk.describe(data)
    assert "recall 0.250, accuracy 0.500 (recall at 0.50: 0.750); 3 of 4 positive reviews are missed." in sentence
    assert "The most confident false negative has P(positive) 0.300." in sentence


def test_threshold_desk_where_nothing_is_called_positive(desk):
    quiet = explore.ThresholdDesk(torch.tensor([0.1, -0.1]), [1, 0], ["a", "b"])
    sentence = quiet.readout(threshold=0.9, show="false positive")
    assert "precision undefined, for nothing is called positive, recall 0.000" in sentence
    assert "There is no false positive at this threshold." in sentence
    assert quiet.figure(threshold=0.9)._repr_png_()


def test_threshold_desk_draws_what_it_measures(desk):
    matrix, curve, page = desk.draw(desk.measure(0.9, "false positive")).axes
    assert [cell.get_text() for cell in matrix.texts] == ["3\n75.0%", "1\n25.0%", "3\n75.0%", "1\n25.0%"]
    recall = dict(zip(desk.grid.round(2), curve.lines[2].get_ydata(), strict=True))
    assert (recall[0.5], recall[0.7], recall[0.9]) == (0.75, 0.5, 0.25)
    assert curve.lines[3].get_ydata() == [0.25] and curve.lines[3].get_label() == "recall"
    assert page.texts[1].get_text() == "n92"


def test_threshold_desk_agrees_with_accuracy():
    explorer_class, arguments = explore.catalogue()["ThresholdDesk"]
    found = explorer_class(**arguments).measure(0.5, "false positive")["rates"]["accuracy"]
    assert found == pytest.approx(sentiment.accuracy(arguments["logits"], arguments["labels"]))


def test_threshold_desk_explains_what_it_cannot_show(desk):
    with pytest.raises(ValueError, match=r"logits \(2,\), labels \(1,\)"):
        explore.ThresholdDesk(torch.zeros(2), [1], ["a", "b"])
    with pytest.raises(ValueError, match="reviews of both classes"):
        explore.ThresholdDesk(torch.zeros(2), [1, 1], ["a", "b"])
    with pytest.raises(ValueError, match="show='all' is not known"):
        desk.measure(0.5, "all")


def test_last_lines_keep_the_end():
    assert _last_lines("one<br /><br />two  three", 100, 2) == ["one two three"]
    assert _last_lines("one two three four", 9, 1) == ["… four"]
    assert _last_lines("one two three four", 9, 2) == ["… three", "four"]


def test_probability_never_claims_certainty():
    assert [_probability(p) for p in (0.0, 0.5, 1.0)] == ["below 0.001", "0.500", "above 0.999"]
