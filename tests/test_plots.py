"""The live curve updates one picture in place, seldom enough, and shows exactly the history."""

import base64
import itertools
import math
import os
import struct

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from rnnlib import lettering, plots, text
from rnnlib.plots import LiveCurve, _TextReport, curve_figure
from rnnlib.scratch import ScratchRNN
from rnnlib.training import History, Progress, fit

LOOP = [i * i % 11 for i in range(300)]


class Screen:
    """Stands in for the notebook: remembers what is displayed, and what is updated after it."""

    def __init__(self):
        self.displayed, self.updated = [], []

    def display(self, data, raw, metadata, display_id):
        assert raw and display_id
        self.displayed.append((data, metadata))
        return self

    def update(self, data, raw, metadata):
        assert raw
        self.updated.append((data, metadata))

    @property
    def all(self):
        return self.displayed + self.updated


class Clock:
    """Stands in for time.perf_counter."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def _style():
    """Draw in the style of the book, and leave it to no other test."""
    with matplotlib.rc_context():
        plots.use_style()
        yield


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("RNNLIB_LIVE", "1")
    screen = Screen()
    monkeypatch.setattr("IPython.display.display", screen.display)
    return screen


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(plots.time, "perf_counter", clock)
    return clock


@pytest.fixture
def quick_png(monkeypatch):
    """Leave the drawing of pixels out, where only the number of pictures counts."""
    monkeypatch.setattr(plots, "png", lambda fig: b"a picture")


def record(epochs, valid_every=1, landmarks=None):
    """Return a History that falls from 20 towards 1, its held-out perplexity towards 6."""
    history = History(landmarks)
    for _ in range(epochs):
        extend(history, valid_every)
    return history


def extend(history, valid_every=1):
    epoch = len(history) + 1
    valid = 6 + 14 / epoch if epoch % valid_every == 0 else None
    history.append({"epoch": epoch, "train": 1 + 19 / epoch, "valid": valid, "sample": f"sample\n{epoch}"})


def artists(fig):
    """Count what is drawn, ticks aside: their number follows the limits."""
    return sum(len(axes.get_children()) for axes in fig.axes) + len(fig.get_children())


def draw_as_stored(fig, zoom=1):
    """Lay a figure out with the pixels of its stored picture: widths of letters depend on them."""
    fig.dpi = plots.PIXELS_PER_INCH * plots.SHARPNESS * zoom
    fig.draw_without_rendering()


# The live curve


def test_one_picture_is_updated_in_place(screen, clock, quick_png):
    curve, history = LiveCurve(), History({"uniform": 28.0, "unigram": 17.1})
    figures, counts, everything = plt.get_fignums(), set(), []
    for epoch in range(1, 61):
        clock.now += 1
        extend(history)
        curve(history, f"epoch {epoch}/60", False)
        counts.add(artists(curve.fig))
        if epoch in (20, 60):
            curve.axes.set_xlim(0, 100)
            everything.append(len(curve.fig.findobj()))
    curve(history, "epoch 60/60", True)
    assert len(screen.displayed) == 1 and len(screen.updated) == 60
    assert len(counts) == 1, f"the number of artists grows: {sorted(counts)}"
    assert everything[0] == everything[1]
    assert plt.get_fignums() == figures, "no figure is left open"
    assert {data["text/plain"] for data, _ in screen.all} == {LiveCurve.alt}
    assert all(set(data) == {"image/png", "text/plain"} for data, _ in screen.all)


def test_at_most_two_pictures_a_second(screen, clock, quick_png):
    curve, history, times = LiveCurve(), History(), []
    for _ in range(1000):
        clock.now += 0.01
        extend(history)
        before = len(screen.all)
        curve(history, "status", False)
        times += [clock.now] * (len(screen.all) - before)
    assert len(times) == 20, "ten seconds"
    assert min(np.diff(times)) >= 0.5 - 1e-9


def test_slow_drawing_takes_at_most_a_tenth_of_the_time(screen, clock, monkeypatch):
    def slow(fig):
        clock.now += 0.2
        return b"a picture"

    monkeypatch.setattr(plots, "png", slow)
    curve, history = LiveCurve(), History()
    while clock.now < 1100:
        clock.now += 0.05
        extend(history)
        curve(history, "status", False)
    assert 0.2 * len(screen.all) <= 0.1 * 100 + 0.2
    assert len(screen.all) > 30


def test_last_frame_is_always_drawn(screen, clock, quick_png):
    curve, history = LiveCurve(), record(1)
    curve(history, "epoch 1/2", False)
    extend(history)
    curve(history, "epoch 2/2", False)
    assert len(screen.all) == 1, "too soon"
    curve(history, "done", True)
    assert len(screen.all) == 2
    assert curve.axes.get_title(loc="left") == "done"
    assert list(curve.train.get_ydata()) == history.column("train")[1]


def test_without_live_redraws_only_the_end_is_drawn(screen, clock, quick_png, monkeypatch):
    monkeypatch.setenv("RNNLIB_LIVE", "0")
    curve, history = LiveCurve(), History()
    for _ in range(20):
        clock.now += 10
        extend(history)
        curve(history, "status", False)
    assert not screen.all
    curve(history, "done", True)
    assert len(screen.displayed) == 1 and not screen.updated


@pytest.mark.parametrize("live", [None, "1", ""])
def test_live_redraws_are_the_default(screen, quick_png, monkeypatch, live):
    if live is None:
        monkeypatch.delenv("RNNLIB_LIVE")
    else:
        monkeypatch.setenv("RNNLIB_LIVE", live)
    LiveCurve()(record(1), "status", False)
    assert len(screen.displayed) == 1


def test_picture_is_a_png_of_the_announced_size(screen):
    fig, _ = plots.new_figure(width=5, height=3)
    plots.show(fig, "a sentence")
    ((data, metadata),) = screen.displayed
    pixels = base64.b64decode(data["image/png"])
    assert pixels[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", pixels[16:24]) == (750, 450), "sharp on zoomed pages"
    assert metadata == {"image/png": {"width": 500, "height": 300}}
    assert data["text/plain"] == "a sentence"


def test_present_enlarges_pictures(screen):
    try:
        plots.enlarge_figures(2)
        fig, _ = plots.new_figure(width=4, height=2)
        plots.show(fig, "a sentence")
    finally:
        plots.enlarge_figures(1)
    ((data, metadata),) = screen.displayed
    assert metadata == {"image/png": {"width": 800, "height": 400}}
    assert struct.unpack(">II", base64.b64decode(data["image/png"])[16:24]) == (1200, 600)
    for zoom in (0, 0.1, 5):
        with pytest.raises(ValueError, match=f"zoom={zoom!r} must be between 0.5 and 4"):
            plots.enlarge_figures(zoom)
    with pytest.raises(ValueError, match="zoom=nan must be a finite number"):
        plots.enlarge_figures(math.nan)


# What the curve shows


def test_lines_are_the_history():
    history = record(7, valid_every=3)
    (axes,) = curve_figure(history).axes
    train, valid = axes.lines[:2]
    assert (list(train.get_xdata()), list(train.get_ydata())) == history.column("train")
    assert (list(valid.get_xdata()), list(valid.get_ydata())) == history.column("valid")
    assert (train.get_linestyle(), valid.get_linestyle()) == ("-", "--"), "told apart without colour too"
    assert [entry.get_text() for entry in axes.get_legend().get_texts()] == ["training", "held-out"]
    assert axes.get_xlabel() == "epoch" and axes.get_ylabel() == "perplexity (log)"
    assert axes.get_title(loc="left") == f"held-out best {8 + 1 / 3:.2f} at epoch 6; last training {1 + 19 / 7:.2f}"


def test_single_points_are_visible():
    (axes,) = curve_figure(record(2)).axes
    assert [line.get_marker() for line in axes.lines[:2]] == ["o", "o"]
    (axes,) = curve_figure(record(3, valid_every=2)).axes
    assert [line.get_marker() for line in axes.lines[:2]] == ["", "o"]


def test_axis_holds_every_value():
    history = record(30, landmarks={"uniform": 28.0})
    (axes,) = curve_figure(history).axes
    low, high = axes.get_ylim()
    assert low < 1 and high > 28
    assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 30


def test_landmarks_are_drawn_with_their_names():
    landmarks = {"uniform": 28.0, "unigram": 17.12, "bigram": 9.5}
    (axes,) = curve_figure(record(3, landmarks=landmarks)).axes
    assert [line.get_ydata()[0] for line in axes.lines[2:]] == list(landmarks.values())
    assert [label.get_text() for label in axes.texts] == ["uniform 28", "unigram 17.1", "bigram 9.5"]


def test_landmarks_close_together_stay_legible():
    landmarks = {"trigram": 9.1, "uniform": 28.0, "bigram": 9.46, "unigram": 17.1, "4-gram": 8.7}
    fig = curve_figure(record(30, landmarks=landmarks))
    (axes,) = fig.axes
    assert [line.get_ydata()[0] for line in axes.lines[2:]] == sorted(landmarks.values(), reverse=True)
    assert [label.get_text() for label in axes.texts] == [
        "uniform 28",
        "unigram 17.1",
        "bigram 9.46\ntrigram 9.1\n4-gram 8.7",
    ]
    draw_as_stored(fig)
    boxes = [label.get_window_extent() for label in axes.texts]
    assert not any(upper.overlaps(lower) for upper, lower in itertools.pairwise(boxes))
    assert all(box.x1 <= fig.bbox.x1 for box in boxes)


def test_sample_stands_under_the_curve():
    curve = LiveCurve()
    curve.draw(record(3), "status")
    assert curve.footer.get_text() == "sample 3", "in one line"
    curve.draw(History(), "status")
    assert curve.footer.get_text() == " "
    history = record(1)
    history[0]["sample"] = "time traveller " * 20
    curve.draw(history, "status")
    for zoom in (1, 2):
        draw_as_stored(curve.fig, zoom)
        assert curve.footer.get_window_extent().x1 <= curve.fig.bbox.x1, "cut off before the edge of the picture"


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (1, 30, [1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30]),
        (1, 28, [1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30]),
        (4, 12, [5, 7, 10]),
        (50, 5000, [50, 100, 200, 500, 1000, 2000, 5000]),
        (1, 5000, [1, 10, 100, 1000]),
    ],
)
def test_perplexity_axis_has_plain_numbers(lowest, highest, ticks):
    fig, axes = plots.new_figure()
    plots.perplexity_axis(axes, lowest, highest)
    fig.draw_without_rendering()
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{tick:g}" for tick in ticks]
    assert axes.get_ylim()[0] < lowest and axes.get_ylim()[1] > highest
    assert not list(axes.get_yticks(minor=True))


STRANGE = {
    "no epoch": History({"uniform": 28.0}),
    "no held-out text": record(4, valid_every=99),
    "no landmarks": record(4),
}
infinite = record(4, landmarks={"uniform": 28.0})
infinite[0]["train"], infinite[1]["valid"], infinite[2]["train"] = math.inf, math.inf, 1e300
STRANGE["infinite perplexities"] = infinite
only_infinite = record(2)
for row in only_infinite:
    row["train"] = row["valid"] = math.inf
STRANGE["nothing but infinite"] = only_infinite


@pytest.mark.parametrize("case", STRANGE)
def test_strange_histories_are_drawn_without_complaint(case, recwarn):
    history = STRANGE[case]
    fig = curve_figure(history)
    assert len(plots.png(fig)) > 5000
    (axes,) = fig.axes
    assert 0 < axes.get_ylim()[0] < axes.get_ylim()[1] < 1e4
    titles = {
        "no epoch": "no epoch was finished",
        "no held-out text": "training 5.75 at epoch 4; held-out text was not",
    }
    assert titles.get(case, "held-out best") in axes.get_title(loc="left")
    assert not [str(warning.message) for warning in recwarn]


def test_fit_draws_itself_in_jupyter(screen, quick_png, monkeypatch):
    """What a reader sees: one picture, its last state after the training, also when it was stopped at once."""

    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    batches = text.sequential_batches(LOOP, 4, 10)
    history = fit(ScratchRNN(11, 8), batches, 3, valid_batches=batches, landmarks={"uniform": 11.0})
    assert len(history) == 3
    assert len(screen.displayed) == 1 and screen.updated

    def stop():
        raise KeyboardInterrupt

    history = fit(ScratchRNN(11, 8), batches, 3, sample=stop, sample_every=1)
    assert history.status == "stopped" and len(history) == 1
    assert len(screen.displayed) == 2


def test_a_figure_as_the_last_value_of_a_cell_shows_itself():
    """IPython's own formatter finds the picture without pyplot, as in `history.plot()` at the end of a cell."""
    from IPython.core.formatters import DisplayFormatter

    fig, _ = plots.new_figure(width=4, height=2)
    data, metadata = DisplayFormatter().format(fig)
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"] == {"width": 400, "height": 200}


