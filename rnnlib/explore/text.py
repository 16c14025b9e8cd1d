"""Explorers of chapter 1: the axes of a block of one-hot rows, and how a text is cut into minibatches."""

import string

import ipywidgets as widgets
import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from rnnlib import drawings, lettering, plots
from rnnlib.explore.frame import Explorer
from rnnlib.guards import check_ribbon
from rnnlib.text import Vocab, as_vocab, clean, one_hot, random_batches, sequential_batches

OPENING = "the time traveller for so it will be convenient to speak of him was expounding"


class TensorTape(Explorer):
    """What does the first axis of a block of one-hot rows run over? Type sentences of your own, with / between them.

    Args:
        vocab: by default the 28 entries of this book: ``<unk>``, the space and a to z.
    """

    title = "Tensor tape"
    question = "which axis grows when you add a sentence, and which when every sentence gets one letter longer?"
    presets = {  # noqa: RUF012
        "one sentence": {"text": "time traveller"},
        "four sentences": {"text": "the time / traveller / smiled at / his mill"},
        "time first": {"layout": "time first"},
        "batch first": {"layout": "batch first"},
    }
    max_steps = 12

    def __init__(self, vocab=None):
        vocab = None if vocab is None else as_vocab(vocab)
        self.vocab = Vocab(" " + string.ascii_lowercase) if vocab is None else vocab
        super().__init__(
            text=widgets.Text("the time / traveller / machines", description="sentences", continuous_update=False),
            layout=widgets.ToggleButtons(
                options=[("(T, N, V), time first", "time first"), ("(N, T, V), batch first", "batch first")],
                description="layout",
            ),
            step=widgets.IntSlider(2, min=0, max=self.max_steps - 1, description="i, index into the first axis"),
        )

    def measure(self, text, layout, step):
        """Return the characters, their ids X (N, T), the block of one-hot rows and its slice at this index.

        Raises:
            ValueError: if a sentence has no letters, or there are more than four.
        """
        sentences = [clean(sentence) for sentence in text.split("/")]
        if not all(sentences):
            raise ValueError(f"{text!r} has a sentence without letters: write one to four, with / between them")
        if len(sentences) > 4:
            raise ValueError(f"{len(sentences)} sentences are too many to draw: write one to four, with / between them")
        num_steps = min(self.max_steps, *map(len, sentences))  # cut to the shortest, as a block has no ragged edge
        rows = [sentence[:num_steps] for sentence in sentences]
        X = torch.tensor([self.vocab[list(row)] for row in rows])  # (N, T)
        V = len(self.vocab)
        inputs = one_hot(X, V) if layout == "time first" else F.one_hot(X, V).float()
        step = min(step, len(inputs) - 1)
        return {"rows": rows, "X": X, "layout": layout, "step": step, "inputs": inputs, "slice": inputs[step]}

    def draw(self, data):
        """The sentences with the chosen slice framed, and the slice as a picture of zeros and ones."""
        fig, (tape, heat) = plots.new_figure(height=4.4, rows=2, height_ratios=[4, 5])
        num_rows, num_steps = data["X"].shape
        time_first, step = data["layout"] == "time first", data["step"]
        places = [(t, i) for i in range(num_rows) for t in range(num_steps)]
        _squares(tape, places, "white", edge=plots.GREY)
        lettering.write_letters(tape, places, "".join(data["rows"]))
        corners = [(t + 0.28, i + 0.36) for t, i in places]
        lettering.write_letters(
            tape, corners, [str(i) for i in data["X"].flatten().tolist()], size=6, colour=plots.GREY
        )
        corner, width, height = ((step - 0.5, -0.5), 1, num_rows) if time_first else ((-0.5, step - 0.5), num_steps, 1)
        tape.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=plots.ORANGE, lw=3, zorder=3))
        tape.set_xlim(-0.55, self.max_steps - 0.4)
        tape.set_ylim(3.6, -0.6)
        tape.set_xticks(range(num_steps), ["t=0", *range(1, num_steps)])
        tape.set_yticks(range(num_rows), [f"sentence {i}" for i in range(num_rows)], fontsize=9)
        tape.tick_params(length=0, labeltop=True, labelbottom=False)
        tape.spines[:].set_visible(False)
        tape.set_title(f"inputs {self._shape(data['inputs'], data['layout'])}; the frame is inputs[{step}]")
        self._draw_slice(heat, data)
        return fig

    def _draw_slice(self, axes, data):
        picked, step = data["slice"], data["step"]
        characters = [row[step] for row in data["rows"]] if data["layout"] == "time first" else data["rows"][step]
        places = [(x, y) for y in range(len(picked)) for x in range(len(self.vocab))]
        hot = picked.flatten().bool().tolist()
        _squares(axes, places, [plots.SKY if one else "white" for one in hot], edge=plots.GREY)
        for digit, colour in (("1", plots.INK), ("0", plots.GREY)):
            chosen = [place for place, one in zip(places, hot, strict=True) if one == (digit == "1")]
            lettering.write_letters(axes, chosen, digit * len(chosen), size=7, colour=colour)
        lettering.write_letters(
            axes, [(-1.2, y) for y in range(len(picked))], characters, size=9 if len(picked) < 9 else 7
        )
        tokens = [str(token).strip("<>") or token for token in self.vocab.tokens]
        drawn = max(4, len(picked))  # rows of the same height for up to four
        below = len(picked) - 0.5 + 0.11 * drawn
        lettering.write_letters(axes, [(x, below) for x in range(len(tokens))], tokens, size=7)
        axes.set_xlim(-1.8, len(tokens) - 0.4)
        axes.set_ylim(1.16 * drawn - 0.5, -0.6)
        axes.axis("off")
        names = "NV" if data["layout"] == "time first" else "TV"
        axes.set_title(f"inputs[{step}] {_named(names, picked.shape)}: a single 1 in each row, at the character's id")

    @staticmethod
    def _shape(inputs, layout):
        return _named("TNV" if layout == "time first" else "NTV", inputs.shape)

    def describe(self, data):
        """Say what the slice holds."""
        inputs, step = data["inputs"], data["step"]
        shape = self._shape(inputs, data["layout"])
        if data["layout"] == "time first":
            count = f"character {step} of {'the only sentence' if len(data['rows']) == 1 else 'every sentence'}"
            return f"inputs has shape {shape}; inputs[{step}] is {count}: what one step of a network reads at once."
        return (
            f"inputs has shape {shape}; inputs[{step}] is all of sentence {step}: a loop over the first axis would run "
            "over sentences, not over time."
        )


