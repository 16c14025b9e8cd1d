"""What a network has to beat: counting models of text (chapter 2), classifiers of reviews (7), forecasts (8)."""

import numpy as np
import torch

from rnnlib import guards
from rnnlib.sentiment import tokenize_review


class Table:
    """A counting model of text: it looks up what came after the last few tokens; each order blends with the shorter.

    A string of tokens has a number, the place that it has among those counted, so that no string is too long.

    Args:
        ids: the token ids of the training text.
        order: n; 0 is the uniform guess, 1 looks at no token before, 2 at one.
        vocab_size: V.

    Raises:
        ValueError: for a text without tokens or with ids that are not whole numbers from 0 to V - 1, or an order that
            is not a whole number from 0 on.
    """

    def __init__(self, ids, order, vocab_size):
        guards.check_sizes(vocab_size=vocab_size)
        if not guards.is_whole(order, 0):
            raise ValueError(f"order={order!r} must be a whole number from 0 on, the tokens of a string")
        self.order, self.vocab_size, self._levels = order, vocab_size, []
        ids = self._checked(ids)
        contexts = np.zeros_like(ids)
        for n in range(1, order + 1):
            codes = contexts * vocab_size + ids
            strings = np.unique(codes)
            self._levels.append((strings, *self._counted(n, ids, codes)))
            contexts = _numbers_before(strings, codes)

    def _checked(self, ids):
        """Return ids as a numpy array, or raise the error that names the remedy."""
        guards.check_whole_numbers(ids, "of a text", "give vocab[tokens]")
        ids = np.asarray(ids)
        if not len(ids):
            raise ValueError("the text has no tokens, so no ids: there is nothing to count")
        if ids.min() < 0 or ids.max() >= self.vocab_size:
            raise ValueError(
                f"id {ids.min() if ids.min() < 0 else ids.max()} is outside 0 to {self.vocab_size - 1}: "
                "was the text coded with another vocabulary?"
            )
        return ids.astype(np.int64)

    def probabilities(self, ids):
        """Return p(x_t | its context) for every token of a text, a numpy array of the same length.

        Raises:
            ValueError: for a text without tokens or with ids outside 0 .. V - 1.
        """
        *_, p = self.blends(ids)
        return p

    def blends(self, ids):
        """Yield the probabilities of every order from 0 to this one: each blends its counts with the one before."""
        ids = self._checked(ids)
        p = np.full(len(ids), 1.0 / self.vocab_size)
        yield p
        contexts = np.zeros_like(ids)
        for strings, *counts in self._levels:
            codes = contexts * self.vocab_size + ids
            p = self._blend(counts, codes, contexts, p)
            yield p
            contexts = _numbers_before(strings, codes)

    def perplexity(self, ids):
        """Return the geometric mean of 1 / p over a text."""
        return _perplexity(self.probabilities(ids))

    def perplexities(self, ids):
        """Return the perplexity over a text of every order from 0 to this one, a list."""
        return [_perplexity(p) for p in self.blends(ids)]


