"""From a text to minibatches: cleaning, tokens, ids, batches, one-hot (chapter 1)."""

import collections
import functools
import itertools
import unicodedata

import numpy as np
import torch

from rnnlib import guards


def clean(text):
    """Reduce a text to lower-case letters, of any alphabet, and single spaces.

    Every run of other characters, line breaks included, becomes one space, so words
    never run together. Unicode's categories L and M are letters and their marks.
    """
    guards.check_text(text=text)
    text = unicodedata.normalize("NFC", text.lower())
    kept = [c if unicodedata.category(c)[0] in "LM" else " " for c in text]
    cleaned = " ".join("".join(kept).split())
    guards.check_cleaned(text, cleaned)
    return cleaned


def tokenize(text, unit="char"):
    """Cut a text into tokens: ``"char"`` for characters, ``"word"`` for words."""
    guards.check_text(text=text)
    guards.check_unit(unit)
    return list(text) if unit == "char" else text.split()


class Vocab:
    """A two-way map between tokens and whole numbers.

    Id 0 is ``<unk>``, the unknown token; then come the ``reserved`` ones, such as
    ``("<pad>",)``, then all seen at least ``min_freq`` times, most frequent first; the
    ``rare`` ones count as unknown.
    """

    def __init__(self, tokens, min_freq=0, reserved=()):
        guards.check_iterable(tokens)
        guards.check_reserved(reserved)
        guards.check_min_freq(min_freq)
        tokens, special = list(tokens), ["<unk>", *reserved]
        guards.check_flat(tokens)
        counts = collections.Counter(tokens).most_common()
        frequent = [token for token, count in counts if count >= min_freq]
        self.tokens = special + [token for token in frequent if token not in special]
        self.rare = {token for token, count in counts if count < min_freq}
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self):
        return len(self.tokens)

    def __iter__(self):
        return iter(self.tokens)

    def __contains__(self, token):
        return token in self._ids

    def __getitem__(self, tokens):
        """Return the id of a token, or those of a list or tuple; unknown is 0."""
        if isinstance(tokens, (list, tuple)):
            return [self[token] for token in tokens]
        guards.check_lookup(self, tokens)
        return self._ids.get(tokens, 0)

    def decode(self, ids):
        """Return the list of tokens for a list or a 1-D tensor of ids."""
        guards.check_ids_to_decode(ids, len(self))
        return [self.tokens[i] for i in ids]


def as_vocab(vocab):
    """Return a Vocab of the same tokens and ids for a vocabulary of another library.

    Such as d2l's or torchtext's, or a dict from tokens to ids.
    """
    if isinstance(vocab, Vocab):
        return vocab
    guards.check_vocabulary(vocab)
    own = Vocab.__new__(Vocab)
    own.tokens = guards.tokens_by_id(vocab)
    own._ids = {token: i for i, token in enumerate(own.tokens)}
    own.rare = (
        set(guards.frequencies(vocab)) - own._ids.keys() if "<unk>" in own else set()
    )
    return own


def as_tensor(values):
    """Return the numbers of any container, such as a Series, in their order."""
    if isinstance(values, torch.Tensor):
        return values
    return torch.as_tensor(np.asarray(values).tolist())


def sequential_pass(corpus, batch_size, num_steps, offset):
    """Yield X, Y, both (N, T), once through a corpus in reading order.

    Row i of a minibatch continues row i of the one before; Y is X shifted by one token.
    ``corpus`` is a 1-D tensor of ids, ``offset`` the first token to use.
    """
    num_batches = (len(corpus) - offset - 1) // (batch_size * num_steps)
    num_tokens = num_batches * batch_size * num_steps
    Xs = corpus[offset : offset + num_tokens].reshape(
        batch_size, -1
    )  # (N, batches * T)
    Ys = corpus[offset + 1 : offset + 1 + num_tokens].reshape(batch_size, -1)
    for start in range(0, num_batches * num_steps, num_steps):
        yield Xs[:, start : start + num_steps], Ys[:, start : start + num_steps]


