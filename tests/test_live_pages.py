"""Pages that move without a kernel, in a real browser: from the disk, and nothing comes from elsewhere.

Run with `make test-browser`. Screenshots go to build/screenshots.
"""

import functools
import io
import re
import statistics
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import matplotlib.image as mpimg
import nbformat
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser does it")
pytest.importorskip("sphinx_revealjs", reason="MathJax comes with the extra book: make book installs it")

from test_browser import SHOTS, browser  # noqa: F401 - a fixture
from test_live import album, live, place
from test_readers import CHAPTERS_OWN, READING, said

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if (live.FOLDER / path.name[:2]).exists()]
SITES = {
    "html": ([ROOT / "tools" / "export.py"], ROOT / "build" / "html"),
    "book": (["-m", "sphinx", "-q", "-c", "docs", ".", "build/book"], ROOT / "build" / "book" / "notebooks"),
}


@pytest.fixture(scope="module", params=SITES)
def folder(request):
    """The chapters as `make html` and as `make book` writes them."""
    command, folder = SITES[request.param]
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
    SHOTS.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser):  # noqa: F811
    """Return a function that opens a page from the disk in a window of its own, and tells what went wrong there."""
    contexts, problems = [], []

    def note(request):
        if not request.url.startswith(("file:", "blob:", "data:")):
            problems.append(request.url)

    def open_page(path, **options):
        contexts.append(browser.new_context(offline=True, **{"viewport": {"width": 1100, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", note)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def explorers(page, chapter):
    """Bring each explorer of a page to life, its room opened; return each with its album."""
    there = live.albums(chapter.name[:2])
    for title in live.titles(nbformat.read(chapter, as_version=4)):
        heading = page.locator("p", has=page.locator(f"strong:text-is({title!r})")).first
        heading.evaluate("heading => heading.closest('details')?.setAttribute('open', '')")
        heading.scroll_into_view_if_needed()
        explorer = page.locator(f".live[aria-label={title!r}]")
        settle(explorer)
        yield explorer, album(there[title])


def settle(explorer):
    """Wait until an explorer rests."""
    explorer.and_(explorer.page.locator("[data-state=ready]")).wait_for(timeout=20_000)


# The places of all values of an explorer among those of its album, as its controls show them.
PLACES = """(root, values) => [...root.querySelectorAll(':scope > .control')].map((e, i) => {
  const control = e.querySelector('input[type=range], select'), text = e.querySelector('input[type=text], textarea');
  if (text) return values[i].indexOf(text.value);
  if (control) return control.selectedIndex ?? Number(control.value);
  return Math.max(0, [...e.querySelectorAll('input')].findIndex(radio => radio.checked));
})"""
TEXT = ":scope > .control :is(input[type=text], textarea)"
SEEN = "root => root.querySelector('[aria-live]').innerText"


def values_of(content):
    """Return the values of all controls of an album."""
    return [control["values"] for control in content["controls"]]


def check_said(explorer, content):
    """Compare the sentence on the page, and the picture's text, with what Python said for this setting."""
    settle(explorer)
    number = 0
    for control, value in zip(content["controls"], explorer.evaluate(PLACES, values_of(content)), strict=True):
        number = number * len(control["values"]) + value
    sentence = " ".join(content["sentences"][number].split())
    assert " ".join(explorer.evaluate(SEEN).split()) == sentence
    if sentence.startswith("Seen: "):
        assert " ".join(explorer.locator("img").get_attribute("alt").split()) == sentence.removeprefix("Seen: ")
        assert explorer.locator("img").evaluate("image => image.naturalWidth") > 100
    return number


def by_keyboard(explorer, content):
    """Move every control by its keys, and say how many settings were reached."""
    reached = set()
    for control in explorer.locator("input[type=range], input:checked, select").all():
        control.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
            explorer.page.keyboard.press(key)
            reached.add(check_said(explorer, content))
    return reached


def by_mouse(explorer, content):
    """Click at both ends of every slider, and on every radio button."""
    reached = set()
    for control in explorer.locator("input[type=range]").all():
        box = control.bounding_box()
        for share in (0.02, 0.98):
            control.click(position={"x": share * box["width"], "y": box["height"] / 2})
            reached.add(check_said(explorer, content))
    for control in explorer.locator("fieldset label").all():
        control.click()
        reached.add(check_said(explorer, content))
    return reached


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_explorer_moves_and_says_what_python_says(folder, open_page, chapter):
    page = open_page(folder / f"{chapter.stem}.html")
    for explorer, content in explorers(page, chapter):
        start = check_said(explorer, content)
        assert start == place(content), "the page begins with the stored setting"
        picture = explorer.locator("img").get_attribute("src")
        assert len(by_keyboard(explorer, content)) > 1, content["title"]
        assert explorer.locator("img").get_attribute("src") != picture
        assert by_mouse(explorer, content)
        for name, wanted in content["presets"].items():
            explorer.get_by_role("button", name=name, exact=True).click()
            check_said(explorer, content)
            shown = explorer.evaluate(PLACES, values_of(content))
            assert all(want is None or want == there for want, there in zip(wanted, shown, strict=True)), name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_controls_have_names_and_the_finding_is_announced(folder, open_page):
    page = open_page(folder / f"{CHAPTERS[0].stem}.html")
    for explorer, content in explorers(page, CHAPTERS[0]):
        assert explorer.get_attribute("role") == "group"
        assert explorer.locator("[aria-live=polite]").count() == 1
        for control in content["controls"]:
            role = {"slider": "slider", "choice": "group"}[control["kind"]]
            if max(map(len, control["values"])) > 30:
                role = "combobox"
            named = explorer.get_by_role(role, name=control["name"], exact=True)
            assert named.count() == 1, control["name"]
            if role == "slider":
                assert named.get_attribute("aria-valuetext") == control["values"][control["start"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(folder, open_page, scheme):
    """The page is no wider than a phone; a picture may be, and then it scrolls and can be read."""
    for chapter in CHAPTERS:
        page = open_page(
            folder / f"{chapter.stem}.html", viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True
        )
        for number, (explorer, _) in enumerate(explorers(page, chapter)):
            assert explorer.locator("img").bounding_box()["width"] >= 500
            explorer.scroll_into_view_if_needed()
            page.screenshot(path=SHOTS / f"live_{folder.parent.name}_{scheme}_{chapter.name[:2]}_{number}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()


class Quiet(SimpleHTTPRequestHandler):
    """A server that doesn't write down what it is asked for."""

    def log_message(self, *args):
        pass


@pytest.fixture
def server(folder):
    """The address of the chapters on a local server."""
    top = folder if folder.name == "html" else folder.parent
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=top)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.relative_to(top).as_posix()}"
        server.shutdown()


def test_pages_from_a_local_server_need_nothing_else(server, browser):  # noqa: F811
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    here, problems = server.partition("/notebooks")[0].rstrip("/."), []

    def refuse(route):
        problems.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(here), refuse)
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda response: problems.append(response.url) if response.status >= 400 else None)
    for chapter in CHAPTERS:
        page.goto(f"{server}/{chapter.stem}.html")
        for explorer, content in explorers(page, chapter):
            assert check_said(explorer, content) == place(content)
            explorer.locator("input[type=range], input:checked, select").first.press("ArrowRight")
            check_said(explorer, content)
            if "reads" in content:
                explorer.locator(TEXT).fill(TYPED[content["reads"]][0])
                settle(explorer)
                assert explorer.evaluate(SEEN).startswith("Seen: ")
    context.close()
    assert not problems


MODES = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced on light": {"color_scheme": "light", "forced_colors": "active"},
    "forced on dark": {"color_scheme": "dark", "forced_colors": "active"},
}


@pytest.mark.parametrize("mode", MODES)
def test_explorers_can_be_read_in_every_colour_scheme(folder, open_page, mode):
    """Every word has a contrast of 4.5 or more, whoever chooses the colours; the focus is framed."""
    page = open_page(folder / f"{CHAPTERS[2].stem}.html", **MODES[mode])
    for explorer, _ in explorers(page, CHAPTERS[2]):
        assert not explorer.evaluate(FAINT)
        for control in explorer.locator("input[type=range], button").all()[:2]:
            control.press("Shift")  # a key shows where the focus is
            assert control.evaluate("e => getComputedStyle(e).outlineStyle === 'solid'")
    page.screenshot(path=SHOTS / f"live_{folder.parent.name}_{mode.replace(' ', '_')}.png")


# Texts of an explorer whose contrast to the page is below 4.5 (WCAG 2.2).
FAINT = """root => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => channels(colour).slice(0, 3).reduce((sum, c, i) => {
    const share = c / 255;
    return sum + [0.2126, 0.7152, 0.0722][i] * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ground = e => {
    const colour = getComputedStyle(e).backgroundColor;
    return (channels(colour)[3] ?? 1) > 0 ? colour : e.parentElement ? ground(e.parentElement) : 'rgb(255, 255, 255)';
  };
  return [...root.querySelectorAll('label, legend, output, p, button, span, select, input[type=text]')].filter(e => {
    const [a, b] = [getComputedStyle(e).color, ground(e)].map(luminance);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  }).map(e => e.outerHTML.slice(0, 80));
}"""


@pytest.mark.parametrize("mode", MODES)
def test_a_dark_page_is_dark_and_forced_colours_are_left_alone(folder, open_page, mode):
    """The screen as it is seen, figures too, at the first explorer; a figure in forced colours may stay white."""
    page = open_page(folder / f"{CHAPTERS[2].stem}.html", **MODES[mode])
    explorer, _ = next(explorers(page, CHAPTERS[2]))
    explorer.locator("img").scroll_into_view_if_needed()
    text = mpimg.imread(io.BytesIO(page.locator("h1").first.screenshot()))[..., :3].mean(axis=-1)
    assert (np.median(text) < 0.3) == mode.endswith("dark")
    if not mode.startswith("forced"):
        explorer.locator("img").scroll_into_view_if_needed()
        seen = mpimg.imread(io.BytesIO(page.screenshot()))[..., :3].mean(axis=-1)
        assert (np.median(seen) < 0.3) == (mode == "dark")
        assert mode == "light" or (seen > 0.9).mean() < 0.05, "a white area is left"


def test_a_reader_who_wants_no_motion_gets_none(folder, open_page):
    moving = """() => [...document.querySelectorAll('*')].filter(e => {
      const style = getComputedStyle(e);
      const waits = style.transitionDuration.split(', ').some(time => parseFloat(time) > 0);
      return waits || style.animationName !== 'none' || style.scrollBehavior === 'smooth';
    }).map(e => e.outerHTML.slice(0, 80))"""
    page = open_page(folder / f"{CHAPTERS[2].stem}.html", reduced_motion="reduce")
    next(explorers(page, CHAPTERS[2]))
    assert not page.evaluate(moving)


def test_without_javascript_the_stored_page_remains(folder, open_page):
    page = open_page(folder / f"{CHAPTERS[0].stem}.html", java_script_enabled=False)
    for title in live.titles(nbformat.read(CHAPTERS[0], as_version=4)):
        assert page.get_by_text(title, exact=True).count()
    assert page.get_by_text("Run this cell in JupyterLab to move:").count() and page.get_by_text("Seen:").count()
    assert not page.locator(".live").count()


def test_the_temperature_desk_reads_what_is_typed(folder, open_page):
    chapter = next(path for path in CHAPTERS if path.name.startswith("02"))
    page = open_page(folder / f"{chapter.stem}.html")
    desk = next(explorer for explorer, content in explorers(page, chapter) if "prefix" in content)
    text, written = desk.locator(".writer input[type=text]"), desk.locator(".written")
    for typed in ("The traveller ", "a machine "):
        text.fill(typed)
        page.wait_for_function(
            "start => document.querySelector('.written').innerText.startsWith(start)", arg=typed.lower()
        )
        assert len(written.inner_text()) > 100
    before = written.inner_text()
    desk.locator(".writer input[type=range]").press("End")
    page.wait_for_function("before => document.querySelector('.written').innerText !== before", arg=before)
    text.fill("café")
    assert "Not possible: the network has never read “é”." in desk.locator(".writer").inner_text()


def shown_values(explorer, content):
    """Return the values of all controls as Python takes them."""
    places = explorer.evaluate(PLACES, values_of(content))[1:]
    labels = [control["values"][place] for control, place in zip(content["controls"][1:], places, strict=True)]
    typed = explorer.locator(TEXT).input_value()
    return [typed, *(int(label) if label.isdecimal() else label for label in labels)]


def check_read(explorer, content, python):
    """Compare the sentence on the page, and the picture's text, with what Python says of what is typed."""
    settle(explorer)
    sentence = " ".join(said(python, shown_values(explorer, content)).split())
    what, _, shown = " ".join(explorer.evaluate(SEEN).split()).partition(": ")
    assert shown == sentence
    if what == "Seen":
        assert " ".join(explorer.locator("img").get_attribute("alt").split()) == sentence
        assert explorer.locator("img").evaluate("image => image.naturalWidth") > 100
    return what


TYPED = {
    "Connectivity": ("the machine was not there and nobody had seen it", "He said that nothing was to be said of him"),
    "RunningVerdict": ("Not a good film.", "I wanted to hate it, but it is wonderful!"),
    "UnrollStepper": ("He is a Morlock!", "banana"),
    "GateConsole": ("The machine began to hum", "zzz zzz"),
    "AttentionInspector": ("weena", "chrononaut"),
    "BeamTree": ("weena", "chrononaut"),
}


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_explorers_read_what_is_typed(folder, open_page, path):
    (chapter,) = (chapter for chapter in CHAPTERS if chapter.name[:2] == path.parent.name)
    python, content = CHAPTERS_OWN[album(path)["reads"]](), album(path)
    page = open_page(folder / f"{chapter.stem}.html")
    explorer = next(explorer for explorer, found in explorers(page, chapter) if found == content)
    field = explorer.get_by_label(content["controls"][0]["name"], exact=True)
    picture, seconds = explorer.locator("img").get_attribute("src"), []
    for text in TYPED[content["reads"]]:
        explorer.evaluate(WATCH)
        field.fill(text)
        seconds.append(explorer.evaluate("root => root.moved"))
        assert check_read(explorer, content, python) == "Seen"
        for control in explorer.locator("input[type=range], input:checked").all():
            for key in ("ArrowRight", "ArrowLeft"):
                explorer.evaluate(WATCH)
                control.press(key)
                seconds.append(explorer.evaluate("root => root.moved"))
                assert check_read(explorer, content, python) == "Seen"
        assert explorer.locator("img").get_attribute("src") != picture
    explorer.screenshot(path=SHOTS / f"typed_{folder.parent.name}_{content['reads']}.png")
    picture = explorer.locator("img").get_attribute("src")
    field.fill("ça 1")
    if content["reads"] == "RunningVerdict":  # reads any text
        assert check_read(explorer, content, python) == "Seen"
    else:
        assert check_read(explorer, content, python) == "Not possible"
        assert explorer.locator("img").get_attribute("src") == picture, "the last possible picture stays"
    for drawn in content["controls"][0]["values"]:
        field.fill(drawn)
        check_said(explorer, content)
    print(f"\n{content['reads']}: a move took {statistics.median(seconds):.0f} ms, at most {max(seconds):.0f}")


def test_a_network_learns_in_the_page(folder, open_page):
    if folder.name == "html":
        pytest.skip("make html has chapters alone")
    page = open_page(folder.parent / "docs" / "train.html", viewport={"width": 390, "height": 844})
    go, state = page.locator("#train-go"), page.locator("#train")
    finding = page.locator("#train-finding")
    go.click()
    page.wait_for_function("document.getElementById('train-finding').innerText.match(/: (\\d+) epochs/)?.[1] >= 12")
    go.focus()
    page.keyboard.press("Enter")
    assert state.get_attribute("data-state") == "stopped" and go.inner_text() == "Go on"
    said = finding.inner_text()
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", said)]
    _, train, _, best, _, uniform, unigram = numbers
    assert train < best < unigram < uniform, said
    sample = page.locator("#train-sample").inner_text()
    assert sample.startswith("the ") and len(sample) > 100
    page.locator("#train-temperature").press("Home")
    assert page.locator("#train-sample").inner_text() != sample
    page.wait_for_timeout(300)
    assert finding.inner_text() == said, "it stopped"
    page.locator("#train-text").fill("too short")
    page.locator("#train-text").blur()
    go.click()
    assert finding.inner_text() == "Not possible: a text of 9 characters is too short: take 300 or more."
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_time_of_a_move_is_told(folder, open_page):
    """Not judged, because machines differ."""
    page = open_page(folder / f"{CHAPTERS[0].stem}.html")
    explorer, _ = next(explorers(page, CHAPTERS[0]))
    slider, seconds = explorer.locator("input[type=range]").first, []
    for key in 5 * ["ArrowRight", "ArrowLeft"]:
        slider.focus()
        explorer.evaluate(WATCH)
        page.keyboard.press(key)
        seconds.append(explorer.evaluate("root => root.moved"))
    print(
        f"\na move took {statistics.median(seconds):.0f} ms until its picture was decoded, at most {max(seconds):.0f}"
    )


# Measure from the next input until its picture is decoded.
WATCH = """root => {
  root.moved = new Promise(resolve => root.addEventListener('input', () => {
    const start = performance.now();
    setTimeout(() => root.querySelector('img').decode().then(() => resolve(performance.now() - start)));
  }, {once: true, capture: true}));
}"""
