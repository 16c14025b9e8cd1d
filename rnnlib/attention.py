"""From one sequence to another: encoder, decoder, attention (built in chapter 9).

Tensors are batch first here: ids (N, S) of the source, (N, T) of the target.
"""

import functools
import math
import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import nn

from rnnlib import guards
from rnnlib.sentiment import BothWays, both_ends_state, bucket_order, pad
from rnnlib.text import Vocab

SPECIAL = ("<pad>", "<bos>", "<eos>")
PAD, BOS, EOS = 1, 2, 3  # their ids in a Vocab that reserves them; <unk> is 0
LETTERS = Vocab("abcdefghijklmnopqrstuvwxyz", reserved=SPECIAL)
PHONEMES = Vocab(
    [
        *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY"),
        *("F", "G", "HH", "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P"),
        *("R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
    ],
    reserved=SPECIAL,
)


def spoken_words(dictionary):
    """Return the words of 2 to 16 letters a to z, and their phonemes without stress."""
    guards.check_dictionary(dictionary)
    return {
        word: [[phoneme.rstrip("012") for phoneme in way] for way in ways]
        for word, ways in dictionary.items()
        if re.fullmatch("[a-z]{2,16}", word)
    }


class Pair(NamedTuple):
    """A source and a target, 1-D tensors of ids; the target ends with ``<eos>``."""

    source: torch.Tensor
    target: torch.Tensor


def make_pair(source, target, source_vocab, target_vocab):
    """Encode two lists of tokens, and end the target."""
    guards.check_coded(source, source_vocab, target, target_vocab)
    return Pair(
        torch.tensor(source_vocab[list(source)]),
        torch.tensor([*target_vocab[list(target)], EOS]),
    )


def random_pairs(num_strings, shortest, longest, generator):
    """Return pairs of a random string over ten letters and itself."""
    guards.check_strings(num_strings, shortest, longest, generator)
    pairs = []
    for _ in range(num_strings):
        length = torch.randint(shortest, longest + 1, (), generator=generator)
        letters = torch.randint(EOS + 1, EOS + 11, (length,), generator=generator)
        pairs.append(Pair(letters, torch.cat([letters, torch.tensor([EOS])])))
    return pairs


def pair_batches(pairs, batch_size, epochs, seed=0):
    """Yield padded sources (N, S) and targets (N, T), rows of like length together."""
    guards.check_pairs(pairs, batch_size, epochs, seed)
    generator = torch.Generator().manual_seed(seed)
    lengths = [len(pair.source) + len(pair.target) for pair in pairs]
    for _ in range(epochs):
        for rows in bucket_order(lengths, batch_size, generator):
            source, _ = pad([pairs[row].source for row in rows])  # (N, S)
            target, _ = pad([pairs[row].target for row in rows])  # (N, T)
            yield source, target


def shift_right(target):
    """Return what the decoder reads, (N, T): ``<bos>``, the target less its last."""
    return torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], dim=1)


class EncoderMemory(NamedTuple):
    """What an encoder hands over."""

    keys: torch.Tensor  # (N, S, H), one for each source token
    mask: torch.Tensor  # (N, S), True where a source token is real
    state: torch.Tensor  # (1, N, H), for the decoder to start from


class Encoder(nn.Module):
    """Read a source in both directions with a GRU."""

    def __init__(self, vocab_size, embed_size, num_hiddens, dropout=0.0):
        super().__init__()
        guards.check_coder(vocab_size, embed_size, num_hiddens, dropout)
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.dropout = nn.Dropout(dropout)
        self.rnn = BothWays(nn.GRU, embed_size, num_hiddens)
        self.to_keys = nn.Linear(2 * num_hiddens, num_hiddens)
        self.to_state = nn.Linear(2 * num_hiddens, num_hiddens)

    def forward(self, source):
        """Return the :class:`EncoderMemory` of a source (N, S)."""
        mask = source != PAD  # (N, S)
        lengths = mask.sum(dim=1)  # (N,)
        vectors = self.dropout(self.embedding(source.T))  # (S, N, E)
        outputs = self.rnn(vectors, lengths)  # (S, N, 2H)
        state = torch.tanh(self.to_state(both_ends_state(outputs, lengths)))  # (N, H)
        keys = self.to_keys(self.dropout(outputs)).transpose(0, 1)  # (N, S, H)
        return EncoderMemory(keys, mask, state[None])


