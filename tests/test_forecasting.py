"""Forecasts: what is known when, errors against hand and scikit-learn, training, intervals, the stream."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_pinball_loss
from torch import nn

from rnnlib import baselines, data, forecasting
from rnnlib.data import _places, weather
from rnnlib.data.standins.weather import invented_weather

HORIZONS = (1, 3, 6)
QUANTILES = torch.tensor([0.1, 0.5, 0.9])


def weather_like(num_hours=400, num_series=3, seed=0):
    """Return a random walk with a daily wave, (T, S)."""
    generator = torch.Generator().manual_seed(seed)
    walk = 0.3 * torch.randn(num_hours, num_series, generator=generator).cumsum(dim=0)
    return walk + 3 * torch.sin(torch.arange(num_hours) * 2 * math.pi / 24)[:, None]


# What is known when


def test_future_by_hand():
    series = torch.arange(5.0)[:, None]  # (T, S)
    ahead = forecasting.future_values(series, [1, 3])
    assert ahead.shape == (5, 1, 2)
    assert torch.equal(ahead[:, 0, 0].nan_to_num(-1), torch.tensor([1.0, 2, 3, 4, -1]))
    assert torch.equal(ahead[:, 0, 1].nan_to_num(-1), torch.tensor([3.0, 4, -1, -1, -1]))


@pytest.mark.parametrize("horizons", [[], [0], [1.0], 3, [-1], [True]])
def test_bad_horizons_are_named(horizons):
    with pytest.raises(ValueError, match="must be a list of whole numbers"):
        forecasting.future_values(torch.zeros(5, 1), horizons)


def test_a_horizon_may_be_longer_than_the_series():
    assert forecasting.future_values(torch.zeros(3, 1), [5]).isnan().all()


def test_a_part_is_told_by_the_hour_that_is_forecast():
    truth = forecasting.future_values(torch.arange(10.0)[:, None], [1, 3])
    part = forecasting.only_hours(truth, [1, 3], 4, 8)
    for k in range(2):
        kept = part[:, 0, k]
        assert kept[~kept.isnan()].tolist() == [4, 5, 6, 7]


def test_parts_share_no_hour_and_lose_none():
    truth = forecasting.future_values(torch.arange(50.0)[:, None], HORIZONS)
    first, second = forecasting.only_hours(truth, HORIZONS, 0, 30), forecasting.only_hours(truth, HORIZONS, 30, 50)
    assert not (~first.isnan() & ~second.isnan()).any()
    assert ((~first.isnan() | ~second.isnan()) == ~truth.isnan()).all()
    for k in range(len(HORIZONS)):
        values = first[:, 0, k]
        assert values[~values.isnan()].max() == 29, "training would see an hour of the next part"


@pytest.mark.parametrize("part", [(5, 5), (-1, 3), (3, 11)])
def test_an_empty_part_is_refused(part):
    with pytest.raises(ValueError, match="is empty or outside the 10 hours"):
        forecasting.only_hours(torch.zeros(10, 1, 1), [1], *part)


def test_clock_is_a_circle():
    times = pd.date_range("2013-01-01", periods=25, freq="h", tz="UTC")
    clock = forecasting.hours_on_circle(times)
    assert torch.allclose(clock.norm(dim=1), torch.ones(25))
    assert torch.allclose(clock[0], clock[24]) and torch.allclose(clock[6], torch.tensor([1.0, 0.0]), atol=1e-6)
    steps = (clock[1:] - clock[:-1]).norm(dim=1)
    assert torch.allclose(steps, steps[:1].expand(24), atol=1e-6), "midnight is a step like any other"


def test_features_by_hand():
    measured = torch.tensor([[[1.0], [2.0], [6.0]]])  # (T, S, C) = (1, 3, 1)
    clock = torch.tensor([[0.0, 1.0]])
    expected = torch.tensor([[[1.0, 3.0, 0, 1], [2.0, 1.5, 0, 1], [6.0, -4.5, 0, 1]]])
    assert torch.allclose(forecasting.forecaster_inputs(measured, clock), expected)


def test_a_scale_knows_nothing_from_its_stop_on():
    series = torch.randn(40, 2, 3)
    series[5, 1, 0] = torch.nan  # the row is left out
    mean, std = forecasting.series_scale(series, 30)
    rows = np.delete(series[:30].reshape(-1, 3).numpy(), 11, axis=0)
    assert np.allclose(mean, rows.mean(axis=0), atol=1e-6) and np.allclose(std, rows.std(axis=0, ddof=1), atol=1e-6)
    series[30:] = 99.0
    assert torch.equal(torch.stack(forecasting.series_scale(series, 30)), torch.stack([mean, std]))


@pytest.mark.parametrize(
    ("stop", "message"), [(41, "stop=41"), (0, "stop=0"), (1, "fewer than two rows before stop=1")]
)
def test_a_scale_of_no_hours_is_refused(stop, message):
    with pytest.raises(ValueError, match=message):
        forecasting.series_scale(torch.randn(40, 3), stop)


# Baselines and errors


def test_baselines_by_hand():
    series = torch.arange(60.0)[:, None]
    assert torch.equal(baselines.persistence_baseline(series, HORIZONS)[7, 0], torch.tensor([7.0, 7, 7]))
    same = baselines.same_hour_baseline(series, (1, 24, 30))
    for k, h in enumerate((1, 24, 30)):
        for t in (40, 59):
            assert same[t, 0, k] <= t, "the newest known value, not a later one"
            assert (t + h - same[t, 0, k]) % 24 == 0
            assert same[t, 0, k] > t - 24
    assert same[22, 0, 0].isnan() and not same[23, 0, 0].isnan()


def test_same_hour_is_perfect_on_what_repeats():
    series = torch.randn(24, 2).repeat(4, 1)
    truth = forecasting.future_values(series, HORIZONS)
    error = forecasting.mean_error(baselines.same_hour_baseline(series, HORIZONS), truth)
    assert torch.equal(error, torch.zeros(3))


def test_mean_error_is_that_of_scikit_learn():
    forecast, truth = torch.randn(20, 3, 2), torch.randn(20, 3, 2)
    truth[4, 1, 0] = truth[7, 2, 1] = torch.nan
    forecast[0] = torch.nan
    error = forecasting.mean_error(forecast, truth)
    for k in range(2):
        known = ~(truth[..., k] + forecast[..., k]).isnan()
        assert error[k].item() == pytest.approx(
            mean_absolute_error(truth[..., k][known], forecast[..., k][known]), rel=1e-5
        )


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(20, 1, 2\) and truth \(20, 3, 2\) must have the same shape"):
        forecasting.mean_error(torch.zeros(20, 1, 2), torch.zeros(20, 3, 2))


def test_skill():
    assert forecasting.skill(torch.tensor([0.0, 1, 2]), 2.0).tolist() == [1.0, 0.5, 0.0]


def test_windows_end_at_their_row():
    inputs = torch.arange(12.0).view(6, 2)  # (T, D)
    found = forecasting.windows(inputs, 3)
    assert found.shape == (4, 6)
    for i in range(4):
        assert torch.equal(found[i].view(2, 3).T, inputs[i : i + 3])
    with pytest.raises(ValueError, match="num_lags=7 is more than the 6 rows"):
        forecasting.windows(inputs, 7)


def test_ridge_is_that_of_scikit_learn_on_windows_written_by_hand():
    series = weather_like(120)
    change = forecasting.future_values(series, HORIZONS) - series[..., None]
    change[30, 1, 0] = torch.nan
    forecast = forecasting.ridge_forecast(series, forecasting.only_hours(change, HORIZONS, 0, 80), 4, alpha=2.0)
    assert forecast[:3].isnan().all() and not forecast[3:].isnan().any()
    rows = [t for t in range(3, 80 - 6) if t != 30]

    def window(t):
        return np.concatenate([series[t - 3 : t + 1, s].numpy() for s in range(3)])

    line = Ridge(2.0).fit([window(t) for t in rows], [change[t].flatten().numpy() for t in rows])
    for t in (3, 30, 79, 119):
        assert forecast[t].flatten().numpy() == pytest.approx(line.predict([window(t)])[0], abs=1e-4)


# The forecaster


def small(kind=nn.GRU, shape=(3,), inputs=4, hidden=8, **dropout):
    torch.manual_seed(0)
    return forecasting.Forecaster(kind(inputs, hidden), shape, **dropout)


def test_pieces_run_side_by_side():
    series = torch.arange(14).view(14, 1) + torch.tensor([[0, 100]])  # (T, S)
    found = forecasting.cut_series(series, 3)
    assert found.shape == (4, 6)
    assert found[:, 0].tolist() == [0, 1, 2, 3] and found[:, 1].tolist() == [100, 101, 102, 103]
    assert found[:, 2].tolist() == [4, 5, 6, 7] and found[:, 5].tolist() == [108, 109, 110, 111]
    inputs = torch.randn(14, 2, 5)
    assert torch.equal(forecasting.cut_series(inputs, 3)[1, 4], inputs[9, 0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_forecaster_is_layer_and_readout(kind, shape):
    model = small(kind, shape).eval()
    inputs = torch.randn(7, 2, 4)
    forecasts, _ = model(inputs)
    assert forecasts.shape == (7, 2, *shape)
    outputs, _ = model.rnn(inputs)
    assert torch.allclose(forecasts[4, 1].flatten(), model.linear(outputs[4, 1]), atol=1e-6)


def test_carried_state_is_one_long_pass():
    model = small().eval()
    inputs = torch.randn(30, 2, 4)
    whole, _ = model(inputs)
    state, parts = None, []
    for part in inputs.split(7):
        forecasts, state = model(part, state)
        parts.append(forecasts)
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


def test_training_learns_what_can_be_known():
    """The input at an hour is the change that comes three hours later."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(600, 2, generator=generator)
    targets = torch.stack([steps, 2 * steps], dim=2)  # (T, S, K)
    targets[5, 1, 0] = torch.nan
    torch.manual_seed(0)
    model = forecasting.Forecaster(nn.GRU(1, 16), (2,), drop_in=0.0, drop_out=0.0)
    forecasting.train_forecaster(model, steps[..., None], targets, F.l1_loss, 30, num_pieces=4)
    error = forecasting.mean_error(forecasting.run_forecaster(model, steps[..., None]), targets)
    assert (error < 0.2 * targets.abs().flatten(0, 1).nanmean(dim=0)).all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_unknown_targets_teach_nothing():
    inputs, targets = torch.randn(96, 1, 4), torch.randn(96, 1, 3)
    hidden, other = targets.clone(), targets.clone()
    hidden[40:60] = torch.nan
    other[40:60] = torch.nan
    trained = []
    for truth in (hidden, other):
        model = small()
        torch.manual_seed(1)
        forecasting.train_forecaster(model, inputs, truth, F.l1_loss, 2, num_pieces=2, chunk=24)
        trained.append(model.linear.weight)
    assert torch.equal(*trained) and trained[0].isfinite().all()


