"""Every checker judges a bank of answers as it should: right ones in any style, and wrong ones by their slip."""

import importlib
import pkgutil

import answers
import numpy as np
import pytest
import torch
from mutants import mutants

from rnnlib import check

MODULES = [importlib.import_module(f"answers.{module.name}") for module in pkgutil.iter_modules(answers.__path__)]
BANK = {name: entries for module in MODULES for name, entries in module.ANSWERS.items()}
CASES = [(name, label) for name, entries in BANK.items() for label in entries]


@pytest.mark.parametrize(("name", "label"), CASES, ids=[f"{name}-{label}" for name, label in CASES])
def test_verdict(name, label):
    answer, expected = BANK[name][label]
    verdict = check.catalogue()[name].verdict(answer)
    assert verdict.startswith("Right: " if expected == "Right" else "Not yet: ")
    assert expected in verdict


def test_the_bank_covers_all_exercises_with_twelve_answers_on_average():
    assert set(BANK) == {exercise.name for exercise in check.EXERCISES}
    assert len(CASES) >= 12 * len(BANK)


@pytest.mark.parametrize("name", BANK)
def test_enough_answers_of_both_kinds(name):
    right = [answer for answer, expected in BANK[name].values() if expected == "Right"]
    assert len(BANK[name]) >= 8
    assert 3 <= len(right) < len(BANK[name])


def test_the_bank_is_not_the_checkers_own():
    """A checker that is tried on the wrong answers that it was written for can't fail."""
    for name in BANK:
        known = [slip for slip, _ in check.catalogue()[name].wrong.values()]
        assert not [label for label, (answer, _) in BANK[name].items() if answer in known], name


# Solutions with one thing changed

EXACT = [exercise for exercise in check.EXERCISES if "within" not in exercise.test.__code__.co_names]  # not a goal

# What can be changed in a solution without making it wrong, and why.
EQUAL = {
    "tempered": {"1 → 0": "of the minus one that names the last axis of one"},
    "clip_by_norm": {"float(norm) + 1e-06 → float(norm) - 1e-06": "by less than is printed"},
    "backward_recursion": {
        "torch.zeros_like → torch.ones_like": "each entry is overwritten",
        "0 → -1": "all steps have the same shape",
    },
    "residual_gradient": {"True → False": "of strict", "after - before → before - after": "it is squared"},
    "sliding_windows": {"0 → -1": "the only axis"},
    "classify": {"1 → 0 #2": "the layer has one level, h_n one row"},
    "left_at_the_end": {"1 → 0 #2": "all rows have the same shape"},
    "flip_padded": {"0 → -1": "the only axis of a row"},
    "who_sees_what": {
        "changed[t] += 1.0 → changed[t] -= 1.0": "any change will do",
        "1.0 → 3.0": "any change will do",
    },
    "pad_tails": {"-length: → : #2": "a slice ends where its tensor does"},
    "movie_folds": {"1 → 2": "a cut too many is never used"},
    "skill_score": {
        "now - truth → truth - now": "its size alone counts",
        "forecast - truth → truth - forecast": "its size alone counts",
    },
    "pinball_and_gradient": {"miss > 0 → miss >= 0": "no miss is 0"},
    "month_folds": {"0 → -1": "the only column", "0 → -1 #2": "the only column"},
    "adaptive_factors": {
        "error[s] > half[s] * factors[s] → error[s] >= half[s] * factors[s]": "no error lies on the edge"
    },
    "locked_mask": {"torch.rand_like(inputs[:1]) >= p → torch.rand_like(inputs[:1]) > p": "of probability 0"},
    "worth_of": {"0 → 1 #3": "all steps have the same shape", "0 → -1 #3": "all steps have the same shape"},
    "from_onnx_order": {"0 → -1": "an RNN has one block"},
    "quantise_rows": {"1 → 2": "a row without range has steps of any size"},
}


@pytest.mark.parametrize("exercise", EXACT, ids=[exercise.name for exercise in EXACT])
def test_a_solution_with_one_thing_changed_is_wrong(exercise):
    changed = mutants(exercise.solution)
    passing = {label for label, answer in changed.items() if not exercise.verdict(answer).startswith("Not yet: ")}
    assert passing == set(EQUAL.get(exercise.name, ()))


# Right results in other clothes


def dressed(result, leaf, sequence=None):
    """Return a result with each number or tensor in it changed, and its lists and tuples made one kind."""
    if isinstance(result, (list, tuple)):
        return (sequence or type(result))(dressed(part, leaf, sequence) for part in result)
    return leaf(result)


def to(dtype):
    """Return a change of tensors with fractions to a dtype."""
    return lambda value: value.to(dtype) if is_tensor(value) and value.is_floating_point() else value


def is_tensor(value):
    return isinstance(value, torch.Tensor)


def by_kind(**changes):
    """Return a change of plain values, by the name of their type."""
    return lambda value: changes.get(type(value).__name__, lambda same: same)(value)


def learning(tensor):
    fits = is_tensor(tensor) and tensor.is_floating_point() and tensor.is_leaf
    return tensor.clone().requires_grad_() if fits else tensor


def with_gaps(tensor):
    """Return a tensor that is not contiguous in memory."""
    return torch.stack([tensor, tensor], -1)[..., 0] if is_tensor(tensor) and tensor.dim() else tensor


CLOTHES = {
    "float32": (to(torch.float32), None),
    "float64": (to(torch.float64), None),
    "int32": (lambda value: value.int() if is_tensor(value) and value.dtype == torch.int64 else value, None),
    "tuples": (lambda value: value, tuple),
    "lists": (lambda value: value, list),
    "NumPy scalars": (by_kind(bool=np.bool_, int=np.int64, float=np.float64), None),
    "NumPy scalars of 32 bits": (by_kind(bool=np.bool_, int=np.int32, float=np.float32), None),
    "tensors of one number": (by_kind(bool=torch.tensor, float=lambda x: torch.tensor(x).double()), None),
    "with a gradient": (learning, None),
    "not contiguous": (with_gaps, None),
}
TRAINED_IN = {"training_step": "float32"}  # its state goes back into a model of float64


@pytest.mark.parametrize("clothes", CLOTHES)
@pytest.mark.parametrize("exercise", EXACT, ids=[exercise.name for exercise in EXACT])
def test_a_right_result_may_come_in_other_clothes(exercise, clothes):
    if TRAINED_IN.get(exercise.name) == clothes:
        return
    verdict = exercise.verdict(lambda *arguments: dressed(exercise.solution(*arguments), *CLOTHES[clothes]))
    assert verdict.startswith("Right: ")


def test_there_are_many_changes():
    assert sum(len(mutants(exercise.solution)) for exercise in EXACT) >= 500
