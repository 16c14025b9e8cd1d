"""Answers to the exercises of chapter 8."""

import itertools
import math

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_pinball_loss
from sklearn.neighbors import KNeighborsRegressor

from rnnlib import check

SOLUTIONS = {name: exercise.solution for name, exercise in check.catalogue().items()}


def solved(name):
    """Return the solution under its label."""
    return {"solution": (SOLUTIONS[name], "Right")}


def skill_by_loop(forecast, truth, now):
    off = sum(abs(f - y) for f, y in zip(forecast.tolist(), truth.tolist(), strict=True))
    reference = sum(abs(n - y) for n, y in zip(now.tolist(), truth.tolist(), strict=True))
    return 1 - off / reference


SKILL_SCORE = solved("skill_score") | {
    "a loop": (skill_by_loop, "Right"),
    "scikit-learn": (lambda f, y, n: 1 - mean_absolute_error(y, f) / mean_absolute_error(y, n), "Right"),
    "NumPy": (
        lambda f, y, n: 1 - np.abs(f.numpy() - y.numpy()).mean() / np.abs(n.numpy() - y.numpy()).mean(),
        "Right",
    ),
    "L1 loss": (
        lambda f, y, n: 1 - torch.nn.functional.l1_loss(f, y) / torch.nn.functional.l1_loss(n, y),
        "Right",
    ),
    "difference over reference": (
        lambda f, y, n: ((n - y).abs().sum() - (f - y).abs().sum()) / (n - y).abs().sum(),
        "Right",
    ),
    "float32": (lambda f, y, n: skill_by_loop(f.float(), y.float(), n.float()), "Right"),
    "left over": (lambda f, y, n: mean_absolute_error(y, f) / mean_absolute_error(y, n), "take it from 1"),
    "upside down": (lambda f, y, n: 1 - mean_absolute_error(y, n) / mean_absolute_error(y, f), "upside down"),
    "degrees": (lambda f, y, n: mean_absolute_error(y, n) - mean_absolute_error(y, f), "difference in degrees"),
    "R squared like": (lambda f, y, n: 1 - ((f - y) ** 2).sum() / ((n - y) ** 2).sum(), "squared errors"),
    "signed": (lambda f, y, n: 1 - (f - y).mean() / (n - y).mean(), "cancel"),
    "by hour": (lambda f, y, n: 1 - (f - y).abs() / (n - y).abs(), "should be"),
    "nothing": (lambda f, y, n: None, "nothing came back"),
    "a text": (lambda f, y, n: "0.5", "should be"),
    "percent": (lambda f, y, n: 100 * skill_by_loop(f, y, n), "should be"),
}


def same_hour_by_loop(series, horizon, season):
    forecast = []
    for t in range(len(series)):
        hour = t + horizon
        while hour > t:
            hour -= season
        forecast.append(series[hour].item() if hour >= 0 else math.nan)
    return torch.tensor(forecast)


def same_hour_by_index(series, horizon, season):
    t = torch.arange(len(series))
    source = t + horizon - season * math.ceil(horizon / season)
    return torch.where(source >= 0, series[source.clamp(min=0)], torch.nan)


def same_hour_padded(series, horizon, season):
    back = season * math.ceil(horizon / season) - horizon
    return torch.cat([torch.full((back,), torch.nan), series])[: len(series)]


