"""Judging reviews: words, padding, read-outs, a classifier and its training (built in chapter 7)."""

import collections
import re
import reprlib

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib.gradients import clip_gradients
from rnnlib.guards import Diverged, check_lengths, check_reader, check_sizes, is_whole
from rnnlib.layers import num_directions
from rnnlib.text import Vocab

UNK, PAD = 0, 1  # ids in every vocabulary of reviews: two, or padding would be read as an unknown word


# A word, a part of a contraction as GloVe's authors cut it (do|n't, it|'s, we|'ll), a run of dots, or another sign.
TOKEN = re.compile(r"[^\W\d_]+(?=n't)|n't|'(?:s|m|re|ve|ll|d)\b|\w+|\.{2,}|[^\w\s]")


def tokenize_review(text):
    """Cut a review into lower-case words and signs; line breaks in HTML, ``<br />``, count as white space.

    >>> tokenize_review("It's GOOD,<br />isn't it?")
    ['it', "'s", 'good', ',', 'is', "n't", 'it', '?']
    """
    return TOKEN.findall(text.replace("<br />", " ").replace("’", "'").lower())


def review_vocab(texts, size=25_000):
    """Return a Vocab of the most frequent words of many texts, with ``<unk>`` as id 0 and ``<pad>`` as id 1.

    Args:
        texts: an iterable of reviews as they were written; training reviews alone, or the test leaks into the ids.
        size: number of ids, the two reserved ones included.

    Raises:
        ValueError: for one text instead of many, for texts without words, or a size below 3.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts={reprlib.repr(texts)} is one review: give a list of them")
    if not is_whole(size, 3):
        raise ValueError(f"size={size!r} must be a whole number of at least 3, since <unk> and <pad> take two ids")
    counts = collections.Counter()
    for text in texts:
        counts.update(tokenize_review(text))
    return Vocab([word for word, _ in counts.most_common(size - 2)], reserved=("<pad>",))


def encode(text, vocab):
    """Return the ids of a review's words, a 1-D tensor; a review without words becomes one ``<unk>``."""
    return torch.tensor(vocab[tokenize_review(text)] or [UNK])


def head(ids, length):
    """Keep the first words of a review."""
    check_sizes(length=length)
    return ids[:length]


def tail(ids, length):
    """Keep the last words of a review, where most reviewers give their verdict."""
    check_sizes(length=length)
    return ids[-length:]


def both_ends(ids, length):
    """Keep the first quarter of the length from the beginning of a review, the rest from its end."""
    check_sizes(length=length)
    first = length // 4
    return ids if len(ids) <= length else torch.cat([ids[:first], ids[first - length :]])


def pad(rows, length=0):
    """Put rows of unlike length into one tensor, ``<pad>`` after their ends.

    Args:
        rows: N tensors of ids, each with at least one.
        length: pad further, to this length at least.

    Returns:
        ids (N, T) and lengths (N,).

    Raises:
        ValueError: for no rows at all.
    """
    check_sizes(rows=len(rows))
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), max(length, int(lengths.max()))), PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, lengths


