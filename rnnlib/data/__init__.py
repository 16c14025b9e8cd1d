"""The data of the course: the texts, the film reviews of chapter 7 and its word vectors.

Each is looked for in one place after the other, and verified wherever it is found:

- `texts`: *The Time Machine* and Shakespeare
- `imdb`: the film reviews
- `glove`: the word vectors
- `places`: the places, such as the folder `$RNNLIB_DATA` and the cache, and the search through them
- `standins`: a story and reviews written for this course, for when nothing can be had
"""

from functools import partial

from rnnlib.data import imdb, texts
from rnnlib.data.glove import load_glove
from rnnlib.data.imdb import load_imdb
from rnnlib.data.texts import CORPORA, load_text

__all__ = ["CORPORA", "load_glove", "load_imdb", "load_text", "prefetch", "where"]


def where() -> dict[str, str]:
    """Return for each text and each half of the reviews the file that would be read now, or its address on the web.

    Downloads, changes and prints nothing. The texts are verified; the reviews, which would take seconds, are verified
    when they are loaded. The original dataset of reviews in `$RNNLIB_DATA`, archive or folder, is no such file: once
    loaded, its halves are in the cache.
    """
    return texts.where() | imdb.where()


def prefetch(*names: str) -> None:
    """Fetch the corpora `names`, or all of them, where they are not here yet, and print a line for each.

    Args:
        names: "time_machine", "shakespeare" and "imdb", the film reviews. Every corpus if none is named.

    Raises:
        ValueError: for an unknown name, before anything is fetched.
    """
    fetch = {name: partial(load_text, name) for name in texts.CORPORA} | {"imdb": imdb.prefetch}
    for name in names:
        if name not in fetch:
            raise ValueError(f"unknown corpus {name!r}; choose from {', '.join(map(repr, fetch))}")
    for name in names or fetch:
        fetch[name]()
