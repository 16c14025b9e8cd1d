"""Answers to the exercises of chapter 2."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from rnnlib import check
from rnnlib.scratch import ScratchRNN

COUNT_PARAMETERS = {
    "formula": (lambda V, H: 2 * V * H + H * H + H + V, "Right"),
    "a tensor": (lambda V, H: torch.tensor(2 * V * H + H * H + H + V), "Right"),
    "NumPy": (lambda V, H: np.prod((V, H)) * 2 + np.square(H) + H + V, "Right"),
    "loop": (lambda V, H: sum(math.prod(shape) for shape in ((V, H), (H, H), (H,), (H, V), (V,))), "Right"),
    "the model": (lambda V, H: sum(p.numel() for p in ScratchRNN(V, H).parameters()), "Right"),
    "no biases": (lambda V, H: 2 * V * H + H * H, "leaves the two biases"),
    "no b_q": (lambda V, H: 2 * V * H + H * H + H, "leaves the output bias b_q out"),
    "no b_h": (lambda V, H: 2 * V * H + H * H + V, "leaves the hidden bias b_h out"),
    "two hidden biases": (lambda V, H: 2 * V * H + H * H + 2 * H + V, "counts two hidden biases"),
    "no output": (lambda V, H: V * H + H * H + H, "the recurrent layer alone"),
    "no memory": (lambda V, H: 2 * V * H + H + V, "leaves W_hh out"),
    "nearly": (lambda V, H: 2 * V * H + H * H + H + V + 1, "the count for"),
}


def read_token_by_token(model, first, second):
    state, rows = model.begin_state(len(first)), []
    for t in range(first.shape[1] + second.shape[1]):
        logits, state = model(torch.cat([first, second], 1)[:, t : t + 1], state)
        rows.append(logits)
    return torch.cat(rows[first.shape[1] :])


def read_at_once(model, first, second):
    logits, _ = model(torch.cat([first, second], 1))
    return logits[first.numel() :]


def read_in_halves(model, first, second):
    state = None
    for part in (first[:, :1], first[:, 1:], second):
        logits, state = model(part, state) if part.numel() else (None, state)
    return logits


def state_forgotten_twice(model, first, second):
    model(first)
    logits, _ = model(second, model.begin_state(len(second)))
    return logits


def read_twice(model, first, second):
    _, state = model(first)
    _, state = model(first, state)
    return model(second, state)[0]


def last_row_alone(model, first, second):
    return read_at_once(model, first, second)[-1]


def printed(model, first, second):
    read_at_once(model, first, second)


READ_ON = {
    "two calls": (lambda model, a, b: model(b, state=model(a)[1])[0], "Right"),
    "at once": (read_at_once, "Right"),
    "token by token": (read_token_by_token, "Right"),
    "in halves": (read_in_halves, "Right"),
    "cut off its past": (lambda model, a, b: model(b, model(a)[1].detach())[0], "Right"),
    "float32": (lambda model, a, b: read_at_once(model, a, b).float(), "Right"),
    "state forgotten": (state_forgotten_twice, "hand the state on"),
    "all of it": (lambda model, a, b: model(torch.hstack([a, b]))[0], "hold the predictions for the first part too"),
    "turned round": (lambda model, a, b: read_at_once(model, b, a), "read the second part before the first"),
    "last state": (lambda model, a, b: model(torch.cat([a, b], 1))[1], "are the state"),
    "a tuple": (lambda model, a, b: model(b, model(a)[1]), "return the logits alone"),
    "first part twice": (read_twice, "the logits"),
    "last row": (last_row_alone, "the logits"),
    "sequences first": (
        lambda model, a, b: model(torch.cat([a, b], 1))[0].unflatten(0, (len(a), -1))[:, a.shape[1] :].flatten(0, 1),
        "time first",
    ),
    "logits handed on": (lambda model, a, b: model(b, model(a)[0])[0], "is not the state"),
    "nothing returned": (printed, "did you forget `return`"),
}


def step_by_einsum(X, H, W, b_h):
    return torch.tanh(torch.einsum("nk,kh->nh", torch.hstack([X, H]), W) + b_h)


def step_by_loop(X, H, W, b_h):
    joined = torch.cat([X, H], 1)
    return torch.stack([torch.tanh((joined[n, :, None] * W).sum(0) + b_h) for n in range(len(X))])


def halves(X, H, W):
    return X, H, W[: X.shape[1]], W[X.shape[1] :]


def two_tensordots(X, H, W, b_h):
    X, H, W_xh, W_hh = halves(X, H, W)
    return torch.tanh(torch.tensordot(X, W_xh, 1) + torch.tensordot(H, W_hh, 1) + b_h)


def two_linears(X, H, W, b_h):
    X, H, W_xh, W_hh = halves(X, H, W)
    return torch.tanh(F.linear(X, W_xh.T, b_h) + F.linear(H, W_hh.T))


ONE_STEP = {
    "cat": (lambda X, H, W, b: torch.tanh(torch.cat([X, H], 1) @ W + b), "Right"),
    "einsum": (step_by_einsum, "Right"),
    "library": (lambda X, H, W, b: F.linear(torch.cat((X, H), -1), W.T, b).tanh(), "Right"),
    "tensordot": (lambda X, H, W, b: torch.tensordot(torch.cat([X, H], 1), W, 1).add(b).tanh(), "Right"),
    "loop": (step_by_loop, "Right"),
    "float32": (
        lambda X, H, W, b: torch.tanh(torch.cat([X, H], 1).float() @ W.float() + b.float()),
        "Right",
    ),
    "two tensordots": (two_tensordots, "it took 2 matrix products"),
    "two linears": (two_linears, "it took 2 matrix products"),
    "no tanh": (lambda X, H, W, b: torch.cat([X, H], 1) @ W + b, "lacks the tanh"),
    "sigmoid": (lambda X, H, W, b: torch.sigmoid(torch.cat([X, H], 1) @ W + b), "through a sigmoid"),
    "no state": (lambda X, H, W, b: torch.tanh(X @ W[: X.shape[1]] + b), "forgets the old state"),
    "no bias": (lambda X, H, W, b: torch.tanh(torch.cat([X, H], 1) @ W), "lacks the bias"),
    "bias outside": (lambda X, H, W, b: torch.tanh(torch.cat([X, H], 1) @ W) + b, "after the tanh"),
    "H first": (lambda X, H, W, b: torch.tanh(torch.cat([H, X], 1) @ W + b), "puts H before X"),
    "stacked": (lambda X, H, W, b: torch.tanh(torch.cat([X, H]) @ W + b), "stand side by side"),
}


def perplexity_by_loop(losses, counts):
    total = 0.0
    for i in range(len(losses)):
        total += losses[i] * counts[i]
    return math.exp(total / sum(counts))


def perplexity_by_tensor(losses, counts):
    losses, counts = torch.tensor(losses), torch.tensor(counts)
    return ((losses * counts).sum() / counts.sum()).exp()


TEXT_PERPLEXITY = {
    "loop": (perplexity_by_loop, "Right"),
    "float32": (perplexity_by_tensor, "Right"),
    "a number from float32": (lambda x, n: perplexity_by_tensor(x, n).item(), "Right"),
    "NumPy": (lambda x, n: np.exp(np.average(x, weights=n)), "Right"),
    "power": (lambda x, n: math.e ** (np.dot(x, n) / sum(n)), "Right"),
    "mean of perplexities": (lambda x, n: np.exp(x).mean(), "is the mean of the batches' perplexities"),
    "weighted": (lambda x, n: np.average(np.exp(x), weights=n), "averages perplexities, weighted"),
    "equal weights": (lambda x, n: np.exp(np.mean(x)), "the same weight as a large one"),
    "no exp": (lambda x, n: np.average(x, weights=n), "is still a loss in nats"),
    "base 2": (lambda x, n: 2 ** np.average(x, weights=n), "the base is e"),
    "minus": (lambda x, n: np.exp(-np.average(x, weights=n)), "is below 1"),
    "no weights": (lambda x, n: math.exp(sum(x) / sum(n)), "without weights"),
    "constant": (lambda x, n: 28.0, "the perplexity for"),
}


def tempered_by_loop(logits, T):
    weights = [math.exp(logit / T) for logit in logits.tolist()]
    return torch.tensor([weight / sum(weights) for weight in weights])


TEMPERED = {
    "softmax": (lambda x, T: torch.softmax(x / T, 0), "Right"),
    "float64": (lambda x, T: F.softmax(x.double() / T, -1), "Right"),
    "loop": (tempered_by_loop, "Right"),
    "exponentials": (lambda x, T: (x / T).exp() / (x / T).exp().sum(), "Right"),
    "shifted": (lambda x, T: F.normalize(((x - x.max()) / T).exp(), p=1, dim=0), "Right"),
    "powers": (lambda x, T: torch.softmax(x, 0) ** (1 / T) / (torch.softmax(x, 0) ** (1 / T)).sum(), "Right"),
    "inverted": (lambda x, T: torch.softmax(x * T, 0), "the wrong way round"),
    "no temperature": (lambda x, T: torch.softmax(x, 0), "has no effect"),
    "after": (lambda x, T: torch.softmax(x, 0) / T, "divides the probabilities"),
    "no sum": (lambda x, T: torch.exp(x / T), "lacks the division"),
    "not normalised": (lambda x, T: torch.softmax(x, 0) ** (1 / T), "is not normalised"),
    "no softmax": (lambda x, T: x / T, "has not been through softmax"),
    "logarithms": (lambda x, T: torch.log_softmax(x / T, 0), "softmax, not log_softmax"),
    "a list": (lambda x, T: torch.softmax(x / T, 0).tolist(), "should be a tensor"),
}


def loss_by_loop(logits, Y):
    log_p = torch.log_softmax(logits, 1)
    N, T = Y.shape
    total = 0
    for t in range(T):
        for n in range(N):
            total = total - log_p[t * N + n, Y[n, t]]
    return total / (N * T)


def loss_by_einsum(logits, Y):
    targets = F.one_hot(Y.T.reshape(-1), logits.shape[1]).to(logits.dtype)
    return -torch.einsum("kv,kv->", torch.log_softmax(logits, 1), targets) / Y.numel()


MINIBATCH_LOSS = {
    "library": (lambda x, Y: F.cross_entropy(x, Y.T.flatten()), "Right"),
    "module": (lambda x, Y: torch.nn.CrossEntropyLoss()(x, Y.T.reshape(-1)), "Right"),
    "float32": (lambda x, Y: F.cross_entropy(x.float(), Y.T.reshape(-1)), "Right"),
    "loop": (loss_by_loop, "Right"),
    "einsum": (loss_by_einsum, "Right"),
    "reordered logits": (
        lambda x, Y: F.cross_entropy(x.view(Y.shape[1], Y.shape[0], -1).transpose(0, 1).flatten(0, 1), Y.flatten()),
        "Right",
    ),
    "softmax first": (lambda x, Y: F.cross_entropy(torch.softmax(x, 1), Y.T.flatten()), "comes from probabilities"),
    "row by row": (lambda x, Y: F.cross_entropy(x, Y.flatten()), "other places' targets"),
    "both bugs": (lambda x, Y: F.cross_entropy(torch.softmax(x, 1), Y.flatten()), "still has both bugs"),
    "summed": (lambda x, Y: F.cross_entropy(x, Y.T.flatten(), reduction="sum"), "adds up all tokens"),
    "nll": (lambda x, Y: F.nll_loss(x, Y.T.flatten()), "takes logits for log-probabilities"),
    "a number": (lambda x, Y: F.cross_entropy(x, Y.T.flatten()).item(), "carries no gradient"),
    "each": (lambda x, Y: F.cross_entropy(x, Y.T.flatten(), reduction="none"), "should be one number"),
    "perplexity": (lambda x, Y: F.cross_entropy(x, Y.T.flatten()).exp(), "is a perplexity"),
}


def written(step, state, prefix, n):
    for token in prefix:
        logits, state = step(token, state)
    found = [int(logits.argmax())]
    while len(found) < n:
        logits, state = step(found[-1], state)
        found.append(int(logits.argmax()))
    return found


def written_with_numpy(step, state, prefix, n):
    found, token = [], prefix[0]
    for i in range(len(prefix) + n - 1):
        logits, state = step(token, state)
        token = prefix[i + 1] if i + 1 < len(prefix) else np.argmax(logits.detach().numpy())
        if i + 1 >= len(prefix):
            found.append(token)
    return found


def written_by_recursion(step, state, ids, n):
    *_, (logits, state) = _readings(step, state, ids)
    best = logits.argmax().item()
    return [best] if n == 1 else [best, *written_by_recursion(step, state, [best], n - 1)]


def _readings(step, state, ids):
    for token in ids:
        logits, state = step(token, state)
        yield logits, state


def changes_the_prefix(step, state, prefix, n):
    found = written(step, state, prefix, n)
    prefix.extend(found)
    return found


def tensors(step, state, prefix, n):
    return [torch.tensor(token) for token in written(step, state, prefix, n)]


CONTINUE_GREEDILY = {
    "two loops": (written, "Right"),
    "one loop, NumPy scalars": (written_with_numpy, "Right"),
    "recursion": (written_by_recursion, "Right"),
    "a tuple": (lambda *a: tuple(written(*a)), "Right"),
    "changes the prefix": (changes_the_prefix, "the list `prefix` was changed"),
    "tensors": (tensors, "it holds tensors"),
    "one tensor": (lambda *a: torch.tensor(written(*a)), "but a Tensor came"),
    "with the prefix": (lambda s, h, p, n: [*p, *written(s, h, p, n)], "without the prefix"),
    "no warm-up": (lambda s, h, p, n: written(s, h, p[-1:], n), "warm the state up"),
    "one too few": (lambda s, h, p, n: written(s, h, p, n)[:-1], "a greedy model writes"),
    "drops the first": (lambda s, h, p, n: written(s, h, p, n + 1)[1:], "the first new token is missing"),
    "backwards": (lambda s, h, p, n: written(s, h, p[::-1], n), "a greedy model writes"),
    "nothing": (lambda *a: None, "did you forget `return`"),
}


@functools.cache
def solved():
    """Return the model that the solution trains, trained once."""
    kept = []
    check.sixty_seconds.verdict(lambda *arguments: kept.append(check.sixty_seconds.solution(*arguments)) or kept[0])
    return kept[0]


class Wrapped(torch.nn.Module):
    """The trained weights in PyTorch's own layer; returns a list."""

    def __init__(self):
        super().__init__()
        W_xh, W_hh, b_h, W_hq, b_q = solved().params
        self.rnn = torch.nn.RNN(*W_xh.shape, dtype=W_xh.dtype)
        self.output = torch.nn.Linear(*W_hq.shape, dtype=W_xh.dtype)
        values = (W_xh.T, W_hh.T, b_h, torch.zeros_like(b_h), W_hq.T, b_q)
        for parameter, value in zip(self.parameters(), values, strict=True):
            parameter.data.copy_(value.detach())

    def begin_state(self, batch_size, device=None):
        return torch.zeros(1, batch_size, self.rnn.hidden_size, dtype=self.rnn.weight_hh_l0.dtype, device=device)

    def forward(self, ids, state):
        outputs, state = self.rnn(F.one_hot(ids.T, self.rnn.input_size).to(state.dtype), state)
        return [self.output(outputs.flatten(0, 1)), state]


