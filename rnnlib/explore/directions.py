"""Explorers of chapter 6: where a language model leaks, who sees what, and where a word ends."""

import textwrap

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import LogNorm
from torch import nn

from rnnlib import directions, guards, lettering, plots, scratch, text
from rnnlib.explore.frame import Explorer
from rnnlib.guards import check_drawable_numbers

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


class LeakDetector(Explorer):
    """At which positions is a language model good, and at which does it only copy?

    Args:
        ahead, both: a language model that reads forward, and one that reads in both directions.
        vocab: their vocabulary.
        ids: held-out text, a 1-D tensor.
        num_steps: the length of a window, as in training.
        prefix: the text that both models write on from.
        num_tokens: characters that they write.
    """

    title = "Leak detector"
    question = "a held-out perplexity near 1: a great model, at every position?"
    presets = {  # noqa: RUF012
        "first": {"position": 1},
        "last": {"position": 35},
        "last, elsewhere": {"position": 35, "passage": 7},
    }

    def __init__(self, ahead, both, vocab, ids, num_steps=35, prefix="the time traveller ", num_tokens=150):
        vocab = text.as_vocab(vocab)
        guards.check_language_models(ahead=ahead, both=both)
        guards.check_sizes(num_steps=num_steps)
        guards.check_whole_numbers(ids, "of a text", "give vocab[tokens]")
        guards.check_length(ids, num_steps)
        for model in (ahead, both):
            guards.check_vocab(model, vocab)
        self.models, self.vocab, self.ids, self.num_steps = {"forward": ahead, "both": both}, vocab, ids, num_steps
        batches = text.random_batches(ids, min(32, (len(ids) - 1) // num_steps), num_steps, offset=0)
        self.curves, self.written = {}, {}
        for name, model in self.models.items():
            self.curves[name] = directions.perplexity_by_position(model, batches)  # (T,)
            self.written[name] = directions.reread_and_write(model, vocab, prefix, num_tokens, num_steps, seed=1)
        super().__init__(
            position=widgets.IntSlider(num_steps // 2, min=1, max=num_steps, description="position in the window"),
            passage=widgets.IntSlider(0, min=0, max=min(20, (len(ids) - 1) // num_steps - 1), description="passage"),
        )

    @classmethod
    def default_arguments(cls):
        """Untrained models are enough to move the controls."""
        vocab = text.Vocab("the time traveller abcdfghijkmnopqsuwxyz ")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            ahead, left, right = (scratch.ScratchRNN(len(vocab), 6, sigma=0.5) for _ in range(3))
        ids = torch.arange(400) ** 2 % len(vocab)
        return {
            "ahead": ahead,
            "both": directions.Bidirectional(left, right),
            "vocab": vocab,
            "ids": ids,
            "num_tokens": 20,
        }

    @torch.no_grad()
    def measure(self, position, passage):
        """Return both curves, and what the models say of each next character of a passage.

        Args:
            position: in the window, 1 to T.
            passage: the number of the window in the held-out text.
        """
        start = passage * self.num_steps
        window = self.ids[start : start + self.num_steps + 1]  # (T + 1,)
        likely, guesses = {}, {}
        for name, model in self.models.items():
            device = next(model.parameters()).device
            logits, _ = model(window[None, :-1].to(device))  # (T, V)
            p = torch.softmax(logits, dim=1).cpu()
            likely[name] = p.gather(1, window[1:, None].cpu()).squeeze(1)  # (T,)
            guesses[name] = self.vocab.tokens[int(p[position - 1].argmax())]
        return {
            "position": position,
            "curves": self.curves,
            "characters": self.vocab.decode(window),
            "likely": likely,
            "guesses": guesses,
            "written": self.written,
        }

    def draw(self, data):
        """Perplexity by position, the probability of each next character of the passage, and both models' texts."""
        fig, (curve, bars, page) = plots.stacked_axes(5.6, [3, 2.2, 1.3], left=0.085, hspace=0.42)
        steps, position = np.arange(1, self.num_steps + 1), data["position"]
        styles = {"forward": (plots.BLUE, "o-"), "both": (plots.ORANGE, "s--")}
        for shift, (name, (color, line)) in zip((-0.2, 0.2), styles.items(), strict=True):
            curve.plot(steps, data["curves"][name], line, color=color, markersize=4, label=name)
            plots.narrow_bars(bars, steps + shift, data["likely"][name], color=color)
        for axes in (curve, bars):
            axes.axvspan(position - 0.5, position + 0.5, color=plots.YELLOW, alpha=0.25, linewidth=0)
            axes.set_xlim(0, self.num_steps + 1)
        plots.perplexity_axis(curve, highest=max(float(values.max()) for values in data["curves"].values()))
        means = {name: float(values.log().mean().exp()) for name, values in data["curves"].items()}
        curve.set_title(
            f"held-out perplexity by position; averaged: forward {means['forward']:.2f}, both {means['both']:.2f}",
            fontsize=10,
        )
        curve.legend(loc="center left", bbox_to_anchor=(0.0, 0.4))
        bars.set_ylim(0, 1.05)
        bars.set_ylabel("p (true)")
        mono = "DejaVu Sans Mono"
        names = [lettering.token_label(token, mono) for token in data["characters"][1:]]
        bars.set_xticks(steps, names, family=lettering.font_families(mono))
        bars.tick_params(axis="x", length=0)
        bars.get_xticklabels()[position - 1].set_fontweight("bold")
        bars.set_title("probability given to the true next character, which stands below", fontsize=10)
        page.axis("off")
        for place, (name, written) in zip((1.1, 0.5), data["written"].items(), strict=True):
            lines = textwrap.wrap(written, 73)[:2]
            page.text(0, place, f"{name} writes", fontsize=9, color=styles[name][0], va="top")
            written = lettering.literal_text("\n".join(lines), mono)
            page.text(0.155, place, written, family=lettering.font_families(mono), fontsize=8.5, va="top")
        return fig

    def describe(self, data):
        """Say what both models know at this position."""
        position, T = data["position"], len(data["likely"]["both"])
        known, answer = "".join(data["characters"][:position])[-12:], data["characters"][position]
        by_name = [
            f"{name} gives it {float(data['likely'][name][position - 1]):.2f}, likeliest “{data['guesses'][name]}”"
            for name in ("forward", "both")
        ]
        curve = data["curves"]["both"]
        return (
            f"position {position} of {T}, after “…{known}” comes “{answer}”: {'; '.join(by_name)}. "
            f"Perplexity of both here {float(curve[position - 1]):.2f}, at the last position {float(curve[-1]):.2f}."
        )


class WhoSeesWhat(Explorer):
    """Which characters does an output, or a read-out, depend on? Measured by autograd in a network that is untrained.

    Args:
        characters: a short text.
        num_hiddens: H of each direction.
        seed: of the weights.
    """

    title = "Who sees what"
    question = "which characters does output[:, -1] depend on, in its forward and in its backward half?"
    presets = {  # noqa: RUF012
        "the leak": {"half": "both", "layers": 1},
        "the popular mistake": {"layers": 1, "read_out": "output[:, -1]"},
        "the right read-out": {"layers": 1, "read_out": "h_n[-2], h_n[-1]"},
        "two layers": {"half": "forward [:H]", "layers": 2, "read_out": "output[:, -1]"},
    }
    halves = ("forward [:H]", "backward [H:]", "both")
    read_outs = ("output[:, -1]", "output[:, 0]", "h_n[-2], h_n[-1]")

    def __init__(self, characters="time machine", num_hiddens=4, seed=0):
        guards.check_text(characters=characters)
        guards.check_sizes(num_hiddens=num_hiddens)
        guards.check_seed(seed)
        self.characters, self.num_hiddens, self.seed = characters, num_hiddens, seed
        super().__init__(
            half=widgets.ToggleButtons(options=self.halves, value="both", description="half of the output"),
            layers=widgets.ToggleButtons(options=[1, 2], value=1, description="layers"),
            read_out=widgets.ToggleButtons(options=self.read_outs, description="read-out"),
        )

    def measure(self, half, layers, read_out):
        """Return the (T, T) dependencies of all outputs, and those of each half of the read-out, (2, T).

        Raises:
            ValueError: for a half or a read-out that is not in the lists.
        """
        for name, value, known in (("half", half, self.halves), ("read_out", read_out, self.read_outs)):
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known: use one of {', '.join(map(repr, known))}")
        H = self.num_hiddens
        vocab = text.Vocab(self.characters)
        X = torch.eye(len(vocab), dtype=torch.float64)[vocab[list(self.characters)]]  # (T, V)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            layer = nn.RNN(len(vocab), H, layers, bidirectional=True, dtype=torch.float64)

        def halves(X):
            return layer(X[:, None])[0].reshape(-1, 2, H)  # (T, 2, H)

        first = directions.dependencies(lambda X: halves(X)[:, 0], X)  # (T, T)
        last = directions.dependencies(lambda X: halves(X)[:, 1], X)  # (T, T)
        ahead, back = {"output[:, -1]": (-1, -1), "output[:, 0]": (0, 0), "h_n[-2], h_n[-1]": (-1, 0)}[read_out]
        chosen = {"forward [:H]": first, "backward [H:]": last, "both": (first**2 + last**2).sqrt()}[half]
        return {
            "half": half,
            "layers": layers,
            "read_out": read_out,
            "matrix": chosen.numpy(),  # (T, T)
            "strip": torch.stack([first[ahead], last[back]]).numpy(),  # (2, T)
        }

    def draw(self, data):
        """The matrix with the next characters marked, and under it the two halves of the read-out."""
        fig, (axes, strip) = plots.stacked_axes(5.4, [5, 1.1], left=0.17, right=0.98, hspace=0.25)
        T = len(self.characters)
        norm = LogNorm(1e-4, 1.0, clip=True)
        for place, values in ((axes, data["matrix"]), (strip, data["strip"])):
            image = place.imshow(np.ma.masked_equal(values, 0), cmap="cividis_r", norm=norm, aspect="auto")
            place.vlines(np.arange(T + 1) - 0.5, -0.5, len(values) - 0.5, "#DDDDDD", linewidth=0.6)
            place.hlines(np.arange(len(values) + 1) - 0.5, -0.5, T - 0.5, "#DDDDDD", linewidth=0.6)
            place.spines[:].set_visible(False)
            place.tick_params(length=0)
            lettering.letters_below(place, self.characters)
        mono = "DejaVu Sans Mono"
        names = [lettering.token_label(character, mono) for character in self.characters]
        axes.set_yticks(range(T), names, family=lettering.font_families(mono))
        axes.plot(np.arange(1, T), np.arange(T - 1), "s", markersize=9, fillstyle="none", color=plots.ORANGE)
        axes.set_ylabel("output at")
        axes.set_title(f"{data['half']}, layers: {data['layers']}; the squares mark the next character", fontsize=10)
        strip.set_yticks(range(2), ["forward half", "backward half"])
        strip.set_title(data["read_out"], fontsize=10, family="monospace")
        fig.colorbar(image, ax=[axes, strip], aspect=30, label="norm of the derivatives (white: exactly 0)")
        return fig

    def describe(self, data):
        """Count the characters that the read-out depends on, and say whether the next character is among them."""
        T = len(self.characters)
        ahead, back = ((row > 0).sum() for row in data["strip"])
        leaks = (np.diagonal(data["matrix"], offset=1) > 0).sum()
        return (
            f"{data['read_out']}: its forward half depends on {ahead} of {T} characters, its backward half on {back}. "
            f"In the matrix ({data['half']}, layers: {data['layers']}) {leaks} of {T - 1} outputs depend on the "
            "character that comes next."
        )


def _votes(splitter, states):
    """Split the logit of a word's end into the forward and the backward vote, (T, 2).

    states: (T, 2H). With half of the bias in each, the sum of the votes is the logit.
    """
    halves = states.unflatten(-1, (2, -1))  # (T, 2, H)
    weights = splitter.readout.weight.reshape(2, -1)  # (2, H)
    return (halves * weights).sum(-1) + splitter.readout.bias / 2


class WordEnds(Explorer):
    """How much of the future must one see to know where a word ends? Type a text; its spaces are taken away.

    Args:
        ahead, both, deep: three :class:`rnnlib.directions.WordSplitter`: forward only, both directions in one layer,
            and both directions in several layers.
        vocab: their vocabulary of letters.
        sentence: the text to begin with.
    """

    title = "The ends of words"
    question = "how many letters of the future does it take to cut your sentence right?"
    presets = {  # noqa: RUF012
        "no future": {"future": 0},
        "one letter": {"future": 1},
        "three letters": {"future": 3},
        "all of it": {"future": 60},
    }
    longest = 60

    def __init__(self, ahead, both, deep, vocab, sentence="the time traveller smiled round at us"):
        vocab = text.as_vocab(vocab)
        guards.check_letter_models(ahead=ahead, both=both, deep=deep)
        guards.check_text(sentence=sentence)
        self.splitters, self.vocab = {"forward only": ahead, "both": both, "both, deep": deep}, vocab
        super().__init__(
            sentence=widgets.Text(sentence, description="text", continuous_update=False),
            future=widgets.SelectionSlider(
                options=[*((str(n), n) for n in (0, 1, 2, 3, 4, 6, 8, 12)), ("all", self.longest)],
                value=self.longest,
                description="letters of the future",
            ),
        )

    @classmethod
    def default_arguments(cls):
        """Untrained splitters are enough to move the controls."""
        vocab = text.Vocab(ALPHABET)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = (
                nn.LSTM(26 + 1, 4),
                nn.LSTM(26 + 1, 4, bidirectional=True),
                nn.LSTM(26 + 1, 4, 2, bidirectional=True),
            )
            ahead, both, deep = (directions.WordSplitter(layer) for layer in layers)
        return {"ahead": ahead, "both": both, "deep": deep, "vocab": vocab}

    def letters(self, sentence):
        """Return the letters of a sentence without its spaces, and where its words end.

        Raises:
            ValueError: for a sentence with too few or too many letters.
        """
        letters, ends = directions.hide_spaces(text.clean(sentence) or " ")
        if not 2 <= len(letters) <= self.longest:
            raise ValueError(f"the text has {len(letters)} letters: give it 2 to {self.longest}")
        return letters, ends

    @torch.inference_mode()
    def measure(self, sentence, future):
        """Return the letters, the true ends, those that each model finds, and the two votes on each letter.

        Args:
            sentence: a text; only its letters are shown to the models.
            future: how many letters ahead they may look.
        """
        letters, ends = self.letters(sentence)
        ids = torch.tensor(self.vocab[list(letters)])
        guesses, states = {}, {}
        for name, splitter in self.splitters.items():
            on_device = ids.to(splitter.readout.weight.device)
            states[name] = directions.states_with_lookahead(splitter, on_device, future, self.longest)  # (T, width)
            check_drawable_numbers(f"what “{name}” says", states[name])
            guesses[name] = (splitter.readout(states[name]).squeeze(1) > 0).int().tolist()
        return {
            "letters": letters,
            "ends": ends,
            "guesses": guesses,
            "votes": _votes(self.splitters["both"], states["both"]).cpu().numpy(),  # (T, 2)
            "future": future,
            "found": {name: directions.words_found(guess, ends) for name, guess in guesses.items()},
        }

    def draw(self, data):
        """The true words and those found, as bars over the letters; under them the two votes on each letter."""
        fig, (words, ballot) = plots.stacked_axes(4.8, [2.4, 3], left=0.135, bottom=0.1, hspace=0.32)
        self._draw_words(words, data)
        T, places = len(data["letters"]), np.arange(len(data["letters"]))
        ahead, back = data["votes"].T
        plots.narrow_bars(ballot, places - 0.2, ahead, color=plots.BLUE, label="forward vote")
        plots.narrow_bars(ballot, places + 0.2, back, color=plots.ORANGE, label="backward vote")
        ballot.plot(places, ahead + back, "o", color=plots.INK, markersize=4, label="sum, above 0: a word ends")
        ballot.axhline(0, color=plots.INK, linewidth=0.8)
        ballot.set_xticks([])
        ballot.set_ylabel("logit")
        ballot.set_title("one layer, both directions: two votes for each letter, and their sum", fontsize=10)
        ballot.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.02))
        ends = np.flatnonzero(data["ends"])[:-1] + 0.5
        for axes in (words, ballot):
            axes.vlines(ends, 0, 1, plots.GREY, ":", linewidth=0.8, zorder=0, transform=axes.get_xaxis_transform())
            axes.set_xlim(-0.8, T - 0.2)
        return fig

    def _draw_words(self, axes, data):
        true = directions.word_spans(data["ends"])
        rows = {"true words": data["ends"], **data["guesses"]}
        for height, (name, ends) in enumerate(rows.items()):
            spans = directions.word_spans(ends)
            right = plots.GREY if name == "true words" else plots.GREEN
            for found, style in (
                (spans & true, {"facecolor": right}),
                (spans - true, {"hatch": "////", "facecolor": "white"}),
            ):
                pieces = [(first - 0.4, last - first + 0.8) for first, last in found]
                axes.broken_barh(
                    pieces, (-height - 0.3, 0.6), edgecolor=right if found <= true else plots.ORANGE, **style
                )
        axes.set_yticks([0, -1, -2, -3], list(rows))
        mono = "DejaVu Sans Mono"
        names = [lettering.token_label(letter, mono) for letter in data["letters"]]
        axes.set_xticks(range(len(names)), names, family=lettering.font_families(mono))
        axes.tick_params(axis="both", length=0, labelbottom=True, labelsize=10 if len(data["letters"]) <= 45 else 9)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_title(f"{self._view(data)}; green: a word found whole, hatched: a wrong piece", fontsize=10)

    @staticmethod
    def _view(data):
        seen = data["future"]
        return "all letters ahead" if seen >= len(data["letters"]) - 1 else f"{seen} letter{'s' * (seen != 1)} ahead"

    def describe(self, data):
        """Say which share of the words each model finds, and write out what the deep one reads."""
        found = ", ".join(f"{name} {share:.0%}" for name, share in data["found"].items())
        return (
            f"{self._view(data)}, words found: {found}; the deep one reads "
            f"“{directions.put_spaces(data['letters'], data['guesses']['both, deep'])}”."
        )


EXPLORERS = (LeakDetector, WhoSeesWhat, WordEnds)