def test_long_explanation_stays_in_the_picture():
    """A title may take several lines, but none of it is cut off."""
    curve = LiveCurve()
    explanation = (
        "stopped in epoch 1: the loss is nan, the gradient nan. The gradients exploded; the model keeps its last "
        "finite weights. Try a smaller learning rate, or a smaller clip (chapter 3 explains both)"
    )
    curve.draw(History({"uniform": 28.0}), explanation)
    draw_as_stored(curve.fig)
    (title,) = curve.axes.findobj(lambda artist: isinstance(artist, Text) and artist.get_text() == explanation)
    frame, title = curve.fig.bbox, title.get_window_extent()
    assert title.x0 >= frame.x0 and title.x1 <= frame.x1 and title.y1 <= frame.y1


# Outside of Jupyter


class Terminal:
    """A terminal that obeys carriage returns, as far as a line of text needs it."""

    def __init__(self, is_terminal):
        self.is_terminal, self.lines, self.column = is_terminal, [""], 0

    def isatty(self):
        return self.is_terminal

    def write(self, characters):
        for character in characters:
            if character == "\n":
                self.lines.append("")
                self.column = 0
            elif character == "\r":
                self.column = 0
            else:
                line = self.lines[-1]
                self.lines[-1] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1

    def flush(self):
        pass


