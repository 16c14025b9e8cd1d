"""Train, pretrain and question a classifier of reviews (built in chapter 7)."""

import contextlib
import copy
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import models, reviews
from rnnlib.scratch import check_sizes, clip_gradients
from rnnlib.training import Diverged, History, check_optimizer


class Progress(History):
    """What happened in each round of training a classifier: a list of dicts, as :class:`rnnlib.training.History`.

    The keys are ``epoch`` (a fraction), ``loss`` (mean cross-entropy in nats while learning), ``valid_loss`` and
    ``accuracy`` (on held-out reviews; None where they weren't measured) and ``seconds``.
    """

    keys = ("epoch", "loss", "valid_loss", "accuracy", "seconds")

    @property
    def best(self):
        """The row with the highest held-out accuracy.

        Raises:
            ValueError: while none is measured.
        """
        measured = [row for row in self if row["accuracy"] is not None]
        if not measured:
            raise ValueError("no held-out accuracy is measured yet: give fit_classifier a valid=(rows, labels)")
        return max(measured, key=lambda row: row["accuracy"])

    def plot(self):
        """Return a matplotlib Figure of the curves."""
        from rnnlib import plots

        return plots.accuracy_figure(self)


@torch.no_grad()
def logits(model, rows, batch_size=256):
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
            ids, lengths = reviews.pad([rows[i] for i in chunk])
            result[chunk] = model(ids.to(parameter.device), lengths.to(parameter.device)).cpu()
    finally:
        model.train(was_training)
    return result


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


def fit_classifier(model, batches, epochs, optimizer, valid=None, rounds=10, report=None, **options):
    """Train a classifier, watch it live, and keep the weights of the epoch that was best on held-out reviews.

    The kernel's stop button ends it; the model is then the best so far.

    Args:
        model, batches, optimizer: as in :func:`train_steps`; ``len(batches)`` is the number of minibatches in an
            epoch.
        epochs: passes over the batches.
        valid: held-out rows and labels, measured after every epoch.
        rounds: how often an epoch reports.
        report: called as ``report(progress, status, final)``; by default the live curve in Jupyter and a line of text
            elsewhere.
        **options: ``scheduler``, ``clip`` and ``loss``, for :func:`train_steps`.

    Returns:
        Progress: one dict a round; ``.plot()`` draws it again.

    Raises:
        ValueError: for a number of epochs below 1, batches that are empty or have no length, or an optimizer of another
            model.
    """
    check_sizes(epochs=epochs, rounds=rounds)
    check_batches(batches)
    check_optimizer(optimizer, model)
    if report is None:
        from rnnlib import plots

        report = plots.live_report(plots.AccuracyCurve)
    progress, best, start = Progress(), None, time.perf_counter()
    every = math.ceil(len(batches) / rounds)
    status = ""
    try:
        for epoch in range(epochs):
            model.train()
            losses = []
            for done, value in enumerate(train_steps(model, batches, optimizer, **options), start=1):
                losses.append(value)
                if done % every and done < len(batches):
                    continue
                row = {"epoch": epoch + done / len(batches), "loss": sum(losses) / len(losses)}
                progress.append(row | dict(valid_loss=None, accuracy=None, seconds=time.perf_counter() - start))
                losses = []
                if done == len(batches) and valid is not None:
                    progress[-1].update(evaluate(model, *valid))
                    if progress[-1] is progress.best:
                        best = copy.deepcopy(model.state_dict())
                status = progress_line(progress, epochs)
                report(progress, status, False)
        progress.status = "finished"
    except KeyboardInterrupt:
        progress.status = "stopped"
        status = " · ".join(part for part in ("stopped", status, "the model is kept") if part)
    except Diverged as error:
        progress.status = "diverged"
        status = f"stopped: {error}. Try a smaller learning rate"
    if best is not None:
        model.load_state_dict(best)
    # A second press on the stop button may fall into the last drawing; the progress must come back all the same.
    with contextlib.suppress(KeyboardInterrupt):
        report(progress, status, True)
    return progress


