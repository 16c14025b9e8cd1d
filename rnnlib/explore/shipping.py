"""Explorers of chapter 10: how few bits are enough, what a late step costs, and what waiting together buys."""

import heapq
import textwrap

import ipywidgets as widgets
import numpy as np
import torch
from torch import nn

from rnnlib import guards, layers, lettering, plots, scratch, shipping, text
from rnnlib.explore.frame import Explorer

SCALES = {"a scale a row": shipping.row_scales, "one scale a matrix": shipping.one_scale}


class BitsBench(Explorer):
    """How few bits a weight are enough?

    Args:
        models: language models by name, all of one vocabulary.
        vocab: that vocabulary.
        characters: a text that they haven't learned from.
        prefix: what they write on from.
    """

    title = "Bits bench"
    question = "at how many bits does the text begin to suffer, and does the perplexity say so earlier?"
    presets = {  # noqa: RUF012
        "free": {"bits": 8, "scale": "a scale a row"},
        "a little": {"bits": 4, "scale": "a scale a row"},
        "one scale": {"bits": 4, "scale": "one scale a matrix"},
        "too few": {"bits": 2, "scale": "a scale a row"},
    }
    all_bits = range(2, 9)

    def __init__(self, models, vocab, characters, prefix="the "):
        vocab = text.as_vocab(vocab)
        guards.check_named(models=models)
        guards.check_text(characters=characters)
        guards.check_prefix(vocab, prefix)
        if len(characters) < 24:
            raise ValueError(f"characters={characters!r} are too few: give a text of at least 24")
        self.models, self.vocab, self.prefix = models, vocab, prefix
        ids = torch.tensor(vocab[list(characters)])
        self.batches = text.sequential_batches(ids, 8, min(50, len(ids) // 8 - 1), offset=0)
        self.measured = {}
        super().__init__(
            network=widgets.ToggleButtons(options=list(models), description="network"),
            bits=widgets.IntSlider(8, min=2, max=8, description="bits a weight"),
            scale=widgets.ToggleButtons(options=list(SCALES), description="scale"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained network is enough to move the controls."""
        vocab = text.Vocab("the quick brown fox jumps over lazy dogs ")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = layers.LanguageModel(nn.GRU(len(vocab), 8), len(vocab)).eval()
        return {"models": {"GRU": model}, "vocab": vocab, "characters": "the quick brown fox " * 12}

    def perplexities(self, network):
        """Return the perplexity of a network as it is, and of each scale by bits; measured once."""
        if network not in self.measured:
            model = self.models[network]
            curves = {
                name: [
                    scratch.perplexity(shipping.with_bits(model, bits, scales), self.batches) for bits in self.all_bits
                ]
                for name, scales in SCALES.items()
            }
            self.measured[network] = scratch.perplexity(model, self.batches), curves
        return self.measured[network]

    def measure(self, network, bits, scale):
        """Return the perplexities by bits, that of these bits, and a text written with them."""
        exact, curves = self.perplexities(network)
        model = self.models[network]
        rounded = shipping.with_bits(model, bits, SCALES[scale])
        matrices = [W for W in model.parameters() if W.dim() == 2]
        count, rows = (sum(size) for size in zip(*((W.numel(), len(W)) for W in matrices), strict=True))
        scales_kept = rows if scale == "a scale a row" else len(matrices)
        return {
            "network": network,
            "bits": bits,
            "scale": scale,
            "exact": exact,
            "curves": curves,
            "perplexity": curves[scale][bits - 2],
            "times smaller": 32 * count / (bits * count + 32 * scales_kept),
            "text": scratch.generate(rounded, self.vocab, self.prefix, 150, 0.5, seed=0),
        }

    def draw(self, data):
        """Both curves of perplexity by bits, the chosen point, and the text below."""
        fig, (axes, page) = plots.new_figure(height=4.4, rows=2, height_ratios=[3, 1])
        styles = {"a scale a row": ("o-", plots.BLUE), "one scale a matrix": ("s--", plots.ORANGE)}
        for name, curve in data["curves"].items():
            axes.plot(self.all_bits, curve, styles[name][0], color=styles[name][1], label=name)
        axes.axhline(data["exact"], color=plots.GREY, linestyle=":", label="32 bits, as trained")
        axes.plot([data["bits"]], [data["perplexity"]], "o", markersize=14, mfc="none", mec=plots.INK, mew=2)
        highest = max(map(max, data["curves"].values()))
        plots.perplexity_axis(axes, lowest=0.9 * data["exact"], highest=highest)
        axes.set_xlim(8.3, 1.7)
        axes.set_xlabel("bits a weight")
        axes.set_ylabel("held-out perplexity")
        axes.set_title(f"{data['network']}: {data['perplexity']:.2f} with {data['bits']} bits, {data['scale']}")
        axes.legend(loc="upper left")
        page.axis("off")
        lines = textwrap.wrap(lettering.drawable(data["text"]), 80)[:3]
        page.text(
            0,
            0.7,
            lettering.literal_text("\n".join(lines), "DejaVu Sans Mono"),
            family=lettering.font_families("DejaVu Sans Mono"),
            fontsize=9,
            va="top",
            transform=page.transAxes,
        )
        return fig

    def describe(self, data):
        """Say what the bits cost and what they save."""
        more = data["perplexity"] / data["exact"] - 1
        cost = f"{more:.1%} above" if more >= 0.0005 else "within a twentieth of a percent of"
        return (
            f"{data['network']}, {data['bits']} bits, {data['scale']}: perplexity {data['perplexity']:.2f}, {cost} "
            f"that of 32 bits; the matrices are {data['times smaller']:.1f} times smaller."
        )


class ContextCost(Explorer):
    """What does a step cost late in a text, with a state and with a cache?

    Args:
        rows: the table that ``python -m benchmarks shipping_context`` has measured: dicts with ``streams``,
            ``context``, the costs ``GRU`` and ``decoder``, in steps of a GRU with one stream, and ``GRU kB`` and
            ``cache kB``.
    """

    title = "Context and cost"
    question = "the text grows from 128 to 4,096 characters: by what factor does each step grow, and the memory?"
    presets = {  # noqa: RUF012
        "one short text": {"context": 128, "streams": 1},
        "one long text": {"context": 4096, "streams": 1},
        "many long texts": {"context": 4096, "streams": 32},
    }

    def __init__(self, rows):
        guards.check_rows_with(("context", "streams", "decoder", "cache kB"), rows)
        self.rows = {(row["context"], row["streams"]): row for row in rows}
        contexts, streams = (sorted({row[name] for row in rows}) for name in ("context", "streams"))
        self.largest = {name: max(row[name] for row in rows) for name in ("decoder", "cache kB")}
        super().__init__(
            context=widgets.SelectionSlider(options=contexts, value=contexts[0], description="characters so far"),
            streams=widgets.ToggleButtons(options=streams, description="streams at once"),
        )

    @classmethod
    def default_arguments(cls):
        """A table of the same form, by rule."""
        return {
            "rows": [
                {
                    "streams": N,
                    "context": T,
                    "GRU": 1 + N / 20,
                    "decoder": 4 + N * T / 500,
                    "GRU kB": 1.024 * N,
                    "cache kB": round(1.536 * N * T),
                }
                for T in (128, 1024, 4096)
                for N in (1, 32)
            ]
        }

    def measure(self, context, streams):
        """Return the row of the table, and that of the shortest text beside it."""
        first = min(there for there, _ in self.rows)
        return {"row": self.rows[context, streams], "first": self.rows[first, streams]}

    def draw(self, data):
        """Two pairs of bars on log axes: the cost of a step, and the memory that is kept."""
        row = data["row"]
        fig, (cost, memory) = plots.new_figure(height=2.6, columns=2)
        pairs = (cost, ("GRU", "decoder"), "steps of a GRU"), (memory, ("GRU kB", "cache kB"), "kB kept")
        for axes, names, unit in pairs:
            values = [row[name] for name in names]
            axes.barh([1, 0], values, color=[plots.BLUE, plots.ORANGE], hatch=None)
            axes.set_yticks([1, 0], ["GRU 256", "decoder"])
            axes.set_xscale("log")
            axes.set_xlim(0.5, 6 * self.largest[names[1]])
            for y, value in zip((1, 0), values, strict=True):
                axes.text(value * 1.15, y, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}", va="center")
            axes.set_xlabel(unit)
        cost.set_title(f"a step after {row['context']:,} characters")
        memory.set_title(f"memory of {row['streams']} stream{'s'[: row['streams'] > 1]}")
        return fig

    def describe(self, data):
        """Say both factors."""
        row, first = data["row"], data["first"]
        growth = (
            f"the decoder's step is {row['decoder'] / first['decoder']:.1f} times that after {first['context']:,}, "
            f"the GRU's {row['GRU'] / first['GRU']:.1f} times"
        )
        return (
            f"{row['context']:,} characters, {row['streams']} at once: {growth}; kept are {row['GRU kB']:,.0f} kB "
            f"against {row['cache kB']:,.0f} kB."
        )


def _simulate(num_clients, pause, cost, together, num_answers=3000):
    """Return the waits of answers in milliseconds, the sizes of the steps, and answers a millisecond, of a server.

    Each client sends a character, waits for the answer, thinks and goes on. The thinking takes ``pause`` milliseconds
    on average, exponentially distributed; a step with n characters takes ``cost(n)``.
    """
    chance = np.random.default_rng(0)
    arrivals = [(chance.exponential(pause + 1e-9), client) for client in range(num_clients)]
    heapq.heapify(arrivals)
    now, queue, waited, sizes = 0.0, [], [], []
    while len(waited) < num_answers:
        if not queue:
            now = max(now, arrivals[0][0])
        while arrivals and arrivals[0][0] <= now:
            queue.append(heapq.heappop(arrivals))
        batch, queue = (queue, []) if together else (queue[:1], queue[1:])
        now += cost(len(batch))
        sizes.append(len(batch))
        for sent, client in batch:
            waited.append(now - sent)
            heapq.heappush(arrivals, (now + chance.exponential(pause + 1e-9), client))
    return np.array(waited[num_answers // 10 :]), np.array(sizes), num_answers / now


class BatchingDesk(Explorer):
    """How long do clients wait, one by one and taken together?

    Args:
        step_ms: milliseconds of a step by the number of characters in it, some of them.
    """

    title = "Batching desk"
    question = "256 impatient clients: by what factor does taking together shorten the wait?"
    ways = "one by one", "what waits, together"
    presets = {  # noqa: RUF012
        "a few, thinking": {"clients": 16, "pause": 100.0, "way": "what waits, together"},
        "many, thinking": {"clients": 256, "pause": 100.0, "way": "what waits, together"},
        "impatient, one by one": {"clients": 256, "pause": 1.0, "way": "one by one"},
        "impatient, together": {"clients": 256, "pause": 1.0, "way": "what waits, together"},
    }

    def __init__(self, step_ms):
        guards.check_named(step_ms=step_ms)
        self.step_ms = step_ms
        super().__init__(
            clients=widgets.SelectionSlider(options=(1, 4, 16, 64, 256), value=64, description="clients"),
            pause=widgets.FloatLogSlider(10.0, min=0, max=3, step=0.25, description="pause (ms)"),
            way=widgets.ToggleButtons(options=self.ways, value=self.ways[1], description="served"),
        )

    @classmethod
    def default_arguments(cls):
        """A step that costs twenty times as little a character in a batch of 256."""
        return {"step_ms": {1: 0.05, 16: 0.12, 64: 0.4, 256: 1.4}}

    def cost(self, size):
        """Return the milliseconds of a step, between the measured sizes along a straight line."""
        return float(np.interp(size, list(self.step_ms), list(self.step_ms.values())))

    def measure(self, clients, pause, way):
        """Return the waits of the simulated answers, the sizes of steps, and characters a second."""
        waited, sizes, rate = _simulate(clients, pause, self.cost, way == self.ways[1])
        return {
            "clients": clients,
            "pause": pause,
            "way": way,
            "waited": waited,
            "p50": float(np.median(waited)),
            "p99": float(np.quantile(waited, 0.99)),
            "mean batch": float(sizes.mean()),
            "a second": 1000 * rate,
        }

    def draw(self, data):
        """How many answers took how long, on a log axis that stays."""
        fig, axes = plots.new_figure(height=3.0)
        axes.hist(data["waited"], bins=np.geomspace(0.02, 50, 40), color=plots.SKY)
        for name, line in (("p50", "-"), ("p99", "--")):
            axes.axvline(data[name], color=plots.INK, linestyle=line, label=f"{name}: {data[name]:.2f} ms")
        axes.set_xscale("log")
        axes.set_xlim(0.02, 50)
        axes.set_ylim(0, 2700)
        axes.set_xlabel("milliseconds from sending a character to its answer")
        axes.set_ylabel("answers (of 2,700)")
        axes.set_title(f"{data['clients']} clients, {data['way']}: {data['mean batch']:.1f} characters a step")
        axes.legend(loc="upper right")
        return fig

    def describe(self, data):
        """Say the waits and the size of the steps."""
        return (
            f"{data['clients']} clients, a pause of {data['pause']:.0f} ms, {data['way']}: half the answers come "
            f"within {data['p50']:.2f} ms, 99 of 100 within {data['p99']:.2f} ms; "
            f"{data['mean batch']:.1f} characters a step, "
            f"{data['a second']:,.0f} a second."
        )


EXPLORERS = (BitsBench, ContextCost, BatchingDesk)
