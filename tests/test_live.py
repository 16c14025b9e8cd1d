"""Pages move without a kernel: the frames of every explorer of every chapter, drawn beforehand and kept in docs."""

import base64
import itertools
import json
import math
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import ipywidgets as widgets
import nbformat
import numpy as np
import pytest
import torch
from test_explore import CHAPTERS, NAMES, made, stored_findings, wording

from rnnlib import explore, plots
from rnnlib.explore import frames

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import live  # noqa: E402 - its folder is found from here on

FILES = sorted(live.FOLDER.glob("*/[A-Z]*.js"))
NETWORKS = sorted(live.FOLDER.glob("*/network-*.js"))
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def album(path):
    """Return the album of a file, whose content its name must tell."""
    content, name = frames.unpack(path.read_text(encoding="utf-8"))
    assert path.stem.rpartition("-")[2] == name, f"{path.name} was changed by hand"
    return content


def place(content):
    """Return the number of the setting that the chapter shows."""
    number = 0
    for control in content["controls"]:
        number = number * len(control["values"]) + control["start"]
    return number


def drawn(content):
    """Tell whether an album has pictures; a page that reads what is typed may draw all by itself."""
    return "reads" not in content or bool(content["pictures"])


def networks(path):
    """Return the files of the networks that an album names."""
    content = album(path)
    names = [content["network"]] if "network" in content else list(content.get("networks", {}).values())
    return [path.with_name(name) for name in names]


def svg_of(content, number):
    """Return a picture of an album as SVG text, put together as the page does it."""
    ranges = [part.partition("-") for part in content["pictures"][number].split()]
    return "\n".join(
        line for first, _, last in ranges for line in content["lines"][int(first) : int(last or first) + 1]
    )


# The chapters' frames


@every_chapter
def test_every_explorer_of_a_chapter_moves(path):
    there = live.albums(path.name[:2])
    assert set(there) == set(live.titles(nbformat.read(path, as_version=4))), f"run make frames CHAPTER={path.name[:2]}"


@every_chapter
def test_frames_come_from_a_run_of_the_stored_code(path):
    """They say what the chapter says for its own setting; digits may differ, as two machines train differently."""
    number = path.name[:2]
    there = live.albums(number)
    if there:
        drawn_by = (live.FOLDER / number / "code.txt").read_text(encoding="utf-8").strip()
        assert drawn_by == live.code_hash(path), f"the code is another: make frames CHAPTER={number}"
    for title, finding in stored_findings(path):
        content = album(there[title])
        said = content["sentences"][place(content)].removeprefix("Seen: ")
        assert wording(said) == wording(finding), f"the chapter says something else: make frames CHAPTER={number}"


