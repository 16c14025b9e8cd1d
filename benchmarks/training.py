"""How fast networks train: beside d2l's own functions, beside the matrix product, by size, and to a perplexity."""

import math
import os
import time

import torch
from torch import nn

from benchmarks import clock
from rnnlib import data, layers, pretrained, scratch, text, training
from rnnlib.d2l_bridge import d2l_model, load_d2l

V, N, T = 28, 32, 35  # vocabulary, batch size and steps of the classic chapter
LAYERS = {"nn.RNN": nn.RNN, "nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}
GATES = {"nn.GRU": 3, "nn.LSTM": 4}  # products with H x H weights in a step; one in all other networks


def networks(num_hiddens, device):
    """Return the book's networks of one size by name; the tanh networks have the same weights."""
    torch.manual_seed(0)
    loop = scratch.ScratchRNN(V, num_hiddens, device, input_scale=0.01)
    quick = layers.FastRNN(V, num_hiddens, device)
    quick.load_state_dict(loop.state_dict())
    on_torch = {name: layers.LanguageModel(layer(V, num_hiddens), V).to(device) for name, layer in LAYERS.items()}
    layers.copy_weights(loop, on_torch["nn.RNN"])
    return {"ScratchRNN": loop, "FastRNN": quick, **on_torch}


def training_step(model, batches):
    """Make a function that trains a model for one pass and returns the mean loss: the library's own ``train_epoch``."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)

    def step():
        nll, tokens = scratch.train_epoch(model, batches, optimizer)
        return nll / tokens

    return step


def d2l_step(net, batches, device, random=True):
    """Make a function that does the same for d2l's model with d2l's own functions."""
    d2l = load_d2l()

    def updater(batch_size):
        d2l.sgd(net.params, 1.0, batch_size)

    def step():
        return math.log(d2l.train_epoch_ch8(net, batches, nn.CrossEntropyLoss(), updater, device, random)[0])

    return step


class CompiledRNN(scratch.ScratchRNN):
    """The loop translated by ``torch.compile``: minutes of compilation, once for each shape."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        compiled = torch.compile(scratch.rnn, dynamic=False)  # or the second size would get slower code for all sizes
        self.recurrence = lambda inputs, H, params: compiled(inputs, H, list(params))


class Loop(nn.Module):
    """The loop of a model as a module of its own, which is what can be recorded as a CUDA graph."""

    def __init__(self, params):
        super().__init__()
        self.params = params

    def forward(self, inputs, H):
        """Return logits and the last state."""
        return scratch.rnn(inputs, H, self.params)


class GraphedRNN(scratch.ScratchRNN):
    """The loop recorded once as a CUDA graph and then launched as one, forward and backward; for one shape alone."""

    def __init__(self, *sizes, device, **options):
        super().__init__(*sizes, device=device, **options)
        sample = torch.zeros(T, N, V, device=device), self.begin_state(N)
        graphed = torch.cuda.make_graphed_callables(Loop(self.params), sample)
        self.recurrence = lambda inputs, H, params: graphed(inputs, H)  # the graph holds the parameters


def products(device):
    """Return functions by name that multiply two matrices of 1024 x 1024: the limit of what a network can reach.

    All networks here but the LSTM call ``torch.mm``. The product of oneDNN is offered for tensors of its own form.
    """
    A, B = torch.randn(2, 1024, 1024, device=device)
    rivals = {"torch.mm": lambda: A @ B}
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        A_dnn, B_dnn = A.to_mkldnn(), B.to_mkldnn()
        rivals["oneDNN"] = lambda: nn.functional.linear(A_dnn, B_dnn)
    return rivals


def operations(name, num_hiddens):
    """Return the floating-point operations for a token, forward and backward, of recurrence and read-out."""
    return 6 * (GATES.get(name, 1) * num_hiddens**2 + V * num_hiddens)


def speed(device):
    """Tokens a second in training, minibatches of 32 x 35, beside d2l's own model and loop and the matrix product."""
    X, Y = torch.randint(V, (2, N, T), generator=torch.Generator().manual_seed(0))
    batches = [(X, Y)]
    rows = []
    for num_hiddens in (256, 512):
        nets = networks(num_hiddens, device)
        net = d2l_model(V, num_hiddens, device)
        for ours, theirs in zip(nets["ScratchRNN"].params, net.params, strict=True):
            theirs.data.copy_(ours.data)
        if device.type == "cuda":
            for name, kind in (("loop, torch.compile", CompiledRNN), ("loop, CUDA graph", GraphedRNN)):
                nets[name] = kind(V, num_hiddens, device=device)
                nets[name].load_state_dict(nets["FastRNN"].state_dict())
        rivals = {"d2l 0.17": d2l_step(net, batches, device)}
        rivals |= {name: training_step(model, batches) for name, model in nets.items()}
        losses = {name: [step() for _ in range(20)] for name, step in rivals.items()}
        measured = clock.side_by_side(rivals | products(device), device=device)
        flops = {name: 2 * 1024**3 / measured[name].median for name in products(device)}
        for name, rate in flops.items():
            rows.append({"H": num_hiddens, "model": f"{name}, 1024 x 1024", "GFLOP/s": round(rate / 1e9, 1)})
        for name in rivals:
            tokens = N * T / measured[name].median
            row = {"H": num_hiddens, "model": name, "GFLOP/s": round(tokens * operations(name, num_hiddens) / 1e9, 1)}
            row["tokens/s"] = round(tokens)
            row["ratio to d2l"] = round(measured["d2l 0.17"].median / measured[name].median, 2)
            row["share of torch.mm"] = round(tokens * operations(name, num_hiddens) / flops["torch.mm"], 2)
            row["spread"] = measured[name].spread
            if name not in GATES:
                apart = max(abs(a - b) for a, b in zip(losses[name], losses["d2l 0.17"], strict=True))
                row["losses apart"] = f"{apart:.0e}"
            rows.append(row)
    return rows


SHAPES = {  # what varies: the hidden sizes, batch sizes and steps that are measured
    "hidden units": [(h, N, T) for h in (64, 128, 256, 512, 1024)],
    "batch size": [(h, n, T) for h in (256, 512) for n in (8, 32, 128, 512)],
    "steps": [(h, N, t) for h in (256, 512) for t in (8, 35, 64, 256)],
}


def scaling(device):
    """Tokens a second and share of the matrix product by hidden size, batch size and steps; chapter 4 draws them."""
    rows = []
    shapes = dict.fromkeys(shape for shapes in SHAPES.values() for shape in shapes)
    for num_hiddens, batch_size, num_steps in shapes:
        batches = [tuple(torch.randint(V, (2, batch_size, num_steps)))]
        rivals = {name: training_step(model, batches) for name, model in networks(num_hiddens, device).items()}
        limit = products(device)["torch.mm"]
        measured = clock.side_by_side(rivals | {"limit": limit}, repeats=3, device=device)
        for name in rivals:
            tokens = batch_size * num_steps / measured[name].median
            share = tokens * operations(name, num_hiddens) / (2 * 1024**3 / measured["limit"].median)
            row = {"H": num_hiddens, "N": batch_size, "T": num_steps, "model": name}
            rows.append(row | {"tokens/s": round(tokens), "share": round(share, 3)})
    return rows


def falling_rate(device):
    """Held-out bits per character of Shakespeare after one pass, with a falling and with a constant learning rate."""
    characters = list(data.load_text("shakespeare"))
    ids = pretrained.CHARACTERS[characters]
    size = int(0.9 * len(ids))
    tenth = math.ceil(size / (10 * 64 * 25))  # minibatches in a round, as in pretrained.train_shakespeare
    rows = []
    for seed in range(3):
        row = {"seed": seed}
        for name, end in (("falling", 0.01), ("constant", 1.0)):
            torch.manual_seed(seed)
            model = pretrained.shakespeare_model().to(device)
            optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
            windows = text.sequential_batches(ids[:size], 64, 25)
            history = training.fit(
                model,
                text.BatchPortions(windows, tenth),
                10,
                valid_batches=text.sequential_batches(ids[size:], 32, 50, offset=0),
                valid_every=10,
                optimizer=optimizer,
                scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, total_iters=10),
                report=lambda *_: None,
            )
            row[name] = round(math.log2(history[-1]["valid"]), 3)
        rows.append(row)
    return rows


