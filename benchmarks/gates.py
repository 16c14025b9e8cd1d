"""Which forget bias suits a text, and which gate does a network miss most? Three seeds each.

    python -m benchmarks.gates

First LSTMs with three forget biases read The Time Machine. Then each part of an LSTM is removed (Greff et al., 2017),
in adding two numbers over 20 steps. Chapter 5 shows both; every run is written to rnnlib/results/gates.json.
"""

import functools

import torch
from torch import nn

import rnnlib
from benchmarks import cells, record
from rnnlib import data, gates, layers, memory_tasks, scratch, text

SEEDS = range(3)
BIAS_PASSES = 4
BIAS_RATES = {0.0: (0.007, 0.014), 1.0: (0.007, 0.014), 3.0: (0.014,)}  # by then the smaller one had lost twice
VARIANTS = ("all gates", "no forget gate", "no input gate", "no output gate", "F = 1 - I", "no tanh of the cell")
ADDING, ADDING_STEPS, ADDING_RATE = ("add the two marked numbers", 20), 300, 0.01


class Ablated(nn.LSTM):
    """An LSTM without one of its parts: a gate that is gone stands at 1.

    Its forget gate starts at sigmoid(1); where the input gate is all there is (F = 1 - I), that one at sigmoid(-1).
    """

    def __init__(self, num_inputs, num_hiddens, variant="all gates"):
        super().__init__(num_inputs, num_hiddens)
        self.variant = variant
        gates.set_forget_bias(self, 1.0)
        if variant == "F = 1 - I":
            with torch.no_grad():
                self.bias_ih_l0[:num_hiddens] = -1.0
                self.bias_hh_l0[:num_hiddens] = 0.0

    def forward(self, inputs, state=None):
        """Read inputs (T, N, D); return the outputs (T, N, H) and the last state, as nn.LSTM does."""
        if state is None:
            state = layers.zero_state(self, inputs.shape[1])
        H, C = (part[0] for part in state)
        rows = inputs @ self.weight_ih_l0.T + (self.bias_ih_l0 + self.bias_hh_l0)  # (T, N, 4 H)
        W, outputs = self.weight_hh_l0.T, []
        for row in rows:
            I, F, G, O = torch.addmm(row, H, W).chunk(4, dim=1)  # noqa: E741 - the names of the gates
            I, O, G = torch.sigmoid(I), torch.sigmoid(O), torch.tanh(G)  # noqa: E741
            F = 1 - I if self.variant == "F = 1 - I" else torch.sigmoid(F)
            if self.variant == "no forget gate":
                C = C + I * G
            elif self.variant == "no input gate":
                C = F * C + G
            else:
                C = F * C + I * G
            shown = C if self.variant == "no tanh of the cell" else torch.tanh(C)
            H = shown if self.variant == "no output gate" else O * shown
            outputs.append(H)
        return torch.stack(outputs), (H[None], C[None])


def read_the_book(new_layer, seed, lr, passes, book):
    """Train a language model on a layer for some passes over the text; return its held-out bits per character."""
    torch.manual_seed(seed)
    layer = new_layer()
    model = cells.new_model("LSTM", 1, layer.hidden_size, book["vocab_size"])
    nn.init.normal_(layer.weight_ih_l0, std=book["vocab_size"] ** -0.5)
    model.rnn = layer
    limit = lambda seconds, done: done / passes  # noqa: E731 - as in benchmarks.cells
    cells.LIMITS["these passes"] = limit
    cells.train(model, book["train_ids"], seed, lr, "these passes")
    perplexity = scratch.perplexity(model, text.sequential_batches(book["valid_ids"], 8, 64, offset=0))
    return round(float(torch.tensor(perplexity).log2()), 3)


def main():
    rnnlib.setup(0)
    corpus = text.clean(data.load_text("time_machine"))
    vocab = text.Vocab(corpus)
    ids = vocab[list(corpus)]
    size, V = int(0.9 * len(ids)), len(vocab)
    book = {"train_ids": ids[:size], "valid_ids": ids[size:], "vocab_size": V}
    rows = []
    for bias, rates in BIAS_RATES.items():
        for lr in rates:
            for seed in SEEDS:
                new_layer = lambda bias=bias: gates.set_forget_bias(nn.LSTM(V, 256), bias)  # noqa: E731
                bits = read_the_book(new_layer, seed, lr, BIAS_PASSES, book)
                rows.append({"part": "forget bias", "bias": bias, "lr": lr, "seed": seed, "bits": bits})
                print(rows[-1], flush=True)
    rows += without_parts()
    record.write("gates", rows)


def without_parts():
    """Return a row for each variant and seed: how many sums are right after a short training."""
    rows = []
    for variant in VARIANTS:
        memory_tasks.CELLS[variant] = functools.partial(Ablated, variant=variant)
        for seed in SEEDS:
            run = memory_tasks.learn(variant, *ADDING, seed, max_steps=ADDING_STEPS, lr=ADDING_RATE)
            row = {"part": "without", "variant": variant, "seed": seed}
            rows.append(row | {"right": round(run["right"], 3), "steps": run["steps"]})
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
