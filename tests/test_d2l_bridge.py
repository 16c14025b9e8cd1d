"""The real d2l runs beside current releases, says why where it can't, and draws nothing where it is told so."""

import importlib.metadata
import pathlib
import sys
import types

import pytest
import torch

from rnnlib import d2l_bridge
from rnnlib.d2l_bridge import d2l_model, load_d2l, quiet_animator

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def d2l():
    # Not pytest.importorskip: d2l fails with other exceptions too. A d2l that is installed must load, so that a broken
    # bridge can't hide behind a skip.
    for package in ("d2l", "torchvision"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
    return load_d2l()


def tiny_stream(d2l):
    """Return a vocabulary of d2l's and 18 batches of shape (2, 5) of a sentence, one after the other."""
    text = list("the time traveller smiled at the time machine " * 4)
    vocab = d2l.Vocab(text)
    rows = torch.tensor(vocab[text]).reshape(2, -1)
    return vocab, [(rows[:, i : i + 5], rows[:, i + 1 : i + 6]) for i in range(0, 90, 5)]


def test_loads_twice(d2l):
    assert load_d2l() is d2l
    assert d2l.__name__ == "d2l.torch"


def test_vocab_is_the_real_one(d2l):
    vocab = d2l.Vocab(list("abracadabra"))
    assert vocab.idx_to_token == ["<unk>", "a", "b", "r", "c", "d"]
    assert vocab[["a", "z"]] == [1, 0]


def test_d2l_model_has_the_book_shapes(d2l):
    net = d2l_model(28, 512, CPU)
    logits, state = net(torch.arange(10).reshape(2, 5), net.begin_state(2, CPU))
    assert isinstance(net, d2l.RNNModelScratch)
    assert logits.shape == (10, 28)
    assert [tuple(H.shape) for H in state] == [(2, 512)]
    assert sum(param.numel() for param in net.params) == 291_356


def test_d2l_model_is_the_rnn_of_torch(d2l):
    """The same weights in torch.nn.RNN give the same logits."""
    net = d2l_model(7, 5, CPU)
    W_xh, W_hh, b_h, W_hq, b_q = (param.detach().mul_(100) for param in net.params)
    reference = torch.nn.RNN(7, 5)
    reference.load_state_dict(
        {"weight_ih_l0": W_xh.T, "weight_hh_l0": W_hh.T, "bias_ih_l0": b_h, "bias_hh_l0": torch.zeros(5)}
    )
    X = torch.tensor([[1, 2, 3], [6, 0, 4]])
    hidden, last = reference(torch.nn.functional.one_hot(X.T, 7).float())
    logits, (H,) = net(X, net.begin_state(2, CPU))
    torch.testing.assert_close(logits, hidden.reshape(6, 5) @ W_hq + b_q)
    torch.testing.assert_close(H, last[0])


def test_train_ch8_learns_and_shows_nothing(d2l, monkeypatch, capsys, recwarn):
    shown = []
    monkeypatch.setattr(d2l.display, "display", lambda *args, **kwargs: shown.append(args))
    monkeypatch.setattr(d2l, "use_svg_display", lambda: shown.append("svg"))
    figures = d2l.plt.get_fignums()
    vocab, batches = tiny_stream(d2l)
    net = d2l_model(len(vocab), 16, CPU)
    with quiet_animator() as points:
        d2l.train_ch8(net, batches, vocab, lr=1, num_epochs=20, device=CPU)
    assert [epoch for epoch, _ in points] == [10, 20]
    assert 1 < points[1][1] < points[0][1] < len(vocab)
    assert not shown
    assert d2l.plt.get_fignums() == figures
    captured = capsys.readouterr()
    assert f"perplexity {points[-1][1]:.1f}, " in captured.out
    assert not captured.err
    assert not [str(w.message) for w in recwarn]


def test_concise_model_trains_too(d2l):
    vocab, batches = tiny_stream(d2l)
    net = d2l.RNNModel(torch.nn.RNN(len(vocab), 16), len(vocab))
    with quiet_animator() as points:
        d2l.train_ch8(net, batches, vocab, lr=1, num_epochs=10, device=CPU)
    assert len(points) == 1


def test_quiet_animator_gives_the_animator_back(d2l):
    drawing = d2l.Animator
    with quiet_animator() as points:
        animator = d2l.Animator(xlabel="epoch", legend=["train", "test"])
        animator.add(1, [0.5, 0.25])
        animator.add(2, 0.125)
    assert points == [(1, 0.5, 0.25), (2, 0.125)]
    assert d2l.Animator is drawing
    with pytest.raises(ZeroDivisionError), quiet_animator():
        raise ZeroDivisionError
    assert d2l.Animator is drawing


def test_in_a_notebook(d2l):
    """A kernel of its own: a stopped import comes first, quiet cells show text alone, d2l's own curve still works."""
    import nbclient
    import nbformat

    cells = [
        "try:\n    import torchvision\nexcept RuntimeError:\n    pass",
        "from rnnlib.d2l_bridge import load_d2l, quiet_animator\nd2l = load_d2l()\nassert load_d2l() is d2l",
        "import torch\nvocab = d2l.Vocab(list('time traveller'))\nX = torch.tensor([vocab[list('time travel')]])\n"
        "net = d2l.RNNModel(torch.nn.RNN(len(vocab), 8), len(vocab))\nwith quiet_animator() as points:\n"
        "    d2l.train_ch8(net, [(X[:, :-1], X[:, 1:])], vocab, 1, 20, torch.device('cpu'))",
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()",
        "d2l.train_ch8(net, [(X[:, :-1], X[:, 1:])], vocab, 1, 20, torch.device('cpu'))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    )
    client.execute()
    stopped, loaded, quiet, png, drawn = (cell.outputs for cell in notebook.cells)
    assert not stopped
    assert not loaded
    assert [output.get("name") for output in quiet] == ["stdout"]
    assert [sorted(output.data) for output in png] == [["image/png", "text/plain"]]
    assert any("image/svg+xml" in output.get("data", {}) for output in drawn)
    assert not [output for output in drawn if output.get("name") == "stderr"]


def block(monkeypatch, name):
    """Let ``import name`` fail as if it were not installed."""
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("package", ["d2l", "torchvision"])
def test_missing_package_is_one_clear_sentence(monkeypatch, package):
    if package == "d2l":
        monkeypatch.setattr(d2l_bridge, "_import_torchvision", lambda: None)
    block(monkeypatch, package)
    with pytest.raises(ImportError) as caught:
        load_d2l()
    message = str(caught.value)
    assert message.startswith("d2l can't be loaded: ")
    assert package in message
    assert "constraints.txt" in message
    assert "\n" not in message


def test_any_other_failure_is_an_import_error_too(monkeypatch):
    def fail():
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(d2l_bridge, "_import_torchvision", fail)
    with pytest.raises(ImportError, match="RuntimeError: first line second line"):
        load_d2l()
    with pytest.raises(ImportError), quiet_animator():
        pass


def test_another_series_of_d2l_is_refused(monkeypatch):
    monkeypatch.setattr(d2l_bridge, "_import_torchvision", lambda: None)
    package, module = types.ModuleType("d2l"), types.ModuleType("d2l.torch")
    package.__version__, package.torch = "1.0.3", module
    monkeypatch.setitem(sys.modules, "d2l", package)
    monkeypatch.setitem(sys.modules, "d2l.torch", module)
    with pytest.raises(ImportError, match=r"d2l 1\.0\.3 is installed, but .* d2l 0\.17"):
        load_d2l()
