"""Exercises of chapter 8: baselines, skill, leaks, quantiles and forecasts that read themselves."""

import functools

import numpy as np
import torch

from rnnlib import forecasting
from rnnlib.check._frame import Exercise, Wrong, expect_close, expect_pair, expect_shape, expect_something, kind, within

UNKNOWN = -12345.0  # stands for NaN where numbers are compared


def _marked(tensor):
    """Return a float tensor with a mark for each NaN."""
    return torch.nan_to_num(tensor, nan=UNKNOWN) if tensor.is_floating_point() else tensor


def _expect_series(got, expected, what, slips=()):
    """Raise :class:`Wrong` unless a tensor with the expected numbers, and NaN at the same places, came."""
    expect_shape(got, expected.shape, what)
    same = [torch.equal(_marked(got), _marked(values)) for values in (expected, *(values for values, _ in slips))]
    if True in same[1:] and not same[0]:
        raise Wrong(f"{what} {slips[same[1:].index(True)][1]}")
    known = ~expected.isnan()
    if not torch.equal(got.isnan(), ~known) and torch.equal(got[known], expected[known]):
        raise Wrong(f"{what} should be NaN in {int((~known).sum())} places, where nothing is known yet")
    expect_close(_marked(got), _marked(expected), what)


# ★ Skill


def skill_score(forecast, truth, now):
    error = (forecast - truth).abs().mean()
    return 1 - error / (now - truth).abs().mean()


def _mae(forecast, truth):
    return (forecast - truth).abs().mean()


SKILL_SLIPS = {
    "not from 1": (
        lambda f, y, now: _mae(f, y) / _mae(now, y),
        "is the share of persistence's error that is left: take it from 1",
    ),
    "upside down": (
        lambda f, y, now: 1 - _mae(now, y) / _mae(f, y),
        "has the fraction upside down: persistence's error is what one divides by",
    ),
    "degrees": (
        lambda f, y, now: _mae(now, y) - _mae(f, y),
        "is a difference in degrees: divide by persistence's error",
    ),
    "squares": (
        lambda f, y, now: 1 - (f - y).square().mean() / (now - y).square().mean(),
        "is that of squared errors: take the absolute ones",
    ),
    "signed": (
        lambda f, y, now: 1 - (f - y).mean() / (now - y).mean(),
        "lets errors above and below cancel: take absolute errors before the mean",
    ),
    "mean of ratios": (
        lambda f, y, now: (1 - (f - y).abs() / (now - y).abs()).mean(),
        "is a mean of ratios: take both means first, then one ratio",
    ),
    "against the mean": (
        lambda f, y, now: 1 - _mae(f, y) / _mae(y.mean(), y),
        "is measured against the mean of the truth: the reference is the forecast `now`",
    ),
    "negative": (lambda f, y, now: skill_score(f, y, now) - 1, "lacks the 1 from which the ratio is taken"),
}


def _test_skill_score(answer):
    generator = torch.Generator().manual_seed(0)
    for size in (4, 30, 200):
        truth = 10 + 3 * torch.randn(size, generator=generator, dtype=torch.float64)
        now = truth + torch.randn(size, generator=generator, dtype=torch.float64)
        forecast = truth + 0.6 * torch.randn(size, generator=generator, dtype=torch.float64)
        got = answer(forecast.clone(), truth.clone(), now.clone())
        slips = [(slip(forecast, truth, now), sentence) for slip, sentence in SKILL_SLIPS.values()]
        expect_close(got, skill_score(forecast, truth, now), f"the skill over {size} hours", slips)


SKILL_SCORE = Exercise(
    "skill_score",
    chapter=8,
    stars=1,
    test=_test_skill_score,
    solution=skill_score,
    section="Baselines before any network",
    wrong=SKILL_SLIPS,
    hints=(
        "Two mean absolute errors are needed: of the forecast, and of persistence.",
        "Which share of persistence's error is left? The skill is the share that is gone.",
        "1 - (forecast - truth).abs().mean() / (now - truth).abs().mean()",
    ),
)


