"""Naive Bayes as the weights of a logistic regression, on scikit-learn."""

import numpy as np

from rnnlib import baselines


class WeightedRegression:
    """Logistic regression on counts, each weighted by its log-count ratio (Wang and Manning, 2012).

    The ratio of a word with p occurrences in positive and q in negative reviews, each plus one and as a share of its
    class, is log(p / q): naive Bayes' own weight.
    """

    def fit(self, counts, labels):
        """Learn from a sparse matrix, a row a review, and labels, 0 or 1; return self."""
        from sklearn.linear_model import LogisticRegression

        labels = np.asarray(labels)
        shares = [1 + np.asarray(counts[labels == label].sum(axis=0)).ravel() for label in (0, 1)]
        self.ratio = np.log(shares[1] / shares[1].sum()) - np.log(shares[0] / shares[0].sum())
        self.regression = LogisticRegression(C=2, solver="liblinear", max_iter=1000)
        self.regression.fit(counts.multiply(self.ratio).tocsr(), labels)
        return self

    def decision_function(self, counts):
        """Return the logits of the rows, (N,)."""
        return self.regression.decision_function(counts.multiply(self.ratio).tocsr())


class NaiveBayesRegression(WeightedRegression):
    """The same on words and pairs of words of reviews as they were written."""

    def fit(self, texts, labels):
        """Learn from reviews as they were written and their labels, 0 or 1; return self."""
        self.vectorizer = baselines.bag_of_words(2, "CountVectorizer", binary=True)
        return super().fit(self.vectorizer.fit_transform(texts), labels)

    def decision_function(self, texts):
        """Return the logits of reviews, (N,)."""
        return super().decision_function(self.vectorizer.transform(texts))
