"""Exercises that check themselves: ``check.NAME(my_answer)`` prints a verdict, ``hint=1`` to ``3`` adds a hint."""

from rnnlib.check import (
    _frame,
    attention,
    beyond,
    directions,
    forecasting,
    gates,
    gradients,
    layers,
    scratch,
    sentiment,
    shipping,
    text,
)
from rnnlib.check._frame import Exercise, Wrong, expect_close, expect_shape

EXERCISES = (
    *text.EXERCISES,
    *scratch.EXERCISES,
    *gradients.EXERCISES,
    *layers.EXERCISES,
    *gates.EXERCISES,
    *directions.EXERCISES,
    *sentiment.EXERCISES,
    *forecasting.EXERCISES,
    *beyond.EXERCISES,
    *attention.EXERCISES,
    *shipping.EXERCISES,
)
globals().update({exercise.name: exercise for exercise in EXERCISES})

__all__ = [
    "EXERCISES",
    "Exercise",
    "Wrong",
    "catalogue",
    "expect_close",
    "expect_shape",
    "progress",
    *(exercise.name for exercise in EXERCISES),
]


def catalogue():
    """Return all exercises by name, each with its chapter, stars, checker, solution and known wrong answers."""
    return {exercise.name: exercise for exercise in EXERCISES}


def progress(chapter):
    """Print which exercises of a chapter are solved, and for the others which section to read again.

    The newest verdict of this session counts; after a restart of the kernel, run the checks again.

    Raises:
        ValueError: for a chapter without exercises.
    """
    exercises = [exercise for exercise in EXERCISES if exercise.chapter == chapter]
    if not exercises:
        chapters = sorted({exercise.chapter for exercise in EXERCISES})
        raise ValueError(f"chapter {chapter!r} has no exercises: give one of {chapters}")
    _frame.print_progress(exercises)
