"""The way up on the 50,000 reviews with nothing from outside: each rung is recorded in rnnlib/results/imdb_ladder.json.

    python -m benchmarks.imdb_ladder                         all of it, about 80 CPU minutes on one thread
    python -m benchmarks.imdb_ladder words "runs, stars"     some rungs, two or three minutes each

A rung is a bidirectional LSTM of 64 units on the last words of a review. What can be added to the words: the pairs and
triples of words as inputs, the number of stars as a target (finer than the label, and part of the training half), a
teacher whose logits never saw the review that they teach, and a pretraining on the same reviews. Teachers are counted
words and runs, or networks of the ladder and counted runs together.

The last 1,250 ids of each class of the training half are held out; they choose the epoch, and whether the last weights
or their moving average are kept. Where a rung learns from all 25,000 reviews, what they chose before is kept. The test
half is read by finished models alone, and every reading is a row with its number and its date: rows are added to the
file, never taken away; a run that was made again has two. Minutes are CPU minutes on one thread, in bfloat16 where the
processor has it.

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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import rnnlib
from benchmarks import imdb, imdb_inputs, imdb_pretraining, naive_bayes, record
from benchmarks.imdb_rungs import ALL, BOTH, COMPARED, COUNTS, PRETRAINED, RUNGS, TOP, TRIED, WORDS, top
from rnnlib import sentiment
from rnnlib.gradients import clip_gradients

SCORES = Path(__file__).resolve().parent.parent / "build" / "imdb_ladder"  # logits by run and seed
VOCAB_SIZE, BATCH_SIZE = 30_000, 64


class Reviews:
    """The reviews, cut in words: training part, held-out part, both together ("all"), and official test half."""

    def __init__(self):
        parts = imdb.official_parts()
        self.vocab = sentiment.review_vocab((review.text for review in parts["train"]), VOCAB_SIZE)
        self.rows = {part: [sentiment.encode(review.text, self.vocab) for review in parts[part]] for part in parts}
        self.rows["all"] = self.rows["train"] + self.rows["valid"]
        parts["all"] = parts["train"] + parts["valid"]
        self.labels = {part: torch.tensor([review.label for review in parts[part]]) for part in parts}
        self.ratings = {part: torch.tensor([review.rating for review in parts[part]]) for part in ("train", "all")}

    def cut(self, part, length, keep="tail"):
        """Return the rows of a part, cut by this function of :mod:`rnnlib.sentiment`."""
        return [getattr(sentiment, keep)(row, length) for row in self.rows[part]]


def kept_rows():
    path = record.RESULTS / "imdb_ladder.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def total_minutes(runs):
    """Return the minutes of recorded runs, all seeds together; where one was made again, of its last time."""
    kept = {(row["run"], row.get("seed")): row["minutes"] for row in kept_rows() if "minutes" in row}
    return round(sum(minutes for (run, _), minutes in kept.items() if run in runs), 2)


def minutes_since(started):
    return round((time.process_time() - started) / 60, 2)


def add_row(reviews, row, logits):
    """Add a row to the results with the accuracies of logits; where the test half is read, its number and date too."""
    rows = kept_rows()
    for part in [part for part in ("valid", "test") if part in logits]:
        row[part] = round(100 * sentiment.accuracy(logits[part], reviews.labels[part]), 2)
    if "test" in logits:
        row["reading"] = 1 + sum("reading" in earlier for earlier in rows)
        row["date"] = datetime.date.today().isoformat()
    record.write("imdb_ladder", [*rows, row])
    print(json.dumps(row), flush=True)


def path_of(run, seed):
    return SCORES / f"{run}_{seed}.pt"


def keep_logits(run, seed, logits):
    SCORES.mkdir(parents=True, exist_ok=True)
    torch.save(logits, path_of(run, seed))


def kept_logits(run, seed=0):
    """Return the logits of a recorded run, by part."""
    path = path_of(run, seed)
    if not path.exists():
        sys.exit(
            f"There are no logits of {run!r}, seed {seed}, here: first run python -m benchmarks.imdb_ladder {run!r}"
        )
    return torch.load(path)


def count(reviews, name):
    """Fit counted runs and record what they reach; their logits are out of fold on the reviews that they learned."""
    longest, part = COUNTS[name]
    started = time.process_time()
    counts = counted(reviews, reviews.rows[part], longest)
    labels = reviews.labels[part]
    model = naive_bayes.WeightedRegression().fit(counts[part], labels.numpy())
    judged = ("valid", "test") if part == "train" else ("test",)
    logits = {other: torch.tensor(model.decision_function(counts[other])).float() for other in judged}
    logits[part] = imdb_inputs.out_of_fold(
        naive_bayes.WeightedRegression, counts[part], labels, imdb_inputs.blocks(labels)
    )
    row = {"run": name, "outside": "nothing", "parameters": counts[part].shape[1] + 1}
    add_row(reviews, row | {"minutes": minutes_since(started)}, logits)
    keep_logits(name, 0, logits)


def counted(reviews, rows, longest):
    """Return the count matrix of each part, for words and runs that stand in at least two of these rows."""
    keys = {n: imdb_inputs.frequent_codes(rows, n, 2, VOCAB_SIZE) for n in range(1, longest + 1)}
    return {part: imdb_inputs.count_matrix(reviews.rows[part], keys, VOCAB_SIZE) for part in reviews.rows}


def teacher_logits(name, part, labels):
    """Return a teacher's logits of a part, out of fold; networks teach the training part alone."""
    if name in COUNTS:
        return kept_logits(name if part == "train" else name + ALL)[part]
    network, counts = kept_logits("folds")[part], kept_logits("counts, triples")[part]
    return network + imdb_inputs.best_weight(network, counts, labels) * counts


