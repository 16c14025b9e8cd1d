"""Steps, files and few bits: whatever leaves the notebook must be the model that stays in it."""

import json
import shutil
import subprocess
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from rnnlib import gates, layers, pages, pretrained, scratch, sentiment, shipping, text
from rnnlib.environment import evaluating

V, H, N = 7, 5, 3
TOKENS = ["<unk>", *"abcdef"]


def stacked(layer):
    return layers.LanguageModel(layer(4, H, num_layers=2), V, nn.Embedding(V, 4))


NETWORKS = {
    "RNN": lambda: layers.LanguageModel(nn.RNN(V, H), V),
    "GRU": lambda: layers.LanguageModel(nn.GRU(V, H), V),
    "LSTM": lambda: layers.LanguageModel(nn.LSTM(V, H), V),
    "stacked GRU": lambda: stacked(nn.GRU),
    "stacked LSTM": lambda: stacked(nn.LSTM),
    "stacked RNN": lambda: stacked(nn.RNN),
    "embedding, dropout": lambda: pretrained.time_machine_model(nn.GRU, H),
}
SCRATCH = {"ScratchRNN": lambda: scratch.ScratchRNN(V, H), "ScratchLSTM": lambda: gates.ScratchLSTM(V, H)}
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name):
    torch.manual_seed(0)
    model = (NETWORKS | SCRATCH)[name]().eval()
    for p in model.parameters():  # larger weights: an error shows
        p.data.mul_(2)
    return model


def random_state(model, batch_size):
    torch.manual_seed(1)
    return tuple(torch.randn_like(part) for part in shipping.parts(model.begin_state(batch_size)))


def numpy(tensors):
    return [tensor.detach().numpy() for tensor in tensors]


