"""The ladder of IMDB: its inputs, teachers and choices on cases by hand, and what is recorded of it."""

import datetime
import math
import types

import pytest
import torch
from torch import nn

from benchmarks import imdb_inputs, imdb_ladder, imdb_pretraining, imdb_rungs, pretraining, record
from rnnlib import data

PAIR_KEYS = imdb_inputs.frequent_codes([torch.tensor(row) for row in ([2, 3, 4], [2, 3, 5, 6, 5, 6], [4, 2])], 2, 2, 10)


def test_runs_of_words_are_numbered_by_their_words():
    ids = torch.tensor([2, 3, 4, 5])
    assert imdb_inputs.ngram_codes(ids, 2, 10).tolist() == [23, 34, 45]
    assert imdb_inputs.ngram_codes(ids, 3, 10).tolist() == [234, 345]
    assert imdb_inputs.ngram_codes(ids[:2], 4, 10).tolist() == []  # shorter than a run by more than one


def test_a_run_is_frequent_by_reviews_not_by_occurrences():
    assert PAIR_KEYS.tolist() == [23]  # in two reviews; 56 is twice in one
    assert imdb_inputs.look_up(torch.tensor([12, 23]), torch.tensor([[23, 22], [12, 99]])).tolist() == [[2, 0], [1, 0]]


def test_a_vector_of_a_run_stands_where_the_run_ends():
    runs = imdb_inputs.RunEmbedding(PAIR_KEYS, 2, 10, size=1).eval()
    assert not runs.table.weight.any()
    nn.init.ones_(runs.table.weight[1:].detach())
    ids = torch.tensor([[4, 2, 3, 3], [2, 3, 1, 1]])  # (N, T), the second one padded
    assert runs(ids.T)[:, :, 0].T.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]
    triples = imdb_inputs.RunEmbedding(torch.tensor([234]), 3, 10)
    assert triples(torch.tensor([[2]])).shape == (1, 1, 32)  # a review of one word has no triple, but a step


def test_a_count_matrix_by_hand():
    rows = [torch.tensor([2, 3, 3, 3]), torch.tensor([5])]
    keys = {1: torch.tensor([2, 3]), 2: torch.tensor([23, 33])}
    assert imdb_inputs.count_matrix(rows, keys, 10).toarray().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_the_loss_of_the_stars_by_hand():
    ratings = torch.tensor([1, 4, 7, 10])
    assert imdb_inputs.star_ids(ratings).tolist() == [0, 3, 4, 7]
    stars = torch.zeros(1, 8)
    stars[0, 7] = math.log(5)  # of the odds 1, 1, 1, 1 against 1, 1, 1, 5
    assert imdb_inputs.positive_logit(stars).item() == pytest.approx(math.log(2), abs=1e-6)

    def loss(star_weight, teacher_weight):
        one, ten, even = torch.tensor([1]), torch.tensor([10]), torch.zeros(1)
        return imdb_inputs.ladder_loss(stars, one, ten, even, star_weight, teacher_weight).item()

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
    folds = imdb_inputs.blocks(labels)
    assert folds.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 2, 3, 4]
    reviews = torch.arange(15).numpy()[:, None]
    assert imdb_inputs.out_of_fold(Memory, reviews, labels, folds).tolist() == [0.0] * 15
    assert Memory().fit(reviews, labels).decision_function(reviews) == [1.0] * 15


def test_logits_are_made_as_soft_as_they_are_right():
    labels = torch.tensor([1, 1, 1, 0])
    assert imdb_inputs.calibrated(torch.full((4,), 2 * math.log(3)), labels) == pytest.approx(0.5)  # p = 3 / 4


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
    dropped = imdb_inputs.half_dropped(torch.ones(801, 125))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert abs(torch.corrcoef(dropped[:, :9].T) - torch.eye(9)).max() < 0.2  # no number goes with its neighbour


def test_a_weight_is_chosen_by_how_right_and_how_sure_both_are():
    labels = torch.tensor([1, 1, 1, 0, 0, 0])
    truth, blind = torch.where(labels == 1, 1.0, -1.0), torch.tensor([1.0, -1.0, 0.5, 1.0, -1.0, 0.5])
    assert imdb_inputs.best_weight(truth, blind, labels) == 0
    assert imdb_inputs.best_weight(blind, truth, labels) == 3  # the largest that is tried


