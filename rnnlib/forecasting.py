"""Forecast sequences of numbers, and say how sure the forecast is (chapter 8).

Shapes: T hours (or other steps), S series side by side, such as stations, D columns a
series, K horizons, Q quantiles. What is not known is NaN. The hour of a row is the hour
at which its forecasts are made.
"""

import math

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn

from rnnlib import guards
from rnnlib.gradients import clip_gradients, detach

# Data


def mend_hours(rows):
    """Return a station's hours on an even grid: °C, millibars, wind in m/s.

    rows: of one station in the table of :func:`rnnlib.data.load_weather`. The wind is
    split into that from the west and that from the south.
    """
    guards.check_hours(rows)
    hours = rows.set_index("time_hour").asfreq("h")  # a missing hour comes as NaN
    day_before = hours["temp"].rolling(24, min_periods=12).median().shift()
    wrong = (hours["temp"] - day_before).abs() > 40
    celsius = (hours[["temp", "dewp"]].mask(wrong) - 32) / 1.8
    miles = hours["wind_speed"]
    speed = 0.447 * miles.mask(miles > 150)  # an hour, in m/s
    angle = np.radians(hours["wind_dir"])  # it comes from there, clockwise from north
    west, south = -speed * np.sin(angle), -speed * np.cos(angle)
    return celsius.assign(pressure=hours["pressure"], west=west, south=south)


def hours_on_circle(times):
    """Return the time of day as a point on a circle, (T, 2), for an index of times."""
    guards.check_times(times)
    angle = torch.tensor(2 * np.pi * times.hour.to_numpy() / 24)
    return torch.stack([angle.sin(), angle.cos()], dim=1).float()


def forecaster_inputs(measured, clock):
    """Return what a forecaster reads, (T, S, 2C + 2), for measured columns (T, S, C).

    The station's own, how far the others' mean is from them, and the time of day.
    """
    guards.check_shapes("measured (T, S, C), clock (T, 2)", measured, clock)
    T, S, _ = measured.shape
    others = (measured.sum(dim=1, keepdim=True) - measured) / (S - 1)  # (T, S, C)
    clock = clock[:, None].expand(T, S, 2)
    return torch.cat([measured, others - measured, clock], dim=2)


def future_values(series, horizons):
    """Return what (T, S) will be at each horizon, (T, S, K); NaN where unknown."""
    guards.check_horizons(horizons, series)
    ahead = torch.full((*series.shape, len(horizons)), torch.nan)
    for k, h in enumerate(horizons):
        later = series[h:]
        ahead[: len(later), :, k] = later
    return ahead


def only_hours(truth, horizons, start, stop):
    """Return a truth (T, S, K) with NaN outside the hours from start on, before stop.

    An hour is that which is forecast, t + h, not that of the forecast, t.
    """
    guards.check_part(truth, horizons, start, stop)
    part = torch.full_like(truth, torch.nan)
    for k, h in enumerate(horizons):
        made = slice(max(start - h, 0), max(stop - h, 0))
        part[made, :, k] = truth[made, :, k]
    return part


def series_scale(series, stop):
    """Return mean and deviation (D,) of the known rows (…, D) before stop."""
    guards.check_scale(series, stop)
    known = series[:stop].flatten(0, -2)
    known = known[~known.isnan().any(dim=1)]
    return known.mean(dim=0), known.std(dim=0)


# Baselines and errors


def mean_error(forecast, truth):
    """Return the mean absolute error of forecasts (T, S, K) with known truth, (K,)."""
    guards.check_alike(forecast=forecast, truth=truth)
    guards.check_shapes("forecast (T, S, …)", forecast)
    return (forecast - truth).abs().flatten(0, 1).nanmean(dim=0)


def skill(error, reference):
    """Return the share of a reference's error that a forecast avoids: 1 is perfect."""
    return 1 - error / reference


def windows(inputs, num_lags):
    """Return num_lags rows side by side, (T - num_lags + 1, D * num_lags)."""
    guards.check_window(inputs, num_lags)
    return inputs.unfold(0, num_lags, 1).flatten(1)