# ★ The same hour


def seasonal_baseline(series, horizon, season):
    back = -horizon % season  # from now to the newest hour that is like the one to be forecast
    forecast = torch.full_like(series, torch.nan)
    forecast[back:] = series[: len(series) - back]
    return forecast


def _moved(series, back):
    """Return a series moved by so many places: back is positive; what falls out is NaN."""
    forecast = torch.full_like(series, torch.nan)
    if back >= 0:
        forecast[back:] = series[: len(series) - back]
    else:
        forecast[:back] = series[-back:]
    return forecast


SEASON_SLIPS = {
    "hour of now": (
        lambda series, horizon, season: _moved(series, season),
        "takes the value a season before *now*: it must be like the hour that is forecast, t + horizon",
    ),
    "into the future": (
        lambda series, horizon, season: _moved(series, season - horizon),
        "takes the value one season before t + horizon, which has not come yet where horizon is more than a season",
    ),
    "persistence": (lambda series, horizon, season: series.clone(), "says “as now”: that is persistence"),
    "horizon back": (
        lambda series, horizon, season: _moved(series, horizon),
        "looks back by the horizon: look back so far that a whole number of seasons lies before t + horizon",
    ),
    "round the end": (
        lambda series, horizon, season: series.roll(-horizon % season),
        "fills its beginning from the end of the series, which is its future: there is nothing known, so NaN",
    ),
    "a season too old": (
        lambda series, horizon, season: _moved(series, -horizon % season + season),
        "takes a value that is a season older than it must be: take the newest one that is known",
    ),
    "the truth": (
        lambda series, horizon, season: _moved(series, -horizon),
        "is the truth itself, from the future",
    ),
}


def _test_seasonal_baseline(answer):
    generator = torch.Generator().manual_seed(0)
    for horizon, season in ((1, 24), (30, 24), (24, 24), (3, 7), (20, 7)):
        series = torch.randn(80, generator=generator)
        got = answer(series.clone(), horizon, season)
        slips = [(slip(series, horizon, season), sentence) for slip, sentence in SEASON_SLIPS.values()]
        what = f"the forecast for horizon={horizon}, season={season}"
        _expect_series(got, seasonal_baseline(series, horizon, season), what, slips)


SEASONAL_BASELINE = Exercise(
    "seasonal_baseline",
    chapter=8,
    stars=1,
    test=_test_seasonal_baseline,
    solution=seasonal_baseline,
    section="Baselines before any network",
    wrong=SEASON_SLIPS,
    hints=(
        "How far back is the newest known hour that is like t + horizon? For 1 and 24 it is 23 hours, for 30 it is 18.",
        "-horizon % season is that number of hours; Python's % is never negative.",
        "forecast[back:] = series[: len(series) - back], and NaN before.",
    ),
)


# ★★ Debug: windows that look across


def training_windows(series, length, horizon, end):
    starts = range(end - length - horizon + 1)
    X = torch.stack([series[s : s + length] for s in starts])
    y = torch.stack([series[s + length - 1 + horizon] for s in starts])
    return X, y


def _cut(series, length, horizon, end, shift=0, last=0, step=1):
    """Cut windows with targets so far off and so many more at the end."""
    starts = range(0, end - length - horizon + 1 + last, step)
    X = torch.stack([series[s : s + length] for s in starts])
    y = torch.stack([series[min(s + length - 1 + horizon + shift, len(series) - 1)] for s in starts])
    return X, y


def _across(series, length, horizon, end):
    return _cut(series, length, horizon, end, last=horizon)


