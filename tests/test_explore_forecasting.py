"""The explorers of chapter 8: what they measure, by hand and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rnnlib import baselines, drawings, explore, forecasting


def explorer(name):
    explorer_class, arguments = explore.catalogue()[name]
    return explorer_class(**arguments)


# The forecaster's fan


@pytest.fixture(scope="module")
def fan():
    """A series that climbs by one an hour, forecast as now and perfectly."""
    times = pd.date_range("2013-06-01", periods=120, freq="h", tz="UTC")
    series = torch.arange(120.0)
    horizons = (1, 6)
    as_now = baselines.persistence_baseline(series, horizons)
    right = series[:, None] + torch.tensor([1.0, 6.0])
    perfect = torch.stack([right - 2, right, right + 3], dim=-1)
    return explore.ForecastFan(times, series, {"as now": as_now, "perfect": perfect}, horizons)


def test_fan_by_hand(fan):
    data = fan.measure(50, "perfect")
    assert data["past"][-1] == 50 and len(data["past"]) == 49
    assert data["came"].tolist() == [51, 52, 53, 54, 55, 56]
    assert data["middle"].tolist() == [51, 56] and data["fan"].tolist() == [[49, 54], [54, 59]]
    assert data["skill"].tolist() == [1, 1]
    as_now = fan.measure(50, "as now")
    assert as_now["middle"].tolist() == [50, 50] and as_now["fan"] is None and as_now["skill"].tolist() == [0, 0]


def test_fan_says_what_it_draws(fan):
    sentence = fan.readout(hour=50, forecaster="perfect")
    assert "56.0 °C were forecast 6 hours ahead, 56.0 came; the interval reached from 54.0 to 59.0" in sentence
    assert "+1.00 at 1, +1.00 at 6 hours ahead" in sentence
    left, right = fan.draw(fan.measure(50, "perfect")).axes
    assert left.lines[1].get_ydata().tolist() == [51, 52, 53, 54, 55, 56]
    assert left.lines[2].get_ydata().tolist() == [50, 51, 56]
    assert [round(bar.get_width(), 6) for bar in right.patches] == [1, 1]


def test_fan_refuses_what_does_not_fit(fan):
    times, series = fan.times, fan.series
    with pytest.raises(ValueError, match=r"'bad' has shape \(120, 3\); for this series .* \(120, 2\)"):
        explore.ForecastFan(times, series, {"bad": torch.zeros(120, 3)}, (1, 6))
    with pytest.raises(ValueError, match="a series of 40 hours is too short"):
        explore.ForecastFan(times[:40], series[:40], {"x": torch.zeros(40, 2)}, (1, 6))


def test_presets_are_at_night_and_in_the_afternoon(fan):
    hours = {name: fan.times[preset["hour"]].hour for name, preset in fan.presets.items()}
    assert hours == {"a night": 6, "an afternoon": 18}


# The leak


def test_leak_shrinks_with_the_overlap_and_honest_error_is_that_of_persistence():
    """Of a random walk nothing can be known: by time no model is below persistence."""
    meter = explorer("LeakMeter")
    every, apart = (meter.measure(step, "nearest window") for step in (1, 96))
    assert every["overlap"] == pytest.approx(71 / 72) and apart["overlap"] == 0
    assert every["apparent"] < 0.6 < every["honest"]
    assert every["honest"] > 1 and apart["apparent"] > 0.9
    assert meter.measure(1, "line")["honest"] > 0.9


def test_leak_errors_are_those_of_a_loop(monkeypatch):
    meter = explorer("LeakMeter")
    data = meter.measure(32, "nearest window")
    series, span = meter.series, meter.length + meter.horizon
    cut = [series[s : s + span] for s in range(0, len(series) - span + 1, 32)]
    X = np.array([w[:72] - w[71] for w in cut])
    Y = np.array([w[-1] - w[71] for w in cut])
    num_test = len(X) // 5
    learn = np.arange(len(X) - num_test - 3)
    guesses = [Y[learn[np.argmin(((X[learn] - X[i]) ** 2).sum(axis=1))]] for i in range(len(X) - num_test, len(X))]
    wanted = np.abs(guesses - Y[-num_test:]).mean() / np.abs(Y[-num_test:]).mean()
    assert data["honest"] == pytest.approx(wanted)


def test_windows_of_the_honest_division_share_no_hour():
    meter = explorer("LeakMeter")
    span = meter.length + meter.horizon
    for step in (1, 8, 64, 96):
        num_windows = (len(meter.series) - span) // step + 1
        divisions = meter.divisions(num_windows, step)
        learn, judge = divisions["by time"]
        assert len(learn) and learn.max() * step + span <= judge.min() * step, "an hour on both sides"
        drawn = np.concatenate(divisions["random"])
        assert sorted(drawn) == list(range(num_windows))
        assert len(divisions["random"][1]) == len(judge)


def test_short_series_is_refused():
    with pytest.raises(ValueError, match="the series has 100 hours: give 2400 or more"):
        explore.LeakMeter(np.zeros(100))


# The free run


def test_line_that_goes_straight_on():
    runs = explorer("FreeRun")
    data = runs.measure(400, 50, 0.0)
    past = runs.series[:400].double().numpy()
    wanted = past[-1] + (past[-1] - past[-2]) * np.arange(1, 51)
    assert np.allclose(data["paths"]["line"], wanted, atol=1e-4)
    assert data["true"] == pytest.approx(runs.series[400:450].numpy())


def test_a_network_that_is_told_the_way_stays_on_it():
    """A read-out that always says +0 stays where it is, and is far as soon as the truth is."""
    torch.manual_seed(0)
    model = forecasting.Forecaster(nn.LSTM(1, 4), [1])
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.zero_()
    series = torch.cat([torch.zeros(500), torch.ones(700)])
    runs = explore.FreeRun(model, [1.0], series)
    data = runs.measure(480, 100, 0.0)
    assert data["kept"] == {"network": 20, "line": 20}
    assert runs.measure(300, 50, 0.0)["kept"] == {"network": None, "line": None}
    assert "for all 50 steps" in runs.readout(start=300, length=50)
    assert "for 20 steps; the line" in runs.readout(start=480, length=100)


def test_noise_reaches_what_is_read_alone():
    runs = explorer("FreeRun")
    clear, noisy = (runs.measure(400, 100, noise) for noise in (0.0, 0.1))
    assert (clear["true"] == noisy["true"]).all()
    assert not np.allclose(clear["past"], noisy["past"])
    assert (runs.measure(400, 100, 0.1)["past"] == noisy["past"]).all(), "the same noise each time"


def test_drawings_of_the_chapter():
    fig = drawings.draw_horizons((1, 24))
    assert [text.get_text() for text in fig.axes[0].texts if text.get_text()] == [
        "known: the state has read it",
        "now, t",
        "1",
        "24",
        "horizon h (hours)",
    ]
    upper, lower = drawings.draw_reading().axes
    assert len(upper.patches) == 4 and len(lower.patches) == 1
    title = upper.get_title(loc="left") or upper.get_title()  # the book's style sets it on the left
    assert "24 hours are read for 4 answers" in title
