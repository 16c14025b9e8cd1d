"""Training watched live and stoppable: a language model (chapter 2) or a classifier of reviews (chapter 7)."""

import contextlib
import copy
import csv
import math
import time

import torch
import torch.nn.functional as F

from rnnlib import guards
from rnnlib.scratch import perplexity, safe_exp, total, train_epoch
from rnnlib.sentiment import accuracy, score_reviews, train_steps
from rnnlib.text import as_tensor


class History(list):
    """What happened in each epoch: a list of dicts, which can be plotted, saved and handed back to :func:`fit`.

    The keys are ``epoch``, ``train`` and ``valid`` (perplexities; ``valid`` is None where it wasn't measured),
    ``tokens_per_second``, ``seconds`` (training time of this epoch) and ``sample`` (a text or None).

    Attributes:
        keys: the names of the columns, in order.
        status: ``"finished"``, ``"stopped"`` (by the reader), ``"diverged"`` (the gradients exploded, or the last
            training perplexity is more than twice that of guessing) or ``"failed"`` (with another error);
            ``"running"`` until then.
        optimizer: kept so that a resumed training goes on with the same moments.
        landmarks: dict of perplexities to draw beside the curves.
    """

    keys = ("epoch", "train", "valid", "tokens_per_second", "seconds", "sample")

    def __init__(self, landmarks=None):
        guards.check_perplexities(landmarks=landmarks)
        super().__init__()
        self.status, self.optimizer, self.landmarks = "running", None, dict(landmarks or {})

    def copy(self):
        """Return a history of the same epochs, to which more can be added without changing this one."""
        return self.of(self)

    def of(self, rows):
        """Return a history of the same training with these rows."""
        guards.check_loop(rows=rows)
        other = type(self)(self.landmarks)
        other.extend(rows)
        other.status, other.optimizer = self.status, self.optimizer
        return other

    def __getitem__(self, place):
        """Return the row of an epoch, or a history of the epochs in a slice."""
        found = super().__getitem__(place)
        return self.of(found) if isinstance(place, slice) else found

    def __add__(self, rows):
        """Return a history with more rows at its end."""
        return self.of([*self, *rows])

    def column(self, key):
        """Return the epochs and the values of one key, without the epochs in which it wasn't measured."""
        guards.check_known(self.keys, key=key)
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
        guards.check_threshold(perplexity)
        guards.check_known(self.keys, key=key)
        return next((row["epoch"] for row in self if row[key] is not None and row[key] <= perplexity), None)

    def plot(self):
        """Return a matplotlib Figure of the curves."""
        from rnnlib import plots

        return plots.curve_figure(self)

    def to_csv(self, path):
        """Write one line an epoch to a file that a spreadsheet opens."""
        guards.check_path(path=path)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.keys)
            writer.writeheader()
            writer.writerows(self)


class Progress(History):
    """What happened in each round of training a classifier: a list of dicts, as :class:`History`.

    The keys are ``epoch`` (a fraction), ``loss`` (mean cross-entropy in nats while learning), ``valid_loss`` and
    ``accuracy`` (on held-out reviews; None where they weren't measured) and ``seconds``.
    """

    keys = ("epoch", "loss", "valid_loss", "accuracy", "seconds")

    @property
    def best(self):
        """The row with the highest held-out accuracy.

        Raises:
            ValueError: while none is measured.
        """
        measured = [row for row in self if row["accuracy"] is not None]
        if not measured:
            raise ValueError("no held-out accuracy is measured yet: give fit_classifier a valid=(rows, labels)")
        return max(measured, key=lambda row: row["accuracy"])

    def plot(self):
        """Return a matplotlib Figure of the curves."""
        from rnnlib import plots

        return plots.accuracy_figure(self)


WORSE = " · worse than guessing at random: try a smaller learning rate"


