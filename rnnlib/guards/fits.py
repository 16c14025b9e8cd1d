"""What a training is given."""

import math
from collections.abc import Iterator

import torch

from rnnlib.guards import is_positive


def check_batches(batches):
    """Raise a ValueError that names the remedy unless these are one or more minibatches, and it is known how many."""
    if not hasattr(batches, "__len__"):
        raise ValueError(
            f"a {type(batches).__name__} doesn't know how many minibatches it has: give a list or "
            "sentiment.Buckets(...)"
        )
    if len(batches) == 0:
        raise ValueError("the batches are empty: give a list or sentiment.Buckets(...) with at least one minibatch")


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


def check_repeatable(**batches):
    """Raise a ValueError that names the remedy if some batches are used up after one pass, as a generator is."""
    for name, given in batches.items():
        if isinstance(given, Iterator):  # found out without asking it for a pass
            raise ValueError(
                f"{name} is a {type(given).__name__}, which is used up after one pass: give a list or "
                "sequential_batches(...), which can be looped over again and again"
            )


def check_rate(lr, optimizer):
    """Refuse a learning rate that is no finite number above 0, or that an optimizer of the reader's would ignore."""
    if lr is not None and not (is_positive(lr) and lr < math.inf):
        raise ValueError(f"lr={lr!r} must be a finite number above 0, such as 1.0")
    if lr is not None and optimizer is not None:
        raise ValueError(f"lr={lr!r} would be ignored: give the learning rate to your optimizer")
