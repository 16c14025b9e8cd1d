"""Exercises of chapter 1: one-hot shapes."""

import collections

import torch
import torch.nn.functional as F

from rnnlib import text
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    corpus,
    expect_close,
    expect_count,
    expect_no_loop,
    expect_not_called,
    expect_pair,
    expect_room,
    expect_shape,
    slip_in_all,
    within,
)

# One-hot rows, time first


def time_first(ids, vocab_size):
    return torch.eye(vocab_size)[ids.T]  # (T, N, V)


def _test_time_first(answer):
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
    test=_test_time_first,
    solution=time_first,
    section="1.4 One-hot, step by step",
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


# The size of a vocabulary


def vocabulary_size(tokens, min_freq):
    counts = collections.Counter(tokens)
    return 1 + sum(count >= min_freq for count in counts.values())  # 1 for <unk>


def _forgets_unknown(tokens, min_freq):
    return vocabulary_size(tokens, min_freq) - 1


def _counts_every_token(tokens, min_freq):
    counts = collections.Counter(tokens)
    return 1 + sum(count for count in counts.values() if count >= min_freq)


def _more_often_than(tokens, min_freq):
    return vocabulary_size(tokens, min_freq + 1)


def _keeps_the_rare(tokens, min_freq):
    return 1 + len(set(tokens))


def _unknown_when_needed(tokens, min_freq):
    kept = vocabulary_size(tokens, min_freq) - 1
    return kept + (kept < len(set(tokens)))


def _counts_letters(tokens, min_freq):
    return vocabulary_size("".join(tokens), min_freq)


SIZE_SLIPS = {
    "<unk> when needed": (
        _unknown_when_needed,
        "<unk> is there even if this text has nothing rare: the next text may",
    ),
    "no <unk>": (_forgets_unknown, "<unk> has an id too, 0, and so a row in every table: add 1"),
    "every token": (_counts_every_token, "a kind of token is numbered once, however often it occurs"),
    "more often": (_more_often_than, "what occurs exactly min_freq times is kept"),
    "rare ones kept": (_keeps_the_rare, "what occurs less often than min_freq gets no id of its own"),
    "letters": (_counts_letters, "these tokens are words, and their letters were counted: count the list as it is"),
}


def _test_vocabulary_size(answer):
    """From two short words to random texts, of letters and of words."""
    cases = [(list("abracadabra"), 2), (list("hello"), 0), (["a"], 2), (["the", "time", "the"], 0)]
    for kinds in (list("abcdefgh"), ["a", "the", "time", "traveller"]) * 10:
        ids = torch.randint(len(kinds), (int(torch.randint(1, 25, ())),))
        cases.append(([kinds[i] for i in ids.tolist()], int(torch.randint(4, ()))))
    got = [expect_count(answer(list(tokens), min_freq), "the number of entries") for tokens, min_freq in cases]
    why = slip_in_all(got, cases, SIZE_SLIPS.values())
    for number, (tokens, min_freq) in zip(got, cases, strict=True):
        right = vocabulary_size(tokens, min_freq)
        if number != right:
            case = f"the tokens {' '.join(tokens)} with min_freq={min_freq}"
            raise Wrong(f"{case} make {right} entries, but {number} came" + (f"; {why}" if why else ""))
    expect_not_called(
        answer,
        cases[0],
        [text.Vocab.__init__],
        "the number is right, but a Vocab was made to find it: count the tokens without one",
    )


VOCABULARY_SIZE = Exercise(
    name="vocabulary_size",
    chapter=1,
    stars=1,
    test=_test_vocabulary_size,
    solution=vocabulary_size,
    section="1.2 From a book to token ids",
    wrong=SIZE_SLIPS,
    hints=(
        "Which kinds of tokens occur at least min_freq times? And what does the vocabulary hold besides them?",
        "collections.Counter(tokens) is a dict from each kind to how often it occurs.",
        "Count the values of the Counter that are min_freq or more, and add 1 for <unk>.",
    ),
)


# How many minibatches


