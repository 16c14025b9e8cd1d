"""A reader's own file: what is right is read, what is wrong gets one sentence with the value and the remedy."""

import re

import numpy as np
import pandas as pd
import pytest

from rnnlib.data import load_series


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a text to a file and returns its path."""

    def file(text):
        path = tmp_path / "own.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def test_gaps_come_as_nan_on_an_even_grid_and_are_told(write, capsys):
    path = write("when,load,place\n2024-01-01 00:00,1.5,a\n2024-01-01 03:00,-2,b\n2024-01-01 01:00,,c\n")
    series = load_series(path, "when", ["load"])
    assert series.index.tolist() == pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC").tolist()
    assert np.allclose(series["load"], [1.5, np.nan, np.nan, -2], equal_nan=True)
    assert list(series.columns) == ["load"] and series["load"].dtype == "float64"
    first, last = "2024-01-01 00:00:00+00:00", "2024-01-01 03:00:00+00:00"
    gap = "2024-01-01 02:00:00+00:00"
    assert capsys.readouterr().out == (
        f"{path}: 4 times from {first} to {last}, 1 of them missing (first {gap}) and NaN\n"
    )


def test_one_column_may_be_named_alone_and_other_steps_taken(write, capsys):
    path = write("t,x\n2024-01-01 00:00,1\n2024-01-01 00:30,2\n")
    assert load_series(path, "t", "x", every="30min")["x"].tolist() == [1, 2]
    assert "none missing" in capsys.readouterr().out


def test_decimal_commas_and_an_hour_that_comes_twice(write):
    text = "t;x\n2024-10-27 01:00;1,5\n2024-10-27 02:00;1,6\n2024-10-27 02:00;1,7\n2024-10-27 03:00;1,8\n"
    series = load_series(write(text), "t", "x", sep=";", decimal=",", zone="Europe/Berlin")
    assert series["x"].tolist() == [1.5, 1.6, 1.7, 1.8]
    assert series.index[0] == pd.Timestamp("2024-10-26 23:00", tz="UTC")


def test_utc_beside_an_offset_is_told(write, capsys):
    path = write("t,x\n2024-01-01T00:00Z,1\n2024-01-01T02:00+01:00,2\n")
    assert load_series(path, "t", "x")["x"].tolist() == [1, 2]
    assert "more than one time zone (+01:00 and Z): all are turned into UTC" in capsys.readouterr().out


def test_two_offsets_of_one_clock_become_utc(write, capsys):
    path = write("t,x\n2024-10-27T02:00+02:00,1\n2024-10-27T02:00+01:00,2\n2024-10-27T03:00+01:00,3\n")
    assert load_series(path, "t", "x").index.hour.tolist() == [0, 1, 2]
    assert "more than one time zone (+01:00 and +02:00): all are turned into UTC" in capsys.readouterr().out


HEAD = "t,x\n"
BAD = {
    "no such column": ("t,y\n2024-01-01 00:00,1\n", {}, "has no column 'x': it has 't', 'y'."),
    "semicolons": ("t;x\n2024-01-01 00:00;1\n", {}, "has no column 't': it has 't;x'. If all stands in one column, "),
    "no rows": (HEAD, {}, "has no rows below its header"),
    "text": (HEAD + "2024-01-01 00:00,1\n2024-01-01 01:00,off\n", {}, "'x' holds 'off' in row 2 (1 such rows): if it"),
    "decimal commas": (
        't,x\n2024-01-01 00:00,"1,5"\n',
        {},
        "'x' holds '1,5' in row 1 (1 such rows): it has a decimal comma: give decimal=",
    ),
    "thousands": (
        HEAD + '2024-01-01 00:00,"1,234.5"\n',
        {},
        "'x' holds '1,234.5' in row 1 (1 such rows): it has marks",
    ),
    "both marks": (
        "t;x\n2024-01-01 00:00;1.234,5\n",
        {"sep": ";", "decimal": ","},
        "'x' holds '1.234,5' in row 1 (1 such rows): it has marks between its thousands: give thousands=\".\", ",
    ),
    "infinity": (HEAD + "2024-01-01 00:00,inf\n", {}, "'x' holds 'inf' in row 1 (1 such rows): if it stands for"),
    "commas within and between": (
        HEAD + "2024-01-01 00:00,1,5\n",
        {},
        "than names in its header, ['2024-01-01 00:00', '1', '5'] in the first: are there commas",
    ),
    "a longer row": (
        HEAD + "2024-01-01 00:00,1\n2024-01-01 01:00,1,2,3\n",
        {},
        "(Expected 2 fields in line 3, saw 4): ",
    ),
    "nothing": ("", {}, "can't be read as a table (No columns to parse from file): give its sep"),
    "another code": (HEAD + "2024-01-01 00:00,1\n", {"encoding": "utf-16"}, "or its encoding, such as encoding="),
    "days in a zone": (
        HEAD + "2024-03-30,1\n2024-03-31,2\n2024-04-01,3\n",
        {"every": "D", "zone": "Europe/Berlin"},
        "if they are days, leave zone out",
    ),
    "half of the hour that comes twice": (
        HEAD + "2024-10-27 01:00,1\n2024-10-27 02:00,2\n2024-10-27 03:00,3\n",
        {"zone": "Europe/Berlin"},
        "write each with its offset, as 2024-12-31T23:00+01:00",
    ),
    "twice": (HEAD + "2024-01-01 00:00,1\n" * 2, {}, "the time '2024-01-01 00:00' comes twice (1 such rows): is it"),
    "day first": (HEAD + "31/12/2024 10:00,1\n", {}, "'31/12/2024 10:00' in row 1 is no time that can be read"),
    "no time": (HEAD + "2024-01-01 00:00,1\n,2\n", {}, "in row 2 is no time that can be read (1 such rows)"),
    "off the grid": (HEAD + "2024-01-01 00:00,1\n2024-01-01 00:20,2\n", {}, "is not a whole number of steps every='h'"),
    "with and without": (
        HEAD + "2024-01-01T00:00Z,1\n2024-01-01T01:00,2\n",
        {},
        "'2024-01-01T00:00Z' names its time zone and '2024-01-01T01:00' does not: write all times in one way",
    ),
    "a zone too many": (HEAD + "2024-01-01T00:00Z,1\n", {"zone": "Asia/Tokyo"}, "zone='Asia/Tokyo' is for times that"),
    "an hour that never was": (
        HEAD + "2024-03-31 02:30,1\n",
        {"zone": "Europe/Berlin"},
        "the times don't fit the clock of zone='Europe/Berlin'",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_gets_one_sentence(fault, write):
    text, options, message = BAD[fault]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_series(write(text), "t", "x", **options)
    assert "\n" not in str(caught.value)


def test_the_remedies_help(write):
    assert load_series(write('t,x\n2024-01-01 00:00,"1,5"\n'), "t", "x", decimal=",")["x"].tolist() == [1.5]
    text = "t;x\n2024-01-01 00:00;1.234,5\n"
    assert load_series(write(text), "t", "x", sep=";", thousands=".", decimal=",")["x"].tolist() == [1234.5]
    text = HEAD + "2024-01-01 00:00,1\n2024-01-01 01:00,off\n"
    assert load_series(write(text), "t", "x", na_values=["off"])["x"].isna().tolist() == [False, True]
