"""Explorers of the chapter on gates."""

EXPLORERS = ()
