"""What the book refuses, and in which words: a ``check_…`` returns nothing and changes nothing.

Each raises a ValueError that names the value and the remedy. Values of tensors are looked at where that is free: on the
CPU, and not while a program is being recorded (compiled, exported or traced). The order is that of the book.
"""

import importlib.util
import inspect
import math
import numbers
import reprlib
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

IGNORED = -100  # a target with this value counts for nothing, as in torch.nn.functional.cross_entropy

# Where other libraries keep the map from tokens to ids: d2l, torchtext, tokenizers, and older ones.
_TO_IDS = ("token_to_idx", "get_stoi", "get_vocab", "stoi", "vocabulary_")
SPECIAL = ("<unk>", "<pad>")  # stand for a token, and are never written


class Diverged(ArithmeticError, ValueError):
    """The gradients are no longer finite numbers; raised before they reach the parameters."""


class WorseThanGuessing(Diverged):
    """A training has ended, and its perplexity is more than twice that of guessing at random."""


def _recording():
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
        if not _recording() and not is_whole(size, 1):
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


# Containers, and what may lie in them


def check_ordered(**values):
    """Refuse what has no order, is used up after one pass, or holds nothing to loop over."""
    for name, value in values.items():
        kind = type(value).__name__
        if isinstance(value, (Set, Mapping)):
            raise ValueError(f"{name} is a {kind}, which has no order that fits here: give a list")
        if isinstance(value, Iterator):
            raise ValueError(f"{name} is a {kind}, which is used up after one pass: give list({name})")
        if not hasattr(value, "__iter__") or not hasattr(value, "__len__") or not _dimensions(value):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a list, not one {kind}")


def _dimensions(value):
    """Return the number of dimensions of a tensor or an array; that of a list counts as 1."""
    return getattr(value, "ndim", 1)


def check_text(**values):
    """Refuse what is no text."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}={reprlib.repr(value)} is a {type(value).__name__}: it must be one text, a str")


def check_iterable(tokens):
    """Refuse tokens that can't be looped over, or have no order and no counts."""
    if not isinstance(tokens, Iterable) or not _dimensions(tokens) or isinstance(tokens, (Set, Mapping)):
        raise ValueError(
            f"tokens={reprlib.repr(tokens)} is a {type(tokens).__name__}: it must be a list of tokens, such as "
            "tokenize(text)"
        )


def check_token(token):
    """Refuse a collection, such as a tensor, which could never be found."""
    collection = isinstance(token, Iterable) and not isinstance(token, str)
    if collection or not isinstance(token, Hashable):
        raise ValueError(f"a {type(token).__name__} is no token: give one text, or a list or tuple of tokens")


def check_flat(tokens):
    """Refuse an empty list of tokens, and one that holds collections, such as lines."""
    if not tokens:
        raise ValueError("the text has no tokens: give Vocab at least one (is the cleaned text empty?)")
    if any(isinstance(token, list) for token in tokens):
        raise ValueError("tokens must be one flat list of tokens, not a list of lines: join the lines first")
    for token in tokens:
        check_token(token)


def check_lookup(vocab, token):
    """Refuse to look up what can be no token of this vocabulary: a word among characters, a number among texts."""
    check_token(token)
    if token in vocab:
        return
    tokens = vocab.tokens[1:]
    if tokens and isinstance(tokens[-1], str) and not isinstance(token, str):
        raise ValueError(f"the token {token!r} is a {type(token).__name__}, but those of this vocabulary are texts")
    if isinstance(token, str) and len(token) > 1 and tokens and all(_is_character(other) for other in tokens):
        raise ValueError(
            f"the token {reprlib.repr(token)} is no character, but the tokens of this vocabulary are: look up "
            f"list({reprlib.repr(token)})"
        )


def _is_character(token):
    """Tell whether a token is one character, or a special one such as ``<pad>``."""
    return isinstance(token, str) and (len(token) == 1 or (token.startswith("<") and token.endswith(">")))


def check_numbers(**values):
    """Refuse all but finite numbers."""
    for name, value in values.items():
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not np.isfinite(float(value)):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a finite number")