def teachers_of(rung):
    """Return the runs that a rung's teacher was made by."""
    if not rung.teacher_weight:
        return set()
    if rung.teacher in COUNTS:
        return {rung.teacher if rung.part == "train" else rung.teacher + ALL}
    return {"folds", "counts, triples"}


def made_before(rung):
    return teachers_of(rung) | ({"pretraining"} if rung.pretrained else set())


def soft(logits, labels):
    """Return logits as soft as they are right."""
    return imdb_inputs.calibrated(logits, labels) * logits


def new_reader(rung, rows):
    inputs = imdb_inputs.Inputs(rows, VOCAB_SIZE, rung.runs)
    model = imdb_inputs.StarReader(inputs, rung.num_hiddens, rung.bag)
    if rung.pretrained:
        imdb_pretraining.begin_with(model, kept_logits("pretraining"))
    return model


def new_optimizers(model, rung, steps):
    """Return AdamW for the layers, Adam that leaves unread rows alone for the tables, and a schedule for each."""
    tables = [{"params": model.embedding.words.parameters(), "lr": rung.words_lr}]
    tables += [{"params": run.parameters(), "lr": rung.table_lr} for run in model.embedding.runs]
    layers = [*model.rnn.parameters(), *model.linear.parameters()]
    optimizers = torch.optim.AdamW(layers, rung.lr, weight_decay=0.0), torch.optim.SparseAdam(tables)
    return optimizers, [torch.optim.lr_scheduler.LambdaLR(each, up_and_down(steps)) for each in optimizers]


def up_and_down(steps, warm_up=0.15):
    """Return the share of the highest rate at a step: up in a line for 15 % of the steps, then down to 0."""
    return lambda step: min((step + 1) / (warm_up * steps), (1 - step / steps) / (1 - warm_up), 1.0)


