"""LSTM and GRU from tensors (chapter 5)."""

import itertools
import math

import torch
from torch import nn

from rnnlib import guards
from rnnlib.scratch import ScratchRNN, rnn_params


def lstm_gates(X, H, params):
    """Return I_t, F_t, C_tilde, O_t of an LSTM, each (N, H) (Gers et al., 2000).

    X, H: input (N, D) and hidden state (N, H); params: the first twelve of
    :func:`lstm_params`.
    """
    W_xi, W_hi, b_i, W_xf, W_hf, b_f, W_xc, W_hc, b_c, W_xo, W_ho, b_o = params
    I_t = torch.sigmoid(X @ W_xi + H @ W_hi + b_i)
    F_t = torch.sigmoid(X @ W_xf + H @ W_hf + b_f)
    C_tilde = torch.tanh(X @ W_xc + H @ W_hc + b_c)
    O_t = torch.sigmoid(X @ W_xo + H @ W_ho + b_o)
    return I_t, F_t, C_tilde, O_t


def lstm_step(X, state, params):
    """Take an LSTM one step on: C_t = F_t C_{t-1} + I_t C_tilde, H_t = O_t tanh(C_t).

    Products are elementwise. state: (H, C), each (N, H). Returns the output, which is
    the new H, and the new state.
    """
    H, C = state
    I_t, F_t, C_tilde, O_t = lstm_gates(X, H, params)
    C = F_t * C + I_t * C_tilde  # (N, H)
    H = O_t * torch.tanh(C)  # (N, H)
    return H, (H, C)


def gru_step(X, H, params):
    """Take a GRU one step on: H_t = Z_t H_{t-1} + (1 - Z_t) H_tilde, elementwise.

    The reset gate acts after the product with W_hh, as in PyTorch and cuDNN and in the
    first version of Cho et al. (2014); many texts put it before. Returns H_t twice, as
    the output and as the state; params: the first ten of :func:`gru_params`.
    """
    W_xr, W_hr, b_r, W_xz, W_hz, b_z, W_xh, W_hh, b_xh, b_hh = params
    R_t = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)  # (N, H)
    Z_t = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)  # (N, H)
    H_tilde = torch.tanh(X @ W_xh + b_xh + R_t * (H @ W_hh + b_hh))  # (N, H)
    H = Z_t * H + (1 - Z_t) * H_tilde  # (N, H)
    return H, H


def scan(step, inputs, state, params):
    """Run one recurrent layer over time: ``output, state = step(X, state, params)``.

    inputs: (T, N, D), time first: one-hot rows, or the outputs of a layer below.
    Returns the outputs of all steps (T, N, H) and the state after the last.
    """
    guards.check_scan(step, inputs)
    outputs = []
    for X in inputs:  # X: (N, D)
        output, state = step(X, state, params)
        outputs.append(output)  # (N, H)
    return torch.stack(outputs), state


def lstm(inputs, state, params):
    """Run an LSTM over inputs (T, N, V) from (H, C), each (N, H); params: all fourteen.

    Returns the logits (T * N, V), time first, and the state after the last step.
    """
    guards.check_scratch_lstm(inputs, state, params)
    *gates, W_hq, b_q = params
    outputs, state = scan(lstm_step, inputs, state, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, state


def gru(inputs, H, params):
    """Run a GRU over inputs (T, N, V) from the state H (N, H); params: all twelve.

    Returns the logits (T * N, V), time first, and the state after the last step.
    """
    guards.check_scratch_gru(inputs, H, params)
    *gates, W_hq, b_q = params
    outputs, H = scan(gru_step, inputs, H, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, H


def gated_params(num_gates, *sizes, **options):
    """Draw W_x (V, H), W_h (H, H), b (H,) for each gate, then W_hq (H, V), b_q (V,).

    sizes, options: as in :func:`rnnlib.scratch.rnn_params`, which draws them.
    """
    guards.check_sizes(num_gates=num_gates)
    gates = [rnn_params(*sizes, **options)[:3] for _ in range(num_gates)]
    return [*itertools.chain(*gates), *rnn_params(*sizes, **options)[3:]]


def lstm_params(*sizes, **options):
    """Draw the 14 tensors of an LSTM: input gate, forget gate, candidate, output gate.

    That is PyTorch's order; for each W_x (V, H), W_h (H, H), b (H,); then W_hq, b_q.
    """
    return gated_params(4, *sizes, **options)


def gru_params(*sizes, **options):
    """Draw the 12 tensors of a GRU: reset gate, update gate, candidate.

    For each W_x (V, H), W_h (H, H), b (H,); then the candidate's second bias b_hh (H,),
    W_hq and b_q.
    """
    *gates, W_hq, b_q = gated_params(3, *sizes, **options)
    return [*gates, torch.zeros_like(gates[-1]), W_hq, b_q]


class ScratchLSTM(ScratchRNN):
    """A language model with one LSTM layer (Hochreiter and Schmidhuber, 1997)."""

    draw_params = staticmethod(lstm_params)
    recurrence = staticmethod(lstm)

    def begin_state(self, batch_size, device=None):
        """Return hidden state and memory cell before the first token: zeros (N, H)."""
        H = super().begin_state(batch_size, device)
        return H, torch.zeros_like(H)


class ScratchGRU(ScratchRNN):
    """A language model with one GRU layer (Cho et al., 2014), reset as in PyTorch."""

    draw_params = staticmethod(gru_params)
    recurrence = staticmethod(gru)


def from_torch(layer, which="l0"):
    """Return one level of an ``nn.LSTM`` or ``nn.GRU`` as our tensors.

    They are 12 or 10 views or sums, so gradients flow back. Of PyTorch's two biases
    only the sum matters, save for a GRU's candidate. which: the end of their names,
    such as ``"l1"`` or ``"l0_reverse"``.
    """
    guards.check_gated(layer, which)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    packed = [getattr(layer, f"{name}_{which}") for name in names]
    by_gate = zip(*(tensor.split(layer.hidden_size) for tensor in packed), strict=True)
    *gates, (W_x, W_h, b_x, b_h) = by_gate
    params = [part for W, U, b, c in gates for part in (W.T, U.T, b + c)]
    biases = [b_x, b_h] if isinstance(layer, nn.GRU) else [b_x + b_h]
    return [*params, W_x.T, W_h.T, *biases]


@torch.no_grad()
def set_forget_bias(lstm, bias):
    """Give every forget gate of an ``nn.LSTM`` the same bias, and return the layer.

    sigmoid(bias) is the share of the memory cell that survives one step, before any
    training. PyTorch adds up two biases: one takes the value, the other becomes zero.
    """
    guards.check_lstm(lstm, bias)
    forget = slice(lstm.hidden_size, 2 * lstm.hidden_size)
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_ih"):
            parameter[forget] = bias
        if name.startswith("bias_hh"):
            parameter[forget] = 0.0
    return lstm


def half_life(bias):
    """Return after how many steps half of a cell is left, its gate at sigmoid(bias).

    f^n = 1/2 gives n = ln 2 / ln(1 / f), and ln(1 / sigmoid(b)) = ln(1 + e^-b).
    """
    guards.check_numbers(bias=bias)
    return math.log(2) / math.log1p(math.exp(-bias))
