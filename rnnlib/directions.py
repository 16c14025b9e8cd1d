"""Reading in both directions: who sees what, where a model leaks, and where words end (built in chapter 6)."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlib.gates import scan
from rnnlib.guards import check_ids, check_layer, check_num_tokens, check_prefix, check_sizes, check_state, check_vocab
from rnnlib.layers import num_directions
from rnnlib.scratch import evaluating, mean, next_token_probabilities
from rnnlib.text import one_hot


def rnn_step(X, H, params):
    """Take a tanh layer one time step on: H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h).

    Args:
        X, H: the input (N, D) and the hidden state before it (N, H).
        params: [W_xh (D, H), W_hh (H, H), b_h (H,)].

    Returns:
        The output and the new state, which are both the new H (N, H).
    """
    W_xh, W_hh, b_h = params
    H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)
    return H, H


def both_ways(step, inputs, states, params):
    """Run a bidirectional layer over time: one scan each way, the outputs side by side (Schuster and Paliwal, 1997).

    Args:
        step: of one time step, as in :func:`scan`: :func:`rnn_step`, :func:`lstm_step` or :func:`gru_step`.
        inputs: (T, N, D), time first.
        states: the state of each direction before its first step, forward first.
        params: of each direction, forward first.

    Returns:
        The outputs (T, N, 2H): at time t the forward half has read steps 0 to t, the backward half steps T - 1 to t.
        The state of each direction after its last step, which for the backward one is step 0.
    """
    ahead, last = scan(step, inputs, states[0], params[0])  # (T, N, H)
    back, first = scan(step, inputs.flip(0), states[1], params[1])  # last step first
    return torch.cat([ahead, back.flip(0)], dim=-1), (last, first)


class Bidirectional(nn.Module):
    """Two models of the book as one that reads in both directions.

        O_t = [H_t ahead, H_t back] W_hq + b_q = H_t ahead W_hq[:H] + H_t back W_hq[H:] + b_q

    A read-out of two states side by side is the sum of two read-outs, so each model keeps its own and their logits are
    added. For a reader of whole sequences: as a language model it sees the answers.

    Args:
        ahead, back: two models of one vocabulary, such as two :class:`ScratchRNN`; ``back`` is given the ids flipped.
    """

    def __init__(self, ahead, back):
        super().__init__()
        self.ahead, self.back = ahead, back

    def begin_state(self, batch_size, device=None):
        """Return the state of each direction before its first token, forward first."""
        return tuple(model.begin_state(batch_size, device) for model in (self.ahead, self.back))

    def forward(self, ids, state=None):
        """Read a minibatch of token ids in both directions.

        Args:
            ids: whole numbers (N, T).
            state: the state of each direction to start from, forward first; zeros by default.

        Returns:
            logits (T * N, V), time first, and the last state of each direction; for the backward one that is the state
            at the first token.

        Raises:
            ValueError: if ids is not a (N, T) tensor of ids below V, or the state has another form.
        """
        check_ids(ids, self.ahead.vocab_size)
        if state is None:
            state = self.begin_state(len(ids))
        check_state(state, self.begin_state(len(ids)))
        logits, ahead_state = self.ahead(ids, state[0])  # (T * N, V)
        flipped, back_state = self.back(ids.flip(1), state[1])  # (T * N, V), last first
        in_order = flipped.unflatten(0, ids.T.shape).flip(0)  # (T, N, V)
        return logits + in_order.flatten(0, 1), (ahead_state, back_state)


def dependencies(read, X):
    """Measure by autograd how strongly each output depends on each input.

    Args:
        read: a function from inputs (T, D) to outputs (S, K), such as a recurrent layer.
        X: the inputs (T, D) to measure at.

    Returns:
        (S, T): entry [s, t] is the norm of all the derivatives of read(X)[s] with respect to X[t], and exactly 0 where
        no path leads from this input to that output.
    """
    jacobian = torch.autograd.functional.jacobian(read, X)  # (S, K, T, D)
    return jacobian.square().sum((1, 3)).sqrt()


@torch.no_grad()
def perplexity_by_position(model, batches):
    """Measure how hard each position of a window is for a language model that starts every window afresh.

    Args:
        model: ``logits, state = model(ids, state)``.
        batches: yields ids X and targets Y, both (N, T), all with the same T.

    Returns:
        (T,): exp of the mean negative log-likelihood of the targets at each position.

    Raises:
        ValueError: when the batches are empty.
    """
    device = next(model.parameters()).device
    total_nll, windows = 0.0, 0
    with evaluating(model):
        for X, Y in batches:
            logits, _ = model(X.to(device))  # (T * N, V), time first
            nll = F.cross_entropy(logits, Y.T.reshape(-1).to(device), reduction="none")
            total_nll += nll.reshape(X.T.shape).sum(1).cpu()  # (T,)
            windows += len(X)
    return mean(total_nll, windows).exp()


@torch.inference_mode()
def reread_and_write(model, vocab, prefix, num_tokens, window, seed=0):
    """Let a model write on from a prefix, reading the last ``window`` characters anew for each character.

    That costs a whole window for each character, but it is the only fair way to let a bidirectional model write: what
    it knows of a character changes with every character that follows.

    Args:
        model: ``logits, state = model(ids, state)``.
        vocab: the :class:`rnnlib.text.Vocab` of its characters.
        prefix: a text to begin with.
        num_tokens: characters to add.
        window: how many characters to read, as in training.
        seed: of the draws.

    Returns:
        The prefix with its continuation.

    Raises:
        ValueError: for an empty prefix, one with characters outside the vocabulary, a vocabulary of another size than
            the model's, num_tokens below 0 or a window below 1.
    """
    check_vocab(model, vocab)
    check_prefix(vocab, prefix)
    check_num_tokens(num_tokens)
    check_sizes(window=window)
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    ids = vocab[list(prefix)]
    with evaluating(model):
        for _ in range(num_tokens):
            logits, _ = model(torch.tensor([ids[-window:]], device=device))
            p = next_token_probabilities(logits[-1].float().cpu())  # (V,)
            ids.append(int(torch.multinomial(p, 1, generator=generator)))
    return "".join(vocab.decode(ids))


def hide_spaces(text):
    """Run the words of a text together.

    Returns:
        The letters, a string, and a list of the same length: 1 for a letter that ends a word, 0 for any other.

    Raises:
        ValueError: for a text without words.
    """
    words = text.split()
    if not words:
        raise ValueError("the text has no words: give it at least one letter")
    ends = [int(i == len(word) - 1) for word in words for i in range(len(word))]
    return "".join(words), ends


def put_spaces(letters, ends):
    """Put a space after every letter that ends a word, save the last: the inverse of :func:`hide_spaces`."""
    return "".join(letter + " " * int(end) for letter, end in zip(letters, ends, strict=True)).strip()


def word_spans(ends):
    """Return the set of the words that these ends cut, each as (first letter, last letter); the text's end is one."""
    ends = [i for i, end in enumerate(ends) if end or i == len(ends) - 1]
    return set(zip([0, *(end + 1 for end in ends)], ends, strict=False))


