"""A series of the reader's own: read a table of numbers in time, and say what is wrong with it."""

import math
import os
import re
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
    table = _table(path, options)
    missing = [name for name in [time, *columns] if name not in table.columns]
    if missing:
        hint = ' If all stands in one column, give sep=";".' if len(table.columns) == 1 else ""
        raise ValueError(f"{path} has no column {missing[0]!r}: it has {', '.join(map(repr, table.columns))}.{hint}")
    if table.empty:
        raise ValueError(f"{path} has no rows below its header")
    marks = {options.get("thousands") or "": "", options.get("decimal", "."): "."}
    numbers = {name: _numbers(table[name], marks) for name in columns}
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
            "such rows): give another every, round the times first, or, if they are days, leave zone out"
        )
    gaps = even.difference(series.index)
    told = f", {len(gaps):,} of them missing (first {gaps[0]}) and NaN" if len(gaps) else ", none missing"
    print(f"{path}: {len(even):,} times from {even[0]} to {even[-1]}{told}")
    return series.reindex(even)


def _table(path: "str | Path", options: dict) -> "pd.DataFrame":
    """Return the rows of a file, as text. Raises ValueError if they are no table."""
    import pandas as pd

    try:
        table = pd.read_csv(path, **({"dtype": str} | options))
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise ValueError(
            f'{path} can\'t be read as a table ({reason}): give its sep, such as sep=";", or its encoding, such as '
            'encoding="latin-1"'
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        first = [*table.index[:1].to_flat_index(), *table.iloc[0]]
        raise ValueError(
            f"{path} has more values in a row than names in its header, {first} in the first: are there commas within "
            'numbers? Then it needs another mark between columns, such as sep=";"'
        )
    return table


def _remedy(value: str) -> str:
    """Return what may help with a text that is no number."""
    marks = re.sub(r"[^.,]", "", value) if re.fullmatch(r"[+-]?\d[\d.,]*(e[+-]?\d+)?", value, re.IGNORECASE) else ""
    if marks == ",":
        return 'it has a decimal comma: give decimal=","'
    if marks:
        given = 'thousands=","' if marks[0] == "," else 'thousands=".", decimal=","'
        return f"it has marks between its thousands: give {given}"
    return f'if it stands for "not recorded", give na_values=[{value!r}]'


def _numbers(column: "pd.Series", marks: dict[str, str]) -> "pd.Series":
    """Return a column as numbers, its marks replaced. Raises ValueError, naming the first value that is none."""
    import pandas as pd

    text = column.astype("str")
    for mark, plain in marks.items():
        text = text.str.replace(mark, plain, regex=False) if mark else text
    numbers = pd.to_numeric(text.where(column.notna()), errors="coerce").astype("float64")
    bad = column[column.notna() & ~numbers.abs().lt(math.inf)]
    if len(bad):
        value = str(bad.iloc[0])
        raise ValueError(
            f"{column.name!r} holds {value!r} in row {bad.index[0] + 1} ({len(bad)} such rows): {_remedy(value)}"
        )
    return numbers.reset_index(drop=True)


def _times(column: "pd.Series", zone: str | None) -> "pd.DatetimeIndex":
    """Return time stamps in UTC. Raises ValueError, naming the first that can't be read."""
    import pandas as pd

    text = column.astype("str").str.strip()
    named = text.str.contains(r"(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$", regex=True)
    if named.any() and not named.all():
        first, other = text[named].iloc[0], text[~named].iloc[0]
        raise ValueError(f"{first!r} names its time zone and {other!r} does not: write all times in one way")
    offsets = text.str.extract(r"(Z|UTC|GMT|[+-]\d\d:?\d\d)$")[0]
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
        reason = str(error).split(". ")[0]
        raise ValueError(
            f"the times don't fit the clock of zone={zone!r} ({reason}): write each with its offset, as "
            "2024-12-31T23:00+01:00, or give the zone in which they were written"
        ) from error