def assert_same(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def onnx():
    """The extra `ship`, or a skip that says how to get it."""
    return pytest.importorskip("onnxruntime", reason="needs the extra ship: pip install -e '.[ship]'")


# A step


@pytest.mark.parametrize("name", [*NETWORKS, *SCRATCH])
def test_steps_are_the_sequence(name):
    model = made(name)
    ids, state = torch.randint(V, (N, 9)), random_state(model, N)
    logits, last = model(ids, shipping.from_parts(state))
    step, outputs = shipping.Step(model), []
    for column in ids.T:
        scores, *state = step(column, *state)
        outputs.append(scores)
    assert_same(numpy(outputs), numpy(logits.unflatten(0, (9, N))))
    assert_same(numpy(state), numpy(shipping.parts(last)))


class Forecaster(nn.Module):
    """A model on vectors, time first, as chapter 8 has one."""

    def __init__(self):
        super().__init__()
        self.rnn, self.linear = nn.GRU(3, H), nn.Linear(H, 6)

    def forward(self, inputs, state=None):
        outputs, state = self.rnn(inputs, state)
        return self.linear(outputs).unflatten(2, (2, 3)), state


def test_a_step_may_read_vectors(onnx, tmp_path):
    torch.manual_seed(0)
    model = Forecaster().eval()
    X, state = torch.randn(9, N, 3), torch.randn(1, N, H)
    expected, last = model(X, state)
    step, numbers = shipping.VectorStep(model), shipping.NumpyStep(shipping.named_weights(model))
    program = shipping.export_step(step, X[0], state).module()
    shipping.save_onnx_step(step, tmp_path / "step.onnx", X[0], state)
    file = shipping.OnnxStep(tmp_path / "step.onnx")
    for run in (step, program):
        after = state
        for x, wanted in zip(X, expected, strict=True):
            outputs, after = run(x, after)
            assert_same(numpy([outputs]), numpy([wanted]))
        assert_same(numpy([after]), numpy([last]))
    for run in (numbers, file):
        after = state.numpy()
        for x, wanted in zip(X, expected, strict=True):
            outputs, after = run(x.numpy(), after)
            assert_same([outputs.reshape(N, 2, 3)], numpy([wanted]))


def test_the_forecaster_of_chapter_8_ships():
    forecasting = pytest.importorskip("rnnlib.forecasting", reason="chapter 8 is not here")
    torch.manual_seed(0)
    model = forecasting.Forecaster(nn.GRU(4, H), (2, 3)).eval()
    X, state = torch.randn(6, N, 4), torch.zeros(1, N, H)
    expected, _ = model(X)
    program = shipping.export_step(shipping.VectorStep(model), X[0], state).module()
    numbers, also = shipping.NumpyStep(shipping.named_weights(model)), state.numpy()
    for x, wanted in zip(X, expected, strict=True):
        outputs, state = program(x, state)
        assert_same(numpy([outputs]), numpy([wanted]))
        outputs, also = numbers(x.numpy(), also)
        assert_same([outputs.reshape(N, 2, 3)], numpy([wanted]))


# Exported


@pytest.mark.parametrize("name", [*NETWORKS, *SCRATCH])
def test_exported_step_takes_any_batch(name):
    model = made(name)
    step = shipping.Step(model)
    program = shipping.export_step(step, torch.zeros(2, dtype=torch.long), *random_state(model, 2)).module()
    for batch_size in (1, 2, 9):
        ids, state = torch.randint(V, (batch_size,)), random_state(model, batch_size)
        assert_same(numpy(program(ids, *state)), numpy(step(ids, *state)))


def test_example_of_one_is_refused():
    model = made("GRU")
    with pytest.raises(ValueError, match=r"a batch of 1, which an exporter takes for a constant: give it two rows"):
        shipping.export_step(shipping.Step(model), torch.zeros(1, dtype=torch.long), *random_state(model, 1))


@pytest.mark.parametrize("name", [*NETWORKS, *SCRATCH])
def test_onnx_step_is_the_model(onnx, tmp_path, name, capfd):
    model = made(name)
    step = shipping.Step(model)
    path = tmp_path / "step.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shipping.save_onnx_step(step, path, torch.zeros(2, dtype=torch.long), *random_state(model, 2))
    assert capfd.readouterr() == ("", ""), "the exporter is quiet"
    assert [file.name for file in tmp_path.iterdir()] == ["step.onnx"], "weights in the same file"
    run = shipping.OnnxStep(path)
    assert run.names == ["inputs", *(f"state_{i}" for i in range(len(random_state(model, 1))))]
    for batch_size in (1, 2, 9):
        ids, state = torch.randint(V, (batch_size,)), random_state(model, batch_size)
        assert_same(run(ids.numpy(), *numpy(state)), numpy(step(ids, *state)))


LAYERS = {
    **{name: NETWORKS[name] for name in NETWORKS},
    "both directions, two levels": lambda: layers.LanguageModel(nn.LSTM(V, H, 2, bidirectional=True), V),
    "both directions, GRU": lambda: layers.LanguageModel(nn.GRU(V, H, bidirectional=True), V),
    "relu": lambda: layers.LanguageModel(nn.RNN(V, H, nonlinearity="relu"), V),
}


@pytest.mark.parametrize("name", LAYERS)
def test_onnx_sequence_takes_any_batch_and_length(onnx, tmp_path, name):
    torch.manual_seed(0)
    model = LAYERS[name]().eval()
    axes = tuple({1: "batch"} for _ in shipping.parts(model.begin_state(1)))
    shapes = ({0: "batch", 1: "time"}, shipping.from_parts(axes))
    example = torch.randint(V, (2, 6)), model.begin_state(2)
    shipping.save_onnx(shipping.for_onnx(model), example, tmp_path / "all.onnx", shapes)
    run = shipping.OnnxStep(tmp_path / "all.onnx")
    for batch_size, num_steps in ((2, 6), (5, 11), (1, 1)):
        ids, state = torch.randint(V, (batch_size, num_steps)), random_state(model, batch_size)
        logits, last = model(ids, shipping.from_parts(state))
        assert_same(run(ids.numpy(), *numpy(state)), numpy([logits, *shipping.parts(last)]))
    import onnx as library

    nodes = [node.op_type for node in library.load(tmp_path / "all.onnx").graph.node]
    kind = next(kind for kind in ("LSTM", "GRU", "RNN") if isinstance(model.rnn, getattr(nn, kind)))
    assert nodes.count(kind) == model.rnn.num_layers, "a node a level, and no loop unrolled"


CLASSIFIERS = {
    "one way": lambda: sentiment.SentimentClassifier(nn.Embedding(V, 4), nn.GRU(4, H)),
    "both ways": lambda: sentiment.SentimentClassifier(nn.Embedding(V, 4), sentiment.BothWays(nn.LSTM, 4, H)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_onnx_classifier_reads_what_is_real(onnx, tmp_path, name):
    torch.manual_seed(0)
    model = CLASSIFIERS[name]().eval()
    example = torch.randint(V, (2, 6)), torch.tensor([6, 4])
    shapes = {0: "batch", 1: "time"}, {0: "batch"}
    shipping.save_onnx(shipping.for_onnx(model), example, tmp_path / "reader.onnx", shapes)
    run = shipping.OnnxStep(tmp_path / "reader.onnx")
    ids, lengths = torch.randint(V, (5, 11)), torch.tensor([11, 3, 5, 1, 7])
    assert_same(run(ids.numpy(), lengths.numpy()), numpy([model(ids, lengths)]))
    alone = run(ids[1:2, :3].numpy(), lengths[1:2].numpy())
    assert_same(alone, [run(ids.numpy(), lengths.numpy())[0][1:2]])


def test_encoder_and_decoder_of_chapter_9_ship(onnx, tmp_path):
    attention = pytest.importorskip("rnnlib.attention", reason="chapter 9 is not here")
    torch.manual_seed(0)
    sizes = V, 4, H
    encoder, decoder = attention.Encoder(*sizes).eval(), attention.AttentionDecoder(*sizes).eval()
    source = torch.randint(3, V, (N, 6))
    source[1, 4:] = attention.PAD
    memory = encoder(source)
    shipping.save_onnx(shipping.for_onnx(encoder), (source,), tmp_path / "encoder.onnx", ({0: "batch", 1: "time"},))
    encode = shipping.OnnxStep(tmp_path / "encoder.onnx")
    found = encode(source.numpy())
    for a, b in zip(found, memory, strict=True):
        np.testing.assert_allclose(a.astype("f4"), b.detach().float().numpy(), atol=1e-5)

    class DecoderStep(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = decoder

        def forward(self, ids, keys, mask, state):
            logits, state, _ = self.decoder(ids[:, None], attention.EncoderMemory(keys, mask, state), state)
            return logits[:, 0], state

    example = torch.ones(N, dtype=torch.long), *memory
    shapes = {0: "batch"}, {0: "batch", 1: "source"}, {0: "batch", 1: "source"}, {1: "batch"}
    shipping.save_onnx(DecoderStep(), example, tmp_path / "decoder.onnx", shapes)
    decode = shipping.OnnxStep(tmp_path / "decoder.onnx")
    inputs = torch.randint(V, (N, 5))
    expected, last, _ = decoder(inputs, memory)
    state = found[2]
    for t, ids in enumerate(inputs.T):
        logits, state = decode(ids.numpy(), *found[:2], state)
        assert_same([logits], numpy([expected[:, t]]))
    assert_same([state], numpy([last]))


def test_a_tool_shrinks_the_lstm_and_leaves_the_gru(onnx, tmp_path):
    """A later version may know a GRU; then its node has another name, and chapter 10 and the errata must change."""
    import onnx as library
    from onnxruntime.quantization import quantize_dynamic

    shrunk = {}
    for layer in (nn.LSTM, nn.GRU):
        torch.manual_seed(0)
        model = layers.LanguageModel(layer(V, 64), V).eval()
        axes = shipping.from_parts(tuple({1: "batch"} for _ in shipping.parts(model.begin_state(1))))
        files = tmp_path / "float.onnx", tmp_path / "int8.onnx"
        example = torch.randint(V, (2, 6)), model.begin_state(2)
        shipping.save_onnx(shipping.for_onnx(model), example, files[0], ({0: "batch", 1: "time"}, axes))
        quantize_dynamic(*files)
        shrunk[layer] = files[1].stat().st_size / files[0].stat().st_size
        nodes = {node.op_type for node in library.load(files[1]).graph.node}
        assert nodes & {"DynamicQuantizeLSTM", "GRU"}
    assert shrunk[nn.LSTM] < 0.5 and shrunk[nn.GRU] > 0.8


def test_torchscript_says_that_it_is_deprecated():
    model = made("GRU")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        torch.jit.trace(shipping.Step(model), (torch.zeros(2, dtype=torch.long), model.begin_state(2)))


def test_a_copy_for_onnx_is_the_model_elsewhere():
    model = made("GRU")
    ids = torch.randint(V, (N, 4))
    assert_same(numpy([shipping.for_onnx(model)(ids)[0]]), numpy([model(ids)[0]]))
    assert "forward" not in vars(model.rnn), "the model itself stays as it is"


def test_gates_in_the_order_of_onnx_by_hand():
    W = torch.arange(6.0).reshape(6, 1)
    assert shipping.in_onnx_order(W, 2).flatten().tolist() == [2, 3, 0, 1, 4, 5]  # r z n -> z r n
    W = torch.arange(4.0)
    assert shipping.in_onnx_order(W, 1).tolist() == [0, 3, 1, 2]  # i f g o -> i o f g


# In few bits


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("scales", [shipping.row_scales, shipping.one_scale])
def test_error_is_below_half_a_step_everywhere(bits, scales):
    generator = torch.Generator().manual_seed(bits)
    W = torch.randn(20, 30, generator=generator) * torch.logspace(-6, 6, 20)[:, None]
    W[3] = 0.0  # nothing to scale by
    W[4] = torch.finfo(torch.float32).tiny / 4
    scale = scales(W, bits)
    assert (scale > 0).all(), "0 / 0 becomes a whole number that differs between processors"
    q = shipping.quantise(W, scale)
    assert q.dtype == torch.int8 and int(q.abs().max()) <= 2 ** (bits - 1) - 1
    assert ((q * scale - W).abs() <= 0.5 * scale * (1 + 1e-5)).all()
    assert (q[3] == 0).all() and torch.isfinite(q * scale).all()


def test_quantised_by_hand():
    W = torch.tensor([[1.27, -0.64, 0.004], [0.0, 0.0, 0.0], [-2.54, 0.03, 0.0]])
    scale = shipping.row_scales(W)
    assert scale.flatten().tolist() == pytest.approx([0.01, 0.0, 0.02], abs=1e-8)
    assert shipping.quantise(W, scale).tolist() == [[127, -64, 0], [0, 0, 0], [-127, 2, 0]]
    assert shipping.one_scale(W).flatten().tolist() == pytest.approx([0.02] * 3)


@pytest.mark.parametrize(
    ("W", "bits", "message"),
    [
        (torch.ones(2, 2), 9, "bits=9 must be a whole number from 2 to 8"),
        (torch.ones(2, 2), 1, "bits=1 must be"),
        (torch.ones(2, 2), 4.0, r"bits=4.0 must be"),
        (torch.tensor([[1.0, float("nan")]]), 8, "the weights hold nan or inf"),
        (torch.ones(3), 8, r"must be a matrix of real numbers, \(R, C\), not torch.float32 of shape \(3,\)"),
        (torch.ones(2, 2, dtype=torch.long), 8, "must be a matrix of real numbers"),
    ],
)
def test_bad_weights_and_bits_get_a_sentence(W, bits, message):
    with pytest.raises(ValueError, match=message):
        shipping.row_scales(W, bits)


def test_a_model_with_few_bits_is_a_copy():
    model = made("stacked GRU")
    before = [p.clone() for p in model.parameters()]
    rounded = shipping.with_bits(model, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    for name, W in rounded.named_parameters():
        values = [len(row.unique()) for row in W] if W.dim() == 2 else [0]
        assert max(values) <= 7, name
    biases = [name for name, W in model.named_parameters() if W.dim() == 1]
    assert all(torch.equal(rounded.get_parameter(name), model.get_parameter(name)) for name in biases)


def test_eight_bits_cost_at_most_a_thousandth():
    """On the book's own story, which stands beside the code: the same text on every machine."""
    from importlib import resources

    from rnnlib.data import standins  # noqa: F401

    story = text.clean(resources.files("rnnlib.data.standins").joinpath("the_tide_mill.txt").read_text("utf-8"))
    for name in ("time_machine_rnn", "time_machine_gru", "time_machine_lstm"):
        model, vocab = pretrained.load_model(name)
        ids = torch.tensor(vocab[list(story[:4001])])
        batches = text.sequential_batches(ids, 8, 50, offset=0)
        exact = scratch.perplexity(model, batches)
        assert scratch.perplexity(shipping.with_bits(model, 8), batches) < 1.001 * exact
        assert scratch.perplexity(shipping.with_bits(model, 2), batches) > 1.5 * exact


@every_network
def test_file_of_eight_bits(tmp_path, name):
    model = made(name)
    path = tmp_path / "small.safetensors"
    shipping.save_quantised(path, model, TOKENS)
    weights, tokens = shipping.load_quantised(path)
    assert tokens == TOKENS
    for key, W in shipping.named_weights(shipping.with_bits(model, 8)).items():
        assert weights[key].dtype == np.float32
        np.testing.assert_allclose(weights[key], W.numpy(), rtol=1e-6, atol=0)


def test_file_of_eight_bits_is_a_quarter(tmp_path):
    model, vocab = pretrained.load_model("shakespeare_gru")
    shipping.save_quantised(tmp_path / "small.safetensors", model, vocab.tokens)
    size = (tmp_path / "small.safetensors").stat().st_size
    assert size < 0.28 * 4 * sum(p.numel() for p in model.parameters())


def test_files_that_are_none_get_a_sentence(tmp_path):
    path = tmp_path / "broken.safetensors"
    shipping.save_quantised(path, made("GRU"), TOKENS)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"broken.safetensors can't be read .* write it anew with save_quantised"):
        shipping.load_quantised(path)
    with pytest.raises(ValueError, match=r"missing.safetensors can't be read"):
        shipping.load_quantised(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match=r"shakespeare_gru.safetensors holds no quantised network"):
        shipping.load_quantised(pretrained.FOLDER / "shakespeare_gru.safetensors")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: scratch.ScratchRNN(V, H), "a ScratchRNN can't be shipped: it needs a layer of torch.nn as .rnn"),
        (lambda: layers.LanguageModel(nn.GRU(V, H, bidirectional=True), V), "both directions has no step"),
        (lambda: layers.LanguageModel(nn.RNN(V, H, nonlinearity="relu"), V), "without proj_size, with tanh"),
        (lambda: layers.LanguageModel(nn.GRU(V, H, bias=False), V), "give one with biases"),
    ],
)
def test_what_has_no_step_gets_a_sentence(model, message):
    with pytest.raises(ValueError, match=message):
        shipping.named_weights(model())


# Without PyTorch


@every_network
def test_numpy_step_is_the_model(name):
    model = made(name)
    step, numbers = shipping.Step(model), shipping.NumpyStep(shipping.named_weights(model))
    state = random_state(model, N)
    also = numpy(state)
    begin = numbers.begin_state(N)
    assert [part.shape for part in begin] == [part.shape for part in also] and not any(map(np.any, begin))
    for _ in range(30):
        ids = torch.randint(V, (N,))
        kept = [part.copy() for part in also]
        scores, *state = step(ids, *state)
        found, *after = numbers(ids.numpy(), *also)
        assert_same(kept, also), "a step leaves the state that it is given as it is"
        assert_same([found, *after], numpy([scores, *state]))
        also = after


def test_numpy_step_of_extreme_numbers_warns_of_nothing():
    numbers = shipping.NumpyStep({k: 1000 * v for k, v in shipping.named_weights(made("LSTM")).items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs, *_ = numbers(np.array([1, 2]), *numbers.begin_state(2))
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("ids", [np.array([-1]), np.array([V])])
def test_numpy_step_refuses_other_ids(ids):
    numbers = shipping.NumpyStep(shipping.named_weights(made("GRU")))
    with pytest.raises(ValueError, match=rf"id {ids[0]} is outside 0 to 6"):
        numbers(ids, *numbers.begin_state(1))
    with pytest.raises(ValueError, match=r"ids must be whole numbers, at least one, not float64 of shape \(1,\)"):
        numbers(np.array([1.0]), *numbers.begin_state(1))


NODE = shutil.which("node")
WALK = """
const shipped = JSON.parse(require("fs").readFileSync(0));
const net = load(shipped.weights), state = begin(net), rows = [];
for (const id of shipped.ids) rows.push(Array.from(step(net, id, state)));
console.log(JSON.stringify(rows));
"""


@pytest.mark.skipif(NODE is None, reason="node is not installed: the step in JavaScript can't be run")
@every_network
def test_javascript_step_is_the_model(tmp_path, name):
    model = made(name)
    shipping.save_quantised(tmp_path / "net.safetensors", model, TOKENS)
    weights, _ = shipping.load_quantised(tmp_path / "net.safetensors")
    pages.write_page(tmp_path / "page.html", tmp_path / "net.safetensors")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "{{" not in page.replace("{{}}", "")
    network = next(line for line in page.splitlines() if line.startswith("const { tokens, weights } = "))
    shipped = json.loads(network.removeprefix("const { tokens, weights } = ").removesuffix(";"))
    ids = np.random.default_rng(0).integers(1, V, 25)
    program = (pages.FOLDER / "step.js").read_text(encoding="utf-8") + WALK
    given = json.dumps({"weights": shipped["weights"], "ids": ids.tolist()})
    run = subprocess.run([NODE, "-e", program], input=given, capture_output=True, text=True, check=True)
    numbers = shipping.NumpyStep(weights)
    state = numbers.begin_state(1)
    for i, scores in zip(ids, json.loads(run.stdout), strict=True):
        expected, *state = numbers(np.array([i]), *state)
        np.testing.assert_allclose([scores], expected, rtol=1e-5, atol=1e-5)


def test_page_names_no_server_and_closes_no_script(tmp_path):
    model = layers.LanguageModel(nn.GRU(3, H), 3).eval()
    shipping.save_quantised(tmp_path / "net.safetensors", model, ["<unk>", "</script>", "a"])
    pages.write_page(tmp_path / "page.html", tmp_path / "net.safetensors", title="Mine")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("</script>") == page.count("<script>") == 3
    assert "<h1>Mine</h1>" in page and "http" not in page


def test_checkpoints_come_with_their_vocabulary():
    for name in pretrained.MODELS:
        model, vocab = pretrained.load_model(name)
        assert not model.training and model.vocab_size == len(vocab)
    with pytest.raises(ValueError, match="name='shakespeare' is not known; choose one of 'shakespeare_gru'"):
        pretrained.load_model("shakespeare")
    with evaluating(model):
        assert not model.training


def test_characters_of_shakespeare_are_those_of_the_text():
    from rnnlib import data

    corpus = data.load_text("shakespeare")
    facts = pretrained.load("shakespeare_gru")[1]
    ids = pretrained.CHARACTERS[list(corpus)]
    if pretrained.fingerprint(ids[: int(0.9 * len(ids))]) != facts["fingerprint"]:
        pytest.skip("Shakespeare's text is not here")
    assert pretrained.CHARACTERS.tokens == text.Vocab(list(corpus)).tokens