def watch(history, rounds, report):
    """Run a training round by round, until it ends, is stopped, or its gradients explode: the shell of every ``fit``.

    Args:
        history: what ``rounds`` appends to; gets the status in the end.
        rounds: an iterator that trains one round at a time and yields the line to show.
        report: called as ``report(history, line, final)`` after every round and once in the end.
    """
    line, history.status = "", "running"
    try:
        for line in rounds:
            report(history, line, False)
        history.status = "finished"
    except KeyboardInterrupt:
        history.status = "stopped"
        done = f"{history[-1]['epoch']:.3g}" if history else "0"
        line = f"stopped after {done} epochs; the model is kept, and history=history goes on"
    except guards.WorseThanGuessing:
        history.status = "diverged"
        line = line if line.endswith(WORSE) else line + WORSE
    except guards.Diverged as error:
        history.status = "diverged"
        epoch = int(history[-1]["epoch"]) + 1 if history else 1
        line = f"stopped in epoch {epoch}: {error}. Try a smaller learning rate, or clip (chapter 3 explains both)"
    except Exception:
        history.status = "failed"
        raise
    # A second press on the stop button may fall into the last drawing; the history must come back all the same.
    with contextlib.suppress(KeyboardInterrupt):
        report(history, line, True)


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
        model, train_batches, valid_batches: as in :func:`rnnlib.scratch.unroll`. Without ``valid_batches`` only the
            training perplexity is shown, which says nothing about other text.
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
    guards.check_sizes(epochs=epochs, valid_every=valid_every, sample_every=sample_every)
    guards.check_learners(model=model)
    guards.check_repeatable(train_batches=train_batches, valid_batches=valid_batches)
    guards.check_fitting(model, train_batches=train_batches, valid_batches=valid_batches)
    guards.check_positive(clip=clip)
    guards.check_rate(lr, optimizer)
    guards.check_perplexities(landmarks=landmarks)
    guards.check_shown(sample, report)
    guards.check_history(history, History)
    guards.check_resumable(history, optimizer)
    history = History() if history is None else history
    optimizer = history.optimizer if optimizer is None else optimizer
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0) if optimizer is None else optimizer
    guards.check_optimizer(optimizer, model)
    guards.check_scheduler(scheduler, optimizer)
    history.landmarks.update(landmarks or {})
    history.optimizer = optimizer
    if lr is not None:
        for group in optimizer.param_groups:
            group["lr"] = lr

    def rounds():
        start, last = time.perf_counter(), len(history) + epochs
        for trained in range(1, epochs + 1):
            row = {"epoch": len(history) + 1, **run_epoch(model, train_batches, optimizer, clip)}
            history.append(row)  # first of all, so that an epoch that was trained is never lost
            if valid_batches is not None and (row["epoch"] % valid_every == 0 or trained == epochs):
                row["valid"] = perplexity(model, valid_batches)
            if sample is not None and (row["epoch"] % sample_every == 0 or trained == epochs):
                row["sample"] = sample()
            if scheduler is not None:
                scheduler.step()
            # The first epochs are slower than the rest, so they are no guide to the time still to go.
            per_epoch = (time.perf_counter() - start) / trained
            line = _status_line(history, last, (epochs - trained) * per_epoch if 3 <= trained < epochs else None)
            guessing = getattr(model, "vocab_size", math.inf)  # its perplexity
            if trained == epochs and not row["train"] <= guessing:
                line += WORSE
            yield line
        guards.check_learned(row["train"], 2 * guessing)

    watch(history, rounds(), report or _live_report())
    return history


def _live_report():
    """Return the report of a language model's training: the live curve in Jupyter, a line of text elsewhere."""
    from rnnlib import plots

    return plots.live_picture()


def run_epoch(model, batches, optimizer, clip):
    """Train one epoch and return what is known of it for the history."""
    guards.check_learners(model=model)
    model.train()
    start = time.perf_counter()
    total_nll, total_tokens = train_epoch(model, batches, optimizer, clip)
    guards.check_counted(total_tokens)
    seconds = time.perf_counter() - start
    return {
        "train": safe_exp(total_nll / total_tokens),
        "valid": None,
        "tokens_per_second": total_tokens / seconds,
        "seconds": seconds,
        "sample": None,
    }


def _status_line(history, last, seconds_left=None):
    """Describe a training in one line: epoch, perplexities, speed and the time still to go."""
    row = history[-1]
    parts = [f"epoch {row['epoch']}/{last}", f"train {row['train']:.2f}"]
    _, valid = history.column("valid")
    if valid:
        parts.append(f"held-out {valid[-1]:.2f} (best {history.best['valid']:.2f} @{history.best['epoch']})")
    parts.append(f"{row['tokens_per_second'] / 1000:.0f}k tokens/s")
    if seconds_left is not None:
        parts.append(_time_left(seconds_left))
    return " · ".join(parts)


