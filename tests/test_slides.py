"""The slides in a real browser, without a network: every page fits the screen and can be read from the last row.

Run with `make test-browser`. Screenshots of the tallest and of the first page go to build/screenshots.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import slides  # noqa: E402

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser does it")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not importlib.util.find_spec("sphinx_revealjs"), reason="`make slides` installs reveal.js"),
]

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Show each page in turn; return its place, its zoom, its lower edge and its width over the screen's, in pixels.
MEASURE = """() => Reveal.getSlides().map((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const box = slide.getBoundingClientRect();
  return { h, v, zoom: Number(slide.style.zoom || 1), bottom: box.bottom, over: slide.scrollWidth - slide.clientWidth };
})"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    with playwright.sync_playwright() as run:
        chromium = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The decks of all chapters, with what they load beside them."""
    out = tmp_path_factory.mktemp("slides")
    kept, slides.OUT = slides.OUT, out
    slides.copy_assets()
    slides.OUT = kept
    for path in CHAPTERS:
        deck = slides.page(slides.joined(nbformat.read(path, as_version=4)))
        (out / f"{path.stem}.html").write_text(deck, encoding="utf-8")
    return out


def open_deck(browser, path, height=720):
    """Open a deck; return its page, with lists of what it asked the network for and of errors."""
    page = browser.new_page(viewport={"width": height * 16 // 9, "height": height})
    page.asked, page.errors = [], []
    page.on("request", lambda r: page.asked.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]", timeout=180_000)
    return page


@pytest.mark.parametrize("height", [720, 1080])
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_page_fits_the_screen(browser, folder, path, height):
    page = open_deck(browser, folder / f"{path.stem}.html", height)
    pages = page.evaluate(MEASURE)
    assert len(pages) >= 10
    for place in pages:
        assert place["bottom"] <= height + 1 and place["over"] <= 1, place
        assert place["zoom"] >= 0.75, f"too small to read: {place}"
    assert page.locator("mjx-container").count() or "$" not in page.inner_text("body")
    assert not page.locator("mjx-merror").count()
    broken = page.evaluate("[...document.images].filter((i) => i.complete && !i.naturalWidth).length")
    assert not broken
    SHOTS.mkdir(parents=True, exist_ok=True)
    assert not page.asked and not page.errors
    tallest = max(pages, key=lambda place: place["bottom"])
    for name, place in (("first", pages[0]), ("tallest", tallest)):
        page.evaluate("([h, v]) => Reveal.slide(h, v)", [place["h"], place["v"]])
        page.screenshot(path=SHOTS / f"slides_{path.stem[:2]}_{name}_{height}.png")
    page.close()


def test_the_speaker_has_a_window_and_asks_before_the_finding_shows(browser, folder):
    page = open_deck(browser, folder / f"{CHAPTERS[3].stem}.html")
    page.evaluate(
        """() => {
          const place = Reveal.getIndices(document.querySelector(".fragment").closest("section"));
          Reveal.slide(place.h, place.v);
        }"""
    )
    finding = page.locator(".fragment").first
    assert finding.evaluate("element => getComputedStyle(element).visibility") == "hidden"
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    speaker.wait_for_function("document.body.innerText.includes('Ask first')")
    assert "of 45 minutes" in speaker.inner_text("body")
    page.bring_to_front()
    page.keyboard.press("Space")
    page.wait_for_function("getComputedStyle(document.querySelector('.fragment')).visibility === 'visible'")
    assert not page.errors
    speaker.close()
    page.close()


def test_a_page_that_is_too_tall_is_found(browser, folder):
    """The measure sees an overflow where there is one."""
    text = (folder / f"{CHAPTERS[0].stem}.html").read_text(encoding="utf-8")
    tall = '<section style="zoom: 1"><section><div style="height: 1500px">tall</div></section></section>'
    file = folder / "tall.html"
    file.write_text(text.replace('<div class="slides">', f'<div class="slides">{tall}'), encoding="utf-8")
    page = open_deck(browser, file)
    assert page.evaluate(MEASURE)[0]["bottom"] > 721
    page.close()
