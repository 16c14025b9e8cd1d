"""Ids, states and layers that go into a network."""

import reprlib

import torch
from torch import nn

from rnnlib.guards.numbers import check_sizes, recording

IGNORED = -100  # a target with this value counts for nothing, as in torch.nn.functional.cross_entropy


def check_inputs(model, ids, state):
    """Refuse ids that are no (N, T) tensor of ids of the model, and a state of another form than it begins with."""
    if recording():
        return
    check_ids(ids, model.vocab_size)
    if state is not None:
        check_state(state, model.begin_state(len(ids), device="meta"))


def check_ids(ids, vocab_size):
    """Refuse all but a (N, T) tensor of whole numbers from 0 to V - 1."""
    if not isinstance(ids, torch.Tensor):
        raise ValueError(f"ids must be a tensor of shape (N, T), not a {type(ids).__name__}: use torch.tensor(ids)")
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"ids must have shape (N, T), at least (1, 1), not {tuple(ids.shape)}: one row of token ids a sequence"
        )
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"ids must be whole numbers (torch.long), not {ids.dtype}: give token ids, not one-hot rows")
    check_range("id", ids, vocab_size)


def check_range(name, ids, vocab_size):
    """Refuse ids outside 0 to V - 1, where looking at them is free."""
    if ids.device.type != "cpu":
        return
    values = ids.numpy()  # reading through NumPy starts no operation of PyTorch
    if values.min() < 0 or values.max() >= vocab_size:
        wrong = values[(values < 0) | (values >= vocab_size)][0]
        raise ValueError(
            f"{name} {wrong} is outside 0 to {vocab_size - 1}: was the text coded with another vocabulary?"
        )


def check_minibatch(minibatch, model):
    """Refuse all but ids X and targets Y, both (N, T), of the model's vocabulary; a target may be -100, ignored."""
    if not isinstance(minibatch, (tuple, list)) or len(minibatch) != 2:
        raise ValueError(f"a minibatch must be a pair X, Y of ids, both (N, T), not {reprlib.repr(minibatch)}")
    X, Y = minibatch
    vocab_size = getattr(model, "vocab_size", None)
    if vocab_size is None:
        return
    check_ids(X, vocab_size)
    if not isinstance(Y, torch.Tensor) or Y.shape != X.shape or Y.is_floating_point() or Y.dtype == torch.bool:
        found = f"{Y.dtype} of shape {tuple(Y.shape)}" if isinstance(Y, torch.Tensor) else f"a {type(Y).__name__}"
        raise ValueError(f"the targets must be whole numbers of the shape of X, {tuple(X.shape)}, not {found}")
    counted = Y[Y != IGNORED] if Y.device.type == "cpu" else Y
    if counted.numel():
        check_range("target", counted, vocab_size)


def check_state(state, like):
    """Refuse a state that has not the form of another: tensors, shapes and dtypes."""
    if shapes(state) != shapes(like):
        raise ValueError(
            f"the state has shape {shapes(state)} but these ids need {shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )
    for there, wanted in zip(tensors(state), tensors(like), strict=True):
        if there.dtype != wanted.dtype:
            raise ValueError(
                f"the state is {there.dtype} but the parameters are {wanted.dtype}: convert it with .to({wanted.dtype})"
            )


def shapes(state):
    """Return the shape of a state, or the list of shapes of a state that is a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return tuple(state.shape)
    if not isinstance(state, (tuple, list)):
        raise ValueError(
            f"the state is a {type(state).__name__}, not a tensor or a tuple of tensors: "
            "begin with begin_state(batch_size)"
        )
    return [shapes(part) for part in state]


def tensors(state):
    """Return the list of the tensors in a state: one, or those of a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)]


def check_lengths(lengths, N, T):
    """Refuse all but a tensor of N whole numbers from 1 to T."""
    if recording():
        return
    if not isinstance(lengths, torch.Tensor) or lengths.shape != (N,) or lengths.is_floating_point():
        raise ValueError(
            f"lengths must be a tensor of {N} whole numbers, one for each sequence, not {reprlib.repr(lengths)}"
        )
    if lengths.device.type != "cpu":
        return
    values = lengths.numpy()
    wrong = values[(values < 1) | (values > T)]
    if len(wrong):
        raise ValueError(
            f"a length of {wrong[0]} is outside 1 to {T}, the steps of these rows: count the real steps of each"
        )


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
    layer = getattr(rnn_layer, "ahead", rnn_layer)  # one of the two of a BothWays
    check_layer(layer)
    last = embedding[-1] if isinstance(embedding, nn.Sequential) else embedding
    if isinstance(last, nn.Embedding) and last.embedding_dim != layer.input_size:
        raise ValueError(
            f"the embedding gives {last.embedding_dim} numbers a word but the layer reads {layer.input_size}: "
            "make the two equal"
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
    five = len(getattr(scratch, "params", ())) == 5
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


def check_gated(layer):
    """Refuse all but an LSTM or GRU with biases and without a projection."""
    if not isinstance(layer, (nn.LSTM, nn.GRU)) or not layer.bias or layer.proj_size:
        raise ValueError(f"{layer}: give an nn.LSTM or nn.GRU with biases, without proj_size")


def check_lstm(lstm):
    """Refuse what has no forget bias."""
    if not isinstance(lstm, nn.LSTM) or not lstm.bias:
        raise ValueError(f"{lstm} has no forget bias: give an nn.LSTM with bias=True")
