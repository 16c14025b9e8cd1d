"""Explorers of chapter 7: what padding does to a state, how a verdict is reached, and what a threshold costs."""

import copy
import functools
import textwrap

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.ticker import NullLocator
from torch import nn

from rnnlib import guards, layers, plots, sentiment
from rnnlib.explore import carried
from rnnlib.explore.frame import Explorer
from rnnlib.guards import check_drawable_numbers
from rnnlib.lettering import drawable, font_families
from rnnlib.text import as_vocab

PRAISE = (
    "I expected little, and the first half hour is slow. But then the two leads meet, and from there on this is a "
    "wonderful, warm and very funny film. Not perfect, not even close, and I loved every minute of it."
)
COMPLAINT = (
    "The photography is beautiful and the music is lovely. It's a pity that nobody wrote a story: two hours of "
    "people who stare at the sea. I wanted to like it, but it is dull, and the ending is simply awful."
)
DOUBT = "Not bad at all. I wouldn't call it good, but it isn't the worst film of the year either; not a waste of time."


def _small_classifier(layer, vocab):
    """Return an untrained classifier: enough to move an explorer's controls.

    Args:
        layer: makes the recurrent layer from its two sizes.
        vocab: its vocabulary; the vector of ``<pad>`` is zero.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedding = nn.Embedding(len(vocab), 12, padding_idx=sentiment.PAD)
        return sentiment.SentimentClassifier(embedding, layer(12, 8)).eval()


def _probability(p):
    """Write a probability with three digits that never claim certainty."""
    if p < 0.001:
        return "below 0.001"
    return "above 0.999" if p > 0.999 else f"{p:.3f}"


class PaddingLens(Explorer):
    """How far apart do two reviews stay when padding is appended to them, and read?

    Args:
        model: a :class:`rnnlib.sentiment.SentimentClassifier`, trained or not; its embedding and its layer are used.
        vocab: its vocabulary.
        first, second: two reviews.

    Raises:
        ValueError: for two reviews that are the same to the model.
    """

    title = "Padding lens (pads are appended to two reviews)"
    question = "do two texts stay apart after padding?"
    presets = {  # noqa: RUF012
        "no pads": {"pads": 0},
        "47 pads, last": {"pads": 47, "read_out": "last state"},
        "200 pads, mean": {"pads": 200, "read_out": "mean"},
        "200 pads, max": {"pads": 200, "read_out": "max"},
    }
    read_outs = ("last state", "mean", "max")
    ways = ("pads read", "lengths known")
    most = 200

    def __init__(self, model, vocab, first=PRAISE, second=COMPLAINT):
        vocab = as_vocab(vocab)
        guards.check_classifier(model, "readout", "linear")
        guards.check_reviews_vocab(vocab)
        guards.check_text(first=first, second=second)
        self.states = self._read(model, [sentiment.encode(review, vocab) for review in (first, second)])
        for name, states in self.states.items():
            check_drawable_numbers(f"the {name} of the reviews", states)
            if torch.equal(*states[:, 0, 0]):
                raise ValueError(f"the two reviews have the same {name}: give two that differ in a word")
        super().__init__(
            pads=widgets.IntSlider(47, min=0, max=self.most, description="pads appended"),
            read_out=widgets.ToggleButtons(options=self.read_outs, description="read-out"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained LSTM shows it already."""
        vocab = sentiment.review_vocab([PRAISE, COMPLAINT])
        return {"model": _small_classifier(nn.LSTM, vocab), "vocab": vocab}

    @torch.no_grad()
    def _read(self, model, pair):
        """Return the read-outs by name, (2, ways, pads, D), with each number of pads up to the most."""
        model.eval()
        device = model.linear.weight.device
        both = layers.num_directions(model.rnn) == 2
        at_the_end = sentiment.both_ends_state if both else sentiment.last_state
        functions = (at_the_end, sentiment.mean_state, sentiment.max_state)
        found = {name: [] for name in self.read_outs}
        for ids in pair:
            row, _ = sentiment.pad([ids], length=len(ids) + self.most)
            rows = row.expand(self.most + 1, -1).to(device)  # (N, T), one row for each number of pads
            known = torch.full((len(rows),), len(ids), device=device)  # (N,)
            vectors = model.embedding(rows.T)  # (T, N, D)
            told = (known + torch.arange(len(rows), device=device), known)  # the bug is to count pads as words
            outputs = [(sentiment.read_padded(model.rnn, vectors, lengths), lengths) for lengths in told]
            for name, function in zip(self.read_outs, functions, strict=True):
                found[name].append(torch.stack([function(*pieces).cpu() for pieces in outputs]))
        return {name: torch.stack(states) for name, states in found.items()}

    def measure(self, pads, read_out):
        """Return distances and scores by number of pads, for pads that are read and for known lengths.

        The score is that of the linear read-out which gives the two reviews +1 and -1 when there are no pads.

        Raises:
            ValueError: for a read-out that is not in the list.
        """
        if read_out not in self.read_outs:
            raise ValueError(f"read_out={read_out!r} is not known: use one of {', '.join(self.read_outs)}")
        states = self.states[read_out]  # (2, ways, pads, D)
        first, second = states[:, 0, 0]
        direction = 2 * (first - second) / (first - second).square().sum()
        scores = (states - (first + second) / 2) @ direction  # (2, ways, pads)
        distances = (states[0] - states[1]).norm(dim=-1)  # (ways, pads)
        return {
            "pads": pads,
            "read_out": read_out,
            "distances": dict(zip(self.ways, distances.numpy(), strict=True)),
            "scores": dict(zip(self.ways, scores.transpose(0, 1).numpy(), strict=True)),  # (2, pads) each
        }

    def draw(self, data):
        """Distance and both scores against the number of pads."""
        fig, (far, score) = plots.stacked_axes(5.0, [1, 1], left=0.115, bottom=0.095, hspace=0.3)
        x, pads = np.arange(self.most + 1), data["pads"]
        styles = {"lengths known": (plots.BLUE, "-", "sD", 9), "pads read": (plots.ORANGE, "--", "o^", 6)}
        floor = 3e-10  # stands for 0, which a log axis doesn't have
        for way, (color, dash, markers, size) in styles.items():
            shown = np.maximum(data["distances"][way], floor)
            far.plot(x, shown, dash, color=color)
            far.plot(pads, shown[pads], markers[0], color=color, markersize=size, label=way)
            for review, values, marker in zip(("first", "second"), data["scores"][way], markers, strict=True):
                filled = color if review == "first" else "white"
                score.plot(x, values, dash, color=color, linewidth=1.8 if review == "first" else 1.1)
                style = {"markersize": size, "markerfacecolor": filled, "label": f"{review}, {way}"}
                score.plot(pads, values[pads], marker, color=color, **style)
        far.set_yscale("log")
        far.set_yticks([floor, 1e-8, 1e-6, 1e-4, 1e-2, 1], ["0", "1e-8", "1e-6", "1e-4", "0.01", "1"])
        far.yaxis.set_minor_locator(NullLocator())  # a hundred more ticks would be slow
        far.set_ylim(1e-10, 30)
        far.set_ylabel("distance (log)")
        far.set_title(f"how far apart the two reviews are: {data['read_out']}", fontsize=10)
        far.legend(loc="center right", bbox_to_anchor=(0.97, 0.45))
        low, high = score.get_ylim()
        score.set_ylim(low - 0.05 * (high - low), high + 0.42 * (high - low))  # room for the legend
        score.set_ylabel("score")
        score.set_title("the score of both, +1 and -1 where there are no pads", fontsize=10)
        score.set_xlabel("pads appended")
        score.legend(loc="upper right", bbox_to_anchor=(0.97, 1.03), ncols=2)
        for axes in (far, score):
            axes.axvline(pads, color=plots.GREY, linewidth=0.9, linestyle=":", zorder=0)
            axes.set_xlim(-3, self.most + 3)
        return fig

    def describe(self, data):
        """Say how far apart the two are with and without pads, read and not read."""
        read, known = (data["distances"][way] for way in self.ways)
        pads, scores = data["pads"], data["scores"]["pads read"][:, data["pads"]]
        apart = f"{read[pads]:.2g}" if read[pads] else "exactly 0"
        return (
            f"{data['read_out']}: {known[0]:.2g} apart without pads. After {pads} pads the two are {apart} apart if "
            f"the pads are read, {known[pads]:.2g} if the lengths are known; with pads read their scores of +1 and -1 "
            f"become {scores[0]:+.2f} and {scores[1]:+.2f}."
        )


