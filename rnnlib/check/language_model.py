"""Exercises of chapter 2: the recurrent language model from scratch."""

EXERCISES = ()