def ridge_forecast(inputs, targets, num_lags, alpha):
    """Return forecasts (T, S, K) linear in windows of inputs (T, D).

    alpha: the penalty on large weights. Learned from the rows of targets (T, S, K) that
    are all known; the first num_lags - 1 rows, which have no window, are NaN.
    """
    guards.check_ridge(inputs, targets, num_lags, alpha)
    X = windows(inputs, num_lags).numpy()  # (M, D * num_lags)
    Y = targets[num_lags - 1 :].flatten(1)  # (M, S * K)
    known = ~Y.isnan().any(dim=1).numpy()  # (M,)
    line = Ridge(alpha).fit(X[known], Y[known].numpy())
    forecast = torch.full_like(targets, torch.nan)
    rows = torch.from_numpy(line.predict(X))  # (M, S * K)
    forecast[num_lags - 1 :] = rows.unflatten(1, targets.shape[1:])
    return forecast


# The forecaster


class Forecaster(nn.Module):
    """A recurrent layer, time first, that forecasts after every hour it reads.

    shape: of one forecast, such as (K,) or (K, Q); drop_in, drop_out: dropout before
    and after the layer.
    """

    def __init__(self, rnn_layer, shape, drop_in=0.1, drop_out=0.2):
        super().__init__()
        guards.check_forecaster(rnn_layer, shape, drop_in, drop_out)
        self.rnn, self.shape = rnn_layer, tuple(shape)
        self.drop_in, self.drop_out = nn.Dropout(drop_in), nn.Dropout(drop_out)
        self.linear = nn.Linear(rnn_layer.hidden_size, math.prod(self.shape))

    def forward(self, inputs, state=None):
        """Return forecasts ``(T, N, *shape)`` for inputs (T, N, D), and the state."""
        guards.check_series(self.rnn, inputs, state)
        outputs, state = self.rnn(self.drop_in(inputs), state)  # (T, N, H)
        return self.linear(self.drop_out(outputs)).unflatten(2, self.shape), state


def cut_series(series, num_pieces):
    """Cut (T, S, …) into pieces side by side, (T // num_pieces, num_pieces * S, …)."""
    guards.check_pieces(series, num_pieces)
    length = len(series) // num_pieces
    cut = series[: length * num_pieces].unflatten(0, (num_pieces, length))
    return cut.transpose(0, 1).flatten(1, 2)  # from (num_pieces, L, S, …)


