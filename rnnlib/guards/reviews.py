"""Reviews and their labels."""

import numbers
import reprlib
from collections.abc import Mapping, Set

import numpy as np
import torch

from rnnlib.guards import is_whole
from rnnlib.guards.containers import check_ordered, check_text
from rnnlib.guards.networks import num_embeddings


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
        if not is_row(row):
            raise ValueError(
                f"row {i} of the rows is {reprlib.repr(row)}: it must be a list or a 1-D tensor of one or more ids, "
                "whole numbers from 0 on"
            )


def is_row(row):
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
    size = num_embeddings(model)
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
