"""Exercises of chapter 5: gates, forget biases and what they carry."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib.check._frame import Exercise, Wrong, expect_close, expect_shape, expect_something, kind, within
from rnnlib.gradients import clip_gradients
from rnnlib.layers import ManyToOne
from rnnlib.memory_tasks import TASKS

CHANGED = "the tensors that came in have changed: make new ones, without += and *="

# ★ How many numbers does an LSTM learn?


def count_lstm(vocab_size, num_hiddens):
    one_gate = vocab_size * num_hiddens + num_hiddens * num_hiddens + num_hiddens
    read_out = num_hiddens * vocab_size + vocab_size
    return 4 * one_gate + read_out


def _test_count_lstm(answer):
    for V, H in ((28, 256), (3, 2), (1, 1)):
        gate, read_out = V * H + H * H + H, H * V + V
        slips = (
            (3 * gate + read_out, "counts three gates; the candidate has weights of its own too"),
            (4 * gate, "leaves the read-out W_hq, b_q out"),
            (4 * (gate - H) + read_out, "leaves the biases of the gates out"),
            (4 * (gate + H) + read_out, "counts two biases for each gate, as nn.LSTM has them; ours has one"),
            (4 * (gate + read_out), "counts a read-out for each gate; there is one read-out"),
            (4 * (gate - H * H) + read_out, "leaves the weights W_hh of the gates out: each reads the old state too"),
            (gate + read_out, "is that of a plain recurrent layer: three gates and a candidate have weights each"),
            (4 * gate + V * H, "leaves the bias b_q of the read-out out"),
        )
        expect_close(answer(V, H), 4 * gate + read_out, f"the count for V={V}, H={H}", slips)


COUNT_LSTM = Exercise(
    "count_lstm",
    chapter=5,
    stars=1,
    test=_test_count_lstm,
    solution=count_lstm,
    section="The class",
    wrong={
        "three gates": (lambda V, H: 3 * (V * H + H * H + H) + H * V + V, "counts three gates"),
        "no read-out": (lambda V, H: 4 * (V * H + H * H + H), "leaves the read-out"),
        "two biases": (lambda V, H: 4 * (V * H + H * H + 2 * H) + H * V + V, "counts two biases"),
        "no biases": (lambda V, H: 4 * (V * H + H * H) + H * V + V, "leaves the biases of the gates out"),
        "no old state": (lambda V, H: 4 * (V * H + H) + H * V + V, "each reads the old state too"),
        "one gate": (lambda V, H: V * H + H * H + H + H * V + V, "is that of a plain recurrent layer"),
        "no b_q": (lambda V, H: 4 * (V * H + H * H + H) + H * V, "leaves the bias b_q"),
        "four read-outs": (lambda V, H: 4 * (V * H + H * H + H + H * V + V), "counts a read-out for each gate"),
    },
    hints=(
        "Which four things are computed from X and H at each step?",
        "Each of the four has the three tensors of a plain recurrent layer: (V, H), (H, H) and (H,).",
        "Four times V H + H H + H, and one read-out with H V + V.",
    ),
)


# ★★ From the gates to the new state


def new_state(I_t, F_t, C_tilde, O_t, C):
    C = F_t * C + I_t * C_tilde
    return O_t * torch.tanh(C), C


def _test_new_state(answer):
    generator = torch.Generator().manual_seed(0)
    worked = [torch.tensor([[value]], dtype=torch.float64) for value in (0.5, 0.9, 0.8, 0.7, 2.0)]
    drawn = [torch.rand(3, 4, generator=generator, dtype=torch.float64) for _ in range(4)]
    drawn.append(torch.randn(3, 4, generator=generator, dtype=torch.float64))
    for I_t, F_t, C_tilde, O_t, C in (worked, drawn):
        given = [tensor.clone() for tensor in (I_t, F_t, C_tilde, O_t, C)]
        got = answer(*given)
        if not all(torch.equal(one, other) for one, other in zip(given, (I_t, F_t, C_tilde, O_t, C), strict=True)):
            raise Wrong(CHANGED)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong("return two tensors, the hidden state and the memory cell: H, C")
        new_C = F_t * C + I_t * C_tilde
        new_H = O_t * torch.tanh(new_C)
        for tensor, name in zip(got, ("H", "C"), strict=True):
            expect_shape(tensor, C.shape, name)
        cell_slips = (
            (new_H, "is the hidden state: the order is H, C"),
            (I_t * C + F_t * C_tilde, "has the input and the forget gate swapped"),
            (F_t * C + (1 - F_t) * C_tilde, "ties the input gate to 1 - F_t, as a GRU does"),
            (F_t * (C + I_t * C_tilde), "forgets the candidate too: F_t multiplies the old cell alone"),
            (torch.tanh(new_C), "is squashed: the cell itself goes on without a tanh"),
            (F_t * C + O_t * C_tilde, "has the input and the output gate swapped: I_t lets the candidate in"),
            (F_t * C + C_tilde, "takes in all of the candidate: the input gate I_t multiplies it"),
            (C + I_t * C_tilde, "keeps all of the old cell: the forget gate F_t multiplies it"),
            (F_t * C, "leaves the candidate out: I_t * C_tilde is added"),
            (F_t * C + I_t * torch.tanh(C_tilde), "squashes the candidate again: C_tilde has had its tanh"),
        )
        hidden_slips = (
            (O_t * new_C, "lacks the tanh around the cell"),
            (O_t * torch.tanh(C), "reads the old cell: update the cell first"),
            (torch.tanh(O_t * new_C), "has the output gate inside the tanh"),
            (F_t * torch.tanh(new_C), "is read with the forget gate: the output gate says what is shown"),
            (I_t * torch.tanh(new_C), "is read with the input gate: the output gate says what is shown"),
            (torch.tanh(new_C), "shows all of the cell: the output gate O_t multiplies it"),
        )
        expect_close(got[1], new_C, "C", cell_slips)
        expect_close(got[0], new_H, "H", hidden_slips)


NEW_STATE = Exercise(
    "new_state",
    chapter=5,
    stars=2,
    test=_test_new_state,
    solution=new_state,
    section="Gate by gate",
    wrong={
        "gates swapped": (lambda i, f, g, o, C: (o * torch.tanh(i * C + f * g), i * C + f * g), "swapped"),
        "order": (lambda i, f, g, o, C: (f * C + i * g, o * torch.tanh(f * C + i * g)), "the order is H, C"),
        "no tanh": (lambda i, f, g, o, C: (o * (f * C + i * g), f * C + i * g), "lacks the tanh"),
        "old cell": (lambda i, f, g, o, C: (o * torch.tanh(C), f * C + i * g), "reads the old cell"),
        "squashed cell": (
            lambda i, f, g, o, C: (o * torch.tanh(f * C + i * g), torch.tanh(f * C + i * g)),
            "goes on without a tanh",
        ),
        "candidate squashed twice": (
            lambda i, f, g, o, C: (o * torch.tanh(f * C + i * torch.tanh(g)), f * C + i * torch.tanh(g)),
            "squashes the candidate again",
        ),
        "forget gate for output": (
            lambda i, f, g, o, C: (f * torch.tanh(f * C + i * g), f * C + i * g),
            "is read with the forget gate",
        ),
        "input and output gate swapped": (
            lambda i, f, g, o, C: (i * torch.tanh(f * C + o * g), f * C + o * g),
            "I_t lets the candidate in",
        ),
        "read with the input gate": (
            lambda i, f, g, o, C: (i * torch.tanh(f * C + i * g), f * C + i * g),
            "is read with the input gate",
        ),
        "no input gate": (lambda i, f, g, o, C: (o * torch.tanh(f * C + g), f * C + g), "all of the candidate"),
        "no forget gate": (lambda i, f, g, o, C: (o * torch.tanh(C + i * g), C + i * g), "all of the old cell"),
        "no output gate": (lambda i, f, g, o, C: (torch.tanh(f * C + i * g), f * C + i * g), "all of the cell"),
        "one tensor": (lambda i, f, g, o, C: f * C + i * g, "return two tensors"),
        "in place": (lambda i, f, g, o, C: (o * torch.tanh(C.mul_(f).add_(i * g)), C), "have changed"),
    },
    hints=(
        "First the cell, then the hidden state, which is read from the new cell.",
        "The forget gate multiplies the old cell, the input gate the candidate; * works elementwise.",
        "C = F_t * C + I_t * C_tilde, then H = O_t * tanh(C).",
    ),
)


# ★★ The end of a step of a GRU, as PyTorch does it


def gru_state(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    candidate = torch.tanh(X @ W_xh + b_xh + R_t * (H @ W_hh + b_hh))
    return Z_t * H + (1 - Z_t) * candidate


def _from_candidate(make):
    """Return a wrong answer: the right state, but from another candidate."""

    def answer(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
        return Z_t * H + (1 - Z_t) * make(X @ W_xh + b_xh, H, R_t, W_hh, b_hh)

    return answer


def _swapped(X, H, R_t, Z_t, *weights):
    return gru_state(X, H, R_t, 1 - Z_t, *weights)


def _candidate_alone(X, H, R_t, Z_t, *weights):
    return gru_state(X, H, R_t, torch.zeros_like(Z_t), *weights)


def _kept_whole(X, H, R_t, Z_t, *weights):
    return H + (1 - Z_t) * _candidate_alone(X, H, R_t, Z_t, *weights)


def _added_whole(X, H, R_t, Z_t, *weights):
    return Z_t * H + _candidate_alone(X, H, R_t, Z_t, *weights)


def _gates_swapped(X, H, R_t, Z_t, *weights):
    return gru_state(X, H, Z_t, R_t, *weights)


def _without_input_bias(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    return gru_state(X, H, R_t, Z_t, W_xh, W_hh, 0.0, b_hh)


def _without_hidden_bias(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    return gru_state(X, H, R_t, Z_t, W_xh, W_hh, b_xh, 0.0)


def _without_biases(X, H, R_t, Z_t, W_xh, W_hh, b_xh, b_hh):
    return gru_state(X, H, R_t, Z_t, W_xh, W_hh, 0.0, 0.0)


GRU_SLIPS = {
    "Z swapped": (_swapped, "keeps where it should replace: in PyTorch Z_t is the share of the old state that stays"),
    "candidate alone": (_candidate_alone, "is the candidate alone: Z_t says how much of the old state stays"),
    "candidate whole": (_added_whole, "adds all of the candidate: only the share 1 - Z_t of it comes in"),
    "no biases": (_without_biases, "leaves the biases b_xh and b_hh out"),
    "no b_xh": (_without_input_bias, "leaves b_xh out"),
    "no b_hh": (_without_hidden_bias, "leaves b_hh out"),
    "gates swapped": (_gates_swapped, "takes one gate for the other: R_t is for the candidate, Z_t for the mixture"),
    "sigmoid": (
        _from_candidate(lambda new, H, R, W, b: torch.sigmoid(new + R * (H @ W + b))),
        "has a candidate between 0 and 1: it is no gate, so squash it by tanh",
    ),
    "old state whole": (_kept_whole, "keeps all of the old state: only the share Z_t stays"),
    "reset before": (
        _from_candidate(lambda new, H, R, W, b: torch.tanh(new + (R * H) @ W + b)),
        "resets H before the product with W_hh, as in the paper",
    ),
    "bias outside": (
        _from_candidate(lambda new, H, R, W, b: torch.tanh(new + R * (H @ W) + b)),
        "adds b_hh outside: in PyTorch the reset gate multiplies it too",
    ),
    "input reset": (
        _from_candidate(lambda new, H, R, W, b: torch.tanh(R * (new + H @ W + b))),
        "resets the input too: R_t belongs to the old state alone",
    ),
    "no reset": (
        _from_candidate(lambda new, H, R, W, b: torch.tanh(new + H @ W + b)),
        "does without the reset gate",
    ),
    "reset turned round": (
        _from_candidate(lambda new, H, R, W, b: torch.tanh(new + (1 - R) * (H @ W + b))),
        "has the reset gate the wrong way round: 1 keeps the old state",
    ),
    "no tanh": (
        _from_candidate(lambda new, H, R, W, b: new + R * (H @ W + b)),
        "has a candidate that is not squashed: tanh is missing",
    ),
}


def _test_gru_state(answer):
    generator = torch.Generator().manual_seed(0)
    for N, V, num_hiddens in ((1, 2, 3), (4, 5, 6)):
        shapes = [(N, V), *[(N, num_hiddens)] * 3, (V, num_hiddens), (num_hiddens, num_hiddens), *[(num_hiddens,)] * 2]
        X, H, R, Z, *weights = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        given = (X, H, torch.sigmoid(R), torch.sigmoid(Z), *weights)
        handed = [tensor.clone() for tensor in given]
        got = answer(*handed)
        if not all(map(torch.equal, handed, given)):
            raise Wrong(CHANGED)
        expect_shape(got, (N, num_hiddens), "the state")
        slips = [(slip(*given), sentence) for slip, sentence in GRU_SLIPS.values()]
        expect_close(got, gru_state(*given), "the state", slips)


GRU_STATE = Exercise(
    "gru_state",
    chapter=5,
    stars=2,
    test=_test_gru_state,
    solution=gru_state,
    section="GRU: two gates, one state",
    wrong=GRU_SLIPS
    | {
        "in place": (
            lambda X, H, R, Z, W_xh, W_hh, b_xh, b_hh: H.mul_(Z).add_(0 * X.sum()),
            "the tensors that came in have changed",
        ),
    },
    hints=(
        "First the candidate: what the input says, and what the old state says, are added before the tanh.",
        "The reset gate multiplies what the old state says, all of it, after the product with W_hh.",
        "tanh(X W_xh + b_xh + R_t * (H W_hh + b_hh)), mixed with H: Z_t of the old state, 1 - Z_t of the candidate.",
    ),
)


# ★ How much of a cell is left?


def share_left(bias, steps):
    return (1 / (1 + math.exp(-bias))) ** steps


def _gate(bias):
    return 1 / (1 + math.exp(-bias))


SHARE_SLIPS = {
    "one step": (lambda b, n: _gate(b), "is what is left after one step: each step multiplies by the gate again"),
    "the bias itself": (lambda b, n: b**n, "takes the bias for the gate: the gate is sigmoid(bias)"),
    "lost": (lambda b, n: 1 - _gate(b) ** n, "is what is lost: the gate says what stays"),
    "closed": (lambda b, n: (1 - _gate(b)) ** n, "has the sign of the bias turned round: a large bias keeps"),
    "added": (lambda b, n: n * _gate(b), "adds the gates up: each takes a share of what the last one left"),
    "steps inside": (lambda b, n: _gate(b * n), "has the steps inside the sigmoid: the gate stays what it is"),
    "one too few": (lambda b, n: _gate(b) ** (n - 1), "has one step too few"),
    "one too many": (lambda b, n: _gate(b) ** (n + 1), "has one step too many"),
    "half-life": (lambda b, n: _half_life(b), "is the half-life in steps: asked is the share left after some steps"),
    "half each step": (lambda b, n: 0.5**n, "halves at each step, whatever the bias"),
    "tanh": (lambda b, n: math.tanh(b) ** n, "has tanh for the gate: a gate is a sigmoid"),
    "exponential": (lambda b, n: math.exp(-b * n), "decays at the rate of the bias: the gate is sigmoid(bias)"),
}


def _test_share_left(answer):
    for bias, steps in ((1.0, 5), (3.0, 30), (-1.0, 3), (2.0, 1), (0.5, 0)):
        slips = [(slip(bias, steps), sentence) for slip, sentence in SHARE_SLIPS.values()]
        expect_close(answer(bias, steps), _gate(bias) ** steps, f"the share for bias={bias}, steps={steps}", slips)


SHARE_LEFT = Exercise(
    "share_left",
    chapter=5,
    stars=1,
    test=_test_share_left,
    solution=share_left,
    section="Over many steps: the forget bias decides",
    wrong=SHARE_SLIPS,
    hints=(
        "At the start of training each forget gate stands at sigmoid(bias).",
        "Every step multiplies what is left by the gate: one step, gate; two steps, gate times gate.",
        "The sigmoid is 1 / (1 + math.exp(-bias)); a power is written **.",
    ),
)


# ★★ The bias for a given half-life


def bias_for(steps):
    return -math.log(2 ** (1 / steps) - 1)


def _half_life(bias):
    return math.log(2) / math.log1p(math.exp(-bias))


def _test_bias_for(answer):
    for steps in (10.0, 2.0, 100.0, 1.0):  # at 1 many a wrong formula is right
        gate = 0.5 ** (1 / steps)
        slips = (
            (gate, "is the value of the gate: the bias is what goes into the sigmoid"),
            (math.log(gate), "is the logarithm of the gate: invert the sigmoid, b = ln(f / (1 - f))"),
            (-math.log(gate / (1 - gate)), "has the wrong sign: a longer memory needs a larger bias"),
            (-math.log(math.exp(1 / steps) - 1), "leaves 1/e of the cell, not 1/2"),
            (math.log2(gate / (1 - gate)), "is a logarithm to base 2: the sigmoid is undone by the natural one"),
            (math.log10(gate / (1 - gate)), "is a logarithm to base 10: the sigmoid is undone by the natural one"),
            (math.log(steps - 1) if steps > 1 else math.inf, "is that of the gate 1 - 1/steps, which leaves about 1/e"),
            (_half_life(steps), "is the half-life that a bias of that size has: asked is the other way round"),
        )
        expect_close(answer(steps), math.log(gate / (1 - gate)), f"the bias for a half-life of {steps:g}", slips)


BIAS_FOR = Exercise(
    "bias_for",
    chapter=5,
    stars=2,
    test=_test_bias_for,
    solution=bias_for,
    section="Over many steps: the forget bias decides",
    wrong={
        "gate": (lambda steps: 0.5 ** (1 / steps), "is the value of the gate"),
        "logarithm": (lambda steps: math.log(0.5) / steps, "the logarithm of the gate"),
        "sign": (lambda steps: math.log(2 ** (1 / steps) - 1), "the wrong sign"),
        "half-life": (_half_life, "asked is the other way round"),
        "e-fold": (lambda steps: -math.log(math.exp(1 / steps) - 1), "leaves 1/e of the cell"),
        "base 2": (lambda steps: -math.log2(2 ** (1 / steps) - 1), "to base 2"),
        "base 10": (lambda steps: -math.log10(2 ** (1 / steps) - 1), "to base 10"),
        "rule of thumb": (lambda steps: math.log(steps - 1), "is that of the gate 1 - 1/steps"),
    },
    hints=(
        "Which gate value f leaves one half after this many steps?",
        "f = (1/2)^(1/steps). Then find the b whose sigmoid is f.",
        "The sigmoid is undone by b = ln(f / (1 - f)).",
    ),
)


# ★★ Debug: the forget bias that became two


def set_half_lives(lstm, steps):
    size = lstm.hidden_size
    bias = -torch.log(2 ** (1 / steps) - 1)  # (H,)
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            if name.startswith("bias_ih"):
                parameter[size : 2 * size] = bias
            if name.startswith("bias_hh"):
                parameter[size : 2 * size] = 0.0


def _layers():
    """Draw LSTMs of several forms, the same at every call."""
    torch.manual_seed(0)
    return [nn.LSTM(3, 4), nn.LSTM(2, 3, num_layers=2), nn.LSTM(2, 3, num_layers=2, bidirectional=True)]


OTHER_GATES = ((0, "input gate"), (2, "candidate"), (3, "output gate"))
NO_GRAD = "a parameter that learns can't be written into just like that: do it under torch.no_grad()"


def _test_set_half_lives(answer):
    for lstm, before in zip(_layers(), _layers(), strict=True):
        size = lstm.hidden_size
        steps = torch.tensor([20.0, 3.0, 50.0, 8.0])[:size]
        try:
            answer(lstm, steps.clone())
        except RuntimeError as error:
            if "leaf Variable" in str(error):
                raise Wrong(NO_GRAD) from None
            raise
        for name, parameter in lstm.named_parameters():
            if name.startswith("weight") and not torch.equal(parameter, before.get_parameter(name)):
                raise Wrong(f"{name} has changed: only biases should")
        for name, _ in before.named_parameters():
            if name.startswith("bias_ih"):
                _expect_forget_bias(lstm, before, name.removeprefix("bias_ih_"), steps)


def _expect_forget_bias(lstm, before, place, steps):
    """Raise :class:`Wrong` unless a layer and direction got the biases for these half-lives, and nothing else."""
    gates, old = (
        (layer.get_parameter(f"bias_ih_{place}") + layer.get_parameter(f"bias_hh_{place}")).detach().chunk(4)
        for layer in (lstm, before)
    )
    wanted = _biases(steps)
    old_ih, old_hh = (before.get_parameter(f"bias_{part}_{place}").detach().chunk(4)[1] for part in ("ih", "hh"))
    changed = [gate for k, gate in OTHER_GATES if not torch.allclose(gates[k], old[k])]
    if changed and torch.allclose(gates[1], old[1]):
        raise Wrong(
            f"the {changed[0]} of {place} has changed, and its forget gate has not: the order is input, forget, "
            "candidate, output"
        )
    slips = (
        (2 * wanted, "is the value twice: PyTorch adds both biases, so together they must make it"),
        (old[1], f"has not been set at all in {place}: loop over all layers and directions"),
        (old_hh + wanted, "keeps what bias_hh had: set its forget part to 0"),
        (old_ih + wanted, "keeps what bias_ih had: set its forget part to 0"),
        (-wanted, "has the wrong sign: a longer memory needs a larger bias"),
        (-torch.log(torch.exp(1 / steps) - 1), "leaves 1/e of the cell, not 1/2"),
        (wanted.mean().expand(len(steps)), "is the same for all units: unit k has a half-life of its own, steps[k]"),
        (_biases(steps.mean()).expand(len(steps)), "is that of the mean half-life: unit k has its own, steps[k]"),
        (wanted.flip(0), "has the units in reverse order"),
        (steps, "is the number of steps: which bias has this half-life?"),
        (0.5 ** (1 / steps), "is the value of the gate: the bias is what goes into the sigmoid"),
    )
    expect_close(gates[1], wanted, f"the forget bias of {place}, both parts added,", slips, tolerance=1e-4)
    for k, gate in OTHER_GATES:
        expect_close(gates[k], old[k], f"the bias of the {gate} of {place}, which should stay as it was,")


@torch.no_grad()
def _set_in_every(lstm, bias, prefixes, gate=1, suffixes=("",)):
    """Set one gate's part of the biases whose names match: the known slips differ only in what they touch."""
    size = lstm.hidden_size
    for name, parameter in lstm.named_parameters():
        if name.startswith(prefixes) and name.endswith(suffixes):
            parameter[gate * size : (gate + 1) * size] = bias


