"""Edit, execute and save the chapters. Use it through make: `make text`, `make notebooks`, both with CHAPTER=02.

text    write each chapter as a Python script with markdown comments into build/text, to edit it there
run     take over the sources edited in build/text, run all cells from a fresh kernel in full mode, and save; the
        pictures of all settings of its explorers go to docs/_static/live
frames  draw these pictures anew from such a run, and save nothing else
"""

import argparse
import ast
import inspect
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import jupytext
import live
import nbformat
import reading
import slides
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from rnnlib import check, data, environment

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "build" / "text"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
FOLDED_SECTION = "jp-MarkdownHeadingCollapsed"  # JupyterLab's name for it


def chapters(prefix):
    """Return the notebook files whose names begin with a prefix, and edited texts that have no notebook yet."""
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} | {path.stem for path in TEXT.glob("*.py")}
    found = [ROOT / "notebooks" / f"{name}.ipynb" for name in sorted(names) if name.startswith(prefix)]
    if not found:
        sys.exit(f"No chapter begins with {prefix!r}: give its number, such as CHAPTER=02")
    return found


def write_text(path):
    """Write a chapter as a py:percent script, unless an edited one is newer."""
    script = TEXT / f"{path.stem}.py"
    if not path.exists() or (script.exists() and script.stat().st_mtime > path.stat().st_mtime):
        print(f"{script.relative_to(ROOT)}: kept, it has edits that `make notebooks` has not run yet")
        return
    TEXT.mkdir(parents=True, exist_ok=True)
    notebook = jupytext.read(path)
    for cell in notebook.cells:
        cell.metadata.pop("slideshow", None)  # `run` writes it anew, and what follows from the tag `check`
        unfold(cell)
    jupytext.write(notebook, script, fmt="py:percent")
    print(script.relative_to(ROOT))


def load(path):
    """Return a chapter with the sources of its edited text, if there is a newer one."""
    script = TEXT / f"{path.stem}.py"
    if script.exists() and (not path.exists() or script.stat().st_mtime > path.stat().st_mtime):
        return jupytext.read(script)
    return jupytext.read(path)


def corpora(notebook):
    """Return the names of the corpora that a chapter reads, itself or for its exercises."""
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    names = [name for name in data.CORPORA if re.search(rf"\b{name}\b", source)]
    if "check." in source:  # many exercises are tried on this text
        names = sorted({"time_machine", *names})
    names += ["weather"] if "load_weather(" in source else []
    return [*names, "imdb"] if "imdb" in source else names


def require_corpora(names):
    """Refuse to store outputs of a text that stands in for another."""
    if not names:
        return
    data.prefetch(*names)
    for name, place in data.where().items():
        if name.removesuffix("_train").removesuffix("_test") in names and place.startswith("http"):
            sys.exit(f"{name}: the real text is not here, and stored outputs must come from it. See the line above.")


def require_findings(notebook, path):
    """Refuse to store a run in which something is found that the page says otherwise."""
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    differing = [line for line in printed.splitlines() if line.startswith(environment.DIFFERS)]
    if differing:
        sys.exit("\n".join([f"{path.name}: not saved, mend its findings or what they assert", *differing]))