class Decoder(nn.Module):
    """Write a target from the encoder's last state alone (Sutskever et al., 2014)."""

    def __init__(self, vocab_size, embed_size, num_hiddens, dropout=0.0):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.GRU(embed_size, num_hiddens)
        self.readout = nn.Linear(num_hiddens, vocab_size)

    def read(self, inputs, memory, state):
        """Return the GRU's outputs (N, T, H) and its state after the inputs (N, T)."""
        state = memory.state if state is None else state  # (1, N, H)
        vectors = self.dropout(self.embedding(inputs.T))  # (T, N, E)
        outputs, state = self.rnn(vectors, state)  # (T, N, H)
        return outputs.transpose(0, 1), state

    def forward(self, inputs, memory, state=None):
        """Return logits (N, T, V), the state, and None: it looks at nothing."""
        outputs, state = self.read(inputs, memory, state)  # (N, T, H)
        return self.readout(self.dropout(outputs)), state, None


class EncoderDecoder(nn.Module):
    """An encoder and a decoder, trained as one."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, source, inputs):
        """Return logits (N, T, V) for sources (N, S) and decoder inputs (N, T)."""
        logits, _, _ = self.decoder(inputs, self.encoder(source))
        return logits


def dot_scores(queries, keys):
    """Return (N, T, S): queries (N, T, H) times keys (N, S, H) (Luong et al., 2015)."""
    return queries @ keys.transpose(1, 2)


class AdditiveScore(nn.Module):
    """Score query and key by v · tanh(q W_q + k W_k) (Bahdanau et al., 2015)."""

    def __init__(self, num_hiddens):
        super().__init__()
        self.W_q = nn.Linear(num_hiddens, num_hiddens, bias=False)
        self.W_k = nn.Linear(num_hiddens, num_hiddens)
        self.v = nn.Linear(num_hiddens, 1, bias=False)

    def forward(self, queries, keys):
        """Return the scores (N, T, S) of queries (N, T, H) and keys (N, S, H)."""
        both = self.W_q(queries)[:, :, None] + self.W_k(keys)[:, None]  # (N, T, S, H)
        return self.v(torch.tanh(both)).squeeze(-1)  # (N, T, S)


def attend(scores, values, mask):
    """Return the mixtures (N, T, H) of values (N, S, H) and the weights (N, T, S)."""
    scores = scores.masked_fill(~mask[:, None], -math.inf)  # (N, T, S)
    weights = scores.softmax(dim=-1)  # (N, T, S), each row sums to 1
    return weights @ values, weights


class AttentionDecoder(Decoder):
    """Look back at the source before each answer (Luong et al., 2015)."""

    def __init__(self, *sizes, score=dot_scores, dropout=0.0):
        super().__init__(*sizes, dropout)
        num_hiddens = self.rnn.hidden_size
        self.score = score
        self.join = nn.Linear(2 * num_hiddens, num_hiddens)

    def forward(self, inputs, memory, state=None):
        """Return logits (N, T, V), the state, and the weights (N, T, S)."""
        queries, state = self.read(inputs, memory, state)  # (N, T, H)
        scores = self.score(queries, memory.keys)  # (N, T, S)
        context, weights = attend(scores, memory.keys, memory.mask)  # (N, T, H)
        both = torch.cat([context, queries], dim=-1)  # (N, T, 2H)
        joint = torch.tanh(self.join(both))  # (N, T, H)
        return self.readout(self.dropout(joint)), state, weights


def pair_loss(model, source, target):
    """Return the mean loss of the real target tokens, all steps at once."""
    logits = model(source, shift_right(target))  # (N, T, V)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def pair_schedule(step, num_steps, warm_up=50, end=0.02):
    """Return the factor of the learning rate: up in a line, then down to ``end``."""
    return min((step + 1) / warm_up, 1 - (1 - end) * step / num_steps)


def fit_pairs(model, batches, lr=4e-3, loss=pair_loss):
    """Train on each (source, target) of a list once; return the losses."""
    guards.check_translation(model, batches, lr, loss)
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    factor = functools.partial(pair_schedule, num_steps=len(batches))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    losses = []
    model.train()
    for source, target in batches:
        value = loss(model, source.to(device), target.to(device))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.detach())
    model.eval()
    return torch.stack(losses).cpu()


@torch.no_grad()
def greedy(model, source, max_steps):
    """Write the likeliest token at each step, (N, steps); ``<pad>`` after ``<eos>``."""
    guards.check_source(model, source, max_steps=max_steps)
    memory, state = model.encoder(source), None
    ids = torch.full_like(source[:, :1], BOS)  # (N, 1)
    written, ended = [], torch.zeros_like(ids, dtype=torch.bool)
    for _ in range(max_steps):
        logits, state, _ = model.decoder(ids, memory, state)  # (N, 1, V)
        ids = logits.argmax(dim=-1).masked_fill(ended, PAD)  # (N, 1)
        written.append(ids)
        ended = ended | (ids == EOS)
        if ended.all():
            break
    return torch.cat(written, dim=1)


def until_eos(ids):
    """Return each row of ids (N, T) as a list, up to its ``<eos>``."""
    return [row[: row.index(EOS)] if EOS in row else row for row in ids.tolist()]


def extend_beams(scores, log_p, width):
    """Return the best ways on from scores (K,), log_p (K, V): scores, rows, tokens."""
    total = (scores[:, None] + log_p).flatten()  # (K * V,)
    best, places = total.topk(min(width, len(total)))
    return best, places // log_p.shape[1], places % log_p.shape[1]


@torch.no_grad()
def beam_search(model, source, width, max_steps):
    """Return the texts found for a source (1, S), the likeliest first: (log p, ids)."""
    guards.check_beam(model, source, width, max_steps)
    memory, state = model.encoder(source), None
    ids = torch.full_like(source[:, :1], BOS)  # (K, 1), at first K = 1
    scores, written, finished = torch.zeros(1, device=source.device), ids[:, :0], []
    for _ in range(max_steps):
        logits, state, _ = model.decoder(ids, memory, state)  # (K, 1, V)
        log_p = logits[:, -1].log_softmax(dim=-1)  # (K, V)
        scores, parents, tokens = extend_beams(scores, log_p, width - len(finished))
        written = torch.cat([written[parents], tokens[:, None]], dim=1)  # (K, steps)
        ended = tokens == EOS  # such a text leaves the beam, which shrinks
        finished += zip(scores[ended].tolist(), until_eos(written[ended]), strict=True)
        scores, written, ids = scores[~ended], written[~ended], tokens[~ended, None]
        state = state[:, parents[~ended]]
        if not len(ids):
            break
    cut_off = zip(scores.tolist(), written.tolist(), strict=True)  # without <eos>
    return sorted([*finished, *cut_off], reverse=True)


@torch.no_grad()
def exact_match(model, pairs, max_steps=32):
    """Return the share of pairs whose target the model writes without a mistake."""
    guards.check_judged(model, pairs, max_steps)
    device = next(model.parameters()).device
    source, _ = pad([pair.source for pair in pairs])  # (N, S)
    written = until_eos(greedy(model, source.to(device), max_steps))
    right = [w == t.target[:-1].tolist() for w, t in zip(written, pairs, strict=True)]
    return sum(right) / len(right)


def fewest_edits(guess, answers):
    """Return the edits from a guess to the closest of its answers, and its length.

    An edit puts in, takes out or replaces one token (Levenshtein, 1966).
    """
    return min((Levenshtein.distance(guess, answer), len(answer)) for answer in answers)


def word_and_error_rate(guesses, answers):
    """Return the share of guesses without a mistake, and mistakes per true token."""
    guards.check_guesses(guesses, answers)
    edits, lengths = zip(*map(fewest_edits, guesses, answers), strict=True)
    return edits.count(0) / len(edits), sum(edits) / sum(lengths)


def split_heads(X, num_heads):
    """Cut the vectors of (N, T, H) into heads (N, heads, T, H / heads)."""
    return X.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class MultiHead(nn.Module):
    """Attend with several heads side by side (Vaswani et al., 2017)."""

    def __init__(self, num_hiddens, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.W_q = nn.Linear(num_hiddens, num_hiddens)
        self.W_k = nn.Linear(num_hiddens, num_hiddens)
        self.W_v = nn.Linear(num_hiddens, num_hiddens)
        self.W_o = nn.Linear(num_hiddens, num_hiddens)

    def forward(self, queries, keys, mask):
        """Return mixtures (N, T, H); the mask broadcasts to (N, heads, T, S)."""
        Q = split_heads(self.W_q(queries), self.num_heads)  # (N, heads, T, H / heads)
        K = split_heads(self.W_k(keys), self.num_heads)  # (N, heads, S, H / heads)
        V = split_heads(self.W_v(keys), self.num_heads)
        scores = Q @ K.transpose(2, 3) / math.sqrt(Q.shape[-1])  # (N, heads, T, S)
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
        return self.W_o((weights @ V).transpose(1, 2).flatten(2))  # (N, T, H)


class Positions(nn.Module):
    """An embedding of tokens plus one of their places, which attention can't see."""

    def __init__(self, vocab_size, num_hiddens, max_steps=64):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, num_hiddens)
        self.places = nn.Embedding(max_steps, num_hiddens)

    def forward(self, ids):
        """Return vectors (N, T, H) for ids (N, T)."""
        return self.tokens(ids) + self.places.weight[: ids.shape[1]]


