"""Exercises of the chapter on shapes."""

EXERCISES = ()
