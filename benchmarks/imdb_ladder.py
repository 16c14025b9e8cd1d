"""The way up on the 50,000 reviews with nothing from outside: each rung is recorded in rnnlib/results/imdb_ladder.json.

    python -m benchmarks.imdb_ladder                         all of it, about 25 CPU minutes on one thread
    python -m benchmarks.imdb_ladder words "runs, stars"     some rungs, two or three minutes each

A rung is a bidirectional LSTM of 64 units on the last words of a review. What can be added to the words: the pairs and
triples of words as inputs, the number of stars as a target (finer than the label, and part of the training half), and
as a teacher the logits of counted words and pairs, which never saw the review that they teach.

The last 1,250 ids of each class of the training half are held out; they choose the epoch, and whether the last weights
or their moving average are kept. The test half is read by finished models alone, and every reading is a row with its
number and its date: rows are added to the file, never taken away. Minutes are CPU minutes on one thread, in bfloat16
where the processor has it.

The tables of pairs and triples are large. With glibc, these settings keep their memory from going back and forth:
MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456.
"""

import copy
import dataclasses
import datetime
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import rnnlib
from benchmarks import imdb, naive_bayes, record
from rnnlib import environment, sentiment
from rnnlib.gradients import clip_gradients

SCORES = Path(__file__).resolve().parent.parent / "build" / "imdb_ladder"  # logits on held-out and test reviews
SEEDS = (0, 1, 2)  # of the highest rung; the others have the first
VOCAB_SIZE, BATCH_SIZE, FOLDS = 30_000, 64, 5
RUNS = {2: 3, 3: 4}  # pairs that stand in at least three reviews, triples in four
LR, TABLE_LR = 3e-3, 5e-3


def ngram_codes(ids, n, vocab_size):
    """Number the runs of n words along the first axis: one whole number for each of the T - n + 1."""
    count = max(len(ids) - n + 1, 0)
    return sum(ids[i : i + count] * vocab_size ** (n - 1 - i) for i in range(n))


def frequent_codes(rows, n, least, vocab_size):
    """Return, sorted, the codes of the runs of n words that stand in at least so many rows."""
    codes, counts = torch.cat([ngram_codes(row, n, vocab_size).unique() for row in rows]).unique(return_counts=True)
    return codes[counts >= least]


def look_up(keys, codes):
    """Return the places of codes in sorted keys, counted from 1, and 0 for those that are not there."""
    places = torch.searchsorted(keys, codes.contiguous()).clamp(max=len(keys) - 1)
    return torch.where(keys[places] == codes, places + 1, 0)


class RunEmbedding(nn.Module):
    """A vector for each frequent run of n words, at the step where it ends; all vectors begin at zero.

    keys: sorted codes, (K,). The vector of a run that is not among them, or dropped in training, is zero and stays so.
    """

    def __init__(self, keys, n, vocab_size, size=32, drop=0.3):
        super().__init__()
        self.n, self.vocab_size = n, vocab_size
        self.register_buffer("keys", keys, persistent=False)
        self.drop = sentiment.DropWords(drop, unk=0)
        self.table = nn.Embedding(len(keys) + 1, size, padding_idx=0, sparse=True)
        nn.init.zeros_(self.table.weight)

    def forward(self, ids):
        """Return vectors (T, N, size) for the ids of words (T, N)."""
        runs = look_up(self.keys, ngram_codes(ids, self.n, self.vocab_size))
        return self.table(self.drop(F.pad(runs, (0, 0, self.n - 1, 0))[-len(ids) :]))


