"""Explorers of chapter 4: what a layer's parameters are, what it returns, and how fast it is."""

import itertools
import statistics
import time

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib import guards, lettering, plots
from rnnlib.explore.frame import Explorer
from rnnlib.gradients import clip_gradients
from rnnlib.layers import LanguageModel, num_directions
from rnnlib.scratch import ScratchRNN

LAYERS = {"nn.RNN": nn.RNN, "nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}
FORMS = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "one layer, both directions": {"bidirectional": True},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
}


class ParameterLedger(Explorer):
    """How many numbers does a language model have, and where do they sit?

    Args:
        vocab_size: V.
    """

    title = "Parameter ledger"
    question = "by how many numbers does nn.RNN exceed the network from scratch, and by what factor does an LSTM?"
    presets = {  # noqa: RUF012
        "from scratch": {"model": "from scratch", "num_hiddens": 512, "form": "one layer"},
        "nn.RNN": {"model": "nn.RNN", "num_hiddens": 512, "form": "one layer"},
        "an LSTM of both directions": {"model": "nn.LSTM", "num_hiddens": 512, "form": "one layer, both directions"},
        "deep and narrow": {"model": "nn.GRU", "num_hiddens": 128, "form": "two layers, both directions"},
    }

    def __init__(self, vocab_size=28):
        guards.check_sizes(vocab_size=vocab_size)
        self.vocab_size = vocab_size
        super().__init__(
            model=widgets.ToggleButtons(options=["from scratch", *LAYERS], value="nn.RNN", description="layer"),
            num_hiddens=widgets.SelectionSlider(
                options=(16, 32, 64, 128, 256, 512, 1024), value=512, description="hidden units"
            ),
            form=widgets.ToggleButtons(options=list(FORMS), description="form"),
        )

    def measure(self, model, num_hiddens, form):
        """Return (name, shape, count) of every parameter of the real model, their sum, and that of the scratch RNN.

        Raises:
            ValueError: for a network from scratch with more than one layer.
        """
        scratch = ScratchRNN(self.vocab_size, num_hiddens, device="meta")  # shapes without numbers
        if model == "from scratch":
            if form != "one layer":
                raise ValueError("the network from scratch has one layer in one direction: choose a layer of torch.nn")
            named = zip(("W_xh", "W_hh", "b_h", "W_hq", "b_q"), scratch.params, strict=True)
        else:
            layer = LAYERS[model](self.vocab_size, num_hiddens, device="meta", **FORMS[form])
            named = LanguageModel(layer, self.vocab_size).named_parameters()
        rows = [(name, tuple(tensor.shape), tensor.numel()) for name, tensor in named]
        return {
            "what": f"{model}, {num_hiddens} hidden units, {form}",
            "rows": rows,
            "total": sum(count for *_, count in rows),
            "scratch": sum(tensor.numel() for tensor in scratch.params),
        }

    def draw(self, data):
        """One bar for each parameter tensor, as long as it has numbers."""
        fig, axes = plots.new_figure(height=5.2)
        rows = data["rows"]
        largest = max(count for *_, count in rows)
        for y, (name, _, count) in enumerate(rows):
            axes.barh(y, count, 0.7, color=_kind(name)[1])
            axes.text(count + 0.01 * largest, y, f"{count:,}", va="center", fontsize=9)
        axes.set_yticks(range(len(rows)), [f"{name}  {shape}" for name, shape, _ in rows], fontsize=9)
        axes.set_ylim(max(len(rows), 8) - 0.4, -0.6)
        axes.set_xlim(0, 1.25 * largest)
        _bars_only(axes)
        for kind, colour in dict.fromkeys(_kind(name) for name, *_ in rows):
            axes.barh(0, 0, color=colour, label=kind)
        axes.legend(loc="lower right", fontsize=9)
        fig.suptitle(
            f"{data['what']}: {data['total']:,} numbers in {len(rows)} tensors", x=0.01, ha="left", fontsize=11
        )
        return fig

    def describe(self, data):
        """Say the sum and what share the recurrent matrices have."""
        total, scratch = data["total"], data["scratch"]
        recurrent = sum(count for name, _, count in data["rows"] if _kind(name)[0] == "state to state")
        sentence = f"{data['what']}: {total:,} numbers, {recurrent / total:.0%} of them from state to state"
        if total == scratch:
            return f"{sentence}."
        times = f", {total / scratch:.1f} times as many" if total > 1.05 * scratch else ""
        return f"{sentence}; {total - scratch:,} more than the {scratch:,} of the network from scratch{times}."


