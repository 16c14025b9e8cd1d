"""Training any language model of the book, watched live and stoppable (built in chapter 2)."""

import contextlib
import csv
import math
import numbers
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from rnnlib.scratch import check_sizes, clip_gradients, detach


class Diverged(ArithmeticError):
    """The gradients are no longer finite numbers; raised before they reach the parameters."""


class History(list):
    """What happened in each epoch: a list of dicts, which can be plotted, saved and handed back to :func:`fit`.

    The keys are ``epoch``, ``train`` and ``valid`` (perplexities; ``valid`` is None where it wasn't measured),
    ``tokens_per_second``, ``seconds`` (training time of this epoch) and ``sample`` (a text or None).

    Attributes:
        keys: the names of the columns, in order.
        status: ``"finished"``, ``"stopped"`` (by the reader), ``"diverged"`` or ``"failed"`` (with another error);
            ``"running"`` until then.
        optimizer: kept so that a resumed training goes on with the same moments.
        landmarks: dict of perplexities to draw beside the curves.
    """

    keys = ("epoch", "train", "valid", "tokens_per_second", "seconds", "sample")

    def __init__(self, landmarks=None):
        super().__init__()
        self.status, self.optimizer, self.landmarks = "running", None, dict(landmarks or {})

    def column(self, key):
        """Return the epochs and the values of one key, without the epochs in which it wasn't measured."""
        rows = [row for row in self if row[key] is not None]
        return [row["epoch"] for row in rows], [row[key] for row in rows]

    @property
    def best(self):
        """The row with the lowest held-out perplexity, or the lowest training perplexity without held-out text.

        Raises:
            ValueError: while no epoch is finished.
        """
        if not self:
            raise ValueError("the history is empty: no epoch of this training was finished")
        measured = [row for row in self if row["valid"] is not None]
        return min(measured, key=lambda row: row["valid"]) if measured else min(self, key=lambda row: row["train"])

    def first_epoch(self, perplexity, key="train"):
        """Return the first epoch whose perplexity is at most this, or None."""
        return next((row["epoch"] for row in self if row[key] is not None and row[key] <= perplexity), None)

    def plot(self):
        """Return a matplotlib Figure of the curves."""
        from rnnlib import plots

        return plots.curve_figure(self)

    def to_csv(self, path):
        """Write one line an epoch to a file that a spreadsheet opens."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.keys)
            writer.writeheader()
            writer.writerows(self)


def unroll(model, batches):
    """Run a model over minibatches, carrying its state where row i of a batch continues row i of the one before.

    The state is cut off the graph between minibatches (:func:`rnnlib.scratch.detach`); where the batches are not
    ``contiguous``, as with random windows, it starts afresh each time.

    Args:
        model: ``logits, state = model(ids, state)`` with ``model.begin_state(batch_size, device)``.
        batches: yields ids X and targets Y, both (N, T).

    Yields:
        logits (T * N, V) and targets (T * N,), time first, on the model's device.
    """
    device = next(model.parameters()).device
    state = None
    for X, Y in batches:
        if state is None or not getattr(batches, "contiguous", False):
            state = model.begin_state(len(X), device)
        logits, state = model(X.to(device), detach(state))
        yield logits, Y.T.reshape(-1).to(device)


def train_epoch(model, batches, optimizer, clip=1.0):
    """Train once through the minibatches.

    Args:
        model, batches: as in :func:`unroll`.
        optimizer: a torch optimizer of the model's parameters.
        clip: the largest gradient norm to allow; ``math.inf`` never clips.

    Returns:
        The total negative log-likelihood of the targets, in nats, while they were learned, and their number.

    Raises:
        Diverged: when the gradient is no longer finite; the parameters keep their last finite values.
    """
    total_nll, total_tokens = 0.0, 0
    for logits, targets in unroll(model, batches):
        loss = F.cross_entropy(logits, targets)
        model.zero_grad()
        loss.backward()
        norm = clip_gradients(model.parameters(), clip)
        if not torch.isfinite(norm):
            raise Diverged(f"the loss is {float(loss.detach()):.3g}, the gradient {norm}")
        optimizer.step()
        total_nll += float(loss.detach()) * len(targets)
        total_tokens += len(targets)
    return total_nll, total_tokens


@torch.no_grad()
def mean_nll(model, batches):
    """Return the mean negative log-likelihood per token, in nats, of all the tokens in the batches.

    Divided by ln 2 it is the number of bits per token. Dropout is off meanwhile.

    Raises:
        ValueError: when the batches are empty.
    """
    was_training = model.training
    model.eval()
    total_nll, total_tokens = 0.0, 0
    try:
        for logits, targets in unroll(model, batches):
            total_nll += float(F.cross_entropy(logits, targets, reduction="sum"))
            total_tokens += len(targets)
    finally:
        model.train(was_training)
    return mean(total_nll, total_tokens)


def perplexity(model, batches):
    """Return exp(total negative log-likelihood / total tokens): the geometric mean of 1 / p over all tokens.

    It is 1 for a model that is always certain and right, and the vocabulary size for one that guesses uniformly.

    Raises:
        ValueError: when the batches are empty.
    """
    return safe_exp(mean_nll(model, batches))


def mean(total, count):
    """Return total / count, or say why there is nothing to divide."""
    if count == 0:
        raise ValueError(
            "the batches are empty: give a list or sequential_batches(...), which can be looped over again and again "
            "(a generator is used up after one pass)"
        )
    return total / count


def safe_exp(nats):
    """Return e to this power, infinity where a float can't hold it."""
    return math.inf if nats > 700 else math.exp(nats)


