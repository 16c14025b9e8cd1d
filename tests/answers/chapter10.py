"""Answers to the exercises of chapter 10."""

import numpy as np
import torch
from torch import nn

from rnnlib import check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def bytes_by_layer(cell, L, H):
    layer = getattr(nn, cell)(3, H, L)
    _, state = layer(torch.zeros(1, 1, 3))
    parts = state if isinstance(state, tuple) else (state,)
    return sum(part.numel() * part.element_size() for part in parts)


STREAM_BYTES = {
    "solution": (SOLUTIONS["stream_bytes"], "Right"),
    "from the layer": (bytes_by_layer, "Right"),
    "from NumPy": (lambda c, L, H: np.zeros((1 + (c == "LSTM"), L, 1, H), "f4").nbytes, "Right"),
    "a NumPy number": (lambda c, L, H: np.int64(4 * L * H * {"RNN": 1, "GRU": 1, "LSTM": 2}[c]), "Right"),
    "shifted": (lambda c, L, H: L * H << (3 if c == "LSTM" else 2), "Right"),
    "numbers": (lambda c, L, H: L * H * (2 if c == "LSTM" else 1), "a float32 has four bytes"),
    "one part": (lambda c, L, H: 4 * L * H, "keeps two parts"),
    "one level": (lambda c, L, H: 4 * H * (2 if c == "LSTM" else 1), "counts one level"),
    "gates": (lambda c, L, H: 4 * L * H * {"RNN": 1, "GRU": 3, "LSTM": 4}[c], "counts the gates too"),
    "doubles": (lambda c, L, H: 8 * L * H * (2 if c == "LSTM" else 1), "counts eight bytes a number"),
    "a float": (lambda c, L, H: 4.0 * L * H * (2 if c == "LSTM" else 1), "int(…) makes one of it"),
    "a tensor": (lambda c, L, H: torch.tensor(4 * L * H), "should be an int, but a tensor came"),
    "nothing": (lambda c, L, H: None, "nothing came back"),
}

HAS_A_STEP = {
    "solution": (SOLUTIONS["has_a_step"], "Right"),
    "by the weights": (lambda layer: not hasattr(layer, "weight_hh_l0_reverse"), "Right"),
    "by counting": (lambda layer: len(list(layer.parameters())) == 4 * layer.num_layers, "Right"),
    "NumPy's truth": (lambda layer: np.bool_(not layer.bidirectional), "Right"),
    "by name": (lambda layer: "bidirectional=True" not in repr(layer), "Right"),
    "yes": (lambda layer: True, "says yes to all"),
    "no": (lambda layer: False, "should be True"),
    "not LSTM": (lambda layer: not (layer.bidirectional or isinstance(layer, nn.LSTM)), "refuses the LSTM"),
    "one level": (lambda layer: layer.num_layers < 2, "goes by the number of levels"),
    "turned": (lambda layer: layer.bidirectional, "the wrong way round"),
    "time first": (lambda layer: not layer.bidirectional and not layer.batch_first, "refuses batch_first"),
    "a word": (lambda layer: "yes", "should be True or False"),
}

ORDERS = {"RNN": "h", "GRU": "zrn", "LSTM": "iofg"}
WANTED = {"RNN": "h", "GRU": "rzn", "LSTM": "ifgo"}


def order_by_letters(weight, cell):
    H = len(weight) // len(ORDERS[cell])
    blocks = {letter: weight[i * H : (i + 1) * H] for i, letter in enumerate(ORDERS[cell])}
    return np.concatenate([blocks[letter] for letter in WANTED[cell]])


def order_by_index(weight, cell):
    places = [ORDERS[cell].index(letter) for letter in WANTED[cell]]
    return weight.reshape(len(places), -1, *weight.shape[1:])[places].reshape(weight.shape)


def order_by_torch(weight, cell):
    places = [ORDERS[cell].index(letter) for letter in WANTED[cell]]
    blocks = torch.tensor(weight).chunk(len(places))
    return torch.cat([blocks[i] for i in places])


def order_there(weight, cell):
    places = [WANTED[cell].index(letter) for letter in ORDERS[cell]]
    return np.concatenate([np.split(weight, len(places))[i] for i in places])


