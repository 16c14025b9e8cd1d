"""Learn from reviews without their labels: the layer of a classifier as two language models."""

import torch
from torch import nn

from rnnlib import sentiment, training


def chunks(rows, length):
    """Cut encoded reviews into pieces of at most ``length`` words, at least two each: rows for :func:`pretrain`."""
    return [piece for row in rows for piece in row.split(length) if len(piece) > 1]


class TwoLanguageModels(nn.Module):
    """The embedding and the layer of a classifier as two language models, one reading ahead and one reading back.

    At a step, the forward states have not read the next word, nor the backward states the one before, so each has
    something to guess (as in ELMo; Peters et al., 2018). The embedding also serves as the matrix of the read-out.

    Args:
        embedding: an ``nn.Embedding`` (V, D).
        layer: a :class:`rnnlib.sentiment.BothWays`.
        counts: how often each word occurs, (V,).
        num_noise: words K that stand in for the whole vocabulary in the softmax.
        dropout: the probability with which numbers are dropped before and after the layer, in training.
    """

    def __init__(self, embedding, layer, counts, num_noise=512, dropout=0.2):
        super().__init__()
        self.embedding, self.rnn, self.num_noise, self.dropout = embedding, layer, num_noise, nn.Dropout(dropout)
        self.projections = nn.ModuleList(nn.Linear(layer.hidden_size, embedding.embedding_dim) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))
        noise = torch.as_tensor(counts).float().clamp(min=1) ** 0.75
        self.register_buffer("noise", noise / noise.sum())  # (V,)

    def forward(self, ids, lengths):
        """Return the mean loss of both directions in nats a word, for ids (N, T)."""
        lengths = lengths.to(ids.device)
        outputs = self.dropout(self.rnn(self.dropout(self.embedding(ids.T)), lengths))  # (T, N, 2H)
        ahead, back = outputs.chunk(2, dim=2)
        later = sentiment.real_steps(outputs, lengths)[1:, :, 0]  # (T - 1, N)
        return (
            self.loss(self.projections[0](ahead[:-1][later]), ids.T[1:][later])
            + self.loss(self.projections[1](back[1:][later]), ids.T[:-1][later])
        ) / 2

    def loss(self, guesses, targets):
        """Return the loss of guesses (M, D) of words (M,) against K noise words (Jean et al., 2015)."""
        others = torch.multinomial(self.noise, self.num_noise, replacement=True)  # (K,)
        right = (guesses * self.embedding(targets)).sum(dim=1) + self.bias[targets]  # (M,)
        wrong = guesses @ self.embedding(others).T + self.bias[others]  # (M, K)
        # Each noise word stands for all that are not drawn: weighted so, their sum is right on average.
        wrong = wrong - (self.num_noise * self.noise[others]).log()
        wrong = wrong.masked_fill(targets[:, None] == others, -torch.inf)
        return (torch.logsumexp(torch.cat([right[:, None], wrong], dim=1), dim=1) - right).mean()


def language_loss(model, ids, lengths, labels):
    """Return the loss of :class:`TwoLanguageModels`; the labels are not read."""
    return model(ids, lengths)


def pretrain(classifier, rows, epochs, length=128, batch_size=64, lr=3e-3, seed=0, report=None):
    """Train the embedding and the layer of a classifier as two language models (Dai and Le, 2015), without any label.

    Args:
        classifier: as :func:`rnnlib.sentiment.new_classifier` makes it.
        rows: encoded reviews, whole ones, without labels.
        epochs: passes over them.
        length, batch_size: the reviews are cut into pieces of so many words, and so many pieces make a batch.
        lr: the highest learning rate of Adam.
        seed: of the order.
        report: as in :func:`rnnlib.training.fit_classifier`.

    Returns:
        Progress: the loss in nats a word is measured against noise words, so it is no perplexity.
    """
    embedding = classifier.embedding[-1]
    counts = torch.bincount(torch.cat(list(rows)), minlength=embedding.num_embeddings)
    pair = TwoLanguageModels(embedding, classifier.rnn, counts).to(embedding.weight.device)
    pieces = chunks(rows, length)
    batches = sentiment.Buckets(pieces, torch.zeros(len(pieces)), batch_size, seed)
    optimizer, scheduler = sentiment.new_optimizer(pair, epochs * len(batches), lr)
    return training.fit_classifier(
        pair, batches, epochs, optimizer, report=report, scheduler=scheduler, loss=language_loss
    )
