"""Which drawn frames belong to the explorers of a chapter, for pages that move without a kernel."""

import hashlib
import html
import json
import shutil
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "_static" / "live"
SCRIPTS = ("network.js", "drawing.js", "readers.js", "live.js")  # of every page, in this order


def code_hash(path):
    """Return a hash of the code of a chapter: where it is another, the frames may be."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def keep(path, drawn):
    """Take the frames that a run of a chapter has drawn in place of those that are there, with a hash of its code."""
    folder = FOLDER / path.name[:2]
    shutil.rmtree(folder, ignore_errors=True)
    files = list(Path(drawn).iterdir())
    if files:
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder)
        (folder / "code.txt").write_text(code_hash(path) + "\n", encoding="utf-8")


def explorers(notebook):
    """Return the outputs of each explorer that a chapter stores, by title: heading, picture and finding, in order."""
    found = {}
    for cell in notebook.cells:
        outputs = [output for output in cell.get("outputs", []) if "data" in output]
        for place, output in enumerate(outputs):
            title, heading, _ = output.data.get("text/plain", "").partition(". Predict first: ")
            if heading:
                found[title] = [output.data for output in outputs[place : place + 3]]
    return found


def titles(notebook):
    """Return the titles of the explorers that a chapter stores, in order."""
    return list(explorers(notebook))


def title(path):
    """Return the title of the explorer whose frames a file holds."""
    return json.JSONDecoder().raw_decode(path.read_text("utf-8").removeprefix("rnnlive.add("))[0]


def albums(chapter):
    """Return the files of frames that a chapter, such as ``"02"``, has, by the title of their explorer."""
    return {title(path): path for path in sorted((FOLDER / chapter).glob("[A-Z]*.js"))}


def index(chapter, titles):
    """Return the element of a page that names the frames of its explorers."""
    names = {title: f"{chapter}/{path.name}" for title, path in albums(chapter).items() if title in titles}
    return f'<script type="application/json" class="frames">{json.dumps(names)}</script>'


def stored(notebook, chapter, title):
    """Return an explorer of a chapter as a piece of HTML for any page of the site."""
    heading, picture, finding = explorers(notebook)[title]
    question, _, hint = heading["text/plain"].partition(". Predict first: ")[2].rpartition(" Run this cell")
    said = html.escape(picture["text/plain"])
    return (
        f"<p><strong>{html.escape(title)}</strong><br>Predict first: {html.escape(question)}</p>"
        f"<p><em>Run this cell{html.escape(hint)}</em></p>"
        f'<img alt="{said}" width="720" src="data:image/png;base64,{picture["image/png"]}">'
        f"<p><strong>Seen:</strong> {html.escape(finding['text/plain'].removeprefix('Seen: '))}</p>"
        + index(chapter, [title])
    )