WINDOW_SLIPS = {
    "across the end": (
        _across,
        "targets from `end` on were learned from: a window may end before it, its target must too",
    ),
    "one across": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, last=1),
        "the last target is the hour `end` itself, the first that may not be seen",
    ),
    "one lost": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, last=-1),
        "the last window is missing: its target is the hour end - 1",
    ),
    "a gap": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, last=-horizon),
        "windows are missing at the end: all whose target comes before `end` may be used",
    ),
    "far": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, shift=1, last=-1),
        "the targets lie one hour too far: count the horizon from the last hour of the window",
    ),
    "near": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, shift=-1),
        "the targets lie one hour too near: count the horizon from the last hour of the window",
    ),
    "from the beginning": (
        lambda series, length, horizon, end: (
            training_windows(series, length, horizon, end)[0],
            series[horizon : horizon + end - length - horizon + 1],
        ),
        "the horizon is counted from the beginning of the window: count it from its last hour",
    ),
    "no overlap": (
        lambda series, length, horizon, end: _cut(series, length, horizon, end, step=length),
        "windows are missing: one begins at every hour",
    ),
}


def _test_training_windows(answer):
    generator = torch.Generator().manual_seed(0)
    for length, horizon, end in ((3, 2, 12), (4, 6, 25), (2, 3, 8), (5, 2, 30)):
        series = torch.randn(40, generator=generator)
        got = answer(series.clone(), length, horizon, end)
        expect_pair(got, "windows and targets")
        X, y = training_windows(series, length, horizon, end)
        case = f"for length={length}, horizon={horizon}, end={end}"
        for slip, sentence in WINDOW_SLIPS.values():
            of_slip = slip(series, length, horizon, end)
            alike = [a.shape == b.shape and torch.equal(a, b) for a, b in zip(got, of_slip, strict=True)]
            if all(alike) and not (of_slip[0].shape == X.shape and torch.equal(of_slip[1], y)):
                raise Wrong(f"{case} {sentence}")
        expect_shape(got[0], X.shape, f"the windows {case}")
        expect_shape(got[1], y.shape, f"the targets {case}")
        expect_close(got[0], X, f"the windows {case}")
        expect_close(got[1], y, f"the targets {case}")


TRAINING_WINDOWS = Exercise(
    "training_windows",
    chapter=8,
    stars=2,
    test=_test_training_windows,
    solution=training_windows,
    section="What a forecast may know",
    wrong=WINDOW_SLIPS,
    hints=(
        "Write down, for a window that begins at s, its last hour and the hour of its target.",
        "The target's hour is s + length - 1 + horizon. Which is the largest s for which it is below end?",
        "s goes from 0 to end - length - horizon: that is range(end - length - horizon + 1).",
    ),
)


# ★★ The pinball loss and its gradient


def pinball_and_gradient(forecast, truth, q):
    miss = truth - forecast  # (M,)
    loss = torch.maximum(q * miss, (q - 1) * miss).mean()
    gradient = torch.where(miss > 0, -q, 1 - q) / len(miss)
    return loss, gradient


def _slopes(forecast, truth, above, below):
    """Return a gradient with these slopes where the truth is above and below."""
    return torch.where(truth > forecast, above, below) / len(truth)


PINBALL_SLIPS = {
    "sides": (
        lambda f, y, q: torch.maximum((1 - q) * (y - f), -q * (y - f)).mean(),
        "has its sides swapped: for q = 0.9, a truth above the forecast costs 0.9 a degree",
    ),
    "minimum": (
        lambda f, y, q: torch.minimum(q * (y - f), (q - 1) * (y - f)).mean(),
        "takes the smaller of both sides, which is negative: take the larger",
    ),
    "sum": (
        lambda f, y, q: pinball_and_gradient(f, y, q)[0] * len(y),
        "is the sum over all forecasts: take the mean",
    ),
    "absolute": (lambda f, y, q: (y - f).abs().mean(), "is the mean absolute error, the same for every q"),
    "each": (
        lambda f, y, q: torch.maximum(q * (y - f), (q - 1) * (y - f)),
        "comes for each forecast: return one number, their mean",
    ),
}
GRADIENT_SLIPS = {
    "uphill": (
        lambda f, y, q: -_slopes(f, y, -q, 1 - q),
        "has the wrong sign: raising a forecast that is too low makes the loss smaller",
    ),
    "of the sum": (lambda f, y, q: _slopes(f, y, -q, 1 - q) * len(y), "is that of the sum: the loss is a mean over M"),
    "slopes swapped": (
        lambda f, y, q: _slopes(f, y, -(1 - q), q),
        "has its slopes swapped: where the truth is above, the slope is -q",
    ),
    "by error": (
        lambda f, y, q: _slopes(f, y, -q, 1 - q) * (y - f).abs(),
        "grows with the error: the loss is made of straight lines, so its slope is -q or 1 - q",
    ),
    "both positive": (
        lambda f, y, q: _slopes(f, y, q, 1 - q),
        "is positive on both sides: where the truth is above, raising the forecast helps",
    ),
}


