"""Explorers of chapter 5: gates at work, the half-life of a forget bias, and how far back three cells look."""

import copy

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import gates, guards, layers, lettering, plots, text
from rnnlib.explore import frames
from rnnlib.explore.frame import Explorer, typed
from rnnlib.guards import check_drawable_numbers


def _read_inputs(model, ids):
    """Return what the recurrent layer of a :class:`rnnlib.layers.LanguageModel` reads for ids (N, T): (T, N, D)."""
    if model.embedding is None:
        return text.one_hot(ids, model.vocab_size, model.linear.weight.dtype)
    return model.embedding(ids.T)


def _untrained(layer_class, vocab):
    """Return an untrained language model with 12 hidden units: enough to move an explorer's controls."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return layers.LanguageModel(layer_class(len(vocab), 12), len(vocab)).eval()


@torch.no_grad()
def page_network(model, vocab):
    """Return a language model of one plain layer for pages, its gates in the order in which PyTorch keeps them."""
    model.eval()
    letters = torch.arange(len(vocab), device=model.linear.weight.device)
    arrays = {"E": _read_inputs(model, letters[None])[:, 0], "W_hq": model.linear.weight.T, "b_q": model.linear.bias}
    packed = {name: frames.compact(W) for name, W in arrays.items()} | frames.by_gate(model.rnn)
    return {"tokens": vocab.decode(letters), "kind": model.rnn.mode} | packed


class GateConsole(Explorer):
    """What do the gates of an LSTM do while it reads, and what happens when they are held fast?

    Args:
        model: a :class:`rnnlib.layers.LanguageModel` on an ``nn.LSTM`` with one layer.
        vocab: its vocabulary.
        characters: the text to begin with.
    """

    title = "Gate console (a clamp holds the gates of all units from the middle of the text on)"
    question = "hold the forget gate at 1 and the input gate at 0: what does the memory cell do?"
    clamps = {  # noqa: RUF012
        "none": {},
        "hold: f = 1, i = 0": {"f": 1.0, "i": 0.0},
        "erase: f = 0": {"f": 0.0},
        "only add: f = 1": {"f": 1.0},
        "write nothing: i = 0": {"i": 0.0},
        "hide: o = 0": {"o": 0.0},
    }
    presets = {  # noqa: RUF012
        "free": {"clamp": "none"},
        "hold": {"clamp": "hold: f = 1, i = 0"},
        "erase": {"clamp": "erase: f = 0"},
        "hide": {"clamp": "hide: o = 0"},
    }
    longest = 60
    most_settings = 800  # pages compute, and nothing is drawn beforehand

    def __init__(self, model, vocab, characters="the time traveller smiled and looked round at us"):
        vocab = text.as_vocab(vocab)
        guards.check_vocab(model, vocab)
        guards.check_text(characters=characters)
        layer = model.rnn
        if not isinstance(layer, nn.LSTM) or layer.num_layers > 1 or layer.bidirectional:
            raise ValueError(
                f"{layer} can't be shown here: the model must have an nn.LSTM with one layer, one direction"
            )
        guards.check_vocab(model, vocab)
        self.model, self.vocab = model, vocab
        super().__init__(
            characters=widgets.Text(characters, description="text", continuous_update=False),
            unit=widgets.IntSlider(0, min=0, max=layer.hidden_size - 1, description="unit"),
            clamp=widgets.ToggleButtons(options=list(self.clamps), description="clamp"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained model is enough to move the controls."""
        vocab = text.Vocab(" abcdefghijklmnopqrstuvwxyz")
        return {"model": _untrained(nn.LSTM, vocab), "vocab": vocab}

    def on_page(self):
        """Return a twin whose network has the numbers that its page carries."""
        twin = copy.copy(self)
        twin.model = frames.rounded(self.model)
        return twin

    def assets(self):
        """The network itself, so that a reader of the page may type."""
        return {"reads": "GateConsole", "network": page_network(self.model, self.vocab)}

    def measure(self, characters, unit, clamp):
        """Return the traces of one unit with and without the clamp, and what each character costs in bits.

        Raises:
            ValueError: for a text of fewer than 4 or more than 60 characters, or with some that are unknown even when
                it is cleaned, or for an unknown clamp.
        """
        characters = typed(self.vocab, characters)
        if not 4 <= len(characters) <= self.longest:
            raise ValueError(f"the text has {len(characters)} characters: give it 4 to {self.longest}")
        if clamp not in self.clamps:
            raise ValueError(f"clamp={clamp!r} is not known: use one of {', '.join(self.clamps)}")
        start = len(characters) // 2
        free, free_bits = self._read(characters, {}, start)
        traces, bits = self._read(characters, self.clamps[clamp], start)
        return {
            "characters": characters,
            "unit": unit,
            "clamp": clamp,
            "start": start,
            "traces": {name: values[:, unit] for name, values in traces.items()},
            "free": {name: values[:, unit] for name, values in free.items()},
            "bits": bits,
            "free_bits": free_bits,
        }

    @torch.no_grad()
    def _read(self, characters, held, start):
        """Read a text, holding gates at fixed values from a step on; return all traces (T, H), and bits (T,)."""
        self.model.eval()
        like = self.model.linear.weight
        ids = torch.tensor([self.vocab[list(characters)]], device=like.device)  # (1, T)
        params = gates.from_torch(self.model.rnn)
        H = C = like.new_zeros(1, self.model.rnn.hidden_size)
        steps = {name: [] for name in "fioch"}
        for t, X in enumerate(_read_inputs(self.model, ids)):
            values = dict(zip("ifgo", gates.lstm_gates(X, H, params), strict=True))
            if t >= start:
                values.update({name: torch.full_like(H, value) for name, value in held.items()})
            C = values["f"] * C + values["i"] * values["g"]  # (1, H)
            H = values["o"] * torch.tanh(C)  # (1, H)
            for name, value in {**values, "c": C, "h": H}.items():
                if name in steps:
                    steps[name].append(value)
        traces = {name: torch.cat(values).cpu().numpy() for name, values in steps.items()}
        logits = self.model.linear(torch.cat(steps["h"]))  # (T, V)
        check_drawable_numbers("what the model says", logits)
        nats = F.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")  # (T - 1,)
        return traces, np.concatenate([[np.nan], (nats / np.log(2)).cpu().numpy()])

    def draw(self, data):
        """Gates, memory and surprise, one under the other, aligned with the text."""
        fig, (gates, memory_axes, surprise) = plots.stacked_axes(6.0, [3, 3, 2], left=0.095, right=0.775, hspace=0.22)
        x = np.arange(len(data["characters"]))
        for name, color, dash, label in (
            ("f", plots.BLUE, "-", "f, forget"),
            ("i", plots.ORANGE, "--", "i, input"),
            ("o", plots.GREEN, ":", "o, output"),
        ):
            gates.plot(x, data["traces"][name], dash, color=color, label=label)
        gates.set_ylim(-0.05, 1.05)
        gates.set_yticks([0, 0.5, 1])
        gates.set_ylabel("gates")
        memory_axes.plot(x, data["free"]["c"], color=plots.GREY, linewidth=1, label="c, not clamped")
        memory_axes.plot(x, data["traces"]["c"], color=plots.INK, label="c, memory cell")
        memory_axes.plot(x, data["traces"]["h"], "--", color=plots.PINK, label="h, hidden state")
        memory_axes.axhline(0, color=plots.GREY, linewidth=0.6)
        memory_axes.set_ylabel("memory")
        plots.narrow_bars(surprise, x - 0.2, data["free_bits"], color=plots.SKY, label="not clamped")
        plots.narrow_bars(surprise, x + 0.2, data["bits"], color=plots.ORANGE, label="clamped")
        surprise.set_ylim(bottom=0)
        surprise.set_ylabel("bits")
        for axes in (gates, memory_axes, surprise):
            lettering.letters_below(axes, data["characters"], size=9)
            axes.yaxis.set_label_coords(-0.1, 0.5)
            axes.set_xlim(-0.6, len(x) - 0.4)
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            if data["clamp"] != "none":
                axes.axvline(data["start"] - 0.5, color=plots.GREY, linewidth=0.9, linestyle=":")
        gates.set_title(f"unit {data['unit']}, clamp: {data['clamp']}")
        return fig

    def describe(self, data):
        """Say what the cell does in the second half, and what the clamp costs."""
        start, c = data["start"], data["traces"]["c"]
        free, clamped = np.nanmean(data["free_bits"][start + 1 :]), np.nanmean(data["bits"][start + 1 :])
        change = np.abs(np.diff(c[start - 1 :])).max()
        sentence = (
            f"unit {data['unit']}: from the middle on its memory cell moves by at most {change:.3f} in one step, "
            f"from {c[start - 1]:.2f} to {c[-1]:.2f}"
        )
        if data["clamp"] == "none":
            return f"{sentence}; a character of the second half costs {free:.2f} bits."
        return f"{sentence}; a character of the second half costs {clamped:.2f} bits instead of {free:.2f}."