def code_of(notebook):
    """Return what a kernel would run: source and tags of each code cell."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.source, sorted(cell.metadata.get("tags", []))) for cell in cells]


def keep_outputs(notebook, stored):
    """Give a chapter the outputs that are stored for its cells of code."""
    both = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (notebook, stored))
    for cell, before in zip(*both, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count


def filled_in(path):
    """Return a chapter as it is about to run, with what the library writes into it."""
    notebook = load(path)
    begin_cells_with_sections(notebook)
    tidy(notebook)
    fill_in_stubs(notebook, chapter=int(path.name[:2]))
    fill_in_solutions(notebook, chapter=int(path.name[:2]))
    fill_in_definitions(notebook)
    part_definitions(notebook)
    reading.state_minutes(notebook, path)
    return notebook


def run(path):
    """Execute a chapter from a fresh kernel and save it; on an error save nothing. A change of text runs nothing."""
    notebook = filled_in(path)
    stored = tidy(jupytext.read(path)) if path.exists() else None
    if stored is not None and code_of(notebook) == code_of(stored):
        keep_outputs(notebook, stored)
        print(f"{path.name}: the code is the stored one, so nothing was run")
        save(notebook, path)
        return
    require_corpora(corpora(notebook))
    with tempfile.TemporaryDirectory() as drawn:
        execute(notebook, path, drawn)
        require_findings(notebook, path)
        save(notebook, path)
        live.keep(path, drawn)


def save(notebook, path):
    """Write a chapter in its final form."""
    nbformat.validate(notebook)
    nbformat.write(tidy(notebook), path)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
    slides.mark(path)


def draw_frames(path):
    """Execute a chapter as it is stored, for its frames alone."""
    notebook = jupytext.read(path)
    require_corpora(corpora(notebook))
    with tempfile.TemporaryDirectory() as drawn:
        execute(notebook, path, drawn)
        live.keep(path, drawn)


def execute(notebook, path, drawn):
    """Run the cells of a chapter in its folder, from a fresh kernel; its explorers draw their frames into a folder."""
    started = time.perf_counter()
    os.environ["RNNLIB_FRAMES"] = str(drawn)
    os.environ["OMP_NUM_THREADS"] = "1"  # as the tests run it: the numbers of a run don't depend on the machine's cores
    client = NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"{path.name}: not saved, a cell failed\n{error}")
    print(f"{path.name}: {time.perf_counter() - started:.0f} s")


def begin_cells_with_sections(notebook):
    """Cut Markdown cells before each heading of the second level, so that a section can be folded by its first cell."""
    cells = []
    for cell in notebook.cells:
        sources = sections(cell.source) if cell.cell_type == "markdown" else [cell.source]
        cell.source = sources[0]
        cells += [cell, *map(nbformat.v4.new_markdown_cell, sources[1:])]
    notebook.cells = cells


def part_definitions(notebook):
    """Cut cells of code at two blank lines, so that a definition has a cell of its own; an exercise stays whole."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        whole = cell.cell_type != "code" or set(tags) & {"check", "raises-exception"} or exercise(cell)
        for source in [cell.source] if whole else re.split(r"\n{3,}", cell.source):
            part = nbformat.from_dict(cell) if source == cell.source else nbformat.v4.new_code_cell(source)
            part.metadata["tags"] = [tag for tag in tags if tag != "defines" or defining(source)]
            if not part.metadata["tags"]:
                del part.metadata["tags"]
            cells.append(part)
    notebook.cells = cells


def exercise(cell):
    """Return the match of the line that checks an exercise, or None."""
    return re.search(r"^check\.(\w+)\(", cell.source, flags=re.MULTILINE)


def sections(source):
    """Cut a piece of Markdown before each heading of the second level that stands in no fence."""
    found, fenced = [[]], False
    for line in source.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced and any(found[-1]):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines).strip() for lines in found]


def fill_in_stubs(notebook, chapter):
    """Write the stub of each exercise in rnnlib.check into the cell that begins a line with check.NAME( of its name."""
    exercises = {exercise.name: exercise for exercise in check.EXERCISES if exercise.chapter == chapter}
    for cell in notebook.cells:
        called = exercise(cell)
        if cell.cell_type == "code" and called and called[1] in exercises:
            name = called[1]
            imports = [line for line in cell.source.splitlines() if line.startswith(("import ", "from "))]
            parts = ["\n".join(imports), exercises[name].stub(), f"check.{name}({name})"]
            cell.source = "\n\n\n".join(part for part in parts if part)


