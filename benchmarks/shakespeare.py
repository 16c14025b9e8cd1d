"""How well the larger Shakespeare network predicts, beside its rivals: `python -m benchmarks.shakespeare`.

``python -m rnnlib.pretrained shakespeare_lstm`` trained it. To ``rnnlib/results/shakespeare.json`` go the bits a
character that each model needs for the held-out text, for all of it, before *The Tempest* begins and in it: the
characters of that play never speak in the text that was learned.

Two more models are made of the network. One mixes its probabilities with those of Kneser-Ney counts. The other goes on
learning while it reads: it predicts fifty characters, then takes a step of gradient descent on them (dynamic
evaluation, Krause et al., 2018). The share and the rate are chosen without the held-out text: a sister network
learns from the first 95 % of the training text for a few passes, and they are what is best for her on the rest.
"""

import copy

import torch
from torch import nn

from benchmarks import record
from rnnlib import baselines, data, environment, gradients, pretrained, regularised

RATES, SHARES = (0.03, 0.1, 0.3, 1.0), (0.1, 0.2, 0.3, 0.4, 0.5)


@torch.no_grad()
def chances(model, ids):
    """Return the probability that a model gave to each character of a text after the first, read in one row."""
    found, state = [], model.begin_state(1)
    for x, y in zip(ids[:-1].split(1000), ids[1:].split(1000), strict=True):
        logits, state = model(x[None], state)
        found.append(logits.log_softmax(1)[range(len(y)), y].exp())
    return torch.cat(found)


def chances_while_learning(model, ids, lr, window=50):
    """Return the same for a copy of a model that takes a step of SGD on each window after it was predicted."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    found, state = [], model.begin_state(1)
    for x, y in zip(ids[:-1].split(window), ids[1:].split(window), strict=True):
        logits, state = model(x[None], state)
        logs = logits.log_softmax(1)[range(len(y)), y]
        found.append(logs.detach().exp())
        optimizer.zero_grad()
        (-logs.mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = gradients.detach(state)
    return torch.cat(found)


def bits(p):
    """Return the bits a character that probabilities cost."""
    return -float(torch.as_tensor(p).double().log2().mean())


def counted(ids, other, order=7):
    """Return the probabilities that Kneser-Ney counts of a text give to another after its first character."""
    return torch.as_tensor(baselines.KneserNey(ids, order, len(pretrained.CHARACTERS)).probabilities(other)[1:])


def choose(ids, passes=6, looked_at=20_000):
    """Return the rate to go on learning with, the share of the counts, and rows with what each candidate brought."""
    size = int(0.95 * len(ids))
    sister = pretrained.larger_shakespeare_model()
    regularised.train_regularised(sister, ids[:size], ids[size:], passes)
    rest = ids[size : size + looked_at]
    own, table = chances(sister, rest), counted(ids[:size], rest)
    rates = {lr: bits(chances_while_learning(sister, rest, lr)) for lr in RATES}
    shares = {share: bits((1 - share) * own + share * table) for share in SHARES}
    rows = [{"what": "chosen by the sister", "lr": lr, "bits": round(found, 4)} for lr, found in rates.items()]
    rows += [{"what": "chosen by the sister", "share": s, "bits": round(found, 4)} for s, found in shares.items()]
    return min(rates, key=rates.get), min(shares, key=shares.get), rows


def in_the_tempest(ids):
    """Return where The Tempest begins in a held-out text; its characters never speak in the text that was learned."""
    return "".join(pretrained.CHARACTERS.decode(ids)).index("Master:\nBoatswain!")


def compare(model, ids, valid_ids):
    """Return a row for each model: the bits of the held-out text, before The Tempest and in it."""
    lr, share, rows = choose(ids)
    gru, _ = pretrained.load_model("shakespeare_gru")
    own, table = chances(model, valid_ids), {order: counted(ids, valid_ids, order) for order in (5, 6, 7, 8)}
    found = {"GRU": chances(gru, valid_ids), "LSTM": own}
    found |= {f"Kneser-Ney of {order}": p for order, p in table.items()}
    found["LSTM and Kneser-Ney"] = (1 - share) * own + share * table[7]
    found["LSTM that goes on learning"] = chances_while_learning(model, valid_ids, lr)
    start = in_the_tempest(valid_ids)
    for what, p in found.items():
        parts = {"bits": bits(p), "before": bits(p[:start]), "tempest": bits(p[start:])}
        rows.append({"what": what} | {name: round(value, 4) for name, value in parts.items()})
    rows[-1]["lr"], rows[-2]["share"] = lr, share
    return rows


def main():
    """Measure the network and its rivals, and record what they need."""
    environment.setup(seed=0)
    ids = torch.as_tensor(pretrained.CHARACTERS[list(data.load_text("shakespeare"))])
    size = int(0.9 * len(ids))
    model, _ = pretrained.load_model("shakespeare_lstm")
    record.write("shakespeare", compare(model, ids[:size], ids[size:]))


if __name__ == "__main__":
    main()
