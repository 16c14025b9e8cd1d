"""The CMU Pronouncing Dictionary (Carnegie Mellon University, 1993-2015): English words and how they are spoken.

Its licence asks for a notice, which is in the file LICENSE-cmudict.txt.
"""

import re
from collections.abc import Iterable

from rnnlib.data import texts


def load_cmudict() -> dict[str, list[list[str]]]:
    """Return the ways in which each word is spoken, most of them one, and print where the dictionary came from.

    A way is a list of phonemes; a vowel ends with its stress, 1 main, 2 second, 0 none: "hello" is spoken HH AH0 L OW1.
    """
    return _parse(texts.load_text("cmudict"))


def _parse(dictionary: str) -> dict[str, list[list[str]]]:
    """Read the dictionary: each line has a word, or `word(2)` for its second way, phonemes, perhaps # and a remark."""
    from rnnlib import guards  # PyTorch comes with it, and a text needs none

    guards.check_text(dictionary=dictionary)
    words: dict[str, list[list[str]]] = {}
    for line in dictionary.splitlines():
        entry, *phonemes = line.split("#")[0].split() or [""]
        if phonemes:
            words.setdefault(re.sub(r"\(\d+\)$", "", entry), []).append(phonemes)
    return words


def split_dictionary(
    words: Iterable[str], num_valid: int, num_test: int, block: int = 1, seed: int = 0
) -> tuple[list[str], list[str], list[str]]:
    """Return words to learn from, to choose by, to judge by, drawn by a seed.

    ``block`` neighbours in the alphabet stay together, so that *walk* and *walked* do.
    """
    import torch

    from rnnlib import guards

    guards.check_split(words, num_valid, num_test, block, seed)
    words = sorted(words)
    blocks = [words[i : i + block] for i in range(0, len(words), block)]
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))
    shuffled = [word for i in order.tolist() for word in blocks[i]]
    end = num_valid + num_test
    return shuffled[end:], shuffled[:num_valid], shuffled[num_valid:end]
