"""Exercises of chapter 2: the recurrent language model from scratch."""

import math

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlib import text
from rnnlib.baselines import NGram
from rnnlib.check._frame import (
    Exercise,
    Wrong,
    corpus,
    expect_close,
    expect_count,
    expect_shape,
    expect_something,
    kind,
    within,
)
from rnnlib.scratch import ScratchRNN, perplexity, rnn, rnn_params, train_epoch

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
            (2 * V * H + H + V, "leaves W_hh out, the memory"),
        )
        expect_close(answer(V, H), weights + H + V, f"the count for V={V}, H={H}", slips)


COUNT_PARAMETERS = Exercise(
    "count_parameters",
    chapter=2,
    stars=1,
    test=_test_count_parameters,
    solution=count_parameters,
    section="Five tensors",
    wrong={
        "no biases": (lambda V, H: 2 * V * H + H * H, "leaves the two biases"),
        "two hidden biases": (lambda V, H: 2 * V * H + H * H + 2 * H + V, "counts two hidden biases"),
        "no output layer": (lambda V, H: V * H + H * H + H, "counts the recurrent layer alone"),
        "no memory": (lambda V, H: 2 * V * H + H + V, "leaves W_hh out"),
    },
    hints=(
        "There are five tensors. Write down the shape of each.",
        "A matrix of shape (a, b) holds a times b numbers, a bias of shape (a,) holds a.",
        "W_xh is (V, H), W_hh is (H, H), b_h is (H,), W_hq is (H, V), b_q is (V,).",
    ),
)


# ★ Read on with the state


def read_on(model, first, second):
    _, state = model(first)
    logits, _ = model(second, state)
    return logits


def _from_zeros(model, first, second):
    return model(second)[0]


def _both_parts(model, first, second):
    return model(torch.cat([first, second], dim=1))[0]


def _second_first(model, first, second):
    return model(first, model(second)[1])[0]


def _rows_last(model, first, second):
    return _both_parts(model, first, second).reshape(*first.shape[:1], -1, model.vocab_size)[:, first.shape[1] :]


READ_ON_SLIPS = {
    "from zeros": (_from_zeros, "read the second part from zeros, as if nothing had come before: hand the state on"),
    "both parts": (_both_parts, "hold the predictions for the first part too: those for the second are wanted"),
    "second first": (_second_first, "read the second part before the first"),
    "the state": (lambda model, first, second: model(second, model(first)[1])[1], "are the state: logits come first"),
    "rows last": (
        lambda model, first, second: _rows_last(model, first, second).flatten(0, 1),
        "were cut as if the sequences came first: rows of logits are time first",
    ),
}


