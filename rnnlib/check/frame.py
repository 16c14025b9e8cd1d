"""How an exercise is checked: the answer is called, and the verdict says what was expected, what came, and why."""

import ast
import contextlib
import functools
import inspect
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from rnnlib import data, text

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
                return f"{self.name}: not started yet."
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
    try:
        got = torch.as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} should be {_short(expected)}, but {kind(got)} came") from None
    if got.is_complex():
        raise Wrong(f"{what} should be real, but complex numbers came")
    if got.shape == expected.shape and _close(got, expected, tolerance):
        return
    for numbers, sentence in slips:
        numbers = torch.as_tensor(numbers)
        if got.shape == numbers.shape and _close(got, numbers, tolerance):
            raise Wrong(f"{what} {sentence}")
    if _short(got) == _short(expected):  # they differ further on, or by little
        place = (~_near(got, expected, tolerance)).nonzero()[0].tolist()
        where = f" at {place}" if place else ""
        right, came = (tensor[tuple(place)].item() for tensor in (expected, got))
        raise Wrong(f"{what} should be {right:.8g}{where}, but {came:.8g} came")
    raise Wrong(f"{what} should be {_short(expected)}, but {_short(got)} came")


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
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


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