class Inputs(nn.Module):
    """Vectors (T, N, D) of words, and of the runs of words that end with them, side by side."""

    def __init__(self, rows, vocab_size, runs):
        super().__init__()
        self.drop = sentiment.DropWords()
        self.words = nn.Embedding(vocab_size, 100, sparse=True)
        nn.init.normal_(self.words.weight, std=0.1)
        keys = {n: frequent_codes(rows, n, least, vocab_size) for n, least in runs.items()}
        self.runs = nn.ModuleList(RunEmbedding(keys[n], n, vocab_size) for n in runs)
        self.size = 100 + sum(run.table.embedding_dim for run in self.runs)

    def forward(self, ids):
        return torch.cat([self.words(self.drop(ids)), *(run(ids) for run in self.runs)], dim=2)


def half_dropped(vectors):
    """Return vectors with half of their numbers at zero and the others doubled, as nn.Dropout(0.5) in training.

    Eight draws come from one random byte: a draw for each number took a fifth of a training step.
    """
    draws = torch.randint(256, (vectors.numel() // 8 + 1, 1), dtype=torch.uint8)
    bits = (draws >> torch.arange(8, dtype=torch.uint8)) & 1  # (…, 8)
    return vectors * (2 * bits).flatten()[: vectors.numel()].view_as(vectors)


class StarReader(nn.Module):
    """Read a review both ways and answer with a number for each of the eight ratings, 1 to 4 and 7 to 10 stars.

    Read out are the mean and the maximum of the states, and the mean of the inputs, a bag of words and runs.
    """

    def __init__(self, inputs, num_hiddens=64):
        super().__init__()
        self.embedding = inputs
        self.rnn = sentiment.BothWays(nn.LSTM, inputs.size, num_hiddens)
        for direction in (self.rnn.ahead, self.rnn.back):
            nn.init.ones_(direction.bias_ih_l0.data[num_hiddens : 2 * num_hiddens])  # forget gates begin open
        self.linear = nn.Linear(4 * num_hiddens + inputs.size, 8)

    def stars(self, ids, lengths):
        """Return logits of the ratings, (N, 8), for ids (N, T)."""
        vectors = self.embedding(ids.T)  # (T, N, D)
        drop = half_dropped if self.training else nn.Identity()
        with environment.bfloat16_where_fast():
            outputs = self.rnn(drop(vectors), lengths)  # (T, N, 2H)
        state = sentiment.mean_and_max(outputs.float(), lengths)  # (N, 4H)
        bag = 10 * sentiment.mean_state(vectors, lengths)  # (N, D): means are small, ten times as much learns as fast
        return self.linear(drop(torch.cat([state, bag], dim=1)))

    def forward(self, ids, lengths):
        """Return the logit of a positive review, (N,)."""
        return positive_logit(self.stars(ids, lengths))


def positive_logit(stars):
    """Return log(p / (1 - p)) with p the probability of one of the four good ratings, (N,), for logits (N, 8)."""
    return stars[:, 4:].logsumexp(dim=1) - stars[:, :4].logsumexp(dim=1)


def star_ids(ratings):
    """Number the ratings that occur: 1 to 4 stars are 0 to 3, and 7 to 10 are 4 to 7."""
    return torch.where(ratings <= 4, ratings - 1, ratings - 3)


def ladder_loss(stars, labels, ratings, taught, star_weight, teacher_weight):
    """Return the loss of logits (N, 8): of the label, of the stars, and of what a teacher's logits (N,) say."""
    logits = positive_logit(stars)
    return (
        F.binary_cross_entropy_with_logits(logits, labels.float())
        + star_weight * F.cross_entropy(stars, star_ids(ratings))
        + teacher_weight * F.binary_cross_entropy_with_logits(logits, taught.sigmoid())
    )


def blocks(labels, folds=FOLDS):
    """Return the fold of each review, (N,): within a class, neighbours are in one, as they may be of one film."""
    result = torch.empty_like(labels)
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]
        result[places] = torch.arange(len(places)) * folds // len(places)
    return result


def out_of_fold(new_model, counts, labels, folds):
    """Return logits (N,) of each review by a model that was fitted on all other folds."""
    logits = torch.empty(len(labels))
    for fold in folds.unique():
        inside = (folds == fold).numpy()
        model = new_model().fit(counts[~inside], labels[~inside].numpy())
        logits[inside] = torch.tensor(model.decision_function(counts[inside])).float()
    return logits


def calibrated(logits, labels):
    """Return the factor, in tenths, by which logits have the least cross-entropy."""
    factors = torch.arange(1, 21) / 10
    losses = [F.binary_cross_entropy_with_logits(factor * logits, labels.float()) for factor in factors]
    return float(factors[torch.stack(losses).argmin()])


def count_matrix(rows, keys, vocab_size):
    """Return a sparse matrix (reviews, runs), 1 where a run stands in a review; keys: sorted codes, by length n."""
    from scipy import sparse

    places, ends = [], [0]
    for row in rows:
        offset = 0
        for n, known in keys.items():
            found = look_up(known, ngram_codes(row, n, vocab_size)).unique()
            places.append(found[found > 0] - 1 + offset)
            offset += len(known)
        ends.append(ends[-1] + sum(map(len, places[-len(keys) :])))
    columns = torch.cat(places).numpy()
    ones = torch.ones(len(columns)).numpy()
    return sparse.csr_matrix((ones, columns, ends), shape=(len(rows), sum(map(len, keys.values()))))


class Reviews:
    """The reviews, cut in words: training part, held-out part and official test half."""

    def __init__(self):
        parts = imdb.official_parts()
        self.vocab = sentiment.review_vocab((review.text for review in parts["train"]), VOCAB_SIZE)
        self.rows = {part: [sentiment.encode(review.text, self.vocab) for review in parts[part]] for part in parts}
        self.labels = {part: torch.tensor([review.label for review in parts[part]]) for part in parts}
        self.ratings = torch.tensor([review.rating for review in parts["train"]])

    def tails(self, part, length):
        return [sentiment.tail(row, length) for row in self.rows[part]]


def count(reviews, longest):
    """Fit counted runs of up to ``longest`` words; keep their logits on all parts, out of fold where they learned."""
    started = time.process_time()
    keys = {n: frequent_codes(reviews.rows["train"], n, 2, VOCAB_SIZE) for n in range(1, longest + 1)}
    counts = {part: count_matrix(rows, keys, VOCAB_SIZE) for part, rows in reviews.rows.items()}
    labels = reviews.labels["train"]
    model = naive_bayes.WeightedRegression().fit(counts["train"], labels.numpy())
    logits = {part: torch.tensor(model.decision_function(counts[part])).float() for part in ("valid", "test")}
    logits["train"] = out_of_fold(naive_bayes.WeightedRegression, counts["train"], labels, blocks(labels))
    return logits, {"parameters": counts["train"].shape[1] + 1, "minutes": minutes_since(started)}


def minutes_since(started):
    return round((time.process_time() - started) / 60, 2)


def new_optimizers(model, steps):
    """Return AdamW for the layers, Adam that leaves unread rows alone for the tables, and a schedule for each."""
    tables = [p for p in model.embedding.parameters()]
    layers = [*model.rnn.parameters(), *model.linear.parameters()]
    optimizers = torch.optim.AdamW(layers, LR, weight_decay=0.0), torch.optim.SparseAdam(tables, TABLE_LR)
    return optimizers, [torch.optim.lr_scheduler.LambdaLR(each, up_and_down(steps)) for each in optimizers]


def up_and_down(steps, warm_up=0.15):
    """Return the share of the highest rate at a step: up in a line for 15 % of the steps, then down to 0."""
    return lambda step: min((step + 1) / (warm_up * steps), (1 - step / steps) / (1 - warm_up), 1.0)


def train_epochs(model, rows, targets, weights, epochs, seed):
    """Train on rows and targets (labels, ratings, a teacher's logits); yield the moving average after each epoch."""
    steps = epochs * -(-len(rows) // BATCH_SIZE)
    optimizers, schedulers = new_optimizers(model, steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    generator, step = torch.Generator().manual_seed(seed), 0
    for _ in range(epochs):
        model.train()
        for places in sentiment.bucket_order([len(row) for row in rows], BATCH_SIZE, generator):
            ids, lengths = sentiment.pad([rows[i] for i in places])
            loss = ladder_loss(model.stars(ids, lengths), *(target[places] for target in targets), *weights)
            model.zero_grad()
            loss.backward()
            clip_gradients([*model.rnn.parameters(), *model.linear.parameters()], 1.0)
            for each in (*optimizers, *schedulers):
                each.step()
            step += 1
            if step % 10 == 0:
                average.update_parameters(model)
        yield average.module


@dataclasses.dataclass(frozen=True)
class Rung:
    """What a rung adds to words, and with which settings it is trained."""

    runs: dict = dataclasses.field(default_factory=dict)  # the least number of reviews by length of run
    star_weight: float = 0.0
    teacher_weight: float = 0.0
    teacher: str = "counts, pairs"
    length: int = 400  # words kept of a review in training, its last
    read: int = 1000  # words kept when it is judged
    epochs: int = 2


TOP = "runs, stars, teacher"
RUNGS = {
    "words": Rung(),
    "words, stars": Rung(star_weight=0.5),
    "words, teacher": Rung(teacher_weight=1.0),
    "runs": Rung(RUNS),
    "runs, stars": Rung(RUNS, star_weight=0.5),
    TOP: Rung(RUNS, star_weight=0.5, teacher_weight=1.0),
}
TRIED = {  # judged on held-out reviews alone
    "two epochs": dataclasses.replace(RUNGS[TOP], read=400),
    "runs, stars, teacher of triples": dataclasses.replace(RUNGS[TOP], teacher="counts, triples"),
}
TEACHERS = {"counts, pairs": 2, "counts, triples": 3}  # words in the longest run that is counted


def kept_rows():
    path = record.RESULTS / "imdb_ladder.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def minutes_of(run):
    """Return the minutes of a recorded run, by seed; where one was made again, of its last time."""
    return {row.get("seed"): row["minutes"] for row in kept_rows() if row["run"] == run}


def add_row(reviews, row, logits):
    """Add a row to the results with the accuracies of logits; where the test half is read, its number and date too."""
    rows = kept_rows()
    row["valid"] = round(100 * sentiment.accuracy(logits["valid"], reviews.labels["valid"]), 2)
    if "test" in logits:
        row["test"] = round(100 * sentiment.accuracy(logits["test"], reviews.labels["test"]), 2)
        row["reading"] = 1 + sum("reading" in earlier for earlier in rows)
        row["date"] = datetime.date.today().isoformat()
    record.write("imdb_ladder", [*rows, row])
    print(json.dumps(row), flush=True)
    SCORES.mkdir(parents=True, exist_ok=True)
    torch.save(logits, SCORES / f"{row['run']}_{row.get('seed', 0)}.pt")


def kept_logits(run, seed=0):
    """Return the logits of a recorded run, by part."""
    path = SCORES / f"{run}_{seed}.pt"
    if not path.exists():
        sys.exit(f"There are no logits of {run!r} here: first run python -m benchmarks.imdb_ladder {run!r}")
    return torch.load(path)


def teach(reviews, name):
    """Record what counted runs reach."""
    logits, row = count(reviews, TEACHERS[name])
    add_row(reviews, {"run": name, "outside": "nothing", **row}, logits)


def taught_logits(rung, reviews):
    """Return the logits of a rung's teacher for the training part, as soft as they are right."""
    if not rung.teacher_weight:
        return torch.zeros(len(reviews.labels["train"]))
    logits = kept_logits(rung.teacher)["train"]
    return calibrated(logits, reviews.labels["train"]) * logits


def best_reader(model, epochs, rows, labels):
    """Train on, an epoch at a time, and judge the model and its average on held-out rows after each.

    Returns a copy of the best, which it was, and all accuracies in percent.
    """
    best, kept, curves = None, "", {"last weights": [], "average": []}
    for epoch, average in enumerate(epochs, start=1):
        for kind, reader in zip(curves, (model, average), strict=True):
            accuracy = round(100 * sentiment.accuracy(sentiment.score_reviews(reader, rows), labels), 2)
            if accuracy > max(sum(curves.values(), [0.0])):
                best, kept = copy.deepcopy(reader), f"epoch {epoch}, {kind}"
            curves[kind].append(accuracy)
        print(curves, flush=True)
    return best, kept, curves


def climb(reviews, name, rung, seed, parts):
    """Train a rung and record what it reaches on the parts."""
    rnnlib.setup(seed)
    started = time.process_time()
    model = StarReader(Inputs(reviews.rows["train"], VOCAB_SIZE, rung.runs))
    targets = reviews.labels["train"], reviews.ratings, taught_logits(rung, reviews)
    weights = rung.star_weight, rung.teacher_weight
    epochs = train_epochs(model, reviews.tails("train", rung.length), targets, weights, rung.epochs, seed)
    best, kept, curves = best_reader(model, epochs, reviews.tails("valid", rung.read), reviews.labels["valid"])
    row = {"run": name, "seed": seed, "outside": "nothing", "minutes": minutes_since(started)}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    if rung.teacher_weight:
        row["teacher_minutes"] = sum(minutes_of(rung.teacher).values())
    settings = dataclasses.asdict(rung) | {"kept": kept, "held-out by epoch": curves}
    logits = {part: sentiment.score_reviews(best, reviews.tails(part, rung.read)) for part in parts}
    add_row(reviews, row | settings, logits)


def committees(reviews):
    """Average the logits of three seeds, and add counted runs with the weight that held-out reviews choose."""
    members = [kept_logits(TOP, seed) for seed in SEEDS]
    mean = {part: torch.stack([member[part] for member in members]).mean(dim=0) for part in ("valid", "test")}
    add_row(reviews, {"run": f"{TOP}: three averaged", "outside": "nothing", "minutes": minutes_together(())}, mean)
    for teacher in TEACHERS:
        counts = kept_logits(teacher)
        weight = best_weight(mean["valid"], counts["valid"], reviews.labels["valid"])
        both = {part: mean[part] + weight * counts[part] for part in mean}
        row = {"run": f"{TOP}: three averaged, plus {teacher}", "outside": "nothing", "weight": weight}
        add_row(reviews, row | {"minutes": minutes_together({teacher})}, both)


def minutes_together(added):
    """Return the minutes of all seeds of the highest rung, of its teacher, and of what is added to them."""
    runs = {TOP, RUNGS[TOP].teacher, *added}
    return round(sum(sum(minutes_of(run).values()) for run in runs), 2)


def best_weight(logits, others, labels):
    """Return the weight in tenths with which logits and others together are right most often, the least of these."""
    weights = [step / 10 for step in range(1, 31)]
    return max(weights, key=lambda weight: sentiment.accuracy(logits + weight * others, labels))


def main(names):
    """Climb the rungs with these names, all but the tried ones by default."""
    known = [*TEACHERS, *RUNGS, "committees", *TRIED]
    if unknown := set(names) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; choose from {'; '.join(known)}")
    reviews = Reviews()
    for name in names or [*TEACHERS, *RUNGS, "committees"]:
        if name in TEACHERS:
            teach(reviews, name)
        elif name == "committees":
            committees(reviews)
        else:
            rung = (RUNGS | TRIED)[name]
            parts = ("valid", "test") if name in RUNGS else ("valid",)
            for seed in SEEDS if name == TOP else SEEDS[:1]:
                climb(reviews, name, rung, seed, parts)


if __name__ == "__main__":
    main(sys.argv[1:])
