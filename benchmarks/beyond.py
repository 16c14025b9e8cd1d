"""What chapter 11 compares: rows that grow, dropout, mazes, exposure bias, recurrences and hybrids on the same text.

    python -m benchmarks.beyond                all of it, about an hour of processor time
    python -m benchmarks.beyond mixers scans   parts of it; what is kept of the others stays

Three seeds each; every run is written to rnnlib/results/beyond.json.
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import rnnlib
from benchmarks import clock, record
from rnnlib import beyond, data, mazes, regularised, text
from rnnlib.gradients import clip_gradients
from rnnlib.layers import LanguageModel, ManyToOne
from rnnlib.training import fit

SEEDS = range(3)
CPU = torch.device("cpu")


def ids_of_the_book():
    """Return the ids of *The Time Machine* and the size of its vocabulary."""
    corpus = text.clean(data.load_text("time_machine"))
    vocab = text.Vocab(text.tokenize(corpus))
    return torch.tensor(vocab[list(corpus)]), len(vocab)


def curriculum():
    """Parity of 32 bits from rows of different first lengths: solved, and after how many CPU seconds, at most 8."""
    rows = []
    for start in (1, 2, 3, 4, 8, 32):
        for seed in SEEDS:
            torch.manual_seed(seed)
            model, begun = ManyToOne(nn.LSTM(1, 32), 2), time.process_time()
            for length, right in beyond.parity_steps(model, start, seed=seed):
                seconds = time.process_time() - begun
                solved = length == 32 and right >= 0.97
                if solved or seconds > 8:
                    break
            kept = {f"right at {n}": round(beyond.parity_right(model, n), 3) for n in (32, 1000)}
            rows.append({"start": start, "seed": seed, "solved": solved} | kept)
            rows[-1]["seconds"] = round(seconds, 2)
            print(rows[-1], flush=True)
    return rows


class EachStep(nn.Module):
    """An LSTM that drops units of its hidden state, by a new mask at each step or by one mask for all."""

    def __init__(self, num_inputs, num_hiddens, p, locked):
        super().__init__()
        self.cell, self.p, self.locked = nn.LSTMCell(num_inputs, num_hiddens), p, locked

    def forward(self, inputs, state):
        """Return outputs (T, N, H) and the last state, as ``nn.LSTM`` does."""
        H, C = (part.squeeze(0) for part in state)
        mask, outputs = F.dropout(torch.ones_like(H), self.p, self.training), []
        for X in inputs:
            if not self.locked:
                mask = F.dropout(torch.ones_like(H), self.p, self.training)
            H, C = self.cell(X, (H * mask, C))
            outputs.append(H)
        return torch.stack(outputs), (H[None], C[None])


class EachStepModel(LanguageModel):
    """A language model on such a layer."""

    def __init__(self, vocab_size, locked, p=0.3):
        super().__init__(nn.LSTM(32, 128), vocab_size, nn.Embedding(vocab_size, 32))
        self.shape, self.rnn = self.rnn, EachStep(32, 128, p, locked)

    def begin_state(self, batch_size, device=None):
        """Return zeros, as for ``nn.LSTM``."""
        zeros = torch.zeros(1, batch_size, 128)
        return zeros, zeros


def dropout_models(vocab_size):
    """Return functions that make an LSTM language model with each kind of dropout, by name and probability."""

    def plain(p=0.0):
        return LanguageModel(nn.LSTM(32, 128), vocab_size, nn.Embedding(vocab_size, 32), dropout=p)

    def locked(p_in, p_out, p_weights):
        model = plain()
        model.embedding = nn.Sequential(model.embedding, regularised.LockedDropout(p_in))
        model.dropout = regularised.LockedDropout(p_out)
        if p_weights:
            regularised.drop_weights(model.rnn, p_weights)
        return model

    return {
        "none": plain,
        "plain, before the read-out, 0.4": lambda: plain(0.4),
        "locked, before the read-out, 0.4": lambda: locked(0.0, 0.4, 0.0),
        "locked, input 0.13 and output 0.4": lambda: locked(0.13, 0.4, 0.0),
        "weight drop 0.4": lambda: locked(0.0, 0.0, 0.4),
        "weight drop 0.4, locked output 0.4": lambda: locked(0.0, 0.4, 0.4),
        "on the state, a new mask each step, 0.3": lambda: EachStepModel(vocab_size, locked=False),
        "on the state, one mask for all steps, 0.3": lambda: EachStepModel(vocab_size, locked=True),
    }


def dropout():
    """LSTM 128 on 10,000 characters (it overfits) and on 100,000 (it doesn't yet): held-out perplexity."""
    ids, vocab_size = ids_of_the_book()
    rows = []
    for num_characters, epochs in ((10_000, 35), (100_000, 1)):
        train = text.sequential_batches(ids[:num_characters], 8, 48)
        held_out = text.sequential_batches(ids[num_characters : num_characters + 10_000], 8, 48, offset=0)
        for name, make in dropout_models(vocab_size).items():
            if num_characters > 10_000 and name.startswith("on the state"):
                continue
            for seed in SEEDS:
                rnnlib.setup(seed)
                model, begun = make(), time.process_time()
                optimizer = torch.optim.Adam(model.parameters(), 5e-3)
                options = {"optimizer": optimizer, "valid_batches": held_out, "report": lambda *_: None}
                history = fit(model, train, epochs, **options)
                seconds = time.process_time() - begun
                row = {"characters": num_characters, "dropout": name, "seed": seed, "epochs": epochs}
                row["training"] = round(history[-1]["train"], 2)
                row["held out"], row["best"] = round(history[-1]["valid"], 2), round(history.best["valid"], 2)
                rows.append(row | {"seconds": round(seconds, 1)})
                print(rows[-1], flush=True)
    return rows


def maze():
    """CPU seconds until 95 % turn right (a running mean), in corridors of three lengths, at most 15 s."""
    rows = []
    for name, make in (("GRU", mazes.Policy), ("GRU, wiped at each step", mazes.Forgetful)):
        for length in (5, 10, 20):
            for seed in SEEDS:
                torch.manual_seed(seed)
                policy, begun, mean, episodes = make(), time.process_time(), 0.5, 0
                for _, right in mazes.maze_steps(policy, lambda length, right: length, length, seed):
                    mean, episodes = 0.95 * mean + 0.05 * right, episodes + 1
                    seconds = time.process_time() - begun
                    if mean >= 0.95 or seconds > 15:
                        break
                row = {"policy": name, "length": length, "seed": seed, "right": round(mean, 3), "episodes": episodes}
                rows.append(row | {"seconds": round(seconds, 2)})
                print(rows[-1], flush=True)
    return rows


class WaveForecaster(nn.Module):
    """Forecast each next value of a wave from true values or its own forecasts."""

    def __init__(self, num_hiddens=48):
        super().__init__()
        self.cell, self.read_out = nn.GRUCell(1, num_hiddens), nn.Linear(num_hiddens, 1)

    def forward(self, wave, num_read, share_true, generator=None):
        """Return a forecast of what follows each step of a wave (T, N, 1).

        The first ``num_read`` values that it reads are true, of the others a share.
        """
        state = self.read_out.weight.new_zeros(wave.shape[1], self.cell.hidden_size)
        forecast, forecasts = wave[0], []
        for t, value in enumerate(wave.unbind()):  # (N, 1)
            if t >= num_read:
                true = torch.rand(value.shape, generator=generator).to(value.device)
                value = torch.where(true < share_true, value, forecast)
            state = self.cell(value, state)
            forecast = self.read_out(state)
            forecasts.append(forecast)
        return torch.stack(forecasts)


def two_waves(num_rows, length, generator, noise=0.1):
    """Draw sums of two sines (T, N, 1): as they are, and as seen through noise."""
    t = torch.arange(length)[:, None]  # (T, 1)
    clean = torch.zeros(length, num_rows)
    for slow, fast in ((10, 20), (20, 40)):  # steps in a period
        period = slow + (fast - slow) * torch.rand(num_rows, generator=generator)
        start = 2 * torch.pi * torch.rand(num_rows, generator=generator)
        size = 0.5 + 0.5 * torch.rand(num_rows, generator=generator)
        clean = clean + size * torch.sin(2 * torch.pi * t / period + start)
    seen = clean + noise * torch.randn(clean.shape, generator=generator)
    return clean[..., None], seen[..., None]


def exposure():
    """RMSE of 60 forecasts in a row against the clean wave, for three ways to train."""
    shares = {
        "teacher forcing": lambda done: 1.0,
        "scheduled sampling": lambda done: 1.0 - done,
        "own outputs": lambda done: 0.0,
    }
    num_steps, rows = 350, []
    for name, share in shares.items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            generator, model = torch.Generator().manual_seed(seed), WaveForecaster()
            optimizer, begun = torch.optim.Adam(model.parameters(), 5e-3), time.process_time()
            for step in range(num_steps):
                _, seen = two_waves(32, 101, generator)
                forecasts = model(seen[:-1], 40, share(step / num_steps), generator)
                optimizer.zero_grad()
                F.mse_loss(forecasts, seen[1:]).backward()
                clip_gradients(model.parameters(), 1.0)
                optimizer.step()
            seconds = time.process_time() - begun
            clean, seen = two_waves(500, 101, torch.Generator().manual_seed(99))
            with torch.no_grad():
                taught, alone = model(seen[:-1], 40, 1.0), model(seen[:-1], 40, 0.0)
            row = {"trained with": name, "seed": seed}
            for key, forecasts, steps in (
                ("one step ahead", taught, slice(40, 100)),
                ("alone, first 20", alone, slice(40, 60)),
                ("alone, all 60", alone, slice(40, 100)),
            ):
                row[key] = round(math.sqrt(F.mse_loss(forecasts[steps], clean[1:][steps])), 3)
            row["saying 0"] = round(float(clean[41:].square().mean().sqrt()), 3)
            rows.append(row | {"seconds": round(seconds, 1)})
            print(rows[-1], flush=True)
    return rows


FULL = 4096  # a window that reaches back to the beginning


def mixed(*kinds):
    """Return a function that makes a language model of these parts for V and D."""
    parts = {
        "GRU": lambda D: beyond.GRUMixer(D, D),
        "GRU block": lambda D: beyond.Block(beyond.GRUMixer(D, D), D),
        "minGRU block": lambda D: beyond.Block(beyond.MinGRU(D), D),
        "RWKV block": lambda D: beyond.Block(beyond.TimeMixing(D), D),
        "positions": lambda D: beyond.StepEmbedding(D, 128),
        "attention block": lambda D: beyond.Block(beyond.LocalAttention(D, FULL), D),
        "local attention block": lambda D: beyond.Block(beyond.LocalAttention(D, 16), D),
    }
    return lambda V, D: beyond.MixedModel(V, D, *(parts[kind](D) for kind in kinds))


MIXERS = {
    "GRU": lambda V, D: LanguageModel(nn.GRU(32, D), V, nn.Embedding(V, 32)),
    "minGRU, 2 blocks": mixed("minGRU block", "minGRU block"),
    "RWKV-like, 1 block": mixed("RWKV block"),
    "attention, no positions": mixed("attention block", "attention block"),
    "attention, position embeddings": mixed("positions", "attention block", "attention block"),
    "attention over a GRU": mixed("GRU", "attention block"),
    "local attention over minGRU": mixed("minGRU block", "local attention block"),
}


def sized(make, vocab_size, num_weights=70_000):
    """Return the width, a multiple of 4, with which a model comes nearest to a number of weights."""
    return min(range(16, 200, 4), key=lambda D: abs(weights_of(make(vocab_size, D)) - num_weights))


def weights_of(model):
    """Return how many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def second_half(model, ids, num_steps=128):
    """Return the perplexity of the second half of each window, so that all have half a window to look back on."""
    windows = ids[: len(ids) - (len(ids) - 1) % num_steps].unfold(0, num_steps + 1, num_steps // 2)
    with torch.no_grad():
        logits, _ = model(windows[:, :-1])
    logits = logits.unflatten(0, (num_steps, -1))[num_steps // 2 :]  # (T / 2, N, V)
    targets = windows[:, 1:].T[num_steps // 2 :]
    return math.exp(F.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def train_for(model, ids, seconds, lr, seed):
    """Train on random windows of 128 steps for so many CPU seconds, the rate falling to 0; return the steps."""
    optimizer, generator = torch.optim.Adam(model.parameters(), lr), torch.Generator().manual_seed(seed)
    begun, steps, window = time.process_time(), 0, torch.arange(129)
    while (passed := time.process_time() - begun) < seconds:
        optimizer.param_groups[0]["lr"] = lr * (1 - passed / seconds)
        starts = torch.randint(len(ids) - 128, (16, 1), generator=generator)
        rows = ids[starts + window]  # (N, T + 1)
        logits, _ = model(rows[:, :-1])
        optimizer.zero_grad()
        F.cross_entropy(logits, rows[:, 1:].T.reshape(-1)).backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


def mixers():
    """Seven models of 70,000 weights, 20 CPU seconds each; rates chosen on one part of the book, judged on another."""
    ids, vocab_size = ids_of_the_book()
    train, chosen_on, judged_on = ids[:-20_000], ids[-20_000:-10_000], ids[-10_000:]
    rows = []
    for name, make in MIXERS.items():
        D, found = sized(make, vocab_size), {}
        for lr in (5e-3, 1e-2, 2e-2):
            torch.manual_seed(100)
            model = make(vocab_size, D)
            train_for(model, train, 12, lr, 100)
            found[lr] = second_half(model, chosen_on)
        lr = min(found, key=found.get)
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = make(vocab_size, D)
            steps = train_for(model, train, 20, lr, seed)
            row = {"model": name, "units": D, "weights": weights_of(model), "rate": lr, "seed": seed, "steps": steps}
            rows.append(row | {"held out": round(second_half(model, judged_on), 3)})
            print(rows[-1], {rate: round(value, 2) for rate, value in found.items()}, flush=True)
    return rows


def by_index(a, b, h):
    """Loop as many do: a[:, t], whose backward pass fills a whole tensor with zeros at each step."""
    states = []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        states.append(h)
    return torch.stack(states, 1)


def by_unbind(a, b, h):
    """Loop over the same axis with unbind, whose backward pass stacks the pieces once."""
    states = []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states, 1)


def scans(device=CPU):
    """Forward and backward through h = a h + b, 16 rows, 128 units: CPU milliseconds.

    nn.GRU, 58 reads the same inputs with about as many weights as minGRU.
    """
    rows = []
    for num_steps in (64, 256, 1024):
        gru, min_gru = nn.GRU(128, 128).to(device), beyond.MinGRU(128).to(device)
        narrow = nn.GRU(128, 58).to(device)
        a, b = torch.rand(2, num_steps, 16, 128, device=device)
        a, b = a.requires_grad_(), b.requires_grad_()
        turned = [part.detach().transpose(0, 1).contiguous().requires_grad_() for part in (a, b)]
        h = torch.zeros(16, 128, device=device)
        rivals = {
            "loop, unbind": lambda: beyond.linear_recurrence(a, b, h).sum().backward(),  # noqa: B023
            "doubling scan": lambda: beyond.doubling_scan(a, b, h).sum().backward(),  # noqa: B023
            "nn.GRU": lambda: gru(b)[0].sum().backward(),  # noqa: B023
            "nn.GRU, 58": lambda: narrow(b)[0].sum().backward(),  # noqa: B023
            "minGRU": lambda: min_gru(b, h)[0].sum().backward(),  # noqa: B023
            "batch first, unbind(1)": lambda: by_unbind(*turned, h).sum().backward(),  # noqa: B023
            "batch first, a[:, t]": lambda: by_index(*turned, h).sum().backward(),  # noqa: B023
        }
        times = clock.side_by_side(rivals, repeats=3 if num_steps > 256 else 7, device=device)
        rows.append({"steps": num_steps} | {name: round(1000 * took.median, 1) for name, took in times.items()})
        print(rows[-1], flush=True)
    return rows


PARTS = (scans, maze, dropout, exposure, mixers, curriculum)


def main():
    """Measure the parts named on the command line, or all of them."""
    rnnlib.setup(0)
    torch.set_num_threads(1)
    path = record.RESULTS / "beyond.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    for part in PARTS:
        if not sys.argv[1:] or part.__name__ in sys.argv[1:]:
            rows = [{"part": part.__name__} | row for row in part()]
            kept = [row for row in kept if row["part"] != part.__name__] + rows
            record.write("beyond", kept)


if __name__ == "__main__":
    main()
