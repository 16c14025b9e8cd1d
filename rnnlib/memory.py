"""How long a gated network remembers: forget biases, and tasks that need a long memory (built in chapter 5)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib.models import ManyToOne
from rnnlib.scratch import check_sizes, clip_gradients


@torch.no_grad()
def set_forget_bias(lstm, bias):
    """Give every forget gate of an LSTM the same bias, in all layers and directions.

    PyTorch adds up two biases for each gate, so one takes the value and the other becomes zero.

    Args:
        lstm: an ``nn.LSTM``; its gates stand in the order input, forget, candidate, output.
        bias: the value; sigmoid(bias) is the share of the memory cell that survives one step, before any training.

    Returns:
        The same layer.

    Raises:
        ValueError: for a layer that is no ``nn.LSTM``, or has no biases.
    """
    if not isinstance(lstm, nn.LSTM) or not lstm.bias:
        raise ValueError(f"{lstm} has no forget bias: give an nn.LSTM with bias=True")
    forget = slice(lstm.hidden_size, 2 * lstm.hidden_size)
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_ih"):
            parameter[forget] = bias
        if name.startswith("bias_hh"):
            parameter[forget] = 0.0
    return lstm


def half_life(bias):
    """Return after how many steps half of a memory cell is left, when its forget gate stays at sigmoid(bias).

    f^n = 1/2 has the solution n = ln 2 / ln(1 / f), and ln(1 / sigmoid(b)) = ln(1 + e^-b).

    >>> round(half_life(1.0), 1)
    2.2
    """
    return math.log(2) / math.log1p(math.exp(-bias))


def remember_first(batch_size, delay, generator):
    """Draw sequences that begin with one of four symbols, followed by noise; the answer is the first symbol.

    Args:
        batch_size: sequences N.
        delay: steps of noise, drawn from four other symbols.
        generator: the torch.Generator that draws.

    Returns:
        One-hot inputs (N, delay + 1, 8) and targets (N,), ids from 0 to 3.
    """
    first = torch.randint(4, (batch_size, 1), generator=generator)
    noise = torch.randint(4, 8, (batch_size, delay), generator=generator)
    inputs = F.one_hot(torch.cat([first, noise], dim=1), 8).float()  # (N, T, 8)
    return inputs, first[:, 0]  # (N,)


def add_two(batch_size, length, generator):
    """Draw the adding problem (Hochreiter and Schmidhuber, 1997): the sum of the two numbers that are marked.

    Args:
        batch_size: sequences N.
        length: steps T, at least 2; one mark stands in each half.
        generator: the torch.Generator that draws.

    Returns:
        Inputs (N, T, 2), a number from 0 to 1 and a mark, and targets (N, 1).
    """
    numbers = torch.rand(batch_size, length, generator=generator)
    marks = torch.zeros(batch_size, length)
    for start, end in ((0, length // 2), (length // 2, length)):
        place = torch.randint(start, end, (batch_size, 1), generator=generator)
        marks.scatter_(1, place, 1.0)
    inputs = torch.stack([numbers, marks], dim=2)  # (N, T, 2)
    return inputs, (numbers * marks).sum(1, keepdim=True)  # (N, 1)


def right_class(outputs, targets):
    """Return the share of rows whose largest output is that of the target."""
    return float((outputs.argmax(1) == targets).float().mean())


def right_within_a_tenth(outputs, targets):
    """Return the share of numbers that are less than 0.1 away from their target."""
    return float(((outputs - targets).abs() < 0.1).float().mean())


@dataclass(frozen=True)
class Task:
    """A task whose difficulty is a length.

    Attributes:
        draw: ``inputs (N, T, D), targets = draw(batch_size, length, generator)``.
        num_inputs, num_outputs: D, and the numbers in an answer.
        loss: to minimise.
        share_right: the share of right answers, for outputs and targets.
        chance: the share that the best constant answer gets right.
        solved: the share from which on the task counts as solved.
    """

    draw: Callable
    num_inputs: int
    num_outputs: int
    loss: Callable
    share_right: Callable
    chance: float
    solved: float


TASKS = {
    "remember the first symbol": Task(remember_first, 8, 4, F.cross_entropy, right_class, chance=0.25, solved=0.98),
    # The sum of two uniform numbers is within 0.1 of 1 with probability 0.19.
    "add the two marked numbers": Task(add_two, 2, 1, F.mse_loss, right_within_a_tenth, chance=0.19, solved=0.9),
}

CELLS = {
    "RNN": nn.RNN,
    "GRU": nn.GRU,
    "LSTM, b = 0": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 0.0),
    "LSTM, b = 1": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 1.0),
    "LSTM, b = 3": lambda *sizes: set_forget_bias(nn.LSTM(*sizes), 3.0),
}


def learn(cell, task, length, seed, max_steps=1000, lr=0.01, num_hiddens=32, batch_size=64, device=None):
    """Train a recurrent layer on a task until it is solved or the steps are used up.

    Every minibatch is new, so there is no training text to learn by heart. Adam, gradients clipped at norm 1.

    Args:
        cell: a name in ``CELLS``.
        task: a name in ``TASKS``.
        length: the delay or the number of steps.
        seed: of weights and data.
        max_steps, lr, num_hiddens, batch_size, device: of the training.

    Returns:
        dict: ``right``, the share of right answers on 500 fresh sequences; ``steps`` and CPU ``seconds`` that it took.

    Raises:
        ValueError: for an unknown cell or task, or max_steps that is not a whole number of at least 1.
    """
    check_sizes(max_steps=max_steps)
    for name, value, known in (("cell", cell, CELLS), ("task", task, TASKS)):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, known))}")
    task = TASKS[task]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ManyToOne(CELLS[cell](task.num_inputs, num_hiddens), task.num_outputs).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    started, right = time.process_time(), 0.0
    for step in range(1, max_steps + 1):
        inputs, targets = task.draw(batch_size, length, generator)
        loss = task.loss(model(inputs.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == max_steps:
            with torch.no_grad():
                inputs, targets = task.draw(500, length, generator)
                right = task.share_right(model(inputs.to(device)), targets.to(device))
            if right >= task.solved:
                break
    return {"right": right, "steps": step, "seconds": time.process_time() - started}
