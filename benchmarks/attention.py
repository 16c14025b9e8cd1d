"""Chapter 9's long runs, each recorded as rows of rnnlib/results/attention.json.

    python -m benchmarks.attention                 all of them, some hours on one thread
    python -m benchmarks.attention best            some of them; the rows of the others stay as they are

Words are held out from the CMU Pronouncing Dictionary, 2,000 to choose by (valid) and 2,000 to judge by (test): at
random, or in blocks of 500 neighbours in the alphabet. The models of `words` are judged on all 4,000, since nothing was
chosen by them. Seconds are CPU seconds on one thread, training alone.
"""

import json
import random
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import rnnlib
from benchmarks import record
from rnnlib import attention, data, pretrained, sentiment, text
from rnnlib.attention import LETTERS, PAD, PHONEMES
from rnnlib.data import dates

SPLITS = {"random": 1, "blocks": 500}
V_IN, V_OUT = len(LETTERS), len(PHONEMES)
SEEDS = (0, 1, 2)


def count(model):
    """Count the parameters that have learned; all of a model that was loaded."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in [p for p in parameters if p.grad is not None] or parameters)


def fit(model, batches, **options):
    """Train a model and return its CPU seconds."""
    batches = list(batches)
    started = time.process_time()
    attention.fit_pairs(model, batches, **options)
    return round(time.process_time() - started, 1)


class Words:
    """The dictionary, split one way, as pairs for training and as words for judging."""

    def __init__(self, split="random", most=None):
        self.ways = attention.spoken_words(data.load_cmudict())
        if len(self.ways) < 100_000:
            sys.exit("The dictionary is not here; the lines above say why.")
        self.train, self.valid, self.test = data.split_dictionary(self.ways, 2000, 2000, SPLITS[split])
        self.pairs = [attention.make_pair(w, self.ways[w][0], LETTERS, PHONEMES) for w in self.train[:most]]

    def judge(self, words, write):
        """Return percents of words right and phoneme errors, and of words right by length."""
        words = sorted(words, key=len)
        guesses = []
        for start in range(0, len(words), 250):
            rows = [torch.tensor(LETTERS[list(word)]) for word in words[start : start + 250]]
            guesses += [PHONEMES.decode(row) for row in write(rows)]
        right = [attention.fewest_edits(g, self.ways[w])[0] == 0 for g, w in zip(guesses, words, strict=True)]
        share, rate = attention.word_and_error_rate(guesses, [self.ways[w] for w in words])
        found = {"words right": round(100 * share, 2), "phoneme error": round(100 * rate, 2)}
        for shortest, longest in ((2, 4), (5, 6), (7, 8), (9, 10), (11, 16)):
            of_length = [r for r, w in zip(right, words, strict=True) if shortest <= len(w) <= longest]
            found[f"{shortest}-{longest}"] = round(100 * sum(of_length) / len(of_length), 1)
        return found


def writer(model):
    """Return a function that writes for a list of sources greedily."""

    def write(rows):
        source, _ = attention.pad(rows)
        return attention.until_eos(attention.greedy(model, source, 24))

    return write


# The best: several models together


class Together(nn.Module):
    """Several models that write as one: at every step their probabilities are averaged."""

    def __init__(self, *models):
        super().__init__()
        self.models = nn.ModuleList(models)
        self.widths = [model.decoder.rnn.hidden_size for model in models]

    def encoder(self, source):
        return [model.encoder(source) for model in self.models]

    def decoder(self, ids, memories, state):
        states = [None] * len(self.models) if state is None else state.split(self.widths, dim=-1)
        p, after = 0.0, []
        for model, memory, state in zip(self.models, memories, states, strict=True):
            state = None if state is None else state.contiguous()
            logits, state, _ = model.decoder(ids, memory, state)
            p = p + logits.softmax(-1) / len(self.models)
            after.append(state)
        return p.log(), torch.cat(after, dim=-1), None


def member(words, num_hiddens, embed_size, lr, seed):
    """Train an attention model of this size, six passes; return it and its CPU seconds."""
    torch.manual_seed(seed)
    model = new_model("dot", num_hiddens, embed_size)
    return model, fit(model, attention.pair_batches(words.pairs, 128, 6, seed), lr=lr)


MEMBERS = {  # size of state and embedding, learning rate, seed
    "medium": (96, 48, 4e-3, 0),  # the checkpoint of the explorers
    "large": (160, 64, 3e-3, 0),
    "medium, seed 1": (96, 48, 4e-3, 1),
    "medium, seed 2": (96, 48, 4e-3, 2),
    "large, seed 1": (160, 64, 3e-3, 1),
}


def best():
    """A medium model, a large one, and five together; greedily and by a beam of 3."""
    words = Words()
    members = [member(words, *sizes) for sizes in MEMBERS.values()]
    yield from judged_best(members, words)


def judged_best(members, words):
    """Yield rows of the first two of these models, and of all together, on both held-out parts."""
    together = Together(*(model for model, _ in members)), sum(seconds for _, seconds in members)
    for part in ("valid", "test"):
        for name, (model, seconds) in {"medium": members[0], "large": members[1], "together": together}.items():
            for way, write in (("greedy", writer(model)), ("beam of 3", beam_writer(model, 3))):
                row = {"model": name, "way": way, "part": part, "parameters": count(model), "seconds": round(seconds)}
                yield row | words.judge(getattr(words, part), write)


# The chapter's models on words


def new_model(kind, num_hiddens=96, embed_size=48):
    """Return the chapter's model of a kind: none, dot, additive or transformer."""
    if kind == "transformer":
        return attention.EncoderDecoder(
            attention.TransformerEncoder(V_IN, num_hiddens), attention.TransformerDecoder(V_OUT, num_hiddens)
        )
    return attention.EncoderDecoder(
        attention.Encoder(V_IN, embed_size, num_hiddens), new_decoder(kind, V_OUT, embed_size, num_hiddens)
    )


