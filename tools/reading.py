"""How long a chapter takes: what belongs to its core, to its side rooms and to its exercises, counted in words and lines.

A chapter's *core* is what one does in one sitting. Sections whose title begins with "Going deeper" are side rooms, folded
until somebody opens them; exercises are apart, whether they follow their idea or wait at the end; what maps names and
lists sources is looked up, not read. One formula turns the counts into the minutes that the chapter states.
"""

import math
import re
from dataclasses import dataclass

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
