"""Explorers of chapter 8: a fan of forecasts, a leak between windows, and a run without a leash."""

import functools

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from torch import nn

from rnnlib import baselines, forecasting, guards, plots
from rnnlib.explore.frame import Explorer


class ForecastFan(Explorer):
    """What does a forecaster say at an hour, how sure is it, and what came?

    Args:
        times: a pandas index of T hours.
        series: what was known at each hour, (T,).
        forecasts: by name, of each hour at each horizon, (T, K), or three quantiles of it, (T, K, 3).
        horizons: hours ahead, K of them.

    Raises:
        ValueError: if a forecast doesn't fit the series and the horizons, or the series is too short to show.
    """

    title = "Forecaster (choose an hour at which it speaks)"
    question = "where is the fan wide, and where does the truth leave it?"
    past = 48

    def __init__(self, times, series, forecasts, horizons):
        guards.check_times(times)
        guards.check_named(forecasts=forecasts)
        guards.check_real_rows(series=series, horizons=horizons)
        self.times, self.series, self.horizons = times, torch.as_tensor(series), tuple(horizons)
        self.forecasts = {name: torch.as_tensor(forecast) for name, forecast in forecasts.items()}
        for name, forecast in self.forecasts.items():
            if tuple(forecast.shape) not in (shape := (len(self.series), len(self.horizons)), (*shape, 3)):
                raise ValueError(
                    f"the forecast {name!r} has shape {tuple(forecast.shape)}; for this series and these horizons "
                    f"it must be {shape} or (…, 3)"
                )
        last = len(self.series) - max(self.horizons) - 1
        if last <= self.past:
            raise ValueError(f"a series of {len(self.series)} hours is too short: give {self.past + last + 3} or more")
        self.truth = forecasting.future_values(self.series[:, None], self.horizons)[:, 0]  # (T, K)
        middle = (self.past + last) // 2
        self.presets = {"a night": {"hour": self._near(middle, 6)}, "an afternoon": {"hour": self._near(middle, 18)}}
        super().__init__(
            hour=widgets.IntSlider(middle, min=self.past, max=last, description="hour"),
            forecaster=widgets.ToggleButtons(options=list(self.forecasts), description="forecaster"),
        )

    def _near(self, start, hour):
        """Return the first place from ``start`` on whose hour of the day this is."""
        return start + (hour - self.times[start].hour) % 24

    @classmethod
    def default_arguments(cls):
        """A wave with noise, its mean as forecast, and a fan of even width."""
        times = pd.date_range("2013-06-01", periods=300, freq="h", tz="UTC")
        generator = torch.Generator().manual_seed(0)
        series = 3 * torch.sin(torch.arange(300) * 2 * torch.pi / 24) + 0.3 * torch.randn(300, generator=generator)
        horizons = (1, 3, 6, 12, 24)
        middle = baselines.same_hour_baseline(series[:, None], horizons)[:, 0]
        fan = torch.stack([middle - 1, middle, middle + 1], dim=-1)
        as_now = baselines.persistence_baseline(series, horizons)
        return {"times": times, "series": series, "forecasts": {"fan": fan, "as now": as_now}, "horizons": horizons}

    def _middle(self, forecaster):
        forecast = self.forecasts[forecaster]
        return forecast if forecast.dim() == 2 else forecast[..., 1]

    def measure(self, hour, forecaster):
        """Return the past, the forecast of an hour, what came, and the skill over the whole series."""
        forecast = self.forecasts[forecaster][hour]
        known = slice(hour + 1, hour + max(self.horizons) + 1)
        error, reference = (
            forecasting.mean_error(each[:, None], self.truth[:, None])
            for each in (self._middle(forecaster), baselines.persistence_baseline(self.series, self.horizons))
        )
        return {
            "time": self.times[hour],
            "forecaster": forecaster,
            "past": self.series[hour - self.past : hour + 1].numpy(),
            "came": self.series[known].numpy(),
            "middle": self._middle(forecaster)[hour].numpy(),
            "fan": forecast[:, [0, 2]].numpy() if forecast.dim() == 2 else None,
            "skill": forecasting.skill(error, reference).numpy(),
        }

    def draw(self, data):
        """The hours before and after, with the fan; beside it the skill by horizon."""
        fig, (left, right) = plots.new_figure(height=3.6, columns=2, width_ratios=[3.2, 1])
        past, horizons = data["past"], np.array(self.horizons)
        left.plot(np.arange(-len(past) + 1, 1), past, color=plots.INK, label="known")
        left.plot(np.arange(1, len(data["came"]) + 1), data["came"], ":", color=plots.INK, label="came later")
        if data["fan"] is not None:
            low, high = (np.concatenate([past[-1:], edge]) for edge in data["fan"].T)
            left.fill_between([0, *horizons], low, high, color=plots.SKY, alpha=0.35, label="80 % interval")
        path = [past[-1], *data["middle"]]  # it begins at what is known, and is a forecast at the dots alone
        left.plot([0, *horizons], path, "o--", color=plots.BLUE, label="forecast", markevery=slice(1, None))
        left.axvline(0, color=plots.GREY, linewidth=0.9, linestyle=":")
        values = self.series[~self.series.isnan()]
        left.set_ylim(
            float(values.min()) - 2, float(values.max()) + 8
        )  # the same for all hours, with room for a legend
        left.set(xlabel="hours from now", ylabel="°C", xlim=(-len(past), max(self.horizons) + 1))
        left.set_title(data["time"].strftime("%d %B %Y, %H:%M UTC"))
        left.legend(loc="upper left", ncols=2)
        right.barh(range(len(horizons)), np.maximum(data["skill"], -0.5), color=plots.BLUE, height=0.6)
        right.set_yticks(range(len(horizons)), [f"{h} h" for h in horizons])
        right.invert_yaxis()
        right.axvline(0, color=plots.INK, linewidth=0.8)
        right.set(xlim=(-0.5, 1), xlabel="skill (all hours)")
        return fig

    def describe(self, data):
        """Say what was forecast for the furthest horizon, and the skill."""
        last = data["came"][-1]
        parts = [f"{data['middle'][-1]:.1f} °C were forecast {max(self.horizons)} hours ahead, {last:.1f} came"]
        if data["fan"] is not None:
            low, high = data["fan"][-1]
            parts.append(f"the interval reached from {low:.1f} to {high:.1f}")
        skills = ", ".join(f"{value:+.2f} at {h}" for h, value in zip(self.horizons, data["skill"], strict=True))
        return f"{data['forecaster']}: {'; '.join(parts)}. Skill over all hours: {skills} hours ahead."


