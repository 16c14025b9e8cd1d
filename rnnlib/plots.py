"""Figures of the book: one style, pictures that update in place, the live perplexity curve."""

import base64
import contextlib
import io
import math
import os
import sys
import time

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from rnnlib import guards, lettering

# Okabe and Ito's colours, told apart by colour-blind readers too; every line also has its own dash or label.
BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, INK = "#767676", "#222222"

STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": matplotlib.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, YELLOW]),
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "image.cmap": "viridis",
}
PIXELS_PER_INCH = 100  # on the page
SHARPNESS = 1.5  # pixels stored for each pixel on the page, so that zoomed pages stay crisp

_zoom = 1.0


def use_style():
    """Set the figure style of the book."""
    matplotlib.rcParams.update(STYLE | {"font.family": lettering.font_families()})


def enlarge_figures(zoom=1.5):
    """Show every figure from here on larger, text and lines included, for a projector; 1 undoes it."""
    global _zoom
    guards.check_numbers(zoom=zoom)
    if not 0.5 <= zoom <= 4:
        raise ValueError(f"zoom={zoom!r} must be between 0.5 and 4, and 1 is the size of the book")
    _zoom = zoom


def new_figure(width=7.2, height=3.6, rows=1, columns=1, **options):
    """Make an empty figure and its axes.

    Args:
        width, height: in inches; 7.2 is as wide as a notebook's page.
        rows, columns: of axes.
        **options: for ``Figure.subplots``, such as ``sharey=True`` or ``width_ratios=[2, 1]``.

    Returns:
        The Figure, and one Axes or an array of them as ``Figure.subplots`` gives.
    """
    fig = BookFigure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def stacked_axes(height, height_ratios, left, right=0.985, bottom=0.05, hspace=0.3):
    """Make a figure of the page's width with axes below each other at fixed places, which draws fastest.

    Args:
        height: in inches.
        height_ratios: one number for each axes.
        left, right, bottom: of the axes, as shares of the figure.
        hspace: between two axes, as a share of their mean height.

    Returns:
        The Figure and its axes, from the top down.
    """
    fig = BookFigure(figsize=(7.2, height))
    places = {"left": left, "right": right, "bottom": bottom, "top": 0.95, "hspace": hspace}
    return fig, fig.subplots(len(height_ratios), height_ratios=height_ratios, gridspec_kw=places, squeeze=False)[:, 0]


def narrow_bars(axes, places, heights, **style):
    """Draw bars that leave room for a second one at each place; one artist draws faster than many."""
    points = 72 * axes.get_position().width * axes.figure.get_figwidth()
    axes.vlines(places, 0, heights, linewidth=0.37 * points / len(places), **style)


def png(fig):
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=PIXELS_PER_INCH * SHARPNESS * _zoom, pil_kwargs={"compress_level": 4})
    return buffer.getvalue()


class BookFigure(Figure):
    """A figure that shows itself in a notebook as the last value of a cell, like pyplot's."""

    def _repr_png_(self):
        return png(self), {"width": _pixels(self)[0], "height": _pixels(self)[1]}


def _pixels(fig):
    """Return the width and height of a figure on the page, in pixels."""
    return tuple(round(inches * PIXELS_PER_INCH * _zoom) for inches in fig.get_size_inches())


class Picture:
    """A place on the page that shows a figure and can show another one later, without flicker or a page jump.

    Args:
        fig: a matplotlib Figure.
        alt: one sentence that says what is to be seen: the text for readers who can't see the picture.
    """

    def __init__(self, fig, alt):
        from IPython.display import display

        self.alt = alt
        data, metadata = self._bundle(fig)
        self._handle = display(data, raw=True, metadata=metadata, display_id=True)

    def update(self, fig):
        """Show another figure in the same place."""
        data, metadata = self._bundle(fig)
        self._handle.update(data, raw=True, metadata=metadata)

    def _bundle(self, fig):
        width, height = _pixels(fig)
        data = {"image/png": base64.b64encode(png(fig)).decode(), "text/plain": self.alt}
        return data, {"image/png": {"width": width, "height": height}}


def show(fig, alt):
    """Show a figure in the notebook with one sentence for readers who can't see it."""
    Picture(fig, alt)