def train_forecaster(
    model, inputs, targets, loss, epochs, lr=1e-2, num_pieces=8, chunk=96
):
    """Train on inputs (T, S, D) and targets (T, S, K), the state carried on.

    ``loss(forecasts, targets)`` sees only what is known: (M, …) and (M,).
    """
    guards.check_forecasts(model, inputs, targets, loss)
    guards.check_sizes(epochs=epochs, num_pieces=num_pieces, chunk=chunk)
    guards.check_rates(lr=lr)
    device = model.linear.weight.device
    X, Y = (cut_series(part, num_pieces).to(device) for part in (inputs, targets))
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    steps = epochs * math.ceil(len(X) / chunk)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    model.train()
    for _ in range(epochs):
        state = None
        for x, y in zip(X.split(chunk), Y.split(chunk), strict=True):
            forecasts, state = model(x, state)  # (chunk, N, K, …)
            state = detach(state)
            known = ~y.isnan()
            optimizer.zero_grad()
            loss(forecasts[known], y[known]).backward()
            clip_gradients(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def run_forecaster(model, inputs):
    """Return the forecasts after every row of inputs (T, S, D), on the CPU."""
    guards.check_run_inputs(model, inputs)
    model.eval()
    forecasts, _ = model(inputs.to(model.linear.weight.device))
    return forecasts.cpu()


# How sure


def pinball(forecasts, truth, quantiles):
    """Return the mean pinball loss of forecasts (…, Q) of quantiles (Q,), truth (…).

    Koenker and Bassett (1978).
    """
    guards.check_pinball(forecasts, truth, quantiles)
    miss = truth[..., None] - forecasts  # (…, Q), positive where the truth is above
    return torch.maximum(quantiles * miss, (quantiles - 1) * miss).mean()


def coverage(low, high, truth):
    """Return the share of known truths (T, S, K) that lie in their interval, (K,)."""
    guards.check_alike(low=low, high=high, truth=truth)
    guards.check_shapes("low (T, S, …)", low)
    inside = ((low <= truth) & (truth <= high)).double()
    return inside.where(~truth.isnan(), torch.nan).flatten(0, 1).nanmean(dim=0)


def adapt_intervals(low, middle, high, truth, horizon, aim=0.8, gamma=0.02):
    """Return factors (T, S) for both halves of one horizon's intervals, each (T, S).

    A miss makes a factor grow, a hit makes it shrink, so that in the long run a share
    aim are hits (after Gibbs and Candès, 2021).
    """
    guards.check_alike(low=low, middle=middle, high=high, truth=truth)
    guards.check_adapting(low, horizon, aim, gamma)
    log_factor = torch.zeros(low.shape[1], dtype=low.dtype)  # (S,)
    factors = torch.ones_like(low)
    for t in range(len(low)):
        if t >= horizon:  # the hour for which this one was made has come
            s = t - horizon
            below, above = ((edge[s] - middle[s]) * factors[s] for edge in (low, high))
            miss = (truth[s] < middle[s] + below) | (truth[s] > middle[s] + above)
            step = gamma * (miss.to(low.dtype) - (1 - aim))
            log_factor = log_factor + step.where(~truth[s].isnan(), 0)
        factors[t] = log_factor.exp()
    return factors


# As the hours arrive


class ForecastStream:
    """A forecaster that is told hour after hour; mean, std: of its inputs, (D,)."""

    def __init__(self, model, mean, std):
        guards.check_stream(model, mean, std)
        self.model, self.mean, self.std = model.eval(), mean, std
        self.state = self.last = None

    @torch.no_grad()
    def step(self, measured, clock):
        """Return forecasts (S, …) after an hour: measured (S, C), clock (2,)."""
        guards.check_shapes("measured (S, C), clock (2)", measured, clock)
        if self.last is not None:
            measured = measured.where(~measured.isnan(), self.last)
        self.last = measured
        inputs = forecaster_inputs(measured[None], clock[None])  # (1, S, D)
        inputs = (inputs - self.mean) / self.std
        inputs = inputs.nan_to_num(0.0)  # never measured yet: the mean
        inputs = inputs.to(self.model.linear.weight.device)
        forecasts, self.state = self.model(inputs, self.state)
        return forecasts[0].cpu()


def forecast_surprise(low, middle, high, truth):
    """Return how far a truth is from the middle, in halves of the interval there."""
    guards.check_together(low=low, middle=middle, high=high, truth=truth)
    half = torch.where(truth > middle, high - middle, middle - low)
    return (truth - middle) / half.clamp(min=1e-6)


def surprise_sums(surprises, slack):
    """Return the larger of two sums (T, …), of z - slack and -z - slack, never below 0.

    One surprise is forgotten, many in one direction add up (Page, 1954).
    """
    guards.check_surprises(surprises, slack)
    up = down = torch.zeros_like(surprises[0])
    sums = []
    for z in surprises.nan_to_num(0.0):
        up, down = (up + z - slack).clamp(min=0), (down - z - slack).clamp(min=0)
        sums.append(torch.maximum(up, down))
    return torch.stack(sums)


# A chaotic series


def mackey_glass(num_points, tau=17, start=1.2, steps=10):
    """Return points (num_points,) of a chaotic equation (Mackey and Glass, 1977).

    x'(t) = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t), in so many steps a point.
    """
    guards.check_numbers(start=start)
    guards.check_sizes(num_points=num_points, tau=tau, steps=steps)
    x = [start] * (tau * steps + 1)
    for _ in range(num_points * steps):
        old = x[-1 - tau * steps]
        x.append(x[-1] + (0.2 * old / (1 + old**10) - 0.1 * x[-1]) / steps)
    return torch.tensor(x[-num_points * steps :][steps - 1 :: steps])


@torch.no_grad()
def free_run(model, series, length):
    """Return how a forecaster of one change goes on after a series (T, N): (length, N).

    Its input is the series itself, (T, N, 1); from then on it reads its own forecasts.
    """
    guards.check_free_run(model, series, length)
    model.eval()
    device = model.linear.weight.device
    changes, state = model(series[..., None].to(device))
    now, path = series[-1].to(device), []
    for _ in range(length):
        now = now + changes[-1, :, 0]  # (N,)
        path.append(now)
        changes, state = model(now[None, :, None], state)
    return torch.stack(path).cpu()