def check_seed(seed):
    """Refuse what no generator of random numbers can begin with."""
    if not is_whole(seed, 0) or seed >= 2**63:
        raise ValueError(f"seed={reprlib.repr(seed)} must be a whole number from 0 to 2**63 - 1")


def check_generator(generator):
    """Refuse what draws no random numbers; None is PyTorch's own generator."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(
            f"generator={reprlib.repr(generator)} must be a torch.Generator, such as torch.Generator().manual_seed(0)"
        )


def check_callable(**values):
    """Refuse what can't be called; None is left out."""
    for name, value in values.items():
        if value is not None and not callable(value):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a function")


# Vocabularies, this book's and those of other libraries


def check_min_freq(min_freq):
    """Refuse a smallest count that is none."""
    if not is_whole(min_freq, 0):
        raise ValueError(f"min_freq={min_freq!r} must be a whole number from 0 on: a token seen less often is unknown")


def check_cleaned(text, cleaned):
    """Refuse a text of which almost nothing is left, and say how much it lost where that is more than a tenth."""
    visible, kept = (sum(map(len, part.split())) for part in (text, cleaned))
    if visible < 20 or kept >= 0.9 * visible:
        return
    lost = f"clean keeps letters alone: of {visible:,} visible characters {kept:,} are left"
    if kept < 0.1 * visible:
        raise ValueError(f"{lost}, so this text is no plain text, or made of numbers and signs: use it as it is")
    print(lost)


def _ids_by_token(vocab):
    """Return the map from tokens to ids that a vocabulary offers, or None."""
    if isinstance(vocab, Mapping):
        return vocab
    for name in _TO_IDS:
        there = getattr(vocab, name, None)
        there = there() if callable(there) else there
        if isinstance(there, Mapping):
            return there
    return None


