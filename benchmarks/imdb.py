"""Chapter 7's runs on the 50,000 reviews, each recorded in rnnlib/results/imdb.json.

    python -m benchmarks.imdb                  all of them, about two hours on one thread
    python -m benchmarks.imdb recipe padding   some of them; the rows of the others stay as they are

The last 1,250 ids of each class of the training half are held out: they choose the epoch and every setting. The test
half is read by finished models alone. Minutes are CPU minutes on one thread, with loading and encoding left out.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

import rnnlib
from benchmarks import naive_bayes, pretraining, record
from rnnlib import baselines, data, sentiment, training

SCORES = Path(__file__).resolve().parent.parent / "build" / "imdb"  # logits on held-out and test reviews, by run
SEEDS = (0, 1, 2)
LENGTH = 400  # words kept of a review, its last


def official_parts():
    """Return the official 50,000 reviews: training part, held-out part and test half, by name."""
    train, test = data.load_imdb("train"), data.load_imdb("test")
    if len(train) + len(test) != 50_000:
        sys.exit("The official 50,000 reviews are not all here; the lines above say why.")
    train, valid = sentiment.hold_out_blocks(train)
    return {"train": train, "valid": valid, "test": test}


class Halves:
    """The reviews: training part, held-out part and official test half, as texts, ids and labels."""

    def __init__(self):
        self.parts = official_parts()
        started = time.process_time()
        self.vocab = sentiment.review_vocab(review.text for review in self.parts["train"])
        self.rows = {
            part: [sentiment.encode(review.text, self.vocab) for review in self.parts[part]] for part in self.parts
        }
        self.encoding_seconds = time.process_time() - started
        self.glove = data.load_glove(100, self.vocab.tokens)
        if not self.glove[1].any():
            sys.exit("The runs begin with GloVe's vectors; the line above says how to get them.")

    def new_classifier(self, num_hiddens=64):
        """Return the classifier of the recipe, with GloVe's vectors."""
        model = sentiment.new_classifier(len(self.vocab), num_hiddens)
        sentiment.use_vectors(model.embedding[-1], *self.glove)
        return model

    def labels(self, part):
        return torch.tensor([review.label for review in self.parts[part]])

    def texts(self, part):
        return [review.text for review in self.parts[part]]

    def tails(self, part, keep=sentiment.tail, length=LENGTH):
        return [keep(row, length) for row in self.rows[part]]


def scored(halves, name, model, **cut):
    """Return accuracies of a model on the held-out and the test reviews, and keep its logits."""
    return judged(
        halves, name, {part: sentiment.score_reviews(model, halves.tails(part, **cut)) for part in ("valid", "test")}
    )


def judged(halves, name, logits):
    """Return the accuracies of logits on the held-out and the test reviews, and keep them."""
    SCORES.mkdir(parents=True, exist_ok=True)
    torch.save(logits, SCORES / f"{name}.pt")
    return {part: round(100 * sentiment.accuracy(logits[part], halves.labels(part)), 2) for part in logits}


def train(halves, model, epochs=4, lr=3e-3, seed=0, embedding_lr=1e-3, batches=sentiment.Buckets, **cut):
    """Train a classifier on the training part with the recipe of the chapter; return the CPU minutes."""
    started = time.process_time()
    batches = batches(halves.tails("train", **cut), halves.labels("train"), 64, seed)
    optimizer, scheduler = sentiment.new_optimizer(model, epochs * len(batches), lr, embedding_lr)
    valid = halves.tails("valid", **cut), halves.labels("valid")
    training.fit_classifier(model, batches, epochs, optimizer, valid, scheduler=scheduler)
    return round((time.process_time() - started) / 60, 2)


def encoding(halves):
    """What it costs to cut all reviews into words and look them up, the vocabulary included."""
    yield {"run": "encoding 50,000 reviews", "minutes": round(halves.encoding_seconds / 60, 2)}


def count_models(halves):
    """The models without a network."""
    for name, model in {
        "words": baselines.tfidf_regression(1),
        "words and pairs": baselines.tfidf_regression(2, C=10),
        "words and pairs, naive Bayes": naive_bayes.NaiveBayesRegression(),
    }.items():
        started = time.process_time()
        model.fit(halves.texts("train"), halves.labels("train").numpy())
        logits = {part: torch.tensor(model.decision_function(halves.texts(part))) for part in ("valid", "test")}
        minutes = round((time.process_time() - started) / 60, 2)
        yield {"run": name, **judged(halves, name, logits), "minutes": minutes}


