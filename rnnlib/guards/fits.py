"""What a training is given: all of it is looked at before the first step."""

import inspect
import math
import reprlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from rnnlib.guards import IGNORED, WorseThanGuessing, check_counted, check_minibatch, check_range, is_positive
from rnnlib.guards.containers import check_callable, check_ordered
from rnnlib.guards.networks import num_embeddings
from rnnlib.guards.reviews import check_known_ids, check_labels, check_rows


def check_model(model):
    """Refuse what is no network with something to learn."""
    if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"model={reprlib.repr(model)} must be an nn.Module with parameters that learn")


def check_batches(batches):
    """Refuse what isn't one or more minibatches of which it is known how many they are."""
    if not hasattr(batches, "__len__") or not hasattr(batches, "__iter__") or isinstance(batches, (str, Mapping)):
        raise ValueError(
            f"batches: a {type(batches).__name__} doesn't know how many minibatches it has: give a list or "
            "sentiment.Buckets(...)"
        )
    if len(batches) == 0:
        raise ValueError("the batches are empty: give a list or sentiment.Buckets(...) with at least one minibatch")


def check_scheduler(scheduler, optimizer):
    """Refuse a scheduler that would change nothing, or needs more than its turn."""
    if scheduler is None:
        return
    if getattr(scheduler, "optimizer", None) is None or not callable(getattr(scheduler, "step", None)):
        raise ValueError(
            f"scheduler={reprlib.repr(scheduler)} must be one of torch.optim.lr_scheduler (several go into a "
            "ChainedScheduler or SequentialLR)"
        )
    if scheduler.optimizer is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: make it from the one that you give to fit")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau waits for a measure that fit doesn't hand on: take another scheduler")


