"""Explorers of chapter 2: hidden size, temperature, and the ruler that perplexities are read on."""

import textwrap

import ipywidgets as widgets
import numpy as np
import torch

from rnnlib import environment, guards, layers, lettering, plots, scratch, text, training
from rnnlib.baselines import NGram
from rnnlib.explore import frames
from rnnlib.explore.frame import Explorer, typed
from rnnlib.guards import check_drawable_numbers, check_one_state
from rnnlib.text import as_vocab

PARAMS = ("W_xh", "W_hh", "b_h", "W_hq", "b_q")  # as docs/_static/network.js calls them


def _chapter_network(model, vocab):
    """Return a network for pages, if it is chapter 2's with its five arrays."""
    arrays = list(getattr(model, "params", ()))
    if len(arrays) != len(PARAMS):
        return {}
    params = {name: frames.compact(W) for name, W in zip(PARAMS, arrays, strict=True)}
    return {"tokens": vocab.decode(range(len(vocab)))} | params


class TemperatureDesk(Explorer):
    """What do temperature and top-k do to the next character, and to the text?

    Args:
        model, vocab: a trained language model and its vocabulary.
        prefix: the text to go on from.
        num_tokens: length of the sampled line.
    """

    title = "Temperature desk"
    question = "what does the model write as the temperature goes to 0, and what at 3?"

    def __init__(self, model, vocab, prefix="time traveller", num_tokens=120):
        vocab = as_vocab(vocab)
        guards.check_num_tokens(num_tokens)
        guards.check_vocab(model, vocab)
        guards.check_prefix(vocab, prefix)
        self.model, self.vocab, self.prefix, self.num_tokens = model, vocab, prefix, num_tokens
        self.presets = {
            "greedy": {"temperature": 0.0, "top_k": len(vocab)},
            "cautious": {"temperature": 0.5, "top_k": len(vocab)},
            "the model itself": {"temperature": 1.0, "top_k": len(vocab)},
            "wild": {"temperature": 3.0, "top_k": len(vocab)},
            "wild, top 3": {"temperature": 3.0, "top_k": min(3, len(vocab))},
        }
        with torch.no_grad(), environment.evaluating(model):
            device = next(model.parameters()).device
            logits, _ = model(torch.tensor([vocab[list(prefix)]], device=device), model.begin_state(1, device))
        self.logits = logits[-1].float().cpu()  # (V,)
        super().__init__(
            temperature=widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.05, description="temperature (0: greedy)"),
            top_k=widgets.IntSlider(len(vocab), min=1, max=len(vocab), description="top k"),
            seed=widgets.IntSlider(1, min=0, max=20, description="seed"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained model is enough to move the controls."""
        vocab = text.Vocab("the time traveller abcdfghijkmnopqsuwxyz ")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = scratch.ScratchRNN(len(vocab), 16, sigma=0.5)
        return {"model": model, "vocab": vocab, "num_tokens": 60}

    def settings(self):
        """Many temperatures; few seeds and top-k, which say the same in other words."""
        few = {"top_k": sorted({1, 3, 10, len(self.vocab)}), "seed": [1, 2, 3]}
        return super().settings() | {"temperature": [i / 4 for i in range(13)]} | few

    def assets(self):
        """The network itself, so that a reader of the page may type."""
        network = _chapter_network(self.model, self.vocab)
        return {"prefix": self.prefix, "network": network} if network else {}

    def measure(self, temperature, top_k, seed):
        """Return the model's and the drawn distribution, its effective number of choices, and a sampled text."""
        p = scratch.next_token_probabilities(self.logits, temperature, top_k)
        entropy = float(torch.special.entr(p).sum())  # nats
        written = scratch.generate(self.model, self.vocab, self.prefix, self.num_tokens, temperature, top_k, seed)
        return {
            "model": scratch.next_token_probabilities(self.logits),
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
        names = ["space" if token == " " else lettering.token_label(token) for token in self.vocab.decode(top)]
        axes.set_xticks(places, names, family=lettering.font_families())
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("probability")
        axes.set_title(
            f"next character after “{lettering.literal_text(self.prefix)}”: {data['choices']:.1f} effective choices",
            family=lettering.font_families(),
        )
        axes.legend(loc="upper right")
        page.axis("off")
        lines = textwrap.wrap(data["text"], 76)
        written = lettering.literal_text("\n".join(lines[:3]), "DejaVu Sans Mono")
        mono = lettering.font_families("DejaVu Sans Mono")
        page.text(0, 1, written, family=mono, fontsize=9.5, va="top", transform=page.transAxes)
        return fig

    def describe(self, data):
        """Say how many choices are left."""
        how = "greedy, always the likeliest character" if data["temperature"] == 0 else f"T = {data['temperature']:.2f}"
        return (
            f"{how}: the next character is drawn from {data['choices']:.1f} effective choices "
            f"(exp of the entropy), and the line begins “{data['text'][:40]}…”."
        )


class UnrollStepper(Explorer):
    """What does the state change about a character read for the second time?

    Args:
        model, vocab: a language model whose state is one tensor (N, H), and its vocabulary.
        text: the text to read first.
    """

    title = "Unroll stepper"
    question = "the same letter occurs twice: will both be followed by the same guess?"
    presets = {"keep the state": {"reset_at": 0}, "reset before the 8th": {"reset_at": 8}}  # noqa: RUF012

    def __init__(self, model, vocab, text="the time traveller"):
        vocab = as_vocab(vocab)
        guards.check_text(text=text)
        guards.check_vocab(model, vocab)
        check_one_state(model)
        self.model, self.vocab = model, vocab
        super().__init__(
            text=widgets.Text(text, description="text", continuous_update=False),
            reset_at=widgets.IntSlider(0, min=0, max=16, description="reset before (0: never)"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained model is enough to move the controls."""
        return {key: value for key, value in TemperatureDesk.default_arguments().items() if key != "num_tokens"}

    def assets(self):
        """The network itself, so that a reader of the page may type."""
        network = _chapter_network(self.model, self.vocab)
        return {"reads": "UnrollStepper", "network": network} if network else {}

    def measure(self, text, reset_at):
        """Return the states (T, H), the guess after each character, and the bits that each next character costs.

        Raises:
            ValueError: for a text of fewer than two characters, or with characters that are unknown even when it is
                cleaned.
        """
        text = typed(self.vocab, text)[:40]
        if len(text) < 2:
            raise ValueError(f"the text {text!r} is too short: give at least two characters")
        states, log_p = self._read(text, reset_at)
        _, undisturbed = self._read(text, reset_at=0)
        read = torch.tensor(self.vocab[list(text[1:])])[:, None]
        return {
            "text": text,
            "reset_at": reset_at if 0 < reset_at <= len(text) else 0,
            "states": states,
            "guesses": self.vocab.decode(log_p.argmax(-1)),
            "bits": -log_p[:-1].gather(1, read)[:, 0] / np.log(2),  # (T - 1,)
            "undisturbed_bits": -undisturbed[:-1].gather(1, read)[:, 0] / np.log(2),
        }

    @torch.no_grad()
    def _read(self, text, reset_at):
        """Return the state (T, H) and the log-probabilities of the next character (T, V) after each character."""
        device = next(self.model.parameters()).device
        state, states, log_p = self.model.begin_state(1, device), [], []
        with environment.evaluating(self.model):
            for position, token in enumerate(self.vocab[list(text)], start=1):
                if position == reset_at:
                    state = self.model.begin_state(1, device)
                logits, state = self.model(torch.tensor([[token]], device=device), state)
                states.append(state[0].float().cpu())
                log_p.append(torch.log_softmax(logits[-1].float().cpu(), -1))
        check_drawable_numbers("what the model says", torch.stack(log_p))
        return torch.stack(states), torch.stack(log_p)

    def draw(self, data):
        """The state as a heat map that grows with the text, over the bits that each character costs."""
        fig, (heat, cost) = plots.new_figure(height=4.4, rows=2, height_ratios=[1, 1], sharex=True)
        units = min(12, data["states"].shape[1])
        heat.imshow(data["states"][:, :units].T.numpy(), cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
        heat.set_ylabel("hidden unit")
        heat.set_yticks(range(0, units, 4))
        heat.set_title(f"{units} of the hidden units after each character, from -1 (brown) to 1 (violet)")
        cost.bar(np.arange(1, len(data["text"])), data["bits"].numpy(), color=plots.BLUE)
        guess = np.log2(len(self.vocab))
        cost.axhline(guess, color=plots.GREY, linewidth=0.9, linestyle=":")
        cost.annotate(
            "a blind guess", (0, guess), xytext=(0, 3), textcoords="offset points", color=plots.GREY, fontsize=9
        )
        cost.set_ylim(0, max(1.25 * guess, float(data["bits"].max()) * 1.1))
        cost.set_ylabel("bits to predict it")
        names, guesses = (list(map(lettering.token_label, data[key])) for key in ("text", "guesses"))
        labels = [f"{name}\n{guess}" for name, guess in zip(names, guesses, strict=True)]
        labels[0] = f"read: {names[0]}      \nguess: {guesses[0]}         "
        cost.set_xticks(range(len(labels)), labels, fontsize=10, family=lettering.font_families())
        if data["reset_at"]:
            for axes in (heat, cost):
                axes.axvline(data["reset_at"] - 1.5, color=plots.ORANGE, linestyle="--")
        return fig

    def describe(self, data):
        """Compare the guesses after a repeated character, and give the mean cost, without and with the reset."""
        text, guesses = data["text"], data["guesses"]
        bits, undisturbed = (float(data[key].mean()) for key in ("bits", "undisturbed_bits"))
        cost = f"a character costs {bits:.2f} bits on average"
        if data["reset_at"]:
            return f"The state was reset before character {data['reset_at']}: {cost} instead of {undisturbed:.2f}."
        repeated = [c for c in dict.fromkeys(text) if text.count(c) > 1]
        if not repeated:
            return f"No character occurs twice; {cost}."
        differing = [c for c in repeated if len({guesses[i] for i, d in enumerate(text) if d == c}) > 1]
        chosen = max(differing or repeated, key=text.count)
        after = [f"“{guesses[i]}”" for i, c in enumerate(text) if c == chosen]
        verdict = "the state makes the difference" if differing else "here the state makes no difference to the guess"
        return f"After “{chosen}” the model guesses {', then '.join(after)}: {verdict}; {cost}."


class HiddenSizeLab(Explorer):
    """What do more hidden units, and a larger input scale, buy on the training text and on other text?

    Each new setting is trained from scratch, in seconds, and kept.

    Args:
        train_ids, valid_ids: token ids of the training and the held-out text.
        vocab_size: V.
        epochs: of each training, plain SGD with learning rate 1 and clipping at 1.
        device: to train on.
    """

    title = "Hidden size lab (each new setting trains from scratch)"
    question = "16 times the hidden units: what happens to the perplexity of text that the model has not seen?"
    sizes = (8, 16, 32, 64, 128, 256)

    def __init__(self, train_ids, valid_ids, vocab_size, epochs=40, device=None):
        guards.check_sizes(vocab_size=vocab_size, epochs=epochs)
        guards.check_whole_numbers(train_ids, "to train on (train_ids)", "give vocab[tokens]")
        guards.check_whole_numbers(valid_ids, "to measure on (valid_ids)", "give vocab[tokens]")
        guards.check_place(device)
        self.train_ids, self.valid_ids, self.vocab_size = train_ids, valid_ids, vocab_size
        self.epochs, self.device = epochs, device
        self.runs = {}  # (num_hiddens, input_scale) -> what was measured, so that a setting trains only once
        super().__init__(
            num_hiddens=widgets.SelectionSlider(
                options=self.sizes, value=32, description="hidden units", continuous_update=False
            ),
            input_scale=widgets.SelectionSlider(
                options=(0.01, 0.1, 1.0), value=1.0, description="scale of W_xh", continuous_update=False
            ),
        )

    @classmethod
    def default_arguments(cls):
        """A short text and two epochs are enough to move the controls."""
        ids = [i * i % 11 for i in range(2600)]
        return {"train_ids": ids, "valid_ids": ids[:1300], "vocab_size": 11, "epochs": 2}

    def measure(self, num_hiddens, input_scale=1.0, on_progress=lambda data: None):
        """Train a model of this size and return its history, parameters, and all the sizes tried at this scale.

        Raises:
            ValueError: if num_hiddens is not a whole number of at least 1.
        """
        run = self.runs.get((num_hiddens, input_scale))
        if run is None or run["history"].status != "finished":
            self._train(num_hiddens, input_scale, on_progress)
        return self._data(num_hiddens, input_scale)

    def measure_on_page(self, **values):
        """Train, showing the curve as it grows."""
        return self.measure(**values, on_progress=self.publish)

    def _train(self, num_hiddens, input_scale, on_progress):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = layers.FastRNN(self.vocab_size, num_hiddens, input_scale=input_scale).to(self.device)
        parameters = sum(p.numel() for p in model.params)

        def report(history, status, final):
            self.runs[num_hiddens, input_scale] = {"history": history, "parameters": parameters}
            if not final and len(history) % max(1, self.epochs // 4) == 0:
                on_progress(self._data(num_hiddens, input_scale))

        training.fit(
            model,
            text.sequential_batches(self.train_ids, 32, 35),
            self.epochs,
            valid_batches=text.sequential_batches(self.valid_ids, 32, 35, offset=0),
            valid_every=2,
            report=report,
        )

    def _data(self, num_hiddens, input_scale):
        same_scale = {size: run["history"] for (size, scale), run in self.runs.items() if scale == input_scale}
        setting = {"num_hiddens": num_hiddens, "input_scale": input_scale}
        return setting | {"sizes": dict(sorted(same_scale.items()))} | self.runs[num_hiddens, input_scale]

    def draw(self, data):
        """The curves of this setting, and beside them the last and best perplexities of all sizes tried."""
        fig, (curve, sizes) = plots.new_figure(height=3.8, columns=2, width_ratios=[3, 2], sharey=True)
        history = data["history"]
        curve.plot(*history.column("train"), color=plots.BLUE, label="training")
        curve.plot(*history.column("valid"), color=plots.ORANGE, linestyle="--", label="held-out")
        curve.set_xlim(0, self.epochs * 1.02)
        curve.set_xlabel("epoch")
        curve.set_title(f"{data['num_hiddens']} hidden units, scale {data['input_scale']:g}")
        curve.legend(loc="lower left")
        tried = {size: run for size, run in data["sizes"].items() if len(run)}
        sizes.plot(list(tried), [run[-1]["train"] for run in tried.values()], "o-", color=plots.BLUE)
        sizes.plot(list(tried), [run.best["valid"] or np.nan for run in tried.values()], "s--", color=plots.ORANGE)
        sizes.axvline(data["num_hiddens"], color=plots.GREY, linewidth=0.9, linestyle=":")
        sizes.set_xscale("log", base=2)
        sizes.set_xlim(6, 340)
        sizes.set_xticks(self.sizes, [str(size) for size in self.sizes])
        sizes.set_xlabel("hidden units")
        sizes.set_title("last training, best held-out")
        plots.perplexity_axis(curve, highest=1.2 * self.vocab_size)
        return fig

    def describe(self, data):
        """Say what this setting reached, with its parameters and speed."""
        history = data["history"]
        if not len(history):
            return f"{data['num_hiddens']} hidden units: stopped before the first epoch was done."
        if history.status == "running":
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
        models: perplexities of other models to mark on the ruler, by name, such as ``{"our RNN, best": 6.8}``.
    """

    title = "Perplexity ruler"
    question = "a table that has counted all strings of 8 characters: is it better than one of 3 on new text?"
    most_settings = 63  # each counts all strings anew
    orders = range(9)
    presets = {  # noqa: RUF012
        "bigram": {"order": 2, "smoothing": 1.0},
        "memorise": {"order": 8, "smoothing": 0.1},
        "well smoothed": {"order": 5, "smoothing": 5.0},
    }

    def __init__(self, train_ids, valid_ids, vocab_size, models=None):
        guards.check_whole_numbers(train_ids, "to count (train_ids)", "give vocab[tokens]")
        guards.check_whole_numbers(valid_ids, "to measure on (valid_ids)", "give vocab[tokens]")
        guards.check_perplexities(models=models)
        guards.check_sizes(vocab_size=vocab_size)
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
        """Return the perplexity of every order on the counted and on held-out text, for this smoothing.

        Raises:
            ValueError: for an order that is not on the ruler, or smoothing that is not above 0.
        """
        if order not in self.orders:
            raise ValueError(f"order={order!r} is not on the ruler: take 0 to {max(self.orders)}")
        table = NGram(self.train_ids, max(self.orders), self.vocab_size, smoothing)
        return {
            "order": order,
            "smoothing": smoothing,
            "train": table.perplexities(self.train_ids),
            "valid": table.perplexities(self.valid_ids),
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
        plots.landmark_lines(axes, self.models)
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


EXPLORERS = (UnrollStepper, TemperatureDesk, PerplexityRuler, HiddenSizeLab)