def count_minibatches(num_tokens, batch_size, num_steps, offset):
    return (num_tokens - offset - 1) // (batch_size * num_steps)


def _test_count_minibatches(answer):
    """From the chapter's 35 tokens to the library's own minibatches."""
    cases = [(35, 2, 5, 0), (30, 2, 5, 0), (26, 2, 5, 8), (38, 2, 5, 0), (20, 3, 6, 4)]
    for _ in range(20):
        batch_size, num_steps, offset = torch.randint(1, 6, (3,)).tolist()
        cases.append((batch_size * num_steps + offset + 1 + int(torch.randint(60, ())), batch_size, num_steps, offset))
    got = [expect_count(answer(*case), "the number of minibatches") for case in cases]
    why = slip_in_all(got, cases, COUNT_SLIPS.values()) or "count them by hand once"
    for number, case in zip(got, cases, strict=True):
        if number != count_minibatches(*case):
            named = "{} tokens, batch_size={}, num_steps={}, offset={}".format(*case)
            raise Wrong(f"{named} give {count_minibatches(*case)} minibatches, but {number} came; {why}")
    expect_not_called(
        answer,
        cases[0],
        [text.Batches.__init__, text.sequential_pass, text.random_pass],
        "the number is right, but minibatches were made to find it: it follows from the four numbers",
    )