FROM_ONNX_ORDER = {
    "solution": (SOLUTIONS["from_onnx_order"], "Right"),
    "letters": (order_by_letters, "Right"),
    "index": (order_by_index, "Right"),
    "torch": (order_by_torch, "Right"),
    "a list": (lambda weight, cell: order_by_index(weight, cell).tolist(), "Right"),
    "as it is": (lambda weight, cell: weight, "leaves the gates as ONNX has them"),
    "the way there": (order_there, "is the way from PyTorch to ONNX once more"),
    "GRU alone": (
        lambda weight, cell: order_by_index(weight, cell) if cell != "GRU" else weight,
        "leaves the GRU alone",
    ),
    "turned": (
        lambda weight, cell: np.concatenate(np.split(weight, len(ORDERS[cell]))[::-1]),
        "turns the order of the gates round",
    ),
    "one block": (lambda weight, cell: np.split(weight, len(ORDERS[cell]))[0], "the result should have shape"),
    "transposed": (lambda weight, cell: order_by_index(weight, cell).T, "the result should have shape"),
    "something": (lambda weight, cell: 2 * weight, "should be"),
    "nothing": (lambda weight, cell: None, "nothing came back"),
}


def rows_in_a_loop(W):
    q, low, step = np.zeros(W.shape, np.uint8), np.zeros((len(W), 1)), np.ones((len(W), 1))
    for i, row in enumerate(W):
        low[i] = row.min()
        if row.max() > row.min():
            step[i] = (row.max() - row.min()) / 255
        q[i] = np.rint((row - low[i]) / step[i])
    return q, low, step


def rows_by_half(W):
    low = W.min(1, keepdims=True)
    step = np.maximum((np.ptp(W, axis=1, keepdims=True)) / 255, 1e-12)
    return ((W - low) / step + 0.5).astype(np.uint8), low, step


def rows_in_double(W):
    q, low, step = SOLUTIONS["quantise_rows"](W.astype("f8"))
    return [q, low, step]


def rows_by(change):
    def answer(W):
        return change(W, *SOLUTIONS["quantise_rows"](W))

    return answer


def rows_cut(W):
    low = W.min(1, keepdims=True)
    step = np.maximum(np.ptp(W, axis=1, keepdims=True) / 255, 1e-12)
    return ((W - low) / step).astype(np.uint8), low, step


def rows_unguarded(W):
    low = W.min(1, keepdims=True)
    step = np.ptp(W, axis=1, keepdims=True) / 255
    return np.nan_to_num(np.round((W - low) / step)).astype(np.uint8), low, step


def rows_of_256(W):
    low = W.min(1, keepdims=True)
    step = np.maximum(np.ptp(W, axis=1, keepdims=True) / 256, 1e-12)
    return np.round((W - low) / step).astype(np.uint8), low, step


QUANTISE_ROWS = {
    "solution": (SOLUTIONS["quantise_rows"], "Right"),
    "loop": (rows_in_a_loop, "Right"),
    "half": (rows_by_half, "Right"),
    "double": (rows_in_double, "Right"),
    "cut off": (rows_cut, "cuts off in place of rounding"),
    "unguarded": (rows_unguarded, "a row of equal numbers has a step of 0"),
    "of 256": (rows_of_256, "steps away"),
    "int8": (rows_by(lambda W, q, low, step: (q.astype(np.int8), low, step)), "should be uint8"),
    "floats": (rows_by(lambda W, q, low, step: (q.astype("f4"), low, step)), "should be uint8"),
    "flat": (rows_by(lambda W, q, low, step: (q, low[:, 0], step[:, 0])), "low should have shape"),
    "two": (rows_by(lambda W, q, low, step: (q, step)), "return three arrays"),
    "turned": (rows_by(lambda W, q, low, step: (255 - q, low, step)), "comes back as"),
    "zeros": (rows_by(lambda W, q, low, step: (0 * q, low, step)), "within half a step of W"),
}


def logistic(z):
    return 1 / (1 + np.exp(-z))


