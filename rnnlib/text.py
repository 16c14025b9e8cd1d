"""From a text to minibatches: cleaning, tokens, vocabulary, batches, one-hot rows (built in chapter 1)."""

import collections
import functools
import itertools
import re
import reprlib
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from rnnlib.guards import check_sizes, is_whole


def one_hot(ids, vocab_size, dtype=torch.float32):
    """Turn token ids (N, T) into one-hot rows (T, N, V), time first so that a loop over it runs over time steps."""
    return F.one_hot(ids.T.long(), vocab_size).to(dtype)


class Vocab:
    """A two-way map between tokens and whole numbers.

    Id 0 is ``<unk>``, the unknown token; then come the reserved tokens, then the others, most frequent first
    (equally frequent ones in order of appearance).

    Args:
        tokens: an iterable of tokens, such as the output of :func:`tokenize`.
        min_freq: leave out tokens seen fewer times than this.
        reserved: tokens that get an id whether or not they occur, such as ``("<pad>",)``.

    Raises:
        ValueError: if there are no tokens or they are lists themselves, or if a reserved token stands there twice.
    """

    def __init__(self, tokens, min_freq=0, reserved=()):
        counts = count_tokens(tokens)
        special = special_tokens(reserved)
        frequent = [token for token, count in counts.most_common() if count >= min_freq]
        self.tokens = special + [token for token in frequent if token not in special]
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self):
        return len(self.tokens)

    def __iter__(self):
        return iter(self.tokens)

    def __contains__(self, token):
        return token in self._ids

    def __getitem__(self, tokens):
        """Return the id of one token, or the list of ids of a list or tuple of tokens; unknown ones get id 0."""
        if isinstance(tokens, (list, tuple)):
            return [self[token] for token in tokens]
        return self._ids.get(checked_token(tokens), 0)

    def decode(self, ids):
        """Return the list of tokens for a list or a 1-D tensor of ids: the inverse of ``vocab[tokens]``.

        Raises:
            IndexError: for an id outside ``0 .. len(vocab) - 1``.
            ValueError: for anything but a flat list or a 1-D tensor of whole numbers.
        """
        return [self.tokens[i] for i in checked_ids(ids, len(self))]


class Batches:
    """Minibatches that can be looped over again and again, made by :func:`sequential_batches` and its sister.

    Attributes:
        contiguous: whether row i of a batch continues row i of the batch before, so that a hidden state may be carried
            over.
    """

    def __init__(self, one_pass, corpus, batch_size, num_steps, offset, generator, contiguous):
        self.corpus = checked_corpus(corpus, batch_size, num_steps, offset)
        self.batch_size, self.num_steps = batch_size, num_steps
        self.offset, self.contiguous = offset, contiguous
        self._one_pass, self._generator = one_pass, generator

    def __iter__(self):
        offset = self.offset
        if offset is None:
            offset = int(torch.randint(self.num_steps, (), generator=self._generator))
        return self._one_pass(self.corpus, self.batch_size, self.num_steps, offset)


class Portions:
    """Hand out one long pass over minibatches in portions, so that an epoch of training ends within seconds.

    Each loop over it goes on where the loop before stopped; after the end of the text it starts a new pass.

    Args:
        batches: minibatches, such as :func:`sequential_batches` makes.
        num_batches: how many of them a portion has; the last of a pass may have fewer.
    """

    def __init__(self, batches, num_batches):
        self.batches, self.num_batches = batches, num_batches
        self.contiguous = getattr(batches, "contiguous", False)
        self._rest = iter(())

    def __iter__(self):
        portion = list(itertools.islice(self._rest, self.num_batches))
        if not portion:
            self._rest = iter(self.batches)
            portion = list(itertools.islice(self._rest, self.num_batches))
        return iter(portion)


def clean(text):
    """Reduce a text to lower-case letters and single spaces.

    Every run of other characters, line breaks included, becomes one space, so words never run together.
    """
    return re.sub("[^A-Za-z]+", " ", text).strip().lower()


def tokenize(text, unit="char"):
    """Cut a text into a list of tokens.

    Args:
        text: a string.
        unit: ``"char"`` for characters, ``"word"`` for words between white space.

    Raises:
        ValueError: for any other unit.
    """
    if unit == "char":
        return list(text)
    if unit == "word":
        return text.split()
    raise ValueError(f"unit={unit!r} is not known: use 'char' or 'word'")


def sequential_pass(corpus, batch_size, num_steps, offset):
    """Yield X, Y once through the corpus in reading order: row i of a batch continues row i of the one before.

    Args:
        corpus: 1-D tensor of token ids.
        batch_size, num_steps: rows N and time steps T of a minibatch.
        offset: the first token to use.

    Yields:
        X, Y: both (N, T); Y is X shifted by one token.
    """
    num_batches = (len(corpus) - offset - 1) // (batch_size * num_steps)
    num_tokens = num_batches * batch_size * num_steps
    Xs = corpus[offset : offset + num_tokens].reshape(batch_size, -1)  # (N, batches * T)
    Ys = corpus[offset + 1 : offset + 1 + num_tokens].reshape(batch_size, -1)
    for start in range(0, num_batches * num_steps, num_steps):
        yield Xs[:, start : start + num_steps], Ys[:, start : start + num_steps]