SEASONAL_BASELINE = solved("seasonal_baseline") | {
    "a loop": (same_hour_by_loop, "Right"),
    "an index": (same_hour_by_index, "Right"),
    "padded": (same_hour_padded, "Right"),
    "rolled and marked": (
        lambda s, h, season: torch.where(torch.arange(len(s)) >= -h % season, s.roll(-h % season), torch.nan),
        "Right",
    ),
    "zeros": (
        lambda s, h, season: same_hour_by_index(s, h, season).nan_to_num(0.0),
        "should be NaN in 23 places",
    ),
    "season before now": (lambda s, h, season: same_hour_padded(s, season, season).roll(0), "“as now”"),
    "shift by the season": (
        lambda s, h, season: torch.cat([torch.full((season,), torch.nan), s])[: len(s)],
        "a season before *now*",
    ),
    "rolled": (lambda s, h, season: s.roll(-h % season), "from the end of the series"),
    "as now": (lambda s, h, season: s, "“as now”"),
    "too short": (lambda s, h, season: s[-h % season :], "shape"),
    "an array": (lambda s, h, season: same_hour_by_loop(s, h, season).numpy(), "tensor of shape"),
    "nothing": (lambda s, h, season: None, "nothing came back"),
    "oracle": (
        lambda s, h, season: torch.cat([s[h:], torch.full((h,), torch.nan)]),
        "is the truth itself, from the future",
    ),
}


def windows_by_unfold(series, length, horizon, end):
    known = series[:end]
    X = known.unfold(0, length, 1)[: end - length - horizon + 1]
    return X, known[length - 1 + horizon :]


def windows_by_loop(series, length, horizon, end):
    X, y = [], []
    for last in range(length - 1, end):
        if last + horizon < end:
            X.append(series[last - length + 1 : last + 1])
            y.append(series[last + horizon])
    return torch.stack(X), torch.stack(y)


def windows_by_index(series, length, horizon, end):
    s = torch.arange(end - length - horizon + 1)
    return series[s[:, None] + torch.arange(length)], series[s + length - 1 + horizon]


def colleague(series, length, horizon, end):
    starts = range(end - length)
    X = torch.stack([series[s : s + length] for s in starts])
    y = torch.stack([series[min(s + length + horizon, len(series) - 1)] for s in starts])
    return X, y


TRAINING_WINDOWS = solved("training_windows") | {
    "unfold": (windows_by_unfold, "Right"),
    "a loop": (windows_by_loop, "Right"),
    "an index": (windows_by_index, "Right"),
    "a list": (lambda *a: list(windows_by_index(*a)), "Right"),
    "copies": (lambda *a: tuple(part.clone() for part in windows_by_index(*a)), "Right"),
    "the colleague's": (colleague, "should have shape"),
    "ends mended alone": (
        lambda s, length, horizon, end: (
            windows_by_index(s, length, horizon + 1, end)[0],
            windows_by_index(s, length, horizon + 1, end)[1],
        ),
        "one hour too far",
    ),
    "across": (
        lambda s, length, horizon, end: windows_by_index(s, length, horizon, end + horizon),
        "targets from `end` on were learned from",
    ),
    "one across": (
        lambda s, length, horizon, end: windows_by_index(s, length, horizon, end + 1),
        "the hour `end` itself",
    ),
    "one lost": (
        lambda s, length, horizon, end: windows_by_index(s, length, horizon, end - 1),
        "last window is missing",
    ),
    "windows alone": (lambda *a: windows_by_index(*a)[0], "return two tensors"),
    "swapped": (lambda *a: windows_by_index(*a)[::-1], "shape"),
    "nothing": (lambda *a: None, "nothing came back"),
    "reversed": (lambda *a: (windows_by_index(*a)[0].flip(1), windows_by_index(*a)[1]), "the windows for"),
}


def pinball_by_loop(forecast, truth, q):
    total, slopes = 0.0, []
    for f, y in zip(forecast.tolist(), truth.tolist(), strict=True):
        total += q * (y - f) if y > f else (1 - q) * (f - y)
        slopes.append((-q if y > f else 1 - q) / len(truth))
    return total / len(truth), torch.tensor(slopes)


def pinball_by_autograd(forecast, truth, q):
    forecast = forecast.requires_grad_()
    miss = truth - forecast
    loss = (q * miss.clamp(min=0) + (1 - q) * (-miss).clamp(min=0)).mean()
    return loss.detach(), torch.autograd.grad(loss, forecast)[0]


def pinball_by_sign(forecast, truth, q):
    above = (truth > forecast).double()
    return ((q - 1 + above) * (truth - forecast)).mean(), (1 - q - above) / len(truth)


