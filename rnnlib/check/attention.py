"""Exercises of chapter 9: encoder, decoder, attention."""

import math

import torch
from rapidfuzz.distance import Levenshtein

from rnnlib import attention, text
from rnnlib.attention import (
    AttentionDecoder,
    Encoder,
    EncoderDecoder,
    fit_pairs,
    greedy,
    make_pair,
    pad,
    pair_batches,
    until_eos,
)
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    expect_close,
    expect_no_loop,
    expect_pair,
    expect_shape,
    expect_something,
    kind,
    within,
)

# Shift a target


def shift_target(target, bos):
    first = torch.full_like(target[:, :1], bos)  # (N, 1)
    return torch.cat([first, target[:, :-1]], dim=1)  # (N, T)


def _test_shift_target(answer):
    """By hand, then random ids of several shapes."""
    torch.manual_seed(0)  # the frame puts the reader's random state back
    cases = [(torch.tensor([[5, 6, 3], [7, 3, 1]]), 2)]
    cases += [(torch.randint(4, 30, (N, T)), bos) for N, T, bos in [(1, 1, 2), (3, 5, 2), (4, 2, 9), (2, 7, 0)]]
    for target, bos in cases:
        got = answer(target.clone(), bos)
        if isinstance(got, torch.Tensor) and got.shape == (len(target), target.shape[1] + 1):
            raise Wrong("there is one step too many: the last token of the target is never read")
        expect_shape(got, target.shape)
        if got.is_floating_point():
            raise Wrong(f"the ids are {got.dtype}: an embedding wants whole numbers, as the target has them")
        start = torch.full_like(target[:, :1], bos)
        slips = [
            (target, "is the target itself: the decoder would read the token that it must write"),
            (torch.cat([target[:, 1:], start], 1), "is moved to the left: the decoder would read the token after next"),
            (target.roll(1, 1), "begins with the last token of the target: it must begin with bos"),
            (torch.cat([start, target[:, 1:]], 1), "has only its first token replaced: move all of them by one step"),
            (torch.cat([torch.full_like(start, 2), target[:, :-1]], 1), "always begins with 2: take the id bos"),
            (
                torch.cat([torch.full_like(target[:1], bos), target[:-1]]),
                "is moved down by a row: time runs along the second axis",
            ),
        ]
        expect_close(got, shift_target(target, bos), "what the decoder reads", slips)


SHIFT_TARGET = Exercise(
    name="shift_target",
    chapter=9,
    stars=1,
    test=_test_shift_target,
    solution=shift_target,
    section="Encoder and decoder",
    wrong={
        "unshifted": (lambda target, bos: target, "is the target itself"),
        "left": (lambda target, bos: torch.cat([target[:, 1:], target[:, :1] * 0 + bos], 1), "moved to the left"),
        "rolled": (lambda target, bos: target.roll(1, 1), "begins with the last token"),
        "too long": (lambda target, bos: torch.cat([target[:, :1] * 0 + bos, target], 1), "one step too many"),
        "down": (lambda target, bos: torch.cat([target[:1] * 0 + bos, target[:-1]]), "moved down by a row"),
    },
    hints=(
        "At step 1 it reads bos, at step 2 the first token of the target. What does it never read?",
        "Cut off the last column, and put a column of bos before the rest.",
        "torch.full_like(target[:, :1], bos) makes the column, torch.cat along dim=1 puts both together.",
    ),
)


# A mask from lengths


def may_look(lengths, S):
    return torch.arange(S, device=lengths.device) < lengths[:, None]  # (N, S)


def _test_may_look(answer):
    """By hand, then random lengths, without a loop."""
    torch.manual_seed(0)
    cases = [(torch.tensor([2, 4, 1]), 4)]
    cases += [(torch.randint(1, S + 1, (N,)), S) for N, S in [(1, 1), (5, 6), (3, 3), (4, 9)]]
    for lengths, S in cases:
        got = answer(lengths.clone(), S)
        if isinstance(got, torch.Tensor) and got.shape == (S, len(lengths)) != (len(lengths), S):
            raise Wrong(f"the shape is {tuple(got.shape)}: rows are the sequences, columns their steps")
        expect_shape(got, (len(lengths), S))
        if got.dtype != torch.bool:
            raise Wrong(f"the entries are {got.dtype}: answer yes or no, torch.bool")
        s = torch.arange(S)
        slips = [
            (s >= lengths[:, None], "is True where a column is padding: turn it round"),
            (s <= lengths[:, None], "has one column too many: of length 2 only columns 0 and 1 are real"),
            (s + 1 < lengths[:, None], "lacks the last real column"),
            (s >= S - lengths[:, None], "has the real columns on the right: padding comes after them"),
        ]
        expect_close(got, may_look(lengths, S), "the mask", slips)
    expect_no_loop(answer, (torch.tensor([2, 3]), 5), (torch.randint(1, 60, (60,)), 60))