class BatchRibbon(Explorer):
    """Which characters land in which row of which minibatch, and does a row continue the one before?

    Args:
        text: your own text, of up to 132 characters after cleaning.
        batch_size: rows N of a minibatch, 1 to 4.

    Raises:
        ValueError: if the text is longer, or has more rows, than can be drawn, or is too short for one minibatch.
    """

    title = "Batch ribbon"
    question = "does row 0 of minibatch 1 continue row 0 of minibatch 0?"
    line = 44  # characters

    def __init__(self, text=OPENING, batch_size=2):
        self.text, self.batch_size = clean(text), batch_size
        check_ribbon(self.text, batch_size, longest=3 * self.line)
        most_steps = min(12, (len(self.text) - 1) // batch_size)
        num_steps = min(5, most_steps)
        most_offset = min(11, len(self.text) - 1 - batch_size * num_steps)
        self.presets = {
            "sequential": {"scheme": "sequential"},
            "random": {"scheme": "random"},
            "long steps": {"num_steps": most_steps, "offset": 0},
            "start later": {"offset": min(4, most_offset)},
        }
        super().__init__(
            scheme=widgets.ToggleButtons(options=["sequential", "random"], description="scheme"),
            num_steps=widgets.IntSlider(num_steps, min=2, max=most_steps, description="num_steps"),
            offset=widgets.IntSlider(0, min=0, max=most_offset, description="offset"),
        )

    def measure(self, scheme, num_steps, offset):
        """Return where every row of every minibatch begins in the text, and how many rows continue the one before.

        Raises:
            ValueError: if the text is too short for one minibatch.
        """
        make = sequential_batches if scheme == "sequential" else random_batches
        batches = make(range(len(self.text)), self.batch_size, num_steps, offset=offset, seed=1)
        starts = torch.stack([X[:, 0] for X, _ in batches])  # (minibatches, N); an id is its own position here
        continues = starts[1:] == starts[:-1] + num_steps
        return {"scheme": scheme, "num_steps": num_steps, "offset": offset, "starts": starts, "continues": continues}

    def draw(self, data):
        """The text as a ribbon coloured by minibatch, and the first minibatches cut from it."""
        lines = -(-len(self.text) // self.line)
        height = 1.3 + 0.55 * lines + 0.25 * self.batch_size  # inches; the same wherever the controls stand
        fig, (ribbon, blocks) = plots.new_figure(height=height, rows=2, height_ratios=[2 * lines, self.batch_size + 1])
        self._draw_ribbon(ribbon, data)
        ribbon.set_ylim(2 * lines - 0.5, -0.6)
        ribbon.set_title(f"{data['scheme']}: under each piece its minibatch.row; what is white is not read")
        self._draw_blocks(blocks, data)
        blocks.set_ylim(self.batch_size - 0.4, -1.5)
        blocks.set_title("the first minibatches X; an arrow where a row continues the one before")
        for axes in (ribbon, blocks):
            axes.set_xlim(-0.6, self.line)
            axes.axis("off")
        return fig

    def _draw_ribbon(self, axes, data):
        colours = ["white"] * len(self.text)
        for k, row_starts in enumerate(data["starts"].tolist()):
            for i, start in enumerate(row_starts):
                colours[start : start + data["num_steps"]] = [self._colour(k, data)] * data["num_steps"]
                line, place = divmod(start, self.line)
                axes.text(place - 0.35, 2 * line + 1.15, f"{k}.{i}", fontsize=7, in_layout=False)
                axes.vlines(place - 0.5, 2 * line - 0.5, 2 * line + 1.2, color=plots.INK, linewidth=1)
        places = [(i % self.line, 2 * (i // self.line)) for i in range(len(self.text))]
        _squares(axes, places, colours)
        lettering.write_letters(axes, places, self.text)

    def _draw_blocks(self, axes, data):
        num_steps = data["num_steps"]
        places, characters, colours = [], "", []
        drawn = data["starts"][: (self.line + 2) // (num_steps + 2)].tolist()  # as many as a line holds
        for k, row_starts in enumerate(drawn):
            left = k * (num_steps + 2)
            axes.text(left - 0.5, -0.8, f"minibatch {k}" if num_steps > 4 else k, fontsize=9, in_layout=False)
            for i, start in enumerate(row_starts):
                places += [(left + t, i) for t in range(num_steps)]
                characters += self.text[start : start + num_steps]
                colours += [self._colour(k, data)] * num_steps
                if k and data["continues"][k - 1, i]:
                    drawings.draw_arrow(axes, (left - 1.45, i), (left - 0.55, i))
        _squares(axes, places, colours)
        lettering.write_letters(axes, places, characters)

    @staticmethod
    def _colour(k, data):
        shade = 0.12 + 0.48 * k / max(1, len(data["starts"]) - 1)
        return matplotlib.colormaps["YlGnBu"](shade)

    def describe(self, data):
        """Count the minibatches, the rows that continue, and the characters that are not read."""
        num_batches = len(data["starts"])
        read = data["starts"].numel() * data["num_steps"]
        rows = data["continues"].numel()
        kept = f"{int(data['continues'].sum())} of {rows} rows continue the row before them"
        return (
            f"{data['scheme']} minibatches of {self.batch_size} x {data['num_steps']} characters from offset "
            f"{data['offset']}: {num_batches} of them; {kept if rows else 'one has none to continue'}; "
            f"{len(self.text) - read} of {len(self.text)} characters are not read."
        )


def _squares(axes, places, colours, edge="white"):
    """Draw a square at each place."""
    squares = PatchCollection([Rectangle((x - 0.5, y - 0.5), 1, 1) for x, y in places])
    squares.set(facecolor=colours, edgecolor=edge, linewidth=0.5, in_layout=False)
    axes.add_collection(squares, autolim=False)


def _named(names, shape):
    """Return a shape with the names of its axes, such as ``(N=2, V=28)``."""
    return f"({', '.join(f'{name}={size}' for name, size in zip(names, shape, strict=True))})"


EXPLORERS = (TensorTape, BatchRibbon)
