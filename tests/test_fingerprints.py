"""What the book teaches changes on purpose only: a fingerprint of every definition that a chapter writes out.

A fingerprint leaves out docstrings, comments and guards (statements that call a function named check_…), so moving a
definition, or saying more about it, changes nothing. Where a definition was changed on purpose, store the new ones:

    python tests/test_fingerprints.py
"""

import ast
import hashlib
import json
from pathlib import Path

import nbformat
import pytest
from test_notebooks import is_guard

ROOT = Path(__file__).resolve().parent.parent
STORED = Path(__file__).with_name("fingerprints.json")


def is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def fingerprints(source):
    """Return the fingerprint of each function and class of a source, by name."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for inner in ast.walk(node):
                if isinstance(getattr(inner, "body", None), list):
                    inner.body = [part for part in inner.body if not is_guard(part) and not is_docstring(part)]
            found[node.name] = hashlib.sha256(ast.unparse(node).encode()).hexdigest()[:16]
    return found


def taught():
    """Return the names that cells tagged 'defines' define."""
    names = set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "defines" in cell.metadata.get("tags", []):
                names |= set(fingerprints(cell.source))
    return names


def current():
    """Return the fingerprints of all taught definitions as the library has them now."""
    names, found = taught(), {}
    for module in sorted((ROOT / "rnnlib").glob("*.py")):
        for name, value in fingerprints(module.read_text(encoding="utf-8")).items():
            if name in names:
                assert found.setdefault(name, value) == value, f"two definitions of {name} in rnnlib"
    return found


def test_taught_definitions_are_those_that_were_stored():
    stored, found = json.loads(STORED.read_text(encoding="utf-8")), current()
    changed = sorted(name for name in stored.keys() | found.keys() if stored.get(name) != found.get(name))
    assert not changed, f"{changed} differ from what is stored: if that is meant, run python tests/test_fingerprints.py"


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("def f(x):\n    '''Say more.'''\n    check_sizes(x=x)\n    return x + 1  # one more", True),
        ("def f(x):\n    guards.check_sizes(x=x)\n    return x + 1", True),
        ("def f(x):\n    return x - 1", False),
        ("def f(x):\n    x = checked(x)\n    return x + 1", False),
        ("def f(x, y=0):\n    return x + 1", False),
    ],
)
def test_fingerprint(source, same):
    right = fingerprints("def f(x):\n    return x + 1")
    assert (fingerprints(source) == right) == same


if __name__ == "__main__":
    STORED.write_text(json.dumps(current(), indent=0, sort_keys=True) + "\n", encoding="utf-8")
