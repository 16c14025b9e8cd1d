"""Pretraining from random vectors on the training reviews alone, for the ladder of IMDB."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import pretraining
from rnnlib import environment, sentiment, training


def pretrain(model, rows, held_out, epochs=3, lr=3e-3, length=128, batch_size=64):
    """Train the words' vectors and the layer of a reader as two language models; return held-out nats a word.

    model: a :class:`benchmarks.imdb_inputs.StarReader` of words; rows, held_out: encoded reviews. The read-out begins
    at the frequencies of the words, so the layer has only to learn what the context adds.
    """
    words, counts = (
        model.embedding.words,
        torch.bincount(torch.cat(rows), minlength=model.embedding.words.num_embeddings),
    )
    embedding = nn.Embedding.from_pretrained(words.weight.data.clone(), freeze=False)
    pair = pretraining.TwoLanguageModels(embedding, model.rnn, counts)
    pair.bias.data = (counts.clamp(min=1) / counts.sum()).log()
    pieces = pretraining.chunks(rows, length)
    batches = sentiment.Buckets(pieces, torch.zeros(len(pieces)), batch_size)
    optimizer, scheduler = sentiment.new_optimizer(pair, epochs * len(batches), lr)
    options = {"scheduler": scheduler, "loss": pretraining.language_loss, "report": print_status}
    with environment.bfloat16_where_fast():
        training.fit_classifier(pair, batches, epochs, optimizer, **options)
    words.weight.data.copy_(embedding.weight.data)
    return nats_a_word(pair, held_out)


@torch.no_grad()
def begin_with(model, weights):
    """Give a reader the vectors and the layer of a pretrained one of words; what reads its runs stays as it is."""
    model.embedding.words.weight.copy_(weights["words"])
    for name, weight in model.rnn.state_dict().items():
        known = weights["rnn"][name]
        weight[..., : known.shape[-1]] = known  # of (4H, D), the columns of words come first


def print_status(progress, status, final):
    print(status, flush=True)


@torch.no_grad()
def nats_a_word(pair, rows):
    """Return the loss of two language models, both directions' mean, against the whole vocabulary."""
    pair.loss = lambda guesses, targets: F.cross_entropy(guesses @ pair.embedding.weight.T + pair.bias, targets)
    with environment.evaluating(pair):
        losses = [len(row) * pair(*sentiment.pad([row])) for row in rows if len(row) > 1]
    return float(sum(losses) / sum(len(row) for row in rows if len(row) > 1))
