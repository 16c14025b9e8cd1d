"""What `make notebooks` asks for and what it spares."""

import os
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import reading  # noqa: E402

import notebooks as tool  # noqa: E402 - its folder is found from here on


def chapter(*cells):
    notebook = nbformat.v4.new_notebook()
    for source in cells:
        new = nbformat.v4.new_markdown_cell if source.startswith("#") else nbformat.v4.new_code_cell
        notebook.cells.append(new(source))
    return notebook


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A chapter that was run, in a folder of its own; nothing can be fetched there."""
    monkeypatch.setattr(tool, "TEXT", tmp_path)
    monkeypatch.setattr(tool, "require_corpora", lambda names: asked.append(names))
    asked = []
    path = tmp_path / "90_tiny.ipynb"
    notebook = chapter("# 90. Tiny", "print(6 * 7)")
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="kept from before\n")]
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, path)
    return path, asked


def edit(path, old, new):
    """Edit the chapter's script, as an author does."""
    tool.jupytext.write(tool.jupytext.read(path), script := path.with_suffix(".py"), fmt="py:percent")
    script.write_text(script.read_text().replace(old, new))
    later = path.stat().st_mtime + 10
    os.utime(script, (later, later))


def test_a_change_of_text_runs_nothing(stored, capsys):
    path, asked = stored
    edit(path, "Tiny", "Very tiny")
    tool.run(path)
    title, code = nbformat.read(path, as_version=4).cells
    assert title.source == "# 90. Very tiny"
    assert code.outputs[0].text == "kept from before\n" and code.execution_count == 1
    assert "nothing was run" in capsys.readouterr().out and not asked


def test_a_change_of_code_runs_all(stored):
    path, asked = stored
    edit(path, "6 * 7", "6 * 8")
    tool.run(path)
    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "48\n"
    assert asked == [[]]


def test_a_finding_that_differs_is_not_stored(stored):
    path, _ = stored
    edit(path, "print(6 * 7)", "import rnnlib\nwith rnnlib.finding('Verified'):\n    assert 6 * 7 == 48, 'it is 42'")
    with pytest.raises(SystemExit, match=r"not saved.*\nDiffers from the page: it is 42"):
        tool.run(path)
    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "kept from before\n"


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        ("01", {"time_machine", "shakespeare"}),
        ("02", {"time_machine", "shakespeare"}),
        ("07", {"time_machine", "imdb"}),
    ],
)
def test_a_chapter_asks_for_its_own_corpora(number, wanted):
    (path,) = (ROOT / "notebooks").glob(f"{number}*.ipynb")
    asked = set(tool.corpora(nbformat.read(path, as_version=4)))
    assert asked <= wanted and "time_machine" in asked and ("imdb" in asked) == ("imdb" in wanted)


def test_missing_corpora_are_named_before_anything_runs(monkeypatch):
    places = {"time_machine": "/folder/text.txt", "shakespeare": "http://there", "imdb_train": "https://there"}
    monkeypatch.setattr(tool.data, "prefetch", lambda *names: None)
    monkeypatch.setattr(tool.data, "where", lambda: places)
    tool.require_corpora(["time_machine"])
    for name in ("shakespeare", "imdb"):
        with pytest.raises(SystemExit, match=name):
            tool.require_corpora(["time_machine", name])


def test_a_check_is_folded_when_a_chapter_is_saved():
    notebook = chapter("assert True\nprint('Verified')", "1 + 1")
    notebook.cells[0].metadata["tags"] = ["check"]
    notebook.cells[1].metadata["jupyter"] = {"source_hidden": True}
    first, second = tool.tidy(tool.tidy(notebook)).cells
    assert first.metadata["tags"] == ["check", "hide-input"]
    assert first.metadata["jupyter"] == {"source_hidden": True}
    assert not second.metadata


def test_a_room_is_folded_and_a_section_begins_its_cell():
    notebook = chapter("# 90. Tiny\n\nText.\n\n## One\n\n```\n## no heading\n```\n\n## Going deeper: two\n\nMore.")
    tool.begin_cells_with_sections(notebook)
    first, one, two = tool.tidy(notebook).cells
    assert (first.source, two.source) == ("# 90. Tiny\n\nText.", "## Going deeper: two\n\nMore.")
    assert one.source == "## One\n\n```\n## no heading\n```"
    assert [cell.metadata.get("jp-MarkdownHeadingCollapsed") for cell in (first, one, two)] == [None, None, True]
    two.source = "## Two"
    assert not tool.tidy(notebook).cells[2].metadata


def test_words_and_lines_are_counted_where_they_belong():
    notebook = chapter(
        "# 90. Tiny title\n\nTwo words.",  # 5 with the title's
        "a = 1\n\nb = 2",
        "### ★ One line\n\nDo it.",
        "def f():\n    pass\n\n\ncheck.f(f)",
        "## Going deeper: a room\n\n```mermaid\nnot counted\n```\n\nWords | here |",
        "c = 3",
        "assert c == 3",
        "## Exercises\n\nSome.",
        "## Summary\n\nIn short.",
        "## Solutions\n\nNot read.",
    )
    notebook.cells[6].metadata["tags"] = ["check"]
    found = {name: (part.words, part.lines) for name, part in reading.parts(notebook).items()}
    assert found == {"core": (5 + 3, 2), "deeper": (6, 1), "exercises": (4 + 2, 3), "looked up": (3, 0)}
    assert reading.Part(3000, 350).minutes() == 65
    assert [reading.rounded(minutes) for minutes in (0, 0.1, 5, 61)] == [0, 5, 5, 65]
