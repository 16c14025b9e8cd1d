"""What is typed on a page is read as by Python: the readers' JavaScript, run by node, against their explorers."""

import base64
import copy
import itertools
import json
import re
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from test_live import album, live
from test_network import NODE, STATIC, needs_node
from torch import nn

from rnnlib import attention, explore, pretrained, scratch, sentiment, text
from rnnlib.explore import frames
from rnnlib.explore.attention import look
from rnnlib.explore.gates import _influence
from rnnlib.explore.scratch import PARAMS
from rnnlib.explore.sentiment import COMPLAINT, DOUBT, PRAISE

PROGRAM = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in live.SCRIPTS[:-1])
READ = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const reader = new readers[given.reads](given.network ?? given.networks);
const tell = (values) => {
  try {
    return reader.read(...values);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { sentence: error.message, picture: "" };
  }
};
"""
TELL = "console.log(JSON.stringify(given.settings.map(tell)));"
TEXTS = ("the time traveller", "Time, TIME & time!", "so it will be convenient to speak of him", "xyz", "aaa", "zzzz q")
ODD = ("", "a", "abc", "café noir", "naïve ß é", "it's 1895", "d'où \\", "12345", 30 * "1", 61 * "a", "Ａ b", "😀 ab")
WORDS = ("photograph", "Nation ", "knight", "jabberwockian", "x", "aaaaaaaaaaaaaaaa", "queue", "sioux")
ODD_WORDS = ("", "two words", "it's", 'say "hi"', "naïve", "abcdefghijklmnopq", "\\")


def javascript(program, **given):
    """Run a program after the page's scripts; what it prints is JSON."""
    command = [NODE, "-e", PROGRAM + READ + program]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def said(explorer, values):
    """Return what Python says for the values of all controls."""
    try:
        return explorer.describe(explorer.measure(*values))
    except ValueError as error:
        return str(error)


def told_by_both(explorer, texts, *others):
    """Return what Python and what the page say of each text with each value of the other controls, and the pictures."""
    given = explorer.assets()
    settings = list(itertools.product(texts, *others))
    shown = [[str(value) for value in values] for values in settings]
    found = javascript(TELL, settings=shown, **given)
    sentences, pictures = ([each[part] for each in found] for part in ("sentence", "picture"))
    return [said(explorer, values) for values in settings], sentences, pictures


def check_pictures(explorer, pictures):
    """They are SVG of the size that Python draws, with no number that isn't one."""
    height = explorer.figure().get_figheight()
    for picture in filter(None, pictures):
        assert "NaN" not in picture and "Infinity" not in picture and "undefined" not in picture
        _, _, width, high = map(float, ET.fromstring(picture).get("viewBox").split())
        assert high / width == pytest.approx(height / 7.2)


def chapter_console():
    """Return chapter 5's explorer."""
    model = pretrained.time_machine_model(torch.nn.LSTM, 128)
    model.load_state_dict(pretrained.load("time_machine_lstm")[0])
    return explore.GateConsole(model.eval(), pretrained.LETTERS).on_page()


def chapter_connectivity():
    """Return chapter 5's other one, with three networks."""
    models = {name: pretrained.load_model(f"time_machine_{name.lower()}")[0] for name in ("RNN", "GRU", "LSTM")}
    return explore.Connectivity(models, pretrained.LETTERS).on_page()


@pytest.fixture(scope="module")
def console():
    return chapter_console()


@pytest.fixture(scope="module")
def connectivity():
    return chapter_connectivity()


@pytest.fixture(scope="module")
def stepper():
    torch.manual_seed(0)
    model = scratch.ScratchRNN(len(pretrained.LETTERS), 24, sigma=0.4)
    return explore.UnrollStepper(model, pretrained.LETTERS)


@pytest.fixture(scope="module")
def inspector():
    return explore.AttentionInspector().on_page()


@needs_node
def test_gate_console(console):
    python, page, pictures = told_by_both(console, (*TEXTS[:3], *ODD), (0, 7, 127), console.clamps)
    assert page == python
    check_pictures(console, pictures)
    assert len(set(page)) > 54


@needs_node
def test_connectivity(connectivity):
    python, page, pictures = told_by_both(connectivity, (*TEXTS, *ODD), (2, 3, 7, 12, 30, 60))
    assert page == python
    check_pictures(connectivity, pictures)
    for part in ("ends before character 60", "is empty", "never seen"):
        assert any(part in sentence for sentence in page), part


@needs_node
def test_unroll_stepper(stepper):
    python, page, pictures = told_by_both(stepper, (*TEXTS, *ODD), (0, 1, 2, 8, 16))
    assert page == python
    check_pictures(stepper, pictures)
    for part in ("makes the difference", "was reset", "occurs twice", "no difference", "too short", "is empty"):
        assert any(part in sentence for sentence in page), part