def orthogonal_start(model):
    """Draw W_hh orthogonal, which keeps the length of a state."""
    nn.init.orthogonal_(model.params[1])
    return model


def recipes(device):
    """Epochs and CPU seconds until the training perplexity is 1.3 and 1.1; the recipes take turns, epoch by epoch."""
    cleaned = text.clean(data.load_text("time_machine"))
    vocab = text.Vocab(cleaned)
    ids = vocab[list(cleaned)][:10_000]

    def ours(model, make_optimizer=lambda params: torch.optim.SGD(params, lr=1.0, fused=True)):
        optimizer, batches = make_optimizer(model.parameters()), text.sequential_batches(ids, N, T)
        return lambda: training.run_epoch(model, batches, optimizer, 1.0)["train"]

    def theirs(num_hiddens):
        step = d2l_step(d2l_model(len(vocab), num_hiddens, device), text.sequential_batches(ids, N, T), device, False)
        return lambda: math.exp(step())

    def adam(params):
        return torch.optim.Adam(params, lr=2e-3, betas=(0.9, 0.99), fused=True)

    torch.manual_seed(0)
    runs = {
        "d2l's: H=512, all weights 0.01": theirs(512),
        "d2l's with H=256": theirs(256),
        "chapter 2: H=256, W_xh 1.0": ours(scratch.ScratchRNN(len(vocab), 256, device)),
        "the same as a FastRNN": ours(layers.FastRNN(len(vocab), 256, device)),
        "FastRNN, W_hh orthogonal, Adam": ours(orthogonal_start(layers.FastRNN(len(vocab), 256, device)), adam),
    }
    return race_to(runs, levels=(1.3, 1.1), limit=500, device=device)