def fill_in_solutions(notebook, chapter):
    """Write the source of the solutions in rnnlib.check, folded, into the cell that begins with '## Solutions'."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## Solutions"):
            parts = ["## Solutions", "Try first; a hint often is enough."]
            for exercise in check.EXERCISES:
                if exercise.chapter == chapter:
                    source = textwrap.dedent(inspect.getsource(exercise.solution)).strip()
                    parts.append(
                        f"<details><summary><code>{exercise.name}</code></summary>\n\n"
                        f"```python\n{source}\n```\n\n</details>"
                    )
            cell.source = "\n\n".join(parts)


def fill_in_definitions(notebook):
    """Write the library's own source, without docstrings and guards, into the cells tagged 'defines'."""
    sources = {}
    for module in sorted((ROOT / "rnnlib").glob("*.py")):
        sources.update(definitions(module.read_text(encoding="utf-8")))
    for cell in notebook.cells:
        if "defines" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            for node in reversed(defining(cell.source)):
                if node.name in sources:
                    lines[first_line(node) - 1 : node.end_lineno] = [sources[node.name]]
            command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(ROOT / "notebooks" / "cell.py")]
            source = without_guard_imports("\n".join(lines))
            done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
            cell.source = done.stdout.strip()


def defining(source):
    """Return the syntax of each function and class of a module, in order."""
    return [
        node
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]


def first_line(node):
    """Return the number of the first line of a definition, decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def is_guard(node):
    """Tell whether a statement is nothing but a call of a function named check_…, which a lesson leaves out."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    return getattr(function, "attr", getattr(function, "id", "")).startswith("check_")


def definitions(source):
    """Return the source of each function and class of a module by name, without docstrings and guards."""
    lines, found = source.splitlines(), {}
    for node in defining(source):
        kept = dict(enumerate(lines[first_line(node) - 1 : node.end_lineno], start=first_line(node)))
        for inner in ast.walk(node):
            left_out = [part for part in getattr(inner, "body", []) if is_guard(part)] if has_body(inner) else []
            if (
                isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                and ast.get_docstring(inner) is not None
            ):
                left_out.append(inner.body[0])
            for part in left_out:
                for number in range(part.lineno, part.end_lineno + 1):
                    del kept[number]
        found[node.name] = "\n".join(kept.values())
    return found


def has_body(node):
    """Tell whether a piece of syntax is a block of statements."""
    return isinstance(getattr(node, "body", None), list)


def without_guard_imports(source):
    """Drop the names of guards from a cell's imports."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and any(alias.name.startswith("check_") for alias in node.names):
            node.names = [alias for alias in node.names if not alias.name.startswith("check_")]
            lines[node.lineno - 1 : node.end_lineno] = [ast.unparse(node)] if node.names else []
    return "\n".join(lines).strip()


def fold(cell):
    """Collapse a section that goes deeper, and the input of a check; one click opens it."""
    if cell.cell_type == "markdown" and cell.source.startswith("## Going deeper"):
        cell.metadata[FOLDED_SECTION] = True
    if "check" in cell.metadata.get("tags", []):
        cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
        cell.metadata["jupyter"] = {"source_hidden": True}


def unfold(cell):
    """Undo :func:`fold`."""
    cell.metadata.pop("jupyter", None)
    cell.metadata.pop(FOLDED_SECTION, None)
    if tags := [tag for tag in cell.metadata.pop("tags", []) if tag != "hide-input"]:
        cell.metadata["tags"] = tags


def tidy(notebook):
    """Number the cells, fix the kernel's name, drop what differs between machines or can't be shown again."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    slides.joined(notebook)  # a busy machine prints a text in pieces
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata.pop("execution", None)
        unfold(cell)
        fold(cell)
        for output in cell.get("outputs", []):
            # A slider lives in a kernel; without one JupyterLab shows an error in its place. The text beside it stays.
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]  # the frames name folders of this machine
            if output.output_type == "stream" and (folder := os.environ.get("RNNLIB_DATA")):
                output.text = output.text.replace(os.path.abspath(folder), "$RNNLIB_DATA")
    return notebook


ACTIONS = {"text": write_text, "run": run, "frames": draw_frames}


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=list(ACTIONS))
    parser.add_argument("chapter", nargs="?", default="", help="the first characters of a chapter's file name")
    arguments = parser.parse_args()
    os.environ.pop("RNNLIB_QUICK", None)  # stored outputs come from a full run
    for path in chapters(arguments.chapter):
        ACTIONS[arguments.action](path)
    if arguments.action == "run":
        reading.state_in_tables()


if __name__ == "__main__":
    main()
