"""How an exercise is checked: the answer is called, and the verdict says what was expected, what came, and why."""

import ast
import contextlib
import functools
import inspect
import math
import numbers
import sys
import textwrap
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from rnnlib import data, text

SINGLE = 1e-4  # the tolerance for what may have been computed in float32
NEWEST = {}  # the newest verdict on each exercise that this kernel has checked, by name


class Wrong(Exception):
    """An answer is wrong; the message says what was expected, what came and, where it can be told, which slip it is."""


@dataclass(frozen=True)
class Exercise:
    """One exercise; calling it with an answer prints the verdict, ``hint=1`` to ``3`` adds a hint.

    Attributes:
        name: also the name in :mod:`rnnlib.check`, and of the function in the chapter.
        chapter: its number.
        stars: 1 to 3.
        test: called with the answer; raises :class:`Wrong`, or returns nothing, or a sentence that reports a number.
        solution: a right answer; the stub in the chapter has its signature.
        section: the heading in the chapter under which a reader finds what it takes.
        wrong: wrong answers by the name of the slip, each with a part of the message that it must get.
        hints: three texts, each telling more.
    """

    name: str
    chapter: int
    stars: int
    test: Callable
    solution: Callable
    section: str = ""
    wrong: dict = field(default_factory=dict)
    hints: tuple = ()

    def __call__(self, answer, hint=0):
        """Print the verdict on an answer, and keep it for the chapter's list of what is done."""
        NEWEST[self.name] = self.verdict(answer, hint)
        print(NEWEST[self.name])

    def stub(self):
        """Return the source of the function before anything is written: the solution's signature, and a refusal."""
        source = inspect.getsource(self.solution)
        body = ast.parse(source).body[0].body[0]
        head = "".join(source.splitlines(keepends=True)[: body.lineno - 1])
        return f"{head}    raise NotImplementedError"

    def verdict(self, answer, hint=0):
        """Return the verdict on an answer as a text; it never raises and never tells the solution."""
        verdict = self._judge(answer)
        if verdict.startswith("Right"):
            return verdict
        if hint:
            if hint not in range(1, len(self.hints) + 1):
                return f"{verdict}\nThere are hints 1 to {len(self.hints)}; hint={hint!r} is none of them."
            return f"{verdict}\nHint {hint}: {self.hints[hint - 1]}"
        if verdict.startswith("Not yet"):
            verdict += f"\nFor a hint: check.{self.name}(…, hint=1)"
        return verdict

    def _judge(self, answer):
        state = torch.random.get_rng_state()
        try:
            self._expect_function(answer)
            found = self.test(answer)
        except Wrong as slip:
            return f"Not yet: {slip}"
        except (Exception, SystemExit) as error:  # whatever a learner's code may raise
            if isinstance(error, NotImplementedError) and not error.args:  # PyTorch's own come with a message
                if _is_untouched(answer):
                    return f"{self.name}: not started yet."
                return "Not yet: a `raise NotImplementedError` is still in your function, and it ends there: delete it"
            return f"Not yet: {_describe(error, answer)}"
        finally:
            torch.random.set_rng_state(state)
        return f"Right: {self.name} is solved." + (f" {found}" if found else "")

    def _expect_function(self, answer):
        """Raise :class:`Wrong` unless the answer can be called as the solution can."""
        if not callable(answer):
            raise Wrong(
                f"give the function itself, check.{self.name}({self.solution.__name__}) without calling it, "
                f"but {kind(answer)} came"
            )
        asked = inspect.signature(self.solution)
        try:
            inspect.signature(answer).bind(*asked.parameters)
        except TypeError:
            raise Wrong(f"the function should take {asked}, but it takes {inspect.signature(answer)}") from None
        except ValueError:  # some functions written in C tell no signature
            pass


