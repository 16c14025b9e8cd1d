"""A recurrent language model in plain tensor code: train it, measure it, let it write (built in chapter 2)."""

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib.gradients import clip_gradients, detach
from rnnlib.guards import (
    Diverged,
    check_ids,
    check_logits,
    check_num_tokens,
    check_prefix,
    check_sizes,
    check_state,
    check_temperature,
    check_top_k,
    check_vocab,
)
from rnnlib.text import one_hot


def rnn_params(vocab_size, num_hiddens, device=None, dtype=None, input_scale=1.0, sigma=0.01):
    """Draw the five parameter tensors of a recurrent network.

    Args:
        vocab_size, num_hiddens: V and H.
        device, dtype: of the tensors.
        input_scale: standard deviation of W_xh. With 1.0 a one-hot input moves the hidden state by about one; the 0.01
            of many tutorials costs several times as many epochs (chapter 2 measures it).
        sigma: standard deviation of W_hh and W_hq.

    Returns:
        [W_xh (V, H), W_hh (H, H), b_h (H,), W_hq (H, V), b_q (V,)], the biases zero.

    Raises:
        ValueError: if a size is not a positive whole number.
    """
    check_sizes(vocab_size=vocab_size, num_hiddens=num_hiddens)
    options = {"device": device, "dtype": dtype}
    W_xh = input_scale * torch.randn(vocab_size, num_hiddens, **options)
    W_hh = sigma * torch.randn(num_hiddens, num_hiddens, **options)
    b_h = torch.zeros(num_hiddens, **options)
    W_hq = sigma * torch.randn(num_hiddens, vocab_size, **options)
    b_q = torch.zeros(vocab_size, **options)
    return [W_xh, W_hh, b_h, W_hq, b_q]


def rnn(inputs, H, params):
    """Run the tanh recurrence over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        H: the state before the first step, (N, H).
        params: [W_xh, W_hh, b_h, W_hq, b_q].

    Returns:
        logits (T * N, V), time first, and the state after the last step (N, H).
    """
    W_xh, W_hh, b_h, W_hq, b_q = params
    outputs = []
    for X in inputs:  # X: (N, V)
        H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)
        outputs.append(H @ W_hq + b_q)  # (N, V)
    return torch.cat(outputs), H


class ScratchRNN(nn.Module):
    """A language model with one tanh recurrent layer (Elman, 1990), written with tensors alone.

        H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h)        O_t = H_t W_hq + b_q

    ``nn.Module`` serves as the box that holds the five parameter tensors, and for nothing else.

    Args:
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the five tensors [W_xh, W_hh, b_h, W_hq, b_q].
    """

    draw_params = staticmethod(rnn_params)
    recurrence = staticmethod(rnn)

    def __init__(self, vocab_size, num_hiddens, device=None, **options):
        super().__init__()
        self.vocab_size, self.num_hiddens = vocab_size, num_hiddens
        params = self.draw_params(vocab_size, num_hiddens, device, **options)
        self.params = nn.ParameterList(params)

    def begin_state(self, batch_size, device=None):
        """Return the hidden state before the first token: zeros of shape (N, H)."""
        check_sizes(batch_size=batch_size)
        like = self.params[0]
        H = torch.zeros(batch_size, self.num_hiddens, dtype=like.dtype)
        return H.to(device or like.device)

    def forward(self, ids, state=None):
        """Read a minibatch of token ids.

        Args:
            ids: whole numbers (N, T).
            state: the hidden state (N, H) to start from; zeros by default.

        Returns:
            logits (T * N, V), time first, and the last hidden state (N, H).

        Raises:
            ValueError: if ids is not a (N, T) tensor of ids below V, or the state has another shape than (N, H).
        """
        check_ids(ids, self.vocab_size)
        if state is None:
            state = self.begin_state(len(ids))
        check_state(state, self.begin_state(len(ids)))
        inputs = one_hot(ids, self.vocab_size, self.params[0].dtype)  # (T, N, V)
        return self.recurrence(inputs, state, self.params)


def unroll(model, batches):
    """Run a model over minibatches, carrying its state where row i of a batch continues row i of the one before.

    The state is cut off the graph between minibatches (:func:`rnnlib.gradients.detach`); where the batches are not
    ``contiguous``, as with random windows, it starts afresh each time.

    Args:
        model: ``logits, state = model(ids, state)`` with ``model.begin_state(batch_size, device)``.
        batches: yields ids X and targets Y, both (N, T).

    Yields:
        logits (T * N, V) and targets (T * N,), time first, on the model's device.
    """
    device = next(model.parameters()).device
    state = None
    for X, Y in batches:
        if state is None or not getattr(batches, "contiguous", False):
            state = model.begin_state(len(X), device)
        logits, state = model(X.to(device), detach(state))
        yield logits, Y.T.reshape(-1).to(device)