def _test_pinball_and_gradient(answer):
    generator = torch.Generator().manual_seed(0)
    for size, q in ((6, 0.9), (6, 0.1), (40, 0.25), (1, 0.9)):
        truth = torch.randn(size, generator=generator, dtype=torch.float64)
        forecast = torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True)
        loss = forecasting.pinball(forecast[:, None], truth, torch.tensor([q], dtype=torch.float64))
        (gradient,) = torch.autograd.grad(loss, forecast)
        forecast = forecast.detach()
        got = answer(forecast.clone(), truth.clone(), q)
        expect_something(got)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"return two things, the loss and the gradient, but {kind(got)} came")
        case = f"of {size} forecasts at q = {q}"
        slips = [(slip(forecast, truth, q), sentence) for slip, sentence in PINBALL_SLIPS.values()]
        expect_close(got[0], loss.detach(), f"the loss {case}", slips)
        expect_shape(got[1], (size,), "the gradient")
        slips = [(slip(forecast, truth, q), sentence) for slip, sentence in GRADIENT_SLIPS.values()]
        expect_close(got[1], gradient, f"the gradient {case}", slips)


def _with_loss(slip):
    return lambda f, y, q: (slip(f, y, q), pinball_and_gradient(f, y, q)[1])


def _with_gradient(slip):
    return lambda f, y, q: (pinball_and_gradient(f, y, q)[0], slip(f, y, q))


PINBALL_AND_GRADIENT = Exercise(
    "pinball_and_gradient",
    chapter=8,
    stars=2,
    test=_test_pinball_and_gradient,
    solution=pinball_and_gradient,
    section="How sure are we?",
    wrong={name: (_with_loss(slip), sentence) for name, (slip, sentence) in PINBALL_SLIPS.items()}
    | {name: (_with_gradient(slip), sentence) for name, (slip, sentence) in GRADIENT_SLIPS.items()},
    hints=(
        "Draw the loss for one truth as the forecast moves: two straight lines that meet at the truth.",
        "Left of the truth the line falls with slope -q, right of it it rises with slope 1 - q; a mean divides by M.",
        "torch.where(truth > forecast, -q, 1 - q) / len(truth) is the gradient.",
    ),
)


# ★★ A forecast that reads itself


def recursive_forecast(step, window, horizon):
    path = []
    for _ in range(horizon):
        after = step(window)  # (N,)
        path.append(after)
        window = torch.cat([window[:, 1:], after[:, None]], dim=1)
    return torch.stack(path, dim=1)


def _walk(step, window, horizon, move, keep=lambda path: torch.stack(path, dim=1)):
    path = []
    for _ in range(horizon):
        after = step(window)
        path.append(after)
        window = move(window, after[:, None])
    return keep(path)


def _slide(window, after):
    return torch.cat([window[:, 1:], after], dim=1)


