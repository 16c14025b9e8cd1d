"""Side-by-side measurements, all in one process on one thread: `make bench`, or `python -m benchmarks speed sampling`.

Times are CPU seconds, so that other work on the machine disturbs them less. Rivals take turns within a measurement; the
median of their times counts, with the fastest and slowest beside it. Results go to benchmarks/results as JSON and as a
Markdown table. A ratio travels between machines, a number of seconds does not.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import rnnlib
from rnnlib import data, plots, sampling, scratch, text, training

RESULTS = Path(__file__).resolve().parent / "results"
V, N, T = 28, 32, 35  # vocabulary, batch size and steps of the classic chapter


def side_by_side(rivals, repeats=7):
    """Return {name: (median, fastest, slowest)} CPU seconds of functions without arguments, taking turns."""
    times = {name: [] for name in rivals}
    for function in rivals.values():
        function()  # warm-up
    for _ in range(repeats):
        for name, function in rivals.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: (statistics.median(ts), min(ts), max(ts)) for name, ts in times.items()}


def corpus():
    """Return the token ids of the cleaned text and its vocabulary."""
    cleaned = text.clean(data.load_text("time_machine"))
    vocab = text.Vocab(text.tokenize(cleaned))
    return vocab[list(cleaned)], vocab


def one_step(model, X, Y, optimizer):
    """Make a function that trains a model for one minibatch, as `train_epoch` does."""

    def step():
        logits, _ = model(X)
        optimizer.zero_grad()
        F.cross_entropy(logits, Y.T.reshape(-1)).backward()
        scratch.clip_gradients(model.parameters(), 1.0)
        optimizer.step()

    return step


class TorchRNN(torch.nn.Module):
    """nn.RNN with a linear read-out, fed with one-hot rows."""

    def __init__(self, num_hiddens):
        super().__init__()
        self.rnn, self.read_out = torch.nn.RNN(V, num_hiddens), torch.nn.Linear(num_hiddens, V)

    def forward(self, ids):
        """Return logits (T * N, V) and the last state."""
        outputs, state = self.rnn(scratch.one_hot(ids, V))
        return self.read_out(outputs.flatten(0, 1)), state


def d2l_step(num_hiddens, X, Y):
    """Make a function that trains d2l's own model for one minibatch with d2l's own functions."""
    from rnnlib.d2l_bridge import load_d2l, scratch_model

    d2l, net = load_d2l(), scratch_model(V, num_hiddens, torch.device("cpu"))

    def step():
        for p in net.params:
            if p.grad is not None:
                p.grad.zero_()
        y_hat, _ = net(X, net.begin_state(batch_size=N, device="cpu"))
        F.cross_entropy(y_hat, Y.T.reshape(-1)).backward()
        d2l.grad_clipping(net, 1)
        d2l.sgd(net.params, 1.0, batch_size=1)

    return step


def speed():
    """Tokens a second in training: scratch, nn.RNN and d2l, at two sizes."""
    rows = []
    X, Y = torch.randint(V, (N, T)), torch.randint(V, (N, T))
    for num_hiddens in (256, 512):
        rivals = {"d2l 0.17": d2l_step(num_hiddens, X, Y)}
        for name, model in (("scratch", scratch.ScratchRNN(V, num_hiddens)), ("nn.RNN", TorchRNN(num_hiddens))):
            rivals[name] = one_step(model, X, Y, torch.optim.SGD(model.parameters(), lr=1.0))
        measured = side_by_side(rivals)
        base = measured["d2l 0.17"][0]
        for name, (median, fastest, slowest) in measured.items():
            rows.append(
                {
                    "H": num_hiddens,
                    "model": name,
                    "tokens/s": round(N * T / median),
                    "ratio to d2l": round(base / median, 2),
                    "spread": f"{1000 * fastest:.1f} to {1000 * slowest:.1f} ms a step",
                }
            )
    return rows


def recipes():
    """Epochs and CPU seconds until the training perplexity is 1.3 and 1.1, for d2l's recipe and for ours."""
    ids, vocab = corpus()
    rows = []
    for name, num_hiddens, scale, epochs in (
        ("d2l's: H=512, all weights 0.01", 512, 0.01, 400),
        ("d2l's with H=256", 256, 0.01, 500),
        ("chapter 2: H=256, W_xh 1.0", 256, 1.0, 130),
    ):
        torch.manual_seed(0)
        model = scratch.ScratchRNN(len(vocab), num_hiddens, input_scale=scale)
        spent, reached, start = 0.0, {}, time.process_time()

        def report(history, status, final, reached=reached, start=start):
            for level in (1.3, 1.1):
                if history[-1]["train"] <= level and level not in reached:
                    reached[level] = (len(history), round(time.process_time() - start, 1))

        training.fit(model, text.sequential_batches(ids[:10_000], N, T), epochs, report=report)
        row = {"recipe": name}
        for level in (1.3, 1.1):
            epoch, spent = reached.get(level, (f"not in {epochs}", "-"))
            row |= {f"epoch of {level}": epoch, f"CPU s to {level}": spent}
        rows.append(row)
    return rows


def writing():
    """CPU milliseconds to write 200 characters."""
    _, vocab = corpus()
    rows = []
    for num_hiddens in (256, 512):
        model = scratch.ScratchRNN(len(vocab), num_hiddens)
        for name, temperature in (("greedy", 0), ("sampled", 0.8)):
            measured = side_by_side(
                {"": lambda m=model, t=temperature: sampling.generate(m, vocab, "time traveller", 200, t, seed=0)}
            )
            rows.append({"H": num_hiddens, "how": name, "ms": round(1000 * measured[""][0], 1)})
    return rows


def explorers():
    """CPU milliseconds from a control's change to the finished picture."""
    from rnnlib import explore

    rows = []
    for name, (explorer_class, arguments) in explore.catalogue().items():
        explorer = explorer_class(**arguments)
        measured = side_by_side({"": lambda e=explorer: plots.png(e.figure())}, repeats=5)
        rows.append({"explorer": name, "ms": round(1000 * measured[""][0])})
    return rows


def imports():
    """Wall seconds of `import rnnlib` beside `import torch`, in fresh processes."""

    def seconds(module):
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    times = {module: statistics.median(seconds(module) for _ in range(5)) for module in ("torch", "rnnlib")}
    return [{"import": module, "s": round(s, 2), "ratio": round(s / times["torch"], 2)} for module, s in times.items()]


PARTS = {part.__name__: part for part in (speed, recipes, writing, explorers, imports)}


def table(rows):
    """Return rows as a Markdown table."""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main():
    """Run the parts named on the command line, or all, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"of {', '.join(PARTS)}; all by default")
    chosen = parser.parse_args().parts or list(PARTS)
    rnnlib.setup(0)
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    RESULTS.mkdir(exist_ok=True)
    for name in chosen:
        rows = PARTS[name]()
        title = PARTS[name].__doc__
        report = f"## {name}\n\n{title} {machine}, one thread.\n\n{table(rows)}\n"
        print(report)
        (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text(report)


if __name__ == "__main__":
    main()