def test_paired_gains_by_hand():
    labels = torch.tensor([1, 0, 1, 0])
    right, wrong = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([-1.0, -1.0, 1.0, -1.0])
    assert imdb_inputs.paired_gain(right[None], right[None], labels) == (0, 0)
    gain, error = imdb_inputs.paired_gain(right[None], wrong[None], labels)  # 1, 0, 0, 0: their deviation is 1 / 2
    assert (gain, error) == (pytest.approx(25), pytest.approx(25))
    two_seeds = imdb_inputs.paired_gain(torch.stack([right, wrong]), torch.stack([wrong, wrong]), labels)
    assert two_seeds == (pytest.approx(12.5), pytest.approx(12.5))  # the same reviews, half as far apart


def test_a_bag_of_inputs_is_read_out_or_left_out():
    ids, lengths = torch.tensor([[2, 3, 4], [4, 2, 1]]), torch.tensor([3, 2])
    for bag, width in ((True, 4 * 8 + 100), (False, 4 * 8)):
        model = imdb_inputs.StarReader(imdb_inputs.Inputs([], 10, {}), 8, bag).eval()
        assert model.linear.in_features == width
        assert torch.equal(model(ids, lengths), imdb_inputs.positive_logit(model.stars(ids, lengths)))


def test_what_is_tried_changes_one_thing():
    short = vars(imdb_rungs.TRIED[imdb_rungs.SHORT])
    for name, rung in imdb_rungs.TRIED.items():
        changed = [key for key, value in vars(rung).items() if value != short[key]]
        assert len(changed) == (name != imdb_rungs.SHORT), (name, changed)
    known = {*imdb_rungs.RUNGS, *imdb_rungs.TRIED, *imdb_rungs.COUNTS}
    assert known >= {name.removesuffix(": 3 averaged") for pair in imdb_rungs.COMPARED for name in pair}
    assert known <= set(imdb_ladder.PLAN)


def test_the_exact_loss_of_language_models_begins_at_the_frequencies_of_words():
    rows = [torch.tensor([2, 3, 2, 2, 4, 3, 2, 2] * 4)] * 3
    model = imdb_inputs.StarReader(imdb_inputs.Inputs(rows, 5, {}), 8, bag=False)
    nn.init.zeros_(model.embedding.words.weight)
    counts = torch.bincount(torch.cat(rows), minlength=5)
    pair = pretraining.TwoLanguageModels(model.embedding.words, model.rnn, counts)
    pair.bias.data = (counts.clamp(min=1) / counts.sum()).log()
    ahead_and_back = -(pair.bias[rows[0][1:]].mean() + pair.bias[rows[0][:-1]].mean()) / 2
    loss_of_unread = imdb_pretraining.nats_a_word(pair, rows[:1])
    partition = pair.bias.exp().sum().log()  # words that never occur count as one
    assert loss_of_unread == pytest.approx(float((ahead_and_back + partition).detach()), abs=1e-5)