def _bars_only(axes):
    """Take away from an axes what says nothing beside bars with numbers on them."""
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _kind(name):
    """Return what a parameter does, by its name, and its colour."""
    if name.startswith(("linear", "W_hq", "b_q")):
        return "read-out", plots.GREEN
    if "bias" in name or name.startswith("b_"):
        return "bias", plots.PINK
    if "weight_hh" in name or name == "W_hh":
        return "state to state", plots.ORANGE
    return "input to state", plots.SKY


class OutputContract(Explorer):
    """What do ``output`` and ``h_n`` hold, and which of their slices are the same numbers?"""

    title = "Output contract"
    question = "two layers, both directions: where in output do you find each of the four rows of h_n?"
    presets = {  # noqa: RUF012
        "one layer": {"num_layers": 1, "directions": "one direction", "layout": "time first"},
        "deep": {"num_layers": 3, "directions": "one direction", "layout": "time first"},
        "both directions": {"num_layers": 1, "directions": "both directions", "layout": "time first"},
        "packed": {"num_layers": 1, "directions": "both directions", "layout": "packed, lengths 5, 3, 2"},
    }
    num_steps, lengths, num_hiddens = 5, (5, 3, 2), 4
    colours = plots.BLUE, plots.ORANGE
    layouts = ("time first", "batch first", "packed, lengths 5, 3, 2")

    def __init__(self):
        super().__init__(
            num_layers=widgets.IntSlider(2, min=1, max=3, description="layers"),
            directions=widgets.ToggleButtons(
                options=["one direction", "both directions"], value="both directions", description="directions"
            ),
            layout=widgets.ToggleButtons(options=self.layouts, description="layout"),
        )

    def measure(self, num_layers, directions, layout):
        """Run a GRU on random input and compare every slice of output with every row of h_n.

        Returns:
            dict: the layer's ``output`` and ``h_n``; ``steps`` (T, N, D, H), output with time first and directions
            apart; ``joined``, the list of (t, n, direction, row) where a slice of output equals a row of h_n.
        """
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.GRU(
                6, self.num_hiddens, num_layers, bidirectional=directions == "both directions", dtype=torch.float64
            )
            X = torch.randn(self.num_steps, len(self.lengths), 6, dtype=torch.float64)  # (T, N, 6)
        with torch.no_grad():
            if layout == "batch first":
                layer.batch_first = True
                output, h_n = layer(X.transpose(0, 1))
                steps = output.transpose(0, 1)
            elif layout == "time first":
                output, h_n = layer(X)
                steps = output
            else:
                packed, h_n = layer(pack_padded_sequence(X, torch.tensor(self.lengths)))
                output, _ = pad_packed_sequence(packed)
                steps = output
        steps = steps.unflatten(2, (num_directions(layer), self.num_hiddens))  # (T, N, D, H)
        joined = [
            (t, n, d, row)
            for t, n, d in _places(*steps.shape[:3])
            for row in range(len(h_n))
            if torch.allclose(steps[t, n, d], h_n[row, n], rtol=0, atol=1e-12)
        ]
        return {"output": output, "h_n": h_n, "steps": steps, "joined": joined, "layout": layout}

    def draw(self, data):
        """Output and h_n as boxes, a line of them for each sequence; brackets join equal slices."""
        fig, (axes,) = plots.stacked_axes(4.4, [1], left=0.01, right=0.99, bottom=0.02)
        T, N, D, _ = data["steps"].shape
        rows, batch_first = len(data["h_n"]), data["layout"] == "batch first"
        right = T + 0.7  # where h_n begins
        boxes = []  # of (x, y, width, height, colour, label)
        for t, n, d in _places(T, N, D):
            padding = bool((data["steps"][t, n] == 0).all())
            label = "0" if padding else ("forward", "backward")[d]
            boxes.append((t, 1.7 * n + d / D, 0.86, 1 / D, "white" if padding else self.colours[d], label))
        for row, n in ((row, n) for row in range(rows) for n in range(N)):
            boxes.append((right + 0.85 * row, 1.7 * n, 0.75, 1, self.colours[row % D], f"layer={row // D}"))
        _draw_boxes(axes, boxes)
        for t, n, d, row in data["joined"]:
            # Forward halves are joined above the boxes, backward halves below them.
            edge, beyond, style = (1.7 * n, -0.17, "-") if d == 0 else (1.7 * n + 1, 0.17, "--")
            xs = [t + 0.43, t + 0.43, right + 0.85 * row + 0.37, right + 0.85 * row + 0.37]
            axes.plot(xs, [edge, edge + beyond, edge + beyond, edge], style, color=plots.INK, linewidth=2)
        above = [(t + 0.43, -0.45) for t in range(T)] + [(right + 0.85 * row + 0.37, -0.45) for row in range(rows)]
        lettering.write_letters(axes, above, [*(f"t={t}" for t in range(T)), *map(str, range(rows))], size=9)
        beside = [(-0.35, 1.7 * n + 0.5) for n in range(N)]
        lettering.write_letters(axes, beside, [f"n={n}" for n in range(N)], size=9)
        index = "n, t" if batch_first else "t, n"
        axes.text(0, -0.9, f"output[{index}]  {tuple(data['output'].shape)}", weight="bold")
        axes.text(right, -0.9, f"h_n[row, n]  {tuple(data['h_n'].shape)}", weight="bold")
        axes.set_xlim(-0.6, right + 0.85 * 6)
        axes.set_ylim(1.7 * N - 0.4, -1.2)
        axes.axis("off")
        return fig

    def describe(self, data):
        """Say which rows of h_n are in output, and where."""
        (_, _, D, _), rows = data["steps"].shape, len(data["h_n"])
        steps = {row: sorted({t for t, _, _, other in data["joined"] if other == row}) for row in range(rows)}
        parts = []
        for d, row in enumerate(range(rows - D, rows)):
            when = f"step {steps[row][0]}" if len(steps[row]) == 1 else "the last real step of each sequence"
            parts.append(f"h_n[{row}] is output at {when}" + (f", {('forward', 'backward')[d]} half" if D == 2 else ""))
        missing = [f"h_n[{row}]" for row in range(rows) if not steps[row]]
        rest = f" Nowhere in output: {', '.join(missing)}." if missing else " All of h_n stands in output."
        return f"output {tuple(data['output'].shape)}, h_n {tuple(data['h_n'].shape)}: {'; '.join(parts)}.{rest}"


