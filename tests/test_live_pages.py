"""Pages that move without a kernel, in a real browser: from the disk, and nothing comes from elsewhere.

Run with `make test-browser`. Screenshots go to build/screenshots.
"""

import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser does it")
pytest.importorskip("sphinx_revealjs", reason="MathJax comes with the extra book: make book installs it")

from test_browser import SHOTS, browser  # noqa: F401 - a fixture
from test_live import album, live, place

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
    """Bring each explorer of a page to life; return each with its album."""
    there = live.albums(chapter.name[:2])
    for title in live.titles(nbformat.read(chapter, as_version=4)):
        page.locator("p", has=page.locator(f"strong:text-is({title!r})")).first.scroll_into_view_if_needed()
        explorer = page.locator(f".live[aria-label={title!r}]")
        settle(explorer)
        yield explorer, album(there[title])


def settle(explorer):
    """Wait until an explorer rests."""
    explorer.and_(explorer.page.locator("[data-state=ready]")).wait_for(timeout=20_000)


# The places of all values of an explorer, as its controls show them.
PLACES = """root => [...root.querySelectorAll(':scope > .control')].map(e => {
  const control = e.querySelector('input[type=range], select');
  if (control) return control.selectedIndex ?? Number(control.value);
  return Math.max(0, [...e.querySelectorAll('input')].findIndex(radio => radio.checked));
})"""
SEEN = "root => root.querySelector('[aria-live]').innerText"


def check_said(explorer, content):
    """Compare the sentence on the page, and the picture's text, with what Python said for this setting."""
    settle(explorer)
    number = 0
    for control, value in zip(content["controls"], explorer.evaluate(PLACES), strict=True):
        number = number * len(control["values"]) + value
    sentence = " ".join(content["sentences"][number].split())
    assert " ".join(explorer.evaluate(SEEN).split()) == sentence
    if content["pictures"][number]:
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
            shown = explorer.evaluate(PLACES)
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


def test_without_javascript_the_stored_page_remains(folder, open_page):
    page = open_page(folder / f"{CHAPTERS[0].stem}.html", java_script_enabled=False)
    for title in live.titles(nbformat.read(CHAPTERS[0], as_version=4)):
        assert page.get_by_text(title, exact=True).count()
    assert page.get_by_text("Run this cell in JupyterLab to move:").count() and page.get_by_text("Seen:").count()
    assert not page.locator(".live").count()


def test_the_temperature_desk_reads_what_is_typed(folder, open_page):
    chapter = next(path for path in CHAPTERS if path.name.startswith("02"))
    page = open_page(folder / f"{chapter.stem}.html")
    desk = next(explorer for explorer, content in explorers(page, chapter) if "network" in content)
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