LONG = 3 * f"{PRAISE} {COMPLAINT} "
REVIEWS = (PRAISE, COMPLAINT, DOUBT, LONG, "Good!", "", "xyz abc", 'It isn\'t good... <br />not at "all".', "1234")
REVIEWS += ("café Ünïcödé ½ 3rd x_1 ** ..... a.b", 40 * "x" + " film", "That's we'll I'm d'or rock'n'roll")


@pytest.fixture(scope="module")
def verdict():
    """A twin of an untrained network that has opinions."""
    vocab = sentiment.review_vocab([PRAISE, COMPLAINT, DOUBT])
    torch.manual_seed(0)
    model = sentiment.new_classifier(len(vocab), num_hiddens=16, embed_size=20)
    for parameter in model.parameters():
        parameter.data *= 4
    return explore.RunningVerdict(model.eval(), vocab).on_page()


@needs_node
def test_running_verdict(verdict):
    python, page, pictures = told_by_both(verdict, REVIEWS, (1, 2, 3))
    assert page == python
    check_pictures(verdict, pictures)
    for part in ("never turned", "between words", "of the last 100", "no word changes it", "unknown to the model"):
        assert any(part in sentence for sentence in page), part


@needs_node
def test_running_verdict_has_pytorchs_probabilities(verdict):
    program = "console.log(JSON.stringify(reader.measure(given.review, 1).p));"
    for review in REVIEWS[:3]:
        found = javascript(program, review=review, **verdict.assets())
        assert found == pytest.approx(verdict.measure(review, 1)["p"], abs=1e-5)


@needs_node
def test_a_page_reads_reviews_up_to_a_length(verdict):
    (found,) = javascript(TELL, settings=[[601 * "good ", "1"]], **verdict.assets())
    assert found["sentence"] == "a review of 601 words is too long for a page: give it 600 at most"


@needs_node
@pytest.mark.parametrize("name, numbers", [("AttentionInspector", (1, 2, 5, 20)), ("BeamTree", range(1, 6))])
def test_explorers_of_phonemes(name, numbers):
    explorer = CHAPTERS_OWN[name]()
    python, page, pictures = told_by_both(explorer, (*WORDS, *ODD_WORDS), numbers)
    assert page == python
    check_pictures(explorer, pictures)


@needs_node
def test_gate_console_has_pytorchs_probabilities(console):
    text = "so it will be convenient to speak of him"
    ids = console.vocab[list(text)]
    program = """
    const { H, W_hq, b_q } = reader.params;
    console.log(JSON.stringify(reader.follow(given.ids, {}, 0).map(({ h }) => softmax(affine(h, W_hq, b_q)))));
    """
    found = javascript(program, ids=ids, **console.assets())
    with torch.no_grad():
        logits, _ = console.model(torch.tensor([ids]))
    torch.testing.assert_close(torch.tensor(found), logits.softmax(-1), atol=1e-5, rtol=0)


@needs_node
@pytest.mark.parametrize("position", [2, 9, 37])
def test_connectivity_has_pytorchs_gradients(connectivity, position):
    """And probabilities; of each network and each character, to the digits that float32 keeps."""
    text = "so it will be convenient to speak of him"
    ids = torch.tensor(connectivity.vocab[list(text)])
    program = """
    const seen = (net) => reader.influence(net, reader.follow(net, given.ids), given.ids, given.position);
    console.log(JSON.stringify(Object.values(reader.nets).map(seen)));
    """
    found = javascript(program, ids=ids.tolist(), position=position, **connectivity.assets())
    for seen, model in zip(found, connectivity.models.values(), strict=True):
        norms, p = _influence(copy.deepcopy(model).double(), ids, position)
        assert seen["p"] == pytest.approx(p, abs=1e-12)
        assert seen["norms"] == pytest.approx(norms, rel=1e-10)


@needs_node
def test_a_page_carries_what_16_bits_keep(connectivity):
    """The network of the page and that of the chapter differ by less than 2e-3, and guess the same."""
    ids = torch.tensor([connectivity.vocab[list(" ".join(TEXTS[2:3] * 3))]])
    for name, carried in connectivity.models.items():
        model, _ = pretrained.load_model(f"time_machine_{name.lower()}")
        with torch.no_grad():
            wanted, got = (each(ids)[0].softmax(-1) for each in (model, carried))
        assert (got - wanted).abs().max() < 2e-3 and torch.equal(got.argmax(-1), wanted.argmax(-1)), name


@needs_node
@pytest.mark.parametrize("word", WORDS)
def test_attention_inspector_has_pytorchs_probabilities(inspector, word):
    """And its weights, and its phonemes."""
    letters = word.strip().lower()
    program = """
    const steps = reader.write(given.letters), all = (what) => steps.map(what);
    console.log(JSON.stringify({ weights: all((s) => s.weights), p: all((s) => s.p), ids: all((s) => argmax(s.p)) }));
    """
    found = javascript(program, letters=list(letters), **inspector.assets())
    exact = copy.deepcopy(inspector.model).double()
    ids, weights, logits = look(exact, torch.tensor([attention.LETTERS[list(letters)]]))
    assert found["ids"] == ids
    for got, wanted in ((found["weights"], torch.tensor(weights)), (found["p"], logits.softmax(-1))):
        torch.testing.assert_close(torch.tensor(got, dtype=wanted.dtype), wanted, atol=1e-5, rtol=0)