def test_state_is_carried_between_chunks_and_cut(monkeypatch):
    states = []

    class Spy(forecasting.Forecaster):
        def forward(self, inputs, state=None):
            states.append(state)
            return super().forward(inputs, state)

    model = Spy(nn.GRU(4, 8), (3,))
    forecasting.train_forecaster(
        model, torch.randn(60, 2, 4), torch.randn(60, 2, 3), F.l1_loss, 2, num_pieces=2, chunk=10
    )
    assert [state is None for state in states] == [True, False, False] * 2
    assert all(state is None or not state.requires_grad for state in states)


def test_changing_the_future_changes_no_forecast():
    measured, clock = torch.randn(50, 3, 2), torch.randn(50, 2)
    model = small(inputs=6)
    before = forecasting.run_forecaster(model, forecasting.forecaster_inputs(measured, clock))
    measured[30:] = 99.0
    after = forecasting.run_forecaster(model, forecasting.forecaster_inputs(measured, clock))
    assert torch.equal(before[:30], after[:30]) and not torch.equal(before[30:], after[30:])


def test_changing_the_future_changes_no_baseline_either():
    series = weather_like(100)
    changed = series.clone()
    changed[60:] += 50
    for forecast in (baselines.persistence_baseline, baselines.same_hour_baseline):
        pair = [forecast(values, HORIZONS)[:60].nan_to_num(0) for values in (series, changed)]
        assert torch.equal(*pair)
    targets = forecasting.only_hours(forecasting.future_values(series, HORIZONS), HORIZONS, 0, 50)
    pair = [forecasting.ridge_forecast(values, targets, 4, 1.0)[:60].nan_to_num(0) for values in (series, changed)]
    assert torch.allclose(*pair, atol=1e-5)