def test_terminal_shows_one_line_that_changes(monkeypatch, clock):
    terminal, report = Terminal(True), _TextReport()
    monkeypatch.setattr("sys.stdout", terminal)
    for epoch in range(1, 5):
        clock.now += 0.2
        report(record(epoch), f"epoch {epoch}/4 · ETA 0:0{epoch}", False)
        assert terminal.lines == [f"epoch {1 if epoch < 4 else 4}/4 · ETA 0:0{1 if epoch < 4 else 4}"]
    report(record(4), "epoch 4/4", True)
    assert [line.rstrip() for line in terminal.lines] == ["epoch 4/4", ""], "nothing is left of a longer line"


def test_log_file_gets_the_last_line_alone(monkeypatch, clock):
    log, report = Terminal(False), _TextReport()
    monkeypatch.setattr("sys.stdout", log)
    for epoch in range(1, 5):
        clock.now += 10
        report(record(epoch), f"epoch {epoch}/4", False)
    report(record(4), "epoch 4/4, done", True)
    assert log.lines == ["epoch 4/4, done", ""]


def test_the_report_suits_the_place(monkeypatch):
    assert isinstance(plots.live_picture(), _TextReport), "pytest is no notebook"

    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    assert isinstance(plots.live_picture(), LiveCurve)
    monkeypatch.setattr("IPython.get_ipython", object)  # IPython in a terminal
    assert isinstance(plots.live_picture(), _TextReport)
    monkeypatch.setitem(os.sys.modules, "IPython", None)
    assert isinstance(plots.live_picture(), _TextReport)


