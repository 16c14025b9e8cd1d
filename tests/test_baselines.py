"""Counting words: the ratio by hand, and what pairs know that words don't."""

import math

import numpy as np
import pytest

from rnnlib import baselines

TEXTS = ["good film", "good story", "bad film", "bad story"] * 3
LABELS = [1, 1, 0, 0] * 3
NEGATED = ["good", "not bad", "bad", "not good"] * 5
TURNED = [1, 1, 0, 0] * 5


@pytest.mark.parametrize("model", [baselines.tfidf_regression(), baselines.NaiveBayesRegression()])
def test_words_decide(model):
    model.fit(TEXTS, LABELS)
    logits = model.decision_function(["a good one", "a bad one", "film"])
    assert logits[0] > 0 > logits[1]
    assert abs(logits[2]) < min(logits[0], -logits[1])


def test_ratio_by_hand():
    model = baselines.NaiveBayesRegression().fit(["good film", "good", "bad film", "good film"] * 2, [1, 1, 0, 0] * 2)
    words = model.vectorizer.vocabulary_
    assert set(words) == {"good", "film", "bad", "good film", "bad film"}
    # Each plus one. Positive: good 4, film 2, good film 2, none of the two others. Negative: good 2, film 4, bad 2,
    # bad film 2, good film 2.
    positive, negative = 5 + 3 + 3 + 1 + 1, 3 + 5 + 3 + 3 + 3
    expected = {"good": (5 / positive) / (3 / negative), "bad": (1 / positive) / (3 / negative)}
    for word, ratio in expected.items():
        assert model.ratio[words[word]] == pytest.approx(math.log(ratio))


def test_pairs_know_what_not_turns_round():
    single = baselines.tfidf_regression(1).fit(NEGATED, TURNED)
    pairs = baselines.tfidf_regression(2).fit(NEGATED, TURNED)
    assert pairs.score(NEGATED, TURNED) == 1
    assert single.score(NEGATED, TURNED) < 1


def test_words_of_one_review_alone_are_left_out():
    model = baselines.NaiveBayesRegression().fit([*TEXTS, "unheard"], [*LABELS, 1])
    assert "unheard" not in model.vectorizer.vocabulary_
    assert np.isfinite(model.decision_function(["", "nothing known", "\N{SLIGHTLY SMILING FACE}"])).all()
