"""Reading in both directions: who sees what, what leaks, where words end (chapter
6)."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib import guards
from rnnlib.environment import evaluating, single_steps
from rnnlib.gates import scan
from rnnlib.layers import num_directions
from rnnlib.scratch import next_token_probabilities
from rnnlib.text import as_vocab, one_hot


def rnn_step(X, H, params):
    """Take a tanh layer one step on: H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h).

    X, H: (N, D) and (N, H). Returns the new H twice, as the output and as the state.
    """
    W_xh, W_hh, b_h = params
    H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)
    return H, H


def both_ways(step, inputs, states, params):
    """Scan inputs (T, N, D) each way, side by side (Schuster and Paliwal, 1997).

    states, params: of each direction, forward first. Returns outputs (T, N, 2H), at t a
    half that has read 0 to t and a half that has read T - 1 to t, and both last states.
    """
    guards.check_two_ways(step, inputs, states, params)
    ahead, last = scan(step, inputs, states[0], params[0])  # (T, N, H)
    back, first = scan(step, inputs.flip(0), states[1], params[1])  # last step first
    return torch.cat([ahead, back.flip(0)], dim=-1), (last, first)


class Bidirectional(nn.Module):
    """Two models of the book as one; ``back`` is given the ids flipped.

    O_t = [H_t ahead, H_t back] W_hq + b_q = H_t ahead W_hq[:H] + H_t back W_hq[H:] +
    b_q: a read-out of two states is the sum of two, so the logits are added. For a
    reader of whole sequences: as a language model it sees the answers.
    """

    def __init__(self, ahead, back):
        super().__init__()
        guards.check_both(ahead, back)
        self.ahead, self.back, self.vocab_size = ahead, back, ahead.vocab_size

    def begin_state(self, batch_size, device=None):
        """Return the state of each direction before its first token, forward first."""
        models = (self.ahead, self.back)
        return tuple(model.begin_state(batch_size, device) for model in models)

    def forward(self, ids, state=None):
        """Read ids (N, T) from the state of each direction, zeros by default.

        Returns logits (T * N, V), time first, and both last states; the backward one is
        that at the first token.
        """
        guards.check_inputs(self, ids, state)
        if state is None:
            state = self.begin_state(ids.shape[0])
        logits, ahead_state = self.ahead(ids, state[0])  # (T * N, V)
        flipped, back_state = self.back(ids.long().flip(1), state[1])  # last step first
        in_order = flipped.unflatten(0, ids.T.shape).flip(0)  # (T, N, V)
        return logits + in_order.flatten(0, 1), (ahead_state, back_state)


def dependencies(read, X):
    """Measure by autograd how strongly each output depends on each input, (S, T).

    read: from inputs (T, D) to outputs (S, K). Entry [s, t] is the norm of all
    derivatives of read(X)[s] with respect to X[t], exactly 0 where no path leads from
    one to the other.
    """
    guards.check_read(read, X)
    jacobian = torch.autograd.functional.jacobian(read, X)  # (S, K, T, D)
    return jacobian.square().sum((1, 3)).sqrt()


@torch.no_grad()
def perplexity_by_position(model, batches):
    """Return the perplexity (T,) at each position of windows that start afresh.

    batches: of X, Y, both (N, T), all with the same T.
    """
    guards.check_measured(model, batches)
    device = next(model.parameters()).device
    nlls, counts = [], []
    with evaluating(model):
        for X, Y in batches:
            guards.check_minibatch((X, Y), model)
            logits, _ = model(X.to(device))  # (T * N, V), time first
            targets = Y.T.reshape(-1).to(device).long()
            nll = F.cross_entropy(logits, targets, reduction="none")
            nlls.append(nll.reshape(X.T.shape).sum(1))  # (T,)
            counts.append((Y.T != -100).sum(1).to(device))  # (T,)
    guards.check_positions(counts)
    return (sum(nlls).cpu() / sum(counts).cpu()).exp()


@torch.inference_mode()
def reread_and_write(model, vocab, prefix, num_tokens, window, seed=0):
    """Let a model write on from a text, reading its last ``window`` characters.

    That costs a window a character, but it is the only fair way for a bidirectional
    model: what it knows of a character changes with every character that follows.
    """
    vocab = as_vocab(vocab)
    guards.check_vocab(model, vocab)
    guards.check_prefix(vocab, prefix)
    guards.check_num_tokens(num_tokens)
    guards.check_sizes(window=window)
    guards.check_seed(seed)
    guards.check_writable(vocab)
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    never = [vocab[token] for token in ("<unk>", "<pad>") if token in vocab]
    ids = vocab[list(prefix)]
    with evaluating(model), single_steps():
        for _ in range(num_tokens):
            logits, _ = model(torch.tensor([ids[-window:]], device=device))
            scores = logits[-1].float().cpu()  # (V,)
            scores[never] = -torch.inf
            p = next_token_probabilities(scores)
            ids.append(int(torch.multinomial(p, 1, generator=generator)))
    return "".join([*prefix, *vocab.decode(ids[len(prefix) :])])


def hide_spaces(text):
    """Run the words of a text together; 1 for a letter that ends a word, else 0.

    Returns the letters, a string, and a list of the same length.
    """
    guards.check_words(text)
    words = text.split()
    ends = [int(i == len(word) - 1) for word in words for i in range(len(word))]
    return "".join(words), ends


def put_spaces(letters, ends):
    """Put a space after every letter that ends a word, save the last."""
    guards.check_spaces(letters, ends)
    spaced = (
        letter + " " * int(end) for letter, end in zip(letters, ends, strict=True)
    )
    return "".join(spaced).strip()


def word_spans(ends):
    """Return the set of the words that these ends cut, as (first, last)."""
    guards.check_ends(ends=ends)
    ends = [i for i, end in enumerate(ends) if end or i == len(ends) - 1]
    return set(zip([0, *(end + 1 for end in ends)], ends, strict=False))


def words_found(guess, ends):
    """Return the share of the true words that a guess cuts out whole.

    Both ends are right, and there is no cut between them.
    """
    guards.check_ends(guess=guess, ends=ends)
    true = word_spans(ends)
    return len(true & word_spans(guess)) / len(true)


class WordSplitter(nn.Module):
    """Tell for each letter of a text without spaces whether a word ends there.

    layer: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first, on one-hot letters.
    """

    def __init__(self, layer):
        super().__init__()
        guards.check_layer(layer)
        self.layer = layer
        self.readout = nn.Linear(num_directions(layer) * layer.hidden_size, 1)
        for name, weight in layer.named_parameters():
            if name.startswith("weight_ih_l0"):
                nn.init.normal_(weight)  # scale 1, as in chapter 2

    def forward(self, ids):
        """Read letters (N, T); return logits (T, N), above 0 where a word ends."""
        guards.check_letters(ids, self.layer)
        weight = self.readout.weight
        inputs = one_hot(ids, self.layer.input_size, weight.dtype)  # (T, N, V)
        outputs, _ = self.layer(inputs)  # (T, N, directions * H)
        return self.readout(outputs).squeeze(-1)


class Flipped(nn.Module):
    """A model from ids (N, T) to outputs (T, N), reading from the right."""

    def __init__(self, model):
        super().__init__()
        guards.check_networks(model=model)
        self.model = model

    def forward(self, ids):
        """Return the outputs (T, N) in the order of the ids (N, T)."""
        return self.model(ids.long().flip(1)).flip(0)


def train_splitter(
    model, ids, ends, steps, lr=0.01, batch_size=32, num_steps=64, seed=0
):
    """Train a model of word ends with Adam on random windows, the rate falling to 0.

    ids: letters, 1-D, on the device of the model; ends: 1.0 for a letter that ends a
    word, 0.0 for any other; steps: minibatches.
    """
    guards.check_splitter(model, ids, ends, num_steps)
    guards.check_pace(lr, seed, steps=steps, batch_size=batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(
        len(ids) - num_steps, (steps, batch_size), generator=generator
    )
    model.train()
    for start in starts.to(ids.device):  # (N,)
        window = start[:, None] + torch.arange(num_steps, device=ids.device)  # (N, T)
        logits = model(ids[window])  # (T, N)
        loss = F.binary_cross_entropy_with_logits(logits, ends[window].T.to(logits))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        torch.clear_autocast_cache()  # as in chapter 2
        decay.step()
    model.eval()


@torch.no_grad()
def states_with_lookahead(splitter, ids, future, context=32):
    """Read each letter with ``context`` letters before it and ``future`` after it only.

    Each has a window of its own, packed, as those at the ends of the text are shorter.
    Returns the output of the layer at each letter, (T, directions * H).
    """
    guards.check_lookahead(splitter, ids, future, context)
    steps = torch.arange(len(ids), device=ids.device)
    starts = (steps - context).clamp(min=0)
    lengths = (steps + 1 + future).clamp(max=len(ids)) - starts
    columns = torch.arange(int(lengths.max()), device=ids.device)
    windows = (starts[:, None] + columns).clamp(max=len(ids) - 1)  # (T, W)
    dtype = splitter.readout.weight.dtype
    rows = one_hot(ids[windows], splitter.layer.input_size, dtype)  # (W, T, V)
    packed = pack_padded_sequence(rows, lengths.cpu(), enforce_sorted=False)
    outputs, _ = pad_packed_sequence(
        splitter.layer(packed)[0]
    )  # (W, T, directions * H)
    return outputs[steps - starts, steps]
