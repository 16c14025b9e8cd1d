"""Answers to the exercises of chapter 4."""

import collections
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def count_by_formula(D, H, L, K):
    return K * H * (D + H + 2) + (L - 1) * K * H * (K * H + H + 2)


def count_by_library(D, H, L, K):
    return sum(p.numel() for p in nn.RNN(D, H, L, bidirectional=K == 2).parameters())


def count_by_shapes(D, H, L, K):
    widths = [D] + [K * H] * (L - 1)
    return K * sum(math.prod(shape) for width in widths for shape in ((H, width), (H, H), (H,), (H,)))


COUNT_LAYER_PARAMETERS = {
    "formula": (count_by_formula, "Right"),
    "library": (count_by_library, "Right"),
    "shapes in a loop": (count_by_shapes, "Right"),
    "NumPy": (lambda *sizes: np.int64(count_by_formula(*sizes)), "Right"),
    "a tensor": (lambda *sizes: torch.tensor(count_by_formula(*sizes)), "Right"),
    "one bias": (lambda D, H, L, K: count_by_formula(D, H, L, K) - L * K * H, "counts one bias a layer"),
    "no biases": (lambda D, H, L, K: count_by_formula(D, H, L, K) - 2 * L * K * H, "leaves the biases out"),
    "no hidden weights": (lambda D, H, L, K: count_by_formula(D, H, L, K) - L * K * H * H, "leaves out weight_hh"),
    "layers all alike": (lambda D, H, L, K: L * K * H * (D + H + 2), "they read the layer below"),
    "one direction read": (
        lambda D, H, L, K: K * H * (D + H + 2) + (L - 1) * K * H * (2 * H + 2),
        "they read both, side by side",
    ),
    "one direction": (lambda D, H, L, K: count_by_formula(D, H, L, 1), "the weights of the other direction"),
    "one layer": (lambda D, H, L, K: count_by_formula(D, H, 1, K), "the lowest layer alone"),
    "that of an LSTM": (lambda D, H, L, K: 4 * count_by_formula(D, H, L, K), "the count for 28 inputs"),
    "one too many": (lambda D, H, L, K: count_by_formula(D, H, L, K) + 1, "the count for 28 inputs"),
}


def ends_by_chunks(output):
    forward, backward = output.chunk(2, dim=2)
    return torch.cat((forward[-1], backward[0]), 1)


def ends_by_unflatten(output):
    apart = output.unflatten(2, (2, -1))  # (T, N, 2, H)
    return torch.stack([apart[-1, :, 0], apart[0, :, 1]], dim=1).flatten(1)