def _set_one_clear_one(lstm, steps, gate=1, suffixes=("",)):
    _set_in_every(lstm, _biases(steps), ("bias_ih",), gate, suffixes)
    _set_in_every(lstm, 0.0, ("bias_hh",), gate, suffixes)


def _set_both(lstm, bias):
    _set_in_every(lstm, bias, ("bias_ih",))
    _set_in_every(lstm, 0.0, ("bias_hh",))


def _set_with_gradient(lstm, steps):
    lstm.bias_ih_l0[lstm.hidden_size : 2 * lstm.hidden_size] = _biases(steps)


def _biases(steps):
    return -torch.log(2 ** (1 / steps) - 1)


SET_HALF_LIVES = Exercise(
    "set_half_lives",
    chapter=5,
    stars=2,
    test=_test_set_half_lives,
    solution=set_half_lives,
    section="Over many steps: the forget bias decides",
    wrong={
        "set twice": (
            lambda lstm, steps: _set_in_every(lstm, _biases(steps), ("bias_ih", "bias_hh")),
            "is the value twice",
        ),
        "other bias kept": (
            lambda lstm, steps: _set_in_every(lstm, _biases(steps), ("bias_ih",)),
            "keeps what bias_hh had",
        ),
        "first layer only": (
            lambda lstm, steps: _set_one_clear_one(lstm, steps, suffixes=("_l0",)),
            "loop over all layers and directions",
        ),
        "wrong gate": (lambda lstm, steps: _set_one_clear_one(lstm, steps, gate=0), "the order is input, forget"),
        "sign": (lambda lstm, steps: _set_both(lstm, -_biases(steps)), "has the wrong sign"),
        "e-fold": (lambda lstm, steps: _set_both(lstm, -torch.log(torch.exp(1 / steps) - 1)), "leaves 1/e"),
        "one for all": (lambda lstm, steps: _set_both(lstm, _biases(steps.mean())), "is that of the mean half-life"),
        "value of the gate": (lambda lstm, steps: _set_both(lstm, 0.5 ** (1 / steps)), "is the value of the gate"),
        "with gradient": (_set_with_gradient, NO_GRAD),
        "all gates": (
            lambda lstm, steps: [_set_one_clear_one(lstm, steps, gate) for gate in range(4)],
            "should stay as it was",
        ),
        "steps as biases": (
            lambda lstm, steps: _set_both(lstm, steps),
            "is the number of steps",
        ),
    },
    hints=(
        "Print the sum of the two biases of the forget gate: lstm.bias_ih_l0 + lstm.bias_hh_l0, from H to 2 H.",
        "PyTorch adds both. Give one the bias of the last exercise, with torch.log for a tensor, and the other 0.",
        "lstm.named_parameters() names all layers and directions: bias_ih_l0, bias_ih_l0_reverse, bias_ih_l1, …",
    ),
)


