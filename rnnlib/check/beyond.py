"""Exercises of chapter 11: states, masks, returns, stretches of a recurrence, and a corridor that grows."""

import copy
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import mazes
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    expect_close,
    expect_count,
    expect_no_loop,
    expect_shape,
    expect_something,
    kind,
    within,
)

CHANGED = "what came in has changed: make new tensors, without += and *="


def _generator(seed=0):
    """Return a generator for the cases of a check."""
    return torch.Generator().manual_seed(seed)


def _draw(*shape, seed=0):
    """Return random numbers in double precision."""
    return torch.randn(shape, generator=_generator(seed), dtype=torch.float64)


# ★ The state of the parity machine


def running_parity(bits):
    return bits.cumsum(1) % 2


def _test_running_parity(answer):
    worked = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]])
    drawn = torch.randint(2, (5, 9), generator=_generator())
    for bits in (worked, drawn):
        given = bits.clone()
        got = answer(given)
        expect_shape(got, bits.shape, "the states")
        if not torch.equal(given, bits):
            raise Wrong(CHANGED)
        slips = (
            (bits.cumsum(1), "counts the ones: the machine has two states, and a second one goes back to 0"),
            (bits.cumsum(0) % 2, "runs down the rows of the minibatch: time is the second axis here"),
            (
                bits.sum(1, keepdim=True).expand_as(bits) % 2,
                "is the answer at the end, at each step: asked is each state",
            ),
            (1 - bits.cumsum(1) % 2, "is 1 where the number of ones is even: it should be 1 where it is odd"),
            ((bits.cumsum(1) - bits) % 2, "lags a step behind: the state after a bit has read it"),
            (bits, "is the input itself: the state also depends on all bits before"),
        )
        expect_close(got.to(bits.dtype) if got.dtype == torch.bool else got, bits.cumsum(1) % 2, "the state", slips)


RUNNING_PARITY = Exercise(
    "running_parity",
    chapter=11,
    stars=1,
    test=_test_running_parity,
    solution=running_parity,
    section="Begin short",
    wrong={
        "a count": (lambda bits: bits.cumsum(1), "counts the ones"),
        "the other axis": (lambda bits: bits.cumsum(0) % 2, "runs down the rows"),
        "the end": (lambda bits: bits.sum(1, keepdim=True).expand_as(bits) % 2, "is the answer at the end"),
        "a step behind": (lambda bits: (bits.cumsum(1) - bits) % 2, "lags a step behind"),
        "even": (lambda bits: 1 - bits.cumsum(1) % 2, "where the number of ones is even"),
        "the input": (lambda bits: bits.clone(), "is the input itself"),
    },
    hints=(
        "How many ones have been read up to each step?",
        "Tensors have a method that adds up along an axis and keeps every step.",
        "bits.cumsum(1) counts them; odd is what is left after division by 2.",
    ),
)


# ★ How long does a unit survive fresh masks?


def never_dropped(p, num_steps):
    return (1 - p) ** num_steps


def _test_never_dropped(answer):
    for p, num_steps in ((0.4, 10), (0.5, 3), (0.1, 1), (0.0, 7)):
        slips = (
            (p**num_steps, "is the chance of being dropped every time"),
            (1 - p, "is that of one step: fresh masks are drawn at each"),
            (1 - p**num_steps, "is the chance of being kept at least once"),
            (1 - (1 - p) ** num_steps, "is the chance of being dropped at least once"),
            (1 - p * num_steps, "subtracts p for each step: the chances of independent draws are multiplied"),
        )
        right = (1 - p) ** num_steps
        expect_close(answer(p, num_steps), right, f"the chance for p={p}, num_steps={num_steps}", slips)