def race_to(runs, levels, limit, device):
    """Train runs in turns, an epoch each, until all have reached the levels of perplexity; return a row for each."""
    spent, rows = dict.fromkeys(runs, 0.0), {name: {"recipe": name} for name in runs}
    for epoch in range(1, limit + 1):
        for name, run_epoch in runs.items():
            if len(rows[name]) < 1 + 2 * len(levels):
                start = clock.seconds(device)
                perplexity = run_epoch()
                spent[name] += clock.seconds(device) - start
                for level in levels:
                    if perplexity <= level:
                        rows[name].setdefault(f"epoch of {level}", epoch)
                        rows[name].setdefault(f"CPU s to {level}", round(spent[name], 1))
    first = next(iter(rows.values())).get(f"CPU s to {levels[-1]}")
    for row in rows.values():
        needed = row.get(f"CPU s to {levels[-1]}")
        row["times as fast as d2l's"] = round(first / needed, 1) if first and needed else "–"
    return list(rows.values())


def threads(device):
    """Real milliseconds of a training step with one thread and with PyTorch's default; for an idle machine."""
    kept, default = torch.get_num_threads(), os.cpu_count()
    rows = []
    batches = [tuple(torch.randint(V, (2, N, T)))]
    for num_hiddens in (64, 256, 512):
        for name, model in networks(num_hiddens, device).items():
            step = training_step(model, batches)

            def with_threads(count, step=step):
                torch.set_num_threads(count)
                step()

            rivals = {count: lambda c=count, run=with_threads: run(c) for count in (1, default)}
            measured = clock.side_by_side(rivals, now=lambda device: time.perf_counter())
            row = {"H": num_hiddens, "model": name}
            row |= {f"ms with {count}": round(1000 * times.median, 1) for count, times in measured.items()}
            rows.append(row | {"ratio": round(measured[default].median / measured[1].median, 2)})
    torch.set_num_threads(kept)
    return rows
