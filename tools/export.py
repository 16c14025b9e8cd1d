"""Write the chapters as HTML pages that need no kernel and no network: `make html`, or with CHAPTER=02.

A page shows what the notebook stores: each explorer with its question, its first picture and its finding. With
JavaScript it moves, by the frames in docs/_static/live.
"""

import argparse
import shutil
import sys
from importlib import resources
from pathlib import Path

import live
import nbformat
from diagrams import with_pictures
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "html"
MATHJAX = "tex-svg.js"


def title(notebook):
    """Return the title of a chapter."""
    return notebook.cells[0].source.partition("\n")[0].lstrip("# ")


def linked(markdown, chapters):
    """Let links to notebooks lead to their pages."""
    for path in chapters:
        markdown = markdown.replace(f"({path.name}", f"({path.stem}.html")
    return markdown


def mark_rooms(notebook):
    """Tell the template after which cells a section that goes deeper is folded, and where it ends."""
    inside = False
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        begins = cell.source.startswith("## Going deeper")
        inside |= begins
        ends = inside and (after is None or after.source.startswith("## "))
        if begins != ends:  # one that is no longer than its heading has nothing to fold
            cell.metadata["room"] = "opens" if begins else "ends"
        inside &= not ends


def page(path, chapters):
    """Return a chapter as an HTML page with links to the chapters before and after it."""
    notebook = nbformat.read(path, as_version=4)
    mark_rooms(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_pictures(linked(cell.source, chapters))
    place = chapters.index(path)
    around = {"before": chapters[max(0, place - 1) : place], "after": chapters[place + 1 : place + 2]}
    resources = {"title": title(notebook), "mathjax": f"assets/{MATHJAX}"}
    resources["scripts"] = [f"assets/{name}" for name in live.SCRIPTS]
    resources["frames"] = live.index(path.name[:2], live.titles(notebook))
    for name, paths in around.items():
        resources[name] = [(f"{p.stem}.html", title(nbformat.read(p, as_version=4))) for p in paths]
    exporter = HTMLExporter(template_file=str(ROOT / "tools" / "page.html.j2"))
    html, _ = exporter.from_notebook_node(notebook, resources={"page": resources})
    return html


def contents(chapters):
    """Return a page that lists the chapters."""
    titles = [(path.stem, title(nbformat.read(path, as_version=4))) for path in chapters]
    items = "\n".join(f'<li><a href="{stem}.html">{name}</a></li>' for stem, name in titles)
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Recurrent neural networks, live</title>'
    rules = ":root { color-scheme: light dark } body { font: 18px/1.6 sans-serif; max-width: 40em; margin: 2em auto }"
    return f"{head}\n<style>{rules}</style>\n<h1>Recurrent neural networks, live</h1>\n<ul>\n{items}\n</ul>\n</html>\n"


def copy_mathjax():
    """Put MathJax, as its Python package brings it, beside the pages."""
    (OUT / "assets").mkdir(parents=True, exist_ok=True)
    with resources.as_file(resources.files("sphinx-mathjax-offline") / "static" / "mathjax" / MATHJAX) as source:
        shutil.copy(source, OUT / "assets")


def copy_frames():
    """Put the pictures that explorers move by beside the pages, and what shows them."""
    shutil.rmtree(OUT / "assets" / "live", ignore_errors=True)
    for name in ("live", *live.SCRIPTS, "live.css"):
        source, target = live.FOLDER.parent / name, OUT / "assets" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def main():
    """Write the pages and a list of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter", nargs="?", default="", help="the first characters of a chapter's file name")
    prefix = parser.parse_args().chapter
    chapters = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [path for path in chapters if path.name.startswith(prefix)]
    if not chosen:
        sys.exit(f"No chapter begins with {prefix!r}: give its number, such as CHAPTER=02")
    copy_mathjax()
    copy_frames()
    shutil.copytree(ROOT / "notebooks" / "images", OUT / "images", dirs_exist_ok=True)
    for path in chosen:
        target = OUT / f"{path.stem}.html"
        target.write_text(page(path, chapters), encoding="utf-8")
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB")
    (OUT / "index.html").write_text(contents(chapters), encoding="utf-8")


if __name__ == "__main__":
    main()
