"""The network that trains in a page is chapter 2's: its JavaScript, run by node, against PyTorch in float64."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from rnnlib import explore, scratch, text
from rnnlib.explore import frames

STATIC = Path(__file__).resolve().parent.parent / "docs" / "_static"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is not installed; tests/test_live_pages.py runs the same page"
)
V, H, N, T = 7, 5, 3, 6
SCRIPT = f"""
const {{ Network, nextProbabilities, randomNumbers, sequentialBatches }} = require({str(STATIC / "network.js")!r});
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const network = given.stored ? Network.load(given.stored) : new Network(given.V, given.H, randomNumbers(0));
if (given.params) for (const name in network.params) network.params[name] = Float64Array.from(given.params[name]);
const list = (params) => Object.fromEntries(Object.entries(params).map(([name, W]) => [name, Array.from(W)]));
"""

UNKNOWN_IS_NEVER_WRITTEN = 'network.params.b_q[given.stored.tokens.indexOf("<unk>")] = -Infinity;'
READ = """
    const h = given.prefix.reduce((state, id) => network.step(id, state), network.begin());
    const logits = network.readOut(h);
    const probabilities = given.temperatures.map((T) => nextProbabilities(logits, T));
    console.log(JSON.stringify({ probabilities, text: network.write(given.prefix, 60, 0, randomNumbers(1)) }));
