"""The CMU Pronouncing Dictionary (Carnegie Mellon University, 1993-2015): English words and how they are spoken.

Its licence asks for a notice, which is in the file LICENSE-cmudict.txt.
"""

import re

from rnnlib import guards
from rnnlib.data import texts


def load_cmudict() -> dict[str, list[list[str]]]:
    """Return the ways in which each word is spoken, most of them one, and print where the dictionary came from.

    A way is a list of phonemes; a vowel ends with its stress, 1 main, 2 second, 0 none: "hello" is spoken HH AH0 L OW1.
    """
    return parse(texts.load_text("cmudict"))


def parse(dictionary: str) -> dict[str, list[list[str]]]:
    """Read the dictionary: each line has a word, or `word(2)` for its second way, phonemes, perhaps # and a remark."""
    guards.check_text(dictionary=dictionary)
    words: dict[str, list[list[str]]] = {}
    for line in dictionary.splitlines():
        entry, *phonemes = line.split("#")[0].split() or [""]
        if phonemes:
            words.setdefault(re.sub(r"\(\d+\)$", "", entry), []).append(phonemes)
    return words
