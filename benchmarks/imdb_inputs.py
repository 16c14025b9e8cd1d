"""What the ladder of IMDB builds on: runs of words as inputs, a reader that answers with stars, teachers, a choice."""

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import environment, sentiment

FOLDS = 5


def ngram_codes(ids, n, vocab_size):
    """Number the runs of n words along the first axis: one whole number for each of the T - n + 1."""
    count = max(len(ids) - n + 1, 0)
    return sum(ids[i : i + count] * vocab_size ** (n - 1 - i) for i in range(n))


def frequent_codes(rows, n, least, vocab_size):
    """Return, sorted, the codes of the runs of n words that stand in at least so many rows."""
    codes, counts = torch.cat([ngram_codes(row, n, vocab_size).unique() for row in rows]).unique(return_counts=True)
    return codes[counts >= least]


def look_up(keys, codes):
    """Return the places of codes in sorted keys, counted from 1, and 0 for those that are not there."""
    places = torch.searchsorted(keys, codes.contiguous()).clamp(max=len(keys) - 1)
    return torch.where(keys[places] == codes, places + 1, 0)


class RunEmbedding(nn.Module):
    """A vector for each frequent run of n words, at the step where it ends; all vectors begin at zero.

    keys: sorted codes, (K,). The vector of a run that is not among them, or dropped in training, is zero and stays so.
    """

    def __init__(self, keys, n, vocab_size, size=32, drop=0.3):
        super().__init__()
        self.n, self.vocab_size = n, vocab_size
        self.register_buffer("keys", keys, persistent=False)
        self.drop = sentiment.DropWords(drop, unk=0)
        self.table = nn.Embedding(len(keys) + 1, size, padding_idx=0, sparse=True)
        nn.init.zeros_(self.table.weight)

    def forward(self, ids):
        """Return vectors (T, N, size) for the ids of words (T, N)."""
        runs = look_up(self.keys, ngram_codes(ids, self.n, self.vocab_size))
        return self.table(self.drop(F.pad(runs, (0, 0, self.n - 1, 0))[-len(ids) :]))


class Inputs(nn.Module):
    """Vectors (T, N, D) of words, and of the runs of words that end with them, side by side."""

    def __init__(self, rows, vocab_size, runs):
        super().__init__()
        self.drop = sentiment.DropWords()
        self.words = nn.Embedding(vocab_size, 100, sparse=True)
        nn.init.normal_(self.words.weight, std=0.1)
        keys = {n: frequent_codes(rows, n, least, vocab_size) for n, least in runs.items()}
        self.runs = nn.ModuleList(RunEmbedding(keys[n], n, vocab_size) for n in runs)
        self.size = 100 + sum(run.table.embedding_dim for run in self.runs)

    def forward(self, ids):
        return torch.cat([self.words(self.drop(ids)), *(run(ids) for run in self.runs)], dim=2)


