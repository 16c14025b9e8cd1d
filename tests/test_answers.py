"""Every checker judges a bank of answers as it should: right ones in any style, and wrong ones by their slip."""

import importlib
import pkgutil

import answers
import pytest

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


def test_the_bank_covers_the_chapters_that_it_has():
    chapters = {check.catalogue()[name].chapter for name in BANK}
    assert set(BANK) == {exercise.name for exercise in check.EXERCISES if exercise.chapter in chapters}
    assert len(CASES) >= 12 * len(BANK)


@pytest.mark.parametrize("name", BANK)
def test_enough_answers_of_both_kinds(name):
    right = [answer for answer, expected in BANK[name].values() if expected == "Right"]
    assert len(BANK[name]) >= 8
    assert 3 <= len(right) < len(BANK[name])
