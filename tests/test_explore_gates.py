"""Known values of the explorers of chapter 5."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from rnnlib import drawings, explore, gates, layers, memory_tasks, plots, pretrained
from rnnlib.explore import gates as explorers


@pytest.fixture(scope="module")
def networks():
    """The three checkpoints that chapter 5 shows."""
    sizes = {"RNN": (nn.RNN, 260), "GRU": (nn.GRU, 148), "LSTM": (nn.LSTM, 128)}
    found = {}
    for name, (layer, units) in sizes.items():
        found[name] = pretrained.time_machine_model(layer, units).eval()
        found[name].load_state_dict(pretrained.load(f"time_machine_{name.lower()}")[0])
    return found


@pytest.fixture
def console(networks):
    return explore.GateConsole(networks["LSTM"], pretrained.LETTERS)


TEXT = "the time traveller smiled"


def test_console_without_a_clamp_is_the_model(console, networks):
    data = console.measure(TEXT, 5, "none")
    model, ids = networks["LSTM"], torch.tensor([pretrained.LETTERS[list(TEXT)]])
    with torch.no_grad():
        output, (_, C) = model.rnn(model.embedding(ids.T))
        logits, _ = model(ids)
    assert data["traces"]["h"] == pytest.approx(output[:, 0, 5].numpy(), abs=1e-5)
    assert data["traces"]["c"][-1] == pytest.approx(float(C[0, 0, 5]), abs=1e-5)
    log_p = torch.log_softmax(logits, 1)[torch.arange(len(TEXT) - 1), ids[0, 1:]]
    assert data["bits"][1:] == pytest.approx((-log_p / np.log(2)).numpy(), abs=1e-4)
    assert np.isnan(data["bits"][0]), "nothing predicts the first character"


def test_console_holds_the_cell_exactly(console):
    data = console.measure(TEXT, 5, "hold: f = 1, i = 0")
    start, c = data["start"], data["traces"]["c"]
    assert (c[start:] == c[start - 1]).all()
    assert (c[:start] == data["free"]["c"][:start]).all(), "the clamp acts from the middle on"
    assert (data["traces"]["f"][start:] == 1).all() and (data["traces"]["i"][start:] == 0).all()
    assert np.nanmean(data["bits"]) > np.nanmean(data["free_bits"]) + 1


def test_console_hides_and_erases(console):
    hidden = console.measure(TEXT, 5, "hide: o = 0")
    assert (hidden["traces"]["h"][hidden["start"] :] == 0).all()
    only_add = console.measure(TEXT, 5, "only add: f = 1")
    assert not np.allclose(only_add["traces"]["c"], only_add["free"]["c"])


def test_console_draws_what_it_measured(console):
    data = console.measure(TEXT, 5, "erase: f = 0")
    top, middle, _ = console.draw(data).axes
    drawn = {line.get_label(): line.get_ydata() for line in [*top.lines, *middle.lines]}
    assert (drawn["f, forget"] == data["traces"]["f"]).all()
    assert (drawn["c, memory cell"] == data["traces"]["c"]).all()


def test_console_writes_the_text_under_each_axes(console):
    figure = console.figure(characters="the time", clamp="hide: o = 0")
    for axes in figure.axes:
        (letters,) = (c for c in axes.collections if len(c.get_offsets()) == len(c.get_paths()) == 8)
        assert letters.get_offsets()[:, 0].tolist() == list(range(8))


def test_console_explains_bad_inputs(console):
    for characters, message in (
        ("abc", "has 3 characters: give it 4 to 60"),
        ("時間旅行", "has never seen '時', '間', '旅', '行': type other characters"),
        ("", "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            console.measure(characters, 0, "none")
    with pytest.raises(ValueError, match="clamp='open' is not known"):
        console.measure(TEXT, 0, "open")
    vocab = pretrained.LETTERS
    with pytest.raises(ValueError, match=r"must have an nn\.LSTM with one layer"):
        explore.GateConsole(layers.LanguageModel(nn.GRU(28, 4), 28), vocab)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_diagram_of_a_cell_has_an_arrow_for_each_factor(cell):
    """Every product has two arrows that lead to it, and every gate one from the inputs."""
    parts, arrows = drawings.CELL_DIAGRAMS[cell]
    ends = [pair.split()[1] for pair in arrows.split(", ")]
    products = [name for name, (label, *_) in parts.items() if label in "×+"]
    assert all(ends.count(name) == 2 for name in products) and set(ends) < set(parts)
    drawn = drawings.draw_cell(cell).axes[0].texts
    assert {text.get_text() for text in drawn} >= {label for label, *_ in parts.values()}


@pytest.mark.parametrize(("bias", "steps"), [(0.0, 1.0), (1.0, 2.2), (2.0, 5.5), (3.0, 14.3)])
def test_half_life_explorer(bias, steps):
    explorer = explore.ForgetBiasHalfLife({"RNN": {10: [1.0]}})
    data = explorer.measure(bias, 10)
    assert round(data["half_life"], 1) == steps
    assert data["left_at_delay"] == pytest.approx(data["gate"] ** 10)
    assert np.interp(data["half_life"], data["steps"], data["left"]) == pytest.approx(0.5, abs=0.05)
    assert f"half of the cell is gone after {steps} steps" in explorer.describe(data)


def test_every_cell_of_the_tasks_has_a_look():
    assert set(memory_tasks.CELLS) == set(explore.ForgetBiasHalfLife.looks)


def test_influence_is_the_gradient(networks):
    """Against finite differences: push one input in the direction of its gradient and watch the log-probability."""
    for model in networks.values():
        model = model.double()
        ids = torch.tensor(pretrained.LETTERS[list(TEXT)])
        norms, p = explorers._influence(model, ids, position=12)
        assert norms.shape == (12,)

        def log_p(inputs, model=model, ids=ids):
            return torch.log_softmax(model.linear(model.rnn(inputs)[0][-1, 0]), 0)[ids[12]]

        inputs = explorers._read_inputs(model, ids[None, :12]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(log_p(inputs), inputs)
        for t in (0, 5, 11):
            push = torch.zeros_like(inputs)
            push[t, 0] = gradient[t, 0] / gradient[t, 0].norm() * 1e-5
            with torch.no_grad():
                slope = (log_p(inputs + push) - log_p(inputs - push)) / 2e-5
            assert float(slope) == pytest.approx(norms[t], rel=1e-3, abs=1e-9)
        assert p == pytest.approx(float(log_p(inputs).exp().detach()))
        model.float()


def test_a_network_without_memory_looks_back_one_character():
    model = layers.LanguageModel(nn.RNN(28, 6), 28)
    with torch.no_grad():
        model.rnn.weight_hh_l0.zero_()
    explorer = explore.Connectivity({"no memory": model}, pretrained.LETTERS)
    row = explorer.measure(TEXT, 10)["rows"]["no memory"]
    assert row["reach"] == 1 and row["share"][-1] == pytest.approx(1.0)
    assert "no memory 1" in explorer.readout(characters=TEXT, position=10)


def test_reach_counts_from_the_end():
    assert explorers._reach(np.array([0.5, 0.0, 0.3, 0.2])) == 4
    assert explorers._reach(np.array([0.0, 0.04, 0.06, 0.9])) == 1


def test_connectivity_explains_a_position_beyond_the_text(networks):
    explorer = explore.Connectivity(networks, pretrained.LETTERS)
    with pytest.raises(ValueError, match="a text of 9 characters ends before character 20"):
        explorer.measure("too short", 20)


def test_checkpoints_are_equally_large_and_know_english(networks):
    counts = [sum(p.numel() for p in model.parameters()) for model in networks.values()]
    assert max(counts) < 1.05 * min(counts)
    for name in networks:
        _, facts = pretrained.load(f"time_machine_{name.lower()}")
        assert json.loads(facts["history"])[-1]["valid"] < 5


def test_redraws_are_quick(networks):
    """Measured generously: a slider that takes more than a second is broken, whatever the machine."""
    import time

    for explorer in (
        explore.GateConsole(networks["LSTM"], pretrained.LETTERS),
        explore.Connectivity(networks, pretrained.LETTERS),
        explore.ForgetBiasHalfLife({"RNN": {5: [1.0]}}),
    ):
        plots.png(explorer.figure())
        start = time.process_time()
        plots.png(explorer.figure())
        assert time.process_time() - start < 1.0


def test_gates_of_the_checkpoint_are_between_0_and_1(networks):
    params = gates.from_torch(networks["LSTM"].rnn)
    X, H = torch.randn(3, 28), torch.randn(3, 128).tanh()
    I_t, F_t, C_tilde, O_t = gates.lstm_gates(X, H, params)
    assert all(g.min() >= 0 and g.max() <= 1 for g in (I_t, F_t, O_t)) and C_tilde.abs().max() <= 1


def test_recall_is_drawn_with_a_dot_for_each_seed():
    recall = {"remember the first symbol": {"RNN": {10: [1.0, 0.9], 80: [0.3, 0.2]}}}
    fig = drawings.draw_recall(recall, explore.ForgetBiasHalfLife.looks, {"remember the first symbol": 0.25})
    (axes,) = fig.axes
    means, *dots = (line.get_ydata() for line in axes.lines[:3])
    assert list(means) == pytest.approx([0.95, 0.25])
    assert [list(seeds) for seeds in dots] == [[1.0, 0.9], [0.3, 0.2]]


def test_the_better_rate_is_shown_by_length():
    task = "remember the first symbol"
    row = {"task": task, "cell": "RNN", "length": 5}
    rows = [row | {"lr": lr, "right": right} for lr, right in ((0.1, 0.2), (0.1, 0.9), (0.2, 0.5), (0.2, 0.5))]
    another = row | {"cell": "GRU", "lr": 0.1, "right": 1.0}
    assert memory_tasks.task_results([*rows, another], task, "RNN") == {5: [0.2, 0.9]}


def test_each_kind_of_line_is_named_once():
    sizes = torch.rand(5)
    fig = drawings.draw_carried([sizes, sizes], {b: [(sizes, sizes)] * 2 for b in (0, 1, 3)})
    names = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert len(names) == len(set(names)) == 7


def test_the_space_has_a_bar_of_its_own():
    fig = drawings.draw_kept({"a": torch.tensor([0.5]), " ": torch.tensor([0.2])})
    (axes,) = fig.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.2, 0.5])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["␣", "a"]
