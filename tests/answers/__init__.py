"""Answers to every exercise, right and wrong, with the verdict that each must get: a module for each chapter.

``ANSWERS`` in a module maps the name of an exercise to its answers: a label to the function, and "Right" or a part of
the message. The labels of right answers name their style.
"""
