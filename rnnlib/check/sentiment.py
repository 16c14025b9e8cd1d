"""Exercises of chapter 7: reviews, padding and what a score is worth."""

import contextlib
import functools
import itertools
import operator
import random

import numpy as np
import torch
import torch.nn.functional as F

from rnnlib import baselines, data, sentiment
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    expect_close,
    expect_pair,
    expect_shape,
    expect_something,
    expect_truths,
    kind,
    within,
)
from rnnlib.sentiment import PAD, UNK

# ★ From a logit to a verdict


def verdicts(logits):
    return logits > 0


VERDICT_SLIPS = {
    "one half": (
        lambda logits: logits > 0.5,
        "calls reviews positive above 0.5: that is a line for probabilities, and the logit of a half is 0",
    ),
    "every one": (
        lambda logits: logits.sigmoid() > 0,
        "calls every review positive: a sigmoid is never below 0",
    ),
    "the other way": (lambda logits: logits < 0, "is the wrong way round: above 0 means positive"),
    "at zero": (lambda logits: logits >= 0, "calls a logit of exactly 0 positive: only those above it are"),
}


def _test_verdicts(answer):
    generator = torch.Generator().manual_seed(0)
    worked = torch.tensor([2.0, -1.0, 0.3, 0.0, -3.0, 0.6])
    drawn = torch.randn(40, generator=generator, dtype=torch.float64)
    for logits in (worked, 2 * drawn, 0.3 * drawn.float()):
        got = answer(logits.clone())
        expect_shape(got, logits.shape, "the result")
        if got.dtype != torch.bool and not set(got.tolist()) <= {0, 1}:
            raise Wrong("the result should be True or False for each review: compare the logits with a number")
        slips = [(slip(logits), sentence) for slip, sentence in VERDICT_SLIPS.values()]
        expect_close(got, logits > 0, "the result", slips)


VERDICTS = Exercise(
    "verdicts",
    chapter=7,
    stars=1,
    test=_test_verdicts,
    solution=verdicts,
    section="A classifier",
    wrong=VERDICT_SLIPS,
    hints=(
        "A review is positive where its probability is above a half. Which logit has the probability of a half?",
        "The sigmoid of 0 is a half, and it grows with the logit.",
        "Compare the whole tensor at once: logits > 0.",
    ),
)


# ★ Precision and recall


def precision_and_recall(probabilities, labels, threshold):
    called = probabilities > threshold  # called positive
    hits = (called & (labels == 1)).sum()
    return float(hits / called.sum()), float(hits / (labels == 1).sum())


def _swapped(p, y, t):
    return precision_and_recall(p, y, t)[::-1]


def _accuracy(p, y, t):
    return (float(((p > t) == (y == 1)).double().mean()),) * 2


def _of_all(p, y, t):
    hits = float(((p > t) & (y == 1)).double().mean())
    return hits, hits


def _precision_of_all(p, y, t):
    return _of_all(p, y, t)[0], precision_and_recall(p, y, t)[1]


def _recall_of_all(p, y, t):
    return precision_and_recall(p, y, t)[0], _of_all(p, y, t)[1]


def _counts(p, y, t):
    return (float(((p > t) & (y == 1)).sum()),) * 2


def _at_least(p, y, t):
    return precision_and_recall(p, y, t - 1e-6)


def _half(p, y, t):
    return precision_and_recall(p, y, 0.5)


def _false_alarms(p, y, t):
    called, positive = p > t, y == 1
    return precision_and_recall(p, y, t)[0], float((called & ~positive).sum() / (~positive).sum())


def _f_score(p, y, t):
    precision, recall = precision_and_recall(p, y, t)
    return (2 * precision * recall / (precision + recall),) * 2


def _negatives(p, y, t):
    return precision_and_recall((p <= t).float(), 1 - y, 0.5)