def check_batches(batches):
    """Raise a ValueError that names the remedy unless these are one or more minibatches, and it is known how many."""
    if not hasattr(batches, "__len__"):
        raise ValueError(
            f"a {type(batches).__name__} doesn't know how many minibatches it has: give a list or reviews.Buckets(...)"
        )
    if len(batches) == 0:
        raise ValueError("the batches are empty: give a list or reviews.Buckets(...) with at least one minibatch")


def evaluate(model, rows, labels):
    """Return held-out loss in nats and accuracy, under the names that :class:`Progress` has for them."""
    scores, labels = logits(model, rows), torch.as_tensor(labels)
    loss = F.binary_cross_entropy_with_logits(scores, labels.float())
    return {"valid_loss": float(loss), "accuracy": accuracy(scores, labels)}


def progress_line(progress, epochs):
    """Describe a training in one line: epoch, losses, accuracy and the time still to go."""
    row = progress[-1]
    left = row["seconds"] * (epochs / row["epoch"] - 1)
    parts = [f"epoch {row['epoch']:.1f}/{epochs}", f"loss {row['loss']:.3f}"]
    if progress.column("accuracy")[1]:
        parts.append(
            f"held-out accuracy {progress.column('accuracy')[1][-1]:.1%} (best {progress.best['accuracy']:.1%})"
        )
    if left:
        parts.append(f"ETA {int(left) // 60}:{int(left) % 60:02d} · ■ stops")
    return " · ".join(parts)


def new_classifier(vocab_size, num_hiddens=64, embed_size=100, drop_words=0.1, **options):
    """Make a classifier on an LSTM in both directions, as the recipes of chapter 7 begin.

    Args:
        vocab_size, embed_size: V and D of the embedding, whose numbers start small.
        num_hiddens: units H of each direction; their forget gates start open (chapter 5).
        drop_words: the probability with which a word is replaced by ``<unk>``, in training.
        **options: ``readout`` and ``dropout`` of :class:`rnnlib.models.SentimentClassifier`.
    """
    embedding = nn.Embedding(vocab_size, embed_size)
    nn.init.normal_(embedding.weight, std=0.1)
    layer = models.BothWays(nn.LSTM, embed_size, num_hiddens)
    for direction in (layer.ahead, layer.back):
        # PyTorch adds two biases; the other one stays near 0, so that the forget gates start near sigmoid(1).
        nn.init.ones_(direction.bias_ih_l0.data[num_hiddens : 2 * num_hiddens])
    return models.SentimentClassifier(nn.Sequential(models.DropWords(drop_words), embedding), layer, **options)


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


def chunks(rows, length):
    """Cut encoded reviews into pieces of at most ``length`` words, at least two each: rows for :func:`pretrain`."""
    return [piece for row in rows for piece in row.split(length) if len(piece) > 1]


class TwoLanguageModels(nn.Module):
    """The embedding and the layer of a classifier as two language models, one reading ahead and one reading back.

    At a step, the forward states have not read the next word, nor the backward states the one before, so each has
    something to guess (as in ELMo; Peters et al., 2018). The embedding also serves as the matrix of the read-out.

    Args:
        embedding: an ``nn.Embedding`` (V, D).
        layer: a :class:`rnnlib.models.BothWays`.
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
        later = models.real_steps(outputs, lengths)[1:, :, 0]  # (T - 1, N)
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
        classifier: as :func:`new_classifier` makes it.
        rows: encoded reviews, whole ones, without labels.
        epochs: passes over them.
        length, batch_size: the reviews are cut into pieces of so many words, and so many pieces make a batch.
        lr: the highest learning rate of Adam.
        seed: of the order.
        report: as in :func:`fit_classifier`.

    Returns:
        Progress: the loss in nats a word is measured against noise words, so it is no perplexity.
    """
    embedding = classifier.embedding[-1]
    counts = torch.bincount(torch.cat(list(rows)), minlength=embedding.num_embeddings)
    pair = TwoLanguageModels(embedding, classifier.rnn, counts).to(embedding.weight.device)
    pieces = chunks(rows, length)
    batches = reviews.Buckets(pieces, torch.zeros(len(pieces)), batch_size, seed)
    optimizer, scheduler = new_optimizer(pair, epochs * len(batches), lr)
    return fit_classifier(pair, batches, epochs, optimizer, report=report, scheduler=scheduler, loss=language_loss)
