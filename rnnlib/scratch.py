"""Recurrent networks in plain tensor code (built in chapters 2 and 3)."""

import torch
import torch.nn.functional as F
from torch import nn


def rnn_params(vocab_size, num_hiddens, device=None, dtype=None, input_scale=1.0, sigma=0.01):
    """Draw the five parameter tensors of a recurrent network.

    Args:
        vocab_size, num_hiddens: V and H.
        device, dtype: of the tensors.
        input_scale: standard deviation of W_xh. With 1.0 a one-hot input moves the hidden state by about one; the 0.01
            of many tutorials costs several times as many epochs (chapter 2 measures it).
        sigma: standard deviation of W_hh and W_hq.

    Returns:
        [W_xh (V, H), W_hh (H, H), b_h (H,), W_hq (H, V), b_q (V,)], the biases zero.

    Raises:
        ValueError: if a size is not a positive whole number.
    """
    check_sizes(vocab_size=vocab_size, num_hiddens=num_hiddens)
    options = {"device": device, "dtype": dtype}
    W_xh = input_scale * torch.randn(vocab_size, num_hiddens, **options)
    W_hh = sigma * torch.randn(num_hiddens, num_hiddens, **options)
    b_h = torch.zeros(num_hiddens, **options)
    W_hq = sigma * torch.randn(num_hiddens, vocab_size, **options)
    b_q = torch.zeros(vocab_size, **options)
    return [W_xh, W_hh, b_h, W_hq, b_q]


def one_hot(ids, vocab_size, dtype=torch.float32):
    """Turn token ids (N, T) into one-hot rows (T, N, V), time first so that a loop over it runs over time steps."""
    return F.one_hot(ids.T.long(), vocab_size).to(dtype)


def rnn(inputs, H, params):
    """Run the tanh recurrence over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        H: the state before the first step, (N, H).
        params: [W_xh, W_hh, b_h, W_hq, b_q].

    Returns:
        logits (T * N, V), time first, and the state after the last step (N, H).
    """
    W_xh, W_hh, b_h, W_hq, b_q = params
    outputs = []
    for X in inputs:  # X: (N, V)
        H = torch.tanh(X @ W_xh + H @ W_hh + b_h)  # (N, H)
        outputs.append(H @ W_hq + b_q)  # (N, V)
    return torch.cat(outputs), H


class ScratchRNN(nn.Module):
    """A language model with one tanh recurrent layer (Elman, 1990), written with tensors alone.

        H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h)        O_t = H_t W_hq + b_q

    ``nn.Module`` serves as the box that holds the five parameter tensors, and for nothing else.

    Args:
        vocab_size, num_hiddens, device, dtype, input_scale, sigma: as in :func:`rnn_params`.

    Attributes:
        params: the five tensors [W_xh, W_hh, b_h, W_hq, b_q].
    """

    draw_params = staticmethod(rnn_params)
    recurrence = staticmethod(rnn)

    def __init__(self, vocab_size, num_hiddens, device=None, dtype=None, input_scale=1.0, sigma=0.01):
        super().__init__()
        self.vocab_size, self.num_hiddens = vocab_size, num_hiddens
        self.params = nn.ParameterList(self.draw_params(vocab_size, num_hiddens, device, dtype, input_scale, sigma))

    def begin_state(self, batch_size, device=None):
        """Return the hidden state before the first token: zeros of shape (N, H)."""
        like = self.params[0]
        return torch.zeros(batch_size, self.num_hiddens, device=device or like.device, dtype=like.dtype)

    def forward(self, ids, state=None):
        """Read a minibatch of token ids.

        Args:
            ids: whole numbers (N, T).
            state: the hidden state (N, H) to start from; zeros by default.

        Returns:
            logits (T * N, V), time first, and the last hidden state (N, H).

        Raises:
            ValueError: if ids is not a (N, T) tensor of ids below V, or the state has another shape than (N, H).
        """
        check_ids(ids, self.vocab_size)
        fresh = self.begin_state(len(ids))
        state = fresh if state is None else state
        check_state(state, fresh)
        return self.recurrence(one_hot(ids, self.vocab_size, self.params[0].dtype), state, self.params)


def clip_gradients(params, theta):
    """Scale all gradients together so that their joint norm is at most theta: g <- min(1, theta / ||g||) g.

    The norm is that of all gradients laid end to end (Pascanu, Mikolov and Bengio, 2013), so the direction of the
    step does not change.

    Args:
        params: an iterable of parameters; those without a gradient are skipped.
        theta: the largest norm to allow, above 0.

    Returns:
        The norm before clipping, a tensor without dimensions.

    Raises:
        ValueError: if theta is not above 0.
    """
    if not theta > 0:
        raise ValueError(f"theta={theta!r} must be above 0: it is the largest gradient norm to allow, often 1")
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    scale = torch.clamp(theta / (norm + 1e-6), max=1.0)  # 1e-6, as in PyTorch, so that a zero norm divides
    for g in grads:
        g.mul_(scale)
    return norm


def detach(state):
    """Cut a state off the graph that made it, keeping its values: a tensor or a tuple of tensors, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(part.detach() for part in state)


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1")


def check_ids(ids, vocab_size):
    """Raise a ValueError that names the remedy unless ids is a (N, T) tensor of whole numbers from 0 to V - 1."""
    if not isinstance(ids, torch.Tensor):
        raise ValueError(f"ids must be a tensor of shape (N, T), not a {type(ids).__name__}: use torch.tensor(ids)")
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"ids must have shape (N, T), at least (1, 1), not {tuple(ids.shape)}: one row of token ids a sequence"
        )
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"ids must be whole numbers (torch.long), not {ids.dtype}: give token ids, not one-hot rows")
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(
            f"id {lowest if lowest < 0 else highest} is outside 0 to {vocab_size - 1}: "
            "was the text coded with another vocabulary?"
        )


def check_state(state, like):
    """Raise a ValueError that names the remedy unless a state has the form of another, in tensors and their shapes."""
    if shapes(state) != shapes(like):
        raise ValueError(
            f"the state has shape {shapes(state)} but these ids need {shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )


def shapes(state):
    """Return the shape of a state, or the list of shapes of a state that is a tuple of tensors, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return tuple(state.shape)
    return [tuple(part.shape) for part in state]
