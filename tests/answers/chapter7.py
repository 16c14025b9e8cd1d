"""Answers to the exercises of chapter 7."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support
from torch import nn

from rnnlib import baselines, check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}

VERDICTS = {
    "solution": (SOLUTIONS["verdicts"], "Right"),
    "from the other side": (lambda logits: torch.lt(torch.zeros(()), logits), "Right"),
    "by the probability": (lambda logits: logits.sigmoid() > 0.5, "Right"),
    "by hand": (lambda logits: 1 / (1 + torch.exp(-logits)) > 0.5, "Right"),
    "rounded": (lambda logits: logits.sigmoid().round(), "Right"),
    "one by one": (lambda logits: torch.tensor([bool(one > 0) for one in logits]), "Right"),
    "zeros and ones": (lambda logits: (logits > 0).long(), "Right"),
    "torch.gt": (lambda logits: torch.gt(logits, 0.0), "Right"),
    "as two logits": (lambda logits: torch.stack([torch.zeros_like(logits), logits]).argmax(0).bool(), "Right"),
    "clamped": (lambda logits: logits.clamp(min=0) != 0, "Right"),
    "half": (lambda logits: torch.gt(logits, 0.5), "that is a line for probabilities"),
    "sigmoid above 0": (lambda logits: torch.sigmoid(logits) > 0, "calls every review positive"),
    "turned round": (lambda logits: ~(logits > 0) & (logits != 0), "is the wrong way round"),
    "not negative": (lambda logits: ~(logits < 0), "a logit of exactly 0"),
    "probabilities": (lambda logits: logits.sigmoid(), "should be True or False for each review"),
    "signs": (lambda logits: logits.sign(), "should be True or False for each review"),
    "a list": (lambda logits: (logits > 0).tolist(), "should be a tensor"),
    "how many": (lambda logits: (logits > 0).sum(), "should have shape (6,)"),
    "nothing": (lambda logits: print(end=""), "nothing came back"),
}


def table(p, y, t):
    """Count reviews: called and positive, called and negative, not called and positive, not called and negative."""
    called = [float(one) > t for one in p]
    pairs = list(zip(called, y.tolist(), strict=True))
    return [pairs.count(pair) for pair in ((True, 1), (True, 0), (False, 1), (False, 0))]


def scores_from(make):
    """Return an answer that makes both numbers from the four counts."""
    return lambda p, y, t: make(*table(p, y, t))


def scores_by_library(p, y, t):
    precision, recall, _, _ = precision_recall_fscore_support(y.numpy(), (p > t).int().numpy(), average="binary")
    return precision, recall


def scores_by_numpy(p, y, t):
    called, positive = p.numpy() > t, y.numpy() == 1
    return positive[called].mean(), called[positive].mean()


def scores_by_einsum(p, y, t):
    called = (p > t).double()
    hits = torch.einsum("n,n->", called, y.double())
    return hits / called.sum(), hits / y.sum()


PRECISION_AND_RECALL = {
    "solution": (SOLUTIONS["precision_and_recall"], "Right"),
    "counts": (scores_from(lambda tp, fp, fn, tn: (tp / (tp + fp), tp / (tp + fn))), "Right"),
    "library": (scores_by_library, "Right"),
    "NumPy": (scores_by_numpy, "Right"),
    "einsum": (scores_by_einsum, "Right"),
    "a list": (lambda p, y, t: [float(one) for one in scores_by_einsum(p, y, t)], "Right"),
    "a tensor": (lambda p, y, t: torch.stack(scores_by_einsum(p, y, t)).float(), "Right"),
    "an array": (lambda p, y, t: np.array(scores_by_numpy(p, y, t)), "Right"),
    "float32 and float64": (
        lambda p, y, t: (scores_by_einsum(p, y, t)[0].float(), scores_by_numpy(p, y, t)[1]),
        "Right",
    ),
    "swapped": (lambda p, y, t: scores_by_numpy(p, y, t)[::-1], "the wrong way round"),
    "at least": (
        lambda p, y, t: scores_by_numpy(p, y, np.nextafter(np.float32(t), np.float32(0))),
        "only those above it",
    ),
    "one half": (lambda p, y, t: scores_by_numpy(p, y, 0.5), "a threshold of one half"),
    "accuracy": (scores_from(lambda tp, fp, fn, tn: ((tp + tn) / (tp + fp + fn + tn),) * 2), "are accuracies"),
    "of all": (scores_from(lambda tp, fp, fn, tn: (tp / (tp + fp + fn + tn),) * 2), "are shares of all reviews"),
    "of the negative": (scores_from(lambda tp, fp, fn, tn: (tn / (tn + fn), tn / (tn + fp))), "the negative reviews"),
    "false alarms": (scores_from(lambda tp, fp, fn, tn: (tp / (tp + fp), fp / (fp + tn))), "a share of the positive"),
    "F score": (scores_from(lambda tp, fp, fn, tn: (tp / (tp + (fp + fn) / 2),) * 2), "are F scores"),
    "not divided": (scores_from(lambda tp, fp, fn, tn: (tp, tp)), "are counts"),
    "one of them": (lambda p, y, t: scores_by_numpy(p, y, t)[0], "return two numbers, precision and recall"),
    "an axis more": (lambda p, y, t: tuple(part[None] for part in scores_by_einsum(p, y, t)), "should be a number"),
    "texts": (lambda p, y, t: ("50%", "25%"), "precision should be a number, but a str came"),
}


def pad_by_library(rows, length):
    kept = [row[-length:] for row in rows]
    ids = nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=1)
    return F.pad(ids, (0, length - ids.shape[1]), value=1), torch.tensor([len(row) for row in kept])


def pad_by_lists(rows, length):
    kept = [row.tolist()[-length:] for row in rows]
    return torch.tensor([row + [1] * (length - len(row)) for row in kept]), torch.tensor(list(map(len, kept)))


def pad_word_by_word(rows, length):
    ids = torch.ones(len(rows), length, dtype=torch.int64)
    lengths = torch.zeros(len(rows), dtype=torch.int64)
    for i, row in enumerate(rows):
        for word in row[max(0, len(row) - length) :]:
            ids[i, lengths[i]] = word
            lengths[i] += 1
    return ids, lengths


def padded(cut=lambda row, n: row[-n:], pad=1, front=False, dtype=torch.long, count=None):
    """Return an answer with rules of its own for the cut, the padding, its place and the lengths."""

    def answer(rows, length):
        kept = [cut(row, length)[:length] for row in rows]
        ids = torch.full((len(rows), length), pad, dtype=dtype)
        for i, row in enumerate(kept):
            ids[i, length - len(row) if front else 0 :][: len(row)] = row
        return ids, torch.tensor(count(rows, length) if count else [len(row) for row in kept])

    return answer


def pad_to_the_longest(rows, length):
    kept = [row[-length:] for row in rows]
    return nn.utils.rnn.pad_sequence(kept, True, 1), torch.tensor([len(row) for row in kept])


PAD_TAILS = {
    "solution": (SOLUTIONS["pad_tails"], "Right"),
    "library": (pad_by_library, "Right"),
    "lists": (pad_by_lists, "Right"),
    "word by word": (pad_word_by_word, "Right"),
    "a list": (lambda rows, length: list(pad_by_library(rows, length)), "Right"),
    "int32": (lambda rows, length: tuple(part.int() for part in pad_by_library(rows, length)), "Right"),
    "heads": (padded(lambda row, n: row[:n]), "hold the beginnings of the reviews"),
    "last word lost": (padded(lambda row, n: row[-(n + 1) : -1]), "lack the last word of each review"),
    "one word short": (padded(lambda row, n: row[max(0, len(row) - n + 1) :]), "keep one word too few"),
    "short ones cut": (padded(lambda row, n: row[len(row) - n :]), "a review that is shorter than length"),
    "reversed": (padded(lambda row, n: row[-n:].flip(0)), "in reverse order"),
    "padded with 0": (padded(pad=0), "are filled up with 0, which is <unk>"),
    "padded in front": (padded(front=True), "it belongs behind the last word"),
    "padded in front with 0": (padded(front=True, pad=0), "have zeros in front"),
    "to the longest": (pad_to_the_longest, "are as wide as the longest row"),
    "lengths before the cut": (padded(count=lambda rows, n: [len(row) for row in rows]), "are those before the cut"),
    "lengths with padding": (padded(count=lambda rows, n: [n] * len(rows)), "count the padding"),
    "fractions": (padded(dtype=torch.float32), "the ids should be whole numbers"),
    "ids alone": (lambda rows, length: pad_by_library(rows, length)[0], "return two tensors, ids and lengths"),
    "swapped": (lambda rows, length: pad_by_library(rows, length)[::-1], "the ids should have shape (2, 4)"),
}


def loss_by_softmax(logits, targets):
    kept = targets != 1
    chosen = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    return -(chosen * kept).sum() / kept.sum()


def loss_in_a_loop(logits, targets):
    total, count = 0.0, 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        if target != 1:
            total += math.log(sum(map(math.exp, row))) - row[target]
            count += 1
    return total / count


def loss_by_numpy(logits, targets):
    logits, targets = logits.numpy(), targets.numpy()
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(targets)), targets]
    return losses[targets != 1].mean()


def loss_by_einsum(logits, targets):
    chosen = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    real = (targets != 1).to(logits.dtype)
    return -torch.einsum("mv,mv,m->", logits.log_softmax(1), chosen, real) / real.sum()


def loss_of(keep, reduction="mean"):
    return lambda logits, targets: F.cross_entropy(logits[keep(targets)], targets[keep(targets)], reduction=reduction)


LOSS_WITHOUT_PADDING = {
    "ignore_index": (SOLUTIONS["loss_without_padding"], "Right"),
    "masked": (loss_of(lambda targets: targets != 1), "Right"),
    "log_softmax": (loss_by_softmax, "Right"),
    "loop": (loss_in_a_loop, "Right"),
    "NumPy": (loss_by_numpy, "Right"),
    "float32": (lambda logits, targets: loss_by_softmax(logits.float(), targets), "Right"),
    "module": (lambda logits, targets: nn.CrossEntropyLoss(ignore_index=1)(logits, targets), "Right"),
    "einsum": (loss_by_einsum, "Right"),
    "all": (lambda logits, targets: F.cross_entropy(logits, targets), "averages over the padding too"),
    "divided by all": (
        lambda logits, targets: loss_by_softmax(logits, targets) * (targets != 1).double().mean(),
        "divides by all places",
    ),
    "no <unk>": (loss_of(lambda targets: targets != 0), "leaves out 0, which is <unk>"),
    "neither": (loss_of(lambda targets: targets > 1), "leaves <unk> out too"),
    "summed": (loss_of(lambda targets: targets != 1, "sum"), "adds up the real places"),
    "padding alone": (loss_of(lambda targets: targets == 1), "is that of the padding alone"),
    "perplexity": (lambda logits, targets: loss_by_softmax(logits, targets).exp(), "is the perplexity"),
    "one each": (lambda logits, targets: F.cross_entropy(logits, targets, reduction="none"), "comes for each place"),
    "bits": (lambda logits, targets: loss_by_softmax(logits, targets) / math.log(2), "the loss of 6 places should be"),
    "sign": (lambda logits, targets: -loss_by_softmax(logits, targets), "the loss of 6 places should be"),
}


def folds_by_numpy(num_reviews, num_folds):
    return np.array_split(np.arange(num_reviews), num_folds)


def folds_by_sizes(num_reviews, num_folds):
    """Give the first folds one more, until the rest is used up."""
    size, rest = divmod(num_reviews, num_folds)
    folds, start = [], 0
    for k in range(num_folds):
        stop = start + size + (k < rest)
        folds.append(tuple(range(start, stop)))
        start = stop
    return tuple(folds)


def folds_of(size, num_reviews, num_folds):
    return [list(range(start, min(start + size, num_reviews))) for start in range(0, num_reviews, size)]


def shuffled_folds(num_reviews, num_folds):
    order = torch.randperm(num_reviews, generator=torch.Generator().manual_seed(0))
    return [part.tolist() for part in order.tensor_split(num_folds)]


MOVIE_FOLDS = {
    "solution": (SOLUTIONS["movie_folds"], "Right"),
    "library": (folds_by_numpy, "Right"),
    "tuples": (folds_by_sizes, "Right"),
    "tensors": (lambda num_reviews, num_folds: torch.arange(num_reviews).tensor_split(num_folds), "Right"),
    "NumPy numbers": (lambda *sizes: [list(fold) for fold in folds_by_numpy(*sizes)], "Right"),
    "tensors as numbers": (
        lambda num_reviews, num_folds: [list(part) for part in torch.arange(num_reviews).tensor_split(num_folds)],
        "Right",
    ),
    "ranges": (lambda *sizes: [range(fold[0], fold[-1] + 1) for fold in folds_by_sizes(*sizes)], "Right"),
    "strided": (
        lambda num_reviews, num_folds: [list(range(k, num_reviews, num_folds)) for k in range(num_folds)],
        "neighbours are in different folds",
    ),
    "shuffled": (shuffled_folds, "neighbours are in different folds"),
    "rest dropped": (
        lambda num_reviews, num_folds: [
            list(range(k * (num_reviews // num_folds), (k + 1) * (num_reviews // num_folds))) for k in range(num_folds)
        ],
        "some reviews are in no fold",
    ),
    "rest in the last": (
        lambda num_reviews, num_folds: [
            *folds_of(num_reviews // num_folds, num_reviews, num_folds)[: num_folds - 1],
            list(range((num_folds - 1) * (num_reviews // num_folds), num_reviews)),
        ],
        "the sizes differ by more than one",
    ),
    "rounded up": (
        lambda num_reviews, num_folds: folds_of(-(-num_reviews // num_folds), num_reviews, num_folds),
        "the sizes differ by more than one",
    ),
    "rest in one more": (
        lambda num_reviews, num_folds: folds_of(num_reviews // num_folds, num_reviews, num_folds),
        "return a list of 4 folds for 11 reviews and 4 folds, but a list of 6 came",
    ),
    "training parts": (
        lambda num_reviews, num_folds: [
            [i for i in range(num_reviews) if i not in fold]
            for fold in SOLUTIONS["movie_folds"](num_reviews, num_folds)
        ],
        "the reviews to train on",
    ),
    "ends shared": (
        lambda *sizes: [list(range(max(0, fold[0] - 1), fold[-1] + 1)) for fold in folds_by_sizes(*sizes)],
        "some reviews are in more than one fold",
    ),
    "from 1": (lambda *sizes: [[i + 1 for i in fold] for fold in folds_by_sizes(*sizes)], "no review has"),
    "sizes": (lambda *sizes: [len(fold) for fold in folds_by_sizes(*sizes)], "each fold should be a list of numbers"),
    "fractions": (
        lambda *sizes: [[float(i) for i in fold] for fold in folds_by_sizes(*sizes)],
        "a float came in a fold",
    ),
}


def attend_in_a_loop(outputs, scores, lengths):
    rows = []
    for n, length in enumerate(lengths.tolist()):
        weights = scores[:length, n].softmax(0)
        rows.append(weights @ outputs[:length, n])
    return torch.stack(rows)


def attend_by_einsum(outputs, scores, lengths):
    kept = torch.arange(scores.size(0)).unsqueeze(1).lt(lengths)
    weights = scores.where(kept, torch.tensor(-1e9, dtype=scores.dtype)).softmax(0)
    return torch.einsum("tn,tnh->nh", weights, outputs)


def attend_to(keep, share=lambda scores, kept: torch.softmax(scores.masked_fill(~kept, -torch.inf), 0)):
    """Return an answer from a rule for what is kept and one for the weights."""

    def answer(outputs, scores, lengths):
        kept = keep(torch.arange(len(scores))[:, None], lengths)
        return torch.einsum("tn,tnh->nh", share(scores, kept), outputs)

    return answer


def before(steps, lengths):
    return steps < lengths


def masked_and_divided(scores, kept):
    weights = torch.softmax(scores, 0) * kept
    return weights / weights.sum(0)


def attend_within_the_longest(outputs, scores, lengths):
    longest = int(lengths.max())
    return attend_by_einsum(outputs[:longest], scores[:longest], lengths)


def attend_with_too_short_a_mask(outputs, scores, lengths):
    kept = torch.arange(int(lengths.max()))[:, None] < lengths
    return torch.einsum("tn,tnh->nh", torch.softmax(scores.masked_fill(~kept, -torch.inf), 0), outputs)


def attend_in_place(outputs, scores, lengths):
    scores[torch.arange(len(scores))[:, None] >= lengths] = -torch.inf
    return torch.einsum("tn,tnh->nh", scores.softmax(0), outputs)


ATTEND = {
    "solution": (SOLUTIONS["attend"], "Right"),
    "loop": (attend_in_a_loop, "Right"),
    "einsum": (attend_by_einsum, "Right"),
    "divided afterwards": (attend_to(before, masked_and_divided), "Right"),
    "exponentials": (attend_to(before, lambda s, kept: s.exp() * kept / (s.exp() * kept).sum(0)), "Right"),
    "within the longest": (attend_within_the_longest, "Right"),
    "float32": (lambda *arguments: attend_in_a_loop(*arguments).float(), "Right"),
    "one step too far": (attend_to(lambda steps, lengths: steps <= lengths), "let one step of padding in"),
    "one step short": (attend_to(lambda steps, lengths: steps < lengths - 1), "leave the last word out"),
    "mask turned round": (attend_to(lambda steps, lengths: steps >= lengths), "the mask is the wrong way round"),
    "mask of the longest": (attend_with_too_short_a_mask, "it fails with 6 steps where the longest review has 4 words"),
    "no mask": (attend_to(before, lambda s, kept: s.softmax(0)), "still depend on the padding"),
    "mask behind": (attend_to(before, lambda s, kept: s.softmax(0) * kept), "weights that don't sum to 1"),
    "scores of 0": (attend_to(before, lambda s, kept: (s * kept).softmax(0)), "give padding the score 0"),
    "over the reviews": (
        attend_to(before, lambda s, kept: s.masked_fill(~kept, -1e9).softmax(1)),
        "share the weight out among the reviews",
    ),
    "mean": (attend_to(before, lambda s, kept: kept / kept.sum(0).double()), "are plain means over the real steps"),
    "scores for weights": (attend_to(before, lambda s, kept: s * kept), "weighted by the scores themselves"),
    "divided once more": (
        lambda outputs, scores, lengths: attend_in_a_loop(outputs, scores, lengths) / len(scores),
        "so add up",
    ),
    "in place": (attend_in_place, "changes what came in"),
    "not summed": (
        lambda outputs, scores, lengths: scores.softmax(0)[..., None] * outputs,
        "should have shape (2, 3), but (6, 2, 3) came",
    ),
}


def remaining(ids, i):
    return ids[torch.arange(len(ids)) != i]


def effects_of(change, compare=lambda whole, part: whole - part):
    """Return an answer from a rule for what is left of a review, and one that compares the scores."""
    return lambda score, ids: torch.stack([compare(score(ids), score(change(ids, i))) for i in range(len(ids))])


def effects_as_floats(score, ids):
    return [float(score(ids)) - float(score(remaining(ids, i))) for i in range(len(ids))]


def effects_into_a_tensor(score, ids):
    effects = torch.zeros(len(ids))
    for i in range(len(ids)):
        words = ids.tolist()
        del words[i]
        effects[i] = score(ids) - score(torch.tensor(words))
    return effects


def effects_in_place(score, ids):
    whole, effects = score(ids), []
    for i in range(len(ids)):
        ids[i:] = ids[i:].roll(-1)
        effects.append(whole - score(ids[:-1]))
    return torch.stack(effects)


def put(token):
    return lambda ids, i: torch.where(torch.arange(len(ids)) == i, token, ids)


LEAVE_ONE_OUT = {
    "solution": (SOLUTIONS["leave_one_out"], "Right"),
    "mask": (effects_of(remaining), "Right"),
    "into a tensor": (effects_into_a_tensor, "Right"),
    "floats": (effects_as_floats, "Right"),
    "a tuple of NumPy": (lambda score, ids: tuple(map(np.float32, effects_as_floats(score, ids))), "Right"),
    "an array": (lambda score, ids: np.array(effects_as_floats(score, ids)), "Right"),
    "a tensor of floats": (lambda score, ids: torch.tensor(effects_as_floats(score, ids)), "Right"),
    "tensors": (lambda score, ids: list(effects_of(remaining)(score, ids)), "Right"),
    "sign": (effects_of(remaining, lambda whole, part: part - whole), "has the sign turned round"),
    "what is left": (effects_of(remaining, lambda whole, part: part), "is the score that is left"),
    "size alone": (effects_of(remaining, lambda whole, part: (whole - part).abs()), "has lost its sign"),
    "<unk>": (effects_of(put(0)), "puts <unk> in the word's place"),
    "<pad>": (effects_of(put(1)), "puts <pad> in the word's place"),
    "word alone": (lambda score, ids: torch.stack([score(one) for one in ids.split(1)]), "scores each word alone"),
    "every place": (effects_of(lambda ids, i: ids[ids != ids[i]]), "leave out one place at a time"),
    "all after it": (effects_of(lambda ids, i: ids[:i]), "the word and all after it"),
    "two words": (effects_of(lambda ids, i: torch.cat([ids[:i], ids[i + 2 :]])), "leaves the next word out as well"),
    "as it is read": (
        lambda score, ids: torch.stack([score(ids[: i + 1]) - score(ids[:i]) for i in range(len(ids))]),
        "as the review is read",
    ),
    "in place": (effects_in_place, "leaves the ids changed"),
    "one too few": (lambda score, ids: effects_of(remaining)(score, ids)[1:], "but (3,) came"),
    "texts": (lambda score, ids: ["much"] * len(ids), "each effect should be a number, but a str came"),
}


@functools.cache
def judged(max_words, texts, labels, new_texts):
    """Return the verdicts of a regression on words and their runs; several answers share them."""
    model = baselines.tfidf_regression(max_words=max_words).fit(texts, labels)
    return model.decision_function(new_texts) > 0


def by_regression(max_words):
    return lambda *lists: judged(max_words, *map(tuple, lists)).copy()


def by_library(texts, labels, new_texts):
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10.0).fit(words.fit_transform(texts), labels)
    return list(model.predict(words.transform(new_texts)) == 1)


FROM_FEW = {
    "an array": (by_regression(2), "Right"),
    "library": (by_library, "Right"),
    "a list of NumPy": (lambda *arguments: list(by_regression(2)(*arguments)), "Right"),
    "a tuple": (lambda *arguments: tuple(by_regression(2)(*arguments).tolist()), "Right"),
    "a tensor": (lambda *arguments: torch.tensor(by_regression(2)(*arguments)), "Right"),
    "single words": (
        lambda *arguments: by_regression(1)(*arguments).tolist(),
        "That is the mark to pass, single words",
    ),
    "always positive": (lambda texts, labels, new_texts: [True] * len(new_texts), "That is the majority baseline"),
    "turned round": (lambda *arguments: (~by_regression(2)(*arguments)).tolist(), "That is worse than a coin"),
    "length": (lambda texts, labels, new_texts: [len(text) > 1000 for text in new_texts], "and the goal is more"),
    "numbers": (
        lambda *arguments: by_regression(2)(*arguments).astype(int),
        "should be True or False, but an int came",
    ),
    "probabilities": (lambda texts, labels, new_texts: [0.5] * len(new_texts), "should be True or False, but a float"),
    "of the old texts": (lambda texts, labels, new_texts: [True] * (len(texts) - 1), "one for each review"),
}

ANSWERS = {
    "verdicts": VERDICTS,
    "precision_and_recall": PRECISION_AND_RECALL,
    "pad_tails": PAD_TAILS,
    "loss_without_padding": LOSS_WITHOUT_PADDING,
    "movie_folds": MOVIE_FOLDS,
    "attend": ATTEND,
    "leave_one_out": LEAVE_ONE_OUT,
    "from_few": FROM_FEW,
}
