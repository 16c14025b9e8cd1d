"""Answers to the exercises of chapter 9."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import nn

from rnnlib import check
from rnnlib.check.attention import _in_words

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


# Shift a target


def shift_in_place(target, bos):
    inputs = torch.empty_like(target)
    inputs[:, 0] = bos
    inputs[:, 1:] = target[:, :-1]
    return inputs


def shift_in_loops(target, bos):
    return torch.tensor([[bos, *row[:-1]] for row in target.tolist()])


def shift_by_roll(target, bos):
    inputs = target.roll(1, 1)
    inputs[:, 0] = bos
    return inputs


def with_first(target, bos):
    return torch.cat([torch.full((len(target), 1), bos), target], dim=1)


SHIFT_TARGET = {
    "solution": (SOLUTIONS["shift_target"], "Right"),
    "in place": (shift_in_place, "Right"),
    "loops": (shift_in_loops, "Right"),
    "roll": (shift_by_roll, "Right"),
    "pad": (lambda target, bos: F.pad(target, (1, 0), value=bos)[:, :-1], "Right"),
    "unshifted": (lambda target, bos: target, "is the target itself"),
    "left": (lambda target, bos: torch.cat([target[:, 1:], target[:, :1] * 0 + bos], 1), "moved to the left"),
    "rolled": (lambda target, bos: target.roll(1, 1), "begins with the last token"),
    "too long": (with_first, "one step too many"),
    "first replaced": (lambda target, bos: torch.cat([target[:, :1] * 0 + bos, target[:, 1:]], 1), "only its first"),
    "always 2": (lambda target, bos: shift_in_place(target, 2), "take the id bos"),
    "down": (lambda target, bos: torch.cat([target[:1] * 0 + bos, target[:-1]]), "down by a row"),
    "floats": (lambda target, bos: shift_in_place(target, bos).float(), "whole numbers"),
    "a list": (lambda target, bos: shift_in_place(target, bos).tolist(), "should be a tensor"),
}


# A mask from lengths


def look_in_loops(lengths, S):
    return torch.tensor([[s < length for s in range(S)] for length in lengths.tolist()])


MAY_LOOK = {
    "solution": (SOLUTIONS["may_look"], "Right"),
    "other way": (lambda lengths, S: lengths.unsqueeze(1) > torch.arange(S).unsqueeze(0), "Right"),
    "cumsum": (lambda lengths, S: torch.ones(len(lengths), S).cumsum(1) <= lengths[:, None], "Right"),
    "tril": (lambda lengths, S: torch.ones(S, S).tril().bool()[lengths - 1], "Right"),
    "padding": (lambda lengths, S: torch.arange(S) >= lengths[:, None], "True where a column is padding"),
    "one more": (lambda lengths, S: torch.arange(S) <= lengths[:, None], "one column too many"),
    "one less": (lambda lengths, S: torch.arange(S) < lengths[:, None] - 1, "lacks the last real column"),
    "right side": (lambda lengths, S: torch.arange(S) >= S - lengths[:, None], "on the right"),
    "longest": (lambda lengths, S: torch.arange(int(lengths.max())) < lengths[:, None], "should have shape"),
    "transposed": (lambda lengths, S: torch.arange(S)[:, None] < lengths, "rows are the sequences"),
    "numbers": (lambda lengths, S: (torch.arange(S) < lengths[:, None]).int(), "answer yes or no"),
    "a loop": (look_in_loops, "computed in a loop"),
    "nothing": (lambda lengths, S: None, "nothing came back"),
}


# A causal mask


def causal_in_loops(T):
    return torch.tensor([[s <= t for s in range(T)] for t in range(T)])


CAUSAL_MASK = {
    "solution": (SOLUTIONS["causal_mask"], "Right"),
    "compare": (lambda T: torch.arange(T) <= torch.arange(T)[:, None], "Right"),
    "loops": (causal_in_loops, "Right"),
    "library": (lambda T: nn.Transformer.generate_square_subsequent_mask(T) == 0, "Right"),
    "not the upper": (lambda T: ~torch.ones(T, T).triu(1).bool(), "Right"),
    "future": (lambda T: torch.ones(T, T).triu(1).bool(), "True for the future"),
    "upper": (lambda T: torch.ones(T, T).triu().bool(), "upper triangle"),
    "not itself": (lambda T: torch.ones(T, T).tril(-1).bool(), "looking at itself"),
    "next one": (lambda T: torch.ones(T, T).tril(1).bool(), "the next one"),
    "numbers": (lambda T: torch.ones(T, T).tril(), "answer yes or no"),
    "scores": (nn.Transformer.generate_square_subsequent_mask, "answer yes or no"),
    "everything": (lambda T: torch.ones(T, T).bool(), "should be"),
    "a list": (lambda T: causal_in_loops(T).tolist(), "should be a tensor"),
}


# Luong's general score


def general(queries, keys, W):
    return torch.einsum("nth,hd,nsd->nts", queries, W, keys)


def general_in_loops(queries, keys, W):
    rows = [[[q @ W @ k for k in keys[n]] for q in queries[n]] for n in range(len(keys))]
    return torch.tensor(rows, dtype=queries.dtype)


GENERAL_SCORES = {
    "solution": (SOLUTIONS["general_scores"], "Right"),
    "einsum": (general, "Right"),
    "bmm": (lambda q, k, W: torch.bmm(q @ W, k.mT), "Right"),
    "linear": (lambda q, k, W: F.linear(q, W.T) @ k.transpose(-1, -2), "Right"),
    "keys moved": (lambda q, k, W: q @ (k @ W.T).mT, "Right"),
    "loops": (general_in_loops, "Right"),
    "softmax": (lambda q, k, W: general(q, k, W).softmax(-1), "weights already"),
    "scaled": (lambda q, k, W: general(q, k, W) / q.shape[-1] ** 0.5, "divided by the root"),
    "keys first": (lambda q, k, W: general(q, k, W).mT, "queries are the rows"),
    "transposed product": (lambda q, k, W: (q @ W) @ k, "your code raised RuntimeError"),
    "summed": (lambda q, k, W: general(q, k, W).sum(-1), "should have shape"),
    "negative": (lambda q, k, W: -general(q, k, W), "should be"),
}


# Bahdanau's score


def both_parts(q, k, W_q, W_k):
    return (q @ W_q)[:, :, None] + (k @ W_k)[:, None]


ADDITIVE_SCORES = {
    "solution": (SOLUTIONS["additive_scores"], "Right"),
    "einsum": (lambda q, k, W_q, W_k, v: torch.einsum("ntsa,a->nts", both_parts(q, k, W_q, W_k).tanh(), v), "Right"),
    "unsqueeze": (
        lambda q, k, W_q, W_k, v: (torch.tanh((q @ W_q).unsqueeze(2) + (k @ W_k).unsqueeze(1)) * v).sum(-1),
        "Right",
    ),
    "joined": (
        lambda q, k, W_q, W_k, v: (
            torch.tanh(
                torch.cat(
                    [q[:, :, None].expand(-1, -1, k.shape[1], -1), k[:, None].expand(-1, q.shape[1], -1, -1)], dim=-1
                )
                @ torch.cat([W_q, W_k])
            )
            @ v
        ),
        "Right",
    ),
    "no tanh": (lambda q, k, W_q, W_k, v: both_parts(q, k, W_q, W_k) @ v, "leave tanh out"),
    "no v": (lambda q, k, W_q, W_k, v: both_parts(q, k, W_q, W_k).tanh().sum(-1), "leave v out"),
    "softmax": (lambda q, k, W_q, W_k, v: (both_parts(q, k, W_q, W_k).tanh() @ v).softmax(-1), "weights already"),
    "tanh last": (lambda q, k, W_q, W_k, v: (both_parts(q, k, W_q, W_k) @ v).tanh(), "tanh comes before"),
    "tanh of each": (
        lambda q, k, W_q, W_k, v: ((q @ W_q).tanh()[:, :, None] + (k @ W_k).tanh()[:, None]) @ v,
        "tanh of each part",
    ),
    "a loop": (
        lambda q, k, W_q, W_k, v: torch.stack(
            [torch.tanh((q[:, t] @ W_q)[:, None] + k @ W_k) @ v for t in range(q.shape[1])], 1
        ),
        "computed in a loop",
    ),
    "keys first": (
        lambda q, k, W_q, W_k, v: (both_parts(q, k, W_q, W_k).tanh() @ v).transpose(1, 2),
        "should have shape",
    ),
    "an axis left": (lambda q, k, W_q, W_k, v: both_parts(q, k, W_q, W_k).tanh() * v, "should have shape"),
}


# One look


def look(query, keys, mask):
    scores = torch.einsum("nh,nsh->ns", query, keys).masked_fill(~mask, -math.inf)
    weights = scores.softmax(1)
    return torch.einsum("ns,nsh->nh", weights, keys), weights


def look_by_library(query, keys, mask):
    context = F.scaled_dot_product_attention(query[:, None], keys, keys, mask[:, None], scale=1.0)
    return context[:, 0], look(query, keys, mask)[1]


def look_by_exp(query, keys, mask):
    e = torch.exp((keys * query[:, None]).sum(2)) * mask
    weights = e / e.sum(1, keepdim=True)
    return (weights[..., None] * keys).sum(1), weights


def weighed(weigh):
    """Return an answer with these weights and the right context."""
    return lambda q, k, m: (look(q, k, m)[0], weigh(torch.einsum("nh,nsh->ns", q, k), m))


ONE_STEP_LOOK = {
    "solution": (SOLUTIONS["one_step_look"], "Right"),
    "einsum": (look, "Right"),
    "library": (look_by_library, "Right"),
    "exp": (look_by_exp, "Right"),
    "a list": (lambda *a: list(look(*a)), "Right"),
    "no mask": (weighed(lambda e, m: e.softmax(1)), "look at padding: mask"),
    "after": (weighed(lambda e, m: e.softmax(1) * m), "masked after softmax"),
    "zero": (weighed(lambda e, m: e.masked_fill(~m, 0).softmax(1)), "exp(0) is 1"),
    "turned": (weighed(lambda e, m: e.masked_fill(m, -math.inf).softmax(1)), "turn the mask round"),
    "scores": (weighed(lambda e, m: e), "softmax makes weights"),
    "the mean": (
        lambda q, k, m: ((k * m[..., None]).sum(1) / m.sum(1, keepdim=True), look(q, k, m)[1]),
        "plain mean",
    ),
    "hard": (lambda q, k, m: (k[range(len(k)), look(q, k, m)[1].argmax(1)], look(q, k, m)[1]), "mix them all"),
    "swapped": (lambda *a: look(*a)[::-1], "the weights come first"),
    "context alone": (lambda *a: look(*a)[0], "return two tensors"),
}


# A beam of two


def beam_in_loops(first, second):
    begins = sorted(range(len(first)), key=lambda i: -first[i])[:2]
    texts = [(float(first[i] + second[i, j]), [i, j]) for i in begins for j in range(len(first))]
    score, text = max(texts)
    return text, score


def beam_by_numpy(first, second):
    first, second = first.numpy(), second.numpy()
    begins = np.argsort(-first)[:2]
    total = first[begins, None] + second[begins]
    row, token = np.unravel_index(total.argmax(), total.shape)
    return [begins[row], token], total.max()


def beam_with_tensors(first, second):
    text, score = beam_in_loops(first, second)
    return torch.tensor(text), torch.tensor(score, dtype=torch.float64)


def best_text(score, begins):
    """Return a wrong beam of two: the best of these texts by this score."""

    def answer(first, second):
        V = range(len(first))
        texts = [(float(score(first, second, i, j)), [i, j]) for i in begins(first) for j in V]
        total, text = max(texts, key=lambda scored: scored[0])
        return text, total

    return answer


def two_best(first):
    return sorted(range(len(first)), key=lambda i: -first[i])[:2]


def total_of(first, second, i, j):
    return first[i] + second[i, j]


def begin_by_place(first, second):
    (begin, token), score = beam_in_loops(first, second)
    return [two_best(first).index(begin), token], score


BEAM_OF_TWO = {
    "solution": (SOLUTIONS["beam_of_two"], "Right"),
    "loops": (beam_in_loops, "Right"),
    "numpy": (beam_by_numpy, "Right"),
    "tensors": (beam_with_tensors, "Right"),
    "a tuple": (lambda *a: (tuple(beam_in_loops(*a)[0]), beam_in_loops(*a)[1]), "Right"),
    "greedy": (best_text(total_of, lambda first: two_best(first)[:1]), "that is greedy"),
    "all": (best_text(total_of, lambda first: range(len(first))), "keeps two"),
    "last alone": (best_text(lambda first, second, i, j: second[i, j], two_best), "second token alone"),
    "transposed": (best_text(lambda first, second, i, j: first[i] + second[j, i], two_best), "the wrong way"),
    "place": (begin_by_place, "the place in the beam"),
    "probability": (lambda *a: (beam_in_loops(*a)[0], math.exp(beam_in_loops(*a)[1])), "is a probability"),
    "text alone": (lambda *a: beam_in_loops(*a)[0], "list of two ids"),
    "swapped": (lambda *a: beam_in_loops(*a)[::-1], "list of two ids"),
    "reversed": (lambda *a: (beam_in_loops(*a)[0][::-1], beam_in_loops(*a)[1]), "the text should be"),
}


# The phoneme error rate


def rate_by_library(guesses, answers):
    return sum(map(Levenshtein.distance, guesses, answers)) / sum(map(len, answers))


def rate_by_recursion(guesses, answers):
    def edits(a, b):
        if not a or not b:
            return len(a) + len(b)
        if a[0] == b[0]:
            return edits(a[1:], b[1:])
        return 1 + min(edits(a[1:], b), edits(a, b[1:]), edits(a[1:], b[1:]))

    return sum(map(edits, guesses, answers)) / sum(map(len, answers))


def rate_of(edits, length=lambda guess, answer: len(answer)):
    """Return a wrong rate: all of these edits over all of these lengths."""

    def answer(guesses, answers):
        pairs = list(zip(guesses, answers, strict=True))
        return sum(edits(*pair) for pair in pairs) / sum(length(*pair) for pair in pairs)

    return answer


def by_place(guess, answer):
    return sum(a != b for a, b in itertools.zip_longest(guess, answer))


def without_replacing(guess, answer):
    def longest(a, b):
        if not a or not b:
            return 0
        return 1 + longest(a[1:], b[1:]) if a[0] == b[0] else max(longest(a[1:], b), longest(a, b[1:]))

    return len(guess) + len(answer) - 2 * longest(guess, answer)


def mean_of_rates(guesses, answers):
    return float(np.mean([Levenshtein.distance(g, a) / len(a) for g, a in zip(guesses, answers, strict=True)]))


PHONEME_ERROR_RATE = {
    "solution": (SOLUTIONS["phoneme_error_rate"], "Right"),
    "library": (rate_by_library, "Right"),
    "recursion": (rate_by_recursion, "Right"),
    "a tensor": (lambda g, a: torch.tensor(rate_by_library(g, a)), "Right"),
    "numpy": (lambda g, a: np.float64(rate_by_library(g, a)), "Right"),
    "by place": (rate_of(by_place), "place by place"),
    "words": (rate_of(lambda g, a: int(list(g) != list(a)), lambda g, a: 1), "share of wrong words"),
    "mean of rates": (mean_of_rates, "mean of each word"),
    "over guesses": (rate_of(Levenshtein.distance, lambda g, a: len(g)), "phonemes of the guesses"),
    "no replacing": (rate_of(without_replacing), "replaced phoneme twice"),
    "as text": (rate_of(lambda g, a: Levenshtein.distance("".join(g), "".join(a))), "AE is one phoneme"),
    "percent": (lambda g, a: 100 * rate_by_library(g, a), "in percent"),
    "edits": (lambda g, a: rate_by_library(g, a) * sum(map(len, a)), "number of edits"),
    "a list": (
        lambda g, a: [Levenshtein.distance(x, y) / len(y) for x, y in zip(g, a, strict=True)],
        "number of rates",
    ),
}


# Debug: a mask along the wrong axis


def weights_by_exp(scores, mask):
    e = scores.exp() * mask[:, None]
    return e / e.sum(-1, keepdim=True).clamp(min=1e-30)


def weights_where(scores, mask):
    weights = torch.where(mask.unsqueeze(1), scores, -torch.inf).softmax(-1)
    return torch.where(weights.isnan(), 0.0, weights)


def weights_in_loops(scores, mask):
    rows = torch.zeros_like(scores)
    for n in range(len(scores)):
        if mask[n].any():
            rows[n] = scores[n].masked_fill(~mask[n], -math.inf).softmax(-1)
    return rows


MASKED_WEIGHTS = {
    "solution": (SOLUTIONS["masked_weights"], "Right"),
    "exp": (weights_by_exp, "Right"),
    "where": (weights_where, "Right"),
    "loops": (weights_in_loops, "Right"),
    "large number and zeros": (
        lambda s, m: s.masked_fill(~m[:, None], -1e9).softmax(-1) * m.any(1)[:, None, None],
        "Right",
    ),
    "her own": (lambda s, m: s.masked_fill(~m, -math.inf).softmax(-1), "the mask of row t"),
    "nan": (lambda s, m: s.masked_fill(~m[:, None], -math.inf).softmax(-1), "gets nan"),
    "minus a billion": (lambda s, m: s.masked_fill(~m[:, None], -1e9).softmax(-1), "even for a row"),
    "after": (lambda s, m: s.softmax(-1) * m[:, None], "don't sum to 1"),
    "turned": (lambda s, m: s.masked_fill(m[:, None], -math.inf).softmax(-1).nan_to_num(), "padding alone"),
    "no mask": (lambda s, m: s.softmax(-1), "look at padding"),
    "scores": (lambda s, m: s.masked_fill(~m[:, None], 0), "should be"),
}


# Several heads by hand


def heads_by_library(X, W_q, W_k, W_v, W_o, num_heads):
    layer = nn.MultiheadAttention(len(W_q), num_heads, bias=False, batch_first=True).double()
    layer.in_proj_weight.data = torch.cat([W_q.T, W_k.T, W_v.T])
    layer.out_proj.weight.data = W_o.T
    return layer(X[None], X[None], X[None])[0][0].detach()


def heads_by_reshape(X, W_q, W_k, W_v, W_o, num_heads):
    Q, K, V = ((X @ W).unflatten(1, (num_heads, -1)).transpose(0, 1) for W in (W_q, W_k, W_v))
    return F.scaled_dot_product_attention(Q, K, V).transpose(0, 1).flatten(1) @ W_o


def heads_by_chunks(X, W_q, W_k, W_v, W_o, num_heads):
    parts = zip(*((X @ W).chunk(num_heads, dim=1) for W in (W_q, W_k, W_v)), strict=True)
    return torch.cat([(Q @ K.T / Q.shape[1] ** 0.5).softmax(-1) @ V for Q, K, V in parts], dim=1) @ W_o


def heads_with(divide=lambda d, H: d**0.5, axis=-1, joined=lambda mixtures: torch.cat(mixtures, dim=1)):
    """Return wrong heads: without the last matrix, each head with this divisor, softmax axis and way to join."""

    def answer(X, W_q, W_k, W_v, W_o, num_heads):
        parts = zip(*((X @ W).chunk(num_heads, dim=1) for W in (W_q, W_k, W_v)), strict=True)
        return joined([(Q @ K.T / divide(Q.shape[1], X.shape[1])).softmax(axis) @ V for Q, K, V in parts])

    return answer


def then_last(heads):
    return lambda *a: heads(*a).reshape(len(a[0]), -1) @ a[4]


def cut_by_reshape(X, W_q, W_k, W_v, W_o, num_heads):
    Q, K, V = ((X @ W).reshape(num_heads, len(X), -1) for W in (W_q, W_k, W_v))
    return F.scaled_dot_product_attention(Q, K, V).transpose(0, 1).flatten(1) @ W_o


HEADS_BY_HAND = {
    "solution": (SOLUTIONS["heads_by_hand"], "Right"),
    "library": (heads_by_library, "Right"),
    "reshape": (heads_by_reshape, "Right"),
    "chunks": (heads_by_chunks, "Right"),
    "one head": (lambda *a: heads_by_chunks(*a[:5], 1), "come from one head"),
    "unscaled": (then_last(heads_with(lambda d, H: 1)), "not divided by the root"),
    "whole width": (then_last(heads_with(lambda d, H: H**0.5)), "a head is narrower"),
    "no last matrix": (heads_with(), "lack the last matrix"),
    "other axis": (then_last(heads_with(axis=0)), "over the queries"),
    "not put back": (then_last(heads_with(joined=torch.cat)), "one after another in time"),
    "reshaped": (cut_by_reshape, "mixes steps with heads"),
    "causal": (
        lambda X, W_q, W_k, W_v, W_o, n: (
            (X @ W_q @ (X @ W_k).T).masked_fill(torch.ones(len(X), len(X)).triu(1).bool(), -math.inf).softmax(-1)
            @ X
            @ W_v
            @ W_o
        ),
        "should be",
    ),
}


# Go further


def by_rule(train, sources):
    table = {_in_words(n): str(n) for n in range(1, 1000)}
    return [table[words] for words in sources]


def learned_by_heart(train, sources):
    known = dict(train)
    return [known.get(words) or known[min(known, key=lambda w: Levenshtein.distance(w, words))] for words in sources]


READ_NUMBERS = {
    "by rule": (by_rule, "Right"),
    "a tuple": (lambda *a: tuple(by_rule(*a)), "Right"),
    "mostly right": (lambda t, s: [*by_rule(t, s)[:-9], *["1"] * 9], "Right"),
    "always the same": (lambda t, s: [t[0][1]] * len(s), "does the decoder read the source"),
    "by heart": (learned_by_heart, "new ones must be put together"),
    "the sources": (lambda t, s: list(s), "these are the sources"),
    "half right": (lambda t, s: [one if i % 2 else "1x" for i, one in enumerate(by_rule(t, s))], "Train longer"),
    "too few": (lambda t, s: by_rule(t, s)[1:], "one for each source"),
    "numbers": (lambda t, s: [int(one) for one in by_rule(t, s)], "digits as text"),
    "a text": (lambda t, s: "42", "a list of"),
}


ANSWERS = {
    "shift_target": SHIFT_TARGET,
    "may_look": MAY_LOOK,
    "causal_mask": CAUSAL_MASK,
    "general_scores": GENERAL_SCORES,
    "additive_scores": ADDITIVE_SCORES,
    "one_step_look": ONE_STEP_LOOK,
    "beam_of_two": BEAM_OF_TWO,
    "phoneme_error_rate": PHONEME_ERROR_RATE,
    "masked_weights": MASKED_WEIGHTS,
    "heads_by_hand": HEADS_BY_HAND,
    "read_numbers": READ_NUMBERS,
}
