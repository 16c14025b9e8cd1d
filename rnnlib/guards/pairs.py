"""What chapter 9 refuses: tokens that a vocabulary lacks, a beam over several rows, a split of too few words."""


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