RECURSIVE_SLIPS = {
    "one step again": (
        lambda step, window, horizon: _walk(step, window, horizon, lambda w, after: w),
        "repeats the first step: each forecast must be read before the next one is made",
    ),
    "at the wrong end": (
        lambda step, window, horizon: _walk(
            step, window, horizon, lambda w, after: torch.cat([after, w[:, :-1]], dim=1)
        ),
        "puts its forecasts at the beginning of the window: the newest value stands last",
    ),
    "newest dropped": (
        lambda step, window, horizon: _walk(
            step, window, horizon, lambda w, after: torch.cat([w[:, :-1], after], dim=1)
        ),
        "drops the newest value of the window: the oldest, the first, has to go",
    ),
    "only the last": (
        lambda step, window, horizon: recursive_forecast(step, window, horizon)[:, -1],
        "but (1,) came",
    ),
    "time first": (lambda step, window, horizon: recursive_forecast(step, window, horizon).T, "but (4, 1) came"),
    "backwards": (
        lambda step, window, horizon: recursive_forecast(step, window, horizon).flip(1),
        "comes in reverse order: the next step first",
    ),
    "changes": (
        lambda step, window, horizon: recursive_forecast(step, window, horizon) - window[:, -1:],
        "are changes from the last known value: return the values themselves",
    ),
    "a step late": (
        lambda step, window, horizon: torch.cat(
            [window[:, -1:], recursive_forecast(step, window, horizon)[:, :-1]], dim=1
        ),
        "begins with the last known value: the first forecast is the step after it",
    ),
}


def _test_recursive_forecast(answer):
    generator = torch.Generator().manual_seed(0)
    for N, L, horizon in ((1, 3, 4), (5, 4, 2), (7, 6, 11), (2, 2, 1)):
        weights = 0.6 * torch.randn(L, generator=generator)
        window = torch.randn(N, L, generator=generator)
        seen = []

        def step(rows, weights=weights, L=L, N=N, seen=seen):
            if not isinstance(rows, torch.Tensor) or tuple(rows.shape) != (N, L):
                shape = tuple(rows.shape) if isinstance(rows, torch.Tensor) else kind(rows)
                raise Wrong(f"step was given {shape}, but it reads windows of shape ({N}, {L}): the length stays")
            seen.append(rows)
            return torch.sin(rows @ weights)

        given = window.clone()
        got = answer(step, given, horizon)
        what = f"the forecast of {horizon} steps from windows {(N, L)}"
        expect_shape(got, (N, horizon), what)
        if not torch.equal(given, window):
            raise Wrong("your function changes the window of its caller: make a new one")
        slips = [(slip(step, window, horizon), sentence) for slip, sentence in RECURSIVE_SLIPS.values()]
        expect_close(got, recursive_forecast(step, window, horizon), what, slips)


RECURSIVE_FORECAST = Exercise(
    "recursive_forecast",
    chapter=8,
    stars=2,
    test=_test_recursive_forecast,
    solution=recursive_forecast,
    section="Where a line is lost",
    wrong=RECURSIVE_SLIPS
    | {
        "grows": (
            lambda step, window, horizon: _walk(step, window, horizon, lambda w, after: torch.cat([w, after], dim=1)),
            "the length stays",
        ),
    },
    hints=(
        "A window is a conveyor belt: after each step the newest value comes on, and the oldest falls off.",
        "torch.cat([window[:, 1:], after[:, None]], dim=1) is the window one step later.",
        "Collect each step(window) in a list, move the window, and stack the list along dim=1.",
    ),
)


# ★★ Months as folds


def month_folds(months, first):
    folds = []
    for month in range(first, int(months.max()) + 1):
        folds.append(((months < month).nonzero()[:, 0], (months == month).nonzero()[:, 0]))
    return folds


def _folds(months, first, learn, judge=lambda months, month: months == month, last=0):
    return [
        tuple(part.nonzero()[:, 0] for part in (learn(months, month), judge(months, month)))
        for month in range(first, int(months.max()) + 1 + last)
    ]


