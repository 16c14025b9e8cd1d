"""What the book refuses, and in which words: a ``check_…`` returns nothing and changes nothing.

Each raises a ValueError that names the value and the remedy. Values of tensors are looked at where that is free: on the
CPU, and not while a program is being recorded (compiled, exported or traced).
"""

import math
import numbers
import reprlib
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set

import numpy as np
import torch
from torch import nn


class Diverged(ArithmeticError, ValueError):
    """The gradients are no longer finite numbers; raised before they reach the parameters."""


class WorseThanGuessing(Diverged):
    """A training has ended, and its perplexity is more than twice that of guessing at random."""


def recording():
    """Tell whether a program is being recorded, so that sizes are symbols and values can't be read."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_whole(value, least):
    """Tell whether a value is a whole number, Python's or NumPy's, of at least this; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def is_positive(value):
    """Tell whether a value is a number above 0."""
    return isinstance(value, numbers.Real) and value > 0


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not recording() and not is_whole(size, 1):
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1")


def check_positive(**values):
    """Refuse what is not a number above 0; infinity is one."""
    for name, value in values.items():
        if not is_positive(value):
            raise ValueError(f"{name}={value!r} must be above 0: it is the largest gradient norm to allow")


def check_known(known, **values):
    """Refuse a name that is not among those known."""
    for name, value in values.items():
        if not isinstance(value, Hashable) or value not in known:
            raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, known))}")


def check_finite(norm):
    """Raise :class:`Diverged` unless a gradient norm is a finite number: the one value that a step reads back."""
    if not torch.isfinite(norm):
        raise Diverged(f"the gradients exploded, their norm is {float(norm)}; the model keeps its last finite weights")


def check_counted(count):
    """Refuse to divide by nothing."""
    if count == 0:
        raise ValueError(
            "the batches are empty, or all their targets are ignored: give a list or sequential_batches(...), which "
            "can be looped over again and again (a generator is used up after one pass)"
        )


# From a text to minibatches, and on to a text


def check_unit(unit):
    """Refuse units that a text is not cut into."""
    if unit not in ("char", "word"):
        raise ValueError(f"unit={unit!r} is not known: use 'char' or 'word'")


def check_reserved(reserved):
    """Refuse reserved tokens that are one text, or of which one stands twice."""
    if isinstance(reserved, str) or not isinstance(reserved, Iterable):
        raise ValueError(f"reserved={reserved!r} must be a tuple of tokens, such as reserved=('<pad>',)")
    special = ["<unk>", *reserved]
    if len(set(special)) < len(special):
        raise ValueError(f"reserved={reserved!r} repeats a token or names '<unk>', which has id 0 already")


def check_ids_to_decode(ids, vocab_size):
    """Refuse all but a flat list or a 1-D tensor of ids of the vocabulary."""
    check_whole_numbers(ids, "to decode", "decode one row at a time")
    for i in ids.tolist() if isinstance(ids, torch.Tensor) else np.asarray(ids).tolist():
        if not 0 <= i < vocab_size:
            raise ValueError(f"id {i} of the ids is not in this vocabulary: its ids are 0 to {vocab_size - 1}")


def check_whole_numbers(ids, purpose, remedy):
    """Refuse all but a flat list, array or 1-D tensor of whole numbers, naming the purpose and the remedy."""
    try:
        array = ids.detach().cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
        found = f"{torch.as_tensor(ids).dtype if array.dtype.kind in 'biuf' else array.dtype} of shape {array.shape}"
    except (TypeError, ValueError, RuntimeError):  # as NumPy refuses rows of unlike length
        array, found = None, reprlib.repr(ids)
    if array is not None and array.dtype == object:
        whole, found = all(is_whole(value, -math.inf) for value in array.flat), reprlib.repr(ids)
    else:
        whole = array is not None and (array.dtype.kind in "iu" or not array.size)
    if array is None or array.ndim != 1 or not whole:
        raise ValueError(f"ids {purpose} must be a flat list or a 1-D tensor of whole numbers, not {found}: {remedy}")


def check_corpus(corpus, batch_size, num_steps, offset):
    """Refuse a corpus that is no flat list of ids, or too short for one minibatch from the last possible offset on."""
    check_sizes(batch_size=batch_size, num_steps=num_steps)
    if offset is not None and not is_whole(offset, 0):
        raise ValueError(f"offset={offset!r} must be None (drawn at every pass) or a whole number from 0 on")
    check_whole_numbers(corpus, "of a corpus", "turn tokens into ids with vocab[tokens]")
    needed = batch_size * num_steps + 1 + (num_steps - 1 if offset is None else offset)
    if len(corpus) < needed:
        raise ValueError(
            f"a corpus of {len(corpus)} tokens is too short: batch_size={batch_size} x num_steps={num_steps} needs "
            f"at least {needed}. Lower one of the two or take a longer text"
        )


