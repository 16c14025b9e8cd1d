"""Exercises of chapter 1: one-hot shapes."""

import torch
import torch.nn.functional as F

from rnnlib import text
from rnnlib.check.frame import Exercise, Wrong, expect_close, expect_shape

# One-hot rows, time first


def time_first(ids, vocab_size):
    return torch.eye(vocab_size)[ids.T]  # (T, N, V)


def test_time_first(answer):
    """From the shape of the chapter's example to random ids."""
    ids = torch.arange(10).reshape(2, 5)
    got = answer(ids.clone(), 28)
    if isinstance(got, torch.Tensor):
        if got.shape == (2, 5, 28):
            raise Wrong("the shape is (N, T, V) = (2, 5, 28): put time first, (T, N, V) = (5, 2, 28)")
        if got.dim() == 3 and got.shape[-1] == 10:
            raise Wrong("a row is as long as the largest id in this minibatch asks for: make it vocab_size long")
    expect_shape(got, (5, 2, 28))
    if not got.is_floating_point():
        raise Wrong(f"the numbers are {got.dtype}, which no weight matrix multiplies: make them floats")
    for _ in range(20):
        num_rows, num_steps, vocab_size = torch.randint(2, 7, (3,)).tolist()
        ids = torch.randint(vocab_size, (num_rows, num_steps))
        right = F.one_hot(ids.T, vocab_size).float()
        reshaped = F.one_hot(ids, vocab_size).float().reshape(num_steps, num_rows, vocab_size)
        slip = "has the right shape but mixes the sequences: reshape reads on row by row, ids.T turns the axes"
        expect_close(answer(ids.clone(), vocab_size), right, f"the result for {ids.tolist()}", [(reshaped, slip)])


TIME_FIRST = Exercise(
    name="time_first",
    chapter=1,
    stars=1,
    test=test_time_first,
    solution=time_first,
    wrong={
        "batch first": (lambda ids, vocab_size: torch.eye(vocab_size)[ids], "put time first"),
        "reshaped": (
            lambda ids, vocab_size: torch.eye(vocab_size)[ids].reshape(ids.shape[1], ids.shape[0], vocab_size),
            "reshape reads on row by row",
        ),
        "width from the data": (lambda ids, vocab_size: F.one_hot(ids.T).float(), "make it vocab_size long"),
        "integers": (lambda ids, vocab_size: F.one_hot(ids.T, vocab_size), "make them floats"),
    },
    hints=(
        "Row i of the identity matrix torch.eye(V) is the one-hot row of id i.",
        "A matrix can be indexed with a tensor of ids of any shape: W[ids] has the shape of ids, and then a row.",
        "Index torch.eye(vocab_size) with ids.T, so that time comes first.",
    ),
)


# How many minibatches


def count_minibatches(num_tokens, batch_size, num_steps, offset):
    return (num_tokens - offset - 1) // (batch_size * num_steps)


def test_count_minibatches(answer):
    """From the chapter's 35 tokens to the library's own minibatches."""
    for num_tokens, batch_size, num_steps, offset in [(35, 2, 5, 0), (30, 2, 5, 0), (26, 2, 5, 8)]:
        _expect_count(answer, num_tokens, batch_size, num_steps, offset)
    for _ in range(20):
        batch_size, num_steps, offset = torch.randint(1, 6, (3,)).tolist()
        num_tokens = batch_size * num_steps + offset + 1 + int(torch.randint(60, ()))
        _expect_count(answer, num_tokens, batch_size, num_steps, offset)