FOLD_SLIPS = {
    "the month itself": (
        lambda months, first: _folds(months, first, lambda m, k: m <= k),
        "the training part holds the month that is judged",
    ),
    "all other months": (
        lambda months, first: _folds(months, first, lambda m, k: m != k),
        "the training part holds later months: whoever forecasts in May has not seen June",
    ),
    "only the month before": (
        lambda months, first: _folds(months, first, lambda m, k: m == k - 1),
        "the training part holds only the month before: the window expands, so all earlier ones belong to it",
    ),
    "last month lost": (
        lambda months, first: _folds(months, first, lambda m, k: m < k, last=-1),
        "the last month is never judged",
    ),
    "all that comes": (
        lambda months, first: _folds(months, first, lambda m, k: m < k, lambda m, k: m >= k),
        "more than one month is judged at a time: only the month after the training part",
    ),
    "a gap": (
        lambda months, first: _folds(months, first, lambda m, k: m < k - 1),
        "the training part lacks the month just before",
    ),
    "swapped": (
        lambda months, first: [pair[::-1] for pair in month_folds(months, first)],
        "the pair is the wrong way round: first what to learn from, then what to judge",
    ),
    "one fold too many": (
        lambda months, first: month_folds(months, max(2, first - 1)),
        "the first month to be judged is not `first`",
    ),
}


def _lists(folds, count):
    """Return folds as pairs of lists, or raise :class:`Wrong`."""
    expect_something(folds)
    if isinstance(folds, torch.Tensor) or not hasattr(folds, "__iter__"):
        raise Wrong(f"return a list of pairs, but {kind(folds)} came")
    pairs = []
    for fold in folds:
        if not isinstance(fold, (tuple, list)) or len(fold) != 2:
            raise Wrong(f"each fold should be a pair, what to learn from and what to judge, but {kind(fold)} came")
        parts = [part.tolist() if isinstance(part, (torch.Tensor, np.ndarray)) else list(part) for part in fold]
        if any(isinstance(i, bool) for part in parts for i in part):
            raise Wrong("the parts should hold the places of the hours, but truth values came: use nonzero")
        pairs.append(tuple(parts))
    return pairs


def _test_month_folds(answer):
    for lengths, first in (((2, 3, 2, 4), 3), ((5, 1, 2, 2, 3, 4), 4), ((3, 3), 2)):
        months = torch.cat([torch.full((n,), month) for month, n in enumerate(lengths, start=1)])
        got = _lists(answer(months.clone(), first), len(lengths))
        right = _lists(month_folds(months, first), 0)
        if got == right:
            continue
        for slip, sentence in FOLD_SLIPS.values():
            if got == _lists(slip(months, first), 0):
                raise Wrong(f"for {len(lengths)} months and first={first}, {sentence}")
        if len(got) != len(right):
            raise Wrong(f"for {len(lengths)} months and first={first} there are {len(right)} folds, not {len(got)}")
        place = next(i for i, pair in enumerate(got) if pair != right[i])
        raise Wrong(f"fold {place} should be {right[place]}, but {got[place]} came")


MONTH_FOLDS = Exercise(
    "month_folds",
    chapter=8,
    stars=2,
    test=_test_month_folds,
    solution=month_folds,
    section="Going deeper: many months, not one",
    wrong=FOLD_SLIPS,
    hints=(
        "For each month from `first` on: what comes before it, and it.",
        "months < month marks the hours to learn from, months == month those to judge.",
        "(months < month).nonzero()[:, 0] are their places.",
    ),
)


# ★★★ Intervals that learn


def adaptive_factors(half, error, horizon, gamma):
    log_factor, factors = 0.0, torch.ones_like(half)
    for t in range(len(half)):
        if t >= horizon:
            s = t - horizon  # the forecast whose hour has come
            miss = float(error[s] > half[s] * factors[s])
            log_factor += gamma * (miss - 0.2)
        factors[t] = float(np.exp(log_factor))
    return factors


def _adapted(half, error, horizon, gamma, judge=None, step=None, lag=0, start=0):
    """Adapt as told, which may be wrong."""
    judge = judge or (lambda half, error, factor: error > half * factor)
    step = step or (lambda log, miss: log + gamma * (miss - 0.2))
    log_factor, factors = 0.0, torch.ones_like(half)
    for t in range(len(half)):
        s = t - horizon + lag
        if s >= 0 and s < len(half):
            log_factor = step(log_factor, float(judge(half[s], error[s], factors[s])))
        factors[t] = float(np.exp(log_factor))
    return factors


