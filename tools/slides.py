"""Cut the chapters into slides that work without a network: `make slides`, or with CHAPTER=02.

Nobody marks slides by hand. `slide_types` reads a chapter's structure and sizes, `make notebooks` stores what it says
in the cells' metadata (where `jupyter nbconvert --to slides` finds it too), and the export below cuts further what is
still too tall for a screen: a long text between its paragraphs, a cell between its code and its figure. Under a figure
stands a question, and the finding comes with the next key. The speaker's window (key S) has minutes and what to ask.
"""

import argparse
import html
import math
import re
import shutil
import sys
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import nbformat
from diagrams import with_pictures

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "slides"
# A slide is 1280 x 720 pixels; what fits is counted in lines of text.
LINES, COLUMNS, PIXELS_PER_LINE = 19, 92, 35
CODE_LINE = 0.7  # of a line of text
SPARE = 4  # lines that a page takes beyond these, a little smaller, where a page of its own would hold little
PRINTED = 24  # lines of print that a slide shows at most
# Read at one's own desk, not in a lecture.
LEFT_OUT = ("Going deeper", "Common mistakes", "Exercises", "Coming from d2l", "Further reading", "Solutions")
LESSON = 45  # minutes for which the speaker's notes share out the pages of a deck
FINDING = "**What you see.**"
FOLLOWED = 8  # lines of code that a lecture follows, where the chapter doesn't define with them what it teaches


def blocks(source):
    """Split Markdown between its paragraphs; a fence, a formula, a table or a folded answer stays whole."""
    found, current, closing = [], [], None
    for line in source.splitlines():
        if closing is None and not line.strip():
            if current:
                found.append("\n".join(current))
            current = []
            continue
        current.append(line)
        if closing is None:
            if line.startswith("```"):
                closing = "```"
            elif line.startswith("<details"):
                closing = "</details>"
            elif line.startswith("$$") and line.count("$$") == 1:
                closing = "$$"
        elif closing in line:
            closing = None
    return [*found, "\n".join(current)] if current else found


def block_lines(block):
    """Estimate how many lines of a slide a piece of Markdown fills."""
    if block.startswith("<details"):
        return 1.5
    if block.startswith("```mermaid"):
        return 9
    if block.startswith("!["):
        return 12
    if block.startswith("```"):
        return CODE_LINE * block.count("\n")
    if block.startswith("|"):
        return 0.5 + sum(1.1 * math.ceil(len(row) / 120) for row in block.splitlines())
    if block.startswith("$$"):
        return 2.2 * (1 + block.count(r"\\"))
    if block.startswith("#"):
        return 2
    items = re.split(r"\n(?=- |\d+\. )", block)
    return 0.6 + sum(math.ceil(len(item) / COLUMNS) for item in items)


def shows_code(cell):
    """Say whether the source of a code cell belongs on a slide: no plotting that crowds its figure, nothing long."""
    lines = len(cell.source.splitlines())
    if has_figure(cell):
        return 0.8 + CODE_LINE * lines + output_lines(cell) < LINES - 4
    return lines <= FOLLOWED or "defines" in cell.metadata.get("tags", [])


def code_lines(cell):
    """Estimate how many lines of a slide the source of a code cell fills."""
    return 0.8 + CODE_LINE * len(cell.source.splitlines()) if shows_code(cell) else 0.0


def output_lines(cell):
    """Estimate how many lines of a slide the stored outputs of a code cell fill."""
    total = 0.0
    for output in cell.outputs:
        size = output.get("metadata", {}).get("image/png", {})
        if "image/png" in output.get("data", {}):
            total += size.get("height", 400) / PIXELS_PER_LINE
        elif output.output_type == "error":
            total += 2 * CODE_LINE
        else:
            total += 0.3 + CODE_LINE * sum(math.ceil(len(line) / 110) or 1 for line in printed(output).splitlines())
    return total


