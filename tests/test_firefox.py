"""Pages without a kernel in Firefox, as its package installs it: explorers move and say what Python said.

Firefox is spoken to by WebDriver BiDi over a socket; no driver is needed. Run with `make test-browser`.
"""

import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("websocket", reason="websocket-client comes with JupyterLab: make install")
pytest.importorskip("playwright.sync_api", reason="the module whose tests these repeat needs playwright")
pytest.importorskip("sphinx_revealjs", reason="MathJax comes with the extra book: make book installs it")

import websocket
from test_browser import free_port
from test_live import album, live, place
from test_live_pages import CHAPTERS, PLACES, SEEN, SITES, TYPED, values_of
from test_readers import CHAPTERS_OWN, READING, said

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent
FIREFOX = shutil.which("firefox") or shutil.which("firefox-esr")
# Nothing but this machine can be reached: all else goes to a proxy that isn't there.
SETTINGS = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}


class Firefox:
    """One window of a Firefox."""

    def __init__(self, port):
        self.socket, self.numbers, self.problems = self._connect(port), itertools.count(1), []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.window = self.call("browsingContext.getTree")["contexts"][0]["context"]

    @staticmethod
    def _connect(port):
        for _ in range(300):
            try:
                return websocket.create_connection(f"ws://127.0.0.1:{port}/session", timeout=120, suppress_origin=True)
            except OSError:
                time.sleep(0.2)
        pytest.fail("Firefox does not answer")

    def call(self, method, **params):
        """Send a command and return its result; what happens in between is looked at."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(self.socket.recv())).get("id") != number:
            self._note(message)
        assert message["type"] == "success", message
        return message["result"]

    def _note(self, message):
        """Keep errors of the page, and requests that leave this machine's disk."""
        params = message.get("params", {})
        if message.get("method") == "log.entryAdded" and params["level"] == "error":
            self.problems.append(params["text"])
        if message.get("method") == "network.beforeRequestSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "blob:", "data:")):
                self.problems.append(url)

    def open(self, url):
        self.call("browsingContext.navigate", context=self.window, url=url, wait="complete")

    def run(self, function, *arguments):
        """Return what a JavaScript function returns, or what it promises."""
        expression = f"Promise.resolve(({function})(...{json.dumps(arguments)})).then(JSON.stringify)"
        target = {"context": self.window}
        done = self.call("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert done["type"] == "success", done
        return json.loads(done["result"].get("value", "null"))

    def press(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("input.performActions", context=self.window, actions=[source])


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    if FIREFOX is None:
        pytest.skip("no Firefox on this machine: install the package firefox or firefox-esr")
    profile, port = tmp_path_factory.mktemp("profile"), free_port()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in SETTINGS.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [FIREFOX, "--headless", "--profile", profile, f"--remote-debugging-port={port}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Firefox(port)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def folder():
    command, folder = SITES["html"]
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
    return folder


# The explorer of a title, at rest; its room is opened, and formulas still push it down while the page loads.
FIND = """async title => {
  const heading = [...document.querySelectorAll('p > strong')].find(e => e.textContent === title);
  const root = () => document.querySelector(`.live[aria-label=${JSON.stringify(title)}]`);
  if (heading.closest('details')) heading.closest('details').open = true;
  for (let i = 0; i < 400 && root()?.dataset.state !== 'ready'; i++) {
    if (!root()) heading.scrollIntoView();
    await new Promise(done => setTimeout(done, 50));
  }
  return root();
}"""


def find(firefox, title, then, *arguments):
    """Return what a function tells of an explorer at rest."""
    return firefox.run(f"async (title, ...rest) => ({then})(await ({FIND})(title), ...rest)", title, *arguments)


def check_said(firefox, content):
    """Compare the sentence on the page with what Python said for this setting; return the setting's number."""
    number = 0
    for control, value in zip(
        content["controls"], find(firefox, content["title"], PLACES, values_of(content)), strict=True
    ):
        number = number * len(control["values"]) + value
    sentence = " ".join(content["sentences"][number].split())
    assert " ".join(find(firefox, content["title"], SEEN).split()) == sentence
    return number


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_explorer_moves_in_firefox(firefox, folder, chapter):
    firefox.open((folder / f"{chapter.stem}.html").as_uri())
    there = live.albums(chapter.name[:2])
    for title in live.titles(nbformat.read(chapter, as_version=4)):
        content = album(there[title])
        assert check_said(firefox, content) == place(content)
        find(firefox, title, "root => root.querySelector('input[type=range], input:checked, select').focus()")
        reached = set()
        for key in ("\ue014", "\ue015", "\ue012"):  # right, down, left
            firefox.press(key)
            reached.add(check_said(firefox, content))
        assert len(reached) > 1, title
        for name in content["presets"]:
            press = "(root, name) => [...root.querySelectorAll('button')].find(e => e.textContent === name).click()"
            find(firefox, title, press, name)
            check_said(firefox, content)
        assert find(firefox, title, "root => root.querySelector('img').naturalWidth") > 100
    assert not firefox.problems


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_explorers_read_what_is_typed_in_firefox(firefox, folder, path):
    (chapter,) = (chapter for chapter in CHAPTERS if chapter.name[:2] == path.parent.name)
    content = album(path)
    python = CHAPTERS_OWN[content["reads"]]()
    firefox.open((folder / f"{chapter.stem}.html").as_uri())
    for text in TYPED[content["reads"]]:
        find(firefox, content["title"], "root => root.querySelector('input[type=text], textarea').select()")
        find(firefox, content["title"], "root => root.querySelector('input[type=text], textarea').focus()")
        firefox.press(*text)
        labels = [control["values"][control["start"]] for control in content["controls"][1:]]
        sentence = said(python, [text, *(int(label) if label.isdecimal() else label for label in labels)])
        assert find(firefox, content["title"], SEEN) == f"Seen: {sentence}"
    assert not firefox.problems
