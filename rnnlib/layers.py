"""Recurrent networks on ``torch.nn``, and one faster than chapter 2's (chapter 4)."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence

from rnnlib import guards
from rnnlib.scratch import ScratchRNN
from rnnlib.text import one_hot


def num_directions(rnn_layer):
    """Return 2 for a bidirectional recurrent layer, 1 for any other."""
    guards.check_recurrent(rnn_layer)
    return 2 if rnn_layer.bidirectional else 1


def zero_state(rnn_layer, batch_size, device=None):
    """Return the state of an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM`` before it reads.

    Zeros (layers * directions, N, H); for an LSTM two of them, hidden state and memory
    cell.
    """
    guards.check_recurrent(rnn_layer)
    guards.check_begin(batch_size, device)
    rows = rnn_layer.num_layers * num_directions(rnn_layer)
    shape = (rows, batch_size, rnn_layer.hidden_size)
    H = rnn_layer.weight_hh_l0.new_zeros(shape, device=device)
    return (H, torch.zeros_like(H)) if isinstance(rnn_layer, nn.LSTM) else H


def end_state(rnn_layer, state):
    """Return what the last layer knows at the end, (N, directions * H).

    state: the last one, ``h_n`` (layers * directions, N, H), or the tuple of an LSTM.
    """
    guards.check_end_state(rnn_layer, state)
    H = state[0] if isinstance(state, tuple) else state
    return torch.cat(H[-num_directions(rnn_layer) :].unbind(), dim=1)


class LanguageModel(nn.Module):
    """A language model on any recurrent layer, time first: ids in, scores out.

    The layer reads one-hot rows, so its ``input_size`` is V, unless there is an
    ``embedding`` from ids (T, N) to vectors (T, N, input_size). ``dropout`` is the
    share of its outputs that the read-out misses in training.
    """

    def __init__(self, rnn_layer, vocab_size, embedding=None, dropout=0.0):
        super().__init__()
        guards.check_shares(dropout=dropout)
        guards.check_layer(rnn_layer)
        guards.check_input_size(rnn_layer, vocab_size, embedding)
        self.vocab_size, self.embedding, self.rnn = vocab_size, embedding, rnn_layer
        self.dropout = nn.Dropout(dropout)
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        self.linear = nn.Linear(width, vocab_size).to(rnn_layer.weight_hh_l0)

    def begin_state(self, batch_size, device=None):
        """Return the state before the first token, as :func:`zero_state` does."""
        return zero_state(self.rnn, batch_size, device)

    def forward(self, ids, state=None):
        """Read ids (N, T) from a state, zeros by default.

        Returns the logits (T * N, V), time first, and the last state.
        """
        guards.check_inputs(self, ids, state)
        if state is None:
            state = self.begin_state(ids.shape[0])
        if self.embedding is None:
            inputs = one_hot(ids, self.vocab_size, self.linear.weight.dtype)
        else:
            inputs = self.embedding(ids.T.long())  # (T, N, input_size)
        output, state = self.rnn(inputs, state)  # (T, N, directions * H)
        logits = self.linear(self.dropout(output))  # (T, N, V)
        return logits.flatten(0, 1), state


@torch.no_grad()
def copy_weights(source, target):
    """Make a :class:`LanguageModel` on ``nn.RNN`` equal to a ScratchRNN, or back.

    PyTorch stores its matrices as (outputs, inputs), and has a second bias: zeros that
    don't learn take its place, so that both train alike too.
    """
    from_scratch = isinstance(source, ScratchRNN)
    scratch, model = (source, target) if from_scratch else (target, source)
    guards.check_same_network(scratch, model)
    W_xh, W_hh, b_h, W_hq, b_q = scratch.params
    rnn, linear = model.rnn, model.linear
    pairs = [(W_xh.T, rnn.weight_ih_l0), (W_hh.T, rnn.weight_hh_l0)]
    pairs += [(W_hq.T, linear.weight), (b_q, linear.bias)]
    for ours, theirs in pairs:
        theirs.copy_(ours) if from_scratch else ours.copy_(theirs)
    if from_scratch:
        rnn.bias_ih_l0.copy_(b_h)
        rnn.bias_hh_l0.zero_().requires_grad_(False)
    else:
        b_h.copy_(rnn.bias_ih_l0 + rnn.bias_hh_l0)


class ManyToOne(nn.Module):
    """Read a whole sequence, then answer once, from the state at its end.

    Inputs are ids (N, T) with an ``embedding`` into vectors (N, T, input_size), or such
    vectors; the layer is time first. ``num_outputs`` are one logit a class, or numbers.
    """

    def __init__(self, rnn_layer, num_outputs, embedding=None):
        super().__init__()
        guards.check_layer(rnn_layer)
        guards.check_answers(num_outputs, embedding)
        self.embedding, self.rnn = embedding, rnn_layer
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        self.linear = nn.Linear(width, num_outputs).to(rnn_layer.weight_hh_l0)

    def forward(self, inputs, lengths=None):
        """Return the answers (N, num_outputs).

        lengths: real steps of each sequence, (N,); what follows is padding and never
        read.
        """
        guards.check_sequences(self, inputs)
        if self.embedding is not None:
            inputs = self.embedding(inputs.long())  # (N, T, input_size)
        inputs = inputs.transpose(0, 1)  # (T, N, input_size)
        if lengths is not None:
            guards.check_lengths(lengths, inputs.shape[1], inputs.shape[0])
            lengths = torch.as_tensor(lengths).cpu()  # (N,), where packing wants them
            inputs = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        _, state = self.rnn(inputs)
        return self.linear(end_state(self.rnn, state))  # (N, num_outputs)


class FastRecurrence(torch.autograd.Function):
    """The loop of chapter 2 as one operation, its backward pass written by hand.

    The loops hold only the products with W_hh. A sigmoid is several times as fast as
    tanh(z) = 2 sigmoid(2 z) - 1, so they keep S, H = 2 S - 1: 2 (X W_xh + H W_hh + b_h)
    = 2 (X W_xh + b_h - column sums of W_hh) + 4 S W_hh.
    """

    @staticmethod  # under torch.autocast, in float32
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, ids, H, W_xh, W_hh, b_h, W_hq, b_q):
        """Read ids (T, N) from the state H; return logits (T * N, V) and the state."""
        rows = (2 * (W_xh + b_h - W_hh.sum(0)))[ids]  # (T, N, H)
        states = torch.cat([(1 + H)[None] / 2, rows])  # (T + 1, N, H)
        for t in range(len(ids)):  # (N, H) each: sigmoids S
            states[t + 1].addmm_(states[t], W_hh, alpha=4).sigmoid_()
        ctx.save_for_backward(ids, states.mul_(2).sub_(1), W_xh, W_hh, W_hq)  # H
        return states[1:].flatten(0, 1) @ W_hq + b_q, states[-1].clone()

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, dO, dH):
        """Return the gradient of each argument of forward."""
        ids, states, W_xh, W_hh, W_hq = ctx.saved_tensors
        before, after, D = states[:-1], states[1:], (dO @ W_hq.T).view_as(states[1:])
        slope = torch.addcmul(dO.new_tensor(1.0), after, after, value=-1)  # (T, N, H)
        D[-1].add_(dH).mul_(slope[-1])
        for t in reversed(range(len(D) - 1)):
            D[t].addmm_(D[t + 1], W_hh.T).mul_(slope[t])
        dH = D[0] @ W_hh.T if ctx.needs_input_grad[1] else None  # (N, H)
        before, after, D = (M.flatten(0, 1) for M in (before, after, D))  # (T * N, H)
        dW_xh = torch.zeros_like(W_xh).index_add_(0, ids.flatten(), D)
        return None, dH, dW_xh, before.T @ D, dW_xh.sum(0), after.T @ dO, dO.sum(0)


class FastRNN(ScratchRNN):
    """A ScratchRNN that is faster on a CPU and equal to it, up to rounding."""

    def forward(self, ids, state=None):
        """Read ids (N, T), as :meth:`rnnlib.scratch.ScratchRNN.forward` does."""
        guards.check_inputs(self, ids, state)
        if state is None:
            state = self.begin_state(ids.shape[0])
        return FastRecurrence.apply(ids.T.long(), state, *self.params)
