"""What the models beside the language models read: rows of ids, rows of numbers, letters."""

import reprlib

import torch
from torch import nn

from rnnlib.guards import check_device, check_ids, recording


def num_embeddings(model):
    """Return for how many ids the embedding of a model has a vector, or None where it has no embedding."""
    parts = getattr(model, "modules", list)()
    return next((part.num_embeddings for part in parts if isinstance(part, nn.Embedding)), None)


def check_known(model, ids):
    """Refuse all but a (N, T) tensor of ids that the embedding of a model has a vector for, on its device."""
    if recording():
        return
    size = num_embeddings(model)
    check_ids(ids, float("inf") if size is None else size)
    check_device(ids, model)


def check_sequences(model, inputs):
    """Refuse what a ManyToOne can't read: ids (N, T) of its embedding, or vectors (N, T, input_size)."""
    if recording():
        return
    if model.embedding is not None:
        check_known(model, inputs)
        return
    width = model.rnn.input_size
    if not isinstance(inputs, torch.Tensor) or inputs.dim() != 3 or inputs.shape[2] != width or 0 in inputs.shape:
        found = f"of shape {tuple(inputs.shape)}" if isinstance(inputs, torch.Tensor) else reprlib.repr(inputs)
        raise ValueError(f"inputs must be a tensor (N, T, {width}), at least one sequence of one step, not {found}")
    weight = model.rnn.weight_hh_l0
    if inputs.dtype != weight.dtype and not torch.is_autocast_enabled(weight.device.type):
        raise ValueError(f"inputs are {inputs.dtype}, the model is {weight.dtype}: convert with .to({weight.dtype})")
    check_device(inputs, model)


def check_letters(ids, layer):
    """Refuse all but a (N, T) tensor of letters that a layer reads as one-hot rows."""
    if not recording():
        check_ids(ids, layer.input_size)
        check_device(ids, layer)