def check_optimizer(optimizer, model):
    """Refuse an optimizer that holds no parameter of this model, or that can't step by itself."""
    if not isinstance(getattr(optimizer, "param_groups", None), list):
        raise ValueError(
            f"optimizer={reprlib.repr(optimizer)} must be one of torch.optim, such as "
            "torch.optim.Adam(model.parameters())"
        )
    if needs_closure(optimizer):
        raise ValueError(
            f"the optimizer {type(optimizer).__name__} needs a closure that computes the loss again: take one "
            "that steps without, such as SGD or Adam"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(
            "the optimizer holds the parameters of another model, so this one would learn nothing: make the optimizer "
            "after the model, and hand in a history only to go on with the same model"
        )


def needs_closure(optimizer):
    """Tell whether the step of an optimizer, of L-BFGS for one, has an argument that must be given."""
    _, *arguments = inspect.signature(type(optimizer).step).parameters.values()
    return any(part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD for part in arguments)


def check_repeatable(**batches):
    """Refuse batches that are used up after one pass, as a generator is, and what are no batches."""
    for name, given in batches.items():
        if given is None and name == "valid_batches":
            continue
        if isinstance(given, Iterator):  # found out without asking it for a pass
            raise ValueError(
                f"{name} is a {type(given).__name__}, which is used up after one pass: give a list or "
                "sequential_batches(...), which can be looped over again and again"
            )
        if not hasattr(given, "__iter__") or isinstance(given, (str, Mapping, torch.Tensor)):
            raise ValueError(
                f"{name}={reprlib.repr(given)} must be minibatches X, Y: give a list or sequential_batches(...)"
            )
        if hasattr(given, "__len__") and not len(given):
            raise ValueError(f"{name}: the batches are empty, so there is nothing to measure")


def check_fitting(model, **batches):
    """Refuse minibatches that a language model can't read, where looking at them takes none away from training."""
    for given in batches.values():
        given = getattr(given, "batches", given)  # of Portions
        vocab_size = getattr(model, "vocab_size", None)
        if isinstance(given, (list, tuple)):
            for minibatch in given:
                check_minibatch(minibatch, model)
            check_targets_left(given)
        elif vocab_size is not None and isinstance(getattr(given, "corpus", None), torch.Tensor):
            check_range("id", given.corpus, vocab_size)


def check_targets_left(batches):
    """Refuse minibatches all of whose targets are ignored."""
    if all(Y.device.type == "cpu" and bool((Y.long() == IGNORED).all()) for _, Y in batches):
        raise ValueError("all targets of the batches are ignored (-100): there is nothing to learn or to measure")


def check_rate(lr, optimizer):
    """Refuse a learning rate that is no finite number above 0, or that an optimizer of the reader's would ignore."""
    if lr is not None and not (is_positive(lr) and lr < math.inf):
        raise ValueError(f"lr={lr!r} must be a finite number above 0, such as 1.0")
    if lr is not None and optimizer is not None:
        raise ValueError(f"lr={lr!r} would be ignored: give the learning rate to your optimizer")


def check_history(history, kind):
    """Refuse to go on with what is no history of this kind of training."""
    if history is not None and not isinstance(history, kind):
        raise ValueError(
            f"history={reprlib.repr(history)} is a {type(history).__name__}: it must be the {kind.__name__} that an "
            "earlier training returned"
        )


def check_resumable(history, optimizer):
    """Refuse to go on from a history that has no optimizer: another one would silently take its place."""
    if history and optimizer is None and history.optimizer is None:
        raise ValueError(
            "this history has no optimizer, as one that came with a checkpoint: training can't go on as it was, so "
            "give fit an optimizer of your own"
        )


def check_landmarks(landmarks):
    """Refuse landmarks that are no perplexities by name."""
    known = landmarks is None or isinstance(landmarks, Mapping)
    if not known or not all(is_positive(value) for value in (landmarks or {}).values()):
        raise ValueError(
            f"landmarks={reprlib.repr(landmarks)} must be a dict of perplexities, such as {{'unigram': 17.1}}"
        )


def check_shown(sample, report):
    """Refuse what can't be called for a text to show, or to report to."""
    check_callable(sample=sample, report=report)


def check_valid(model, valid):
    """Refuse held-out rows and labels that a classifier can't be measured on."""
    if valid is None:
        return
    if not isinstance(valid, (tuple, list)) or len(valid) != 2:
        raise ValueError(f"valid={reprlib.repr(valid)} must be a pair (rows, labels) of held-out reviews")
    rows, labels = valid
    check_rows(rows)
    check_labels(labels, len(rows))
    check_known_ids(model, rows)


def check_reviews(model, batches):
    """Refuse minibatches of reviews with ids that a classifier has no vector for."""
    rows = getattr(batches, "rows", None)
    if rows is not None:
        check_known_ids(model, rows)
    elif isinstance(batches, (list, tuple)):
        for batch in batches:
            check_reviews_of(model, batch)


def check_reviews_of(model, batch):
    """Refuse what is no minibatch of ids (N, T), lengths (N,) and labels (N,), 0 or 1."""
    parts = batch if isinstance(batch, (tuple, list)) else ()
    tensors = len(parts) == 3 and all(isinstance(part, torch.Tensor) for part in parts)
    if not tensors or parts[0].dim() != 2 or any(part.shape != parts[0].shape[:1] for part in parts[1:]):
        raise ValueError(
            f"batches: {reprlib.repr(batch)} must be tensors ids (N, T), lengths (N,) and labels (N,), as "
            "sentiment.Buckets makes them"
        )
    if (size := num_embeddings(model)) is not None:
        check_range("id", parts[0], size)


def check_threshold(perplexity):
    """Refuse a perplexity that none can be compared with."""
    if not is_positive(perplexity):
        raise ValueError(f"perplexity={reprlib.repr(perplexity)} must be a number above 0")


def check_history_to_save(history):
    """Refuse to save what holds no epochs and landmarks."""
    check_ordered(history=history)
    if not isinstance(getattr(history, "landmarks", None), Mapping):
        raise ValueError(f"history={reprlib.repr(history)} must be the History that fit returned")


def check_learned(perplexity, limit):
    """Raise :class:`WorseThanGuessing` for a training perplexity beyond a limit, or none at all."""
    if not perplexity <= limit:
        raise WorseThanGuessing(f"the training perplexity {perplexity:.3g} is more than twice that of guessing")


def check_positions(counts):
    """Refuse to divide by nothing at any position of the windows (T,)."""
    check_counted(len(counts))
    if any(count.shape != counts[0].shape for count in counts):
        raise ValueError("the batches have windows of unlike length: give them all the same number of steps")
    if not sum(counts).all():
        raise ValueError("the batches have a position at which all targets are ignored: there is no mean to take")
