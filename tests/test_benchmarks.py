"""The benchmarks' own arithmetic: turns and medians, first epochs, tables, the comparison of two results."""

import datetime
import json
import math
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

from benchmarks import beyond, clock, compare, gates, imdb_ladder, picture, record, training
from rnnlib import data, environment

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


PAIR_KEYS = imdb_ladder.frequent_codes([torch.tensor(row) for row in ([2, 3, 4], [2, 3, 5, 6, 5, 6], [4, 2])], 2, 2, 10)


def test_runs_of_words_are_numbered_by_their_words():
    ids = torch.tensor([2, 3, 4, 5])
    assert imdb_ladder.ngram_codes(ids, 2, 10).tolist() == [23, 34, 45]
    assert imdb_ladder.ngram_codes(ids, 3, 10).tolist() == [234, 345]
    assert imdb_ladder.ngram_codes(ids[:2], 4, 10).tolist() == []  # shorter than a run by more than one


def test_a_run_is_frequent_by_reviews_not_by_occurrences():
    assert PAIR_KEYS.tolist() == [23]  # in two reviews; 56 is twice in one
    assert imdb_ladder.look_up(torch.tensor([12, 23]), torch.tensor([[23, 22], [12, 99]])).tolist() == [[2, 0], [1, 0]]


def test_a_vector_of_a_run_stands_where_the_run_ends():
    runs = imdb_ladder.RunEmbedding(PAIR_KEYS, 2, 10, size=1).eval()
    assert not runs.table.weight.any()
    nn.init.ones_(runs.table.weight[1:].detach())
    ids = torch.tensor([[4, 2, 3, 3], [2, 3, 1, 1]])  # (N, T), the second one padded
    assert runs(ids.T)[:, :, 0].T.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]
    triples = imdb_ladder.RunEmbedding(torch.tensor([234]), 3, 10)
    assert triples(torch.tensor([[2]])).shape == (1, 1, 32)  # a review of one word has no triple, but a step


def test_a_count_matrix_by_hand():
    rows = [torch.tensor([2, 3, 3, 3]), torch.tensor([5])]
    keys = {1: torch.tensor([2, 3]), 2: torch.tensor([23, 33])}
    assert imdb_ladder.count_matrix(rows, keys, 10).toarray().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_the_loss_of_the_stars_by_hand():
    ratings = torch.tensor([1, 4, 7, 10])
    assert imdb_ladder.star_ids(ratings).tolist() == [0, 3, 4, 7]
    stars = torch.zeros(1, 8)
    stars[0, 7] = math.log(5)  # of the odds 1, 1, 1, 1 against 1, 1, 1, 5
    assert imdb_ladder.positive_logit(stars).item() == pytest.approx(math.log(2), abs=1e-6)

    def loss(star_weight, teacher_weight):
        one, ten, even = torch.tensor([1]), torch.tensor([10]), torch.zeros(1)
        return imdb_ladder.ladder_loss(stars, one, ten, even, star_weight, teacher_weight).item()

    assert loss(0, 0) == pytest.approx(math.log(3 / 2), abs=1e-6)  # p = 2 / 3
    assert loss(0.5, 0) - loss(0, 0) == pytest.approx(0.5 * math.log(12 / 5), abs=1e-6)
    assert loss(0, 1) - loss(0, 0) == pytest.approx((math.log(3 / 2) + math.log(3)) / 2, abs=1e-6)  # as likely as not


class Memory:
    """A model that says 1 of a review that it has learned from, and 0 of others."""

    def fit(self, counts, labels):
        self.seen = set(counts[:, 0].tolist())
        return self

    def decision_function(self, counts):
        return [float(row in self.seen) for row in counts[:, 0].tolist()]


def test_a_teacher_never_saw_what_it_teaches():
    labels = torch.tensor([0] * 10 + [1] * 5)
    folds = imdb_ladder.blocks(labels)
    assert folds.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 2, 3, 4]
    reviews = torch.arange(15).numpy()[:, None]
    assert imdb_ladder.out_of_fold(Memory, reviews, labels, folds).tolist() == [0.0] * 15
    assert Memory().fit(reviews, labels).decision_function(reviews) == [1.0] * 15


def test_logits_are_made_as_soft_as_they_are_right():
    labels = torch.tensor([1, 1, 1, 0])
    assert imdb_ladder.calibrated(torch.full((4,), 2 * math.log(3)), labels) == pytest.approx(0.5)  # p = 3 / 4


def test_every_reading_of_the_test_half_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(imdb_ladder, "SCORES", tmp_path)
    reviews = types.SimpleNamespace(labels={"valid": torch.tensor([0, 1]), "test": torch.tensor([0, 1, 1, 1])})
    valid, test = torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    for logits in ({"valid": valid, "test": test}, {"valid": valid}, {"valid": valid, "test": test}):
        imdb_ladder.add_row(reviews, {"run": "a"}, logits)
    first, tried, again = imdb_ladder.kept_rows()
    assert (first["test"], first["reading"], again["reading"]) == (75.0, 1, 2)
    assert tried == {"run": "a", "valid": 100.0}


def test_half_of_the_numbers_are_dropped_each_by_itself():
    dropped = imdb_ladder.half_dropped(torch.ones(801, 125))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert abs(torch.corrcoef(dropped[:, :9].T) - torch.eye(9)).max() < 0.2  # no number goes with its neighbour


def test_bfloat16_needs_one_dnn():
    with environment.single_steps(), environment.bfloat16_where_fast():
        assert not torch.is_autocast_enabled("cpu")


def test_what_is_recorded_of_the_ladder_tells_every_reading():
    rows = [row for row in data.load_results("imdb_ladder") if "test" in row]
    assert [row["reading"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["outside"] == "nothing" and datetime.date.fromisoformat(row["date"]) for row in rows)
