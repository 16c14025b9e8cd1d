"""RNN, GRU and LSTM on the whole of The Time Machine, at equal numbers of parameters and equal training time.

    python -m benchmarks.cells

All networks have about 300,000 parameters and train for 60 CPU seconds on one thread; a second block gives them all the
same number of passes over the text instead. Chapter 5 shows the table; it is written to benchmarks/results/cells.json.
About 20 CPU minutes.
"""

import json
import math
import platform
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import rnnlib
from rnnlib import data, models, text, training
from rnnlib.ngrams import NGram
from rnnlib.scratch import clip_gradients

RESULT = Path(__file__).resolve().parent / "results" / "cells.json"
LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
# Hidden units so that each network has close to 300,000 parameters; the learning rate is the best of three that were
# tried for the network with one layer.
NETWORKS = (
    ("RNN", 1, 516, 3e-3),
    ("RNN", 2, 306, 3e-3),
    ("GRU", 1, 295, 1e-2),
    ("GRU", 2, 175, 1e-2),
    ("LSTM", 1, 255, 1.4e-2),
    ("LSTM", 2, 152, 1.4e-2),
    ("LSTM", 3, 119, 1.4e-2),
)


def new_model(cell, num_layers, num_hiddens, vocab_size, dropout=0.4, blank=0.1):
    """Build a language model; ``blank`` is the share of input numbers that are dropped, ``dropout`` that of outputs."""
    layer = LAYERS[cell](vocab_size, num_hiddens, num_layers, dropout=dropout / 2 if num_layers > 1 else 0.0)
    embedding = nn.Sequential(nn.Embedding(vocab_size, vocab_size), nn.Dropout(blank))
    return models.LanguageModel(layer, vocab_size, embedding, dropout)
