"""Answers to the exercises of chapter 1."""

import collections
import math

import numpy as np
import torch
import torch.nn.functional as F

from rnnlib import text

# time_first


def time_first_loop(ids, vocab_size):
    result = torch.zeros(ids.shape[1], ids.shape[0], vocab_size)
    for n in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            result[t, n, ids[n, t]] = 1
    return result


def time_first_scatter(ids, vocab_size):
    return torch.zeros(*ids.T.shape, vocab_size).scatter_(2, ids.T[..., None], 1.0)


TIME_FIRST = {
    "eye": (lambda ids, v: torch.eye(v)[ids.T], "Right"),
    "library": (lambda ids, v: F.one_hot(ids.T, v).float(), "Right"),
    "float64": (lambda ids, v: F.one_hot(ids.T, v).double(), "Right"),
    "loop": (time_first_loop, "Right"),
    "scatter": (time_first_scatter, "Right"),
    "comparison": (lambda ids, v: (ids.T[..., None] == torch.arange(v)).float(), "Right"),
    "permuted": (lambda ids, v: torch.eye(v)[ids].permute(1, 0, 2), "Right"),
    "einsum": (lambda ids, v: torch.einsum("ntv->tnv", torch.eye(v)[ids]), "Right"),
    "batch first": (lambda ids, v: torch.eye(v)[ids], "put time first"),
    "reshaped": (lambda ids, v: torch.eye(v)[ids].reshape(ids.shape[1], ids.shape[0], v), "reads on row by row"),
    "width of the data": (lambda ids, v: torch.eye(int(ids.max()) + 1)[ids.T], "make it vocab_size long"),
    "integers": (lambda ids, v: F.one_hot(ids.T, v), "make them floats"),
    "booleans": (lambda ids, v: ids.T[..., None] == torch.arange(v), "make them floats"),
    "an array": (lambda ids, v: np.eye(v)[ids.T.numpy()], "an ndarray came"),
    "nothing returned": (lambda ids, v: None, "did you forget `return`"),
}

# vocabulary_size


def size_by_numpy(tokens, min_freq):
    _, counts = np.unique(tokens, return_counts=True)
    return (counts >= min_freq).sum() + 1


def size_by_loop(tokens, min_freq):
    counts = {}
    for token in tokens:
        counts[token] = counts.get(token, 0) + 1
    size = 1
    for count in counts.values():
        if count >= min_freq:
            size += 1
    return size


VOCABULARY_SIZE = {
    "counter": (lambda t, m: 1 + sum(n >= m for n in collections.Counter(t).values()), "Right"),
    "loop": (size_by_loop, "Right"),
    "NumPy": (size_by_numpy, "Right"),
    "set": (lambda t, m: len({token for token in t if t.count(token) >= m} | {"<unk>"}), "Right"),
    "a Vocab": (lambda t, m: len(text.Vocab(t, m)), "a Vocab was made"),
    "no <unk>": (lambda t, m: size_by_loop(t, m) - 1, "add 1"),
    "more often": (lambda t, m: size_by_loop(t, m + 1), "exactly min_freq times is kept"),
    "rare kept": (lambda t, m: len(set(t)) + 1, "gets no id of its own"),
    "every token": (lambda t, m: 1 + sum(t.count(a) >= m for a in t), "a kind of token is numbered once"),
    "letters": (lambda t, m: size_by_loop("".join(t), m), "their letters were counted"),
    "a tensor": (lambda t, m: torch.tensor(size_by_loop(t, m)), "a tensor came"),
    "a float": (lambda t, m: float(size_by_loop(t, m)), "int(…) makes one of it"),
    "the entries": (lambda t, m: ["<unk>", *set(t)], "a list of"),
    "constant": (lambda t, m: 3, "entries, but 3 came"),
}

# count_minibatches