def random_pass(corpus, batch_size, num_steps, offset, generator=None):
    """Yield X, Y once through the disjoint windows of a corpus in random order.

    As :func:`sequential_pass`; ``generator`` is the torch.Generator that shuffles.
    """
    num_windows = (len(corpus) - offset - 1) // num_steps
    starts = offset + num_steps * torch.randperm(num_windows, generator=generator)
    for i in range(0, num_windows - batch_size + 1, batch_size):
        X = starts[i : i + batch_size, None] + torch.arange(
            num_steps
        )  # positions, (N, T)
        yield corpus[X], corpus[X + 1]


class Minibatch(tuple):
    """X and Y, both (N, T), and whether the rows go on where those before ended."""

    def __new__(cls, X, Y, continues):
        """Make the pair, and remember the answer with it."""
        pair = super().__new__(cls, (X, Y))
        pair.continues = continues
        return pair


class Batches:
    """Minibatches that can be looped over again and again.

    Made by :func:`sequential_batches`, where row i of each continues row i of the one
    before (``contiguous``), and by :func:`random_batches`.
    """

    def __init__(self, one_pass, corpus, batch_size, num_steps, offset, generator):
        guards.check_corpus(corpus, batch_size, num_steps, offset)
        self.corpus = as_tensor(corpus).long()
        self.batch_size, self.num_steps, self.offset = batch_size, num_steps, offset
        self.contiguous = one_pass is sequential_pass
        self._one_pass, self._generator = one_pass, generator

    def __iter__(self):
        offset = self.offset
        if offset is None:
            offset = int(torch.randint(self.num_steps, (), generator=self._generator))
        pairs = self._one_pass(self.corpus, self.batch_size, self.num_steps, offset)
        for i, (X, Y) in enumerate(pairs):
            yield Minibatch(X, Y, continues=self.contiguous and i > 0)


class BatchPortions:
    """Hand out one long pass over ``batches`` in portions of ``num_batches``.

    So an epoch of training ends within seconds. Each loop goes on where the loop before
    stopped; after the end of the text, where a portion may be short, a new pass begins.
    """

    def __init__(self, batches, num_batches):
        guards.check_portions(batches, num_batches)
        self.batches, self.num_batches = batches, num_batches
        self._rest = iter(())

    def __iter__(self):
        portion = list(itertools.islice(self._rest, self.num_batches))
        if not portion:
            self._rest = iter(self.batches)
            portion = list(itertools.islice(self._rest, self.num_batches))
        return iter(portion)


def sequential_batches(corpus, batch_size, num_steps, offset=None, seed=0):
    """Cut a list or 1-D tensor of ids into N long rows, read from left to right.

    Returns Batches of X, Y, both (N, T). The rows begin at ``offset``, by default drawn
    anew from 0 .. T - 1 at every pass, with this ``seed``, so that the cuts fall
    elsewhere each epoch; give 0 for an evaluation that must not vary.
    """
    guards.check_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return Batches(sequential_pass, corpus, batch_size, num_steps, offset, generator)


def random_batches(corpus, batch_size, num_steps, offset=None, seed=0):
    """Cut a corpus into disjoint windows of T tokens and deal them out in random order.

    As :func:`sequential_batches`; the order is drawn anew at every pass too. Windows
    that don't fill a last minibatch are left out of that pass.
    """
    guards.check_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    one_pass = functools.partial(random_pass, generator=generator)
    return Batches(one_pass, corpus, batch_size, num_steps, offset, generator)


def one_hot(ids, vocab_size, dtype=None):
    """Turn ids (N, T) into one-hot rows (T, N, V), time first for a loop over time."""
    guards.check_one_hot(ids, vocab_size)
    ids = ids.T.long().unsqueeze(-1)  # (T, N, 1)
    shape = (*ids.shape[:2], vocab_size)
    return torch.zeros(shape, dtype=dtype, device=ids.device).scatter(-1, ids, 1.0)
