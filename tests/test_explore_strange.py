"""Explorers with texts and numbers that a figure could choke on: all are drawn, or refused in a sentence."""

import warnings

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from test_explore import extremes, made
from torch import nn

from rnnlib import directions, explore, layers, plots, scratch, sentiment, text
from rnnlib.drawings import draw_unrolled
from rnnlib.explore.frame import typed

SAMPLES = [
    "$x^{$ and $y$",
    r"a\b $\frac{$",
    "_^%#&~{}<>",
    "时间旅行者",
    "\U0001f600\U0001f468\U0001f600!",
    "tab\tbell\x07\x00",
    "one\ntwo\r\n",
    "e\u0301\u200b\u00a0\u2028",
    "שלום عالم",
]
VOCAB = text.Vocab("".join(SAMPLES) + "abcdefghijklmnopqrstuvwxyz ")


def scratch_model(vocab=VOCAB, num_hiddens=6):
    torch.manual_seed(0)
    return scratch.ScratchRNN(len(vocab), num_hiddens, sigma=0.5)


def language_model(layer=nn.LSTM, vocab=VOCAB):
    torch.manual_seed(0)
    return layers.LanguageModel(layer(len(vocab), 5), len(vocab))


def leak_detector(sample):
    both = directions.Bidirectional(scratch_model(), scratch_model())
    ids = torch.tensor(VOCAB[list(sample * 20)])
    return explore.LeakDetector(scratch_model(), both, VOCAB, ids, num_steps=10, prefix=sample, num_tokens=9)


def classifier(vocab):
    torch.manual_seed(0)
    return sentiment.SentimentClassifier(nn.Embedding(len(vocab), 4), nn.LSTM(4, 3)).eval()


def running_verdict(sample):
    vocab = sentiment.review_vocab([sample, "good film"])
    return explore.RunningVerdict(classifier(vocab), vocab, {"one": f"{sample} good {sample} film"})


DRAW = {
    "TensorTape": lambda sample: explore.TensorTape(VOCAB),
    "TemperatureDesk": lambda sample: explore.TemperatureDesk(scratch_model(), VOCAB, sample, 30),
    "UnrollStepper": lambda sample: explore.UnrollStepper(scratch_model(), VOCAB, sample),
    "PerplexityRuler": lambda sample: explore.PerplexityRuler([1, 2, 1], [2, 1], 3, {sample: 2.0}),
    "LeakDetector": leak_detector,
    "WhoSeesWhat": lambda sample: explore.WhoSeesWhat(sample),
    "GateConsole": lambda sample: explore.GateConsole(language_model(), VOCAB, sample),
    "Connectivity": lambda sample: explore.Connectivity({sample: language_model()}, VOCAB, sample),
    "RunningVerdict": running_verdict,
    "ThresholdDesk": lambda sample: explore.ThresholdDesk([2.0, 1.0, -1.0], [0, 1, 1], [sample] * 3),
}


def expect_literal(fig):
    """Assert that a figure can be drawn and that no text in it is read as a formula."""
    assert plots.png(fig)
    for artist in fig.findobj(Text):
        if artist.get_parse_math() and "mathdefault" not in artist.get_text():  # a number of an axis, 10²
            assert not artist._preprocess_math(artist.get_text())[1], artist.get_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=ascii)
@pytest.mark.parametrize("name", DRAW)
@pytest.mark.filterwarnings("error")
def test_any_text_is_drawn_as_itself(name, sample):
    explorer = DRAW[name](sample)
    expect_literal(explorer.figure())
    assert explorer.readout()


@pytest.mark.parametrize("sample", SAMPLES, ids=ascii)
@pytest.mark.filterwarnings("error")
def test_any_word_is_unrolled(sample):
    assert plots.png(draw_unrolled(sample[:6]))


# What a reader types is cleaned where it must be


def test_what_was_typed_is_read_as_it_is_or_cleaned():
    vocab = text.Vocab(" abcdefghijklmnopqrstuvwxyz")
    assert typed(vocab, " the time ") == " the time "
    assert typed(vocab, "The  Time, Traveller") == "the time traveller"
    assert typed(text.Vocab("The"), "Teh") == "Teh"
    for characters in ("", "时间", "$$$", "123"):
        with pytest.raises(ValueError, match=r"type (some|other)|letter"):
            typed(vocab, characters)
    with pytest.raises(ValueError, match="the network has never seen 'x', 'y': type other characters"):
        typed(text.Vocab("the "), "xxy")