def _test_read_on(answer):
    generator = torch.Generator().manual_seed(0)
    for N, T, S in ((1, 4, 1), (2, 3, 4), (3, 2, 2)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = ScratchRNN(7, 5, dtype=torch.float64, sigma=0.7)
        first, second = (torch.randint(7, (N, steps), generator=generator) for steps in (T, S))
        try:
            got = answer(model, first.clone(), second.clone())
        except ValueError as error:
            if "state" in str(error):
                raise Wrong(f"what was handed on is not the state: model gives logits, state ({error})") from None
            raise
        if isinstance(got, (tuple, list)):
            raise Wrong(f"return the logits alone: {kind(got)} came")
        expect_something(got)
        slips = [(slip(model, first, second).detach(), why) for slip, why in READ_ON_SLIPS.values()]
        expect_close(got, read_on(model, first, second).detach(), "the logits", slips)


READ_ON = Exercise(
    "read_on",
    chapter=2,
    stars=1,
    test=_test_read_on,
    solution=read_on,
    section="One step, then a loop",
    wrong={
        **READ_ON_SLIPS,
        "both results": (lambda model, first, second: model(second, model(first)[1]), "return the logits alone"),
        "logits for a state": (
            lambda model, first, second: model(second, model(first)[0])[0],
            "what was handed on is not the state",
        ),
    },
    hints=(
        "What does the network know of the first part once it has read it?",
        "model(first) returns two things, and model takes two.",
        "Take the state from model(first), give it to model(second, state), and return the logits.",
    ),
)


# ★★ One step of the recurrence, with one matrix


def one_step(X, H, W, b_h):
    return torch.tanh(torch.cat([X, H], dim=1) @ W + b_h)


class _Products(TorchDispatchMode):
    """Count the matrix products that are computed, however they are written."""

    names = frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"})

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in self.names
        return func(*args, **(kwargs or {}))


def _test_one_step(answer):
    generator = torch.Generator().manual_seed(0)
    for N, V, num_hiddens in ((1, 3, 2), (4, 5, 6), (3, 4, 4)):
        shapes = ((N, V), (N, num_hiddens), (V + num_hiddens, num_hiddens), (num_hiddens,))
        X, H, W, b_h = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        with _Products() as products:
            try:
                got = answer(*(tensor.clone() for tensor in (X, H, W, b_h)))
            except RuntimeError as error:
                if "Sizes of tensors must match" in str(error):
                    raise Wrong("X and H stand side by side: join them along the axis of the columns") from None
                raise
        expect_shape(got, (N, num_hiddens), "the new state")
        before = torch.cat([X, H], dim=1) @ W + b_h
        slips = (
            (before, "lacks the tanh"),
            (torch.sigmoid(before), "went through a sigmoid; this network uses tanh"),
            (torch.tanh(X @ W[:V] + b_h), "forgets the old state H"),
            (torch.tanh(before - b_h), "lacks the bias b_h"),
            (torch.tanh(before - b_h) + b_h, "adds the bias after the tanh"),
            (torch.tanh(torch.cat([H, X], dim=1) @ W + b_h), "puts H before X: the upper rows of W are W_xh"),
        )
        expect_close(got, torch.tanh(before), "the new state", slips)
        if products.count > 1:
            raise Wrong(f"the new state is right, but it took {products.count} matrix products: one does it")


ONE_STEP = Exercise(
    "one_step",
    chapter=2,
    stars=2,
    test=_test_one_step,
    solution=one_step,
    section="One step, then a loop",
    wrong={
        "no tanh": (lambda X, H, W, b_h: torch.cat([X, H], 1) @ W + b_h, "lacks the tanh"),
        "no old state": (lambda X, H, W, b_h: torch.tanh(X @ W[: X.shape[1]] + b_h), "forgets the old state"),
        "no bias": (lambda X, H, W, b_h: torch.tanh(torch.cat([X, H], 1) @ W), "lacks the bias"),
        "bias outside": (lambda X, H, W, b_h: torch.tanh(torch.cat([X, H], 1) @ W) + b_h, "adds the bias after"),
        "H first": (lambda X, H, W, b_h: torch.tanh(torch.cat([H, X], 1) @ W + b_h), "puts H before X"),
        "H below X": (lambda X, H, W, b_h: torch.tanh(torch.cat([X, H]) @ W + b_h), "stand side by side"),
        "two products": (
            lambda X, H, W, b_h: torch.tanh(X @ W[: X.shape[1]] + H @ W[X.shape[1] :] + b_h),
            "it took 2 matrix products",
        ),
        "two tensordots": (
            lambda X, H, W, b_h: torch.tanh(
                torch.tensordot(X, W[: X.shape[1]], 1) + torch.tensordot(H, W[X.shape[1] :], 1) + b_h
            ),
            "but it took 2",
        ),
    },
    hints=(
        "Chapter 1 showed it: X W_xh + H W_hh is one product of two blocks. Which blocks stand side by side?",
        "[X H] has shape (N, V + H), and W has (V + H, H): the upper V rows are W_xh, the lower ones W_hh.",
        "torch.cat([X, H], dim=1) makes [X H]. Multiply by W, add the bias, squash.",
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
            (math.exp(-nll / total), "is below 1: the losses are -log p already, so no minus sign is needed"),
            (math.exp(sum(losses) / total), "adds the mean losses up without weights: multiply each by its count"),
        )
        what = f"the perplexity for mean losses {[round(x, 2) for x in losses]} and counts {counts}"
        expect_close(answer(list(losses), list(counts)), math.exp(nll / total), what, slips)


TEXT_PERPLEXITY = Exercise(
    "text_perplexity",
    chapter=2,
    stars=2,
    test=_test_text_perplexity,
    solution=text_perplexity,
    section="Perplexity: how many faces has the die?",
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
        "no weights": (lambda x, n: math.exp(sum(x) / sum(n)), "adds the mean losses up without weights"),
    },
    hints=(
        "Should a batch of 20 tokens weigh as much as one of 100?",
        "The total loss of a batch is its mean loss times its number of tokens. Add these up first.",
        "exp(total loss of all batches / total number of tokens): divide once, take the exponential last.",
    ),
)


# ★★ Temperature


def tempered(logits, temperature):
    return torch.softmax(logits / temperature, -1)


def _test_tempered(answer):
    generator = torch.Generator().manual_seed(1)
    for T in (0.5, 2.0, 1.0):
        logits = torch.tensor([2.0, 1.0, -1.0]) if T == 0.5 else torch.randn(4, generator=generator)
        got = answer(logits.clone(), T)
        expect_shape(got, logits.shape, "the distribution")
        p = torch.softmax(logits, -1)
        right = torch.softmax(logits / T, -1)
        slips = (
            (
                torch.softmax(logits * T, -1),
                "multiplies by T: then a high temperature is cautious, the wrong way round",
            ),
            (p, "is the one at T = 1: the temperature has no effect"),
            (p / T, "divides the probabilities, not the logits, so they don't sum to one"),
            (p ** (1 / T), "is not normalised: the probabilities must sum to one"),
            (torch.exp(logits / T), "lacks the division by the sum"),
            (
                torch.exp(logits / T) / torch.exp(logits).sum(),
                "is divided by the sum at T = 1: what is summed must be what is divided",
            ),
            (logits / T, "has not been through softmax yet"),
            (right.log(), "is in logarithms: softmax, not log_softmax"),
        )
        what = f"the distribution for logits {[round(x, 2) for x in logits.tolist()]} at T = {T}"
        expect_close(got, right, what, slips)


TEMPERED = Exercise(
    "tempered",
    chapter=2,
    stars=2,
    test=_test_tempered,
    solution=tempered,
    section="Writing text",
    wrong={
        "inverted": (lambda logits, T: torch.softmax(logits * T, -1), "the wrong way round"),
        "after softmax": (lambda logits, T: torch.softmax(logits, -1) / T, "divides the probabilities"),
        "not normalised": (lambda logits, T: torch.softmax(logits, -1) ** (1 / T), "is not normalised"),
        "no softmax": (lambda logits, T: logits / T, "has not been through softmax"),
        "no temperature": (lambda logits, T: torch.softmax(logits, -1), "the temperature has no effect"),
        "no sum": (lambda logits, T: torch.exp(logits / T), "lacks the division"),
        "another sum": (lambda logits, T: torch.exp(logits / T) / torch.exp(logits).sum(), "by the sum at T = 1"),
    },
    hints=(
        "Which operation makes differences between logits smaller when T is large?",
        "Change the logits before softmax, not the probabilities after it.",
        "p_i is proportional to exp(logit_i / T).",
    ),
)


# ★★ Debugging: a loss that no model can bring down


def minibatch_loss(logits, Y):
    return F.cross_entropy(logits, Y.T.reshape(-1))


def _softmax_first(logits, Y):
    return F.cross_entropy(torch.softmax(logits, 1), Y.T.reshape(-1))


def _row_by_row(logits, Y):
    return F.cross_entropy(logits, Y.reshape(-1))


def _both_bugs(logits, Y):
    return F.cross_entropy(torch.softmax(logits, 1), Y.reshape(-1))


def _summed(logits, Y):
    return F.cross_entropy(logits, Y.T.reshape(-1), reduction="sum")


def _per_step(logits, Y):
    return _summed(logits, Y) / len(Y)


def _each_token(logits, Y):
    return F.cross_entropy(logits, Y.T.reshape(-1), reduction="none")


def _exponential(logits, Y):
    return minibatch_loss(logits, Y).exp()


def _a_number(logits, Y):
    return minibatch_loss(logits, Y).item()


LOSS_SLIPS = {
    "both bugs": (_both_bugs, "still has both bugs: compare it with the training loop of this chapter, part by part"),
    "softmax first": (
        _softmax_first,
        "comes from probabilities: cross_entropy applies softmax itself, so give it the logits",
    ),
    "row by row": (
        _row_by_row,
        "compares predictions with other places' targets: the logits come time first, Y batch first",
    ),
    "summed": (_summed, "adds up all tokens, so it grows with the minibatch, and so do its gradients: take the mean"),
    "logits as log-probabilities": (
        lambda logits, Y: F.nll_loss(logits, Y.T.reshape(-1)),
        "takes logits for log-probabilities, as nll_loss does: cross_entropy applies log_softmax first",
    ),
    "per sequence": (_per_step, "is the sum over a sequence: divide by all T times N tokens"),
    "exponential": (_exponential, "is a perplexity: train on the loss, its logarithm"),
}
LOSS_HABITS = {
    "each token": (_each_token, "the loss should be one number, of shape (), but shape (6,) came"),
    "a number": (_a_number, "the loss carries no gradient, so nothing can learn from it: return the tensor itself"),
}


def _test_minibatch_loss(answer):
    generator = torch.Generator().manual_seed(0)
    cases = [(torch.randn(6, 4, generator=generator), torch.tensor([[0, 1, 2], [3, 0, 1]]))]
    for N, T, V in ((4, 5, 7), (1, 4, 3), (3, 1, 2), (6, 8, 28)):
        Y = torch.randint(V, (N, T), generator=generator)
        cases.append((torch.randn(T * N, V, generator=generator), Y))
    for logits, Y in cases:
        logits = logits.double().requires_grad_()
        got = answer(logits, Y.clone())
        expect_something(got)
        if not isinstance(got, torch.Tensor) or not got.requires_grad:
            raise Wrong(LOSS_HABITS["a number"][1])
        if got.shape != ():
            raise Wrong(f"the loss should be one number, of shape (), but shape {tuple(got.shape)} came")
        slips = [(slip(logits, Y).detach(), sentence) for slip, sentence in LOSS_SLIPS.values()] if len(Y) > 1 else ()
        expect_close(got.detach(), minibatch_loss(logits, Y).detach(), "the loss", slips)


MINIBATCH_LOSS = Exercise(
    "minibatch_loss",
    chapter=2,
    stars=2,
    test=_test_minibatch_loss,
    solution=minibatch_loss,
    section="Training",
    wrong=LOSS_SLIPS | LOSS_HABITS,
    hints=(
        "There are two bugs. One is in what cross_entropy gets as its first argument, one in the second.",
        "cross_entropy wants logits, one row for each target. Row 1 of the logits belongs to which entry of Y?",
        "No softmax; and Y turned over before it is flattened, Y.T.reshape(-1), as in train_epoch.",
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
    """A network of seven tokens that writes something else after each prefix, and a list of what it read."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(154)
        params = rnn_params(7, 6, sigma=1.0)
    read = []

    def step(token, state):
        read.append(int(token))
        X = torch.nn.functional.one_hot(torch.tensor([[token]]), 7).to(params[0].dtype)  # (T, N, V) = (1, 1, 7)
        logits, state = rnn(X, state, params)
        return logits[0], state

    return step, torch.zeros(1, 6, dtype=params[0].dtype), read


def _feeds_window_again(step, state, prefix, num_tokens):
    window = list(prefix)
    for _ in range(num_tokens):
        for token in window:
            logits, state = step(token, state)
        window.append(int(logits.argmax()))
    return window[len(prefix) :]


def _no_warm_up(step, state, prefix, num_tokens):
    return continue_greedily(step, state, prefix[-1:], num_tokens)


def _reads_last_twice(step, state, prefix, num_tokens):
    for token in prefix:
        _, state = step(token, state)
    return continue_greedily(step, state, prefix[-1:], num_tokens)


def _drops_first(step, state, prefix, num_tokens):
    return continue_greedily(step, state, prefix, num_tokens + 1)[1:]


def _writes_from(change):
    """Make a writer that hands on another state than the newest."""

    def write(step, state, prefix, num_tokens):
        start = state
        for token in prefix:
            logits, state = step(token, state)
        written = []
        for _ in range(num_tokens):
            written.append(int(logits.argmax()))
            logits, _ = step(written[-1], change(start, state))
        return written

    return write


def _one_logit(step, state, prefix, num_tokens):
    def last_of(token, state):
        logits, state = step(token, state)
        return logits[-1], state

    return continue_greedily(last_of, state, prefix, num_tokens)


def _into_the_prefix(step, state, prefix, num_tokens):
    start = len(prefix)
    prefix += continue_greedily(step, state, prefix, num_tokens)
    return prefix[start:]


_KNOWN_SLIPS = {
    "feeds the window again": (_feeds_window_again, "the prefix was read again and again: each token is read once"),
    "no warm-up": (_no_warm_up, "only the last token of the prefix was read: warm the state up with all of it"),
    "reads the last twice": (_reads_last_twice, "the last token of the prefix was read twice"),
    "drops the first": (_drops_first, "the first new token is missing: it follows from the prefix's last logits"),
    "starts afresh": (_writes_from(lambda start, state: start), "writing started from the empty state"),
    "one logit": (_one_logit, "argmax saw logits[-1], a single number: step returns one row of logits, of shape (V,)"),
    "forgets what it writes": (_writes_from(lambda start, state: state), "the state was not handed on while writing"),
}


def _test_continue_greedily(answer):
    for prefix, n in (([1, 2, 3], 4), ([6], 9), ([0, 5], 6)):
        step, state, read = _small_model()
        given = list(prefix)
        got = answer(step, state, given, n)
        case = f"for the prefix {prefix} and num_tokens={n}"
        if not isinstance(got, (list, tuple)):
            expect_something(got)
            raise Wrong(f"a list of {n} token ids should come back, but {kind(got)} came")
        strange = next((token for token in got if isinstance(token, torch.Tensor)), None)
        if strange is not None:
            raise Wrong("the list should hold token ids, but it holds tensors: int(…) or .item() makes a number of one")
        got = [expect_count(token, "a token id") for token in got]
        if given != prefix:
            raise Wrong(
                f"the list `prefix` was changed {case}: it belongs to the caller, so write into a list of your own"
            )
        right = continue_greedily(*_small_model()[:2], prefix, n)
        if got == prefix + right:
            raise Wrong("the continuation alone should come back, without the prefix")
        for slip, sentence in _KNOWN_SLIPS.values():
            twin_step, twin_state, twin_read = _small_model()
            written = slip(twin_step, twin_state, list(prefix), n)
            if got == written != right and read in (twin_read, twin_read[:-1]):
                raise Wrong(f"{sentence} ({case})")
        if got != right:
            raise Wrong(f"{case} a greedy model writes {right}, but {got} came")
        # The last token may or may not be read: nothing depends on it any more.
        if read not in (prefix + right, prefix + right[:-1]):
            raise Wrong(f"{case} these tokens were read: {read}. Each should be read once, in order")


CONTINUE_GREEDILY = Exercise(
    "continue_greedily",
    chapter=2,
    stars=3,
    test=_test_continue_greedily,
    solution=continue_greedily,
    section="Writing text",
    wrong={
        **_KNOWN_SLIPS,
        "with prefix": (
            lambda step, state, prefix, n: prefix + continue_greedily(step, state, prefix, n),
            "the continuation alone",
        ),
        "into the prefix": (_into_the_prefix, "the list `prefix` was changed"),
        "tensors": (
            lambda step, state, prefix, n: list(map(torch.tensor, continue_greedily(step, state, prefix, n))),
            "it holds tensors",
        ),
        "constant": (lambda step, state, prefix, n: [2] * n, "a greedy model writes"),
    },
    hints=(
        "First read the prefix, keeping the state; the last logits are the prediction for the first new token.",
        "Then repeat: take the likeliest token, write it down, read it (and it alone) with the state that you have.",
        "Two loops, one after the other: one over the prefix, one over range(num_tokens).",
    ),
)


# ★★★ Go further: sixty seconds


def sixty_seconds(train_ids, valid_ids, vocab_size):
    torch.manual_seed(0)
    model = ScratchRNN(vocab_size, 256)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    train_batches = text.sequential_batches(train_ids, batch_size=8, num_steps=35)
    valid_batches = text.sequential_batches(valid_ids, 32, 35, offset=0)
    best = math.inf
    for _ in range(30):
        train_epoch(model, train_batches, optimizer)
        reached = perplexity(model, valid_batches)
        if reached < best:
            best = reached
            weights = {name: value.clone() for name, value in model.state_dict().items()}
        else:  # back to the best epoch, and on in smaller steps
            model.load_state_dict(weights)
            optimizer.param_groups[0]["lr"] /= 2
    model.load_state_dict(weights)
    return model


def _untrained(train_ids, valid_ids, vocab_size):
    return ScratchRNN(vocab_size, 32)


def _until_it_knows_the_text(train_ids, valid_ids, vocab_size):
    torch.manual_seed(0)
    model = ScratchRNN(vocab_size, 128)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    batches = text.sequential_batches(train_ids, 16, 35)
    for _ in range(20):
        train_epoch(model, batches, optimizer)
    return model


def _hardly_trained(train_ids, valid_ids, vocab_size):
    torch.manual_seed(0)
    model = ScratchRNN(vocab_size, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(10):
        train_epoch(model, text.sequential_batches(train_ids, 32, 35), optimizer)
    return model


class _Frequencies(torch.nn.Module):
    """Predict every token by how frequent it was, whatever came before."""

    def __init__(self, train_ids, vocab_size):
        super().__init__()
        counts = torch.bincount(train_ids, minlength=vocab_size).float() + 1
        self.logits = torch.nn.Parameter((counts / counts.sum()).log())

    def begin_state(self, batch_size, device=None):
        return torch.zeros(batch_size, 1, device=device)

    def forward(self, ids, state):
        return self.logits.expand(ids.numel(), -1), state


def _nothing_from_before(train_ids, valid_ids, vocab_size):
    return _Frequencies(train_ids, vocab_size)


SIXTY_SLIPS = {
    "untrained": (_untrained, "is hardly better than a blind guess: has it been trained?"),
    "knows the text": (
        _until_it_knows_the_text,
        "has learned its own text by heart: stop when the perplexity on valid_ids is lowest, and keep those weights",
    ),
    "not good enough": (
        _hardly_trained,
        "is not over-trained, only not good enough: go on until valid_ids gets no better; with smaller batches try "
        "a smaller learning rate",
    ),
    "frequencies": (_nothing_from_before, "rests on the unigram landmark: do predictions and targets belong together?"),
}


def _expect_language_model(model):
    """Raise :class:`Wrong` unless a model with parameters reads ids (N, T) and returns logits (T · N, V)."""
    if next(model.parameters(), None) is None:
        raise Wrong("your model has no parameters, so nothing of it can have been trained")
    if not hasattr(model, "begin_state"):
        raise Wrong(
            "your model has no begin_state: give it begin_state(batch_size), which returns the state to begin with"
        )
    result = model(torch.zeros(2, 3, dtype=torch.long), model.begin_state(2))
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Wrong(f"your model should return two things, logits and state, but {kind(result)} came")
    expect_shape(result[0], (6, 28), "what your model returns as logits of ids (N, T) = (2, 3), which is (T · N, V),")


def _logits_with_three_axes(train_ids, valid_ids, vocab_size):
    class Unflattened(ScratchRNN):
        def forward(self, ids, state):
            logits, state = super().forward(ids, state)
            return logits.reshape(ids.shape[1], ids.shape[0], -1), state

    return Unflattened(vocab_size, 8)


def _without_parameters(train_ids, valid_ids, vocab_size):
    model = _Frequencies(train_ids, vocab_size)
    model.logits = None
    return model


SIXTY_HABITS = {
    "three axes": (_logits_with_three_axes, "which is (T · N, V), should have shape (6, 28), but (3, 2, 28) came"),
    "no parameters": (_without_parameters, "has no parameters"),
}


def _test_sixty_seconds(answer):
    ids = torch.tensor(text.Vocab(corpus())[list(corpus())])
    train_ids, valid_ids, last_ids = ids[:30_000].split(10_000)
    model, seconds = within(60, answer, train_ids.clone(), valid_ids.clone(), 28)
    if not isinstance(model, torch.nn.Module):
        expect_something(model)
        raise Wrong(f"return the trained model, but {kind(model)} came")
    _expect_language_model(model)
    reached = perplexity(model, text.sequential_batches(last_ids, 32, 35, offset=0))
    tables = NGram(train_ids, 6, 28, smoothing=5.0).perplexities(last_ids)
    goal = min(tables)
    measured = (
        f"perplexity {reached:.2f} on ten thousand characters that it has never seen, after {seconds:.0f} seconds; "
        f"the best of the tables with s = 5 and n up to 6 has {goal:.2f} there"
    )
    if reached < goal:
        return f"Measured: {measured}."
    own, valid = (perplexity(model, text.sequential_batches(ids, 32, 35, offset=0)) for ids in (train_ids, valid_ids))
    counted = min(NGram(train_ids, n, 28, smoothing=5.0).perplexity(valid_ids) for n in range(2, 7))
    signs = {
        "untrained": own > 0.8 * 28,
        "frequencies": abs(reached / tables[1] - 1) < 0.05,
        "knows the text": own < valid / 2 and valid > 1.25 * counted,
        "not good enough": True,
    }
    why = next(SIXTY_SLIPS[slip][1] for slip, true in signs.items() if true)
    raise Wrong(f"measured: {measured}. Your model ({own:.2f} on train_ids, {valid:.2f} on valid_ids) {why}")


SIXTY_SECONDS = Exercise(
    "sixty_seconds",
    chapter=2,
    stars=3,
    test=_test_sixty_seconds,
    solution=sixty_seconds,
    section="Counting, the honest rival",
    wrong=SIXTY_SLIPS | SIXTY_HABITS,
    hints=(
        "Begin with the chapter's own network and training; measure valid_ids after every epoch. When is it best?",
        "Eight rows in place of 32 give four times as many steps an epoch, and a learning rate of 1 is too large then.",
        "256 units, batch_size 8, SGD with 0.5; after an epoch that is worse, back to the best weights, half the lr.",
    ),
)


EXERCISES = (
    COUNT_PARAMETERS,
    READ_ON,
    ONE_STEP,
    TEXT_PERPLEXITY,
    TEMPERED,
    MINIBATCH_LOSS,
    CONTINUE_GREEDILY,
    SIXTY_SECONDS,
)