def _is_untouched(answer):
    """Return whether nothing stands in a function but the refusal (or if its source can't be read)."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(answer))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return True
    body = getattr(function, "body", ())
    own = [node for node in body if not isinstance(node, (ast.Pass, ast.Raise)) and not _is_text(node)]
    return not own


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def expect_shape(got, shape, what="the result"):
    """Raise :class:`Wrong` unless a tensor came, of this shape."""
    expect_something(got)
    if not isinstance(got, torch.Tensor):
        raise Wrong(f"{what} should be a tensor of shape {tuple(shape)}, but {kind(got)} came")
    if tuple(got.shape) != tuple(shape):
        raise Wrong(f"{what} should have shape {tuple(shape)}, but {tuple(got.shape)} came")


def expect_pair(got, what):
    """Raise :class:`Wrong` unless two tensors came."""
    expect_something(got)
    if not isinstance(got, (tuple, list)) or len(got) != 2 or not all(isinstance(part, torch.Tensor) for part in got):
        pair = isinstance(got, (tuple, list)) and len(got) == 2
        raise Wrong(f"return two tensors, {what}, but {' and '.join(map(kind, got)) if pair else kind(got)} came")


def expect_room(answer, ids, *sizes, case):
    """Return what an answer makes of a text, or raise :class:`Wrong` if it can't shape a text that leaves a rest."""
    try:
        return answer(ids.clone(), *sizes)
    except RuntimeError as error:
        if "invalid for input of size" in str(error):
            rest = "there is a rest that fills no row: cut it off before you reshape"
            if len(ids) % math.prod(sizes) == 0:
                rest = "none is left for the last target: divide len(ids) - 1, not len(ids)"
            raise Wrong(f"{case} {rest} ({error})") from None
        raise


def expect_close(got, expected, what="the result", slips=(), tolerance=1e-6):
    """Raise :class:`Wrong` unless the numbers agree; name the slip whose numbers they are.

    Args:
        got, expected: tensors or numbers.
        what: the subject of the message.
        slips: pairs of the numbers that a known slip gives and the sentence that names it.
        tolerance: relative and absolute.
    """
    expect_something(got)
    expected = torch.as_tensor(expected)
    tolerance = _tolerance_for(got, tolerance)
    try:
        got = torch.as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} should be {_short(expected)}, but {kind(got)} came") from None
    if got.is_complex():
        raise Wrong(f"{what} should be real, but complex numbers came")
    if not expected.is_floating_point():
        tolerance = 0.0
    if got.shape == expected.shape and _close(got, expected, tolerance):
        return
    for values, sentence in slips:
        values = torch.as_tensor(values)
        if got.shape == values.shape and _close(got, values, tolerance):
            raise Wrong(f"{what} {sentence}")
    if got.shape == expected.shape and _short(got) == _short(expected):  # they differ further on, or by little
        place = (~_near(got, expected, tolerance)).nonzero()[0].tolist()
        where = f" at {place}" if place else ""
        right, came = (tensor[tuple(place)].item() for tensor in (expected, got))
        raise Wrong(f"{what} should be {right:.8g}{where}, but {came:.8g} came")
    raise Wrong(f"{what} should be {_short(expected)}, but {_short(got)} came")


def _tolerance_for(got, tolerance):
    """Return what fits the digits that came: a result that may have been computed in float32 has seven."""
    exact = getattr(got, "dtype", None) in (torch.float64, np.dtype("float64")) and not isinstance(got, float)
    return tolerance if exact else max(tolerance, SINGLE)


def expect_count(got, what):
    """Return a whole number as an int, NumPy's too, or raise :class:`Wrong` if something else came."""
    expect_something(got)
    if isinstance(got, numbers.Integral) and not isinstance(got, bool):
        return int(got)
    if isinstance(got, torch.Tensor):
        raise Wrong(f"{what} should be an int, but a tensor came: int(…) or .item() makes a number of it")
    if isinstance(got, float) and not got.is_integer():
        raise Wrong(f"{what} should be an int, but {got!r} came: // divides whole numbers and rounds down")
    if isinstance(got, float):
        raise Wrong(f"{what} should be an int, but the float {got!r} came: int(…) makes one of it")
    raise Wrong(f"{what} should be an int, but {kind(got)} came")


def expect_truth(got, what):
    """Return True or False, NumPy's or a tensor's too, as a bool, or raise :class:`Wrong` if something else came."""
    expect_something(got)
    if isinstance(got, (torch.Tensor, np.ndarray)) and got.ndim == 0 and got.dtype in (torch.bool, np.dtype(bool)):
        return bool(got)
    if isinstance(got, (bool, np.bool_)):
        return bool(got)
    raise Wrong(f"{what} should be True or False, but {kind(got)} came")


