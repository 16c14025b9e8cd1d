"""Guides, slides and the book: links lead somewhere, named tests exist, slides are cut by rule, the site is whole."""

import ast
import base64
import html.parser
import importlib.util
import inspect
import io
import itertools
import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
import test_check
import test_explore
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import nn

import rnnlib
from rnnlib import scratch, text, training

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import diagrams  # noqa: E402
import links  # noqa: E402
import reading  # noqa: E402
import slides  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CHAPTERS]
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def read(path):
    return nbformat.read(path, as_version=4)


def markdown(path):
    """Return the Markdown of a page or of a chapter, without code."""
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(path):
    titles = re.findall(r"^#+ (.+)$", markdown(path), flags=re.MULTILINE)
    return {links.anchor(title.replace("`", "")) for title in titles}


# ------------------------------------------------------------------------------------------------------------- links


@every_page
def test_links_lead_to_files_and_headings(path):
    text = re.sub(r"`[^`\n]*`|\$[^$]*\$", "", markdown(path))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        address, _, fragment = unquote(target).partition("#")
        if re.match(r"[a-z]+:", address):
            continue
        file = path.parent / address if address else path
        assert file.exists(), target
        if fragment and file.suffix in (".md", ".ipynb"):
            assert fragment in anchors(file), f"{file.name} has no heading {fragment!r}"


def test_every_guide_is_in_the_book():
    listed = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.stem == "index" or re.search(rf"^{path.stem}$", listed, re.MULTILINE), path.name


def test_places_elsewhere_follow_from_one_address():
    found = links.links("02_x", "https://github.com/someone/rnn.git", "main", "https://hub.example.org/")
    assert found == {
        "Binder": "https://mybinder.org/v2/gh/someone/rnn/main?urlpath=lab%2Ftree%2Fnotebooks%2F02_x.ipynb",
        "Colab": "https://colab.research.google.com/github/someone/rnn/blob/main/notebooks/02_x.ipynb",
        "hub": "https://hub.example.org/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgithub.com%2Fsomeone%2Frnn.git"
        "&branch=main&urlpath=lab%2Ftree%2Frnn%2Fnotebooks%2F02_x.ipynb",
    }
    assert set(links.links("02_x", "https://git.example.org/a/rnn", "main", "https://hub.example.org")) == {"hub"}
    assert links.links("02_x", "", "main", "https://hub.example.org") == {}


