"""Exercises of the chapter on directions."""

EXERCISES = ()