def random_pass(corpus, batch_size, num_steps, offset, generator=None):
    """Yield X, Y once through the disjoint windows of a corpus in random order.

    Args and yields as in :func:`sequential_pass`; ``generator`` is the torch.Generator that shuffles.
    """
    num_windows = (len(corpus) - offset - 1) // num_steps
    starts = offset + num_steps * torch.randperm(num_windows, generator=generator)
    for i in range(0, num_windows - batch_size + 1, batch_size):
        X = starts[i : i + batch_size, None] + torch.arange(num_steps)  # positions, (N, T)
        yield corpus[X], corpus[X + 1]


def sequential_batches(corpus, batch_size, num_steps, offset=None, seed=0):
    """Cut a corpus into ``batch_size`` long rows and read all of them from left to right.

    The rows tile the corpus from the offset on; only the tokens before the offset and a tail of at most
    ``batch_size * num_steps`` tokens are not read.

    Args:
        corpus: a list or 1-D tensor of token ids.
        batch_size: rows N of a minibatch.
        num_steps: time steps T of a minibatch.
        offset: where to start; by default drawn anew from 0 .. num_steps - 1 at every pass, so that the cuts fall
            elsewhere each epoch. Give 0 for an evaluation that must not vary.
        seed: of the drawn offsets.

    Returns:
        Batches: loop over it as often as you like; it yields ``X, Y`` of shape (N, T), where Y is X shifted
        by one token.

    Raises:
        ValueError: if the corpus is too short for one minibatch, or a size is not a positive whole number.
    """
    generator = torch.Generator().manual_seed(seed)
    return Batches(sequential_pass, corpus, batch_size, num_steps, offset, generator, contiguous=True)


def random_batches(corpus, batch_size, num_steps, offset=None, seed=0):
    """Cut a corpus into disjoint windows of ``num_steps`` tokens and deal them out in random order.

    Args, returns and errors as in :func:`sequential_batches`; the order is drawn anew at every pass too. Windows that
    don't fill a last minibatch are left out of that pass.
    """
    generator = torch.Generator().manual_seed(seed)
    one_pass = functools.partial(random_pass, generator=generator)
    return Batches(one_pass, corpus, batch_size, num_steps, offset, generator, contiguous=False)


def count_tokens(tokens):
    """Return how often each token occurs, a collections.Counter; raise a ValueError when there is nothing to count."""
    if not isinstance(tokens, Iterable):
        raise ValueError(f"tokens={tokens!r} must be a list of tokens, such as tokenize(text)")
    try:
        counts = collections.Counter(tokens)
    except TypeError:  # a list can't be a key
        raise ValueError("tokens must be one flat list of tokens, not a list of lines: join the lines first") from None
    if not counts:
        raise ValueError("the text has no tokens: give Vocab at least one (is the cleaned text empty?)")
    for token in counts:
        checked_token(token)
    return counts


def checked_token(token):
    """Return a token, or say that this is a collection, such as a tensor, which could never be found."""
    if not isinstance(token, str) and isinstance(token, Iterable):
        raise ValueError(f"a {type(token).__name__} is no token: give one text, or a list or tuple of them")
    return token


def special_tokens(reserved):
    """Return the tokens that come before all others, ``<unk>`` first; raise a ValueError where one stands twice."""
    if isinstance(reserved, str) or not isinstance(reserved, Iterable):
        raise ValueError(f"reserved={reserved!r} must be a tuple of tokens, such as reserved=('<pad>',)")
    special = ["<unk>", *reserved]
    if len(set(special)) < len(special):
        raise ValueError(f"reserved={reserved!r} repeats a token or names '<unk>', which has id 0 already")
    return special


def checked_ids(ids, vocab_size):
    """Return ids as a list of whole numbers from 0 to V - 1, or raise the error that names the remedy."""
    ids = whole_numbers(ids, "to decode", "decode one row at a time").tolist()
    for i in ids:
        if not 0 <= i < vocab_size:
            raise IndexError(f"id {i} is not in this vocabulary: its ids are 0 to {vocab_size - 1}")
    return ids


def whole_numbers(ids, purpose, remedy):
    """Return ids as a 1-D tensor of whole numbers, or raise a ValueError that names the purpose and the remedy."""
    try:
        tensor = torch.as_tensor(ids)
        found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    except (TypeError, ValueError, RuntimeError):  # as PyTorch refuses None, a list of texts, a set
        tensor, found = None, reprlib.repr(ids)
    if tensor is None or tensor.dim() != 1 or (len(tensor) and tensor.is_floating_point()):
        raise ValueError(f"ids {purpose} must be a flat list or a 1-D tensor of whole numbers, not {found}: {remedy}")
    return tensor


def checked_corpus(corpus, batch_size, num_steps, offset):
    """Return the corpus as a 1-D integer tensor, or say what is wrong with the arguments."""
    check_sizes(batch_size=batch_size, num_steps=num_steps)
    if offset is not None and not is_whole(offset, 0):
        raise ValueError(f"offset={offset!r} must be None (drawn at every pass) or a whole number from 0 on")
    corpus = whole_numbers(corpus, "of a corpus", "turn tokens into ids with vocab[tokens]")
    needed = batch_size * num_steps + 1 + (num_steps - 1 if offset is None else offset)
    if len(corpus) < needed:
        raise ValueError(
            f"a corpus of {len(corpus)} tokens is too short: batch_size={batch_size} x num_steps={num_steps} needs "
            f"at least {needed}. Lower one of the two or take a longer text"
        )
    return corpus.long()
