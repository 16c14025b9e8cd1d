"""The explorers and drawings of chapter 11: what they measure for values that are known."""

import itertools

import numpy as np
import pytest
import torch

from rnnlib import drawings, mazes, plots
from rnnlib.explore import beyond as explorers


def test_short_rows_teach_and_long_ones_do_not():
    explorer = explorers.StartLength(max_steps=400)
    short, long = explorer.measure(2, 2), explorer.measure(32, 2)
    assert short["solved"] and short["lengths"][0] == 2 and short["lengths"][-1] == 32
    assert len(short["rights"]) == len(short["lengths"]) < 400
    assert not long["solved"] and set(long["lengths"]) == {32} and len(long["rights"]) == 400
    assert abs(np.mean(long["rights"]) - 0.5) < 0.05
    assert "are right after" in explorer.describe(short) and "guessing gets 50%" in explorer.describe(long)


def test_training_is_repeatable_and_leaves_the_random_numbers_alone():
    explorer = explorers.StartLength(max_steps=5)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    once = explorer.measure(2, 0)["rights"]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert explorer.measure(2, 0)["rights"] == once


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    policy = mazes.Policy()
    training = mazes.maze_steps(policy, lambda length, right: length, 5, 0)
    for _ in itertools.islice(training, 250):
        pass
    return policy


def test_the_maze_shows_a_policy_that_remembers(policy):
    explorer = explorers.MazeWalk(policy)
    for sign, number in explorer.signs.items():
        data = explorer.measure(5, sign)
        assert data["states"].shape == (6, explorer.shown) and data["apart"].shape == (6,)
        assert data["chances"][number] > 0.8, "it turns where the sign says"
        assert sum(data["chances"]) == pytest.approx(1)
        assert f"turns {sign} with" in explorer.describe(data)


def test_a_forgetful_policy_shows_no_difference_at_the_junction():
    explorer = explorers.MazeWalk(mazes.Forgetful(12))
    up, down = explorer.measure(5, "up"), explorer.measure(5, "down")
    assert up["apart"][0] > 0 and np.all(up["apart"][1:] == 0)
    assert up["chances"] == down["chances"]


def test_recurrence_keeps_what_its_a_says():
    explorer = explorers.Recurrence()
    first, _ = explorer.marks
    slow = explorer.measure(0.9, "pulses", "fixed")["h"]
    assert slow[first + 10] / slow[first] == pytest.approx(0.9**10, rel=1e-4)
    assert "half of what was written is gone after 6.6 steps" in explorer.readout(a=0.9, gate="fixed")
    for signal in ("pulses", "pulses in noise"):
        chosen = explorer.measure(0.9, signal, "chosen by the input")["h"]
        assert chosen[first] == chosen[first + 30] == 1.0
    adding = explorer.measure(1.0, "pulses in noise", "fixed")
    assert adding["h"][-1] == pytest.approx(adding["x"].sum(), rel=1e-5)
    assert "nothing is forgotten" in explorer.readout(a=1.0) and "at once" in explorer.readout(a=0.0)


def test_drawings():
    for figure in (
        drawings.draw_parity_machine(),
        drawings.draw_dropout_masks(),
        drawings.draw_scan_rounds(5),
        drawings.draw_looks(),
        drawings.draw_maze(4),
    ):
        assert len(plots.png(figure)) > 5_000


def test_scan_rounds_are_those_of_the_scan():
    """In round r each stretch that does not begin at 0 has 2^r steps."""
    texts = [text.get_text() for text in drawings.draw_scan_rounds(8).axes[0].texts]
    assert texts.count("0–7") == 1 and {"6–7", "4–7"} <= set(texts) and "2–7" not in texts
