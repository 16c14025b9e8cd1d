"""LSTM and GRU from tensors, and tasks that need a long memory (built in chapter 5)."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib.gradients import clip_gradients
from rnnlib.guards import check_sizes
from rnnlib.layers import ManyToOne
from rnnlib.scratch import ScratchRNN, rnn_params


def lstm_gates(X, H, params):
    """Compute the gates of an LSTM for one time step (Gers, Schmidhuber and Cummins, 2000).

    Args:
        X, H: the input (N, D) and the hidden state before it (N, H).
        params: the first twelve tensors of :func:`lstm_params`.

    Returns:
        I_t, F_t, C_tilde, O_t: input gate, forget gate, candidate and output gate, each (N, H).
    """
    W_xi, W_hi, b_i, W_xf, W_hf, b_f, W_xc, W_hc, b_c, W_xo, W_ho, b_o = params
    I_t = torch.sigmoid(X @ W_xi + H @ W_hi + b_i)
    F_t = torch.sigmoid(X @ W_xf + H @ W_hf + b_f)
    C_tilde = torch.tanh(X @ W_xc + H @ W_hc + b_c)
    O_t = torch.sigmoid(X @ W_xo + H @ W_ho + b_o)
    return I_t, F_t, C_tilde, O_t


def lstm_step(X, state, params):
    """Take an LSTM one time step on: C_t = F_t C_{t-1} + I_t C_tilde, H_t = O_t tanh(C_t), elementwise.

    Args:
        X: the input (N, D).
        state: the hidden state and the memory cell (H, C), each (N, H).
        params: the first twelve tensors of :func:`lstm_params`.

    Returns:
        The output, which is the new H, and the new state (H, C).
    """
    H, C = state
    I_t, F_t, C_tilde, O_t = lstm_gates(X, H, params)
    C = F_t * C + I_t * C_tilde  # (N, H)
    H = O_t * torch.tanh(C)  # (N, H)
    return H, (H, C)


def gru_step(X, H, params):
    """Take a GRU one time step on: H_t = Z_t H_{t-1} + (1 - Z_t) H_tilde, elementwise.

    The reset gate acts after the product with W_hh, as in PyTorch and cuDNN and in the first version of Cho et al.
    (2014); many texts put it before.

    Args:
        X, H: the input (N, D) and the hidden state before it (N, H).
        params: the first ten tensors of :func:`gru_params`.

    Returns:
        The output and the new state, which are both the new H (N, H).
    """
    W_xr, W_hr, b_r, W_xz, W_hz, b_z, W_xh, W_hh, b_xh, b_hh = params
    R_t = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)  # (N, H)
    Z_t = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)  # (N, H)
    H_tilde = torch.tanh(X @ W_xh + b_xh + R_t * (H @ W_hh + b_hh))  # (N, H)
    H = Z_t * H + (1 - Z_t) * H_tilde  # (N, H)
    return H, H


def scan(step, inputs, state, params):
    """Run one recurrent layer over time.

    Args:
        step: ``output, state = step(X, state, params)`` for one time step, such as :func:`lstm_step`.
        inputs: (T, N, D), time first: one-hot rows, or the outputs of a layer below.
        state: the state before the first step.
        params: of the layer.

    Returns:
        The outputs of all steps (T, N, H) and the state after the last.
    """
    outputs = []
    for X in inputs:  # X: (N, D)
        output, state = step(X, state, params)
        outputs.append(output)  # (N, H)
    return torch.stack(outputs), state


def lstm(inputs, state, params):
    """Run an LSTM over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        state: (H, C) before the first step, each (N, H).
        params: as :func:`lstm_params` draws them.

    Returns:
        logits (T * N, V), time first, and the state (H, C) after the last step.
    """
    *gates, W_hq, b_q = params
    outputs, state = scan(lstm_step, inputs, state, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, state


def gru(inputs, H, params):
    """Run a GRU over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        H: the state before the first step, (N, H).
        params: as :func:`gru_params` draws them.

    Returns:
        logits (T * N, V), time first, and the state after the last step (N, H).
    """
    *gates, W_hq, b_q = params
    outputs, H = scan(gru_step, inputs, H, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, H


def gated_params(num_gates, *sizes, **options):
    """Draw the parameters of a layer with gates: three tensors of :func:`rnn_params` for each, and one read-out.

    Args:
        num_gates: how many gates and candidates.
        sizes, options: as in :func:`rnn_params`.

    Returns:
        [W_x (V, H), W_h (H, H), b (H,)] for each gate in turn, then W_hq (H, V), b_q (V,).
    """
    gates = [rnn_params(*sizes, **options)[:3] for _ in range(num_gates)]
    return [*itertools.chain(*gates), *rnn_params(*sizes, **options)[3:]]


def lstm_params(*sizes, **options):
    """Draw the 14 parameter tensors of an LSTM.

    Args:
        sizes, options: as in :func:`rnn_params`.

    Returns:
        W_x (V, H), W_h (H, H), b (H,) of the input gate, the forget gate, the candidate and the output gate, in the
        order of PyTorch; then W_hq (H, V), b_q (V,).
    """
    return gated_params(4, *sizes, **options)


def gru_params(*sizes, **options):
    """Draw the 12 parameter tensors of a GRU.

    Args:
        sizes, options: as in :func:`rnn_params`.

    Returns:
        W_x (V, H), W_h (H, H), b (H,) of the reset gate, the update gate and the candidate, in the order of PyTorch;
        the candidate's second bias b_hh (H,); then W_hq (H, V), b_q (V,).
    """
    *gates, W_hq, b_q = gated_params(3, *sizes, **options)
    return [*gates, torch.zeros_like(gates[-1]), W_hq, b_q]


class ScratchLSTM(ScratchRNN):
    """A language model with one LSTM layer (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000).

    Args:
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the fourteen tensors of :func:`lstm_params`.
    """

    draw_params = staticmethod(lstm_params)
    recurrence = staticmethod(lstm)

    def begin_state(self, batch_size, device=None):
        """Return the hidden state and the memory cell before the first token: two tensors of zeros (N, H)."""
        H = super().begin_state(batch_size, device)
        return H, torch.zeros_like(H)


class ScratchGRU(ScratchRNN):
    """A language model with one GRU layer (Cho et al., 2014), its reset gate placed as in PyTorch.

    Args:
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the twelve tensors of :func:`gru_params`.
    """

    draw_params = staticmethod(gru_params)
    recurrence = staticmethod(gru)


def from_torch(layer, which="l0"):
    """Return the parameters of one level of an ``nn.LSTM`` or ``nn.GRU`` as the tensors of this module.

    The tensors are views or sums of the layer's own, so gradients flow back to it. PyTorch keeps two biases for each
    gate; only their sum matters, save for the candidate of a GRU, where the reset gate stands between them.

    Args:
        layer: an ``nn.LSTM`` or ``nn.GRU``.
        which: the end of the names of its parameters, such as ``"l1"`` or ``"l0_reverse"``.

    Returns:
        The tensors of :func:`lstm_params` or :func:`gru_params` without the read-out: 12 or 10.

    Raises:
        ValueError: for a layer of another kind, without biases or with a projection.
    """
    if not isinstance(layer, (nn.LSTM, nn.GRU)) or not layer.bias or layer.proj_size:
        raise ValueError(f"{layer}: give an nn.LSTM or nn.GRU with biases, without proj_size")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    packed = [getattr(layer, f"{name}_{which}") for name in names]
    by_gate = zip(*(tensor.split(layer.hidden_size) for tensor in packed), strict=True)
    *gates, (W_x, W_h, b_x, b_h) = by_gate
    params = [part for W, U, b, c in gates for part in (W.T, U.T, b + c)]
    biases = [b_x, b_h] if isinstance(layer, nn.GRU) else [b_x + b_h]
    return [*params, W_x.T, W_h.T, *biases]


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
