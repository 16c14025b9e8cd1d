"""Pictures and findings of all settings of an explorer, in one file for pages that have no kernel."""

import base64
import copy
import gzip
import hashlib
import io
import itertools
import json
import math
import re
from pathlib import Path

import matplotlib
import numpy as np
import torch

FEWEST = 6  # positions that a thinned slider keeps
FRACTION = re.compile(r"-?\d+\.\d+")
PLACES = re.compile(r'(\b(?:d|x|y|points)=")([^"]*)"')


def settings_to_draw(explorer, most):
    """Return the values of each control that are worth drawing, a dict of lists: at most so many settings in all.

    A choice keeps what it offers, a text what it says and what presets put there. Sliders are thinned evenly, the
    longest first; their ends, their present values and those of presets stay.
    """
    steps = dict.fromkeys(explorer.controls, 1)
    while True:
        values = {name: _values(explorer, name, step) for name, step in steps.items()}
        long = [name for name in values if _is_slider(explorer.controls[name]) and len(values[name]) > FEWEST]
        if not long or math.prod(map(len, values.values())) <= most:
            return values
        steps[max(long, key=lambda name: len(values[name]))] += 1


def _is_slider(control):
    """Tell whether a control is a slider over numbers."""
    return hasattr(control, "step") and hasattr(control, "max")


def _values(explorer, name, step):
    """Return the values of one control, every ``step``-th where it is a slider."""
    control = explorer.controls[name]
    kept = [control.value, *(preset[name] for preset in explorer.presets.values() if name in preset)]
    if hasattr(control, "options"):
        return list(control._options_values)
    if isinstance(control.value, bool):
        return [False, True]
    if not _is_slider(control):
        return list(dict.fromkeys(kept))
    base = getattr(control, "base", None)  # of a slider over powers
    places = [math.log(value, base) if base else value for value in kept]
    last = round((control.max - control.min) / control.step)
    values = {i: round(control.min + i * control.step, 9) for i in {*range(0, last, step), last}}
    if base:
        values = {i: float(f"{base**power:.3g}") for i, power in values.items()}
    values |= {round((at - control.min) / control.step): value for at, value in zip(places, kept, strict=True)}
    return [values[i] for i in sorted(values)]


