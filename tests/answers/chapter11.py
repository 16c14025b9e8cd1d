"""Answers to the exercises of chapter 11."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from rnnlib import check
from rnnlib.beyond import linear_recurrence, wkv_parallel

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def states_by_loop(bits):
    states, state = [], torch.zeros_like(bits[:, 0])
    for bit in bits.unbind(1):
        state = (state + bit) % 2
        states.append(state)
    return torch.stack(states, 1)


def states_by_xor(bits):
    rows = [list(itertools.accumulate(row, lambda a, b: a ^ b)) for row in bits.tolist()]
    return torch.tensor(rows)


RUNNING_PARITY = {
    "cumsum": (lambda bits: bits.cumsum(1) % 2, "Right"),
    "loop": (states_by_loop, "Right"),
    "xor": (states_by_xor, "Right"),
    "truth values": (lambda bits: bits.cumsum(1) % 2 == 1, "Right"),
    "floats": (lambda bits: bits.double().cumsum(1) % 2, "Right"),
    "signs": (lambda bits: (1 - (1 - 2 * bits).cumprod(1)) // 2, "Right"),
    "counts": (lambda bits: torch.cumsum(bits, 1), "counts the ones"),
    "down the rows": (lambda bits: torch.cumsum(bits, 0) % 2, "time is the second axis here"),
    "the last": (lambda bits: bits.sum(1) % 2, "the states should have shape"),
    "the last everywhere": (lambda bits: (bits.sum(1) % 2)[:, None].repeat(1, bits.shape[1]), "the answer at the end"),
    "before the bit": (lambda bits: F.pad(bits.cumsum(1) % 2, (1, -1)), "lags a step behind"),
    "even": (lambda bits: (bits.cumsum(1) + 1) % 2, "1 where the number of ones is even"),
    "in place": (lambda bits: bits.copy_(bits.cumsum(1) % 2), "has changed"),
    "a list": (lambda bits: (bits.cumsum(1) % 2).tolist(), "should be a tensor"),
}

NEVER_DROPPED = {
    "power": (lambda p, num_steps: (1 - p) ** num_steps, "Right"),
    "logarithm": (lambda p, num_steps: math.exp(num_steps * math.log1p(-p)), "Right"),
    "product": (lambda p, num_steps: math.prod([1 - p] * num_steps), "Right"),
    "NumPy": (lambda p, num_steps: np.power(1 - p, num_steps), "Right"),
    "a tensor": (lambda p, num_steps: torch.tensor(1 - p) ** num_steps, "Right"),
    "always": (lambda p, num_steps: p**num_steps, "dropped every time"),
    "one step": (lambda p, num_steps: 1 - p, "of one step"),
    "once kept": (lambda p, num_steps: 1 - p**num_steps, "kept at least once"),
    "once dropped": (lambda p, num_steps: 1 - (1 - p) ** num_steps, "dropped at least once"),
    "a sum": (lambda p, num_steps: max(1 - p * num_steps, -9), "chances of independent draws are multiplied"),
    "scaled": (lambda p, num_steps: (1 - p) ** (num_steps - 1), "the chance for p=0.4"),
}

BEST_WITHOUT_MEMORY = {
    "max": (lambda p_up: max(p_up, 1 - p_up), "Right"),
    "absolute": (lambda p_up: 0.5 + abs(p_up - 0.5), "Right"),
    "condition": (lambda p_up: p_up if p_up > 0.5 else 1 - p_up, "Right"),
    "NumPy": (lambda p_up: np.max([p_up, 1 - p_up]), "Right"),
    "by a grid": (lambda p_up: max(p_up * q + (1 - p_up) * (1 - q) for q in np.linspace(0, 1, 11)), "Right"),
    "up": (lambda p_up: p_up, "goes up every time"),
    "down": (lambda p_up: 1 - p_up, "goes down every time"),
    "matching": (lambda p_up: p_up * p_up + (1 - p_up) * (1 - p_up), "always taking the likelier is better"),
    "a coin": (lambda p_up: 0.5, "for signs that are equally likely alone"),
    "an oracle": (lambda p_up: 1.0, "would need to know the sign"),
    "the worst": (lambda p_up: min(p_up, 1 - p_up), "the share for p_up=0.8"),
}

HALF_LIFE_OF = {
    "formula": (lambda a: math.log(0.5) / math.log(a), "Right"),
    "base": (lambda a: math.log(0.5, a), "Right"),
    "base 2": (lambda a: -1 / math.log2(a), "Right"),
    "NumPy": (lambda a: np.log(2) / -np.log(a), "Right"),
    "a tensor": (lambda a: math.log(0.5) / torch.tensor(a).log(), "Right"),
    "upside down": (lambda a: math.log(a) / math.log(0.5), "upside down"),
    "negative": (lambda a: math.log(2) / math.log(a), "is negative"),
    "to 1/e": (lambda a: -1 / math.log(a), "is the time to 1/e"),
    "thumb": (lambda a: 1 / (1 - a), "rule of thumb"),
    "division": (lambda a: 0.5 / a, "a share of a^n"),
    "two logarithms": (lambda a: math.log(0.5) / math.log10(a), "two kinds of logarithms"),
    "rounded up": (lambda a: math.ceil(math.log(0.5) / math.log(a)), "the half-life for a=0.9"),
}


def locked_by_functional(inputs, p):
    return inputs * F.dropout(torch.ones_like(inputs[0]), p)


def locked_by_expand(inputs, p):
    mask = torch.bernoulli(torch.full(inputs.shape[1:], 1 - p, dtype=inputs.dtype))
    return inputs * mask.div(1 - p).expand_as(inputs)


def locked_by_loop(inputs, p):
    kept = (torch.rand(inputs.shape[1:]) > p).to(inputs) / (1 - p)
    return torch.stack([X * kept for X in inputs])


def locked_with_seed(inputs, p):
    torch.manual_seed(0)
    return locked_by_functional(inputs, p)


LOCKED_MASK = {
    "solution": (SOLUTIONS["locked_mask"], "Right"),
    "F.dropout of ones": (locked_by_functional, "Right"),
    "expand": (locked_by_expand, "Right"),
    "loop": (locked_by_loop, "Right"),
    "where": (
        lambda inputs, p: torch.where(torch.rand_like(inputs[:1]) < p, 0.0, inputs / (1 - p)),
        "Right",
    ),
    "plain": (lambda inputs, p: F.dropout(inputs, p), "each step has a mask of its own"),
    "one for all rows": (
        lambda inputs, p: inputs * F.dropout(torch.ones_like(inputs[0, 0]), p),
        "all rows lose the same units",
    ),
    "along the rows": (
        lambda inputs, p: inputs * F.dropout(torch.ones_like(inputs[:, :1]), p),
        "all rows share a mask at each step",
    ),
    "rows": (lambda inputs, p: inputs * F.dropout(torch.ones_like(inputs[:1, :, :1]), p), "whole rows are dropped"),
    "p is kept": (lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) < p), "p is the share that is dropped"),
    "not scaled": (lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) > p), "must be scaled up"),
    "scaled down": (lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) > p) * (1 - p), "scaled down"),
    "in place": (lambda inputs, p: inputs.mul_(F.dropout(torch.ones_like(inputs[:1]), p)), "has changed"),
    "seeded": (locked_with_seed, "draw a new mask each time"),
    "nothing": (lambda inputs, p: inputs, "nothing is dropped"),
}


def dropped_by_hand(rnn, inputs, p):
    W_hh = F.dropout(rnn.weight_hh_l0, p)
    H, outputs = inputs.new_zeros(inputs.shape[1], rnn.hidden_size), []
    for X in inputs:
        H = torch.tanh(F.linear(X, rnn.weight_ih_l0, rnn.bias_ih_l0) + F.linear(H, W_hh, rnn.bias_hh_l0))
        outputs.append(H)
    return torch.stack(outputs)


def dropped_by_mask(rnn, inputs, p):
    mask = torch.bernoulli(torch.full_like(rnn.weight_hh_l0, 1 - p)) / (1 - p)
    weights = dict(rnn.named_parameters()) | {"weight_hh_l0": rnn.weight_hh_l0 * mask}
    outputs, _ = torch.func.functional_call(rnn, weights, inputs)
    return outputs


def dropped_inputs(rnn, inputs, p):
    weights = {"weight_ih_l0": F.dropout(rnn.weight_ih_l0, p)}
    return torch.func.functional_call(rnn, weights, (inputs,))[0]


def dropped_seeded(rnn, inputs, p):
    torch.manual_seed(3)
    return SOLUTIONS["run_dropped"](rnn, inputs, p)


@torch.no_grad()
def dropped_without_graph(rnn, inputs, p):
    return SOLUTIONS["run_dropped"](rnn, inputs, p)


def dropped_for_good(rnn, inputs, p):
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(F.dropout(rnn.weight_hh_l0, p))
    return rnn(inputs)[0]


RUN_DROPPED = {
    "solution": (SOLUTIONS["run_dropped"], "Right"),
    "by hand": (dropped_by_hand, "Right"),
    "by a mask": (dropped_by_mask, "Right"),
    "plain": (lambda rnn, inputs, p: rnn(inputs)[0], "nothing was dropped"),
    "outputs": (lambda rnn, inputs, p: F.dropout(rnn(inputs)[0], p), "the first step differs"),
    "inputs": (dropped_inputs, "the first step differs"),
    "a tuple": (lambda rnn, inputs, p: rnn(inputs), "a tuple came"),
    "for good": (dropped_for_good, "the layer itself has changed"),
    "seeded": (dropped_seeded, "the second call dropped the same weights"),
    "without a graph": (dropped_without_graph, "W_hh gets no gradient"),
    "another share": (lambda rnn, inputs, p: SOLUTIONS["run_dropped"](rnn, inputs, 0.9), "no single set"),
    "last state": (lambda rnn, inputs, p: dropped_by_hand(rnn, inputs, p)[-1], "the outputs should have shape"),
}


def worth_by_matrix(rewards, gamma):
    t = torch.arange(len(rewards))
    later = (t - t[:, None]).clamp(min=0)
    return (gamma ** later.to(rewards) * (t >= t[:, None])) @ rewards


def worth_by_scan(rewards, gamma):
    turned = rewards.flip(0)
    return linear_recurrence(torch.full_like(turned, gamma), turned, torch.zeros_like(turned[0])).flip(0)


def worth_by_sums(rewards, gamma):
    rows = [sum(gamma**n * r for n, r in enumerate(rewards[t:])) for t in range(len(rewards))]
    return torch.stack(rows)


def worth_in_order(rewards, gamma):
    return SOLUTIONS["worth_of"](rewards, gamma).flip(0)


WORTH_OF = {
    "solution": (SOLUTIONS["worth_of"], "Right"),
    "matrix": (worth_by_matrix, "Right"),
    "scan": (worth_by_scan, "Right"),
    "sums": (worth_by_sums, "Right"),
    "float32": (lambda rewards, gamma: worth_by_scan(rewards.float(), gamma), "Right"),
    "forwards": (
        lambda rewards, gamma: linear_recurrence(torch.full_like(rewards, gamma), rewards, torch.zeros(1)),
        "adds up what came before",
    ),
    "order of the loop": (worth_in_order, "in the order of the loop"),
    "no discount": (lambda rewards, gamma: rewards.sum(0) - rewards.cumsum(0) + rewards, "is not discounted"),
    "the reward": (lambda rewards, gamma: rewards + 0, "of the step alone"),
    "discounted once more": (lambda rewards, gamma: gamma * worth_by_sums(rewards, gamma), "own reward as well"),
    "the first": (
        lambda rewards, gamma: worth_by_sums(rewards, gamma)[0].repeat(len(rewards), 1),
        "the worth of the first step",
    ),
    "a list": (lambda rewards, gamma: list(worth_by_sums(rewards, gamma)), "should be a tensor"),
    "one short": (lambda rewards, gamma: worth_by_sums(rewards, gamma)[:-1], "should have shape"),
}


def joined_by_steps(earlier, later):
    """Push two totals through both stretches, and read off the share."""
    (k1, t1, w1), (k2, t2, w2) = earlier, later
    through = [k2 * (k1 * h + t1) + t2 for h in (0, 1)]
    return through[1] - through[0], through[0], k2 * w1 + w2


def joined_with(**changed):
    """Return an answer from the right three rules, or others in their place."""
    rules = {
        "kept": lambda e, s: e[0] * s[0],
        "total": lambda e, s: s[0] * e[1] + s[1],
        "weight": lambda e, s: s[0] * e[2] + s[2],
    } | changed
    return lambda earlier, later: tuple(rule(earlier, later) for rule in rules.values())


JOIN_STRETCHES = {
    "solution": (SOLUTIONS["join_stretches"], "Right"),
    "by steps": (joined_by_steps, "Right"),
    "a list": (lambda e, s: [e[0] * s[0], torch.addcmul(s[1], s[0], e[1]), torch.addcmul(s[2], s[0], e[2])], "Right"),
    "einsum": (joined_with(kept=lambda e, s: torch.einsum("d,d->d", e[0], s[0])), "Right"),
    "added": (joined_with(total=lambda e, s: e[1] + s[1]), "adds both as they are"),
    "swapped": (joined_with(total=lambda e, s: e[0] * s[1] + e[1]), "lets the later stretch fade"),
    "own share": (joined_with(total=lambda e, s: e[0] * e[1] + s[1]), "fades by its own share"),
    "weights added": (joined_with(weight=lambda e, s: e[2] + s[2]), "is not faded"),
    "weights swapped": (joined_with(weight=lambda e, s: e[0] * s[2] + e[2]), "fades the later stretch"),
    "shares added": (joined_with(kept=lambda e, s: e[0] + s[0]), "is a sum"),
    "the later share": (joined_with(kept=lambda e, s: s[0]), "of the later stretch alone"),
    "two parts": (lambda e, s: (e[0] * s[0], s[0] * e[1] + s[1]), "return three tensors"),
    "nothing": (lambda e, s: None, "nothing came back"),
}


def resumed_by_log_space(k, v, total, weight, decay, bonus):
    """One more step in front, whose key is the logarithm of the weight."""
    key, value = weight.log()[None] - 0 * decay, (total / weight)[None]
    return wkv_parallel(torch.cat([key, k]), torch.cat([value, v]), decay, bonus)[1:]


def resumed_by_einsum(k, v, total, weight, decay, bonus):
    t = torch.arange(len(k))
    age = t[:, None] - t
    faded = torch.exp(-(age - 1).clamp(min=0)[..., None] * decay) * (age > 0)[..., None]  # (T, T, D)
    own, old = torch.exp(k + bonus), torch.exp(-t[:, None] * decay)[:, None]
    above = torch.einsum("tsd,snd->tnd", faded, k.exp() * v) + own * v + old * total
    below = torch.einsum("tsd,snd->tnd", faded, k.exp()) + own + old * weight
    return above / below


def resumed_with(**changed):
    """Return the solution with some arguments replaced by what a function makes of them."""

    def answer(k, v, total, weight, decay, bonus):
        given = {"k": k, "v": v, "total": total, "weight": weight, "decay": decay, "bonus": bonus}
        return SOLUTIONS["wkv_resumed"](**{name: changed.get(name, lambda x: x)(x) for name, x in given.items()})

    return answer


def resumed_by_loop(k, v, total, weight, decay, bonus):
    outputs = []
    for key, value in zip(k, v, strict=True):
        own = torch.exp(key + bonus)
        outputs.append((total + own * value) / (weight + own))
        total, weight = (-decay).exp() * total + key.exp() * value, (-decay).exp() * weight + key.exp()
    return torch.stack(outputs)


WKV_RESUMED = {
    "solution": (SOLUTIONS["wkv_resumed"], "Right"),
    "one more step": (resumed_by_log_space, "Right"),
    "einsum": (resumed_by_einsum, "Right"),
    "loop": (resumed_by_loop, "they are computed in a loop"),
    "afresh": (lambda k, v, total, weight, decay, bonus: wkv_parallel(k, v, decay, bonus), "begin from an empty state"),
    "no decay": (resumed_with(decay=torch.zeros_like), "never fade"),
    "growth": (resumed_with(decay=torch.neg), "grow with age"),
    "no bonus": (resumed_with(bonus=torch.zeros_like), "leave the bonus"),
    "faded at once": (
        lambda k, v, total, weight, decay, bonus: SOLUTIONS["wkv_resumed"](
            k, v, (-decay).exp() * total, (-decay).exp() * weight, decay, bonus
        ),
        "the outputs should be",
    ),
    "the state's average": (
        lambda k, v, total, weight, decay, bonus: (total / weight).expand_as(v),
        "the outputs should be",
    ),
    "in place": (lambda k, v, total, *rest: SOLUTIONS["wkv_resumed"](k, v, total.mul_(2), *rest), "has changed"),
}

NEXT_CORRIDOR = {
    "solution": (SOLUTIONS["next_corridor"], "Right"),
    "by half": (lambda length, right: min(20, length + (length + 1) // 2) if right >= 0.95 else length, "Right"),
    "a tolerant step": (lambda length, right: min(20, length + 1) if right >= 0.8 else length, "Right"),
    "NumPy": (lambda length, right: np.int64(min(20, length + (right >= 0.9))), "Right"),
    "never": (lambda length, right: length, "the corridor never grew"),
    "at once": (lambda length, right: 20, "all corridors have 20 steps"),
    "a float": (lambda length, right: min(20, length * 1.5), "the next length should be an int"),
    "beyond": (lambda length, right: length + 2, "should be from 1 to 20"),
    "stops at ten": (lambda length, right: min(10, length + 1) if right >= 0.9 else length, "grown to 10"),
    "nothing": (lambda length, right: None, "nothing came back"),
}

ANSWERS = {
    "running_parity": RUNNING_PARITY,
    "never_dropped": NEVER_DROPPED,
    "best_without_memory": BEST_WITHOUT_MEMORY,
    "half_life_of": HALF_LIFE_OF,
    "locked_mask": LOCKED_MASK,
    "run_dropped": RUN_DROPPED,
    "worth_of": WORTH_OF,
    "join_stretches": JOIN_STRETCHES,
    "wkv_resumed": WKV_RESUMED,
    "next_corridor": NEXT_CORRIDOR,
}