SCORE_SLIPS = {
    "swapped": (_swapped, "are the wrong way round: precision is a share of what was called positive"),
    "accuracy": (_accuracy, "are accuracies, shares of all reviews that were judged right"),
    "of all reviews": (_of_all, "are shares of all reviews: divide by those called positive, and by those that are"),
    "precision of all": (_precision_of_all, "have a share of all reviews first: divide by those called positive"),
    "recall of all": (_recall_of_all, "have a share of all reviews second: divide by those that are positive"),
    "at the threshold": (_at_least, "call a review positive that is just at the threshold: only those above it are"),
    "one half": (_half, "are those at a threshold of one half: use the one that is given"),
    "negatives": (_negatives, "are those of the negative reviews"),
    "false alarms": (
        _false_alarms,
        "have the share of negative reviews called positive second: recall is a share of the positive ones",
    ),
    "F score": (_f_score, "are F scores, a mean of both: return the two themselves"),
    "counts": (_counts, "are counts: divide by those called positive, and by those that are"),
}


def _number(value, what):
    """Return a number as a float, a tensor's or NumPy's too, or raise :class:`Wrong` if something else came."""
    if isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim:
        raise Wrong(f"{what} should be a number, but {kind(value)} of shape {tuple(value.shape)} came")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} should be a number, but {kind(value)} came") from None


def _test_precision_and_recall(answer):
    worked = (torch.tensor([0.9, 0.8, 0.7, 0.75, 0.4, 0.2, 0.1]), torch.tensor([1, 0, 1, 1, 1, 0, 0]), 0.75)
    generator = torch.Generator().manual_seed(0)
    cases = [worked]
    for threshold in (0.3, 0.5, 0.8, 0.9):
        labels = torch.randint(2, (40,), generator=generator)
        chance = torch.rand(40, generator=generator)
        cases.append(((chance + 0.5 * labels) / 1.5, labels, threshold))
    for p, y, threshold in cases:
        got = answer(p.clone(), y.clone(), threshold)
        expect_something(got)
        if isinstance(got, (torch.Tensor, np.ndarray)) and got.shape == (2,):
            got = tuple(got)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"return two numbers, precision and recall, but {kind(got)} came")
        slips = [(torch.tensor(slip(p, y, threshold)), sentence) for slip, sentence in SCORE_SLIPS.values()]
        got = torch.tensor([_number(part, what) for part, what in zip(got, ("precision", "recall"), strict=True)])
        what = f"precision and recall at a threshold of {threshold}"
        expect_close(got, torch.tensor(precision_and_recall(p, y, threshold)), what, slips)


PRECISION_AND_RECALL = Exercise(
    "precision_and_recall",
    chapter=7,
    stars=1,
    test=_test_precision_and_recall,
    solution=precision_and_recall,
    section="Where to draw the line",
    wrong=SCORE_SLIPS,
    hints=(
        "Count three things: reviews called positive, reviews that are positive, and reviews that are both.",
        "Both shares have the same numerator, the reviews that are called positive and are.",
        "hits / called, then hits / positive, where called = probabilities > threshold.",
    ),
)


# ★★ The ends of reviews, padded


def pad_tails(rows, length):
    ids = torch.full((len(rows), length), sentiment.PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row[-length:])] = row[-length:]
    return ids, torch.tensor([min(len(row), length) for row in rows])


def _pad_rows(rows, length, cut=lambda row, length: row[-length:], fill=PAD, front=False):
    """Cut, fill and place as told, which may be wrong."""
    ids = torch.full((len(rows), length), fill)
    for i, row in enumerate(rows):
        kept = cut(row, length)
        start = length - len(kept) if front else 0
        ids[i, start : start + len(kept)] = kept
    return ids


def _lengths(rows, length):
    return torch.tensor([min(len(row), length) for row in rows])


def _cut_by(cut):
    """Return an answer that cuts by another rule and pads rightly."""

    def answer(rows, length):
        kept = [cut(row, length)[:length] for row in rows]
        return _pad_rows(kept, length, cut=lambda row, n: row), torch.tensor([len(row) for row in kept])

    return answer


def _to_the_longest(rows, length):
    ids, lengths = pad_tails(rows, length)
    return ids[:, : int(lengths.max())], lengths


def _in_fractions(rows, length):
    ids, lengths = pad_tails(rows, length)
    return ids.float(), lengths