def _label(control, value):
    """Return a value as the control shows it."""
    if hasattr(control, "options"):
        return str(control._options_labels[control._options_values.index(value)])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def _svg(fig):
    """Return a figure as SVG text that is the same each time, with coordinates of a tenth of a point."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rnnlib"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    picture = "<svg" + buffer.getvalue().partition("<svg")[2]
    return PLACES.sub(lambda found: f'{found[1]}{FRACTION.sub(_short, found[2])}"', picture)


def _short(number):
    """Return a number of an SVG file, a match, with at most one digit after the point."""
    text = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def photograph(explorer, values, drawn=True):
    """Return picture and sentence of a setting; a setting that is not possible has no picture, and says why."""
    try:
        data = explorer.measure(**values)
    except ValueError as error:
        return "", f"Not possible: {error}"
    return _svg(explorer.draw(data)) if drawn else "", f"Seen: {explorer.describe(data)}"


def shared_lines(pictures):
    """Write pictures as numbers of lines: return all different lines, and for each picture text such as ``0-41 57``.

    Pictures of an explorer have most lines in common.
    """
    numbers, ranges = {}, []
    for picture in pictures:
        runs = []
        for line in picture.split("\n") if picture else []:
            number = numbers.setdefault(line, len(numbers))
            if runs and number == runs[-1][1] + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        ranges.append(" ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in runs))
    return list(numbers), ranges


WIDTH = 3  # bytes of a stored weight: they keep what float32 does, so that sentences stay the same


@torch.no_grad()
def rounded(model):
    """Return a copy of a model whose weights are numbers of float16, as :func:`compact` keeps them in two bytes."""
    twin = copy.deepcopy(model)
    for weights in twin.parameters():
        near = weights.half().to(weights)
        weights.copy_(torch.where(near.isfinite(), near, weights))
    return twin


def compact(weights):
    """Return an array in base64: numbers of float16, or else whole numbers of so many bytes and their unit.

    The bytes of float16 stand in two rows, the lower ones first: so they compress better.
    """
    weights = weights.detach().cpu().double().numpy()
    with np.errstate(over="ignore"):
        half = weights.astype("<f2")
    if (half == weights).all():
        return {"half": base64.b64encode(half.reshape(-1, 1).view(np.uint8).T.tobytes()).decode()}
    unit = float(abs(weights).max() or 1.0) / (2 ** (8 * WIDTH - 1) - 1)
    low_bytes = (weights / unit).round().astype("<i4").reshape(-1, 1).view(np.uint8)[:, :WIDTH]
    return {"unit": unit, "width": WIDTH, "packed": base64.b64encode(low_bytes.tobytes()).decode()}


def letters(counts):
    """Return whole numbers as a text, a letter each, which compresses well: 0, -1, 1, -2, 2 are ``#``, ``$`` and so on.

    The quotation mark, the backslash and what can't be printed are left out, so that JSON keeps it as it is.
    """
    counts = counts.cpu().numpy().astype(int).ravel()
    order = np.where(counts < 0, -2 * counts - 1, 2 * counts) + ord("#")
    order += order >= ord("\\")
    order += np.where(order > ord("~"), 129, 0)  # on to Ā
    return "".join(map(chr, order))


def by_gate(layer):
    """Return the arrays of a recurrent layer of one level, for pages: W_in (gates, D, H), W_h (gates, H, H), biases."""
    inputs, states = (W.unflatten(0, (-1, layer.hidden_size)).mT for W in (layer.weight_ih_l0, layer.weight_hh_l0))
    arrays = {"W_in": inputs, "W_h": states, "b_x": layer.bias_ih_l0, "b_h": layer.bias_hh_l0}
    return {name: compact(W) for name, W in arrays.items()}


def album(explorer):
    """Return all frames of an explorer and what its controls are, as a dict ready for JSON.

    ``pictures`` and ``sentences`` run through the settings as :func:`itertools.product` does, the last control fastest;
    ``values`` of a control are what it shows, ``start`` the place of its present one; presets name places of values.
    Where the page computes by itself, ``network`` holds its weights, or ``networks`` those of several by name. Where it
    also draws by itself, ``reads`` names what reads a typed text, and there are no pictures.
    """
    explorer = explorer.on_page()
    assets, chosen, controls = explorer.assets(), explorer.settings(), explorer.controls
    drawn = "reads" not in assets
    with torch.random.fork_rng(devices=[]):  # the chapter goes on as if nobody had looked
        settings = (dict(zip(chosen, values, strict=True)) for values in itertools.product(*chosen.values()))
        pictures, sentences = map(list, zip(*(photograph(explorer, each, drawn) for each in settings), strict=True))
    lines, ranges = shared_lines(pictures) if drawn else ([], [])
    return {
        "title": explorer.title,
        "controls": [
            {
                "name": controls[name].description,
                "kind": "slider" if hasattr(controls[name], "readout") else "choice",
                "values": [_label(controls[name], value) for value in values],
                "start": values.index(controls[name].value),
            }
            for name, values in chosen.items()
        ],
        "presets": {
            preset: [values.index(wanted[name]) if name in wanted else None for name, values in chosen.items()]
            for preset, wanted in explorer.presets.items()
        },
        "lines": lines,
        "pictures": ranges,
        "sentences": sentences,
    } | assets


def pack(title, content):
    """Return a dict as text of a script that hands it to the page under a title, and a hash of its content."""
    content = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f'rnnlive.add({json.dumps(title)},"{packed}");\n', hashlib.sha256(content).hexdigest()[:10]


def unpack(script):
    """Return the dict in the text of such a script, and the hash of its content."""
    content = gzip.decompress(base64.b64decode(script.rpartition(',"')[2].partition('"')[0]))
    return json.loads(content), hashlib.sha256(content).hexdigest()[:10]


def _save(name, title, content, folder):
    """Write a script into a file that is named by its content, and return its name."""
    script, content_hash = pack(title, content)
    file = Path(folder) / f"{name}-{content_hash}.js"
    file.write_text(script, encoding="utf-8")
    return file.name


def write_frames(explorer, folder):
    """Draw all frames of an explorer into a file of this folder, which is named by its class and content.

    Each network has a file of its own, because two explorers may share it.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    content = album(explorer)
    if "network" in content:
        content["network"] = _save("network", "network", content["network"], folder)
    for name, network in content.get("networks", {}).items():
        content["networks"][name] = _save("network", "network", network, folder)
    _save(type(explorer).__name__, explorer.title, content, folder)