MAY_LOOK = Exercise(
    name="may_look",
    chapter=9,
    stars=1,
    test=_test_may_look,
    solution=may_look,
    section="Attention",
    wrong={
        "padding": (lambda lengths, S: torch.arange(S) >= lengths[:, None], "True where a column is padding"),
        "one more": (lambda lengths, S: torch.arange(S) <= lengths[:, None], "one column too many"),
        "transposed": (lambda lengths, S: torch.arange(S)[:, None] < lengths, "rows are the sequences"),
        "numbers": (lambda lengths, S: (torch.arange(S) < lengths[:, None]).float(), "answer yes or no"),
        "a loop": (
            lambda lengths, S: torch.stack([torch.arange(S) < length for length in lengths]),
            "computed in a loop",
        ),
    },
    hints=(
        "Column s of row n is real if s is smaller than the length of row n.",
        "torch.arange(S) holds the numbers of the columns, (S,).",
        "Compare it with lengths[:, None], which is (N, 1): both broadcast to (N, S).",
    ),
)


# A causal mask


def causal_mask(T):
    return torch.ones(T, T, dtype=torch.bool).tril()


def _test_causal_mask(answer):
    """Several sizes, one step included."""
    for T in (4, 1, 7):
        got = answer(T)
        expect_shape(got, (T, T))
        if got.dtype != torch.bool:
            raise Wrong(f"the entries are {got.dtype}: answer yes or no, torch.bool")
        right = causal_mask(T)
        slips = [
            (~right, "is True for the future: there it may not look"),
            (right.T, "is the upper triangle: rows are the steps that look"),
            (right.tril(-1), "keeps a step from looking at itself: what it has read is known"),
            (torch.ones(T, T).tril(1).bool(), "lets a step see the next one, which is its answer"),
        ]
        expect_close(got, right, "the mask", slips)


CAUSAL_MASK = Exercise(
    name="causal_mask",
    chapter=9,
    stars=1,
    test=_test_causal_mask,
    solution=causal_mask,
    section="Going deeper: several heads",
    wrong={
        "future": (lambda T: torch.ones(T, T).triu(1).bool(), "True for the future"),
        "upper": (lambda T: torch.ones(T, T).triu().bool(), "upper triangle"),
        "not itself": (lambda T: torch.ones(T, T).tril(-1).bool(), "from looking at itself"),
        "next one": (lambda T: torch.ones(T, T).tril(1).bool(), "lets a step see the next one"),
        "numbers": (lambda T: torch.ones(T, T).tril(), "answer yes or no"),
    },
    hints=(
        "Row t may look at columns 0 to t.",
        "That is a triangle: which of .tril() and .triu() keeps it?",
        "torch.ones(T, T, dtype=torch.bool) is True everywhere; then keep its lower triangle.",
    ),
)


# Luong's general score


def general_scores(queries, keys, W):
    return queries @ W @ keys.transpose(1, 2)  # (N, T, S)


def _test_general_scores(answer):
    """Against einsum in double precision; N = T = S included, so that shapes alone prove nothing."""
    torch.manual_seed(0)
    for N, T, S, H, D in [(2, 3, 4, 5, 6), (1, 1, 1, 2, 3), (3, 3, 3, 3, 3), (2, 4, 4, 3, 3)]:
        queries, keys, W = (torch.randn(*size).double() for size in [(N, T, H), (N, S, D), (H, D)])
        got = answer(queries.clone(), keys.clone(), W.clone())
        right = torch.einsum("nth,hd,nsd->nts", queries, W, keys)
        if isinstance(got, torch.Tensor) and got.shape == (N, S, T) != (N, T, S):
            raise Wrong(f"the shape is {tuple(got.shape)}: queries are the rows, keys the columns")
        expect_shape(got, (N, T, S))
        slips = [
            (right.transpose(1, 2) if T == S else right, "has queries and keys the wrong way round"),
            (right.softmax(-1), "are weights already: return the scores before softmax"),
            (right / math.sqrt(H), "are divided by the root of the width: Luong's score is not"),
            (right / math.sqrt(D), "are divided by the root of the keys' width: Luong's score is not"),
        ]
        if H == D:
            slips.append((queries @ keys.transpose(1, 2), "leave W out"))
            slips.append((queries @ W.T @ keys.transpose(1, 2), "take W transposed: it is (H, D)"))
        expect_close(got, right, "the scores", slips)