NEVER_DROPPED = Exercise(
    "never_dropped",
    chapter=11,
    stars=1,
    test=_test_never_dropped,
    solution=never_dropped,
    section="Dropout that suits recurrence",
    wrong={
        "always dropped": (lambda p, num_steps: p**num_steps, "of being dropped every time"),
        "one step": (lambda p, num_steps: 1 - p, "is that of one step"),
        "once kept": (lambda p, num_steps: 1 - p**num_steps, "of being kept at least once"),
        "once dropped": (lambda p, num_steps: 1 - (1 - p) ** num_steps, "of being dropped at least once"),
        "a sum": (lambda p, num_steps: 1 - p * num_steps, "subtracts p for each step"),
    },
    hints=(
        "In one step the unit is kept with probability 1 - p.",
        "The masks of different steps are drawn independently.",
        "Multiply 1 - p by itself, once for each step.",
    ),
)


# ★ The best without a memory


def best_without_memory(p_up):
    return max(p_up, 1 - p_up)


def _test_best_without_memory(answer):
    for p_up in (0.8, 0.3, 0.5, 1.0):
        slips = (
            (p_up, "goes up every time, also where down is likelier"),
            (p_up**2 + (1 - p_up) ** 2, "guesses as often as each sign comes up: always taking the likelier is better"),
            (0.5, "is right for signs that are equally likely alone"),
            (1 - p_up, "goes down every time, also where up is likelier"),
            (1.0, "would need to know the sign"),
        )
        expect_close(answer(p_up), max(p_up, 1 - p_up), f"the share for p_up={p_up}", slips)


BEST_WITHOUT_MEMORY = Exercise(
    "best_without_memory",
    chapter=11,
    stars=1,
    test=_test_best_without_memory,
    solution=best_without_memory,
    section="A memory that acts",
    wrong={
        "always up": (lambda p_up: p_up, "goes up every time"),
        "matching": (lambda p_up: p_up**2 + (1 - p_up) ** 2, "always taking the likelier"),
        "a half": (lambda p_up: 0.5, "for signs that are equally likely alone"),
        "always down": (lambda p_up: 1 - p_up, "goes down every time"),
        "all": (lambda p_up: 1.0, "would need to know the sign"),
    },
    hints=(
        "At the junction the policy goes up with some probability q, whatever the sign said.",
        "It is right in p_up q + (1 - p_up)(1 - q) of all mazes, a straight line in q: which end is higher?",
        "Always take the likelier turn: the larger of p_up and 1 - p_up.",
    ),
)


# ★ Half of it is gone


def half_life_of(a):
    return math.log(0.5) / math.log(a)


def _test_half_life_of(answer):
    for a in (0.9, 0.5, 0.99):
        right = math.log(0.5) / math.log(a)
        slips = (
            (math.log(a) / math.log(0.5), "is turned upside down: a larger a forgets more slowly"),
            (-right, "is negative: both logarithms are, and their quotient is not"),
            (-1 / math.log(a), "is the time to 1/e, not to one half"),
            (1 / (1 - a), "is the rule of thumb 1 / (1 - a), near the time to 1/e"),
            (0.5 / a, "divides: after n steps a share of a^n is left"),
            (math.log(0.5) / math.log10(a), "mixes two kinds of logarithms"),
        )
        expect_close(answer(a), right, f"the half-life for a={a}", slips)


HALF_LIFE_OF = Exercise(
    "half_life_of",
    chapter=11,
    stars=1,
    test=_test_half_life_of,
    solution=half_life_of,
    section="A recurrence without a matrix in the loop",
    wrong={
        "upside down": (lambda a: math.log(a) / math.log(0.5), "turned upside down"),
        "sign": (lambda a: -math.log(0.5) / math.log(a), "is negative"),
        "to 1/e": (lambda a: -1 / math.log(a), "is the time to 1/e"),
        "rule of thumb": (lambda a: 1 / (1 - a), "is the rule of thumb"),
        "division": (lambda a: 0.5 / a, "a share of a^n is left"),
    },
    hints=(
        "After n steps a share of a^n is left. Set it to one half.",
        "Take logarithms on both sides: n log a = log 1/2.",
        "math.log(0.5) / math.log(a)",
    ),
)