def check_words(words):
    """Refuse a text without words."""
    if not words:
        raise ValueError("the text has no words: give it at least one letter")


def check_length(ids, num_steps):
    """Raise a ValueError that names the remedy unless a text is longer than a window."""
    check_sizes(num_steps=num_steps)
    if len(ids) <= num_steps:
        raise ValueError(
            f"{len(ids)} letters are too few for windows of num_steps={num_steps}: give more letters or lower it"
        )


def check_vocab(model, vocab):
    """Raise a ValueError that names the remedy if a model says that it has another number of tokens."""
    size = getattr(model, "vocab_size", len(vocab))
    if size != len(vocab):
        raise ValueError(
            f"the model has {size} tokens but the vocabulary has {len(vocab)}: give the one that it was trained with"
        )


def check_prefix(vocab, prefix):
    """Refuse a prefix that isn't one or more tokens of the vocabulary, or that the model learned as ``<unk>``."""
    if isinstance(prefix, (Set, Mapping, Iterator)) or not hasattr(prefix, "__len__") or isinstance(prefix, bytes):
        raise ValueError(f"prefix={reprlib.repr(prefix)} is a {type(prefix).__name__}: give a text or a list of tokens")
    if len(prefix) == 0:
        raise ValueError("the prefix is empty: give the model at least one token to begin with, such as 'time'")
    known = [isinstance(token, Hashable) and (token in vocab or token in vocab.rare) for token in prefix]
    unknown = sorted({repr(token) for token, there in zip(prefix, known, strict=True) if not there})
    if unknown:
        raise ValueError(
            f"the prefix has tokens that the model has never seen: {textwrap.shorten(', '.join(unknown), 200)}. "
            "Clean it as the training text was, rnnlib.text.clean(prefix), or take others; a model of words needs a "
            "list of words"
        )


def check_num_tokens(num_tokens):
    """Raise a ValueError unless this is a whole number from 0 on."""
    if not is_whole(num_tokens, 0):
        raise ValueError(f"num_tokens={num_tokens!r} must be a whole number from 0 on")


def check_temperature(temperature):
    """Raise a ValueError unless the temperature is a finite number of at least 0."""
    try:
        possible = math.isfinite(temperature) and temperature >= 0
    except TypeError:
        possible = False
    if not possible:
        raise ValueError(
            f"temperature={temperature!r} must be a finite number above 0 (below 1 more cautious, above 1 more "
            "daring), or 0 for greedy"
        )


def check_top_k(top_k, vocab_size):
    """Raise a ValueError unless this is None or a whole number from 1 to V."""
    if top_k is not None and not (is_whole(top_k, 1) and top_k <= vocab_size):
        raise ValueError(f"top_k={top_k!r} must be a whole number from 1 to the vocabulary size, {vocab_size}")


def check_logits(logits):
    """Raise a ValueError that names the remedy if a logit is NaN or infinite; -inf, which is never drawn, may be."""
    if not math.isfinite(logits.max()):  # the maximum of numbers and NaN is NaN
        raise ValueError(
            f"the largest logit is {float(logits.max())}, so there is nothing to draw from: has the training diverged? "
            "Make the model anew and train it with a smaller learning rate"
        )


# Networks


IGNORED = -100  # a target with this value counts for nothing, as in torch.nn.functional.cross_entropy


def check_inputs(model, ids, state):
    """Refuse ids that are no (N, T) tensor of ids of the model, and a state of another form than it begins with."""
    if recording():
        return
    check_ids(ids, model.vocab_size)
    check_device(ids, model)
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


def check_device(ids, model):
    """Refuse ids on another device than the model's."""
    device = next(model.parameters(), ids).device
    if ids.device != device:
        raise ValueError(f"the ids are on {ids.device}, the model on {device}: move them with ids.to({str(device)!r})")


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
    counted = Y[Y.long() != IGNORED] if Y.device.type == "cpu" else Y
    if counted.numel():
        check_range("target", counted, vocab_size)


def check_state(state, like):
    """Refuse a state that has not the form of another: tensors, shapes and dtypes."""
    if isinstance(state, torch.Tensor) and isinstance(like, tuple):
        raise ValueError("the state is one tensor, not two: an LSTM needs (H, C), as begin_state(batch_size) gives")
    if shapes(state) != shapes(like):
        raise ValueError(
            f"the state has shape {shapes(state)} but these ids need {shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )
    for there, wanted in zip(tensors(state), tensors(like), strict=True):
        if there.dtype != wanted.dtype and not torch.is_autocast_enabled(there.device.type):
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
