"""What the recipes of chapter 11 refuse: shares that can't be dropped, rows that can't grow, layers without W_hh."""

from torch import nn
from torch.nn.utils import parametrize


def check_share(p):
    """Raise a ValueError unless p is a probability below 1."""
    if not 0 <= p < 1:
        raise ValueError(f"p={p!r} must be a share to drop: at least 0, below 1")


def check_start(start, goal):
    """Raise a ValueError unless rows begin no longer than they shall become."""
    if start > goal:
        raise ValueError(f"start={start} is above the goal, {goal}: rows only grow")


def check_weights(rnn_layer):
    """Raise a ValueError unless a layer has recurrent weights, not dropped yet."""
    if not isinstance(rnn_layer, nn.RNNBase):
        raise ValueError(f"{rnn_layer} has no W_hh: give an nn.RNN, nn.GRU or nn.LSTM")
    if parametrize.is_parametrized(rnn_layer):
        raise ValueError("this layer drops weights already: make a new one")