def words_found(guess, ends):
    """Return the share of the true words that a guess cuts out whole: both ends right, and no cut between them.

    Args:
        guess, ends: for each letter whether a word ends there, guessed and true.
    """
    true = word_spans(ends)
    return len(true & word_spans(guess)) / len(true)


class WordSplitter(nn.Module):
    """Tell for each letter of a text without spaces whether a word ends there.

    Args:
        layer: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, time first, that reads one-hot letters, so its ``input_size``
            is V.

    Raises:
        ValueError: if the layer is batch first or projects its states.
    """

    def __init__(self, layer):
        super().__init__()
        check_layer(layer)
        self.layer = layer
        self.readout = nn.Linear(num_directions(layer) * layer.hidden_size, 1)
        for name, weight in layer.named_parameters():
            if name.startswith("weight_ih_l0"):
                nn.init.normal_(weight)  # scale 1, as in chapter 2

    def forward(self, ids):
        """Read letters (N, T) and return logits (T, N), time first: above 0 where a word seems to end."""
        inputs = one_hot(ids, self.layer.input_size)  # (T, N, V)
        outputs, _ = self.layer(inputs)  # (T, N, directions * H)
        return self.readout(outputs).squeeze(-1)


class Flipped(nn.Module):
    """A model of each letter, reading from the right: flip, read, flip back.

    Args:
        model: from ids (N, T) to outputs (T, N), time first.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        """Return the outputs (T, N) in the order of the ids (N, T)."""
        return self.model(ids.flip(1)).flip(0)


def train_splitter(model, ids, ends, steps, lr=0.01, batch_size=32, num_steps=64, seed=0):
    """Train a model to tell where words end, with Adam on random windows and a learning rate that falls to 0.

    Args:
        model: from ids (N, T) to logits (T, N), such as a :class:`WordSplitter`.
        ids: letters, a 1-D tensor on the device of the model.
        ends: 1.0 for a letter that ends a word, 0.0 for any other, likewise.
        steps: minibatches to learn from.
        lr: the learning rate to begin with.
        batch_size, num_steps: rows N and time steps T of a minibatch.
        seed: of the windows.

    Raises:
        ValueError: if the text has no more letters than a window.
    """
    check_length(ids, num_steps)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(ids) - num_steps, (steps, batch_size), generator=generator)
    model.train()
    for start in starts.to(ids.device):  # (N,)
        window = start[:, None] + torch.arange(num_steps, device=ids.device)  # (N, T)
        logits = model(ids[window])  # (T, N)
        loss = F.binary_cross_entropy_with_logits(logits, ends[window].T)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
    model.eval()


def check_length(ids, num_steps):
    """Raise a ValueError that names the remedy unless a text is longer than a window."""
    check_sizes(num_steps=num_steps)
    if len(ids) <= num_steps:
        raise ValueError(
            f"{len(ids)} letters are too few for windows of num_steps={num_steps}: give more letters or lower it"
        )


@torch.no_grad()
def states_with_lookahead(splitter, ids, future, context=32):
    """Read each letter with a bounded view: ``context`` letters before it and ``future`` after it, and none beyond.

    Every letter gets a window of its own. Windows at the ends of the text are shorter, so they are packed.

    Args:
        splitter: a :class:`WordSplitter`.
        ids: letters, a 1-D tensor.
        future, context: numbers of letters, from 0 on.

    Returns:
        The output of the layer at each letter, (T, directions * H).
    """
    steps = torch.arange(len(ids), device=ids.device)
    starts = (steps - context).clamp(min=0)
    lengths = (steps + 1 + future).clamp(max=len(ids)) - starts
    columns = torch.arange(int(lengths.max()), device=ids.device)
    windows = (starts[:, None] + columns).clamp(max=len(ids) - 1)  # (T, W)
    rows = one_hot(ids[windows], splitter.layer.input_size)  # (W, T, V)
    packed, _ = splitter.layer(pack_padded_sequence(rows, lengths.cpu(), enforce_sorted=False))
    outputs, _ = pad_packed_sequence(packed)  # (W, T, directions * H)
    return outputs[steps - starts, steps]


def votes(splitter, states):
    """Split the logit of a word's end into what each half of the state says.

    Args:
        splitter: a :class:`WordSplitter` on a bidirectional layer.
        states: outputs of its layer, (T, 2H).

    Returns:
        (T, 2): the forward and the backward vote; with half of the bias in each, their sum is the logit.
    """
    halves = states.unflatten(-1, (2, -1))  # (T, 2, H)
    weights = splitter.readout.weight.reshape(2, -1)  # (2, H)
    return (halves * weights).sum(-1) + splitter.readout.bias / 2