def fit(
    model,
    train_batches,
    epochs,
    *,
    valid_batches=None,
    valid_every=1,
    optimizer=None,
    lr=None,
    clip=1.0,
    scheduler=None,
    sample=None,
    sample_every=10,
    landmarks=None,
    history=None,
    report=None,
):
    """Train a language model and watch its perplexity, on the training and on held-out text.

    The kernel's stop button (■, or I I on the keyboard) ends the training early: the model keeps what it has learned,
    and the returned history can be handed in again to go on.

    Args:
        model, train_batches, valid_batches: as in :func:`unroll`. Without ``valid_batches`` only the training
            perplexity is shown, which says nothing about other text.
        epochs: how many (more) epochs to train.
        valid_every: measure the held-out perplexity every so many epochs, and after the last.
        optimizer: any torch optimizer; by default that of the ``history``, or else plain SGD.
        lr: the learning rate of the default optimizer, for a new SGD 1.0; an optimizer of yours has its own.
        clip: the largest gradient norm to allow; ``math.inf`` never clips.
        scheduler: a torch learning-rate scheduler, stepped after every epoch.
        sample: a function without arguments that returns a text to show, such as a line the model has written.
        sample_every: call it every so many epochs.
        landmarks: dict of perplexities to draw beside the curves, such as ``{"unigram": 17.1}``.
        history: the :class:`History` of an interrupted training, to go on with.
        report: called as ``report(history, status, final)`` after every epoch; by default the live curve in Jupyter
            and a line of text elsewhere.

    Returns:
        History: one dict an epoch; ``.plot()`` draws it again, ``.to_csv(path)`` saves it.

    Raises:
        ValueError: for a number of epochs below 1, batches that are empty or a generator, an ``lr`` or ``clip`` that is
            not above 0, or an optimizer or scheduler that doesn't fit. Such a history stays as it was.
    """
    check_sizes(epochs=epochs, valid_every=valid_every, sample_every=sample_every)
    check_repeatable(train_batches=train_batches, valid_batches=valid_batches)
    if not is_positive(clip):
        raise ValueError(f"clip={clip!r} must be above 0: it is the largest gradient norm to allow")
    if history is None:
        history = History()
    optimizer = choose_optimizer(model, optimizer, history.optimizer, lr)
    check_scheduler(scheduler, optimizer)
    history.landmarks.update(landmarks or {})
    history.status, history.optimizer = "running", optimizer
    if lr is not None:
        for group in optimizer.param_groups:
            group["lr"] = lr
    if report is None:
        from rnnlib import plots

        report = plots.live_report()
    start, last, explanation = time.perf_counter(), len(history) + epochs, ""
    try:
        for trained in range(1, epochs + 1):
            row = {"epoch": len(history) + 1, **run_epoch(model, train_batches, history.optimizer, clip)}
            history.append(row)  # first of all, so that an epoch that was trained is never lost
            if valid_batches is not None and (row["epoch"] % valid_every == 0 or trained == epochs):
                row["valid"] = perplexity(model, valid_batches)
            if sample is not None and (row["epoch"] % sample_every == 0 or trained == epochs):
                row["sample"] = sample()
            if scheduler is not None:
                scheduler.step()
            # The first epochs are slower than the rest, so they are no guide to the time still to go.
            per_epoch = (time.perf_counter() - start) / trained
            seconds_left = (epochs - trained) * per_epoch if trained >= 3 else None
            report(history, status_line(history, last, seconds_left), False)
        history.status = "finished"
        if history[-1]["train"] > getattr(model, "vocab_size", math.inf):
            explanation = f"{status_line(history, last)} · worse than guessing at random: try a smaller learning rate"
    except KeyboardInterrupt:
        history.status = "stopped"
        explanation = f"stopped after {len(history)} epochs; the model is kept, fit(..., history=history) goes on"
    except Diverged as error:
        history.status = "diverged"
        explanation = (
            f"stopped in epoch {len(history) + 1}: {error}. The gradients exploded; the model keeps its last finite "
            "weights. Try a smaller learning rate, or a smaller clip (chapter 3 explains both)"
        )
    except Exception:
        history.status = "failed"
        raise
    # A second press on the stop button may fall into the last drawing; the history must come back all the same.
    with contextlib.suppress(KeyboardInterrupt):
        report(history, explanation or status_line(history, last), True)
    return history