def train_epochs(model, rung, rows, targets, seed):
    """Train on cut rows and targets (labels, ratings, a teacher's logits); yield the moving average after each."""
    steps = rung.epochs * -(-len(rows) // BATCH_SIZE)
    optimizers, schedulers = new_optimizers(model, rung, steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(rung.decay))
    weights = rung.star_weight, rung.teacher_weight
    generator, step = torch.Generator().manual_seed(seed), 0
    for _ in range(rung.epochs):
        model.train()
        for places in sentiment.bucket_order([len(row) for row in rows], BATCH_SIZE, generator):
            ids, lengths = sentiment.pad([rows[i] for i in places])
            stars = model.stars(ids, lengths)
            loss = imdb_inputs.ladder_loss(stars, *(target[places] for target in targets), *weights)
            model.zero_grad()
            loss.backward()
            clip_gradients([*model.rnn.parameters(), *model.linear.parameters()], 1.0)
            for each in (*optimizers, *schedulers):
                each.step()
            step += 1
            if step % 10 == 0:
                average.update_parameters(model)
        yield average.module


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
    model, labels = new_reader(rung, reviews.rows[rung.part]), reviews.labels[rung.part]
    taught = torch.zeros(len(labels))
    if rung.teacher_weight:
        taught = soft(teacher_logits(rung.teacher, rung.part, labels), labels)
    targets = labels, reviews.ratings[rung.part], taught
    epochs = train_epochs(model, rung, reviews.cut(rung.part, rung.length, rung.keep), targets, seed)
    row = {"run": name, "seed": seed, "outside": "nothing"}
    if rung.part == "all":
        best, chosen = list(epochs) and model, {"kept": "last weights"}
    else:
        held_out = reviews.cut("valid", rung.read, rung.keep), reviews.labels["valid"]
        best, kept, curves = best_reader(model, epochs, *held_out)
        chosen = {"kept": kept, "held-out by epoch": curves}
    row |= {"minutes": minutes_since(started), "parameters": sum(p.numel() for p in model.parameters())}
    if rung.teacher_weight:
        row["teacher_minutes"] = total_minutes(teachers_of(rung))
    if rung.pretrained:
        row["pretraining_minutes"] = total_minutes({"pretraining"})
    settings = {key: value for key, value in dataclasses.asdict(rung).items() if key != "seeds"}
    logits = {part: sentiment.score_reviews(best, reviews.cut(part, rung.read, rung.keep)) for part in parts}
    add_row(reviews, row | settings | chosen, logits)
    keep_logits(name, seed, logits)


def fold_networks(reviews):
    """Record networks that judge the fifth of the training part that neither they nor their teacher has learned from.

    Each is the rung "runs, stars, teacher", trained on four fifths.
    """
    started = time.process_time()
    labels, logits = reviews.labels["train"], torch.empty(len(reviews.labels["train"]))
    folds, counts = imdb_inputs.blocks(labels), counted(reviews, reviews.rows["train"], 2)["train"]
    rows, read = reviews.cut("train", top.length), reviews.cut("train", top.read)
    for fold in range(imdb_inputs.FOLDS):
        rnnlib.setup(fold)
        rest, inside = torch.where(folds != fold)[0], torch.where(folds == fold)[0]
        taught = imdb_inputs.out_of_fold(
            naive_bayes.WeightedRegression, counts[rest.numpy()], labels[rest], folds[rest]
        )
        model = new_reader(top, [reviews.rows["train"][i] for i in rest])
        targets = labels[rest], reviews.ratings["train"][rest], soft(taught, labels[rest])
        for _ in train_epochs(model, top, [rows[i] for i in rest], targets, fold):
            pass
        logits[inside] = sentiment.score_reviews(model, [read[i] for i in inside])
        print("fold", fold, sentiment.accuracy(logits[inside], labels[inside]), flush=True)
    keep_logits("folds", 0, {"train": logits})
    score = round(100 * sentiment.accuracy(logits, labels), 2)
    row = {"run": "folds", "outside": "nothing", "minutes": minutes_since(started), "out of fold": score}
    network_and_counts = teacher_logits("network and triples", "train", labels)
    row["with counts, triples"] = round(100 * sentiment.accuracy(network_and_counts, labels), 2)
    add_row(reviews, row, {})


def pretrain(reviews):
    """Record how well the layers of a reader of words learn to guess the next word and the one before."""
    rnnlib.setup(0)
    started = time.process_time()
    model = imdb_inputs.StarReader(imdb_inputs.Inputs(reviews.rows["train"], VOCAB_SIZE, {}), 128, bag=False)
    nats = imdb_pretraining.pretrain(model, reviews.rows["train"], reviews.cut("valid", 400)[::25])
    keep_logits("pretraining", 0, {"words": model.embedding.words.weight.data, "rnn": model.rnn.state_dict()})
    row = {"run": "pretraining", "outside": "nothing", "minutes": minutes_since(started)}
    add_row(reviews, row | {"held-out nats a word": round(nats, 2)}, {})


def mean_logits(runs, part):
    """Return the mean logits of all seeds of these runs."""
    members = [kept_logits(run, seed)[part] for run in runs for seed in range(RUNGS[run].seeds)]
    return torch.stack(members).mean(dim=0)


def committees(reviews):
    """Record what averages of networks reach; a committee whose members have not been trained here is left out."""
    for runs, parts in ((TOP,), ""), ((TOP,), ALL), ((TOP, WORDS), ALL):
        members = [run + parts for run in runs]
        if all(path_of(run, seed).exists() for run in members for seed in range(RUNGS[run].seeds)):
            committee(reviews, runs, parts)


def committee(reviews, runs, parts):
    """Average all seeds of these runs, and add counted runs with the weight that held-out reviews choose.

    For networks that learned from all reviews, the weight is that of the same ones without the held-out part.
    """
    members = [run + parts for run in runs]
    seeds = sum(RUNGS[run].seeds for run in members)
    name = f"{' and '.join(members)}: {seeds} averaged"
    valid = mean_logits(runs, "valid")
    logits = {"test": mean_logits(members, "test")} | ({} if parts else {"valid": valid})
    used = {*members}.union(*(made_before(RUNGS[run]) for run in members))
    add_row(reviews, {"run": name, "outside": "nothing", "minutes": total_minutes(used)}, logits)
    keep_logits(name, 0, logits)
    for counts in ("counts, pairs", "counts, triples"):
        weight = imdb_inputs.best_weight(valid, kept_logits(counts)["valid"], reviews.labels["valid"])
        added = kept_logits(counts + parts)
        total = {part: logits[part] + weight * added[part] for part in logits}
        row = {"run": f"{name}, plus {counts}", "outside": "nothing", "weight": weight}
        add_row(reviews, row | {"minutes": total_minutes(used | {counts + parts})}, total)
        keep_logits(row["run"], 0, total)


def compare(reviews):
    """Record the differences of runs, seed by seed and review by review: of test reviews, else of held-out ones."""
    for some, others in COMPARED:
        pairs = [[path_of(run, 0 if run in COUNTS else seed) for run in (some, others)] for seed in range(9)]
        kept = [[torch.load(path) for path in pair] for pair in pairs if all(path.exists() for path in pair)]
        if kept:
            part = "test" if all("test" in logits for pair in kept for logits in pair) else "valid"
            first, second = (torch.stack([pair[i][part] for pair in kept]) for i in (0, 1))
            gain, error = imdb_inputs.paired_gain(first, second, reviews.labels[part])
            row = {
                "run": "compared",
                "of": some,
                "over": others,
                "outside": "nothing",
                "seeds": len(kept),
                "part": part,
            }
            add_row(reviews, row | {"gain": round(gain, 2), "error": round(error, 2)}, {})


STEPS = {"pretraining": pretrain, "folds": fold_networks, "committees": committees, "compared": compare}
PLAN = ["counts, pairs", "counts, triples", *list(RUNGS)[:6], *list(COUNTS)[2:], TOP + ALL, "folds", BOTH]
PLAN += [
    "pretraining",
    WORDS,
    WORDS + ALL,
    TOP + PRETRAINED,
    "committees",
    *TRIED,
    "compared",
]


def main(names):
    """Climb the rungs with these names, all by default."""
    if unknown := set(names) - set(PLAN):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; choose from {'; '.join(PLAN)}")
    reviews = Reviews()
    for name in names or PLAN:
        if name in COUNTS:
            count(reviews, name)
        elif name in STEPS:
            STEPS[name](reviews)
        else:
            rung = (RUNGS | TRIED)[name]
            parts = ("valid",) if name in TRIED else ("test",) if rung.part == "all" else ("valid", "test")
            for seed in range(rung.seeds):
                climb(reviews, name, rung, seed, parts)


if __name__ == "__main__":
    main(sys.argv[1:])
