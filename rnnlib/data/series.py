"""A series of the reader's own: read a table of numbers in time, and say what is wrong with it."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd


def load_series(
    path: "str | Path",
    time: str,
    columns: "Sequence[str]",
    every: str = "h",
    zone: str | None = None,
    **options: object,
) -> "pd.DataFrame":
    """Return columns of a CSV file on an even grid of UTC times, NaN where nothing was recorded, and print a summary.

    Args:
        path: of the file.
        time: the column of time stamps.
        columns: those to read as numbers.
        every: the distance of two rows, as pandas writes it: "h", "15min", "D".
        zone: of time stamps that name none, such as "Europe/Berlin"; UTC by default.
        **options: for `pandas.read_csv`, such as `sep=";"` or `decimal=","`.

    Raises:
        ValueError: for a missing column, text among the numbers, time stamps that can't be read, that mix stamps with
            and without a zone, that come twice or lie off the grid. The message names the first such value.
    """
    import pandas as pd

    from rnnlib import guards  # PyTorch comes with it, and a text needs none

    guards.check_path(path=path)
    guards.check_text(time=time, every=every)
    columns = [columns] if isinstance(columns, str) else columns
    guards.check_ordered(columns=columns)
    columns = list(columns)
    guards.check_zone(zone)
    guards.check_every(every)
    if not columns or not os.path.isfile(path):
        raise ValueError(
            f"path={str(path)!r} must be a file, and columns={columns} the names of one or more of its columns"
        )
    table = pd.read_csv(path, **({"dtype": str} | options))
    missing = [name for name in [time, *columns] if name not in table.columns]
    if missing:
        hint = ' If all stands in one column, give sep=";".' if len(table.columns) == 1 else ""
        raise ValueError(f"{path} has no column {missing[0]!r}: it has {', '.join(map(repr, table.columns))}.{hint}")
    if table.empty:
        raise ValueError(f"{path} has no rows below its header")
    numbers = {name: _numbers(table[name], options.get("decimal", ".")) for name in columns}
    times = _times(table[time], zone)
    twice = table[time][times.duplicated()]
    if len(twice):
        raise ValueError(
            f"the time {twice.iloc[0]!r} comes twice ({len(twice)} such rows): is it the hour that the clock repeats "
            'in autumn (name the zone: zone="Europe/Berlin"), or does the file hold several series (select one first)?'
        )
    series = pd.DataFrame(numbers).set_index(times).sort_index()
    even = pd.date_range(series.index[0], series.index[-1], freq=every, name="time")
    off = series.index.difference(even)
    if len(off):
        raise ValueError(
            f"the time {off[0]} is not a whole number of steps every={every!r} after {series.index[0]} ({len(off)} "
            "such rows): give another every, or round the times first"
        )
    gaps = even.difference(series.index)
    told = f", {len(gaps):,} of them missing (first {gaps[0]}) and NaN" if len(gaps) else ", none missing"
    print(f"{path}: {len(even):,} times from {even[0]} to {even[-1]}{told}")
    return series.reindex(even)


def _numbers(column: "pd.Series", decimal: str) -> "pd.Series":
    """Return a column as numbers. Raises ValueError, naming the first value that is none."""
    import pandas as pd

    if decimal != "." and not pd.api.types.is_numeric_dtype(column):
        column = column.str.replace(decimal, ".", regex=False)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column[numbers.isna() & column.notna()]
    if len(bad):
        value = bad.iloc[0]
        comma = str(value).count(",") == 1 and str(value).replace(",", "").lstrip("+-").isdigit()
        remedy = (
            'it has a decimal comma: give decimal=","'
            if comma
            else f'if it stands for "not recorded", give na_values=[{value!r}]'
        )
        raise ValueError(f"{column.name!r} holds {value!r} in row {bad.index[0] + 1} ({len(bad)} such rows): {remedy}")
    return numbers.astype("float64").reset_index(drop=True)


def _times(column: "pd.Series", zone: str | None) -> "pd.DatetimeIndex":
    """Return time stamps in UTC. Raises ValueError, naming the first that can't be read."""
    import pandas as pd

    text = column.astype("str").str.strip()
    named = text.str.contains(r"(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$", regex=True)
    if named.any() and not named.all():
        first, other = text[named].iloc[0], text[~named].iloc[0]
        raise ValueError(f"{first!r} names its time zone and {other!r} does not: write all times in one way")
    offsets = text.str.extract(r"([+-]\d\d:?\d\d)$")[0]
    if named.any() and zone is not None:
        raise ValueError(f"zone={zone!r} is for times that name no zone, but {text.iloc[0]!r} does: leave it out")
    if offsets.nunique() > 1:
        two = " and ".join(sorted(offsets.dropna().unique())[:2])
        print(f"the times are from more than one time zone ({two}): all are turned into UTC")
    times = pd.to_datetime(text, errors="coerce", utc=bool(named.any()), format="ISO8601")
    if times.isna().any():
        bad = text[times.isna()]
        raise ValueError(
            f"{bad.iloc[0]!r} in row {bad.index[0] + 1} is no time that can be read ({len(bad)} such rows): write "
            "times as 2024-12-31 23:00, year first"
        )
    index = pd.DatetimeIndex(times, name="time")
    if named.any():
        return index
    try:
        return index.tz_localize(zone or "UTC", ambiguous="infer").tz_convert("UTC")
    except ValueError as error:
        raise ValueError(f"{error}: the times don't fit the clock of zone={zone!r}") from error