class TransformerEncoder(nn.Module):
    """Read a source by attention to itself."""

    def __init__(self, vocab_size, num_hiddens, num_layers=1, num_heads=4):
        super().__init__()
        self.embedding = Positions(vocab_size, num_hiddens)
        sizes = num_hiddens, num_heads, 2 * num_hiddens, 0.0  # without dropout
        layer = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
        norm = nn.LayerNorm(num_hiddens)
        self.layers = nn.TransformerEncoder(layer, num_layers, norm, False)

    def forward(self, source):
        """Return the :class:`EncoderMemory` of a source (N, S); its state is empty."""
        mask = source != PAD  # (N, S)
        vectors = self.embedding(source)  # (N, S, H)
        keys = self.layers(vectors, src_key_padding_mask=~mask)  # (N, S, H)
        return EncoderMemory(keys, mask, source[None, :, :0])


class TransformerDecoder(nn.Module):
    """Write a target; what it calls its state is all of its inputs so far."""

    def __init__(self, vocab_size, num_hiddens, num_layers=1, num_heads=4):
        super().__init__()
        self.embedding = Positions(vocab_size, num_hiddens)
        sizes = num_hiddens, num_heads, 2 * num_hiddens, 0.0
        layer = nn.TransformerDecoderLayer(*sizes, batch_first=True, norm_first=True)
        norm = nn.LayerNorm(num_hiddens)
        self.layers = nn.TransformerDecoder(layer, num_layers, norm)
        self.readout = nn.Linear(num_hiddens, vocab_size)

    def forward(self, inputs, memory, state=None):
        """Return logits (N, T, V), the state, and no weights."""
        state = memory.state if state is None else state  # (1, N, steps before)
        ids = torch.cat([state[0], inputs], dim=1)  # (N, all steps)
        N, T = ids.shape
        future = torch.ones(T, T, dtype=torch.bool, device=ids.device).triu(1)
        keys, masked = memory.keys.expand(N, -1, -1), ~memory.mask.expand(N, -1)
        masks = {"tgt_mask": future, "memory_key_padding_mask": masked}
        outputs = self.layers(self.embedding(ids), keys, **masks)  # (N, T, H)
        new = outputs[:, T - inputs.shape[1] :]
        return self.readout(new), ids[None], None