def perplexity_axis(axes, lowest=1.0, highest=40.0):
    """Give an axes a log scale of perplexities with plain numbers on it, whatever is drawn there."""
    lowest, highest = (end if 0 < end < math.inf else 1.0 for end in (lowest, highest))
    axes.set_yscale("log")
    axes.set_ylim(lowest * 0.94, highest * 1.15)
    marks = [1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000]
    if highest > 200 * lowest:  # there is no room for all of them
        marks = [10.0**power for power in range(10)]
    axes.yaxis.set_major_locator(FixedLocator([mark for mark in marks if lowest * 0.94 <= mark <= highest * 1.15]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("perplexity (log)")


LARGEST = 1e4  # perplexity that is drawn


def _on_axis(value):
    """Tell whether a perplexity can be drawn: none is below 1, but for rounding."""
    return 0.94 <= value < LARGEST


def landmark_lines(axes, landmarks):
    """Draw a dotted line with its name for each landmark perplexity; names too close together form one block."""
    blocks = []  # of (name, value)
    landmarks = {name: value for name, value in landmarks.items() if _on_axis(value)}
    for name, value in sorted(landmarks.items(), key=lambda landmark: -landmark[1]):
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
        if blocks and blocks[-1][-1][1] < 1.2 * value:  # about a line of text on the axis of perplexities
            blocks[-1].append((name, value))
        else:
            blocks.append([(name, value)])
    for block in blocks:
        axes.annotate(
            "\n".join(f"{lettering.literal_text(name)} {value:.3g}" for name, value in block),
            (1, math.prod(value for _, value in block) ** (1 / len(block))),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=GREY,
            fontsize=9,
            family=lettering.font_families(),
            va="center",
            annotation_clip=False,
        )


class LivePicture:
    """A figure of a training, redrawn in place: at most twice a second, and always at the end.

    A subclass has ``fig``, ``alt`` and ``draw(history, status)``. With the environment variable ``RNNLIB_LIVE=0`` only
    the end is drawn.
    """

    def __init__(self):
        self.picture = None
        self._drawn_at, self._cost = -float("inf"), 0.0
        self._told = False  # that a picture failed

    def __call__(self, history, status, final):
        """Redraw if it is time to; the signature that ``fit`` reports to."""
        now = time.perf_counter()
        live = os.environ.get("RNNLIB_LIVE", "1") != "0"
        # At least half a second between two pictures, and at most a tenth of the time spent on drawing.
        if not final and not (live and now - self._drawn_at >= max(0.5, 10 * self._cost)):
            return
        try:
            self._redraw(history, status)
        except Exception as error:  # whatever fails in a picture, the training goes on
            if not self._told:
                print(f"the picture can't be drawn ({type(error).__name__}: {error}); the training goes on without it",
                      file=sys.stderr)  # fmt: skip
            self._told = True
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - now

    def _redraw(self, history, status):
        self.draw(history, status)
        if self.picture is None:
            self.picture = Picture(self.fig, self.alt)
        else:
            self.picture.update(self.fig)


class LiveCurve(LivePicture):
    """Perplexity by epoch on training and held-out text, redrawn in place while :func:`rnnlib.training.fit` runs."""

    alt = "Perplexity by epoch on a log axis: a solid line for the training text, a dashed line for held-out text."

    def __init__(self):
        super().__init__()
        self.fig, self.axes = new_figure(height=4.0)
        (self.train,) = self.axes.plot([], [], color=BLUE, label="training")
        (self.valid,) = self.axes.plot([], [], color=ORANGE, linestyle="--", label="held-out")
        self.footer = self.fig.supxlabel(" ", fontsize=9, color=GREY, x=0.02, ha="left")
        self.footer.set_family(lettering.font_families("DejaVu Sans Mono"))
        self.axes.set_xlabel("epoch")
        # Below the axes, beside the word "epoch": no curve can run through it there.
        self.axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.07), ncols=2)
        self.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.landmarks = None

    def draw(self, history, status):
        """Put the history into the figure's lines; the number of artists stays the same."""
        if self.landmarks is None:
            self.landmarks = history.landmarks
            landmark_lines(self.axes, self.landmarks)
        for line, key in ((self.train, "train"), (self.valid, "valid")):
            epochs, values = history.column(key)
            line.set_data(epochs, [value if _on_axis(value) else math.nan for value in values])
            line.set_marker("o" if len(epochs) < 3 else "")
        values = [value for key in ("train", "valid") for value in history.column(key)[1] if _on_axis(value)]
        landmarks = [value for value in self.landmarks.values() if _on_axis(value)]
        perplexity_axis(self.axes, highest=max([10.0, *values, *landmarks]))
        self.axes.set_xlim(0, max(10, len(history)) * 1.01)
        self.axes.set_title(lettering.literal_text(status), fontsize=10, wrap=True, family=lettering.font_families())
        samples = history.column("sample")[1]
        sample = samples[-1].replace("\n", " ")[:92] if samples else " "
        self.footer.set_text(lettering.literal_text(sample, "DejaVu Sans Mono"))


