"""Models as programs: no value is read back, so that they can be compiled, exported and traced."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlib import directions, gates, layers, scratch, sentiment, text, training

V, H, N, T = 7, 5, 3, 6
READS = {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero"}


class Reads(TorchDispatchMode):
    """Counts the operations that hand a tensor's value to Python, or that a device would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in READS:
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def classifier(layer):
    return sentiment.SentimentClassifier(nn.Embedding(V, 4), layer)


LANGUAGE_MODELS = {
    "ScratchRNN": lambda: scratch.ScratchRNN(V, H),
    "ScratchLSTM": lambda: gates.ScratchLSTM(V, H),
    "ScratchGRU": lambda: gates.ScratchGRU(V, H),
    "FastRNN": lambda: layers.FastRNN(V, H),
    "nn.RNN": lambda: layers.LanguageModel(nn.RNN(V, H), V),
    "nn.LSTM": lambda: layers.LanguageModel(nn.LSTM(V, H), V),
    "nn.GRU": lambda: layers.LanguageModel(nn.GRU(V, H), V),
    "stacked, embedding": lambda: layers.LanguageModel(nn.GRU(4, H, num_layers=2), V, nn.Embedding(V, 4)),
    "both directions": lambda: directions.Bidirectional(scratch.ScratchRNN(V, H), gates.ScratchGRU(V, H)),
}
CLASSIFIERS = {
    "classifier, both ways": lambda: classifier(sentiment.BothWays(nn.LSTM, 4, H)),
    "classifier, one way": lambda: classifier(nn.GRU(4, H)),
}
MODELS = LANGUAGE_MODELS | CLASSIFIERS


def made(name):
    """Return the model in evaluation mode, and the ids that it is tried with."""
    torch.manual_seed(0)
    return MODELS[name]().eval(), torch.randint(V, (N, T))


def flat(outputs):
    """Return the tensors of an output, the state's too."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in flat(part)]


def assert_same(outputs, expected, **tolerance):
    for a, b in zip(flat(outputs), flat(expected), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("name", MODELS)
def test_forward_reads_no_value(name):
    model, ids = made(name)
    state = None if name in CLASSIFIERS else model.begin_state(N)
    arguments = (ids, torch.tensor([T, 2, 1])) if name in CLASSIFIERS else (ids, state)
    for inputs in ((ids,), arguments):
        with Reads() as reads:
            model(*inputs)
        assert reads.found == []


def test_the_count_sees_a_read():
    with Reads() as reads:
        float(torch.ones(()))
        bool(torch.ones(1) > 0)
    assert len(reads.found) == 2


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_training_step_reads_one_value(name):
    model, _ = made(name)
    batches = [(torch.randint(V, (N, T)), torch.randint(V, (N, T))) for _ in range(4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Reads() as reads:
        scratch.train_epoch(model, batches, optimizer)
    assert len(reads.found) <= len(batches) + 2  # and once an epoch the sums


def test_a_step_of_the_classifier_reads_one_value():
    model, _ = made("classifier, both ways")
    rows = [torch.randint(2, V, (T,)) for _ in range(8)]
    batches = list(sentiment.Buckets(rows, [0, 1] * 4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Reads() as reads:
        losses = list(sentiment.train_steps(model, batches, optimizer))
    assert len(reads.found) == len(batches) == len(losses)


@pytest.mark.parametrize("name", MODELS)
def test_exported_program_is_the_model(name):
    model, ids = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own about the flat weights of nn.RNN
        program = torch.export.export(model, (ids,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    module = program.module()
    for more in (ids, torch.randint(V, (N + 4, T))):
        assert_same(module(more), model(more))


@pytest.mark.parametrize("name", MODELS)
def test_traced_program_is_the_model(name):
    model, ids = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and says so
        traced = torch.jit.trace(model, (ids,), check_trace=False)
    assert_same(traced(ids), model(ids))


@pytest.mark.parametrize("name", MODELS)
def test_compiled_program_is_the_model_without_a_break(name):
    """What is built on nn.RNN, nn.LSTM or nn.GRU needs the switch; without it PyTorch leaves those layers alone."""
    torch._dynamo.reset()
    model, ids = made(name)
    with warnings.catch_warnings(), torch._dynamo.config.patch(allow_rnn=True):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="torch|onnx|copyreg")
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert_same(compiled(ids), model(ids))


@pytest.mark.parametrize("device", ["cpu"])
def test_wrong_ids_still_get_a_sentence(device):
    for name in LANGUAGE_MODELS:
        model, ids = made(name)
        with pytest.raises(ValueError, match=r"^id 7 is outside 0 to 6"):
            model(ids.clone().index_fill_(1, torch.tensor([0]), V).to(device))


def test_fit_sums_on_the_device():
    model, _ = made("ScratchRNN")
    batches = text.sequential_batches(torch.arange(200) % V, N, T, offset=0)
    with Reads() as reads:
        training.fit(model, batches, 2, report=lambda *_: None)
    steps = 2 * sum(1 for _ in batches)
    assert steps <= len(reads.found) <= steps + 2 * 3
