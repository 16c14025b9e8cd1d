"""What the book refuses, and in which words: a ``check_…`` returns nothing and changes nothing.

Each raises a ValueError that names the value and the remedy. Values of tensors are looked at where that is free: on the
CPU, and not while a program is being recorded (compiled, exported or traced). The order is that of the book.
"""

import contextlib
import contextvars
import functools
import importlib.util
import inspect
import math
import numbers
import os
import re
import reprlib
import textwrap
import zoneinfo
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


_trusted = contextvars.ContextVar("trusted", default=False)


@contextlib.contextmanager
def trusting():
    """Let a loop hand a model what the model gave it: at every step, guards took as long as the step."""
    token = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(token)


def _looking_away():
    """Tell whether a program is being recorded, where sizes are symbols without values, or a loop is trusted."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or _trusted.get()


def is_whole(value, least):
    """Tell whether a value is a whole number, Python's or NumPy's, of at least this; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def is_positive(value):
    """Tell whether a value is a number above 0."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value > 0


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not _looking_away() and not is_whole(size, 1):
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


def check_shares(**shares):
    """Refuse all but numbers from 0 on, below 1: shares to drop."""
    for name, share in shares.items():
        if not isinstance(share, numbers.Real) or not 0 <= share < 1:
            raise ValueError(f"{name}={reprlib.repr(share)} must be a share: a number of at least 0, below 1")


def check_rates(**rates):
    """Refuse all but finite numbers above 0."""
    for name, rate in rates.items():
        if not is_positive(rate) or rate == math.inf:
            raise ValueError(f"{name}={reprlib.repr(rate)} must be above 0, and finite")


def check_place(device):
    """Refuse what is no device of this machine; None is that of the parameters."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError):
        raise ValueError(f"device={reprlib.repr(device)} is not here: give 'cpu', or rnnlib.setup()") from None


_FORM = re.compile(r"(?:(bool|whole) )?(\w+)((?: \([^)]*\))+)")
_KINDS = {"": "a tensor of real numbers", "bool": "a tensor of True and False", "whole": "a tensor of whole numbers"}


@functools.cache
def _parts(form):
    """Return kind, name and shapes of each part of a form; 3H in a shape is (3, "H"), 1 is (1, "")."""
    sizes = re.compile(r"(\d*)([^\d,() ]*)")
    return [
        (kind, name, [[(int(n or 1), letter) for n, letter in sizes.findall(shape) if n or letter]
                      for shape in re.findall(r"\([^)]*\)", shapes)])
        for kind, name, shapes in _FORM.findall(form)
    ]  # fmt: skip


def check_shapes(form, *values):
    """Refuse all but tensors in a form such as "X (N, D), bool mask (N)", on one device and of one dtype.

    A letter is the same size, of at least 1, wherever it stands (a small one may be 0), 3H is three times H, and …
    are any sizes, the same everywhere. A name with several shapes is a tuple or list of tensors. Without a kind the
    numbers are real, else "whole" or "bool".
    """
    if _looking_away():
        return
    known, reals = {}, []
    for (kind, name, shapes), value in zip(_parts(form), values, strict=True):
        parts = value if len(shapes) > 1 else [value]
        if not isinstance(parts, (tuple, list, nn.ParameterList)) or len(parts) != len(shapes):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a tuple or list of {len(shapes)} tensors")
        for part, shape in zip(parts, shapes, strict=True):
            if not _is_kind(part, kind) or not _fits(tuple(part.shape), shape, known):
                sizes = ", ".join(f"{n if n > 1 or not letter else ''}{letter}" for n, letter in shape)
                given = ", ".join(f"{letter} = {size}" for letter, size in known.items() if letter != "…")
                where = f" with {given}" if given else ""
                raise ValueError(f"{name} must be {_KINDS[kind]} of shape ({sizes}){where}, not {_found(part)}")
            _check_beside(name, part, reals)


def _check_beside(name, tensor, reals):
    """Refuse another device or another dtype of real numbers than those before it, (name, tensor) each."""
    for other, there in reals[-1:]:
        if tensor.device != there.device:
            raise ValueError(f"{name} is on {tensor.device}, {other} on {there.device}: move it with .to(…)")
        mixed = tensor.is_floating_point() and there.is_floating_point() and tensor.dtype != there.dtype
        if mixed and not torch.is_autocast_enabled(tensor.device.type):
            raise ValueError(f"{name} is {tensor.dtype}, {other} {there.dtype}: convert it with .to({there.dtype})")
    if tensor.is_floating_point() or not reals:
        reals.append((name, tensor))


def _is_kind(value, kind):
    """Tell whether a value is a tensor of what a kind says."""
    if not isinstance(value, torch.Tensor) or value.is_complex():
        return False
    if kind == "bool":
        return value.dtype == torch.bool
    return value.is_floating_point() if not kind else not value.is_floating_point() and value.dtype != torch.bool


