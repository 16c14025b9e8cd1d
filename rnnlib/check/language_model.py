"""Exercises of chapter 2: the recurrent language model from scratch."""

import math

import torch

from rnnlib.check.frame import Exercise, Wrong, expect_close, expect_shape
from rnnlib.scratch import rnn, rnn_params

# ★ How many numbers does the model learn?


def count_parameters(vocab_size, num_hiddens):
    input_weights = vocab_size * num_hiddens
    recurrent_weights = num_hiddens * num_hiddens
    output_weights = num_hiddens * vocab_size
    return input_weights + recurrent_weights + num_hiddens + output_weights + vocab_size


def _test_count_parameters(answer):
    for V, H in ((28, 512), (3, 2), (1, 1)):
        weights = 2 * V * H + H * H
        slips = (
            (weights, "leaves the two biases b_h and b_q out"),
            (weights + H, "leaves the output bias b_q out"),
            (weights + V, "leaves the hidden bias b_h out"),
            (weights + 2 * H + V, "counts two hidden biases, as nn.RNN has them; ours has one"),
            (V * H + H * H + H, "counts the recurrent layer alone: W_hq and b_q read the logits out"),
        )
        expect_close(answer(V, H), weights + H + V, f"the count for V={V}, H={H}", slips)


COUNT_PARAMETERS = Exercise(
    "count_parameters",
    chapter=2,
    stars=1,
    test=_test_count_parameters,
    solution=count_parameters,
    wrong={
        "no biases": (lambda V, H: 2 * V * H + H * H, "leaves the two biases"),
        "two hidden biases": (lambda V, H: 2 * V * H + H * H + 2 * H + V, "counts two hidden biases"),
        "no output layer": (lambda V, H: V * H + H * H + H, "counts the recurrent layer alone"),
    },
    hints=(
        "There are five tensors. Write down the shape of each.",
        "A matrix of shape (a, b) holds a times b numbers, a bias of shape (a,) holds a.",
        "W_xh is (V, H), W_hh is (H, H), b_h is (H,), W_hq is (H, V), b_q is (V,).",
    ),
)


# ★ One step of the recurrence


def one_step(X, H, W_xh, W_hh, b_h):
    return torch.tanh(X @ W_xh + H @ W_hh + b_h)


def _test_one_step(answer):
    generator = torch.Generator().manual_seed(0)
    for N, V, num_hiddens in ((1, 3, 2), (4, 5, 6)):
        shapes = ((N, V), (N, num_hiddens), (V, num_hiddens), (num_hiddens, num_hiddens), (num_hiddens,))
        X, H, W_xh, W_hh, b_h = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        got = answer(*(tensor.clone() for tensor in (X, H, W_xh, W_hh, b_h)))
        expect_shape(got, (N, num_hiddens), "the new state")
        before = X @ W_xh + H @ W_hh + b_h
        slips = (
            (before, "lacks the tanh"),
            (torch.tanh(X @ W_xh + b_h), "forgets the old state H"),
            (torch.tanh(X @ W_xh + H @ W_hh), "lacks the bias b_h"),
            (torch.tanh(X @ W_xh + H @ W_hh.T + b_h), "multiplies H by the transpose of W_hh"),
            (torch.tanh(X @ W_xh + b_h) + H @ W_hh, "applies the tanh before the old state is added"),
        )
        expect_close(got, torch.tanh(before), "the new state", slips)


ONE_STEP = Exercise(
    "one_step",
    chapter=2,
    stars=1,
    test=_test_one_step,
    solution=one_step,
    wrong={
        "no tanh": (lambda X, H, W_xh, W_hh, b_h: X @ W_xh + H @ W_hh + b_h, "lacks the tanh"),
        "no old state": (lambda X, H, W_xh, W_hh, b_h: torch.tanh(X @ W_xh + b_h), "forgets the old state"),
        "transposed": (lambda X, H, W_xh, W_hh, b_h: torch.tanh(X @ W_xh + H @ W_hh.T + b_h), "the transpose of W_hh"),
    },
    hints=(
        "Three terms are added, then squashed.",
        "The terms have the shapes (N, V) @ (V, H), (N, H) @ (H, H) and (H,).",
        "H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h).",
    ),
)


# ★★ Perplexity of a text that was measured in batches of unequal size


