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
    folder, settings = tmp_path_factory.mktemp("chapters"), tmp_path_factory.mktemp("settings")
    for chapter in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(chapter, folder)
    news = settings / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (news / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
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
        for _ in range(300):
            try:
                here.get("/api")
                break
            except OSError:
                time.sleep(0.2)
        yield here
    finally:
        server.terminate()
        server.wait(20)


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
        lab.wait_for_kernel(name)


def explorer_cells(page):
    return page.locator(".jp-CodeCell:has(.jupyter-widgets)")


def picture(cell):
    return cell.locator(".jp-RenderedImage img").first


def press(page, cell, slider, key):
    """Press a key on a slider; return the seconds until the picture was another one, or None if it stayed."""
    # JupyterLab may put a new <img> in the place of the old one, so the cell is asked each time.
    changed = "a => { const i = a[0].querySelector('.jp-RenderedImage img'); return i && i.src && i.src !== a[1]; }"
    watched = [cell.element_handle(), picture(cell).get_attribute("src")]
    slider.focus()
    start = time.perf_counter()
    page.keyboard.press(key)
    try:
        page.wait_for_function(changed, arg=watched, polling=10, timeout=8_000)
    except TimeoutError:
        return None
    return time.perf_counter() - start


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


@pytest.mark.parametrize("name", names())
def test_every_explorer_redraws_at_a_key_press(lab, page, name):
    notebook = f"explorer_{name}.ipynb"
    write_notebook(lab, notebook, EXPLORERS.format(name=name))
    open_notebook(lab, page, notebook)
    run_all(lab, page, notebook)
    cell = explorer_cells(page).first
    picture(cell).wait_for()
    sentence = cell.locator(".jp-RenderedMarkdown").last
    expect(sentence).to_contain_text("Seen:")
    images = cell.locator(".jp-RenderedImage img").count()
    sliders, delays = cell.locator(".noUi-handle"), []
    for i in range(sliders.count()):
        # Home and End reach both ends: one of them moves, wherever the slider stands. Both may show the same picture.
        seconds = [press(page, cell, sliders.nth(i), key) for key in ("Home", "End", "ArrowLeft")]
        assert any(seconds), f"slider {i} redraws nothing"
        delays += [one for one in seconds if one]
    buttons = cell.locator(".widget-button")
    for i in range(buttons.count()):
        buttons.nth(i).click()
        lab.wait_for_kernel(notebook)
    time.sleep(1)  # the last picture may still be on its way
    lab.wait_for_kernel(notebook)
    expect(sentence).to_contain_text("Seen:")
    assert cell.locator(".jp-RenderedImage img").count() == images
    assert not cell.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count()
    SHOTS.mkdir(parents=True, exist_ok=True)
    cell.screenshot(path=SHOTS / f"{name}.png")
    assert not [text for text in page.console_errors if "favicon" not in text]
    lab_log = (lab.folder / "server.log").read_text()
    assert "Traceback" not in lab_log
    if delays:
        print(f"\n{name}: {1000 * statistics.median(delays):.0f} ms from key press to new picture (median)")


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


def test_stop_button_leaves_a_usable_model(lab, page):
    write_notebook(lab, "stop.ipynb", TRAIN, AFTER)
    open_notebook(lab, page, "stop.ipynb")
    run_all(lab, page, "stop.ipynb", wait=False)
    picture(page.locator(".jp-CodeCell").first).wait_for(timeout=60_000)
    time.sleep(2)
    page.get_by_role("button", name=re.compile("Interrupt the kernel")).click()
    lab.wait_for_kernel("stop.ipynb", seconds=30)
    # The second cell was cancelled with the first, as JupyterLab does: run it.
    page.locator(".jp-CodeCell").nth(1).click()
    page.keyboard.press("Shift+Enter")
    output = page.get_by_text("status stopped epochs True usable True")
    output.wait_for(timeout=30_000)
    assert page.locator(".jp-CodeCell").first.locator(".jp-RenderedImage img").count() == 1
    page.keyboard.press("Control+s")
    time.sleep(1)
    saved = nbformat.read(lab.folder / "stop.ipynb", 4)
    assert any("image/png" in output.get("data", {}) for output in saved.cells[0].outputs)
    assert "widgets" not in saved.metadata


def chapters():
    return sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", chapters())
def test_chapter_runs_and_shows_its_pictures(lab, page, chapter):
    open_notebook(lab, page, chapter)
    run_all(lab, page, chapter)
    time.sleep(1)
    lab.wait_for_kernel(chapter)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{chapter[:2]}.png")
    assert (
        not page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count()
        or chapter[:2] > "01"
    )
    page.keyboard.press("Control+s")
    time.sleep(2)
    notebook = nbformat.read(lab.folder / chapter, 4)
    assert "widgets" not in notebook.metadata
    assert (lab.folder / chapter).stat().st_size < 2_000_000
    for cell in notebook.cells:
        errors = [o.ename for o in cell.get("outputs", []) if o.output_type == "error"]
        assert not errors or "raises-exception" in cell.metadata.get("tags", []), errors
    assert not [text for text in page.console_errors if "favicon" not in text]
