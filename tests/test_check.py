"""The checkers of all exercises: solutions pass, wrong answers get their own message, nothing makes a checker fail."""

import math

import pytest
import torch

from rnnlib import check

EXERCISES = list(check.catalogue().values())
IDS = [exercise.name for exercise in EXERCISES]


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_solution_passes(exercise):
    assert exercise.verdict(exercise.solution) == f"Right: {exercise.name} is solved."


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_untouched_stub_is_not_started(exercise):
    def stub(*arguments, **options):
        raise NotImplementedError

    assert exercise.verdict(stub) == f"{exercise.name}: not started yet."


SLIPS = [(exercise, slip) for exercise in EXERCISES for slip in exercise.wrong]


@pytest.mark.parametrize(("exercise", "slip"), SLIPS, ids=[f"{e.name}-{slip}" for e, slip in SLIPS])
def test_wrong_answer_gets_its_own_message(exercise, slip):
    answer, part = exercise.wrong[slip]
    verdict = exercise.verdict(answer)
    assert verdict.startswith("Not yet:")
    assert part in verdict
    others = [other for name, (_, other) in exercise.wrong.items() if name != slip]
    assert part not in others, "each slip has a message of its own"


def in_place(*arguments, **options):
    for argument in arguments:
        if isinstance(argument, torch.Tensor) and argument.is_floating_point():
            argument.data.fill_(math.nan)


STRANGE = {
    "None": lambda *a, **k: None,
    "a text": lambda *a, **k: "forty-two",
    "an empty list": lambda *a, **k: [],
    "a huge tensor": lambda *a, **k: torch.full((3, 1, 4, 1), math.inf),
    "not a number": lambda *a, **k: math.nan,
    "a tuple": lambda *a, **k: (1, 2, 3, 4, 5, 6, 7),
    "an error": lambda *a, **k: 1 / 0,
    "the wrong number of arguments": lambda: 0,
    "edits in place": in_place,
    "not a function": 3,
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_checkers_survive_anything(exercise, strange):
    verdict = exercise.verdict(STRANGE[strange])
    assert verdict.startswith("Not yet:")
    assert exercise.verdict(exercise.solution).startswith("Right"), "the checker itself was damaged"


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_has_three_hints_and_stars(exercise):
    assert len(exercise.hints) == 3 and all(exercise.hints)
    assert exercise.stars in (1, 2, 3)
    assert exercise.wrong, "at least one known slip"


def broken(x):
    return x / 0


def test_hints_on_request():
    exercise = check.Exercise(
        "halve", 1, 1, test=lambda f: check.expect_close(f(4.0), 2.0), solution=lambda x: x / 2, hints=("a", "b", "c")
    )
    assert exercise.verdict(lambda x: x) == "Not yet: the result should be 2.0, but 4.0 came"
    assert exercise.verdict(lambda x: x, hint=2).endswith("Hint 2: b")
    assert "hints 1 to 3" in exercise.verdict(lambda x: x, hint=4)
    assert "Hint" not in exercise.verdict(exercise.solution, hint=1)
    assert "ZeroDivisionError" in exercise.verdict(broken) and "broken" in exercise.verdict(broken)


def pytorch_lacks_it(x):
    raise NotImplementedError("could not run on this device")


def test_an_operation_that_pytorch_lacks_is_no_untouched_stub():
    exercise = check.Exercise("f", 1, 1, test=lambda f: f(1), solution=lambda x: x)
    assert "could not run on this device" in exercise.verdict(pytorch_lacks_it)


def test_a_forgotten_return_is_named():
    exercise = check.Exercise("f", 1, 1, test=lambda f: check.expect_close(f(1.0), 1.0), solution=lambda x: x)
    assert "did you forget `return`" in exercise.verdict(lambda x: None)


def test_a_checker_leaves_the_random_state_alone():
    exercise = check.Exercise("draw", 1, 1, test=lambda f: (torch.manual_seed(3), f()), solution=lambda: torch.rand(3))
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    exercise.verdict(exercise.solution)
    assert torch.equal(torch.rand(2), expected)
