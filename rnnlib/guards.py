"""What the book refuses, and in which words: every ``check_…`` returns nothing and changes nothing."""

import math
import numbers
import reprlib
import textwrap
from collections.abc import Iterator

import torch
from torch import nn


def is_whole(value, least):
    """Tell whether a value is a whole number, Python's or NumPy's, of at least this; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not is_whole(size, 1):
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1")


def check_ids(ids, vocab_size):
    """Raise a ValueError that names the remedy unless ids is a (N, T) tensor of whole numbers from 0 to V - 1."""
    if not isinstance(ids, torch.Tensor):
        raise ValueError(f"ids must be a tensor of shape (N, T), not a {type(ids).__name__}: use torch.tensor(ids)")
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"ids must have shape (N, T), at least (1, 1), not {tuple(ids.shape)}: one row of token ids a sequence"
        )
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"ids must be whole numbers (torch.long), not {ids.dtype}: give token ids, not one-hot rows")
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(
            f"id {lowest if lowest < 0 else highest} is outside 0 to {vocab_size - 1}: "
            "was the text coded with another vocabulary?"
        )


def check_state(state, like):
    """Raise a ValueError that names the remedy unless a state has the form of another: tensors, shapes and dtypes."""
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


def check_num_tokens(num_tokens):
    """Raise a ValueError unless this is a whole number from 0 on."""
    if not is_whole(num_tokens, 0):
        raise ValueError(f"num_tokens={num_tokens!r} must be a whole number from 0 on")


def check_vocab(model, vocab):
    """Raise a ValueError that names the remedy if a model says that it has another number of tokens."""
    size = getattr(model, "vocab_size", len(vocab))
    if size != len(vocab):
        raise ValueError(
            f"the model has {size} tokens but the vocabulary has {len(vocab)}: give the one that it was trained with"
        )


def check_prefix(vocab, prefix):
    """Raise a ValueError that names the remedy unless the prefix is one or more tokens of the vocabulary."""
    if len(prefix) == 0:
        raise ValueError("the prefix is empty: give the model at least one token to begin with, such as 'time'")
    unknown = sorted({repr(token) for token in prefix if token not in vocab})
    if unknown:
        raise ValueError(
            f"the prefix has tokens that the model has never seen: {textwrap.shorten(', '.join(unknown), 200)}. "
            "Clean it as the training text was, rnnlib.text.clean(prefix), or take others; a model of words needs a "
            "list of words"
        )


def check_length(ids, num_steps):
    """Raise a ValueError that names the remedy unless a text is longer than a window."""
    check_sizes(num_steps=num_steps)
    if len(ids) <= num_steps:
        raise ValueError(
            f"{len(ids)} letters are too few for windows of num_steps={num_steps}: give more letters or lower it"
        )


def check_batches(batches):
    """Raise a ValueError that names the remedy unless these are one or more minibatches, and it is known how many."""
    if not hasattr(batches, "__len__"):
        raise ValueError(
            f"a {type(batches).__name__} doesn't know how many minibatches it has: give a list or "
            "sentiment.Buckets(...)"
        )
    if len(batches) == 0:
        raise ValueError("the batches are empty: give a list or sentiment.Buckets(...) with at least one minibatch")


def check_scheduler(scheduler, optimizer):
    """Raise a ValueError that names the remedy if a scheduler would change nothing, or needs more than its turn."""
    if scheduler is None:
        return
    if scheduler.optimizer is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: make it from the one that you give to fit")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau waits for a measure that fit doesn't hand on: take another scheduler")


def check_optimizer(optimizer, model):
    """Raise a ValueError that names the remedy if an optimizer holds no parameter of this model."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(
            "the optimizer holds the parameters of another model, so this one would learn nothing: make the optimizer "
            "after the model, and hand in a history only to go on with the same model"
        )


def check_repeatable(**batches):
    """Raise a ValueError that names the remedy if some batches are used up after one pass, as a generator is."""
    for name, given in batches.items():
        if isinstance(given, Iterator):  # found out without asking it for a pass
            raise ValueError(
                f"{name} is a {type(given).__name__}, which is used up after one pass: give a list or "
                "sequential_batches(...), which can be looped over again and again"
            )


class Diverged(ArithmeticError):
    """The gradients are no longer finite numbers; raised before they reach the parameters."""


def is_positive(value):
    """Tell whether a value is a number above 0."""
    return isinstance(value, numbers.Real) and value > 0