PAD_SLIPS = {
    "last word lost": (
        _cut_by(lambda row, n: row[-(n + 1) : -1]),
        "lack the last word of each review: keep the end, the last word included",
    ),
    "one word short": (
        _cut_by(lambda row, n: row[max(0, len(row) - n + 1) :]),
        "keep one word too few of a long review: the last `length` words",
    ),
    "short ones cut": (
        _cut_by(lambda row, n: row[len(row) - n :]),
        "lose words of a review that is shorter than length: it stays whole",
    ),
    "reversed": (
        _cut_by(lambda row, n: row[-n:].flip(0)),
        "have the words of each review in reverse order",
    ),
    "heads": (
        lambda rows, length: (_pad_rows(rows, length, cut=lambda row, n: row[:n]), _lengths(rows, length)),
        "hold the beginnings of the reviews: keep the last words, where the verdict stands",
    ),
    "padded with <unk>": (
        lambda rows, length: (_pad_rows(rows, length, fill=UNK), _lengths(rows, length)),
        "are filled up with 0, which is <unk>, a word nobody knows: <pad> has an id of its own, 1",
    ),
    "padded in front": (
        lambda rows, length: (_pad_rows(rows, length, front=True), _lengths(rows, length)),
        "have their padding in front: it belongs behind the last word",
    ),
    "padded in front with <unk>": (
        lambda rows, length: (_pad_rows(rows, length, fill=UNK, front=True), _lengths(rows, length)),
        "have zeros in front: <pad> is 1, and belongs behind the last word",
    ),
}
LENGTH_SLIPS = {
    "lengths before the cut": (
        lambda rows, length: (_pad_rows(rows, length), torch.tensor([len(row) for row in rows])),
        "are those before the cut: a review of 500 words that was cut to 400 has 400",
    ),
    "lengths with padding": (
        lambda rows, length: (_pad_rows(rows, length), torch.full((len(rows),), length)),
        "count the padding: a network would read it",
    ),
}


AS_WIDE_AS_THE_LONGEST = "the ids are as wide as the longest row: pad every row to `length`, however short they are"


def _test_pad_tails(answer):
    long, short = torch.tensor([4, 5, 6, 8, 2, 3, 9, 0, 7]), torch.tensor([7, 0, 9])
    cases = [([short, long], 4), ([short, short[:2]], 6)]  # in the second no review fills the width
    generator = torch.Generator().manual_seed(0)
    for length in (1, 3, 6):
        sizes = torch.randint(1, 9, (5,), generator=generator).tolist()
        cases.append(([torch.randint(2, 30, (size,), generator=generator) for size in sizes], length))
    for rows, length in cases:
        got = answer([row.clone() for row in rows], length)
        expect_pair(got, "ids and lengths")
        longest = min(length, max(map(len, rows)))
        if tuple(got[0].shape) == (len(rows), longest) != (len(rows), length):
            raise Wrong(AS_WIDE_AS_THE_LONGEST)
        expect_shape(got[0], (len(rows), length), "the ids")
        for part, what in zip(got, ("ids", "lengths"), strict=True):
            if part.is_floating_point():
                raise Wrong(f"the {what} should be whole numbers, but {part.dtype} came: an embedding takes torch.long")
        expect_shape(got[1], (len(rows),), "the lengths")
        case = f"of {[row.tolist() for row in rows]} with length={length}"
        slips = [(slip(rows, length)[0], sentence) for slip, sentence in PAD_SLIPS.values()]
        expect_close(got[0], pad_tails(rows, length)[0], f"the ids {case}", slips)
        slips = [(slip(rows, length)[1], sentence) for slip, sentence in LENGTH_SLIPS.values()]
        expect_close(got[1], pad_tails(rows, length)[1], f"the lengths {case}", slips)


PAD_TAILS = Exercise(
    "pad_tails",
    chapter=7,
    stars=2,
    test=_test_pad_tails,
    solution=pad_tails,
    section="Minibatches of like length",
    wrong=PAD_SLIPS
    | LENGTH_SLIPS
    | {
        "to the longest": (_to_the_longest, AS_WIDE_AS_THE_LONGEST),
        "fractions": (_in_fractions, "the ids should be whole numbers"),
    },
    hints=(
        "row[-length:] keeps the end of a row; a shorter row stays whole.",
        "Begin with torch.full((N, length), 1), which is nothing but <pad>, and write each row into its place.",
        "ids[i, : len(kept)] = kept, where kept = row[-length:]; the lengths are those of what was kept.",
    ),
)


# ★★ A loss that padding has no part in


def loss_without_padding(logits, targets):
    return F.cross_entropy(logits, targets, ignore_index=sentiment.PAD)


def _each(logits, targets):
    return F.cross_entropy(logits, targets, reduction="none")


