"""Compare two recorded results of one benchmark, number by number."""

import json
import sys
from pathlib import Path

from benchmarks import record

MEASURES = ("tokens/s", "GFLOP/s", "ms", "s", "share", "ratio", "epoch", "times", "accuracy")


def is_measure(column):
    """Tell whether a column is a measured number: the others name what was measured."""
    return any(word in column.replace(",", " ").split() for word in MEASURES) or column in ("measure", "draw")


def main(paths):
    """Print the comparison of the two files on the command line, or end with a sentence that says why there is none."""
    if len(paths) != 2:
        sys.exit("Give two recorded results: python -m benchmarks compare OLD.json NEW.json")
    if missing := [path for path in paths if not Path(path).is_file()]:
        sys.exit(f"There is no file {missing[0]}")
    rows = compare(*paths)
    if not rows:
        sys.exit(f"{paths[0]} and {paths[1]} have no measured number in common: are they of the same benchmark?")
    print(record.table(rows))


def compare(old, new):
    """Return a row for each number that both files hold, with new / old.

    Args:
        old, new: paths of two JSON files that :func:`benchmarks.record.write` has written.
    """
    before, after = (json.loads(Path(path).read_text(encoding="utf-8"))["rows"] for path in (old, new))
    known = {names(row): row for row in before}
    rows = []
    for row in after:
        for column, value in row.items():
            reference = known.get(names(row), {}).get(column)
            if is_measure(column) and isinstance(value, (int, float)) and isinstance(reference, (int, float)):
                ratio = round(value / reference, 2) if reference else "–"
                what = ", ".join(str(part) for _, part in names(row))
                rows.append({"what": what, "number": column, "old": reference, "new": value, "new / old": ratio})
    return rows


def names(row):
    """Return what a row is about: its columns that are not measured."""
    return tuple((column, value) for column, value in row.items() if not is_measure(column) and column not in VARYING)


VARYING = ("spread", "losses apart")  # words about a measurement
