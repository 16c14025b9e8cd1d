"""Exercises of chapter 4: recurrent layers of torch.nn, windows, sequence ends and forecasts."""

import collections
import math

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib.check._frame import (
    Exercise,
    Wrong,
    corpus,
    expect_close,
    expect_pair,
    expect_shape,
    expect_truths,
    within,
)
from rnnlib.layers import ManyToOne


def _draw(*shape, seed=0):
    """Draw a tensor of normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _seeded(make, seed=0):
    """Make a module with weights that are the same every time."""
    torch.manual_seed(seed)  # the frame puts the reader's random state back
    return make()


# ★ Count the parameters of a layer


def count_layer_parameters(num_inputs, num_hiddens, num_layers, num_directions):
    total = 0
    for layer in range(num_layers):
        width = num_inputs if layer == 0 else num_directions * num_hiddens
        total += num_directions * (width + num_hiddens + 2) * num_hiddens
    return total


def _count(num_inputs, num_hiddens, num_layers, num_directions, biases=2, deeper=None):
    """Count with another number of biases, or another width of what the deeper layers read."""
    widths = [num_inputs] + [deeper or num_directions * num_hiddens] * (num_layers - 1)
    return sum(num_directions * (width + num_hiddens + biases) * num_hiddens for width in widths)


def _one_bias(D, H, L, K):
    return _count(D, H, L, K, biases=1)


def _same_input(D, H, L, K):
    return _count(D, H, L, K, deeper=D)


def _one_direction_up(D, H, L, K):
    return _count(D, H, L, K, deeper=H)


def _one_direction(D, H, L, K):
    return _count(D, H, L, 1)


def _one_layer(D, H, L, K):
    return _count(D, H, 1, K)


def _no_biases(D, H, L, K):
    return _count(D, H, L, K, biases=0)


def _no_memory(D, H, L, K):
    return count_layer_parameters(D, H, L, K) - L * K * H * H


COUNT_SLIPS = {
    "one bias": (_one_bias, "counts one bias a layer and direction; PyTorch keeps two, bias_ih and bias_hh"),
    "deeper layers read the input": (_same_input, "lets the deeper layers read the input; they read the layer below"),
    "deeper layers read one direction": (
        _one_direction_up,
        "lets the deeper layers read one direction; they read both, side by side",
    ),
    "direction forgotten": (_one_direction, "leaves the weights of the other direction out"),
    "one layer": (_one_layer, "is that of the lowest layer alone"),
    "no biases": (_no_biases, "leaves the biases out; there are two a layer and direction, bias_ih and bias_hh"),
    "no memory": (_no_memory, "leaves out weight_hh, (H, H), one a layer and direction"),
}


def _test_count_layer_parameters(answer):
    for D, H, L, K in ((28, 512, 1, 1), (3, 2, 1, 2), (5, 4, 3, 1), (4, 3, 2, 2), (1, 1, 4, 2)):
        slips = [(slip(D, H, L, K), sentence) for slip, sentence in COUNT_SLIPS.values()]
        layer = nn.RNN(D, H, L, bidirectional=K == 2, device="meta")
        expected = sum(p.numel() for p in layer.parameters())
        what = f"the count for {D} inputs, {H} hidden units, {L} layer(s) and {K} direction(s)"
        expect_close(answer(D, H, L, K), expected, what, slips)


COUNT_LAYER_PARAMETERS = Exercise(
    "count_layer_parameters",
    chapter=4,
    stars=1,
    test=_test_count_layer_parameters,
    solution=count_layer_parameters,
    section="What comes out, and what equals what",
    wrong=COUNT_SLIPS,
    hints=(
        "Print the shapes of the named_parameters() of a small nn.RNN with two layers and both directions.",
        "A layer in one direction has weight_ih (H, width), weight_hh (H, H), bias_ih (H,) and bias_hh (H,).",
        "The width is the number of inputs for the lowest layer, and directions times H for those above it.",
    ),
)


# ★ Where both readings end


def both_ends(output):
    H = output.shape[2] // 2
    return torch.cat([output[-1, :, :H], output[0, :, H:]], dim=1)


def _halves(output, forward, backward):
    """Join a forward half at one step and a backward half at another."""
    H = output.shape[2] // 2
    return torch.cat([output[forward, :, :H], output[backward, :, H:]], dim=1)


def _backward_first(output):
    return both_ends(output).roll(output.shape[2] // 2, dims=1)


def _interleaved(output):
    H = output.shape[2] // 2
    return torch.cat([output[-1, :, ::2], output[0, :, 1::2]], dim=1) if H > 1 else both_ends(output)


def _batch_first(output):
    return both_ends(output.transpose(0, 1))


def _added(output):
    return both_ends(output).unflatten(1, (2, -1)).sum(1)


BOTH_SLIPS = {
    "last step": (
        lambda output: output[-1],
        "have their backward half from the last step, where that direction has read one input: it ends at step 0",
    ),
    "first step": (
        lambda output: output[0],
        "have their forward half from step 0, where that direction has read one input: it ends at the last step",
    ),
    "beginnings": (
        lambda output: _halves(output, 0, -1),
        "are the beginnings of both readings: forward ends at the last step, backward at step 0",
    ),
    "backward first": (_backward_first, "have the backward half first: forward comes first"),
    "batch first": (_batch_first, "take the first axis for the sequences; here the first axis is time"),
    "interleaved": (
        _interleaved,
        "take every other number: the first H of the 2 * H are the forward half, the last H the backward one",
    ),
}


def _test_both_ends(answer):
    # In the first case every slip has the right shape, so that it can be named.
    for seed, (T, N, H) in enumerate(((3, 3, 2), (5, 2, 4), (2, 1, 1), (1, 3, 2))):
        layer = _seeded(lambda H=H: nn.GRU(3, H, bidirectional=True), seed=seed)
        with torch.no_grad():
            output, h_n = layer(_draw(T, N, 3, seed=seed))  # (T, N, 2 * H), (2, N, H)
        got = answer(output.clone())
        expect_shape(got, (N, 2 * H), "the ends")
        slips = [(slip(output), sentence) for slip, sentence in BOTH_SLIPS.values()] if seed == 0 else ()
        what = f"the ends of both readings for T={T}, N={N} and H={H}"
        expect_close(got, torch.cat([h_n[0], h_n[1]], dim=1), what, slips)


BOTH_ENDS = Exercise(
    "both_ends",
    chapter=4,
    stars=1,
    test=_test_both_ends,
    solution=both_ends,
    section="What comes out, and what equals what",
    wrong=BOTH_SLIPS | {"added": (_added, "the ends should have shape (3, 4), but (3, 2) came")},
    hints=(
        "Which step does the forward direction read last, and which one the backward direction?",
        "output[-1, :, :H] is the forward half at the last step; H is half of output.shape[2].",
        "Join it with output[0, :, H:] by torch.cat, along the last axis.",
    ),
)


# ★★ The last real output


def last_real_outputs(output, lengths):
    return output[lengths - 1, torch.arange(len(lengths))]


def _last_step(output, lengths):
    return output[-1]


def _one_too_far(output, lengths):
    return output[lengths, torch.arange(len(lengths))]


def _batch_first_index(output, lengths):
    return output[torch.arange(len(lengths)), lengths - 1]


def _one_too_early(output, lengths):
    return output[lengths - 2, torch.arange(len(lengths))]


def _first_output(output, lengths):
    return output[0]


def _end_of_the_longest(output, lengths):
    return output[int(lengths.max()) - 1]


def _mean_of_the_real(output, lengths):
    return torch.stack([output[:length, n].mean(0) for n, length in enumerate(lengths)])


def _whole_block(output, lengths):
    return output[lengths - 1]


LAST_SLIPS = {
    "last step": (_last_step, "reads the last step, which is padding for the shorter sequences"),
    "one too far": (_one_too_far, "reads one step too far: a sequence of length 3 ends at step 2"),
    "batch first": (_batch_first_index, "takes the first axis for the sequences; here the first axis is time"),
    "one too early": (_one_too_early, "reads one step too early: a sequence of length 3 ends at step 2"),
    "first step": (_first_output, "reads the first step: a sequence of length l ends at step l - 1"),
    "end of the longest": (
        _end_of_the_longest,
        "reads every sequence where the longest one ends: each has an end of its own",
    ),
    "mean": (_mean_of_the_real, "is the mean of the real outputs: asked is the last of them"),
}


def _test_last_real_outputs(answer):
    # In the first case every slip finds something to read, so that it can be named.
    cases = [(4, [3, 1, 2, 2]), (5, [5, 2]), (1, [1]), (7, [1, 7, 4, 4, 6])]
    for seed, (num_steps, lengths) in enumerate(cases):
        lengths = torch.tensor(lengths)
        output = _draw(num_steps, len(lengths), 3, seed=seed)  # (T, N, H)
        try:
            got = answer(output.clone(), lengths.clone())
        except IndexError as error:
            if f"index {num_steps} is out of bounds" in str(error):
                raise Wrong(f"the last real output {LAST_SLIPS['one too far'][1]} ({error})") from None
            raise
        expect_shape(got, (len(lengths), 3))
        slips = []
        if seed == 0:
            slips = [(slip(output, lengths), sentence) for slip, sentence in LAST_SLIPS.values()]
        what = f"the last real output for T={num_steps} and lengths {lengths.tolist()}"
        expect_close(got, last_real_outputs(output, lengths), what, slips)


LAST_REAL_OUTPUTS = Exercise(
    "last_real_outputs",
    chapter=4,
    stars=2,
    test=_test_last_real_outputs,
    solution=last_real_outputs,
    section="Sequences of different lengths",
    wrong=LAST_SLIPS | {"whole block": (_whole_block, "should have shape (4, 3), but (4, 4, 3) came")},
    hints=(
        "A sequence of length l ends at step l - 1.",
        "output[steps, sequences] with two index tensors of the same length (N,) picks one vector for each pair.",
        "The steps are lengths - 1, the sequences torch.arange(N).",
    ),
)


# ★★ Windows that slide


def sliding_windows(ids, num_steps, stride):
    windows = ids.unfold(0, num_steps + 1, stride)
    return windows[:, :-1], windows[:, 1:]


def _windows(ids, num_steps, starts):
    rows = torch.stack([ids[start : start + num_steps + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def _not_shifted(ids, num_steps, stride):
    X, _ = sliding_windows(ids, num_steps, stride)
    return X, X


def _stride_ignored(ids, num_steps, stride):
    return sliding_windows(ids, num_steps, 1)


def _side_by_side(ids, num_steps, stride):
    return sliding_windows(ids, num_steps, num_steps)


def _next_window(ids, num_steps, stride):
    X = ids.unfold(0, num_steps, stride)
    return X[:-1], X[1:]


def _last_lost(ids, num_steps, stride):
    return _windows(ids, num_steps, range(0, len(ids) - num_steps - 1, stride))


def _swapped(ids, num_steps, stride):
    return sliding_windows(ids, num_steps, stride)[::-1]


def _next_token_alone(ids, num_steps, stride):
    X, Y = sliding_windows(ids, num_steps, stride)
    return X, Y[:, -1]


def _window_without_target(ids, num_steps, stride):
    X = ids.unfold(0, num_steps, stride)
    return X, sliding_windows(ids, num_steps, stride)[1]


WINDOW_SLIPS = {
    "not shifted": (_not_shifted, "have targets equal to the inputs: Y is X one token later"),
    "stride ignored": (_stride_ignored, "begin at every token: the next window begins stride tokens later"),
    "side by side": (_side_by_side, "lie side by side: the next window begins stride tokens later, not num_steps"),
    "next window": (
        _next_window,
        "have the next window for targets: a target is one token later, whatever the stride",
    ),
    "last one lost": (
        _last_lost,
        "lack the last one: a window needs num_steps + 1 tokens, and the last may end with the text",
    ),
    "swapped": (_swapped, "are the wrong way round: X comes first, and Y is one token later"),
}
NO_SUCCESSOR = "a window whose last token has no successor is no window"


def _test_sliding_windows(answer):
    for size, num_steps, stride in ((12, 3, 2), (11, 3, 2), (11, 4, 2), (26, 5, 5), (9, 8, 3), (30, 4, 7)):
        ids = torch.arange(size) * 3 % 17
        try:
            got = answer(ids.clone(), num_steps, stride)
        except (RuntimeError, ValueError) as error:
            if "equal size" in str(error) or "of length" in str(error):
                raise Wrong(f"your windows differ in length, so they can't be stacked: {NO_SUCCESSOR}") from None
            raise
        expect_pair(got, "X and Y")
        X, Y = sliding_windows(ids, num_steps, stride)
        slips = []
        if stride == 2:
            slips = [(torch.stack(slip(ids, num_steps, stride)), sentence) for slip, sentence in WINDOW_SLIPS.values()]
        for part in got:
            if part.dim() != 2 or part.shape[1] != num_steps:
                raise Wrong(f"X and Y should have shape (windows, {num_steps}), but {tuple(part.shape)} came")
        if got[0].shape != got[1].shape:
            raise Wrong(
                f"X and Y should have the same shape, but {tuple(got[0].shape)}, {tuple(got[1].shape)} came: "
                f"{NO_SUCCESSOR}"
            )
        what = f"the windows of {num_steps} with stride {stride} in {size} tokens"
        pair = torch.stack(tuple(got))
        if not any(pair.shape == known.shape and (pair == known).all() for known, _ in slips):
            expect_close(got[0], X, f"X, {what},")
            expect_close(got[1], Y, f"Y, {what},")
        expect_close(pair, torch.stack((X, Y)), what, slips)


SLIDING_WINDOWS = Exercise(
    "sliding_windows",
    chapter=4,
    stars=2,
    test=_test_sliding_windows,
    solution=sliding_windows,
    section="Windows that slide",
    wrong=WINDOW_SLIPS
    | {
        "a window too many": (_window_without_target, "has no successor is no window"),
        "next token alone": (_next_token_alone, "X and Y should have shape (windows, 3), but (5,) came"),
    },
    hints=(
        "A window of inputs and its targets together are num_steps + 1 tokens in a row.",
        "ids.unfold(0, size, step) gives all slices of this size, each beginning a step after the one before.",
        "Unfold with size num_steps + 1 and step stride; X is all but the last column, Y all but the first.",
    ),
)


# ★★ Two layers from single ones, and dropout between them


def stack_layers(layers, X, dropout):
    ends = []
    for level, layer in enumerate(layers):
        if level > 0:
            X = F.dropout(X, dropout)
        X, H = layer(X)
        ends.append(H)
    return X, torch.cat(ends)


def _stack(layers, X, dropout, drop_in=lambda level, top: level > 0, drop_out=lambda level, top: False):
    """Stack with dropout before some levels, or behind some, which may be the wrong ones."""
    ends = []
    for level, layer in enumerate(layers):
        X, H = layer(F.dropout(X, dropout * drop_in(level, len(layers) - 1)))
        X = F.dropout(X, dropout * drop_out(level, len(layers) - 1))
        ends.append(H)
    return X, torch.cat(ends)


def _parallel(layers, X, dropout):
    results = [layer(X) for layer in layers]
    return results[-1][0], torch.cat([H for _, H in results])


def _top_only(layers, X, dropout):
    output, h_n = stack_layers(layers, X, dropout)
    return output, h_n[-1:]


def _top_first(layers, X, dropout):
    output, h_n = stack_layers(layers, X, dropout)
    return output, h_n.flip(0)


def _handed_up(layers, X, dropout):
    ends, H = [], None
    for layer in layers:
        X, H = layer(X, H)
        ends.append(H)
    return X, torch.cat(ends)


def _stack_with(drop):
    """Return an answer that stacks rightly, but drops by another rule."""

    def answer(layers, X, dropout):
        ends = []
        for level, layer in enumerate(layers):
            X, H = layer(drop(X, dropout) if level else X)
            ends.append(H)
        return X, torch.cat(ends)

    return answer


def _alike_along(axis):
    """Return a dropout whose mask repeats itself along an axis: 0 time, 1 the sequences, 2 the features."""

    def drop(X, dropout):
        return X * F.dropout(torch.ones_like(X.select(axis, 0)), dropout).unsqueeze(axis)

    return _stack_with(drop)


STACK_SLIPS = {
    "parallel": (_parallel, "let every layer read X: a layer reads the output of the one below"),
    "top first": (_top_first, "have h_n from the top down: row 0 belongs to the lowest layer"),
    "state handed up": (
        _handed_up,
        "start a layer from the last state of the one below: each layer starts from zeros, only outputs go up",
    ),
    "share that stays": (
        _stack_with(lambda X, dropout: F.dropout(X, 1 - dropout)),
        "lose all that goes up: dropout is the share that is dropped, not the one that stays",
    ),
}
DROPOUT_SLIPS = {
    "no dropout": (
        lambda layers, X, p: _stack(layers, X, 0.0),
        "come without dropout: the outputs of every layer but the last are dropped",
    ),
    "behind the last": (
        lambda layers, X, p: _stack(layers, X, p, drop_out=lambda level, top: level == top),
        "have dropout behind the last layer too: it acts between the layers, and with one layer not at all",
    ),
    "on the input": (
        lambda layers, X, p: _stack(layers, X, p, drop_in=lambda level, top: True),
        "have dropout on X too: it acts between the layers, and with one layer not at all",
    ),
}
NOT_RANDOM = "the layer above should read each number either doubled or as 0, at random, for dropout=0.5; it did not"
MASK_SLIPS = {
    "unscaled": (
        _stack_with(lambda X, dropout: X * (torch.rand_like(X) >= dropout)),
        "the layer above should read what is kept divided by 1 - dropout: what is dropped is made up for",
    ),
    "one mask for all steps": (
        _alike_along(0),
        "the layer above should lose other numbers at every step: here one mask serves all steps",
    ),
    "one mask for all sequences": (
        _alike_along(1),
        "the layer above should lose other numbers of every sequence: here one mask serves the whole minibatch",
    ),
    "whole steps": (
        _alike_along(2),
        "the layer above should lose single numbers: here a step is dropped as a whole or not at all",
    ),
}


def _expect_independent_drops(answer):
    """Raise :class:`Wrong` unless, for dropout=0.5, each number that goes up is doubled or 0, whatever the others.

    The upper layer has weights from which its output tells what it read, so that no particular way of calling it
    is asked for.
    """
    below, above = (_seeded(lambda: nn.RNN(3, 3), seed) for seed in (1, 2))
    for parameter in above.parameters():
        parameter.zero_()
    above.weight_ih_l0.copy_(0.5 * torch.eye(3))
    X = _draw(20, 4, 3)
    output = answer([below, above], X.clone(), 0.5)[0]  # tanh(0.5 * what was read)
    read = 2 * torch.atanh(output.detach())  # (T, N, H)
    kept = read.abs() > 1e-4

    def is_scaled(factor):
        return torch.allclose(read[kept], factor * below(X)[0][kept].to(read.dtype), atol=1e-4, rtol=1e-3)

    if not 0.2 < kept.double().mean() < 0.8:
        raise Wrong(NOT_RANDOM)
    if is_scaled(1.0):
        raise Wrong(MASK_SLIPS["unscaled"][1])
    if not is_scaled(2.0):
        raise Wrong(NOT_RANDOM)
    for axis, slip in enumerate(("one mask for all steps", "one mask for all sequences", "whole steps")):
        if (kept == kept.narrow(axis, 0, 1)).all():
            raise Wrong(MASK_SLIPS[slip][1])


@torch.no_grad()
def _test_stack_layers(answer):
    for seed, (num_layers, T, N, H) in enumerate(((2, 5, 3, 4), (3, 2, 2, 3), (1, 1, 1, 2))):
        layers = [_seeded(lambda H=H: nn.RNN(H, H), seed=10 * seed + i) for i in range(num_layers)]
        X = _draw(T, N, H, seed=seed)
        for dropout in (0.0, 1 - 1e-9):  # the second leaves nothing to chance, and 1 / (1 - dropout) is a number
            got = answer(layers, X.clone(), dropout)
            expect_pair(got, "output and h_n")
            output, h_n = stack_layers(layers, X, dropout)
            expect_shape(got[0], output.shape, "output")
            expect_shape(got[1], h_n.shape, "h_n")
            known = DROPOUT_SLIPS if dropout else STACK_SLIPS if num_layers > 1 else {}
            slips = [(torch.cat(slip(layers, X, dropout)), sentence) for slip, sentence in known.values()]
            what = f"output and h_n of {num_layers} layer(s) with dropout={dropout:g}"
            expect_close(torch.cat(tuple(got)), torch.cat((output, h_n)), what, slips)
    _expect_independent_drops(answer)


STACK_LAYERS = Exercise(
    "stack_layers",
    chapter=4,
    stars=2,
    test=_test_stack_layers,
    solution=stack_layers,
    section="What comes out, and what equals what",
    wrong=STACK_SLIPS
    | DROPOUT_SLIPS
    | MASK_SLIPS
    | {
        "top only": (_top_only, "h_n should have shape (2, 3, 4), but (1, 3, 4) came"),
        "thinned": (_stack_with(lambda X, dropout: X * (1 - dropout)), NOT_RANDOM),
    },
    hints=(
        "Each layer returns its output at every step, (T, N, H), and its last state, (1, N, H).",
        "What a layer reads is the output of the layer below, at every step. Where is 'between'?",
        "Loop over the layers: X, H = layer(X); before every layer but the lowest, X = F.dropout(X, dropout).",
    ),
)


# ★★ Debug: answers that depend on the neighbours


def classify(layer, linear, X):
    _, h_n = layer(X.transpose(0, 1))
    return linear(h_n[-1])


def _time_first_forgotten(layer, linear, X):
    output, _ = layer(X)
    return linear(output[:, -1])


def _reshaped(layer, linear, X):
    _, h_n = layer(X.reshape(X.shape[1], X.shape[0], X.shape[2]))
    return linear(h_n[-1])


def _first_step(layer, linear, X):
    output, _ = layer(X.transpose(0, 1))
    return linear(output[0])


def _backwards(layer, linear, X):
    _, h_n = layer(X.transpose(0, 1).flip(0))
    return linear(h_n[-1])


def _mean_of_steps(layer, linear, X):
    output, _ = layer(X.transpose(0, 1))
    return linear(output.mean(0))


def _no_read_out(layer, linear, X):
    return layer(X.transpose(0, 1))[1][-1]


def _last_sequence(layer, linear, X):
    output, _ = layer(X.transpose(0, 1))
    return linear(output[:, -1])


DEBUG_SLIPS = {
    "still batch first": (
        _time_first_forgotten,
        "still depend on the other sequences: the layer takes the first axis of X for time",
    ),
    "reshaped": (_reshaped, "come from mixed-up sequences: reshape cuts the rows anew, transpose turns the axes"),
    "first step": (_first_step, "are read at the first step: the end of the sequence is the last one"),
    "backwards": (_backwards, "come from sequences that are read from their end: flip turns an axis round, not two"),
    "mean": (_mean_of_steps, "come from the mean of all steps: read out the last one"),
}


@torch.no_grad()
def _test_classify(answer):
    for seed, (N, T, D) in enumerate(((4, 6, 3), (5, 2, 2), (1, 3, 4), (3, 3, 3))):
        layer, linear = _seeded(lambda D=D: (nn.GRU(D, 8), nn.Linear(8, 2)), seed=seed)
        X = _draw(N, T, D, seed=seed)
        right = classify(layer, linear, X)
        slips = [(slip(layer, linear, X), sentence) for slip, sentence in DEBUG_SLIPS.values()] if N > 1 else ()
        got = answer(layer, linear, X.clone())  # which may change the layer
        expect_shape(got, (N, 2), f"the answers for {N} sequences of {T} steps")
        expect_close(got, right, "the answers", slips, tolerance=1e-5)


CLASSIFY = Exercise(
    "classify",
    chapter=4,
    stars=2,
    test=_test_classify,
    solution=classify,
    section="Batch first",
    wrong=DEBUG_SLIPS
    | {
        "last sequence": (
            _last_sequence,
            "the answers for 4 sequences of 6 steps should have shape (4, 2), but (6, 2) came",
        ),
        "no read-out": (
            _no_read_out,
            "the answers for 4 sequences of 6 steps should have shape (4, 2), but (4, 8) came",
        ),
    },
    hints=(
        "The layer has no batch_first=True. Which axis of X does it walk along?",
        "Turn the axes of X before the layer sees it; then time is the first axis of output, too.",
        "layer(X.transpose(0, 1)) returns h_n (1, N, H), the states at the ends: read out h_n[-1].",
    ),
)


# ★★★ Forecast on your own forecasts


def free_run(model, window, num_steps):
    forecasts = []
    for _ in range(num_steps):
        value = model(window)  # (N, 1)
        forecasts.append(value)
        window = torch.cat([window[:, 1:], value[:, None]], dim=1)  # (N, T, 1)
    return torch.cat(forecasts, dim=1)


def _never_slides(model, window, num_steps):
    return model(window).repeat(1, num_steps)


def _put_in_front(model, window, num_steps):
    forecasts = []
    for _ in range(num_steps):
        forecasts.append(model(window))
        window = torch.cat([forecasts[-1][:, None], window[:, :-1]], dim=1)
    return torch.cat(forecasts, dim=1)


def _growing(model, window, num_steps):
    forecasts = []
    for _ in range(num_steps):
        forecasts.append(model(window))
        window = torch.cat([window, forecasts[-1][:, None]], dim=1)
    return torch.cat(forecasts, dim=1)


def _last_value_only(model, window, num_steps):
    forecasts = [model(window)]
    for _ in range(num_steps - 1):
        forecasts.append(model(forecasts[-1][:, None]))
    return torch.cat(forecasts, dim=1)


def _from_the_window(model, window, num_steps):
    return torch.cat([window[:, -1], free_run(model, window, num_steps - 1)], dim=1)


def _first_left_out(model, window, num_steps):
    return free_run(model, window, num_steps + 1)[:, 1:]


def _newest_dropped(model, window, num_steps):
    forecasts = []
    for _ in range(num_steps):
        forecasts.append(model(window))
        window = torch.cat([window[:, :-1], forecasts[-1][:, None]], dim=1)
    return torch.cat(forecasts, dim=1)


def _last_forecast_first(model, window, num_steps):
    return free_run(model, window, num_steps).flip(1)


def _first_axis(model, window, num_steps):
    return free_run(model, window, num_steps).T


RUN_SLIPS = {
    "a step early": (
        _from_the_window,
        "begin with the last value of the window: the first forecast is what comes after it",
    ),
    "a step late": (_first_left_out, "leave the first one out: it is what the model says to the window that came in"),
    "newest dropped": (
        _newest_dropped,
        "drop the newest value of the window: its oldest one, at the beginning, has to go",
    ),
    "last first": (_last_forecast_first, "are in the wrong order: the first forecast comes first"),
    "never slides": (_never_slides, "repeat the first: the forecast must go into the window for the next"),
    "put in front": (_put_in_front, "put the newest value in front of the window: it belongs at the end"),
    "growing window": (_growing, "let the window grow: drop its oldest value each time, so that its length stays T"),
    "last value only": (_last_value_only, "show the model its last forecast alone: show it a whole window of T values"),
}


@torch.no_grad()
def _test_free_run(answer):
    for seed, (N, T, num_steps) in enumerate(((2, 4, 3), (1, 3, 5), (3, 6, 4))):
        model = _seeded(lambda: ManyToOne(nn.RNN(1, 8), 1), seed=seed)
        window = _draw(N, T, 1, seed=seed)
        given = window.clone()
        got = answer(model, given, num_steps)
        if not torch.equal(given, window):
            raise Wrong("the window that came in has changed: make a new one at every step")
        expect_shape(got, (N, num_steps), f"{num_steps} forecasts for {N} sequences")
        slips = [(slip(model, window, num_steps), sentence) for slip, sentence in RUN_SLIPS.values()]
        expect_close(got, free_run(model, window, num_steps), "the forecasts", slips, tolerance=1e-5)


FREE_RUN = Exercise(
    "free_run",
    chapter=4,
    stars=3,
    test=_test_free_run,
    solution=free_run,
    section="Many values ahead",
    wrong=RUN_SLIPS
    | {"steps first": (_first_axis, "3 forecasts for 2 sequences should have shape (2, 3), but (3, 2) came")},
    hints=(
        "model(window) takes (N, T, 1) and returns (N, 1): one value for each sequence. Then the window moves on.",
        "The new window is the old one without its first value, followed by the forecast.",
        "torch.cat([window[:, 1:], value[:, None]], dim=1) is the new window; value[:, None] is (N, 1, 1).",
    ),
)


# ★★★ Go further: tell words from their reverses


def told_backwards(train_words, words):
    def pieces(word):
        word = f" {word} "  # the space marks both ends
        return [word[i : i + size] for size in (2, 3, 4) for i in range(len(word) - size + 1)]

    counts = {}
    for word in train_words:
        for piece in pieces(word):
            counts[piece] = counts.get(piece, 1) + 1
    return [
        sum(math.log(counts.get(piece, 1) / counts.get(piece[::-1], 1)) for piece in pieces(word)) < 0 for word in words
    ]


def _by_table(size):
    """Return an answer that does what the chapter's table of pieces of this many letters does."""

    def answer(train_words, words):
        def pieces(word):
            return [f" {word} "[i : i + size] for i in range(len(word) + 3 - size)]

        counts = collections.Counter(piece for word in train_words for piece in pieces(word))
        return [sum(math.log((counts[p] + 1) / (counts[p[::-1]] + 1)) for p in pieces(word)) < 0 for word in words]

    return answer


