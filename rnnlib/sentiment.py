"""Judging reviews: words, padding, read-outs, a classifier, its training (chapter
7)."""

import collections
import re

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib import guards
from rnnlib.gradients import clip_gradients
from rnnlib.layers import num_directions
from rnnlib.scratch import evaluating
from rnnlib.text import Vocab, as_tensor, as_vocab

# Ids in every vocabulary of reviews: two, or padding would be read as an unknown word.
UNK, PAD = 0, 1

# A word; a part of a contraction as GloVe's authors cut it (do|n't, it|'s, we|'ll); a
# run of dots; or another sign.
TOKEN = re.compile(
    r"[^\W\d_]+(?=n't)|n't|'(?:s|m|re|ve|ll|d)\b|\w+|\.{2,}|[^\w\s]",
)


def tokenize_review(text):
    """Cut a review into lower-case words and signs; ``<br />`` counts as white space.

    >>> tokenize_review("It's GOOD,<br />isn't it?")
    ['it', "'s", 'good', ',', 'is', "n't", 'it', '?']
    """
    guards.check_text(text=text)
    return TOKEN.findall(text.replace("<br />", " ").replace("’", "'").lower())


def review_vocab(texts, size=25_000):
    """Return a Vocab of the most frequent words, ``<unk>`` as id 0, ``<pad>`` as id 1.

    texts: training reviews alone, or the test leaks into the ids; the size counts both
    reserved ids.
    """
    guards.check_texts(texts)
    guards.check_vocab_size(size)
    counts = collections.Counter()
    for text in texts:
        counts.update(tokenize_review(text))
    return Vocab(
        [word for word, _ in counts.most_common(size - 2)], reserved=("<pad>",)
    )


def encode(text, vocab):
    """Return the ids of a review's words, 1-D; without words it is one ``<unk>``."""
    vocab = as_vocab(vocab)
    guards.check_reviews_vocab(vocab)
    return torch.tensor(vocab[tokenize_review(text)] or [UNK])


def head(ids, length):
    """Keep the first words of a review."""
    guards.check_sizes(length=length)
    return ids[:length]


def tail(ids, length):
    """Keep the last words of a review, where most reviewers give their verdict."""
    guards.check_sizes(length=length)
    return ids[-length:]


def both_ends(ids, length):
    """Keep a quarter of the length from the beginning of a review, the rest from its
    end."""
    guards.check_sizes(length=length)
    first = length // 4
    return (
        ids if len(ids) <= length else torch.cat([ids[:first], ids[first - length :]])
    )


def pad(rows, length=0):
    """Put rows of unlike length into one tensor, ``<pad>`` after their ends.

    Returns ids (N, T), T at least ``length``, and the lengths of the rows (N,).
    """
    guards.check_rows(rows)
    guards.check_length_of_rows(length)
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), max(length, int(lengths.max()))), PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = as_tensor(row)
    return ids, lengths