GENERAL_SCORES = Exercise(
    name="general_scores",
    chapter=9,
    stars=2,
    test=_test_general_scores,
    solution=general_scores,
    section="Attention",
    wrong={
        "softmax": (lambda q, k, W: general_scores(q, k, W).softmax(-1), "weights already"),
        "scaled": (lambda q, k, W: general_scores(q, k, W) / q.shape[-1] ** 0.5, "divided by the root of the width"),
        "keys first": (lambda q, k, W: general_scores(q, k, W).transpose(1, 2), "queries are the rows"),
    },
    hints=(
        "queries @ W gives each query the width of the keys, (N, T, D).",
        "Then it is a dot product of each query with each key, as in dot_scores.",
        "A minibatch of matrix products: (N, T, D) @ (N, D, S). Which axes of keys must be swapped?",
    ),
)


# Bahdanau's score


def additive_scores(queries, keys, W_q, W_k, v):
    both = (queries @ W_q)[:, :, None] + (keys @ W_k)[:, None]  # (N, T, S, A)
    return torch.tanh(both) @ v  # (N, T, S)


def _test_additive_scores(answer):
    """Against a triple loop in double precision, without a loop."""
    torch.manual_seed(0)
    for N, T, S, H, A in [(2, 3, 4, 5, 6), (1, 1, 1, 2, 3), (2, 3, 3, 3, 3)]:
        sizes = [(N, T, H), (N, S, H), (H, A), (H, A), (A,)]
        arguments = [torch.randn(*size).double() for size in sizes]
        queries, keys, W_q, W_k, v = arguments
        got = answer(*(part.clone() for part in arguments))
        right = torch.empty(N, T, S).double()
        for n in range(N):
            for t in range(T):
                for s in range(S):
                    right[n, t, s] = v @ torch.tanh(queries[n, t] @ W_q + keys[n, s] @ W_k)
        expect_shape(got, (N, T, S))
        both = (queries @ W_q)[:, :, None] + (keys @ W_k)[:, None]
        slips = [
            (both @ v, "leave tanh out: then the query drops out of softmax altogether"),
            (torch.tanh(both).sum(-1), "leave v out: it weighs the A numbers"),
            (right.softmax(-1), "are weights already: return the scores before softmax"),
            (torch.tanh(both @ v), "take tanh after v: tanh comes before"),
            (
                (torch.tanh(queries @ W_q)[:, :, None] + torch.tanh(keys @ W_k)[:, None]) @ v,
                "take tanh of each part: add query and key first",
            ),
        ]
        if T == S:
            slips.append((right.transpose(1, 2), "have queries and keys the wrong way round"))
        expect_close(got, right, "the scores", slips)
    short, long = ([torch.randn(*size) for size in [(n, n, 3), (n, n, 3), (3, 4), (3, 4), (4,)]] for n in (2, 40))
    expect_no_loop(answer, short, long)


def _additive_in_loops(queries, keys, W_q, W_k, v):
    rows = []
    for t in range(queries.shape[1]):
        rows.append(torch.tanh((queries[:, t] @ W_q)[:, None] + keys @ W_k) @ v)
    return torch.stack(rows, dim=1)


ADDITIVE_SCORES = Exercise(
    name="additive_scores",
    chapter=9,
    stars=2,
    test=_test_additive_scores,
    solution=additive_scores,
    section="Going deeper: other scores",
    wrong={
        "no tanh": (
            lambda q, k, W_q, W_k, v: ((q @ W_q)[:, :, None] + (k @ W_k)[:, None]) @ v,
            "leave tanh out",
        ),
        "no v": (
            lambda q, k, W_q, W_k, v: torch.tanh((q @ W_q)[:, :, None] + (k @ W_k)[:, None]).sum(-1),
            "leave v out",
        ),
        "tanh of each": (
            lambda q, k, W_q, W_k, v: (torch.tanh(q @ W_q)[:, :, None] + torch.tanh(k @ W_k)[:, None]) @ v,
            "take tanh of each part",
        ),
        "a loop": (_additive_in_loops, "computed in a loop"),
    },
    hints=(
        "Each of T queries must meet each of S keys: make room for both axes, (N, T, S, A).",
        "(queries @ W_q)[:, :, None] is (N, T, 1, A). What must the keys be?",
        "Add (keys @ W_k)[:, None], which is (N, 1, S, A), take tanh, and multiply by v at last.",
    ),
)


# One look


def one_step_look(query, keys, mask):
    scores = (keys @ query[:, :, None]).squeeze(2)  # (N, S)
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=1)  # (N, S)
    return (weights[:, None] @ keys).squeeze(1), weights  # (N, H) and (N, S)