TOLD_SLIPS = {
    "letter pairs": (_by_table(2), "That is the table of letter pairs, so look at more than pairs"),
    "letter triples": (
        _by_table(3),
        "That is the table of letter triples: what do shorter and longer pieces add to it",
    ),
    "never backwards": (lambda train_words, words: [False] * len(words), "That is what a coin gets"),
    "the other way round": (
        lambda train_words, words: [not back for back in told_backwards(train_words, words)],
        "That is worse than a coin: True means backwards",
    ),
}


def _words():
    """Return words to learn from, held-out words of both directions, and which of these are backwards."""
    words = sorted({word for word in corpus().split() if 4 <= len(word) <= 12})
    there = set(words)
    words = [word for word in words if word[::-1] not in there]
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0))
    words = [words[i] for i in order]
    split = 4 * len(words) // 5
    held_out = words[split:] + [word[::-1] for word in words[split:]]
    back = [i >= len(words) - split for i in range(len(held_out))]
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(1))
    return words[:split], [held_out[i] for i in order], [back[i] for i in order]


def _test_told_backwards(answer):
    train_words, words, back = _words()
    got, seconds = within(60, answer, list(train_words), list(words))
    got = expect_truths(got, len(words), "word", "backwards")

    def share(answers):
        return sum(a == b for a, b in zip(answers, back, strict=True)) / len(back)

    goal = max(share(_by_table(size)(train_words, words)) for size in (2, 3))
    measured = (
        f"{share(got):.1%} of {len(words)} held-out words, in {seconds:.0f} seconds; "
        f"the better of the tables of letter pairs and triples gets {goal:.1%}, and the goal is to pass it"
    )
    if share(got) > goal:
        return f"Measured: {measured}."
    sentence = next((sentence for slip, sentence in TOLD_SLIPS.values() if got == slip(train_words, words)), None)
    if len(set(got)) == 1:
        sentence = TOLD_SLIPS["never backwards"][1]
    elif share(got) < 0.4:
        sentence = TOLD_SLIPS["the other way round"][1]
    raise Wrong(f"measured: {measured}" + (f". {sentence}" if sentence else ""))


TOLD_BACKWARDS = Exercise(
    "told_backwards",
    chapter=4,
    stars=3,
    test=_test_told_backwards,
    solution=told_backwards,
    section="Many to one: is this word backwards?",
    wrong=TOLD_SLIPS,
    hints=(
        "Longer pieces know more, until they are too rare. And tables of different sizes err on different words.",
        "Evidence adds up: the logarithm of how often a piece occurs forwards, minus that of its reverse.",
        "Count pieces of two, three and four letters, with a space at both ends of a word, add 1, sum over all.",
    ),
)


EXERCISES = (
    BOTH_ENDS,
    COUNT_LAYER_PARAMETERS,
    LAST_REAL_OUTPUTS,
    STACK_LAYERS,
    SLIDING_WINDOWS,
    CLASSIFY,
    FREE_RUN,
    TOLD_BACKWARDS,
)
