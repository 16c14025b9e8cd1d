"""Explorers of the chapter on gradients."""

EXPLORERS = ()
