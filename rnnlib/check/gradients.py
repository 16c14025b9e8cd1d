"""Exercises of the chapter on gradients."""

EXERCISES = ()