def bucket_order(lengths, batch_size, generator, stretch=50):
    """Sort reviews into minibatches of like length, in random order.

    Args:
        lengths: words of each review.
        batch_size: reviews in a minibatch; the last ones may have fewer.
        generator: torch.Generator of the order.
        stretch: so many minibatches' worth of shuffled reviews are sorted by length together.

    Returns:
        A list of lists of positions, in which every review stands once.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), stretch * batch_size):
        alike = sorted(order[start : start + stretch * batch_size], key=lambda i: lengths[i])
        batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class Buckets:
    """Minibatches of reviews of like length, in a new order at every pass, so that little of a batch is padding.

    Every pass yields each review once, in the order of :func:`bucket_order`: ids (N, T), lengths (N,), labels (N,).

    Args:
        rows: encoded reviews, 1-D tensors of ids.
        labels: 0 or 1 for each.
        batch_size: reviews N in a batch; the last one of a pass may have fewer.
        seed: of the order.

    Raises:
        ValueError: for no reviews at all, or another number of labels.
    """

    stretch = 50

    def __init__(self, rows, labels, batch_size, seed=0):
        check_sizes(batch_size=batch_size)
        self.rows, self.labels = [torch.as_tensor(row) for row in rows], torch.as_tensor(labels)
        if not self.rows or len(self.rows) != len(self.labels):
            raise ValueError(
                f"{len(self.rows)} reviews and {len(self.labels)} labels: give one label for each, at least one"
            )
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        lengths = [len(row) for row in self.rows]
        for places in bucket_order(lengths, self.batch_size, self._generator, self.stretch):
            yield *pad([self.rows[i] for i in places]), self.labels[places]


def hold_out_blocks(reviews, num_valid=1250):
    """Hold out a block of each class, its last ids: within a class, reviews of one film have neighbouring ids.

    So no film has its praise, or its blame, on both sides. The classes have their films in different orders, though:
    a film whose praise is held out may have its blame among the training reviews.

    Args:
        reviews: sorted by label and id, as :func:`rnnlib.data.load_imdb` returns them.
        num_valid: reviews of each class to hold out, those with the highest ids.

    Returns:
        Two lists of reviews, for training and for validation.

    Raises:
        ValueError: if a class has no more reviews than are to be held out.
    """
    train, valid = [], []
    for label in (0, 1):
        group = [review for review in reviews if review.label == label]
        if not 0 < num_valid < len(group):
            raise ValueError(f"num_valid={num_valid} must be at least 1 and below {len(group)}")
        train += group[:-num_valid]
        valid += group[-num_valid:]
    return train, valid


class BothWays(nn.Module):
    """A recurrent layer in both directions over padded rows, which never reads padding.

    What it computes is what ``bidirectional=True`` computes on packed rows. Packing takes the slow way through
    PyTorch on a CPU, one small step after another; here each row's real steps are turned round, the padding stays
    behind them, and two plain layers take the fast way (chapter 7 measures both).

    Args:
        layer_class: ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``.
        input_size, hidden_size: numbers in an input vector, and hidden units H of each direction.
    """

    def __init__(self, layer_class, input_size, hidden_size):
        super().__init__()
        self.hidden_size, self.bidirectional = hidden_size, True
        self.ahead, self.back = layer_class(input_size, hidden_size), layer_class(input_size, hidden_size)

    def forward(self, inputs, lengths):
        """Return outputs (T, N, 2H) for inputs (T, N, D) of which row n has ``lengths[n]`` real steps."""
        ahead, _ = self.ahead(inputs)
        back, _ = self.back(flip_padded(inputs, lengths))
        return torch.cat([ahead, flip_padded(back, lengths)], dim=2)


def flip_padded(inputs, lengths):
    """Turn round the real steps of each row, (T, N, D), and leave the padding after them where it is."""
    t = torch.arange(len(inputs), device=inputs.device)[:, None]  # (T, 1)
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, N)
    return inputs[source, torch.arange(inputs.shape[1], device=inputs.device)]


def read_padded(rnn_layer, inputs, lengths):
    """Return the outputs (T, N, directions * H) of a recurrent layer that doesn't read padding.

    Args:
        rnn_layer: a :class:`BothWays`, or an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first.
        inputs: (T, N, D).
        lengths: real steps of each row, (N,).
    """
    if isinstance(rnn_layer, BothWays):
        return rnn_layer(inputs, lengths)
    if not rnn_layer.bidirectional:
        return rnn_layer(inputs)[0]  # read from the left, padding comes after everything that counts
    packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
    return pad_packed_sequence(rnn_layer(packed)[0], total_length=len(inputs))[0]


def real_steps(outputs, lengths):
    """Return True where a step is real, False where it is padding, (T, N, 1)."""
    return (torch.arange(len(outputs), device=outputs.device)[:, None] < lengths)[..., None]


def last_state(outputs, lengths):
    """Read out the state after the last real step, (N, D): of one direction; in two, the backward one has read little.

    Args:
        outputs: (T, N, D).
        lengths: real steps, (N,).
    """
    return outputs[lengths - 1, torch.arange(len(lengths), device=outputs.device)]


def both_ends_state(outputs, lengths):
    """Read out the state in which each of two directions has read everything, (N, 2H): ``h_n`` of a packed layer."""
    ahead, _ = last_state(outputs, lengths).chunk(2, dim=1)
    _, back = outputs[0].chunk(2, dim=1)
    return torch.cat([ahead, back], dim=1)


def mean_state(outputs, lengths):
    """Read out the mean over the real steps, (N, D)."""
    return (outputs * real_steps(outputs, lengths)).sum(dim=0) / lengths[:, None]


def max_state(outputs, lengths):
    """Read out the largest value of each unit over the real steps, (N, D)."""
    return outputs.masked_fill(~real_steps(outputs, lengths), -torch.inf).amax(dim=0)


def mean_and_max(outputs, lengths):
    """Read out mean and maximum side by side, (N, 2D) (Howard and Ruder, 2018)."""
    return torch.cat([mean_state(outputs, lengths), max_state(outputs, lengths)], dim=1)


class DropWords(nn.Module):
    """In training, replace each id by ``<unk>`` with probability p, so that no single word is relied upon."""

    def __init__(self, p=0.1, unk=0):
        super().__init__()
        self.p, self.unk = p, unk

    def forward(self, ids):
        """Return ids of the same shape; outside training, the same ids."""
        if not self.training:
            return ids
        return ids.masked_fill(torch.rand(ids.shape, device=ids.device) < self.p, self.unk)


class SentimentClassifier(nn.Module):
    """Read a review word by word and answer with one logit: above 0 it is positive.

    Args:
        embedding: a module that turns ids (T, N) into vectors (T, N, D), such as an ``nn.Embedding``, or
            ``nn.Sequential(DropWords(), nn.Embedding(...))``.
        rnn_layer: a :class:`BothWays`, or an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first.
        readout: turns outputs (T, N, directions * H) and lengths (N,) into one row a review, such as
            :func:`mean_and_max`, :func:`max_state` or :func:`last_state`.
        dropout: the probability with which numbers are dropped before the layer and before the answer, in training.

    Raises:
        ValueError: if the layer is batch first or projects its states, or if the embedding is wider or narrower than
            what it reads.
    """

    def __init__(self, embedding, rnn_layer, readout=mean_and_max, dropout=0.5):
        super().__init__()
        check_reader(rnn_layer, embedding)
        self.embedding, self.rnn, self.readout = embedding, rnn_layer, readout
        self.dropout = nn.Dropout(dropout)
        width = num_directions(rnn_layer) * rnn_layer.hidden_size
        width = readout(torch.zeros(1, 1, width), torch.ones(1, dtype=torch.int64)).shape[1]
        self.linear = nn.Linear(width, 1)

    def forward(self, ids, lengths=None):
        """Return logits (N,) for ids (N, T).

        Args:
            ids: words, padded after their ends.
            lengths: real words of each review, (N,), each at least 1; all are real by default.

        Raises:
            ValueError: unless lengths is one whole number from 1 to T for each review.
        """
        if lengths is None:
            lengths = torch.full((len(ids),), ids.shape[1])
        check_lengths(lengths, *ids.shape)
        lengths = lengths.to(ids.device)
        vectors = self.dropout(self.embedding(ids.T))  # (T, N, D)
        outputs = read_padded(self.rnn, vectors, lengths)  # (T, N, directions * H)
        return self.linear(self.dropout(self.readout(outputs, lengths))).squeeze(1)  # (N,)


def accuracy(logits, labels):
    """Return the share of reviews whose logit has the sign of their label.

    Raises:
        ValueError: if logits and labels have different shapes.
    """
    labels = torch.as_tensor(labels)
    if logits.shape != labels.shape:
        shapes = f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}"
        raise ValueError(f"{shapes}: the two must have the same shape, one label for each logit")
    return float(((logits > 0) == labels.bool()).double().mean())


def classification_loss(model, ids, lengths, labels):
    """Return the mean cross-entropy of a classifier in nats, for ids (N, T), lengths (N,) and labels (N,)."""
    return F.binary_cross_entropy_with_logits(model(ids, lengths), labels.float())


def train_steps(model, batches, optimizer, scheduler=None, clip=1.0, loss=classification_loss):
    """Train on minibatches of ids, lengths and labels, and yield the loss of each in nats.

    Args:
        model: ``model(ids, lengths)`` gives logits (N,).
        batches: yields ids (N, T), lengths (N,) and labels (N,).
        optimizer, scheduler: both stepped after every minibatch.
        clip: the largest gradient norm to allow.
        loss: ``loss(model, ids, lengths, labels)`` gives what is to become small.

    Raises:
        Diverged: when the gradient is no longer finite; the parameters keep their last finite values.
    """
    device = next(model.parameters()).device
    for ids, lengths, labels in batches:
        value = loss(model, ids.to(device), lengths.to(device), labels.to(device))
        optimizer.zero_grad()
        value.backward()
        norm = clip_gradients(model.parameters(), clip)
        if not torch.isfinite(norm):
            raise Diverged(f"the loss is {float(value.detach()):.3g}, the gradient {norm}")
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield float(value.detach())


def new_classifier(vocab_size, num_hiddens=64, embed_size=100, drop_words=0.1, **options):
    """Make a classifier on an LSTM in both directions, as the recipes of chapter 7 begin.

    Args:
        vocab_size, embed_size: V and D of the embedding, whose numbers start small.
        num_hiddens: units H of each direction; their forget gates start open (chapter 5).
        drop_words: the probability with which a word is replaced by ``<unk>``, in training.
        **options: ``readout`` and ``dropout`` of :class:`rnnlib.sentiment.SentimentClassifier`.
    """
    embedding = nn.Embedding(vocab_size, embed_size)
    nn.init.normal_(embedding.weight, std=0.1)
    layer = BothWays(nn.LSTM, embed_size, num_hiddens)
    for direction in (layer.ahead, layer.back):
        # PyTorch adds two biases; the other one stays near 0, so that the forget gates start near sigmoid(1).
        nn.init.ones_(direction.bias_ih_l0.data[num_hiddens : 2 * num_hiddens])
    return SentimentClassifier(nn.Sequential(DropWords(drop_words), embedding), layer, **options)


@torch.no_grad()
def use_vectors(embedding, vectors, found):
    """Give an embedding (V, D) word vectors learned elsewhere; the other words get random ones of the same spread.

    Args:
        embedding: an ``nn.Embedding``; without any vector it stays as it is.
        vectors, found: (V, D), and which of the rows are vectors, (V,), as :func:`rnnlib.data.load_glove` returns them.
    """
    if found.any():
        nn.init.normal_(embedding.weight, std=float(vectors[found].std()))
        embedding.weight[found] = vectors[found].to(embedding.weight)


def new_optimizer(model, num_steps, lr=3e-3, embedding_lr=None):
    """Return AdamW and a schedule: the learning rate rises for 15 % of the minibatches and falls to 0 in the rest.

    Args:
        model: has an ``embedding``, which may learn at a rate of its own.
        num_steps: minibatches in the whole training.
        lr, embedding_lr: the highest learning rates, by default the same.
    """
    words = list(model.embedding.parameters())
    others = [p for p in model.parameters() if all(p is not word for word in words)]
    optimizer = torch.optim.AdamW([{"params": words}, {"params": others}], lr=lr, weight_decay=0.0)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [embedding_lr or lr, lr],
        total_steps=num_steps,
        pct_start=0.15,
        anneal_strategy="linear",
        cycle_momentum=False,
    )


@torch.no_grad()
def score_reviews(model, rows, batch_size=256):
    """Return the logits of encoded reviews, (N,) in their order, on the CPU; dropout is off meanwhile.

    Args:
        model: ``model(ids, lengths)`` gives logits (N,).
        rows: 1-D tensors of ids.
        batch_size: reviews in a batch; reviews of like length share one.

    Raises:
        ValueError: for a batch_size that is not a whole number of at least 1.
    """
    check_sizes(batch_size=batch_size)
    parameter, was_training = next(model.parameters()), model.training
    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    result = torch.empty(len(rows), dtype=parameter.dtype)
    try:
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            ids, lengths = pad([rows[i] for i in chunk])
            result[chunk] = model(ids.to(parameter.device), lengths.to(parameter.device)).cpu()
    finally:
        model.train(was_training)
    return result
