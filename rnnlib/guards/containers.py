"""Whatever holds rows, texts, labels or numbers: a container with an order, and what may lie in it."""

import numbers
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set

import numpy as np
import torch

from rnnlib.guards import is_whole


def check_ordered(**values):
    """Refuse what has no order, is used up after one pass, or holds nothing to loop over."""
    for name, value in values.items():
        kind = type(value).__name__
        if isinstance(value, (Set, Mapping)):
            raise ValueError(f"{name} is a {kind}, which has no order that fits here: give a list")
        if isinstance(value, Iterator):
            raise ValueError(f"{name} is a {kind}, which is used up after one pass: give list({name})")
        if not hasattr(value, "__iter__") or not hasattr(value, "__len__") or not dimensions(value):
            raise ValueError(f"{name}={reprlib.repr(value)} must be a list, not one {kind}")


def dimensions(value):
    """Return the number of dimensions of a tensor or an array; that of a list counts as 1."""
    return getattr(value, "ndim", 1)


def check_text(**values):
    """Refuse what is no text."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}={reprlib.repr(value)} is a {type(value).__name__}: it must be one text, a str")


def check_iterable(tokens):
    """Refuse tokens that can't be looped over, or have no order and no counts."""
    if not isinstance(tokens, Iterable) or not dimensions(tokens) or isinstance(tokens, (Set, Mapping)):
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
    if isinstance(token, str) and len(token) > 1 and tokens and all(is_character(other) for other in tokens):
        raise ValueError(
            f"the token {reprlib.repr(token)} is no character, but the tokens of this vocabulary are: look up "
            f"list({reprlib.repr(token)})"
        )


def is_character(token):
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