# ★★★ What is left of each step's memory at the end?


def left_at_the_end(gates):
    left = [torch.ones_like(gates[-1])]
    for F_t in gates.flip(0)[:-1]:
        left.append(left[-1] * F_t)
    return torch.stack(left).flip(0)


def _test_left_at_the_end(answer):
    generator = torch.Generator().manual_seed(0)
    worked = torch.tensor([[0.9], [0.5], [0.4]], dtype=torch.float64)
    drawn = torch.rand(6, 3, generator=generator, dtype=torch.float64)
    closed = drawn.clone()
    closed[2, 1] = 0.0
    for gates in (worked, drawn, torch.rand(1, 2).double(), closed, torch.full((400, 1), 0.1).double()):
        got = answer(gates.clone())
        expect_shape(got, gates.shape, "the result")
        if torch.isnan(got).any():
            raise Wrong("the result is 0 / 0 where a product has become 0: multiply backwards, and divide by nothing")
        T = len(gates)
        right = torch.stack([gates[t + 1 :].prod(0) for t in range(T)])
        slips = (
            (torch.stack([gates[t:].prod(0) for t in range(T)]), "lets F_t act on what step t itself wrote"),
            (gates.cumprod(0), "multiplies from the beginning: what step t wrote meets only the gates after t"),
            (right.flip(0), "is in the wrong order: row t belongs to step t"),
            (torch.stack([gates[t + 1 :].sum(0) for t in range(T)]), "adds the gates: each takes a share, so multiply"),
            (torch.stack([gates[:t].prod(0) for t in range(T)]), "multiplies the gates before t: those after it count"),
            (torch.stack([gates[t + 2 :].prod(0) for t in range(T)]), "leaves out the gate of the step after t"),
            (gates.flip(0).cumprod(0), "begins with the last step, and F_t acts on what step t itself wrote"),
            (gates, "is what came in: multiply the gates after each step"),
            (torch.cat([gates[1:], torch.ones_like(gates[:1])]), "has one gate a step: all that follow are multiplied"),
        )
        expect_close(got, right, "the result" + " for the gates 0.9, 0.5, 0.4" * (gates is worked), slips)


