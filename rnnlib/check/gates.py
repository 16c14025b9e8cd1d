"""Exercises of the chapter on gates."""

EXERCISES = ()
