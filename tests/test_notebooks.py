"""The rules that every chapter keeps (CONTRIBUTING.md, "The form of a chapter")."""

import ast
import itertools
import re
import sys
from pathlib import Path

import nbformat
import pytest

from rnnlib import check, plots

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import reading  # noqa: E402 - its folder is found from here on

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = [path for path in CHAPTERS if not path.name.startswith("00")]
by_name = {"ids": lambda path: path.stem}
every_chapter = pytest.mark.parametrize("path", CHAPTERS, **by_name)
every_lesson = pytest.mark.parametrize("path", LESSONS, **by_name)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def headings(notebook):
    """Return (level, text) of every heading, those in code fences left out."""
    text = re.sub(r"```.*?```", "", markdown(notebook), flags=re.DOTALL)
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) (.+)$", text, flags=re.MULTILINE)]


def has_figure(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_the_test_part_of_the_weather_is_read_where_the_chapter_says():
    """What comes after October has two names; after the split, the verdict reads one, the room of winter the other."""
    section, read_in = "", {"oracle": set(), "test": set()}
    for cell in read(ROOT / "notebooks" / "08_forecasting.ipynb").cells:
        if cell.cell_type == "markdown":
            section = ([section, *re.findall(r"^## (.+)$", cell.source, flags=re.MULTILINE)])[-1]
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Name) and node.id in read_in and isinstance(node.ctx, ast.Load):
                read_in[node.id].add(section)
    split = "What a forecast may know"
    assert read_in["test"] == {split, "The verdict"}
    assert read_in["oracle"] == {split, "Going deeper: when winter comes"}


def test_chapters_are_numbered():
    numbers = [int(path.name[:2]) for path in CHAPTERS]
    assert numbers == list(range(12))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name) for path in CHAPTERS)


@every_chapter
def test_was_run_once_in_order_by_the_same_kernel(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }, "no stored widget state, no versions of this machine: run `make notebooks`"


