"""How long a chapter takes: its core, its side rooms and its exercises, counted in words and lines.

A chapter's *core* is what one does in one sitting. Sections whose title begins with "Going deeper" are side rooms,
folded until somebody opens them. Exercises are apart, whether they follow their idea or wait at the end. What maps
names and lists sources is looked up, not read. One formula turns the counts into the minutes that the chapter states.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from rnnlib import check

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "rnnlib" / "results" / "chapters.json"

WORDS_A_MINUTE = 100  # of exact prose, with its formulas and figures
LINES_A_MINUTE = 10  # of code that one follows line by line
STARS = {1: 2, 2: 8, 3: 20}  # minutes an exercise
LOOKED_UP = ("Coming from d2l", "Further reading", "Solutions")


@dataclass
class Part:
    """Words of prose and visible lines of code of one part of a chapter."""

    words: int = 0
    lines: int = 0

    def minutes(self):
        """Return how long it takes to read this part and to follow its code."""
        return self.words / WORDS_A_MINUTE + self.lines / LINES_A_MINUTE


def pieces(source):
    """Yield (level, title, text) for each stretch of Markdown between headings; (0, "", text) before the first."""
    outside = re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)
    found = re.split(r"^(#{1,6}) (.+)$", outside, flags=re.MULTILINE)
    if found[0].strip():
        yield 0, "", found[0]
    for marks, title, text in zip(found[1::3], found[2::3], found[3::3], strict=True):
        yield len(marks), title, f"{title}\n{text}"


def part_of_section(title):
    """Return the part of a chapter that a section of the second level belongs to."""
    if title.startswith("Going deeper"):
        return "deeper"
    if title == "Exercises":
        return "exercises"
    return "looked up" if title in LOOKED_UP else "core"


def parts(notebook):
    """Return a :class:`Part` for each of core, deeper, exercises and looked up.

    An exercise that follows its idea begins with a heading that has a star and ends with its cell of code. Lines of
    checks, whose input is folded, don't count, nor do empty ones.
    """
    found = {name: Part() for name in ("core", "deeper", "exercises", "looked up")}
    section, aside = "core", False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, title, text in pieces(cell.source):
                if level in (1, 2):
                    section = part_of_section(title)
                if level:
                    aside = title.startswith("★")
                words = [word for word in text.split() if re.search(r"\w", word)]
                found["exercises" if aside else section].words += len(words)
        elif cell.cell_type == "code":
            if "check" not in cell.metadata.get("tags", []):
                lines = [line for line in cell.source.splitlines() if line.strip()]
                found["exercises" if aside else section].lines += len(lines)
            if re.search(r"^check\.\w+\(\w+\)$", cell.source, flags=re.MULTILINE):
                aside = False
    return found


def rounded(minutes):
    """Return minutes as one says them: in fives, never too few."""
    return 5 * math.ceil(minutes / 5)


def run_seconds(chapter):
    """Return the seconds that a chapter ran when it was last measured, in full and in quick mode."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    for row in rows:
        if row["chapter"] == chapter:
            return row["full, CPU s"], row["quick, CPU s"]
    return 0, 0  # a new one


def minutes(notebook, chapter):
    """Return the minutes that a chapter states, by what they are for."""
    counted = parts(notebook)
    full, quick = run_seconds(chapter)
    stars = [exercise.stars for exercise in check.EXERCISES if exercise.chapter == int(chapter[:2])]
    return {
        "core": rounded(counted["core"].minutes() + full / 60),
        "deeper": rounded(counted["deeper"].minutes()),
        "exercises": rounded(sum(STARS[number] for number in stars)),
        "full": math.ceil(full / 60),
        "quick": math.ceil(quick / 60),
    }


def sentence(minutes):
    """Say these minutes as the head of a chapter does."""
    reads = [
        f"{minutes['core']} for the core",
        f"{minutes['deeper']} to go deeper",
        f"{minutes['exercises']} for the exercises",
    ]
    reads = [part for part in reads if not part.startswith("0 ")]
    listed = " and ".join([", ".join(reads[:-1]), reads[-1]]) if len(reads) > 1 else reads[0]
    return f"{listed}; about {minutes['full']} to run in full mode, {minutes['quick']} in quick mode."


def rows_with_minutes(table):
    """Return a Markdown table of chapters with their minutes in its last five columns."""
    lines = table.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|") and (link := re.search(r"(\d\d_\w+)\.ipynb\)", line)):
            stated = minutes(nbformat.read(ROOT / "notebooks" / f"{link[1]}.ipynb", as_version=4), link[1])
            lines[number] = (
                " | ".join([*line.split(" | ")[:2], *(str(count or "–") for count in stated.values())]) + " |"
            )
    return "\n".join(lines)


def state_in_tables():
    """Write the minutes into the map of chapter 0 and into the README's."""
    start = ROOT / "notebooks" / "00_start_here.ipynb"
    notebook = nbformat.read(start, as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("## The map"):
            cell.source = rows_with_minutes(cell.source)
    nbformat.write(notebook, start)
    readme = ROOT / "README.md"
    readme.write_text(rows_with_minutes(readme.read_text(encoding="utf-8")) + "\n", encoding="utf-8")


def state_minutes(notebook, path):
    """Write the minutes into the first cell of a chapter."""
    stated = sentence(minutes(notebook, path.stem))
    first = notebook.cells[0]
    first.source = re.sub(r"(?<=\*\*Minutes:\*\* ).*?(?=\n\n|\Z)", stated, first.source, flags=re.DOTALL)