def ends_in_a_loop(output):
    T, N, width = output.shape
    rows = [list(output[T - 1, n, : width // 2]) + list(output[0, n, width // 2 :]) for n in range(N)]
    return torch.tensor(rows)


def ends_by_where(output):
    is_forward = torch.arange(output.shape[2]) < output.shape[2] // 2
    return torch.where(is_forward, output[-1], output[0])


def ends_by_gather(output):
    T, N, width = output.shape
    steps = torch.tensor([T - 1, 0]).repeat_interleave(width // 2).expand(1, N, width)
    return output.gather(0, steps)[0]


def ends_by_numpy(output):
    array, H = output.numpy(), output.shape[2] // 2
    return torch.from_numpy(np.concatenate([array[-1, :, :H], array[0, :, H:]], axis=1))


BOTH_ENDS = {
    "solution": (SOLUTIONS["both_ends"], "Right"),
    "chunks": (ends_by_chunks, "Right"),
    "unflatten": (ends_by_unflatten, "Right"),
    "a loop": (ends_in_a_loop, "Right"),
    "where": (ends_by_where, "Right"),
    "gather": (ends_by_gather, "Right"),
    "NumPy": (ends_by_numpy, "Right"),
    "double precision": (lambda output: SOLUTIONS["both_ends"](output.double()), "Right"),
    "the last step": (lambda output: output[-1], "where that direction has read one input: it ends at step 0"),
    "the first step": (lambda output: output[0], "it ends at the last step"),
    "backward in front": (
        lambda output: torch.cat([output[0, :, output.shape[2] // 2 :], output[-1, :, : output.shape[2] // 2]], dim=1),
        "forward comes first",
    ),
    "both beginnings": (
        lambda output: torch.cat([output[0, :, : output.shape[2] // 2], output[-1, :, output.shape[2] // 2 :]], dim=1),
        "are the beginnings of both readings",
    ),
    "batch first": (lambda output: SOLUTIONS["both_ends"](output.transpose(0, 1)), "here the first axis is time"),
    "one above the other": (
        lambda output: torch.cat([output[-1, :, : output.shape[2] // 2], output[0, :, output.shape[2] // 2 :]]),
        "the ends should have shape",
    ),
    "halves of T": (lambda output: output[len(output) // 2], "should be"),
}


def deep(layers, dropout=0.0):
    """Return one deep nn.RNN with the weights of single ones."""
    layer = nn.RNN(layers[0].input_size, layers[0].hidden_size, len(layers), dropout=dropout if len(layers) > 1 else 0)
    for level, single in enumerate(layers):
        for name, weight in single.state_dict().items():
            layer.state_dict()[name.replace("_l0", f"_l{level}")].copy_(weight)
    return layer


def stack_by_hand(layers, X, dropout):
    ends = []
    for level, layer in enumerate(layers):
        if level:
            X = nn.Dropout(dropout)(X)
        H, outputs = X.new_zeros(X.shape[1], layer.hidden_size), []
        for step in X:
            H = torch.tanh(step @ layer.weight_ih_l0.T + layer.bias_ih_l0 + H @ layer.weight_hh_l0.T + layer.bias_hh_l0)
            outputs.append(H)
        X = torch.stack(outputs)
        ends.append(H)
    return X, torch.stack(ends)


def stack_by_cells(layers, X, dropout):
    """Step through time in the outer loop, as a deep layer may."""
    states = [torch.zeros(1, X.shape[1], layer.hidden_size) for layer in layers]
    outputs = []
    for step in X:
        value = step[None]
        for level, layer in enumerate(layers):
            value = F.dropout(value, dropout) if level else value
            value, states[level] = layer(value, states[level])
        outputs.append(value)
    return [torch.cat(outputs), torch.cat(states)]


def stack_by_forward(layers, X, dropout):
    ends = []
    for k in range(len(layers)):
        if k == 0:
            X, H = layers[k].forward(X)
        else:
            X, H = layers[k].forward(F.dropout(X, dropout))
        ends.append(H[0])
    return X, torch.stack(ends)


def stack_by(drop):
    """Return an answer that drops by a rule of its own."""

    def answer(layers, X, dropout):
        ends = []
        for layer in layers:
            X, H = layer(X if not ends else drop(X, dropout))
            ends.append(H)
        return X, torch.cat(ends)

    return answer


def alike(axis):
    """Return a dropout with one mask for everything along an axis."""

    def drop(X, dropout):
        sizes = [1 if i == axis else size for i, size in enumerate(X.shape)]
        return X * (torch.rand(sizes) >= dropout) / (1 - dropout)

    return drop


STACK_LAYERS = {
    "solution in a loop": (SOLUTIONS["stack_layers"], "Right"),
    "library": (lambda layers, X, dropout: deep(layers, dropout)(X), "Right"),
    "tanh in a loop": (stack_by_hand, "Right"),
    "a list, time outside": (stack_by_cells, "Right"),
    "forward": (stack_by_forward, "Right"),
    "a mask of its own": (stack_by(lambda X, p: X * (torch.rand_like(X) >= p) / (1 - p)), "Right"),
    "bernoulli": (stack_by(lambda X, p: X * torch.bernoulli(torch.full_like(X, 1 - p)) / (1 - p)), "Right"),
    "no dropout": (lambda layers, X, dropout: deep(layers)(X), "come without dropout"),
    "dropout that is switched off": (stack_by(lambda X, p: F.dropout(X, p, training=False)), "come without dropout"),
    "dropout at the end": (
        lambda layers, X, p: (lambda output, h_n: (F.dropout(output, p), h_n))(*deep(layers, p)(X)),
        "dropout behind the last layer too",
    ),
    "dropout in front": (lambda layers, X, p: deep(layers, p)(F.dropout(X, p)), "dropout on X too"),
    "one mask for all steps": (stack_by(alike(0)), "one mask serves all steps"),
    "one mask for all sequences": (stack_by(alike(1)), "one mask serves the whole minibatch"),
    "whole steps": (stack_by(alike(2)), "a step is dropped as a whole"),
    "not scaled": (stack_by(lambda X, p: X * (torch.rand_like(X) >= p)), "divided by 1 - dropout"),
    "the share that stays": (stack_by(lambda X, p: F.dropout(X, 1 - p)), "not the one that stays"),
    "the mean": (stack_by(lambda X, p: X * (1 - p)), "at random, for dropout=0.5; it did not"),
    "all read X": (
        lambda layers, X, p: (layers[-1](X)[0], torch.cat([layer(X)[1] for layer in layers])),
        "let every layer read X",
    ),
    "upside down": (
        lambda layers, X, p: (lambda output, h_n: (output, h_n.flip(0)))(*deep(layers, p)(X)),
        "row 0 belongs to the lowest layer",
    ),
    "the last state alone": (lambda layers, X, p: (deep(layers, p)(X)[0], deep(layers, p)(X)[1][-1:]), "h_n should"),
    "output alone": (lambda layers, X, p: deep(layers, p)(X)[0], "return two tensors, output and h_n"),
}


def by_loop(output, lengths):
    return torch.stack([output[length - 1, n] for n, length in enumerate(lengths.tolist())])


def by_gather(output, lengths):
    steps = (lengths - 1)[None, :, None].expand(1, -1, output.shape[2])
    return output.gather(0, steps)[0]


def by_einsum(output, lengths):
    return torch.einsum("tnh,nt->nh", output, F.one_hot(lengths - 1, len(output)).to(output.dtype))


LAST_REAL_OUTPUTS = {
    "index": (SOLUTIONS["last_real_outputs"], "Right"),
    "loop": (by_loop, "Right"),
    "gather": (by_gather, "Right"),
    "einsum": (by_einsum, "Right"),
    "batch first": (lambda output, lengths: output.transpose(0, 1)[range(len(lengths)), lengths - 1], "Right"),
    "float64": (lambda output, lengths: by_loop(output.double(), lengths), "Right"),
    "last step": (lambda output, lengths: output[-1], "padding for the shorter"),
    "one too far": (lambda output, lengths: output[lengths, torch.arange(len(lengths))], "reads one step too far"),
    "one too far, where there is a step": (
        lambda output, lengths: torch.stack([output[min(n, len(output) - 1), i] for i, n in enumerate(lengths)]),
        "reads one step too far",
    ),
    "one too early": (lambda output, lengths: output[lengths - 2, range(len(lengths))], "reads one step too early"),
    "first step": (lambda output, lengths: output[0], "reads the first step"),
    "where the longest ends": (lambda output, lengths: output[lengths.max() - 1], "where the longest one ends"),
    "axes mixed up": (lambda output, lengths: output[range(len(lengths)), lengths - 1], "here the first axis is time"),
    "all of all": (lambda output, lengths: output[lengths - 1], "but (4, 4, 3) came"),
    "mean": (
        lambda output, lengths: torch.stack([output[:n, i].mean(0) for i, n in enumerate(lengths)]),
        "the mean of the real outputs",
    ),
    "a list": (lambda output, lengths: list(by_loop(output, lengths)), "but a list of 4 came"),
}


def windows_by_loop(ids, num_steps, stride):
    X, Y = [], []
    for start in range(0, len(ids) - num_steps, stride):
        X.append(ids[start : start + num_steps])
        Y.append(ids[start + 1 : start + num_steps + 1])
    return torch.stack(X), torch.stack(Y)


def windows_by_index(ids, num_steps, stride):
    places = torch.arange(0, len(ids) - num_steps, stride)[:, None] + torch.arange(num_steps)
    return ids[places], ids[places + 1]


def windows_by_numpy(ids, num_steps, stride):
    rows = np.lib.stride_tricks.sliding_window_view(ids.numpy(), num_steps + 1)[::stride]
    return torch.tensor(rows[:, :-1]), torch.tensor(rows[:, 1:])


def a_window_too_many(ids, num_steps, stride):
    starts = range(0, len(ids) - num_steps + 1, stride)
    X = torch.stack([ids[start : start + num_steps] for start in starts])
    return X, torch.stack([ids[start + 1 : start + num_steps + 1] for start in starts])


def two_unfolds(ids, num_steps, stride):
    return ids[:-1].unfold(0, num_steps, stride), ids[1:].unfold(0, num_steps, stride)


SLIDING_WINDOWS = {
    "unfold": (SOLUTIONS["sliding_windows"], "Right"),
    "two unfolds": (two_unfolds, "Right"),
    "loop": (windows_by_loop, "Right"),
    "index": (windows_by_index, "Right"),
    "NumPy": (windows_by_numpy, "Right"),
    "a list": (lambda *arguments: list(windows_by_loop(*arguments)), "Right"),
    "int32": (lambda ids, num_steps, stride: windows_by_loop(ids.int(), num_steps, stride), "Right"),
    "ragged": (a_window_too_many, "no successor is no window"),
    "unfold of all": (
        lambda ids, n, stride: (ids.unfold(0, n, stride), ids[1:].unfold(0, n, stride)),
        "no successor is no window",
    ),
    "not shifted": (lambda ids, n, stride: (two_unfolds(ids, n, stride)[0],) * 2, "Y is X one token later"),
    "swapped": (lambda *arguments: two_unfolds(*arguments)[::-1], "the wrong way round"),
    "side by side": (lambda ids, n, stride: two_unfolds(ids, n, n), "lie side by side"),
    "stride 1": (lambda ids, n, stride: two_unfolds(ids, n, 1), "begin at every token"),
    "shifted by the stride": (
        lambda ids, n, stride: (ids.unfold(0, n, stride)[:-1], ids.unfold(0, n, stride)[1:]),
        "the next window for targets",
    ),
    "last one lost": (lambda ids, n, stride: windows_by_loop(ids[:-1], n, stride), "lack the last one"),
    "one tensor": (lambda ids, n, stride: ids.unfold(0, n + 1, stride), "return two tensors, X and Y"),
    "one target a window": (
        lambda ids, n, stride: (two_unfolds(ids, n, stride)[0], two_unfolds(ids, n, stride)[1][:, -1]),
        "X and Y should have shape",
    ),
}


def one_by_one(layer, linear, X):
    return torch.stack([linear(layer(sequence[:, None])[1][-1, 0]) for sequence in X])


def switched(layer, linear, X):
    layer.batch_first = True
    return linear(layer(X)[0][:, -1])


def read(output_of, turn):
    return lambda layer, linear, X: linear(output_of(layer(turn(X))[0]))


CLASSIFY = {
    "solution": (SOLUTIONS["classify"], "Right"),
    "output": (read(lambda output: output[-1], lambda X: X.permute(1, 0, 2)), "Right"),
    "loop": (one_by_one, "Right"),
    "batch_first": (switched, "Right"),
    "einsum": (
        lambda layer, linear, X: (
            torch.einsum("nh,kh->nk", layer(torch.einsum("ntd->tnd", X))[1][0], linear.weight) + linear.bias
        ),
        "Right",
    ),
    "float64": (lambda layer, linear, X: linear(layer(X.swapaxes(0, 1))[1].squeeze(0)).double(), "Right"),
    "as it was": (read(lambda output: output[:, -1], lambda X: X), "takes the first axis of X for time"),
    "reshaped": (
        read(lambda output: output[-1], lambda X: X.reshape(X.shape[1], X.shape[0], -1)),
        "reshape cuts the rows anew",
    ),
    "first step": (read(lambda output: output[0], lambda X: X.transpose(0, 1)), "read at the first step"),
    "last sequence": (read(lambda output: output[:, -1], lambda X: X.transpose(0, 1)), "but (6, 2) came"),
    "all steps": (read(lambda output: output, lambda X: X.transpose(0, 1)), "but (6, 4, 2) came"),
    "mean": (read(lambda output: output.mean(0), lambda X: X.transpose(0, 1)), "the mean of all steps"),
    "from the end": (read(lambda output: output[-1], lambda X: X.transpose(0, 1).flip(0)), "read from their end"),
    "no read-out": (lambda layer, linear, X: layer(X.transpose(0, 1))[1][-1], "but (4, 8) came"),
    "one axis too many": (lambda layer, linear, X: linear(layer(X.transpose(0, 1))[1]), "but (1, 4, 2) came"),
}


def run_into_a_buffer(model, window, num_steps):
    window, forecasts = window.clone(), torch.empty(len(window), num_steps)
    for step in range(num_steps):
        forecasts[:, step] = model(window)[:, 0]
        window = window.roll(-1, 1)
        window[:, -1] = forecasts[:, step : step + 1]
    return forecasts


def run_along_the_series(model, window, num_steps):
    series, T = window, window.shape[1]
    for _ in range(num_steps):
        series = torch.cat([series, model(series[:, -T:]).unsqueeze(1)], dim=1)
    return series[:, T:, 0]


def run_with_deque(model, window, num_steps):
    values, forecasts = collections.deque(window.unbind(1), maxlen=window.shape[1]), []
    for _ in range(num_steps):
        values.append(model(torch.stack(tuple(values), dim=1)))
        forecasts.append(values[-1])
    return torch.hstack(forecasts)


def run_in_place(model, window, num_steps):
    forecasts = []
    for _ in range(num_steps):
        forecasts.append(model(window))
        window[:, :-1] = window[:, 1:].clone()
        window[:, -1] = forecasts[-1]
    return torch.cat(forecasts, dim=1)


def run_growing(model, window, num_steps):
    start = window.shape[1]
    for _ in range(num_steps):
        window = torch.cat([window, model(window)[..., None]], dim=1)
    return window[:, start:, 0]


def run_with(slide):
    """Return a free run whose window moves on by a rule of its own."""

    def answer(model, window, num_steps):
        forecasts = []
        for _ in range(num_steps):
            forecasts.append(model(window))
            window = slide(window, forecasts[-1][:, None])
        return torch.cat(forecasts, dim=1)

    return answer


FREE_RUN = {
    "cat": (SOLUTIONS["free_run"], "Right"),
    "buffer": (run_into_a_buffer, "Right"),
    "series": (run_along_the_series, "Right"),
    "deque": (run_with_deque, "Right"),
    "float64": (lambda *arguments: run_along_the_series(*arguments).double(), "Right"),
    "in place": (run_in_place, "the window that came in has changed"),
    "growing": (run_growing, "let the window grow"),
    "never slides": (run_with(lambda window, value: window), "repeat the first"),
    "in front": (
        run_with(lambda window, value: torch.cat([value, window[:, :-1]], 1)),
        "it belongs at the end",
    ),
    "newest dropped": (
        run_with(lambda window, value: torch.cat([window[:, :-1], value], 1)),
        "drop the newest value",
    ),
    "last value alone": (run_with(lambda window, value: value), "show it a whole window"),
    "a step early": (
        lambda model, window, n: torch.cat([window[:, -1], run_along_the_series(model, window, n)], 1)[:, :n],
        "begin with the last value of the window",
    ),
    "a step late": (lambda model, window, n: run_along_the_series(model, window, n + 1)[:, 1:], "the first one out"),
    "one too many": (lambda model, window, n: run_along_the_series(model, window, n + 1), "should have shape (2, 3)"),
    "reversed": (lambda model, window, n: run_along_the_series(model, window, n).flip(1), "in the wrong order"),
    "an axis more": (lambda model, window, n: run_along_the_series(model, window, n)[..., None], "but (2, 3, 1) came"),
}


def pieces_of(word, sizes):
    word = f" {word} "
    return [word[i : i + size] for size in sizes for i in range(len(word) - size + 1)]


def told_by(sizes, added=1.0):
    def answer(train_words, words):
        counts = collections.Counter(piece for word in train_words for piece in pieces_of(word, sizes))

        def evidence(word):
            return sum(
                math.log(counts[piece] + added) - math.log(counts[piece[::-1]] + added)
                for piece in pieces_of(word, sizes)
            )

        return [evidence(word) < 0 for word in words]

    return answer


def told_by_numpy(train_words, words):
    back = told_by((2, 3, 4))(train_words, words)
    return list(np.array(back))


TOLD_BACKWARDS = {
    "solution": (SOLUTIONS["told_backwards"], "Right"),
    "three and four letters": (told_by((3, 4)), "Right"),
    "pairs and triples": (told_by((2, 3)), "the goal is to pass it"),
    "letter triples": (told_by((3,)), "what do shorter and longer pieces add"),
    "a tuple": (lambda train_words, words: tuple(told_by((2, 3, 4))(train_words, words)), "Right"),
    "NumPy": (told_by_numpy, "Right"),
    "an array": (lambda train_words, words: np.array(told_by((2, 3, 4))(train_words, words)), "Right"),
    "a tensor": (lambda train_words, words: torch.tensor(told_by((2, 3, 4))(train_words, words)), "Right"),
    "letter pairs": (told_by((2,)), "look at more than pairs"),
    "single letters": (told_by((1,)), "measured:"),
    "never": (lambda train_words, words: [False] * len(words), "what a coin gets"),
    "always": (lambda train_words, words: [True] * len(words), "what a coin gets"),
    "the other way round": (
        lambda train_words, words: [not back for back in told_by((2, 3, 4))(train_words, words)],
        "worse than a coin: True means backwards",
    ),
    "numbers": (lambda train_words, words: [0] * len(words), "each answer, True for backwards, should be True or"),
    "one too few": (
        lambda train_words, words: told_by((2, 3, 4))(train_words, words)[1:],
        "answers, one for each word",
    ),
    "words": (lambda train_words, words: ["backwards"] * len(words), "should be True or False, but a str came"),
}

ANSWERS = {
    "both_ends": BOTH_ENDS,
    "count_layer_parameters": COUNT_LAYER_PARAMETERS,
    "stack_layers": STACK_LAYERS,
    "last_real_outputs": LAST_REAL_OUTPUTS,
    "sliding_windows": SLIDING_WINDOWS,
    "classify": CLASSIFY,
    "free_run": FREE_RUN,
    "told_backwards": TOLD_BACKWARDS,
}