def _at_once(half, error, horizon, gamma):
    """Judge a forecast one step after it was made, whatever its horizon."""
    return adaptive_factors(half, error, 1, gamma)


ADAPTIVE_SLIPS = {
    "looks ahead": (
        _at_once,
        "use an error one step after the forecast was made, `horizon` steps early: it is not known yet",
    ),
    "one step ahead": (
        lambda half, error, horizon, gamma: _adapted(half, error, horizon, gamma, lag=1),
        "use an error one step before its hour has come",
    ),
    "one step late": (
        lambda half, error, horizon, gamma: _adapted(half, error, horizon, gamma, lag=-1),
        "use each error a step later than it is known",
    ),
    "sign": (
        lambda half, error, horizon, gamma: _adapted(
            half, error, horizon, gamma, step=lambda log, miss: log - gamma * (miss - 0.2)
        ),
        "shrink after a miss and grow after a hit: it must be the other way round",
    ),
    "balance at half": (
        lambda half, error, horizon, gamma: _adapted(
            half, error, horizon, gamma, step=lambda log, miss: log + gamma * (miss - 0.5)
        ),
        "balance where half of the truths are missed: a miss counts 0.8, a hit -0.2",
    ),
    "balance at 80 misses": (
        lambda half, error, horizon, gamma: _adapted(
            half, error, horizon, gamma, step=lambda log, miss: log + gamma * (miss - 0.8)
        ),
        "balance where 80 % are missed: take 0.2 from the miss",
    ),
    "judged as trained": (
        lambda half, error, horizon, gamma: _adapted(
            half, error, horizon, gamma, judge=lambda half, error, factor: error > half
        ),
        "are judged by the intervals as trained: judge the one that was given out, half * factor",
    ),
    "judged by the newest": (
        lambda half, error, horizon, gamma: _newest(half, error, horizon, gamma),
        "judge an old forecast by the newest factor: take the factor with which it was given out",
    ),
    "no exponential": (
        lambda half, error, horizon, gamma: 1 + adaptive_factors(half, error, horizon, gamma).log(),
        "are 1 plus the logarithm: the factor is its exponential",
    ),
    "logarithms": (
        lambda half, error, horizon, gamma: adaptive_factors(half, error, horizon, gamma).log(),
        "are logarithms: take the exponential",
    ),
}


def _newest(half, error, horizon, gamma):
    log_factor, factors = 0.0, torch.ones_like(half)
    for t in range(len(half)):
        if t >= horizon:
            miss = float(error[t - horizon] > half[t - horizon] * float(np.exp(log_factor)))
            log_factor += gamma * (miss - 0.2)
        factors[t] = float(np.exp(log_factor))
    return factors


def _test_adaptive_factors(answer):
    generator = torch.Generator().manual_seed(0)
    for horizon, gamma in ((6, 0.1), (24, 0.05), (3, 0.3)):
        half = 1 + torch.rand(200, generator=generator, dtype=torch.float64)
        error = 2 * torch.randn(200, generator=generator, dtype=torch.float64).abs()
        got = answer(half.clone(), error.clone(), horizon, gamma)
        if isinstance(got, (list, np.ndarray)):
            got = torch.as_tensor(got)
        what = f"the factors for horizon={horizon}, gamma={gamma}"
        expect_shape(got, (200,), what)
        slips = [(slip(half, error, horizon, gamma), sentence) for slip, sentence in ADAPTIVE_SLIPS.values()]
        expect_close(got, adaptive_factors(half, error, horizon, gamma), what, slips)
        changed = error.clone()
        changed[101:] = 1000.0
        after = torch.as_tensor(answer(half.clone(), changed, horizon, gamma))
        if not torch.allclose(after[: 101 + horizon], got[: 101 + horizon]):
            raise Wrong("factors change with errors that are not known yet")


