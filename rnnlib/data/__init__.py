"""The data of the course: the texts, the film reviews of chapter 7 and its word vectors, the weather of chapter 8.

Each is looked for in one place after the other, and verified wherever it is found:

- `texts`: *The Time Machine*, Shakespeare and the file of a dictionary
- `cmudict`: the words of that dictionary and how they are spoken
- `imdb`: the film reviews
- `glove`: the word vectors
- `weather`: a year of hours at three airports
- `series`: a series of the reader's own
- `_places`: the places, such as the folder `$RNNLIB_DATA` and the cache, and the search through them
- `standins`: a story, reviews, words and a year of weather made for this course, for when nothing can be had
"""

import json
from functools import partial
from importlib import resources

from rnnlib.data import imdb, texts, weather
from rnnlib.data.cmudict import load_cmudict, split_dictionary
from rnnlib.data.glove import load_glove
from rnnlib.data.imdb import load_imdb
from rnnlib.data.series import load_series
from rnnlib.data.texts import CORPORA, load_text
from rnnlib.data.weather import load_weather

__all__ = [
    "CORPORA",
    "load_cmudict",
    "load_glove",
    "load_imdb",
    "load_results",
    "load_series",
    "load_text",
    "load_weather",
    "prefetch",
    "split_dictionary",
    "where",
]


def where() -> dict[str, str]:
    """Return for each text, each half of the reviews and the weather the file that would be read, or its address.

    Downloads, changes and prints nothing. Texts and weather are verified; the reviews, which would take seconds, are
    verified when they are loaded. The original dataset of reviews in `$RNNLIB_DATA`, archive or folder, is no such
    file: once loaded, its halves are in the cache.
    """
    return texts.text_places() | imdb.review_places() | weather.weather_place()


def load_results(name: str) -> list[dict]:
    """Return the rows of a measurement that comes with the book, such as "recipes": a dict of numbers and words each.

    Raises ValueError for an unknown name.
    """
    results = resources.files("rnnlib") / "results"
    names = sorted(file.name.removesuffix(".json") for file in results.iterdir() if file.name.endswith(".json"))
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"name={name!r} is no recorded measurement; choose one of {', '.join(names)}")
    return json.loads((results / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def prefetch(*names: str) -> None:
    """Fetch the corpora `names`, or all of them, where they are not here yet, and print a line for each.

    Args:
        names: "time_machine", "shakespeare", "cmudict", "imdb", the film reviews, and "weather". Every corpus if none
            is named.

    Raises:
        ValueError: for an unknown name, before anything is fetched.
    """
    fetch = {name: partial(load_text, name) for name in texts.CORPORA}
    fetch |= {"imdb": imdb.prefetch_reviews, "weather": weather.load_weather}
    for name in names:
        if not isinstance(name, str) or name not in fetch:
            raise ValueError(f"unknown corpus {name!r}; choose from {', '.join(map(repr, fetch))}")
    for name in names or fetch:
        fetch[name]()
