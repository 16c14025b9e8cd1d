"""A trained network leaves the notebook: exported, rounded, in NumPy (chapter 10)."""

import copy
import functools
import json
import warnings

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rnnlib import guards
from rnnlib.layers import num_directions, zero_state

# A step is the product


def parts(state):
    """Return a state as a tuple of tensors: one, or the two of an LSTM."""
    return state if isinstance(state, tuple) else (state,)


def from_parts(parts):
    """Return the state as a model takes it: one tensor, or a tuple of two."""
    return parts if len(parts) > 1 else parts[0]


class Step(nn.Module):
    """One step of a language model: ids (N,) and a state in, logits (N, V) and it out.

    Each part of the state is an argument and a result of its own: a file has no tuples.
    """

    def __init__(self, model):
        super().__init__()
        guards.check_networks(model=model)
        self.model = model

    def forward(self, inputs, *state):
        """Return the logits (N, V), and each part of the next state."""
        logits, state = self.model(inputs[:, None], from_parts(state))  # ids (N, 1)
        return logits, *parts(state)


class VectorStep(Step):
    """One step of a model of vectors (N, D), time first, such as a forecaster."""

    def forward(self, inputs, *state):
        """Return the outputs of this step, and each part of the next state."""
        outputs, state = self.model(inputs[None], from_parts(state))  # (1, N, D)
        return outputs[0], *parts(state)


# Freeze it, and run it elsewhere


def export_shapes(inputs, *state):
    """Say which axis of each argument of a step is the batch: its size is left free."""
    free = torch.export.Dim.DYNAMIC
    return {0: free}, tuple({part.dim() - 2: free} for part in state)


def export_step(step, inputs, *state):
    """Return a step as a program for any batch size, from an example of two or more."""
    guards.check_batch_example(inputs)
    with warnings.catch_warnings(action="ignore"):  # about flat weights of nn.GRU
        shapes = export_shapes(inputs, *state)
        return torch.export.export(step.eval(), (inputs, *state), dynamic_shapes=shapes)


def save_onnx(model, arguments, path, shapes, inputs=None, outputs=None):
    """Write a model as an ONNX file; arguments: a tuple of examples.

    shapes: the free axes of each, as for torch.export; inputs, outputs: names.
    """
    guards.check_ship()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            model.eval(),
            arguments,
            path,
            dynamo=True,
            external_data=False,  # weights in the same file
            dynamic_shapes=shapes,
            input_names=inputs,
            output_names=outputs,
            verbose=False,  # no report of its progress
        )


def save_onnx_step(step, path, inputs, *state):
    """Write a step as an ONNX file that takes any batch size."""
    guards.check_batch_example(inputs)
    shapes, numbers = export_shapes(inputs, *state), range(len(state))
    names = ["inputs", *(f"state_{i}" for i in numbers)]
    after = ["outputs", *(f"next_{i}" for i in numbers)]
    save_onnx(step, (inputs, *state), path, shapes, names, after)


class OnnxStep:
    """A step out of an ONNX file, run by onnxruntime on NumPy arrays, one thread."""

    def __init__(self, path):
        guards.check_ship()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.names = [argument.name for argument in self.session.get_inputs()]

    def __call__(self, *arguments):
        """Return the results for arrays in the order of the file's inputs."""
        named = dict(zip(self.names, arguments, strict=True))
        return self.session.run(None, named)


ONNX_ORDER = {
    1: (0,),
    3: (1, 0, 2),  # GRU: PyTorch has r z n, ONNX z r h
    4: (0, 3, 1, 2),  # LSTM: PyTorch has i f g o, ONNX i o f c
}
ONNX_PARTS = ("weight", "ih"), ("weight", "hh"), ("bias", "ih"), ("bias", "hh")


def in_onnx_order(weight, num_hiddens):
    """Return a weight (gates * H, ...) with its gates in the order of ONNX."""
    gates = weight.split(num_hiddens)
    return torch.cat([gates[i] for i in ONNX_ORDER[len(gates)]])


