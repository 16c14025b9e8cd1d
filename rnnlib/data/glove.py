"""GloVe word vectors (Pennington, Socher and Manning 2014): find them, verify and keep them."""

import contextlib
import hashlib
import io
import reprlib
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlib.data import _places

if TYPE_CHECKING:
    import numpy as np
    import torch

URL = "https://nlp.stanford.edu/data/glove.6B.zip"  # 862 MB: too much to fetch unasked
ZIP = "glove.6B.zip"
ZIP_MD5 = "056ea991adb4740ac6bf1b6d9b50408b"
DIMS = (50, 100, 200, 300)
# Excerpts with the frequent words of the train half: file in `$RNNLIB_DATA`, SHA-256.
EXCERPTS = {
    50: ("glove6B_50d_imdb25k.npz", "22da2d713437fa8cbfeef16b3db97eae1963c91bfabbd7272e2685ca0133f5cc"),
    100: ("glove6B_100d_imdb25k_wink.npz", "1cff1649270b29d00158fe338facc7c46d357b740eeb83ca033db587c9ff1365"),
}
Vectors = tuple[list[str], "np.ndarray"]  # words, and a row of float16 for each


def _vectors(content: bytes, dim: int) -> Vectors:
    """Read words and vectors from an .npz file. Raises ValueError if it holds anything else."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            words, rows = "\n".join(arrays["words"].ravel().tolist()).split("\n"), arrays["vec"]
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError("no file of vectors") from error
    if rows.shape != (len(words), dim):
        raise ValueError("wrong shape")
    if rows.dtype.kind != "f" or not np.isfinite(rows).all():
        raise ValueError("not all are numbers")
    return words, rows


def _from_excerpt(dim: int) -> Vectors | None:
    if dim not in EXCERPTS:
        return None
    file, sha256 = EXCERPTS[dim]

    def decode(content: bytes) -> Vectors:
        _places.check_sha256(content, sha256)
        return _vectors(content, dim)

    return _places.read_own(file, decode)


def _from_cache(dim: int) -> Vectors | None:
    return _places.from_cache(f"glove6B_{dim}d.npz", partial(_vectors, dim=dim))


def _from_zip(dim: int) -> Vectors | None:
    """Read the original archive if the reader has put it in `$RNNLIB_DATA` or in the cache; keep the vectors."""
    import numpy as np

    path = _places.first_file(ZIP, Path.is_file)
    if path is None:
        return None
    print(f"glove: reading {path}, once")
    with _places.reading(path), path.open("rb") as file:
        true = hashlib.file_digest(file, "md5").hexdigest() == ZIP_MD5
    if not true:
        if path.parent != _places.folder("RNNLIB_DATA"):  # in the cache, which is not the reader's own
            with contextlib.suppress(OSError):
                path.unlink()
        raise _places.Unavailable(f"{path} is damaged or another file (wrong MD5), so it is not used")
    words, rows = [], []
    with zipfile.ZipFile(path) as archive, archive.open(f"glove.6B.{dim}d.txt") as lines:
        for line in lines:
            word, _, numbers = line.decode().partition(" ")
            words.append(word)
            rows.append(np.fromstring(numbers, np.float32, sep=" ").astype(np.float16))
    vectors = np.stack(rows)
    file = io.BytesIO()
    np.savez(file, words=np.array("\n".join(words)), vec=vectors)
    _places.keep(f"glove6B_{dim}d.npz", file.getvalue())
    return words, vectors


def _nothing(dim: int) -> Vectors:
    import numpy as np

    return [], np.empty((0, dim), np.float16)


def _find(dim: int) -> tuple[Vectors, str]:
    """Return the vectors of the first place that has them, and the place."""
    remedy = f"For the vectors, save {URL} (862 MB) in a folder and set RNNLIB_DATA to that folder."
    looks = {
        "an excerpt in RNNLIB_DATA": lambda: _from_excerpt(dim),
        "the cache": lambda: _from_cache(dim),
        ZIP: lambda: _from_zip(dim),
        f"nowhere, so an embedding starts at random. {remedy}": lambda: _nothing(dim),
    }
    return _places.first_found("glove", looks)


def load_glove(dim: int, words: Iterable[str]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the GloVe 6B vectors of `words`, and print how many of them have one.

    Args:
        dim: 50, 100, 200 or 300.
        words: in lower case, as GloVe has them, such as the tokens of a vocabulary.

    Returns:
        vectors: `(len(words), dim)`, float32, with a row of zeros for a word that has no vector.
        found: `(len(words),)`, bool.

    Raises:
        ValueError: for another `dim`, or for one text instead of words.
    """
    import torch

    from rnnlib import guards  # PyTorch comes with it, and a text needs none

    if not isinstance(dim, (int, float)) or dim not in DIMS:
        raise ValueError(f"GloVe 6B has no vectors of dim={dim!r} numbers; choose one of {', '.join(map(str, DIMS))}")
    if isinstance(words, str):
        raise ValueError(f"words={reprlib.repr(words)} is one text, whose letters would be looked up: give a list")
    guards.check_loop(words=words)
    dim, words = int(dim), list(words)  # 100.0 is 100 too, and a generator can be read but once
    (known, rows), place = _find(dim)
    row = {word: i for i, word in enumerate(known)}
    found = torch.tensor([word in row for word in words], dtype=torch.bool)
    vectors = torch.zeros(len(words), dim)
    vectors[found] = torch.from_numpy(rows[[row[word] for word in words if word in row]]).float()
    print(f"glove: {int(found.sum()):,} of {len(words):,} words have a vector of {dim} numbers, from {place}")
    return vectors, found