ADAPTIVE_FACTORS = Exercise(
    "adaptive_factors",
    chapter=8,
    stars=3,
    test=_test_adaptive_factors,
    solution=adaptive_factors,
    section="Going deeper: when winter comes",
    wrong=ADAPTIVE_SLIPS,
    hints=(
        "At hour t, which forecast has just met its hour? The one made at t - horizon; before that there is none.",
        "It was a miss if its error is more than half times the factor that it was given out with.",
        "log_factor += gamma * (miss - 0.2), then factors[t] = exp(log_factor).",
    ),
)


# ★★★ Go further: twenty steps into chaos


def twenty_steps(series, past):
    from sklearn.kernel_ridge import KernelRidge

    windows = series[:-20].unfold(0, 20, 1)  # (M, 20)
    later = series[39:] - windows[:, -1]  # 20 steps after the end of each window
    model = KernelRidge(kernel="rbf", alpha=1e-4, gamma=0.02)
    model.fit(windows[::2].double().numpy(), later[::2].double().numpy())
    return past[:, -1] + torch.tensor(model.predict(past[:, -20:].double().numpy()))


@functools.cache
def _chaos():
    """Return a series to learn from, windows of another one, and what came 20 steps after each."""
    learn, other = forecasting.mackey_glass(4400)[400:], forecasting.mackey_glass(2600, start=0.9)[400:]
    center, spread = learn.mean(), learn.std()
    learn, other = (learn - center) / spread, (other - center) / spread
    past = other[: 2200 - 20].unfold(0, 100, 10)  # (N, 100)
    later = other[119:].unfold(0, 1, 10)[: len(past), 0]
    return learn, past, later


@functools.cache
def _line_at_twenty():
    learn, past, later = _chaos()
    from sklearn.linear_model import Ridge

    windows = learn[:-20].unfold(0, 60, 1)
    line = Ridge(1e-6).fit(windows.numpy(), learn[79:].numpy())
    return float((torch.tensor(line.predict(past[:, -60:].numpy())) - later).square().mean().sqrt())


FURTHER_SLIPS = {
    "as now": (lambda series, past: past[:, -1], "says “as now”, and 20 steps later nothing is as now"),
    "the mean": (lambda series, past: torch.zeros(len(past)), "is the mean of the series, whatever was read"),
    "one step": (
        lambda series, past: 2 * past[:, -1] - past[:, -2],
        "measured: ",
    ),
}


def _test_twenty_steps(answer):
    learn, past, later = _chaos()
    got, seconds = within(60, answer, learn.clone(), past.clone())
    if isinstance(got, np.ndarray):
        got = torch.as_tensor(got)
    expect_shape(got, (len(past),), "the forecast")
    error = float((got.double() - later).square().mean().sqrt())
    line = _line_at_twenty()
    measured = (
        f"error {error:.3f}, in {seconds:.0f} seconds; a straight line has {line:.3f}, and the goal is a quarter of it"
    )
    if not error < line / 4:
        for slip, sentence in FURTHER_SLIPS.values():
            if torch.allclose(slip(learn, past), got.to(past.dtype), atol=1e-4):
                raise Wrong(f"measured: {measured}; your forecast {sentence}")
        raise Wrong(f"measured: {measured}")
    return f"Measured: {measured}."


TWENTY_STEPS = Exercise(
    "twenty_steps",
    chapter=8,
    stars=3,
    test=_test_twenty_steps,
    solution=twenty_steps,
    section="Where a line is lost",
    wrong=FURTHER_SLIPS,
    hints=(
        "You may learn the 20th step directly, or one step and run freely: both ways can reach the goal.",
        "A line can't bend. A recurrent network, a kernel or trees on the last 20 values can.",
        'sklearn\'s KernelRidge(kernel="rbf", alpha=1e-4, gamma=0.02) on windows of 20 values is enough.',
    ),
)


EXERCISES = (
    SKILL_SCORE,
    SEASONAL_BASELINE,
    TRAINING_WINDOWS,
    PINBALL_AND_GRADIENT,
    RECURSIVE_FORECAST,
    MONTH_FOLDS,
    ADAPTIVE_FACTORS,
    TWENTY_STEPS,
)