def splits(halves):
    """Counted words, judged on each of ten blocks of neighbouring ids and on ten random draws, all of the same size."""
    whole = halves.parts["train"] + halves.parts["valid"]
    classes = [[review for review in whole if review.label == label] for label in (0, 1)]  # in the order of the ids
    size = len(halves.parts["valid"]) // 2  # held out of each class
    for way in ("block", "random draw"):
        for draw in range(10):
            held_out = []
            for group in classes:
                block = range(draw * size, (draw + 1) * size)
                anywhere = torch.randperm(len(group), generator=torch.Generator().manual_seed(draw))[:size].tolist()
                held_out += [group[i] for i in (block if way == "block" else anywhere)]
            ids = {review.id for review in held_out}
            rest = [review for review in whole if review.id not in ids]
            model = baselines.tfidf_regression().fit([r.text for r in rest], [r.label for r in rest])
            score = model.score([r.text for r in held_out], [r.label for r in held_out])
            yield {"run": f"words, {way}", "number": draw, "valid": round(100 * score, 2)}


def recipe(halves):
    """The recipe of the chapter, with three seeds."""
    for seed in SEEDS:
        rnnlib.setup(seed)
        model = halves.new_classifier()
        minutes = train(halves, model, seed=seed)
        yield {"run": "recipe", "seed": seed, **scored(halves, f"recipe_{seed}", model), "minutes": minutes}


def without_vectors(halves):
    """The same from a random embedding, which may then learn as fast as the rest; three epochs, then it overfits."""
    for seed in SEEDS:
        rnnlib.setup(seed)
        model = sentiment.new_classifier(len(halves.vocab))
        minutes = train(halves, model, epochs=3, seed=seed, embedding_lr=3e-3)
        row = scored(halves, f"without_vectors_{seed}", model)
        yield {"run": "recipe, without GloVe", "seed": seed, **row, "minutes": minutes}


class ReadPadding(nn.Module):
    """The classic bug: padding after the reviews is read, and the last output is read out."""

    def __init__(self, model):
        super().__init__()
        self.model, self.embedding = model, model.embedding

    def forward(self, ids, lengths):
        """Return logits (N,), as if every review of the minibatch were as long as the longest."""
        return self.model(ids)


class Mixed(sentiment.Buckets):
    """Minibatches of reviews as the shuffling brings them, short ones beside long ones."""

    stretch = 1


@torch.no_grad()
def mixed_logits(model, rows, batch_size=64):
    """Return logits (N,) from minibatches in the order of the rows."""
    model.eval()
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return torch.cat([model(*sentiment.pad(chunk)) for chunk in chunks])


def one_direction(halves, readout):
    """Return a classifier on one LSTM from left to right, with GloVe's vectors."""
    rnnlib.setup(0)
    embedding = nn.Embedding(len(halves.vocab), 100)
    sentiment.use_vectors(embedding, *halves.glove)
    layer = nn.LSTM(100, 64)
    nn.init.ones_(layer.bias_ih_l0.data[64:128])
    return sentiment.SentimentClassifier(nn.Sequential(sentiment.DropWords(), embedding), layer, readout)


def padding(halves):
    """One LSTM from left to right with each read-out, trained for two epochs on the last 200 words."""
    cut = {"length": 200}
    readouts = {
        "last state": sentiment.last_state,
        "mean": sentiment.mean_state,
        "maximum": sentiment.max_state,
        "mean and maximum": sentiment.mean_and_max,
    }
    for name, readout in readouts.items():
        model = one_direction(halves, readout)
        minutes = train(halves, model, epochs=2, **cut)
        yield {"run": name, **scored(halves, name, model, **cut), "minutes": minutes}
    for name, batches in {"buckets": sentiment.Buckets, "mixed batches": Mixed}.items():
        model = ReadPadding(one_direction(halves, sentiment.last_state))
        minutes = train(halves, model, epochs=2, batches=batches, **cut)
        logits = {part: mixed_logits(model, halves.tails(part, **cut)) for part in ("valid", "test")}
        run = f"last output, padding read, trained on {name}"
        yield {"run": run, **judged(halves, run, logits), "minutes": minutes}


def words_kept(halves):
    """The recipe with other parts of a review, one seed."""
    for name, keep in {"first": sentiment.head, "last": sentiment.tail, "both ends": sentiment.both_ends}.items():
        rnnlib.setup(0)
        model = halves.new_classifier()
        cut = {"keep": keep, "length": 200}
        minutes = train(halves, model, epochs=2, **cut)
        yield {"run": f"200 words, {name}", **scored(halves, f"kept_{name}", model, **cut), "minutes": minutes}


