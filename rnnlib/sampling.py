"""Writing text with a language model: greedy, with a temperature, and from the top k (built in chapter 2)."""

import contextlib
import math
import textwrap

import torch

from rnnlib.scratch import is_whole


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


def check_temperature(temperature):
    """Raise a ValueError unless the temperature is a finite number of at least 0."""
    try:
        possible = math.isfinite(temperature) and temperature >= 0
    except TypeError:
        possible = False
    if not possible:
        raise ValueError(
            f"temperature={temperature!r} must be a finite number above 0 (below 1 more cautious, above 1 more "
            "daring), or 0 for greedy"
        )


def check_top_k(top_k, vocab_size):
    """Raise a ValueError unless this is None or a whole number from 1 to V."""
    if top_k is not None and not (is_whole(top_k, 1) and top_k <= vocab_size):
        raise ValueError(f"top_k={top_k!r} must be a whole number from 1 to the vocabulary size, {vocab_size}")


def check_logits(logits):
    """Raise a ValueError that names the remedy if a logit is NaN or infinite; -inf, which is never drawn, may be."""
    if not math.isfinite(logits.max()):  # the maximum of numbers and NaN is NaN
        raise ValueError(
            f"the largest logit is {float(logits.max())}, so there is nothing to draw from: has the training diverged? "
            "Make the model anew and train it with a smaller learning rate"
        )


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


def check_num_tokens(num_tokens):
    """Raise a ValueError unless this is a whole number from 0 on."""
    if not is_whole(num_tokens, 0):
        raise ValueError(f"num_tokens={num_tokens!r} must be a whole number from 0 on")


def check_vocab(model, vocab):
    """Raise a ValueError that names the remedy if a model says that it has another number of tokens."""
    size = getattr(model, "vocab_size", len(vocab))
    if size != len(vocab):
        raise ValueError(
            f"the model has {size} tokens but the vocabulary has {len(vocab)}: give the one that it was trained with"
        )


def check_prefix(vocab, prefix):
    """Raise a ValueError that names the remedy unless the prefix is one or more tokens of the vocabulary."""
    if len(prefix) == 0:
        raise ValueError("the prefix is empty: give the model at least one token to begin with, such as 'time'")
    unknown = sorted({repr(token) for token in prefix if token not in vocab})
    if unknown:
        raise ValueError(
            f"the prefix has tokens that the model has never seen: {textwrap.shorten(', '.join(unknown), 200)}. "
            "Clean it as the training text was, rnnlib.text.clean(prefix), or take others; a model of words needs a "
            "list of words"
        )