LEFT_AT_THE_END = Exercise(
    "left_at_the_end",
    chapter=5,
    stars=3,
    test=_test_left_at_the_end,
    solution=left_at_the_end,
    section="Why it remembers",
    wrong={
        "one gate too many": (
            lambda F: torch.stack([F[t:].prod(0) for t in range(len(F))]),
            "what step t itself wrote",
        ),
        "from the beginning": (lambda F: F.cumprod(0), "multiplies from the beginning"),
        "divided": (lambda F: F.cumprod(0)[-1] / F.cumprod(0), "divide by nothing"),
        "backwards": (
            lambda F: torch.stack([F[t + 1 :].prod(0) for t in range(len(F))]).flip(0),
            "in the wrong order",
        ),
        "before": (
            lambda F: torch.stack([F[:t].prod(0) for t in range(len(F))]),
            "multiplies the gates before t",
        ),
        "one gate too few": (
            lambda F: torch.stack([F[t + 2 :].prod(0) for t in range(len(F))]),
            "leaves out the gate of the step after t",
        ),
        "flipped once": (lambda F: F.flip(0).cumprod(0), "begins with the last step"),
        "summed": (lambda F: torch.stack([F[t + 1 :].sum(0) for t in range(len(F))]), "adds the gates"),
        "one gate": (lambda F: torch.cat([F[1:], torch.ones_like(F[:1])]), "has one gate a step"),
    },
    hints=(
        "What step t writes into the cell is multiplied by F[t + 1], then by F[t + 2], and so on to the end.",
        "The last row is all ones: nothing comes after it. Go backwards from there.",
        "left[t] = left[t + 1] * F[t + 1].",
    ),
)


