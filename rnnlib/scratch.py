"""Recurrent networks in plain tensor code (built in chapters 2, 3, 5 and 6)."""

import itertools
import numbers

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
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the five tensors [W_xh, W_hh, b_h, W_hq, b_q].
    """

    draw_params = staticmethod(rnn_params)
    recurrence = staticmethod(rnn)

    def __init__(self, vocab_size, num_hiddens, device=None, **options):
        super().__init__()
        self.vocab_size, self.num_hiddens = vocab_size, num_hiddens
        params = self.draw_params(vocab_size, num_hiddens, device, **options)
        self.params = nn.ParameterList(params)

    def begin_state(self, batch_size, device=None):
        """Return the hidden state before the first token: zeros of shape (N, H)."""
        check_sizes(batch_size=batch_size)
        like = self.params[0]
        H = torch.zeros(batch_size, self.num_hiddens, dtype=like.dtype)
        return H.to(device or like.device)

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
        if state is None:
            state = self.begin_state(len(ids))
        check_state(state, self.begin_state(len(ids)))
        inputs = one_hot(ids, self.vocab_size, self.params[0].dtype)  # (T, N, V)
        return self.recurrence(inputs, state, self.params)


def cross_entropy(logits, targets):
    """Return the mean cross-entropy and its gradient with respect to the logits: (softmax - one-hot) / rows.

    Args:
        logits: (rows, V).
        targets: ids (rows,).

    Returns:
        The loss, a tensor without dimensions, and its gradient (rows, V).
    """
    log_p = torch.log_softmax(logits, dim=1)  # (rows, V)
    chosen = F.one_hot(targets, logits.shape[1])  # (rows, V)
    loss = -(log_p * chosen).sum() / len(targets)
    return loss, (log_p.exp() - chosen) / len(targets)


def squared_error(outputs, targets):
    """Return the mean squared error and its gradient with respect to the outputs: 2 (outputs - targets) / numbers.

    Args:
        outputs, targets: real numbers (rows, Q).

    Returns:
        The loss, a tensor without dimensions, and its gradient (rows, Q).
    """
    error = outputs - targets  # (rows, Q)
    return (error**2).mean(), 2 * error / error.numel()


@torch.no_grad()
def bptt(inputs, targets, H, params, loss=cross_entropy):
    """Compute the loss of a tanh recurrent network and all its gradients by backpropagation through time.

    With the gradient dO_t of the loss with respect to the outputs, the gradient D_t before the tanh runs backwards,

        D_t = (dO_t W_hq^T + D_{t+1} W_hh^T) * (1 - H_t^2),        D_{T+1} = 0,

    and every weight gathers what it did at all T steps (Werbos, 1990).

    Args:
        inputs: (T, N, V), time first.
        targets: of all outputs, time first, as the loss takes them: ids (T * N,) or real numbers (T * N, Q).
        H: the state before the first step, (N, H).
        params: [W_xh (V, H), W_hh (H, H), b_h (H,), W_hq (H, Q), b_q (Q,)].
        loss: a function from outputs (T * N, Q) and targets to the loss and its gradient with respect to the outputs,
            :func:`cross_entropy` or :func:`squared_error`.

    Returns:
        The loss, a tensor without dimensions.
        The gradients of the five parameters, in their order.
        The gradient with respect to H, (N, H).
    """
    W_xh, W_hh, b_h, W_hq, b_q = params
    states = [H]
    for X in inputs:  # forward: X (N, V)
        states.append(torch.tanh(X @ W_xh + states[-1] @ W_hh + b_h))  # (N, H)
    before, after = torch.stack(states[:-1]), torch.stack(states[1:])  # (T, N, H) each
    value, dO = loss(after.flatten(0, 1) @ W_hq + b_q, targets)  # dO: (T * N, Q)
    D, dH = (dO @ W_hq.T).reshape(after.shape), torch.zeros_like(H)  # (T, N, H), (N, H)
    for t in reversed(range(len(inputs))):  # backward
        D[t] = (D[t] + dH) * (1 - after[t] ** 2)  # (N, H)
        dH = D[t] @ W_hh.T  # (N, H)
    inputs, before, after, D = (M.flatten(0, 1) for M in (inputs, before, after, D))
    # One product of stacked time steps, (T * N, ...), for each sum over time:
    grads = [inputs.T @ D, before.T @ D, D.sum(0), after.T @ dO, dO.sum(0)]
    return value, grads, dH


def gated_params(num_gates, *sizes, **options):
    """Draw the parameters of a layer with gates: three tensors of :func:`rnn_params` for each, and one read-out.

    Args:
        num_gates: how many gates and candidates.
        sizes, options: as in :func:`rnn_params`.

    Returns:
        [W_x (V, H), W_h (H, H), b (H,)] for each gate in turn, then W_hq (H, V), b_q (V,).
    """
    gates = [rnn_params(*sizes, **options)[:3] for _ in range(num_gates)]
    return [*itertools.chain(*gates), *rnn_params(*sizes, **options)[3:]]


def lstm_params(*sizes, **options):
    """Draw the 14 parameter tensors of an LSTM.

    Args:
        sizes, options: as in :func:`rnn_params`.

    Returns:
        W_x (V, H), W_h (H, H), b (H,) of the input gate, the forget gate, the candidate and the output gate, in the
        order of PyTorch; then W_hq (H, V), b_q (V,).
    """
    return gated_params(4, *sizes, **options)


def gru_params(*sizes, **options):
    """Draw the 12 parameter tensors of a GRU.

    Args:
        sizes, options: as in :func:`rnn_params`.

    Returns:
        W_x (V, H), W_h (H, H), b (H,) of the reset gate, the update gate and the candidate, in the order of PyTorch;
        the candidate's second bias b_hh (H,); then W_hq (H, V), b_q (V,).
    """
    *gates, W_hq, b_q = gated_params(3, *sizes, **options)
    return [*gates, torch.zeros_like(gates[-1]), W_hq, b_q]


def lstm_gates(X, H, params):
    """Compute the gates of an LSTM for one time step (Gers, Schmidhuber and Cummins, 2000).

    Args:
        X, H: the input (N, D) and the hidden state before it (N, H).
        params: the first twelve tensors of :func:`lstm_params`.

    Returns:
        I_t, F_t, C_tilde, O_t: input gate, forget gate, candidate and output gate, each (N, H).
    """
    W_xi, W_hi, b_i, W_xf, W_hf, b_f, W_xc, W_hc, b_c, W_xo, W_ho, b_o = params
    I_t = torch.sigmoid(X @ W_xi + H @ W_hi + b_i)
    F_t = torch.sigmoid(X @ W_xf + H @ W_hf + b_f)
    C_tilde = torch.tanh(X @ W_xc + H @ W_hc + b_c)
    O_t = torch.sigmoid(X @ W_xo + H @ W_ho + b_o)
    return I_t, F_t, C_tilde, O_t


def lstm_step(X, state, params):
    """Take an LSTM one time step on: C_t = F_t C_{t-1} + I_t C_tilde, H_t = O_t tanh(C_t), elementwise.

    Args:
        X: the input (N, D).
        state: the hidden state and the memory cell (H, C), each (N, H).
        params: the first twelve tensors of :func:`lstm_params`.

    Returns:
        The output, which is the new H, and the new state (H, C).
    """
    H, C = state
    I_t, F_t, C_tilde, O_t = lstm_gates(X, H, params)
    C = F_t * C + I_t * C_tilde  # (N, H)
    H = O_t * torch.tanh(C)  # (N, H)
    return H, (H, C)


def gru_step(X, H, params):
    """Take a GRU one time step on: H_t = Z_t H_{t-1} + (1 - Z_t) H_tilde, elementwise.

    The reset gate acts after the product with W_hh, as in PyTorch and cuDNN and in the first version of Cho et al.
    (2014); many texts put it before.

    Args:
        X, H: the input (N, D) and the hidden state before it (N, H).
        params: the first ten tensors of :func:`gru_params`.

    Returns:
        The output and the new state, which are both the new H (N, H).
    """
    W_xr, W_hr, b_r, W_xz, W_hz, b_z, W_xh, W_hh, b_xh, b_hh = params
    R_t = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)  # (N, H)
    Z_t = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)  # (N, H)
    H_tilde = torch.tanh(X @ W_xh + b_xh + R_t * (H @ W_hh + b_hh))  # (N, H)
    H = Z_t * H + (1 - Z_t) * H_tilde  # (N, H)
    return H, H


def scan(step, inputs, state, params):
    """Run one recurrent layer over time.

    Args:
        step: ``output, state = step(X, state, params)`` for one time step, such as :func:`lstm_step`.
        inputs: (T, N, D), time first: one-hot rows, or the outputs of a layer below.
        state: the state before the first step.
        params: of the layer.

    Returns:
        The outputs of all steps (T, N, H) and the state after the last.
    """
    outputs = []
    for X in inputs:  # X: (N, D)
        output, state = step(X, state, params)
        outputs.append(output)  # (N, H)
    return torch.stack(outputs), state


def lstm(inputs, state, params):
    """Run an LSTM over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        state: (H, C) before the first step, each (N, H).
        params: as :func:`lstm_params` draws them.

    Returns:
        logits (T * N, V), time first, and the state (H, C) after the last step.
    """
    *gates, W_hq, b_q = params
    outputs, state = scan(lstm_step, inputs, state, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, state


def gru(inputs, H, params):
    """Run a GRU over time and read out the logits.

    Args:
        inputs: (T, N, V), time first.
        H: the state before the first step, (N, H).
        params: as :func:`gru_params` draws them.

    Returns:
        logits (T * N, V), time first, and the state after the last step (N, H).
    """
    *gates, W_hq, b_q = params
    outputs, H = scan(gru_step, inputs, H, gates)  # (T, N, H)
    return outputs.flatten(0, 1) @ W_hq + b_q, H


class ScratchLSTM(ScratchRNN):
    """A language model with one LSTM layer (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000).

    Args:
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the fourteen tensors of :func:`lstm_params`.
    """

    draw_params = staticmethod(lstm_params)
    recurrence = staticmethod(lstm)

    def begin_state(self, batch_size, device=None):
        """Return the hidden state and the memory cell before the first token: two tensors of zeros (N, H)."""
        H = super().begin_state(batch_size, device)
        return H, torch.zeros_like(H)


class ScratchGRU(ScratchRNN):
    """A language model with one GRU layer (Cho et al., 2014), its reset gate placed as in PyTorch.

    Args:
        vocab_size, num_hiddens, device, options: as in :func:`rnn_params`, such as ``input_scale`` or ``dtype``.

    Attributes:
        params: the twelve tensors of :func:`gru_params`.
    """

    draw_params = staticmethod(gru_params)
    recurrence = staticmethod(gru)


def from_torch(layer, which="l0"):
    """Return the parameters of one level of an ``nn.LSTM`` or ``nn.GRU`` as the tensors of this module.

    The tensors are views or sums of the layer's own, so gradients flow back to it. PyTorch keeps two biases for each
    gate; only their sum matters, save for the candidate of a GRU, where the reset gate stands between them.

    Args:
        layer: an ``nn.LSTM`` or ``nn.GRU``.
        which: the end of the names of its parameters, such as ``"l1"`` or ``"l0_reverse"``.

    Returns:
        The tensors of :func:`lstm_params` or :func:`gru_params` without the read-out: 12 or 10.

    Raises:
        ValueError: for a layer of another kind, without biases or with a projection.
    """
    if not isinstance(layer, (nn.LSTM, nn.GRU)) or not layer.bias or layer.proj_size:
        raise ValueError(f"{layer}: give an nn.LSTM or nn.GRU with biases, without proj_size")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    packed = [getattr(layer, f"{name}_{which}") for name in names]
    by_gate = zip(*(tensor.split(layer.hidden_size) for tensor in packed), strict=True)
    *gates, (W_x, W_h, b_x, b_h) = by_gate
    params = [part for W, U, b, c in gates for part in (W.T, U.T, b + c)]
    biases = [b_x, b_h] if isinstance(layer, nn.GRU) else [b_x + b_h]
    return [*params, W_x.T, W_h.T, *biases]


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
        raise ValueError(f"theta={theta!r} must be above 0: it is the largest gradient norm to allow")
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    # The 1e-6 is there for a norm of 0, as in PyTorch.
    scale = torch.clamp(theta / (norm + 1e-6), max=1.0)
    for g in grads:
        g.mul_(scale)
    return norm


def detach(state):
    """Cut a state off the graph that made it, keeping its values: a tensor, or a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(detach(part) for part in state)


def is_whole(value, least):
    """Tell whether a value is a whole number, Python's or NumPy's, of at least this; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def check_sizes(**sizes):
    """Raise a ValueError unless every given size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not is_whole(size, 1):
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
    """Raise a ValueError that names the remedy unless a state has the form of another: tensors, shapes and dtypes."""
    if shapes(state) != shapes(like):
        raise ValueError(
            f"the state has shape {shapes(state)} but these ids need {shapes(like)}: "
            "call begin_state(batch_size) when the batch size changes"
        )
    for there, wanted in zip(tensors(state), tensors(like), strict=True):
        if there.dtype != wanted.dtype:
            raise ValueError(
                f"the state is {there.dtype} but the parameters are {wanted.dtype}: convert it with .to({wanted.dtype})"
            )


def shapes(state):
    """Return the shape of a state, or the list of shapes of a state that is a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return tuple(state.shape)
    if not isinstance(state, (tuple, list)):
        raise ValueError(
            f"the state is a {type(state).__name__}, not a tensor or a tuple of tensors: "
            "begin with begin_state(batch_size)"
        )
    return [shapes(part) for part in state]


def tensors(state):
    """Return the list of the tensors in a state: one, or those of a tuple of states, as an LSTM has."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)]
