"""Recurrent networks on ``torch.nn``, and one that is faster than chapter 2's (built in chapter 4)."""

import itertools

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence

from rnnlib.guards import (
    check_ids,
    check_input_size,
    check_layer,
    check_lengths,
    check_same_network,
    check_sizes,
    check_state,
)
from rnnlib.scratch import ScratchRNN
from rnnlib.text import one_hot


def num_directions(rnn_layer):
    """Return 2 for a bidirectional recurrent layer, 1 for any other."""
    return 2 if rnn_layer.bidirectional else 1


def zero_state(rnn_layer, batch_size, device=None):
    """Return the state of a recurrent layer before its first step.

    Args:
        rnn_layer: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``.
        batch_size: sequences N.
        device: of the state; by default that of the layer's weights.

    Returns:
        Zeros of shape (layers * directions, N, H); for an LSTM a tuple of two such tensors, hidden state and memory
        cell.
    """
    check_sizes(batch_size=batch_size)
    like = rnn_layer.weight_hh_l0
    rows = rnn_layer.num_layers * num_directions(rnn_layer)
    H = torch.zeros(rows, batch_size, rnn_layer.hidden_size, dtype=like.dtype)
    H = H.to(device or like.device)
    return (H, H.clone()) if isinstance(rnn_layer, nn.LSTM) else H


def end_state(rnn_layer, state):
    """Return what the last layer of a recurrent layer knows at the end, (N, directions * H).

    Args:
        rnn_layer: the layer that ended in the state.
        state: its last state, ``h_n`` (layers * directions, N, H), or the tuple of an LSTM.

    Returns:
        The hidden state of the last layer; of a bidirectional one, forward and backward side by side.
    """
    H = state[0] if isinstance(state, tuple) else state
    return torch.cat(H[-num_directions(rnn_layer) :].unbind(), dim=1)


class LanguageModel(nn.Module):
    """A language model on any recurrent layer: token ids in, a score for each possible next token out.

    Args:
        rnn_layer: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first, with any number of layers, in one direction or
            both. It reads one-hot rows, so its ``input_size`` is V, unless there is an embedding.
        vocab_size: V.
        embedding: a module that turns ids (T, N) into vectors (T, N, input_size), such as
            ``nn.Embedding(vocab_size, rnn_layer.input_size)``; one-hot rows by default.
        dropout: the probability with which each number of the layer's output is dropped before the read-out, in
            training.

    Raises:
        ValueError: if the layer is batch first or projects its states, or if the sizes don't fit together.
    """

    def __init__(self, rnn_layer, vocab_size, embedding=None, dropout=0.0):
        super().__init__()
        check_layer(rnn_layer)
        check_input_size(rnn_layer, vocab_size, embedding)
        self.vocab_size, self.embedding, self.rnn = vocab_size, embedding, rnn_layer
        self.dropout = nn.Dropout(dropout)
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        self.linear = nn.Linear(width, vocab_size).to(rnn_layer.weight_hh_l0)

    def begin_state(self, batch_size, device=None):
        """Return the state before the first token, in the form of :func:`zero_state`."""
        return zero_state(self.rnn, batch_size, device)

    def forward(self, ids, state=None):
        """Read a minibatch of token ids.

        Args:
            ids: whole numbers (N, T).
            state: the state to start from, in the form of :func:`zero_state`; zeros by default.

        Returns:
            logits (T * N, V), time first, and the last state.

        Raises:
            ValueError: if ids is not a (N, T) tensor of ids below V, or the state has another form.
        """
        check_ids(ids, self.vocab_size)
        if state is None:
            state = self.begin_state(len(ids))
        check_state(state, self.begin_state(len(ids)))
        if self.embedding is None:
            inputs = one_hot(ids, self.vocab_size, self.linear.weight.dtype)
        else:
            inputs = self.embedding(ids.T)  # (T, N, input_size), as above
        output, state = self.rnn(inputs, state)  # (T, N, directions * H)
        logits = self.linear(self.dropout(output))  # (T, N, V)
        return logits.flatten(0, 1), state