# ★★★ Go further: a GRU that remembers


def remembering_gru(num_inputs, num_hiddens):
    gru = nn.GRU(num_inputs, num_hiddens)
    with torch.no_grad():
        gru.bias_ih_l0[num_hiddens : 2 * num_hiddens] = 3.0  # reset, update, candidate: the second third
        gru.bias_hh_l0[num_hiddens : 2 * num_hiddens] = 0.0
    return gru


def _with_bias(bias, part):
    """Make a GRU with a bias in one third of its biases, 0 reset, 1 update, 2 candidate."""

    def make(num_inputs, num_hiddens):
        gru = nn.GRU(num_inputs, num_hiddens)
        with torch.no_grad():
            gru.bias_ih_l0[part * num_hiddens : (part + 1) * num_hiddens] = bias
            gru.bias_hh_l0[part * num_hiddens : (part + 1) * num_hiddens] = 0.0
        return gru

    return make


GRU_BIAS_SLIPS = {
    "as it comes": (nn.GRU, "Its update gates start near one half, so a state is halved at every step"),
    "reset gate": (
        _with_bias(3.0, 0),
        "The bias is on the reset gate; the order in PyTorch is reset, update, candidate",
    ),
    "candidate": (
        _with_bias(3.0, 2),
        "The bias is on the candidate, which is no gate; the order in PyTorch is reset, update, candidate",
    ),
    "turned round": (_with_bias(-3.0, 1), "The update gates start near 0, and in PyTorch that replaces the old state"),
    "too small": (_with_bias(0.5, 1), "In no unit do the update gates keep half of the state for more than"),
}
GRU_DELAY, GRU_STEPS, GRU_GOAL = 80, 200, 0.98


