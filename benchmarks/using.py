"""What a reader waits for: written text, gradient figures, explorers, imports, reviews and whole chapters."""

import json
import os
import statistics
import subprocess
import sys
import time

import nbformat
import torch
from nbclient import NotebookClient
from torch import nn

from benchmarks import clock, record
from rnnlib import data, explore, gradients, layers, plots, scratch, sentiment, text

V = 28
NOTEBOOKS = record.RESULTS.parent.parent / "notebooks"


def milliseconds(times):
    """Return the median and the spread of a rival as two columns."""
    return {"ms": round(1000 * times.median, 1), "spread": times.spread}


def writing(device):
    """Milliseconds to write 200 characters, temperature 0.8, at batch size 1."""
    vocab = text.Vocab("abcdefghijklmnopqrstuvwxyz ")
    rows = []
    for num_hiddens in (256, 512):
        nets = {
            "ScratchRNN": scratch.ScratchRNN(V, num_hiddens, device),
            "FastRNN": layers.FastRNN(V, num_hiddens, device),
        }
        for layer in (nn.RNN, nn.GRU, nn.LSTM):
            nets[f"nn.{layer.__name__}"] = layers.LanguageModel(layer(V, num_hiddens), V).to(device)
        rivals = {
            name: lambda model=model: scratch.generate(model, vocab, "time traveller", 200, 0.8, seed=0)
            for name, model in nets.items()
        }
        measured = clock.side_by_side(rivals, repeats=7, device=device)
        rows += [{"H": num_hiddens, "model": name, **milliseconds(times)} for name, times in measured.items()]
    return rows


def gradient_flow(device):
    """Milliseconds for the figure of the gradient by lag, T = 200, in float64: forward, backward and drawing."""
    rows = []
    for num_hiddens in (128, 512):
        W_hh = gradients.orthogonal_matrix(num_hiddens, 0.9, torch.Generator().manual_seed(0)).to(device)
        drive = torch.randn(200, 1, num_hiddens, dtype=W_hh.dtype, device=device)

        def run(drive, W_hh=W_hh):
            H = torch.zeros_like(drive[0])
            for X in drive:  # X: (N, H)
                H = torch.tanh(X + H @ W_hh)  # (N, H)
            return H

        def figure(run=run, drive=drive):
            fig, ax = plots.new_figure()
            ax.semilogy(gradients.gradient_by_lag(run, drive).cpu())
            return plots.png(fig)

        measured = clock.side_by_side({"figure": figure}, repeats=7, device=device)
        rows.append({"H": num_hiddens, **milliseconds(measured["figure"])})
    return rows


def explorers(device):
    """CPU milliseconds of each explorer for a changed control: measuring, drawing, and the finished picture."""
    rows = []
    for name, (explorer_class, arguments) in explore.catalogue().items():
        explorer = explorer_class(**arguments)
        values = explorer.values()
        found = explorer.measure(**values)
        parts = {
            "measure": lambda e=explorer, v=values: e.measure(**v),
            "draw": lambda e=explorer, d=found: plots.png(e.draw(d)),
        }
        measured = clock.side_by_side(parts, repeats=5)
        row = {part: round(1000 * times.median) for part, times in measured.items()}
        rows.append({"explorer": name, **row, "ms": sum(row.values())})
    return rows


def imports(device):
    """CPU seconds of `import rnnlib` beside `import torch`, in fresh processes that take turns."""
    turns = {"torch": [], "rnnlib": []}
    for _ in range(5):
        for module, times in turns.items():
            code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            times.append(float(run.stdout))
    medians = {module: statistics.median(times) for module, times in turns.items()}
    return [
        {"import": module, "CPU s": round(s, 2), "ratio": round(s / medians["torch"], 2)}
        for module, s in medians.items()
    ]


def imdb_pace(device, steps=40):
    """CPU seconds to load and encode the 50,000 reviews and to train an epoch of chapter 7's recipe, one thread."""
    start = time.process_time()
    train, test = data.load_imdb("train"), data.load_imdb("test")
    loaded = time.process_time()
    vocab = sentiment.review_vocab(review.text for review in train)
    counted = time.process_time()
    rows = [sentiment.encode(review.text, vocab) for review in (*train, *test)]
    encoded = time.process_time()
    tails, labels = [sentiment.tail(row, 400) for row in rows[: len(train)]], torch.tensor([r.label for r in train])
    batches = sentiment.Buckets(tails, labels, 64)
    model = sentiment.new_classifier(len(vocab)).to(device)
    optimizer, _ = sentiment.new_optimizer(model, len(batches))
    started = time.process_time()
    done = 0
    for done, _ in enumerate(sentiment.train_steps(model, batches, optimizer), start=1):
        if done == steps:
            break
    epoch = (time.process_time() - started) * len(batches) / done
    spent = {
        "load": loaded - start,
        "count the words of the training half": counted - loaded,
        f"encode {len(rows):,} reviews": encoded - counted,
        f"train one epoch (from {done} of {len(batches)} batches)": epoch,
    }
    return [{"what": what, "CPU s": round(s, 1)} for what, s in spent.items()] + accuracies()


def accuracies():
    """Return accuracy for CPU minute of the runs that benchmarks.imdb has recorded, if it has."""
    path = record.RESULTS / "imdb.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    runs = [row for row in recorded if row.get("test") and row.get("minutes")]
    return [
        {"what": f"recorded: {row['run']}", "CPU s": round(60 * row["minutes"]), "test accuracy": row["test"]}
        for row in runs
    ]


def chapters(device):
    """Seconds to execute each chapter from a fresh kernel, with short and with full trainings: of CPU and real ones."""
    rows = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        row = {"chapter": path.stem}
        for mode, quick in (("quick", "1"), ("full", "0")):
            row |= {f"{mode}, {kind} s": round(s) for kind, s in execute(path, quick).items()}
            print(row, flush=True)
        rows.append(row)
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "chapter"}
    return [*rows, {"chapter": "all", **total}]


def execute(path, quick):
    """Run a chapter's cells in a kernel of its own; return CPU and real seconds, the start of the kernel included.

    Windows doesn't count the CPU seconds of other processes: there they are 0.
    """
    used, started = os.times(), time.perf_counter()
    settings = os.environ | {"RNNLIB_QUICK": quick, "RNNLIB_LIVE": "0", "OMP_NUM_THREADS": "1"}
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env=settings)
    after = os.times()
    cpu = after.children_user + after.children_system - used.children_user - used.children_system
    return {"CPU": cpu, "wall": time.perf_counter() - started}