def bucket_order(lengths, batch_size, generator, stretch=50):
    """Sort reviews into minibatches of like length, in random order.

    Returns a list of lists of positions, in which every review stands once; so many
    minibatches' worth (``stretch``) of shuffled reviews are sorted by length together.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), stretch * batch_size):
        alike = sorted(
            order[start : start + stretch * batch_size], key=lambda i: lengths[i]
        )
        batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return [
        batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()
    ]


class Buckets:
    """Minibatches of reviews of like length, in a new order at every pass.

    rows: 1-D tensors of ids; labels: 0 or 1 for each. A pass yields each review once:
    ids (N, T), lengths (N,), labels (N,); the last batch of a pass may have fewer.
    """

    stretch = 50

    def __init__(self, rows, labels, batch_size, seed=0):
        guards.check_sizes(batch_size=batch_size)
        guards.check_rows(rows)
        guards.check_labels(labels, len(rows))
        guards.check_seed(seed)
        self.rows = [as_tensor(row) for row in rows]
        self.labels, self.batch_size = as_tensor(labels), batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        lengths = [len(row) for row in self.rows]
        order = bucket_order(lengths, self.batch_size, self._generator, self.stretch)
        for places in order:
            yield *pad([self.rows[i] for i in places]), self.labels[places]


def hold_out_blocks(reviews, num_valid=1250):
    """Hold out the last ids of each class, where reviews of one film are neighbours.

    So no film has its praise, or its blame, on both sides; the classes have their films
    in different orders, though. reviews: by label and id, as ``data.load_imdb`` sorts
    them. Returns two lists, for training and for validation.
    """
    guards.check_blocks(reviews, num_valid)
    train, valid = [], []
    for label in (0, 1):
        group = [review for review in reviews if review.label == label]
        train += group[:-num_valid]
        valid += group[-num_valid:]
    return train, valid


class BothWays(nn.Module):
    """A recurrent layer in both directions over padded rows, which never reads padding.

    It is ``bidirectional=True`` on packed rows. Packing is slow on a CPU; here the real
    steps of each row are turned round, the padding stays behind them, and two plain
    layers take the fast way (chapter 7 measures both).
    """

    def __init__(self, layer_class, input_size, hidden_size):
        super().__init__()
        self.hidden_size, self.bidirectional = hidden_size, True
        self.ahead = layer_class(input_size, hidden_size)
        self.back = layer_class(input_size, hidden_size)

    def forward(self, inputs, lengths):
        """Return outputs (T, N, 2H) for inputs (T, N, D), ``lengths[n]`` real in row
        n."""
        ahead, _ = self.ahead(inputs)
        back, _ = self.back(flip_padded(inputs, lengths))
        return torch.cat([ahead, flip_padded(back, lengths)], dim=2)


def flip_padded(inputs, lengths):
    """Turn round the real steps of each row, (T, N, D), and leave the padding
    behind."""
    T, N, _ = inputs.shape
    t = torch.arange(T, device=inputs.device)[:, None]  # (T, 1)
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, N)
    return inputs[source, torch.arange(N, device=inputs.device)]


def read_padded(rnn_layer, inputs, lengths):
    """Return the outputs (T, N, directions * H) of a layer that doesn't read padding.

    rnn_layer: a :class:`BothWays`, or an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time
    first; inputs: (T, N, D); lengths: real steps of each row, (N,), on the CPU.
    """
    if isinstance(rnn_layer, BothWays):
        return rnn_layer(inputs, lengths.to(inputs.device))
    if (
        not rnn_layer.bidirectional
    ):  # from the left, padding comes after all that counts
        return rnn_layer(inputs)[0]
    packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    return pad_packed_sequence(rnn_layer(packed)[0], total_length=inputs.shape[0])[0]


def real_steps(outputs, lengths):
    """Return True where a step is real, False where it is padding, (T, N, 1)."""
    t = torch.arange(outputs.shape[0], device=outputs.device)[:, None]  # (T, 1)
    return (t < lengths)[..., None]


def last_state(outputs, lengths):
    """Read out the state after the last real step, (N, D), of outputs (T, N, D).

    In two directions, the backward half has read one step only.
    """
    rows = torch.arange(outputs.shape[1], device=outputs.device)
    return outputs[lengths - 1, rows]


def both_ends_state(outputs, lengths):
    """Read out the states in which each direction has read everything, (N, 2H)."""
    ahead, _ = last_state(outputs, lengths).chunk(2, dim=1)
    _, back = outputs[0].chunk(2, dim=1)
    return torch.cat([ahead, back], dim=1)


def mean_state(outputs, lengths):
    """Read out the mean over the real steps, (N, D)."""
    return (outputs * real_steps(outputs, lengths)).sum(dim=0) / lengths[:, None]


def max_state(outputs, lengths):
    """Read out the largest value of each unit over the real steps, (N, D)."""
    real = real_steps(outputs, lengths)  # (T, N, 1)
    return outputs.masked_fill(~real, -torch.inf).amax(dim=0)


def mean_and_max(outputs, lengths):
    """Read out mean and maximum side by side, (N, 2D) (Howard and Ruder, 2018)."""
    return torch.cat([mean_state(outputs, lengths), max_state(outputs, lengths)], dim=1)


class DropWords(nn.Module):
    """In training, replace each id by ``<unk>`` with probability p: rely on no one
    word."""

    def __init__(self, p=0.1, unk=0):
        super().__init__()
        self.p, self.unk = p, unk

    def forward(self, ids):
        """Return ids of the same shape; outside training, the same ids."""
        if not self.training:
            return ids
        dropped = torch.rand(ids.shape, device=ids.device) < self.p
        return ids.masked_fill(dropped, self.unk)


class SentimentClassifier(nn.Module):
    """Read a review word by word and answer with one logit: above 0 it is positive.

    embedding: ids (T, N) to vectors (T, N, D); rnn_layer: a :class:`BothWays` or a
    layer of PyTorch, time first; readout: outputs (T, N, directions * H) and lengths
    (N,) to a row a review. ``dropout`` acts before the layer and before the answer.
    """

    def __init__(self, embedding, rnn_layer, readout=mean_and_max, dropout=0.5):
        super().__init__()
        guards.check_reader(rnn_layer, embedding)
        self.embedding, self.rnn, self.readout = embedding, rnn_layer, readout
        self.dropout = nn.Dropout(dropout)
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        one = torch.ones(1, dtype=torch.int64)
        self.linear = nn.Linear(readout(torch.zeros(1, 1, width), one).shape[1], 1)

    def forward(self, ids, lengths=None):
        """Return logits (N,) for ids (N, T), padded after their ends.

        lengths: real words of each review, (N,), on the CPU; all are real by default.
        """
        guards.check_embedded_ids(self, ids)
        if lengths is None:
            lengths = torch.full((ids.shape[0],), ids.shape[1])
        lengths = torch.as_tensor(lengths)
        guards.check_lengths(lengths, *ids.shape)
        vectors = self.dropout(self.embedding(ids.T.long()))  # (T, N, D)
        outputs = read_padded(self.rnn, vectors, lengths)  # (T, N, directions * H)
        state = self.readout(outputs, lengths.to(ids.device))
        return self.linear(self.dropout(state)).squeeze(1)  # (N,)


@torch.no_grad()
def score_reviews(model, rows, batch_size=256):
    """Return the logits (N,) of encoded reviews in their order, on the CPU, dropout
    off.

    rows: 1-D tensors of ids; those of like length share a batch.
    """
    guards.check_rows(rows)
    guards.check_sizes(batch_size=batch_size)
    rows = [as_tensor(row) for row in rows]
    guards.check_known_ids(model, rows)
    parameter = next(model.parameters())
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    result = torch.empty(len(rows), dtype=parameter.dtype)
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            ids, lengths = pad([rows[i] for i in chunk])
            result[chunk] = model(ids.to(parameter.device), lengths).to(result)
    return result


def accuracy(logits, labels):
    """Return the share of reviews whose logit has the sign of their label."""
    guards.check_labelled(logits, labels)
    logits, labels = as_tensor(logits), as_tensor(labels)
    right = (logits > 0) == labels.to(logits.device).bool()
    return float(right.double().mean())


def classification_loss(model, ids, lengths, labels):
    """Return the mean cross-entropy in nats: ids (N, T), lengths (N,), labels (N,)."""
    logits = model(ids, lengths)  # (N,)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits))


def train_steps(
    model, batches, optimizer, scheduler=None, clip=1.0, loss=classification_loss
):
    """Train on minibatches (ids, lengths, labels); yield the loss of each, a tensor.

    Optimizer and scheduler are stepped after each, the gradient norm clipped.
    """
    device = next(model.parameters()).device
    for ids, lengths, labels in batches:
        value = loss(model, ids.to(device), lengths, labels.to(device))
        optimizer.zero_grad()
        value.backward()
        clip_gradients(model.parameters(), clip)
        optimizer.step()
        torch.clear_autocast_cache()  # as in chapter 2
        if scheduler is not None:
            scheduler.step()
        yield value.detach()


def new_classifier(
    vocab_size, num_hiddens=64, embed_size=100, drop_words=0.1, **options
):
    """Make a classifier on an LSTM both ways, as the recipes of chapter 7 begin.

    The embedding (V, D) starts small, forget gates open; ``drop_words`` is the share of
    words replaced in training; options: ``readout`` and ``dropout`` of the classifier.
    """
    embedding = nn.Embedding(vocab_size, embed_size)
    nn.init.normal_(embedding.weight, std=0.1)
    layer = BothWays(nn.LSTM, embed_size, num_hiddens)
    for direction in (layer.ahead, layer.back):
        # PyTorch adds two biases; the other one stays near 0, so that the forget gates
        # start near sigmoid(1).
        nn.init.ones_(direction.bias_ih_l0.data[num_hiddens : 2 * num_hiddens])
    words = nn.Sequential(DropWords(drop_words), embedding)
    return SentimentClassifier(words, layer, **options)


@torch.no_grad()
def use_vectors(embedding, vectors, found):
    """Give an ``nn.Embedding`` (V, D) word vectors; the others get random ones alike.

    vectors, found: (V, D), and which rows are vectors, (V,), as ``data.load_glove``
    returns them; without any the embedding stays as it is.
    """
    if found.any():
        nn.init.normal_(embedding.weight, std=float(vectors[found].std()))
        embedding.weight[found] = vectors[found].to(embedding.weight)


def new_optimizer(model, num_steps, lr=3e-3, embedding_lr=None):
    """Return AdamW and a schedule over num_steps minibatches: up for 15 %, then to 0.

    ``lr`` and ``embedding_lr`` are the highest rates, by default the same.
    """
    words = list(model.embedding.parameters())
    others = [p for p in model.parameters() if all(p is not word for word in words)]
    groups = [{"params": words}, {"params": others}]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.0)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [embedding_lr or lr, lr],
        total_steps=num_steps,
        pct_start=0.15,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