def new_decoder(kind, *sizes):
    if kind in ("none", "one way"):
        return attention.Decoder(*sizes)
    if kind == "additive":
        return attention.AttentionDecoder(*sizes, score=attention.AdditiveScore(sizes[-1]))
    return attention.AttentionDecoder(*sizes)


def run_words(kind, split, seed, num_hiddens=None):
    """Train the chapter's model on all words, three passes, and judge it on the held-out ones."""
    words = Words(split)
    torch.manual_seed(seed)
    num_hiddens = num_hiddens or {"dot": 104}.get(kind, 96)
    model = new_model(kind, num_hiddens)
    seconds = fit(model, attention.pair_batches(words.pairs, 128, 3, seed), lr=2e-3 if kind == "transformer" else 4e-3)
    row = {
        "model": kind,
        "hidden": num_hiddens,
        "split": split,
        "seed": seed,
        "parameters": count(model),
        "seconds": seconds,
    }
    return row | words.judge(words.valid + words.test, writer(model))


def words():
    """Letters to phonemes, three seeds; the stricter split; a Transformer."""
    runs = [("dot", "random", 0), ("none", "random", 0), ("dot", "blocks", 0), ("none", "blocks", 0)]
    runs.append(("none", "random", 0, 112))  # as many parameters as with attention
    runs += [("transformer", "random", 0), *((kind, "random", seed) for seed in SEEDS[1:] for kind in ("dot", "none"))]
    for run in runs:
        yield run_words(*run)


# Beam search


def beam_writer(model, width):
    def write(rows):
        return [attention.beam_search(model, row[None], width, 24)[0][1] for row in rows]

    return write


def log_p(model, source, ids):
    """Return the log-probability that a model gives to a text."""
    target = torch.tensor([[*ids, attention.EOS]])
    with torch.no_grad():
        logits = model(source[None], attention.shift_right(target))
    return -float(F.cross_entropy(logits[0], target[0], reduction="sum"))