def pinball_by_library(forecast, truth, q):
    return mean_pinball_loss(truth, forecast, alpha=q), pinball_by_sign(forecast, truth, q)[1]


PINBALL_AND_GRADIENT = solved("pinball_and_gradient") | {
    "a loop": (pinball_by_loop, "Right"),
    "autograd": (pinball_by_autograd, "Right"),
    "signs": (pinball_by_sign, "Right"),
    "scikit-learn": (pinball_by_library, "Right"),
    "a list": (lambda f, y, q: list(pinball_by_sign(f, y, q)), "Right"),
    "float32": (lambda f, y, q: tuple(part.float() for part in pinball_by_sign(f, y, q)), "Right"),
    "other side": (lambda f, y, q: (pinball_by_sign(f, y, 1 - q)[0], pinball_by_sign(f, y, q)[1]), "sides swapped"),
    "sum": (lambda f, y, q: (pinball_by_sign(f, y, q)[0] * len(y), pinball_by_sign(f, y, q)[1]), "is the sum"),
    "absolute": (lambda f, y, q: ((f - y).abs().mean(), pinball_by_sign(f, y, q)[1]), "mean absolute error"),
    "uphill": (lambda f, y, q: (pinball_by_sign(f, y, q)[0], -pinball_by_sign(f, y, q)[1]), "wrong sign"),
    "of the sum": (
        lambda f, y, q: (pinball_by_sign(f, y, q)[0], len(y) * pinball_by_sign(f, y, q)[1]),
        "is that of the sum",
    ),
    "loss alone": (lambda f, y, q: pinball_by_sign(f, y, q)[0], "return two things"),
    "gradient of another q": (
        lambda f, y, q: (pinball_by_sign(f, y, q)[0], pinball_by_sign(f, y, 1 - q)[1]),
        "slopes swapped",
    ),
    "nothing": (lambda f, y, q: None, "nothing came back"),
    "one slope": (lambda f, y, q: (pinball_by_sign(f, y, q)[0], torch.tensor(-q)), "the gradient should have shape"),
}


def recursive_in_place(step, window, horizon):
    belt = window.clone()
    path = torch.empty(len(window), horizon)
    for i in range(horizon):
        path[:, i] = step(belt)
        belt = belt.roll(-1, dims=1)
        belt[:, -1] = path[:, i]
    return path


def recursive_on_one_row(step, window, horizon):
    row, length = window, window.shape[1]
    for _ in range(horizon):
        row = torch.cat([row, step(row[:, -length:])[:, None]], dim=1)
    return row[:, length:]


def recursive_by_recursion(step, window, horizon):
    after = step(window)[:, None]
    if horizon == 1:
        return after
    moved = torch.cat([window, after], dim=1)[:, 1:]
    return torch.cat([after, recursive_by_recursion(step, moved, horizon - 1)], dim=1)


def changes_its_caller(step, window, horizon):
    path = []
    for _ in range(horizon):
        path.append(step(window.clone()))
        window[:, :-1] = window[:, 1:].clone()
        window[:, -1] = path[-1]
    return torch.stack(path, dim=1)


RECURSIVE_FORECAST = solved("recursive_forecast") | {
    "in place, on a copy": (recursive_in_place, "Right"),
    "one long row": (recursive_on_one_row, "Right"),
    "recursion": (recursive_by_recursion, "Right"),
    "time first, then turned": (
        lambda step, window, horizon: recursive_on_one_row(step, window, horizon).T.contiguous().T,
        "Right",
    ),
    "the caller's window": (changes_its_caller, "changes the window of its caller"),
    "again and again": (
        lambda step, window, horizon: step(window)[:, None].repeat(1, horizon),
        "repeats the first step",
    ),
    "time first": (lambda *a: recursive_on_one_row(*a).T, "but (4, 1) came"),
    "the last": (lambda *a: recursive_on_one_row(*a)[:, -1], "but (1,) came"),
    "with the window": (
        lambda step, window, horizon: torch.cat([window, recursive_on_one_row(step, window, horizon)], dim=1),
        "should have shape",
    ),
    "growing": (
        lambda step, window, horizon: [
            window := torch.cat([window, step(window)[:, None]], dim=1) for _ in range(horizon)
        ][-1],
        "the length stays",
    ),
    "a list": (lambda *a: list(recursive_on_one_row(*a).T), "should be a tensor"),
    "nothing": (lambda *a: None, "nothing came back"),
    "one row at a time": (
        lambda step, window, horizon: torch.cat([recursive_on_one_row(step, w[None], horizon) for w in window]),
        "windows of shape (5, 4)",
    ),
    "reversed": (lambda *a: recursive_on_one_row(*a).flip(1), "reverse order"),
}


