"""Sizes, numbers and choices; what is not finite."""

import numbers

import torch


class Diverged(ArithmeticError):
    """The gradients are no longer finite numbers; raised before they reach the parameters."""


def recording():
    """Tell whether a program is being recorded, so that sizes are symbols and values can't be read."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_whole(value, least):
    """Tell whether a value is a whole number, Python's or NumPy's, of at least this; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def is_positive(value):
    """Tell whether a value is a number above 0."""
    return isinstance(value, numbers.Real) and value > 0


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not recording() and not is_whole(size, 1):
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1")


def check_positive(**values):
    """Refuse what is not a number above 0; infinity is one."""
    for name, value in values.items():
        if not is_positive(value):
            raise ValueError(f"{name}={value!r} must be above 0: it is the largest gradient norm to allow")


def check_known(known, **values):
    """Refuse a name that is not among those known."""
    for name, value in values.items():
        if value not in known:
            raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, known))}")


def check_finite(norm):
    """Raise :class:`Diverged` unless a gradient norm is a finite number: the one value that a step reads back."""
    if not torch.isfinite(norm):
        raise Diverged(f"the gradients exploded, their norm is {float(norm)}; the model keeps its last finite weights")


def check_counted(count):
    """Refuse to divide by nothing."""
    if count == 0:
        raise ValueError(
            "the batches are empty, or all their targets are ignored: give a list or sequential_batches(...), which "
            "can be looped over again and again (a generator is used up after one pass)"
        )