def _share_recalled(gru):
    """Train a layer on the chapter's first task; return the share of right answers on 500 fresh sequences."""
    task = TASKS["remember the first symbol"]
    torch.manual_seed(0)
    dtype = gru.weight_ih_l0.dtype
    model, generator = ManyToOne(gru, task.num_outputs).to(dtype), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(1, GRU_STEPS + 1):
        inputs, targets = task.draw(32, GRU_DELAY, generator)
        loss = F.cross_entropy(model(inputs.to(dtype)), targets)
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0:
            with torch.no_grad():
                inputs, targets = task.draw(500, GRU_DELAY, generator)
                share = task.share_right(model(inputs.to(dtype)), targets)
            if share >= GRU_GOAL:
                break
    return share, step


def _longest_half_life(gru):
    """Return after how many steps of noise the state of the most lasting unit is halved, if nothing is added to it."""
    size = gru.hidden_size
    update = slice(size, 2 * size)
    inputs = gru.weight_ih_l0[update, 4:] + (gru.bias_ih_l0 + gru.bias_hh_l0)[update, None]  # (H, 4), symbols of noise
    gate = torch.sigmoid(inputs.detach()).mean(1).max().clamp(max=1 - 1e-6)
    return math.log(0.5) / math.log(gate.item())


def _test_remembering_gru(answer):
    torch.manual_seed(0)
    gru, _ = within(60, answer, 8, 32)
    expect_something(gru)
    if not isinstance(gru, nn.GRU):
        raise Wrong(f"return an nn.GRU, but {kind(gru)} came")
    if (gru.input_size, gru.hidden_size, gru.num_layers, gru.bidirectional) != (8, 32, 1, False) or not gru.bias:
        raise Wrong(f"the layer should be an nn.GRU(8, 32) with one layer and one direction, but {gru} came")
    if gru.batch_first:
        raise Wrong("the layer has batch_first=True, but here time comes first: leave it out")
    reset, update, candidate = (gru.bias_ih_l0 + gru.bias_hh_l0).detach().split(32)
    lasting = _longest_half_life(gru)
    share, steps = _share_recalled(gru)
    measured = (
        f"after {steps} training steps {share:.0%} of the first symbols are recalled over a delay of {GRU_DELAY}; "
        f"the goal is {GRU_GOAL:.0%} within {GRU_STEPS}, and chance gets 25%"
    )
    if share >= GRU_GOAL and lasting > 2:  # biases as they come give 1, at most 1.5
        return f"Measured: {measured}."
    signs = {
        "turned round": update.mean() < -1,
        "reset gate": reset.mean() > 1,
        "candidate": candidate.abs().mean() > 1,
        "as it comes": update.abs().max() < 0.36,
    }
    short = f"In no unit do the update gates keep half of the state for more than {lasting:.1f} steps"
    why = next((GRU_BIAS_SLIPS[slip][1] for slip, true in signs.items() if true), short)
    if share >= GRU_GOAL:
        raise Wrong(f"measured: {measured}. But no gate keeps the state from the start, which is what is asked. {why}")
    raise Wrong(f"measured: {measured}. {why}")


REMEMBERING_GRU = Exercise(
    "remembering_gru",
    chapter=5,
    stars=3,
    test=_test_remembering_gru,
    solution=remembering_gru,
    section="GRU: two gates, one state",
    wrong=GRU_BIAS_SLIPS,
    hints=(
        "Which gate of a GRU does the work of the LSTM's forget gate, and what does it say when it is 1?",
        "The biases bias_ih_l0 and bias_hh_l0 are (3 H,): reset, update, candidate, H numbers each. Both are added.",
        "Set bias_ih_l0[H : 2 * H] to 3 and bias_hh_l0[H : 2 * H] to 0, under torch.no_grad().",
    ),
)


EXERCISES = (COUNT_LSTM, SHARE_LEFT, NEW_STATE, GRU_STATE, BIAS_FOR, SET_HALF_LIVES, LEFT_AT_THE_END, REMEMBERING_GRU)
