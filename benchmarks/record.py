"""Write what a long benchmark measured, with the command, the machine and the CPU seconds that it took."""

import json
import platform
import time
from pathlib import Path

import torch

RESULTS = Path(__file__).resolve().parent / "results"


def write(name, rows):
    """Write rows to benchmarks/results/NAME.json: one line a row, so that a difference can be read."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    head = {"command": f"python -m benchmarks.{name}", "machine": f"{machine}, one thread"}
    head["cpu_seconds"] = round(time.process_time())
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{lines}\n ]\n}}\n'
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