def gru_by_blocks(x, h, W_ih, W_hh, b_ih, b_hh, after=False, keep=True):
    (W_r, W_z, W_n), (U_r, U_z, U_n) = np.split(W_ih, 3), np.split(W_hh, 3)
    (b_r, b_z, b_n), (c_r, c_z, c_n) = np.split(b_ih, 3), np.split(b_hh, 3)
    r = logistic(x @ W_r.T + b_r + h @ U_r.T + c_r)
    z = logistic(x @ W_z.T + b_z + h @ U_z.T + c_z)
    inner = r * (h @ U_n.T + c_n) if after else (r * h) @ U_n.T + c_n
    n = np.tanh(x @ W_n.T + b_n + inner)
    return n + z * (h - n) if keep else h + z * (n - h)


def gru_by_torch(*arguments):
    x, h, W_ih, W_hh, b_ih, b_hh = map(torch.tensor, arguments)
    H = h.shape[1]
    gates = torch.sigmoid(x @ W_ih[: 2 * H].T + b_ih[: 2 * H] + h @ W_hh[: 2 * H].T + b_hh[: 2 * H])
    r, z = gates.chunk(2, dim=1)
    n = torch.tanh(x @ W_ih[2 * H :].T + b_ih[2 * H :] + (r * h) @ W_hh[2 * H :].T + b_hh[2 * H :])
    return torch.lerp(n, h, z)


def gru_in_double(*arguments):
    return gru_by_blocks(*(part.astype("f8") for part in arguments))


def gru_of_torch(*arguments):
    x, h, *weights = map(torch.tensor, arguments)
    cell = nn.GRUCell(x.shape[1], h.shape[1])
    for mine, theirs in zip(cell.parameters(), weights, strict=True):
        mine.data = theirs
    return cell(x, h)


OTHER_GRU_STEP = {
    "solution": (SOLUTIONS["other_gru_step"], "Right"),
    "blocks": (gru_by_blocks, "Right"),
    "torch": (gru_by_torch, "Right"),
    "double": (gru_in_double, "Right"),
    "a list": (lambda *a: gru_by_blocks(*a).tolist(), "Right"),
    "that of torch": (gru_of_torch, "is the step of nn.GRU"),
    "reset after": (lambda *a: gru_by_blocks(*a, after=True), "is the step of nn.GRU"),
    "turned": (lambda *a: gru_by_blocks(*a, keep=False), "takes the new for the old"),
    "no b_hh": (lambda x, h, W, U, b, c: gru_by_blocks(x, h, W, U, b, 0 * c), "leaves b_hh out"),
    "no reset": (
        lambda x, h, W, U, b, c: gru_by_blocks(
            x, h, W, U, b + np.float32([1e4] * h.shape[1] + [0] * 2 * h.shape[1]), c
        ),
        "never uses the reset gate",
    ),
    "not transposed": (
        lambda x, h, W, U, b, c: gru_by_blocks(x, h, W, np.concatenate([u.T for u in np.split(U, 3)]), b, c),
        "forgets to transpose W_hh",
    ),
    "the old one": (lambda x, h, *a: h, "the next state should be"),
    "a row": (lambda *a: gru_by_blocks(*a)[0], "the next state should have shape"),
}


def serve_in_waves(step, states, rows, ids):
    scores, jobs = {}, list(enumerate(zip(rows, ids, strict=True)))
    while jobs:
        seen, now, later = set(), [], []
        for job in jobs:
            row = job[1][0]
            (later if row in seen else now).append(job)
            seen.add(row)
        mine = [row for _, (row, _) in now]
        out, new = step(np.array([i for _, (_, i) in now]), states[:, mine])
        states[:, mine] = new
        scores.update({place: out[k] for k, (place, _) in enumerate(now)})
        jobs = later
    return [scores[place] for place in range(len(ids))]


def serve_by_rank(step, states, rows, ids):
    rows, ids = np.array(rows), np.array(ids)
    rank = np.array([list(rows[:i]).count(row) for i, row in enumerate(rows)])
    scores = None
    for wave in range(rank.max() + 1):
        now = rank == wave
        out, states[:, rows[now]] = step(ids[now], states[:, rows[now]])
        scores = np.zeros((len(ids), out.shape[1]), "f4") if scores is None else scores
        scores[now] = out
    return torch.tensor(scores)


