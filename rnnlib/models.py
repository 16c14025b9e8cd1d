"""Recurrent networks on ``torch.nn``: language model, many-to-one (chapter 4), classifier of reviews (chapter 7)."""

import reprlib

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


class BothWays(nn.Module):
    """A recurrent layer in both directions over padded rows, which never reads padding.

    What it computes is what ``bidirectional=True`` computes on packed rows. Packing takes the slow way through
    PyTorch on a CPU, one small step after another; here each row's real steps are turned round, the padding stays
    behind them, and two plain layers take the fast way (chapter 7 measures both).

    Args:
        layer_class: ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``.
        input_size, hidden_size: numbers in an input vector, and hidden units H of each direction.
    """

    def __init__(self, layer_class, input_size, hidden_size):
        super().__init__()
        self.hidden_size, self.bidirectional = hidden_size, True
        self.ahead, self.back = layer_class(input_size, hidden_size), layer_class(input_size, hidden_size)

    def forward(self, inputs, lengths):
        """Return outputs (T, N, 2H) for inputs (T, N, D) of which row n has ``lengths[n]`` real steps."""
        ahead, _ = self.ahead(inputs)
        back, _ = self.back(flip_padded(inputs, lengths))
        return torch.cat([ahead, flip_padded(back, lengths)], dim=2)


def flip_padded(inputs, lengths):
    """Turn round the real steps of each row, (T, N, D), and leave the padding after them where it is."""
    t = torch.arange(len(inputs), device=inputs.device)[:, None]  # (T, 1)
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, N)
    return inputs[source, torch.arange(inputs.shape[1], device=inputs.device)]


def read_padded(rnn_layer, inputs, lengths):
    """Return the outputs (T, N, directions * H) of a recurrent layer that doesn't read padding.

    Args:
        rnn_layer: a :class:`BothWays`, or an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first.
        inputs: (T, N, D).
        lengths: real steps of each row, (N,).
    """
    if isinstance(rnn_layer, BothWays):
        return rnn_layer(inputs, lengths)
    if not rnn_layer.bidirectional:
        return rnn_layer(inputs)[0]  # read from the left, padding comes after everything that counts
    packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
    return pad_packed_sequence(rnn_layer(packed)[0], total_length=len(inputs))[0]


def real_steps(outputs, lengths):
    """Return True where a step is real, False where it is padding, (T, N, 1)."""
    return (torch.arange(len(outputs), device=outputs.device)[:, None] < lengths)[..., None]


def last_state(outputs, lengths):
    """Read out the state after the last real step, (N, D): of one direction; in two, the backward one has read little.

    Args:
        outputs: (T, N, D).
        lengths: real steps, (N,).
    """
    return outputs[lengths - 1, torch.arange(len(lengths), device=outputs.device)]


def both_ends_state(outputs, lengths):
    """Read out the state in which each of two directions has read everything, (N, 2H): ``h_n`` of a packed layer."""
    ahead, _ = last_state(outputs, lengths).chunk(2, dim=1)
    _, back = outputs[0].chunk(2, dim=1)
    return torch.cat([ahead, back], dim=1)


def mean_state(outputs, lengths):
    """Read out the mean over the real steps, (N, D)."""
    return (outputs * real_steps(outputs, lengths)).sum(dim=0) / lengths[:, None]


def max_state(outputs, lengths):
    """Read out the largest value of each unit over the real steps, (N, D)."""
    return outputs.masked_fill(~real_steps(outputs, lengths), -torch.inf).amax(dim=0)


def mean_and_max(outputs, lengths):
    """Read out mean and maximum side by side, (N, 2D) (Howard and Ruder, 2018)."""
    return torch.cat([mean_state(outputs, lengths), max_state(outputs, lengths)], dim=1)


class DropWords(nn.Module):
    """In training, replace each id by ``<unk>`` with probability p, so that no single word is relied upon."""

    def __init__(self, p=0.1, unk=0):
        super().__init__()
        self.p, self.unk = p, unk

    def forward(self, ids):
        """Return ids of the same shape; outside training, the same ids."""
        if not self.training:
            return ids
        return ids.masked_fill(torch.rand(ids.shape, device=ids.device) < self.p, self.unk)


class SentimentClassifier(nn.Module):
    """Read a review word by word and answer with one logit: above 0 it is positive.

    Args:
        embedding: a module that turns ids (T, N) into vectors (T, N, D), such as an ``nn.Embedding``, or
            ``nn.Sequential(DropWords(), nn.Embedding(...))``.
        rnn_layer: a :class:`BothWays`, or an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first.
        readout: turns outputs (T, N, directions * H) and lengths (N,) into one row a review, such as
            :func:`mean_and_max`, :func:`max_state` or :func:`last_state`.
        dropout: the probability with which numbers are dropped before the layer and before the answer, in training.

    Raises:
        ValueError: if the layer is batch first or projects its states, or if the embedding is wider or narrower than
            what it reads.
    """

    def __init__(self, embedding, rnn_layer, readout=mean_and_max, dropout=0.5):
        super().__init__()
        check_reader(rnn_layer, embedding)
        self.embedding, self.rnn, self.readout = embedding, rnn_layer, readout
        self.dropout = nn.Dropout(dropout)
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        width = readout(torch.zeros(1, 1, width), torch.ones(1, dtype=torch.int64)).shape[1]
        self.linear = nn.Linear(width, 1)

    def forward(self, ids, lengths=None):
        """Return logits (N,) for ids (N, T).

        Args:
            ids: words, padded after their ends.
            lengths: real words of each review, (N,), each at least 1; all are real by default.

        Raises:
            ValueError: unless lengths is one whole number from 1 to T for each review.
        """
        if lengths is None:
            lengths = torch.full((len(ids),), ids.shape[1])
        check_lengths(lengths, *ids.shape)
        lengths = lengths.to(ids.device)
        vectors = self.dropout(self.embedding(ids.T))  # (T, N, D)
        outputs = read_padded(self.rnn, vectors, lengths)  # (T, N, directions * H)
        return self.linear(self.dropout(self.readout(outputs, lengths))).squeeze(1)  # (N,)


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


def check_reader(rnn_layer, embedding):
    """Raise a ValueError that names the remedy unless a classifier can read an embedding with this layer."""
    layer = rnn_layer.ahead if isinstance(rnn_layer, BothWays) else rnn_layer
    check_layer(layer)
    last = embedding[-1] if isinstance(embedding, nn.Sequential) else embedding
    if isinstance(last, nn.Embedding) and last.embedding_dim != layer.input_size:
        raise ValueError(
            f"the embedding gives {last.embedding_dim} numbers a word but the layer reads {layer.input_size}: "
            "make the two equal"
        )


def check_lengths(lengths, N, T):
    """Raise a ValueError that names the remedy unless lengths is a tensor of N whole numbers from 1 to T."""
    if not isinstance(lengths, torch.Tensor) or lengths.shape != (N,) or lengths.is_floating_point():
        raise ValueError(
            f"lengths must be a tensor of {N} whole numbers, one for each sequence, not {reprlib.repr(lengths)}"
        )
    wrong = lengths[(lengths < 1) | (lengths > T)]
    if len(wrong):
        raise ValueError(
            f"a length of {int(wrong[0])} is outside 1 to {T}, the steps of these rows: count the real steps of each"
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
