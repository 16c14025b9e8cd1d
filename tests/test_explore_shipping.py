"""Known values of the explorers of chapter 10."""

import numpy as np
import pytest
import torch
from torch import nn

from rnnlib import explore, layers, scratch, shipping, text
from rnnlib.explore import shipping as explorers


@pytest.fixture(scope="module")
def bench():
    torch.manual_seed(0)
    vocab = text.Vocab("abc ")
    models = {
        "LSTM": layers.LanguageModel(nn.LSTM(5, 6), 5).eval(),
        "GRU": layers.LanguageModel(nn.GRU(5, 6), 5).eval(),
    }
    return explore.BitsBench(models, vocab, "abc cab bac " * 40, prefix="a ")


def test_bits_are_those_of_the_rounded_model(bench):
    data = bench.measure("GRU", 3, "one scale a matrix")
    model = bench.models["GRU"]
    expected = scratch.perplexity(shipping.with_bits(model, 3, shipping.one_scale), bench.batches)
    assert data["perplexity"] == pytest.approx(expected)
    assert data["exact"] == pytest.approx(scratch.perplexity(model, bench.batches))
    assert data["curves"]["one scale a matrix"][1] == data["perplexity"], "the curve begins at 2 bits"


def test_bits_count_their_scales(bench):
    weights = 3 * 6 * 5 + 3 * 6 * 6 + 5 * 6
    rows = bench.measure("GRU", 4, "a scale a row")["times smaller"]
    assert rows == pytest.approx(32 * weights / (4 * weights + 32 * (18 + 18 + 5)))
    assert bench.measure("GRU", 4, "one scale a matrix")["times smaller"] > rows


def test_bits_say_what_they_cost(bench):
    said = bench.readout(network="LSTM", bits=2, scale="a scale a row")
    assert said.startswith("LSTM, 2 bits, a scale a row: perplexity ") and "times smaller" in said


def test_context_reads_its_table():
    explorer = explore.ContextCost(**explore.ContextCost.default_arguments())
    data = explorer.measure(4096, 32)
    assert data["row"]["cache kB"] == round(1.536 * 32 * 4096)
    assert data["first"]["context"] == 128 and data["first"]["streams"] == 32
    factor = (4 + 32 * 4096 / 500) / (4 + 32 * 128 / 500)
    assert f"{factor:.1f} times that after 128" in explorer.describe(data)


def test_simulation_without_rivals_takes_one_step():
    waited, sizes, _ = explorers._simulate(1, 10.0, lambda n: 0.5 * n, together=True)
    assert waited == pytest.approx(np.full(len(waited), 0.5)) and set(sizes) == {1}


def test_simulation_of_clients_without_a_pause():
    """All wait always: taken together they share a step, one by one each waits for all the others."""
    waited, sizes, rate = explorers._simulate(10, 0.0, lambda n: 1.0, together=True)
    assert waited == pytest.approx(np.ones(len(waited)), abs=1e-6) or float(np.median(waited)) <= 2.0
    assert sizes[5:].mean() > 4.9 and rate > 4.9
    waited, sizes, rate = explorers._simulate(10, 0.0, lambda n: 1.0, together=False)
    assert float(np.median(waited)) == pytest.approx(10.0, abs=0.01)
    assert set(sizes) == {1} and rate == pytest.approx(1.0, abs=0.01)


def test_simulation_keeps_to_little_s_law():
    """Clients = rate × (wait + pause), on average."""
    for together in (True, False):
        waited, _, rate = explorers._simulate(32, 20.0, lambda n: 0.2 + 0.02 * n, together, num_answers=20_000)
        assert rate * (waited.mean() + 20.0) == pytest.approx(32, rel=0.05)


def test_batching_desk_interpolates_the_cost():
    desk = explore.BatchingDesk({1: 1.0, 3: 2.0})
    assert [desk.cost(n) for n in (1, 2, 3, 9)] == [1.0, 1.5, 2.0, 2.0]
    data = desk.measure(4, 1.0, "one by one")
    assert data["mean batch"] == 1 and data["p50"] <= data["p99"]