def serve_by_place(step, states, rows, ids):
    scores, new = step(np.array(ids), states[:, : len(ids)])
    states[:, : len(ids)] = new
    return scores


def serve_alone(step, states, rows, ids):
    return np.concatenate([serve_in_waves(step, states, [r], [i]) for r, i in zip(rows, ids, strict=True)])


def serve_lost(step, states, rows, ids):
    scores, new = step(np.array(ids), states[:, list(rows)])
    states[:, list(rows)] = new
    return scores


def serve_sorted(step, states, rows, ids):
    return serve_lost(step, states, sorted(rows), ids)


SERVE_BATCH = {
    "solution": (SOLUTIONS["serve_batch"], "Right"),
    "waves": (serve_in_waves, "Right"),
    "rank": (serve_by_rank, "Right"),
    "place": (serve_by_place, "takes the state by place in the batch"),
    "alone": (serve_alone, "one step for all of them"),
    "the last of two": (serve_lost, "gets the second answer without the first"),
    "sorted": (serve_sorted, "is answered from another session's state"),
    "not kept": (lambda s, states, r, i: s(np.array(i), states[:, r])[0], "are not kept"),
    "in a copy": (lambda s, states, r, i: serve_in_waves(s, states.copy(), r, i), "are not kept"),
    "zeros": (lambda s, states, r, i: s(np.array(i), 0 * states[:, r])[0], "are not kept"),
    "both": (lambda s, states, r, i: s(np.array(i), states[:, r]), "the scores should"),
    "one": (lambda s, states, r, i: serve_in_waves(s, states, r, i)[0], "the scores should have shape"),
    "nothing": (lambda s, states, r, i: None, "nothing came back"),
}


def names(model):
    return [name for name, W in model.named_parameters() if W.dim() == 2]


def bits_by_size(model, measure):
    return {name: 4 if model.get_parameter(name).numel() > 20_000 else 6 for name in names(model)}


def bits_by_trial(model, measure):
    """Begin with six; take one off wherever it hurts least, until the goal is met."""
    bits = dict.fromkeys(names(model), 6)
    sizes = {name: model.get_parameter(name).numel() for name in bits}

    def mean():
        return sum(bits[name] * sizes[name] for name in bits) / sum(sizes.values())

    while mean() > 4.6:
        trials = {name: measure(bits | {name: bits[name] - 1}) for name in bits if sizes[name] > 10_000}
        bits[min(trials, key=trials.get)] -= 1
    return bits


CHOOSE_BITS = {
    "solution": (SOLUTIONS["choose_bits"], "Right"),
    "by size": (bits_by_size, "Right"),
    "NumPy": (lambda m, f: {name: np.int64(b) for name, b in bits_by_size(m, f).items()}, "Right"),
    "eight": (lambda m, f: dict.fromkeys(names(m), 8), "8.00 bits a weight, and 4.6 are allowed"),
    "five": (lambda m, f: dict.fromkeys(names(m), 5), "5.00 bits a weight"),
    "three": (lambda m, f: dict.fromkeys(names(m), 3), "and 1 % is allowed"),
    "the wrong one": (
        lambda m, f: {name: 4 if "hh" in name else 2 for name in names(m)},
        "and 1 % is allowed",
    ),
    "sixteen": (lambda m, f: dict.fromkeys(names(m), 16), "a whole number from 2 to 8"),
    "one bit": (lambda m, f: dict.fromkeys(names(m), 1), "a whole number from 2 to 8"),
    "halves": (lambda m, f: dict.fromkeys(names(m), 4.5), "a whole number from 2 to 8"),
    "a list": (lambda m, f: [4] * 4, "return a dict with the bits of each matrix"),
    "biases too": (lambda m, f: dict.fromkeys(dict(m.named_parameters()), 4), "return a dict"),
}

ANSWERS = {
    "stream_bytes": STREAM_BYTES,
    "has_a_step": HAS_A_STEP,
    "from_onnx_order": FROM_ONNX_ORDER,
    "quantise_rows": QUANTISE_ROWS,
    "other_gru_step": OTHER_GRU_STEP,
    "serve_batch": SERVE_BATCH,
    "choose_bits": CHOOSE_BITS,
}