def tokens_by_id(vocab):
    """Return the tokens of a vocabulary in the order of their ids, or None where they have not the ids 0 to V - 1."""
    ids = _ids_by_token(vocab)
    if not ids or not all(is_whole(i, 0) for i in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        return None
    return sorted(ids, key=ids.get)


def frequencies(vocab):
    """Return the tokens whose counts a vocabulary of d2l keeps, the rare ones too."""
    return [token for token, _ in getattr(vocab, "token_freqs", ())]


def check_vocabulary(vocab):
    """Refuse what offers no way from tokens to ids and back."""
    if isinstance(vocab, type) or tokens_by_id(vocab) is None:
        raise ValueError(
            f"vocab={reprlib.repr(vocab)} is a {type(vocab).__name__}: it must be a text.Vocab, a vocabulary of d2l or "
            "torchtext, or a dict that gives each token one of the ids 0 to V - 1"
        )


def check_writable(vocab):
    """Refuse a vocabulary without a token that can be written."""
    if all(token in SPECIAL for token in vocab.tokens):
        raise ValueError(f"the vocabulary has no token to write but {vocab.tokens}: lower its min_freq")


def check_reviews_vocab(vocab):
    """Refuse a vocabulary in which an unknown word has no id."""
    if vocab.tokens[0] != "<unk>":
        raise ValueError(f"id 0 of the vocabulary is {vocab.tokens[0]!r}: it must be '<unk>', for unknown words")


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


def check_inputs(model, ids, state):
    """Refuse ids that are no (N, T) tensor of ids of the model, and a state of another form than it begins with."""
    if _recording():
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
    if _shapes(state) != _shapes(like):
        raise ValueError(
            f"the state has shape {_shapes(state)} but these ids need {_shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )
    for there, wanted in zip(_tensors(state), _tensors(like), strict=True):
        if there.dtype != wanted.dtype and not torch.is_autocast_enabled(there.device.type):
            raise ValueError(
                f"the state is {there.dtype} but the parameters are {wanted.dtype}: convert it with .to({wanted.dtype})"
            )


def _shapes(state):
    """Return the shape of a state, or the list of shapes of a state that is a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return tuple(state.shape)
    if not isinstance(state, (tuple, list)):
        raise ValueError(
            f"the state is a {type(state).__name__}, not a tensor or a tuple of tensors: "
            "begin with begin_state(batch_size)"
        )
    return [_shapes(part) for part in state]


def _tensors(state):
    """Return the list of the tensors in a state: one, or those of a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in _tensors(part)]


def check_lengths(lengths, N, T):
    """Refuse all but a tensor of N whole numbers from 1 to T."""
    if _recording():
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


def _num_embeddings(model):
    """Return for how many ids the embedding of a model has a vector, or None where it has no embedding."""
    parts = getattr(model, "modules", list)()
    return next((part.num_embeddings for part in parts if isinstance(part, nn.Embedding)), None)


def check_embedded_ids(model, ids):
    """Refuse all but a (N, T) tensor of ids that the embedding of a model has a vector for, on its device."""
    if _recording():
        return
    size = _num_embeddings(model)
    check_ids(ids, float("inf") if size is None else size)
    check_device(ids, model)


def check_sequences(model, inputs):
    """Refuse what a ManyToOne can't read: ids (N, T) of its embedding, or vectors (N, T, input_size)."""
    if _recording():
        return
    if model.embedding is not None:
        check_embedded_ids(model, inputs)
        return
    width = model.rnn.input_size
    if not isinstance(inputs, torch.Tensor) or inputs.dim() != 3 or inputs.shape[2] != width or 0 in inputs.shape:
        found = f"of shape {tuple(inputs.shape)}" if isinstance(inputs, torch.Tensor) else reprlib.repr(inputs)
        raise ValueError(f"inputs must be a tensor (N, T, {width}), at least one sequence of one step, not {found}")
    weight = model.rnn.weight_hh_l0
    if inputs.dtype != weight.dtype and not torch.is_autocast_enabled(weight.device.type):
        raise ValueError(f"inputs are {inputs.dtype}, the model is {weight.dtype}: convert with .to({weight.dtype})")
    check_device(inputs, model)


def check_letters(ids, layer):
    """Refuse all but a (N, T) tensor of letters that a layer reads as one-hot rows."""
    if not _recording():
        check_ids(ids, layer.input_size)
        check_device(ids, layer)


# Reviews and their labels


def check_texts(texts):
    """Refuse one review where many are wanted, and what holds no texts; a generator is read once, so it will do."""
    if isinstance(texts, str):
        raise ValueError(f"texts={reprlib.repr(texts)} is one review: give a list of them")
    if isinstance(texts, (Set, Mapping)) or not hasattr(texts, "__iter__") or not getattr(texts, "ndim", 1):
        raise ValueError(f"texts={reprlib.repr(texts)} is a {type(texts).__name__}: give a list of reviews")
    if hasattr(texts, "__len__"):
        for text in texts:
            check_text(texts=text)


def check_vocab_size(size):
    """Refuse a vocabulary without room for a word."""
    if not is_whole(size, 3):
        raise ValueError(f"size={size!r} must be a whole number of at least 3, since <unk> and <pad> take two ids")


def check_rows(rows):
    """Refuse all but one or more rows of ids in an order: lists, arrays or tensors of whole numbers."""
    if isinstance(rows, str):
        raise ValueError(f"rows={reprlib.repr(rows)} is a text: give a list of rows of ids, as encode makes them")
    check_ordered(rows=rows)
    if not len(rows):
        raise ValueError("rows is empty, 0 reviews: give at least one row of ids")
    for i, row in enumerate(rows):
        if not _is_row(row):
            raise ValueError(
                f"row {i} of the rows is {reprlib.repr(row)}: it must be a list or a 1-D tensor of one or more ids, "
                "whole numbers from 0 on"
            )


def _is_row(row):
    """Tell whether a row holds ids: one dimension, at least one of them, whole numbers from 0 on."""
    if isinstance(row, torch.Tensor):
        numbers_of = row.dim() == 1 and row.numel() and not row.is_floating_point() and not row.is_complex()
        return bool(numbers_of) and row.dtype != torch.bool and (row.device.type == "meta" or int(row.min()) >= 0)
    if isinstance(row, (str, Set, Mapping)) or not hasattr(row, "__len__"):
        return False
    try:
        array = np.asarray(row)
    except ValueError:  # ragged
        return False
    if array.dtype == object:
        return array.ndim == 1 and all(is_whole(value, 0) for value in array)
    return array.ndim == 1 and array.size > 0 and array.dtype.kind in "iu" and bool(array.min() >= 0)


def check_length_of_rows(length):
    """Refuse a least length that is none."""
    if not is_whole(length, 0):
        raise ValueError(f"length={length!r} must be a whole number from 0 on")


def check_labels(labels, count):
    """Refuse labels other than 0 and 1, and another number of them than there are reviews."""
    check_ordered(labels=labels)
    if len(labels) != count:
        raise ValueError(f"{count} reviews and {len(labels)} labels: give one label for each")
    values = labels.tolist() if isinstance(labels, torch.Tensor) else np.asarray(labels).tolist()
    for value in values:
        check_label(value)


def check_label(label):
    """Refuse a label that is neither 0 nor 1; True and False will do."""
    if not isinstance(label, (numbers.Real, np.bool_)) or label not in (0, 1):
        raise ValueError(
            f"labels must be 0 or 1, not {label!r}: map your two classes to them, as in "
            "[int(label == 'pos') for label in labels]"
        )


def check_labelled(logits, labels):
    """Refuse logits that are no numbers, and another number of labels, or other labels than 0 and 1."""
    check_ordered(logits=logits, labels=labels)
    there, wanted = tuple(np.shape(labels)), tuple(np.shape(logits))
    if there != wanted or not len(labels):
        raise ValueError(
            f"logits {wanted}, labels {there}: the two must have the same shape, one label for each logit, at least one"
        )
    values = logits.detach().flatten().tolist() if isinstance(logits, torch.Tensor) else np.ravel(logits).tolist()
    if any(isinstance(value, bool) or not isinstance(value, numbers.Real) or value != value for value in values):
        raise ValueError("the logits must be numbers, one for each review, and none of them NaN")
    for label in labels.flatten().tolist() if isinstance(labels, torch.Tensor) else np.ravel(labels).tolist():
        check_label(label)


def check_known_ids(model, rows):
    """Refuse rows with an id that the embedding of a model has no vector for."""
    size = _num_embeddings(model)
    if size is None:
        return
    for row in rows:
        highest = int(row.max() if isinstance(row, torch.Tensor) else np.max(row))
        if highest >= size:
            raise ValueError(
                f"an id of the rows is {highest}, but the model has vectors for 0 to {size - 1}: was the text coded "
                "with another vocabulary?"
            )


def check_blocks(reviews, num_valid):
    """Refuse to hold out no review of a class, or all of them, and what has no labels."""
    check_ordered(reviews=reviews)
    for review in reviews:
        check_label(getattr(review, "label", None))
    for label in (0, 1):
        count = sum(review.label == label for review in reviews)
        if not is_whole(num_valid, 1) or num_valid >= count:
            raise ValueError(f"num_valid={num_valid!r} must be at least 1 and below {count}")


# What a training is given: all of it is looked at before the first step


def check_model(model):
    """Refuse what is no network with something to learn."""
    if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"model={reprlib.repr(model)} must be an nn.Module with parameters that learn")


