"""Explorers of chapter 2: hidden size, temperature, and the ruler that perplexities are read on."""

import textwrap

import ipywidgets as widgets
import numpy as np
import torch

from rnnlib import plots, sampling, scratch, text, training
from rnnlib.explore.frame import Explorer
from rnnlib.ngrams import NGram


class TemperatureDesk(Explorer):
    """What do temperature and top-k do to the next character, and to the text?

    Args:
        model, vocab: a trained language model and its vocabulary.
        prefix: the text to go on from.
        num_tokens: length of the sampled line.
    """

    title = "Temperature desk"
    question = "what does the model write as the temperature goes to 0, and what at 3?"
    presets = {  # noqa: RUF012
        "greedy": {"temperature": 0.0, "top_k": 28},
        "cautious": {"temperature": 0.5, "top_k": 28},
        "the model itself": {"temperature": 1.0, "top_k": 28},
        "wild": {"temperature": 3.0, "top_k": 28},
        "wild, top 3": {"temperature": 3.0, "top_k": 3},
    }

    def __init__(self, model, vocab, prefix="time traveller", num_tokens=120):
        sampling.check_prefix(vocab, prefix)
        self.model, self.vocab, self.prefix, self.num_tokens = model, vocab, prefix, num_tokens
        with torch.no_grad():
            device = next(model.parameters()).device
            logits, _ = model(torch.tensor([vocab[list(prefix)]], device=device), model.begin_state(1, device))
        self.logits = logits[-1].float().cpu()  # (V,)
        super().__init__(
            temperature=widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.05, description="temperature (0 = greedy)"),
            top_k=widgets.IntSlider(len(vocab), min=1, max=len(vocab), description="top k"),
            seed=widgets.IntSlider(1, min=0, max=20, description="seed"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained model is enough to move the controls."""
        vocab = text.Vocab("the time traveller abcdfghijkmnopqsuwxyz ")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = scratch.ScratchRNN(len(vocab), 16, sigma=0.5)
        return {"model": model, "vocab": vocab, "num_tokens": 60}

    def measure(self, temperature, top_k, seed):
        """Return the model's and the drawn distribution, its effective number of choices, and a sampled text."""
        p = sampling.next_token_probabilities(self.logits, temperature, top_k)
        entropy = float(torch.special.entr(p).sum())  # nats
        written = sampling.generate(self.model, self.vocab, self.prefix, self.num_tokens, temperature, top_k, seed)
        return {
            "model": sampling.next_token_probabilities(self.logits),
            "drawn": p,
            "choices": float(np.exp(entropy)),
            "text": written,
            "temperature": temperature,
        }

    def draw(self, data):
        """Bars of the twelve likeliest next characters, before and after, over the sampled text."""
        fig, (axes, page) = plots.new_figure(height=4.0, rows=2, height_ratios=[3, 1])
        top = data["model"].topk(min(12, len(self.vocab))).indices
        places = np.arange(len(top))
        axes.bar(places - 0.2, data["model"][top].numpy(), 0.4, color=plots.SKY, label="the model (T = 1)")
        axes.bar(places + 0.2, data["drawn"][top].numpy(), 0.4, color=plots.ORANGE, hatch="//", label="drawn from")
        axes.set_xticks(places, ["space" if t == " " else t for t in self.vocab.decode(top)])
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("probability")
        axes.set_title(f"next character after “{self.prefix}”: {data['choices']:.1f} effective choices")
        axes.legend(loc="upper right")
        page.axis("off")
        lines = textwrap.wrap(data["text"], 84)
        page.text(0, 1, "\n".join(lines[:3]), family="monospace", fontsize=9.5, va="top", transform=page.transAxes)
        return fig

    def describe(self, data):
        """Say how many choices are left."""
        how = "greedy, always the likeliest character" if data["temperature"] == 0 else f"T = {data['temperature']:.2f}"
        return (
            f"{how}: the next character is drawn from {data['choices']:.1f} effective choices "
            f"(exp of the entropy), and the line begins “{data['text'][:40]}…”."
        )


class HiddenSizeLab(Explorer):
    """What does a larger hidden state buy, on the training text and on other text? Retrains in seconds.

    Args:
        train_ids, valid_ids: token ids of the training and the held-out text.
        vocab_size: V.
        epochs: of each training, plain SGD with learning rate 1 and clipping at 1.
        device: to train on.
    """

    title = "Hidden size lab (each new size trains from scratch)"
    question = "sixteen times the hidden units: what happens to the perplexity of text the model has not seen?"
    sizes = (8, 16, 32, 64, 128, 256)

    def __init__(self, train_ids, valid_ids, vocab_size, epochs=40, device=None):
        self.train_ids, self.valid_ids, self.vocab_size = train_ids, valid_ids, vocab_size
        self.epochs, self.device = epochs, device
        self.runs = {}  # num_hiddens -> what was measured, so that a size trains only once
        super().__init__(
            num_hiddens=widgets.SelectionSlider(
                options=self.sizes, value=32, description="hidden units", continuous_update=False
            )
        )

    @classmethod
    def default_arguments(cls):
        """A short text and two epochs are enough to move the control."""
        ids = [i * i % 11 for i in range(2600)]
        return {"train_ids": ids, "valid_ids": ids[:1300], "vocab_size": 11, "epochs": 2}

    def measure(self, num_hiddens, on_progress=lambda data: None):
        """Train a model of this size and return its history, parameters, and all the sizes tried so far.

        Raises:
            ValueError: if num_hiddens is not a whole number of at least 1.
        """
        if num_hiddens not in self.runs or self.runs[num_hiddens]["history"].status != "finished":
            self._train(num_hiddens, on_progress)
        return self._data(num_hiddens)

    def measure_on_page(self, **values):
        """Train, showing the curve as it grows."""
        return self.measure(**values, on_progress=self.publish)

    def _train(self, num_hiddens, on_progress):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = scratch.ScratchRNN(self.vocab_size, num_hiddens, self.device)
        drawn = {"epoch": 0}

        def report(history, status, final):
            self.runs[num_hiddens] = {"history": history, "parameters": sum(p.numel() for p in model.params)}
            if not final and len(history) - drawn["epoch"] >= max(1, self.epochs // 4):
                drawn["epoch"] = len(history)
                on_progress(self._data(num_hiddens))

        training.fit(
            model,
            text.sequential_batches(self.train_ids, 32, 35),
            self.epochs,
            valid_batches=text.sequential_batches(self.valid_ids, 32, 35, offset=0),
            valid_every=2,
            report=report,
        )

    def _data(self, num_hiddens):
        return {"num_hiddens": num_hiddens, "epochs": self.epochs, "runs": self.runs, **self.runs[num_hiddens]}

    def draw(self, data):
        """The curves of this size, and beside them the last and best perplexities of all sizes tried."""
        fig, (curve, sizes) = plots.new_figure(height=3.8, columns=2, width_ratios=[3, 2], sharey=True)
        history = data["history"]
        curve.plot(*history.column("train"), color=plots.BLUE, label="training")
        curve.plot(*history.column("valid"), color=plots.ORANGE, linestyle="--", label="held-out")
        curve.axhline(self.vocab_size, color=plots.GREY, linewidth=0.9, linestyle=":")
        curve.set_xlim(0, self.epochs * 1.02)
        curve.set_xlabel("epoch")
        curve.set_title(f"{data['num_hiddens']} hidden units, epoch {len(history)} of {self.epochs}")
        curve.legend(loc="lower left")
        finished = {size: run["history"] for size, run in sorted(data["runs"].items()) if len(run["history"])}
        last = [run[-1]["train"] for run in finished.values()]
        best = [run.best["valid"] or np.nan for run in finished.values()]
        sizes.plot(list(finished), last, "o-", color=plots.BLUE, markersize=6)
        sizes.plot(list(finished), best, "s--", color=plots.ORANGE, markersize=6)
        sizes.axvline(data["num_hiddens"], color=plots.GREY, linewidth=0.9, linestyle=":")
        sizes.set_xscale("log", base=2)
        sizes.set_xlim(6, 340)
        sizes.set_xticks(self.sizes, [str(size) for size in self.sizes])
        sizes.set_xlabel("hidden units")
        sizes.set_title("last training, best held-out")
        plots.perplexity_axis(curve, lowest=1.0, highest=1.2 * self.vocab_size)
        return fig

    def describe(self, data):
        """Say what this size reached, with its parameters and speed."""
        history = data["history"]
        if not len(history):
            return f"{data['num_hiddens']} hidden units: stopped before the first epoch was done."
        if len(history) < self.epochs and history.status == "running":
            return f"training {data['num_hiddens']} hidden units: epoch {len(history)} of {self.epochs} …"
        best, speed = history.best, np.median([row["tokens_per_second"] for row in history])
        held_out = "not measured" if best["valid"] is None else f"{best['valid']:.2f} at epoch {best['epoch']}"
        return (
            f"{data['num_hiddens']} hidden units, {data['parameters']:,} parameters, {len(history)} epochs at "
            f"{speed / 1000:.0f}k tokens/s: training perplexity {history[-1]['train']:.2f}, best held-out {held_out}."
        )


class PerplexityRuler(Explorer):
    """How far does counting go? Perplexity of n-gram tables, on the text they counted and on other text.

    Args:
        train_ids, valid_ids: token ids of the training and the held-out text.
        vocab_size: V.
        model: perplexities of other models to mark on the ruler, by name, such as ``{"our RNN, best": 6.8}``.
    """

    title = "Perplexity ruler"
    question = "a table that has counted all strings of 8 characters: is it better than one of 3 on new text?"
    presets = {  # noqa: RUF012
        "bigram": {"order": 2, "smoothing": 1.0},
        "memorise": {"order": 8, "smoothing": 0.1},
        "best on new text": {"order": 5, "smoothing": 5.0},
    }
    orders = range(9)

    def __init__(self, train_ids, valid_ids, vocab_size, models=None):
        self.train_ids, self.valid_ids, self.vocab_size = train_ids, valid_ids, vocab_size
        self.models = dict(models or {})
        super().__init__(
            order=widgets.IntSlider(2, min=0, max=max(self.orders), description="n, tokens in a string"),
            smoothing=widgets.FloatLogSlider(1.0, min=-2, max=2, step=0.1, description="smoothing"),
        )

    @classmethod
    def default_arguments(cls):
        """A short text is enough to move the controls."""
        ids = [i * i % 11 for i in range(900)]
        return {"train_ids": ids[:600], "valid_ids": ids[600:], "vocab_size": 11}

    def measure(self, order, smoothing):
        """Return the perplexity of every order on the counted and on held-out text, for this smoothing."""
        tables = [NGram(self.train_ids, n, self.vocab_size, smoothing) for n in self.orders]
        return {
            "order": order,
            "smoothing": smoothing,
            "train": [table.perplexity(self.train_ids) for table in tables],
            "valid": [table.perplexity(self.valid_ids) for table in tables],
        }

    def draw(self, data):
        """Both perplexities by order, the chosen order ringed, other models as lines."""
        fig, axes = plots.new_figure(height=3.8)
        axes.plot(self.orders, data["train"], "o-", color=plots.BLUE, label="on the text it counted")
        axes.plot(self.orders, data["valid"], "s--", color=plots.ORANGE, label="on held-out text")
        for values in (data["train"], data["valid"]):
            axes.plot(data["order"], values[data["order"]], "o", markersize=15, fillstyle="none", color=plots.INK)
        highest = max(*data["train"], *data["valid"])
        plots.perplexity_axis(axes, highest=highest)
        plots.draw_landmarks(axes, self.models)
        axes.set_xlabel("n: the next character is looked up after the n - 1 before it")
        axes.set_title(f"counting strings of n characters, smoothing {data['smoothing']:.2g}")
        axes.legend(loc="upper right" if data["valid"][-1] < highest / 3 else "lower left")
        return fig

    def describe(self, data):
        """Say what the chosen table reaches, and which would be best on held-out text."""
        n, best = data["order"], int(np.argmin(data["valid"]))
        return (
            f"n = {n}: perplexity {data['train'][n]:.2f} on the text it counted, {data['valid'][n]:.2f} on held-out "
            f"text; with this smoothing n = {best} is best on held-out text, {data['valid'][best]:.2f}."
        )


EXPLORERS = (HiddenSizeLab, TemperatureDesk, PerplexityRuler)
