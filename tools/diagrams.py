"""Draw the diagrams of chapters and guides once, for pages that can't run mermaid: `make diagrams`.

JupyterLab draws a mermaid block from its text. The book and the slides take a picture of it from docs/diagrams,
named for a fingerprint of the text, so that an outdated picture is never shown: a missing one stops the build.
"""

import base64
import hashlib
import html
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "diagrams"
FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def picture(source):
    """Return the file that holds the picture of a diagram's text."""
    return FOLDER / f"{hashlib.sha256(source.strip().encode()).hexdigest()[:12]}.svg"


def with_pictures(markdown):
    """Replace each mermaid block of a Markdown text by its picture.

    Raises:
        FileNotFoundError: if a diagram has not been drawn yet.
    """

    def image(match):
        path = picture(match.group(1))
        if not path.exists():
            raise FileNotFoundError(f"no picture of this diagram, run `make diagrams`:\n{match.group(1)}")
        data = base64.b64encode(path.read_bytes()).decode()
        words = html.escape(in_words(match.group(1)), quote=True)
        return f'<p><img class="diagram" alt="{words}" src="data:image/svg+xml;base64,{data}"></p>'

    return FENCE.sub(image, markdown)


def in_words(source):
    """Return the labels of a diagram in order, its text for readers who can't see it."""
    labels = re.findall(r"[\[({]+\"?([^\[\](){}\"]+)\"?[\])}]+", source)
    return "Diagram: " + ", ".join(label.replace("<br/>", " ") for label in dict.fromkeys(labels))


def sources():
    """Return the texts of all diagrams in the chapters and guides."""
    found = []
    for path in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        found += FENCE.findall(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                found += FENCE.findall(cell.source)
    return found


def draw(missing):
    """Let JupyterLab in Chromium draw diagrams, and save what it shows."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as folder:
        cells = [nbformat.v4.new_markdown_cell(f"```mermaid\n{source.strip()}\n```") for source in missing]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), Path(folder, "diagrams.ipynb"))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
        command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
        own = {name: folder for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR")}
        server = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(1500):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5)
                    break
                except OSError:
                    time.sleep(0.2)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport={"width": 1280, "height": 4000})
                page.goto(f"http://127.0.0.1:{port}/lab/tree/diagrams.ipynb?token={token}&reset")
                images = page.locator(".jp-RenderedMermaid img")
                images.first.wait_for(timeout=120_000)
                for _ in range(100):
                    if images.count() == len(missing):
                        break
                    time.sleep(0.2)
                for i, source in enumerate(missing):
                    save(images.nth(i).get_attribute("src"), picture(source))
                browser.close()
        finally:
            server.terminate()
            server.wait(20)


def save(address, path):
    """Write the SVG of a data: address to a file."""
    head, _, body = address.partition(",")
    svg = base64.b64decode(body) if head.endswith("base64") else urllib.request.unquote(body).encode()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path.write_bytes(svg)
    print(path.relative_to(ROOT))


def main():
    """Draw what is missing and remove what no page shows any more."""
    wanted = {picture(source): source for source in sources()}
    missing = [source for path, source in wanted.items() if not path.exists()]
    if missing:
        draw(missing)
    for path in FOLDER.glob("*.svg"):
        if path not in wanted:
            path.unlink()
            print(f"{path.relative_to(ROOT)}: removed, no page shows it")


if __name__ == "__main__":
    main()
