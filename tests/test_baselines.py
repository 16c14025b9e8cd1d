"""Counting models against counting by hand, and classifiers on scikit-learn."""

import collections
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import naive_bayes
from rnnlib import baselines
from rnnlib.baselines import KneserNey, NGram, landmarks

V = 4
COUNTED = st.lists(st.integers(0, V - 1), min_size=1, max_size=40)
ORDERS = st.integers(0, 5)
SMOOTHINGS = st.sampled_from([0.01, 1.0, 7.5])


def next_token_distribution(table, context):
    """Return p(x | context) for every x of the vocabulary, at the end of a text."""
    return np.array([table.probabilities([*context, x])[-1] for x in range(V)])


@given(COUNTED, st.lists(st.integers(0, V - 1), max_size=6), ORDERS, SMOOTHINGS)
def test_probabilities_sum_to_one_over_the_vocabulary(ids, context, order, smoothing):
    p = next_token_distribution(NGram(ids, order, V, smoothing), context)
    assert p.sum() == pytest.approx(1.0)
    assert (p > 0).all()


def test_unigram_by_hand():
    """The text a a a b, V = 4, k = 1: (3 + 1/4) / 5, (1 + 1/4) / 5, and (0 + 1/4) / 5 for the other two."""
    p = next_token_distribution(NGram([0, 0, 0, 1], 1, V), [])
    assert p.tolist() == pytest.approx([0.65, 0.25, 0.05, 0.05])


def test_bigram_by_hand():
    """The text a b a c: after a came b and c, once each; p(b | a) = (1 + p(b)) / (2 + 1), with p(b) = (1 + 1/4) / 5."""
    p = next_token_distribution(NGram([0, 1, 0, 2], 2, V), [0])
    assert p[1] == pytest.approx((1 + 1.25 / 5) / 3)
    assert p[3] == pytest.approx((0 + 0.25 / 5) / 3)


@given(COUNTED, COUNTED)
def test_order_0_is_uniform(ids, other):
    table = NGram(ids, 0, V)
    assert table.probabilities(other).tolist() == [1 / V] * len(other)
    assert table.perplexity(other) == pytest.approx(V)


def plain(ids, order, smoothing, context, x):
    """The same recursion with strings and dictionaries; a text begins with ``order`` tokens that no text has."""
    if order == 0:
        return 1 / V
    before = [V] * (order - 1)
    padded = before + list(ids)
    joint = collections.Counter(tuple(padded[i : i + order]) for i in range(len(ids)))
    context = tuple((before + list(context))[len(context) :])
    seen = sum(count for key, count in joint.items() if key[:-1] == context)
    shorter = plain(ids, order - 1, smoothing, context[1:], x)
    return (joint[(*context, x)] + smoothing * shorter) / (seen + smoothing)


@given(COUNTED, st.lists(st.integers(0, V - 1), min_size=5, max_size=5), st.integers(0, 4), SMOOTHINGS)
def test_against_plain_dictionaries(ids, context, order, smoothing):
    expected = [plain(ids, order, smoothing, context, x) for x in range(V)]
    assert next_token_distribution(NGram(ids, order, V, smoothing), context).tolist() == pytest.approx(expected)


def plain_kneser_ney(ids, order, context, x, longest=None):
    """The same with sets and dictionaries, from the definition in Chen and Goodman (1999)."""
    if order == 0:
        return 1 / V
    padded = [V] * order + list(ids)
    grams = [tuple(padded[i + 1 : i + order + 1]) for i in range(len(ids))]
    if longest is not None:  # a shorter context counts what different tokens stand in front
        in_front = {tuple(padded[i : i + order + 1]) for i in range(len(ids))}
        grams = [gram[1:] for gram in in_front]
    counts = collections.Counter(grams)
    n = collections.Counter(counts.values())
    y = n[1] / max(n[1] + 2 * n[2], 1)
    cuts = {k: min(max(k - (k + 1) * y * n[k + 1] / max(n[k], 1), 0), k) for k in (1, 2, 3)}
    taken = {gram: cuts[min(count, 3)] for gram, count in counts.items()}
    context = tuple(([V] * order + list(context))[len(context) + 1 :])
    same = [gram for gram in counts if gram[:-1] == context]
    shorter = plain_kneser_ney(ids, order - 1, context[1:], x, longest=order)
    if not same:
        return shorter
    own = counts[(*context, x)] - taken.get((*context, x), 0)
    return (own + sum(taken[gram] for gram in same) * shorter) / sum(counts[gram] for gram in same)


@given(COUNTED, st.lists(st.integers(0, V - 1), min_size=4, max_size=4), st.integers(0, 4))
def test_kneser_ney_against_plain_dictionaries(ids, context, order):
    expected = [plain_kneser_ney(ids, order, context, x) for x in range(V)]
    found = next_token_distribution(KneserNey(ids, order, V), context)
    assert found.tolist() == pytest.approx(expected)
    assert found.sum() == pytest.approx(1)


def test_kneser_ney_counts_what_stood_in_front():
    """Kneser and Ney's "San Francisco": what is frequent after one token alone is unlikely elsewhere."""
    san, francisco, dog = 0, 1, 2
    ids = [san, francisco] * 6 + [3, dog, dog, san, dog, 3, san, francisco]
    often, widely = next_token_distribution(KneserNey(ids, 3, V), [dog, 3, 3])[[francisco, dog]]
    assert widely > often
    often, widely = next_token_distribution(NGram(ids, 1, V), [])[[francisco, dog]]
    assert often > widely