@every_chapter
def test_stored_outputs_show_without_a_kernel(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            kinds = set(output.get("data", {}))
            assert not kinds & {"image/svg+xml", "application/vnd.jupyter.widget-view+json"}
            plain = output.get("data", {}).get("text/plain", "")
            assert not re.match(r"(Text|VBox|HBox|<Figure|<matplotlib|<rnnlib|\[<)", plain), plain
            if output.output_type == "error":
                assert "raises-exception" in tags(cell)
            if output.output_type == "stream":
                assert output.name == "stdout", f"stored warnings: {output.text[:200]}"
    assert path.stat().st_size < 2_000_000


@every_chapter
def test_one_title_and_no_skipped_heading(path):
    levels = [level for level, _ in headings(read(path))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_chapter
def test_first_cell_states_goals_and_budget(path):
    first = read(path).cells[0].source
    assert first.startswith("# ")
    assert "**You will be able to**" in first
    bullets = first.split("**You will be able to**")[1].split("**Minutes")[0]
    assert 3 <= len(re.findall(r"^- ", bullets, flags=re.MULTILINE)) <= 5
    assert re.search(r"\*\*Minutes:\*\* \d+", first)
    assert "**Builds on:**" in first


@every_chapter
def test_the_core_is_one_sitting(path):
    core = reading.parts(read(path))["core"]
    assert core.words <= 3000, f"{core.words} words: move what goes deeper into a room"
    assert core.lines <= 350, f"{core.lines} visible lines of code: move what goes deeper into a room"


@every_chapter
def test_rooms_are_folded_and_come_after_the_core(path):
    """A section begins its cell; one that goes deeper is folded there, not on slides, and says what it holds."""
    cells = read(path).cells
    titles = [title for level, title in headings(read(path)) if level == 2]
    begins = [cell for cell in cells if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    assert [cell.source.splitlines()[0].removeprefix("## ") for cell in begins] == titles, "run `make notebooks`"
    deeper = [title.startswith("Going deeper") for title in titles]
    if path in LESSONS:
        assert any(deeper)
        room = slice(deeper.index(True), titles.index("Common mistakes"))
        assert all(deeper[room]) and sum(deeper) == len(deeper[room])
    inside = False
    for cell in cells:
        folded = cell.source.startswith("## Going deeper")
        inside = folded or (inside and cell not in begins)
        assert cell.metadata.get("jp-MarkdownHeadingCollapsed", False) == folded, "run `make notebooks`"
        assert not inside or cell.metadata["slideshow"] == {"slide_type": "skip"}
        if folded:
            assert len(cell.source.splitlines()) > 1, "say in its first cell what the room holds"


@every_chapter
def test_every_figure_has_its_finding(path):
    cells = read(path).cells
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type == "code" and has_figure(cell):
            assert after is not None and after.cell_type == "markdown", cell.source
            assert after.source.startswith("**What you see.**"), after.source[:80]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    assert len(output.data["text/plain"]) > 10, "an alternative text"


@every_chapter
def test_cells_are_short(path):
    for cell in code_cells(read(path)):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, cell.source
        assert all(len(line) <= 88 for line in lines), max(lines, key=len)


@every_chapter
def test_few_outputs_are_ignored(path):
    cells = code_cells(read(path))
    ignored = [cell for cell in cells if "nbval-ignore-output" in tags(cell)]
    if path in LESSONS:
        assert len(ignored) <= 0.35 * len(cells), f"{len(ignored)} of {len(cells)}"


def is_finding(node):
    """Tell whether a statement is `with rnnlib.finding(…):`."""
    return isinstance(node, ast.With) and ast.unparse(node.items[0]).startswith("rnnlib.finding(")


def mostly_asserts(source):
    """Tell whether at least half of a cell's lines assert; imports and the line of the verdict don't count."""
    written = {number for number, line in enumerate(source.splitlines(), start=1) if line.strip()}
    asserting = others = 0
    for node in itertools.chain(*(node.body if is_finding(node) else [node] for node in ast.parse(source).body)):
        lines = len(written & set(range(node.lineno, node.end_lineno + 1)))
        verdict = re.fullmatch(r"print\('[^']*'\)|print\(\"[^\"]*\"\)", ast.unparse(node))
        if isinstance(node, ast.Assert):
            asserting += lines
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not verdict:
            others += lines
    return asserting > 0 and asserting >= others


def test_mostly_asserts():
    assert mostly_asserts("import math\nassert math.pi > 3\nprint('Verified')")
    assert mostly_asserts("x = 1\nassert (\n    x\n    == 1\n)")
    assert mostly_asserts("x = 1\nwith rnnlib.finding('Verified'):\n    assert x == 1, 'it is not'")
    assert not mostly_asserts("x = 1\ny = x\nassert y == 1")
    assert not mostly_asserts("x = 1\nprint(x)\nassert x == 1")
    assert not mostly_asserts("import math")


@every_chapter
def test_what_mostly_asserts_is_a_folded_check(path):
    """It shows one line, the verdict; its input opens with a click, and slides leave it out."""
    for cell in code_cells(read(path)):
        if "check" not in tags(cell):
            magic = cell.source.startswith(("%", "!"))
            assert magic or not mostly_asserts(cell.source), cell.source
            assert "hide-input" not in tags(cell) and "jupyter" not in cell.metadata, cell.source
            continue
        assert "assert" in cell.source
        assert "hide-input" in tags(cell)
        assert cell.metadata["jupyter"] == {"source_hidden": True}
        assert cell.metadata["slideshow"] == {"slide_type": "skip"}
        (verdict,) = cell.outputs
        assert (verdict.output_type, verdict.name, verdict.text.count("\n")) == ("stream", "stdout", 1), cell.source


@every_chapter
def test_findings_hold_and_are_compared(path):
    """What a reader's text or seed may change is said in a line, which nbval compares with this one."""
    for cell in code_cells(read(path)):
        for node in filter(is_finding, ast.parse(cell.source).body if "rnnlib.finding" in cell.source else []):
            assert "check" in tags(cell) and "nbval-ignore-output" not in tags(cell)
            assert cell.outputs[0].text == ast.literal_eval(node.items[0].context_expr.args[0]) + "\n"
            asserts = [inner for inner in ast.walk(node) if isinstance(inner, ast.Assert)]
            assert asserts and all(inner.msg is not None for inner in asserts), "say what differs"


@every_chapter
def test_names_no_machine(path):
    text = path.read_text(encoding="utf-8")
    without_pictures = re.sub(r'"image/png": "[^"]+"', "", text)
    assert not re.search(r"/(work|tmp|root|home|Users)/|0x[0-9a-f]{8,}", without_pictures)


@every_chapter
def test_links_to_files_resolve(path):
    for target in re.findall(r"\]\(([^)#][^)]*)\)", markdown(read(path))):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target.split("#")[0]).exists(), target


@every_chapter
def test_link_texts_say_where_they_lead(path):
    text = re.sub(r"```.*?```|`[^`\n]*`|\$[^$]*\$", "", markdown(read(path)), flags=re.DOTALL)
    for words, target in re.findall(r"(?<!!)\[([^\[\]]+)\]\(([^)\s]+)\)", text):
        said = " ".join(words.replace("*", "").split())
        assert len(said) >= 3, f"[{words}]({target})"
        assert said.lower() not in ("here", "this", "link", "click here", "this page", "read more"), (
            f"[{words}]({target})"
        )
    assert not re.search(r"(?<![(<\w])https?://", text), "a bare address: give it a text"


@every_chapter
def test_pictures_have_texts_of_their_own(path):
    """What a screen reader gets in place of a figure is a phrase, and not the same one for two figures."""
    texts = []
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                texts.append(output.data["text/plain"])
    assert all(len(text.split()) >= 2 for text in texts), texts
    drawn = [text for text in texts if text != plots.LiveCurve.alt]  # that one says itself what it shows
    assert len(set(drawn)) == len(drawn), [text for text in drawn if drawn.count(text) > 1]


@every_chapter
def test_diagrams_are_said_in_words_too(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "markdown"]
    for cell in cells:
        if "```mermaid" in cell.source:
            before, _, rest = cell.source.partition("```mermaid")
            words = before.split("\n\n")[-1] + rest.split("```")[1]
            assert len(words.split()) >= 15, f"say the diagram in a sentence: {rest[:60]}"


def contrast(colour):
    """Return a colour's contrast with white as the Web Content Accessibility Guidelines define it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def test_contrast_of_the_palette():
    """That the colours differ for colour-blind readers is tested with the explorers."""
    assert min(map(contrast, (plots.INK, plots.GREY))) >= 4.5, "text"
    assert min(map(contrast, (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PINK))) >= 3, "lines"
    assert min(map(contrast, (plots.SKY, plots.YELLOW))) >= 2, "fills, and lines that have a mark or a dash as well"


@every_chapter
def test_plain_text(path):
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|!\[|!=", "", markdown(read(path)), flags=re.DOTALL)
    assert "!" not in text, "no exclamation marks"
    assert not re.search("[\U0001f300-\U0001faff]", text), "no emoji"


@every_lesson
def test_closing_sections(path):
    expected = ["Common mistakes", "Exercises", "Summary", "Coming from d2l", "Further reading", "Solutions"]
    assert [title for level, title in headings(read(path)) if level == 2][-6:] == expected


@every_lesson
def test_solutions_are_those_of_the_checkers(path):
    """The folded solutions are the source of the solutions that the checkers are tested with."""
    import inspect
    import textwrap

    notebook = read(path)
    closing = next(cell.source for cell in reversed(notebook.cells) if "## Solutions" in cell.source)
    chapter = int(path.name[:2])
    exercises = [exercise for exercise in check.EXERCISES if exercise.chapter == chapter]
    assert len(exercises) >= 4
    source = "\n".join(cell.source for cell in code_cells(notebook))
    for exercise in exercises:
        assert f"check.{exercise.name}(" in source, f"no cell calls check.{exercise.name}"
        assert textwrap.dedent(inspect.getsource(exercise.solution)).strip() in closing, exercise.name


def is_guard(node):
    """Tell whether a statement is nothing but a call of a function named check_…."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    return getattr(function, "attr", getattr(function, "id", "")).startswith("check_")


def definitions(source):
    """Return the functions and classes that a source defines, by name, docstrings, comments and guards aside."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for inner in ast.walk(node):
                if (
                    isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                    and ast.get_docstring(inner) is not None
                ):
                    inner.body = inner.body[1:]
                if isinstance(getattr(inner, "body", None), list):
                    inner.body = [part for part in inner.body if not is_guard(part)]
            found[node.name] = ast.dump(node)
    return found


def library_definitions():
    found = {}
    for module in sorted((ROOT / "rnnlib").glob("*.py")):
        for name, dump in definitions(module.read_text(encoding="utf-8")).items():
            found.setdefault(name, []).append((module.stem, dump))
    return found


@every_chapter
def test_cells_define_what_the_library_has(path):
    library = library_definitions()
    for cell in code_cells(read(path)):
        if "defines" in tags(cell):
            defined = definitions(cell.source)
            assert defined, f"tagged 'defines' but defines nothing: {cell.source}"
            for name, dump in defined.items():
                assert name in library, f"{name} is not in rnnlib"
                assert dump in [d for _, d in library[name]], f"{name} differs from rnnlib's"


@pytest.mark.parametrize(
    ("chapter", "module", "names"),
    [
        ("10_shipping", "shipping", ("CachedBlock", "CachedDecoder", "full_pass")),
        ("11_beyond", "beyond", ("WaveForecaster", "two_waves")),
    ],
)
def test_what_a_benchmark_measured_stands_in_the_chapter(chapter, module, names):
    measured = definitions((ROOT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8"))
    shown = {}
    for cell in code_cells(read(ROOT / "notebooks" / f"{chapter}.ipynb")):
        shown |= definitions(cell.source)
    for name in names:
        assert shown[name] == measured[name], f"{name} of {chapter} is not what benchmarks/{module}.py measured"


@every_chapter
def test_taught_definitions_have_no_guards(path):
    for cell in code_cells(read(path)):
        if "defines" in tags(cell):
            tree = ast.parse(cell.source)
            assert not any(is_guard(node) for node in ast.walk(tree)), cell.source
            names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
            assert not [name for name in names if name.startswith("check_")], cell.source


EVENING = ("text", "scratch", "gradients", "layers", "gates", "directions", "sentiment")
SHELVES = (*EVENING, "forecasting", "attention", "shipping", "sessions", "beyond", "mazes")
NOT_WRITTEN_OUT = {  # what a chapter uses, or says in words, and doesn't write out
    "text": {"Minibatch", "as_tensor", "as_vocab"},
    "scratch": {"total", "safe_exp", "representable"},
    "gradients": {"backward_bytes"},
    "directions": {"put_spaces"},
    "sentiment": {
        *("review_vocab", "encode", "head", "Buckets", "read_padded", "both_ends_state"),
        *("score_reviews", "accuracy", "new_classifier", "use_vectors"),
    },
    "beyond": {"parity_right"},
}
TAUGHT_ELSEWHERE = {
    "pretrained": {"train_shakespeare"},
    "memory_tasks": {"remember_first", "add_two"},
    "regularised": {"LockedDropout", "drop_weights"},
    "baselines": {"persistence_baseline", "same_hour_baseline"},
}


def written_out():
    """Return the names that the cells of all chapters define."""
    cells = [cell for path in CHAPTERS for cell in code_cells(read(path)) if "defines" in tags(cell)]
    return {name for cell in cells for name in definitions(cell.source)}


@pytest.mark.parametrize("shelf", SHELVES)
def test_a_shelf_holds_what_its_chapter_writes_out(shelf):
    public = {name for name in definitions((ROOT / "rnnlib" / f"{shelf}.py").read_text()) if not name.startswith("_")}
    assert public - written_out() == NOT_WRITTEN_OUT.get(shelf, set())


def test_every_written_definition_has_its_place_on_a_shelf():
    """What the chapters define lies on the shelves, or is named as an exception."""
    library = library_definitions()
    for name in written_out():
        (place,) = {module for module, _ in library[name]}
        assert place in SHELVES or name in TAUGHT_ELSEWHERE[place], f"{name} lies in rnnlib/{place}.py"


def lines_without_docstring(node):
    """Return how many lines a definition has, its docstring aside."""
    docstring = node.body[0] if ast.get_docstring(node) is not None else None
    return node.end_lineno - node.lineno + 1 - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0)


def test_the_evening_s_reading_is_short():
    sources = {shelf: (ROOT / "rnnlib" / f"{shelf}.py").read_text(encoding="utf-8") for shelf in SHELVES}
    lines = {shelf: len(source.splitlines()) for shelf, source in sources.items()}
    assert sum(lines[shelf] for shelf in EVENING) <= 2000
    assert sum(lines.values()) <= 3200  # of all eleven chapters
    for shelf, source in sources.items():
        assert max(map(len, source.splitlines())) <= 88, f"{shelf}: a cell of a chapter has 88 columns"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert lines_without_docstring(node) <= 30, f"{shelf}.{node.name} is longer than 30 lines"
            if (
                isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                and ast.get_docstring(node) is not None
            ):
                text = [line for line in ast.get_docstring(node).splitlines() if line.strip()]
                assert len(text) <= 5, f"{shelf}.{node.name}: say it in five lines"


def test_no_module_is_long():
    """Save two lists in which one looks up one entry: the refusals and the drawings."""
    for path in (ROOT / "rnnlib").glob("*.py"):
        if path.name not in ("guards.py", "drawings.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def test_mirror_finds_a_planted_difference():
    right = definitions("def f(x):\n    '''Says so.'''\n    return x + 1  # add")
    assert right == definitions("def f(x):\n    return x + 1")
    assert right == definitions("def f(x):\n    check_sizes(x=x)\n    return x + 1")
    assert right != definitions("def f(x):\n    return x - 1")
    assert right != definitions("def f(x):\n    x = checked(x)\n    return x + 1")
