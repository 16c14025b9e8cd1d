"""A recurrent language model in plain tensors: train, measure, write (chapter 2)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import guards
from rnnlib.environment import evaluating, new_generator, single_steps
from rnnlib.gradients import clip_gradients, detach
from rnnlib.text import as_vocab, one_hot


def rnn_params(
    vocab_size, num_hiddens, device=None, dtype=None, input_scale=1.0, sigma=0.01
):
    """Draw W_xh (V, H), W_hh (H, H), b_h (H,), W_hq (H, V), b_q (V,), the biases zero.

    ``sigma`` is the standard deviation of W_hh and W_hq, ``input_scale`` that of W_xh:
    with 1.0 a one-hot input moves the state by about one; the 0.01 of many tutorials
    costs several times as many epochs (chapter 2 measures it).
    """
    guards.check_drawing(vocab_size, num_hiddens, device, input_scale, sigma)
    options = {"device": device, "dtype": dtype}
    W_xh = input_scale * torch.randn(vocab_size, num_hiddens, **options)
    W_hh = sigma * torch.randn(num_hiddens, num_hiddens, **options)
    b_h = torch.zeros(num_hiddens, **options)
    W_hq = sigma * torch.randn(num_hiddens, vocab_size, **options)
    b_q = torch.zeros(vocab_size, **options)
    return [W_xh, W_hh, b_h, W_hq, b_q]


def rnn(inputs, H, params):
    """Run the tanh recurrence over time and read out the logits.

    inputs: (T, N, V), time first; H: the state before the first step, (N, H). Returns
    the logits (T * N, V), time first, and the state after the last step.
    """
    guards.check_rnn(inputs, H, params)
    W_xh, W_hh, b_h, W_hq, b_q = params
    outputs = []
    for X in inputs:  # X: (N, V)
        H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)
        outputs.append(H @ W_hq + b_q)  # (N, V)
    return torch.cat(outputs), H


class ScratchRNN(nn.Module):
    """A language model with one tanh recurrent layer (Elman, 1990), from tensors alone.

    H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h),    O_t = H_t W_hq + b_q

    ``nn.Module`` is the box that holds ``params``, those of :func:`rnn_params`.
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
        guards.check_begin(batch_size, device)
        return self.params[0].new_zeros(batch_size, self.num_hiddens, device=device)

    def forward(self, ids, state=None):
        """Read ids (N, T) from a state, zeros by default.

        Returns the logits (T * N, V), time first, and the last state.
        """
        guards.check_inputs(self, ids, state)
        if state is None:
            state = self.begin_state(ids.shape[0])
        inputs = one_hot(ids, self.vocab_size, self.params[0].dtype)  # (T, N, V)
        return self.recurrence(inputs, state, self.params)


def unroll(model, batches):
    """Run a model over minibatches of ids X and targets Y, both (N, T).

    The state is carried where a minibatch continues the one before, cut off the graph;
    otherwise it starts afresh. Yields logits (T * N, V) and targets (T * N,), time
    first.
    """
    guards.check_reading(model, batches)
    device = next(model.parameters()).device
    state = None
    for minibatch in batches:
        guards.check_minibatch(minibatch, model)
        X, Y = minibatch
        if state is None or not getattr(minibatch, "continues", False):
            state = model.begin_state(len(X), device)
        logits, state = model(X.to(device), detach(state))
        yield logits, Y.T.reshape(-1).to(device).long()


def train_epoch(model, batches, optimizer, clip=1.0):
    """Train once through the minibatches, the gradient norm clipped.

    Returns the total negative log-likelihood of the targets, in nats, while they were
    learned, and their number. A target of -100 counts for nothing.
    """
    guards.check_training(model, optimizer, clip)
    nlls, counts = [], []
    for logits, targets in unroll(model, batches):
        count = (targets != -100).sum()
        nll = F.cross_entropy(logits, targets, reduction="sum")
        loss = nll / count.clamp(min=1)
        model.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), clip)
        optimizer.step()
        torch.clear_autocast_cache()  # under torch.autocast: cast the new weights
        nlls.append(nll.detach())
        counts.append(count)
    return total(nlls), int(total(counts))


@torch.no_grad()
def mean_nll(model, batches):
    """Return the mean negative log-likelihood of all targets in nats, dropout off.

    Divided by ln 2 it is the number of bits per token.
    """
    nlls, counts = [], []
    with evaluating(model):
        for logits, targets in unroll(model, batches):
            nlls.append(F.cross_entropy(logits, targets, reduction="sum"))
            counts.append((targets != -100).sum())
    count = total(counts)
    guards.check_counted(count)
    return total(nlls) / count


def perplexity(model, batches):
    """Return exp(total nll / total targets): the geometric mean of 1 / p.

    It is 1 for a model that is always certain and right, V for one that guesses
    uniformly.
    """
    return safe_exp(mean_nll(model, batches))


def total(values):
    """Return the sum of numbers in tensors as a float: read once, in the end."""
    return float(torch.stack(values).cpu().double().sum()) if values else 0.0


def safe_exp(nats):
    """Return e to this power, infinity where a float can't hold it."""
    return math.inf if nats > 700 else math.exp(nats)


def next_token_probabilities(logits, temperature=1.0, top_k=None):
    """Turn logits (..., V) into the distribution to draw from, of the same shape.

    p_i is proportional to exp(logit_i / T) over the ``top_k`` largest (all by default).
    T = 0 is greedy, T = 1 the model itself, T -> infinity uniform.
    """
    guards.check_logits(logits)
    guards.check_temperature(temperature)
    guards.check_top_k(top_k, logits.shape[-1])
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)
    if top_k is not None:
        kept = torch.topk(logits, top_k)
        nothing = torch.full_like(logits, -math.inf)
        logits = nothing.scatter(-1, kept.indices, kept.values)
    largest = logits.max(-1, keepdim=True).values
    T = representable(temperature, logits.dtype)
    return torch.softmax((logits - largest) / T, -1)  # at most 0: exp can't overflow


def representable(value, dtype):
    """Return a number above 0, or the nearest to it that a dtype holds in full."""
    limits = torch.finfo(dtype)
    return min(max(value, limits.tiny), limits.max)


@torch.inference_mode()
def generate(model, vocab, prefix, num_tokens, temperature=1.0, top_k=None, seed=None):
    """Let a model read a prefix and write on, its state carried from token to token.

    A text gives a text, a list of tokens a list. ``temperature`` and ``top_k`` are
    those of :func:`next_token_probabilities`; ``seed`` is that of the draws, None a new
    one. ``<unk>`` and ``<pad>`` are never drawn; rare tokens of the prefix are kept.
    """
    vocab = as_vocab(vocab)
    guards.check_vocab(model, vocab)
    guards.check_prefix(vocab, prefix)
    guards.check_num_tokens(num_tokens)
    guards.check_writable(vocab)
    device = next(model.parameters()).device
    generator = new_generator(seed)
    never = [vocab[token] for token in ("<unk>", "<pad>") if token in vocab]
    ids, written = vocab[list(prefix)], []
    with evaluating(model), single_steps():
        state = model.begin_state(1, device)
        logits, state = model(torch.tensor([ids], device=device), state)  # warm-up
        for _ in range(num_tokens):
            scores = logits[-1].float().cpu()
            scores[never] = -math.inf
            p = next_token_probabilities(scores, temperature, top_k)
            written.append(int(torch.multinomial(p, 1, generator=generator)))
            logits, state = model(torch.tensor([written[-1:]], device=device), state)
    tokens = [*prefix, *vocab.decode(written)]
    return "".join(tokens) if isinstance(prefix, str) else tokens