class NGram(Table):
    """Predict a token from the ``order - 1`` tokens before it, by counting.

    Counts are blended with the next shorter context, c for count and k for ``smoothing``:

        p(x | context) = (c(context, x) + k p(x | shorter context)) / (c(context) + k)

    down to the uniform distribution 1 / V (MacKay and Peto, 1995, "A hierarchical Dirichlet language model").

    Args:
        ids, order, vocab_size: as for :class:`Table`.
        smoothing: k > 0, the weight of the shorter context, in counts.

    Raises:
        ValueError: as :class:`Table` does, and for smoothing that is not above 0.
    """

    def __init__(self, ids, order, vocab_size, smoothing=1.0):
        guards.check_rates(smoothing=smoothing)  # a count of 0 would make a perplexity infinite
        self.smoothing = smoothing
        super().__init__(ids, order, vocab_size)

    def _counted(self, n, ids, codes):
        return np.unique(codes, return_counts=True), np.unique(codes // self.vocab_size, return_counts=True)

    def _blend(self, counts, codes, contexts, p):
        joint, seen = (_look_up(*table, at) for table, at in zip(counts, (codes, contexts), strict=True))
        return (joint + self.smoothing * p) / (seen + self.smoothing)


class KneserNey(Table):
    """Predict a token from the ``order - 1`` tokens before it by modified Kneser-Ney counts (Chen and Goodman, 1999).

    Every count gives a discount to the shorter context, and a shorter context counts not how often a token came, but
    after how many different ones. There is no setting but the order.

    Args:
        ids, order, vocab_size: as for :class:`Table`.
    """

    def _counted(self, n, ids, codes):
        strings, rows, a = np.unique(codes, return_inverse=True, return_counts=True)
        if n < self.order:  # different tokens in front, in place of occurrences
            in_front = np.concatenate([np.full(n, self.vocab_size), ids[:-n]])[: len(ids)]
            pairs = np.unique(rows * (self.vocab_size + 1) + in_front)
            a = np.bincount(pairs // (self.vocab_size + 1))
        taken = _discounts(a)
        contexts, rows = np.unique(strings // self.vocab_size, return_inverse=True)
        return (strings, a - taken), (contexts, np.bincount(rows, a)), (contexts, np.bincount(rows, taken))

    def _blend(self, counts, codes, contexts, p):
        kept, sums, taken = counts
        total = _look_up(*sums, contexts)
        blend = _look_up(*kept, codes) + _look_up(*taken, contexts) * p
        return np.where(total > 0, blend / np.maximum(total, 1), p)

    def __len__(self):
        """Return how many strings are kept with their counts."""
        return sum(len(strings) for strings, *_ in self._levels)


def _discounts(a):
    """Return what is taken off each count by Chen and Goodman's formula, from how many are 1, 2, 3 and 4."""
    m = np.bincount(np.minimum(a, 5), minlength=6)  # m[k] strings have count k
    share = m[1] / max(m[1] + 2 * m[2], 1)
    by_count = [k - (k + 1) * share * m[k + 1] / max(m[k], 1) for k in (1, 2, 3)]
    return np.clip([0, *by_count], 0, [0, 1, 2, 3])[np.minimum(a, 3)]


def _perplexity(p):
    """Return the geometric mean of 1 / p of the probabilities that a model gave to the tokens that came."""
    guards.check_probabilities(p)
    return float(np.exp(-np.log(np.asarray(p)).mean()))


def landmarks(train_ids, valid_ids, vocab_size, orders=(0, 1, 2)):
    """Return the held-out perplexities of the uniform guess, the unigram and the bigram, as a dict by name."""
    guards.check_ordered(orders=orders)
    names = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram"}
    return {names.get(n, f"{n}-gram"): NGram(train_ids, n, vocab_size).perplexity(valid_ids) for n in orders}


def bag_of_words(max_words=1, vectorizer="TfidfVectorizer", **options):
    """Return a scikit-learn vectorizer that counts words, and runs of up to ``max_words`` of them, of a review.

    What occurs in one review alone is left out.
    """
    from sklearn.feature_extraction import text

    guards.check_sizes(max_words=max_words)
    guards.check_known(("TfidfVectorizer", "CountVectorizer"), vectorizer=vectorizer)
    return getattr(text, vectorizer)(
        tokenizer=tokenize_review, token_pattern=None, lowercase=False, ngram_range=(1, max_words), min_df=2, **options
    )


def tfidf_regression(max_words=1, C=2.0):
    """Return logistic regression on TF-IDF weights, a pipeline with ``fit(texts, labels)``.

    Args:
        max_words: the longest run of words that counts.
        C: the larger, the more freely the weights may grow; pairs bear more than single words do.
    """
    guards.check_rates(C=C)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        bag_of_words(max_words, sublinear_tf=True), LogisticRegression(C=C, solver="liblinear", max_iter=1000)
    )


def _numbers_before(strings, codes):
    """Number the string that ends before each token among the counted ones: 0 where a text begins, -1 if not counted.

    So a string of any length is a small number, and one token more makes a code of it that is new.
    """
    place = np.minimum(np.searchsorted(strings, codes), len(strings) - 1)
    return np.concatenate([[0], np.where(strings[place] == codes, place + 1, -1)[:-1]])


def _look_up(keys, values, codes):
    """Return the value of each code in a table that is sorted by its keys, 0 for those it lacks."""
    place = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
    return np.where(keys[place] == codes, values[place], 0)


def persistence_baseline(series, horizons):
    """Return the forecast that nothing changes, (T, S, K), for a series (T, S)."""
    guards.check_horizons(horizons, series)
    return series[..., None].expand(*series.shape, len(horizons))


def same_hour_baseline(series, horizons, season=24):
    """Return as forecast the newest known value at the same hour of day, (T, S, K)."""
    guards.check_horizons(horizons, series)
    guards.check_sizes(season=season)
    forecast = torch.full((*series.shape, len(horizons)), torch.nan)
    for k, h in enumerate(horizons):
        back = -h % season  # hours from that value to now
        forecast[back:, :, k] = series[: len(series) - back]
    return forecast
