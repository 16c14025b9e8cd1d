"""A classifier of reviews, made small enough to travel in a page: fewer words, coarser vectors, weights of float16."""

import torch
from torch import nn

from rnnlib import sentiment, text
from rnnlib.explore import frames

SIZE = 15_000  # words that travel, the most frequent
LEAST = 0.3  # steps that the counts of an axis spread, or it is left out
STEP = 3.0  # what a rounded vector moves in all gates together by, at most half of it along each axis


def embedding_of(model):
    """Return the ``nn.Embedding`` of a classifier, which other modules may stand before; None if there is none."""
    last = list(model.embedding.modules())[-1]
    return last if isinstance(last, nn.Embedding) else None


def is_known(model):
    """Tell whether a page can read as this classifier does: two plain LSTMs, means and maxima, as in chapter 7."""
    parts = [getattr(getattr(model, "rnn", None), name, None) for name in ("ahead", "back")]
    return (
        all(isinstance(layer, nn.LSTM) and layer.num_layers == 1 for layer in parts)
        and getattr(getattr(model, "readout", None), "__name__", "") == "mean_and_max"
        and embedding_of(model) is not None
    )


@torch.no_grad()
def smaller(model, vocab, words, size=SIZE, step=STEP):
    """Return a classifier that knows fewer words by coarser vectors, and its vocabulary.

    What a gate sums up of a word is a product of its vector and the weights. These sums are turned to the axes along
    which words differ most, and rounded to whole steps: the counts are the new vectors. The way back from the axes to
    the gates is the layers' new weight.

    Args:
        model: a classifier that :func:`is_known`.
        vocab: its vocabulary, the most frequent words first.
        words: words that stay, however rare.
        size: how many of the most frequent words stay, the two reserved ids among them.
        step: the unit that sums of gates are rounded to.
    """
    old = model.rnn.ahead, model.rnn.back
    tokens = list(dict.fromkeys([*vocab.tokens[:size], *(word for word in words if word in vocab)]))
    vectors = embedding_of(model).weight[vocab[tokens]].cpu().double()  # (V, D)
    inputs = torch.cat([layer.weight_ih_l0 for layer in old]).cpu().double()  # (8H, D)
    mean = vectors.mean(dim=0)
    sums = (vectors - mean) @ inputs.T  # (V, 8H)
    _, axes = torch.linalg.eigh(sums.T @ sums)  # (8H, 8H), the longest last
    counts = (sums @ axes.flip(1) / step).round()
    kept = counts.std(dim=0) > LEAST
    counts, back = counts[:, kept], (step * axes.flip(1)[:, kept])  # (V, D'), (8H, D')
    layer = sentiment.BothWays(nn.LSTM, counts.shape[1], model.rnn.ahead.hidden_size)
    twin = sentiment.SentimentClassifier(nn.Embedding(*counts.shape), layer, dropout=0.0)
    twin.embedding.weight.copy_(counts)
    parts = zip((layer.ahead, layer.back), old, back.chunk(2), (inputs @ mean).chunk(2), strict=True)
    for new, before, weight, shift in parts:
        new.load_state_dict(before.state_dict() | {"weight_ih_l0": weight})
        new.bias_ih_l0 += shift
    twin.linear.load_state_dict(model.linear.state_dict())
    return frames.rounded(twin).eval(), text.Vocab(tokens[2:], reserved=("<pad>",))


def is_small(model):
    """Tell whether a classifier is one that :func:`smaller` made: a page can carry it."""
    if not is_known(model):
        return False
    counts = embedding_of(model).weight
    return torch.equal(counts, counts.round())


@torch.no_grad()
def network(model, vocab, max_length):
    """Return a classifier that :func:`smaller` made for pages."""
    counts = embedding_of(model).weight.T  # (D, V)
    layers = {name: frames.by_gate(getattr(model.rnn, name)) for name in ("ahead", "back")}
    linear = {"W": frames.compact(model.linear.weight.T), "b": frames.compact(model.linear.bias)}
    words = {"words": " ".join(vocab.tokens), "max_length": max_length, "vectors": frames.letters(counts)}
    return words | layers | {"linear": linear}
