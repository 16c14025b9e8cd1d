"""Tokens, vocabularies, corpora, and what writes a text."""

import math
import reprlib
import textwrap
from collections.abc import Iterable

import torch

from rnnlib.guards.numbers import check_sizes, is_whole


def check_unit(unit):
    """Refuse units that a text is not cut into."""
    if unit not in ("char", "word"):
        raise ValueError(f"unit={unit!r} is not known: use 'char' or 'word'")


def check_iterable(tokens):
    """Refuse tokens that can't be looped over."""
    if not isinstance(tokens, Iterable):
        raise ValueError(f"tokens={tokens!r} must be a list of tokens, such as tokenize(text)")


def check_flat(tokens):
    """Refuse an empty list of tokens, and one that holds collections, such as lines."""
    if not tokens:
        raise ValueError("the text has no tokens: give Vocab at least one (is the cleaned text empty?)")
    if any(isinstance(token, list) for token in tokens):
        raise ValueError("tokens must be one flat list of tokens, not a list of lines: join the lines first")
    for token in tokens:
        check_token(token)


def check_token(token):
    """Refuse a collection, such as a tensor, which could never be found."""
    if not isinstance(token, str) and isinstance(token, Iterable):
        raise ValueError(f"a {type(token).__name__} is no token: give one text, or a list or tuple of them")


def check_reserved(reserved):
    """Refuse reserved tokens that are one text, or of which one stands twice."""
    if isinstance(reserved, str) or not isinstance(reserved, Iterable):
        raise ValueError(f"reserved={reserved!r} must be a tuple of tokens, such as reserved=('<pad>',)")
    special = ["<unk>", *reserved]
    if len(set(special)) < len(special):
        raise ValueError(f"reserved={reserved!r} repeats a token or names '<unk>', which has id 0 already")


def check_ids_to_decode(ids, vocab_size):
    """Refuse all but a flat list or a 1-D tensor of ids of the vocabulary; an unknown one is an IndexError."""
    check_whole_numbers(ids, "to decode", "decode one row at a time")
    for i in torch.as_tensor(ids).tolist():
        if not 0 <= i < vocab_size:
            raise IndexError(f"id {i} is not in this vocabulary: its ids are 0 to {vocab_size - 1}")


def check_whole_numbers(ids, purpose, remedy):
    """Refuse all but a flat list or a 1-D tensor of whole numbers, naming the purpose and the remedy."""
    try:
        tensor = torch.as_tensor(ids)
        found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    except (TypeError, ValueError, RuntimeError):  # as PyTorch refuses None, a list of texts, a set
        tensor, found = None, reprlib.repr(ids)
    if tensor is None or tensor.dim() != 1 or (len(tensor) and tensor.is_floating_point()):
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