def unpacked(array):
    """Return a stored array as a flat tensor in float64."""
    if "half" in array:
        lower, upper = np.frombuffer(base64.b64decode(array["half"]), np.uint8).reshape(2, -1).astype(np.uint16)
        return torch.tensor((lower + 256 * upper).view(np.float16).astype(np.float64))
    packed, width = base64.b64decode(array["packed"]), array["width"]
    counts = [int.from_bytes(packed[i : i + width], "little", signed=True) for i in range(0, len(packed), width)]
    return array["unit"] * torch.tensor(counts, dtype=torch.float64)


def chapter_stepper():
    """Return chapter 2's explorer with the network that its page has."""
    (path,) = (live.FOLDER / "02").glob("network-*.js")
    stored = album(path)
    vocab = text.Vocab(stored["tokens"][1:])
    assert vocab.tokens == stored["tokens"]
    model = scratch.ScratchRNN(len(vocab), len(unpacked(stored["b_h"])))
    for name, parameter in zip(PARAMS, model.params, strict=True):
        parameter.data = unpacked(stored[name]).float().view_as(parameter)
    return explore.UnrollStepper(model, vocab)


def networks_of(path):
    """Return what the reader of an album computes with."""
    content = album(path)
    if "network" in content:
        return {"network": album(path.with_name(content["network"]))}
    return {"networks": {name: album(path.with_name(file)) for name, file in content["networks"].items()}}


def chapter_verdict():
    """Return chapter 7's explorer with the network that its page has."""
    (path,) = (live.FOLDER / "07").glob("network-*.js")
    stored = album(path)
    vocab = text.Vocab(stored["words"].split()[2:], reserved=("<pad>",))
    places = [ord(letter) - (129 if ord(letter) > 126 else 0) for letter in stored["vectors"]]
    places = np.array([place - 35 - (place > 92) for place in places])
    counts = np.where(places % 2, -(places + 1) // 2, places // 2).reshape(-1, len(vocab))  # (D, V)
    sizes = len(counts), len(unpacked(stored["ahead"]["b_x"])) // 4
    model = sentiment.SentimentClassifier(nn.Embedding(len(vocab), sizes[0]), sentiment.BothWays(nn.LSTM, *sizes))
    model.embedding.weight.data = torch.tensor(counts.T).float()
    for name in ("ahead", "back"):
        layer, arrays = getattr(model.rnn, name), {part: unpacked(W).float() for part, W in stored[name].items()}
        for part, parameter in zip(("W_in", "W_h", "b_x", "b_h"), layer.parameters(), strict=True):
            shape = parameter.unflatten(0, (4, -1)).mT.shape if parameter.dim() > 1 else parameter.shape
            W = arrays[part].view(shape)
            parameter.data = W.mT.flatten(0, 1) if parameter.dim() > 1 else W
    for part, parameter in zip("Wb", model.linear.parameters(), strict=True):
        parameter.data = unpacked(stored["linear"][part]).float().view_as(parameter)
    return explore.RunningVerdict(model.eval(), vocab, max_length=stored["max_length"])


def test_the_verdict_of_chapter_7_is_put_together_again(verdict, monkeypatch, tmp_path):
    """So the test of its page compares with the network that the page has."""
    frames.write_frames(verdict, tmp_path / "07")
    monkeypatch.setattr(live, "FOLDER", tmp_path)
    again = chapter_verdict()
    assert again.vocab.tokens == verdict.vocab.tokens
    for before, after in zip(verdict.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


CHAPTERS_OWN = {
    "UnrollStepper": chapter_stepper,
    "Connectivity": chapter_connectivity,
    "GateConsole": chapter_console,
    "RunningVerdict": chapter_verdict,
    "AttentionInspector": lambda: explore.AttentionInspector().on_page(),
    "BeamTree": lambda: explore.BeamTree().on_page(),
}
READING = [path for path in sorted(live.FOLDER.glob("*/[A-Z]*.js")) if "reads" in album(path)]


@needs_node
@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_the_network_in_a_page_is_that_of_its_chapter(path):
    """For every setting of the album, the page's own network says what Python said, and the picture is as high."""
    content = album(path)
    settings = list(itertools.product(*(control["values"] for control in content["controls"])))
    found = javascript(TELL, reads=content["reads"], settings=settings, **networks_of(path))
    python = [sentence.partition(": ")[2] for sentence in content["sentences"]]
    assert [each["sentence"] for each in found] == python
    check_pictures(CHAPTERS_OWN[content["reads"]](), [each["picture"] for each in found])


def test_every_reader_has_an_explorer_in_a_chapter():
    defined = re.search(r"const readers = \{ (.*) \};", PROGRAM)[1].split(", ")
    assert set(defined) == {album(path)["reads"] for path in READING} == set(CHAPTERS_OWN)