def check_batches(batches):
    """Refuse what isn't one or more minibatches of which it is known how many they are."""
    if not hasattr(batches, "__len__") or not hasattr(batches, "__iter__") or isinstance(batches, (str, Mapping)):
        raise ValueError(
            f"batches: a {type(batches).__name__} doesn't know how many minibatches it has: give a list or "
            "sentiment.Buckets(...)"
        )
    if len(batches) == 0:
        raise ValueError("the batches are empty: give a list or sentiment.Buckets(...) with at least one minibatch")


def check_scheduler(scheduler, optimizer):
    """Refuse a scheduler that would change nothing, or needs more than its turn."""
    if scheduler is None:
        return
    if getattr(scheduler, "optimizer", None) is None or not callable(getattr(scheduler, "step", None)):
        raise ValueError(
            f"scheduler={reprlib.repr(scheduler)} must be one of torch.optim.lr_scheduler (several go into a "
            "ChainedScheduler or SequentialLR)"
        )
    if scheduler.optimizer is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: make it from the one that you give to fit")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau waits for a measure that fit doesn't hand on: take another scheduler")


def check_optimizer(optimizer, model):
    """Refuse an optimizer that holds no parameter of this model, or that can't step by itself."""
    if not isinstance(getattr(optimizer, "param_groups", None), list):
        raise ValueError(
            f"optimizer={reprlib.repr(optimizer)} must be one of torch.optim, such as "
            "torch.optim.Adam(model.parameters())"
        )
    if _needs_closure(optimizer):
        raise ValueError(
            f"the optimizer {type(optimizer).__name__} needs a closure that computes the loss again: take one "
            "that steps without, such as SGD or Adam"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(
            "the optimizer holds the parameters of another model, so this one would learn nothing: make the optimizer "
            "after the model, and hand in a history only to go on with the same model"
        )


def _needs_closure(optimizer):
    """Tell whether the step of an optimizer, of L-BFGS for one, has an argument that must be given."""
    _, *arguments = inspect.signature(type(optimizer).step).parameters.values()
    return any(part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD for part in arguments)


def check_repeatable(**batches):
    """Refuse batches that are used up after one pass, as a generator is, and what are no batches."""
    for name, given in batches.items():
        if given is None and name == "valid_batches":
            continue
        if isinstance(given, Iterator):  # found out without asking it for a pass
            raise ValueError(
                f"{name} is a {type(given).__name__}, which is used up after one pass: give a list or "
                "sequential_batches(...), which can be looped over again and again"
            )
        if not hasattr(given, "__iter__") or isinstance(given, (str, Mapping, torch.Tensor)):
            raise ValueError(
                f"{name}={reprlib.repr(given)} must be minibatches X, Y: give a list or sequential_batches(...)"
            )
        if hasattr(given, "__len__") and not len(given):
            raise ValueError(f"{name}: the batches are empty, so there is nothing to measure")


def check_fitting(model, **batches):
    """Refuse minibatches that a language model can't read, where looking at them takes none away from training."""
    for given in batches.values():
        given = getattr(given, "batches", given)  # of Portions
        vocab_size = getattr(model, "vocab_size", None)
        if isinstance(given, (list, tuple)):
            for minibatch in given:
                check_minibatch(minibatch, model)
            check_targets_left(given)
        elif vocab_size is not None and isinstance(getattr(given, "corpus", None), torch.Tensor):
            check_range("id", given.corpus, vocab_size)


def check_targets_left(batches):
    """Refuse minibatches all of whose targets are ignored."""
    if all(Y.device.type == "cpu" and bool((Y.long() == IGNORED).all()) for _, Y in batches):
        raise ValueError("all targets of the batches are ignored (-100): there is nothing to learn or to measure")


def check_rate(lr, optimizer):
    """Refuse a learning rate that is no finite number above 0, or that an optimizer of the reader's would ignore."""
    if lr is not None and not (is_positive(lr) and lr < math.inf):
        raise ValueError(f"lr={lr!r} must be a finite number above 0, such as 1.0")
    if lr is not None and optimizer is not None:
        raise ValueError(f"lr={lr!r} would be ignored: give the learning rate to your optimizer")


def check_history(history, kind):
    """Refuse to go on with what is no history of this kind of training."""
    if history is not None and not isinstance(history, kind):
        raise ValueError(
            f"history={reprlib.repr(history)} is a {type(history).__name__}: it must be the {kind.__name__} that an "
            "earlier training returned"
        )


def check_resumable(history, optimizer):
    """Refuse to go on from a history that has no optimizer: another one would silently take its place."""
    if history and optimizer is None and history.optimizer is None:
        raise ValueError(
            "this history has no optimizer, as one that came with a checkpoint: training can't go on as it was, so "
            "give fit an optimizer of your own"
        )


def check_landmarks(landmarks):
    """Refuse landmarks that are no perplexities by name."""
    known = landmarks is None or isinstance(landmarks, Mapping)
    if not known or not all(is_positive(value) for value in (landmarks or {}).values()):
        raise ValueError(
            f"landmarks={reprlib.repr(landmarks)} must be a dict of perplexities, such as {{'unigram': 17.1}}"
        )


def check_shown(sample, report):
    """Refuse what can't be called for a text to show, or to report to."""
    check_callable(sample=sample, report=report)


def check_valid(model, valid):
    """Refuse held-out rows and labels that a classifier can't be measured on."""
    if valid is None:
        return
    if not isinstance(valid, (tuple, list)) or len(valid) != 2:
        raise ValueError(f"valid={reprlib.repr(valid)} must be a pair (rows, labels) of held-out reviews")
    rows, labels = valid
    check_rows(rows)
    check_labels(labels, len(rows))
    check_known_ids(model, rows)


def check_reviews(model, batches):
    """Refuse minibatches of reviews with ids that a classifier has no vector for."""
    rows = getattr(batches, "rows", None)
    if rows is not None:
        check_known_ids(model, rows)
    elif isinstance(batches, (list, tuple)):
        for batch in batches:
            check_reviews_of(model, batch)


def check_reviews_of(model, batch):
    """Refuse what is no minibatch of ids (N, T), lengths (N,) and labels (N,), 0 or 1."""
    parts = batch if isinstance(batch, (tuple, list)) else ()
    tensors = len(parts) == 3 and all(isinstance(part, torch.Tensor) for part in parts)
    if not tensors or parts[0].dim() != 2 or any(part.shape != parts[0].shape[:1] for part in parts[1:]):
        raise ValueError(
            f"batches: {reprlib.repr(batch)} must be tensors ids (N, T), lengths (N,) and labels (N,), as "
            "sentiment.Buckets makes them"
        )
    if (size := _num_embeddings(model)) is not None:
        check_range("id", parts[0], size)


def check_threshold(perplexity):
    """Refuse a perplexity that none can be compared with."""
    if not is_positive(perplexity):
        raise ValueError(f"perplexity={reprlib.repr(perplexity)} must be a number above 0")


def check_history_to_save(history):
    """Refuse to save what holds no epochs and landmarks."""
    check_ordered(history=history)
    if not isinstance(getattr(history, "landmarks", None), Mapping):
        raise ValueError(f"history={reprlib.repr(history)} must be the History that fit returned")


def check_learned(perplexity, limit):
    """Raise :class:`WorseThanGuessing` for a training perplexity beyond a limit, or none at all."""
    if not perplexity <= limit:
        raise WorseThanGuessing(f"the training perplexity {perplexity:.3g} is more than twice that of guessing")


def check_positions(counts):
    """Refuse to divide by nothing at any position of the windows (T,)."""
    check_counted(len(counts))
    if any(count.shape != counts[0].shape for count in counts):
        raise ValueError("the batches have windows of unlike length: give them all the same number of steps")
    if not sum(counts).all():
        raise ValueError("the batches have a position at which all targets are ignored: there is no mean to take")


# Series of numbers (chapter 8)


def check_horizons(horizons):
    """Refuse horizons that are not whole numbers of at least 1."""
    if isinstance(horizons, int) or not len(horizons) or not all(is_whole(h, 1) for h in horizons):
        raise ValueError(f"horizons={horizons!r} must be a list of whole numbers of at least 1, such as [1, 6, 24]")


def check_part(start, stop, length):
    """Refuse a part that holds no hour or leaves the series."""
    if not 0 <= start < stop <= length:
        raise ValueError(f"the part from {start} to {stop} is empty or outside the {length} hours of the series")


def check_alike(forecast, truth):
    """Refuse a forecast and a truth of different shapes, since broadcasting would compare all pairs."""
    if forecast.shape != truth.shape:
        raise ValueError(f"forecast {tuple(forecast.shape)} and truth {tuple(truth.shape)} must have the same shape")


def check_window(num_lags, length):
    """Refuse windows longer than the series."""
    if num_lags > length:
        raise ValueError(f"num_lags={num_lags} is more than the {length} rows of the series")


def check_pieces(num_pieces, length):
    """Refuse more pieces than the series has rows."""
    if num_pieces > length:
        raise ValueError(f"num_pieces={num_pieces} is more than the {length} rows of the series")


# Pairs of sequences (chapter 9)


def check_in_vocab(tokens, vocab):
    """Raise a ValueError that names the first token without an id of its own."""
    for token in tokens:
        if token not in vocab:
            few = ", ".join(map(repr, vocab.tokens[4:9]))
            raise ValueError(f"{token!r} is not in this vocabulary of {few} …: is it in another case or alphabet?")


def check_one_row(source):
    """Raise a ValueError unless a source is one row of ids, (1, S)."""
    if source.dim() != 2 or len(source) != 1:
        shape = tuple(source.shape)
        raise ValueError(f"the source has shape {shape}: a beam is for one row (1, S), such as row[None]")


def check_enough(words, num_held_out):
    """Raise a ValueError unless some words remain to learn from."""
    if len(words) <= num_held_out:
        raise ValueError(f"{len(words)} words are too few to hold out {num_held_out} of them: hold out fewer")


# What leaves the notebook: steps, whole numbers for weights, files, and sessions that wait (chapter 10)


def check_batch_example(inputs):
    """Refuse an example of one: an exporter takes a size of 1 for a constant."""
    if len(inputs) < 2:
        raise ValueError("the example has a batch of 1, which an exporter takes for a constant: give it two rows")


def check_ship():
    """Raise an ImportError that names the remedy unless ONNX files can be written and run."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)} not installed: pip install -e '.[ship]', or make install")
    if not hasattr(torch.onnx, "ops"):
        raise ImportError(f"PyTorch {torch.__version__} can't write these ONNX files: it takes 2.8 or newer")


def check_bits(bits):
    """Refuse what an int8 can't hold, and one bit, which leaves nothing but a zero."""
    if not is_whole(bits, 2) or bits > 8:
        raise ValueError(f"bits={bits!r} must be a whole number from 2 to 8")


def check_matrix(W):
    """Refuse all but a matrix of finite real numbers."""
    if not isinstance(W, torch.Tensor) or W.dim() != 2 or not W.is_floating_point() or not W.numel():
        found = f"{W.dtype} of shape {tuple(W.shape)}" if isinstance(W, torch.Tensor) else f"a {type(W).__name__}"
        raise ValueError(f"weights to quantise must be a matrix of real numbers, (R, C), not {found}")
    if not torch.isfinite(W).all():
        raise ValueError("the weights hold nan or inf, which no whole number stands for: did the training diverge?")


def check_shippable(model):
    """Refuse a model that these files and the steps in NumPy and JavaScript can't hold."""
    layer, readout = getattr(model, "rnn", None), getattr(model, "linear", None)
    if not isinstance(layer, nn.RNNBase) or not isinstance(readout, nn.Linear):
        raise ValueError(
            f"a {type(model).__name__} can't be shipped: it needs a layer of torch.nn as .rnn and an nn.Linear as "
            ".linear"
        )
    if layer.bidirectional:
        raise ValueError("a layer of both directions has no step: it would have to read the end of the text first")
    if not layer.bias or layer.proj_size or getattr(layer, "nonlinearity", "tanh") != "tanh":
        raise ValueError(f"{layer}: give one with biases, without proj_size, with tanh")


def check_shipped(path):
    """Refuse a file that :func:`rnnlib.shipping.save_quantised` has not written, or that is damaged."""
    from safetensors import SafetensorError, safe_open  # here, since chapter 1 needs none

    try:
        with safe_open(path, framework="numpy") as file:
            right = "tokens" in (file.metadata() or {}) and "rnn.weight_hh_l0.scale" in file.keys()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} can't be read ({error}): write it anew with save_quantised") from None
    if not right:
        raise ValueError(f"{path} holds no quantised network: write one with save_quantised(path, model, tokens)")


