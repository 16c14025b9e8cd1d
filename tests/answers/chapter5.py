"""Answers to the exercises of chapter 5."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import check
from rnnlib.gates import ScratchLSTM, half_life

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def counted(gates=4, biases=1, read_outs=1, old_state=1):
    """Return a count for another number of gates, of biases a gate, of read-outs, or without the old state."""
    return lambda V, H: gates * (V * H + old_state * H * H + biases * H) + read_outs * (H * V + V)


COUNT_LSTM = {
    "formula": (counted(), "Right"),
    "the model": (lambda V, H: sum(p.numel() for p in ScratchLSTM(V, H).parameters()), "Right"),
    "library": (
        lambda V, H: (
            sum(p.numel() for p in nn.LSTM(V, H).parameters())
            - 4 * H
            + sum(p.numel() for p in nn.Linear(H, V).parameters())
        ),
        "Right",
    ),
    "NumPy": (lambda V, H: np.sum([4 * V * H, 4 * H * H, 4 * H, H * V, V]), "Right"),
    "loop": (lambda V, H: sum(a * b for a, b in [(V, H), (H, H), (1, H)] * 4 + [(H, V), (1, V)]), "Right"),
    "a tensor": (lambda V, H: torch.tensor(4 * (V + H + 1) * H + (H + 1) * V), "Right"),
    "three gates": (counted(gates=3), "the candidate has weights of its own"),
    "two biases": (counted(biases=2), "ours has one"),
    "no biases": (counted(biases=0), "leaves the biases of the gates out"),
    "no read-out": (counted(read_outs=0), "leaves the read-out W_hq, b_q out"),
    "no b_q": (lambda V, H: counted()(V, H) - V, "leaves the bias b_q"),
    "a read-out for each": (counted(read_outs=4), "there is one read-out"),
    "no W_hh": (counted(old_state=0), "each reads the old state too"),
    "a plain layer": (counted(gates=1), "is that of a plain recurrent layer"),
    "nearly": (lambda V, H: counted()(V, H) + 1, "the count for V=28"),
}


def share_by_loop(bias, steps):
    left = 1.0
    for _ in range(steps):
        left *= 1 / (1 + math.exp(-bias))
    return left


def share_by_tensor(bias, steps):
    return torch.sigmoid(torch.tensor(bias, dtype=torch.float64)) ** steps


SHARE_LEFT = {
    "solution": (SOLUTIONS["share_left"], "Right"),
    "loop": (share_by_loop, "Right"),
    "a tensor": (share_by_tensor, "Right"),
    "float32": (lambda bias, steps: torch.sigmoid(torch.tensor(bias)) ** steps, "Right"),
    "NumPy": (lambda bias, steps: np.power(1 / (1 + np.exp(-bias)), steps), "Right"),
    "by half-lives": (lambda bias, steps: 0.5 ** (steps / half_life(bias)), "Right"),
    "by logarithms": (lambda bias, steps: math.exp(-steps * math.log1p(math.exp(-bias))), "Right"),
    "one step": (lambda bias, steps: 1 / (1 + math.exp(-bias)), "is what is left after one step"),
    "no sigmoid": (lambda bias, steps: bias**steps, "takes the bias for the gate"),
    "what is lost": (lambda bias, steps: 1 - share_by_loop(bias, steps), "is what is lost"),
    "sign": (lambda bias, steps: share_by_loop(-bias, steps), "has the sign of the bias turned round"),
    "added": (lambda bias, steps: steps / (1 + math.exp(-bias)), "adds the gates up"),
    "inside": (lambda bias, steps: 1 / (1 + math.exp(-bias * steps)), "has the steps inside the sigmoid"),
    "one too few": (lambda bias, steps: share_by_loop(bias, steps - 1), "has one step too few"),
    "half-life": (lambda bias, steps: half_life(bias), "is the half-life in steps"),
    "tanh": (lambda bias, steps: math.tanh(bias) ** steps, "a gate is a sigmoid"),
    "nothing": (lambda bias, steps: None, ""),
}


def state_of(cell, shown):
    """Return an answer from a rule for the new cell and one for what is shown of it."""

    def answer(I_t, F_t, C_tilde, O_t, C):
        new = cell(I_t, F_t, C_tilde, O_t, C)
        return shown(I_t, F_t, O_t, new), new

    return answer


def right_cell(i, f, g, o, C):
    return f * C + i * g


def right_state(i, f, o, C):
    return o * torch.tanh(C)


def state_by_loop(I_t, F_t, C_tilde, O_t, C):
    H, new = torch.empty_like(C), torch.empty_like(C)
    for n in range(C.shape[0]):
        for k in range(C.shape[1]):
            new[n, k] = F_t[n, k] * C[n, k] + I_t[n, k] * C_tilde[n, k]
            H[n, k] = O_t[n, k] * math.tanh(new[n, k])
    return H, new


def state_by_einsum(I_t, F_t, C_tilde, O_t, C):
    new = torch.einsum("nh,nh->nh", F_t, C) + torch.einsum("nh,nh->nh", I_t, C_tilde)
    return torch.einsum("nh,nh->nh", O_t, new.tanh()), new


def state_in_place(I_t, F_t, C_tilde, O_t, C):
    C *= F_t
    C += I_t * C_tilde
    return O_t * C.tanh(), C


def state_in_float32(*tensors):
    H, C = SOLUTIONS["new_state"](*tensors)
    return H.float(), C.float()


NEW_STATE = {
    "solution": (SOLUTIONS["new_state"], "Right"),
    "loop": (state_by_loop, "Right"),
    "einsum": (state_by_einsum, "Right"),
    "library": (state_of(lambda i, f, g, o, C: torch.addcmul(f.mul(C), i, g), right_state), "Right"),
    "a list": (lambda *tensors: list(state_by_einsum(*tensors)), "Right"),
    "float32": (state_in_float32, "Right"),
    "input and forget gate swapped": (
        state_of(lambda i, f, g, o, C: i * C + f * g, right_state),
        "the input and the forget gate swapped",
    ),
    "input and output gate swapped": (
        lambda i, f, g, o, C: state_by_einsum(o, f, g, i, C),
        "the input and the output gate swapped",
    ),
    "all three": (lambda i, f, g, o, C: state_by_einsum(f, o, g, i, C), "C should be"),
    "candidate not gated": (state_of(lambda i, f, g, o, C: f * C + g, right_state), "the input gate I_t multiplies it"),
    "cell not gated": (state_of(lambda i, f, g, o, C: C + i * g, right_state), "the forget gate F_t multiplies it"),
    "tied gates": (state_of(lambda i, f, g, o, C: f * C + (1 - f) * g, right_state), "as a GRU does"),
    "no candidate": (state_of(lambda i, f, g, o, C: f * C, right_state), "leaves the candidate out"),
    "squashed cell": (state_of(lambda i, f, g, o, C: torch.tanh(f * C + i * g), right_state), "goes on without a tanh"),
    "squashed candidate": (state_of(lambda i, f, g, o, C: f * C + i * g.tanh(), right_state), "has had its tanh"),
    "no tanh": (state_of(right_cell, lambda i, f, o, C: o * C), "lacks the tanh around the cell"),
    "tanh around all": (state_of(right_cell, lambda i, f, o, C: torch.tanh(o * C)), "the output gate inside the tanh"),
    "shown whole": (state_of(right_cell, lambda i, f, o, C: torch.tanh(C)), "the output gate O_t multiplies it"),
    "shown by the forget gate": (state_of(right_cell, lambda i, f, o, C: f * torch.tanh(C)), "with the forget gate"),
    "shown by the input gate": (state_of(right_cell, lambda i, f, o, C: i * torch.tanh(C)), "with the input gate"),
    "the old cell": (lambda i, f, g, o, C: (o * C.tanh(), f * C + i * g), "reads the old cell"),
    "the wrong order": (lambda *tensors: state_by_einsum(*tensors)[::-1], "the order is H, C"),
    "in place": (state_in_place, "have changed"),
    "H alone": (lambda *tensors: state_by_einsum(*tensors)[0], "return two tensors, the hidden state"),
}


def gru_by(candidate, mix=lambda Z, H, new: Z * H + (1 - Z) * new):
    """Return an answer from a rule for the candidate and one for the mixture."""

    def answer(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
        return mix(Z_t, H, candidate(X, H, R_t, W_xh, W_hh, b_xh, b_hh))

    return answer


def right_candidate(X, H, R, W_xh, W_hh, b_xh, b_hh):
    return torch.tanh(F.linear(X, W_xh.T, b_xh) + R * F.linear(H, W_hh.T, b_hh))


def gru_by_einsum(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    new = torch.einsum("nd,dh->nh", X, W_xh) + b_xh + R_t * (torch.einsum("nk,kh->nh", H, W_hh) + b_hh)
    return torch.tanh(new).lerp(H, Z_t)


def gru_by_rows(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    rows = [
        z * h + (1 - z) * torch.tanh(x @ W_xh + b_xh + r * (h @ W_hh + b_hh))
        for x, h, r, z in zip(X, H, R_t, Z_t, strict=True)
    ]
    return torch.stack(rows)


def gru_in_place(X, H, R_t, Z_t, *weights):
    new = right_candidate(X, H, R_t, *weights)
    H *= Z_t
    H += (1 - Z_t) * new
    return H


GRU_STATE = {
    "solution": (SOLUTIONS["gru_state"], "Right"),
    "library": (gru_by(right_candidate), "Right"),
    "einsum and lerp": (gru_by_einsum, "Right"),
    "row by row": (gru_by_rows, "Right"),
    "another order": (gru_by(right_candidate, lambda Z, H, new: new + Z * (H - new)), "Right"),
    "float32": (lambda *tensors: gru_by_rows(*(tensor.float() for tensor in tensors)), "Right"),
    "Z the other way round": (
        gru_by(right_candidate, lambda Z, H, new: (1 - Z) * H + Z * new),
        "keeps where it should replace",
    ),
    "reset before the product": (
        gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + b + (R * H) @ U + c)),
        "before the product with W_hh",
    ),
    "b_hh outside": (gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + b + R * (H @ U) + c)), "adds b_hh outside"),
    "no reset": (gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + b + H @ U + c)), "without the reset gate"),
    "all reset": (
        gru_by(lambda X, H, R, W, U, b, c: torch.tanh(R * (X @ W + b + H @ U + c))),
        "resets the input too",
    ),
    "no tanh": (gru_by(lambda X, H, R, W, U, b, c: X @ W + b + R * (H @ U + c)), "tanh is missing"),
    "sigmoid": (gru_by(lambda X, H, R, W, U, b, c: torch.sigmoid(X @ W + b + R * (H @ U + c))), "it is no gate"),
    "no b_xh": (gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + R * (H @ U + c))), "leaves b_xh out"),
    "no b_hh": (gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + b + R * (H @ U))), "leaves b_hh out"),
    "no biases": (gru_by(lambda X, H, R, W, U, b, c: torch.tanh(X @ W + R * (H @ U))), "b_xh and b_hh out"),
    "the candidate": (gru_by(right_candidate, lambda Z, H, new: new), "is the candidate alone"),
    "added whole": (gru_by(right_candidate, lambda Z, H, new: Z * H + new), "only the share 1 - Z_t"),
    "kept whole": (gru_by(right_candidate, lambda Z, H, new: H + (1 - Z) * new), "only the share Z_t stays"),
    "gates swapped": (
        lambda X, H, R_t, Z_t, *weights: gru_by_rows(X, H, Z_t, R_t, *weights),
        "takes one gate for the other",
    ),
    "in place": (gru_in_place, "have changed"),
}


def bias_of_gate(gate):
    return math.log(gate / (1 - gate))


def bias_by_bisection(steps):
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if half_life(middle) < steps else (low, middle)
    return middle


BIAS_FOR = {
    "formula": (lambda steps: -math.log(2 ** (1 / steps) - 1), "Right"),
    "from the gate": (lambda steps: bias_of_gate(0.5 ** (1 / steps)), "Right"),
    "library": (lambda steps: torch.logit(torch.tensor(0.5 ** (1 / steps), dtype=torch.float64)), "Right"),
    "float32": (lambda steps: torch.logit(torch.tensor(0.5) ** (1 / steps)), "Right"),
    "a float from float32": (lambda steps: torch.logit(torch.tensor(0.5) ** (1 / steps)).item(), "Right"),
    "NumPy": (lambda steps: -np.log(np.expm1(np.log(2) / steps)), "Right"),
    "NumPy in float32": (lambda steps: np.float32(-np.log(np.expm1(np.log(2) / steps))), "Right"),
    "bisection": (bias_by_bisection, "Right"),
    "the gate": (lambda steps: 0.5 ** (1 / steps), "is the value of the gate"),
    "its logarithm": (lambda steps: math.log(0.5 ** (1 / steps)), "is the logarithm of the gate"),
    "wrong sign": (lambda steps: -bias_of_gate(0.5 ** (1 / steps)), "has the wrong sign"),
    "for 1/e": (lambda steps: bias_of_gate(math.exp(-1 / steps)), "leaves 1/e of the cell"),
    "1 - 1/steps": (lambda steps: bias_of_gate(1 - 1 / steps), "is that of the gate 1 - 1/steps"),
    "base 2": (lambda steps: bias_of_gate(0.5 ** (1 / steps)) / math.log(2), "to base 2"),
    "base 10": (lambda steps: math.log10(0.5 ** (1 / steps) / (1 - 0.5 ** (1 / steps))), "to base 10"),
    "the half-life": (half_life, "asked is the other way round"),
    "rounded": (lambda steps: round(-math.log(2 ** (1 / steps) - 1), 2), "the bias for a half-life of 10 should be"),
    "the number itself": (lambda steps: steps, "the bias for a half-life of 10 should be"),
}


def names_of(lstm, part):
    return [name for name, _ in lstm.named_parameters() if name.startswith(f"bias_{part}")]


def biases_for(steps):
    return torch.logit(0.5 ** (1 / steps))


def set_by(make, clear="hh", write="ih", suffix="", gate=1):
    """Return an answer that writes what ``make`` gives into one part of the biases and clears another."""

    @torch.no_grad()
    def answer(lstm, steps):
        part = slice(gate * lstm.hidden_size, (gate + 1) * lstm.hidden_size)
        for which, value in ((clear, 0.0), (write, make(steps))):
            for name in names_of(lstm, which):
                if name.endswith(suffix):
                    lstm.get_parameter(name)[part] = value

    return answer


def set_halves(lstm, steps):
    for name in names_of(lstm, ""):
        lstm.get_parameter(name).data.view(4, -1)[1] = biases_for(steps) / 2


def set_by_state_dict(lstm, steps):
    weights = {name: weight.clone() for name, weight in lstm.state_dict().items()}
    for name, weight in weights.items():
        if "bias" in name:
            weight.chunk(4)[1].copy_(biases_for(steps) if "_ih_" in name else torch.zeros_like(steps))
    lstm.load_state_dict(weights)


@torch.no_grad()
def set_by_difference(lstm, steps):
    """Leave bias_hh alone, and make up for it in bias_ih."""
    H = lstm.hidden_size
    for name in names_of(lstm, "ih"):
        other = lstm.get_parameter(name.replace("_ih_", "_hh_"))
        lstm.get_parameter(name)[H : 2 * H] = biases_for(steps) - other[H : 2 * H]


def set_unit_by_unit(lstm, steps):
    with torch.no_grad():
        for layer in lstm.all_weights:
            for k, count in enumerate(steps.tolist()):
                layer[2][lstm.hidden_size + k] = -math.log(2 ** (1 / count) - 1)
                layer[3][lstm.hidden_size + k] = 0


def set_with_gradient(lstm, steps):
    lstm.bias_ih_l0[lstm.hidden_size : 2 * lstm.hidden_size] = biases_for(steps)


@torch.no_grad()
def set_weights_too(lstm, steps):
    set_by_difference(lstm, steps)
    lstm.weight_hh_l0.zero_()


@torch.no_grad()
def clear_all_of_bias_hh(lstm, steps):
    set_by(biases_for)(lstm, steps)
    for name in names_of(lstm, "hh"):
        lstm.get_parameter(name).zero_()


SET_HALF_LIVES = {
    "solution": (SOLUTIONS["set_half_lives"], "Right"),
    "logit": (set_by(biases_for), "Right"),
    "the other bias": (set_by(biases_for, clear="ih", write="hh"), "Right"),
    "halves": (set_halves, "Right"),
    "state_dict": (set_by_state_dict, "Right"),
    "difference": (set_by_difference, "Right"),
    "unit by unit": (set_unit_by_unit, "Right"),
    "float64": (set_by(lambda steps: biases_for(steps.double())), "Right"),
    "twice": (set_by(biases_for, clear="hh", write=""), "is the value twice"),
    "bias_hh kept": (set_by(biases_for, clear="ih", write="ih"), "keeps what bias_hh had"),
    "bias_ih kept": (set_by(biases_for, clear="hh", write="hh"), "keeps what bias_ih had"),
    "first layer alone": (set_by(biases_for, suffix="_l0"), "has not been set at all in l1"),
    "one direction alone": (set_by(biases_for, suffix=("_l0", "_l1")), "has not been set at all in l0_reverse"),
    "input gate": (set_by(biases_for, gate=0), "the input gate of l0 has changed, and its forget gate has not"),
    "candidate": (set_by(biases_for, gate=2), "the candidate of l0 has changed, and its forget gate has not"),
    "output gate": (set_by(biases_for, gate=3), "the output gate of l0 has changed, and its forget gate has not"),
    "output gate, other bias kept": (
        set_by(biases_for, gate=3, clear="ih"),
        "the output gate of l0 has changed, and its forget gate has not",
    ),
    "the gate": (set_by(lambda steps: 0.5 ** (1 / steps)), "is the value of the gate"),
    "steps": (set_by(lambda steps: steps), "is the number of steps"),
    "sign": (set_by(lambda steps: -biases_for(steps)), "has the wrong sign"),
    "for 1/e": (set_by(lambda steps: torch.logit(torch.exp(-1 / steps))), "leaves 1/e of the cell"),
    "one for all": (set_by(lambda steps: biases_for(steps).mean()), "is the same for all units"),
    "of the mean": (set_by(lambda steps: biases_for(steps.mean())), "is that of the mean half-life"),
    "reversed": (set_by(lambda steps: biases_for(steps).flip(0)), "the units in reverse order"),
    "all of bias_hh cleared": (clear_all_of_bias_hh, "which should stay as it was"),
    "weights": (set_weights_too, "only biases should"),
    "without no_grad": (set_with_gradient, "do it under torch.no_grad()"),
    "nothing": (lambda lstm, steps: None, "has not been set at all in l0"),
}


def left_by_log(gates):
    after = torch.cat([gates[1:], torch.ones_like(gates[:1])]).log()
    return after.flip(0).cumsum(0).flip(0).exp()


def left_by_loop(gates):
    left = torch.ones_like(gates)
    for t in range(len(gates)):
        for later in gates[t + 1 :]:
            left[t] *= later
    return left


def left_by(make):
    """Return an answer that makes each row on its own."""
    return lambda gates: torch.stack([make(gates, t) for t in range(len(gates))])


LEFT_AT_THE_END = {
    "solution": (SOLUTIONS["left_at_the_end"], "Right"),
    "loop": (left_by_loop, "Right"),
    "prod": (left_by(lambda gates, t: gates[t + 1 :].prod(0)), "Right"),
    "cumprod": (
        lambda gates: torch.cat([gates.flip(0).cumprod(0).flip(0)[1:], torch.ones_like(gates[:1])]),
        "Right",
    ),
    "logarithms": (left_by_log, "Right"),
    "float32": (lambda gates: left_by_loop(gates.float()), "Right"),
    "NumPy": (
        lambda gates: torch.tensor(np.array([gates[t + 1 :].numpy().prod(0) for t in range(len(gates))])),
        "Right",
    ),
    "own gate too": (left_by(lambda gates, t: gates[t:].prod(0)), "what step t itself wrote"),
    "from the beginning": (lambda gates: gates.cumprod(0), "multiplies from the beginning"),
    "divided": (lambda gates: gates.prod(0) / gates.cumprod(0), "divide by nothing"),
    "before": (left_by(lambda gates, t: gates[:t].prod(0)), "multiplies the gates before t"),
    "one too few": (left_by(lambda gates, t: gates[t + 2 :].prod(0)), "the gate of the step after t"),
    "reversed": (lambda gates: left_by_loop(gates).flip(0), "is in the wrong order"),
    "flipped once": (lambda gates: gates.flip(0).cumprod(0), "begins with the last step"),
    "summed": (left_by(lambda gates, t: gates[t + 1 :].sum(0)), "adds the gates"),
    "one gate": (lambda gates: torch.cat([gates[1:], torch.ones_like(gates[:1])]), "has one gate a step"),
    "nothing done": (lambda gates: gates, "is what came in"),
    "a row too few": (lambda gates: left_by_loop(gates)[:-1], "but (2, 1) came"),
    "the first alone": (lambda gates: left_by_loop(gates)[0], "but (1,) came"),
}


def gru_with(bias, part=1, write=("bias_ih_l0",), **options):
    """Return an answer that gives one third of the biases a value, and clears what it doesn't write."""

    @torch.no_grad()
    def answer(num_inputs, num_hiddens):
        gru = nn.GRU(num_inputs, num_hiddens, **options)
        for name in ("bias_ih_l0", "bias_hh_l0"):
            gru.get_parameter(name).view(3, -1)[part] = bias / len(write) if name in write else 0.0
        return gru

    return answer