# ★★ One mask for all steps


def locked_mask(inputs, p):
    kept = torch.rand_like(inputs[:1]) >= p  # (1, N, D)
    return inputs * kept / (1 - p)


def _test_locked_mask(answer):
    p, inputs = 0.3, 1 + _draw(7, 40, 30).abs()
    torch.manual_seed(0)
    given = inputs.clone()
    got = answer(given, p)
    expect_shape(got, inputs.shape, "the result")
    if not torch.equal(given, inputs):
        raise Wrong(CHANGED)
    factor = got / inputs  # (T, N, D)
    dropped = factor == 0
    if not dropped.any():
        raise Wrong("nothing is dropped")
    if not torch.equal(dropped, dropped[:1].expand_as(dropped)):
        same_in_rows = torch.equal(dropped, dropped[:, :1].expand_as(dropped))
        where = "all rows share a mask at each step" if same_in_rows else "each step has a mask of its own"
        raise Wrong(f"{where}: draw one for all steps, of shape (1, N, D)")
    if torch.equal(dropped, dropped[:, :1].expand_as(dropped)):
        raise Wrong("all rows lose the same units: each row has a mask of its own")
    if torch.equal(dropped, dropped[..., :1].expand_as(dropped)):
        raise Wrong("whole rows are dropped: each unit is drawn by itself")
    share = float(dropped.double().mean())
    if abs(share - p) > 0.06:
        slip = "p is the share that is dropped, not kept: " if abs(share - (1 - p)) < 0.06 else ""
        raise Wrong(f"{slip}a share of {share:.2f} was dropped for p={p}")
    scale = factor[~dropped]
    if (scale - 1).abs().max() < 1e-6:
        raise Wrong("what is kept must be scaled up by 1 / (1 - p), so that the mean stays")
    if (scale - (1 - p)).abs().max() < 1e-4:
        raise Wrong("what is kept is scaled down: divide by 1 - p")
    expect_close(float(scale.mean()), 1 / (1 - p), "the factor of what is kept")
    if torch.equal(answer(inputs.clone(), p) == 0, dropped):
        raise Wrong("the second call dropped the same units: draw a new mask each time, without a seed")


LOCKED_MASK = Exercise(
    "locked_mask",
    chapter=11,
    stars=2,
    test=_test_locked_mask,
    solution=locked_mask,
    section="Dropout that suits recurrence",
    wrong={
        "each step": (lambda inputs, p: F.dropout(inputs, p), "each step has a mask of its own"),
        "nothing": (lambda inputs, p: inputs.clone(), "nothing is dropped"),
        "same rows": (
            lambda inputs, p: inputs * (torch.rand_like(inputs[:1, :1]) >= p) / (1 - p),
            "all rows lose the same units",
        ),
        "the rows' axis": (
            lambda inputs, p: inputs * (torch.rand_like(inputs[:, :1]) >= p) / (1 - p),
            "all rows share a mask at each step",
        ),
        "whole rows": (
            lambda inputs, p: inputs * (torch.rand_like(inputs[:1, :, :1]) >= p) / (1 - p),
            "whole rows are dropped",
        ),
        "kept for dropped": (
            lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) < p) / (1 - p),
            "p is the share that is dropped",
        ),
        "no scale": (lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) >= p), "must be scaled up"),
        "scaled down": (
            lambda inputs, p: inputs * (torch.rand_like(inputs[:1]) >= p) * (1 - p),
            "is scaled down",
        ),
    },
    hints=(
        "The mask has one number for each row and unit, and none for the step.",
        "torch.rand_like(inputs[:1]) has the shape (1, N, D), and a product stretches it over all steps.",
        "kept = torch.rand_like(inputs[:1]) >= p; multiply by it and divide by 1 - p.",
    ),
)


# ★★ Debug: a weight drop that drops


def run_dropped(rnn, inputs, p):
    dropped = F.dropout(rnn.weight_hh_l0, p)
    return torch.func.functional_call(rnn, {"weight_hh_l0": dropped}, (inputs,))[0]