@torch.no_grad()
def copy_weights(source, target):
    """Make a network on ``nn.RNN`` equal to a :class:`rnnlib.scratch.ScratchRNN`, or the other way round.

    PyTorch stores its matrices the other way round, (outputs, inputs), and has a second bias. Its place is taken by
    zeros that don't learn, so that both networks train alike too; in the other direction the two biases are added up.

    Args:
        source, target: a ScratchRNN and a :class:`LanguageModel` on ``nn.RNN(vocab_size, num_hiddens)``, in either
            order.

    Raises:
        ValueError: if there is no such pair, or the sizes differ.
    """
    from_scratch = isinstance(source, ScratchRNN)
    scratch, model = (source, target) if from_scratch else (target, source)
    check_same_network(scratch, model)
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
    """Read a whole sequence, then answer once, from the state at its end: for classes, or for a number to forecast.

    Args:
        rnn_layer: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first.
        num_outputs: numbers in an answer, such as one logit for each class.
        embedding: a module that turns ids (N, T) into vectors (N, T, input_size); without one the inputs are
            vectors already.

    Raises:
        ValueError: if the layer is batch first or projects its states, or num_outputs is not a whole number of at
            least 1.
    """

    def __init__(self, rnn_layer, num_outputs, embedding=None):
        super().__init__()
        check_layer(rnn_layer)
        check_sizes(num_outputs=num_outputs)
        self.embedding, self.rnn = embedding, rnn_layer
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        self.linear = nn.Linear(width, num_outputs).to(rnn_layer.weight_hh_l0)

    def forward(self, inputs, lengths=None):
        """Answer for each sequence of a minibatch.

        Args:
            inputs: ids (N, T), or vectors (N, T, input_size) without an embedding.
            lengths: how many steps of each sequence are real, (N,), each at least 1; what follows is padding, which
                is never read. All are real by default.

        Returns:
            Answers (N, num_outputs).

        Raises:
            ValueError: unless lengths is one whole number from 1 to T for each sequence.
        """
        if self.embedding is not None:
            inputs = self.embedding(inputs)  # (N, T, input_size)
        inputs = inputs.transpose(0, 1)  # (T, N, input_size)
        if lengths is not None:
            lengths = torch.as_tensor(lengths).cpu()  # (N,), where packing wants them
            check_lengths(lengths, inputs.shape[1], len(inputs))
            inputs = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        _, state = self.rnn(inputs)
        return self.linear(end_state(self.rnn, state))  # (N, num_outputs)


class FastRecurrence(torch.autograd.Function):
    """Recurrence and read-out of :func:`rnnlib.scratch.rnn` as one operation, with a backward pass written by hand.

    The loops hold nothing but the products with W_hh, which must wait for each other. All else is done for all steps at
    once: the input's product with W_xh, which picks a row of it for each token; the read-out; and for each weight one
    product of stacked time steps. The tanh is written as tanh(z) = 2 sigmoid(2 z) - 1, because PyTorch computes a
    sigmoid several times as fast; its error is that of a number near 1, also where tanh(z) is small. The loop keeps the
    sigmoids S, with H = 2 S - 1: then 2 (X W_xh + H W_hh + b_h) = 2 (X W_xh + b_h - column sums of W_hh) + 4 S W_hh.
    """

    @staticmethod
    def forward(ctx, ids, H, W_xh, W_hh, b_h, W_hq, b_q):
        """Read ids (T, N), time first, from the state H; return logits (T * N, V) and the last state (N, H)."""
        states = H.new_empty(len(ids) + 1, *H.shape)  # (T + 1, N, H)
        states[0], inputs = (1 + H) / 2, states[1:].flatten(0, 1)  # (N, H), (T * N, H)
        torch.index_select(2 * (W_xh + b_h - W_hh.sum(0)), 0, ids.flatten(), out=inputs)
        for before, after in itertools.pairwise(states):  # (N, H) each: sigmoids S
            after.addmm_(before, W_hh, alpha=4).sigmoid_()
        states.mul_(2).sub_(1)  # H = 2 S - 1
        ctx.save_for_backward(ids, states, W_xh, W_hh, W_hq)
        return inputs @ W_hq + b_q, states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, dO, dH):
        """Return the gradient of each argument of forward, given those of the logits and of the last state."""
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
    """A ScratchRNN that trains faster on a CPU and computes the same numbers, up to rounding.

    Args:
        vocab_size, num_hiddens, device, **options: as for :class:`rnnlib.scratch.ScratchRNN`.
    """

    def forward(self, ids, state=None):
        """Read a minibatch of token ids, as :meth:`rnnlib.scratch.ScratchRNN.forward` does."""
        check_ids(ids, self.vocab_size)
        if state is None:
            state = self.begin_state(len(ids))
        check_state(state, self.begin_state(len(ids)))
        return FastRecurrence.apply(ids.T.long(), state, *self.params)