def choose_optimizer(model, given, kept, lr):
    """Return the optimizer to train with: the one given, else the one kept in a history, else plain SGD."""
    if lr is not None and not (is_positive(lr) and lr < math.inf):
        raise ValueError(f"lr={lr!r} must be a finite number above 0, such as 1.0")
    if given is not None and lr is not None:
        raise ValueError(f"lr={lr!r} would be ignored: give the learning rate to your optimizer")
    optimizer = given or kept or torch.optim.SGD(model.parameters(), lr=1.0)
    check_optimizer(optimizer, model)
    return optimizer


def is_positive(value):
    """Tell whether a value is a number above 0."""
    return isinstance(value, numbers.Real) and value > 0


def check_repeatable(**batches):
    """Raise a ValueError that names the remedy if some batches are used up after one pass, as a generator is."""
    for name, given in batches.items():
        if isinstance(given, Iterator):  # found out without asking it for a pass
            raise ValueError(
                f"{name} is a {type(given).__name__}, which is used up after one pass: give a list or "
                "sequential_batches(...), which can be looped over again and again"
            )


def check_scheduler(scheduler, optimizer):
    """Raise a ValueError that names the remedy if a scheduler would change nothing, or needs more than its turn."""
    if scheduler is None:
        return
    if scheduler.optimizer is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: make it from the one that you give to fit")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau waits for a measure that fit doesn't hand on: take another scheduler")


def check_optimizer(optimizer, model):
    """Raise a ValueError that names the remedy if an optimizer holds no parameter of this model."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(
            "the optimizer holds the parameters of another model, so this one would learn nothing: make the optimizer "
            "after the model, and hand in a history only to go on with the same model"
        )


def run_epoch(model, batches, optimizer, clip):
    """Train one epoch and return what is known of it for the history."""
    model.train()
    start = time.perf_counter()
    total_nll, total_tokens = train_epoch(model, batches, optimizer, clip)
    seconds = time.perf_counter() - start
    return {
        "train": safe_exp(mean(total_nll, total_tokens)),
        "valid": None,
        "tokens_per_second": total_tokens / seconds,
        "seconds": seconds,
        "sample": None,
    }


def status_line(history, last, seconds_left=None):
    """Describe a training in one line: epoch, perplexities, speed and the time still to go."""
    row = history[-1]
    parts = [f"epoch {row['epoch']}/{last}", f"train {row['train']:.2f}"]
    _, valid = history.column("valid")
    if valid:
        parts.append(f"held-out {valid[-1]:.2f} (best {history.best['valid']:.2f} @{history.best['epoch']})")
    parts.append(f"{row['tokens_per_second'] / 1000:.0f}k tokens/s")
    if seconds_left is not None:
        parts.append(f"ETA {int(seconds_left) // 60}:{int(seconds_left) % 60:02d} · ■ stops")
    return " · ".join(parts)
