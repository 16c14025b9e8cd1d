"""Explorers of the chapter on shapes."""

EXPLORERS = ()
