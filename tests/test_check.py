"""The checkers of all exercises: solutions pass, wrong answers get their own message, nothing makes a checker fail."""

import inspect
import math

import numpy as np
import pytest
import torch

from rnnlib import check

EXERCISES = list(check.catalogue().values())
IDS = [exercise.name for exercise in EXERCISES]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)


def in_place(*arguments, **options):
    for argument in arguments:
        if isinstance(argument, torch.Tensor) and argument.is_floating_point():
            argument.data.fill_(math.nan)
        if isinstance(argument, list):
            argument.clear()


@every_exercise
def test_solution_passes(exercise):
    assert exercise.verdict(in_place).startswith("Not yet:")
    assert exercise.verdict(exercise.solution).startswith(f"Right: {exercise.name} is solved.")


def stub(exercise):
    """Make the function that stands in the chapter before the reader has written anything."""
    made = {}
    exec(exercise.stub(), made)
    return made[exercise.solution.__name__]


@every_exercise
def test_untouched_stub_is_not_started(exercise, capsys):
    exercise(stub(exercise))
    exercise(stub(exercise), hint=3)
    not_started = f"{exercise.name}: not started yet.\n"
    assert capsys.readouterr().out == f"{not_started}{not_started}Hint 3: {exercise.hints[2]}\n"


VERDICTS = {}  # on known wrong answers, by exercise and slip


def verdict_on(exercise, slip):
    if (exercise.name, slip) not in VERDICTS:
        VERDICTS[exercise.name, slip] = exercise.verdict(exercise.wrong[slip][0])
    return VERDICTS[exercise.name, slip]


SLIPS = [(exercise, slip) for exercise in EXERCISES for slip in exercise.wrong]


@pytest.mark.parametrize(("exercise", "slip"), SLIPS, ids=[f"{e.name}-{slip}" for e, slip in SLIPS])
def test_wrong_answer_gets_its_own_message(exercise, slip):
    _, part = exercise.wrong[slip]
    verdict = verdict_on(exercise, slip)
    assert verdict.startswith("Not yet:")
    assert part in verdict
    others = [other for name, (_, other) in exercise.wrong.items() if name != slip]
    assert part not in others, "each slip has a message of its own"


def endless(*arguments, **options):
    return endless(*arguments, **options)


def gives_up(*arguments, **options):
    raise SystemExit("enough")


