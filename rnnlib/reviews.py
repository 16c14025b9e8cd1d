"""From reviews to minibatches: words, vocabulary, truncation, padding, buckets of like length (built in chapter 7)."""

import collections
import re
import reprlib

import torch

from rnnlib.scratch import check_sizes, is_whole
from rnnlib.text import Vocab

UNK, PAD = 0, 1  # ids in every vocabulary of reviews: two, or padding would be read as an unknown word

# A word, a part of a contraction as GloVe's authors cut it (do|n't, it|'s, we|'ll), a run of dots, or another sign.
TOKEN = re.compile(r"[^\W\d_]+(?=n't)|n't|'(?:s|m|re|ve|ll|d)\b|\w+|\.{2,}|[^\w\s]")


def tokenize_review(text):
    """Cut a review into lower-case words and signs; line breaks in HTML, ``<br />``, count as white space.

    >>> tokenize_review("It's GOOD,<br />isn't it?")
    ['it', "'s", 'good', ',', 'is', "n't", 'it', '?']
    """
    return TOKEN.findall(text.replace("<br />", " ").replace("’", "'").lower())


def review_vocab(texts, size=25_000):
    """Return a Vocab of the most frequent words of many texts, with ``<unk>`` as id 0 and ``<pad>`` as id 1.

    Args:
        texts: an iterable of reviews as they were written; training reviews alone, or the test leaks into the ids.
        size: number of ids, the two reserved ones included.

    Raises:
        ValueError: for one text instead of many, for texts without words, or a size below 3.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts={reprlib.repr(texts)} is one review: give a list of them")
    if not is_whole(size, 3):
        raise ValueError(f"size={size!r} must be a whole number of at least 3, since <unk> and <pad> take two ids")
    counts = collections.Counter()
    for text in texts:
        counts.update(tokenize_review(text))
    return Vocab([word for word, _ in counts.most_common(size - 2)], reserved=("<pad>",))


def encode(text, vocab):
    """Return the ids of a review's words, a 1-D tensor; a review without words becomes one ``<unk>``."""
    return torch.tensor(vocab[tokenize_review(text)] or [UNK])


def head(ids, length):
    """Keep the first words of a review."""
    check_sizes(length=length)
    return ids[:length]


def tail(ids, length):
    """Keep the last words of a review, where most reviewers give their verdict."""
    check_sizes(length=length)
    return ids[-length:]


def both_ends(ids, length):
    """Keep the first quarter of the length from the beginning of a review, the rest from its end."""
    check_sizes(length=length)
    first = length // 4
    return ids if len(ids) <= length else torch.cat([ids[:first], ids[first - length :]])


def pad(rows, length=0):
    """Put rows of unlike length into one tensor, ``<pad>`` after their ends.

    Args:
        rows: N tensors of ids, each with at least one.
        length: pad further, to this length at least.

    Returns:
        ids (N, T) and lengths (N,).

    Raises:
        ValueError: for no rows at all.
    """
    check_sizes(rows=len(rows))
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), max(length, int(lengths.max()))), PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, lengths


def bucket_order(lengths, batch_size, generator, stretch=50):
    """Sort reviews into minibatches of like length, in random order.

    Args:
        lengths: words of each review.
        batch_size: reviews in a minibatch; the last ones may have fewer.
        generator: torch.Generator of the order.
        stretch: so many minibatches' worth of shuffled reviews are sorted by length together.

    Returns:
        A list of lists of positions, in which every review stands once.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), stretch * batch_size):
        alike = sorted(order[start : start + stretch * batch_size], key=lambda i: lengths[i])
        batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class Buckets:
    """Minibatches of reviews of like length, in a new order at every pass, so that little of a batch is padding.

    Every pass yields each review once, in the order of :func:`bucket_order`: ids (N, T), lengths (N,), labels (N,).

    Args:
        rows: encoded reviews, 1-D tensors of ids.
        labels: 0 or 1 for each.
        batch_size: reviews N in a batch; the last one of a pass may have fewer.
        seed: of the order.

    Raises:
        ValueError: for no reviews at all, or another number of labels.
    """

    stretch = 50

    def __init__(self, rows, labels, batch_size, seed=0):
        check_sizes(batch_size=batch_size)
        self.rows, self.labels = [torch.as_tensor(row) for row in rows], torch.as_tensor(labels)
        if not self.rows or len(self.rows) != len(self.labels):
            raise ValueError(
                f"{len(self.rows)} reviews and {len(self.labels)} labels: give one label for each, at least one"
            )
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        lengths = [len(row) for row in self.rows]
        for places in bucket_order(lengths, self.batch_size, self._generator, self.stretch):
            yield *pad([self.rows[i] for i in places]), self.labels[places]


def hold_out_blocks(reviews, num_valid=1250):
    """Hold out a block of each class, its last ids: within a class, reviews of one film have neighbouring ids.

    So no film has its praise, or its blame, on both sides. The classes have their films in different orders, though:
    a film whose praise is held out may have its blame among the training reviews.

    Args:
        reviews: sorted by label and id, as :func:`rnnlib.data.load_imdb` returns them.
        num_valid: reviews of each class to hold out, those with the highest ids.

    Returns:
        Two lists of reviews, for training and for validation.

    Raises:
        ValueError: if a class has no more reviews than are to be held out.
    """
    train, valid = [], []
    for label in (0, 1):
        group = [review for review in reviews if review.label == label]
        if not 0 < num_valid < len(group):
            raise ValueError(f"num_valid={num_valid} must be at least 1 and below {len(group)}")
        train += group[:-num_valid]
        valid += group[-num_valid:]
    return train, valid