class Bent(torch.nn.Module):
    """The trained model with something else made of its logits."""

    def __init__(self, bend):
        super().__init__()
        self.model, self.bend = solved(), bend
        self.begin_state = self.model.begin_state

    def forward(self, ids, state):
        logits, state = self.model(ids, state)
        return self.bend(logits, ids), state


SIXTY_SECONDS = {
    "from scratch": (lambda train, valid, V: solved(), "Right"),
    "library, a list": (lambda train, valid, V: Wrapped(), "Right"),
    "log-probabilities": (lambda train, valid, V: Bent(lambda x, ids: x.log_softmax(1)), "Right"),
    "float64": (lambda train, valid, V: Bent(lambda x, ids: x.double()), "Right"),
    "untrained": (lambda train, valid, V: ScratchRNN(V, 16), "has it been trained"),
    "three axes": (lambda train, valid, V: Bent(lambda x, ids: x.view(*ids.T.shape, -1)), "which is (T · N, V)"),
    "no vocabulary": (lambda train, valid, V: Bent(lambda x, ids: x[:, :-1]), "which is (T · N, V)"),
    "no parameters": (lambda train, valid, V: torch.nn.Module(), "has no parameters"),
    "no begin_state": (lambda train, valid, V: torch.nn.Linear(V, V), "no begin_state"),
    "a loss": (lambda train, valid, V: 1.2, "return the trained model, but a float came"),
    "one output": (lambda train, valid, V: OneOutput(V, 8), "should return two things"),
    "nothing": (lambda train, valid, V: None, "did you forget `return`"),
}


class OneOutput(ScratchRNN):
    def forward(self, ids, state):
        return super().forward(ids, state)[0]


ANSWERS = {
    "count_parameters": COUNT_PARAMETERS,
    "read_on": READ_ON,
    "one_step": ONE_STEP,
    "text_perplexity": TEXT_PERPLEXITY,
    "tempered": TEMPERED,
    "minibatch_loss": MINIBATCH_LOSS,
    "continue_greedily": CONTINUE_GREEDILY,
    "sixty_seconds": SIXTY_SECONDS,
}