def _fits(sizes, shape, known):
    """Tell whether sizes fit a shape of (factor, letter), and remember what the letters are."""
    letters = [letter for _, letter in shape]
    if "…" in letters:
        first = letters.index("…")
        last = len(sizes) - (len(shape) - first - 1)
        if last < first or known.setdefault("…", sizes[first:last]) != sizes[first:last]:
            return False
        sizes, shape = sizes[:first] + sizes[last:], shape[:first] + shape[first + 1 :]
    if len(sizes) != len(shape):
        return False
    return all(
        (size > 0 or letter.islower()) and (size == n * known.setdefault(letter, size // n) if letter else size == n)
        for size, (n, letter) in zip(sizes, shape, strict=True)
    )


def _found(value):
    """Say what a value is: dtype and shape, or its kind."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}, {reprlib.repr(value)}"


def check_held(**tensors):
    """Refuse tensors on the device "meta", which has shapes and no numbers."""
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_meta:
            raise ValueError(f"{name} is on the device 'meta', which holds no numbers: move it to a real one")


def check_networks(**models):
    """Refuse what is no network, and one on a device without numbers."""
    for name, model in models.items():
        if not isinstance(model, nn.Module):
            raise ValueError(f"{name}={reprlib.repr(model)} must be a network, an nn.Module")
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ValueError(f"{name} is on the device 'meta', which holds no numbers: give it weights, on a real one")


def check_language_models(**models):
    """Refuse what can't be read with as a language model: begin_state(batch_size), then model(ids, state)."""
    check_networks(**models)
    for name, model in models.items():
        if not callable(getattr(model, "begin_state", None)) or next(model.parameters(), None) is None:
            raise ValueError(
                f"{name} is a {type(model).__name__}: it must be a language model, with begin_state(batch_size)"
            )


def check_loop(**values):
    """Refuse what can't be looped over."""
    for name, value in values.items():
        if not isinstance(value, Iterable) or not _dimensions(value) or isinstance(value, (str, bytes, Mapping, Set)):
            raise ValueError(f"{name}={reprlib.repr(value)} is a {type(value).__name__}: give a list")


def check_tensors(**values):
    """Refuse what can't be looped over, and a list of something else than tensors."""
    check_loop(**values)
    for name, value in values.items():
        if isinstance(value, (list, tuple)) and not all(isinstance(part, torch.Tensor) for part in value):
            raise ValueError(f"{name}={reprlib.repr(value)} must be tensors, such as model.parameters()")


def check_entropy(logits, targets):
    """Refuse all but logits and one id for each row of them."""
    check_shapes("logits (R, V), whole targets (R)", logits, targets)
    check_range("targets", targets, logits.shape[1])


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
        check_held(**{name: value})


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


def check_path(**paths):
    """Refuse what is no path of a file; a whole number would be taken for a file that is open already."""
    for name, path in paths.items():
        if not isinstance(path, (str, os.PathLike)) or not str(path) or "\0" in str(path):
            raise ValueError(f"{name}={reprlib.repr(path)} must be the path of a file, such as 'mine.safetensors'")


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
    """Refuse what can't be called."""
    for name, value in values.items():
        if not callable(value):
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
    if not isinstance(unit, str) or unit not in ("char", "word"):
        raise ValueError(f"unit={unit!r} is not known: use 'char' or 'word'")


def check_reserved(reserved):
    """Refuse reserved tokens that are one text, or of which one stands twice."""
    if (
        isinstance(reserved, str)
        or not isinstance(reserved, Iterable)
        or not _dimensions(reserved)
        or isinstance(reserved, (Set, Mapping))
    ):
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
        dtype = torch.as_tensor(array.flat[:1]).dtype if array.dtype.kind in "biuf" else array.dtype
        found = f"{dtype} of shape {array.shape}"
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


def check_probabilities(p):
    """Refuse all but probabilities above 0, at least one."""
    array = np.asarray(p if not isinstance(p, torch.Tensor) or not p.is_meta else [])
    if array.dtype.kind not in "fiu" or not array.size or not ((array > 0) & (array <= 1)).all():
        raise ValueError(f"p={reprlib.repr(p)} must be probabilities: numbers above 0, at most 1, at least one of them")


def check_portions(batches, num_batches):
    """Refuse what can't be handed out in portions."""
    check_loop(batches=batches)
    check_sizes(num_batches=num_batches)


def check_one_hot(ids, vocab_size):
    """Refuse all but ids (N, T) of a vocabulary."""
    if not _looking_away():
        check_sizes(vocab_size=vocab_size)
        check_ids(ids, vocab_size)


def check_words(text):
    """Refuse a text without words."""
    check_text(text=text)
    if not text.split():
        raise ValueError("the text has no words: give it at least one letter")


def check_length(ids, num_steps):
    """Raise a ValueError that names the remedy unless a text is longer than a window."""
    check_sizes(num_steps=num_steps)
    if len(ids) <= num_steps:
        raise ValueError(
            f"{len(ids)} letters are too few for windows of num_steps={num_steps}: give more letters or lower it"
        )


def check_vocab(model, vocab):
    """Refuse what is no language model, and one that says that it has another number of tokens."""
    check_language_models(model=model)
    size = getattr(model, "vocab_size", len(vocab))
    if size != len(vocab):
        raise ValueError(
            f"the model has {size} tokens but the vocabulary has {len(vocab)}: give the one that it was trained with"
        )


def check_prefix(vocab, prefix):
    """Refuse a prefix that isn't one or more tokens of the vocabulary, or that the model learned as ``<unk>``."""
    if (
        isinstance(prefix, (Set, Mapping, Iterator))
        or not hasattr(prefix, "__len__")
        or isinstance(prefix, bytes)
        or not _dimensions(prefix)
    ):
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
    if not isinstance(temperature, numbers.Real) or not math.isfinite(temperature) or temperature < 0:
        raise ValueError(
            f"temperature={temperature!r} must be a finite number above 0 (below 1 more cautious, above 1 more "
            "daring), or 0 for greedy"
        )


def check_top_k(top_k, vocab_size):
    """Raise a ValueError unless this is None or a whole number from 1 to V."""
    if top_k is not None and not (is_whole(top_k, 1) and top_k <= vocab_size):
        raise ValueError(f"top_k={top_k!r} must be a whole number from 1 to the vocabulary size, {vocab_size}")


def check_logits(logits):
    """Refuse what is no tensor of logits, NaN and infinity; -inf, which is never drawn, may be."""
    check_shapes("logits (…, V)", logits)
    check_held(logits=logits)
    if not math.isfinite(logits.max()):  # the maximum of numbers and NaN is NaN
        raise ValueError(
            f"the largest logit is {float(logits.max())}, so there is nothing to draw from: has the training diverged? "
            "Make the model anew and train it with a smaller learning rate"
        )


# Networks


def check_drawing(vocab_size, num_hiddens, device, input_scale, sigma):
    """Refuse sizes, a device and deviations that no weights can be drawn with."""
    check_sizes(vocab_size=vocab_size, num_hiddens=num_hiddens)
    check_place(device)
    check_numbers(input_scale=input_scale, sigma=sigma)


def check_begin(batch_size, device):
    """Refuse a number of rows and a device that no state can have."""
    check_sizes(batch_size=batch_size)
    if not _looking_away():
        check_place(device)


_GATE = " (D, H) (H, H) (H)"
_READ_OUT = " (H, Q) (Q)"


def check_rnn(inputs, H, params):
    """Refuse what the recurrence of chapter 2 can't be run on."""
    check_shapes(f"inputs (T, N, D), H (N, H), params{_GATE}{_READ_OUT}", inputs, H, params)


def check_bptt(inputs, H, params, loss):
    """Refuse what can't be propagated back through time."""
    check_rnn(inputs, H, params)
    check_callable(loss=loss)


def check_scratch_lstm(inputs, state, params):
    """Refuse what the LSTM of chapter 5 can't be run on."""
    check_shapes(f"inputs (T, N, D), state (N, H) (N, H), params{4 * _GATE}{_READ_OUT}", inputs, state, params)


def check_scratch_gru(inputs, H, params):
    """Refuse what the GRU of chapter 5 can't be run on."""
    check_shapes(f"inputs (T, N, D), H (N, H), params{3 * _GATE} (H){_READ_OUT}", inputs, H, params)


def check_scan(step, inputs):
    """Refuse what can't be scanned step by step."""
    check_callable(step=step)
    check_shapes("inputs (T, …)", inputs)


def check_two_ways(step, inputs, states, params):
    """Refuse what can't be scanned each way."""
    check_scan(step, inputs)
    for name, value in {"states": states, "params": params}.items():
        if not _is_pair(value):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a pair, one for each direction, forward first")


def check_layer_class(layer_class):
    """Refuse what is no class of recurrent layers."""
    if not isinstance(layer_class, type) or not issubclass(layer_class, nn.RNNBase):
        raise ValueError(f"layer_class={reprlib.repr(layer_class)} must be nn.RNN, nn.GRU or nn.LSTM")


def check_both(ahead, back):
    """Refuse all but two language models of one vocabulary."""
    check_language_models(ahead=ahead, back=back)
    if not hasattr(ahead, "vocab_size") or not hasattr(back, "vocab_size"):
        raise ValueError("ahead and back must say their vocab_size")
    if ahead.vocab_size != back.vocab_size:
        raise ValueError(
            f"ahead has {ahead.vocab_size} tokens and back {back.vocab_size}: give both the same vocabulary"
        )


def check_reading(model, batches):
    """Refuse what is no language model, and what can't be looped over as its minibatches."""
    check_language_models(model=model)
    check_measured(model, batches)


def check_measured(model, batches):
    """Refuse what is no network with parameters, and what can't be looped over as its minibatches."""
    check_networks(model=model)
    if next(model.parameters(), None) is None:
        raise ValueError(f"model is a {type(model).__name__} without parameters")
    check_loop(batches=batches)
    if isinstance(batches, torch.Tensor) or (isinstance(batches, list) and not all(map(_is_pair, batches))):
        raise ValueError("batches must be minibatches, pairs X, Y of ids, both (N, T)")


def _is_pair(value):
    """Tell whether a value is a pair."""
    return isinstance(value, (tuple, list)) and len(value) == 2


def check_training(model, optimizer, clip):
    """Refuse a model without something to learn, an optimizer of another one, and a norm that is no limit."""
    check_learners(model=model)
    check_optimizer(optimizer, model)
    check_positive(clip=clip)


def check_clipping(params, theta):
    """Refuse what are no parameters, and a norm that is no limit."""
    check_tensors(params=params)
    check_positive(theta=theta)


def check_draw(num_hiddens, generator, **numbers):
    """Refuse what no matrix can be drawn with."""
    check_sizes(num_hiddens=num_hiddens)
    check_numbers(**numbers)
    check_generator(generator)


def check_drawn(generator, **sizes):
    """Refuse sizes that are none, and what draws no random numbers."""
    check_sizes(**sizes)
    check_generator(generator)


def check_adding(batch_size, length, generator):
    """Refuse rows without two halves to put a mark in."""
    check_drawn(generator, batch_size=batch_size, length=length)
    if length < 2:
        raise ValueError(f"length={length} has no two halves: give at least 2")


def check_drive(W_hh, drive, h, activation):
    """Refuse what no Jacobian can be measured of."""
    check_shapes("W_hh (H, H), drive (T, H), h (H)", W_hh, drive, h)
    check_callable(activation=activation)


def check_run(run, drive):
    """Refuse what no gradient can be measured of."""
    check_callable(run=run)
    check_shapes("drive (T, N, H)", drive)


def check_read(read, X):
    """Refuse what no dependency can be measured of."""
    check_callable(read=read)
    check_shapes("X (T, D)", X)


def check_truncation(model, X, Y, num_steps):
    """Refuse what can't be read in windows."""
    check_sizes(num_steps=num_steps)
    check_language_models(model=model)
    check_minibatch((X, Y), model)
    check_device(X, model)
    check_device(Y, model)
    check_targets_left([(X, Y)])


def check_saving(forward, params):
    """Refuse what stores nothing for a backward pass."""
    check_callable(forward=forward)
    check_tensors(params=params)


def check_ends(**rows):
    """Refuse all but lists of 0 and 1 of the same length, at least one."""
    lengths = set()
    for name, ends in rows.items():
        check_ordered(**{name: ends})
        meta = isinstance(ends, torch.Tensor) and ends.is_meta
        values = [] if meta else ends.tolist() if isinstance(ends, (torch.Tensor, np.ndarray)) else ends
        if not len(values) or not all(
            isinstance(value, (numbers.Real, np.bool_)) and value in (0, 1) for value in values
        ):
            raise ValueError(f"{name}={reprlib.repr(ends)} must be a list of 0 and 1, 1 where a word ends")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise ValueError(f"{' and '.join(rows)} have {sorted(lengths)} letters: they must be of the same text")


def check_spaces(letters, ends):
    """Refuse a text without one end for each letter."""
    check_text(letters=letters)
    check_ends(ends=ends)
    if len(letters) != len(ends):
        raise ValueError(f"{len(letters)} letters and {len(ends)} ends: give one for each")


def check_splitter(model, ids, ends, num_steps):
    """Refuse what no model of word ends can be trained on."""
    check_learners(model=model)
    if not hasattr(model, "layer") and not hasattr(model, "model"):
        raise ValueError(f"model is a {type(model).__name__}: it must be a WordSplitter, or one Flipped")
    check_shapes("whole ids (T)", ids)
    check_length(ids, num_steps)
    if not isinstance(ends, torch.Tensor) or ends.shape != ids.shape or ends.device != ids.device or ends.is_complex():
        raise ValueError(f"ends must be a tensor with 1 or 0 for each of the {len(ids)} ids, beside them")


def check_pace(lr, seed, **sizes):
    """Refuse numbers that no training can have."""
    check_sizes(**sizes)
    check_rates(lr=lr)
    check_seed(seed)


def check_lookahead(splitter, ids, future, context):
    """Refuse what can't be read letter by letter."""
    check_networks(splitter=splitter)
    if not hasattr(splitter, "layer") or not hasattr(splitter, "readout"):
        raise ValueError(f"splitter is a {type(splitter).__name__}: it must be a WordSplitter")
    check_shapes("whole ids (T)", ids)
    check_letters(ids[None], splitter.layer)
    for name, count in {"future": future, "context": context}.items():
        if not is_whole(count, 0):
            raise ValueError(f"{name}={reprlib.repr(count)} must be a whole number of letters, from 0 on")


def check_recurrent(rnn_layer):
    """Refuse what is no recurrent layer, of PyTorch or in both directions."""
    if not isinstance(rnn_layer, nn.Module) or not hasattr(rnn_layer, "bidirectional"):
        raise ValueError(
            f"rnn_layer={reprlib.repr(rnn_layer)} must be an nn.RNN, nn.GRU or nn.LSTM, such as nn.GRU(28, 256)"
        )


def check_end_state(rnn_layer, state):
    """Refuse a state of another form than a layer's."""
    check_recurrent(rnn_layer)
    part = state[0] if isinstance(state, tuple) and len(state) == 2 else state
    check_shapes("state (L, N, H)", part)
    if len(part) != rnn_layer.num_layers * (2 if rnn_layer.bidirectional else 1):
        raise ValueError(f"the state {tuple(part.shape)} is not that of {rnn_layer}")


def check_inputs(model, ids, state):
    """Refuse ids that are no (N, T) tensor of ids of the model, and a state of another form than it begins with."""
    if _looking_away():
        return
    check_ids(ids, model.vocab_size)
    check_device(ids, model)
    if state is not None:
        check_state(state, model.begin_state(len(ids), device="meta"), ids.device)


def check_ids(ids, vocab_size):
    """Refuse all but a (N, T) tensor of whole numbers from 0 to V - 1."""
    if not isinstance(ids, torch.Tensor):
        raise ValueError(f"ids must be a tensor of shape (N, T), not a {type(ids).__name__}: use torch.tensor(ids)")
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"ids must have shape (N, T), at least (1, 1), not {tuple(ids.shape)}: one row of token ids a sequence"
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
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
    if not _is_pair(minibatch):
        raise ValueError(f"a minibatch must be a pair X, Y of ids, both (N, T), not {reprlib.repr(minibatch)}")
    X, Y = minibatch
    vocab_size = getattr(model, "vocab_size", None)
    if vocab_size is None:
        return
    check_ids(X, vocab_size)
    if not isinstance(Y, torch.Tensor) or Y.shape != X.shape or not _is_kind(Y, "whole"):
        found = f"{Y.dtype} of shape {tuple(Y.shape)}" if isinstance(Y, torch.Tensor) else f"a {type(Y).__name__}"
        raise ValueError(f"the targets must be whole numbers of the shape of X, {tuple(X.shape)}, not {found}")
    counted = Y[Y.long() != IGNORED] if Y.device.type == "cpu" else Y
    if counted.numel():
        check_range("target", counted, vocab_size)


def check_state(state, like, device):
    """Refuse a state that has not the form of another, tensors, shapes and dtypes, or lies on another device."""
    if isinstance(state, torch.Tensor) and isinstance(like, tuple):
        raise ValueError("the state is one tensor, not two: an LSTM needs (H, C), as begin_state(batch_size) gives")
    if _shapes(state) != _shapes(like):
        raise ValueError(
            f"the state has shape {_shapes(state)} but these ids need {_shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )
    for there, wanted in zip(_tensors(state), _tensors(like), strict=True):
        if there.device != device:
            raise ValueError(f"the state is on {there.device}, the ids on {device}: move it with .to({str(device)!r})")
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
    if not isinstance(state, (tuple, list)):
        raise ValueError(
            f"the state holds a {type(state).__name__}, which is no tensor: begin with begin_state(batch_size)"
        )
    return [tensor for part in state for tensor in _tensors(part)]


def check_lengths(lengths, N, T):
    """Refuse all but a tensor of N whole numbers from 1 to T."""
    if _looking_away():
        return
    there = lengths if isinstance(lengths, torch.Tensor) else _as_array(lengths)
    if there is None or tuple(there.shape) != (N,) or not _is_whole_kind(there):
        raise ValueError(
            f"lengths must be a tensor of {N} whole numbers, one for each sequence, not {reprlib.repr(lengths)}"
        )
    if isinstance(there, torch.Tensor) and there.device.type not in ("cpu", "meta"):
        return
    if isinstance(there, torch.Tensor) and there.is_meta:
        raise ValueError("lengths are on the device 'meta', which holds no numbers")
    values = np.asarray(there)
    wrong = values[(values < 1) | (values > T)]
    if len(wrong):
        raise ValueError(
            f"a length of {wrong[0]} is outside 1 to {T}, the steps of these rows: count the real steps of each"
        )


def _as_array(values):
    """Return values as an array, or None where they make none."""
    try:
        return np.asarray(values)
    except ValueError:  # rows of unlike length
        return None


def _is_whole_kind(values):
    """Tell whether a tensor or an array holds whole numbers."""
    return _is_kind(values, "whole") if isinstance(values, torch.Tensor) else values.dtype.kind in "iu"


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


def check_reader(rnn_layer, embedding, readout, dropout):
    """Raise a ValueError that names the remedy unless a classifier can read an embedding with this layer."""
    check_networks(embedding=embedding)
    check_callable(readout=readout)
    check_shares(dropout=dropout)
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
    if embedding is not None:
        check_networks(embedding=embedding)
    if embedding is None and rnn_layer.input_size != vocab_size:
        raise ValueError(
            f"the layer reads {rnn_layer.input_size} numbers a step, but a one-hot row has vocab_size={vocab_size}: "
            f"make it {type(rnn_layer).__name__}({vocab_size}, {rnn_layer.hidden_size}), or give an embedding"
        )
    if isinstance(embedding, nn.Embedding):
        wanted, there = (vocab_size, rnn_layer.input_size), tuple(embedding.weight.shape)
        if there != wanted:
            raise ValueError(f"the embedding is {there}, but this layer and vocabulary need nn.Embedding{wanted}")


def check_answers(num_outputs, embedding):
    """Refuse a number of outputs that is none, and what embeds no ids."""
    check_sizes(num_outputs=num_outputs)
    if embedding is not None:
        check_networks(embedding=embedding)


def check_same_network(scratch, model):
    """Raise a ValueError unless these are a ScratchRNN and a language model on ``nn.RNN`` of the same sizes."""
    check_networks(source=scratch, target=model)
    five = len(getattr(scratch, "params", ())) == 5
    if not five or not hasattr(model, "rnn"):
        raise ValueError(
            f"weights (source, target) are copied between a ScratchRNN and a LanguageModel on nn.RNN, not between a "
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


def check_gated(layer, which):
    """Refuse all but an LSTM or GRU with biases and without a projection, and a level that it hasn't."""
    if not isinstance(layer, (nn.LSTM, nn.GRU)) or not layer.bias or layer.proj_size:
        raise ValueError(f"layer={layer}: give an nn.LSTM or nn.GRU with biases, without proj_size")
    if not isinstance(which, str) or not hasattr(layer, f"weight_hh_{which}"):
        raise ValueError(f"which={which!r} is no level of {layer}: the first is 'l0', backwards 'l0_reverse'")


def check_lstm(lstm, bias):
    """Refuse what has no forget bias, and a bias that is no number."""
    check_numbers(bias=bias)
    if not isinstance(lstm, nn.LSTM) or not lstm.bias:
        raise ValueError(f"lstm={lstm} has no forget bias: give an nn.LSTM with bias=True")


def check_stacked_lstm(model):
    """Refuse all but a language model with an embedding on an nn.LSTM that reads one way, on the CPU."""
    layer = getattr(model, "rnn", None)
    fits = isinstance(layer, nn.LSTM) and layer.bias and not layer.bidirectional and not layer.proj_size
    if (
        not fits
        or not isinstance(getattr(model, "embedding", None), nn.Embedding)
        or layer.weight_hh_l0.device.type != "cpu"
    ):
        raise ValueError(
            f"model={model} must be a LanguageModel with an nn.Embedding on an nn.LSTM that reads one way, on the CPU"
        )


def _num_embeddings(model):
    """Return for how many ids the embedding of a model has a vector, or None where it has no embedding."""
    parts = getattr(model, "modules", list)()
    return next((part.num_embeddings for part in parts if isinstance(part, nn.Embedding)), None)


def check_embedded_ids(model, ids):
    """Refuse all but a (N, T) tensor of ids that the embedding of a model has a vector for, on its device."""
    if _looking_away():
        return
    size = _num_embeddings(model)
    check_ids(ids, float("inf") if size is None else size)
    check_device(ids, model)


def check_sequences(model, inputs):
    """Refuse what a ManyToOne can't read: ids (N, T) of its embedding, or vectors (N, T, input_size)."""
    if _looking_away():
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
    if not _looking_away():
        check_ids(ids, layer.input_size)
        check_device(ids, layer)


# Reviews and their labels


def check_cut_tensor(ids, length):
    """Refuse what is no tensor of ids (T,), and a length that is none."""
    check_sizes(length=length)
    check_shapes("whole ids (t)", ids)


def check_cut(ids, length):
    """Refuse what is no row of ids, and a length that is none."""
    check_sizes(length=length)
    if isinstance(ids, np.ndarray) or (
        not _is_row(ids) and not (isinstance(ids, (list, torch.Tensor)) and _dimensions(ids) == 1 and not len(ids))
    ):
        raise ValueError(f"ids={reprlib.repr(ids)} must be one row of ids, as encode gives")


def check_steps(model, batches, optimizer, scheduler, clip, loss):
    """Refuse what no classifier can be trained with."""
    check_learners(model=model)
    check_loop(batches=batches)
    check_reviews(model, batches)
    check_optimizer(optimizer, model)
    check_scheduler(scheduler, optimizer)
    check_callable(loss=loss)
    check_positive(clip=clip)


def check_recipe(vocab_size, num_hiddens, embed_size, drop_words):
    """Refuse sizes and a share that no classifier can be made with."""
    check_sizes(vocab_size=vocab_size, num_hiddens=num_hiddens, embed_size=embed_size)
    check_shares(drop_words=drop_words)


def check_word_vectors(embedding, vectors, found):
    """Refuse vectors that don't fit an embedding."""
    if not isinstance(embedding, nn.Embedding):
        raise ValueError(f"embedding={reprlib.repr(embedding)} must be an nn.Embedding")
    V, D = embedding.weight.shape
    check_shapes(f"vectors ({V}, {D}), bool found ({V})", vectors, found)
    check_held(vectors=vectors)
    if not vectors.isfinite().all():
        raise ValueError("the vectors hold NaN or infinity")


def check_schedule(model, num_steps, lr, embedding_lr):
    """Refuse what no optimizer and schedule can be made for."""
    check_networks(model=model)
    if not isinstance(getattr(model, "embedding", None), nn.Module):
        raise ValueError(f"model is a {type(model).__name__}: it must have an embedding, as a SentimentClassifier has")
    check_sizes(num_steps=num_steps)
    check_rates(lr=lr, embedding_lr=lr if embedding_lr is None else embedding_lr)


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
        return bool(numbers_of) and row.dtype != torch.bool and not row.is_meta and int(row.min()) >= 0
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
        raise ValueError(
            "the logits must be numbers, one for each review, and none of them NaN: has the training diverged?"
        )
    for label in labels.flatten().tolist() if isinstance(labels, torch.Tensor) else np.ravel(labels).tolist():
        check_label(label)


def check_classifier(model, *parts):
    """Refuse what reads no ids and lengths, has nothing learned, or lacks one of these parts."""
    check_networks(model=model)
    reads_two = len(inspect.signature(model.forward).parameters) >= 2 and not isinstance(model, nn.RNNBase)
    if not reads_two or next(model.parameters(), None) is None or not all(hasattr(model, part) for part in parts):
        raise ValueError(f"model is a {type(model).__name__}: it must be a classifier of reviews with parameters")


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
    if not all(hasattr(review, "label") for review in reviews):
        raise ValueError(f"reviews={reprlib.repr(reviews)} must be reviews with a label, as data.load_imdb gives")
    for review in reviews:
        check_label(getattr(review, "label", None))
    for label in (0, 1):
        count = sum(review.label == label for review in reviews)
        if not is_whole(num_valid, 1) or num_valid >= count:
            raise ValueError(f"num_valid={num_valid!r} must be at least 1 and below {count}")


# What a training is given: all of it is looked at before the first step


def check_learners(**models):
    """Refuse what is no network with something to learn."""
    check_networks(**models)
    for name, model in models.items():
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(f"{name} is a {type(model).__name__} without parameters that learn")


def check_batches(batches):
    """Refuse what isn't one or more minibatches of which it is known how many they are."""
    if not hasattr(batches, "__len__") or not _dimensions(batches) or isinstance(batches, (str, bytes, Mapping, Set)):
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
        given = getattr(given, "batches", given)  # of BatchPortions
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


def check_epochs(**histories):
    """Refuse what holds no epochs of a training."""
    for name, history in histories.items():
        if not isinstance(history, list) or not hasattr(history, "column"):
            raise ValueError(f"{name}={reprlib.repr(history)} must be the History or Progress that a training returned")


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


def check_perplexities(**tables):
    """Refuse what are no perplexities by name; None is none at all."""
    for name, table in tables.items():
        known = table is None or isinstance(table, Mapping)
        if not known or not all(is_positive(value) for value in (table or {}).values()):
            raise ValueError(
                f"{name}={reprlib.repr(table)} must be a dict of perplexities, such as {{'unigram': 17.1}}"
            )


def check_shown(sample, report):
    """Refuse what can't be called for a text to show, or to report to."""
    given = {"sample": sample, "report": report}
    check_callable(**{name: function for name, function in given.items() if function is not None})


def check_valid(model, valid):
    """Refuse held-out rows and labels that a classifier can't be measured on."""
    if valid is None:
        return
    if not isinstance(valid, (tuple, list)) or len(valid) != 2:
        raise ValueError(f"valid={reprlib.repr(valid)} must be a pair (rows, labels) of held-out reviews")
    try:
        check_held_out(model, *valid)
    except ValueError as error:
        raise ValueError(f"valid: {error}") from None


def check_scored(model, rows):
    """Refuse what is no classifier of reviews, and rows that it can't read."""
    check_classifier(model)
    check_known_ids(model, rows)


def check_held_out(model, rows, labels):
    """Refuse rows and labels that a classifier can't be measured on."""
    check_rows(rows)
    check_labels(labels, len(rows))
    check_scored(model, rows)


def check_reviews(model, batches):
    """Refuse minibatches of reviews with ids that a classifier has no vector for."""
    rows = getattr(batches, "rows", None)
    if rows is not None:
        check_known_ids(model, rows)
    elif isinstance(batches, (list, tuple)):
        for batch in batches:
            check_reviews_of(model, batch)
    else:
        check_held(batches=batches)


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


def check_horizons(horizons, series):
    """Refuse horizons that are not whole numbers of at least 1, and a series that is no tensor with them."""
    listed = isinstance(horizons, (tuple, list, range, np.ndarray, torch.Tensor)) and _dimensions(horizons) == 1
    if not listed or not len(horizons) or not all(is_whole(h, 1) for h in horizons):
        raise ValueError(f"horizons={horizons!r} must be a list of whole numbers of at least 1, such as [1, 6, 24]")
    check_shapes("series (T, …)", series)
    check_held(series=series)


def check_part(truth, horizons, start, stop):
    """Refuse a part that holds no hour or leaves the series, and a truth that hasn't these horizons."""
    check_shapes("truth (T, S, K)", truth)
    check_held(truth=truth)
    check_horizons(horizons, truth)
    if truth.dim() != 3 or truth.shape[2] != len(horizons):
        raise ValueError(
            f"truth must be of shape (T, S, {len(horizons)}), a column for each horizon, not {_found(truth)}"
        )
    if not is_whole(start, 0) or not is_whole(stop, 1) or not start < stop <= len(truth):
        raise ValueError(
            f"the part from start={start!r} to stop={stop!r} is empty or outside the {len(truth)} hours of the series"
        )


def check_scale(series, stop):
    """Refuse a series that has no deviation before an hour: fewer than two rows that are known."""
    check_shapes("series (T, …)", series)
    check_held(series=series)
    if series.dim() < 2 or not is_whole(stop, 1) or stop > len(series):
        raise ValueError(
            f"stop={stop!r} must be a whole number of hours of a series (T, …, D), which is {_found(series)}"
        )
    if (~series[:stop].flatten(0, -2).isnan().any(dim=1)).sum() < 2:
        raise ValueError(
            f"fewer than two rows before stop={stop} are known: give a later stop, or fill what is missing"
        )


def check_alike(**tensors):
    """Refuse tensors of different shapes, since broadcasting would compare all pairs."""
    names = list(tensors)
    for name, tensor in tensors.items():
        check_shapes(f"{name} (…)", tensor)
        if tensor.shape != tensors[names[0]].shape:
            shapes = " and ".join(f"{other} {tuple(tensors[other].shape)}" for other in (names[0], name))
            raise ValueError(f"{shapes} must have the same shape")
    check_shapes(", ".join(f"{name} (…)" for name in names), *tensors.values())


def check_window(inputs, num_lags):
    """Refuse windows longer than the series."""
    check_sizes(num_lags=num_lags)
    check_shapes("inputs (T, D)", inputs)
    if num_lags > len(inputs):
        raise ValueError(f"num_lags={num_lags} is more than the {len(inputs)} rows of the series")


def check_pieces(series, num_pieces):
    """Refuse more pieces than the series has rows."""
    check_sizes(num_pieces=num_pieces)
    if not isinstance(series, torch.Tensor) or series.dim() < 2 or not series.numel():
        raise ValueError(f"series must be a tensor (T, S, …), not {_found(series)}")
    if num_pieces > len(series):
        raise ValueError(f"num_pieces={num_pieces} is more than the {len(series)} rows of the series")


def check_ridge(inputs, targets, num_lags, alpha):
    """Refuse what no ridge regression can learn from."""
    check_window(inputs, num_lags)
    check_shapes("inputs (T, D), targets (T, S, K)", inputs, targets)
    check_numbers(alpha=alpha)
    if inputs.is_meta or not inputs.isfinite().all():
        raise ValueError("inputs hold NaN, infinity or nothing: fill what is missing first")
    if alpha <= 0 or not (~targets[num_lags - 1 :].flatten(1).isnan().any(dim=1)).any():
        raise ValueError(f"alpha={alpha} must be above 0, and one row of targets known")


def check_zone(zone):
    """Refuse what is no time zone; None is none given."""
    if zone is None:
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (TypeError, ValueError, OSError, AttributeError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError(f"zone={reprlib.repr(zone)} is no time zone: give one such as 'Europe/Berlin'") from None


def check_every(every):
    """Refuse what is no distance in time as pandas writes it."""
    import pandas as pd  # here, since no chapter before the eighth needs it

    try:
        pd.tseries.frequencies.to_offset(every)
    except ValueError:
        raise ValueError(f"every={every!r} is no distance in time: give 'h', '15min' or 'D'") from None


def check_hours(rows):
    """Refuse what is no table of a station's hours."""
    wanted = ("time_hour", "temp", "dewp", "wind_dir", "wind_speed", "pressure")
    missing = [name for name in wanted if name not in getattr(rows, "columns", ())]
    if missing or not len(rows):
        raise ValueError(f"rows={type(rows).__name__} must be a table of load_weather(): it lacks {missing or 'rows'}")


def check_times(times):
    """Refuse what is no index of times."""
    if not hasattr(times, "hour") or not hasattr(times, "__len__") or not len(times):
        raise ValueError(f"times={reprlib.repr(times)} must be an index of times, such as table.index")


def check_forecaster(rnn_layer, shape, drop_in, drop_out):
    """Refuse a layer, a shape of a forecast and dropouts that make no forecaster."""
    check_layer(rnn_layer)
    check_shares(drop_in=drop_in, drop_out=drop_out)
    check_ordered(shape=shape)
    if not len(shape) or not all(is_whole(size, 1) for size in shape):
        raise ValueError(f"shape={shape!r} must be a list of whole numbers of at least 1, such as [len(horizons)]")


def check_series(rnn_layer, inputs, state):
    """Refuse inputs that a forecaster can't read, and a state of another form."""
    if _looking_away():
        return
    check_shapes(f"inputs (T, N, {rnn_layer.input_size}), weight (G, H)", inputs, rnn_layer.weight_hh_l0)
    if state is not None:
        rows = rnn_layer.num_layers * (2 if rnn_layer.bidirectional else 1)
        H = inputs.new_zeros(rows, inputs.shape[1], rnn_layer.hidden_size)
        check_state(state, (H, H) if isinstance(rnn_layer, nn.LSTM) else H, inputs.device)


def check_forecasting(model):
    """Refuse what is no forecaster."""
    check_networks(model=model)
    if not isinstance(getattr(model, "linear", None), nn.Linear) or not hasattr(model, "rnn"):
        raise ValueError(f"model is a {type(model).__name__}: it must be a Forecaster")


def check_run_inputs(model, inputs):
    """Refuse what is no forecaster, and what it can't be run on."""
    check_forecasting(model)
    check_shapes("inputs (T, S, D)", inputs)
    check_held(inputs=inputs)


def check_forecasts(model, inputs, targets, loss):
    """Refuse what no forecaster can be trained on."""
    check_learners(model=model)
    check_forecasting(model)
    check_shapes("inputs (T, S, D), targets (T, S, K)", inputs, targets)
    check_callable(loss=loss)


def check_pinball(forecasts, truth, quantiles):
    """Refuse quantiles outside 0 to 1, and forecasts that haven't one number for each."""
    check_shapes("forecasts (…, Q), truth (…), quantiles (Q)", forecasts, truth, quantiles)
    if not quantiles.is_meta and not ((quantiles > 0) & (quantiles < 1)).all():
        raise ValueError(f"quantiles={quantiles.tolist()} must lie between 0 and 1")


def check_adapting(low, horizon, aim, gamma):
    """Refuse intervals that are no (T, S), and numbers to adapt them with that are none."""
    check_shapes("low (T, S)", low)
    check_sizes(horizon=horizon)
    check_shares(aim=aim)
    check_numbers(gamma=gamma)


def check_stream(model, mean, std):
    """Refuse a model, mean and deviation that no stream can be made of."""
    check_forecasting(model)
    check_shapes("mean (D), std (D)", mean, std)


def check_surprises(surprises, slack):
    """Refuse what no running sums can be taken of."""
    check_shapes("surprises (T, …)", surprises)
    check_numbers(slack=slack)


def check_free_run(model, series, length):
    """Refuse what can't go on by itself."""
    check_forecasting(model)
    check_held(series=series)
    weight = model.linear.weight
    check_shapes("weight (K, H), series (T, N)", weight, series.to(weight.device) if hasattr(series, "to") else series)
    check_sizes(length=length)


# Pairs of sequences (chapter 9)


def check_in_vocab(name, tokens, vocab):
    """Raise a ValueError that names the first token without an id of its own."""
    if not isinstance(tokens, str):
        check_ordered(**{name: tokens})
    if not hasattr(vocab, "tokens"):
        raise ValueError(f"{name}_vocab={reprlib.repr(vocab)} must be a text.Vocab")
    for token in tokens:
        if not isinstance(token, Hashable) or token not in vocab:
            few = ", ".join(map(repr, vocab.tokens[4:9]))
            raise ValueError(
                f"{token!r} is not in this vocabulary of {few} … (in the {name}): is it in another case or alphabet?"
            )


def check_coded(source, source_vocab, target, target_vocab):
    """Refuse a source or a target with a token that its vocabulary lacks."""
    check_in_vocab("source", source, source_vocab)
    check_in_vocab("target", target, target_vocab)
    if not len(source):
        raise ValueError("the source is empty: give at least one token")


def check_coder(vocab_size, embed_size, num_hiddens, dropout):
    """Refuse sizes that no encoder can have."""
    check_sizes(vocab_size=vocab_size, embed_size=embed_size, num_hiddens=num_hiddens)
    check_shares(dropout=dropout)


def check_dictionary(dictionary):
    """Refuse what doesn't give each word the ways in which it is spoken."""
    if not isinstance(dictionary, Mapping):
        raise ValueError(
            f"dictionary={reprlib.repr(dictionary)} must be a dict from words to ways, as load_cmudict gives"
        )
    for word, ways in dictionary.items():
        if not isinstance(word, str) or not isinstance(ways, (tuple, list)):
            raise ValueError(
                f"dictionary: {word!r} must be a text, and {reprlib.repr(ways)} a list of ways to speak it"
            )


def check_split(words, num_valid, num_test, block, seed):
    """Raise a ValueError unless some words remain to learn from."""
    if not isinstance(words, Mapping):
        check_ordered(words=words)
    check_sizes(num_valid=num_valid, num_test=num_test, block=block)
    check_seed(seed)
    if not all(isinstance(word, str) for word in words):
        raise ValueError("words must be texts")
    if len(words) <= num_valid + num_test:
        raise ValueError(
            f"{len(words)} words are too few to hold out {num_valid + num_test} of them (num_valid={num_valid}, "
            f"num_test={num_test}): hold out fewer"
        )


def check_strings(num_strings, shortest, longest, generator):
    """Refuse lengths and numbers of which no random strings can be drawn."""
    check_sizes(num_strings=num_strings, shortest=shortest, longest=longest)
    check_generator(generator)
    if shortest > longest:
        raise ValueError(f"shortest={shortest} is above longest={longest}")


def check_pairs(pairs, batch_size, epochs, seed):
    """Refuse what are no pairs of ids, and sizes that are none."""
    check_sizes(batch_size=batch_size, epochs=epochs)
    check_seed(seed)
    check_rows_of(pairs)


def check_rows_of(pairs):
    """Refuse all but one or more pairs of a source and a target, rows of ids."""
    check_ordered(pairs=pairs)
    rows = [getattr(pair, name, None) for pair in pairs for name in ("source", "target")]
    if not rows or not all(_is_row(row) for row in rows):
        raise ValueError("pairs must be one or more pairs of rows of ids, as make_pair makes them")


def check_translator(model):
    """Refuse what is no encoder and decoder."""
    check_networks(model=model)
    if not hasattr(model, "encoder") or not hasattr(model, "decoder"):
        raise ValueError(f"model is a {type(model).__name__}: it must be an EncoderDecoder")


def check_translation(model, batches, lr, loss):
    """Refuse what no encoder and decoder can be trained on."""
    check_learners(model=model)
    check_translator(model)
    check_batches(batches)
    check_rates(lr=lr)
    check_callable(loss=loss)
    for batch in batches:
        if not _is_pair(batch):
            raise ValueError(f"batches must be pairs (source, target) of ids, both (N, …), not {reprlib.repr(batch)}")
        check_shapes("whole source (N, S), whole target (N, T)", *batch)


def check_source(model, source, max_steps):
    """Refuse a model that can't write, and what it can't read: all but ids (N, S) on its device."""
    check_translator(model)
    check_sizes(max_steps=max_steps)
    check_shapes("whole source (N, S)", source)
    check_embedded_ids(model, source)


def check_beam(model, source, width, max_steps):
    """Raise a ValueError unless a source is one row of ids, (1, S)."""
    check_source(model, source, max_steps)
    check_sizes(width=width)
    if len(source) != 1:
        raise ValueError(f"the source has shape {tuple(source.shape)}: a beam is for one row (1, S), such as row[None]")


def check_judged(model, pairs, max_steps):
    """Refuse a model that can't write, and what are no pairs."""
    check_sizes(max_steps=max_steps)
    check_rows_of(pairs)
    check_translator(model)


def check_guesses(guesses, answers):
    """Refuse guesses without the same number of lists of right answers."""
    check_ordered(guesses=guesses, answers=answers)
    if len(guesses) != len(answers) or not len(guesses):
        raise ValueError(
            f"{len(guesses)} guesses and {len(answers)} lists of answers: give one list for each, at least one"
        )
    for guess, right in zip(guesses, answers, strict=True):
        if not hasattr(guess, "__len__"):
            raise ValueError(f"guesses: {guess!r} must be a text or a list of tokens")
        if isinstance(right, str) or not hasattr(right, "__len__") or not len(right) or not all(map(len, right)):
            raise ValueError(f"answers: {right!r} must be a list of one or more right answers, none of them empty")


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


def check_rounding(model, bits, scales):
    """Refuse what is no model, bits that its weights can't have, and what gives no scales."""
    check_networks(model=model)
    check_callable(scales=scales)
    check_bits(bits)


def check_bits(bits):
    """Refuse what an int8 can't hold, and one bit, which leaves nothing but a zero."""
    if not is_whole(bits, 2) or bits > 8:
        raise ValueError(f"bits={bits!r} must be a whole number from 2 to 8")


def check_matrix(W):
    """Refuse all but a matrix of finite real numbers."""
    if not isinstance(W, torch.Tensor) or W.dim() != 2 or not W.is_floating_point() or not W.numel():
        found = f"{W.dtype} of shape {tuple(W.shape)}" if isinstance(W, torch.Tensor) else f"a {type(W).__name__}"
        raise ValueError(f"W, weights to quantise, must be a matrix of real numbers, (R, C), not {found}")
    check_held(W=W)
    if not torch.isfinite(W).all():
        raise ValueError("W: the weights hold nan or inf, which no whole number stands for: did the training diverge?")


def check_shippable(model):
    """Refuse a model that these files and the steps in NumPy and JavaScript can't hold."""
    layer, readout = getattr(model, "rnn", None), getattr(model, "linear", None)
    if not isinstance(layer, nn.RNNBase) or not isinstance(readout, nn.Linear):
        raise ValueError(
            f"model: a {type(model).__name__} can't be shipped: it needs a layer of torch.nn as .rnn and an "
            "nn.Linear as .linear"
        )
    check_held(**{f"model ({name})": parameter for name, parameter in model.named_parameters()})
    if layer.bidirectional:
        raise ValueError("a layer of both directions has no step: it would have to read the end of the text first")
    if not layer.bias or layer.proj_size or getattr(layer, "nonlinearity", "tanh") != "tanh":
        raise ValueError(f"{layer}: give one with biases, without proj_size, with tanh")


def check_tokens(tokens):
    """Refuse tokens that a file can't hold: all but texts and whole numbers."""
    check_ordered(tokens=tokens)
    for token in tokens:
        if not isinstance(token, str) and not is_whole(token, -math.inf):
            raise ValueError(f"tokens: {token!r} must be a text")


def check_page(path, title):
    """Refuse what is no path of a page, and no title."""
    check_path(path=path)
    check_text(title=title)


def check_weights(weights):
    """Refuse what are no weights of a recurrent network by name."""
    needed = (
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "linear.weight",
        "linear.bias",
    )
    missing = [name for name in needed if name not in weights] if isinstance(weights, Mapping) else needed
    if missing:
        raise ValueError(
            f"weights={type(weights).__name__} lack {missing[0]!r}: give those of named_weights or load_quantised"
        )


def check_scores(scores, temperature):
    """Refuse what no distribution can be made of."""
    array = None if isinstance(scores, torch.Tensor) and scores.is_meta else _as_array(scores)
    if (
        array is None
        or array.dtype.kind not in "fiu"
        or array.ndim != 1
        or len(array) < 2
        or not np.isfinite(array).all()
    ):
        raise ValueError(f"scores={reprlib.repr(scores)} must be finite numbers (V,), one for each token, at least 2")
    check_rates(temperature=temperature)


def check_begins(step):
    """Refuse what takes no step from a state that it begins."""
    if not callable(step) or not hasattr(step, "begin_state"):
        raise ValueError(f"step={reprlib.repr(step)} must be a NumpyStep")


def check_pool(step, state):
    """Refuse what takes no step, and what are no states of all rows."""
    check_callable(step=step)
    if not isinstance(state, (tuple, list)) or not state or any(getattr(part, "ndim", 0) != 3 for part in state):
        raise ValueError(
            f"state={reprlib.repr(state)} must be a list of arrays (L, rows, H), as step.begin_state gives"
        )


def check_shipped(path):
    """Refuse a file that :func:`rnnlib.shipping.save_quantised` has not written, or that is damaged."""
    check_path(path=path)
    from safetensors import SafetensorError, safe_open  # here, since chapter 1 needs none

    try:
        with safe_open(path, framework="numpy") as file:
            right = "tokens" in (file.metadata() or {}) and "rnn.weight_hh_l0.scale" in file.keys()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"the source {path} can't be read ({error}): write it anew with save_quantised") from None
    if not right:
        raise ValueError(f"{path} holds no quantised network: write one with save_quantised(path, model, tokens)")


def check_numpy_inputs(step, inputs, state):
    """Refuse all but arrays of ids (N,) or vectors (N, D), and the parts of a state for them."""
    if not isinstance(inputs, np.ndarray) or inputs.ndim not in (1, 2):
        raise ValueError(f"x must be an array of ids (N,) or vectors (N, D), not {_found(inputs)}")
    check_token_ids(inputs, len(step.rows))
    if inputs.ndim == 2 and inputs.shape[1] != len(step.levels[0][0]):
        raise ValueError(f"x has vectors of {inputs.shape[1]} numbers, the network reads {len(step.levels[0][0])}")
    wanted = [part.shape for part in step.begin_state(len(inputs))]
    if [getattr(part, "shape", None) for part in state] != wanted or not all(
        isinstance(part, np.ndarray) for part in state
    ):
        raise ValueError(f"the parts of the state must be arrays of shape {wanted}, as begin_state(batch_size) gives")


def check_token_ids(inputs, vocab_size):
    """Refuse ids outside 0 to V - 1: NumPy would take -1 for the last row. Vectors (N, D) pass."""
    if inputs.ndim == 1 and not (np.issubdtype(inputs.dtype, np.integer) and len(inputs)):
        raise ValueError(f"x: ids must be whole numbers, at least one, not {inputs.dtype} of shape {inputs.shape}")
    if inputs.ndim == 1 and (inputs.min() < 0 or inputs.max() >= vocab_size):
        wrong = inputs[(inputs < 0) | (inputs >= vocab_size)][0]
        raise ValueError(f"id {wrong} is outside 0 to {vocab_size - 1}: was it coded with another vocabulary?")


def check_room(free):
    """Refuse a session more than there are rows."""
    if not free:
        raise ValueError("all places are taken: close a session first, or make the pool larger")


def check_free(row, free, num_rows):
    """Refuse to give a row back twice: two sessions would get it."""
    if not is_whole(row, 0) or row >= num_rows or row in free:
        raise ValueError(f"row {row!r} was given back already, or is none: close a session once")


def check_idle(row, waiting):
    """Refuse a second character of a session before the first is answered: one of its two states would be lost."""
    if row in waiting and not waiting[row].done():
        raise ValueError(f"row {row} waits for an answer already: send one character after the other")


# Recipes (chapter 11)


def check_start(start, goal):
    """Raise a ValueError unless rows begin no longer than they shall become."""
    check_sizes(start=start, goal=goal)
    if start > goal:
        raise ValueError(f"start={start} is above the goal, {goal}: rows only grow")


def check_answering(model, input_size):
    """Refuse what can't learn to answer once for vectors of this size, as a ManyToOne does."""
    check_learners(model=model)
    layer = getattr(model, "rnn", None)
    if not isinstance(layer, nn.RNNBase) or layer.input_size != input_size:
        raise ValueError(
            f"model is a {type(model).__name__}: it must read {input_size} number a step and answer, such as "
            f"ManyToOne(nn.LSTM({input_size}, 32), 2)"
        )


def check_growth(length, right, goal):
    """Refuse lengths that are none, and a share that is no number."""
    check_sizes(length=length, goal=goal)
    check_numbers(right=right)


def check_growing(grow, start):
    """Refuse a length that is none, and what tells no next one."""
    check_callable(grow=grow)
    check_sizes(start=start)


def check_actions(sign, action):
    """Refuse all but one action for each maze, 0, 1 or 2."""
    check_shapes("whole sign (N), whole action (N)", sign, action)
    check_range("action", action, 3)


def check_seen(num_hiddens, seen, state):
    """Refuse what a policy can't see, and a state that is not its own."""
    check_shapes(f"seen (N, 4), state (N, {num_hiddens})", seen, state)


def check_play(policy, maze, max_steps, generator):
    """Refuse what can't act, or what can't be acted in."""
    check_language_models(policy=policy)
    if not hasattr(maze, "observe"):
        raise ValueError(f"maze={reprlib.repr(maze)} must be a TMaze")
    check_drawn(generator, max_steps=max_steps)


def check_rewards(rewards, gamma):
    """Refuse what can't be discounted."""
    check_shapes("rewards (T, N)", rewards)
    check_numbers(gamma=gamma)


def check_episode(log_p, entropy, value, rewards, alive):
    """Refuse an episode of unlike shapes."""
    form = "log_p (T, N), entropy (T, N), value (T, N), rewards (T, N), bool alive (T, N)"
    check_shapes(form, log_p, entropy, value, rewards, alive)


def check_together(**tensors):
    """Refuse all but tensors of real numbers on one device, the same in shape or repeated along a missing axis."""
    for name, tensor in tensors.items():
        check_shapes(f"{name} (…)", tensor)
    try:
        torch.broadcast_shapes(*(tensor.shape for tensor in tensors.values()))
        fit = len({tensor.device for tensor in tensors.values()}) == 1
    except RuntimeError:
        fit = False
    if not fit:
        found = ", ".join(f"{name} {tuple(tensor.shape)} on {tensor.device}" for name, tensor in tensors.items())
        raise ValueError(f"{found} don't fit together")


def check_recurrence(a, b, h):
    """Refuse what h = a h + b can't be run on; sizes may be 1 where others are not."""
    check_shapes("a (T, …)", a)
    check_shapes("b (T, …)", b)
    check_shapes("h (…)", h)
    try:
        fits = len(torch.broadcast_shapes(a.shape[1:], b.shape[1:], h.shape)) == b.dim() - 1 and len(a) == len(b)
    except RuntimeError:
        fits = False
    if not fits or len({a.device, b.device, h.device}) > 1:
        shapes = ", ".join(
            f"{name} {tuple(part.shape)} on {part.device}" for name, part in zip("abh", (a, b, h), strict=True)
        )
        raise ValueError(f"{shapes} don't fit: a and b need the same steps, and h is one step of them, beside them")


def check_wkv(k, v, decay, bonus):
    """Refuse keys and values of which no average can be taken."""
    check_shapes("k (T, N, D), v (T, N, D)", k, v)
    check_together(k=k, decay=decay, bonus=bonus)


def check_heads(num_heads, **widths):
    """Refuse widths that can't be cut into heads."""
    check_sizes(num_heads=num_heads, **widths)
    for name, width in widths.items():
        if width % num_heads:
            raise ValueError(f"{name}={width} can't be cut into num_heads={num_heads}")


def check_mixers(num_units, *parts):
    """Refuse parts that have no state to begin with."""
    check_sizes(num_units=num_units)
    for part in parts:
        if not isinstance(part, nn.Module) or not hasattr(part, "begin_state"):
            raise ValueError(f"parts (mixer): {reprlib.repr(part)} must be a module with begin_state, such as MinGRU")


def check_mixed_inputs(model, ids, state):
    """Refuse ids that are no (N, T) tensor of ids of a model, and a state that hasn't one for each part."""
    if _looking_away():
        return
    check_ids(ids, model.vocab_size)
    check_device(ids, model)
    if state is None:
        return
    right = isinstance(state, (tuple, list)) and len(state) == len(model.parts)
    if not right or any(part.device != ids.device for part in _tensors(state)):
        raise ValueError(f"the state must be a tuple of {len(model.parts)} states: begin with begin_state(batch_size)")


def check_selective(x, step, A, B, C, h):
    """Refuse what no selective state space can be run on."""
    check_shapes("x (T, N, D), step (T, N, D), A (D, S), B (T, N, S), C (T, N, S)", x, step, A, B, C)
    check_shapes(f"h ({x.shape[1]}, {x.shape[2]}, {A.shape[1]})", h)
    check_together(x=x[0, :, :, None], h=h)


def check_matrix_memory(q, k, v, keep, write, state):
    """Refuse what no memory that is a matrix can be run on."""
    form = "q (T, N, D), k (T, N, D), v (T, N, D), keep (T, N, 1), write (T, N, 1), state (N, D, D) (N, D)"
    check_shapes(form, q, k, v, keep, write, state)


def check_recurrent_weights(rnn_layer):
    """Raise a ValueError unless a layer has recurrent weights, not dropped yet."""
    if not isinstance(rnn_layer, nn.RNNBase):
        raise ValueError(f"rnn_layer={reprlib.repr(rnn_layer)} has no W_hh: give an nn.RNN, nn.GRU or nn.LSTM")
    if parametrize.is_parametrized(rnn_layer):
        raise ValueError("this layer drops weights already: make a new one")


# What explorers are given


def check_named(**tables):
    """Refuse what gives nothing by name."""
    for name, table in tables.items():
        if not isinstance(table, Mapping) or not table:
            raise ValueError(f"{name}={reprlib.repr(table)} must be a dict with a name for each, at least one")


def check_rows_with(columns, rows):
    """Refuse what is no table: a list of one or more dicts with these columns."""
    check_ordered(rows=rows)
    if not len(rows) or not all(isinstance(row, Mapping) and set(columns) <= set(row) for row in rows):
        raise ValueError(f"rows={reprlib.repr(rows)} must be a list of dicts with {', '.join(map(repr, columns))}")


def check_real_rows(**rows):
    """Refuse all but rows of one or more real numbers; NaN stands for one that is not known."""
    for name, row in rows.items():
        check_ordered(**{name: row})
        array = _as_array(row)
        if array is None or array.ndim != 1 or not array.size or array.dtype.kind not in "fiu":
            raise ValueError(f"{name}={reprlib.repr(row)} must be a row of one or more real numbers")


def check_letter_models(**models):
    """Refuse what can't tell where words end."""
    check_networks(**models)
    for name, model in models.items():
        if not hasattr(model, "layer") or not hasattr(model, "readout"):
            raise ValueError(f"{name} is a {type(model).__name__}: it must be a WordSplitter")


def check_typed(vocab, characters):
    """Refuse a text that has a character which the network has never seen, or none at all."""
    if not characters:
        raise ValueError("the text is empty: type some letters that the network has seen")
    unknown = [repr(character) for character in dict.fromkeys(characters) if character not in vocab]
    if unknown:
        shown = ", ".join(unknown[:8]) + (" and others" if len(unknown) > 8 else "")
        raise ValueError(f"the network has never seen {shown}: type other characters")


def check_benchmark_rows(rows, *keys):
    """Refuse all but a list of dicts with these keys, as a benchmark records them, the shares right as numbers."""
    fits = isinstance(rows, list) and all(isinstance(row, dict) and set(keys) <= set(row) for row in rows)
    if not fits or not all(isinstance(row["right"], numbers.Real) for row in rows):
        raise ValueError(
            f"rows={reprlib.repr(rows)} must be a list of dicts with {', '.join(keys)}: give data.load_results(…)"
        )


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
    check_ordered(recorded=recorded)
    if not len(recorded):
        raise ValueError("recorded is empty: give the gradients of at least one training step")
    for grads in recorded:
        if not isinstance(grads, (tuple, list)) or not all(_is_kind(g, "") for g in grads):
            raise ValueError("recorded must be a list of steps, each the list of its gradients, tensors")
        for gradient in grads:
            check_held(recorded=gradient)
    for step, grads in enumerate(recorded, start=1):
        if not all(torch.isfinite(g).all() for g in grads):
            raise ValueError(f"the gradients of step {step} hold NaN or infinity: record the steps before it alone")