def printed(output):
    """Return the text of an output, its first lines if it has many."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    lines = text.splitlines()
    return "\n".join([*lines[:PRINTED], "…"]) if len(lines) > PRINTED else text


def joined(notebook):
    """Join the pieces in which a cell printed its text."""
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            if kept and output.output_type == kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
    return notebook


def has_figure(cell):
    """Say whether a code cell shows a picture."""
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def heading(source):
    """Return the level and the title that a Markdown cell begins with, or (0, "")."""
    marks, _, title = source.partition("\n")[0].partition(" ")
    return (len(marks), title) if re.fullmatch("#+", marks) else (0, "")


def shown_blocks(cell, skipping):
    """Return the pieces of a Markdown cell that belong on slides, and whether its last section is left out."""
    shown = []
    for block in blocks(cell.source):
        level, title = heading(block)
        if level in (1, 2):
            skipping = "section" if title.startswith(LEFT_OUT) else ""
        elif level and skipping != "section":
            skipping = "exercise" if title.startswith("★") else ""  # one that follows its idea
        if not skipping:
            shown.append(block)
    return shown, skipping


def after_code(skipping):
    """Return what is left out after a cell of code: an exercise that follows its idea ends with its cell."""
    return "" if skipping == "exercise" else skipping


def fits(filled, lines):
    """Say whether a page takes so many lines more: a little beyond its size, where one of both is short."""
    return filled + lines <= LINES + (SPARE if min(filled, lines) <= SPARE + 2 else 0)


class Piece(NamedTuple):
    """What a page is put together from: where it goes (as in `slide_types`), how many lines it fills, its HTML."""

    begins: str
    lines: float
    html: str


def only_headings(page):
    """Say whether a page of a deck holds nothing but headings."""
    return all(re.match(r"\s*<h\d", piece.html) for piece in page)


def slide_types(notebook):
    """Return for each cell what its metadata must say: slide, subslide, - (goes on) or skip.

    A section begins a slide, a subsection and whatever no longer fits begin a subslide. A finding stays with its
    figure. The sections for one's own desk are skipped, and so are checks and code that no lecture follows.
    """
    types, filled, skipping = [], 0.0, ""
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", []):
            types.append("skip")
            continue
        level, _ = heading(cell.source) if cell.cell_type == "markdown" else (0, "")
        if cell.cell_type == "markdown":
            shown, skipping = shown_blocks(cell, skipping)
            size = sum(map(block_lines, shown))
        else:
            size = 0 if skipping else code_lines(cell) + output_lines(cell)
            skipping = after_code(skipping)
        if not size:
            kind = "skip"
        elif level in (1, 2):
            kind = "slide"
        elif cell.source.startswith(FINDING):
            kind = "-"
        elif level or not fits(filled, size):
            kind = "subslide"
        else:
            kind = "-"
        filled = filled + size if kind == "-" else size
        types.append(kind)
    return types


def mark(path):
    """Store the slide types in the cells of a chapter."""
    notebook = nbformat.read(path, as_version=4)
    for cell, kind in zip(notebook.cells, slide_types(notebook), strict=True):
        cell.metadata["slideshow"] = {"slide_type": kind}
    nbformat.write(notebook, path)


# ---------------------------------------------------------------------------------------------------------- export


def pieces(notebook):
    """Yield each :class:`Piece` of a deck."""
    skipping = ""
    for cell, kind in zip(notebook.cells, slide_types(notebook), strict=True):
        if cell.cell_type == "markdown":
            shown, skipping = shown_blocks(cell, skipping)
            for block in shown:
                level, _ = heading(block)
                if level:
                    kind = "slide" if level < 3 else "subslide"
                yield Piece(kind, block_lines(block), finding(block) if block.startswith(FINDING) else markdown(block))
                kind = "-"
        elif kind == "skip":
            if "check" not in cell.metadata.get("tags", []):
                skipping = after_code(skipping)
        else:
            if shows_code(cell):
                yield Piece(kind, code_lines(cell), code(cell.source))
                kind = "-"
            if cell.outputs:
                yield Piece(kind, output_lines(cell), outputs(cell))


def deck(notebook):
    """Return the slides of a chapter, each a list of pages, each a list of pieces."""
    slides, filled = [], 0.0
    for piece in pieces(notebook):
        if piece.begins == "slide" or not slides:
            slides.append([[piece]])
            filled = piece.lines
        elif (piece.begins == "subslide" and not only_headings(slides[-1][-1])) or not fits(filled, piece.lines):
            slides[-1].append([piece])
            filled = piece.lines
        else:
            slides[-1][-1].append(piece)
            filled += piece.lines
    return slides


def notes(slides):
    """Return what the speaker's window says to each page: the minutes, shared out by lines, and what to ask."""
    pages = [page for slide in slides for page in slide]
    ends = list(accumulate(sum(piece.lines for piece in page) for page in pages))
    said = []
    for page, start, end in zip(pages, [0.0, *ends], ends, strict=False):
        begin, until = (60 * LESSON * lines / ends[-1] for lines in (start, end))
        said.append([f"{clock(begin)} to {clock(until)} of {LESSON} minutes.", *questions(page)])
    return said


def clock(seconds):
    """Return seconds as minutes:seconds."""
    return "{:.0f}:{:02.0f}".format(*divmod(round(seconds), 60))