"""


def javascript(program, **given):
    """Run a program after the lines above; what it prints last is JSON."""
    done = subprocess.run([NODE, "-e", SCRIPT + program], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = scratch.ScratchRNN(V, H).double()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.5)
    return model


def weights(model):
    names = ("W_xh", "W_hh", "b_h", "W_hq", "b_q")
    return {name: parameter.flatten().tolist() for name, parameter in zip(names, model.params, strict=True)}


@needs_node
def test_gradients_are_those_of_autograd(model):
    X, Y, state = torch.randint(V, (N, T)), torch.randint(V, (N, T)), torch.randn(N, H, dtype=torch.float64).tanh()
    logits, after = model(X, state)
    loss = F.cross_entropy(logits, Y.T.reshape(-1))
    loss.backward()
    program = """
        const states = given.state.map((row) => Float64Array.from(row));
        const found = network.gradients(given.X, given.Y, states);
        const after = found.states.map((h) => Array.from(h));
        console.log(JSON.stringify({ nll: found.nll, grads: list(found.grads), states: after }));
    """
    found = javascript(program, V=V, H=H, params=weights(model), X=X.tolist(), Y=Y.tolist(), state=state.tolist())
    assert found["nll"] == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(torch.tensor(found["states"], dtype=torch.float64), after, atol=1e-12, rtol=0)
    for gradient, parameter in zip(found["grads"].values(), model.params, strict=True):
        expected = parameter.grad.flatten()
        torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), expected, atol=1e-9, rtol=0)


@needs_node
def test_three_epochs_are_those_of_the_book(model):
    ids = [i * i % V for i in range(60)]
    start = weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    perplexities = []
    for _ in range(3):
        batches = text.sequential_batches(ids, N, T, offset=0)
        nll, count = scratch.train_epoch(model, batches, optimizer, clip=1.0)
        perplexities.append(scratch.safe_exp(nll / count))
    program = """
        const perplexities = [];
        for (let epoch = 0; epoch < 3; epoch++) {
          let states = Array.from({ length: given.N }, () => network.begin()), sum = 0, count = 0;
          for (const [X, Y] of sequentialBatches(given.ids, given.N, given.T)) {
            const found = network.gradients(X, Y, states);
            states = found.states;
            network.update(found.grads, 1.0, 1.0);
            sum += found.nll;
            count += 1;
          }
          perplexities.push(Math.exp(sum / count));
        }
        console.log(JSON.stringify({ perplexities, params: list(network.params) }));
    """
    found = javascript(program, V=V, H=H, N=N, T=T, params=start, ids=ids)
    assert found["perplexities"] == pytest.approx(perplexities, rel=1e-6)
    for name, values in weights(model).items():
        assert found["params"][name] == pytest.approx(values, abs=1e-6)


@needs_node
@torch.no_grad()
def test_probabilities_and_greedy_text_are_those_of_the_book(model):
    vocab, prefix, temperatures = text.Vocab("abcdef"), "fade", (0.0, 0.05, 0.5, 1.0, 3.0)
    for parameter in model.params:
        parameter *= 4  # so that the text isn't one letter
    model.params[-1][vocab["<unk>"]] = -100.0  # which the book never writes
    logits, _ = model(torch.tensor([vocab[list(prefix)]]))
    expected = [scratch.next_token_probabilities(logits[-1], temperature).tolist() for temperature in temperatures]
    given = {"prefix": vocab[list(prefix)], "temperatures": temperatures}
    found = javascript(READ, V=V, H=H, params=weights(model), **given)
    for got, want in zip(found["probabilities"], expected, strict=True):
        assert got == pytest.approx(want, abs=1e-9)
    written = "".join(vocab.decode(found["text"]))
    assert prefix + written == scratch.generate(model, vocab, prefix, 60, temperature=0)
    assert len(set(written)) > 1


@needs_node
def test_draws_follow_the_distribution():
    """Of 4,000 characters drawn from a network that knows only its bias, the shares are within four deviations."""
    params = {"W_xh": V * H * [0.0], "W_hh": H * H * [0.0], "b_h": H * [0.0], "W_hq": H * V * [0.0]}
    bias = [0.1 * i * i for i in range(V)]
    program = "console.log(JSON.stringify(network.write([], 4000, 2.0, randomNumbers(3))));"
    drawn = javascript(program, V=V, H=H, params=params | {"b_q": bias})
    for i, p in enumerate(torch.softmax(torch.tensor(bias) / 2, 0).tolist()):
        assert abs(drawn.count(i) / 4000 - p) < 4 * (p * (1 - p) / 4000) ** 0.5


@needs_node
def test_a_network_as_pages_ship_it_is_the_model():
    """Of three bytes a weight: probabilities within 1e-5, and the same greedy text."""
    explorer_class, arguments = explore.catalogue()["TemperatureDesk"]
    desk = explorer_class(**arguments)
    stored, vocab, temperatures = desk.assets()["network"], desk.vocab, (0.05, 0.5, 1.0, 2.0)
    assert stored["tokens"] == vocab.tokens and desk.assets()["prefix"] == desk.prefix
    given = {"stored": stored, "prefix": vocab[list(desk.prefix)], "temperatures": temperatures}
    found = javascript(UNKNOWN_IS_NEVER_WRITTEN + READ, **given)
    logits = desk.logits.clone()
    logits[vocab["<unk>"]] = float("-inf")
    for temperature, got in zip(temperatures, found["probabilities"], strict=True):
        assert got == pytest.approx(torch.softmax(logits / temperature, 0).tolist(), abs=1e-5)
    assert desk.prefix + "".join(vocab.decode(found["text"])) == scratch.generate(
        desk.model, vocab, desk.prefix, 60, temperature=0
    )


@needs_node
def test_the_network_in_the_page_is_that_of_its_chapter():
    """What chapter 2's desk says of its network, all characters kept: choices that are left, greedy text."""
    (path,) = (STATIC / "live" / "02").glob("TemperatureDesk-*.js")
    album, _ = frames.unpack(path.read_text(encoding="utf-8"))
    stored, _ = frames.unpack(path.with_name(album["network"]).read_text(encoding="utf-8"))
    temperature, top_k, seed = album["controls"]
    temperatures = [float(value) for value in temperature["values"]]
    prefix = [stored["tokens"].index(character) for character in album["prefix"]]
    found = javascript(READ, stored=stored, prefix=prefix, temperatures=temperatures)
    settings = len(top_k["values"]) * len(seed["values"])
    for i, p in enumerate(torch.tensor(found["probabilities"], dtype=torch.float64)):
        sentence = album["sentences"][i * settings + settings - 1]  # all characters are kept
        said = float(re.search(r"drawn from ([\d.]+) effective", sentence)[1])
        assert torch.special.entr(p).sum().exp().item() == pytest.approx(said, abs=0.06), sentence
    written = "".join(stored["tokens"][i] for i in found["text"])
    assert (album["prefix"] + written)[:40] in album["sentences"][settings - 1]
