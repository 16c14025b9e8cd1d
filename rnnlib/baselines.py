"""What a network has to beat: counting models of text (chapter 2), classifiers of reviews (7), forecasts (8)."""

import numpy as np
import torch

from rnnlib import guards
from rnnlib.sentiment import tokenize_review


class Table:
    """A counting model of text: it looks up what came after the last few tokens; each order blends with the shorter.

    Args:
        ids: the token ids of the training text.
        order: n; 0 is the uniform guess, 1 looks at no token before, 2 at one.
        vocab_size: V.

    Raises:
        ValueError: for a text without tokens or with ids that are not whole numbers from 0 to V - 1, an order that is
            not a whole number from 0 on.
    """

    def __init__(self, ids, order, vocab_size):
        guards.check_sizes(vocab_size=vocab_size)
        if not guards.is_whole(order, 0):
            raise ValueError(f"order={order!r} must be a whole number from 0 on, the tokens of a string")
        self.order, self.vocab_size, self._strings, counted = order, vocab_size, [], []
        for codes in self._codes(self._checked(ids)):
            self._strings.append(np.unique(codes))
            counted.append(codes)
        self._count(counted)

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

    def _codes(self, ids):
        """Yield for n = 1, 2, … a code of the n tokens that end at each position: first n - 1 tokens * V + last one.

        The first ones are numbered among the strings that were counted: 0 where the text begins, -1 if they were not
        counted. So a string of any length, from any vocabulary, has a small code.
        """
        contexts = np.zeros_like(ids)
        for n in range(self.order):
            codes = contexts * self.vocab_size + ids
            yield codes
            place = np.minimum(np.searchsorted(self._strings[n], codes), len(self._strings[n]) - 1)
            numbers = np.where(self._strings[n][place] == codes, place + 1, -1)
            contexts = np.concatenate([[0], numbers[:-1]])

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
        for n, codes in enumerate(self._codes(ids), start=1):
            p = self._blend(n, codes, codes // self.vocab_size, p)
            yield p

    def perplexity(self, ids):
        """Return the geometric mean of 1 / p over a text."""
        return geometric_mean_of_inverses(self.probabilities(ids))


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

    def _count(self, counted):
        both = ((codes, codes // self.vocab_size) for codes in counted)
        self._counts = [[np.unique(numbers, return_counts=True) for numbers in pair] for pair in both]

    def _blend(self, n, codes, contexts, p):
        joint, seen = (_look_up(*table, at) for table, at in zip(self._counts[n - 1], (codes, contexts), strict=True))
        return (joint + self.smoothing * p) / (seen + self.smoothing)


class KneserNey(Table):
    """Predict a token from the ``order - 1`` tokens before it by modified Kneser-Ney counts (Chen and Goodman, 1999).

    Every count gives a discount to the shorter context, and a shorter context counts not how often a token came, but
    after how many different ones. There is no setting but the order.

    Args:
        ids, order, vocab_size: as for :class:`Table`.
    """

    def _count(self, counted):
        self._levels = []
        for n, strings in enumerate(counted, start=1):
            if n < self.order:  # different tokens in front, in place of occurrences
                _, places = np.unique(counted[n], return_index=True)
                strings = strings[places]
            strings, a = np.unique(strings, return_counts=True)
            taken = discounts(a)
            contexts, rows = np.unique(strings // self.vocab_size, return_inverse=True)
            self._levels.append((strings, a - taken, contexts, np.bincount(rows, a), np.bincount(rows, taken)))

    def _blend(self, n, codes, contexts, p):
        strings, kept, known, sums, taken = self._levels[n - 1]
        total = _look_up(known, sums, contexts)
        blend = _look_up(strings, kept, codes) + _look_up(known, taken, contexts) * p
        return np.where(total > 0, blend / np.maximum(total, 1), p)

    def __len__(self):
        """Return how many strings are kept with their counts."""
        return sum(len(strings) for strings, *_ in self._levels)


def discounts(a):
    """Return what is taken off each count by Chen and Goodman's formula, from how many are 1, 2, 3 and 4."""
    guards.check_whole_numbers(a, "that are counts", "give those of the strings")
    a = np.asarray(a)
    m = np.bincount(np.minimum(a, 5), minlength=6)  # m[k] strings have count k
    share = m[1] / max(m[1] + 2 * m[2], 1)
    by_count = [k - (k + 1) * share * m[k + 1] / max(m[k], 1) for k in (1, 2, 3)]
    return np.clip([0, *by_count], 0, [0, 1, 2, 3])[np.minimum(a, 3)]


def geometric_mean_of_inverses(p):
    """Return the perplexity of the probabilities that a model gave to the tokens that came."""
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


def _look_up(keys, values, codes):
    """Return the value of each code in a table that is sorted by its keys, 0 for those it lacks."""
    place = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
    return np.where(keys[place] == codes, values[place], 0)


def persistence(series, horizons):
    """Return the forecast that nothing changes, (T, S, K), for a series (T, S)."""
    guards.check_horizons(horizons, series)
    return series[..., None].expand(*series.shape, len(horizons))


def same_hour(series, horizons, season=24):
    """Return as forecast the newest known value at the same hour of day, (T, S, K)."""
    guards.check_horizons(horizons, series)
    guards.check_sizes(season=season)
    forecast = torch.full((*series.shape, len(horizons)), torch.nan)
    for k, h in enumerate(horizons):
        back = -h % season  # hours from that value to now
        forecast[back:, :, k] = series[: len(series) - back]
    return forecast