def folds_by_lists(months, first):
    months = months.tolist()
    return [
        ([t for t, m in enumerate(months) if m < month], [t for t, m in enumerate(months) if m == month])
        for month in range(first, max(months) + 1)
    ]


def folds_by_cuts(months, first):
    cuts = [int((months < month).sum()) for month in range(first, int(months.max()) + 2)]
    return [(torch.arange(a), torch.arange(a, b)) for a, b in itertools.pairwise(cuts)]


def folds_by_numpy(months, first):
    months = months.numpy()
    return [(np.flatnonzero(months < m), np.flatnonzero(months == m)) for m in range(first, months.max() + 1)]


def folds_one_by_one(months, first):
    for month in range(first, int(months.max()) + 1):
        yield torch.where(months < month)[0], torch.where(months == month)[0]


MONTH_FOLDS = solved("month_folds") | {
    "lists": (folds_by_lists, "Right"),
    "cuts": (folds_by_cuts, "Right"),
    "NumPy": (folds_by_numpy, "Right"),
    "a generator": (folds_one_by_one, "Right"),
    "lists in a list": (lambda months, first: [list(pair) for pair in folds_by_lists(months, first)], "Right"),
    "a tuple": (lambda months, first: tuple(folds_by_cuts(months, first)), "Right"),
    "sliding": (
        lambda months, first: [
            ((months == m - 1).nonzero()[:, 0], (months == m).nonzero()[:, 0])
            for m in range(first, int(months.max()) + 1)
        ],
        "only the month before",
    ),
    "up to and with": (
        lambda months, first: [
            ((months <= m).nonzero()[:, 0], (months == m).nonzero()[:, 0]) for m in range(first, int(months.max()) + 1)
        ],
        "holds the month that is judged",
    ),
    "without the last": (lambda months, first: folds_by_cuts(months, first)[:-1], "the last month is never judged"),
    "masks": (
        lambda months, first: [(months < m, months == m) for m in range(first, int(months.max()) + 1)],
        "truth values came",
    ),
    "swapped": (lambda months, first: [pair[::-1] for pair in folds_by_cuts(months, first)], "wrong way round"),
    "two lists": (
        lambda months, first: next(zip(*folds_by_cuts(months, first), strict=True)),
        "should be a pair",
    ),
    "nothing": (lambda months, first: None, "nothing came back"),
    "a number": (lambda months, first: 3, "return a list of pairs"),
}


def factors_by_deque(half, error, horizon, gamma):
    factors, log_factor = [], 0.0
    for t in range(len(half)):
        if t >= horizon:
            missed = bool(error[t - horizon] > half[t - horizon] * factors[t - horizon])
            log_factor += 0.8 * gamma if missed else -0.2 * gamma
        factors.append(math.exp(log_factor))
    return torch.tensor(factors)


def factors_by_product(half, error, horizon, gamma):
    factors = torch.ones(len(half), dtype=torch.float64)
    for t in range(1, len(half)):
        factors[t] = factors[t - 1]
        if t >= horizon:
            s = t - horizon
            miss = (error[s] > half[s] * factors[s]).double()
            factors[t] = factors[t - 1] * torch.exp(gamma * (miss - 0.2))
    return factors