class ForgetBiasHalfLife(Explorer):
    """How long does an LSTM remember when its forget gate starts with a given bias, and what is that good for?

    Args:
        recall: measured success: ``{cell: {delay: [share right, one for each seed]}}``.
        chance: the share of right answers by guessing.
    """

    title = "Half-life of a forget bias"
    question = "which bias keeps half of the memory over a delay of 20?"
    presets = {  # noqa: RUF012
        "bias 0": {"bias": 0.0, "delay": 20},
        "bias 1, the usual advice": {"bias": 1.0, "delay": 20},
        "bias 3": {"bias": 3.0, "delay": 20},
        "bias 5 for a long delay": {"bias": 5.0, "delay": 100},
    }
    looks = {  # noqa: RUF012
        "RNN": (plots.GREY, "x", ":"),
        "GRU": (plots.GREEN, "s", "-."),
        "LSTM, b = 0": (plots.SKY, "v", "--"),
        "LSTM, b = 1": (plots.BLUE, "o", "-"),
        "LSTM, b = 3": (plots.ORANGE, "^", "-"),
    }

    ticks = (1, 2, 5, 10, 20, 40, 80, 160)

    def __init__(self, recall, chance=0.25):
        guards.check_named(recall=recall)
        guards.check_shares(chance=chance)
        self.recall, self.chance = recall, chance
        super().__init__(
            bias=widgets.FloatSlider(1.0, min=-1.0, max=5.0, step=0.1, description="forget bias b"),
            delay=widgets.IntSlider(20, min=1, max=160, description="delay, steps"),
        )

    @classmethod
    def default_arguments(cls):
        """Two cells and two delays are enough to move the controls."""
        return {"recall": {"RNN": {10: [1.0, 0.9], 80: [0.3, 0.2]}, "LSTM, b = 1": {10: [1.0, 1.0], 80: [0.2, 0.4]}}}

    def measure(self, bias, delay):
        """Return the gate's value, its half-life in steps, what is left after each step, and the recorded recall."""
        gate = float(torch.sigmoid(torch.tensor(bias, dtype=torch.float64)))
        steps = np.geomspace(0.4, 180, 200)
        return {
            "bias": bias,
            "delay": delay,
            "gate": gate,
            "half_life": gates.half_life(bias),
            "steps": steps,
            "left": gate**steps,
            "left_at_delay": gate**delay,
        }

    def draw(self, data):
        """What is left of the cell by step, and beside it who learned to recall over which delay."""
        fig, (decay, success) = plots.new_figure(height=4.0, columns=2, sharey=True)
        decay.plot(data["steps"], data["left"], color=plots.BLUE)
        decay.plot([data["half_life"]], [0.5], "o", color=plots.ORANGE, markersize=8)
        decay.set_xlabel("steps (log)")
        decay.set_ylabel("share")
        decay.set_title(f"b = {data['bias']:.1f}: left of the cell, half-life {data['half_life']:.1f}")
        for cell, (color, marker, dash) in self.looks.items():
            if cell in self.recall:
                delays = sorted(self.recall[cell])
                means = [np.mean(self.recall[cell][delay]) for delay in delays]
                success.plot(delays, means, dash, marker=marker, color=color, label=cell, markersize=5)
        success.axhline(self.chance, color=plots.GREY, linewidth=0.6, label="guessing")
        success.set_xlabel("delay, steps (log)")
        success.set_title("trained: recalled after a delay")
        for axes in (decay, success):
            axes.axvline(data["delay"], color=plots.GREY, linewidth=0.9, linestyle=":")
            axes.set_xscale("log")
            axes.set_xlim(0.4, 180)
            axes.set_xticks(self.ticks, [str(tick) for tick in self.ticks])
            axes.minorticks_off()
        decay.set_ylim(-0.03, 1.05)
        fig.legend(*success.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
        return fig

    def describe(self, data):
        """Say what is left after the delay, before any training."""
        return (
            f"b = {data['bias']:.1f}: the forget gate starts at {data['gate']:.3f}, half of the cell is gone after "
            f"{data['half_life']:.1f} steps, and after {data['delay']} steps {data['left_at_delay']:.2g} of it is left."
        )


def _influence(model, ids, position):
    """Measure which of the tokens before a position its prediction depends on.

    Args:
        model: a :class:`rnnlib.layers.LanguageModel`.
        ids: token ids (T,).
        position: the token to predict, from the ones before it.

    Returns:
        The norms of the gradient of log p(token) with respect to the input of each earlier step, (position,), and p.
    """
    model.eval()
    inputs = _read_inputs(model, ids[None, :position]).detach().requires_grad_()  # (position, 1, D)
    output, _ = model.rnn(inputs)  # (position, 1, H)
    log_p = F.log_softmax(model.linear(output[-1, 0]), dim=0)[ids[position]]
    (gradient,) = torch.autograd.grad(log_p, inputs)
    return gradient.norm(dim=2)[:, 0].cpu().numpy(), float(log_p.detach().exp())


class Connectivity(Explorer):
    """Which characters does a prediction depend on? The same text through several trained networks.

    Args:
        models: dict of :class:`rnnlib.layers.LanguageModel` by name.
        vocab: their vocabulary.
        characters: the text to begin with.
    """

    title = "Connectivity"
    question = "which network looks furthest back?"

    def __init__(self, models, vocab, characters="the time traveller for so it will be convenient to speak of him"):
        vocab = text.as_vocab(vocab)
        guards.check_named(models=models)
        guards.check_text(characters=characters)
        for model in models.values():
            guards.check_vocab(model, vocab)
        if len(characters) < 4:
            raise ValueError(f"characters={characters!r} are too few: give a text of at least 4")
        self.models, self.vocab = models, vocab
        super().__init__(
            characters=widgets.Text(characters, description="text", continuous_update=False),
            position=widgets.IntSlider(
                len(characters) // 2, min=2, max=len(characters) - 1, description="character to predict"
            ),
        )

    @classmethod
    def default_arguments(cls):
        """Untrained models are enough to move the controls."""
        vocab = text.Vocab(" abcdefghijklmnopqrstuvwxyz")
        layers = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
        return {"models": {name: _untrained(layer, vocab) for name, layer in layers.items()}, "vocab": vocab}

    def on_page(self):
        """Return a twin whose networks have the numbers that its page carries."""
        twin = copy.copy(self)
        twin.models = {name: frames.rounded(model) for name, model in self.models.items()}
        return twin

    def assets(self):
        """The networks themselves, where they have one plain layer, so that a reader of the page may type."""
        if not all(self.readable(model.rnn) for model in self.models.values()):
            return {}
        networks = {name: page_network(model, self.vocab) for name, model in self.models.items()}
        return {"reads": "Connectivity", "networks": networks}

    @staticmethod
    def readable(layer):
        """Tell whether a page can read with a layer."""
        return layer.mode in ("RNN_TANH", "GRU", "LSTM") and layer.num_layers == 1 and not layer.bidirectional

    def measure(self, characters, position):
        """Return, for each network, each earlier character's share of the gradient and the prediction's probability.

        ``reach`` is the number of last characters that hold 90 % of the gradient.

        Raises:
            ValueError: for a text with characters that are unknown even when it is cleaned, or one that ends before the
                position.
        """
        characters = typed(self.vocab, characters)
        if not 1 <= position < len(characters):
            raise ValueError(
                f"a text of {len(characters)} characters ends before character {position}: type more or move left"
            )
        ids = torch.tensor(self.vocab[list(characters)])
        rows = {}
        for name, model in self.models.items():
            norms, p = _influence(model, ids.to(model.linear.weight.device), position)
            check_drawable_numbers(f"the gradient of {name}", norms)
            share = norms / max(norms.sum(), 1e-300)
            rows[name] = {"share": share, "p": p, "reach": _reach(share)}
        return {"characters": characters, "position": position, "rows": rows}

    def draw(self, data):
        """One row of the text for each network, each character tinted by its share of the gradient."""
        characters, position = data["characters"], data["position"]
        fig, axes = plots.new_figure(height=1.0 + len(data["rows"]), rows=len(data["rows"]), squeeze=False)
        mono = "DejaVu Sans Mono"
        letters = {"family": lettering.font_families(mono), "ha": "center", "va": "center"}
        for (name, row), ax in zip(data["rows"].items(), axes[:, 0], strict=True):
            tint = np.sqrt(row["share"] / max(row["share"].max(), 1e-300))  # the root makes small shares visible
            ax.imshow(tint[None], cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
            for t, character in enumerate(characters[:position]):
                color = "white" if tint[t] > 0.7 else plots.INK
                ax.text(t, 0, lettering.literal_text(character, mono), color=color, fontsize=11, **letters)
            ax.text(
                position,
                0,
                lettering.token_label(characters[position], mono),
                color=plots.ORANGE,
                weight="bold",
                **letters,
            )
            ax.set_xlim(-0.6, max(position + 1, 30) - 0.4)
            ax.set_xticks([])
            ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set_visible(False)
            ax.set_title(
                f"{lettering.literal_text(name)}: p = {row['p']:.3f}, 90 % of the gradient in the last {row['reach']}",
                fontsize=10,
                family=lettering.font_families(),
            )
        return fig

    def describe(self, data):
        """Say which network looks furthest back, and how far."""
        characters, position, rows = data["characters"], data["position"], data["rows"]
        before = characters[max(0, position - 12) : position]
        reaches = ", ".join(f"{name} {row['reach']}" for name, row in rows.items())
        return (
            f"predicting “{characters[position]}” after “{before}”, 90 % of the gradient lies in the last: {reaches}."
        )


def _reach(share):
    """Return how many of the last entries it takes to hold 90 % of the total."""
    return int(np.searchsorted(np.cumsum(share[::-1]), 0.9 * share.sum()) + 1)


EXPLORERS = (GateConsole, ForgetBiasHalfLife, Connectivity)