def half_dropped(vectors):
    """Return vectors with half of their numbers at zero and the others doubled, as nn.Dropout(0.5) in training.

    Eight draws come from one random byte: a draw for each number took a fifth of a training step.
    """
    draws = torch.randint(256, (vectors.numel() // 8 + 1, 1), dtype=torch.uint8)
    bits = (draws >> torch.arange(8, dtype=torch.uint8)) & 1  # (…, 8)
    return vectors * (2 * bits).flatten()[: vectors.numel()].view_as(vectors)


class StarReader(nn.Module):
    """Read a review both ways and answer with a number for each of the eight ratings, 1 to 4 and 7 to 10 stars.

    Read out are the mean and the maximum of the states, and (where ``bag`` is true) the mean of the inputs, a bag of
    words and runs.
    """

    def __init__(self, inputs, num_hiddens=64, bag=True):
        super().__init__()
        self.embedding, self.bag = inputs, bag
        self.rnn = sentiment.BothWays(nn.LSTM, inputs.size, num_hiddens)
        for direction in (self.rnn.ahead, self.rnn.back):
            nn.init.ones_(direction.bias_ih_l0.data[num_hiddens : 2 * num_hiddens])  # forget gates begin open
        self.linear = nn.Linear(4 * num_hiddens + bag * inputs.size, 8)

    def stars(self, ids, lengths):
        """Return logits of the ratings, (N, 8), for ids (N, T)."""
        vectors = self.embedding(ids.T)  # (T, N, D)
        drop = half_dropped if self.training else nn.Identity()
        with environment.bfloat16_where_fast():
            outputs = self.rnn(drop(vectors), lengths)  # (T, N, 2H)
        state = sentiment.mean_and_max(outputs.float(), lengths)  # (N, 4H)
        if self.bag:  # means (N, D) are small, ten times as much learns as fast
            state = torch.cat([state, 10 * sentiment.mean_state(vectors, lengths)], dim=1)
        return self.linear(drop(state))

    def forward(self, ids, lengths):
        """Return the logit of a positive review, (N,)."""
        return positive_logit(self.stars(ids, lengths))


def positive_logit(stars):
    """Return log(p / (1 - p)) with p the probability of one of the four good ratings, (N,), for logits (N, 8)."""
    return stars[:, 4:].logsumexp(dim=1) - stars[:, :4].logsumexp(dim=1)


def star_ids(ratings):
    """Number the ratings that occur: 1 to 4 stars are 0 to 3, and 7 to 10 are 4 to 7."""
    return torch.where(ratings <= 4, ratings - 1, ratings - 3)


def ladder_loss(stars, labels, ratings, taught, star_weight, teacher_weight):
    """Return the loss of logits (N, 8): of the label, of the stars, and of what a teacher's logits (N,) say."""
    logits = positive_logit(stars)
    return (
        F.binary_cross_entropy_with_logits(logits, labels.float())
        + star_weight * F.cross_entropy(stars, star_ids(ratings))
        + teacher_weight * F.binary_cross_entropy_with_logits(logits, taught.sigmoid())
    )


def blocks(labels, folds=FOLDS):
    """Return the fold of each review, (N,): within a class, neighbours are in one, as they may be of one film."""
    result = torch.empty_like(labels)
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]
        result[places] = torch.arange(len(places)) * folds // len(places)
    return result


def out_of_fold(new_model, counts, labels, folds):
    """Return logits (N,) of each review by a model that was fitted on all other folds."""
    logits = torch.empty(len(labels))  # (N,)
    for fold in folds.unique():
        inside = (folds == fold).numpy()
        model = new_model().fit(counts[~inside], labels[~inside].numpy())
        logits[inside] = torch.tensor(model.decision_function(counts[inside])).float()
    return logits


def calibrated(logits, labels):
    """Return the factor, in tenths, by which logits have the least cross-entropy."""
    factors = torch.arange(1, 21) / 10
    return float(factors[torch.stack([loss_of(factor * logits, labels) for factor in factors]).argmin()])


def loss_of(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, labels.float())


def best_weight(logits, others, labels):
    """Return the weight in tenths with which logits and others together have the least cross-entropy.

    Each sum is first made as soft as it is right. (An accuracy on 2,500 reviews is too coarse to choose by.)
    """

    def loss(weight):
        both = logits + weight * others
        return float(loss_of(calibrated(both, labels) * both, labels))

    return min((step / 10 for step in range(31)), key=loss)


def paired_gain(some, others, labels):
    """Return by how many points some logits (S, N) are right more often than others, and the standard error.

    Each of S seeds is compared with itself, review by review; reviews are what the error draws.
    """
    right = labels.bool()
    gains = (((some > 0) == right).double() - ((others > 0) == right).double()).mean(dim=0)  # (N,)
    return 100 * float(gains.mean()), 100 * float(gains.std() / len(gains) ** 0.5)


def count_matrix(rows, keys, vocab_size):
    """Return a sparse matrix (reviews, runs), 1 where a run stands in a review; keys: sorted codes, by length n."""
    from scipy import sparse

    places, ends = [], [0]
    for row in rows:
        offset = 0
        for n, known in keys.items():
            found = look_up(known, ngram_codes(row, n, vocab_size)).unique()
            places.append(found[found > 0] - 1 + offset)
            offset += len(known)
        ends.append(ends[-1] + sum(map(len, places[-len(keys) :])))
    columns = torch.cat(places).numpy()
    ones = torch.ones(len(columns)).numpy()
    return sparse.csr_matrix((ones, columns, ends), shape=(len(rows), sum(map(len, keys.values()))))