COUNT_MINIBATCHES = {
    "floor division": (lambda n, b, t, o: (n - o - 1) // (b * t), "Right"),
    "twice": (lambda n, b, t, o: (n - 1 - o) // b // t, "Right"),
    "math": (lambda n, b, t, o: math.floor((n - o - 1) / (b * t)), "Right"),
    "NumPy": (lambda n, b, t, o: np.int64(n - o - 1) // (b * t), "Right"),
    "loop": (lambda n, b, t, o: sum(1 for start in range(o, n - b * t, b * t)), "Right"),
    "range": (lambda n, b, t, o: len(range(o, n - b * t, b * t)), "Right"),
    "made": (
        lambda n, b, t, o: sum(1 for _ in text.sequential_pass(torch.arange(n), b, t, o)),
        "minibatches were made to find it",
    ),
    "last token": (lambda n, b, t, o: (n - o) // (b * t), "take 1 off"),
    "no offset": (lambda n, b, t, o: (n - 1) // (b * t), "the tokens before the offset are not read: take them off"),
    "neither": (lambda n, b, t, o: n // (b * t), "take both off"),
    "rounded": (lambda n, b, t, o: round((n - o - 1) / (b * t)), "round also goes up"),
    "rounded up": (lambda n, b, t, o: math.ceil((n - o - 1) / (b * t)), "round down"),
    "fraction": (lambda n, b, t, o: (n - o - 1) / (b * t), "// divides whole numbers"),
    "NumPy floor": (lambda n, b, t, o: np.floor((n - o - 1) / (b * t)), "int(…) makes one of it"),
    "a tensor": (lambda n, b, t, o: torch.tensor(n - o - 1) // (b * t), "a tensor came"),
    "no steps": (lambda n, b, t, o: (n - o - 1) // b, "num_steps was left out"),
    "constant": (lambda n, b, t, o: 3, "count them by hand"),
}

# cut_rows


def rows(ids, b, t):
    """Return the right pair."""
    size = (len(ids) - 1) // (b * t) * b * t
    return tuple(part.reshape(b, -1, t).transpose(0, 1) for part in (ids[:size], ids[1 : size + 1]))


def rows_by_loop(ids, b, t):
    pairs = []
    for pair in text.sequential_batches(ids, b, t, 0):
        pairs.append(pair)
    return torch.stack([X for X, _ in pairs]), torch.stack([Y for _, Y in pairs])


def rows_by_index(ids, b, t):
    m = (len(ids) - 1) // (b * t)
    place = torch.arange(m)[:, None, None] * t + torch.arange(b)[:, None] * m * t + torch.arange(t)
    return ids[place], ids[place + 1]


def rows_by_einsum(ids, b, t):
    m = (len(ids) - 1) // (b * t)
    X, Y = ids[: m * b * t].view(b, m, t), ids[1 : m * b * t + 1].view(b, m, t)
    return [torch.einsum("nmt->mnt", X), torch.einsum("nmt->mnt", Y)]


CUT_ROWS = {
    "reshape": (rows, "Right"),
    "einsum, a list": (rows_by_einsum, "Right"),
    "index": (rows_by_index, "Right"),
    "int32": (lambda ids, b, t: tuple(part.int() for part in rows(ids, b, t)), "Right"),
    "loop": (rows_by_loop, "computed in a loop"),
    "comprehension": (lambda ids, b, t: tuple(torch.stack([m for m in part]) for part in rows(ids, b, t)), "in a loop"),
    "rows first": (lambda ids, b, t: tuple(p.transpose(0, 1) for p in rows(ids, b, t)), "put the minibatches first"),
    "reading order": (
        lambda ids, b, t: tuple(p.transpose(0, 1).reshape(p.shape) for p in rows(ids, b, t)),
        "reading order",
    ),
    "not shifted": (lambda ids, b, t: (rows(ids, b, t)[0],) * 2, "equals X"),
    "rolled in its row": (
        lambda ids, b, t: (rows(ids, b, t)[0], rows(ids, b, t)[0].roll(-1, 2)),
        "wraps around in every row",
    ),
    "X alone": (lambda ids, b, t: rows(ids, b, t)[0], "return two tensors"),
    "rest kept": (
        lambda ids, b, t: tuple(p.reshape(b, -1, t).transpose(0, 1) for p in (ids[:-1], ids[1:])),
        "there is a rest",
    ),
    "lists": (lambda ids, b, t: tuple(part.tolist() for part in rows(ids, b, t)), "return two tensors"),
    "swapped": (lambda ids, b, t: rows(ids, b, t)[::-1], "X of 19 tokens"),
}

# make_pairs


def pairs(ids, b):
    """Return the right pair."""
    size = (len(ids) - 1) // b * b
    return ids[:size].view(b, -1), ids[1 : size + 1].view(b, -1)


def pairs_by_loop(ids, b):
    length = (len(ids) - 1) // b
    X = torch.stack([ids[n * length : (n + 1) * length] for n in range(b)])
    Y = torch.stack([ids[n * length + 1 : (n + 1) * length + 1] for n in range(b)])
    return X, Y


def pairs_mended(ids, b):
    X, Y = pairs(ids, b)
    Y = X.roll(-1, 1)
    Y[:-1, -1] = X[1:, 0]
    Y[-1, -1] = ids[X.numel()]
    return [X, Y]


def pairs_by_unfold(ids, b):
    length = (len(ids) - 1) // b
    windows = ids.unfold(0, length + 1, length)
    return windows[:b, :-1], windows[:b, 1:]


MAKE_PAIRS = {
    "reshape": (pairs, "Right"),
    "loop": (pairs_by_loop, "Right"),
    "mended after the cut, a list": (pairs_mended, "Right"),
    "unfold": (pairs_by_unfold, "Right"),
    "rolled": (lambda ids, b: (pairs(ids, b)[0], pairs(ids, b)[0].roll(-1, 1)), "the first token of the same row"),
    "rolled as one": (
        lambda ids, b: (pairs(ids, b)[0], pairs(ids, b)[0].flatten().roll(-1).view(b, -1)),
        "but for the very last target",
    ),
    "shortened": (lambda ids, b: (pairs(ids, b)[0][:, :-1], pairs(ids, b)[0][:, 1:]), "has lost a column"),
    "padded": (lambda ids, b: (pairs(ids, b)[0], F.pad(pairs(ids, b)[0][:, 1:], (0, 1))), "as the last target"),
    "not shifted": (lambda ids, b: (pairs(ids, b)[0],) * 2, "equals X"),
    "rest kept": (lambda ids, b: (ids[:-1].view(b, -1), ids[1:].view(b, -1)), "there is a rest"),
    "X alone": (lambda ids, b: pairs(ids, b)[0], "return two tensors"),
    "columns": (lambda ids, b: tuple(part.T for part in pairs(ids, b)), "should have shape"),
}

# bigram_table


def counted(ids, v):
    return F.one_hot(ids[:-1], v).double().T @ F.one_hot(ids[1:], v).double()


def table(counts):
    return counts / counts.sum(1, keepdim=True)


def table_by_loop(ids, v, k=1.0):
    counts = torch.full((v, v), k)
    for i in range(len(ids) - 1):
        counts[ids[i], ids[i + 1]] += 1
    return table(counts)


def table_by_einsum(ids, v, k=1.0):
    X, Y = torch.eye(v)[ids[:-1]], torch.eye(v)[ids[1:]]
    return F.normalize(torch.einsum("la,lb->ab", X, Y) + k, p=1, dim=1)


def table_by_bincount(ids, v, k=1.0):
    return table(torch.bincount(ids[:-1] * v + ids[1:], minlength=v * v).view(v, v).double() + k)


BIGRAM_TABLE = {
    "product": (lambda ids, v, k=1.0: table(counted(ids, v) + k), "Right"),
    "float32, einsum": (table_by_einsum, "Right"),
    "bincount": (table_by_bincount, "Right"),
    "broadcast": (lambda ids, v, k=1.0: ((counted(ids, v) + k).T / (counted(ids, v) + k).sum(1)).T, "Right"),
    "loop": (table_by_loop, "computed in a loop"),
    "no keepdim": (lambda ids, v, k=1.0: (counted(ids, v) + k) / (counted(ids, v) + k).sum(1), "divides column j"),
    "smoothing once": (
        lambda ids, v, k=1.0: (counted(ids, v) + k) / (counted(ids, v).sum(1, keepdim=True) + k),
        "adds the smoothing once to the sum",
    ),
    "transposed": (lambda ids, v, k=1.0: table(counted(ids, v).T + k), "has the next token in its rows"),
    "joint": (lambda ids, v, k=1.0: (counted(ids, v) + k) / (counted(ids, v) + k).sum(), "sums to 1 as a whole"),
    "columns": (lambda ids, v, k=1.0: (counted(ids, v) + k) / (counted(ids, v) + k).sum(0), "down its columns"),
    "not smoothed": (lambda ids, v, k=1.0: table(counted(ids, v)), "is 0 / 0"),
    "always 1": (lambda ids, v, k=1.0: table(counted(ids, v) + 1), "adds 1 to every count"),
    "softmax": (lambda ids, v, k=1.0: torch.softmax(counted(ids, v) + k, 1), "went through softmax"),
    "counts": (lambda ids, v, k=1.0: counted(ids, v) + k, "holds counts"),
}

# guess_next


def followed(train, k):
    table = collections.defaultdict(collections.Counter)
    for i in range(k, len(train)):
        table[tuple(train[i - k : i])][train[i]] += 1
    return table


def guesses(train_ids, contexts, orders, otherwise=1):
    """Guess by the first order whose context was seen."""
    tables = {k: followed(train_ids.tolist(), k) for k in orders}
    found = []
    for row in contexts.tolist():
        seen = [tables[k][tuple(row[8 - k :])] for k in orders if tuple(row[8 - k :]) in tables[k]]
        found.append(seen[0].most_common(1)[0][0] if seen else otherwise)
    return torch.tensor(found)


def guesses_by_matching(train_ids, contexts):
    """Compare every context with all places of the text, and let the longest endings decide."""
    windows, targets = train_ids[:-1].unfold(0, 8, 1), train_ids[8:]
    found = []
    for part in contexts.split(500):
        matches = torch.zeros(len(part), len(windows))
        running = torch.ones(len(part), len(windows), dtype=torch.bool)
        for k in range(1, 6):
            running &= part[:, None, -k] == windows[:, -k]
            matches += running
        weights = torch.where(matches == matches.amax(1, keepdim=True), 1.0, 0.0)
        found.append((weights @ F.one_hot(targets).float()).argmax(1))
    return torch.cat(found)


GUESS_NEXT = {
    "five down to none": (lambda ids, c: guesses(ids, c, (5, 4, 3, 2, 1, 0)), "Right"),
    "four down to none": (lambda ids, c: guesses(ids, c, (4, 3, 2, 1, 0)), "Right"),
    "int32": (lambda ids, c: guesses(ids, c, (5, 4, 3, 2, 1, 0)).int(), "Right"),
    "matching": (guesses_by_matching, "Right"),
    "always the same": (lambda ids, c: guesses(ids, c, (0,)), "guesses the same token everywhere"),
    "one token": (lambda ids, c: guesses(ids, c, (1,), 0), "as well as the bigram table"),
    "never shorter": (lambda ids, c: guesses(ids, c, (5,), 0), "guesses 0, <unk>, where a context is new"),
    "the last token again": (lambda ids, c: c[:, -1], "the guesses for contexts"),
    "the oldest tokens": (lambda ids, c: guesses(ids, c.flip(1), (5, 4, 3, 2, 1, 0)), "the guesses for contexts"),
    "a list": (lambda ids, c: guesses(ids, c, (1,)).tolist(), "should be a tensor"),
    "one guess": (lambda ids, c: torch.tensor(1), "should have shape"),
    "nothing": (lambda ids, c: None, "did you forget `return`"),
}

ANSWERS = {
    "time_first": TIME_FIRST,
    "vocabulary_size": VOCABULARY_SIZE,
    "count_minibatches": COUNT_MINIBATCHES,
    "cut_rows": CUT_ROWS,
    "make_pairs": MAKE_PAIRS,
    "bigram_table": BIGRAM_TABLE,
    "guess_next": GUESS_NEXT,
}
