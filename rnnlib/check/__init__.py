"""Exercises that check themselves: ``check.NAME(my_answer)`` prints a verdict, ``hint=1`` to ``3`` adds a hint."""

from rnnlib.check import directions, gates, gradients, language_model, layers, shapes
from rnnlib.check.frame import Exercise, Wrong, expect_close, expect_shape

EXERCISES = (
    *shapes.EXERCISES,
    *language_model.EXERCISES,
    *gradients.EXERCISES,
    *layers.EXERCISES,
    *gates.EXERCISES,
    *directions.EXERCISES,
)
globals().update({exercise.name: exercise for exercise in EXERCISES})

__all__ = [
    "EXERCISES",
    "Exercise",
    "Wrong",
    "catalogue",
    "expect_close",
    "expect_shape",
    *(exercise.name for exercise in EXERCISES),
]


def catalogue():
    """Return all exercises by name, each with its chapter, stars, checker, solution and known wrong answers."""
    return {exercise.name: exercise for exercise in EXERCISES}