def factors_with(step, lag=0):
    def answer(half, error, horizon, gamma):
        factors, log_factor = [], 0.0
        for t in range(len(half)):
            s = t - horizon + lag
            if 0 <= s < len(factors):
                log_factor += gamma * step(float(error[s] > half[s] * factors[s]))
            factors.append(math.exp(log_factor))
        return torch.tensor(factors, dtype=torch.float64)

    return answer


ADAPTIVE_FACTORS = solved("adaptive_factors") | {
    "a list": (factors_by_deque, "Right"),
    "a product": (factors_by_product, "Right"),
    "a step function": (factors_with(lambda miss: miss - 0.2), "Right"),
    "an array": (lambda *a: factors_by_product(*a).numpy(), "Right"),
    "plain numbers": (lambda *a: factors_by_product(*a).tolist(), "Right"),
    "at once": (lambda half, error, horizon, gamma: factors_by_product(half, error, 1, gamma), "`horizon` steps early"),
    "a step early": (factors_with(lambda miss: miss - 0.2, lag=1), "one step before its hour"),
    "a step late": (factors_with(lambda miss: miss - 0.2, lag=-1), "a step later than it is known"),
    "other way": (factors_with(lambda miss: 0.2 - miss), "the other way round"),
    "half": (factors_with(lambda miss: miss - 0.5), "half of the truths are missed"),
    "0.8": (factors_with(lambda miss: miss - 0.8), "80 % are missed"),
    "logarithms": (lambda *a: factors_by_product(*a).log(), "are logarithms"),
    "judged as trained": (
        lambda half, error, horizon, gamma: torch.cat(
            [
                torch.ones(horizon, dtype=torch.float64),
                (gamma * ((error > half).double() - 0.2)).cumsum(0).exp()[: len(half) - horizon],
            ]
        ),
        "by the intervals as trained",
    ),
    "nothing": (lambda *a: None, "nothing came back"),
    "ones": (lambda half, *a: torch.ones_like(half), "should be"),
}


def by_windows(model, length=20):
    """Return an answer that learns the change over 20 steps from windows."""

    def answer(series, past):
        X = series[:-20].unfold(0, length, 1)
        change = series[length + 19 :] - X[:, -1]
        model.fit(X[::2].double().numpy(), change[::2].double().numpy())
        return past[:, -1] + torch.tensor(model.predict(past[:, -length:].double().numpy()))

    return answer


TWENTY_STEPS = solved("twenty_steps") | {
    "trees": (by_windows(ExtraTreesRegressor(50, random_state=0)), "Right"),
    "neighbours": (by_windows(KNeighborsRegressor(3, weights="distance")), "Right"),
    "a wider kernel": (by_windows(KernelRidge(kernel="rbf", alpha=1e-3, gamma=0.05)), "Right"),
    "an array": (lambda series, past: SOLUTIONS["twenty_steps"](series, past).numpy(), "Right"),
    "float32": (lambda series, past: SOLUTIONS["twenty_steps"](series, past).float(), "Right"),
    "a line": (by_windows(Ridge(1e-6), 60), "measured: error"),
    "as now": (lambda series, past: past[:, -1], "says “as now”"),
    "the mean": (lambda series, past: torch.zeros(len(past)), "is the mean of the series"),
    "straight on": (lambda series, past: past[:, -1] + 20 * (past[:, -1] - past[:, -2]), "measured: error"),
    "a change": (lambda series, past: SOLUTIONS["twenty_steps"](series, past) - past[:, -1], "measured: error"),
    "time first": (lambda series, past: past, "should have shape"),
    "nothing": (lambda series, past: None, "nothing came back"),
}

ANSWERS = {
    "skill_score": SKILL_SCORE,
    "seasonal_baseline": SEASONAL_BASELINE,
    "training_windows": TRAINING_WINDOWS,
    "pinball_and_gradient": PINBALL_AND_GRADIENT,
    "recursive_forecast": RECURSIVE_FORECAST,
    "month_folds": MONTH_FOLDS,
    "adaptive_factors": ADAPTIVE_FACTORS,
    "twenty_steps": TWENTY_STEPS,
}