@every_file
def test_album_has_a_picture_and_a_sentence_for_each_setting(path):
    content = album(path)
    count = math.prod(len(control["values"]) for control in content["controls"])
    assert len(content["sentences"]) == count > 1
    assert len(content["pictures"]) == (count if drawn(content) else 0)
    assert path.name.partition("-")[0] in {e.__name__ for e in explore.EXPLORERS if e.title == content["title"]}
    assert 1 <= len(content["controls"]) <= 3 and all(control["name"] for control in content["controls"])
    for control in content["controls"]:
        assert len(set(control["values"])) == len(control["values"]), "two settings look the same"
    sizes = set()
    for number in {0, count // 2, count - 1, place(content)}:
        what = content["sentences"][number].partition(": ")[0]
        assert what in ("Seen", "Not possible")
        if drawn(content):
            assert bool(content["pictures"][number]) == (what == "Seen")
        if drawn(content) and what == "Seen":
            sizes.add(ET.fromstring(svg_of(content, number)).get("viewBox"))
    assert len(sizes) == drawn(content), "the page jumps when the picture's size changes"
    assert content["sentences"][place(content)].startswith("Seen: ")


@every_file
def test_presets_are_possible_settings(path):
    content = album(path)
    for wanted in content["presets"].values():
        for control, number in zip(content["controls"], wanted, strict=True):
            assert number is None or control["values"][number]


def test_every_network_belongs_to_an_explorer_and_is_there():
    named = {network for path in FILES for network in networks(path)}
    assert named == set(NETWORKS)
    assert all(album(path) for path in NETWORKS)


def test_frames_are_small():
    assert sum(path.stat().st_size for path in [*FILES, *NETWORKS]) <= 5_000_000
    for folder in {path.parent for path in FILES}:  # three quarters of base64 are left when it is sent compressed
        assert 0.75 * sum(path.stat().st_size for path in folder.glob("*.js")) <= 600_000, folder.name


# Any explorer


@pytest.mark.parametrize("name", NAMES)
def test_settings_hold_the_present_one_and_all_presets(name):
    explorer = made(name)
    settings = explorer.settings()
    assert set(settings) == set(explorer.controls)
    for preset in [explorer.values(), *explorer.presets.values()]:
        assert all(value in settings[control] for control, value in preset.items())
    for values in settings.values():
        assert len(set(values)) == len(values)
    assert math.prod(map(len, settings.values())) <= 1.5 * max(explorer.most_settings, 160)


class Doubler(explore.Explorer):
    """A small explorer of the kinds of controls that there are."""

    title, question = "Doubler", "what is twice as much?"
    presets = {"much": {"number": 7.25}, "few words": {"word": "a few"}}  # noqa: RUF012

    def __init__(self):
        super().__init__(
            number=widgets.FloatSlider(1.0, min=0, max=100, step=0.25, description="number"),
            word=widgets.Text("word", description="a word"),
            twice=widgets.Checkbox(True, description="twice"),
        )

    def measure(self, number, word, twice):
        if number == 0:
            raise ValueError("number=0.0 has no double: take more")
        return word, number * (1 + twice)

    def draw(self, data):
        fig, axes = plots.new_figure(height=1.0)
        axes.barh([data[0]], [data[1]])
        return fig

    def describe(self, data):
        return f"{data[0]} {data[1]:g}."


def test_album_by_hand():
    content = frames.album(Doubler())
    number, word, twice = content["controls"]
    assert (word["values"], word["kind"]) == (["word", "a few"], "choice")
    assert (twice["values"], twice["start"]) == (["no", "yes"], 1)
    assert number["kind"] == "slider" and {"0", "1", "7.25", "100"} <= set(number["values"])
    values = [float(value) for value in number["values"]]
    assert values == sorted(values) and 20 < len(values) <= 32
    settings = itertools.product(*(control["values"] for control in content["controls"]))
    for (n, w, t), sentence, picture in zip(settings, content["sentences"], content["pictures"], strict=True):
        double = float(n) * (2 if t == "yes" else 1)
        assert sentence == (f"Seen: {w} {double:g}." if double else "Not possible: number=0.0 has no double: take more")
        assert bool(picture) == bool(double)
    assert content["presets"] == {"much": [number["values"].index("7.25"), None, None], "few words": [None, 1, None]}
    assert ">a few<" in svg_of(content, len(content["pictures"]) - 1)


def test_two_builds_give_the_same_bytes():
    first, second = (frames.pack(Doubler.title, frames.album(Doubler())) for _ in range(2))
    assert first == second
    content, name = frames.unpack(first[0])
    assert name == first[1] and content == frames.album(Doubler())


def test_show_writes_frames_where_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *args, **options: None)
    monkeypatch.setattr("rnnlib.explore.frame.display", lambda *args, **options: None)
    Doubler().show()
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RNNLIB_FRAMES", str(tmp_path / "90"))
    Doubler().show()
    (path,) = (tmp_path / "90").iterdir()
    assert album(path)["title"] == live.title(path) == "Doubler"