def check_token_ids(inputs, vocab_size):
    """Refuse ids outside 0 to V - 1: NumPy would take -1 for the last row. Vectors (N, D) pass."""
    if inputs.ndim == 1 and not (np.issubdtype(inputs.dtype, np.integer) and len(inputs)):
        raise ValueError(f"ids must be whole numbers, at least one, not {inputs.dtype} of shape {inputs.shape}")
    if inputs.ndim == 1 and (inputs.min() < 0 or inputs.max() >= vocab_size):
        wrong = inputs[(inputs < 0) | (inputs >= vocab_size)][0]
        raise ValueError(f"id {wrong} is outside 0 to {vocab_size - 1}: was it coded with another vocabulary?")


def check_room(free):
    """Refuse a session more than there are rows."""
    if not free:
        raise ValueError("all places are taken: close a session first, or make the pool larger")


def check_free(row, free):
    """Refuse to give a row back twice: two sessions would get it."""
    if row in free:
        raise ValueError(f"row {row} was given back already: close a session once")


def check_idle(row, waiting):
    """Refuse a second character of a session before the first is answered: one of its two states would be lost."""
    if row in waiting and not waiting[row].done():
        raise ValueError(f"row {row} waits for an answer already: send one character after the other")


# Recipes (chapter 11)


