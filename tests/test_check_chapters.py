"""The exercises as they stand in the chapters: stubs, symptoms, goals, solutions and the list of what is done."""

import ast
import builtins
import functools
import inspect
import re
import textwrap
from pathlib import Path

import nbformat
import pytest

from rnnlib import check

CHAPTERS = {int(path.name[:2]): path for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))}
EXERCISES = [exercise for exercise in check.EXERCISES if exercise.chapter in CHAPTERS]
NUMBERS = sorted({exercise.chapter for exercise in EXERCISES})
every_chapter = pytest.mark.parametrize("chapter", NUMBERS)
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.name for exercise in EXERCISES])


@functools.cache
def cells(chapter):
    return nbformat.read(CHAPTERS[chapter], as_version=4).cells


def of_chapter(chapter):
    return [exercise for exercise in EXERCISES if exercise.chapter == chapter]


def printed(cell):
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def checks(cell):
    """Return the name of the exercise that a cell checks, or an empty text."""
    found = re.search(r"^check\.(\w+)\(\1\)$", cell.source, flags=re.MULTILINE)
    return found[1] if found and cell.cell_type == "code" else ""


def section(chapter):
    """Return the cells of the chapter's exercises, from their heading to the summary."""
    found = cells(chapter)
    first, last = (
        next(i for i, cell in enumerate(found) if cell.cell_type == "markdown" and f"## {title}\n" in cell.source)
        for title in ("Exercises", "Summary")
    )
    return found[first:last]


@every_exercise
def test_stub_is_the_signature_of_the_solution(exercise):
    (cell,) = (cell for cell in cells(exercise.chapter) if checks(cell) == exercise.name)
    lines = [line for line in cell.source.splitlines() if not line.startswith(("import ", "from "))]
    assert "\n".join(lines).strip() == f"{exercise.stub()}\n\n\ncheck.{exercise.name}({exercise.name})"
    assert printed(cell) == f"{exercise.name}: not started yet.\n"


@every_exercise
def test_heading_has_the_stars(exercise):
    found = cells(exercise.chapter)
    place = next(i for i, cell in enumerate(found) if checks(cell) == exercise.name)
    headings = re.findall(r"^### (★+) ", "\n".join(cell.source for cell in found[:place]), flags=re.MULTILINE)
    assert len(headings[-1]) == exercise.stars


@every_exercise
def test_section_to_read_again_exists(exercise):
    text = "\n".join(cell.source for cell in cells(exercise.chapter) if cell.cell_type == "markdown")
    assert exercise.section in re.findall(r"^#{2,3} (.+)$", text, flags=re.MULTILINE)


def names_that_a_source_needs(source):
    """Return the names that a function uses and neither defines nor gets as arguments."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {node.id for node in names} - bound - set(dir(builtins))


def names_that_a_chapter_has(chapter):
    found = set()
    for cell in cells(chapter):
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
                elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    found.add(node.name)
    return found


@every_exercise
def test_solution_needs_only_what_the_chapter_has(exercise):
    needed = names_that_a_source_needs(inspect.getsource(exercise.solution))
    assert needed <= names_that_a_chapter_has(exercise.chapter), "define it in the chapter, or import it there"


@every_exercise
def test_a_stub_hides_nothing_that_the_chapter_needs_later(exercise):
    found = cells(exercise.chapter)
    place = next(i for i, cell in enumerate(found) if checks(cell) == exercise.name)
    for cell in found[place + 1 :]:
        if cell.cell_type == "code":
            used = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
            assert exercise.name not in used, cell.source


@every_chapter
def test_all_grades_are_there(chapter):
    stars = [exercise.stars for exercise in of_chapter(chapter)]
    assert len(stars) >= 5
    assert stars == sorted(stars) and set(stars) == {1, 2, 3}


@every_chapter
def test_one_debugging_exercise_whose_symptom_comes_first(chapter):
    found = section(chapter)
    starts = [i for i, cell in enumerate(found) if "\n### " in f"\n{cell.source}" and cell.cell_type == "markdown"]
    debug = [i for i in starts if re.search(r"^### ★+ Debug", found[i].source, flags=re.MULTILINE)]
    assert len(debug) == 1
    until_check = []
    for cell in found[debug[0] + 1 :]:
        if checks(cell):
            break
        until_check.append(cell)
    assert any(cell.cell_type == "code" and printed(cell) for cell in until_check), "the symptom, seen"


@every_chapter
def test_a_goal_that_is_measured(chapter):
    found = section(chapter)
    further = [i for i, cell in enumerate(found) if re.search(r"^### ★★★ Go further", cell.source, flags=re.MULTILINE)]
    measured = [(found[i].source, checks(found[i + 1])) for i in further if checks(found[i + 1])]
    assert len(measured) == 1
    assert "**the goal" in measured[0][0].lower()
    test = check.catalogue()[measured[0][1]].test.__code__
    assert "within" in test.co_names, "the time counts too"
    assert any("easured: " in str(constant) for constant in test.co_consts), "the number is reported"


@every_chapter
def test_progress_stands_at_the_end(chapter):
    last = section(chapter)[-1]
    assert last.source == f"check.progress({chapter})"
    lines = printed(last).splitlines()
    assert lines[0] == f"0 of {len(of_chapter(chapter))} solved"
    assert [line.split()[1] for line in lines[1:]] == [exercise.name for exercise in of_chapter(chapter)]
    assert all("not started" in line for line in lines[1:])


@every_chapter
def test_solutions_are_folded_and_the_checkers_own(chapter):
    (solutions,) = (cell.source for cell in cells(chapter) if "## Solutions" in cell.source)
    folded = re.findall(
        r"<details><summary><code>(\w+)</code></summary>\n\n```python\n(.*?)\n```\n\n</details>", solutions, re.S
    )
    assert dict(folded) == {
        exercise.name: textwrap.dedent(inspect.getsource(exercise.solution)).strip() for exercise in of_chapter(chapter)
    }


@every_chapter
def test_questions_fold_their_answers(chapter):
    text = "\n".join(cell.source for cell in cells(chapter) if cell.cell_type == "markdown")
    assert text.count("**Predict") + text.count("**Question") >= 4
    assert text.count("<details>") == text.count("</details>") >= 1 + len(of_chapter(chapter))
