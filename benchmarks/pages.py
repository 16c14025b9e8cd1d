"""How long does an explorer of the web edition take to answer, and a page to become ready? On one core, in Chromium.

    make book
    python -m benchmarks.pages

Opens each chapter of build/book from the disk, at first without MathJax, whose formulas cost what they cost: the
seconds until the first explorer moves. Then the reader moves every explorer: by arrow keys, by its presets and, where
its network is in the page, by typing letters. A move's time runs from the key to the moment when its new picture is
decoded; what the processor did in it counts all processes of the browser, so that other work on the machine disturbs
it less. Needs Chromium, and what `make test-browser` installs.
"""

import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import nbformat
import psutil

from benchmarks import record

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "build" / "book" / "notebooks"
TURNS = 6  # moves of each kind, an explorer

# Start a clock at the next key or click, and stop it when another picture is decoded; null when none came within 5 s.
WATCH = """root => { root.moved = new Promise(resolve => {
  const image = root.querySelector('img'), before = image.src, give_up = setTimeout(() => resolve(null), 5000);
  let start;
  const begin = event => { start ??= event.timeStamp; };
  const once = {once: true, capture: true};
  for (const kind of ['keydown', 'pointerdown', 'input']) root.addEventListener(kind, begin, once);
  new MutationObserver((_, watcher) => {
    if (image.src === before) return;
    watcher.disconnect();
    image.decode().then(() => { clearTimeout(give_up); resolve(performance.now() - start); });
  }).observe(image, {attributes: true, attributeFilter: ['src']});
}); }"""

# Bring the first explorer of a page in sight and wait until it moves; the milliseconds since the page was asked for.
FIRST = """async () => {
  const asks = heading => heading.parentElement.textContent.includes('Predict first:');
  const heading = [...document.querySelectorAll('p > strong')].find(asks);
  heading.closest('details')?.setAttribute('open', '');
  while (!document.querySelector('.live[data-state=ready]')) {
    heading.scrollIntoView();
    await new Promise(done => setTimeout(done, 5));
  }
  return performance.now();
}"""


def busy():
    """Return the CPU seconds of all processes of the browser so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def ready(page, path):
    """Open a page and return the seconds until its first explorer moves."""
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_load_state("domcontentloaded")
    return page.evaluate(FIRST) / 1000


def moved(explorer, act, count):
    """Return the milliseconds of so many moves that changed the picture, and the CPU milliseconds of one."""
    times, start, done = [], busy(), 0
    for number in range(count):
        explorer.evaluate(WATCH)
        act(number)
        if (ms := explorer.evaluate("root => root.moved")) is not None:
            times.append(ms)
        done += 1
        explorer.page.wait_for_timeout(250)  # until its finding is said
    return times, 1000 * (busy() - start) / done


def ways(explorer):
    """Yield each way to move an explorer, its name and what does it."""
    keys = explorer.page.keyboard
    control = explorer.locator("input[type=range], input:checked, select").first
    control.focus()
    yield "keys", lambda number: keys.press("ArrowLeft" if number % 2 else "ArrowRight")
    presets = explorer.locator(".presets button").all()
    if len(presets) > 1:
        yield "presets", lambda number: presets[number % len(presets)].click()
    field = explorer.locator(":scope > .control input[type=text], :scope > .control textarea")
    if field.count():
        field.first.focus()
        keys.press("End")
        yield "typing", lambda number: keys.press("Backspace" if number % 2 else "e")


def measure(page, chapter):
    """Yield a row for each explorer of an open page and each way to move it."""
    for cell in nbformat.read(chapter, as_version=4).cells:
        for output in cell.get("outputs", []):
            title, found, _ = output.get("data", {}).get("text/plain", "").partition(". Predict first: ")
            if not found:
                continue
            heading = page.locator("p", has=page.locator(f"strong:text-is({title!r})")).first
            heading.evaluate("heading => heading.closest('details')?.setAttribute('open', '')")
            heading.scroll_into_view_if_needed()
            explorer = page.locator(f".live[aria-label={title!r}]")
            explorer.and_(page.locator("[data-state=ready]")).wait_for(timeout=60_000)
            for name, act in ways(explorer):
                times, cpu = moved(explorer, act, TURNS)
                if times:
                    row = {"page": chapter.name[:2], "explorer": title.partition(" (")[0], "by": name}
                    yield row | {
                        "ms": round(statistics.median(times)),
                        "slowest": round(max(times)),
                        "cpu_ms": round(cpu),
                    }


def main():
    """Measure all chapters and write the records ``pages`` and ``moves``."""
    from playwright.sync_api import sync_playwright

    if not BOOK.exists():
        sys.exit("There is no build/book: run `make book` first")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the browser inherits it
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    pages, moves, start = [], [], time.perf_counter()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for chapter in sorted((ROOT / "notebooks").glob("*.ipynb")):
            path, row = BOOK / f"{chapter.stem}.html", {"page": chapter.name[:2]}
            for name, blocked in (("ready_s", "**/mathjax/**"), ("with_formulas_s", "")):
                page = browser.new_page(viewport={"width": 1100, "height": 900})
                if blocked:
                    page.route(blocked, lambda route: route.abort())
                row[name] = round(ready(page, path), 2)
                if not blocked:
                    page.wait_for_function(
                        "!window.MathJax || MathJax.startup.promise.then(() => true)", timeout=60_000
                    )
                    moves += measure(page, chapter)
                page.close()
            pages.append(row)
            print(row, *moves[-12:], sep="\n", flush=True)
        browser.close()
    record.write("pages", pages, "Seconds until the first explorer of a page moves, on one core.")
    median = {
        way: statistics.median(row["ms"] for row in moves if row["by"] == way) for way in ("keys", "presets", "typing")
    }
    said = ", ".join(f"by {way} {ms:.0f}" for way, ms in median.items())
    title = f"Milliseconds until a move's picture is decoded, on one core, medians of {TURNS}. The median row: {said}."
    record.write("moves", moves, title, "python -m benchmarks.pages")
    print(f"{title} {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
