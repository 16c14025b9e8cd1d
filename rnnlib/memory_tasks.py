"""Tasks that need a long memory, and how soon each kind of layer learns them (chapter 5)."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import guards
from rnnlib.gates import set_forget_bias
from rnnlib.gradients import clip_gradients
from rnnlib.layers import ManyToOne
from rnnlib.text import one_hot


def remember_first(batch_size, delay, generator):
    """Draw one of four symbols, then ``delay`` steps of noise from four others.

    Returns one-hot inputs (N, delay + 1, 8) and the first symbols (N,), ids from 0 to
    3.
    """
    guards.check_drawn(generator, batch_size=batch_size, delay=delay)
    first = torch.randint(4, (batch_size, 1), generator=generator)
    noise = torch.randint(4, 8, (batch_size, delay), generator=generator)
    inputs = one_hot(torch.cat([first, noise], dim=1).T, 8)  # (N, T, 8)
    return inputs, first[:, 0]  # (N,)


def add_two(batch_size, length, generator):
    """Draw the adding problem (Hochreiter and Schmidhuber, 1997).

    Returns inputs (N, T, 2), a number from 0 to 1 and a mark, and the sums of the two
    marked numbers (N, 1).
    """
    guards.check_adding(batch_size, length, generator)
    numbers = torch.rand(batch_size, length, generator=generator)
    marks = torch.zeros(batch_size, length)
    for start, end in ((0, length // 2), (length // 2, length)):
        place = torch.randint(start, end, (batch_size, 1), generator=generator)
        marks.scatter_(1, place, 1.0)
    inputs = torch.stack([numbers, marks], dim=2)  # (N, T, 2)
    return inputs, (numbers * marks).sum(1, keepdim=True)  # (N, 1)


def _right_class(outputs, targets):
    """Return the share of rows whose largest output is that of the target."""
    return float((outputs.argmax(1) == targets).float().mean())


def _right_within_a_tenth(outputs, targets):
    """Return the share of numbers that are less than 0.1 away from their target."""
    return float(((outputs - targets).abs() < 0.1).float().mean())


@dataclass(frozen=True)
class Task:
    """A task whose difficulty is a length.

    ``inputs (N, T, D), targets = draw(batch_size, length, generator)``; ``chance`` is
    the share that the best constant answer gets right, ``solved`` the share to reach.
    """

    draw: Callable
    num_inputs: int
    num_outputs: int
    loss: Callable
    share_right: Callable
    chance: float
    solved: float


TASKS = {
    "remember the first symbol": Task(remember_first, 8, 4, F.cross_entropy, _right_class, chance=0.25, solved=0.98),
    # The sum of two uniform numbers is within 0.1 of 1 with probability 0.19.
    "add the two marked numbers": Task(add_two, 2, 1, F.mse_loss, _right_within_a_tenth, chance=0.19, solved=0.9),
}

CELLS = {
    "RNN": nn.RNN,
    "GRU": nn.GRU,
    "LSTM, b = 0": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 0.0),
    "LSTM, b = 1": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 1.0),
    "LSTM, b = 3": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 3.0),
}


def learn(cell, task, length, seed, max_steps=1000, lr=0.01, num_hiddens=32, device=None):
    """Train a cell of ``CELLS`` on a task of ``TASKS`` until solved, or ``max_steps``.

    Every minibatch is new, so nothing can be learned by heart. Adam, gradients clipped
    at norm 1. Returns a dict: ``right``, the share on 500 fresh sequences, and the
    ``steps`` and CPU ``seconds`` that it took.
    """
    guards.check_pace(lr, seed, length=length, max_steps=max_steps, num_hiddens=num_hiddens)
    guards.check_place(device)
    guards.check_known(CELLS, cell=cell)
    guards.check_known(TASKS, task=task)
    task = TASKS[task]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = CELLS[cell](task.num_inputs, num_hiddens)
        model = ManyToOne(layer, task.num_outputs).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    started, right = time.process_time(), 0.0
    for step in range(1, max_steps + 1):
        inputs, targets = task.draw(64, length, generator)
        loss = task.loss(model(inputs.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        torch.clear_autocast_cache()  # as in chapter 2
        if step % 50 == 0 or step == max_steps:
            right = _tried(model, task, length, generator, device)
            if right >= task.solved:
                break
    return {"right": right, "steps": step, "seconds": time.process_time() - started}


@torch.no_grad()
def _tried(model, task, length, generator, device):
    """Return the share of right answers on 500 fresh sequences."""
    inputs, targets = task.draw(500, length, generator)
    return task.share_right(model(inputs.to(device)), targets.to(device))


def task_results(rows, task, cell):
    """Return ``{length: shares right, one for each seed}``, at the better of the recorded rates.

    rows: what ``python -m benchmarks.memory`` recorded, ``data.load_results("memory")``.
    """
    guards.check_benchmark_rows(rows, "task", "cell", "length", "lr", "right")
    guards.check_known(TASKS, task=task)
    guards.check_known(CELLS, cell=cell)
    found = {}
    for row in rows:
        if (row["task"], row["cell"]) == (task, cell):
            rates = found.setdefault(row["length"], {})
            rates.setdefault(row["lr"], []).append(row["right"])
    return {length: max(rates.values(), key=sum) for length, rates in found.items()}
