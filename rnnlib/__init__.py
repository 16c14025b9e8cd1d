"""The helper package of the textbook: small modules, each written out in the chapter that teaches it.

>>> import rnnlib
>>> device = rnnlib.setup(seed=0)

The submodules are loaded when first used, so that ``import rnnlib`` costs no more than ``import torch``.
"""

import importlib

from rnnlib.environment import budget, environment_report, finding, setup

__version__ = "0.1.0"

_SUBMODULES = (
    "attention",
    "baselines",
    "beyond",
    "check",
    "d2l_bridge",
    "data",
    "directions",
    "drawings",
    "explore",
    "forecasting",
    "gates",
    "gradients",
    "guards",
    "layers",
    "lettering",
    "mazes",
    "memory_tasks",
    "pages",
    "plots",
    "pretrained",
    "regularised",
    "scratch",
    "sentiment",
    "serve",
    "shipping",
    "sessions",
    "text",
    "training",
)
__all__ = ["__version__", "budget", "environment_report", "finding", "setup", *_SUBMODULES]


def __getattr__(name):
    """Load a submodule on first use (PEP 562)."""
    if name in _SUBMODULES:
        return importlib.import_module(f"rnnlib.{name}")
    raise AttributeError(f"module 'rnnlib' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    """Name the submodules too, so that Tab completes them."""
    return sorted(__all__)
