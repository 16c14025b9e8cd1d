"""Exercises of chapter 10: states in bytes, steps, gates in another order, whole numbers, and who keeps the state."""

import copy

import numpy as np
import torch
from torch import nn

from rnnlib import pretrained, scratch, shipping, text
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    corpus,
    expect_count,
    expect_something,
    expect_truth,
    kind,
    slip_in_all,
    within,
)


def _draw(*shape, seed=0):
    """Draw a float32 array of normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def _as_array(got, shape, what):
    """Return a tensor or a nested list of numbers as an array of this shape, or raise Wrong."""
    expect_something(got)
    try:
        array = np.asarray(got.detach() if isinstance(got, torch.Tensor) else got)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be an array of shape {shape}, but {kind(got)} came") from None
    if array.shape != shape:
        raise Wrong(f"{what} should have shape {shape}, but {array.shape} came")
    if array.dtype == object:
        raise Wrong(f"{what} should hold numbers, but {kind(got)} of other things came")
    return array


def _named(got, expected, slips, what, tolerance=1e-5):
    """Raise Wrong unless arrays agree; name the slip whose numbers they are."""
    if np.allclose(got, expected, rtol=tolerance, atol=tolerance):
        return
    for values, sentence in slips:
        if np.shape(values) == got.shape and np.allclose(got, values, rtol=tolerance, atol=tolerance):
            raise Wrong(f"{what} {sentence}")
    worst = np.unravel_index(np.nanargmax(np.where(np.isfinite(got), abs(got - expected), np.inf)), got.shape)
    place = [int(i) for i in worst]
    raise Wrong(f"{what} should be {expected[worst]:.6g} at {place}, but {got[worst]:.6g} came")


# ★ The bytes of a stream


def stream_bytes(cell, num_layers, num_hiddens):
    parts = 2 if cell == "LSTM" else 1
    return 4 * parts * num_layers * num_hiddens


def _numbers(cell, num_layers, num_hiddens):
    return stream_bytes(cell, num_layers, num_hiddens) // 4


def _one_part(cell, num_layers, num_hiddens):
    return 4 * num_layers * num_hiddens


def _top_level(cell, num_layers, num_hiddens):
    return stream_bytes(cell, 1, num_hiddens)


def _gates(cell, num_layers, num_hiddens):
    return 4 * {"RNN": 1, "GRU": 3, "LSTM": 4}[cell] * num_layers * num_hiddens


def _doubles(cell, num_layers, num_hiddens):
    return 2 * stream_bytes(cell, num_layers, num_hiddens)


def _two_parts(cell, num_layers, num_hiddens):
    return 8 * num_layers * num_hiddens


BYTES_SLIPS = {
    "numbers": (_numbers, "counts numbers; a float32 has four bytes"),
    "no memory cell": (_one_part, "leaves out that an LSTM keeps two parts, hidden state and memory cell"),
    "top level": (_top_level, "counts one level; each level keeps a state of its own"),
    "gates": (_gates, "counts the gates too; they are computed anew in each step and not kept"),
    "doubles": (_doubles, "counts eight bytes a number; a float32 has four"),
    "two parts always": (_two_parts, "counts two parts for every cell; only an LSTM has them"),
}


def _test_stream_bytes(answer):
    cases = [(c, L, H) for c in ("GRU", "LSTM", "RNN") for L, H in ((1, 256), (2, 128), (3, 10))]
    got = [expect_count(answer(*case), "the number of bytes") for case in cases]
    if got == [stream_bytes(*case) for case in cases]:
        return
    sentence = slip_in_all(got, cases, BYTES_SLIPS.values())
    if sentence:
        raise Wrong(f"the answer {sentence}")
    case, came = next((case, g) for case, g in zip(cases, got) if g != stream_bytes(*case))
    raise Wrong(f"for {case[0]}, {case[1]} level(s) and {case[2]} units it should be {stream_bytes(*case)}, not {came}")


STREAM_BYTES = Exercise(
    "stream_bytes",
    chapter=10,
    stars=1,
    test=_test_stream_bytes,
    solution=stream_bytes,
    section="A step is the product",
    wrong=BYTES_SLIPS,
    hints=(
        "Print the shapes that model.begin_state(1) gives for each of the three layers.",
        "The state of a GRU or RNN is (L, 1, H), that of an LSTM two such tensors.",
        "Numbers of type float32 take four bytes each.",
    ),
)


# ★ Which network has a step?


def has_a_step(layer):
    return not layer.bidirectional


def _always(layer):
    return True


def _one_level(layer):
    return layer.num_layers == 1


def _no_lstm(layer):
    return not layer.bidirectional and not isinstance(layer, nn.LSTM)


def _the_other_way(layer):
    return layer.bidirectional


def _time_first(layer):
    return not layer.bidirectional and not layer.batch_first


STEP_SLIPS = {
    "always": (_always, "says yes to all: what would the backward direction begin with?"),
    "one level": (_one_level, "goes by the number of levels; several levels keep several states, which is no obstacle"),
    "no LSTM": (_no_lstm, "refuses the LSTM; its state has two parts, and a step hands on both"),
    "the other way": (_the_other_way, "is the wrong way round"),
    "time first": (_time_first, "refuses batch_first; the layout changes nothing about who reads when"),
}


def _test_has_a_step(answer):
    cases = [
        (cell(3, 4, num_layers=L, bidirectional=both, batch_first=first, device="meta"),)
        for cell in (nn.RNN, nn.GRU, nn.LSTM)
        for L, both, first in ((1, False, False), (2, False, True), (1, True, False), (2, True, True))
    ]
    got = [expect_truth(answer(*case), "the answer") for case in cases]
    if got == [has_a_step(*case) for case in cases]:
        return
    sentence = slip_in_all(got, cases, STEP_SLIPS.values())
    layer = next(case[0] for case, g in zip(cases, got) if g != has_a_step(*case))
    raise Wrong(f"the answer {sentence}" if sentence else f"the answer for {layer} should be {has_a_step(layer)}")


HAS_A_STEP = Exercise(
    "has_a_step",
    chapter=10,
    stars=1,
    test=_test_has_a_step,
    solution=has_a_step,
    section="A step is the product",
    wrong=STEP_SLIPS,
    hints=(
        "A step may use what has been read. What would each of these layers have to know beyond that?",
        "The backward direction begins at the end of the text.",
        "A layer of torch.nn has an attribute that says whether it has both directions.",
    ),
)


# ★★ Gates back from an ONNX file


def from_onnx_order(weight, cell):
    order = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}[cell]
    blocks = np.split(weight, len(order))
    return np.concatenate([blocks[i] for i in order])


def _in_order(orders, cut=np.split):
    def slip(weight, cell):
        order = orders[cell]
        blocks = cut(weight, len(order))
        return np.concatenate([blocks[i] for i in order])

    return slip


_there = _in_order({"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)})
_as_it_is = _in_order({"RNN": (0,), "GRU": (0, 1, 2), "LSTM": (0, 1, 2, 3)})
_gru_kept = _in_order({"RNN": (0,), "GRU": (0, 1, 2), "LSTM": (0, 2, 3, 1)})
_backwards = _in_order({"RNN": (0,), "GRU": (2, 1, 0), "LSTM": (3, 2, 1, 0)})
_every_other = _in_order(
    {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}, lambda weight, n: [weight[i::n] for i in range(n)]
)

ORDER_SLIPS = {
    "the way there": (_there, "is the way from PyTorch to ONNX once more; for four gates the way back is another"),
    "GRU kept": (_gru_kept, "leaves the GRU alone as it is: z comes first in ONNX, r in PyTorch"),
    "as it is": (_as_it_is, "leaves the gates as ONNX has them"),
    "backwards": (_backwards, "turns the order of the gates round"),
    "every other row": (_every_other, "takes every third or fourth row; a gate's H rows lie together"),
}


def _test_from_onnx_order(answer):
    for seed, (H, columns) in enumerate(((2, (3,)), (3, ()), (5, (4,)))):
        for cell, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
            weight = _draw(gates * H, *columns, seed=seed)
            got = _as_array(answer(weight.copy(), cell), weight.shape, "the result")
            slips = [(slip(weight, cell), sentence) for slip, sentence in ORDER_SLIPS.values()]
            expected = from_onnx_order(weight, cell)
            _named(got, expected, slips, f"the result for {cell}, H = {H},", 1e-6)


FROM_ONNX_ORDER = Exercise(
    "from_onnx_order",
    chapter=10,
    stars=2,
    test=_test_from_onnx_order,
    solution=from_onnx_order,
    section="Going deeper: any length, say the operator yourself",
    wrong=ORDER_SLIPS,
    hints=(
        "ONNX has i o f g for an LSTM, z r n for a GRU; PyTorch wants i f g o and r z n.",
        "Write the names of the blocks in a list, and look up where PyTorch's first one stands in ONNX's row.",
        "np.split(weight, 4) gives the four blocks of an LSTM; np.concatenate joins them along the first axis.",
    ),
)


# ★★ Whole numbers with an offset


def quantise_rows(W):
    low = W.min(axis=1, keepdims=True)
    step = (W.max(axis=1, keepdims=True) - low) / 255
    step = np.where(step == 0, 1, step)
    q = np.round((W - low) / step).astype(np.uint8)
    return q, low, step


def _quantised(low=None, high=None, steps=255, rounded=np.round, dtype=np.uint8, guard=True):
    def slip(W):
        least = W.min(axis=1, keepdims=True) if low is None else low(W)
        most = W.max(axis=1, keepdims=True) if high is None else high(W)
        step = (most - least) / steps
        step = np.where(step == 0, 1, step) if guard else step
        with np.errstate(all="ignore"):
            q = rounded((W - least) / step)
            q = np.nan_to_num(q).astype(dtype)
        return q, np.broadcast_to(least, (len(W), 1)), np.broadcast_to(step, (len(W), 1))

    return slip


def _all_low(W):
    return np.full((len(W), 1), W.min())


def _all_high(W):
    return np.full((len(W), 1), W.max())


def _minus_largest(W):
    return -abs(W).max(axis=1, keepdims=True)


def _largest(W):
    return abs(W).max(axis=1, keepdims=True)


def _half_range(W):
    q, low, step = quantise_rows(W)
    return q.astype(np.int8), low, step


ROWS_SLIPS = {
    "cut off": (_quantised(rounded=np.floor), "cuts off in place of rounding: the error reaches a whole step"),
    "no care for equal rows": (_quantised(guard=False), "a row of equal numbers has a step of 0"),
    "one range for all": (_quantised(_all_low, _all_high), "the same low and step for all rows"),
    "symmetric": (_quantised(_minus_largest, _largest), "goes from minus the largest to the largest"),
    "two hundred and fifty-five values": (_quantised(steps=254), "255 steps lead from 0 to 255"),
    "int8": (_half_range, "should be uint8"),
}


def _test_quantise_rows(answer):
    W = _draw(6, 40) * np.float32([[1], [100], [1e-3], [1], [1], [5]])
    W[3], W[4] = 0.0, 0.7  # nothing to divide by
    W[5] += 20
    for case in (np.float32([[0.0, 1.0, 0.5], [2.0, 2.0, 2.0], [10.0, 20.0, 30.0]]), W):
        with np.errstate(all="ignore"):
            got = answer(case.copy())
        if not isinstance(got, (tuple, list)) or len(got) != 3:
            raise Wrong(f"return three arrays, q, low and step, but {kind(got)} came")
        shapes = case.shape, (len(case), 1), (len(case), 1)
        q, low, step = (_as_array(part, shape, name) for part, shape, name in zip(got, shapes, ("q", "low", "step")))
        if q.dtype != np.uint8:
            raise Wrong(f"q should be uint8, whole numbers from 0 to 255, but {q.dtype} came")
        _judge_rows(case, q.astype("f8"), low.astype("f8"), step.astype("f8"))


def _judge_rows(W, q, low, step):
    equal = W.max(1) == W.min(1)
    if not (np.isfinite(low).all() and np.isfinite(step).all()) or (step[equal] == 0).any():
        raise Wrong("a row of equal numbers has a step of 0, and divides by it: give such a row any other step")
    error = abs(low + q * step - W)
    if (error[equal] > 1e-6).any():
        raise Wrong(f"a row of equal numbers, {W[equal][0][0]:.3g}, comes back as {(low + q * step)[equal][0][0]:.3g}")
    low, step, error, q, W = (part[~equal] for part in (low, step, error, q, W))
    finest = (W.max(1, keepdims=True) - W.min(1, keepdims=True)) / 255
    if len(W) > 1 and np.allclose(step, step[0]) and np.allclose(low, low[0]):
        raise Wrong("the same low and step for all rows: each row has a range of its own")
    if (error > 0.51 * step + 1e-7).any():
        share = float((error / step).max())
        if share <= 1.01:
            raise Wrong("cuts off in place of rounding: the error reaches a whole step, and should be half of one")
        raise Wrong(f"low + q * step should be within half a step of W, but is {share:.3g} steps away")
    if np.allclose(low, -abs(W).max(1, keepdims=True)) and (step > 1.02 * finest).any():
        raise Wrong("goes from minus the largest to the largest: with an offset, q covers what the row has and no more")
    if (step > 1.001 * finest).any():
        raise Wrong(f"255 steps lead from 0 to 255: a step of {step.max():.4g} leaves some of the 256 numbers unused")


QUANTISE_ROWS = Exercise(
    "quantise_rows",
    chapter=10,
    stars=2,
    test=_test_quantise_rows,
    solution=quantise_rows,
    section="Smaller: eight bits by hand",
    wrong=ROWS_SLIPS,
    hints=(
        "The smallest number of a row becomes 0, the largest 255.",
        "keepdims=True keeps low and step in the shape (R, 1), so that they meet the rows of W.",
        "Where step is 0, np.where(step == 0, 1, step) puts a 1; np.round comes before .astype(np.uint8).",
    ),
)


# ★★ A GRU step in NumPy, the other one


def other_gru_step(x, h, W_ih, W_hh, b_ih, b_hh):
    H = h.shape[1]
    a = x @ W_ih.T + b_ih
    b = h @ W_hh[: 2 * H].T + b_hh[: 2 * H]
    r = 1 / (1 + np.exp(-(a[:, :H] + b[:, :H])))
    z = 1 / (1 + np.exp(-(a[:, H : 2 * H] + b[:, H:])))
    n = np.tanh(a[:, 2 * H :] + (r * h) @ W_hh[2 * H :].T + b_hh[2 * H :])
    return (1 - z) * n + z * h


def _gru(reset="before", keep=True, order=(0, 1, 2), b_hh_used=True, transposed=True):
    def slip(x, h, W_ih, W_hh, b_ih, b_hh):
        first, second, third = order
        b_hh = b_hh if b_hh_used else 0 * b_hh
        U = np.split(W_hh, 3)
        U = [part.T for part in U] if transposed else U
        a, b = np.split(x @ W_ih.T + b_ih, 3, axis=1), np.split(b_hh, 3)
        r = 1 / (1 + np.exp(-(a[first] + h @ U[first] + b[first])))
        z = 1 / (1 + np.exp(-(a[second] + h @ U[second] + b[second])))
        if reset == "before":
            inner = (r * h) @ U[third] + b[third]
        elif reset == "after":
            inner = r * (h @ U[third] + b[third])
        else:
            inner = h @ U[third] + b[third]
        n = np.tanh(a[third] + inner)
        return (1 - z) * n + z * h if keep else z * n + (1 - z) * h

    return slip


GRU_SLIPS = {
    "reset after": (
        _gru("after"),
        "is the step of nn.GRU, which resets after the product; here r * h comes before",
    ),
    "no reset": (_gru("never"), "never uses the reset gate"),
    "update turned": (_gru(keep=False), "takes the new for the old: z keeps, 1 - z lets the candidate in"),
    "gates swapped": (_gru(order=(1, 0, 2)), "takes the gates in the order z, r, n; these weights have r, z, n"),
    "no second bias": (_gru(b_hh_used=False), "leaves b_hh out"),
    "not transposed": (_gru(transposed=False), "forgets to transpose W_hh: PyTorch stores outputs first"),
}


def _test_other_gru_step(answer):
    for seed, (N, D, H) in enumerate(((1, 2, 3), (4, 3, 5))):
        draw = [(N, D), (N, H), (3 * H, D), (3 * H, H), (3 * H,), (3 * H,)]
        arguments = [_draw(*shape, seed=10 * seed + i) for i, shape in enumerate(draw)]
        got = _as_array(answer(*(part.copy() for part in arguments)), (N, H), "the next state")
        slips = [(slip(*arguments), sentence) for slip, sentence in GRU_SLIPS.values()]
        _named(got, other_gru_step(*arguments), slips, "the next state", 1e-4)


OTHER_GRU_STEP = Exercise(
    "other_gru_step",
    chapter=10,
    stars=2,
    test=_test_other_gru_step,
    solution=other_gru_step,
    section="Without PyTorch: a step in NumPy",
    wrong=GRU_SLIPS,
    hints=(
        "Cut W_ih, W_hh and the biases into three blocks of H rows: r, z and n.",
        "r and z are as in numpy_gru. Only the candidate differs: its product is with r * h, not with h.",
        "n = np.tanh(a_n + (r * h) @ W_hn.T + b_hn), and the next state is (1 - z) * n + z * h.",
    ),
)


# ★★ Debug: a server whose answers depend on its neighbours


def serve_batch(step, states, rows, ids):
    scores, waiting = [None] * len(ids), list(range(len(ids)))
    while waiting:
        first = {}
        for job in waiting:
            first.setdefault(rows[job], job)
        now = list(first.values())
        mine = list(first)
        outputs, states[:, mine] = step(np.array([ids[job] for job in now]), states[:, mine])
        for job, output in zip(now, outputs):
            scores[job] = output
        waiting = [job for job in waiting if job not in now]
    return np.stack(scores)


def _by_place(step, states, rows, ids):
    n = len(ids)
    scores, states[:, :n] = step(np.array(ids), states[:, :n])
    return scores


def _not_kept(step, states, rows, ids):
    return step(np.array(ids), states[:, rows])[0]


def _twice_lost(step, states, rows, ids):
    scores, states[:, rows] = step(np.array(ids), states[:, rows])
    return scores


def _one_by_one(step, states, rows, ids):
    scores = []
    for row, i in zip(rows, ids):
        output, states[:, [row]] = step(np.array([i]), states[:, [row]])
        scores.append(output[0])
    return np.stack(scores)


def _sorted_rows(step, states, rows, ids):
    mine = sorted(rows)
    scores, states[:, mine] = step(np.array(ids), states[:, mine])
    return scores


SERVE_SLIPS = {
    "by place": (_by_place, "takes the state by place in the batch"),
    "not kept": (_not_kept, "the states after the step are not kept"),
    "one of two lost": (_twice_lost, "a session that sends two characters"),
    "one by one": (_one_by_one, "one step for all of them"),
    "sorted": (_sorted_rows, "another session's state"),
}


def _alone(step, history):
    """Return the scores after a row of ids, served alone."""
    state = np.zeros((1, 1, step.num_hiddens), "f4")
    for i in history:
        scores, state = step(np.array([i]), state)
    return scores[0]


def _test_serve_batch(answer):
    torch.manual_seed(0)
    layer = nn.GRU(5, 4)
    weights = {f"rnn.{name}": 2 * p.detach() for name, p in layer.named_parameters()}
    weights |= {"linear.weight": torch.randn(5, 4), "linear.bias": torch.zeros(5)}
    step = shipping.NumpyStep(weights)
    sizes = []

    def counted(ids, state):
        sizes.append(len(ids))
        if len(sizes) > 100:  # a loop without an end
            raise Wrong("makes a hundred steps for three characters and no end: does its loop ever stop?")
        return step(ids, state)

    counted.num_hiddens = step.num_hiddens
    states, histories = np.zeros((1, 4, 4), "f4"), {row: [] for row in range(4)}
    batches = [([2, 0], [1, 3]), ([3, 1, 2], [4, 0, 2]), ([1], [2]), ([0, 3], [2, 2]), ([2, 0, 2], [3, 1, 4])]
    for rows, ids in batches:
        sizes.clear()
        before = states.copy()
        expected = []
        for row, i in zip(rows, ids):
            histories[row].append(i)
            expected.append(_alone(step, histories[row]))
        got = _as_array(answer(counted, states, list(rows), list(ids)), (len(ids), 5), "the scores")
        _judge_batch(rows, ids, got, np.stack(expected), states, before, step)
        if len(sizes) > max(rows.count(row) for row in rows):
            raise Wrong(f"{len(set(rows))} sessions sent a character: one step for all of them, not {len(sizes)} steps")


def _judge_batch(rows, ids, got, expected, states, before, step):
    told = f"for the rows {rows}"
    if len(set(rows)) < len(rows) and not np.allclose(got, expected, atol=1e-5):
        raise Wrong(f"{told}: a session that sends two characters in a batch gets the second answer without the first")
    if not np.allclose(got, expected, atol=1e-5):
        if not before.any() and np.array_equal(states, before):
            raise Wrong(f"{told}, the states after the step are not kept: states should change in place")
        by_place = step(np.array(ids), before[:, : len(ids)])[0]
        if np.allclose(got, by_place, atol=1e-5):
            raise Wrong(f"{told}, the answer takes the state by place in the batch: a session's state lies in its row")
        wrong = int(np.argmax(abs(got - expected).max(1)))
        raise Wrong(f"{told}, the session in row {rows[wrong]} is answered from another session's state")
    if not before.any() and np.array_equal(states, before):
        raise Wrong(f"{told}, the states after the step are not kept: states should change in place")


SERVE_BATCH = Exercise(
    "serve_batch",
    chapter=10,
    stars=2,
    test=_test_serve_batch,
    solution=serve_batch,
    section="Many at once: a pool of states",
    wrong=SERVE_SLIPS,
    hints=(
        "states[:, :len(ids)] are the first rows of the table, whoever has sent something.",
        "states[:, rows] picks the rows of these sessions, and takes their new states.",
        "Where a row stands twice in rows, make a step with the first ones, then one with those that are left.",
    ),
)


# ★★★ Go further: bits where they are needed


def choose_bits(model, measure):
    bits = {name: 6 for name, W in model.named_parameters() if W.dim() == 2}
    bits["rnn.weight_hh_l0"] = 4
    return bits


GOAL_BITS, GOAL_LOSS = 4.6, 0.01


def _test_choose_bits(answer):
    model, vocab = pretrained.load_model("time_machine_lstm")
    matrices = {name: W for name, W in model.named_parameters() if W.dim() == 2}
    ids = torch.tensor(vocab[list(corpus()[-9000:])])
    trial, judged = (text.sequential_batches(part, 8, 50, offset=0) for part in (ids[:4500], ids[4500:]))

    def measure(bits):
        return scratch.perplexity(_with(model, bits), trial)

    bits, _ = within(60, answer, model, measure)
    if not isinstance(bits, dict) or set(bits) != set(matrices):
        raise Wrong(f"return a dict with the bits of each matrix, {', '.join(matrices)}, but {kind(bits)} came")
    for name, value in bits.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 2 <= value <= 8:
            raise Wrong(f"the bits of {name} should be a whole number from 2 to 8, but {value!r} came")
    mean = sum(bits[name] * W.numel() for name, W in matrices.items()) / sum(W.numel() for W in matrices.values())
    loss = scratch.perplexity(_with(model, bits), judged) / scratch.perplexity(model, judged) - 1
    if mean > GOAL_BITS:
        raise Wrong(f"{mean:.2f} bits a weight, and {GOAL_BITS} are allowed; the perplexity is {loss:.1%} higher")
    if loss > GOAL_LOSS:
        raise Wrong(f"the perplexity is {loss:.1%} higher, and 1 % is allowed; {mean:.2f} bits a weight")
    return f"Measured: {mean:.2f} bits a weight, and the perplexity is {loss:.2%} higher."


@torch.no_grad()
def _with(model, bits):
    """Return a copy of a model whose matrices have these bits."""
    model = copy.deepcopy(model)
    for name, W in model.named_parameters():
        if name in bits:
            scale = shipping.row_scales(W, int(bits[name]))
            W.copy_(shipping.quantise(W, scale) * scale)
    return model


def _eight(model, measure):
    return {name: 8 for name, W in model.named_parameters() if W.dim() == 2}


def _three(model, measure):
    return {name: 3 for name, W in model.named_parameters() if W.dim() == 2}


CHOOSE_BITS = Exercise(
    "choose_bits",
    chapter=10,
    stars=3,
    test=_test_choose_bits,
    solution=choose_bits,
    section="Smaller: eight bits by hand",
    wrong={
        "eight": (_eight, "8.00 bits a weight, and 4.6 are allowed"),
        "three": (_three, "higher, and 1 % is allowed"),
        "all in one": (lambda model, measure: 4, "return a dict with the bits of each matrix"),
        "half a bit": (
            lambda model, measure: dict.fromkeys(_eight(model, measure), 4.5),
            "should be a whole number from 2 to 8",
        ),
    },
    hints=(
        "Print name and W.numel() of each matrix: which one is most of the network?",
        "Give one matrix few bits and all others 8, and call measure: where does it hurt?",
        "The largest matrix can do with four; what you save there pays for the small ones.",
    ),
)

EXERCISES = (
    STREAM_BYTES,
    HAS_A_STEP,
    FROM_ONNX_ORDER,
    QUANTISE_ROWS,
    OTHER_GRU_STEP,
    SERVE_BATCH,
    CHOOSE_BITS,
)
