"""Chapter 11: dropout that reaches the recurrence."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from rnnlib import regularised


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_locked_dropout_drops_the_same_units_at_all_steps_and_others_in_each_row():
    dropped = regularised.LockedDropout(0.5)(torch.ones(9, 200, 6))  # (T, N, D)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped)), "one mask for all steps"
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert len({tuple(row) for row in dropped[0].tolist()}) > 30, "rows share their mask"
    assert abs(dropped.mean() - 1) < 0.1


def test_locked_dropout_does_nothing_outside_training():
    layer, inputs = regularised.LockedDropout(0.5).eval(), torch.randn(3, 4, 5)
    assert torch.equal(layer(inputs), inputs)


@pytest.mark.parametrize("layer_class", [nn.RNN, nn.GRU, nn.LSTM])
def test_weight_drop_drops_and_is_drawn_anew(layer_class):
    """The classic bug is a weight drop that does nothing."""
    layer, inputs = regularised.drop_weights(layer_class(4, 6, num_layers=2), 0.5), torch.randn(5, 3, 4)
    once, again = layer(inputs)[0], layer(inputs)[0]
    assert not torch.allclose(once, again)
    once.sum().backward()
    for number in (0, 1):
        gradient = layer.parametrizations[f"weight_hh_l{number}"].original.grad
        assert 0.3 < (gradient == 0).float().mean() < 0.7, "dropped weights get no gradient"


def test_weight_drop_is_a_layer_with_those_weights():
    torch.manual_seed(0)
    layer = nn.LSTM(4, 6, dtype=torch.float64)
    weights = {name: value.clone() for name, value in layer.state_dict().items()}
    regularised.drop_weights(layer, 0.5)
    inputs, expected = torch.randn(5, 3, 4, dtype=torch.float64), nn.LSTM(4, 6, dtype=torch.float64)
    with parametrize.cached():  # what it has drawn can be read
        (got, _), dropped = layer(inputs), layer.weight_hh_l0.detach()
    kept = dropped != 0
    assert 0.3 < kept.double().mean() < 0.7
    assert torch.equal(dropped[kept], 2 * weights["weight_hh_l0"][kept]), "scaled up, so that the mean stays"
    weights["weight_hh_l0"] = dropped
    expected.load_state_dict(weights)
    assert (got - expected(inputs)[0]).abs().max() < 1e-12
    layer.eval()
    weights["weight_hh_l0"] = layer.parametrizations.weight_hh_l0.original.detach()
    expected.load_state_dict(weights)
    assert (layer(inputs)[0] - expected(inputs)[0]).abs().max() < 1e-12, "outside training all weights are there"


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_shares_that_cannot_be_dropped_are_refused(p):
    with pytest.raises(ValueError, match="below 1"):
        regularised.LockedDropout(p)
    with pytest.raises(ValueError, match="below 1"):
        regularised.drop_weights(nn.LSTM(2, 3), p)


def test_weights_are_dropped_once_and_where_there_are_some():
    with pytest.raises(ValueError, match="already"):
        regularised.drop_weights(regularised.drop_weights(nn.LSTM(2, 3), 0.2), 0.2)
    with pytest.raises(ValueError, match="has no W_hh"):
        regularised.drop_weights(nn.Linear(2, 3), 0.2)