class ToyReviews(imdb_ladder.Reviews):
    """Reviews of twelve of five words; praise has three of them."""

    def __init__(self):
        generator, sizes = torch.Generator().manual_seed(0), {"train": 60, "valid": 20, "test": 20}
        self.labels = {part: (torch.arange(size) >= size // 2).long() for part, size in sizes.items()}
        self.rows = {
            part: [torch.randint(2, 7 - 2 * int(label), (12,), generator=generator) for label in labels]
            for part, labels in self.labels.items()
        }
        self.rows["all"] = self.rows["train"] + self.rows["valid"]
        self.labels["all"] = torch.cat([self.labels["train"], self.labels["valid"]])
        self.ratings = {part: torch.where(self.labels[part] == 1, 9, 2) for part in ("train", "all")}


def test_the_whole_plan_on_toy_reviews(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(imdb_ladder, "SCORES", tmp_path)
    monkeypatch.setattr(imdb_ladder, "VOCAB_SIZE", 10)
    monkeypatch.setattr(imdb_ladder, "Reviews", ToyReviews)
    monkeypatch.setattr(imdb_ladder.rnnlib, "setup", torch.manual_seed)  # without its trial of threads
    monkeypatch.setattr(imdb_ladder, "PLAN", [name for name in imdb_ladder.PLAN if name not in imdb_rungs.TRIED])
    imdb_ladder.main([])
    rows = imdb_ladder.kept_rows()
    assert {row["run"] for row in rows} >= {*imdb_rungs.RUNGS, *imdb_rungs.COUNTS, "folds", "pretraining"}
    check_rows(rows)
    whole = [row for row in rows if row.get("part") == "all"]
    assert whole and all("valid" not in row for row in whole)
    assert max(row["test"] for row in rows if "test" in row) > 80
    with pytest.raises(SystemExit, match="unknown: wrods; choose from counts, pairs"):
        imdb_ladder.main(["wrods"])


def test_a_reader_of_runs_begins_with_what_a_reader_of_words_has_learned():
    words = imdb_inputs.StarReader(imdb_inputs.Inputs([], 10, {}), 4)
    rows = [torch.tensor([2, 3, 4])] * 3
    runs = imdb_inputs.StarReader(imdb_inputs.Inputs(rows, 10, {2: 3}), 4)
    weights = {"words": words.embedding.words.weight.data, "rnn": words.rnn.state_dict()}
    imdb_pretraining.begin_with(runs, weights)
    ids = torch.tensor([[2, 5], [6, 7], [8, 9]])  # (T, N), no known run
    inputs, lengths = words.eval().embedding(ids), torch.tensor([3, 3])
    assert torch.equal(runs.eval().embedding(ids)[..., :100], inputs)
    assert torch.allclose(runs.rnn(runs.embedding(ids), lengths), words.rnn(inputs, lengths), atol=1e-6)


def test_words_and_runs_learn_at_rates_of_their_own():
    model = imdb_inputs.StarReader(imdb_inputs.Inputs([torch.tensor([2, 3])] * 3, 10, {2: 3}), 4)
    rung = imdb_rungs.Rung(lr=1.0, words_lr=2.0, table_lr=3.0)
    optimizers, schedulers = imdb_ladder.new_optimizers(model, rung, 100)
    assert [group["initial_lr"] for each in optimizers for group in each.param_groups] == [1, 2, 3]
    up_and_down = imdb_ladder.up_and_down(100)
    assert (up_and_down(14), up_and_down(100)) == (1, 0) and up_and_down(0) == pytest.approx(1 / 15)
    assert all(each.get_last_lr()[0] == pytest.approx(rate / 15) for each, rate in zip(schedulers, (1, 2), strict=True))


def test_a_teacher_of_all_reviews_is_out_of_fold_too(tmp_path, monkeypatch):
    monkeypatch.setattr(imdb_ladder, "SCORES", tmp_path)
    labels = torch.tensor([0, 1])
    for run, logits in {
        "counts, triples": {"train": torch.tensor([-1.0, 1.0])},
        "folds": {"train": torch.tensor([1.0, -1.0])},
    }.items():
        imdb_ladder.keep_logits(run, 0, logits)
    taught = imdb_ladder.teacher_logits("network and triples", "train", labels)
    assert taught.tolist() == [-2.0, 2.0]  # the network is wrong: three times the counts, the most that is tried
    assert imdb_ladder.teachers_of(imdb_rungs.RUNGS["runs, stars"]) == set()
    for rung in imdb_rungs.RUNGS.values():
        names = imdb_ladder.teachers_of(rung)
        assert names <= set(imdb_ladder.PLAN)


def test_minutes_are_those_of_the_last_time(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    rows = [{"run": "a", "seed": 0, "minutes": 2}, {"run": "a", "seed": 1, "minutes": 3}]
    record.write("imdb_ladder", [*rows, {"run": "a", "seed": 0, "minutes": 1}, {"run": "b", "minutes": 7}])
    assert imdb_ladder.total_minutes({"a"}) == 4


def check_rows(rows):
    """Every reading of the test half has its number, date, minutes and what came from outside."""
    read = [row for row in rows if "test" in row]
    assert [row["reading"] for row in read] == list(range(1, len(read) + 1))
    assert all(row["outside"] == "nothing" for row in rows)
    for row in read:
        assert datetime.date.fromisoformat(row["date"]) and row["minutes"] >= 0
        assert "seed" in row or row["run"].startswith("counts") or "averaged" in row["run"]
    assert all("reading" not in row for row in rows if row["run"] in imdb_rungs.TRIED or "gain" in row)


def test_what_is_recorded_of_the_ladder_tells_every_reading():
    check_rows(data.load_results("imdb_ladder"))
