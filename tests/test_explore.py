"""Every explorer in the catalogue is driven through its controls, as a reader would."""

import gc
import itertools
import re
from pathlib import Path

import ipywidgets as widgets
import matplotlib.image
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from test_explore_sentiment import VOCAB, WordCounter

from rnnlib import explore, plots

NAMES = list(explore.catalogue())


def made(name):
    """Return a small instance of an explorer of the catalogue."""
    explorer_class, arguments = explore.catalogue()[name]
    return explorer_class(**arguments)


@pytest.fixture(scope="module")
def explorers():
    """One small instance of each explorer, shared by the tests of this file."""
    return {name: made(name) for name in NAMES}


@pytest.fixture(params=NAMES)
def explorer(request, explorers):
    """Each explorer of the catalogue; tests/test_docs.py runs the same tests on the one that CONTRIBUTING shows."""
    return explorers[request.param]


@pytest.fixture(params=NAMES)
def fresh(request):
    """Each explorer of the catalogue, not shared with other tests."""
    return made(request.param)


def extremes(control):
    """Return the minimum, middle and maximum of a control, or all its options."""
    if isinstance(control, (widgets.FloatLogSlider,)):
        powers = control.min, (control.min + control.max) / 2, control.max
        return [control.base**power for power in powers]
    if isinstance(control, widgets.IntSlider):
        return [control.min, (control.min + control.max) // 2, control.max]
    if isinstance(control, widgets.FloatSlider):
        return [control.min, (control.min + control.max) / 2, control.max]
    if isinstance(control, (widgets.Checkbox, widgets.ToggleButton)):
        return [False, True]
    if isinstance(control, (widgets.Text, widgets.Textarea)):
        return [control.value]
    return list(control._options_values)


def test_every_control_from_end_to_end(explorer):
    assert 1 <= len(explorer.controls) <= 3, "at most three controls: turn the rest into presets"
    size = explorer.figure().get_size_inches().tolist()
    for control_name, control in explorer.controls.items():
        for value in extremes(control):
            data = explorer.measure(**explorer.values(**{control_name: value}))
            fig = explorer.draw(data)
            assert isinstance(fig, Figure)
            assert fig.get_size_inches().tolist() == size, "the page jumps when the figure's size changes"
            assert explorer.describe(data).strip().endswith((".", "…", "?")), "the finding is a sentence"


def test_presets_set_known_controls_to_possible_values(explorer):
    for preset in explorer.presets.values():
        assert set(preset) <= set(explorer.controls)
        before = {name: control.value for name, control in explorer.controls.items()}
        for control_name, value in preset.items():
            control = explorer.controls[control_name]
            if isinstance(control, (widgets.IntSlider, widgets.FloatSlider)) and "top_k" not in control_name:
                assert control.min <= value <= control.max
            control.value = value
        assert isinstance(explorer.figure(), Figure)
        for control_name, value in before.items():
            explorer.controls[control_name].value = value


def test_says_its_question_and_has_labelled_controls(explorer):
    assert explorer.title and explorer.question.strip().endswith("?")
    assert all(control.description for control in explorer.controls.values())


def test_figure_is_pure(explorer):
    """The same values give the same picture, and asking for other values moves no control."""
    before = {name: control.value for name, control in explorer.controls.items()}
    first, second = plots.png(explorer.figure()), plots.png(explorer.figure())
    assert first == second
    assert {name: control.value for name, control in explorer.controls.items()} == before


def test_unknown_value_is_named(explorers):
    with pytest.raises(ValueError, match="'ρ' is not a control of TemperatureDesk: it has temperature, top_k, seed"):
        explorers["TemperatureDesk"].figure(ρ=1)


# What the chapters store


CHAPTERS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def wording(sentence):
    """Return the clauses of a finding with their numbers, quotations and kinds of layers left out."""
    sentence = re.sub(r"“[^”]*”", "“”", " ".join(sentence.split()))
    sentence = re.sub(r"\bnn\.\w+|\bRNN\b|\bGRU\b|\bLSTM\b", "LAYER", sentence)
    sentence = re.sub(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?[kM]?", "0", sentence)
    return set(re.split(r"[;.] ?", sentence))


def stored_findings(path):
    """Yield the title of each explorer that a chapter shows, and the finding stored with it."""
    for cell in nbformat.read(path, as_version=4).cells:
        texts = [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
        titles = [text.partition(". Predict first: ")[0] for text in texts if ". Predict first: " in text]
        findings = [text.removeprefix("Seen: ") for text in texts if text.startswith("Seen: ")]
        yield from zip(titles, findings, strict=True)


def said_today(explorer):
    """Return the clauses that an explorer says over all presets and the ends and middles of all its controls."""
    controls = {name: [control.value, *extremes(control)] for name, control in explorer.controls.items()}
    settings = [dict(zip(controls, values, strict=True)) for values in itertools.product(*controls.values())]
    said = set()
    for values in [*explorer.presets.values(), *settings[:400]]:
        try:
            said |= wording(explorer.readout(**values))
        except ValueError:  # a setting that this small instance can't show
            continue
    return said


def more_of(name):
    """Return further instances of an explorer, where what it says depends on what a network has learned."""
    if name == "RunningVerdict":
        verdict = explore.RunningVerdict(WordCounter(), VOCAB)
        verdict.controls["review"].value = "good but bad good"
        return [verdict]
    if name == "ThresholdDesk":
        return [explore.ThresholdDesk(torch.tensor([9.0, -9.0, 2.0, -2.0]), [0, 1, 1, 0], ["a", "b", "c", "d"])]
    if name == "ForecastFan":
        arguments = explore.ForecastFan.default_arguments()
        arguments["forecasts"] = {"LSTM": arguments["forecasts"]["as now"]}
        return [explore.ForecastFan(**arguments)]
    if name == "StartLength":  # one that reaches its goal
        easy = explore.StartLength(max_steps=200)
        easy.goal = 1
        return [easy]
    return []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stored_findings_are_worded_as_today(path, explorers):
    by_title = {explorer.title: (name, explorer) for name, explorer in explorers.items()}
    for title, finding in stored_findings(path):
        name, explorer = by_title[title]
        said = set().union(*map(said_today, [explorer, *more_of(name)]))
        assert wording(finding) <= said, f"{name} says no longer: {wording(finding) - said}; run this chapter anew"


def test_wording_sees_a_word_and_no_number():
    assert wording("n = 5: the “a” costs 2.45 bits.") == wording("n = 12: the “b” costs 0.1 bits.")
    assert wording("the lowest of all.") != wording("the last of all.")


class Page:
    """Stands in for the notebook page: keeps what is displayed and updated."""

    def __init__(self):
        self.shown, self.updates = [], []

    def display(self, data, raw=True, metadata=None, display_id=None):
        self.shown.append(data)
        return self if display_id else None

    def update(self, data, raw=True, metadata=None):
        self.updates.append(data)


def put_page(monkeypatch):
    """Let everything that is displayed go to a page, which is returned."""
    page = Page()
    monkeypatch.setattr("IPython.display.display", page.display)
    monkeypatch.setattr("rnnlib.explore.frame.display", page.display)
    return page


@pytest.fixture
def page(monkeypatch):
    return put_page(monkeypatch)


def test_show_displays_controls_picture_and_sentence(fresh, page):
    fresh.show()
    kinds = [set(data) for data in page.shown]
    assert len(kinds) == 3
    assert "application/vnd.jupyter.widget-view+json" in kinds[0]
    assert "VBox" not in page.shown[0]["text/plain"]
    assert kinds[1] == {"image/png", "text/plain"}
    assert "text/markdown" in kinds[2]


def test_moving_a_slider_redraws_picture_and_sentence(page):
    explorer_class, arguments = explore.catalogue()["TemperatureDesk"]
    desk = explorer_class(**arguments)
    desk.show()
    desk.controls["temperature"].value = 0.0
    assert [next(iter(data)) for data in page.updates] == ["image/png", "text/markdown"]
    assert page.updates[0]["image/png"] != page.shown[1]["image/png"]
    assert "greedy" in page.updates[1]["text/markdown"]
    assert len(page.shown) == 3, "a redraw replaces; it never adds to the page"


# How eyes without one kind of cone see linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.
EYES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour, eyes):
    """Return CIE L*a*b* of a colour as these eyes see it; a distance of 2.3 is just noticeable."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x = TO_XYZ @ np.clip(np.array(eyes) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * x[1] - 16, 500 * (x[0] - x[1]), 200 * (x[1] - x[2])])


@pytest.mark.parametrize("eyes", EYES.values(), ids=EYES)
def test_colours_differ_for_colour_blind_readers(eyes):
    colours = plots.BLUE, plots.ORANGE, plots.GREEN, plots.PINK, plots.SKY, plots.YELLOW, plots.GREY, plots.INK
    seen = [lab(colour, eyes) for colour in colours]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 10


def test_no_two_lines_differ_by_colour_alone(explorer):
    for axes in explorer.figure().axes:
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        looks = [(line.get_linestyle(), line.get_marker(), line.get_linewidth()) for line in lines]
        assert len(set(looks)) == len(looks), [line.get_label() for line in lines]


def living_figures():
    gc.collect()
    return sum(issubclass(type(thing), Figure) for thing in gc.get_objects())


@pytest.mark.parametrize("fresh", [name for name in NAMES if name != "HiddenSizeLab"], indirect=True)
def test_use_leaves_nothing_behind(fresh, page):
    """However often a slider moves, the page holds one picture of as many artists, and no figure stays in memory."""
    fresh.show()
    values = fresh.values()
    artists = len(fresh.figure().findobj())
    control = next(c for c in fresh.controls.values() if not isinstance(c, widgets.Text))
    figures = living_figures()
    for value in [*extremes(control), *extremes(control), control.value]:
        control.value = value
    assert fresh.values() == values
    assert len(fresh.figure().findobj()) == artists
    assert living_figures() <= figures
    assert len(page.shown) == 3


def test_preset_redraws_once(page):
    explorer_class, arguments = explore.catalogue()["PerplexityRuler"]
    ruler = explorer_class(**arguments)
    ruler.show()
    button = ruler._preset_button("memorise")
    button.click()
    assert (ruler.controls["order"].value, ruler.controls["smoothing"].value) == (8, 0.1)
    assert sum("image/png" in data for data in page.updates) == 1


def test_bad_input_is_explained_and_the_old_picture_stays(page):
    class Picky(explore.Explorer):
        title, question = "Picky", "does it like 3?"

        def measure(self, n):
            if n == 3:
                raise ValueError("n=3 is not possible: take another")
            return n

        def draw(self, data):
            return plots.new_figure()[0]

        def describe(self, data):
            return f"n is {data}."

    picky = Picky(n=widgets.IntSlider(1, min=1, max=5, description="n"))
    picky.show()
    picky.controls["n"].value = 3
    assert "n=3 is not possible: take another" in page.updates[-1]["text/markdown"]
    assert not any("image/png" in data for data in page.updates)
    picky.controls["n"].value = 4
    assert "n is 4." in page.updates[-1]["text/markdown"]


def test_error_at_an_extreme_value_is_found(page):
    """A planted fault: the explorer fails at its maximum only, and moving the slider there raises."""

    class Faulty(explore.Explorer):
        title, question = "Faulty", "what happens at 7?"

        def measure(self, n):
            return 1 / (7 - n)

        def draw(self, data):
            return plots.new_figure()[0]

        def describe(self, data):
            return f"{data}."

    faulty = Faulty(n=widgets.IntSlider(3, min=1, max=7, description="n"))
    faulty.show()
    with pytest.raises(ZeroDivisionError):
        test_every_control_from_end_to_end(faulty)
    with pytest.raises(ZeroDivisionError):
        faulty.controls["n"].value = 7
    assert page.updates[-1]["text/markdown"] == "**Error:** ZeroDivisionError: division by zero", "the reader is told"


# Known values of the explorers of chapter 2


def test_temperature_desk_entropy_rises_with_temperature(explorers):
    desk = explorers["TemperatureDesk"]
    choices = [desk.measure(temperature, len(desk.vocab), 1)["choices"] for temperature in (0.0, 0.3, 1.0, 3.0)]
    assert choices[0] == 1.0
    assert choices == sorted(choices)
    assert desk.measure(1.0, 3, 1)["choices"] <= 3 + 1e-6


def test_temperature_desk_by_hand(explorers):
    """Choices of .5, .25, .15, .07, .03: 2.2 effective ones at T = 0.5, 3.6 at 1, 4.8 at 3 (by hand)."""
    desk = explorers["TemperatureDesk"]
    kept = desk.logits
    try:
        desk.logits = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03]))
        found = [round(desk.measure(t, 5, 1)["choices"], 1) for t in (0.5, 1.0, 3.0)]
    finally:
        desk.logits = kept
    assert found == [2.2, 3.6, 4.8]


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def test_temperature_desk_draws_the_model_and_what_is_drawn_from(explorers):
    desk = explorers["TemperatureDesk"]
    data = desk.measure(0.5, 3, 1)
    assert data["drawn"].count_nonzero() == 3
    p = data["model"].topk(3).values ** 2  # T = 0.5
    assert data["drawn"].topk(3).values.tolist() == pytest.approx((p / p.sum()).tolist(), rel=1e-5)
    axes = desk.draw(data).axes[0]
    top = data["model"].topk(12)
    assert heights(axes) == pytest.approx([*top.values.tolist(), *data["drawn"][top.indices].tolist()])
    names = [label.get_text().replace("space", " ") for label in axes.get_xticklabels()]
    assert names == desk.vocab.decode(top.indices)


def test_unroll_stepper_reads_like_the_model(explorers):
    stepper = explorers["UnrollStepper"]
    data = stepper.measure("the time", 0)
    ids = torch.tensor([stepper.vocab[list("the time")]])
    with torch.no_grad():
        logits, state = stepper.model(ids)  # (T, V)
    assert torch.allclose(data["states"][-1], state[0], atol=1e-6)
    bits = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none") / np.log(2)
    assert torch.allclose(data["bits"], bits, atol=1e-5)
    assert data["guesses"] == stepper.vocab.decode(logits.argmax(1))


def test_unroll_stepper_forgets_at_the_reset(explorers):
    stepper = explorers["UnrollStepper"]
    whole, rest = stepper.measure("the time", 5), stepper.measure("time", 0)
    assert torch.allclose(whole["states"][4:], rest["states"], atol=1e-6)
    assert torch.allclose(whole["bits"][4:], rest["bits"], atol=1e-5)
    assert torch.equal(whole["states"][:4], stepper.measure("the time", 0)["states"][:4])
    assert whole["undisturbed_bits"].tolist() == stepper.measure("the time", 0)["bits"].tolist()
    assert "The state was reset before character 5" in stepper.describe(whole)
    assert stepper.measure("the time", 12)["reset_at"] == 0, "the text ends before that"


def test_unroll_stepper_draws_states_and_bits(explorers):
    stepper = explorers["UnrollStepper"]
    data = stepper.measure("the time", 3)
    heat, cost = stepper.draw(data).axes
    assert np.array_equal(heat.images[0].get_array(), data["states"][:, :12].T.numpy())
    assert heights(cost) == pytest.approx(data["bits"].tolist())
    assert [line.get_xdata()[0] for line in heat.lines] == [1.5], "the reset stands before the third column"


def test_unroll_stepper_explains_texts_it_cannot_read(explorers):
    for characters, message in (("", "empty"), ("t", "too short"), ("時間", "has never seen")):
        with pytest.raises(ValueError, match=message):
            explorers["UnrollStepper"].measure(characters, 0)


def test_hidden_size_lab_draws_its_history(explorers):
    lab = explorers["HiddenSizeLab"]
    data = lab.measure(16)
    curve, sizes = lab.draw(data).axes
    assert curve.lines[0].get_ydata().tolist() == [row["train"] for row in data["history"]]
    place = list(data["sizes"]).index(16)
    assert sizes.lines[0].get_xdata()[place] == 16
    assert sizes.lines[0].get_ydata()[place] == data["history"][-1]["train"]
    assert sizes.lines[1].get_ydata()[place] == data["history"].best["valid"]


def test_hidden_size_lab_trains_once_per_size_and_counts_parameters(explorers):
    lab = explorers["HiddenSizeLab"]
    first = lab.measure(16)["history"]
    assert lab.measure(16)["history"] is first
    assert lab.measure(16)["parameters"] == 11 * 16 + 16 * 16 + 16 + 16 * 11 + 11
    assert len(first) == lab.epochs


def test_hidden_size_lab_shows_the_growing_curve(page):
    explorer_class, arguments = explore.catalogue()["HiddenSizeLab"]
    lab = explorer_class(**arguments | {"epochs": 6})
    lab.show()
    before = len(page.updates)
    lab.controls["num_hiddens"].value = 8
    sentences = [data["text/markdown"] for data in page.updates[before:] if "text/markdown" in data]
    assert any("epoch" in sentence and "of 6 …" in sentence for sentence in sentences[:-1])
    assert "8 hidden units" in sentences[-1] and "perplexity" in sentences[-1]


def test_perplexity_ruler_equals_the_tables_it_shows(explorers):
    ruler = explorers["PerplexityRuler"]
    data = ruler.measure(2, 1.0)
    assert data["train"][0] == pytest.approx(11)
    axes = ruler.draw(data).axes[0]
    assert axes.lines[0].get_ydata().tolist() == data["train"]
    assert axes.lines[1].get_ydata().tolist() == data["valid"]


def test_present_makes_pictures_larger(explorers):
    fig = explorers["TemperatureDesk"].figure()
    import io

    width = matplotlib.image.imread(io.BytesIO(plots.png(fig))).shape[1]
    plots.enlarge_figures(1.5)
    try:
        assert matplotlib.image.imread(io.BytesIO(plots.png(fig))).shape[1] == pytest.approx(1.5 * width, abs=2)
    finally:
        plots.enlarge_figures(1)
    with pytest.raises(ValueError, match="zoom=9"):
        plots.enlarge_figures(9)


def test_a_choice_refuses_what_it_does_not_offer():
    with pytest.raises(ValueError, match=r"scheme='randm' is not known: use one of"):
        explore.BatchRibbon().readout(scheme="randm")
    with pytest.raises(ValueError, match=r"layout='batch' is not known: use one of 'time first', 'batch first'"):
        explore.TensorTape().readout(layout="batch")
