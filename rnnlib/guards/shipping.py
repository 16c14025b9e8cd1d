"""What leaves the notebook: steps, whole numbers for weights, files, and sessions that wait."""

import importlib.util

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from rnnlib.guards import is_whole


def check_batch_example(inputs):
    """Refuse an example of one: an exporter takes a size of 1 for a constant."""
    if len(inputs) < 2:
        raise ValueError("the example has a batch of 1, which an exporter takes for a constant: give it two rows")


def check_ship():
    """Raise an ImportError that names the remedy unless ONNX files can be written and run."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)} not installed: pip install -e '.[ship]', or make install")
    if not hasattr(torch.onnx, "ops"):
        raise ImportError(f"PyTorch {torch.__version__} can't write these ONNX files: it takes 2.8 or newer")


def check_bits(bits):
    """Refuse what an int8 can't hold, and one bit, which leaves nothing but a zero."""
    if not is_whole(bits, 2) or bits > 8:
        raise ValueError(f"bits={bits!r} must be a whole number from 2 to 8")


def check_matrix(W):
    """Refuse all but a matrix of finite real numbers."""
    if not isinstance(W, torch.Tensor) or W.dim() != 2 or not W.is_floating_point() or not W.numel():
        found = f"{W.dtype} of shape {tuple(W.shape)}" if isinstance(W, torch.Tensor) else f"a {type(W).__name__}"
        raise ValueError(f"weights to quantise must be a matrix of real numbers, (R, C), not {found}")
    if not torch.isfinite(W).all():
        raise ValueError("the weights hold nan or inf, which no whole number stands for: did the training diverge?")


def check_weights(model):
    """Refuse a model that these files and the steps in NumPy and JavaScript can't hold."""
    layer, readout = getattr(model, "rnn", None), getattr(model, "linear", None)
    if not isinstance(layer, nn.RNNBase) or not isinstance(readout, nn.Linear):
        raise ValueError(
            f"a {type(model).__name__} can't be shipped: it needs a layer of torch.nn as .rnn and an nn.Linear as "
            ".linear"
        )
    if layer.bidirectional:
        raise ValueError("a layer of both directions has no step: it would have to read the end of the text first")
    if not layer.bias or layer.proj_size or getattr(layer, "nonlinearity", "tanh") != "tanh":
        raise ValueError(f"{layer}: give one with biases, without proj_size, with tanh")


def check_shipped(path):
    """Refuse a file that :func:`rnnlib.shipping.save_quantised` has not written, or that is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            right = "tokens" in (file.metadata() or {}) and "rnn.weight_hh_l0.scale" in file.keys()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} can't be read ({error}): write it anew with save_quantised") from None
    if not right:
        raise ValueError(f"{path} holds no quantised network: write one with save_quantised(path, model, tokens)")


def check_token_ids(inputs, vocab_size):
    """Refuse ids outside 0 to V - 1: NumPy would take -1 for the last row. Vectors (N, D) pass."""
    if inputs.ndim == 1 and not (np.issubdtype(inputs.dtype, np.integer) and len(inputs)):
        raise ValueError(f"ids must be whole numbers, at least one, not {inputs.dtype} of shape {inputs.shape}")
    if inputs.ndim == 1 and (inputs.min() < 0 or inputs.max() >= vocab_size):
        wrong = inputs[(inputs < 0) | (inputs >= vocab_size)][0]
        raise ValueError(f"id {wrong} is outside 0 to {vocab_size - 1}: was it coded with another vocabulary?")


def check_room(free):
    """Refuse a session more than there are rows."""
    if not free:
        raise ValueError("all places are taken: close a session first, or make the pool larger")


def check_free(row, free):
    """Refuse to give a row back twice: two sessions would get it."""
    if row in free:
        raise ValueError(f"row {row} was given back already: close a session once")


def check_idle(row, waiting):
    """Refuse a second character of a session before the first is answered: one of its two states would be lost."""
    if row in waiting and not waiting[row].done():
        raise ValueError(f"row {row} waits for an answer already: send one character after the other")