def _time_left(seconds):
    """Say how long a training still takes, and how to stop it."""
    return f"ETA {int(seconds) // 60}:{int(seconds) % 60:02d} · ■ stops"


def fit_classifier(model, batches, epochs, optimizer, valid=None, rounds=10, history=None, report=None, **options):
    """Train a classifier, watch it live, and keep the weights of the epoch that was best on held-out reviews.

    The kernel's stop button ends it; the model is then the best so far, and ``history`` goes on.

    Args:
        model, batches, optimizer: as in :func:`rnnlib.sentiment.train_steps`; ``len(batches)`` is the number of
            minibatches in an epoch.
        epochs: (more) passes over the batches.
        valid: held-out rows and labels, measured after every epoch.
        rounds: how often an epoch reports.
        history: the :class:`Progress` of an interrupted training of this model, to go on with.
        report: called as ``report(progress, status, final)``; by default the live curve in Jupyter and a line of text
            elsewhere.
        **options: ``scheduler``, ``clip`` and ``loss``, for :func:`rnnlib.sentiment.train_steps`.

    Returns:
        Progress: one dict a round; ``.plot()`` draws it again.

    Raises:
        ValueError: for a number of epochs below 1, batches that are empty or have no length, or an optimizer of another
            model.
    """
    guards.check_sizes(epochs=epochs, rounds=rounds)
    guards.check_learners(model=model)
    guards.check_batches(batches)
    guards.check_reviews(model, batches)
    guards.check_optimizer(optimizer, model)
    guards.check_scheduler(options.get("scheduler"), optimizer)
    guards.check_positive(clip=options.get("clip", 1.0))
    guards.check_valid(model, valid)
    guards.check_shown(options.get("loss"), report)
    guards.check_history(history, Progress)
    if report is None:
        from rnnlib import plots

        report = plots.live_picture(plots.AccuracyCurve)
    progress = Progress() if history is None else history
    progress.optimizer = optimizer
    kept = {"state": copy.deepcopy(model.state_dict())} if progress.column("accuracy")[1] else {}

    def all_rounds():
        begun, spent = (progress[-1]["epoch"], progress[-1]["seconds"]) if progress else (0, 0.0)
        every, start = math.ceil(len(batches) / rounds), time.perf_counter()
        for epoch in range(epochs):
            model.train()
            losses = []
            for done, loss in enumerate(train_steps(model, batches, optimizer, **options), start=1):
                losses.append(loss)
                if done % every and done < len(batches):
                    continue
                row = {"epoch": begun + epoch + done / len(batches), "loss": total(losses) / len(losses)}
                seconds = spent + time.perf_counter() - start
                progress.append(row | dict(valid_loss=None, accuracy=None, seconds=seconds))
                losses = []
                if done == len(batches) and valid is not None:
                    progress[-1].update(evaluate(model, *valid))
                    if progress[-1] is progress.best:
                        kept["state"] = copy.deepcopy(model.state_dict())
                yield _progress_line(progress, begun + epochs)
        if "loss" not in options:  # of two classes: guessing has a perplexity of 2
            guards.check_learned(safe_exp(progress[-1]["loss"]), 2 * 2)

    watch(progress, all_rounds(), report)
    if kept:
        model.load_state_dict(kept["state"])
    return progress


def evaluate(model, rows, labels):
    """Return held-out loss in nats and accuracy, under the names that :class:`Progress` has for them."""
    guards.check_held_out(model, rows, labels)
    scores, labels = score_reviews(model, rows), as_tensor(labels)
    loss = F.binary_cross_entropy_with_logits(scores, labels.to(scores))
    return {"valid_loss": float(loss), "accuracy": accuracy(scores, labels)}


def _progress_line(progress, epochs):
    """Describe a training in one line: epoch, losses, accuracy and the time still to go."""
    row = progress[-1]
    left = row["seconds"] * (epochs / row["epoch"] - 1)
    parts = [f"epoch {row['epoch']:.1f}/{epochs:.3g}", f"loss {row['loss']:.3f}"]
    if progress.column("accuracy")[1]:
        parts.append(
            f"held-out accuracy {progress.column('accuracy')[1][-1]:.1%} (best {progress.best['accuracy']:.1%})"
        )
    if left:
        parts.append(_time_left(left))
    return " · ".join(parts)
