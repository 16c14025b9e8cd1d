"""Reviews and their labels."""

import reprlib

import numpy as np
import torch

from rnnlib.guards import is_whole


def check_texts(texts):
    """Refuse one review where many are wanted."""
    if isinstance(texts, str):
        raise ValueError(f"texts={reprlib.repr(texts)} is one review: give a list of them")


def check_vocab_size(size):
    """Refuse a vocabulary without room for a word."""
    if not is_whole(size, 3):
        raise ValueError(f"size={size!r} must be a whole number of at least 3, since <unk> and <pad> take two ids")


def check_rows(rows, labels):
    """Refuse no reviews at all, or another number of labels."""
    if not len(rows) or len(rows) != len(labels):
        raise ValueError(f"{len(rows)} reviews and {len(labels)} labels: give one label for each, at least one")


def check_labels(labels):
    """Refuse labels other than 0 and 1."""
    values = np.asarray(labels)
    wrong = [value for value in values.reshape(-1).tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(f"labels must be 0 or 1, not {wrong[0]!r}: map your two classes to them")


def check_labelled(logits, labels):
    """Refuse logits and labels of different shapes."""
    there, wanted = tuple(torch.as_tensor(labels).shape), tuple(logits.shape)
    if there != wanted:
        raise ValueError(f"logits {wanted}, labels {there}: the two must have the same shape, one label for each logit")


def check_blocks(reviews, num_valid):
    """Refuse to hold out no review of a class, or all of them."""
    for label in (0, 1):
        count = sum(review.label == label for review in reviews)
        if not 0 < num_valid < count:
            raise ValueError(f"num_valid={num_valid} must be at least 1 and below {count}")