def text_perplexity(mean_losses, token_counts):
    total_nll = sum(loss * count for loss, count in zip(mean_losses, token_counts))
    return math.exp(total_nll / sum(token_counts))


def _test_text_perplexity(answer):
    for losses, counts in (([2.0, 2.0, 4.0], [100, 100, 20]), ([math.log(28)] * 2, [5, 7]), ([0.1, 3.0], [900, 100])):
        total = sum(counts)
        nll = sum(loss * count for loss, count in zip(losses, counts, strict=True))
        slips = (
            (sum(map(math.exp, losses)) / len(losses), "is the mean of the batches' perplexities"),
            (
                sum(math.exp(x) * n for x, n in zip(losses, counts, strict=True)) / total,
                "averages perplexities, weighted: average the losses first, and take exp once, at the end",
            ),
            (math.exp(sum(losses) / len(losses)), "gives a small batch the same weight as a large one"),
            (nll / total, "is still a loss in nats: take exp of it"),
            (2 ** (nll / total), "is 2 to the power of a loss in nats: the base is e"),
        )
        expect_close(answer(list(losses), list(counts)), math.exp(nll / total), "the perplexity", slips)


TEXT_PERPLEXITY = Exercise(
    "text_perplexity",
    chapter=2,
    stars=2,
    test=_test_text_perplexity,
    solution=text_perplexity,
    wrong={
        "mean of perplexities": (
            lambda x, n: sum(map(math.exp, x)) / len(x),
            "is the mean of the batches' perplexities",
        ),
        "weighted mean of perplexities": (
            lambda x, n: sum(math.exp(a) * b for a, b in zip(x, n, strict=True)) / sum(n),
            "averages perplexities, weighted",
        ),
        "equal weights": (lambda x, n: math.exp(sum(x) / len(x)), "the same weight as a large one"),
        "no exp": (lambda x, n: sum(a * b for a, b in zip(x, n, strict=True)) / sum(n), "is still a loss in nats"),
    },
    hints=(
        "Perplexity is exp(total negative log-likelihood / total tokens).",
        "The total negative log-likelihood of a batch is its mean loss times its number of tokens.",
        "Add the totals of all batches, divide once, and take the exponential last.",
    ),
)


# ★★ Temperature


def tempered(logits, temperature):
    return torch.softmax(logits / temperature, -1)


def _test_tempered(answer):
    generator = torch.Generator().manual_seed(1)
    for T in (0.5, 2.0, 1.0):
        logits = torch.tensor([2.0, 1.0, -1.0]) if T == 0.5 else torch.randn(28, generator=generator)
        got = answer(logits.clone(), T)
        expect_shape(got, logits.shape, "the distribution")
        p = torch.softmax(logits, -1)
        slips = (
            (
                torch.softmax(logits * T, -1),
                "multiplies by T: then a high temperature is cautious, the wrong way round",
            ),
            (p / T, "divides the probabilities, not the logits, so they don't sum to one"),
            (p ** (1 / T), "is not normalised: the probabilities must sum to one"),
            (logits / T, "has not been through softmax yet"),
        )
        expect_close(got, torch.softmax(logits / T, -1), f"the distribution at T = {T}", slips)


TEMPERED = Exercise(
    "tempered",
    chapter=2,
    stars=2,
    test=_test_tempered,
    solution=tempered,
    wrong={
        "inverted": (lambda logits, T: torch.softmax(logits * T, -1), "the wrong way round"),
        "after softmax": (lambda logits, T: torch.softmax(logits, -1) / T, "divides the probabilities"),
        "not normalised": (lambda logits, T: torch.softmax(logits, -1) ** (1 / T), "is not normalised"),
        "no softmax": (lambda logits, T: logits / T, "has not been through softmax"),
    },
    hints=(
        "Which operation makes differences between logits smaller when T is large?",
        "Change the logits before softmax, not the probabilities after it.",
        "p_i is proportional to exp(logit_i / T).",
    ),
)


# ★★ Debugging: a training that gets stuck


def flatten_targets(Y):
    return Y.T.reshape(-1)


def _test_flatten_targets(answer):
    for Y in (torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.arange(20).reshape(4, 5)):
        got = answer(Y.clone())
        expect_shape(got, (Y.numel(),), "the targets")
        slips = ((Y.reshape(-1), "come sequence by sequence, but the logits come time step by time step"),)
        expect_close(got, Y.T.reshape(-1), "the targets", slips)


