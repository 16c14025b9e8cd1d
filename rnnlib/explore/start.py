"""Explorers of chapter 0: a network that writes on, and one number of its memory that can be turned."""

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.patches import Rectangle

from rnnlib import environment, guards, lettering, plots, pretrained, scratch
from rnnlib.explore.frame import Explorer, typed

NUM_TOKENS = 200  # that an explorer writes


@torch.no_grad()
def write_on(model, vocab, beginning, num_tokens, temperature, seed=1, hold=()):
    """Write on; return the ids, the distribution that each was drawn from (T, V), and the cells (T, layers * H).

    Args:
        model: a language model on an LSTM, which keeps a state and a cell (layers, N, H).
        vocab: its vocabulary.
        beginning: the text to go on from.
        num_tokens, temperature, seed: as in :func:`rnnlib.scratch.generate`.
        hold: pairs of a number of the cells, counted through the layers, and the value that it is held at.
    """
    generator = environment.new_generator(seed)
    device = next(model.parameters()).device
    ids, chances, cells = [], [], []
    with environment.evaluating(model), environment.single_steps():
        (h, c), read = model.begin_state(1, device), vocab[list(beginning)]
        for _ in range(num_tokens):
            for i in read:
                scores, (h, c) = model(torch.tensor([[i]], device=device), (h, c))
                for unit, value in hold:
                    c[unit // c.shape[2], 0, unit % c.shape[2]] = value
            scores = scores[0].float().cpu()
            scores[vocab["<unk>"]] = -torch.inf
            p = scratch.next_token_probabilities(scores, temperature)
            read = [int(torch.multinomial(p, 1, generator=generator))]
            ids, chances, cells = [*ids, *read], [*chances, p], [*cells, c.flatten().cpu()]
    return ids, torch.stack(chances), torch.stack(cells)


class Voice(Explorer):
    """How does a network go on, and what did it hesitate between at each letter? Type a beginning.

    Args:
        beginning: the text that the book's Shakespeare network goes on from.
    """

    title = "A voice"
    question = "at which letters is it sure, and at which could it have gone another way?"
    presets = {  # noqa: RUF012
        "Romeo": {"beginning": "ROMEO:\nO", "temperature": 0.5, "letter": 1},
        "the king": {"beginning": "The king ", "temperature": 0.5, "letter": 1},
        "no risk": {"beginning": "The king ", "temperature": 0.0, "letter": 21},
        "wild": {"beginning": "The king ", "temperature": 1.5, "letter": 21},
    }

    def __init__(self, beginning="The king "):
        self.model, self.vocab = pretrained.load_model("shakespeare_lstm")
        guards.check_text(beginning=beginning)
        guards.check_typed(self.vocab, beginning)
        super().__init__(
            beginning=widgets.Textarea(beginning, rows=2, description="you begin", continuous_update=False),
            temperature=widgets.FloatSlider(0.5, min=0.0, max=1.5, step=0.1, description="temperature (0: no risk)"),
            letter=widgets.IntSlider(1, min=1, max=NUM_TOKENS, description="look at its letter number"),
        )

    def settings(self):
        """What the presets begin with, four temperatures, a letter every twenty."""
        return super().settings() | {"temperature": [0.0, 0.5, 1.0, 1.5], "letter": [1, *range(21, 201, 20)]}

    def measure(self, beginning, temperature, letter):
        """Return what is written, how likely each letter was, and the likeliest ones where one looks."""
        beginning = typed(self.vocab, beginning)
        ids, chances, _ = write_on(self.model, self.vocab, beginning, NUM_TOKENS, temperature)
        p, best = chances[letter - 1].topk(min(8, len(self.vocab)))
        return {
            "beginning": beginning,
            "written": self.vocab.decode(ids),
            "sure": chances[range(len(ids)), ids].numpy(),
            "letter": letter,
            "candidates": list(zip(self.vocab.decode(best), p.tolist(), strict=True)),
        }

    def draw(self, data):
        """The text, each letter the darker the less it was sure, one framed; below, what that one was drawn from."""
        fig, (page, bars) = plots.stacked_axes(4.6, [3.0, 1.0], left=0.09, right=0.985, bottom=0.08, hspace=0.25)
        unsure = np.concatenate([np.full(len(data["beginning"]), np.nan), 1 - data["sure"]])
        framed = len(data["beginning"]) + data["letter"] - 1
        _draw_page(page, [*data["beginning"], *data["written"]], unsure, "Oranges", (0, 1.6), framed)
        page.set_title("what it writes: the darker a letter, the more it could have been another one", fontsize=10)
        names = [lettering.token_label(token) for token, _ in data["candidates"]]
        bars.bar(range(len(names)), [p for _, p in data["candidates"]], color=plots.ORANGE)
        bars.set_xticks(range(len(names)), names, family=lettering.font_families("DejaVu Sans Mono"))
        bars.set(ylim=(0, 1.05), ylabel="chance")
        return fig

    def describe(self, data):
        """Say what stands where one looks, and what else might."""
        taken = data["written"][data["letter"] - 1]
        likeliest = ", ".join(f"“{lettering.visible_text(token)}” {p:.0%}" for token, p in data["candidates"][:3])
        place = list(data["beginning"]) + data["written"][: data["letter"] - 1]
        before = lettering.visible_text(place[-12:])
        sure = float(np.mean(data["sure"] > 0.9))
        return (
            f"After “{before}” it writes “{lettering.visible_text(taken)}”; likeliest were {likeliest}. "
            f"Of all {len(data['written'])} letters {sure:.0%} were surer than 90 %."
        )


class LineCounter(Explorer):
    """What happens to the lines when one number of the memory is held still?"""

    title = "The line counter"
    question = "how long will its lines be if the network always believes that a line has only begun?"
    presets = {  # noqa: RUF012
        "free": {"way": "free", "position": 20},
        "always at the beginning": {"way": "the counter held", "position": 2},
        "always at the end": {"way": "the counter held", "position": 45},
        "another number held": {"way": "another number held", "position": 45},
    }

    units = 421, 144  # one of the 768 numbers that counts (the other is 284), and one that doesn't

    def __init__(self):
        self.model, self.vocab = pretrained.load_model("shakespeare_lstm")
        ids, _, cells = write_on(self.model, self.vocab, "\n", 1500, 0.8, seed=0)
        verses = "".join(self.vocab.decode(ids))[:-1]  # the last letter was written, but not read
        self.believes = [self.by_position(verses, cells[1:, unit].numpy()) for unit in self.units]
        super().__init__(
            way=widgets.ToggleButtons(options=["free", "the counter held", "another number held"], description="way"),
            position=widgets.IntSlider(20, min=0, max=50, description="held at what it is after"),
            seed=widgets.IntSlider(1, min=1, max=9, description="seed"),
        )

    @staticmethod
    def by_position(passage, values, longest=50):
        """Return the mean of a unit after each number of characters since the line began, (longest + 1,)."""
        places, since = [], -1
        for character in passage:
            since = 0 if character == "\n" else since + 1
            places.append(since)
        places = np.array(places)
        means = [values[places == k].mean() if (places == k).any() else np.nan for k in range(longest + 1)]
        known = [k for k, mean in enumerate(means) if not np.isnan(mean)]
        return np.interp(range(longest + 1), known, np.array(means)[known])

    def settings(self):
        """One seed, five places in a line: a picture is a page of letters."""
        return super().settings() | {"position": [2, 10, 20, 30, 45], "seed": [1]}

    def measure(self, way, position, seed):
        """Return the verses, the unit's value at each letter, and the mean length of the verses."""
        number = 1 if way == "another number held" else 0
        hold = [] if way == "free" else [(self.units[number], float(self.believes[number][position]))]
        ids, _, cells = write_on(self.model, self.vocab, "\n", 400, 0.8, seed, hold)
        written = self.vocab.decode(ids)
        verses = [verse for verse in "".join(written).split("\n")[:-1] if verse] or ["".join(written)]
        return {
            "way": way,
            "position": position,
            "written": written,
            "unit": cells[:, self.units[0]].numpy(),
            "length": float(np.mean([len(verse) for verse in verses])),
            "verses": len(verses),
        }

    def draw(self, data):
        """The verses, coloured by the counter; below, what it says by position in a line."""
        fig, (page, curve) = plots.stacked_axes(5.0, [3.2, 1.0], left=0.09, right=0.985, bottom=0.1, hspace=0.3)
        _draw_page(page, data["written"], data["unit"], "PuOr", (-3.5, 3.5))
        page.set_title(f"{data['way']}: lines of {data['length']:.0f} characters", fontsize=10)
        curve.plot(self.believes[0], "-", color=plots.BLUE, label=f"number {self.units[0]}, the counter")
        curve.plot(self.believes[1], "--", color=plots.GREY, label=f"number {self.units[1]}")
        if data["way"] != "free":
            curve.axvline(data["position"], color=plots.ORANGE, linestyle=":")
        curve.set(xlabel="characters since the line began", ylabel="mean value", ylim=(-2.8, 2.8), yticks=[-2, 0, 2])
        curve.legend(loc="upper left", ncols=2, fontsize=9)
        return fig

    def describe(self, data):
        """Say how long the verses have become."""
        held = "" if data["way"] == "free" else f" at its value after {data['position']} characters"
        return f"{data['way']}{held}: {data['verses']} whole lines of {data['length']:.0f} characters in the mean."


def _draw_page(axes, characters, values, colours, limits, framed=None, columns=76, rows=9):
    """Write a text with its line ends, each character on a ground that shows its value; NaN leaves the ground white.

    Args:
        axes: where.
        characters: list of one-character tokens; what doesn't fit is left out.
        values: one number for each, (T,).
        colours: name of a colour map, and ``limits`` the values of its two ends.
        framed: number of a character to frame.
        columns, rows: of the page.
    """
    grid, places, shown, row, column = np.full((rows, columns), np.nan), [], [], 0, 0
    for number, (character, value) in enumerate(zip(characters, values, strict=True)):
        if character != "\n" and column == columns:
            row, column = row + 1, 0
        if row == rows:
            break
        grid[row, column if column < columns else columns - 1] = value
        places.append((column, row))
        shown.append("" if character == " " else character if character != "\n" else "⏎")
        if number == framed:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, color=plots.INK, zorder=3))
        row, column = (row + 1, 0) if character == "\n" else (row, column + 1)
    axes.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.axis("off")
    drawn = [(place, token) for place, token in zip(places, shown, strict=True) if token]
    lettering.write_letters(axes, [place for place, _ in drawn], [token for _, token in drawn], size=9)


EXPLORERS = (Voice, LineCounter)
