"""RNN, GRU and LSTM on the whole of The Time Machine, at equal numbers of parameters and equal training time.

    python -m benchmarks.cells

Every network has about 300,000 parameters and trains for 60 CPU seconds on one thread, with two seeds. Then the cells
with one layer once more, with equal passes over the text in place of equal time, and without dropout. Chapter 5 shows
the table; every run is written to rnnlib/results/cells.json.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

import rnnlib
from benchmarks import record
from rnnlib import data, layers, scratch, text
from rnnlib.gradients import clip_gradients

LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
# Cell, layers, hidden units for about 300,000 parameters, and the best of four learning rates that were tried
# with one layer.
NETWORKS = (
    ("RNN", 1, 519, 4e-3),
    ("RNN", 2, 306, 4e-3),
    ("GRU", 1, 297, 1.2e-2),
    ("GRU", 2, 176, 1.2e-2),
    ("LSTM", 1, 256, 1.4e-2),
    ("LSTM", 2, 152, 1.4e-2),
    ("LSTM", 3, 118, 1.4e-2),
)
SECONDS, PASSES = 60, 12
LIMITS = {
    "time": lambda seconds, passes: seconds / SECONDS,
    "passes": lambda seconds, passes: passes / PASSES,
}


def new_model(cell, num_layers, num_hiddens, vocab_size, dropout=0.4, blank=0.1):
    """Build a language model that drops a share ``blank`` of its inputs and ``dropout`` of its outputs in training."""
    between = dropout / 2 if num_layers > 1 else 0.0
    layer = LAYERS[cell](vocab_size, num_hiddens, num_layers, dropout=between)
    nn.init.normal_(layer.weight_ih_l0, std=vocab_size**-0.5)  # the input moves a unit by about one (chapter 2)
    embedding = nn.Sequential(nn.Embedding(vocab_size, vocab_size), nn.Dropout(blank))
    return layers.LanguageModel(layer, vocab_size, embedding, dropout)


def train(model, train_ids, seed, lr, limit):
    """Train with Adam, the learning rate falling from lr to 0, up to a limit; return CPU seconds and tokens."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    batches = text.sequential_batches(train_ids, 32, 64, seed=seed)
    tokens, started = 0, time.process_time()
    while True:
        for logits, targets in scratch.unroll(model, batches):
            seconds = time.process_time() - started
            done = LIMITS[limit](seconds, tokens / len(train_ids))
            if done >= 1:
                return seconds, tokens
            optimizer.param_groups[0]["lr"] = lr * (1 - done)
            optimizer.zero_grad()
            F.cross_entropy(logits, targets).backward()
            clip_gradients(model.parameters(), 1.0)
            optimizer.step()
            tokens += len(targets)


def measure(network, seed, train_ids, valid_ids, vocab_size, limit, **options):
    """Train one network and return its row of the table."""
    cell, num_layers, num_hiddens, lr = network
    torch.manual_seed(seed)
    model = new_model(cell, num_layers, num_hiddens, vocab_size, **options)
    seconds, tokens = train(model, train_ids, seed, lr, limit)
    held_out = scratch.perplexity(model, text.sequential_batches(valid_ids, 8, 64, offset=0))
    seen = scratch.perplexity(model, text.sequential_batches(train_ids[: len(valid_ids)], 8, 64, offset=0))
    return {
        "cell": cell,
        "layers": num_layers,
        "hidden": num_hiddens,
        "lr": lr,
        "dropout": options.get("dropout", 0.4),
        "seed": seed,
        "equal": limit,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 1),
        "passes": round(tokens / len(train_ids), 1),
        "tokens_per_second": round(tokens / seconds),
        "train": round(seen, 3),
        "held_out": round(held_out, 3),
        "bits": round(math.log2(held_out), 3),
    }


def main():
    rnnlib.setup(0)
    corpus = text.clean(data.load_text("time_machine"))
    vocab = text.Vocab(corpus)
    ids = vocab[list(corpus)]
    size = int(0.9 * len(ids))
    setting = {"train_ids": ids[:size], "valid_ids": ids[size:], "vocab_size": len(vocab)}
    plan = [(network, seed, "time", {}) for seed in (0, 1) for network in NETWORKS]
    one_layer = [network for network in NETWORKS if network[1] == 1]
    plan += [(network, 0, "passes", {}) for network in one_layer]
    plan += [(network, 0, "time", {"dropout": 0.0, "blank": 0.0}) for network in one_layer]
    rows = []
    for network, seed, limit, options in plan:
        rows.append(measure(network, seed, limit=limit, **setting, **options))
        print(rows[-1], flush=True)
    record.write("cells", rows)


if __name__ == "__main__":
    main()