def test_style_can_be_read_without_colours():
    assert len(set(plt.rcParams["axes.prop_cycle"].by_key()["color"])) == 6
    assert not plt.rcParams["axes.spines.top"]


SAMPLES = ["$x^{$", r"a\b $\frac{$ x$", "时间旅行者", "tab\tbell\x07", "\U0001f600", r"\$", "שלום", "e\u0301\u200b", ""]


def texts_of(fig):
    """Return what is written in a figure, and assert that none of it is read as a formula."""
    found = [artist for artist in fig.findobj(Text) if "mathdefault" not in artist.get_text()]
    assert not [artist.get_text() for artist in found if artist._preprocess_math(artist.get_text())[1]]
    return [artist._preprocess_math(artist.get_text())[0] for artist in found]


def row(epoch, train, valid, sample=None):
    return {"epoch": epoch, "train": train, "valid": valid, "sample": sample, "seconds": 1.0}


@pytest.mark.parametrize("sample", SAMPLES, ids=ascii)
@pytest.mark.filterwarnings("error")
def test_any_text_of_a_training_is_drawn(sample):
    """A sample, the name of a landmark and a status, each as it is, or with □ for what no font has."""
    history = History(landmarks={f"by {sample}": 3.0})
    history.append(row(1, 2.0, 2.5, f"begin {sample} end"))
    curve = plots.LiveCurve()
    curve.draw(history, f"now {sample}")
    assert plots.png(curve.fig)
    written = texts_of(curve.fig)
    for expected in (f"by {sample} 3", f"begin {sample} end", f"now {sample}"):
        assert {lettering.drawable(expected), lettering.drawable(expected, "DejaVu Sans Mono")} & set(written)


