"""Known values of the explorers of chapter 4."""

import itertools

import pytest
import torch

from rnnlib import explore, lettering
from rnnlib.drawings import draw_passes, draw_three_ways
from rnnlib.training import History

LENGTHS = explore.OutputContract.lengths


def counts(**values):
    ledger = explore.ParameterLedger()
    data = ledger.measure(**ledger.values(**values))
    assert data["total"] == sum(count for *_, count in data["rows"])
    return data


def test_ledger_knows_the_two_famous_sums():
    assert counts(model="from scratch")["total"] == 291_356
    assert counts(model="nn.RNN")["total"] == 291_868


def test_ledger_lists_the_five_tensors_of_chapter_2():
    rows = counts(model="from scratch")["rows"]
    assert [(name, count) for name, _, count in rows] == [
        ("W_xh", 14_336),
        ("W_hh", 262_144),
        ("b_h", 512),
        ("W_hq", 14_336),
        ("b_q", 28),
    ]


@pytest.mark.parametrize(("model", "gates"), [("nn.RNN", 1), ("nn.GRU", 3), ("nn.LSTM", 4)])
def test_ledger_counts_gates_layers_and_directions(model, gates):
    V, H = 28, 32
    data = counts(model=model, num_hiddens=H, form="two layers, both directions")
    layers = 2 * gates * H * (V + H + 2) + 2 * gates * H * (2 * H + H + 2)
    assert data["total"] == layers + V * 2 * H + V
    assert len(data["rows"]) == 18


def test_ledger_has_no_deep_network_from_scratch():
    with pytest.raises(ValueError, match="one layer in one direction"):
        counts(model="from scratch", form="two layers")


def test_ledger_draws_every_tensor_as_long_as_it_is():
    ledger = explore.ParameterLedger()
    data = ledger.measure(**ledger.values())
    axes = ledger.draw(data).axes[0]
    widths = [bar.get_width() for bar in axes.patches if bar.get_width() > 0]
    assert widths == [count for *_, count in data["rows"]]


def joined(num_layers, directions, layout):
    return explore.OutputContract().measure(num_layers, directions, layout)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("layout", explore.OutputContract.layouts)
def test_contract_joins_the_equal_slices_and_no_others(num_layers, layout):
    ends = [length - 1 for length in LENGTHS] if "packed" in layout else [4, 4, 4]
    one = joined(num_layers, "one direction", layout)["joined"]
    assert set(one) == {(end, n, 0, num_layers - 1) for n, end in enumerate(ends)}
    both = joined(num_layers, "both directions", layout)["joined"]
    forward = {(end, n, 0, 2 * num_layers - 2) for n, end in enumerate(ends)}
    backward = {(0, n, 1, 2 * num_layers - 1) for n in range(3)}
    assert set(both) == forward | backward


def test_contract_batch_first_turns_output_and_leaves_h_n():
    first, second = (joined(2, "both directions", layout) for layout in ("time first", "batch first"))
    assert (first["output"].shape, second["output"].shape) == ((5, 3, 8), (3, 5, 8))
    assert torch.allclose(first["output"], second["output"].transpose(0, 1))
    assert torch.equal(first["h_n"], second["h_n"])


def test_contract_packed_output_is_zero_where_there_is_padding():
    steps = joined(1, "one direction", "packed, lengths 5, 3, 2")["steps"]
    for n, length in enumerate(LENGTHS):
        assert not steps[length:, n].any()
        assert steps[:length, n].any(dim=-1).all()


def test_contract_draws_a_bracket_for_every_joined_pair():
    contract = explore.OutputContract()
    data = contract.measure(2, "both directions", "time first")
    assert len(contract.draw(data).axes[0].lines) == len(data["joined"]) == 6


def test_contract_writes_what_a_font_can_draw(monkeypatch):
    written = []
    monkeypatch.setattr(lettering, "write_letters", lambda axes, places, tokens, **look: written.extend(tokens))
    contract = explore.OutputContract()
    contract.draw(contract.measure(3, "both directions", "packed, lengths 5, 3, 2"))
    assert "layer=2" in written and "0" in written
    assert all(lettering.drawable(lettering.visible_text(token)) == token for token in written)


def test_contract_says_where_each_row_stands():
    contract = explore.OutputContract()
    assert contract.readout() == (
        "output (5, 3, 8), h_n (4, 3, 4): h_n[2] is output at step 4, forward half; h_n[3] is output at step 0, "
        "backward half. Nowhere in output: h_n[0], h_n[1]."
    )
    packed = contract.readout(num_layers=1, directions="one direction", layout="packed, lengths 5, 3, 2")
    assert "h_n[0] is output at the last real step of each sequence. All of h_n stands in output." in packed


def test_race_measures_every_network_once_per_setting():
    race = explore.SpeedRace(**explore.SpeedRace.default_arguments())
    speeds = race.measure(32, 8)["speeds"]
    assert list(speeds) == ["from scratch", "nn.RNN", "nn.GRU", "nn.LSTM"]
    assert all(speed > 0 for speed in speeds.values())
    assert race.measure(32, 8)["speeds"] is speeds
    with pytest.raises(ValueError, match="num_hiddens=0"):
        race.measure(0, 8)


def test_race_draws_bars_as_long_as_the_speeds():
    race = explore.SpeedRace(**explore.SpeedRace.default_arguments())
    race.runs[64, 8] = {"from scratch": 1000.0, "nn.RNN": 2500.0, "nn.GRU": 500.0, "nn.LSTM": 1000.0}
    data = race.measure(64, 8)
    axes = race.draw(data).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1000, 2500, 500, 1000]
    assert [text.get_text().split(", ")[1] for text in axes.texts] == ["1.00 x", "2.50 x", "0.50 x", "1.00 x"]
    assert "2.50 times as many tokens a second" in race.describe(data)
    assert "the fastest is nn.RNN with 2.5k" in race.describe(data)


def test_race_leaves_the_random_state_alone():
    state = torch.random.get_rng_state()
    explore.SpeedRace(**explore.SpeedRace.default_arguments()).measure(32, 1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_three_ways_lead_from_the_first_position_to_the_last():
    panels = draw_three_ways(16).axes
    hops = {}
    for axes in panels:
        (path,) = [line for line in axes.lines if line.get_linewidth() > 2]
        xs = list(path.get_xdata())
        assert (xs[0], xs[-1]) == (0, 15)
        hops[axes.get_title(loc="left") or axes.get_title()] = sum(a != b for a, b in itertools.pairwise(xs))
    assert hops == {"recurrence": 15, "convolution, dilated": 4, "attention": 1}


def test_passes_are_drawn_in_bits():
    history = History()
    row = dict.fromkeys(history.keys)
    history.extend(row | {"epoch": 10 * k, "train": 2.0**k, "valid": 2.0 ** (k + 1)} for k in (1, 2))
    lines = draw_passes({"a run": history}, {"7-gram": 2.3}).axes[0].lines
    assert (list(lines[0].get_xdata()), list(lines[0].get_ydata())) == ([1, 2], [1, 2])
    assert (list(lines[1].get_xdata()), list(lines[1].get_ydata())) == ([1, 2], [2, 3])