def _used_weights(outputs, inputs, rnn):
    """Return the W_hh with which a tanh layer gave these outputs (T, N, H), by least squares."""
    inner = torch.atanh(outputs[1:]) - inputs[1:] @ rnn.weight_ih_l0.T - rnn.bias_ih_l0 - rnn.bias_hh_l0
    return torch.linalg.lstsq(outputs[:-1].flatten(0, 1), inner.flatten(0, 1)).solution.T


def _test_run_dropped(answer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rnn = nn.RNN(3, 12, dtype=torch.float64)
    inputs, p = _draw(4, 40, 3), 0.4
    before, plain = copy.deepcopy(rnn.state_dict()), rnn(inputs)[0].detach()
    torch.manual_seed(1)
    got = answer(rnn, inputs.clone(), p)
    if isinstance(got, tuple):
        raise Wrong("a tuple came: return the outputs (T, N, H) alone, the first of the two that a layer gives")
    expect_shape(got, plain.shape, "the outputs")
    got = got.double() if got.dtype == torch.float32 else got  # exact enough for what follows
    if rnn.state_dict().keys() != before.keys():
        raise Wrong("the layer has other parameters now: it must be left as it was")
    changed = [name for name, value in rnn.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        raise Wrong(
            f"the layer itself has changed ({', '.join(changed)}): its weights must be whole again for the next call"
        )
    if torch.allclose(got, plain, atol=1e-6):
        raise Wrong("nothing was dropped: the outputs are those of all weights, so the new ones were never used")
    if not torch.allclose(got[0], plain[0], atol=1e-6):
        raise Wrong("the first step differs, and it doesn't use W_hh: drop the weights weight_hh_l0, nothing else")
    with torch.no_grad():
        used, weights = _used_weights(got, inputs, rnn), rnn.weight_hh_l0
        factor = used / weights
        gone = factor.abs() < 1e-2
    if (factor[~gone] - 1).abs().max() < 1e-2:
        raise Wrong("the weights that stay must be scaled up by 1 / (1 - p): F.dropout does it")
    known = torch.where(gone, torch.zeros_like(weights), weights.detach() / (1 - p))
    if not torch.allclose(used, known, atol=1e-3):
        raise Wrong("no single set of dropped weights explains all steps: draw once, and run the whole row with it")
    if gone.all(0).any() or gone.all(1).any():
        raise Wrong("whole units are dropped: each single weight is drawn by itself")
    share = float(gone.double().mean())
    if not 0.2 < share < 0.6:
        raise Wrong(f"a share of {share:.2f} of the weights was dropped for p={p}")
    torch.manual_seed(2)
    if torch.allclose(answer(rnn, inputs.clone(), p).to(got), got, atol=1e-6):
        raise Wrong("the second call dropped the same weights: draw anew each time, without a seed")
    learning = answer(rnn, inputs.clone(), p)
    reached = learning.requires_grad and torch.autograd.grad(learning.sum(), rnn.weight_hh_l0, allow_unused=True) != (
        None,
    )
    if not reached:
        raise Wrong("W_hh gets no gradient, so it would never learn: don't detach it, and don't use torch.no_grad")


def _thrown_away(rnn, inputs, p):
    F.dropout(rnn.weight_hh_l0, p)
    return rnn(inputs)[0]


def _in_place(rnn, inputs, p):
    rnn.weight_hh_l0.data = F.dropout(rnn.weight_hh_l0.data, p)
    return rnn(inputs)[0]


def _by_call(make, name="weight_hh_l0"):
    """Return an answer that runs the layer with what ``make`` does to one of its weights."""

    def answer(rnn, inputs, p):
        return torch.func.functional_call(rnn, {name: make(getattr(rnn, name), p)}, (inputs,))[0]

    return answer


def _each_step(rnn, inputs, p):
    state, outputs = None, []
    for X in inputs:
        dropped = F.dropout(rnn.weight_hh_l0, p)
        _, state = torch.func.functional_call(rnn, {"weight_hh_l0": dropped}, (X[None], state))
        outputs.append(state[0])
    return torch.stack(outputs)


RUN_DROPPED = Exercise(
    "run_dropped",
    chapter=11,
    stars=2,
    test=_test_run_dropped,
    solution=run_dropped,
    section="Dropout that suits recurrence",
    wrong={
        "thrown away": (_thrown_away, "nothing was dropped"),
        "for ever": (_in_place, "the layer itself has changed"),
        "outputs": (lambda rnn, inputs, p: F.dropout(rnn(inputs)[0], p), "the first step differs"),
        "no scale": (
            _by_call(lambda W, p: W * (torch.rand_like(W) >= p)),
            "must be scaled up by 1 / (1 - p)",
        ),
        "each step": (_each_step, "no single set of dropped weights"),
        "detached": (_by_call(lambda W, p: F.dropout(W.detach(), p)), "W_hh gets no gradient"),
        "whole units": (
            _by_call(lambda W, p: W * F.dropout(torch.ones_like(W[:1]), p)),
            "whole units are dropped",
        ),
        "both": (lambda rnn, inputs, p: rnn(inputs), "a tuple came"),
    },
    hints=(
        "What does F.dropout give back, and who uses it?",
        "torch.func.functional_call(module, {name: tensor}, arguments) runs a module once with another weight.",
        'functional_call(rnn, {"weight_hh_l0": F.dropout(rnn.weight_hh_l0, p)}, (inputs,)) gives outputs and state.',
    ),
)


# ★★ What is a step worth?


def worth_of(rewards, gamma):
    worth, steps = torch.zeros_like(rewards[0]), []
    for reward in rewards.flip(0):
        worth = reward + gamma * worth
        steps.append(worth)
    return torch.stack(steps).flip(0)


def _forward_worth(rewards, gamma):
    worth, steps = torch.zeros_like(rewards[0]), []
    for reward in rewards:
        worth = reward + gamma * worth
        steps.append(worth)
    return torch.stack(steps)


def _from_the_start(rewards, gamma):
    discounts = gamma ** torch.arange(len(rewards), dtype=rewards.dtype)[:, None]
    return (rewards * discounts).flip(0).cumsum(0).flip(0)


def _test_worth_of(answer):
    worked = torch.tensor([[0.0, 1.0], [2.0, 0.0], [4.0, 8.0]], dtype=torch.float64)
    for rewards, gamma in ((worked, 0.5), (_draw(7, 3), 0.9)):
        given = rewards.clone()
        got = answer(given, gamma)
        expect_shape(got, rewards.shape, "the worth of each step")
        if not torch.equal(given, rewards):
            raise Wrong(CHANGED)
        right = worth_of(rewards, gamma)
        slips = (
            (_forward_worth(rewards, gamma), "adds up what came before: an action can't change it; go backwards"),
            (right.flip(0), "is in the order of the loop: turn it round, so that the first step comes first"),
            (rewards.flip(0).cumsum(0).flip(0), "is not discounted: a reward n steps later counts gamma^n"),
            (rewards, "is the reward of the step alone: later ones count too"),
            (_from_the_start(rewards, gamma), "discounts from the start of the row: each step counts from itself"),
            (gamma * right, "discounts the step's own reward as well: it counts in full"),
            (right[:1].expand_as(right), "is the worth of the first step, at all steps"),
        )
        expect_close(got, right, "the worth of each step", slips)


WORTH_OF = Exercise(
    "worth_of",
    chapter=11,
    stars=2,
    test=_test_worth_of,
    solution=worth_of,
    section="A memory that acts",
    wrong={
        "forwards": (_forward_worth, "adds up what came before"),
        "order": (lambda rewards, gamma: worth_of(rewards, gamma).flip(0), "in the order of the loop"),
        "not discounted": (lambda rewards, gamma: rewards.flip(0).cumsum(0).flip(0), "is not discounted"),
        "the reward": (lambda rewards, gamma: rewards.clone(), "of the step alone"),
        "from the start": (_from_the_start, "from the start of the row"),
        "too much": (lambda rewards, gamma: gamma * worth_of(rewards, gamma), "own reward as well"),
        "first": (
            lambda rewards, gamma: worth_of(rewards, gamma)[:1].expand_as(rewards),
            "the worth of the first step",
        ),
    },
    hints=(
        "The last step is worth its own reward. What is the one before worth?",
        "Go backwards: worth = reward + gamma * worth.",
        "Loop over rewards.flip(0), keep every worth in a list, stack them and flip again.",
    ),
)


# ★★ Join two stretches of an average


def join_stretches(earlier, later):
    kept1, total1, weight1 = earlier
    kept2, total2, weight2 = later
    return kept1 * kept2, kept2 * total1 + total2, kept2 * weight1 + weight2


def _test_join_stretches(answer):
    earlier, later, last = (
        (
            torch.rand(4, generator=_generator(seed), dtype=torch.float64),
            _draw(4, seed=seed),
            _draw(4, seed=seed + 9).abs(),
        )
        for seed in range(3)
    )
    given = [part.clone() for part in (*earlier, *later)]
    got = answer(tuple(given[:3]), tuple(given[3:]))
    expect_something(got)
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        raise Wrong(f"return three tensors, kept, total and weight, but {kind(got)} came")
    if not all(map(torch.equal, given, (*earlier, *later))):
        raise Wrong(CHANGED)
    (k1, t1, w1), (k2, t2, w2) = earlier, later
    for tensor, name in zip(got, ("kept", "total", "weight"), strict=True):
        expect_shape(tensor, k1.shape, name)
    slips = {
        "kept": (
            (k1 + k2, "is a sum: what survives both stretches has survived each, so multiply"),
            (k2, "is that of the later stretch alone"),
        ),
        "total": (
            (t1 + t2, "adds both as they are: the earlier total has faded through the later stretch"),
            (t1 + k1 * t2, "lets the later stretch fade: it is the earlier one that is older"),
            (k1 * t1 + t2, "fades by its own share: the earlier total fades by what the later stretch keeps"),
        ),
        "weight": (
            (w1 + w2, "is not faded: the weights fade as the total does"),
            (w1 + k1 * w2, "fades the later stretch: it is the earlier one that is older"),
        ),
    }
    right = join_stretches(earlier, later)
    for tensor, expected, name in zip(got, right, ("kept", "total", "weight"), strict=True):
        expect_close(tensor, expected, name, slips[name])
    left, rest = answer(answer(earlier, later), last), answer(earlier, answer(later, last))
    for one, other in zip(left, rest, strict=True):
        expect_close(one, other, "three stretches, joined from the left,")


JOIN_STRETCHES = Exercise(
    "join_stretches",
    chapter=11,
    stars=2,
    test=_test_join_stretches,
    solution=join_stretches,
    section="Joining two stretches",
    wrong={
        "added": (lambda e, s: (e[0] * s[0], e[1] + s[1], e[2] + s[2]), "adds both as they are"),
        "order": (lambda e, s: join_stretches(s, e), "lets the later stretch fade"),
        "own share": (lambda e, s: (e[0] * s[0], e[0] * e[1] + s[1], s[0] * e[2] + s[2]), "fades by its own share"),
        "sum of shares": (lambda e, s: (e[0] + s[0], s[0] * e[1] + s[1], s[0] * e[2] + s[2]), "is a sum"),
        "weights not faded": (lambda e, s: (e[0] * s[0], s[0] * e[1] + s[1], e[2] + s[2]), "is not faded"),
        "later alone": (lambda e, s: (s[0], s[0] * e[1] + s[1], s[0] * e[2] + s[2]), "of the later stretch alone"),
        "two": (lambda e, s: (e[0] * s[0], s[0] * e[1] + s[1]), "return three tensors"),
    },
    hints=(
        "Write the total after both stretches from a total h before them: twice h = kept h + total.",
        "kept2 (kept1 h + total1) + total2: what stands before h, and what is left over?",
        "The weights follow the same rule as the totals: kept2 * weight1 + weight2.",
    ),
)


# ★★★ Parallel from a state that was handed over


def wkv_resumed(k, v, total, weight, decay, bonus):
    t = torch.arange(len(k))
    age = (t[:, None] - t)[..., None, None]  # (T, T, 1, 1)
    shares = torch.where(age == 0, k + bonus, k - (age - 1) * decay).exp() * (age >= 0)
    faded = torch.exp(-t[:, None, None] * decay)  # (T, 1, D): of what was handed over
    return (faded * total + (shares * v).sum(1)) / (faded * weight + shares.sum(1))


def _resumed_by_loop(k, v, total, weight, decay, bonus, fade_first=False, own=True, afresh=False):
    """Return the outputs by the recurrence, or with a slip."""
    outputs = []
    if afresh:
        total, weight = torch.zeros_like(total), torch.zeros_like(weight)
    for k_t, v_t in zip(k, v, strict=True):
        if fade_first:
            total, weight = torch.exp(-decay) * total, torch.exp(-decay) * weight
        now = torch.exp(k_t + bonus) if own else torch.zeros_like(k_t)
        outputs.append((total + now * v_t) / (weight + now))
        if not fade_first:
            total, weight = torch.exp(-decay) * total, torch.exp(-decay) * weight
        total, weight = total + torch.exp(k_t) * v_t, weight + torch.exp(k_t)
    return torch.stack(outputs)


def _resumed_case(T, N, D, seed):
    k, v, total = _draw(T, N, D, seed=seed), _draw(T, N, D, seed=seed + 1), _draw(N, D, seed=seed + 2)
    weight, decay = 1 + _draw(N, D, seed=seed + 3).abs(), 0.1 + _draw(D, seed=seed + 4).abs()
    return k, v, total, weight, decay, _draw(D, seed=seed + 5)


def _test_wkv_resumed(answer):
    for case in (_resumed_case(3, 1, 2, 0), _resumed_case(8, 2, 5, 10)):
        given = [part.clone() for part in case]
        got = answer(*given)
        expect_shape(got, case[0].shape, "the outputs")
        if not all(map(torch.equal, given, case)):
            raise Wrong(CHANGED)
        k, v, total, weight, decay, bonus = case
        slips = [
            (_resumed_by_loop(*case, **slip), sentence)
            for slip, sentence in (
                (
                    {"fade_first": True},
                    "fade once too often: a state that is handed over counts in full at the first step",
                ),
                ({"own": False}, "leave the step's own value out: it counts with e^(key + bonus)"),
                ({"afresh": True}, "begin from an empty state: total and weight were handed over"),
            )
        ]
        constant = torch.zeros_like(decay)
        slips += [
            (
                _resumed_by_loop(k, v, total, weight, constant, bonus),
                "never fade: what is t steps old counts e^(-t decay)",
            ),
            (_resumed_by_loop(k, v, total, weight, decay, 0 * bonus), "leave the bonus of the step's own value out"),
            (_resumed_by_loop(k, v, total, weight, -decay, bonus), "grow with age: the decay has a minus"),
        ]
        expect_close(got, _resumed_by_loop(*case), "the outputs", slips)
    expect_no_loop(answer, _resumed_case(3, 1, 2, 0), _resumed_case(60, 1, 2, 0))


WKV_RESUMED = Exercise(
    "wkv_resumed",
    chapter=11,
    stars=3,
    test=_test_wkv_resumed,
    solution=wkv_resumed,
    section="A softmax that can be carried",
    wrong={
        "loop": (_resumed_by_loop, "they are computed in a loop"),
        "afresh": (
            lambda k, v, total, weight, decay, bonus: wkv_resumed(k, v, 0 * total, 0 * weight, decay, bonus),
            "begin from an empty state",
        ),
        "faded at once": (lambda *case: _resumed_by_loop(*case, fade_first=True), "fade once too often"),
        "own value": (lambda *case: _resumed_by_loop(*case, own=False), "leave the step's own value out"),
        "no decay": (
            lambda k, v, total, weight, decay, bonus: wkv_resumed(k, v, total, weight, 0 * decay, bonus),
            "never fade",
        ),
        "no bonus": (
            lambda k, v, total, weight, decay, bonus: wkv_resumed(k, v, total, weight, decay, 0 * bonus),
            "leave the bonus",
        ),
        "growth": (
            lambda k, v, total, weight, decay, bonus: wkv_resumed(k, v, total, weight, -decay, bonus),
            "grow with age",
        ),
    },
    hints=(
        "Begin with wkv_parallel, and write its softmax as a quotient of two sums: of e^score v, and of e^score.",
        "The state joins both sums as if it were one more step: total above, weight below.",
        "At step t what was handed over has faded by e^(-t decay): (faded * total + …) / (faded * weight + …).",
    ),
)


# ★★★ Go further: a corridor that grows


def next_corridor(length, right):
    return min(20, length + 1) if right >= 0.9 else length


def _test_next_corridor(answer):
    lengths = []

    def grow(length, right):
        got = expect_count(answer(length, right), "the next length")
        if not 1 <= got <= 20:
            raise Wrong(f"the next length should be from 1 to 20, but after {length} came {got}")
        lengths.append(got)
        return got

    def train():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            policy = mazes.Policy()
            rights = []
            for length, right in itertools.islice(mazes.maze_steps(policy, grow, start=2, seed=0), 150):
                rights = [*rights, right] if length == 20 else []
                if len(rights) >= 20 and sum(rights[-20:]) >= 19:
                    return len(lengths)
        return None

    solved, _ = within(60, train)
    if solved is None:
        reached = max(lengths)
        if reached == 2:
            raise Wrong("the corridor never grew, from 2 on: let it grow when enough turn right")
        if lengths[0] == 20:
            raise Wrong("all corridors have 20 steps: in 150 minibatches that is too hard, begin with shorter ones")
        if reached < 20:
            raise Wrong(
                f"after 150 minibatches the corridor has grown to {reached}, and 20 is asked: grow faster, or earlier"
            )
        since = len(lengths) - lengths.index(20)
        raise Wrong(
            f"20 was reached {since} minibatches before the end, and never did 95 % of 20 minibatches turn right: "
            "has it grown too fast?"
        )
    return f"Measured: in corridors of 20 steps 95 % turn right after {solved} minibatches; 150 were allowed."


NEXT_CORRIDOR = Exercise(
    "next_corridor",
    chapter=11,
    stars=3,
    test=_test_next_corridor,
    solution=next_corridor,
    section="A memory that acts",
    wrong={
        "never": (lambda length, right: 2, "the corridor never grew"),
        "at once": (lambda length, right: 20, "all corridors have 20 steps"),
        "half way": (lambda length, right: min(10, length + 1), "grow faster, or earlier"),
        "unbounded": (lambda length, right: length + 1, "from 1 to 20, but after 20 came 21"),
        "whatever is right": (lambda length, right: min(20, length + 1), "has it grown too fast"),
    },
    hints=(
        "Grow when nearly all of a minibatch have turned right, stay otherwise, and stop at 20.",
        "One step longer is little news to a policy that carries the sign already.",
        "min(20, length + 1) if right >= 0.9, otherwise length.",
    ),
)

EXERCISES = (
    RUNNING_PARITY,
    NEVER_DROPPED,
    BEST_WITHOUT_MEMORY,
    HALF_LIFE_OF,
    LOCKED_MASK,
    RUN_DROPPED,
    WORTH_OF,
    JOIN_STRETCHES,
    WKV_RESUMED,
    NEXT_CORRIDOR,
)
