"""Train a language model for long without letting it learn its text by heart: what chapter 11 tries, put together.

The larger Shakespeare network of the book was trained so (``python -m rnnlib.pretrained shakespeare_lstm``).
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rnnlib import environment, gradients, guards, scratch, text, training

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a layer of nn.LSTM


class LockedDropout(nn.Module):
    """Drop the same units at all steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, p):
        super().__init__()
        guards.check_shares(p=p)
        self.p = p

    def forward(self, inputs):
        """Return inputs (T, N, D) with units dropped and the others scaled up."""
        guards.check_shapes("inputs (T, N, D)", inputs)
        if not self.training:
            return inputs
        mask = torch.bernoulli(torch.full_like(inputs[:1], 1 - self.p))  # (1, N, D)
        return inputs * mask / (1 - self.p)


def drop_weights(rnn_layer, p):
    """Drop each number of W_hh with probability p, drawn anew (Merity et al., 2018)."""
    guards.check_shares(p=p)
    guards.check_recurrent_weights(rnn_layer)
    for name, _ in list(rnn_layer.named_parameters()):
        if name.startswith("weight_hh"):
            parametrize.register_parametrization(rnn_layer, name, nn.Dropout(p))
    return rnn_layer


class _Learner(nn.Module):
    """A language model on a stacked LSTM while it learns: locked dropout, recurrent weights that drop (chapter 11)."""

    def __init__(self, model):
        super().__init__()
        self.embedding, self.linear = model.embedding, model.linear
        H = model.rnn.hidden_size
        sizes = [model.rnn.input_size, *[H] * model.rnn.num_layers]
        self.layers = nn.ModuleList(nn.LSTM(D, H) for D, H in itertools.pairwise(sizes))
        for k, layer in enumerate(self.layers):
            layer.load_state_dict({f"{part}_l0": getattr(model.rnn, f"{part}_l{k}") for part in PARTS})
            drop_weights(layer, 0.25)
        between = [0.35] * (len(self.layers) - 1)
        self.dropouts = nn.ModuleList(map(LockedDropout, (0.05, *between, 0.4)))

    def forward(self, ids, states):
        """Read ids (N, T) from a state for each layer; return the logits (T * N, V) and the last states."""
        output, last = self.dropouts[0](self.embedding(ids.T)), []
        for layer, dropout, state in zip(self.layers, self.dropouts[1:], states, strict=True):
            output, state = layer(output, state)
            output = dropout(output)
            last.append(state)
        return self.linear(output).flatten(0, 1), last

    def copy_to(self, model):
        """Give a plain model these weights."""
        with torch.no_grad():
            for part in ("embedding", "linear"):
                getattr(model, part).load_state_dict(getattr(self, part).state_dict())
            for k, layer in enumerate(self.layers):
                tensors = {name.split(".")[-2 if "." in name else 0]: t for name, t in layer.state_dict().items()}
                for part in PARTS:
                    getattr(model.rnn, f"{part}_l{k}").copy_(tensors[f"{part}_l0"])
        return model.eval()


def train_regularised(model, train_ids, valid_ids, passes, rows=64, num_steps=64, lr=4e-3):
    """Train a language model on a stacked LSTM for long, and give it the average of its latest weights.

    AdamW, one cycle of the learning rate, averaged weights, the text rolled every pass; under bfloat16 where the
    processor has it, which takes about two thirds of the time (Merity et al., 2018, regularise so).

    Args:
        model: a LanguageModel with an embedding, on an LSTM of one or more layers, on the CPU.
        train_ids, valid_ids: token ids of the training and the held-out text.
        passes: over the training text.
        rows, num_steps, lr: N, T and the largest learning rate.

    Returns:
        History: one row a pass.
    """
    guards.check_language_models(model=model)
    guards.check_learners(model=model)
    guards.check_stacked_lstm(model)
    guards.check_sizes(passes=passes, rows=rows, num_steps=num_steps)
    guards.check_rates(lr=lr)
    guards.check_corpus(train_ids, rows, num_steps, offset=0)
    train_ids = text.as_tensor(train_ids)
    valid_batches = text.sequential_batches(valid_ids, 32, 50, offset=0)
    for ids in (train_ids, text.as_tensor(valid_ids)):
        guards.check_embedded_ids(model, ids[None])
    learner = _Learner(model)
    average = AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
    windows = len(train_ids) // (rows * num_steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, passes * windows, pct_start=0.06)
    generator = environment.new_generator(0)
    history = training.History()
    for number in range(1, passes + 1):
        rolled = train_ids.roll(int(torch.randint(len(train_ids), (1,), generator=generator)))
        X, Y = (part[: rows * windows * num_steps].view(rows, -1) for part in (rolled, rolled.roll(-1)))
        states, losses = [None] * len(learner.layers), []
        learner.train()
        for x, y in zip(X.split(num_steps, 1), Y.split(num_steps, 1), strict=True):
            optimizer.zero_grad()
            with environment.bfloat16_where_fast():
                logits, states = learner(x, states)
            loss = F.cross_entropy(logits.float(), y.T.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(learner)
            states = [gradients.detach(state) for state in states]
            losses.append(loss.detach())
        average.module.copy_to(model)
        valid = scratch.perplexity(model, valid_batches)
        row = {"epoch": number, "train": scratch.safe_exp(float(torch.stack(losses).mean())), "valid": valid}
        history.append(dict.fromkeys(history.keys) | row)
        print(f"pass {number:2}: {math.log2(valid):.3f} bits a character held out", flush=True)
    return history