def test_the_address_stands_in_one_place_alone():
    address = links.SETTINGS["repository"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.get("repository-code", "") == address, "CITATION.cff and pyproject.toml name the same repository"


def test_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    assert {"message", "title", "authors", "license"} <= set(citation)


# ----------------------------------------------------------------------------------------- guides that tell the truth


def examples(path):
    """Return the Python examples of a guide."""
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def imported_by(module):
    """Return the modules of rnnlib that one of them imports when it is loaded."""
    found = set()
    for node in ast.parse((ROOT / "rnnlib" / f"{module}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "rnnlib":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rnnlib."):
            found.add(node.module.split(".")[1])
    return found


def test_arrows_of_the_house_are_those_of_today():
    """The picture in CONTRIBUTING; guards and what draws or loads are left out of it."""
    picture = re.search(
        r"## The house\n\n```mermaid\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
    )
    drawn = set(re.findall(r"(\w+) --> (\w+)", picture[1]))
    rooms = {room for arrow in drawn for room in arrow}
    assert drawn == {(source, room) for room in rooms for source in imported_by(room) & rooms}


def test_the_walk_through_the_house_is_the_one_that_a_program_takes():
    house = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## The house")[2].partition("\n## ")[0]
    walk = re.findall(
        r"`((?:text|scratch|gradients|guards|training|environment)\.\w[\w.]*)`", house.partition("**Where")[2]
    )
    assert len(walk) >= 25
    names = {}  # of the code of each function that is named
    for name in walk:
        value = rnnlib
        for part in name.split("."):
            value = getattr(value, part)
        names[inspect.unwrap(value).__code__] = name
    passed = []

    def note(frame, event, argument):
        if event == "call" and frame.f_code in names:
            passed.append(names[frame.f_code])

    sys.setprofile(note)
    try:
        tokens = text.tokenize(text.clean("The time, the thyme, the time. " * 9))
        vocab = text.Vocab(tokens)
        model = scratch.ScratchRNN(len(vocab), 4)
        batches = text.sequential_batches(vocab[tokens], 2, 5)
        training.fit(model, batches, epochs=1, report=lambda *_: None)
        scratch.generate(model, vocab, "the", 2)
    finally:
        sys.setprofile(None)
    steps = iter(passed)
    for name in walk:
        assert name in steps, f"{name} is not passed where the walk says so"


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """Import the worked examples of CONTRIBUTING as a module, whose source can be read as that of a chapter's can."""
    path = tmp_path_factory.mktemp("guide") / "worked_examples.py"
    path.write_text("\n".join(examples(ROOT / "CONTRIBUTING.md")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generic_tests(module, argument):
    """Return the tests of a module that ask for this argument, which it gives them for all that is in a catalogue."""
    tests = [function for name, function in vars(module).items() if name.startswith("test_")]
    return [test for test in tests if argument in inspect.signature(test).parameters]


@pytest.fixture
def page(monkeypatch):
    return test_explore.put_page(monkeypatch)


@pytest.mark.parametrize("test", generic_tests(test_explore, "explorer") + generic_tests(test_explore, "fresh"))
def test_worked_explorer_passes_what_every_explorer_passes(test, worked, page):
    given = {"explorer": worked.MinibatchCounter(), "fresh": worked.MinibatchCounter(), "page": page}
    test(**{name: given[name] for name in inspect.signature(test).parameters})


@pytest.mark.parametrize("test", generic_tests(test_check, "exercise"))
def test_worked_exercise_passes_what_every_exercise_passes(test, worked, capsys):
    exercise = worked.LAST_FIRST
    every = {"exercise": [exercise], "slip": exercise.wrong, "capsys": [capsys]}
    every |= {"strange": test_check.STRANGE, "bend": test_check.BENDS}
    names = list(inspect.signature(test).parameters)
    for values in itertools.product(*(every[name] for name in names)):
        test(**dict(zip(names, values, strict=True)))


def test_worked_examples_say_what_is_true(worked):
    counter = worked.MinibatchCounter()
    assert counter.measure(num_steps=35)["count"] == 8
    assert "4 minibatches" in counter.readout(num_steps=70)
    wrong = worked.LAST_FIRST.wrong["the other axis"][0]
    for number, hint in enumerate(worked.LAST_FIRST.hints, 1):
        assert worked.LAST_FIRST.verdict(wrong, hint=number).endswith(f"Hint {number}: {hint}")


def test_instructor_guide_covers_every_chapter():
    guide = (ROOT / "docs" / "instructor-guide.md").read_text(encoding="utf-8")
    sections = re.split(r"^## Chapter (\d+): ", guide, flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert sorted(found, key=int) == [str(int(path.name[:2])) for path in CHAPTERS]
    for number, section in list(found.items())[1:]:
        for part in ("To take home", "| 45 |", "| 90 |", "| 2 × 90 |", "**Poll**", "**Before class:**", "**Lab** ("):
            assert part in section, f"chapter {number}: {part}"
        assert "**If it goes\nwrong:**" in section or "**If it goes wrong:**" in section


def test_instructor_guide_names_sections_that_exist():
    """The tracks quote headings in italics; each must begin, or be part of, a heading of its chapter."""
    guide = (ROOT / "docs" / "instructor-guide.md").read_text(encoding="utf-8")
    sections = re.split(r"^## Chapter (\d+): ", guide, flags=re.MULTILINE)[1:]
    for number, section in zip(sections[::2], sections[1::2], strict=True):
        (chapter,) = (path for path in CHAPTERS if int(path.name[:2]) == int(number))
        titles = " | ".join(re.findall(r"^#+ (.+)$", markdown(chapter), flags=re.MULTILINE)).replace("`", "").lower()
        for row in re.findall(r"^\| (?:45|90|2 × 90) \| .+$", section, re.MULTILINE):
            for quoted in re.findall(r"\*([^*]+)\*", row):
                assert quoted.replace("`", "").lower() in titles, f"chapter {number} has no section {quoted!r}"


def test_classroom_page_quotes_the_load_test():
    rows = json.loads((ROOT / "rnnlib" / "results" / "classroom.json").read_text(encoding="utf-8"))["rows"]
    assert {row["students"] for row in rows} >= {1, 10}
    page = (ROOT / "docs" / "classroom.md").read_text(encoding="utf-8")
    for row in rows:
        cell = f"{row['small cell meanwhile, ms']} / {row['small cell meanwhile, slowest, ms']} ms"
        slider = f"{row['slider, ms']} / {row['slider, 9 of 10 below, ms']} ms"
        assert f"| {row['students']} | {row['chapter 2, s']:.0f} s | {cell} | {slider} | " in page
    (ten,) = [row for row in rows if row["students"] == 10]
    guide = (ROOT / "docs" / "instructor-guide.md").read_text(encoding="utf-8")
    assert f"ten kernels at once on two cores stayed responsive, {ten['slider, ms']} ms from key press" in guide


# ----------------------------------------------------------------------------------------------------------- minutes


@every_chapter
def test_minutes_are_those_of_the_formula(path):
    """The chapter's head, the map and the README say what words, lines, stars and the measured run add up to."""
    minutes = reading.minutes(read(path), path.stem)
    assert reading.sentence(minutes) in " ".join(read(path).cells[0].source.split()), "run `make notebooks`"
    columns = " | ".join(str(count or "–") for count in minutes.values())
    tables = (markdown(CHAPTERS[0]), f"({path.name})"), (markdown(ROOT / "README.md"), f"(notebooks/{path.name})")
    for table, link in tables:
        (row,) = [line for line in table.splitlines() if line.startswith("|") and link in line]
        assert row.endswith(f" | {columns} |"), "run `make notebooks`"
    assert reading.run_seconds(path.stem) != (0, 0), "measure it: python -m benchmarks chapters"


# ------------------------------------------------------------------------------------------------------------ errata


def test_names():
    """Return all tests as file::name."""
    found = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"tests/{path.name}::{node.name}")
    return found


def test_every_erratum_names_tests_that_exist():
    popular = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8").split("## Of popular material")[1]
    rows = [row for row in popular.splitlines() if row.startswith("| ") and not row.startswith("| often")]
    assert len(rows) >= 20
    there = test_names()
    for row in rows:
        named = re.findall(r"`(tests/\S+?::\w+)`", row.rsplit("|", 2)[1])
        assert named, f"no test proves: {row}"
        assert set(named) <= there, set(named) - there
        assert "](../notebooks/" in row, f"no chapter shows: {row}"


test_names.__test__ = False


def test_softmax_before_the_loss_has_a_floor():
    floor = math.log(1 + 27 / math.e)
    assert math.isclose(F.cross_entropy(torch.eye(28), torch.arange(28)).item(), floor, rel_tol=1e-6)
    assert math.isclose(math.exp(floor), 10.93, abs_tol=0.005)
    assert F.cross_entropy(1000 * torch.eye(28), torch.arange(28)).item() < 1e-6  # logits have no floor


def test_sigmoid_before_the_loss_has_a_floor():
    loss = F.binary_cross_entropy_with_logits
    logits, labels = torch.tensor([-100.0, 0.0, 100.0]), torch.ones(3)
    floor = math.log(1 + 1 / math.e)
    assert math.isclose(loss(logits.sigmoid(), labels, reduction="none").min().item(), floor, rel_tol=1e-6)
    assert math.isclose(floor, 0.31, abs_tol=0.005)
    assert loss(logits, labels, reduction="none").min().item() < 1e-6  # logits have no floor


def recorded(group):
    """Return the test accuracies of a group of the runs that benchmarks.imdb has recorded, by run."""
    path = ROOT / "rnnlib" / "results" / "imdb.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {row["run"]: row["test"] for row in rows if row["group"] == group and "test" in row}


def test_recorded_runs_lose_accuracy_by_reading_padding():
    accuracy = recorded("padding")
    read_padding = [value for run, value in accuracy.items() if "padding read" in run]
    assert len(read_padding) == 2 and max(read_padding) + 3 < accuracy["last state"]


def test_recorded_test_score_lies_between_blocks_and_random_draws():
    path = ROOT / "rnnlib" / "results" / "imdb.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    blocks, draws = (
        [row["valid"] for row in rows if row["run"] == f"words, {way}"] for way in ("block", "random draw")
    )
    assert len(blocks) == len(draws) == 10
    assert sum(blocks) / 10 + 0.8 < recorded("count_models")["words"] < sum(draws) / 10 - 0.8


def test_recorded_counts_beat_the_recurrent_networks():
    counts = recorded("count_models")["words and pairs, naive Bayes"]
    together = recorded("together")
    both = together.pop("pretrained, averaged, plus naive Bayes")
    del together["recipe, averaged, plus naive Bayes"]
    assert max([*recorded("recipe").values(), *recorded("best").values(), *together.values()]) < counts < both


def test_recorded_ladder_gets_past_counted_pairs():
    rows = json.loads((ROOT / "rnnlib" / "results" / "imdb_ladder.json").read_text(encoding="utf-8"))["rows"]
    taught = [row["test"] for row in rows if row["run"] == "runs, stars, teacher, all reviews"]
    pairs = [row["test"] for row in rows if row["run"].startswith("counts, pairs")]
    assert len(taught) >= 3 and min(taught) > max([*pairs, recorded("count_models")["words and pairs, naive Bayes"]])


def test_dropout_of_a_single_layer_does_nothing():
    X = torch.randn(5, 3, 6)
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        with pytest.warns(UserWarning, match="num_layers"):
            single = kind(6, 4, dropout=0.9)
        assert torch.equal(single(X)[0], single(X)[0])
        double = kind(6, 4, num_layers=2, dropout=0.9)
        assert not torch.equal(double(X)[0], double(X)[0])


def test_convolution_sees_order_within_its_window():
    x = torch.randn(1, 28, 9, dtype=torch.float64)
    for size, blind in ((1, True), (3, False)):
        layer = nn.Conv1d(28, 8, size, dtype=torch.float64)
        assert torch.allclose(layer(x).mean(2), layer(x.flip(2)).mean(2)) == blind


# ------------------------------------------------------------------------------------------------------------ slides


@every_chapter
def test_slide_types_are_stored(path):
    stored = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in read(path).cells]
    assert stored == slides.slide_types(read(path)), "run `make notebooks`"


@every_chapter
def test_slides_fit_and_hold_the_chapter(path):
    notebook = slides.joined(read(path))
    pages = [page for slide in slides.deck(notebook) for page in slide]
    assert all(pages) and 10 <= len(pages) <= 45, f"{len(pages)} pages: a lecture, not a dump"
    types = slides.slide_types(notebook)
    shown = [cell for cell, kind in zip(notebook.cells, types, strict=True) if kind != "skip"]
    text = slides.page(notebook)
    assert text.count('src="data:image/png') >= sum(map(slides.has_figure, shown))
    assert "NotImplementedError" not in text, "exercises are for the lab, not for slides"
    assert "http" not in re.sub(r'<a [^>]*href="[^"]*"[^>]*>|data:[^"]*"', "", text.split("<body>")[0])


@every_chapter
def test_a_question_comes_every_few_pages_and_the_speaker_knows_the_minute(path):
    said = slides.notes(slides.deck(slides.joined(read(path))))
    asked = [number for number, lines in enumerate(said) if len(lines) > 1]
    assert max(after - before for before, after in itertools.pairwise([-1, *asked, len(said)])) <= 7
    times = [re.match(r"(\d+:\d\d) to (\d+:\d\d) of 45 minutes\.", lines[0]).groups() for lines in said]
    assert times[0][0] == "0:00" and times[-1][1] == "45:00"
    assert all(page[1] == following[0] for page, following in itertools.pairwise(times))


def test_a_finding_waits_for_its_question():
    cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_markdown_cell("**What you see.** X @ W *rises*.")]
    text = slides.page(nbformat.v4.new_notebook(cells=cells))
    assert '<strong>What do you see?</strong> <span class="fragment">X @ W <em>rises</em>.</span></p>' in text
    assert "<p>Ask first; the next key shows the finding.</p></aside>" in text


def test_markdown_is_cut_between_its_blocks_alone():
    parts = [
        "A\nparagraph.",
        "$$\na\n\nb\n$$",
        "```python\nx\n\ny\n```",
        "<details>\n\nB\n\n</details>",
        "| a |\n|---|",
        "C",
    ]
    assert slides.blocks("\n\n".join(parts)) == parts


def test_slides_begin_with_sections_and_leave_exercises_out():
    def text(source):
        return nbformat.v4.new_markdown_cell(source)

    cells = [text("# T"), text("## A"), text("B"), text("### C"), text("**What you see.** D")]
    cells += [text("## Exercises"), text("E"), text("F\n\n## Summary"), text("G"), text("## Solutions\n\nH")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    wanted = ["slide", "slide", "-", "subslide", "-", "skip", "skip", "-", "-", "skip"]
    assert slides.slide_types(notebook) == wanted


def test_what_no_longer_fits_begins_a_page():
    cells = [nbformat.v4.new_code_cell("x = 1\n" * 25, metadata={"tags": ["defines"]}) for _ in range(2)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert slides.slide_types(notebook) == ["-", "subslide"]


def test_a_lecture_sees_what_a_long_cell_prints_and_not_its_code():
    output = nbformat.v4.new_output("stream", name="stdout", text="the result\n")
    long = nbformat.v4.new_code_cell("x = 1\n" * 11, outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[long, nbformat.v4.new_code_cell("y = 2\n" * 11)])
    assert slides.slide_types(notebook) == ["-", "skip"]
    assert "the result" in slides.page(notebook) and "x = 1" not in slides.page(notebook)


def test_every_diagram_has_its_picture():
    wanted = {diagrams.picture(source) for source in diagrams.sources()}
    assert wanted == set(diagrams.FOLDER.glob("*.svg")), "run `make diagrams`"


def test_diagram_without_a_picture_stops_the_build():
    with pytest.raises(FileNotFoundError, match="make diagrams"):
        diagrams.with_pictures("```mermaid\nflowchart LR\n  never --> drawn\n```")


# -------------------------------------------------------------------------------------------------------------- book


class Site(html.parser.HTMLParser):
    """Ids, links, pictures and loaded files of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.unnamed = set(), set(), set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        if found.get("src"):
            self.loaded.add(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.add(found["href"])
        if tag == "img" and not found.get("alt", "").strip():
            self.unnamed.append(found.get("src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the book, warnings being errors, without executing anything."""
    for package in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(package, reason="make installs it for `make book`")
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", out / "doctrees"]
    built = subprocess.run([*command, ROOT, out / "html"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Site(path) for path in site.rglob("*.html")}


def test_book_has_every_chapter_guide_and_module(site, pages):
    for chapter in CHAPTERS:
        assert site / "notebooks" / f"{chapter.stem}.html" in pages
    reference = pages[site / "docs" / "reference.html"].ids
    for path in (ROOT / "rnnlib").glob("*.py"):
        name = "rnnlib" if path.stem == "__init__" else f"rnnlib.{path.stem}"
        assert f"module-{name}" in reference, name
    for name in ("data", "data.texts", "data.imdb", "data.glove", "data.weather", "data.series", "data._places"):
        assert f"module-rnnlib.{name}" in reference, name
    assert "rnnlib.gradients.bptt" in reference
    assert "perplexity" in (site / "searchindex.js").read_text(encoding="utf-8")


def test_book_has_no_broken_link_and_no_missing_picture(site, pages):
    for path, page in pages.items():
        for target in page.links | page.loaded:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), f"{path.relative_to(site)}: {target}"
            if parts.fragment and file in pages:
                assert unquote(parts.fragment) in pages[file].ids, f"{path.relative_to(site)}: {target}"


def test_book_shows_every_stored_figure_with_its_text(site, pages):
    for chapter in CHAPTERS:
        page = pages[site / "notebooks" / f"{chapter.stem}.html"]
        stored = sum("image/png" in o.get("data", {}) for c in read(chapter).cells for o in c.get("outputs", []))
        shown = [source for source in page.loaded if source.endswith(".png")]
        assert len(shown) == stored, chapter.stem
        assert not page.unnamed, chapter.stem


def test_book_needs_no_network(pages):
    for path, page in pages.items():
        assert not [source for source in page.loaded if urlsplit(source).netloc], path.name


def test_book_is_small(site):
    """It is copied, mailed and kept on sticks: 20 MB at most."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 20_000_000


def test_pictures_of_the_book_look_like_the_stored_ones(site):
    """Their colours come from a table of 256; on the average they are off by a thousandth, and white is white."""
    chapter = next(path for path in CHAPTERS if path.name.startswith("05"))
    page = (site / "notebooks" / f"{chapter.stem}.html").read_text(encoding="utf-8")
    shown = [site / "_images" / Path(name).name for name in re.findall(r'src="([^"]+\.png)"', page)]
    outputs = [o.get("data", {}) for cell in read(chapter).cells for o in cell.get("outputs", [])]
    stored = [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]
    for path, png in zip(shown, stored, strict=True):
        now, before = (np.asarray(Image.open(file).convert("RGB"), int) for file in (path, io.BytesIO(png)))
        assert abs(now - before).mean() < 0.25
        assert (now[(before == 255).all(axis=-1)] == 255).all()