FLATTEN_TARGETS = Exercise(
    "flatten_targets",
    chapter=2,
    stars=2,
    test=_test_flatten_targets,
    solution=flatten_targets,
    wrong={"batch first": (lambda Y: Y.reshape(-1), "come sequence by sequence")},
    hints=(
        "Row k of the logits and entry k of the targets must belong to the same token. Whose rows come first?",
        "The logits are (T * N, V), time first: all N sequences at step 0, then all N at step 1, …",
        "Y is (N, T). Bring time to the front before you flatten it.",
    ),
)


# ★★★ Generation that reads each token once


def continue_greedily(step, state, prefix, num_tokens):
    for token in prefix:
        logits, state = step(token, state)
    written = []
    for _ in range(num_tokens):
        written.append(int(logits.argmax()))
        logits, state = step(written[-1], state)
    return written


def _small_model():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        params = rnn_params(7, 6, sigma=1.0)
    read = []

    def step(token, state):
        read.append(int(token))
        X = torch.nn.functional.one_hot(torch.tensor([[token]]), 7).float()  # (T, N, V) = (1, 1, 7)
        logits, state = rnn(X, state, params)
        return logits[0], state

    return step, torch.zeros(1, 6), read


def _test_continue_greedily(answer):
    for prefix, n in (([1, 2, 3], 4), ([6], 9), ([0, 5], 0)):
        step, state, read = _small_model()
        got = answer(step, state, list(prefix), n)
        if not isinstance(got, list):
            raise Wrong(f"a list of {n} token ids should come back, but a {type(got).__name__} came")
        if got[: len(prefix)] == prefix and len(got) == n + len(prefix):
            raise Wrong("the continuation alone should come back, without the prefix")
        if len(got) != n:
            raise Wrong(f"{n} token ids should come back, but {len(got)} came")
        if read[: len(prefix)] != prefix:
            raise Wrong(f"the whole prefix {prefix} should be read first, but the first tokens read were {read[:5]}")
        if len(read) > len(prefix) + n:
            raise Wrong(
                f"{len(read)} tokens were read for a prefix of {len(prefix)} and {n} new ones: the state remembers "
                "what was read, so each token is read once"
            )
        clean_step, state, _ = _small_model()
        if got != continue_greedily(clean_step, state, prefix, n):
            raise Wrong("the tokens differ from the greedy ones: is the state handed on, and the newest token read?")


def _feeds_window_again(step, state, prefix, num_tokens):
    window = list(prefix)
    for _ in range(num_tokens):
        for token in window:
            logits, state = step(token, state)
        window.append(int(logits.argmax()))
    if not num_tokens:
        for token in window:
            step(token, state)
    return window[len(prefix) :]


def _no_warm_up(step, state, prefix, num_tokens):
    token, written = prefix[-1], []
    for _ in range(num_tokens):
        logits, state = step(token, state)
        token = int(logits.argmax())
        written.append(token)
    return written


def _fresh_state(step, state, prefix, num_tokens):
    start = state
    for token in prefix:
        logits, state = step(token, state)
    written = []
    for _ in range(num_tokens):
        written.append(int(logits.argmax()))
        logits, _ = step(written[-1], start)
    return written


CONTINUE_GREEDILY = Exercise(
    "continue_greedily",
    chapter=2,
    stars=3,
    test=_test_continue_greedily,
    solution=continue_greedily,
    wrong={
        "feeds the window again": (_feeds_window_again, "each token is read once"),
        "no warm-up": (_no_warm_up, "the whole prefix [1, 2, 3] should be read first"),
        "fresh state": (_fresh_state, "is the state handed on"),
        "with prefix": (
            lambda step, state, prefix, n: prefix + continue_greedily(step, state, prefix, n),
            "the continuation alone",
        ),
    },
    hints=(
        "First read the prefix, keeping the state; the last logits are the prediction for the first new token.",
        "Then repeat: take the likeliest token, write it down, read it (and it alone) with the state that you have.",
        "Two loops, one after the other: one over the prefix, one over range(num_tokens).",
    ),
)


EXERCISES = (COUNT_PARAMETERS, ONE_STEP, TEXT_PERPLEXITY, TEMPERED, FLATTEN_TARGETS, CONTINUE_GREEDILY)
