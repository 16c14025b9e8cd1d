"""Which drawn frames belong to the explorers of a chapter, for pages that move without a kernel."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "_static" / "live"


def titles(notebook):
    """Return the titles of the explorers that a chapter stores, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("data", {}).get("text/plain", "") for output in outputs]
    return [text.partition(". Predict first: ")[0] for text in texts if ". Predict first: " in text]


def title(path):
    """Return the title of the explorer whose frames a file holds."""
    return json.JSONDecoder().raw_decode(path.read_text("utf-8").removeprefix("rnnlive.add("))[0]


def albums(chapter):
    """Return the files of frames that a chapter, such as ``"02"``, has, by the title of their explorer."""
    return {title(path): path for path in sorted((FOLDER / chapter).glob("*.js"))}


def index(notebook, chapter):
    """Return the element of a page that names the frames of its explorers, in order; null where there are none."""
    found = albums(chapter)
    names = [f"{chapter}/{found[title].name}" if title in found else None for title in titles(notebook)]
    return f'<script type="application/json" id="rnnlive">{json.dumps(names)}</script>'