def beam():
    """Widths of the beam for the checkpoint; and whose fault an error is: did the truth score higher?"""
    words, model = Words(), pretrained.trained_phoneme_model()
    for width in (1, 2, 3, 5, 10):
        started = time.process_time()
        found, wrong, search = [], 0, 0
        for word in words.valid:
            source = torch.tensor(LETTERS[list(word)])
            score, ids = attention.beam_search(model, source[None], width, 24)[0]
            found.append(PHONEMES.decode(ids))
            if attention.fewest_edits(found[-1], words.ways[word])[0]:
                wrong += 1
                truth = max(log_p(model, source, PHONEMES[way]) for way in words.ways[word])
                search += truth > score + 1e-4
        seconds = round(time.process_time() - started, 1)
        share, rate = attention.word_and_error_rate(found, [words.ways[word] for word in words.valid])
        row = {"width": width, "seconds": seconds, "words right": round(100 * share, 2)}
        yield row | {"phoneme error": round(100 * rate, 2), "wrong": wrong, "search errors": search}


# Copying


COPY_LENGTHS = tuple(range(1, 26))


class OneWay(attention.Encoder):
    """Reads from the left alone: what the reader from the right says is struck out."""

    def forward(self, source):
        mask = source != PAD  # (N, S)
        lengths = mask.sum(dim=1)
        outputs = self.rnn(self.embedding(source.T), lengths)  # (S, N, 2H)
        outputs = outputs * (torch.arange(outputs.shape[2]) < outputs.shape[2] // 2)
        state = torch.tanh(self.to_state(sentiment.both_ends_state(outputs, lengths)))
        return attention.EncoderMemory(self.to_keys(outputs).transpose(0, 1), mask, state[None])


def run_copy(kind, num_hiddens, seed, steps=1000, backwards=False):
    """Learn to copy strings of 1 to 20 letters, and copy others of each length."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    turn = (lambda pair: pair._replace(source=pair.source.flip(0))) if backwards else (lambda pair: pair)
    pairs = [turn(pair) for pair in attention.random_pairs(64 * steps, 1, 20, generator)]
    if kind == "transformer":
        model = attention.EncoderDecoder(
            attention.TransformerEncoder(14, num_hiddens), attention.TransformerDecoder(14, num_hiddens)
        )
    else:
        model = attention.EncoderDecoder(
            (OneWay if kind == "one way" else attention.Encoder)(14, 32, num_hiddens),
            new_decoder(kind, 14, 32, num_hiddens),
        )
    lr = 2e-3 if kind == "transformer" else 4e-3
    seconds = fit(model, attention.pair_batches(pairs, 64, 1, seed), lr=lr)
    generator = torch.Generator().manual_seed(99)
    row = {"model": kind, "hidden": num_hiddens, "seed": seed, "source": "backwards" if backwards else "as it is"}
    row |= {"parameters": count(model), "seconds": seconds}
    for length in COPY_LENGTHS:
        tests = [turn(pair) for pair in attention.random_pairs(200, length, length, generator)]
        row[str(length)] = round(attention.exact_match(model, tests, 32), 3)
    return row


def copying():
    """Exact match by length, with and without attention, for growing states; the source backwards; a Transformer."""
    runs = [(kind, 64, seed) for seed in SEEDS for kind in ("none", "dot")]
    runs += [(kind, size, 0) for size in (16, 32, 128) for kind in ("none", "dot")]
    for run in runs:
        yield run_copy(*run)
    for seed in SEEDS:
        yield run_copy("none", 64, seed, backwards=True)
        for backwards in (False, True):
            yield run_copy("one way", 64, seed, backwards=backwards)
    yield run_copy("transformer", 64, 0)
    yield run_copy("additive", 64, 0)


# Dates


def run_dates(kind, seed, steps=1000):
    """Learn to write days as year-month-day; no day of the test is learned from, in any form."""
    signs = text.Vocab(dates.SIGNS, reserved=attention.SPECIAL)
    days, draw = dates.draw_days(12_000, seed), random.Random(seed)
    test, train = days[:1000], days[1000:]

    def pair(day):
        return attention.make_pair(dates.write(day, draw.choice(dates.FORMS)), day.isoformat(), signs, signs)

    pairs = [pair(draw.choice(train)) for _ in range(64 * steps)]
    torch.manual_seed(seed)
    if kind == "transformer":
        model = attention.EncoderDecoder(
            attention.TransformerEncoder(len(signs), 64), attention.TransformerDecoder(len(signs), 64)
        )
    else:
        model = attention.EncoderDecoder(attention.Encoder(len(signs), 32, 64), new_decoder(kind, len(signs), 32, 64))
    lr = 2e-3 if kind == "transformer" else 4e-3
    seconds = fit(model, attention.pair_batches(pairs, 64, 1, seed), lr=lr)
    right = round(100 * attention.exact_match(model, [pair(day) for day in test]), 1)
    return {"model": kind, "seed": seed, "parameters": count(model), "seconds": seconds, "dates right": right}


def days():
    """Dates in thirteen forms, 1,000 steps, three seeds."""
    for kind in ("dot", "additive", "none", "transformer"):
        for seed in SEEDS:
            yield run_dates(kind, seed)


# Mistakes


def unshifted_loss(model, source, target):
    logits = model(source, target)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def loss_over_padding(model, source, target):
    logits = model(source, attention.shift_right(target))
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def scheduled_loss(model, source, target, share=0.25):
    """Feed the decoder its own answer in place of the true token, with a probability (Bengio et al., 2015)."""
    inputs, memory, state, steps = attention.shift_right(target), model.encoder(source), None, []
    ids = inputs[:, :1]
    for true in [*inputs.split(1, dim=1)[1:], None]:
        logits, state, _ = model.decoder(ids, memory, state)
        steps.append(logits)
        if true is not None:
            ids = torch.where(torch.rand(true.shape) < share, logits.detach().argmax(-1), true)
    return F.cross_entropy(torch.cat(steps, dim=1).flatten(0, 1), target.flatten(), ignore_index=PAD)


class BlindEncoder(attention.Encoder):
    """Forgets to say what is padding."""

    def forward(self, source):
        memory = super().forward(source)
        return memory._replace(mask=torch.ones_like(memory.mask))


def faults():
    """Mistakes and scheduled sampling, 40,000 words, two passes, one seed."""
    words = Words(most=40_000)
    stopless = [pair._replace(target=pair.target[:-1]) for pair in words.pairs]
    runs = {
        "right": {},
        "input not shifted": {"loss": unshifted_loss},
        "no <eos>": {"pairs": stopless},
        "no mask on the source": {"encoder": BlindEncoder},
        "loss over padding": {"loss": loss_over_padding},
        "scheduled sampling": {"loss": scheduled_loss},
    }
    for name, changes in runs.items():
        torch.manual_seed(0)
        model = new_model("dot")
        model.encoder = changes.get("encoder", attention.Encoder)(V_IN, 48, 96)
        batches = list(attention.pair_batches(changes.get("pairs", words.pairs), 128, 2, 0))
        started = time.process_time()
        losses = attention.fit_pairs(model, batches, loss=changes.get("loss", attention.pair_loss))
        seconds = round(time.process_time() - started, 1)
        held_out = [attention.make_pair(word, words.ways[word][0], LETTERS, PHONEMES) for word in words.valid]
        with torch.no_grad():
            batches = list(attention.pair_batches(held_out, 500, 1))
            valid = sum(float(attention.pair_loss(model, *batch)) for batch in batches) / len(batches)
        row = {"run": name, "seconds": seconds, "training loss": float(f"{losses[-50:].mean():.2g}")}
        yield row | {"held-out loss": round(valid, 2)} | words.judge(words.valid, writer(model))


TOPICS = {topic.__name__: topic for topic in (days, copying, words, beam, faults, best)}


def main(names):
    """Run the topics with these names and put their rows into the file, the others' rows as they are."""
    path = record.RESULTS / "attention.json"
    rnnlib.setup(0)
    torch.set_num_threads(1)
    for name in names or TOPICS:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
        rows = [row for row in rows if row["topic"] != name]
        for row in TOPICS[name]():
            print(row, flush=True)
            rows.append({"topic": name} | row)
            record.write("attention", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
