"""Recurrent networks on ``torch.nn``: a language model and a many-to-one network (built in chapter 4)."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnnlib.scratch import ScratchRNN, check_ids, check_sizes, check_state, one_hot


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
        fresh = self.begin_state(len(ids))
        state = fresh if state is None else state
        check_state(state, fresh)
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
        """
        if self.embedding is not None:
            inputs = self.embedding(inputs)  # (N, T, input_size)
        inputs = inputs.transpose(0, 1)  # (T, N, input_size)
        if lengths is not None:
            lengths = torch.as_tensor(lengths).cpu()  # (N,), where packing wants them
            inputs = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        _, state = self.rnn(inputs)
        return self.linear(end_state(self.rnn, state))  # (N, num_outputs)


def check_layer(rnn_layer):
    """Raise a ValueError that names the remedy unless this is a recurrent layer as the models of this book use it."""
    if not isinstance(rnn_layer, (nn.RNN, nn.GRU, nn.LSTM)):
        raise ValueError(
            f"the recurrent layer is a {type(rnn_layer).__name__}: it must be an nn.RNN, nn.GRU or nn.LSTM, "
            "such as nn.RNN(28, 256)"
        )
    if rnn_layer.batch_first:
        raise ValueError(
            "the recurrent layer has batch_first=True, but inside the models time comes first: leave it out"
        )
    if rnn_layer.proj_size:
        raise ValueError(
            f"the recurrent layer has proj_size={rnn_layer.proj_size}, which the models don't read: leave it out"
        )


def check_input_size(rnn_layer, vocab_size, embedding):
    """Raise a ValueError that names the remedy unless a layer can read the ids of a vocabulary."""
    check_sizes(vocab_size=vocab_size)
    if embedding is None and rnn_layer.input_size != vocab_size:
        raise ValueError(
            f"the layer reads {rnn_layer.input_size} numbers a step, but a one-hot row has vocab_size={vocab_size}: "
            f"make it {type(rnn_layer).__name__}({vocab_size}, {rnn_layer.hidden_size}), or give an embedding"
        )
    if isinstance(embedding, nn.Embedding):
        wanted, there = (vocab_size, rnn_layer.input_size), tuple(embedding.weight.shape)
        if there != wanted:
            raise ValueError(f"the embedding is {there}, but this layer and vocabulary need nn.Embedding{wanted}")


def check_same_network(scratch, model):
    """Raise a ValueError unless these are a ScratchRNN and a language model on ``nn.RNN`` of the same sizes."""
    five = isinstance(scratch, ScratchRNN) and len(scratch.params) == 5
    if not five or not hasattr(model, "rnn"):
        raise ValueError(
            f"weights are copied between a ScratchRNN and a LanguageModel on nn.RNN, not between a "
            f"{type(scratch).__name__} and a {type(model).__name__}"
        )
    rnn = model.rnn
    plain = isinstance(rnn, nn.RNN) and rnn.nonlinearity == "tanh" and rnn.bias and model.embedding is None
    if not plain or rnn.num_layers > 1 or rnn.bidirectional:
        raise ValueError(
            f"{rnn} has no equal among ScratchRNNs: it must be an nn.RNN with tanh, biases, one layer, one direction "
            "and one-hot input"
        )
    ours, theirs = (scratch.vocab_size, scratch.num_hiddens), (model.vocab_size, rnn.hidden_size)
    if ours != theirs:
        raise ValueError(f"vocab_size and num_hiddens are {ours} in the ScratchRNN, but {theirs} in the LanguageModel")
