"""Real JupyterLab in a real browser: chapters run, sliders redraw, the stop button leaves a usable model.

Run with `make test-browser`. Screenshots go to build/screenshots.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser does it")
TimeoutError, expect, sync_playwright = playwright.TimeoutError, playwright.expect, playwright.sync_playwright

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "a-token-for-tests"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Lab:
    """A JupyterLab server on a copy of the chapters."""

    def __init__(self, folder, port):
        self.folder, self.base = folder, f"http://127.0.0.1:{port}"

    def get(self, path):
        with urllib.request.urlopen(f"{self.base}{path}?token={TOKEN}", timeout=10) as answer:
            return json.load(answer)

    def stop_kernels(self):
        """End all kernels, so that the next test has the machine to itself."""
        for session in self.get("/api/sessions"):
            address = f"{self.base}/api/sessions/{session['id']}?token={TOKEN}"
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=20)

    def url(self, notebook):
        return f"{self.base}/lab/workspaces/{notebook[:2]}/tree/{notebook}?token={TOKEN}&reset"

    def wait_for_kernel(self, notebook, state="idle", seconds=300):
        """Wait until this notebook's kernel is in a state; the page's own indicator is true too early."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for session in self.get("/api/sessions"):
                kernel = session["kernel"]
                here = session["path"] == notebook and kernel["connections"] > 0
                if here and kernel["execution_state"] == state:
                    return
            time.sleep(0.2)
        pytest.fail(f"the kernel of {notebook} was not {state} within {seconds} s")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    course, settings = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("settings")
    folder = course / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / "delays.txt").unlink(missing_ok=True)
    news = settings / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (news / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    tracker = settings / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    every_cell = {"windowingMode": "none"}  # also those that are out of sight, so that they can be found
    (tracker / "tracker.jupyterlab-settings").write_text(json.dumps(every_cell))
    port = free_port()
    own = {
        name: str(tmp_path_factory.mktemp("own")) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={folder}", "--LabApp.extension_manager=readonly"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    environment = os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(settings), "RNNLIB_LIVE": "1"}
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        here = Lab(folder, port)
        for _ in range(900):
            try:
                here.get("/api")
                break
            except OSError:
                time.sleep(0.2)
        yield here
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, lab):
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    page.console_errors = []
    page.on("console", lambda message: page.console_errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.console_errors.append(str(error)))
    yield page
    page.close()
    lab.stop_kernels()


def write_notebook(lab, name, *cells):
    """Put a small notebook beside the chapters."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, lab.folder / name)


def open_notebook(lab, page, name):
    page.goto(lab.url(name))
    page.locator(".jp-Notebook").wait_for()
    lab.wait_for_kernel(name)
    page.get_by_text("| Idle").wait_for()


def run_all(lab, page, name, wait=True):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    if wait:
        time.sleep(2)
        waiting = "!document.querySelector('.jp-Notebook').innerText.includes('[*]')"
        page.wait_for_function(waiting, timeout=400_000, polling=500)
        lab.wait_for_kernel(name)


SEEN = """cell => [cell.querySelector('.jp-RenderedImage img')?.src,
                 [...cell.querySelectorAll('.jp-OutputArea-output.jp-RenderedMarkdown')].at(-1)?.innerText]"""
# What has the focus: the kind of control, its label and its value; null outside an explorer.
FOCUS = """() => {
  const e = document.activeElement, box = e.closest('.widget-vbox');
  const row = e.closest('.widget-inline-hbox, .widget-toggle-buttons');
  if (!box) return null;
  const option = e.classList.contains('widget-toggle-button');
  const kind = option ? 'option'
    : e.getAttribute('role') || (e.isContentEditable ? 'readout' : e.type || e.tagName.toLowerCase());
  const labels = kind === 'submit' ? [e] : [...row.querySelectorAll('label')];
  const label = labels.map(l => l.innerText).join('').replaceAll('\u200b', '').trim();
  const now = e.getAttribute('aria-valuenow');
  const state = {option: e.classList.contains('mod-active'), checkbox: e.checked, slider: now};
  return {kind, label, value: kind in state ? state[kind] : e.value};
}"""
KEYS = {
    "slider": ("Home", "End", "ArrowLeft"),
    "option": ("Space",),
    "checkbox": ("Space", "Space"),
    "text": ("Enter",),
    "submit": ("Enter",),
    "readout": (),
}


def go_to_cell(page, number):
    """Select a cell with the arrow keys, in command mode."""
    position = page.locator(".jp-StatusBar-TextItem", has_text=re.compile(r"^Cell \d+/\d+$"))
    page.evaluate("document.querySelector('.jp-Cell.jp-mod-active').focus()")
    while (here := int(position.inner_text().split()[1].split("/")[0])) != number + 1:
        page.keyboard.press("ArrowDown" if here <= number else "ArrowUp")
        expect(position).not_to_contain_text(f"Cell {here}/")  # the bar lags behind the keys
    expect(position).to_contain_text(f"Cell {number + 1}/")


def explorer_cells(page):
    return page.locator(".jp-CodeCell:has(.jupyter-widgets)")


def picture(cell):
    return cell.locator(".jp-RenderedImage img").first


def press(page, cell, key):
    """Press a key; return the seconds until the picture was another one, or None, and whether the sentence changed."""
    old, focus = cell.evaluate(SEEN), page.evaluate(FOCUS)
    start = time.perf_counter()
    page.keyboard.press(key)
    if focus["kind"] not in ("submit", "text", "textarea") and page.evaluate(FOCUS)["value"] == focus["value"]:
        return None, False  # a slider at its end stays there
    changed = f"a => {{ const now = ({SEEN})(a[0]); return now[a[1]] && now[a[1]] !== a[2]; }}"
    handle, seconds = cell.element_handle(), None
    patience = 2_000 if focus["kind"] == "submit" else 20_000  # a preset may be what is set already
    try:
        page.wait_for_function(changed, arg=[handle, 0, old[0]], polling=10, timeout=patience)
        seconds = time.perf_counter() - start
        page.wait_for_function(changed, arg=[handle, 1, old[1]], polling=10, timeout=2_000)
    except TimeoutError:
        return seconds, False
    return seconds, True


def enter(page):
    """Press Tab until the first control of the selected explorer has the focus, past the buttons of the cell."""
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS):
            return
    pytest.fail("the Tab key reaches no control")


def drive(page, cell):
    """Tab through the controls of the selected explorer and press keys on each.

    Returns:
        dict: by the label of each control and preset, in the order of the Tab key, the list of what `press` found.
    """
    found = {}
    enter(page)
    while (focus := page.evaluate(FOCUS)) and cell.evaluate("cell => cell.contains(document.activeElement)"):
        if focus["kind"] == "text":  # seen after Enter
            page.keyboard.press("Home")
            page.keyboard.type("no ")
        if focus["kind"] == "textarea":  # seen after leaving it
            page.keyboard.type(" awful")
            found[focus["label"]] = [press(page, cell, "Tab")]
            continue
        if KEYS[focus["kind"]]:
            found.setdefault(focus["label"], []).extend(press(page, cell, key) for key in KEYS[focus["kind"]])
        page.keyboard.press("Tab")
    return found


def check_driven(explorer, found):
    """Every control is reached in its order and changes the picture, and some change the sentence."""
    labels = [control.description for control in explorer.controls.values()]
    assert list(found) == [*labels, *explorer.presets]
    for label in labels:
        assert any(seconds for seconds, _ in found[label]), f"{label} changes no picture"
    assert any(sentence for presses in found.values() for _, sentence in presses)


def report(name, found):
    """Print the median of the seconds from key press to new picture, and keep it beside the screenshots."""
    delays = [seconds for presses in found.values() for seconds, _ in presses if seconds]
    line = f"{name}: {1000 * statistics.median(delays):.0f} ms from key press to new picture (median of {len(delays)})"
    print(f"\n{line}")
    with open(SHOTS / "delays.txt", "a") as file:
        file.write(f"{line}\n")


def check_quiet(lab, page):
    """Nothing has gone wrong: no error on the console of the browser, in the server's log, or in an output."""
    assert not [text for text in page.console_errors if "favicon" not in text]
    told = page.locator(".jp-RenderedMarkdown strong", has_text=re.compile("^Error:"))
    assert not told.count(), "an explorer tells of an error"
    tracebacks = (lab.folder / "server.log").read_text().split("Traceback")[1:]
    # Servers and kernels that lose their page complain too; what matters is our code.
    assert not [text for text in tracebacks if f"{os.sep}rnnlib{os.sep}explore{os.sep}" in text]


def save(lab, page, name):
    """Save by keyboard; return the notebook as it is on the disk."""
    path = lab.folder / name
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    for _ in range(600):
        if path.stat().st_mtime_ns != before:
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{name} was not saved")
    page.locator(f".lm-TabBar-tab.jp-mod-dirty:has-text('{name}')").wait_for(state="detached")
    return nbformat.read(path, 4)


EXPLORERS = """
import rnnlib
device = rnnlib.setup(0)
from rnnlib import explore
explorer_class, arguments = explore.catalogue()[{name!r}]
explorer = explorer_class(**arguments)
explorer.show()
"""


def names():
    from rnnlib import explore

    return list(explore.catalogue())


def build(name):
    from rnnlib import explore

    explorer, arguments = explore.catalogue()[name]
    return explorer(**arguments)


def back_and_forth(cell):
    """Return two moves of an explorer, each a key and its control, the second of which undoes the first."""
    sliders, options = cell.locator("[role=slider]"), cell.locator(".widget-toggle-buttons").first.locator("button")
    if not sliders.count():
        set_now = options.evaluate_all("all => all.findIndex(e => e.classList.contains('mod-active'))")
        return [("Space", options.nth(1 - min(set_now, 1))), ("Space", options.nth(set_now))]
    value, highest = (sliders.first.get_attribute(f"aria-value{name}") for name in ("now", "max"))
    keys = ("ArrowLeft", "ArrowRight") if float(value) == float(highest) else ("ArrowRight", "ArrowLeft")
    return [(key, sliders.first) for key in keys]


@pytest.mark.parametrize("name", names())
def test_every_explorer_by_keyboard_alone(lab, page, name):
    notebook = f"explorer_{name}.ipynb"
    write_notebook(lab, notebook, EXPLORERS.format(name=name))
    open_notebook(lab, page, notebook)
    page.keyboard.press("Control+Enter")
    cell = explorer_cells(page).first
    picture(cell).wait_for(timeout=120_000)
    lab.wait_for_kernel(notebook)
    found = drive(page, cell)
    check_driven(build(name), found)
    time.sleep(1)  # the last picture may still be on its way
    lab.wait_for_kernel(notebook)
    first = save(lab, page, notebook)
    size = (lab.folder / notebook).stat().st_size
    assert [set(output.data) & {"image/png", "text/markdown"} for output in first.cells[0].outputs] == [
        {"text/markdown"},
        {"image/png"},
        {"text/markdown"},
    ]
    assert "widgets" not in first.metadata, "state of widgets in the saved file"
    # Back and forth: neither the page nor the file grows.
    before = cell.evaluate(SEEN)
    for _ in range(5):
        for key, control in back_and_forth(cell):
            control.focus()
            press(page, cell, key)
    time.sleep(1)
    lab.wait_for_kernel(notebook)
    after = cell.evaluate(SEEN)
    again = save(lab, page, notebook)
    assert len(again.cells[0].outputs) == 3 and cell.locator(".jp-RenderedImage img").count() == 1
    assert (lab.folder / notebook).stat().st_size == pytest.approx(size, rel=0.1)
    assert name in MEASURED or after[1] == before[1]
    cell.screenshot(path=SHOTS / f"{name}.png")
    check_quiet(lab, page)
    report(name, found)


# Their findings hold a measured speed.
MEASURED = ("HiddenSizeLab", "SpeedRace")


FAULTY = """
import ipywidgets
from rnnlib import explore, plots
class Faulty(explore.Explorer):
    title, question = "Faulty", "what happens at 7?"
    def measure(self, n): return 1 / (7 - n)
    def draw(self, data): return plots.new_figure()[0]
    def describe(self, data): return f"It is {data}."
Faulty(n=ipywidgets.IntSlider(3, min=1, max=7, description="n")).show()
"""


def test_error_in_a_callback_is_found(lab, page):
    """A planted fault: at its maximum the slider's callback fails, and the checks of the other tests see it."""
    write_notebook(lab, "faulty.ipynb", FAULTY)
    open_notebook(lab, page, "faulty.ipynb")
    page.keyboard.press("Control+Enter")
    picture(explorer_cells(page).first).wait_for(timeout=60_000)
    enter(page)
    page.keyboard.press("End")
    page.get_by_text("Error: ZeroDivisionError").wait_for()
    with pytest.raises(AssertionError, match="tells of an error"):
        check_quiet(lab, page)


def test_explorers_fit_a_projector_at_150_percent(lab, browser):
    """1280 x 800 pixels, zoomed: nothing beyond the edge, no name cut off. The screenshots are for the eye."""
    page = browser.new_page(viewport={"width": 1280, "height": 1100}, device_scale_factor=1.5)
    try:
        write_notebook(lab, "zoom.ipynb", *[EXPLORERS.format(name=name) for name in names()])
        open_notebook(lab, page, "zoom.ipynb")
        page.keyboard.press("Control+b")  # the list of files is put away, as in a lecture
        run_all(lab, page, "zoom.ipynb")
        page.set_viewport_size({"width": 853, "height": 533})
        go_to_cell(page, 0)
        too_wide = []
        for number, name in enumerate(names()):
            go_to_cell(page, number)
            active = page.locator(".jp-CodeCell.jp-mod-active")
            picture(active).wait_for()
            too_wide += [f"{name}: {text}" for text in active.evaluate(BEYOND)]
            active.locator(".jp-OutputArea").first.screenshot(path=SHOTS / f"zoom_{name}.png")
        assert not too_wide, too_wide
    finally:
        page.close()
        lab.stop_kernels()


# The texts of what is cut off at an edge.
BEYOND = """cell => {
  const edge = cell.querySelector('.jp-OutputArea').getBoundingClientRect().right + 1;
  const parts = [...cell.querySelectorAll('.jupyter-widgets, .jp-RenderedImage img')];
  const beyond = parts.filter(e => e.getBoundingClientRect().right > edge).map(e => e.innerText || e.tagName);
  const labels = [...cell.querySelectorAll('.widget-label, .widget-button')];
  return [...beyond, ...labels.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => 'cut off: ' + e.innerText)];
}"""


FOUR_SLIDERS = """
import ipywidgets as widgets
from rnnlib import explore, plots
class Sliders(explore.Explorer):
    title, question = "Sliders", "which keys move them?"
    def measure(self, **values): return values
    def draw(self, data): return plots.new_figure()[0]
    def describe(self, data): return f"They are at {data}."
Sliders(
    whole=widgets.IntSlider(3, min=0, max=9), real=widgets.FloatSlider(0.5, min=0, max=1, step=0.1),
    power=widgets.FloatLogSlider(1.0, min=-2, max=2), listed=widgets.SelectionSlider(options=[1, 5, 7], value=5)
).show()
"""


def test_arrow_keys_move_every_kind_of_slider(lab, page):
    """They stay with the slider that has the focus: JupyterLab doesn't go to another cell, even at a slider's end."""
    write_notebook(lab, "sliders.ipynb", "1", FOUR_SLIDERS, "2")
    open_notebook(lab, page, "sliders.ipynb")
    run_all(lab, page, "sliders.ipynb")
    sliders = page.locator("[role=slider]").all()
    assert len(sliders) == 4
    for slider in sliders:
        slider.focus()
        start = float(slider.get_attribute("aria-valuenow"))
        for keys in (("ArrowRight", "ArrowLeft"), ("ArrowUp", "ArrowDown")):
            page.keyboard.press(keys[0])
            assert float(slider.get_attribute("aria-valuenow")) > start
            page.keyboard.press(keys[1])
            assert float(slider.get_attribute("aria-valuenow")) == start
        page.keyboard.press("End")
        for key in ("ArrowRight", "ArrowUp"):
            page.keyboard.press(key)
            assert slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
            expect(slider).to_be_focused()
            expect(page.locator(".jp-CodeCell").nth(1)).to_have_class(re.compile("jp-mod-active"))
    check_quiet(lab, page)


def marked(page, notebook):
    """Tell whether JupyterLab shows a notebook as changed, a while after it was opened."""
    time.sleep(2)
    return bool(page.locator(f".lm-TabBar-tab.jp-mod-dirty:has-text('{notebook}')").count())


def chapters():
    return sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", chapters()[::5])
def test_an_untouched_chapter_is_not_marked_as_changed(lab, page, chapter):
    """JupyterLab notes in every notebook which Python is at hand; where that is noted, nothing of ours changes it."""
    shutil.copy(ROOT / "notebooks" / chapter, lab.folder)
    stored = nbformat.read(lab.folder / chapter, as_version=4)
    open_notebook(lab, page, chapter)
    noted = save(lab, page, chapter)
    stored.metadata.language_info = noted.metadata.language_info
    assert noted == stored
    open_notebook(lab, page, chapter)
    assert not marked(page, chapter)


def test_a_saved_explorer_is_not_marked_as_changed_when_it_is_opened_again(lab, page):
    """With its kernel still running, which hands its widgets to the page."""
    write_notebook(lab, "again.ipynb", EXPLORERS.format(name="GateConsole"))
    open_notebook(lab, page, "again.ipynb")
    run_all(lab, page, "again.ipynb")
    picture(explorer_cells(page).first).wait_for()
    assert marked(page, "again.ipynb"), "it was run"
    save(lab, page, "again.ipynb")
    open_notebook(lab, page, "again.ipynb")
    picture(page.locator(".jp-CodeCell").first).wait_for()
    assert not marked(page, "again.ipynb")


TRAIN = """
import rnnlib
device = rnnlib.setup(0)
from rnnlib import scratch, text, training
ids = [i * i % 11 for i in range(9000)]
model = scratch.ScratchRNN(11, 32, device)
history = training.fit(model, text.sequential_batches(ids, 8, 20), epochs=100_000)
"""
AFTER = """
import torch
logits, _ = model(torch.tensor([[1]], device=device))
print("status", history.status, "epochs", len(history) > 0, "usable", bool(logits.isfinite().all()))
"""


@pytest.mark.parametrize("how", ["button", "keys"])
def test_stop_leaves_a_usable_model(lab, page, how):
    write_notebook(lab, "stop.ipynb", TRAIN, AFTER)
    open_notebook(lab, page, "stop.ipynb")
    run_all(lab, page, "stop.ipynb", wait=False)
    picture(page.locator(".jp-CodeCell").first).wait_for(timeout=60_000)
    time.sleep(2)
    if how == "button":
        page.get_by_role("button", name=re.compile("Interrupt the kernel")).click()
    else:
        page.keyboard.press("Escape")
        page.keyboard.press("i")
        page.keyboard.press("i")
    lab.wait_for_kernel("stop.ipynb", seconds=30)
    # The second cell was cancelled with the first, as JupyterLab does: run it.
    page.locator(".jp-CodeCell").nth(1).click()
    page.keyboard.press("Shift+Enter")
    output = page.get_by_text("status stopped epochs True usable True")
    output.wait_for(timeout=30_000)
    assert page.locator(".jp-CodeCell").first.locator(".jp-RenderedImage img").count() == 1
    saved = save(lab, page, "stop.ipynb")
    assert any("image/png" in output.get("data", {}) for output in saved.cells[0].outputs)
    assert "widgets" not in saved.metadata


def check_folded(page, number):
    """Only the first cell of each room is seen, until its heading is opened by a click."""
    folded = page.locator(".jp-MarkdownCell:has(.jp-collapseHeadingButton[data-heading-level='2'])").filter(
        has_text="Going deeper"
    )
    expect(folded).to_have_count(number)
    if number:
        below = folded.first.locator("xpath=following-sibling::*[1]")
        expect(below).to_be_hidden()
        folded.first.locator(".jp-showHiddenCellsButton").click()  # "5 cells hidden"
        expect(below).to_be_visible()


@pytest.mark.parametrize("chapter", chapters())
def test_chapter_runs_and_its_explorers_obey_the_keyboard(lab, page, chapter):
    from rnnlib import explore

    open_notebook(lab, page, chapter)
    cells = nbformat.read(lab.folder / chapter, 4).cells
    rooms = [cell for cell in cells if cell.source.startswith("## Going deeper")]
    check_folded(page, len(rooms))
    run_all(lab, page, chapter)
    page.evaluate("document.querySelector('.jp-Cell.jp-mod-active').focus()")
    page.keyboard.press("Control+Shift+ArrowRight")  # JupyterLab's key to open all that is folded
    expect(page.locator(".jp-MarkdownCell .jp-collapseHeadingButton.jp-mod-collapsed")).to_have_count(0)
    page.screenshot(path=SHOTS / f"{chapter[:2]}.png")
    titles = {explorer.title: explorer for explorer in explore.EXPLORERS}
    for number, cell in reversed(list(enumerate(cells))):
        shown = [title for title in titles if f"**{title}**" in str(cell.get("outputs", ""))]
        if shown:
            go_to_cell(page, number)
            active = page.locator(".jp-CodeCell", has_text=titles[shown[0]].question)
            expect(active).to_have_class(re.compile("jp-mod-active"))
            found = drive(page, active)
            for label, presses in found.items():
                assert len(presses) == 1 or any(seconds for seconds, _ in presses), f"{label} changes no picture"
            assert any(sentence for presses in found.values() for _, sentence in presses), shown[0]
            report(f"{chapter[:2]} {titles[shown[0]].__name__}", found)
    notebook = save(lab, page, chapter)
    assert "widgets" not in notebook.metadata
    assert (lab.folder / chapter).stat().st_size < 2_000_000
    for cell in notebook.cells:
        errors = [o.ename for o in cell.get("outputs", []) if o.output_type == "error"]
        assert not errors or "raises-exception" in cell.metadata.get("tags", []), errors
    check_quiet(lab, page)


@pytest.fixture(scope="module")
def pages():
    """The chapters as `make html` writes them."""
    pytest.importorskip("sphinx_revealjs", reason="MathJax comes with the extra book: make html installs it")
    subprocess.run([sys.executable, ROOT / "tools" / "export.py"], check=True)
    return ROOT / "build" / "html"


def test_exported_pages_show_everything_offline(browser, pages):
    context = browser.new_context(viewport={"width": 1100, "height": 900}, offline=True)
    page = context.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    for chapter in chapters():
        page.goto((pages / chapter).with_suffix(".html").as_uri())
        page.evaluate("MathJax.startup.promise.then(() => null)")
        problems += page.evaluate(PROBLEMS)
        page.screenshot(path=SHOTS / f"page_{chapter[:2]}.png")
    context.close()
    assert not problems


# Pictures that don't load or have no text, formulas that stayed source or don't parse, a page wider than the window.
PROBLEMS = r"""() => [
  ...[...document.images].filter(i => !i.naturalWidth || !i.alt).map(i => i.outerHTML.slice(0, 80)),
  ...[...document.querySelectorAll('[data-mml-node=merror]')].map(e => e.outerHTML.slice(0, 80)),
  ...[...document.querySelectorAll('.jp-RenderedMarkdown p')].map(e => e.innerText).filter(t => /\$[^$]+\$/.test(t)),
  ...(document.documentElement.scrollWidth > innerWidth ? ['wider than the window'] : []),
]"""
