"""For tests of what comes from elsewhere: a real server on this machine alone, and a cache of the test's own."""

import hashlib
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pooch
import pytest

from rnnlib.data import _places, imdb

TEXT = "The Time Traveller – for so it will be convenient to speak of him –\nwas expounding a matter to us.\n" * 400
RIGHT = TEXT.encode()
CHANGED = RIGHT.replace(b"matter", b"mother", 1)
HTML = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"
PAUSE = 20  # seconds that the server lets a client wait before it goes on: far more than the client should bear


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(folder):
    """Return every path below `folder`, files and folders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def put(folder, content, file="tale.txt"):
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(content)
    return folder / file


class Handler(BaseHTTPRequestHandler):
    """What the server does depends on the path; each request is noted in `server.log`."""

    bodies = {"/right": RIGHT, "/together": RIGHT, "/wrong": CHANGED, "/html": HTML}  # noqa: RUF012
    statuses = {"/404": 404, "/500": 500}  # noqa: RUF012

    def do_HEAD(self):
        self.server.log.append(("HEAD", self.path))
        if self.path == "/slow":
            self.server.released.wait(PAUSE)
        self.send_head(0)

    def do_GET(self):
        self.server.log.append(("GET", self.path))
        if self.path == "/together":
            self.server.both.wait()
        body = self.bodies.get(self.path, HTML if self.path in self.statuses else RIGHT)
        self.send_head(len(body))
        half = len(body) // 2
        self.wfile.write(body[:half])
        if self.path == "/stall":
            self.server.released.wait(PAUSE)
        if self.path != "/half":
            self.wfile.write(body[half:])

    def send_head(self, length):
        self.send_response(self.statuses.get(self.path, 200))
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Yield a server on a free port; `log` lists its requests, `released` frees those that hang."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.handle_error = lambda *args: None  # a client that has given up is no news
    httpd.log = []
    httpd.released = threading.Event()
    httpd.both = threading.Barrier(2, timeout=30)
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield httpd
    httpd.released.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give the test its own cache and temporary folder, no proxy, no settings of pip, and patience if we are busy."""
    for variable in [name for name in os.environ if name.upper().startswith(("PIP_", "RNNLIB_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("RNNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_places, "ANSWER_SECONDS", 60)
    monkeypatch.setattr(_places, "PIP_SECONDS", 60)
    monkeypatch.setattr(imdb, "_official", {})
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))
    yield tmp_path / "cache"
    assert listing(tmp_path / "temporary") == []