def test_long_strings_of_a_large_vocabulary():
    """Of 8 tokens among 10,000, more than 64 bits can number by their ids, none counts for another one."""
    ids = torch.randint(10_000, (300,)).tolist()
    table = NGram(ids, 8, 10_000, smoothing=1e-6)
    for n, p in enumerate(table.blends(ids)):
        assert n < 2 or p.min() > 0.4, "two tokens in a row hardly occur twice"
    assert plain(ids, 8, 1e-6, ids[100:107], ids[107]) == pytest.approx(p[107])
    assert KneserNey(ids, 8, 10_000).perplexity(ids) < 10_000


@given(COUNTED, st.integers(1, 4))
def test_without_smoothing_what_was_always_seen_is_certain(ids, order):
    """The text 0 1 2 3 0 1 2 3 …: each token has one successor, so its perplexity on itself tends to 1."""
    cycle = [i % V for i in range(40)]
    assert NGram(cycle, 2, V, smoothing=1e-9).perplexity(cycle) == pytest.approx(1.0, abs=1e-6)
    counts = collections.Counter(ids)
    unigram = math.exp(-sum(c * math.log(c / len(ids)) for c in counts.values()) / len(ids))
    assert NGram(ids, 1, V, smoothing=1e-9).perplexity(ids) == pytest.approx(unigram, rel=1e-6)
    assert NGram(ids, order, V, smoothing=1e-9).perplexity(ids) <= unigram * (1 + 1e-6)


@given(COUNTED, COUNTED, st.integers(1, 5))
def test_with_endless_smoothing_it_is_uniform(ids, other, order):
    assert NGram(ids, order, V, smoothing=1e12).perplexity(other) == pytest.approx(V, rel=1e-6)


@given(COUNTED, COUNTED, ORDERS)
def test_perplexity_is_the_geometric_mean_of_1_over_p(ids, other, order):
    table = NGram(ids, order, V)
    product = math.prod(1 / p for p in table.probabilities(other))
    assert table.perplexity(other) == pytest.approx(product ** (1 / len(other)))


def test_takes_tensors_and_ranges():
    ids = torch.tensor([0, 1, 2, 0, 1])
    assert NGram(ids, 2, V).perplexity(ids) == NGram(ids.tolist(), 2, V).perplexity(ids.tolist())
    assert NGram(range(4), 1, V).perplexity(range(4)) == pytest.approx(V)


def test_landmarks_are_named_and_ordered():
    ids = [0, 1, 2, 3] * 30
    found = landmarks(ids, ids, V, orders=(0, 1, 2, 3, 4))
    assert list(found) == ["uniform", "unigram", "bigram", "trigram", "4-gram"]
    assert found["uniform"] == pytest.approx(V)
    assert found["bigram"] == NGram(ids, 2, V).perplexity(ids) < found["unigram"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], 1, 0), "vocab_size=0 must be a whole number"),
        (([0], 1, V, 0.0), "smoothing=0.0 must be above 0"),
        (([0], 1, V, math.nan), "smoothing=nan must be above 0"),
        (([0], -1, V), "order=-1 must be a whole number from 0 on"),
        (([0], 1.5, V), "order=1.5 must be a whole number"),
        (([0], True, V), "order=True must be a whole number"),
        (([1.7, 2.2], 1, V), r"whole numbers, not torch.float\d\d"),
        (([], 1, V), "the text has no tokens"),
        (([0, V], 1, V), "id 4 is outside 0 to 3: was the text coded with another vocabulary"),
        (([0, -1], 1, V), "id -1 is outside 0 to 3"),
    ],
)
def test_errors(arguments, message):
    for kind in (NGram, KneserNey)[: 5 - len(arguments)]:  # Kneser-Ney has no smoothing to set
        with pytest.raises(ValueError, match=message):
            kind(*arguments)


def test_errors_of_the_other_text():
    table = NGram([0, 1], 2, V)
    with pytest.raises(ValueError, match="no tokens"):
        table.perplexity([])
    with pytest.raises(ValueError, match="id 9 is outside 0 to 3"):
        table.probabilities([0, 9])


TEXTS = ["good film", "good story", "bad film", "bad story"] * 3
LABELS = [1, 1, 0, 0] * 3
NEGATED = ["good", "not bad", "bad", "not good"] * 5
TURNED = [1, 1, 0, 0] * 5


@pytest.mark.parametrize("model", [baselines.tfidf_regression(), naive_bayes.NaiveBayesRegression()])
def test_words_decide(model):
    model.fit(TEXTS, LABELS)
    logits = model.decision_function(["a good one", "a bad one", "film"])
    assert logits[0] > 0 > logits[1]
    assert abs(logits[2]) < min(logits[0], -logits[1])


def test_ratio_by_hand():
    model = naive_bayes.NaiveBayesRegression().fit(["good film", "good", "bad film", "good film"] * 2, [1, 1, 0, 0] * 2)
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
    model = naive_bayes.NaiveBayesRegression().fit([*TEXTS, "unheard"], [*LABELS, 1])
    assert "unheard" not in model.vectorizer.vocabulary_
    assert np.isfinite(model.decision_function(["", "nothing known", "\N{SLIGHTLY SMILING FACE}"])).all()