def questions(page):
    """Return what a speaker may do with the questions of a page."""
    html = "".join(piece.html for piece in page)
    advice = {
        "<strong>Predict": "Let everybody write down a guess before you go on.",
        "<strong>Question": "Half a minute in pairs, then open the answer with a click.",
        "<strong>What do you see": "Ask first; the next key shows the finding.",
    }
    return [advice[mark] for mark in advice if mark in html]


def markdown(source):
    """Return Markdown as HTML; formulas stay as they are, for MathJax."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    between_decks = re.sub(r"\]\((\d\d_\w+)\.ipynb[^)]*\)", r"](\1.html)", source)
    return markdown2html_mistune(with_pictures(between_decks))


def finding(source):
    """Return the finding under a figure as a question, whose answer comes with the next key."""
    found = markdown(source.replace(FINDING, "<strong>What do you see?</strong> @", 1))
    return re.sub(r"@\s*(.*?)</p>", r'<span class="fragment">\1</span></p>', found, count=1, flags=re.DOTALL)


def code(source):
    """Return Python source as coloured HTML."""
    from nbconvert.filters.highlight import Highlight2HTML

    return Highlight2HTML()(source, "ipython")


def outputs(cell):
    """Return the stored outputs of a cell as HTML."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        alt = html.escape(data.get("text/plain", ""), quote=True)
        if "image/png" in data:
            size = output.metadata.get("image/png", {})
            parts.append(
                f'<img alt="{alt}" width="{size.get("width", 720)}" height="{size.get("height", 400)}" '
                f'src="data:image/png;base64,{data["image/png"]}">'
            )
        elif "text/markdown" in data:
            parts.append(markdown(data["text/markdown"]))
        elif output.output_type == "error":
            parts.append(f"<pre>{html.escape(output.ename)}: {html.escape(output.evalue)}</pre>")
        else:
            parts.append(f"<pre>{html.escape(printed(output))}</pre>")
    return "\n".join(parts)


def page(notebook):
    """Return the whole deck as an HTML page."""
    from pygments.formatters import HtmlFormatter

    slides, sections = deck(notebook), []
    said = iter(notes(slides))
    for slide in slides:
        shown = ["\n".join(piece.html for piece in one) for one in slide]
        inner = "\n".join(f"<section>{one}{aside(next(said))}</section>" for one in shown)
        sections.append(f"<section>\n{inner}\n</section>")
    title = heading(notebook.cells[0].source)[1]
    template = (ROOT / "tools" / "slides.html").read_text(encoding="utf-8")
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    parts = {"TITLE": html.escape(title), "COLOURS": colours, "SLIDES": "\n".join(sections)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], template)


def aside(said):
    """Return what the speaker's window says to a page, as reveal.js wants it."""
    return f'<aside class="notes">{"".join(f"<p>{html.escape(line)}</p>" for line in said)}</aside>'


def copy_assets():
    """Put reveal.js and MathJax from their Python packages, and the chapters' own pictures, beside the decks."""
    shutil.copytree(ROOT / "notebooks" / "images", OUT / "images", dirs_exist_ok=True)
    reveal = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    mathjax = resources.files("sphinx-mathjax-offline") / "static" / "mathjax"
    (OUT / "assets").mkdir(parents=True, exist_ok=True)
    parts = [reveal / "dist" / name for name in ("reveal.js", "reveal.css", "reset.css")]
    for source in (*parts, reveal / "plugin" / "notes" / "notes.js", mathjax / "tex-svg.js"):
        with resources.as_file(source) as path:
            shutil.copy(path, OUT / "assets")


def main():
    """Write the decks and a page that lists them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter", nargs="?", default="", help="the first characters of a chapter's file name")
    chapters = sorted((ROOT / "notebooks").glob(f"{parser.parse_args().chapter}*.ipynb"))
    if not chapters:
        sys.exit("No chapter begins so: give its number, such as CHAPTER=02")
    copy_assets()
    for path in chapters:
        notebook = joined(nbformat.read(path, as_version=4))
        (OUT / f"{path.stem}.html").write_text(page(notebook), encoding="utf-8")
        print(f"{(OUT / path.stem).relative_to(ROOT)}.html: {sum(map(len, deck(notebook)))} pages")
    decks = [
        (path, re.search("<title>(.*?)</title>", path.read_text(encoding="utf-8"))) for path in OUT.glob("[0-9]*.html")
    ]
    links = [f'<li><a href="{path.name}">{title[1]}</a></li>' for path, title in sorted(decks)]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title><h1>Slides</h1>'
    (OUT / "index.html").write_text(f"{head}<ul>{''.join(links)}</ul></html>", encoding="utf-8")


if __name__ == "__main__":
    main()