class Awkward:
    """An object that refuses to be compared or shown."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("no text")


STRANGE = {
    "None": lambda *a, **k: None,
    "a text": lambda *a, **k: "forty-two",
    "an empty list": lambda *a, **k: [],
    "an empty tensor": lambda *a, **k: torch.empty(0),
    "a huge tensor": lambda *a, **k: torch.full((3, 1, 4, 1), math.inf),
    "an array": lambda *a, **k: np.zeros((2, 2)),
    "not a number": lambda *a, **k: math.nan,
    "a complex number": lambda *a, **k: 1j,
    "a tuple": lambda *a, **k: (1, 2, 3, 4, 5, 6, 7),
    "two texts": lambda *a, **k: ("X", "Y"),
    "a generator": lambda *a, **k: (i for i in range(3)),
    "an awkward object": lambda *a, **k: Awkward(),
    "an error": lambda *a, **k: 1 / 0,
    "an endless recursion": endless,
    "an exit": gives_up,
    "too few arguments": lambda: 0,
    "too many arguments": lambda a, b, c, d, e, f, g, h, i, j, k: 0,
    "edits in place": in_place,
    "not a function": 3,
    "a result in place of a function": torch.zeros(2),
}


@pytest.mark.parametrize("strange", STRANGE)
@every_exercise
def test_checkers_survive_anything(exercise, strange):
    verdict = exercise.verdict(STRANGE[strange])
    assert verdict.startswith("Not yet:")
    assert "rnnlib" not in verdict and "_test" not in verdict, "the reader is told about the answer, not the checker"


def bent(result, bend):
    """Apply a function to every tensor and number with a fraction in a result."""
    if isinstance(result, (tuple, list)):
        return type(result)(bent(part, bend) for part in result)
    if isinstance(result, torch.Tensor) and result.is_floating_point():
        return bend(result)
    return bend(torch.tensor(result)) if isinstance(result, float) else result


BENDS = {
    "NaN": lambda t: torch.full_like(t, math.nan),
    "infinite": lambda t: torch.full_like(t, math.inf),
    "minus infinite": lambda t: torch.full_like(t, -math.inf),
    "an axis more": lambda t: t[None],
    "complex": lambda t: t + 1j,
    "whole numbers": lambda t: (t * 1e6).long(),
}
QUICK = [exercise for exercise in EXERCISES if "within" not in exercise.test.__code__.co_names]


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("exercise", QUICK, ids=[exercise.name for exercise in QUICK])
def test_strange_numbers_in_an_otherwise_right_result(exercise, bend):
    changed = []

    def bend_and_note(tensor):
        changed.append(tensor)
        return BENDS[bend](tensor)

    verdict = exercise.verdict(lambda *arguments: bent(exercise.solution(*arguments), bend_and_note))
    assert verdict.startswith("Not yet:" if changed else "Right:")


@every_exercise
def test_has_three_hints_stars_and_a_section(exercise):
    assert len(exercise.hints) == 3 and all(exercise.hints)
    assert exercise.stars in (1, 2, 3)
    assert len(exercise.wrong) >= 3, "known slips"
    assert exercise.name == exercise.solution.__name__
    assert exercise.section


@every_exercise
def test_no_verdict_tells_the_solution(exercise):
    lines = inspect.getsource(exercise.solution).replace(exercise.stub().rpartition("\n")[0], "").splitlines()
    lines = [line.split("#")[0].strip().removeprefix("return ") for line in lines]
    verdicts = "".join(verdict_on(exercise, slip) for slip in exercise.wrong)
    assert not [line for line in lines if len(line) > 20 and line in verdicts]


def test_there_are_enough():
    assert len(EXERCISES) >= 30
    assert len(SLIPS) >= 20


# What a chapter's readers get wrong, and the exercise and slip that names it.
MISCONCEPTIONS = {
    "the biases, or one too many, in the number of parameters": [
        ("count_parameters", "no biases"),
        ("count_parameters", "two hidden biases"),
    ],
    "an eigenvalue above 1 explodes": [("surely_vanishes", "spectral radius"), ("hold_gradient", "radius one")],
    "the slope of the tanh is left out": [("backward_recursion", "no tanh'")],
    "the last step alone has a gradient": [("backward_recursion", "last step only")],
    "the window is read again with the state carried": [("continue_greedily", "feeds the window again")],
    "the last output of padded text": [("last_real_outputs", "last step"), ("state_at_length", "last output")],
    "PyTorch adds two biases": [("count_layer_parameters", "one bias"), ("count_lstm", "two biases")],
    "the mean of perplexities": [("text_perplexity", "mean of perplexities")],
    "the training perplexity alone": [("sixty_seconds", "knows the text")],
    "what detach returns is thrown away": [("training_step", "detach thrown away")],
    "the sum in place of the mean": [("minibatch_loss", "summed")],
    "softmax before the loss": [("minibatch_loss", "softmax first")],
    "the last output of two directions": [("state_at_length", "last output"), ("final_state", "one direction")],
    "dropout with one layer": [("stack_layers", "behind the last"), ("stack_layers", "on the input")],
    "clipping by value or tensor by tensor": [("clip_by_norm", "by value"), ("clip_by_norm", "per tensor")],
    "the forget bias twice, or in one place only": [
        ("set_half_lives", "set twice"),
        ("set_half_lives", "first layer only"),
    ],
    "the update gate the other way round": [("gru_state", "Z swapped"), ("remembering_gru", "turned round")],
    "the reset gate before the product": [("gru_state", "reset before")],
    "a bidirectional perplexity is believed": [("may_be_believed", "always")],
    "padding is averaged in": [("loss_without_padding", "pads averaged in"), ("attend", "no mask")],
    "<pad> has the id of <unk>": [("pad_tails", "padded with <unk>")],
    "a film on both sides": [("movie_folds", "strided"), ("movie_folds", "shuffled")],
    "<unk> is no token": [("vocabulary_size", "no <unk>")],
    "batch before time": [("time_first", "batch first")],
    "temperature upside down": [("tempered", "inverted")],
    "targets batch first, logits time first": [("minibatch_loss", "row by row")],
}


@pytest.mark.parametrize("misconception", MISCONCEPTIONS)
def test_misconceptions_have_their_message(misconception):
    for name, slip in MISCONCEPTIONS[misconception]:
        assert slip in check.catalogue()[name].wrong


def broken(x):
    return x / 0


def halve(x):
    return x / 2


def test_hints_on_request():
    exercise = check.Exercise(
        "halve", 1, 1, test=lambda f: check.expect_close(f(4.0), 2.0), solution=halve, hints=("a", "b", "c")
    )
    wrong = "Not yet: the result should be 2.0, but 4.0 came"
    assert exercise.verdict(lambda x: x) == f"{wrong}\nFor a hint: check.halve(…, hint=1)"
    assert exercise.verdict(lambda x: x, hint=2) == f"{wrong}\nHint 2: b"
    assert "hints 1 to 3" in exercise.verdict(lambda x: x, hint=4)
    assert "Hint" not in exercise.verdict(exercise.solution, hint=1)
    assert "ZeroDivisionError" in exercise.verdict(broken) and "of broken" in exercise.verdict(broken)
    assert "should take (x), but it takes (x, y)" in exercise.verdict(lambda x, y: x)
    assert "without calling it, but a float came" in exercise.verdict(halve(4.0))


def test_a_number_that_was_measured_is_reported():
    exercise = check.Exercise("f", 1, 3, test=lambda f: f"Measured: {f(4.0)}.", solution=halve)
    assert exercise.verdict(halve) == "Right: f is solved. Measured: 2.0."


def pytorch_lacks_it(x):
    raise NotImplementedError("could not run on this device")


def test_an_operation_that_pytorch_lacks_is_no_untouched_stub():
    exercise = check.Exercise("f", 1, 1, test=lambda f: f(1), solution=lambda x: x)
    assert "could not run on this device" in exercise.verdict(pytorch_lacks_it)


def test_a_forgotten_return_is_named():
    exercise = check.Exercise("f", 1, 1, test=lambda f: check.expect_close(f(1.0), 1.0), solution=lambda x: x)
    assert "did you forget `return`" in exercise.verdict(lambda x: None)


def test_an_entry_far_behind_is_named_with_its_place():
    right = torch.arange(20).reshape(2, 10)
    exercise = check.Exercise("f", 1, 1, test=lambda f: check.expect_close(f(right), right), solution=lambda x: x)
    assert "should be 19 at [1, 9], but -19 came" in exercise.verdict(lambda x: torch.where(x == 19, -x, x))


def one():
    return 1


def test_a_checker_leaves_the_random_state_alone():
    exercise = check.Exercise("draw", 1, 1, test=lambda f: (torch.manual_seed(3), f())[1:1], solution=one)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    exercise.verdict(lambda: torch.rand(3))
    assert torch.equal(torch.rand(2), expected)


def test_progress_follows_the_newest_verdict(capsys):
    exercise = check.count_parameters
    total = sum(e.chapter == 2 for e in EXERCISES)
    check.progress(2)
    assert capsys.readouterr().out.startswith(f"0 of {total} solved\n")
    exercise(exercise.solution)
    check.one_step(lambda X, H, W, b_h: X)
    capsys.readouterr()
    check.progress(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"1 of {total} solved"
    states = {line[4:28].strip(): line[28:].rstrip() for line in lines[1:]}
    assert states["count_parameters"] == "solved"
    assert states["one_step"] == "not right yet   read again: One step, then a loop"
    assert states["tempered"] == "not started     read again: Writing text"
    exercise(stub(exercise))
    capsys.readouterr()
    check.progress(2)
    assert capsys.readouterr().out.startswith(f"0 of {total} solved\n")
    with pytest.raises(ValueError, match="has no exercises"):
        check.progress(0)


def finished_below(x):
    raise NotImplementedError
    return x / 2


def test_a_refusal_that_was_left_in_is_not_an_untouched_stub():
    exercise = check.Exercise("halve", 1, 1, test=lambda f: f(4.0), solution=halve)
    assert "a `raise NotImplementedError` is still in your function" in exercise.verdict(finished_below)


@pytest.mark.parametrize("name", ["an LSTM", "a GRU", "an RNN", "an ndarray", "a uint8", "an int", "a Tensor"])
def test_articles_are_as_spoken(name):
    assert check._frame.with_article(name.split()[1]) == name


@every_exercise
def test_solutions_pass_in_double_precision(exercise):
    torch.set_default_dtype(torch.float64)
    try:
        assert exercise.verdict(exercise.solution).startswith("Right:")
    finally:
        torch.set_default_dtype(torch.float32)