class RunningVerdict(Explorer):
    """How does the verdict on a review develop word by word, and on which words does it rest?

    Args:
        model: a classifier of reviews, ``model(ids, lengths)`` gives logits (N,).
        vocab: its vocabulary.
        samples: a dict from name to review, one button each.
        max_length: the model reads the last words of a review, this many at most, as in training.
    """

    title = "Running verdict (type your own review)"
    question = "which word turns the verdict, and which one does it rest on?"
    most_prefixes = 100
    most_left_out = 100
    most_bars = 10

    def __init__(self, model, vocab, samples=None, max_length=400):
        vocab = as_vocab(vocab)
        guards.check_learners(model=model)
        guards.check_reviews_vocab(vocab)
        guards.check_sizes(max_length=max_length)
        self.model, self.vocab, self.max_length = model, vocab, max_length
        samples = samples or {"praise": PRAISE, "complaint": COMPLAINT, "not bad": DOUBT}
        self.presets = {name: {"review": review} for name, review in samples.items()}
        super().__init__(
            review=widgets.Textarea(next(iter(samples.values())), description="review", continuous_update=False),
            span=widgets.IntSlider(1, min=1, max=3, description="words left out together"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained classifier is enough to move the controls."""
        vocab = sentiment.review_vocab([PRAISE, COMPLAINT, DOUBT])
        return {"model": _small_classifier(functools.partial(sentiment.BothWays, nn.LSTM), vocab), "vocab": vocab}

    def on_page(self):
        """Return a twin whose network a page can carry, or this one where pages can't read as its network does."""
        if carried.is_small(self.model) or not carried.is_known(self.model):
            return self
        twin = copy.copy(self)
        samples = [word for preset in self.presets.values() for word in sentiment.tokenize_review(preset["review"])]
        twin.model, twin.vocab = carried.smaller(self.model, self.vocab, samples)
        return twin

    def assets(self):
        """The network of such a twin, so that a reader of the page may type."""
        if not carried.is_small(self.model):
            return {}
        network = carried.network(self.model, self.vocab, self.max_length)
        note = f"It is a smaller edition of the chapter's: it knows {len(self.vocab):,} words, by coarser numbers."
        return {"reads": "RunningVerdict", "network": network, "note": note}

    def measure(self, review, span):
        """Return the probability after each word, and what is lost of the logit without each word.

        A long review is judged at most ``most_prefixes`` times, evenly spaced; only its last ``most_left_out`` words
        are left out.

        Args:
            review: any text.
            span: how many words next to each other are replaced by ``<unk>`` at a time.
        """
        words = sentiment.tokenize_review(review) or ["<unk>"]
        ids = sentiment.encode(review, self.vocab)  # (T,)
        T = len(ids)
        ends = np.unique(np.linspace(1, T, min(T, self.most_prefixes)).round().astype(int))
        span = min(span, T)
        begins = range(max(0, T - min(self.most_left_out, self.max_length)), T - span + 1)
        rows = [ids[:end] for end in ends]
        for begin in begins:
            without = ids.clone()
            without[begin : begin + span] = sentiment.UNK
            rows.append(without)
        logits = sentiment.score_reviews(
            self.model, [sentiment.tail(row, self.max_length) for row in rows], batch_size=16
        )
        check_drawable_numbers("what the model says", logits)
        prefixes, without = logits.double().numpy()[: len(ends)], logits.double().numpy()[len(ends) :]
        changes = prefixes[-1] - without
        changes[[torch.equal(row, ids) for row in rows[len(ends) :]]] = 0.0  # not the rounding of another batch
        top = np.argsort(-np.abs(changes), kind="stable")[: self.most_bars]
        p = 1 / (1 + np.exp(-prefixes))
        return {
            "words": words,
            "unknown": int((ids == sentiment.UNK).sum()),
            "ends": ends,
            "p": p,
            "turns": np.flatnonzero(np.diff(prefixes > 0)) + 1,  # places in ends
            "leap": int(np.abs(np.diff(p)).argmax()) + 1 if len(p) > 1 else None,  # the place of the largest step
            "first_left_out": begins[0],
            "bars": [(" ".join(words[begins[i] : begins[i] + span]), begins[i] + 1, changes[i]) for i in top],
        }

    def draw(self, data):
        """The probability after each word, and the bars of the words that count most."""
        fig, (curve, bars) = plots.stacked_axes(5.4, [2.2, 2.8], left=0.105, right=0.97, bottom=0.09, hspace=0.42)
        ends, p = data["ends"], data["p"]
        curve.plot(ends, p, "o-", color=plots.BLUE, markersize=3.5)
        curve.axhline(0.5, color=plots.GREY, linewidth=0.9, linestyle=":", zorder=0)
        curve.set_ylim(-0.04, 1.04)
        curve.set_xlim(0.5 - 0.01 * ends[-1], ends[-1] * 1.01 + 0.5)
        curve.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        curve.set_ylabel("P(positive)")
        title = f"the verdict after each of {ends[-1]} words"
        if len(ends) < ends[-1]:
            title = f"the verdict at {len(ends)} places of {ends[-1]} words"
        if len(data["turns"]):
            last = data["turns"][-1]
            curve.plot(ends[last], p[last], "s", color=plots.ORANGE, markersize=8, fillstyle="none", zorder=3)
            title += f"; the square: the last turn, {_place(data, last)}"
        curve.set_title(title, fontsize=10, family=font_families(), parse_math=False)
        self._draw_bars(bars, data)
        return fig

    def _draw_bars(self, axes, data):
        changes = np.array([change for *_, change in data["bars"]])
        heights, limit = -np.arange(len(changes)), max(np.abs(changes).max(), 0.01)
        for chosen, color in ((changes >= 0, plots.BLUE), (changes < 0, plots.ORANGE)):
            axes.hlines(heights[chosen], 0, changes[chosen], color, linewidth=8)
        for height, (name, place, change) in zip(heights, data["bars"], strict=True):
            side = "right" if change >= 0 else "left"  # the name stands opposite its bar
            gap = -0.02 * limit if change >= 0 else 0.02 * limit
            label = f"{_short(name)} ({place})"
            axes.text(gap, height, label, ha=side, va="center", fontsize=9, family=font_families(), parse_math=False)
        axes.axvline(0, color=plots.INK, linewidth=0.8)
        axes.set_ylim(0.2 - self.most_bars, 0.7)
        axes.xaxis.get_major_locator().set_params(nbins=6)
        axes.set_xlim(-1.05 * limit, 1.05 * limit)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("what the word adds to the logit: left, against; right, in favour")
        begin, T = data["first_left_out"], len(data["words"])
        where = f"of the last {T - begin}" if begin else f"of all {T}"
        axes.set_title(f"the words ({where}) that the verdict rests on, and their places", fontsize=10)

    def describe(self, data):
        """Give the verdict, its last turn, its largest step and the most influential words."""
        words, p = data["words"], data["p"]
        verdict = "positive" if p[-1] > 0.5 else "negative"
        parts = [f"{verdict} after word {len(words)}, the last: P(positive) {_probability(p[-1])}"]
        if len(data["turns"]):
            parts.append(f"it turned for the last time {_place(data, data['turns'][-1])}")
        else:
            parts.append("it never turned")
        if data["leap"] is not None and p[data["leap"]] != p[data["leap"] - 1]:
            leap = p[data["leap"]] - p[data["leap"] - 1]
            parts.append(f"its largest step, {leap:+.2f}, came {_place(data, data['leap'])}")
        name, place, change = data["bars"][0]
        if change == 0:
            parts.append("no word changes it when it is left out")
        else:
            among = f" (of the last {len(words) - data['first_left_out']})" if data["first_left_out"] else ""
            parts.append(f"most influential{among}: “{_short(name)}” at {place}, which adds {change:+.2g} to the logit")
        if data["unknown"]:
            parts.append(f"unknown to the model: {data['unknown']} of {len(words)} words")
        return "; ".join(parts) + "."


def _place(data, number):
    """Say where a place lies: at a word, or between two places where a long review was judged."""
    before, end = data["ends"][number - 1 :][:2]
    return f"between words {before} and {end}" if end - before > 1 else f"at “{_short(data['words'][before])}” ({end})"


def _short(word):
    """Return a word as it can be drawn, cut off where it is very long."""
    return drawable(word if len(word) <= 28 else word[:27] + "…")


class ThresholdDesk(Explorer):
    """What does it cost to call a review positive only above a threshold?

    Args:
        logits: scores of held-out reviews, (N,).
        labels: 0 or 1 for each.
        texts: the reviews as they were written.

    Raises:
        ValueError: for numbers of logits, labels and texts that differ, or for labels of one class only.
    """

    title = "Threshold desk"
    question = "what does a threshold of 0.9 cost in recall?"
    presets = {  # noqa: RUF012
        "0.5": {"threshold": 0.5},
        "0.9: sure of the positive": {"threshold": 0.9, "show": "false positive"},
        "0.1: miss none": {"threshold": 0.1, "show": "false negative"},
    }
    errors = ("false positive", "false negative")
    grid = np.linspace(0.01, 0.99, 99)

    def __init__(self, logits, labels, texts):
        guards.check_labelled(logits, labels)
        guards.check_ordered(texts=texts)
        guards.check_texts(texts)
        self.labels = torch.as_tensor(labels).cpu().numpy().astype(bool)  # (N,)
        check_drawable_numbers("the list of logits", logits)
        self.p = torch.as_tensor(logits).double().sigmoid().cpu().numpy()  # (N,)
        self.texts = texts
        if not len(self.p) == len(self.labels) == len(texts):
            raise ValueError(f"{len(self.p)} logits, {len(self.labels)} labels, {len(texts)} texts: give one of each")
        if self.labels.all() or not self.labels.any():
            raise ValueError("all labels are the same: precision and recall need reviews of both classes")
        self.curves = {name: np.array(values) for name, values in self._curves().items()}
        super().__init__(
            threshold=widgets.FloatSlider(0.5, min=0.05, max=0.95, step=0.05, description="threshold"),
            show=widgets.ToggleButtons(options=self.errors, description="most confident"),
        )

    @classmethod
    def default_arguments(cls):
        """Three texts again and again, with scores that are right more often than not."""
        labels = np.arange(300) % 2
        logits = np.random.default_rng(0).normal(3.0 * labels - 1.5, 1.6)
        texts = [(COMPLAINT, PRAISE, DOUBT)[i % 2 if i % 3 else 2] for i in range(300)]
        return {"logits": torch.tensor(logits), "labels": labels, "texts": texts}

    def _curves(self):
        rows = [_rates(self.counts(threshold)) for threshold in self.grid]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def counts(self, threshold):
        """Return the confusion matrix as whole numbers: rows are labels, columns verdicts, negative first."""
        verdicts = self.p > threshold
        cells = [[(self.labels == label) & (verdicts == verdict) for verdict in (0, 1)] for label in (0, 1)]
        return np.array(cells).sum(axis=2)

    def measure(self, threshold, show):
        """Return the confusion matrix, precision, recall and accuracy, and the most confident error.

        Raises:
            ValueError: for an error that is neither a false positive nor a false negative.
        """
        if show not in self.errors:
            raise ValueError(f"show={show!r} is not known: use one of {', '.join(self.errors)}")
        verdicts = self.p > threshold
        if show == "false positive":
            wrong = np.flatnonzero(verdicts & ~self.labels)
            worst = wrong[self.p[wrong].argmax()] if len(wrong) else None
        else:
            wrong = np.flatnonzero(~verdicts & self.labels)
            worst = wrong[self.p[wrong].argmin()] if len(wrong) else None
        counts = self.counts(threshold)
        return {
            "threshold": threshold,
            "show": show,
            "counts": counts,
            "rates": _rates(counts),
            "rates_at_half": _rates(self.counts(0.5)),
            "worst": None if worst is None else (self.p[worst], self.texts[worst]),
        }

    def draw(self, data):
        """The confusion matrix, the three rates against the threshold, and the most confident error."""
        fig = plots.BookFigure(figsize=(7.2, 4.6))
        self._draw_matrix(fig.add_axes((0.115, 0.43, 0.3, 0.49)), data["counts"])
        curve = fig.add_axes((0.505, 0.43, 0.465, 0.49))
        styles = {"precision": (plots.BLUE, "-", "o"), "recall": (plots.ORANGE, "--", "s")}
        styles["accuracy"] = (plots.GREY, ":", "^")
        for name, (color, dash, marker) in styles.items():
            curve.plot(self.grid, self.curves[name], dash, color=color)
            curve.plot(data["threshold"], data["rates"][name], marker, color=color, label=name)
        curve.axvline(data["threshold"], color=plots.GREY, linewidth=0.9, linestyle=":", zorder=0)
        curve.set_xlim(0, 1)
        curve.set_ylim(0, 1.04)
        curve.set_xlabel("threshold")
        curve.set_title(f"at {data['threshold']:.2f}", fontsize=10)
        curve.legend(loc="lower center", frameon=True, framealpha=1, edgecolor="white")
        page = fig.add_axes((0.02, 0.0, 0.96, 0.27))
        page.axis("off")
        page.text(0, 0.92, self._headline(data), fontsize=10, va="top")
        if data["worst"] is not None:
            excerpt = "\n".join(_last_lines(data["worst"][1], 106, 4))
            page.text(
                0, 0.72, excerpt, fontsize=9, va="top", linespacing=1.35, family=font_families(), parse_math=False
            )
        return fig

    @staticmethod
    def _draw_matrix(axes, counts):
        shares = counts / counts.sum(axis=1, keepdims=True)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            color = "white" if share > 0.55 else plots.INK
            axes.text(column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", color=color, fontsize=12)
        axes.set_xticks([0, 1], ["negative", "positive"])
        axes.set_yticks([0, 1], ["negative", "positive"], rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("verdict")
        axes.set_ylabel("label")
        axes.set_title("reviews, and share of each row", fontsize=10)

    @staticmethod
    def _headline(data):
        if data["worst"] is None:
            return f"There is no {data['show']} at this threshold."
        return f"The most confident {data['show']}, P(positive) {_probability(data['worst'][0])}; how it ends:"

    def describe(self, data):
        """Say precision and recall here and at 0.5, and how sure the model was of its worst error."""
        now, half = data["rates"], data["rates_at_half"]
        positives, missed = data["counts"][1].sum(), data["counts"][1, 0]
        precision = "undefined, for nothing is called positive" if np.isnan(now["precision"]) else ""
        precision = precision or f"{now['precision']:.3f}"
        sentence = (
            f"threshold {data['threshold']:.2f}: precision {precision}, recall {now['recall']:.3f}, accuracy "
            f"{now['accuracy']:.3f} (recall at 0.50: {half['recall']:.3f}); {missed:,} of {positives:,} positive "
            "reviews are missed. "
        )
        if data["worst"] is None:
            return sentence + self._headline(data)
        return sentence + f"The most confident {data['show']} has P(positive) {_probability(data['worst'][0])}."


def _rates(counts):
    """Return precision, recall and accuracy of a confusion matrix (2, 2), labels by verdicts; precision may be nan."""
    (_, false_positives), (_, hits) = counts
    called = false_positives + hits
    return {
        "precision": hits / called if called else np.nan,
        "recall": hits / counts[1].sum(),
        "accuracy": np.trace(counts) / counts.sum(),
    }


def _last_lines(text, width, count):
    """Return the end of a text as lines that can be drawn, with dots where its beginning is cut off."""
    lines = textwrap.wrap(drawable(" ".join(text.replace("<br />", " ").split())), width)
    if len(lines) <= count:
        return lines
    first, *rest = lines[-count:]
    return [f"… {first}", *rest]


EXPLORERS = (PaddingLens, RunningVerdict, ThresholdDesk)
