"""The word vectors, with vectors of 50 numbers for three words in every place where they can lie."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import HTML, listing, put, sha256

from rnnlib import data
from rnnlib.data import _places, glove

KNOWN = ["the", "film", "…"]
ROWS = np.arange(150, dtype=np.float32).reshape(3, 50) / 8 - 9  # exact in half precision
WORDS = ["film", "<unk>", "the", "film"]
VECTORS = torch.tensor(np.stack([ROWS[1], 0 * ROWS[0], ROWS[0], ROWS[1]]))
FOUND = torch.tensor([True, False, True, True])


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


EXCERPT = npz(words=np.array(KNOWN), vec=ROWS.astype(np.float16))


def original():
    """Return an archive as GloVe's authors offer it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        lines = (f"{word} {' '.join(map(str, row))}\n" for word, row in zip(KNOWN, ROWS, strict=True))
        archive.writestr("glove.6B.50d.txt", "".join(lines))
    return file.getvalue()


ZIP = original()


@pytest.fixture
def folder(cache, tmp_path, monkeypatch):
    """Return the folder of RNNLIB_DATA, and make the small vectors the true ones."""
    monkeypatch.setitem(glove.EXCERPTS, 50, ("excerpt.npz", sha256(EXCERPT)))
    monkeypatch.setattr(glove, "ZIP_MD5", hashlib.md5(ZIP).hexdigest())
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    return tmp_path / "folder"


@pytest.fixture
def load(capsys):
    """Return a function that loads the vectors, checks them, and returns the lines printed."""

    def load_words(expected=VECTORS, found=FOUND):
        vectors, there = data.load_glove(50, WORDS)
        assert vectors.dtype == torch.float32
        assert torch.equal(vectors, expected)
        assert torch.equal(there, found)
        return capsys.readouterr().out.splitlines()

    return load_words


def load_nothing(load):
    return load(torch.zeros(4, 50), torch.zeros(4, dtype=torch.bool))


def coverage(place):
    return f"glove: 3 of 4 words have a vector of 50 numbers, from {place}"


@pytest.mark.parametrize("dim", [0, 64, "50", None])
def test_other_dim_is_named(dim):
    with pytest.raises(ValueError, match=f"{dim!r} numbers; choose one of 50, 100, 200, 300"):
        data.load_glove(dim, WORDS)


def test_excerpt_in_the_folder(folder, cache, load):
    put(folder, EXCERPT, "excerpt.npz")
    assert load() == [coverage("an excerpt in RNNLIB_DATA")]
    assert not cache.exists()


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_original_is_read_once(where, folder, cache, load):
    path = put({"folder": folder, "cache": cache}[where], ZIP, "glove.6B.zip")
    assert load() == [f"glove: reading {path}, once", coverage("glove.6B.zip")]
    assert (cache / "glove6B_50d.npz").is_file()
    path.unlink()
    assert load() == [coverage("the cache")]
    assert listing(cache) == ["glove6B_50d.npz"]


def test_nowhere_is_said_once_with_the_remedy(folder, cache, load):
    (line,) = load_nothing(load)
    assert line.startswith("glove: 0 of 4 words have a vector of 50 numbers, from nowhere")
    assert "save https://nlp.stanford.edu/data/glove.6B.zip (862 MB) in a folder" in line
    assert not cache.exists()


def test_no_words(folder, load):
    put(folder, EXCERPT, "excerpt.npz")
    vectors, found = data.load_glove(50, [])
    assert vectors.shape == (0, 50)
    assert found.shape == (0,)


@pytest.mark.parametrize("bad", [HTML, b"", EXCERPT[:-40], npz(words=np.array(KNOWN), vec=ROWS)])
def test_bad_excerpt_is_neither_used_nor_touched(bad, folder, load):
    path = put(folder, bad, "excerpt.npz")
    lines = load_nothing(load)
    assert lines[0] == f"glove: {path} is damaged or another text (wrong SHA-256), so it is not used"
    assert path.read_bytes() == bad


BAD_CACHE = {
    "HTML page": HTML,
    "empty": b"",
    "truncated": EXCERPT[:-40],
    "flipped bit": EXCERPT[:-700] + bytes([EXCERPT[-700] ^ 1]) + EXCERPT[-699:],
    "other dim": npz(words=np.array(KNOWN), vec=np.zeros((3, 100), np.float16)),
    "a row missing": npz(words=np.array(KNOWN), vec=ROWS[:2].astype(np.float16)),
    "NaN": npz(words=np.array(KNOWN), vec=np.full((3, 50), np.nan, np.float16)),
    "other arrays": npz(words=np.array(KNOWN)),
    "objects": npz(words=np.array([{}, {}], dtype=object), vec=ROWS),
    "one array": EXCERPT and (lambda file: (np.save(file, ROWS), file.getvalue())[1])(io.BytesIO()),
}


@pytest.mark.parametrize("kind", BAD_CACHE)
def test_bad_file_in_the_cache_is_replaced(kind, folder, cache, load):
    put(folder, ZIP, "glove.6B.zip")
    bad = put(cache, BAD_CACHE[kind], "glove6B_50d.npz")
    lines = load()
    assert lines[0].startswith(f"{bad} is damaged or another text (")
    assert "pickle" not in lines[0]
    assert load() == [coverage("the cache")]


@pytest.mark.parametrize("bad", [ZIP[:-10], HTML, b""])
@pytest.mark.parametrize("where", ["folder", "cache"])
def test_wrong_archive_is_refused(bad, where, folder, cache, load):
    path = put({"folder": folder, "cache": cache}[where], bad, "glove.6B.zip")
    lines = load_nothing(load)
    assert lines[1] == f"glove: {path} is damaged or another file (wrong MD5), so it is not used"
    assert path.is_file() is (where == "folder"), "the reader's own folder is never changed"


def test_each_place_that_fails_has_one_line_in_its_turn(folder, cache, load):
    excerpt, kept, archive = put(folder, HTML, "excerpt.npz"), put(cache, HTML, "glove6B_50d.npz"), folder / glove.ZIP
    archive.write_bytes(HTML)
    beginnings = [
        f"glove: {excerpt} is damaged",
        f"{kept} is damaged",
        f"glove: reading {archive}, once",
        f"glove: {archive} is damaged",
        "glove: 0 of 4 words have a vector of 50 numbers, from nowhere",
    ]
    assert [line[: len(begin)] for line, begin in zip(load_nothing(load), beginnings, strict=True)] == beginnings


def test_words_may_come_from_a_generator(folder, load):
    put(folder, EXCERPT, "excerpt.npz")
    vectors, found = data.load_glove(50.0, (word for word in WORDS))
    assert torch.equal(vectors, VECTORS) and torch.equal(found, FOUND)


def test_one_text_is_not_taken_for_its_letters():
    with pytest.raises(ValueError, match="words='the' is one text, whose letters would be looked up"):
        data.load_glove(50, "the")


@pytest.mark.parametrize(("dim", "words"), [(50, 24_574), (100, 24_228)])
def test_true_excerpts(dim, words, capsys):
    file, _ = glove.EXCERPTS[dim]
    own = _places.folder("RNNLIB_DATA")
    if own is None or not Path(own, file).is_file():
        pytest.skip("the true vectors are not on this machine")
    vectors, found = data.load_glove(dim, ["film", "movie", "of", "zxqv"])
    assert found.tolist() == [True, True, True, False]
    similar = torch.nn.functional.cosine_similarity
    assert similar(vectors[0], vectors[1], dim=0) > 0.8 > similar(vectors[0], vectors[2], dim=0)
    assert len(glove._from_excerpt(dim)[0]) == words