@pytest.mark.parametrize("name", ["GateConsole", "Connectivity", "UnrollStepper"])
def test_explorers_clean_what_is_typed(name):
    explorer = made(name)
    field = next(key for key, control in explorer.controls.items() if isinstance(control, widgets.Text))
    rest = {
        "GateConsole": {"unit": 0, "clamp": "none"},
        "Connectivity": {"position": 5},
        "UnrollStepper": {"reset_at": 0},
    }
    data = explorer.measure(**{field: "The Time, TRAVELLER"}, **rest[name])
    assert data.get("characters", data.get("text")) == "the time traveller"
    with pytest.raises(ValueError, match=r"has never seen|letter"):
        explorer.measure(**{field: "时间旅行者们说话"}, **rest[name])


# Short texts, other windows, other vocabularies


@pytest.mark.parametrize(
    ("own", "batch_size"), [("your text", 3), ("abc", 1), ("the time traveller", 4), ("a b c d", 3)]
)
def test_a_short_text_of_ones_own_is_cut(own, batch_size):
    ribbon = explore.BatchRibbon(own, batch_size)
    for preset in ribbon.presets.values():
        assert ribbon.figure(**preset)
    for name, control in ribbon.controls.items():
        for value in extremes(control):
            assert plots.png(ribbon.figure(**{name: value}))
    assert f"of {batch_size} x " in ribbon.readout()


@pytest.mark.parametrize(
    ("own", "batch_size", "message"),
    [
        ("123 456", 2, "letter"),
        ("ab", 1, "give 3 to 132 characters"),
        ("a" * 200, 1, "give 3 to 132 characters"),
        ("the time", 4, "a text of 8 characters, as it is when it is cleaned, can't be drawn in 4 rows: give 9 to 132"),
        ("the time", 5, "batch_size=5 can't be drawn: give 1 to 4"),
        ("the time", 1.5, "batch_size=1.5 must be a whole number"),
    ],
)
def test_a_text_that_cannot_be_cut_is_explained(own, batch_size, message):
    with pytest.raises(ValueError, match=message):
        explore.BatchRibbon(own, batch_size)


def word_ruler():
    """A ruler of the ids of 4,580 words, of which 8 in a row can be more than 64 bits can number."""
    ids = torch.arange(900) ** 2 % 4580
    return explore.PerplexityRuler(ids[:600].tolist(), ids[600:].tolist(), 4580)


def test_the_ruler_measures_word_ids():
    ruler = word_ruler()
    assert ruler.controls["order"].max == 8
    for preset in ruler.presets.values():
        assert plots.png(ruler.figure(**preset))
    assert ruler.measure(0, 1.0)["valid"][0] == pytest.approx(4580)


OTHER = text.Vocab("abc")


@pytest.mark.parametrize(
    "make",
    [
        lambda: explore.UnrollStepper(scratch_model(), OTHER, "abc"),
        lambda: explore.TemperatureDesk(scratch_model(), OTHER, "abc"),
        lambda: explore.GateConsole(language_model(), OTHER, "abcabc"),
        lambda: explore.Connectivity({"a": language_model()}, OTHER, "abcabc"),
        lambda: explore.LeakDetector(scratch_model(), scratch_model(), OTHER, torch.arange(400) % 4, prefix="abc"),
    ],
)
def test_the_vocabulary_of_another_model_is_refused(make):
    with pytest.raises(ValueError, match="the vocabulary has 4: give the one that it was trained with"):
        make()


def test_a_state_that_is_not_one_tensor_is_refused():
    for layer in (nn.LSTM, nn.RNN):
        with pytest.raises(ValueError, match=r"not one tensor \(N, H\)"):
            explore.UnrollStepper(language_model(layer), VOCAB)


# Numbers


def expect_drawn(explorer):
    """Assert that every control can stand at its ends and that every preset can be pressed, without a warning."""
    for name, control in explorer.controls.items():
        for value in extremes(control):
            data = explorer.measure(**explorer.values(**{name: value}))
            assert plots.png(explorer.draw(data))
            assert "nan" not in explorer.describe(data)
    for preset in explorer.presets.values():
        explorer.values(**preset)
        for name, value in preset.items():
            explorer.controls[name].value = value
            assert explorer.controls[name].value == value


