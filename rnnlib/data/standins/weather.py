"""A generated year of weather with the columns and the faults of the real one, for when that can't be had.

Three stations share fronts that pass every few days: the pressure falls and the wind turns before the temperature
changes, so that the other columns tell something of its future. The numbers are drawn; they are nobody's weather.
"""

import numpy as np
import pandas as pd

STATIONS = ("EWR", "JFK", "LGA")
SEED = 8


def _slow_noise(rng: np.random.Generator, num_hours: int, memory: float) -> np.ndarray:
    """Return noise of variance 1 that forgets a share 1 / `memory` of itself in an hour."""
    keep = 1 - 1 / memory
    fresh = rng.normal(size=num_hours) * np.sqrt(1 - keep**2)
    noise = np.zeros(num_hours)
    for t in range(1, num_hours):
        noise[t] = keep * noise[t - 1] + fresh[t]
    return noise


def _smooth(series: np.ndarray, hours: int) -> np.ndarray:
    """Return the mean of the last `hours` values at each hour."""
    total = np.cumsum(np.concatenate([np.full(hours, series[0]), series]))
    return (total[hours:] - total[:-hours]) / hours


def _station(rng: np.random.Generator, times: pd.DatetimeIndex, front: np.ndarray, coast: float) -> pd.DataFrame:
    """Return a station's hours; `coast` from 0 to 1 makes its days milder."""
    day = np.asarray(times.day_of_year + times.hour / 24)
    season = -np.cos(2 * np.pi * (day - 20) / 365)
    daily = -np.cos(2 * np.pi * (np.asarray(times.hour) - 9) / 24)  # coldest at 9 h UTC, about sunrise
    late = np.roll(front, 6)  # the temperature follows the front by some hours
    spread = 1.6 - 0.6 * season  # winters are less steady
    celsius = 12 + 12 * season + (3.5 - 1.5 * coast) * daily + 3 * spread * late
    celsius += _slow_noise(rng, len(times), 30) + 0.25 * rng.normal(size=len(times))
    dew = celsius - 7 + 3 * late + 1.5 * _slow_noise(rng, len(times), 20)
    dew = np.minimum(dew, celsius)
    humid = 100 * np.exp(17.6 * dew / (dew + 243) - 17.6 * celsius / (celsius + 243))
    speed = np.abs(9 + 5 * np.abs(front) + 3 * _slow_noise(rng, len(times), 8))
    direction = np.mod(270 - 80 * front + 25 * _slow_noise(rng, len(times), 6), 360)
    return pd.DataFrame(
        {
            "time_hour": times,
            "temp": (32 + 1.8 * celsius).round(2),
            "dewp": (32 + 1.8 * dew).round(2),
            "humid": humid.round(2),
            "wind_dir": (direction / 10).round() * 10,
            "wind_speed": speed.round(2),
            "precip": np.where((front > 1) & (rng.random(len(times)) < 0.3), 0.05, 0.0),
            "pressure": (1017 - 7 * np.roll(front, -4) + _slow_noise(rng, len(times), 40)).round(1),
            "visib": np.where(humid > 97, 3.0, 10.0),
        }
    )


def invented_weather() -> pd.DataFrame:
    """Return the year: the same numbers on every machine, in the columns of the real file."""
    rng = np.random.default_rng(SEED)
    times = pd.date_range("2013-01-01 06:00", "2013-12-30 23:00", freq="h", tz="UTC")
    front = _smooth(_slow_noise(rng, len(times), 36), 12) * 1.3
    parts = []
    for name, coast in zip(STATIONS, (0.0, 1.0, 0.5), strict=True):
        part = _station(rng, times, front, coast)
        part.insert(0, "origin", name)
        lost = [11, *range(7300, 7305), *rng.choice(np.arange(100, len(times) - 100), 18, replace=False)]
        part.loc[rng.random(len(times)) < 0.1, "pressure"] = np.nan
        if name == "EWR":
            part.loc[1010, "wind_speed"] = 1048.36
            part.loc[5600, ["temp", "dewp", "humid"]] = np.nan
        if name == "JFK":
            part.loc[3068, ["temp", "dewp"]] = ((part.loc[3068, ["temp", "dewp"]].astype(float) - 32) / 1.8).round(2)
        parts.append(part.drop(index=lost))
    return pd.concat(parts, ignore_index=True)