@pytest.mark.filterwarnings("error")
def test_any_text_is_drawn_beside_the_accuracy():
    for sample in SAMPLES:
        curve = plots.AccuracyCurve()
        curve.draw(progress_of(0.6), f"now {sample}")
        assert plots.png(curve.fig)
        assert lettering.drawable(f"now {sample}") in texts_of(curve.fig)


def progress_of(*values):
    progress = Progress()
    for epoch, value in enumerate(values, start=1):
        share = value if not math.isfinite(value) or 0 <= value <= 1 else 0.5
        progress.append({"epoch": float(epoch), "loss": value, "valid_loss": value, "accuracy": share})
    return progress


NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 1e-300, 3.0]


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.filterwarnings("error")
def test_any_number_of_a_training_is_drawn_or_left_out(value):
    history = History(landmarks={"bigram": 12.0})
    history.landmarks["odd"] = value  # what is handed in is looked at; this is not
    history.extend([row(1, 2.0, value), row(2, value, value), row(3, 1.5, value)])
    fig = plots.curve_figure(history)
    assert plots.png(fig)
    (axes,) = fig.axes
    low, high = axes.get_ylim()
    assert 0 < low < 1 < high < 2e4
    inside = 1 <= value < 1e4
    assert np.isfinite(axes.lines[0].get_ydata()).tolist() == [True, inside, True]
    assert any("odd" in written for written in texts_of(fig)) == inside


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.filterwarnings("error")
def test_a_training_of_nothing_but_such_numbers_is_drawn(value):
    history = History()
    history.landmarks["odd"] = value
    history.append(row(1, value, value))
    assert plots.png(plots.curve_figure(history))
    assert plots.png(plots.accuracy_figure(progress_of(value)))


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.filterwarnings("error")
def test_any_number_beside_the_accuracy_is_drawn_or_left_out(value):
    fig = plots.accuracy_figure(progress_of(0.6, value, 0.5))
    assert plots.png(fig)
    losses, accuracies = fig.axes
    assert np.isfinite(losses.lines[0].get_ydata()).tolist() == [True, math.isfinite(value), True]
    assert losses.get_ylim() == (0, pytest.approx(2.1 if 2 < value < math.inf else 0.7875))
    assert accuracies.get_ylim()[1] == 1 and math.isfinite(accuracies.get_ylim()[0])


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.filterwarnings("error")
def test_an_axis_of_perplexities_takes_any_end(value):
    fig, axes = plots.new_figure()
    plots.perplexity_axis(axes, lowest=value, highest=value)
    plots.landmark_lines(axes, {"odd": value})
    axes.plot([1, 2], [value, 3.0])
    assert plots.png(fig)


@pytest.mark.filterwarnings("error")
def test_a_training_whose_samples_look_like_formulas_finishes(screen, capsys):
    """From the ids of a text full of $ and \\ to the last picture."""
    own = "$x^{$ and \\frac{ 时间\t😀\n" * 40
    vocab = text.Vocab(list(own))
    batches = text.sequential_batches(vocab[list(own)], 4, 10, offset=0)
    samples = iter(SAMPLES)
    history = fit(
        ScratchRNN(len(vocab), 8),
        batches,
        len(SAMPLES),
        valid_batches=batches,
        sample=lambda: next(samples),
        sample_every=1,
        landmarks={"$\\alpha$": 3.0},
        report=LiveCurve(),
    )
    assert history.status == "finished" and len(history) == len(SAMPLES)
    assert [row["sample"] for row in history] == SAMPLES
    assert screen.displayed and capsys.readouterr().err == ""


def test_a_failing_picture_is_told_once_and_ends_nothing(capsys):
    class Broken(plots.LivePicture):
        def draw(self, history, status):
            raise RuntimeError("no ink")

    broken = Broken()
    broken([], "", final=True)
    broken([], "", final=True)
    assert capsys.readouterr().err.count("no ink") == 1
