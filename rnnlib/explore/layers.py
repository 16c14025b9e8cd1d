"""Explorers of the chapter on layers."""

EXPLORERS = ()