def _places(num_steps, batch_size, directions):
    """Return all (t, n, d) of an output whose directions stand apart."""
    return list(itertools.product(range(num_steps), range(batch_size), range(directions)))


def _draw_boxes(axes, boxes):
    """Draw labelled boxes, pale so that the labels are easy to read; all as two artists, which is fast."""
    rectangles = PatchCollection([Rectangle((x, y), width, height) for x, y, width, height, _, _ in boxes])
    rectangles.set(facecolor=[to_rgba(colour, 0.25) for *_, colour, _ in boxes], edgecolor=plots.GREY, linewidth=1)
    axes.add_collection(rectangles, autolim=False)
    middles = [(x + width / 2, y + height / 2) for x, y, width, height, *_ in boxes]
    lettering.write_letters(axes, middles, [label for *_, label in boxes], size=7)


class SpeedRace(Explorer):
    """How many tokens a second does each network train on, on this machine?

    Args:
        vocab_size, num_steps: V and T of a minibatch.
        rounds: how often each network takes a training step; the networks take turns, and the medians count.
        device: to race on.
    """

    title = "Speed race (every new setting is measured on this machine)"
    question = "with 512 hidden units, how much faster than a Python loop is nn.RNN?"
    presets = {  # noqa: RUF012
        "tiny": {"num_hiddens": 32, "batch_size": 1},
        "the size of chapter 2": {"num_hiddens": 256, "batch_size": 32},
        "large": {"num_hiddens": 512, "batch_size": 128},
    }

    def __init__(self, vocab_size=28, num_steps=35, rounds=5, device=None):
        guards.check_sizes(vocab_size=vocab_size, num_steps=num_steps, rounds=rounds)
        guards.check_place(device)
        self.vocab_size, self.num_steps, self.rounds = vocab_size, num_steps, rounds
        self.device = torch.device(device or "cpu")
        self.runs = {}  # (num_hiddens, batch_size) -> tokens a second by name, so that a setting races once
        super().__init__(
            num_hiddens=widgets.SelectionSlider(
                options=(32, 64, 128, 256, 512), value=64, description="hidden units", continuous_update=False
            ),
            batch_size=widgets.SelectionSlider(
                options=(1, 8, 32, 128), value=32, description="batch size", continuous_update=False
            ),
        )

    @classmethod
    def default_arguments(cls):
        """One round over four steps is enough to move the controls."""
        return {"num_steps": 4, "rounds": 1}

    def measure(self, num_hiddens, batch_size):
        """Return the tokens a second of each network, by name.

        Raises:
            ValueError: if a size is not a whole number of at least 1.
        """
        key = num_hiddens, batch_size
        if key not in self.runs:
            self.runs[key] = self._race(num_hiddens, batch_size)
        return {"num_hiddens": num_hiddens, "batch_size": batch_size, "speeds": self.runs[key]}

    def _race(self, num_hiddens, batch_size):
        V = self.vocab_size
        with torch.random.fork_rng():
            torch.manual_seed(0)
            networks = {"from scratch": ScratchRNN(V, num_hiddens, self.device)}
            for name, layer in LAYERS.items():
                networks[name] = LanguageModel(layer(V, num_hiddens), V).to(self.device)
            X, Y = torch.randint(V, (2, batch_size, self.num_steps), device=self.device)
        seconds = {name: [] for name in networks}
        for turn in range(self.rounds + 1):
            for name, network in networks.items():
                start = time.perf_counter()
                _training_step(network, X, Y)
                if turn > 0:  # the first step warms up
                    seconds[name].append(time.perf_counter() - start)
        return {name: X.numel() / statistics.median(times) for name, times in seconds.items()}

    def draw(self, data):
        """One bar for each network, with its ratio to the loop."""
        fig, axes = plots.new_figure(height=2.8)
        speeds = data["speeds"]
        for y, (name, speed) in enumerate(speeds.items()):
            axes.barh(y, speed, 0.65, color=plots.ORANGE if name == "from scratch" else plots.SKY)
            label = f" {speed / 1000:,.1f}k tokens/s, {speed / speeds['from scratch']:.2f} x"
            axes.text(speed, y, label, va="center", fontsize=10)
        axes.set_yticks(range(len(speeds)), speeds)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * max(speeds.values()))
        axes.xaxis.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(
            f"training on {self.device.type}, {data['num_hiddens']} hidden units, batch {data['batch_size']}"
        )
        return fig

    def describe(self, data):
        """Say how nn.RNN did against the loop, and which network is the fastest."""
        speeds = data["speeds"]
        fastest = max(speeds, key=speeds.get)
        return (
            f"{data['num_hiddens']} hidden units, batches of {data['batch_size']}: nn.RNN trains on "
            f"{speeds['nn.RNN'] / speeds['from scratch']:.2f} times as many tokens a second as the loop from scratch; "
            f"the fastest is {fastest} with {speeds[fastest] / 1000:,.1f}k."
        )


def _training_step(network, X, Y):
    """Take one step of gradient descent, with clipping, and wait until it is done."""
    logits, _ = network(X)
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    network.zero_grad()
    loss.backward()
    norm = clip_gradients(network.parameters(), 1.0)
    with torch.no_grad():
        for p in network.parameters():
            p -= p.grad
    float(norm)  # a GPU runs ahead; reading a number waits for it


EXPLORERS = (ParameterLedger, OutputContract, SpeedRace)
