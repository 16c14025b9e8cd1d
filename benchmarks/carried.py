"""How small can a network become for a page, and how far does it go astray? Kept in rnnlib/results/carried.json.

    python -m benchmarks.carried             trains chapter 7's classifier first, some minutes
    python -m benchmarks.carried FILE        takes its weights from a file, as torch.save keeps a state_dict

Chapter 5's three networks travel in numbers of 16 bits: the kilobytes of each, compressed, and its largest difference
of a probability on held-out text. Chapter 7's classifier is too large for that: for so many words and so coarse a step,
the kilobytes, and what every fourth held-out review becomes: how many are right, how many have the verdict of the whole
network, and by how much P(positive) moves.
"""

import gzip
import json
import sys

import torch

import rnnlib
from benchmarks import imdb, record
from rnnlib import data, pretrained, sentiment, text
from rnnlib.explore import carried, frames, gates

SMALLER = ((25_000, 2.0), (25_000, 3.0), (20_000, 2.0), (20_000, 3.0), (15_000, 2.0), (15_000, 3.0), (10_000, 3.0))


def kilobytes(network):
    """Return the size of a network in a page as it is sent."""
    return round(len(gzip.compress(json.dumps(network, ensure_ascii=False).encode())) / 1000)


@torch.no_grad()
def letters():
    """Yield a row for each of chapter 5's networks."""
    corpus = text.clean(data.load_text("time_machine"))
    held_out = corpus[int(0.9 * len(corpus)) :][:4000]
    for name in ("rnn", "gru", "lstm"):
        model, vocab = pretrained.load_model(f"time_machine_{name}")
        ids = torch.tensor(vocab[list(held_out)]).view(40, 100)
        whole, rounded = (each(ids)[0].softmax(-1) for each in (model, frames.rounded(model)))
        same = (whole.argmax(-1) == rounded.argmax(-1)).double().mean()
        size = kilobytes(gates.page_network(frames.rounded(model), vocab))
        row = {"network": name, "kB": size, "exact_kB": kilobytes(gates.page_network(model, vocab))}
        yield row | {
            "largest_difference": float(f"{(whole - rounded).abs().max():.1e}"),
            "same_guess": round(float(same), 5),
        }


def reviews(halves, model):
    """Yield a row for each size and step of a classifier."""
    rows, labels = halves.tails("valid")[::4], halves.labels("valid")[::4]
    whole = sentiment.score_reviews(model, rows)
    yield {"network": "classifier", "words": len(halves.vocab), "right": round(sentiment.accuracy(whole, labels), 4)}
    for size, step in SMALLER:
        small, vocab = carried.smaller(model, halves.vocab, [], size, step)
        known = [torch.where(row < size, row, sentiment.UNK) for row in rows]
        logits = sentiment.score_reviews(small, known)
        moved = (logits.sigmoid() - whole.sigmoid()).abs()
        yield {
            "network": "classifier",
            "words": size,
            "step": step,
            "kB": kilobytes(carried.network(small, vocab, imdb.LENGTH)),
            "right": round(sentiment.accuracy(logits, labels), 4),
            "same_verdict": round(float(((logits > 0) == (whole > 0)).double().mean()), 4),
            "mean_move": round(float(moved.mean()), 4),
            "move_of_99_in_100": round(float(moved.quantile(0.99)), 3),
        }


def main(weights=None):
    """Measure both and write the record."""
    rnnlib.setup(0)
    rows = list(letters())
    print(*rows, sep="\n", flush=True)
    halves = imdb.Halves()
    model = halves.new_classifier()
    if weights:
        model.load_state_dict(torch.load(weights))
    else:
        imdb.train(halves, model)
    for row in reviews(halves, model.eval()):
        rows.append(row)
        print(row, flush=True)
    record.write("carried", rows, "Networks made small enough for a page.")


if __name__ == "__main__":
    main(*sys.argv[1:])