class AccuracyCurve(LivePicture):
    """Loss and held-out accuracy of a classifier, redrawn while :func:`rnnlib.training.fit_classifier` runs."""

    alt = "Left: loss by epoch, solid for training, dots for held-out reviews. Right: held-out accuracy by epoch."

    def __init__(self):
        super().__init__()
        self.fig, (self.losses, self.accuracies) = new_figure(height=3.2, columns=2)
        (self.train,) = self.losses.plot([], [], color=BLUE, label="training")
        (self.valid,) = self.losses.plot([], [], "o--", color=ORANGE, label="held-out")
        (self.accuracy,) = self.accuracies.plot([], [], "o--", color=ORANGE)
        self.losses.set_ylabel("loss (nats)")
        self.losses.legend(loc="upper right", bbox_to_anchor=(1.0, 1.0))
        self.accuracies.set_ylabel("held-out accuracy")
        self.accuracies.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in (self.losses, self.accuracies):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    def draw(self, history, status):
        """Put the progress into the figure's lines; the number of artists stays the same."""
        columns = {"loss": self.train, "valid_loss": self.valid, "accuracy": self.accuracy}
        for key, line in columns.items():
            epochs, values = history.column(key)
            line.set_data(epochs, [value if math.isfinite(value) else math.nan for value in values])
        epochs = math.ceil(history[-1]["epoch"]) if history else 1
        highest = max([0.75, *filter(math.isfinite, history.column("loss")[1])])
        self.losses.set_ylim(0, min(highest, 2) * 1.05)
        lowest = min([0.8, *filter(math.isfinite, history.column("accuracy")[1])])
        self.accuracies.set_ylim(math.floor(20 * lowest) / 20, 1.0)
        for axes in (self.losses, self.accuracies):
            axes.set_xlim(0, epochs * 1.05)
        self.fig.suptitle(
            lettering.literal_text(status), fontsize=10, x=0.02, ha="left", family=lettering.font_families()
        )


class _TextReport:
    """The status of a training as one line of text, rewritten in place on a terminal; for scripts."""

    def __init__(self):
        self._printed_at, self._width = -float("inf"), 0

    def __call__(self, history, status, final):
        """Print the line if it is time to; the signature that ``fit`` reports to."""
        import shutil

        now = time.perf_counter()
        status = status.replace("■ stops", "Ctrl-C stops")
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        status = status.encode(encoding, "replace").decode(encoding)  # some terminals lack the dots
        if sys.stdout.isatty():
            status = status[: shutil.get_terminal_size().columns - 1]  # a longer line can't be rewritten in place
        if not sys.stdout.isatty():
            if final:
                print(status)
        elif final or now - self._printed_at > 0.5:
            print(f"\r{status:<{self._width}}", end="\n" if final else "", flush=True)  # spaces over a longer line
            self._printed_at, self._width = now, len(status)


def live_picture(picture=LiveCurve):
    """Return a new live picture in Jupyter and the line of text elsewhere."""
    with contextlib.suppress(ImportError):
        from IPython import get_ipython

        if hasattr(get_ipython(), "kernel"):
            return picture()
    return _TextReport()


def curve_figure(history):
    """Return a Figure of a :class:`rnnlib.training.History`: perplexity by epoch, with its landmarks."""
    guards.check_epochs(history=history)
    curve = LiveCurve()
    curve.draw(history, _curve_title(history))
    return curve.fig


def accuracy_figure(progress):
    """Return a Figure of a :class:`rnnlib.training.Progress`: loss and held-out accuracy by epoch."""
    guards.check_epochs(progress=progress)
    curve = AccuracyCurve()
    best = progress.best if progress.column("accuracy")[1] else None
    curve.draw(progress, f"best held-out accuracy {best['accuracy']:.1%} at epoch {best['epoch']:.0f}" if best else "")
    return curve.fig


def _curve_title(history):
    """Say in one line what a training has reached."""
    if not history:
        return "no epoch was finished"
    best = history.best
    if best["valid"] is None:
        return f"training {_written(best['train'])} at epoch {best['epoch']}; held-out text was not measured"
    last = _written(history[-1]["train"])
    return f"held-out best {_written(best['valid'])} at epoch {best['epoch']}; last training {last}"


def _written(perplexity):
    """Write a perplexity with two digits after the point, or with its power of ten where it is beyond all axes."""
    return f"{perplexity:.2f}" if abs(perplexity) < LARGEST else f"{perplexity:.3g}"
