"""A function with one small thing changed: an operator, a number, an axis, a name, a part of a slice, a statement."""

import ast
import copy
import inspect
import textwrap

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.BitAnd: ast.BitOr,
    ast.And: ast.Or,
}
NAMES = {
    "tanh": "sigmoid",
    "log": "exp",
    "exp": "log",
    "sum": "mean",
    "any": "all",
    "triu": "tril",
    "argmax": "argmin",
    "min": "max",
    "max": "min",
    "zeros_like": "ones_like",
    "softmax": "log_softmax",
    "cat": "stack",
    "flip": "roll",
    "reversed": "list",
}


def changes(node):
    """Yield what could stand in place of a node, none of it the same."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult, ast.FloorDiv)):
        yield _with(node, left=node.right, right=node.left)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield _with(node, ops=[OPERATORS[type(node.ops[0])]()])
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _with(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield _with(node, value=node.value + 1)
        yield _with(node, value=node.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield _with(node, value=2 * node.value + 1)
    if isinstance(node, ast.Attribute) and node.attr in ("T", "dtype"):
        yield node.value
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield _with(node, attr=NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield _with(node, id=NAMES[node.id])
    if isinstance(node, ast.Slice):
        for end in ("lower", "upper"):
            if getattr(node, end) is not None:
                yield _with(node, **{end: None})
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        yield _with(node, elts=node.elts[::-1])
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr)):
        yield ast.Pass()


def _with(node, **fields):
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def places(tree):
    """Yield where each node of a function's body hangs: its parent, the field, and the place in a list or None."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, name, None, value
            elif isinstance(value, list):
                yield from ((parent, name, i, one) for i, one in enumerate(value) if isinstance(one, ast.AST))


def _put(parent, name, i, node):
    if i is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[i] = node


def mutants(function):
    """Return functions like this one but for one change, by a label: the line as it is now, and what it was."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    defined = tree.body[0]
    found = {}
    for parent, name, i, node in list(places(defined)):
        if isinstance(parent, ast.arguments) or (parent is defined and name == "args"):
            continue  # the signature stays
        for change in changes(node):
            _put(parent, name, i, change)
            ast.fix_missing_locations(tree)
            label = f"{ast.unparse(node)} → {ast.unparse(change)}"
            number = sum(other.partition(" #")[0] == label for other in found)
            names = dict(vars(inspect.getmodule(function)))
            exec(compile(tree, f"<mutant of {function.__name__}>", "exec"), names)
            found[f"{label} #{number + 1}" if number else label] = names[function.__name__]
            _put(parent, name, i, node)
    return found
