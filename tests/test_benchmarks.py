"""The benchmarks' own arithmetic: turns and medians, first epochs, tables, the comparison of two results."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmarks import beyond, clock, compare, gates, picture, record, training
from rnnlib import environment

CPU = torch.device("cpu")


def test_rivals_take_turns_and_the_median_counts():
    order, time = [], [0.0]
    durations = {"a": iter([100, 3, 1, 50]), "b": iter([100, 2, 2, 2])}  # the first turn warms up

    def run(name):
        order.append(name)
        time[0] += next(durations[name])

    rivals = {name: lambda name=name: run(name) for name in durations}
    measured = clock.side_by_side(rivals, repeats=3, now=lambda device: time[0])
    assert order == ["a", "b"] * 4
    assert measured == {"a": (3, 1, 50), "b": (2, 2, 2)}
    assert measured["a"].spread == "1000.0 to 50000.0 ms"


def test_recipes_are_trained_until_all_levels_are_reached(monkeypatch):
    time = [0.0]
    monkeypatch.setattr(clock, "seconds", lambda device: time[0])

    def recipe(perplexities, seconds):
        values = iter(perplexities)

        def run_epoch():
            time[0] += seconds
            return next(values)  # fails if it is trained on after the last level

        return run_epoch

    runs = {"slow": recipe([9, 1.3, 2, 1.1], 10), "fast": recipe([1.05], 5), "never": recipe([9] * 6, 1)}
    slow, fast, never = training.race_to(runs, (1.3, 1.1), 6, CPU)
    assert slow == {
        "recipe": "slow",
        "epoch of 1.3": 2,
        "CPU s to 1.3": 20.0,
        "epoch of 1.1": 4,
        "CPU s to 1.1": 40.0,
        "times as fast as d2l's": 1.0,
    }
    assert (fast["epoch of 1.1"], fast["times as fast as d2l's"]) == (1, 8.0)
    assert never == {"recipe": "never", "times as fast as d2l's": "–"}


def test_a_step_of_each_network_starts_from_the_same_loss():
    batches = [tuple(torch.randint(training.V, (2, 4, 5)))]
    losses = {name: training.training_step(net, batches)() for name, net in training.networks(16, CPU).items()}
    tanh = [losses[name] for name in ("ScratchRNN", "FastRNN", "nn.RNN")]
    assert tanh == pytest.approx([tanh[0]] * 3, abs=1e-6)
    assert set(losses) == {"ScratchRNN", "FastRNN", "nn.RNN", "nn.GRU", "nn.LSTM"}


def test_operations_by_hand():
    assert training.operations("FastRNN", 512) == 6 * (512 * 512 + 28 * 512)
    assert training.operations("nn.LSTM", 2) == 6 * (4 * 4 + 28 * 2)


def test_results_can_be_written_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    rows = [{"H": 256, "model": "a", "tokens/s": 1000, "spread": "1 to 2 ms"}, {"H": 512, "model": "a", "ratio": 0.5}]
    record.write("old", rows, title="What it is.")
    rows[0] |= {"tokens/s": 1500, "spread": "3 to 4 ms"}
    record.write("new", [*rows, {"H": 1024, "model": "a", "tokens/s": 1}])
    assert json.loads((tmp_path / "old.json").read_text())["rows"][1] == {"H": 512, "model": "a", "ratio": 0.5}
    page = (tmp_path / "old.md").read_text(encoding="utf-8")
    assert "What it is." in page and "| 256 | a | 1,000 | 1 to 2 ms | – |" in page
    assert not (tmp_path / "new.md").exists()
    assert compare.compare(tmp_path / "old.json", tmp_path / "new.json") == [
        {"what": "256, a", "number": "tokens/s", "old": 1000, "new": 1500, "new / old": 1.5},
        {"what": "512, a", "number": "ratio", "old": 0.5, "new": 0.5, "new / old": 1.0},
    ]


def test_nothing_to_compare_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    record.write("one", [{"H": 256, "tokens/s": 1}])
    record.write("other", [{"H": 512, "tokens/s": 1}])
    one, other = str(tmp_path / "one.json"), str(tmp_path / "other.json")
    with pytest.raises(SystemExit, match="no measured number in common: are they of the same benchmark"):
        compare.main([one, other])
    with pytest.raises(SystemExit, match="Give two recorded results: python -m benchmarks compare"):
        compare.main([])
    with pytest.raises(SystemExit, match="There is no file nowhere"):
        compare.main([one, "nowhere.json"])


def test_benchmarks_can_be_loaded_where_there_is_no_unix():
    code = "import sys; sys.modules['resource'] = None; import benchmarks.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=record.RESULTS.parent.parent, check=True)


def test_picture_shows_what_is_recorded():
    speeds, races = picture.draw().axes
    ratios = {(row["H"], row["model"]): row["ratio to d2l"] for row in picture.rows_of("speed") if "tokens/s" in row}
    for bars, num_hiddens in zip(speeds.containers, (256, 512), strict=True):
        widths = [bar.get_width() for bar in bars]
        assert widths == [ratios[num_hiddens, model] for model in picture.MODELS]
    assert sorted(bar.get_width() for bar in races.patches) == sorted(
        row["CPU s to 1.1"] for row in picture.rows_of("recipes")
    )


def test_both_loops_compute_the_same():
    """What is timed against each other in chapter 11: a[:, t] and unbind."""
    a, b, h = torch.rand(3, 7, 2), torch.rand(3, 7, 2), torch.rand(3, 2)
    assert torch.equal(beyond.by_index(a, b, h), beyond.by_unbind(a, b, h))


def test_models_of_equal_size():
    for name, make in beyond.MIXERS.items():
        weights = beyond.weights_of(make(28, beyond.sized(make, 28)))
        assert abs(weights / 70_000 - 1) < 0.04, name


def test_only_the_second_half_of_a_window_is_judged():
    """A model that knows nothing in the first half of a window and all in the second has perplexity 1."""

    class LateRiser(torch.nn.Module):
        def forward(self, ids):
            targets = torch.cat([ids[:, 1:], (ids[:, -1:] + 1) % 4], dim=1)  # of a text 0, 1, 2, 3, 0, 1, …
            logits = 100.0 * torch.nn.functional.one_hot(targets, 4).float()
            logits[:, : ids.shape[1] // 2] = 0.0
            return logits.transpose(0, 1).flatten(0, 1), None

    assert beyond.second_half(LateRiser(), torch.arange(1000) % 4) == pytest.approx(1.0)


def test_an_lstm_without_its_parts_is_an_lstm_with_all_of_them():
    """And each part that is taken away changes something."""
    torch.manual_seed(0)
    inputs = torch.randn(7, 3, 5, dtype=torch.float64)
    layer = nn.LSTM(5, 4, dtype=torch.float64)
    outputs = {}
    for variant in gates.VARIANTS:
        ablated = gates.Ablated(5, 4, variant).double()
        ablated.load_state_dict(layer.state_dict())
        outputs[variant], (H, C) = ablated(inputs)
        assert H.shape == C.shape == (1, 3, 4) and torch.equal(H[0], outputs[variant][-1])
    assert torch.allclose(outputs.pop("all gates"), layer(inputs)[0], atol=1e-12)
    assert all(not torch.allclose(found, layer(inputs)[0], atol=1e-3) for found in outputs.values())


def test_bfloat16_needs_one_dnn():
    with environment.single_steps(), environment.bfloat16_where_fast():
        assert not torch.is_autocast_enabled("cpu")
