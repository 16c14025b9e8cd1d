"""What every test starts from: one thread, no window, no live redraws, fixed seeds."""

import os
import random

# Before torch and matplotlib are imported, and inherited by the kernels that nbval and nbclient start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RNNLIB_LIVE", "0")

import matplotlib

matplotlib.use("Agg")  # not by MPLBACKEND: the kernels of the notebooks need their own inline backend

import numpy as np
import pytest
import torch
from local_server import cache, server  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeds():
    """Let no test depend on the order of the tests."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
