"""No loop over time picks its step by a[:, t] where gradients flow: backward, each pick fills a whole tensor.

T steps then cost T² (benchmarks/beyond.py measures it); ``for a_t in a.unbind(1)`` costs T.
"""

import ast
from pathlib import Path

import nbformat
import pytest
import torch

from benchmarks.beyond import WaveForecaster, by_index, by_unbind
from rnnlib import beyond
from rnnlib.directions import Bidirectional
from rnnlib.gates import ScratchGRU, ScratchLSTM
from rnnlib.scratch import ScratchRNN

ROOT = Path(__file__).resolve().parent.parent
MEANT = {
    "benchmarks/beyond.py": ("a", "b"),  # measures what it costs
    "rnnlib/check/layers.py": ("output",),  # a solution over the rows of a minibatch; nothing goes backward
    "rnnlib/check/attention.py": ("queries",),  # scores of one query after the other; nothing goes backward
    # columns of tables of errors, one a horizon
    "notebooks/08_forecasting.ipynb": ("training", "validation", "change", "edge", "came", "shares"),
}


def names(node):
    """Return the names in a piece of syntax."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def counted(loop):
    """Return the names that a loop or comprehension counts with range or enumerate."""
    function = getattr(getattr(loop.iter, "func", None), "id", "")
    if function == "reversed":
        function = getattr(getattr(loop.iter.args[0], "func", None), "id", "")
    if function == "range":
        return names(loop.target)
    return names(loop.target.elts[0]) if function == "enumerate" and isinstance(loop.target, ast.Tuple) else set()


def picks(source):
    """Return what is indexed as in a[:, t], with t counted by a loop around it, and read, in a source."""
    found = []
    for loop in ast.walk(ast.parse(source)):
        if isinstance(loop, ast.For):
            bodies, loops = loop.body, [loop]
        elif isinstance(loop, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            bodies, loops = [loop.elt], loop.generators
        else:
            continue
        steps = set().union(*(counted(part) for part in loops))
        for node in (inner for body in bodies for inner in ast.walk(body)):
            if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
                continue
            index = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
            behind = index[1:] if index and isinstance(index[0], ast.Slice) else []
            if any(not isinstance(part, ast.Slice) and names(part) & steps for part in behind):
                found.append(ast.unparse(node.value))
    return found


def sources():
    """Return the Python of the book by file: the library, the benchmarks and the chapters."""
    found = {}
    for folder in ("rnnlib", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        found[f"notebooks/{path.name}"] = "\n\n".join(cell for cell in cells if not cell.startswith(("%", "!")))
    return found


def test_no_loop_over_time_is_quadratic():
    for name, source in sources().items():
        quadratic = [what for what in picks(source) if what not in MEANT.get(name, ())]
        assert not quadratic, f"{name}: {quadratic} is indexed step by step; loop over its unbind, or list it here"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("for t in range(T):\n    h = a[:, t] * h", ["a"]),
        ("for t in range(T):\n    h = f(model(x[:, t - 1]), h)", ["x"]),
        ("for t in reversed(range(T)):\n    h = h + self.a[:, t, :]", ["self.a"]),
        ("for t, y in enumerate(ys):\n    h = y + a[:, t]", ["a"]),
        ("hs = [a[:, t] for t in range(T)]", ["a"]),
        ("for a_t in a.unbind(1):\n    h = a_t * h", []),
        ("for t in range(T):\n    out[:, t] = h", []),
        ("for t in range(T):\n    h = a[t] * h", []),
        ("for t in range(T):\n    f(x[:, :t])", []),
        ("for row in rows:\n    f(x[:, row])", []),
    ],
)
def test_picks(source, found):
    assert picks(source) == found


def picking_nodes(output):
    """Return how many nodes of a graph pick one step out of a tensor (or several): each fills a whole one, backward."""
    waiting, seen, count = [output.grad_fn], set(), 0
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        count += type(node).__name__ in ("SelectBackward0", "SliceBackward0", "IndexBackward0")
        waiting += [before for before, _ in node.next_functions]
    return count


V, H = 9, 4
PARTS = {
    "minGRU": lambda: beyond.MinGRU(H),
    "RWKV": lambda: beyond.TimeMixing(H),
    "attention": lambda: beyond.LocalAttention(H, 5, num_heads=2),
}
MODELS = {
    "tanh, from scratch": lambda: ScratchRNN(V, H),
    "LSTM, from scratch": lambda: ScratchLSTM(V, H),
    "GRU, from scratch": lambda: ScratchGRU(V, H),
    "both ways, from scratch": lambda: Bidirectional(ScratchRNN(V, H), ScratchRNN(V, H)),
    **{name: lambda part=part: beyond.MixedModel(V, H, beyond.Block(part(), H)) for name, part in PARTS.items()},
}


@pytest.mark.parametrize("name", MODELS)
def test_no_model_picks_more_steps_from_a_longer_text(name):
    model = MODELS[name]()
    short, long = (model(torch.randint(V, (2, num_steps)))[0] for num_steps in (6, 24))
    assert picking_nodes(short) == picking_nodes(long)


def test_other_loops_of_chapter_11():
    a, b = torch.rand(2, 24, 3, H, requires_grad=True)
    assert picking_nodes(beyond.linear_recurrence(a, b, torch.zeros(3, H)).sum()) <= 2, "a and b themselves"
    wave = torch.randn(24, 3, 1, requires_grad=True)
    forecasts = (WaveForecaster(H)(wave[: 6 * n], 3, 0.5) for n in (2, 4))
    assert len({picking_nodes(forecast) for forecast in forecasts}) == 1


def test_picking_nodes_sees_a_quadratic_loop():
    a, b = torch.rand(3, 24, H, requires_grad=True), torch.rand(3, 24, H)
    assert picking_nodes(by_index(a, b, torch.zeros(3, H)).sum()) == 24
    assert picking_nodes(by_unbind(a, b, torch.zeros(3, H)).sum()) == 0