def check_share(p):
    """Raise a ValueError unless p is a probability below 1."""
    if not 0 <= p < 1:
        raise ValueError(f"p={p!r} must be a share to drop: at least 0, below 1")


def check_start(start, goal):
    """Raise a ValueError unless rows begin no longer than they shall become."""
    if start > goal:
        raise ValueError(f"start={start} is above the goal, {goal}: rows only grow")


def check_recurrent_weights(rnn_layer):
    """Raise a ValueError unless a layer has recurrent weights, not dropped yet."""
    if not isinstance(rnn_layer, nn.RNNBase):
        raise ValueError(f"{rnn_layer} has no W_hh: give an nn.RNN, nn.GRU or nn.LSTM")
    if parametrize.is_parametrized(rnn_layer):
        raise ValueError("this layer drops weights already: make a new one")


# What explorers are given


def check_typed(vocab, characters):
    """Refuse a text that has a character which the network has never seen, or none at all."""
    if not characters:
        raise ValueError("the text is empty: type some letters that the network has seen")
    unknown = [repr(character) for character in dict.fromkeys(characters) if character not in vocab]
    if unknown:
        shown = ", ".join(unknown[:8]) + (" and others" if len(unknown) > 8 else "")
        raise ValueError(f"the network has never seen {shown}: type other characters")