PADDED_LOSS_SLIPS = {
    "pads averaged in": (
        lambda logits, targets: F.cross_entropy(logits, targets),
        "averages over the padding too, which is easy to foretell: the loss then looks better the more there is",
    ),
    "divided by all": (
        lambda logits, targets: (_each(logits, targets) * (targets != PAD)).mean(),
        "leaves the padding out of the sum, but divides by all places: divide by the number of real ones",
    ),
    "unknown words out": (
        lambda logits, targets: F.cross_entropy(logits, targets, ignore_index=UNK),
        "leaves out 0, which is <unk>, a word all the same; <pad> is 1",
    ),
    "both out": (
        lambda logits, targets: _each(logits, targets)[targets > PAD].mean(),
        "leaves <unk> out too: it is a word; only <pad> is none",
    ),
    "perplexity": (
        lambda logits, targets: loss_without_padding(logits, targets).exp(),
        "is the perplexity: the loss is its logarithm",
    ),
    "the padding's": (
        lambda logits, targets: F.cross_entropy(logits[targets == PAD], targets[targets == PAD]),
        "is that of the padding alone: keep the places whose target is not 1",
    ),
    "one each": (_each, "comes for each place: return one number, the mean of the real ones"),
    "summed": (
        lambda logits, targets: F.cross_entropy(logits, targets, ignore_index=PAD, reduction="sum"),
        "adds up the real places: take their mean, or long batches make long steps",
    ),
}


def _test_loss_without_padding(answer):
    generator = torch.Generator().manual_seed(0)
    for places, V in ((6, 4), (30, 7), (12, 3)):
        logits = torch.randn(places, V, generator=generator, dtype=torch.float64)
        targets = torch.randint(V, (places,), generator=generator)
        targets[:3] = torch.tensor([UNK, PAD, 2])
        got = answer(logits.clone(), targets.clone())
        slips = [(slip(logits, targets), sentence) for slip, sentence in PADDED_LOSS_SLIPS.values()]
        expect_close(got, loss_without_padding(logits, targets), f"the loss of {places} places", slips)


LOSS_WITHOUT_PADDING = Exercise(
    "loss_without_padding",
    chapter=7,
    stars=2,
    test=_test_loss_without_padding,
    solution=loss_without_padding,
    section="A mean over the padding",
    wrong=PADDED_LOSS_SLIPS,
    hints=(
        "Which of the places are real? targets != 1 says it.",
        "Keep the logits and the targets of the real places alone, logits[real], and take the usual mean loss.",
        "F.cross_entropy has an argument ignore_index, the target that has no part in the mean.",
    ),
)


# ★★ Folds that keep neighbours together


