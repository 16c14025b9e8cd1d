"""Explorers of the chapter on directions."""

EXPLORERS = ()