@torch.no_grad()
def gru_by_chrono(num_inputs, num_hiddens):
    gru = nn.GRU(num_inputs, num_hiddens)
    gru.bias_ih_l0[num_hiddens : 2 * num_hiddens].uniform_(1, 79).log_()
    return gru


REMEMBERING_GRU = {
    "solution": (SOLUTIONS["remembering_gru"], "Right"),
    "the other bias": (gru_with(4.0, write=("bias_hh_l0",)), "Right"),
    "halves": (gru_with(3.0, write=("bias_ih_l0", "bias_hh_l0")), "Right"),
    "drawn": (gru_by_chrono, "Right"),
    "float64": (lambda D, H: gru_with(5.0)(D, H).double(), "Right"),
    "as it comes": (lambda D, H: nn.GRU(D, H), "Its update gates start near one half"),
    "reset gate": (gru_with(3.0, part=0), "The bias is on the reset gate"),
    "candidate": (gru_with(3.0, part=2), "The bias is on the candidate, which is no gate"),
    "wrong sign": (gru_with(-3.0), "in PyTorch that replaces the old state"),
    "too small": (gru_with(0.7), "the update gates keep half of the state for more than"),
    "an LSTM": (nn.LSTM, "return an nn.GRU, but an LSTM came"),
    "two layers": (gru_with(3.0, num_layers=2), "with one layer and one direction"),
    "batch first": (gru_with(3.0, batch_first=True), "here time comes first"),
}

ANSWERS = {
    "count_lstm": COUNT_LSTM,
    "share_left": SHARE_LEFT,
    "new_state": NEW_STATE,
    "gru_state": GRU_STATE,
    "bias_for": BIAS_FOR,
    "set_half_lives": SET_HALF_LIVES,
    "left_at_the_end": LEFT_AT_THE_END,
    "remembering_gru": REMEMBERING_GRU,
}
