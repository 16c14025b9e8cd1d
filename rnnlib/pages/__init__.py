"""Pages that run a network, filled in from the files beside this one (chapter 10)."""

import base64
import json
import re
from pathlib import Path

from safetensors import safe_open

from rnnlib import guards

FOLDER = Path(__file__).parent


def write_page(path, source, title="A recurrent network in one page"):
    """Write an HTML page that runs the network of a quantised file without any server."""
    guards.check_page(path, title)
    guards.check_shipped(source)
    with safe_open(source, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tokens = json.loads(file.metadata()["tokens"])
    packed = {name: [str(W.dtype), list(W.shape), base64.b64encode(W.tobytes()).decode()] for name, W in arrays.items()}
    network = json.dumps({"tokens": tokens, "weights": packed}).replace("<", "\\u003c")
    Path(path).write_text(fill_page("offline.html", title=title, network=network), encoding="utf-8")


def fill_page(name, **values):
    """Return a page of this folder, its ``{{ names }}`` replaced by values or by the files of that name."""

    def found(match):
        name = match[1]
        return values[name] if name in values else fill_page(name)

    page = (FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\S+) \}\}", found, page)