@torch.no_grad()
def onnx_weights(layer, level):
    """Return W, R and B of a level as ONNX stores them, a row a direction."""
    rows = []
    for end in ("", "_reverse")[: num_directions(layer)]:
        names = (f"{name}_{part}_l{level}{end}" for name, part in ONNX_PARTS)
        weights = [getattr(layer, name) for name in names]
        rows.append([in_onnx_order(weight, layer.hidden_size) for weight in weights])
    W, R, b_ih, b_hh = (torch.stack(weights) for weights in zip(*rows, strict=True))
    return W, R, torch.cat([b_ih, b_hh], dim=1)


def onnx_level(layer, weights, X, states):
    """Put one level of a layer into an ONNX file as one node; X (T, N, D).

    Returns the outputs (T, N, directions * H) and the parts of the last state.
    """
    T, N, H, D = *X.shape[:2], layer.hidden_size, num_directions(layer)
    kind = layer.mode.split("_")[0]  # "RNN", "GRU" or "LSTM"
    facts = {"hidden_size": H, "direction": "bidirectional" if D == 2 else "forward"}
    if kind == "GRU":
        facts["linear_before_reset"] = 1  # chapter 5: the reset gate after the product
    if kind == "RNN":
        facts["activations"] = [layer.nonlinearity.title()] * D
    Y, *ends = torch.onnx.ops.symbolic_multi_out(
        kind,
        (X, *weights, None, *states),
        facts,
        dtypes=(X.dtype,) * (1 + len(states)),
        shapes=((T, D, N, H), *((D, N, H),) * len(states)),
    )
    return Y.transpose(1, 2).flatten(2), ends


def onnx_forward(layer, weights, X, state=None):
    """Run a recurrent layer; into an ONNX file put a node a level, for any T."""
    if not torch.onnx.is_in_onnx_export():
        return type(layer).forward(layer, X, state)
    state = zero_state(layer, X.shape[1]) if state is None else state
    D, ends = num_directions(layer), []
    for level, of_level in enumerate(weights):
        begin = [part[level * D : (level + 1) * D] for part in parts(state)]
        X, end = onnx_level(layer, of_level, X, begin)
        ends.append(end)
    return X, from_parts(tuple(torch.cat(part) for part in zip(*ends, strict=True)))


def for_onnx(model):
    """Return a copy of a model whose recurrent layers export with any length T."""
    guards.check_networks(model=model)
    model = copy.deepcopy(model).eval()
    for layer in model.modules():
        if isinstance(layer, nn.RNNBase):
            weights = [onnx_weights(layer, level) for level in range(layer.num_layers)]
            layer.forward = functools.partial(onnx_forward, layer, weights)
    return model


# Smaller


def row_scales(W, bits=8):
    """Return a step's size (R, 1) for each row of W (R, C); its largest weight gets the
    largest whole number."""
    guards.check_matrix(W)
    guards.check_bits(bits)
    largest = W.abs().amax(dim=1, keepdim=True)
    return (largest / (2 ** (bits - 1) - 1)).clamp(min=torch.finfo(W.dtype).tiny)


def one_scale(W, bits=8):
    """Return one size of a step for all of W (R, C), as (R, 1)."""
    guards.check_matrix(W)
    return row_scales(W.reshape(1, -1), bits).expand(len(W), 1)


def quantise(W, scale):
    """Return the whole numbers q, int8, for which q * scale is nearest to W (R, C)."""
    return torch.round(W / scale).to(torch.int8)


@torch.no_grad()
def with_bits(model, bits, scales=row_scales):
    """Return a copy of a model whose matrices are rounded to so many bits."""
    guards.check_rounding(model, bits, scales)
    model = copy.deepcopy(model)
    for W in model.parameters():
        if W.dim() == 2:
            scale = scales(W, bits)
            W.copy_(quantise(W, scale) * scale)
    return model


def named_weights(model):
    """Return the weights of a LanguageModel or a forecaster by name."""
    guards.check_shippable(model)
    return {
        name.replace("embedding.0.", "embedding."): weight.detach().cpu().contiguous()
        for name, weight in model.state_dict().items()
    }


