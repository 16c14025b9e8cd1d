"""Stored chapters say everything without a kernel: as HTML pages, and wherever a notebook's outputs are shown."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from rnnlib import explore

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def export():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import export

        yield export
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def pages(export):
    return {path: BeautifulSoup(export.page(path, CHAPTERS), "html.parser") for path in CHAPTERS}


def shown_explorers(path):
    """Return the outputs of every cell that shows an explorer: controls, picture and finding."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    groups = [[output for output in cell.outputs if "data" in output] for cell in cells]
    return [group for group in groups if group and "Predict first:" in group[0].data.get("text/plain", "")]


def test_every_explorer_is_shown_in_some_chapter():
    stored = [group[0].data["text/plain"] for path in CHAPTERS for group in shown_explorers(path)]
    for explorer in explore.EXPLORERS:
        assert any(text.startswith(f"{explorer.title}.") for text in stored), explorer.__name__


@every_chapter
def test_stored_explorer_has_question_picture_and_finding(path):
    titles = {explorer.title: explorer for explorer in explore.EXPLORERS}
    for controls, picture, finding in shown_explorers(path):
        title = next(title for title in titles if controls.data["text/plain"].startswith(f"{title}."))
        assert f"**{title}**" in controls.data["text/markdown"]
        assert titles[title].question in controls.data["text/markdown"]
        assert "Run this cell in JupyterLab to move:" in controls.data["text/markdown"]
        assert finding.data["text/markdown"].startswith("**Seen:** ")
        assert picture.data["text/plain"] == finding.data["text/plain"].removeprefix("Seen: ")
        assert len(picture.data["image/png"]) > 5000


@every_chapter
def test_page_shows_every_picture_and_finding(pages, path):
    page, notebook = pages[path], nbformat.read(path, as_version=4)
    images = {image["src"]: image for image in page.find_all("img")}
    words = " ".join(page.get_text().split())
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                image = images["data:image/png;base64," + data["image/png"].replace("\n", "")]
                assert image["alt"] == data["text/plain"]
    for _, _, finding in shown_explorers(path):
        start = finding.data["text/plain"].split(":")[1].split("_")[0].split("*")[0]
        assert " ".join(start.split()) in words


@every_chapter
def test_checks_alone_are_folded(pages, path):
    """The inputs that the notebook folds, and no others, in the same order."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and cell.source]
    folded = ["hide-input" in cell.metadata.get("tags", []) for cell in cells]
    inputs = pages[path].select(".jp-InputArea-editor")
    assert [bool(editor.find_parent("details", class_="check")) for editor in inputs] == folded
    for details in pages[path].select("details.check"):
        assert not details.has_attr("open") and details.summary.get_text(strip=True)
        assert not details.find(class_="jp-OutputArea"), "the verdict stays in sight"


@every_chapter
def test_page_needs_nothing_from_elsewhere(pages, path):
    page = pages[path]
    for tag, attribute in (("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")):
        for element in page.find_all(tag):
            assert not re.match(r"(https?:)?//", element.get(attribute) or ""), element
    assert "url(http" not in str(page).replace("\\", "")
    assert all(image.get("alt") for image in page.find_all("img"))


@every_chapter
def test_page_has_no_bare_objects(pages, path):
    page = pages[path]
    assert not page.find_all(class_="mermaid")
    assert not page.find_all(class_="jupyter-widgets")
    for output in page.find_all(class_="jp-RenderedText"):
        assert not re.match(r"\s*(Text|VBox|HBox|Output|<Figure|<matplotlib|<rnnlib|\[<)", output.get_text())


def test_pages_lead_to_each_other(pages, export):
    there = {f"{path.stem}.html" for path in CHAPTERS} | {"index.html"}
    for page in pages.values():
        inside = {link["href"].split("#")[0] for link in page.find_all("a") if ":" not in link["href"]} - {""}
        assert "index.html" in inside
        assert inside <= there
    contents = BeautifulSoup(export.contents(CHAPTERS), "html.parser")
    assert [link["href"] for link in contents.find_all("a")] == [f"{path.stem}.html" for path in CHAPTERS]