def check_one_state(model):
    """Refuse a model whose state is not one tensor (N, H)."""
    state = model.begin_state(1, device="meta")
    if not isinstance(state, torch.Tensor) or state.dim() != 2:
        raise ValueError(
            f"the state of this {type(model).__name__} is not one tensor (N, H), which is what is drawn: give a "
            "ScratchRNN or a FastRNN"
        )


def check_drawable_numbers(what, values):
    """Refuse NaN and infinity, which can't be drawn."""
    if not torch.as_tensor(values).isfinite().all():
        raise ValueError(f"{what} holds NaN or infinity, which can't be drawn: has the training diverged?")


def check_ribbon(text, batch_size, longest):
    """Refuse a cleaned text that is too short to be cut into two steps a row, or too long to be drawn."""
    check_sizes(batch_size=batch_size)
    if batch_size > 4:
        raise ValueError(f"batch_size={batch_size!r} can't be drawn: give 1 to 4")
    if not text:
        raise ValueError("nothing is left of the text when it is cleaned: give one with letters")
    needed = 2 * batch_size + 1
    if not needed <= len(text) <= longest:
        raise ValueError(
            f"a text of {len(text)} characters, as it is when it is cleaned, can't be drawn in {batch_size} rows: give "
            f"{needed} to {longest} characters"
        )


def check_recorded(recorded):
    """Refuse a record of no training step, and gradients that are not finite."""
    if not recorded:
        raise ValueError("recorded is empty: give the gradients of at least one training step")
    for step, grads in enumerate(recorded, start=1):
        if not all(torch.isfinite(g).all() for g in grads):
            raise ValueError(f"the gradients of step {step} hold NaN or infinity: record the steps before it alone")