def movie_folds(num_reviews, num_folds):
    cuts = [k * num_reviews // num_folds for k in range(num_folds + 1)]
    return [list(range(cuts[k], cuts[k + 1])) for k in range(num_folds)]


def _strided(num_reviews, num_folds):
    return [list(range(fold, num_reviews, num_folds)) for fold in range(num_folds)]


def _shuffled(num_reviews, num_folds):
    order = torch.randperm(num_reviews).tolist()
    return [[order[i] for i in fold] for fold in movie_folds(num_reviews, num_folds)]


def _rest_dropped(num_reviews, num_folds):
    size = num_reviews // num_folds
    return [list(range(fold * size, (fold + 1) * size)) for fold in range(num_folds)]


def _rest_in_the_last(num_reviews, num_folds):
    folds = _rest_dropped(num_reviews, num_folds)
    return [*folds[:-1], list(range(folds[-1][0], num_reviews))]


def _training_parts(num_reviews, num_folds):
    return [[i for i in range(num_reviews) if i not in fold] for fold in movie_folds(num_reviews, num_folds)]


def _ends_shared(num_reviews, num_folds):
    cuts = [k * num_reviews // num_folds for k in range(num_folds + 1)]
    return [list(range(start, min(end + 1, num_reviews))) for start, end in itertools.pairwise(cuts)]


FOLD_SLIPS = {
    "strided": (_strided, "neighbours are in different folds, and neighbours are reviews of the same film"),
    "rest dropped": (_rest_dropped, "some reviews are in no fold: each must be held out once"),
    "rest in the last": (_rest_in_the_last, "the sizes differ by more than one: share the rest out among the folds"),
    "training parts": (_training_parts, "what came are the reviews to train on: return those that are held out"),
    "ends shared": (_ends_shared, "some reviews are in more than one fold: each is held out once"),
    "from 1": (
        lambda num_reviews, num_folds: [[i + 1 for i in fold] for fold in movie_folds(num_reviews, num_folds)],
        "there are numbers that no review has",
    ),
}


def _numbers_of(fold):
    """Return the numbers in a fold as ints, whatever holds them, or raise :class:`Wrong`."""
    if isinstance(fold, (torch.Tensor, np.ndarray)):
        fold = fold.tolist()
    if not isinstance(fold, (list, tuple, range)):
        raise Wrong(f"each fold should be a list of numbers, but {kind(fold)} came")
    try:
        return [operator.index(i) for i in fold]
    except TypeError:
        strange = next(i for i in fold if not isinstance(i, int))
        raise Wrong(f"a review has a whole number, but {kind(strange)} came in a fold") from None


def _test_movie_folds(answer):
    for num_reviews, num_folds in ((11, 4), (10, 5), (23, 4), (100, 7), (6, 1)):
        folds = answer(num_reviews, num_folds)
        expect_something(folds)
        case = f"for {num_reviews} reviews and {num_folds} folds"
        if not isinstance(folds, (list, tuple)) or len(folds) != num_folds:
            raise Wrong(f"return a list of {num_folds} folds {case}, but {kind(folds)} came")
        folds = [_numbers_of(fold) for fold in folds]
        ids = [i for fold in folds for i in fold]
        if folds == _training_parts(num_reviews, num_folds):
            raise Wrong(f"{case} {FOLD_SLIPS['training parts'][1]}")
        if len(ids) != len(set(ids)):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise Wrong(f"{case} {FOLD_SLIPS['ends shared'][1]}; {twice} comes {ids.count(twice)} times")
        if set(ids) - set(range(num_reviews)):
            raise Wrong(f"{case} there are numbers that no review has; they go from 0 to {num_reviews - 1}")
        if len(ids) < num_reviews:
            raise Wrong(f"{case} {FOLD_SLIPS['rest dropped'][1]}")
        if any(sorted(fold) != list(range(min(fold), max(fold) + 1)) for fold in folds if fold):
            raise Wrong(f"{case} {FOLD_SLIPS['strided'][1]}: make each fold a block")
        sizes = [len(fold) for fold in folds]
        if max(sizes) - min(sizes) > 1:
            raise Wrong(f"{case} {FOLD_SLIPS['rest in the last'][1]}; they are {sizes}")


MOVIE_FOLDS = Exercise(
    "movie_folds",
    chapter=7,
    stars=2,
    test=_test_movie_folds,
    solution=movie_folds,
    section="Which reviews to hold out",
    wrong=FOLD_SLIPS | {"shuffled": (_shuffled, "make each fold a block")},
    hints=(
        "Cut the numbers 0 to num_reviews - 1 into num_folds blocks.",
        "Block k begins where k / num_folds of all reviews lie behind it.",
        "Fold k goes from k * num_reviews // num_folds to (k + 1) * num_reviews // num_folds.",
    ),
)


# ★★ Debug: attention that looks at padding


def attend(outputs, scores, lengths):
    real = torch.arange(len(scores))[:, None] < lengths  # (T, N)
    weights = torch.softmax(scores.masked_fill(~real, -torch.inf), dim=0)  # (T, N)
    return (weights[..., None] * outputs).sum(dim=0)  # (N, H)


def _pool(outputs, weights):
    return (weights[..., None] * outputs).sum(dim=0)


def _masked(outputs, scores, kept):
    return _pool(outputs, torch.softmax(scores.masked_fill(~kept, -torch.inf), 0))


def _real(scores, lengths):
    return torch.arange(len(scores))[:, None] < lengths


ATTEND_SLIPS = {
    "mask after softmax": (
        lambda outputs, scores, lengths: _pool(outputs, torch.softmax(scores, 0) * _real(scores, lengths)),
        "still come from weights that don't sum to 1: padding takes its share before the mask takes it away",
    ),
    "no mask": (
        lambda outputs, scores, lengths: _pool(outputs, torch.softmax(scores, 0)),
        "still depend on the padding: its steps get weight too",
    ),
    "scores times mask": (
        lambda outputs, scores, lengths: _pool(outputs, torch.softmax(scores * _real(scores, lengths), 0)),
        "give padding the score 0, which is a score like another: exp(0) is 1; it takes minus infinity to get 0",
    ),
    "over the reviews": (
        lambda outputs, scores, lengths: _pool(
            outputs, torch.softmax(scores.masked_fill(~_real(scores, lengths), -1e9), 1)
        ),
        "share the weight out among the reviews: it is the steps of one review that compete, dim=0",
    ),
    "one step too far": (
        lambda outputs, scores, lengths: _masked(outputs, scores, _real(scores, lengths + 1)),
        "let one step of padding in: a review of length 2 has steps 0 and 1",
    ),
    "one step short": (
        lambda outputs, scores, lengths: _masked(outputs, scores, _real(scores, lengths - 1)),
        "leave the last word out: a review of length 2 has steps 0 and 1",
    ),
    "the mask turned round": (
        lambda outputs, scores, lengths: _masked(outputs, scores, ~_real(scores, lengths)),
        "look at the padding alone: the mask is the wrong way round",
    ),
    "mean of the weighted": (
        lambda outputs, scores, lengths: attend(outputs, scores, lengths) / len(scores),
        "are divided by the number of steps once more: the weights sum to 1, so add up",
    ),
    "scores for weights": (
        lambda outputs, scores, lengths: _pool(outputs, scores * _real(scores, lengths)),
        "are weighted by the scores themselves: softmax makes weights of them, which sum to 1",
    ),
    "a mean": (
        lambda outputs, scores, lengths: _pool(outputs, _real(scores, lengths) / lengths),
        "are plain means over the real steps: the scores say which steps count",
    ),
}


SCORES_CHANGED = "your function changes what came in: masked_fill makes new scores, masked_fill_ overwrites the old"


def _attend_in_place(outputs, scores, lengths):
    return _pool(outputs, torch.softmax(scores.masked_fill_(~_real(scores, lengths), -torch.inf), 0))


def _up_to_the_longest(outputs, scores, lengths):
    real = torch.arange(int(lengths.max()))[:, None] < lengths
    return _masked(outputs, scores, real)


def _expect_any_width(answer, outputs, scores, lengths, error):
    """Raise :class:`Wrong` if an answer fails on steps that are padding in all reviews, and works without them."""
    longest = int(lengths.max())
    if len(scores) > longest:
        with contextlib.suppress(RuntimeError):
            answer(outputs[:longest].clone(), scores[:longest].clone(), lengths.clone())
            raise Wrong(
                f"it fails with {len(scores)} steps where the longest review has {longest} words: the number of steps "
                f"is that of scores and outputs ({error})"
            ) from None


def _test_attend(answer):
    generator = torch.Generator().manual_seed(0)
    # In the first case all reviews have padding, so that every slip finds something to read.
    for T, lengths in ((6, [4, 2]), (3, [3, 1]), (5, [5, 2, 4]), (4, [4]), (8, [2]), (6, [6, 6])):
        lengths = torch.tensor(lengths)
        N = len(lengths)
        scores = torch.randn(T, N, generator=generator, dtype=torch.float64)
        outputs = torch.randn(T, N, 3, generator=generator, dtype=torch.float64)
        given = outputs.clone(), scores.clone(), lengths.clone()
        try:
            got = answer(*given)
        except RuntimeError as error:
            _expect_any_width(answer, outputs, scores, lengths, error)
            raise
        if not all(map(torch.equal, given, (outputs, scores, lengths))):
            raise Wrong(SCORES_CHANGED)
        expect_shape(got, (N, 3), f"the result for lengths {lengths.tolist()}")
        slips = [(slip(outputs, scores, lengths), sentence) for slip, sentence in ATTEND_SLIPS.values()]
        expect_close(got, attend(outputs, scores, lengths), f"the rows for lengths {lengths.tolist()}", slips)


ATTEND = Exercise(
    "attend",
    chapter=7,
    stars=2,
    test=_test_attend,
    solution=attend,
    section="Read-outs",
    wrong=ATTEND_SLIPS
    | {
        "in place": (_attend_in_place, SCORES_CHANGED),
        "up to the longest": (_up_to_the_longest, "it fails with 6 steps where the longest review has 4 words"),
    },
    hints=(
        "Add up the weights of one review, over its real steps. What should they give?",
        "The mask has to act before softmax, so that padding never takes part in the competition.",
        "scores.masked_fill(~real, -torch.inf) gives padding the weight exp(-inf) = 0; then softmax over dim=0.",
    ),
)


# ★★★ Which word made the verdict?


def leave_one_out(score, ids):
    whole = score(ids)
    effects = []
    for i in range(len(ids)):
        without = torch.cat([ids[:i], ids[i + 1 :]])
        effects.append(whole - score(without))
    return torch.stack(effects)


def _effects(score, ids, change):
    return torch.stack([score(ids) - score(change(ids, i)) for i in range(len(ids))])


def _without(ids, i):
    return torch.cat([ids[:i], ids[i + 1 :]])


def _replaced(token):
    def replace(ids, i):
        ids = ids.clone()
        ids[i] = token
        return ids

    return replace


def _replaced_for_good(score, ids):
    whole, effects = score(ids), []
    for i in range(len(ids)):
        ids[i] = UNK
        effects.append(whole - score(ids))
    return torch.stack(effects)


EFFECT_SLIPS = {
    "sign": (
        lambda score, ids: -_effects(score, ids, _without),
        "has the sign turned round: a word that speaks for the film has an effect above 0",
    ),
    "<unk> in its place": (
        lambda score, ids: _effects(score, ids, _replaced(UNK)),
        "puts <unk> in the word's place: leave the word out, so that its neighbours meet",
    ),
    "<pad> in its place": (
        lambda score, ids: _effects(score, ids, _replaced(PAD)),
        "puts <pad> in the word's place, which the network reads there: leave the word out",
    ),
    "the word alone": (
        lambda score, ids: torch.stack([score(ids[i : i + 1]) for i in range(len(ids))]),
        "scores each word alone: its effect depends on the others, as in 'not good'",
    ),
    "every place of the word": (
        lambda score, ids: torch.stack([score(ids) - score(ids[ids != word]) for word in ids]),
        "leaves the word out wherever it stands: leave out one place at a time",
    ),
    "running verdict": (
        lambda score, ids: _effects(score, ids, lambda ids, i: ids[:i]),
        "leaves out the word and all after it",
    ),
    "as it is read": (
        lambda score, ids: torch.stack([score(ids[: i + 1]) - score(ids[:i]) for i in range(len(ids))]),
        "is how the score changes as the review is read: leave one word out of the whole review",
    ),
    "the score that is left": (
        lambda score, ids: torch.stack([score(_without(ids, i)) for i in range(len(ids))]),
        "is the score that is left: asked is what is lost, the whole score minus it",
    ),
    "size alone": (
        lambda score, ids: _effects(score, ids, _without).abs(),
        "has lost its sign: a word that speaks against the film has an effect below 0",
    ),
    "two words": (
        lambda score, ids: _effects(score, ids, lambda ids, i: torch.cat([ids[:i], ids[i + 2 :]])),
        "leaves the next word out as well",
    ),
}
CHANGED = "your function leaves the ids changed: each word must be back before the next is left out"


def _score(ids):
    """Judge a review by a small fixed rule: words have values, 2 turns the next one round, and <pad> is noticed."""
    values = torch.tensor([0.1, -0.3, 0.0, 1.0, -2.0, 0.5, 3.0, -0.7], dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for i, word in enumerate(ids.tolist()):
        total = total + values[word] * (-1 if i and ids[i - 1] == 2 else 1)
    return total


def _test_leave_one_out(answer):
    generator = torch.Generator().manual_seed(0)
    cases = [torch.tensor([5, 2, 3, 4])] + [torch.randint(2, 8, (n,), generator=generator) for n in (7, 12, 2)]
    for ids in cases:
        given = ids.clone()
        got = answer(_score, given)
        expect_something(got)
        if not torch.equal(given, ids):
            raise Wrong(CHANGED)
        if isinstance(got, (list, tuple, np.ndarray)):
            got = torch.tensor([_number(one, "each effect") for one in got], dtype=torch.float64)
        expect_shape(got, (len(ids),), "the effects")
        slips = [(slip(_score, ids.clone()), sentence) for slip, sentence in EFFECT_SLIPS.values()]
        expect_close(got, leave_one_out(_score, ids), f"the effect of each word of {ids.tolist()}", slips)


LEAVE_ONE_OUT = Exercise(
    "leave_one_out",
    chapter=7,
    stars=3,
    test=_test_leave_one_out,
    solution=leave_one_out,
    section="Ask it yourself",
    wrong=EFFECT_SLIPS | {"for good": (_replaced_for_good, CHANGED)},
    hints=(
        "Score the whole review once, then once more without each of its words.",
        "The ids without word i are torch.cat([ids[:i], ids[i + 1 :]]).",
        "The effect of word i is score(ids) minus the score without it; torch.stack makes a tensor of a list.",
    ),
)


# ★★★ Go further: with two thousand reviews


def from_few(texts, labels, new_texts):
    model = baselines.tfidf_regression(max_words=2)  # pairs of words too: "not good"
    model.fit(texts, labels)
    return (model.decision_function(new_texts) > 0).tolist()


FEW_SLIPS = {
    "always negative": (lambda texts, labels, new_texts: [False] * len(new_texts), "That is the majority baseline"),
    "single words": (
        lambda texts, labels, new_texts: (
            baselines.tfidf_regression().fit(texts, labels).decision_function(new_texts) > 0
        ).tolist(),
        "That is the mark to pass, single words with TF-IDF weights",
    ),
    "turned round": (
        lambda texts, labels, new_texts: [not yes for yes in from_few(texts, labels, new_texts)],
        "That is worse than a coin: True means positive",
    ),
    "the labels of the others": (lambda texts, labels, new_texts: [bool(y) for y in labels], "single words get"),
}


@functools.cache
def _few():
    """Return 2,000 reviews to learn from, 2,000 others, and what single words make of these."""
    with contextlib.redirect_stdout(None):  # where the reviews were found, the chapter has said
        half = data.load_imdb("train")
    classes = [[review for review in half if review.label == label] for label in (0, 1)]
    size = min(1000, len(classes[0]) // 2, len(classes[1]) // 2)
    train = [review for group in classes for review in group[:size]]
    valid = [review for group in classes for review in group[-size:]]
    shuffle = random.Random(0).shuffle  # sorted by class, the place of a review would give its label away
    shuffle(train)
    shuffle(valid)
    texts, labels, new_texts = [r.text for r in train], [r.label for r in train], [r.text for r in valid]
    single = baselines.tfidf_regression().fit(texts, labels).decision_function(new_texts) > 0
    return texts, labels, new_texts, [bool(r.label) for r in valid], single.tolist()


def _test_from_few(answer):
    texts, labels, new_texts, truth, single = _few()
    got, seconds = within(60, answer, list(texts), list(labels), list(new_texts))
    got = expect_truths(got, len(truth), "review", "positive")

    def share(answers):
        return sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth)

    measured = f"{share(got):.1%} of {len(truth):,} other reviews, in {seconds:.0f} seconds"
    if len(truth) < 2000:
        return f"Measured: {measured}; with so few reviews there is no goal."
    measured += f"; single words get {share(single):.1%}, and the goal is more"
    if share(got) > share(single):
        return f"Measured: {measured}."
    if got == single:
        raise Wrong(f"measured: {measured}. {FEW_SLIPS['single words'][1]}")
    if len(set(got)) == 1:
        raise Wrong(f"measured: {measured}. {FEW_SLIPS['always negative'][1]}")
    if share(got) < 0.5:
        raise Wrong(f"measured: {measured}. {FEW_SLIPS['turned round'][1]}")
    raise Wrong(f"measured: {measured}")


FROM_FEW = Exercise(
    "from_few",
    chapter=7,
    stars=3,
    test=_test_from_few,
    solution=from_few,
    section="Baselines first",
    wrong=FEW_SLIPS,
    hints=(
        "With few reviews an embedding learns little. What can be counted besides single words?",
        "baselines.tfidf_regression has an argument for runs of words: 'not good' counts as a token of its own.",
        "Fit baselines.tfidf_regression(max_words=2) on texts and labels; decision_function above 0 means positive.",
    ),
)


EXERCISES = (
    VERDICTS,
    PRECISION_AND_RECALL,
    PAD_TAILS,
    LOSS_WITHOUT_PADDING,
    MOVIE_FOLDS,
    ATTEND,
    LEAVE_ONE_OUT,
    FROM_FEW,
)
