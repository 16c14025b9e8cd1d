"""Explorers: one question each, a pure function from values to a figure, and thin controls (all chapters)."""

from rnnlib.explore import (
    attention,
    beyond,
    directions,
    forecasting,
    gates,
    gradients,
    layers,
    scratch,
    sentiment,
    shipping,
    start,
    text,
)
from rnnlib.explore.frame import Explorer

EXPLORERS = (
    *start.EXPLORERS,
    *text.EXPLORERS,
    *scratch.EXPLORERS,
    *gradients.EXPLORERS,
    *layers.EXPLORERS,
    *gates.EXPLORERS,
    *directions.EXPLORERS,
    *sentiment.EXPLORERS,
    *forecasting.EXPLORERS,
    *beyond.EXPLORERS,
    *attention.EXPLORERS,
    *shipping.EXPLORERS,
)
globals().update({explorer.__name__: explorer for explorer in EXPLORERS})

__all__ = ["EXPLORERS", "Explorer", "catalogue", *(explorer.__name__ for explorer in EXPLORERS)]


def catalogue():
    """Return all explorers: a dict from name to the class and the arguments that build a small instance of it.

    >>> explorer_class, arguments = catalogue()["TemperatureDesk"]
    >>> explorer_class(**arguments).figure(temperature=0.5)
    """
    return {explorer.__name__: (explorer, explorer.default_arguments()) for explorer in EXPLORERS}
