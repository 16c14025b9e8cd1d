"""Classifiers of reviews without a network, on scikit-learn: what a recurrent one has to beat (chapter 7)."""

import numpy as np

from rnnlib.reviews import tokenize_review


def bag_of_words(max_words=1, vectorizer="TfidfVectorizer", **options):
    """Return a scikit-learn vectorizer that counts words, and runs of up to ``max_words`` of them, of a review.

    What occurs in one review alone is left out.
    """
    from sklearn.feature_extraction import text

    return getattr(text, vectorizer)(
        tokenizer=tokenize_review, token_pattern=None, lowercase=False, ngram_range=(1, max_words), min_df=2, **options
    )


def tfidf_regression(max_words=1, C=2.0):
    """Return logistic regression on TF-IDF weights, a pipeline with ``fit(texts, labels)``.

    Args:
        max_words: the longest run of words that counts.
        C: the larger, the more freely the weights may grow; pairs bear more than single words do.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        bag_of_words(max_words, sublinear_tf=True), LogisticRegression(C=C, solver="liblinear", max_iter=1000)
    )


class NaiveBayesRegression:
    """Logistic regression on words and pairs of words, each weighted by its log-count ratio (Wang and Manning, 2012).

    The ratio of a word with p occurrences in positive and q in negative reviews, each plus one and as a share of its
    class, is log(p / q): naive Bayes' own weight.
    """

    def fit(self, texts, labels):
        """Learn from reviews as they were written and their labels, 0 or 1; return self."""
        from sklearn.linear_model import LogisticRegression

        labels = np.asarray(labels)
        self.vectorizer = bag_of_words(2, "CountVectorizer", binary=True)
        counts = self.vectorizer.fit_transform(texts)
        shares = [1 + np.asarray(counts[labels == label].sum(axis=0)).ravel() for label in (0, 1)]
        self.ratio = np.log(shares[1] / shares[1].sum()) - np.log(shares[0] / shares[0].sum())
        self.regression = LogisticRegression(C=2, solver="liblinear", max_iter=1000)
        self.regression.fit(counts.multiply(self.ratio).tocsr(), labels)
        return self

    def decision_function(self, texts):
        """Return the logits of reviews, (N,)."""
        return self.regression.decision_function(self.vectorizer.transform(texts).multiply(self.ratio).tocsr())
