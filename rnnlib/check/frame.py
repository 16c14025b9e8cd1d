"""How an exercise is checked: the answer is called, and the verdict says what was expected, what came, and why."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


class Wrong(Exception):
    """An answer is wrong; the message says what was expected, what came and, where it can be told, which slip it is."""


@dataclass(frozen=True)
class Exercise:
    """One exercise; calling it with an answer prints the verdict, ``hint=1`` to ``3`` adds a hint.

    Attributes:
        name: also the name in :mod:`rnnlib.check`.
        chapter: its number.
        stars: 1 to 3.
        test: called with the answer; raises :class:`Wrong`.
        solution: a right answer.
        wrong: wrong answers by the name of the slip, each with a part of the message that it must get.
        hints: three texts, each telling more.
    """

    name: str
    chapter: int
    stars: int
    test: Callable
    solution: Callable
    wrong: dict = field(default_factory=dict)
    hints: tuple = ()

    def __call__(self, answer, hint=0):
        """Print the verdict on an answer."""
        print(self.verdict(answer, hint))

    def verdict(self, answer, hint=0):
        """Return the verdict on an answer as a text; it never raises and never tells the solution."""
        text = self._judge(answer)
        if hint and not text.startswith("Right"):
            if hint not in range(1, len(self.hints) + 1):
                return f"{text}\nThere are hints 1 to {len(self.hints)}; hint={hint!r} is none of them."
            text += f"\nHint {hint}: {self.hints[hint - 1]}"
        return text

    def _judge(self, answer):
        state = torch.random.get_rng_state()
        try:
            self.test(answer)
        except Wrong as slip:
            return f"Not yet: {slip}"
        except Exception as error:  # whatever a learner's code may raise
            if isinstance(error, NotImplementedError) and not error.args:  # PyTorch's own come with a message
                return f"{self.name}: not started yet."
            frames = traceback.extract_tb(error.__traceback__)
            file = getattr(getattr(answer, "__code__", None), "co_filename", None)
            place = ([frame for frame in frames if frame.filename == file] or frames)[-1]  # in the learner's own code
            return f"Not yet: your code raised {type(error).__name__} in line {place.lineno} of {place.name}: {error}"
        finally:
            torch.random.set_rng_state(state)
        return f"Right: {self.name} is solved."


def expect_shape(got, shape, what="the result"):
    """Raise :class:`Wrong` unless a tensor came, of this shape."""
    expect_something(got)
    if not isinstance(got, torch.Tensor):
        raise Wrong(f"{what} should be a tensor of shape {tuple(shape)}, but a {type(got).__name__} came")
    if tuple(got.shape) != tuple(shape):
        raise Wrong(f"{what} should have shape {tuple(shape)}, but {tuple(got.shape)} came")


def expect_close(got, expected, what="the result", slips=(), tolerance=1e-6):
    """Raise :class:`Wrong` unless the numbers agree; name the slip whose numbers they are.

    Args:
        got, expected: tensors or numbers.
        what: the subject of the message.
        slips: pairs of the numbers that a known slip gives and the sentence that names it.
        tolerance: relative and absolute.
    """
    expect_something(got)
    try:
        got, expected = torch.as_tensor(got), torch.as_tensor(expected)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} should be {_short(torch.as_tensor(expected))}, but a {type(got).__name__} came") from None
    if got.shape == expected.shape and _close(got, expected, tolerance):
        return
    for numbers, sentence in slips:
        numbers = torch.as_tensor(numbers)
        if got.shape == numbers.shape and _close(got, numbers, tolerance):
            raise Wrong(f"{what} {sentence}")
    raise Wrong(f"{what} should be {_short(expected)}, but {_short(got)} came")


def expect_something(got):
    """Raise :class:`Wrong` if nothing came back."""
    if got is None:
        raise Wrong("nothing came back: did you forget `return`, or print instead?")


def _close(a, b, tolerance):
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


def _short(tensor):
    values = tensor.detach().flatten()[:6].tolist()
    if tensor.is_floating_point():
        values = [round(value, 4) for value in values]
    if tensor.dim() == 0:
        return str(values[0])
    return f"{str(values)[:-1]}{', ...' if tensor.numel() > 6 else ''}] of shape {tuple(tensor.shape)}"