def _test_one_step_look(answer):
    """Against einsum in double precision; rows with and without padding."""
    torch.manual_seed(0)
    for N, S, H in [(2, 4, 3), (1, 1, 2), (3, 3, 3), (4, 6, 5)]:
        query, keys = torch.randn(N, H).double(), torch.randn(N, S, H).double()
        mask = torch.arange(S) < torch.randint(1, S + 1, (N, 1))
        got = answer(query.clone(), keys.clone(), mask.clone())
        expect_pair(got, "the context (N, H) and the weights (N, S)")
        context, weights = got
        if context.shape == (N, S) != (N, H) and weights.shape == (N, H):
            raise Wrong("the weights come first: return the context, then the weights")
        expect_shape(context, (N, H), "the context")
        expect_shape(weights, (N, S), "the weights")
        scores = torch.einsum("nh,nsh->ns", query, keys)
        right = scores.masked_fill(~mask, -math.inf).softmax(1)
        slips = [
            (scores.softmax(1), "look at padding: mask the scores before softmax"),
            (scores.softmax(1) * mask, "are masked after softmax, so they don't sum to 1: mask the scores"),
            (scores.masked_fill(~mask, 0.0).softmax(1), "give padding the score 0, and exp(0) is 1: take -inf"),
            (scores.masked_fill(mask, -math.inf).softmax(1).nan_to_num(), "look at padding alone: turn the mask round"),
            (scores, "are scores: softmax makes weights of them"),
            (
                (scores / math.sqrt(H)).masked_fill(~mask, -math.inf).softmax(1),
                "come from scaled scores: dot scores are not divided",
            ),
        ]
        expect_close(weights.nan_to_num(), right, "the weights", slips)
        expect_close(weights, right, "the weights", slips)
        mean = (keys * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        at_most = keys[torch.arange(N), right.argmax(1)]
        slips = [(mean, "is the plain mean of the keys"), (at_most, "is the key of the largest weight: mix them all")]
        expect_close(context, torch.einsum("ns,nsh->nh", right, keys), "the context", slips)


ONE_STEP_LOOK = Exercise(
    name="one_step_look",
    chapter=9,
    stars=2,
    test=_test_one_step_look,
    solution=one_step_look,
    section="Attention",
    wrong={
        "no mask": (
            lambda q, k, m: (one_step_look(q, k, m)[0], torch.einsum("nh,nsh->ns", q, k).softmax(1)),
            "look at padding: mask",
        ),
        "masked after": (
            lambda q, k, m: (one_step_look(q, k, m)[0], torch.einsum("nh,nsh->ns", q, k).softmax(1) * m),
            "masked after softmax",
        ),
        "zero": (
            lambda q, k, m: (
                one_step_look(q, k, m)[0],
                torch.einsum("nh,nsh->ns", q, k).masked_fill(~m, 0).softmax(1),
            ),
            "exp(0) is 1",
        ),
        "hard": (
            lambda q, k, m: (
                k[torch.arange(len(k)), one_step_look(q, k, m)[1].argmax(1)],
                one_step_look(q, k, m)[1],
            ),
            "mix them all",
        ),
    },
    hints=(
        "It is attend with T = 1 and without that axis.",
        "(keys * query[:, None]).sum(2) are the scores (N, S). What follows before softmax?",
        "The context is (weights[..., None] * keys).sum(1).",
    ),
)


# A beam of two by hand


def beam_of_two(first, second):
    scores, begins = first.topk(2)  # the two best beginnings
    total = scores[:, None] + second[begins]  # (2, V)
    best = total.flatten().argmax()
    begin, token = begins[best // len(first)], best % len(first)
    return [int(begin), int(token)], float(total.max())


def _pair_of(total, rows):
    """Return the best text of a table (K, V) whose rows begin with these tokens, and its log p."""
    place = int(total.flatten().argmax())
    V = total.shape[1]
    return [int(rows[place // V]), place % V], float(total.max())


def _greedy_two(first, second):
    begin = int(first.argmax())
    return [begin, int(second[begin].argmax())], float(first[begin] + second[begin].max())


def _best_of_all(first, second):
    return _pair_of(first[:, None] + second, range(len(first)))


def _last_alone(first, second):
    rows = first.topk(2).indices
    return _pair_of(second[rows], rows)


def _transposed(first, second):
    scores, rows = first.topk(2)
    return _pair_of(scores[:, None] + second.T[rows], rows)


def _place_as_id(first, second):
    scores, rows = first.topk(2)
    return _pair_of(scores[:, None] + second[rows], range(2))


BEAM_SLIPS = {
    "greedy": (_greedy_two, "extends the best beginning alone: that is greedy"),
    "all": (_best_of_all, "extends every beginning: a beam of two keeps two, and so can miss the best"),
    "last alone": (_last_alone, "goes by the second token alone: add log p of the first"),
    "transposed": (_transposed, "reads the table the wrong way: a row for each first token"),
    "place": (_place_as_id, "gives the place in the beam in place of the token's id"),
}


def _test_beam_of_two(answer):
    """A case that greedy misses, one that a beam of two misses, then random tables."""
    torch.manual_seed(0)
    cases = [
        (torch.tensor([0.5, 0.4, 0.1]), torch.tensor([[0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [0.3, 0.3, 0.4]])),
        (torch.tensor([0.36, 0.34, 0.3]), torch.tensor([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.02, 0.95, 0.03]])),
    ]
    cases = [(first.double().log(), second.double().log()) for first, second in cases]
    for V in [4, 6, 5, 9] * 6:
        cases.append((torch.randn(V).double().log_softmax(0), 2 * torch.randn(V, V).double()))
        cases[-1] = (cases[-1][0], cases[-1][1].log_softmax(1))
    answers = []
    for first, second in cases:
        got = answer(first.clone(), second.clone())
        expect_something(got)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"return the text, a list of two ids, and its log p, but {kind(got)} came")
        ids = got[0].tolist() if hasattr(got[0], "tolist") else got[0]
        if not isinstance(ids, (list, tuple)) or len(ids) != 2 or isinstance(got[1], str):
            raise Wrong(f"the text should be a list of two ids, but {kind(got[0])} came first")
        answers.append(([int(i) for i in ids], got[1]))
    for slip, sentence in BEAM_SLIPS.values():
        if [ids for ids, _ in answers] == [slip(*case)[0] for case in cases]:
            raise Wrong(f"your function {sentence}")
    for (ids, score), case in zip(answers, cases):
        right, log_p = beam_of_two(*case)
        if ids != right:
            raise Wrong(f"the text should be {right}, but {ids} came")
        slips = [(math.exp(log_p), "is a probability: return its logarithm")]
        expect_close(score, torch.tensor(log_p, dtype=torch.float64), "log p of the text", slips)


BEAM_OF_TWO = Exercise(
    name="beam_of_two",
    chapter=9,
    stars=2,
    test=_test_beam_of_two,
    solution=beam_of_two,
    section="Greedy, beam, and whose fault an error is",
    wrong={
        **BEAM_SLIPS,
        "probability": (
            lambda first, second: (beam_of_two(first, second)[0], math.exp(beam_of_two(first, second)[1])),
            "is a probability",
        ),
    },
    hints=(
        "first.topk(2) gives two scores and two ids: the beginnings that the beam keeps.",
        "The rows of second that belong to them, plus their scores, are log p of 2 · V texts.",
        "The place of the largest in the flattened table, divided by V with rest, tells beginning and token.",
    ),
)


# The phoneme error rate


def phoneme_error_rate(guesses, answers):
    edits = 0
    for guess, answer in zip(guesses, answers):
        row = list(range(len(answer) + 1))  # edits from nothing to each beginning of the answer
        for i, phoneme in enumerate(guess, start=1):
            above, row = row, [i]
            for j, right in enumerate(answer, start=1):
                replaced = above[j - 1] + (phoneme != right)
                row.append(min(above[j] + 1, row[j - 1] + 1, replaced))
        edits += row[-1]
    return edits / sum(len(answer) for answer in answers)


def _rate(distance, total=lambda guesses, answers: sum(map(len, answers))):
    """Return an answer that adds up a distance and divides by a total."""
    return lambda guesses, answers: sum(map(distance, guesses, answers)) / total(guesses, answers)


def _by_place(guess, answer):
    return sum(a != b for a, b in zip(guess, answer)) + abs(len(guess) - len(answer))


def _average_of_rates(guesses, answers):
    return sum(Levenshtein.distance(g, a) / len(a) for g, a in zip(guesses, answers)) / len(answers)


RATE_SLIPS = {
    "by place": (_rate(_by_place), "compares place by place: one phoneme left out then spoils all after it"),
    "words": (_rate(lambda g, a: g != a, lambda g, a: len(a)), "is the share of wrong words"),
    "mean of rates": (_average_of_rates, "is the mean of each word's rate: add up all edits, then divide"),
    "over guesses": (
        _rate(Levenshtein.distance, lambda g, a: sum(map(len, g))),
        "is divided by the phonemes of the guesses: take the answers",
    ),
    "no replacing": (
        _rate(lambda g, a: Levenshtein.distance(g, a, weights=(1, 1, 2))),
        "counts a replaced phoneme twice",
    ),
    "as text": (
        _rate(lambda g, a: Levenshtein.distance("".join(g), "".join(a))),
        "counts letters: AE is one phoneme",
    ),
}


def _test_phoneme_error_rate(answer):
    """By hand, then random lists, against rapidfuzz."""
    sounds = ["K", "AE", "T", "S", "AH", "N", "DH"]
    torch.manual_seed(0)

    def draw(shortest):
        return [sounds[i] for i in torch.randint(7, (int(torch.randint(shortest, 7, ())),)).tolist()]

    cases = [([["K", "AE", "T"]], [["K", "AE", "T"]]), ([["AE", "T", "S"]], [["K", "AE", "T", "S"]])]
    cases += [([["K", "AH"], ["S"], []], [["K", "AE", "T"], ["S", "N"], ["N", "AH"]])]
    for number in (1, 2, 5, 8, 8, 8):
        cases.append(([draw(1) for _ in range(number)], [draw(2) for _ in range(number)]))
    got = []
    for guesses, answers in cases:
        rate = answer([list(g) for g in guesses], [list(a) for a in answers])
        expect_close(torch.as_tensor(rate).numel(), 1, "the number of rates")
        got.append(rate)
    for slip, sentence in RATE_SLIPS.values():
        if all(math.isclose(float(g), slip(*case), abs_tol=1e-6) for g, case in zip(got, cases)):
            raise Wrong(f"your number {sentence}")
    for rate, (guesses, answers) in zip(got, cases):
        edits = sum(Levenshtein.distance(g, a) for g, a in zip(guesses, answers))
        phonemes = sum(map(len, answers))
        slips = [(edits, "is the number of edits: divide it by the phonemes of the answers")]
        slips.append((100 * edits / phonemes, "is in percent: return a share"))
        expect_close(rate, torch.tensor(edits / phonemes, dtype=torch.float64), f"the rate of {guesses[0]} …", slips)


PHONEME_ERROR_RATE = Exercise(
    name="phoneme_error_rate",
    chapter=9,
    stars=2,
    test=_test_phoneme_error_rate,
    solution=phoneme_error_rate,
    section="Letters to phonemes",
    wrong={
        **RATE_SLIPS,
        "percent": (lambda g, a: 100 * phoneme_error_rate(g, a), "in percent"),
    },
    hints=(
        "Let d[i][j] be the fewest edits from the first i phonemes of the guess to the first j of the answer.",
        "d[i][j] is the smallest of d[i-1][j] + 1, d[i][j-1] + 1 and d[i-1][j-1], plus 1 if the two differ.",
        "Begin with d[0][j] = j and d[i][0] = i; d[-1][-1] is the number of edits of this pair.",
    ),
)


# Debug: a mask along the wrong axis


def masked_weights(scores, mask):
    weights = scores.masked_fill(~mask[:, None], -math.inf).softmax(dim=-1)  # (N, T, S)
    return weights.nan_to_num(0.0)  # a row without a real key


def _test_masked_weights(answer):
    """N = T, N unlike T, and a row that is all padding."""
    torch.manual_seed(0)
    for N, T, S in [(2, 2, 3), (3, 3, 3), (2, 4, 5), (1, 1, 1), (3, 2, 4)]:
        scores = torch.randn(N, T, S).double()
        lengths = torch.arange(N)[:, None] % S + 1
        for empty in (False, True):
            mask = torch.arange(S) < lengths
            if empty:
                mask[0] = False
            try:
                got = answer(scores.clone(), mask.clone())
            except RuntimeError as error:
                if "must match the size" in str(error) or "broadcast" in str(error):
                    raise Wrong("the mask does not fit where N and T differ: give it an axis for the queries") from None
                raise
            expect_shape(got, (N, T, S))
            right = masked_weights(scores, mask)
            if not empty:
                slips = [
                    (scores.masked_fill(mask[:, None], -math.inf).softmax(-1).nan_to_num(), "look at padding alone"),
                    (scores.softmax(-1), "look at padding"),
                    (scores.softmax(-1) * mask[:, None], "don't sum to 1: mask before softmax"),
                ]
                if N == T:
                    across = scores.masked_fill(~mask, -math.inf).softmax(-1)
                    slips.append((across, "give query t the mask of row t, not that of its own row"))
                if N == S:
                    down = scores.masked_fill(~mask.T[:, None], -math.inf).softmax(-1)
                    slips.append((down, "use the mask transposed"))
                expect_close(got, right, "the weights", slips)
            if empty and got[0].isnan().any():
                raise Wrong("a row that is all padding gets nan: softmax of nothing but -inf. Return zeros there")
            slips = [(torch.where(mask.any(1)[:, None, None], right, 1 / S), "are even for a row of padding: zeros")]
            expect_close(got, right, "the weights", slips)


def _no_zeros(scores, mask):
    return scores.masked_fill(~mask[:, None], -math.inf).softmax(dim=-1)


def _large_number(scores, mask):
    return scores.masked_fill(~mask[:, None], -1e9).softmax(dim=-1)


MASKED_WEIGHTS = Exercise(
    name="masked_weights",
    chapter=9,
    stars=2,
    test=_test_masked_weights,
    solution=masked_weights,
    section="Attention",
    wrong={
        "her own": (lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(-1), "the mask of row t"),
        "nan": (_no_zeros, "gets nan"),
        "minus a billion": (_large_number, "even for a row of padding"),
        "after": (lambda scores, mask: scores.softmax(-1) * mask[:, None], "don't sum to 1"),
    },
    hints=(
        "Scores are (N, T, S), the mask (N, S). Broadcasting lines up axes from the right: which ones meet?",
        "mask[:, None] is (N, 1, S).",
        "Softmax of a row of -inf is nan in every place: .nan_to_num(0.0) puts zeros there.",
    ),
)


# Several heads by hand


def heads_by_hand(X, W_q, W_k, W_v, W_o, num_heads):
    d = X.shape[1] // num_heads  # the width of a head
    mixtures = []
    for h in range(num_heads):
        part = slice(h * d, (h + 1) * d)
        Q, K, V = ((X @ W)[:, part] for W in (W_q, W_k, W_v))  # (T, d) each
        weights = (Q @ K.T / math.sqrt(d)).softmax(dim=1)  # (T, T)
        mixtures.append(weights @ V)
    return torch.cat(mixtures, dim=1) @ W_o  # (T, H)


def _heads(X, W_q, W_k, W_v, W_o, num_heads, scale=None, axis=-1, join=True, last=True, mixed=False):
    """Attend as the solution does, with one of the known slips."""
    T, H = X.shape
    d = H // num_heads

    def cut(W):
        made = X @ W
        return made.reshape(num_heads, T, d) if mixed else made.reshape(T, num_heads, d).transpose(0, 1)

    Q, K, V = map(cut, (W_q, W_k, W_v))
    weights = (Q @ K.transpose(1, 2) / math.sqrt(scale or d)).softmax(axis)
    mixtures = weights @ V  # (heads, T, d)
    joined = mixtures.transpose(0, 1).reshape(T, H) if join else mixtures.reshape(T, H)
    return joined @ W_o if last else joined


HEAD_SLIPS = {
    "one head": (
        lambda X, *rest: heads_by_hand(X, *rest[:4], 1),
        "come from one head: cut queries, keys and values into num_heads parts",
    ),
    "unscaled": (lambda *a: _heads(*a, scale=1), "come from scores that are not divided by the root of the width"),
    "whole width": (
        lambda *a: _heads(*a, scale=a[0].shape[1]),
        "come from scores divided by the root of H: a head is narrower",
    ),
    "no last matrix": (lambda *a: _heads(*a, last=False), "lack the last matrix, W_o"),
    "other axis": (lambda *a: _heads(*a, axis=1), "come from weights that sum to 1 over the queries, not the keys"),
    "not put back": (
        lambda *a: _heads(*a, join=False),
        "have the heads one after another in time: lay them side by side",
    ),
    "reshaped": (lambda *a: _heads(*a, mixed=True), "are cut by reshape alone, which mixes steps with heads"),
}


def _test_heads_by_hand(answer):
    """Against torch.nn.MultiheadAttention in double precision."""
    torch.manual_seed(0)
    for T, d, num_heads in [(4, 3, 2), (1, 2, 2), (5, 2, 4), (3, 4, 1), (2, 3, 3)]:
        H = d * num_heads
        arguments = [torch.randn(T, H).double(), *(torch.randn(H, H).double() / H**0.5 for _ in range(4))]
        X, W_q, W_k, W_v, W_o = arguments
        layer = torch.nn.MultiheadAttention(H, num_heads, bias=False, batch_first=True).double()
        layer.in_proj_weight.data = torch.cat([W_q.T, W_k.T, W_v.T])
        layer.out_proj.weight.data = W_o.T
        with torch.no_grad():
            right = layer(X[None], X[None], X[None])[0][0]
        got = answer(*(part.clone() for part in arguments), num_heads)
        expect_shape(got, (T, H))
        slips = [(slip(*arguments, num_heads), sentence) for slip, sentence in HEAD_SLIPS.values()]
        expect_close(got, right, "the numbers", slips)


HEADS_BY_HAND = Exercise(
    name="heads_by_hand",
    chapter=9,
    stars=3,
    test=_test_heads_by_hand,
    solution=heads_by_hand,
    section="Going deeper: several heads",
    wrong=HEAD_SLIPS,
    hints=(
        "Head h owns the columns h · d to (h + 1) · d of X @ W_q, X @ W_k and X @ W_v, with d = H / num_heads.",
        "For each head: scores (T, T), divided by the root of d, softmax over the keys, times its values.",
        "Lay the mixtures of all heads side by side, (T, H), and multiply by W_o.",
    ),
)


# Go further: numbers in words


def read_numbers(train, sources):
    letters = text.Vocab("abcdefghijklmnopqrstuvwxyz ", reserved=attention.SPECIAL)
    digits = text.Vocab("0123456789", reserved=attention.SPECIAL)
    pairs = [make_pair(words, number, letters, digits) for words, number in train]
    torch.manual_seed(0)
    decoder = AttentionDecoder(len(digits), 32, 64)
    model = EncoderDecoder(Encoder(len(letters), 32, 64), decoder)
    fit_pairs(model, list(pair_batches(pairs, 32, epochs=50)))
    source, _ = pad([torch.tensor(letters[list(words)]) for words in sources])
    return ["".join(digits.decode(ids)) for ids in until_eos(greedy(model, source, 5))]


ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS_GOAL = 0.95


def _in_words(number):
    """Write a number from 1 to 999 in words."""
    hundreds, rest = divmod(number, 100)
    parts = [f"{ONES[hundreds - 1]} hundred"] if hundreds else []
    if rest >= 20:
        parts.append(TENS[rest // 10 - 2])
        rest %= 10
    if rest:
        parts.append((ONES + TEENS)[rest - 1])
    return " ".join(parts)


def _closest(train, sources):
    """Answer with the number whose words are the closest."""
    return [min(train, key=lambda pair: Levenshtein.distance(pair[0], words))[1] for words in sources]


def _test_read_numbers(answer):
    """Half of the numbers to learn from, the other half to be read."""
    order = torch.randperm(999, generator=torch.Generator().manual_seed(9)) + 1
    known, asked = order[:500].tolist(), order[500:].tolist()
    train, sources = [(_in_words(n), str(n)) for n in known], [_in_words(n) for n in asked]
    got, seconds = within(90, answer, list(train), list(sources))
    expect_something(got)
    if not isinstance(got, (list, tuple)) or len(got) != len(sources):
        raise Wrong(f"return a list of {len(sources)} texts, one for each source, but {kind(got)} came")
    if list(got) == sources:
        raise Wrong("these are the sources: return the digits")
    if not all(isinstance(one, str) for one in got):
        raise Wrong(f"return the digits as text, such as '42', but {kind(got[0])} came")
    share = sum(one == str(n) for one, n in zip(got, asked)) / len(asked)
    measured = f"{share:.1%} of {len(asked)} new numbers, in {seconds:.0f} seconds; the goal is {NUMBERS_GOAL:.0%}"
    if share >= NUMBERS_GOAL:
        return f"Measured: {measured}."
    if len(set(got)) == 1:
        raise Wrong(f"measured: {measured}. The same answer for all: does the decoder read the source?")
    if all(any(one == number for _, number in train) for one in got):
        raise Wrong(f"measured: {measured}. Every answer is a number of the pairs: new ones must be put together")
    raise Wrong(f"measured: {measured}. Train longer, or let the decoder look at the source")


READ_NUMBERS = Exercise(
    name="read_numbers",
    chapter=9,
    stars=3,
    test=_test_read_numbers,
    solution=read_numbers,
    section="Letters to phonemes",
    wrong={
        "nothing read": (lambda train, sources: ["42"] * len(sources), "does the decoder read the source"),
        "the closest": (_closest, "new ones must be put together"),
        "the words": (lambda train, sources: sources, "these are the sources"),
        "numbers": (lambda train, sources: [0] * len(sources), "digits as text"),
    },
    hints=(
        "make_pair, Encoder, AttentionDecoder, fit_pairs and greedy are all that it takes.",
        "Two vocabularies: letters with the space, and digits, both with the special tokens.",
        "500 pairs are few: go through them some fifty times, in minibatches of 32.",
    ),
)


EXERCISES = (
    SHIFT_TARGET,
    MAY_LOOK,
    CAUSAL_MASK,
    GENERAL_SCORES,
    ADDITIVE_SCORES,
    ONE_STEP_LOOK,
    BEAM_OF_TWO,
    PHONEME_ERROR_RATE,
    MASKED_WEIGHTS,
    HEADS_BY_HAND,
    READ_NUMBERS,
)