def classic(halves):
    """The recipe of many tutorials, trained; and what a batch costs with both directions, packed.

    Two LSTM layers of 256 units with dropout, the first 250 words, the last state, Adam with a learning rate that is
    halved after every epoch, gradients clipped at 1, batches of 64.
    """
    rnnlib.setup(0)
    cut = {"keep": sentiment.head, "length": 250}
    embedding = nn.Embedding(len(halves.vocab), 100)
    sentiment.use_vectors(embedding, *halves.glove)
    layer = nn.LSTM(100, 256, num_layers=2, dropout=0.5)
    model = sentiment.SentimentClassifier(embedding, layer, sentiment.last_state)
    started = time.process_time()
    batches = sentiment.Buckets(halves.tails("train", **cut), halves.labels("train"), 64)
    valid = halves.tails("valid", **cut), halves.labels("valid")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=len(batches), gamma=0.5)  # every epoch
    training.fit_classifier(model, batches, 4, optimizer, valid, scheduler=scheduler)
    minutes = round((time.process_time() - started) / 60, 2)
    yield {"run": "classic, four epochs", **scored(halves, "classic", model, **cut), "minutes": minutes}

    layer = nn.LSTM(100, 256, num_layers=2, dropout=0.5, bidirectional=True)
    model = sentiment.SentimentClassifier(embedding, layer, sentiment.both_ends_state)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    started, steps = time.process_time(), 4
    for done, _ in enumerate(sentiment.train_steps(model, batches, optimizer), start=1):
        if done == steps:
            break
    minutes = (time.process_time() - started) / steps * len(batches) / 60
    yield {"run": "classic both ways, packed, one epoch (reckoned)", "minutes": round(minutes, 1)}


def best(halves):
    """Pretraining on the training reviews, then the recipe from there with three seeds, averaged."""
    rnnlib.setup(0)
    pretrained = halves.new_classifier(num_hiddens=128)
    started = time.process_time()
    pretraining.pretrain(pretrained, halves.rows["train"], epochs=3)
    yield {"run": "pretraining", "minutes": round((time.process_time() - started) / 60, 2)}
    for seed in SEEDS:
        rnnlib.setup(seed)
        model = halves.new_classifier(num_hiddens=128)
        model.embedding.load_state_dict(pretrained.embedding.state_dict())
        model.rnn.load_state_dict(pretrained.rnn.state_dict())
        minutes = train(halves, model, seed=seed)
        yield {"run": "pretrained", "seed": seed, **scored(halves, f"pretrained_{seed}", model), "minutes": minutes}


def together(halves):
    """Averages of the runs above, and a sum with naive Bayes whose weight the held-out reviews choose."""
    kept = {path.stem: torch.load(path) for path in SCORES.glob("*.pt")}

    def mean(names):
        return {part: torch.stack([kept[name][part] for name in names]).mean(dim=0) for part in ("valid", "test")}

    for run in ("recipe", "pretrained"):
        logits = mean([f"{run}_{seed}" for seed in SEEDS])
        yield {"run": f"{run}, three averaged", **judged(halves, f"{run}_mean", logits)}
        counts = kept["words and pairs, naive Bayes"]
        weights = [step / 10 for step in range(1, 31)]
        right = {w: sentiment.accuracy(logits["valid"] + w * counts["valid"], halves.labels("valid")) for w in weights}
        weight = max(right, key=right.get)
        total = {part: logits[part] + weight * counts[part] for part in logits}
        row = judged(halves, f"{run}_and_counts", total)
        yield {"run": f"{run}, averaged, plus naive Bayes", **row, "weight": weight}


RUNS = (encoding, count_models, splits, recipe, without_vectors, padding, words_kept, classic, best, together)


def main(names):
    """Run the groups with these names, all by default, and put their rows in the place of older ones."""
    known = {run.__name__: run for run in RUNS}
    if unknown := set(names) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    halves = Halves()
    for name in names or known:
        new = []
        for row in known[name](halves):
            new.append({"group": name, **row})
            print(json.dumps(new[-1]), flush=True)
        path = record.RESULTS / "imdb.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        rows = [row for row in rows if row["group"] != name] + new
        record.write("imdb", sorted(rows, key=lambda row: list(known).index(row["group"])))


if __name__ == "__main__":
    main(sys.argv[1:])