def expect_truths(got, count, what, meaning):
    """Return answers as a list of bools, or raise :class:`Wrong` unless so many came, of True or False.

    Args:
        got: a list or tuple, of what :func:`expect_truth` takes, or a tensor or an array of them.
        count: how many there should be.
        what: what each is an answer about.
        meaning: what True stands for.
    """
    expect_something(got)
    if isinstance(got, (torch.Tensor, np.ndarray)):
        got = got.tolist()
    if not isinstance(got, (list, tuple)) or len(got) != count:
        raise Wrong(f"return a list of {count} answers, one for each {what}, but {kind(got)} came")
    return [expect_truth(one, f"each answer, True for {meaning},") for one in got]


def slip_in_all(got, cases, slips):
    """Return the sentence of the first slip that gives what came in every case, or None.

    Args:
        got: the answers, one for each case.
        cases: the arguments, a tuple for each case.
        slips: pairs of a wrong function and the sentence that names its slip.
    """
    return next((sentence for slip, sentence in slips if got == [slip(*case) for case in cases]), None)


def traced(answer, *arguments):
    """Call an answer; return how many lines of its own ran, those of its loops each time, and all code that ran."""
    file = getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_filename", None)
    lines, called = 0, set()

    def trace(frame, event, argument):
        nonlocal lines
        called.add(frame.f_code)
        if frame.f_code.co_filename != file:
            return None
        lines += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        answer(*arguments)
    finally:
        sys.settrace(before)
    return lines, called


def expect_no_loop(answer, short, long):
    """Raise :class:`Wrong` if an answer takes more of its own steps for long arguments than for short ones."""
    steps = [traced(answer, *arguments)[0] for arguments in (short, long)]
    if steps[1] > steps[0] + 20:
        raise Wrong("the numbers are right, but they are computed in a loop: the tensors can do it without")


def expect_not_called(answer, arguments, codes, sentence):
    """Raise :class:`Wrong` with this sentence if an answer calls one of these functions."""
    if traced(answer, *arguments)[1] & {function.__code__ for function in codes}:
        raise Wrong(sentence)


def expect_something(got):
    """Raise :class:`Wrong` if nothing came back."""
    if got is None:
        raise Wrong("nothing came back: did you forget `return`, or print instead?")


@functools.cache
def corpus():
    """Return *The Time Machine* in lower-case letters and spaces, or the story that stands in for it."""
    with contextlib.redirect_stdout(None):  # where the text was found, the chapter has said
        return text.clean(data.load_text("time_machine"))


def within(seconds, answer, *arguments):
    """Call an answer; return what it gave and the processor seconds it took, or raise :class:`Wrong` if too many."""
    started = time.process_time()
    got = answer(*arguments)
    took = time.process_time() - started
    if took > seconds:
        raise Wrong(f"it took {took:.0f} seconds of processor time, and {seconds} are allowed")
    return got, took


def _close(a, b, tolerance):
    return bool(_near(a, b, tolerance).all())


def _near(a, b, tolerance):
    return torch.isclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


def kind(value):
    """Name what came, with its article, in a word or two."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return with_article(type(value).__name__)


def with_article(name):
    """Put *a* or *an* before a name, as it is spoken: an LSTM, an ndarray, a uint8."""
    spelt = name == "ndarray" or name[:2].isupper()  # letter by letter
    vowels = "aefhilmnorsx" if spelt else "aeio"
    return f"{'an' if name[0].lower() in vowels else 'a'} {name}"


def _describe(error, answer):
    """Say what the learner's code raised and where; or that what it returned is of a kind that can't be checked."""
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    file = getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_filename", None)  # without decorators
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not own:
        return f"what your function returned can't be checked ({message})"
    return f"your code raised {message}, in line {own[-1].lineno} of {own[-1].name}"


def _short(tensor):
    values = tensor.detach().flatten()[:6].tolist()
    if tensor.is_floating_point():
        values = [round(value, 4) for value in values]
    if tensor.dim() == 0:
        return str(values[0])
    return f"{str(values)[:-1]}{', ...' if tensor.numel() > 6 else ''}] of shape {tuple(tensor.shape)}"


def print_progress(exercises):
    """Print, for the exercises of a chapter, which are solved, and for the others the section to read again."""
    marks = {"Right": "solved", "Not yet": "not right yet"}
    lines, solved = [], 0
    for exercise in exercises:
        state = marks.get(NEWEST.get(exercise.name, "").partition(":")[0], "not started")
        solved += state == "solved"
        again = "" if state == "solved" else f"  read again: {exercise.section}"
        lines.append(f"{'★' * exercise.stars:<4}{exercise.name:<24}{state:<14}{again}".rstrip())
    print(f"{solved} of {len(lines)} solved")
    print("\n".join(lines))