# How sure


def test_pinball_is_that_of_scikit_learn():
    forecasts, truth = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    wanted = np.mean([mean_pinball_loss(truth, forecasts[:, q], alpha=a) for q, a in enumerate(QUANTILES.tolist())])
    assert forecasting.pinball(forecasts, truth, QUANTILES.double()).item() == pytest.approx(wanted)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.75])
def test_pinball_is_smallest_at_the_quantile(quantile):
    """Found by trying every number on a fine grid, and compared with NumPy's quantile."""
    sample = torch.randn(999, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()
    grid = torch.linspace(0, 5, 5001, dtype=torch.float64)
    levels = torch.tensor([quantile], dtype=torch.float64)
    losses = [forecasting.pinball(x.expand(999, 1), sample, levels).item() for x in grid]
    assert grid[int(np.argmin(losses))].item() == pytest.approx(np.quantile(sample, quantile), abs=2e-3)


def test_coverage_counts_what_is_known():
    low, high = torch.zeros(4, 1, 1), torch.ones(4, 1, 1)
    truth = torch.tensor([0.5, 2.0, torch.nan, 1.0]).view(4, 1, 1)
    assert forecasting.coverage(low, high, truth).item() == pytest.approx(2 / 3)


def test_adaptation_by_hand():
    low, middle, high = -torch.ones(5, 1), torch.zeros(5, 1), torch.ones(5, 1)
    truth = torch.tensor([0.0, 3.0, torch.nan, 0.0, 0.0])[:, None]
    factors = forecasting.adapt_intervals(low, middle, high, truth, horizon=2, aim=0.8, gamma=0.1)
    wanted = [1, 1, math.exp(-0.02), math.exp(-0.02 + 0.08), math.exp(-0.02 + 0.08)]
    assert factors[:, 0].tolist() == pytest.approx(wanted)


def test_adaptation_reaches_its_aim_where_the_spread_changes():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(6000, 2, generator=generator)
    truth[3000:] *= 2  # the intervals were made for the quieter half
    low, middle, high = -1.28 * torch.ones(6000, 2), torch.zeros(6000, 2), 1.28 * torch.ones(6000, 2)
    factors = forecasting.adapt_intervals(low, middle, high, truth, horizon=6)
    late = slice(3500, 6000)
    plain = ((truth > low) & (truth < high))[late].double().mean()
    adapted = ((truth > low * factors) & (truth < high * factors))[late].double().mean()
    assert plain < 0.55 and abs(adapted - 0.8) < 0.01
    assert factors[late].mean().item() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("horizon", [1, 6, 24])
def test_adaptation_looks_at_no_hour_that_has_not_come(horizon):
    """Row t forecasts hour t + horizon: its factor may use the truth of rows up to t - horizon."""
    truth = torch.randn(80, 1)
    low, middle, high = -torch.ones(80, 1), torch.zeros(80, 1), torch.ones(80, 1)
    before = forecasting.adapt_intervals(low, middle, high, truth, horizon)
    for t in (horizon, 50):
        changed = truth.clone()
        changed[t - horizon + 1 :] = 100.0
        after = forecasting.adapt_intervals(low, middle, high, changed, horizon)
        assert torch.equal(before[: t + 1], after[: t + 1])
        changed[t - horizon] = 100.0
        assert not torch.equal(before[t], forecasting.adapt_intervals(low, middle, high, changed, horizon)[t]) or (
            truth[t - horizon].abs() > 1
        )


# As the hours arrive


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_stream_is_the_forecaster_on_the_whole_series(kind):
    frame = pd.DataFrame(weather_like(60).numpy())
    frame.iloc[10:13, 1] = np.nan
    frame.iloc[0, 2] = np.nan
    measured = torch.tensor(frame.to_numpy())[..., None]  # (T, S, C) with C = 1
    clock = forecasting.hours_on_circle(pd.date_range("2013-01-01", periods=60, freq="h", tz="UTC"))
    filled = torch.tensor(frame.ffill().to_numpy())[..., None]
    read = forecasting.forecaster_inputs(filled, clock)
    mean, std = torch.tensor([1.0, 0, 0, 0]), torch.tensor([2.0, 1, 1, 1])
    model = small(kind, inputs=4)
    whole = forecasting.run_forecaster(model, ((read - mean) / std).nan_to_num(0.0))
    stream = forecasting.ForecastStream(model, mean, std)
    steps = torch.stack([stream.step(row, hand) for row, hand in zip(measured, clock, strict=True)])
    assert torch.allclose(steps, whole, atol=1e-5)


def test_surprise_is_in_halves_of_the_interval():
    low, middle, high = torch.tensor(-1.0), torch.tensor(0.0), torch.tensor(2.0)
    truths = torch.tensor([0.0, 2.0, 4.0, -3.0, torch.nan])
    found = forecasting.forecast_surprise(low, middle, high, truths)
    assert found[:4].tolist() == [0.0, 1.0, 2.0, -3.0] and found[4].isnan()


def test_running_sums_by_hand():
    z = torch.tensor([0.5, 2.0, 2.0, torch.nan, -3.0])[:, None]
    assert forecasting.surprise_sums(z, slack=1.0)[:, 0].tolist() == [0.0, 1.0, 2.0, 1.0, 2.0]


# A chaotic series


def test_mackey_glass_is_its_equation():
    """The derivative between two fine points is what the equation says."""
    fine = forecasting.mackey_glass(20_000, tau=17, steps=1).double()
    assert fine.shape == (20_000,) and fine.min() > 0.1 and fine.max() < 1.6
    t = torch.arange(100, 19_999)
    old = fine[t - 17]
    slope = 0.2 * old / (1 + old**10) - 0.1 * fine[t]
    assert torch.allclose(fine[t + 1] - fine[t], slope, atol=1e-6)


def test_mackey_glass_is_chaotic():
    near, far = (forecasting.mackey_glass(2000, start=start) for start in (1.2, 1.2001))
    assert (near - far)[:50].abs().max() < 0.01 and (near - far)[1500:].abs().max() > 0.1


def test_free_run_reads_its_own_forecasts():
    """A layer that always forecasts a change of +1 counts up."""
    model = small(inputs=1, shape=(1,)).eval()
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.fill_(1.0)
    path = forecasting.free_run(model, torch.zeros(5, 2), 4)
    assert torch.equal(path, torch.tensor([1.0, 2, 3, 4])[:, None].expand(4, 2))


def test_free_run_is_one_step_after_the_other():
    torch.manual_seed(0)
    model, series = small(inputs=1, shape=(1,)).eval(), torch.randn(20, 2)
    path = forecasting.free_run(model, series, 3)
    for t in range(3):
        with torch.no_grad():
            changes, _ = model(series[..., None])
        series = torch.cat([series, series[-1:] + changes[-1:, :, 0]])
        assert torch.allclose(path[t], series[-1], atol=1e-6)


# Deceptions


def test_persistence_lags_by_its_horizon():
    """Moved back by its horizon it is the truth, and by no other lag."""
    series = weather_like(2000, 1)[:, 0]
    for h in (1, 6, 12):
        forecast = baselines.persistence_baseline(series, [h])[100:1900, 0]
        like = [np.corrcoef(forecast, series[100 + h - lag : 1900 + h - lag])[0, 1] for lag in range(14)]
        assert int(np.argmax(like)) == h and max(like) == pytest.approx(1)


def true_weather():
    if _places.first_file(weather.FILE, weather._holds) is None:
        pytest.skip("the true file is not on this machine")
    return data.load_weather()


@pytest.mark.parametrize("year", [invented_weather, true_weather])
def test_october_flatters(year):
    """The same forecasters, the same horizon: one calm month promises less than winter holds."""
    mended = [forecasting.mend_hours(rows)["temp"] for _, rows in year().groupby("origin")]
    measured = torch.tensor(np.stack(mended, axis=1)).float()  # (T, S)
    filled = torch.tensor(pd.DataFrame(measured.numpy()).ffill().to_numpy())
    october, november = (mended[0].index.get_loc(pd.Timestamp(f"2013-{m}-01", tz="UTC")) for m in (10, 11))
    truth = forecasting.future_values(measured, [24])  # (T, S, 1)
    change = forecasting.only_hours(truth, [24], 0, october) - filled[..., None]
    line = filled[..., None] + forecasting.ridge_forecast(filled, change, 24, 10.0)
    for forecast in (baselines.persistence_baseline(filled, [24]), line):
        calm, rough = (
            forecasting.mean_error(forecast, forecasting.only_hours(truth, [24], *part)).item()
            for part in ((october, november), (november, len(truth)))
        )
        assert rough > 1.1 * calm


@pytest.mark.parametrize("seed", range(3))
def test_a_scaler_that_peeks_flatters_on_a_trend(seed):
    """A kernel that meets something new says 0, which is the scaler's mean: with the future in it, it looks better."""
    generator = torch.Generator().manual_seed(seed)
    series = torch.arange(600)[:, None] / 30 + torch.randn(600, 1, generator=generator)
    truth = forecasting.future_values(series, [24])
    learn, judge = forecasting.only_hours(truth, [24], 0, 400), forecasting.only_hours(truth, [24], 400, 600)
    errors = []
    for stop in (400, 600):
        mean, std = forecasting.series_scale(series, stop)
        X, Y = forecasting.windows((series - mean) / std, 12).numpy(), ((learn - mean) / std)[11:, 0, 0].numpy()
        known = ~np.isnan(Y)
        guess = KernelRidge(kernel="rbf", alpha=0.1).fit(X[known], Y[known]).predict(X)
        forecast = torch.full_like(truth, torch.nan)
        forecast[11:, 0, 0] = mean + std * torch.tensor(guess)
        errors.append(forecasting.mean_error(forecast, judge).item())
    honest, peeking = errors
    assert peeking < 0.8 * honest


def test_interpolation_looks_ahead_and_filling_forward_does_not():
    series = pd.Series([1.0, 2.0, np.nan, np.nan, 5.0])
    other = pd.Series([1.0, 2.0, np.nan, np.nan, 50.0])
    assert series.ffill()[:4].equals(other.ffill()[:4])
    assert not series.interpolate()[:4].equals(other.interpolate()[:4])


def test_no_skill_on_a_random_walk():
    """On steps that it learned by heart a network has skill, on new ones none; a scaler changes nothing of it."""
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(1200, 1, generator=generator).cumsum(dim=0)
    moves = forecasting.future_values(walk, [1]) - walk[..., None]
    steps = torch.cat([torch.zeros(1, 1), walk[1:] - walk[:-1]])[..., None]
    torch.manual_seed(0)
    model = forecasting.Forecaster(nn.LSTM(1, 32), [1], drop_in=0.0, drop_out=0.0)
    known = forecasting.only_hours(moves, [1], 0, 800)[:800]
    forecasting.train_forecaster(model, steps[:800], known, F.l1_loss, 120, num_pieces=4, chunk=50)
    learned, new = (
        forecasting.skill(
            forecasting.mean_error(forecasting.run_forecaster(model, steps), part),
            forecasting.mean_error(0 * moves, part),
        )
        for part in (forecasting.only_hours(moves, [1], 0, 800), forecasting.only_hours(moves, [1], 800, 1200))
    )
    assert learned > 0.05 > 0 > new


def test_mending_looks_at_no_later_hour():
    rows = invented_weather().query("origin == 'JFK'").iloc[:400].reset_index(drop=True)
    before = forecasting.mend_hours(rows)
    rows.loc[300:, ["temp", "dewp", "wind_speed"]] += 100
    after = forecasting.mend_hours(rows)
    changed = before.index.get_loc(rows["time_hour"][300])
    pd.testing.assert_frame_equal(before[:changed], after[:changed])
    assert not before[changed:].equals(after[changed:])


def test_mend_by_hand():
    """Each fault of the real table, in a table of one day."""
    times = pd.date_range("2013-01-01", periods=40, freq="h", tz="UTC")
    rows = pd.DataFrame({"time_hour": times, "temp": 50.0, "dewp": 41.0, "pressure": 1010.0})
    rows["wind_dir"], rows["wind_speed"] = 270.0, 10.0
    rows.loc[20, ["temp", "dewp"]] = [5.0, 5.0]  # degrees Celsius among Fahrenheit
    rows.loc[25, "wind_speed"] = 1048.0
    rows.loc[26, "wind_dir"] = 180.0
    rows.loc[27, ["wind_dir", "wind_speed"]] = [0.0, 0.0]
    hours = forecasting.mend_hours(rows.drop(index=30))
    assert len(hours) == 40 and hours.iloc[30].isna().all(), "a missing hour is a row of its own"
    assert hours["temp"].iloc[20:22].isna().tolist() == [True, False]
    assert hours["temp"].iloc[0] == 10 and hours["dewp"].iloc[0] == 5
    assert np.isnan(hours["west"].iloc[25]) and hours["temp"].iloc[25] == 10
    assert hours["west"].iloc[0] == pytest.approx(4.47) and hours["south"].iloc[0] == pytest.approx(0, abs=1e-9)
    assert hours["south"].iloc[26] == pytest.approx(4.47)
    assert abs(hours["west"].iloc[27]) + abs(hours["south"].iloc[27]) == 0, "calm"