def test_an_array_is_kept_as_float32_keeps_it():
    array = torch.tensor([[-1.0, 0.3], [1.0, 0.0]]).div(3)
    stored = frames.compact(array)
    packed, width = base64.b64decode(stored["packed"]), stored["width"]
    counts = [int.from_bytes(packed[i : i + width], "little", signed=True) for i in range(0, 4 * width, width)]
    assert len(packed) == 4 * width and counts[0] == -counts[2] == -(2**23) + 1
    assert [stored["unit"] * count for count in counts] == pytest.approx(array.flatten().tolist(), abs=2**-25)


def test_numbers_of_16_bits_are_kept_in_two_rows_of_bytes():
    array = torch.tensor([1.0, -2.5, 2.0**-24, 65504.0, 0.0])
    stored = frames.compact(array)
    lower, upper = (base64.b64decode(stored["half"])[i : i + 5] for i in (0, 5))
    kept = np.array([low + 256 * high for low, high in zip(lower, upper, strict=True)], np.uint16).view(np.float16)
    assert set(stored) == {"half"} and kept.tolist() == array.tolist()
    assert "unit" in frames.compact(torch.tensor([65520.0])) and "unit" in frames.compact(torch.tensor([0.1]))


def test_rounded_leaves_the_model_alone_and_keeps_what_is_too_large():
    model = torch.nn.Linear(2, 1)
    model.weight.data = torch.tensor([[0.1, 1e6]])
    twin = frames.rounded(model)
    assert model.weight.tolist() == [[pytest.approx(0.1), 1e6]]
    assert twin.weight.tolist() == [[float(np.float16(0.1)), 1e6]]


def test_whole_numbers_are_letters_that_json_keeps():
    counts = torch.arange(-60, 61)
    text = frames.letters(counts)
    assert len(text) == len(set(text)) == 121 and text[60] == "#" and text[59] == "$" and text[61] == "%"
    assert json.dumps(text, ensure_ascii=False) == f'"{text}"' and text.isprintable()


class Networked(Doubler):
    """One that computes on the page, beside a second one with the same network."""

    def assets(self):
        return {"reads": "Networked", "network": {"tokens": ["a"], "W": frames.compact(torch.ones(3))}}


class Second(Networked):
    pass


class Several(Networked):
    """One with two networks, the first of which is the others' too."""

    def assets(self):
        given = super().assets()
        return {"reads": "Several", "networks": {"one": given["network"], "two": {"tokens": ["b"]}}}


class Twin(Doubler):
    """One whose page shows another."""

    def on_page(self):
        return Networked()


def test_a_network_has_a_file_of_its_own_that_two_explorers_share(tmp_path):
    for _ in range(2):
        for explorer in (Networked(), Second()):
            frames.write_frames(explorer, tmp_path)
    network, first, second = sorted(tmp_path.iterdir(), key=lambda path: path.name.casefold())
    assert album(first)["network"] == album(second)["network"] == network.name
    assert album(network) == Networked().assets()["network"] and album(first)["reads"] == "Networked"
    assert not {"W", "tokens"} & set(album(first))


def test_an_explorer_with_several_networks_names_their_files(tmp_path):
    for explorer in (Networked(), Several()):
        frames.write_frames(explorer, tmp_path)
    first, several = (next(tmp_path.glob(f"{name}-*")) for name in ("Networked", "Several"))
    one, two = networks(several)
    assert [one] == networks(first) and album(two) == {"tokens": ["b"]}
    assert len(list(tmp_path.iterdir())) == 4


def test_a_page_that_computes_has_sentences_and_no_pictures(tmp_path):
    content = frames.album(Twin())
    assert (
        content["pictures"] == content["lines"] == [] and content["sentences"] == frames.album(Doubler())["sentences"]
    )


def test_a_picture_keeps_its_place_to_a_tenth_of_a_point():
    fig, axes = plots.new_figure()
    axes.plot([0, 0.333], [0, 0.777])
    places = [number for found in frames.PLACES.finditer(frames._svg(fig)) for number in found[2].split()]
    assert len(places) > 20 and not [number for number in places if len(number.partition(".")[2]) > 1]
