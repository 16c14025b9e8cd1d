"""Vocabularies, this book's and those of other libraries, and what is left of a text that was cleaned."""

import reprlib
from collections.abc import Mapping

from rnnlib.guards import is_whole

# Where other libraries keep the map from tokens to ids: d2l, torchtext, tokenizers, and older ones.
TO_IDS = ("token_to_idx", "get_stoi", "get_vocab", "stoi", "vocabulary_")
SPECIAL = ("<unk>", "<pad>")  # stand for a token, and are never written


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


def ids_by_token(vocab):
    """Return the map from tokens to ids that a vocabulary offers, or None."""
    if isinstance(vocab, Mapping):
        return vocab
    for name in TO_IDS:
        there = getattr(vocab, name, None)
        there = there() if callable(there) else there
        if isinstance(there, Mapping):
            return there
    return None


def tokens_by_id(vocab):
    """Return the tokens of a vocabulary in the order of their ids, or None where they have not the ids 0 to V - 1."""
    ids = ids_by_token(vocab)
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