COUNT_SLIPS = {
    "last token": (
        lambda n, b, t, o: (n - o) // (b * t),
        "the last token is a target only, it has no successor: take 1 off",
    ),
    "offset": (
        lambda n, b, t, o: (n - 1) // (b * t),
        "the tokens before the offset are not read: take them off",
    ),
    "last token and offset": (
        lambda n, b, t, o: n // (b * t),
        "neither the tokens before the offset nor the last one, which has no successor, are read: take both off",
    ),
    "rounded up": (
        lambda n, b, t, o: -(-(n - o - 1) // (b * t)),
        "what doesn't fill a minibatch is left out: round down",
    ),
    "rounded": (
        lambda n, b, t, o: round((n - o - 1) / (b * t)),
        "round also goes up, but more than half a minibatch is not a whole one: divide with //",
    ),
    "too many off": (
        lambda n, b, t, o: (n - o - 2) // (b * t),
        "one token is without a successor, not two: take 1 off",
    ),
    "added": (
        lambda n, b, t, o: (n + o - 1) // (b * t),
        "the offset was added: it makes fewer tokens, not more",
    ),
    "batch size alone": (
        lambda n, b, t, o: (n - o - 1) // b,
        "a minibatch has batch_size rows of num_steps tokens, and num_steps was left out",
    ),
    "steps alone": (
        lambda n, b, t, o: (n - o - 1) // t,
        "a minibatch has batch_size rows of num_steps tokens, and batch_size was left out",
    ),
}


COUNT_MINIBATCHES = Exercise(
    name="count_minibatches",
    chapter=1,
    stars=1,
    test=_test_count_minibatches,
    solution=count_minibatches,
    section="1.3 Minibatches",
    wrong={
        **COUNT_SLIPS,
        "a fraction": (lambda n, b, t, o: (n - o - 1) / (b * t), "// divides whole numbers"),
        "a tensor": (lambda n, b, t, o: torch.tensor((n - o - 1) // (b * t)), "a tensor came"),
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


def _test_cut_rows(answer):
    """From 19 tokens to the minibatches of the library."""
    for num_tokens in (19, 15, 12):  # a last target and no rest, a rest, no last target for all
        _expect_rows(answer, torch.arange(num_tokens), 2, 3)
    for _ in range(20):
        batch_size, num_steps = torch.randint(1, 5, (2,)).tolist()
        num_tokens = batch_size * num_steps + 1 + int(torch.randint(60, ()))
        _expect_rows(answer, torch.randperm(num_tokens), batch_size, num_steps)
    expect_no_loop(answer, (torch.arange(13), 2, 3), (torch.arange(1201), 2, 3))


def _expect_rows(answer, ids, batch_size, num_steps):
    case = f"of {len(ids)} tokens for batch_size={batch_size}, num_steps={num_steps}"
    got = expect_room(answer, ids, batch_size, num_steps, case=case)
    expect_pair(got, "X and Y")
    pairs = list(text.sequential_batches(ids, batch_size, num_steps, offset=0))
    X, Y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    num_batches = len(pairs)
    num_tokens = X.numel()
    in_order = ids[:num_tokens].reshape(num_batches, batch_size, num_steps)
    in_order_targets = ids[1 : num_tokens + 1].reshape(num_batches, batch_size, num_steps)
    wrapped = ids[:num_tokens].roll(-1).reshape(batch_size, num_batches, num_steps).transpose(0, 1)
    for name, part in zip("XY", got, strict=True):
        if part.shape == (batch_size, num_batches, num_steps) != (num_batches, batch_size, num_steps):
            raise Wrong(f"{name} {case} has the rows first: put the minibatches first, (number of minibatches, N, T)")
        expect_shape(part, (num_batches, batch_size, num_steps), f"{name} {case}")
    continues = "is cut in reading order: row i of a minibatch must continue row i of the minibatch before"
    expect_close(got[0], X, f"X {case}", [(in_order, continues)])
    slips = [
        (X, "equals X: the target of a token is the token after it"),
        (in_order_targets, continues),
        (wrapped, "wraps around: the very last target is the first token of the text"),
        (X.roll(-1, dims=2), "wraps around in every row: its last target is the row's own first token"),
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


def _target_forgotten(ids, batch_size, num_steps):
    num_tokens = len(ids) // (batch_size * num_steps) * batch_size * num_steps
    shape = (batch_size, -1, num_steps)
    return ids[:num_tokens].reshape(shape).transpose(0, 1), ids[1 : num_tokens + 1].reshape(shape).transpose(0, 1)


def _rows_in_a_loop(ids, batch_size, num_steps):
    X, Y = cut_rows(ids, batch_size, num_steps)
    pairs = []
    for i in range(len(X)):
        pairs.append((X[i], Y[i]))
    X, Y = zip(*pairs, strict=True)
    return torch.stack(X), torch.stack(Y)


CUT_ROWS = Exercise(
    name="cut_rows",
    chapter=1,
    stars=2,
    test=_test_cut_rows,
    solution=cut_rows,
    section="1.3 Minibatches",
    wrong={
        "reading order": (_in_reading_order, "is cut in reading order"),
        "not shifted": (lambda ids, b, t: (_rows(ids, b, t), _rows(ids, b, t)), "equals X"),
        "wrapped": (_wrapped, "wraps around: the very last"),
        "a loop": (_rows_in_a_loop, "computed in a loop"),
        "one tensor": (lambda ids, b, t: _rows(ids, b, t), "return two tensors"),
        "rest kept": (
            lambda ids, b, t: (ids[:-1].reshape(b, -1, t).transpose(0, 1), ids[1:].reshape(b, -1, t).transpose(0, 1)),
            "there is a rest that fills no row",
        ),
        "last target": (_target_forgotten, "none is left for the last target"),
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
    Y = ids[1 : num_tokens + 1].reshape(batch_size, -1)  # the text is shifted, not each row on its own
    return X, Y


def _test_make_pairs(answer):
    """Short texts first, then random ones; say at last what the chapter's check missed."""
    for num_tokens, batch_size in ((9, 2), (12, 5), (10, 2), (12, 4)):  # no rest, a rest, no last target, a large rest
        _expect_pairs(answer, torch.arange(num_tokens), batch_size)
    for _ in range(20):
        batch_size = int(torch.randint(1, 5, ()))
        num_tokens = 3 * batch_size + 1 + int(torch.randint(30, ()))
        _expect_pairs(answer, torch.randperm(num_tokens), batch_size)
    return (
        "The check Y[:, :-1] == X[:, 1:] leaves out the last column, and that is where roll wraps: the last target of "
        "a row was the row's own first token. One column of 65 is the missing 1.5 %."
    )


def _expect_pairs(answer, ids, batch_size):
    case = f"of {len(ids)} tokens in {batch_size} rows"
    got = expect_room(answer, ids, batch_size, case=case)
    expect_pair(got, "X and Y")
    length = (len(ids) - 1) // batch_size
    X = ids[: batch_size * length].reshape(batch_size, length)
    Y = ids[1 : batch_size * length + 1].reshape(batch_size, length)
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
        (
            X.flatten().roll(-1).reshape(batch_size, length),
            "is right but for the very last target: there roll wraps round to the first token of the text",
        ),
    ]
    expect_close(got[1], Y, f"Y {case}", slips)


def _pairs_rolled(ids, batch_size):
    X, _ = make_pairs(ids, batch_size)
    return X, X.roll(-1, dims=1)


def _pairs_rolled_as_one(ids, batch_size):
    X, _ = make_pairs(ids, batch_size)
    return X, X.flatten().roll(-1).reshape(batch_size, -1)


def _pairs_without_last_target(ids, batch_size):
    num_tokens = len(ids) // batch_size * batch_size
    return ids[:num_tokens].reshape(batch_size, -1), ids[1 : num_tokens + 1].reshape(batch_size, -1)


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
    test=_test_make_pairs,
    solution=make_pairs,
    section="1.3 Minibatches",
    wrong={
        "rolled": (_pairs_rolled, "the first token of the same row"),
        "rolled as one": (_pairs_rolled_as_one, "but for the very last target"),
        "shortened": (_pairs_shortened, "has lost a column"),
        "padded": (_pairs_padded, "as the last target of each row"),
        "not shifted": (lambda ids, n: (make_pairs(ids, n)[0],) * 2, "equals X"),
        "rest kept": (lambda ids, n: (ids[:-1].reshape(n, -1), ids[1:].reshape(n, -1)), "there is a rest"),
        "last target": (_pairs_without_last_target, "none is left for the last target"),
    },
    hints=(
        "Print X[0] and Y[0] of a short text. Where does the last target come from?",
        "The token after the last of row 0 is the first of row 1: shift the text before it is cut, not the rows after.",
        "Cut ids[:num_tokens] and ids[1 : num_tokens + 1] alike; one token has to be left over for the last target.",
    ),
)


# A bigram table from two one-hot matrices


def bigram_table(ids, vocab_size, smoothing=1.0):
    X = F.one_hot(ids[:-1], vocab_size).double()  # (L - 1, V)
    Y = F.one_hot(ids[1:], vocab_size).double()
    counts = X.T @ Y + smoothing  # (V, V): row = this token, column = the next
    return counts / counts.sum(1, keepdim=True)


def _test_bigram_table(answer):
    """From 'abab' by hand to random texts counted pair by pair."""
    _expect_bigram(answer, torch.tensor([0, 1, 0, 1]), 3, 1.0)
    for _ in range(20):
        vocab_size = int(torch.randint(2, 6, ()))
        ids = torch.randint(vocab_size, (int(torch.randint(2, 40, ())),))
        _expect_bigram(answer, ids, vocab_size, 0.5)
    short, long = torch.arange(10) % 5, torch.arange(1000) % 5
    expect_no_loop(answer, (short, 5, 1.0), (long, 5, 1.0))


def _expect_bigram(answer, ids, vocab_size, smoothing):
    got = answer(ids.clone(), vocab_size, smoothing)
    expect_shape(got, (vocab_size, vocab_size), "the table")
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.float64)
    for this, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        counts[this, following] += 1
    if torch.equal(got.isnan().any(1), counts.sum(1) == 0) and got.isnan().any():
        raise Wrong("the row of a token that the text never shows is 0 / 0: add the smoothing to every count")
    seen, counts = counts, counts + smoothing
    right = _normalised(counts, 1)
    shares = seen / seen.sum(1, keepdim=True).clamp(min=1)
    without = "leaves the smoothing out: add it to every count"
    slips = [
        (shares, without),
        (torch.where(seen.sum(1, keepdim=True) > 0, shares, 1 / vocab_size), without),
        (_normalised(seen + 1, 1), f"adds 1 to every count, where smoothing={smoothing} was asked"),
        (_normalised(counts.T, 1), "has the next token in its rows: the row is the token that is known"),
        (counts / counts.sum(), "sums to 1 as a whole: each row must, it is a distribution of its own"),
        (_normalised(counts, 0), "sums to 1 down its columns: its rows must"),
        (
            counts / counts.sum(1),
            "divides column j by the sum of row j: keep the sums in a column, sum(1, keepdim=True)",
        ),
        (
            counts / (seen.sum(1, keepdim=True) + smoothing),
            "adds the smoothing once to the sum of a row: each of its vocab_size counts has got it",
        ),
        (
            counts / seen.sum(1, keepdim=True),
            "divides by the sums of the counts without smoothing: the rows must sum to 1",
        ),
        (counts, "holds counts: divide each row by its sum"),
        (right.log(), "is in logarithms: return the probabilities"),
        (torch.softmax(counts, 1), "went through softmax: divide each count by the sum of its row"),
    ]
    expect_close(got, right, f"the table of {ids.tolist()[:8]}", slips)


def _counts(ids, vocab_size):
    return F.one_hot(ids[:-1], vocab_size).double().T @ F.one_hot(ids[1:], vocab_size).double()


def _table_in_a_loop(ids, vocab_size, smoothing=1.0):
    counts = torch.full((vocab_size, vocab_size), smoothing, dtype=torch.float64)
    for this, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        counts[this, following] += 1
    return _normalised(counts, 1)


def _normalised(counts, axis):
    return counts / counts.sum(axis, keepdim=True)


BIGRAM_TABLE = Exercise(
    name="bigram_table",
    chapter=1,
    stars=3,
    test=_test_bigram_table,
    solution=bigram_table,
    section="1.5 From n-grams to a hidden state",
    wrong={
        "transposed": (lambda ids, v, k=1.0: _normalised(_counts(ids, v).T + k, 1), "has the next token in its rows"),
        "joint": (lambda ids, v, k=1.0: (_counts(ids, v) + k) / (_counts(ids, v) + k).sum(), "sums to 1 as a whole"),
        "columns": (lambda ids, v, k=1.0: _normalised(_counts(ids, v) + k, 0), "down its columns"),
        "softmax": (lambda ids, v, k=1.0: torch.softmax(_counts(ids, v) + k, 1), "went through softmax"),
        "not smoothed": (lambda ids, v, k=1.0: _normalised(_counts(ids, v), 1), "is 0 / 0"),
        "smoothing left out": (
            lambda ids, v, k=1.0: _counts(ids, v) / _counts(ids, v).sum(1, keepdim=True).clamp(min=1),
            "leaves the smoothing out",
        ),
        "no keepdim": (
            lambda ids, v, k=1.0: (_counts(ids, v) + k) / (_counts(ids, v) + k).sum(1),
            "divides column j by the sum of row j",
        ),
        "smoothing once in the sum": (
            lambda ids, v, k=1.0: (_counts(ids, v) + k) / (_counts(ids, v).sum(1, keepdim=True) + k),
            "adds the smoothing once to the sum",
        ),
        "a loop": (_table_in_a_loop, "computed in a loop"),
        "always 1": (lambda ids, v, k=1.0: _normalised(_counts(ids, v) + 1, 1), "adds 1 to every count"),
    },
    hints=(
        "Let X hold the one-hot rows of all tokens but the last, Y those of all tokens but the first. What is X.T @ Y?",
        "(X.T @ Y)[a, b] counts the places where token a is followed by token b. Add the smoothing to each count.",
        "Divide every row by its own sum: counts / counts.sum(1, keepdim=True).",
    ),
)


# Go further: guess the next character


def guess_next(train_ids, contexts):
    tables = []  # tables[k]: what followed k tokens in a row, and how often
    for k in range(6):
        table = collections.defaultdict(collections.Counter)
        for i in range(k, len(train_ids)):
            table[tuple(train_ids[i - k : i].tolist())][int(train_ids[i])] += 1
        tables.append(table)
    guesses = []
    for context in contexts.tolist():
        seen = (tables[k][tuple(context[8 - k :])] for k in (5, 4, 3, 2, 1, 0) if tuple(context[8 - k :]) in tables[k])
        guesses.append(next(seen).most_common(1)[0][0])  # the longest ending that the text has shown
    return torch.tensor(guesses)


def _most_frequent_after(train_ids, contexts, k):
    """Guess what most often followed the last k tokens, or 0 where they never came in a row."""
    table = collections.defaultdict(collections.Counter)
    train = train_ids.tolist()
    for i in range(k, len(train)):
        table[tuple(train[i - k : i])][train[i]] += 1
    rows = (table.get(tuple(row[8 - k :])) for row in contexts.tolist())
    return torch.tensor([row.most_common(1)[0][0] if row else 0 for row in rows])


GUESS_SLIPS = {
    "always the same": (
        lambda train_ids, contexts: _most_frequent_after(train_ids, contexts, 0),
        "guesses the same token everywhere: look at the contexts",
    ),
    "one token": (
        lambda train_ids, contexts: _most_frequent_after(train_ids, contexts, 1),
        "does as well as the bigram table, which knows the last token alone: look further back",
    ),
    "never shorter": (
        lambda train_ids, contexts: _most_frequent_after(train_ids, contexts, 5),
        "guesses 0, <unk>, where a context is new: lean on its last tokens, which the text has shown",
    ),
}
GUESS_GOAL = 0.45


def _test_guess_next(answer):
    """A cycle of letters first, then held-out text."""
    cycle = torch.arange(60) % 5
    got = answer(cycle.clone(), cycle[:30].unfold(0, 8, 1).clone())
    expect_shape(got, (23,), "the guesses")
    if len(got.unique()) == 1:
        raise Wrong(f"in the text 0 1 2 3 4 0 1 2 … your function {GUESS_SLIPS['always the same'][1]}")
    expect_close(got, cycle[8:31], "the guesses for contexts of the text 0 1 2 3 4 0 1 2 …")
    ids = torch.tensor(text.Vocab(corpus())[list(corpus())])
    train_ids, valid_ids = ids[:10_000], ids[10_000:20_000]
    contexts, targets = valid_ids[:-1].unfold(0, 8, 1), valid_ids[8:]  # (M, 8), (M,)
    got, seconds = within(60, answer, train_ids.clone(), contexts.clone())
    expect_shape(got, targets.shape, "the guesses")
    share = float((got == targets).double().mean())
    measured = f"{share:.1%} of the held-out characters guessed, in {seconds:.1f} s"
    if share >= GUESS_GOAL:
        return f"Measured: {measured}; the goal was {GUESS_GOAL:.0%}."
    for slip, sentence in GUESS_SLIPS.values():
        if torch.equal(got, slip(train_ids, contexts)):
            raise Wrong(f"measured: {measured}; the goal is {GUESS_GOAL:.0%}. Your function {sentence}")
    zeros = float((got == 0).double().mean())
    if zeros > 0.02:
        raise Wrong(
            f"measured: {measured}; the goal is {GUESS_GOAL:.0%}. In {zeros:.0%} of the places your function "
            f"{GUESS_SLIPS['never shorter'][1]}"
        )
    raise Wrong(f"measured: {measured}; the goal is {GUESS_GOAL:.0%}")


GUESS_NEXT = Exercise(
    name="guess_next",
    chapter=1,
    stars=3,
    test=_test_guess_next,
    solution=guess_next,
    section="1.5 From n-grams to a hidden state",
    wrong=GUESS_SLIPS,
    hints=(
        "Go through train_ids once for each length of context, and count what follows.",
        "A dict from a tuple of ids to a collections.Counter of the next ids is a table that holds only what was seen.",
        "For each context look up its last five tokens; if they were never seen in a row, its last four, and so on.",
    ),
)


EXERCISES = (
    TIME_FIRST,
    VOCABULARY_SIZE,
    COUNT_MINIBATCHES,
    CUT_ROWS,
    MAKE_PAIRS,
    BIGRAM_TABLE,
    GUESS_NEXT,
)