@pytest.mark.filterwarnings("error")
def test_a_thousand_jacobians_overflow_in_silence():
    lab = explore.JacobianLab(num_hiddens=4, num_steps=1000)
    for matrix in lab.matrices:
        for units in lab.units:
            for scale in (0.1, 1.0, 2.5):
                assert plots.png(lab.figure(matrix=matrix, units=units, scale=scale))
                assert "nan" not in lab.readout(matrix=matrix, units=units, scale=scale)
    data = lab.measure("orthogonal", 2.5, "linear")
    first = int(np.argmax(np.isinf(data["norms"])))
    assert first == int(np.floor(np.log(np.finfo(np.float64).max) / np.log(2.5)))  # 2.5^t, the last that float64 has
    assert f"is larger than any number of 64 bits from t = {first + 1} on" in lab.describe(data)
    assert "is exactly 0 from t = 4 on" in lab.readout(matrix="shift", scale=2.0, units="linear")


def gradients_of(*sizes):
    return [[size * torch.ones(2, 3), size * torch.ones(3)] for size in sizes]


@pytest.mark.parametrize("sizes", [(0.0,), (0.0, 0.0), (1.0, 0.0, 2.0), (1e-30, 1e30)], ids=str)
@pytest.mark.filterwarnings("error")
def test_gradients_of_zero_are_drawn(sizes):
    compass = explore.ClippingCompass(gradients_of(*sizes))
    expect_drawn(compass)
    data = compass.measure(0.1, "each value", 1)
    assert data["angles"][np.array(sizes) == 0].tolist() == [0.0] * sizes.count(0.0)
    assert data["after"][np.array(sizes) == 0].tolist() == [0.0] * sizes.count(0.0)


def test_gradients_that_are_no_numbers_are_refused():
    for value in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="the gradients of step 2 hold NaN or infinity"):
            explore.ClippingCompass(gradients_of(1.0, value))
    with pytest.raises(ValueError, match="recorded is empty"):
        explore.ClippingCompass([])


def sequences(T):
    torch.manual_seed(1)
    ids = torch.randint(5, (2, T + 1))
    return ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("T", [1, 2, 23, 35, 60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.filterwarnings("error")
def test_windows_of_an_untrained_network_are_drawn(T, dtype):
    torch.manual_seed(0)
    model = scratch.ScratchRNN(5, 8, dtype=dtype)  # so small weights that gradients of long ago underflow
    expect_drawn(explore.TruncationWindow(model, *sequences(T)))


@pytest.mark.filterwarnings("error")
def test_a_gradient_that_never_arrives_is_drawn():
    model = scratch.ScratchRNN(5, 8)
    with torch.no_grad():
        model.params[3].zero_()  # no state reaches a logit
    expect_drawn(explore.TruncationWindow(model, *sequences(6)))


def test_targets_of_another_length_are_refused():
    X, Y = sequences(35)
    with pytest.raises(ValueError, match=r"of the shape of X, \(2, 23\)"):
        explore.TruncationWindow(scratch.ScratchRNN(5, 8), X[:, :23], Y)
    with pytest.raises(ValueError, match=r"not one tensor \(N, H\)"):
        explore.TruncationWindow(layers.LanguageModel(nn.LSTM(5, 8), 5), X, Y)


READERS = ["TemperatureDesk", "UnrollStepper", "GateConsole", "Connectivity", "LeakDetector", "WordEnds"]


@pytest.mark.parametrize("name", READERS)
def test_a_model_that_has_diverged_is_refused(name):
    explorer_class, arguments = explore.catalogue()[name]
    for value in arguments.values():
        for model in value.values() if isinstance(value, dict) else [value]:
            if isinstance(model, nn.Module):
                for parameter in model.parameters():
                    parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="has the training diverged"):
        explorer_class(**arguments).figure()


@pytest.mark.parametrize("name", ["PaddingLens", "RunningVerdict"])
def test_a_classifier_that_has_diverged_is_refused(name):
    explorer_class, arguments = explore.catalogue()[name]
    for parameter in arguments["model"].parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="has the training diverged"):
        explorer_class(**arguments).figure()
    with pytest.raises(ValueError, match="has the training diverged"):
        explore.ThresholdDesk([1.0, torch.nan], [0, 1], ["a", "b"])


@pytest.mark.parametrize("name", explore.catalogue())
def test_explorers_work_where_double_precision_is_the_default(name):
    torch.set_default_dtype(torch.float64)
    try:
        explorer = made(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for control_name, control in explorer.controls.items():
                for value in extremes(control)[::2]:
                    data = explorer.measure(**explorer.values(**{control_name: value}))
                    assert plots.png(explorer.draw(data)) and explorer.describe(data)
    finally:
        torch.set_default_dtype(torch.float32)