def save_quantised(path, model, tokens=()):
    """Write the matrices of a model in 8 bits with a scale a row, and the tokens."""
    guards.check_path(path=path)
    guards.check_tokens(tokens)
    stored = {}
    for name, W in named_weights(model).items():
        if W.dim() == 2:
            scale = row_scales(W)
            stored[name], stored[f"{name}.scale"] = quantise(W, scale), scale
        else:
            stored[name] = W
    save_file(stored, path, {"tokens": json.dumps(list(tokens))})


def load_quantised(path):
    """Return the weights of such a file as float32 arrays by name, and the tokens."""
    guards.check_shipped(path)
    with safe_open(path, framework="numpy") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tokens = json.loads(file.metadata()["tokens"])
    weights = {name: W for name, W in stored.items() if not name.endswith(".scale")}
    return {n: W * stored.get(f"{n}.scale", 1) for n, W in weights.items()}, tokens


# Without PyTorch


def numpy_sigmoid(z):
    """Return 1 / (1 + exp(-z)), by a tanh, which can't overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def numpy_rnn(a, b, h):
    """Return the next state of a tanh RNN from the shares of input a and state b."""
    return (np.tanh(a + b),)


def numpy_gru(a, b, h):
    """Return the next state of a GRU; a, b (N, 3H) hold the gates r, z and n."""
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3, axis=1), np.split(b, 3, axis=1)
    r, z = numpy_sigmoid(a_r + b_r), numpy_sigmoid(a_z + b_z)
    n = np.tanh(a_n + r * b_n)
    return (n + z * (h - n),)


def numpy_lstm(a, b, h, c):
    """Return the next two states of an LSTM; a, b (N, 4H) hold i, f, g and o."""
    i, f, g, o = np.split(a + b, 4, axis=1)
    c = numpy_sigmoid(f) * c + numpy_sigmoid(i) * np.tanh(g)
    return numpy_sigmoid(o) * np.tanh(c), c


CELLS = {1: numpy_rnn, 3: numpy_gru, 4: numpy_lstm}  # by the number of blocks in W_hh


def levels_of(weights):
    """Return for each level of a layer W_ih (D, gates * H), W_hh, b_ih and b_hh."""
    names, levels = ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), []
    while f"rnn.weight_hh_l{len(levels)}" in weights:
        rows = [weights[f"rnn.{name}_l{len(levels)}"] for name in names]
        levels.append([np.asarray(row, "f4").T.copy() for row in rows])
    return levels


class NumpyStep:
    """One step of a network in NumPy alone, called as a Step; weights: by name."""

    def __init__(self, weights):
        guards.check_weights(weights)
        self.levels = levels_of(weights)
        W_ih, W_hh, b_ih, _ = self.levels[0]
        self.num_hiddens, width = W_hh.shape
        self.cell = CELLS[width // self.num_hiddens]
        table = weights.get("embedding.weight")  # (V, D); one-hot rows without it
        self.rows = (W_ih if table is None else np.asarray(table) @ W_ih) + b_ih
        W_q, b_q = weights["linear.weight"], weights["linear.bias"]
        self.W_q, self.b_q = np.asarray(W_q, "f4").T.copy(), np.asarray(b_q, "f4")

    def begin_state(self, batch_size):
        """Return the parts of the state before the first step, (L, N, H) each."""
        guards.check_sizes(batch_size=batch_size)
        shape = len(self.levels), batch_size, self.num_hiddens
        return [np.zeros(shape, "f4") for _ in range(1 + (self.cell is numpy_lstm))]

    def __call__(self, x, *state):
        """Return outputs for ids (N,) or vectors (N, D), and each part of the state."""
        guards.check_numpy_inputs(self, x, state)
        after, looked_up = [], x.ndim == 1  # ids pick a row of the first level's table
        for level, (W_ih, W_hh, b_ih, b_hh) in enumerate(self.levels):
            a = self.rows[x] if level == 0 and looked_up else x @ W_ih + b_ih
            before = [part[level] for part in state]
            after.append(self.cell(a, before[0] @ W_hh + b_hh, *before))
            x = after[-1][0]
        return x @ self.W_q + self.b_q, *map(np.stack, zip(*after, strict=True))