def _expect_count(answer, num_tokens, batch_size, num_steps, offset):
    got = answer(num_tokens, batch_size, num_steps, offset)
    size = batch_size * num_steps
    right = (num_tokens - offset - 1) // size
    case = f"{num_tokens} tokens, batch_size={batch_size}, num_steps={num_steps}, offset={offset}"
    if isinstance(got, bool) or not isinstance(got, int):
        raise Wrong(f"a number of minibatches is an int, but {got!r} came for {case}: // divides whole numbers")
    if got == right:
        return
    slips = [
        ((num_tokens - offset) // size, "the last token is a target only, it has no successor: take 1 off"),
        ((num_tokens - 1) // size, "the tokens before the offset are not read: take them off"),
        (-(-(num_tokens - offset - 1) // size), "what doesn't fill a minibatch is left out: round down"),
    ]
    why = next((sentence for number, sentence in slips if number == got), "count them by hand once")
    raise Wrong(f"{case} give {right} minibatches, but {got} came; {why}")


COUNT_MINIBATCHES = Exercise(
    name="count_minibatches",
    chapter=1,
    stars=1,
    test=test_count_minibatches,
    solution=count_minibatches,
    wrong={
        "last token": (lambda n, b, t, o: (n - o) // (b * t), "it has no successor"),
        "offset": (lambda n, b, t, o: (n - 1) // (b * t), "the tokens before the offset are not read"),
        "rounded up": (lambda n, b, t, o: -(-(n - o - 1) // (b * t)), "round down"),
        "a fraction": (lambda n, b, t, o: (n - o - 1) / (b * t), "// divides whole numbers"),
    },
    hints=(
        "How many tokens does one minibatch read? And how many are there to read, from the offset on?",
        "Every token that is read needs a successor as its target, so the last token of the corpus is never read.",
        "From num_tokens take off the offset and 1, then divide by batch_size * num_steps and round down.",
    ),
)


# All sequential minibatches at once


def cut_rows(ids, batch_size, num_steps):
    num_batches = (len(ids) - 1) // (batch_size * num_steps)
    num_tokens = num_batches * batch_size * num_steps
    shape = (batch_size, num_batches, num_steps)
    X = ids[:num_tokens].reshape(shape).transpose(0, 1)  # (num_batches, N, T)
    Y = ids[1 : num_tokens + 1].reshape(shape).transpose(0, 1)
    return X, Y


def test_cut_rows(answer):
    """From 13 tokens to the minibatches of the library."""
    _expect_rows(answer, torch.arange(13), 2, 3)
    for _ in range(20):
        batch_size, num_steps = torch.randint(1, 5, (2,)).tolist()
        num_tokens = batch_size * num_steps + 1 + int(torch.randint(60, ()))
        _expect_rows(answer, torch.randperm(num_tokens), batch_size, num_steps)


def _expect_rows(answer, ids, batch_size, num_steps):
    got = answer(ids.clone(), batch_size, num_steps)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Wrong("return two tensors, X and Y")
    pairs = list(text.sequential_batches(ids, batch_size, num_steps, offset=0))
    X, Y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    num_batches = len(pairs)
    num_tokens = X.numel()
    in_order = ids[:num_tokens].reshape(num_batches, batch_size, num_steps)
    wrapped = ids[:num_tokens].roll(-1).reshape(batch_size, num_batches, num_steps).transpose(0, 1)
    case = f"of {len(ids)} tokens for batch_size={batch_size}, num_steps={num_steps}"
    for name, part in zip("XY", got, strict=True):
        expect_shape(part, (num_batches, batch_size, num_steps), f"{name} {case}")
    continues = "is cut in reading order: row i of a minibatch must continue row i of the minibatch before"
    expect_close(got[0], X, f"X {case}", [(in_order, continues)])
    slips = [
        (X, "equals X: the target of a token is the token after it"),
        (wrapped, "wraps around: the very last target is the first token of the text"),
    ]
    expect_close(got[1], Y, f"Y {case}", slips)


def _rows(ids, batch_size, num_steps):
    num_batches = (len(ids) - 1) // (batch_size * num_steps)
    return ids[: num_batches * batch_size * num_steps].reshape(batch_size, num_batches, num_steps).transpose(0, 1)


def _in_reading_order(ids, batch_size, num_steps):
    num_batches = (len(ids) - 1) // (batch_size * num_steps)
    num_tokens = num_batches * batch_size * num_steps
    shape = (num_batches, batch_size, num_steps)
    return ids[:num_tokens].reshape(shape), ids[1 : num_tokens + 1].reshape(shape)


def _wrapped(ids, batch_size, num_steps):
    X = _rows(ids, batch_size, num_steps)
    rolled = ids[: X.numel()].roll(-1)
    return X, rolled.reshape(batch_size, -1, num_steps).transpose(0, 1)


CUT_ROWS = Exercise(
    name="cut_rows",
    chapter=1,
    stars=2,
    test=test_cut_rows,
    solution=cut_rows,
    wrong={
        "reading order": (_in_reading_order, "is cut in reading order"),
        "not shifted": (lambda ids, b, t: (_rows(ids, b, t), _rows(ids, b, t)), "equals X"),
        "wrapped": (_wrapped, "wraps around"),
        "one tensor": (lambda ids, b, t: _rows(ids, b, t), "return two tensors"),
    },
    hints=(
        "First cut the text into batch_size long rows; only then cut the rows into pieces of num_steps.",
        "A reshape to (batch_size, num_batches, num_steps) does both cuts. Which axis has to come first?",
        "X is ids[:num_tokens], Y is ids[1 : num_tokens + 1]; reshape both, then .transpose(0, 1).",
    ),
)


# Debugging: targets that are wrong once a row


def make_pairs(ids, batch_size):
    num_tokens = (len(ids) - 1) // batch_size * batch_size
    X = ids[:num_tokens].reshape(batch_size, -1)
    Y = ids[1 : num_tokens + 1].reshape(batch_size, -1)
    return X, Y


def test_make_pairs(answer):
    """A cycle of letters first, then random texts."""
    _expect_pairs(answer, torch.arange(9), 2)
    for _ in range(20):
        batch_size = int(torch.randint(1, 5, ()))
        num_tokens = 3 * batch_size + 1 + int(torch.randint(30, ()))
        _expect_pairs(answer, torch.randperm(num_tokens), batch_size)


def _expect_pairs(answer, ids, batch_size):
    got = answer(ids.clone(), batch_size)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Wrong("return two tensors, X and Y")
    length = (len(ids) - 1) // batch_size
    X = ids[: batch_size * length].reshape(batch_size, length)
    Y = ids[1 : batch_size * length + 1].reshape(batch_size, length)
    case = f"of {len(ids)} tokens in {batch_size} rows"
    for name, part in zip("XY", got, strict=True):
        if isinstance(part, torch.Tensor) and part.shape == (batch_size, length - 1):
            raise Wrong(f"{name} {case} has lost a column: the last token of a row has a target too, in the next row")
        expect_shape(part, (batch_size, length), f"{name} {case}")
    expect_close(got[0], X, f"X {case}")
    unknown = Y.clone()
    unknown[:, -1] = 0
    slips = [
        (X.roll(-1, dims=1), "is right but for its last column, which is the first token of the same row: roll wraps"),
        (unknown, "has id 0, <unk>, as the last target of each row: the text knows the token that follows"),
        (X, "equals X: the target of a token is the token after it"),
    ]
    expect_close(got[1], Y, f"Y {case}", slips)


def _pairs_rolled(ids, batch_size):
    X, _ = make_pairs(ids, batch_size)
    return X, X.roll(-1, dims=1)


def _pairs_shortened(ids, batch_size):
    X, _ = make_pairs(ids, batch_size)
    return X[:, :-1], X[:, 1:]


def _pairs_padded(ids, batch_size):
    X, _ = make_pairs(ids, batch_size)
    return X, F.pad(X[:, 1:], (0, 1))


MAKE_PAIRS = Exercise(
    name="make_pairs",
    chapter=1,
    stars=2,
    test=test_make_pairs,
    solution=make_pairs,
    wrong={
        "rolled": (_pairs_rolled, "roll wraps"),
        "shortened": (_pairs_shortened, "has lost a column"),
        "padded": (_pairs_padded, "as the last target of each row"),
        "not shifted": (lambda ids, n: (make_pairs(ids, n)[0],) * 2, "equals X"),
    },
    hints=(
        "Print X[0] and Y[0] of a short text. Where does the last target come from?",
        "The token after the last of row 0 is the first of row 1: shift the text before it is cut, not the rows after.",
        "Cut ids[:num_tokens] and ids[1 : num_tokens + 1] alike; one token has to be left over for the last target.",
    ),
)


# A bigram table from two one-hot matrices


def bigram(ids, vocab_size, smoothing=1.0):
    X = F.one_hot(ids[:-1], vocab_size).double()  # (L - 1, V)
    Y = F.one_hot(ids[1:], vocab_size).double()
    counts = X.T @ Y + smoothing  # (V, V): row = this token, column = the next
    return counts / counts.sum(1, keepdim=True)


def test_bigram(answer):
    """From 'abab' by hand to random texts counted pair by pair."""
    _expect_bigram(answer, torch.tensor([0, 1, 0, 1]), 3, 1.0)
    for _ in range(20):
        vocab_size = int(torch.randint(2, 6, ()))
        ids = torch.randint(vocab_size, (int(torch.randint(2, 40, ())),))
        _expect_bigram(answer, ids, vocab_size, 0.5)


def _expect_bigram(answer, ids, vocab_size, smoothing):
    got = answer(ids.clone(), vocab_size, smoothing)
    expect_shape(got, (vocab_size, vocab_size), "the table")
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.float64)
    for this, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        counts[this, following] += 1
    if torch.equal(got.isnan().any(1), counts.sum(1) == 0) and got.isnan().any():
        raise Wrong("the row of a token that the text never shows is 0 / 0: add the smoothing to every count")
    counts += smoothing
    right = _normalised(counts, 1)
    slips = [
        (_normalised(counts.T, 1), "has the next token in its rows: the row is the token that is known"),
        (counts / counts.sum(), "sums to 1 as a whole: each row must, it is a distribution of its own"),
        (_normalised(counts, 0), "sums to 1 down its columns: its rows must"),
    ]
    expect_close(got, right, f"the table of {ids.tolist()[:8]}", slips)


def _counts(ids, vocab_size):
    return F.one_hot(ids[:-1], vocab_size).double().T @ F.one_hot(ids[1:], vocab_size).double()


def _normalised(counts, axis):
    return counts / counts.sum(axis, keepdim=True)


BIGRAM = Exercise(
    name="bigram",
    chapter=1,
    stars=3,
    test=test_bigram,
    solution=bigram,
    wrong={
        "transposed": (lambda ids, v, k=1.0: _normalised(_counts(ids, v).T + k, 1), "has the next token in its rows"),
        "joint": (lambda ids, v, k=1.0: (_counts(ids, v) + k) / (_counts(ids, v) + k).sum(), "sums to 1 as a whole"),
        "columns": (lambda ids, v, k=1.0: _normalised(_counts(ids, v) + k, 0), "down its columns"),
        "not smoothed": (lambda ids, v, k=1.0: _normalised(_counts(ids, v), 1), "is 0 / 0"),
    },
    hints=(
        "Let X hold the one-hot rows of all tokens but the last, Y those of all tokens but the first. What is X.T @ Y?",
        "(X.T @ Y)[a, b] counts the places where token a is followed by token b. Add the smoothing to each count.",
        "Divide every row by its own sum: counts / counts.sum(1, keepdim=True).",
    ),
)


EXERCISES = (TIME_FIRST, COUNT_MINIBATCHES, CUT_ROWS, MAKE_PAIRS, BIGRAM)
