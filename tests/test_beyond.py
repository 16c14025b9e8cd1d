"""Chapter 11: rows that grow, dropout that reaches the recurrence, a maze, REINFORCE, forecasts from own forecasts."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from benchmarks.beyond import WaveForecaster, two_waves
from rnnlib import beyond, data, memory_tasks, recurrences
from rnnlib.layers import ManyToOne


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Parity


def test_parity_by_hand():
    bits, odd = memory_tasks.parity(50, 7, generator())
    assert bits.shape == (50, 7, 1) and odd.shape == (50,)
    for row, answer in zip(bits[..., 0].tolist(), odd.tolist(), strict=True):
        assert answer == row.count(1.0) % 2


@pytest.mark.parametrize(
    ("length", "right", "grown"), [(2, 0.96, 2), (2, 0.97, 3), (3, 1.0, 5), (5, 1.0, 8), (27, 1.0, 32), (32, 1.0, 32)]
)
def test_rows_grow_by_half_once_they_are_right(length, right, grown):
    assert beyond.grown(length, right, 32) == grown


def test_a_curriculum_learns_what_long_rows_alone_do_not_teach():
    torch.manual_seed(1)
    begun_short = ManyToOne(nn.LSTM(1, 32), 2)
    history = beyond.learn_parity(begun_short, start=2, goal=32, seed=1)
    assert history[0][0] == 2 and history[-1][0] == 32 and history[-1][1] >= 0.97
    assert all(after >= before for (before, _), (after, _) in itertools.pairwise(history))
    assert beyond.parity_right(begun_short, 200) > 0.9, "longer than any row it has seen"
    torch.manual_seed(1)
    long_from_the_start = ManyToOne(nn.LSTM(1, 32), 2)
    assert len(beyond.learn_parity(long_from_the_start, start=32, goal=32, seed=1, max_steps=300)) == 300
    assert abs(beyond.parity_right(long_from_the_start, 32) - 0.5) < 0.1


@pytest.mark.parametrize(("start", "goal"), [(33, 32), (0, 32), (2.0, 32)])
def test_rows_that_cannot_grow_are_refused(start, goal):
    with pytest.raises(ValueError, match="start=" + str(start)):
        next(beyond.parity_steps(ManyToOne(nn.LSTM(1, 4), 2), start, goal))


# Dropout


def test_locked_dropout_drops_the_same_units_at_all_steps_and_others_in_each_row():
    dropped = beyond.LockedDropout(0.5)(torch.ones(9, 200, 6))  # (T, N, D)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped)), "one mask for all steps"
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert len({tuple(row) for row in dropped[0].tolist()}) > 30, "rows share their mask"
    assert abs(dropped.mean() - 1) < 0.1


def test_locked_dropout_does_nothing_outside_training():
    layer, inputs = beyond.LockedDropout(0.5).eval(), torch.randn(3, 4, 5)
    assert torch.equal(layer(inputs), inputs)


@pytest.mark.parametrize("layer_class", [nn.RNN, nn.GRU, nn.LSTM])
def test_weight_drop_drops_and_is_drawn_anew(layer_class):
    """The classic bug is a weight drop that does nothing."""
    layer, inputs = beyond.drop_weights(layer_class(4, 6, num_layers=2), 0.5), torch.randn(5, 3, 4)
    once, again = layer(inputs)[0], layer(inputs)[0]
    assert not torch.allclose(once, again)
    once.sum().backward()
    for number in (0, 1):
        gradient = layer.parametrizations[f"weight_hh_l{number}"].original.grad
        assert 0.3 < (gradient == 0).float().mean() < 0.7, "dropped weights get no gradient"


def test_weight_drop_is_a_layer_with_those_weights():
    torch.manual_seed(0)
    layer = nn.LSTM(4, 6, dtype=torch.float64)
    weights = {name: value.clone() for name, value in layer.state_dict().items()}
    beyond.drop_weights(layer, 0.5)
    inputs, expected = torch.randn(5, 3, 4, dtype=torch.float64), nn.LSTM(4, 6, dtype=torch.float64)
    with parametrize.cached():  # what it has drawn can be read
        (got, _), dropped = layer(inputs), layer.weight_hh_l0.detach()
    kept = dropped != 0
    assert 0.3 < kept.double().mean() < 0.7
    assert torch.equal(dropped[kept], 2 * weights["weight_hh_l0"][kept]), "scaled up, so that the mean stays"
    weights["weight_hh_l0"] = dropped
    expected.load_state_dict(weights)
    assert (got - expected(inputs)[0]).abs().max() < 1e-12
    layer.eval()
    weights["weight_hh_l0"] = layer.parametrizations.weight_hh_l0.original.detach()
    expected.load_state_dict(weights)
    assert (layer(inputs)[0] - expected(inputs)[0]).abs().max() < 1e-12, "outside training all weights are there"


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_shares_that_cannot_be_dropped_are_refused(p):
    with pytest.raises(ValueError, match="below 1"):
        beyond.LockedDropout(p)
    with pytest.raises(ValueError, match="below 1"):
        beyond.drop_weights(nn.LSTM(2, 3), p)


def test_weights_are_dropped_once_and_where_there_are_some():
    with pytest.raises(ValueError, match="already"):
        beyond.drop_weights(beyond.drop_weights(nn.LSTM(2, 3), 0.2), 0.2)
    with pytest.raises(ValueError, match="has no W_hh"):
        beyond.drop_weights(nn.Linear(2, 3), 0.2)


# The maze


def walk(maze, *actions):
    """Let all take the same actions; return what was seen before each, and the rewards."""
    seen, rewards = [], []
    for action in actions:
        seen.append(maze.observe().argmax(1).tolist())
        rewards.append([round(reward, 2) for reward in maze.act(torch.full((len(maze.sign),), action)).tolist()])
    return seen, rewards


def test_a_walk_by_hand():
    maze = memory_tasks.TMaze(2, 2, generator())
    maze.sign = torch.tensor([1, 2])
    seen, rewards = walk(maze, 0, 1, 0, 0, 1, 0)
    assert seen == [[0, 1], [2, 2], [2, 2], [3, 3], [3, 3], [3, 3]]
    assert rewards == [[0, 0], [-0.05, -0.05], [0, 0], [-0.05, -0.05], [1, -1], [0, 0]]
    assert maze.done.all()


def test_the_junction_looks_alike_for_both_signs():
    maze = memory_tasks.TMaze(200, 5, generator())
    assert 60 < (maze.sign == 1).sum() < 140
    for _ in range(5):
        maze.act(torch.zeros(200, dtype=torch.int64))
    assert len(maze.observe().unique(dim=0)) == 1


def test_returns_by_hand():
    rewards = torch.tensor([[0.0, 1.0], [2.0, 0.0], [4.0, 8.0]])
    assert beyond.discounted_returns(rewards, 0.5).tolist() == [[2.0, 3.0], [4.0, 4.0], [4.0, 8.0]]


def test_the_policy_gradient_is_that_of_the_expected_reward():
    """One step, three actions: E[R] can be written down, and its gradient is known."""
    scores = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    worth = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    (expected,) = torch.autograd.grad((scores.softmax(0) * worth).sum(), scores)
    actions = torch.multinomial(scores.detach().softmax(0), 200_000, replacement=True, generator=generator())
    log_p = scores.log_softmax(0)[actions][None]  # (T, N) = (1, 200000)
    nothing, alive = torch.zeros_like(log_p), torch.ones_like(log_p, dtype=torch.bool)
    loss = beyond.policy_loss(log_p, nothing, nothing, worth[actions][None], alive)
    (got,) = torch.autograd.grad(loss, scores)
    assert (got + expected).abs().max() < 5e-3, "the loss falls where the reward grows"


def test_steps_after_the_turn_do_not_count():
    log_p = torch.tensor([[-1.0, -1.0], [-2.0, -2.0]], requires_grad=True)
    nothing = torch.zeros(2, 2)
    alive = torch.tensor([[True, True], [True, False]])
    beyond.policy_loss(log_p, nothing, nothing, torch.ones(2, 2), alive).backward()
    assert log_p.grad[1, 1] == 0 and log_p.grad[1, 0] != 0


def test_the_forecast_learns_the_return_and_does_not_move_the_actor():
    value = torch.zeros(1, 4, requires_grad=True)
    log_p = torch.full((1, 4), -1.0)
    loss = beyond.policy_loss(log_p, torch.zeros(1, 4), value, torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool))
    loss.backward()
    assert torch.allclose(value.grad, torch.full((1, 4), -0.25)), "half of the slope of (value - 1)², a mean of four"


def test_an_episode_has_one_row_a_step():
    torch.manual_seed(0)
    maze = memory_tasks.TMaze(16, 3, generator())
    log_p, entropy, value, rewards, alive = beyond.play(beyond.Policy(8), maze, 40, generator())
    assert log_p.shape == entropy.shape == value.shape == rewards.shape == alive.shape
    assert alive[0].all() and (rewards[~alive] == 0).all()
    assert ((rewards.abs() == 1).sum(0) <= 1).all(), "each turns once at most"


def share_right(make, num_minibatches, seed=0, length=4):
    torch.manual_seed(seed)
    steps = beyond.maze_steps(make(), lambda length, right: length, length, seed)
    rights = [right for _, right in itertools.islice(steps, num_minibatches)]
    return sum(rights[-20:]) / 20


def test_with_memory_the_maze_is_solved_and_without_it_half_of_the_time():
    assert share_right(beyond.Policy, 200) > 0.9
    assert abs(share_right(beyond.Forgetful, 200) - 0.5) < 0.1


def test_a_forgetful_policy_acts_alike_after_either_sign():
    torch.manual_seed(0)
    policy, junction = beyond.Forgetful(), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    states = torch.randn(2, 1, 32)
    scores = [policy(junction, state)[0] for state in states]
    assert torch.equal(*scores)


# Forecasts


def test_forecasts_from_true_values_are_those_of_the_layer():
    torch.manual_seed(0)
    model, wave = WaveForecaster(7), torch.randn(6, 3, 1)
    layer = nn.GRU(1, 7)
    layer.load_state_dict({f"{name}_l0": value for name, value in model.cell.state_dict().items()})
    expected = model.read_out(layer(wave)[0])
    assert torch.allclose(model(wave, 6, 0.0), expected, atol=1e-6)
    assert torch.allclose(model(wave, 0, 1.0), expected, atol=1e-6)


def test_left_alone_it_reads_its_own_forecasts():
    torch.manual_seed(0)
    model, wave = WaveForecaster(7), torch.randn(9, 3, 1)
    own = model(wave, 4, 0.0)
    changed = wave.clone()
    changed[4:] = 100.0
    assert torch.equal(model(changed, 4, 0.0), own), "what comes later is not read"
    assert not torch.allclose(model(changed, 4, 0.5, generator()), own)
    by_hand = wave.clone()
    for t in range(4, 9):
        by_hand[t] = model(by_hand, 9, 1.0)[t - 1]
    assert torch.allclose(own[4:], model(by_hand, 9, 1.0)[4:], atol=1e-6)


def test_waves():
    clean, seen = two_waves(300, 80, generator())
    assert clean.shape == seen.shape == (80, 300, 1)
    assert abs((seen - clean).std() - 0.1) < 0.01
    assert 0.6 < clean.std() < 0.9


# What was recorded, and what the chapter says of it


ROWS = data.load_results("beyond")


def recorded(part, **wanted):
    return [row for row in ROWS if row["part"] == part and wanted.items() <= row.items()]


def column(name, part, **wanted):
    values = [row[name] for row in recorded(part, **wanted)]
    assert len(values) == 3, "three seeds"
    return values


def test_recorded_weight_drop_wins_on_a_small_text():
    small = {name: {"characters": 10_000, "dropout": name} for name in {row["dropout"] for row in recorded("dropout")}}
    best = {name: column("best", "dropout", **wanted) for name, wanted in small.items()}
    end = {name: column("held out", "dropout", **wanted) for name, wanted in small.items()}
    winner = "weight drop 0.4, locked output 0.4"
    for values in (best, end):
        others = [value for name in values if name != winner for value in values[name]]
        assert max(values[winner]) < min(others)
    assert sum(end["none"]) / 3 > 2 * sum(end[winner]) / 3
    plain, locked = (end[f"{kind}, before the read-out, 0.4"] for kind in ("plain", "locked"))
    assert abs(sum(plain) / 3 - sum(locked) / 3) < 0.3, "level"
    assert abs(sum(best["plain, before the read-out, 0.4"]) - sum(best["none"])) / 3 < 0.1, "next to nothing"


def test_recorded_dropout_loses_where_nothing_overfits():
    none = column("held out", "dropout", characters=100_000, dropout="none")
    for name in {row["dropout"] for row in recorded("dropout", characters=100_000)} - {"none"}:
        assert min(column("held out", "dropout", characters=100_000, dropout=name)) > max(none)


def test_recorded_scheduled_sampling_is_no_cure():
    def errors(trained, name):
        return sum(column(name, "exposure", **{"trained with": trained})) / 3

    for name in ("one step ahead", "alone, first 20"):
        assert errors("teacher forcing", name) < min(errors("scheduled sampling", name), errors("own outputs", name))
    longest = "alone, all 60"
    assert errors("own outputs", longest) < errors("teacher forcing", longest)
    assert abs(errors("scheduled sampling", longest) - errors("own outputs", longest)) < 0.03, "level"
    assert errors("teacher forcing", longest) > 0.9 * errors("teacher forcing", "saying 0")


def test_recorded_scan_is_slower_than_the_loop_on_a_cpu():
    ratios = [row["doubling scan"] / row["loop, unbind"] for row in recorded("scans")]
    assert len(ratios) == 3 and ratios == sorted(ratios) and ratios[0] > 2
    assert all(row["nn.GRU"] > 3 * row["loop, unbind"] for row in recorded("scans"))


def test_recorded_mingru_is_compared_at_as_many_units_and_as_many_weights():
    min_gru, wide, narrow = (
        sum(p.numel() for p in layer.parameters())
        for layer in (recurrences.MinGRU(128), nn.GRU(128, 128), nn.GRU(128, 58))
    )
    assert wide == 3 * min_gru and abs(narrow / min_gru - 1) < 0.02
    for row in recorded("scans"):
        assert 0.25 < row["minGRU"] / row["nn.GRU"] < 0.4, "a third"
        assert 0.4 < row["minGRU"] / row["nn.GRU, 58"] < 0.6, "half"


def test_recorded_index_is_quadratic():
    ratios = [row["batch first, a[:, t]"] / row["batch first, unbind(1)"] for row in recorded("scans")]
    assert ratios == sorted(ratios) and ratios[2] > 9 * ratios[0], "the ratio grows about as the steps, here 16-fold"


def test_recorded_mazes_need_a_state():
    for length in (5, 10, 20):
        assert min(column("right", "maze", policy="GRU", length=length)) >= 0.95
        assert max(column("right", "maze", policy="GRU, wiped at each step", length=length)) < 0.6
    assert max(column("seconds", "maze", policy="GRU", length=10)) < 10


def test_recorded_curricula_need_a_start_that_is_learned_by_itself():
    for start in (1, 2, 3):
        assert all(column("solved", "curriculum", start=start)), start
    for start in (4, 8, 32):
        assert not any(column("solved", "curriculum", start=start)), start
    assert min(column("right at 1000", "curriculum", start=2)) > 0.95


def test_recorded_mixers_are_told_as_they_are():
    said = {
        "minGRU, 2 blocks": 4.2,
        "GRU": 4.2,
        "attention over a GRU": 4.5,
        "local attention over minGRU": 4.5,
        "RWKV-like, 1 block": 4.7,
        "attention, position embeddings": 5.9,
        "attention, no positions": 9.2,
    }
    assert {row["model"] for row in recorded("mixers")} == set(said)
    for name, perplexity in said.items():
        assert round(sum(column("held out", "mixers", model=name)) / 3, 1) == perplexity
    rates = {row["model"]: row["rate"] for row in recorded("mixers")}
    assert list(rates.values()).count(0.02) == 4, "four of seven took the largest"
    steps = {name: sum(column("steps", "mixers", model=name)) for name in said}
    assert 0.3 < steps["RWKV-like, 1 block"] / steps["minGRU, 2 blocks"] < 0.4, "a third of the minibatches"
    assert max(column("held out", "mixers", model="GRU")) < min(
        column("held out", "mixers", model="attention over a GRU")
    )
