"""What a step costs, alone, beside others, and late in a text (chapter 10); ratios, for seconds don't travel."""

import functools
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import clock
from rnnlib import layers, pretrained, shipping

CONTEXTS = (128, 256, 512, 1024, 2048, 4096)
STREAMS = (1, 8, 32)


def repeat(function, times):
    """Return a function that calls another one a number of times, without gradients."""

    def run():
        with torch.inference_mode():
            for _ in range(times):
                function()

    return run


def steps_of(model, layer_class, batch_size):
    """Return ways to make one step with a model, as functions without arguments; each gets arrays of its own kind."""
    layer, table, readout = model.rnn, model.embedding.weight, model.linear
    ids, state = torch.zeros(batch_size, dtype=torch.long), model.begin_state(batch_size)
    arrays = ids.numpy(), *(part.numpy() for part in shipping.parts(state))
    step = shipping.Step(model).eval()
    numbers = shipping.NumpyStep(shipping.named_weights(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        example = torch.zeros(2, dtype=torch.long), *shipping.parts(model.begin_state(2))
        shipping.save_onnx_step(step, path, *example)
        file = shipping.OnnxStep(path)
    name = f"eager nn.{layer_class.__name__}"
    cell = {nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[layer_class](layer.input_size, layer.hidden_size)
    for new, old in zip(cell.parameters(), layer.parameters(), strict=True):
        new.data = old.data
    before = shipping.from_parts(tuple(part[0] for part in shipping.parts(state)))
    return {
        f"{name}, as in training": lambda: step(ids, *shipping.parts(state)),
        f"{name}, bare": lambda: readout(layer(table[ids][None], state)[0]),
        f"{name}Cell": lambda: readout(shipping.parts(cell(table[ids], before))[0]),
        "NumPy": lambda: numbers(*arrays),
        "onnxruntime": lambda: file(*arrays),
    }


def costs(ways, times, repeats=9):
    """Return the least CPU seconds of each way, of rounds of this many steps that take turns."""
    rivals = {name: repeat(way, times) for name, way in ways.items()}
    return {name: taken.fastest / times for name, taken in clock.side_by_side(rivals, repeats).items()}


def models():
    """Return the two checkpoints by the class of their layer."""
    gru, _ = pretrained.load_model("shakespeare_gru")
    lstm, _ = pretrained.load_model("time_machine_lstm")
    lstm.embedding = lstm.embedding[0]
    return {nn.GRU: gru, nn.LSTM: lstm}


def shipping_step(device):
    """A step at batch size 1: how many times as fast as the bare layer of torch.nn."""
    rows = []
    for layer_class, model in models().items():
        cost = costs(steps_of(model, layer_class, 1), 300)
        base = cost[f"eager nn.{layer_class.__name__}, bare"]
        kind = f"{layer_class.__name__} {model.rnn.hidden_size}"
        rows += [{"model": kind, "way": way, "times as fast": round(base / s, 2)} for way, s in cost.items()]
    return rows


def shipping_streams(device):
    """Characters a CPU second with N streams in a batch, as a multiple of one stream; GRU 256."""
    model = models()[nn.GRU]
    ways = "eager nn.GRU, bare", "NumPy", "onnxruntime"
    found = {}
    for N in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        steps = steps_of(model, nn.GRU, N)
        found[N] = costs({way: steps[way] for way in ways}, 60)
    return [
        {"streams": N, **{way: round(N * found[1][way] / cost[way], 2) for way in ways}} for N, cost in found.items()
    ]


def shipping_sequence(device):
    """Whole batches, 32 x 128 characters, H = 256: how many times as fast as torch.nn onnxruntime is, one thread."""
    rows = []
    for layer_class in (nn.RNN, nn.GRU, nn.LSTM):
        torch.manual_seed(0)
        model = layers.LanguageModel(layer_class(32, 256), 28, nn.Embedding(28, 32)).eval()
        ids, state = torch.randint(28, (32, 128)), model.begin_state(32)
        axes = shipping.from_parts(tuple({1: "batch"} for _ in shipping.parts(state)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "all.onnx"
            shipping.save_onnx(shipping.for_onnx(model), (ids, state), path, ({0: "batch", 1: "time"}, axes))
            file = shipping.OnnxStep(path)
        arrays = ids.numpy(), *(part.numpy() for part in shipping.parts(state))
        ways = {"torch": lambda m=model, i=ids, s=state: m(i, s), "onnx": lambda f=file, a=arrays: f(*a)}
        cost = costs(ways, 3, repeats=7)
        rows.append({"layer": layer_class.__name__, "times as fast": round(cost["torch"] / cost["onnx"], 2)})
    return rows


class CachedBlock(nn.Module):
    """A level of a decoder that reads one token a call and keeps keys and values."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x, cache, t):
        """Read token t, x (N, D); cache (2, N, heads, context, D / heads)."""
        qkv = self.to_qkv(self.norm(x)).unflatten(1, (3, self.num_heads, -1))
        q, cache[0, :, :, t], cache[1, :, :, t] = qkv.unbind(1)  # (N, heads, D / heads)
        keys, values = cache[:, :, :, : t + 1]  # (N, heads, t + 1, D / heads)
        seen = F.scaled_dot_product_attention(q[:, :, None], keys, values)
        x = x + self.join(seen.flatten(1))  # (N, D)
        return x + self.narrow(F.gelu(self.widen(self.norm_mlp(x))))


class CachedDecoder(nn.Module):
    """A small decoder that reads one token a call, to count what a step costs."""

    def __init__(self, vocab_size, width, num_heads, num_layers, context, batch_size=1):
        super().__init__()
        self.num_read = 0
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context, width)
        blocks = (CachedBlock(width, num_heads) for _ in range(num_layers))
        self.blocks, self.linear = nn.ModuleList(blocks), nn.Linear(width, vocab_size)
        shape = num_layers, 2, batch_size, num_heads, context, width // num_heads
        self.register_buffer("cache", torch.zeros(shape), persistent=False)

    def forward(self, ids):
        """Read the next ids (N,) and return the logits (N, V)."""
        x = self.embedding(ids) + self.positions.weight[self.num_read]  # (N, D)
        for block, cache in zip(self.blocks, self.cache, strict=True):
            x = block(x, cache, self.num_read)
        self.num_read += 1
        return self.linear(x)


def full_pass(decoder, ids):
    """Compute the last logits of a text (T,) without a cache."""
    x = decoder.embedding(ids) + decoder.positions.weight[: len(ids)]  # (T, D)
    for block in decoder.blocks:
        qkv = block.to_qkv(block.norm(x)).unflatten(1, (3, block.num_heads, -1))
        q, k, v = qkv.permute(1, 2, 0, 3)[:, None]  # (1, heads, T, D / heads) each
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)[0]
        x = x + block.join(seen.transpose(0, 1).flatten(1))
        x = x + block.narrow(F.gelu(block.widen(block.norm_mlp(x))))
    return decoder.linear(x[-1:])


def shipping_context(device):
    """A step late in a text, in steps of the bare GRU with one stream: GRU 256, and a decoder of about its weights."""
    model = models()[nn.GRU]
    rows, unit = [], None
    for N in STREAMS:
        ids = torch.zeros(N, dtype=torch.long)
        step = steps_of(model, nn.GRU, N)["eager nn.GRU, bare"]
        for context in CONTEXTS:
            torch.manual_seed(0)
            decoder = CachedDecoder(len(pretrained.CHARACTERS), 96, 4, 2, context, N).eval()
            decoder.cache.normal_()

            def late(decoder=decoder, ids=ids, context=context):
                decoder.num_read = context - 1
                decoder(ids)

            cost = costs({"GRU": step, "decoder": late}, 20, repeats=7)
            if N == 1:
                text = torch.zeros(context, dtype=torch.long)
                cost |= costs({"no cache": functools.partial(full_pass, decoder, text)}, 1, repeats=5)
            unit = cost["GRU"] if unit is None else unit
            row = {"streams": N, "context": context}
            row |= {name: round(value / unit, 2) for name, value in cost.items()}
            row |= {"GRU kB": N * 256 * 4 / 1000, "cache kB": round(N * 2 * 2 * 96 * 4 * context / 1000)}
            rows.append(row)
    return rows