def train_epoch(model, batches, optimizer, clip=1.0):
    """Train once through the minibatches.

    Args:
        model, batches: as in :func:`unroll`.
        optimizer: a torch optimizer of the model's parameters.
        clip: the largest gradient norm to allow; ``math.inf`` never clips.

    Returns:
        The total negative log-likelihood of the targets, in nats, while they were learned, and their number.

    Raises:
        Diverged: when the gradient is no longer finite; the parameters keep their last finite values.
    """
    total_nll, total_tokens = 0.0, 0
    for logits, targets in unroll(model, batches):
        loss = F.cross_entropy(logits, targets)
        model.zero_grad()
        loss.backward()
        norm = clip_gradients(model.parameters(), clip)
        if not torch.isfinite(norm):
            raise Diverged(f"the loss is {float(loss.detach()):.3g}, the gradient {norm}")
        optimizer.step()
        total_nll += float(loss.detach()) * len(targets)
        total_tokens += len(targets)
    return total_nll, total_tokens


@torch.no_grad()
def mean_nll(model, batches):
    """Return the mean negative log-likelihood per token, in nats, of all the tokens in the batches.

    Divided by ln 2 it is the number of bits per token. Dropout is off meanwhile.

    Raises:
        ValueError: when the batches are empty.
    """
    was_training = model.training
    model.eval()
    total_nll, total_tokens = 0.0, 0
    try:
        for logits, targets in unroll(model, batches):
            total_nll += float(F.cross_entropy(logits, targets, reduction="sum"))
            total_tokens += len(targets)
    finally:
        model.train(was_training)
    return mean(total_nll, total_tokens)


def perplexity(model, batches):
    """Return exp(total negative log-likelihood / total tokens): the geometric mean of 1 / p over all tokens.

    It is 1 for a model that is always certain and right, and the vocabulary size for one that guesses uniformly.

    Raises:
        ValueError: when the batches are empty.
    """
    return safe_exp(mean_nll(model, batches))


def next_token_probabilities(logits, temperature=1.0, top_k=None):
    """Turn logits into the distribution to draw from: p_i proportional to exp(logit_i / T) over the k largest.

    T -> 0 puts all probability on the largest logit, T = 1 is the model itself, T -> infinity is uniform.

    Args:
        logits: (..., V).
        temperature: T >= 0; 0 is greedy, all probability on the first largest logit.
        top_k: keep only this many tokens, 1 .. V; all by default.

    Returns:
        Probabilities of the same shape, summing to one.

    Raises:
        ValueError: for a temperature below 0 or not finite, a top_k outside 1 .. V, or logits that are no numbers.
    """
    check_temperature(temperature)
    check_top_k(top_k, logits.shape[-1])
    check_logits(logits)
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)
    if top_k is not None:
        kept = torch.topk(logits, top_k)
        nothing = torch.full_like(logits, -math.inf)
        logits = nothing.scatter(-1, kept.indices, kept.values)
    largest = logits.max(-1, keepdim=True).values  # so that a tiny T can't overflow
    limits = torch.finfo(logits.dtype)  # in which T must stay a number above 0
    temperature = min(max(temperature, limits.tiny), limits.max)
    return torch.softmax((logits - largest) / temperature, -1)


@torch.inference_mode()
def generate(model, vocab, prefix, num_tokens, temperature=1.0, top_k=None, seed=None):
    """Let a model read a prefix and write on from there, one token at a time.

    The state is carried along: each token is read exactly once. With temperature 0 the likeliest token is always
    taken; otherwise the next token is drawn from :func:`next_token_probabilities`.

    Args:
        model: ``logits, state = model(ids, state)``.
        vocab: the :class:`rnnlib.text.Vocab` that the model was trained with.
        prefix: a text (for characters) or a list of tokens (for words) to begin with.
        num_tokens: how many tokens to add.
        temperature, top_k: as in :func:`next_token_probabilities`.
        seed: of the draws; by default every call draws anew.

    Returns:
        The prefix with its continuation: a text for a text, a list of tokens for a list.

    Raises:
        ValueError: for an empty prefix, one with tokens outside the vocabulary, a vocabulary of another size than the
            model's, a bad number, or a model whose logits are no numbers.
    """
    check_vocab(model, vocab)
    check_prefix(vocab, prefix)
    check_num_tokens(num_tokens)
    device = next(model.parameters()).device
    generator = new_generator(seed)
    ids = [vocab[token] for token in prefix]
    with evaluating(model):
        state = model.begin_state(1, device)
        logits, state = model(torch.tensor([ids], device=device), state)  # warm-up
        for _ in range(num_tokens):
            p = next_token_probabilities(logits[-1].float().cpu(), temperature, top_k)
            ids.append(int(torch.multinomial(p, 1, generator=generator)))
            logits, state = model(torch.tensor([ids[-1:]], device=device), state)
    tokens = vocab.decode(ids)
    return "".join(tokens) if isinstance(prefix, str) else tokens


@contextlib.contextmanager
def evaluating(model):
    """Run a model in evaluation mode, one small step at a time, and give it back as it was."""
    was_training, was_enabled = model.training, torch.backends.mkldnn.enabled
    model.eval()
    # oneDNN prepares every call at a cost that pays for large batches only; single steps are faster without it.
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = was_enabled
        model.train(was_training)


def new_generator(seed):
    """Return a torch.Generator with this seed, or with one drawn from the system for None."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def safe_exp(nats):
    """Return e to this power, infinity where a float can't hold it."""
    return math.inf if nats > 700 else math.exp(nats)


def mean(total, count):
    """Return total / count, or say why there is nothing to divide."""
    if count == 0:
        raise ValueError(
            "the batches are empty: give a list or sequential_batches(...), which can be looped over again and again "
            "(a generator is used up after one pass)"
        )
    return total / count
