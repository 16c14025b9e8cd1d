"""Write what a benchmark measured, with the command and the machine."""

import json
import os
import platform
from pathlib import Path

import torch

RESULTS = Path(__file__).resolve().parent.parent / "rnnlib" / "results"  # where chapters read them too


def machine():
    """Describe the machine in a line: processor, system, versions, threads, and how busy it was."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    if torch.cuda.is_available():
        name += f" with {torch.cuda.get_device_name()}"
    busy = f", load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    threads = f"{torch.get_num_threads()} thread{'s'[: torch.get_num_threads() > 1]}"
    versions = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    return f"{name}, {versions}, {threads}{busy}"


def write(name, rows, title=None, command=None):
    """Write rows to rnnlib/results/NAME.json, one line a row, so that a difference can be read.

    Args:
        name: of the file.
        rows: dicts of numbers and words.
        title: what was measured; with it the rows are written to NAME.md too, as a table.
        command: that measured it, by default ``python -m benchmarks.NAME``.
    """
    head = {"command": command or f"python -m benchmarks.{name}", "machine": machine()}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{lines}\n ]\n}}\n'
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    if title is not None:
        page = f"## {name}\n\n{title}\n\n{head['machine']}.\n\n{table(rows)}\n"
        (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")


def table(rows):
    """Return rows as a Markdown table; a row without some column has a dash there."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell(row.get(column, "–")) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value):
    """Return a value as the text of a cell, thousands with a comma."""
    return f"{value:,}" if isinstance(value, int) else str(value)
