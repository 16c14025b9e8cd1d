"""A reader changes one line, the text, a seed, a size: the chapter runs to its end, and says where it then differs."""

import os
import random
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rnnlib import environment

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
in_full_tests = pytest.mark.skipif(environment.quick_mode(), reason="takes a minute; make test-full runs it")


def sentences(words, end, between=""):
    """Return some 40,000 characters of random sentences, in which few words are frequent, as in any language."""
    draw = random.Random(0)
    weights = [1 / (rank + 3) for rank in range(len(words))]
    lines = (between.join(draw.choices(words, weights, k=draw.randint(4, 12))) + end for _ in range(100_000))
    text = ""
    while len(text) < 40_000:
        text += next(lines)
    return text


def chinese():
    """Return a text without a single letter of the book's own alphabet: 300 characters, words of one to three."""
    draw = random.Random(1)
    characters = [chr(0x4E00 + 67 * i) for i in range(300)]
    return sentences(["".join(draw.choices(characters, k=draw.choice((1, 2, 2, 3)))) for _ in range(1000)], "。\n")


def german():
    """Return a text with umlauts and a sharp s beside the letters of English."""
    words = [
        "der",
        "die",
        "und",
        "das",
        "nicht",
        "von",
        "jahr",
        "zeit",
        "sie",
        "für",
        "über",
        "größe",
        "straße",
        "müde",
        "öl",
    ]
    return sentences(words, ".\n", between=" ")


def changed(chapter, old, new):
    """Run a chapter with one line changed, in quick mode, and return what it printed; a cell that raises ends it."""
    (path,) = NOTEBOOKS.glob(f"{chapter}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source)
    cell.source = cell.source.replace(old, new, 1)
    if environment.quick_mode():  # `make test` has time for the core alone
        rooms = [cell.source.startswith("## Going deeper") for cell in notebook.cells]
        del notebook.cells[rooms.index(True) :]
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}})
    client.execute(env=os.environ | {"RNNLIB_QUICK": "1"})
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(
    ("chapter", "text"),
    [
        ("01", chinese),
        pytest.param("01", german, marks=in_full_tests),
        *[pytest.param(chapter, chinese, marks=in_full_tests) for chapter in ("02", "03", "04", "05")],
    ],
)
def test_a_text_of_ones_own(tmp_path, chapter, text):
    path = tmp_path / "my_text.txt"
    path.write_text(text(), encoding="utf-8")
    book = "shakespeare" if chapter == "04" else "time_machine"
    printed = changed(chapter, f'load_text("{book}")', f"load_text({str(path)!r})")
    assert "characters from your file" in printed


@in_full_tests
@pytest.mark.parametrize(
    ("chapter", "old", "new"),
    [
        ("02", "setup(seed=0)", "setup(seed=1)"),
        ("02", "num_hiddens = 256", "num_hiddens = 64"),
        ("02", "lr, clip = 1.0, 1.0", "lr, clip = 1.0, 0.3"),
        ("03", "setup(seed=0)", "setup(seed=1)"),
        ("04", "setup(seed=0)", "setup(seed=1)"),
        *[(chapter, "setup(seed=0)", "setup(seed=1)") for chapter in ("05", "06", "07", "08", "09", "10", "11")],
    ],
)
def test_another_setting(chapter, old, new):
    assert changed(chapter, old, new)