class LeakMeter(Explorer):
    """How good does a forecaster look when overlapping windows are divided at random?

    Args:
        series: (T,), without NaN.
        horizon: hours ahead.

    Raises:
        ValueError: for a series that is too short for windows without overlap.
    """

    title = "Leak meter (windows of 72 hours, divided at random)"
    question = "how much of the apparent quality is left when windows do not overlap?"
    presets = {  # noqa: RUF012
        "every hour": {"step": 1, "model": "nearest window"},
        "no overlap": {"step": 96, "model": "nearest window"},
        "a line, every hour": {"step": 1, "model": "line"},
    }
    length = 72
    models = ("nearest window", "line")

    def __init__(self, series, horizon=24):
        guards.check_real_rows(series=series)
        guards.check_sizes(horizon=horizon)
        self.series, self.horizon = np.asarray(series, dtype=np.float64), horizon
        if len(self.series) < (least := 25 * (self.length + horizon)):
            raise ValueError(f"the series has {len(self.series)} hours: give {least} or more")
        super().__init__(
            step=widgets.SelectionSlider(
                options=[1, 2, 4, 8, 16, 32, 64, 96], value=1, description="hours between windows"
            ),
            model=widgets.ToggleButtons(options=self.models, description="model"),
        )

    @classmethod
    def default_arguments(cls):
        """A slow random walk: yesterday's value is all that can be known of it."""
        walk = np.random.default_rng(0).normal(size=3000).cumsum()
        return {"series": 0.2 * walk}

    def divisions(self, num_windows, step):
        """Return which windows, that begin so many hours apart, are learned from and judged: at random, and by time."""
        num_test = num_windows // 5
        order = np.random.default_rng(0).permutation(num_windows)
        gap = -(-(self.length + self.horizon) // step)  # windows that reach into the last part are left out
        return {
            "random": (order[num_test:], order[:num_test]),
            "by time": (np.arange(num_windows - num_test - gap), np.arange(num_windows - num_test, num_windows)),
        }

    @functools.lru_cache(maxsize=64)  # noqa: B019 - the explorer lives as long as the page
    def _errors(self, step, model):
        """Return the error on windows drawn at random and on the last windows, and persistence's on each."""
        cut = np.lib.stride_tricks.sliding_window_view(self.series, self.length + self.horizon)[::step]
        X, Y = cut[:, : self.length], cut[:, -1] - cut[:, self.length - 1]
        X = X - X[:, -1:]  # only the shape counts, as for the change
        found = {}
        for name, (learn, judge) in self.divisions(len(X), step).items():
            maker = KNeighborsRegressor(1) if model == "nearest window" else Ridge(10.0)
            guess = maker.fit(X[learn], Y[learn]).predict(X[judge])
            found[name] = (np.abs(guess - Y[judge]).mean(), np.abs(Y[judge]).mean())
        return found

    def measure(self, step, model):
        """Return both errors as shares of persistence's, and the share of a window that its neighbour repeats."""
        errors = self._errors(step, model)
        return {
            "model": model,
            "step": step,
            "overlap": max(0, self.length - step) / self.length,
            "apparent": errors["random"][0] / errors["random"][1],
            "honest": errors["by time"][0] / errors["by time"][1],
        }

    def draw(self, data):
        """Two bars against persistence."""
        fig, axes = plots.new_figure(height=2.3)
        axes.barh(1, data["apparent"], color=plots.ORANGE, height=0.6, hatch="//", edgecolor="white")
        axes.barh(0, data["honest"], color=plots.BLUE, height=0.6)
        axes.set_yticks([1, 0], ["divided at random", "divided by time"])
        axes.axvline(1, color=plots.INK, linewidth=0.9, linestyle=":")
        axes.annotate("persistence", (1, 1.5), xytext=(4, 0), textcoords="offset points", color=plots.GREY, va="center")
        axes.set(
            xlim=(0, 1.8), ylim=(-0.5, 1.75), xlabel=f"error {self.horizon} hours ahead, as a share of persistence's"
        )
        axes.set_title(f"{data['model']}: neighbouring windows share {100 * data['overlap']:.0f} % of their hours")
        return fig

    def describe(self, data):
        """Say both errors."""
        every = "hour" if data["step"] == 1 else f"{data['step']} hours"
        return (
            f"{data['model']}, a window every {every}: {data['apparent']:.2f} of persistence's error if "
            f"the windows are divided at random, {data['honest']:.2f} if they are divided by time."
        )


class FreeRun(Explorer):
    """How long do a network and a line follow a chaotic series that they go on with alone?

    Args:
        model: a :class:`rnnlib.forecasting.Forecaster` of the next change, (T, N, 1) from (T, N, 1).
        weights: of the line, (L,): the next value from the L last ones, the oldest first.
        series: to start in, (T,).
    """

    title = "Free run (each goes on with its own forecasts)"
    question = "which one leaves the truth first, and after how many steps?"
    presets = {  # noqa: RUF012
        "no noise": {"noise": 0.0},
        "a little noise": {"noise": 0.01},
        "far": {"length": 400},
    }
    read = 200

    def __init__(self, model, weights, series):
        guards.check_forecasting(model)
        guards.check_real_rows(weights=weights, series=series)
        self.model, self.weights = model, np.asarray(weights, dtype=np.float64)
        self.series = torch.as_tensor(series, dtype=torch.float32)
        if len(self.series) < (least := self.read + 600):
            raise ValueError(f"the series has {len(self.series)} steps: give {least} or more")
        if len(self.weights) > self.read:
            raise ValueError(f"the line reads {len(self.weights)} steps, but at most {self.read} are given to it")
        super().__init__(
            start=widgets.IntSlider(400, min=self.read, max=len(self.series) - 400, step=20, description="start"),
            length=widgets.IntSlider(200, min=50, max=400, step=50, description="steps"),
            noise=widgets.FloatSlider(0.0, min=0.0, max=0.1, step=0.01, description="noise on what is read"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained network and a line that goes straight on."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = forecasting.Forecaster(nn.LSTM(1, 4), [1])
        series = forecasting.mackey_glass(1500)[300:]
        return {"model": model, "weights": [-1.0, 2.0], "series": (series - series.mean()) / series.std()}

    def measure(self, start, length, noise):
        """Return the true path and both forecasts of it, and the steps until each is off by half a deviation."""
        generator = torch.Generator().manual_seed(start)
        past = self.series[start - self.read : start]
        past = past + noise * torch.randn(self.read, generator=generator)
        network = forecasting.free_run(self.model, past[:, None], length)[:, 0].numpy()
        seen = past.double().numpy()
        for _ in range(length):
            after = np.clip(seen[-len(self.weights) :] @ self.weights, -1e6, 1e6)
            seen = np.append(seen, after)
        true = self.series[start : start + length].numpy()
        paths = {"network": network, "line": seen[self.read :]}
        kept = {name: self._steps(np.abs(path - true) > 0.5) for name, path in paths.items()}
        return {"past": past[-60:].numpy(), "true": true, "paths": paths, "kept": kept, "noise": noise}

    @staticmethod
    def _steps(far):
        """Return the number of steps before the first that is far, or None."""
        return int(far.argmax()) if far.any() else None

    def draw(self, data):
        """The past, the truth and both paths."""
        fig, axes = plots.new_figure(height=3.2)
        steps = np.arange(1, len(data["true"]) + 1)
        axes.plot(np.arange(-len(data["past"]) + 1, 1), data["past"], color=plots.INK)
        axes.plot(steps, data["true"], color=plots.INK, label="truth")
        styles = {"network": (plots.BLUE, "--"), "line": (plots.ORANGE, ":")}
        for name, path in data["paths"].items():
            color, dash = styles[name]
            axes.plot(steps, np.clip(path, -4, 4), dash, color=color, linewidth=2.2, label=name)
        axes.axvline(0, color=plots.GREY, linewidth=0.9, linestyle=":")
        axes.set(ylim=(-3.2, 3.6), xlabel="steps from the start", ylabel="standardised")
        axes.legend(loc="upper right", ncols=3)
        return fig

    def describe(self, data):
        """Say how long each stays near."""
        length = len(data["true"])
        told = {
            name: f"stays within half a deviation of the truth for {kept} steps"
            if kept is not None
            else f"stays within half a deviation of the truth for all {length} steps"
            for name, kept in data["kept"].items()
        }
        return f"With noise of {data['noise']:g}, the network {told['network']}; the line {told['line']}."


EXPLORERS = (ForecastFan, LeakMeter, FreeRun)
