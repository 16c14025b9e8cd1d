"""Serve a network that types along, on this machine alone (chapter 10).

    python -m rnnlib.serve                          Shakespeare, the checkpoint of chapter 4
    python -m rnnlib.serve time_machine_lstm        another checkpoint of the book
    python -m rnnlib.serve mine.safetensors         a file that rnnlib.shipping.save_quantised wrote
    python -m rnnlib.serve --port 9000 --sessions 64 --idle 60

Open the address that it prints. Each page is a session with a state of its own; a session that says nothing for a while
is dropped. Ctrl-C stops the server. A client of your own opens a WebSocket at ``/stream`` and sends JSON, one message
after the other; each gets one answer, and a refusal is ``{"error": "…"}``:

    {"read": "To be"}     go on reading: {"bits": [surprise of each character], "next": [[character, probability], …]}
    {"suggest": 40}       {"suggestion": "…"}, the likeliest continuation; the state stays as it is
    {"write": 40, "temperature": 0.7, "seed": 1}     {"written": "…"}, drawn at random; the state goes on
    {"restart": true}     {"restarted": true}, the state is at zero
"""

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys

import numpy as np
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from rnnlib import guards, pages, pretrained, shipping
from rnnlib.sessions import SessionPool
from rnnlib.sessions import serve as answer_all
from rnnlib.text import Vocab, as_vocab

LONGEST_READ, LONGEST_WRITE = 1000, 200  # characters in a message
LARGEST_MESSAGE = 8192  # bytes
HERE = "127.0.0.1", "localhost"


class Server:
    """Sessions of one network on a loopback port.

    Args:
        step: called as a :class:`rnnlib.shipping.NumpyStep` is, with its ``begin_state``.
        vocab: its vocabulary.
        sessions: how many may be open at once.
        idle: seconds of silence after which a session is dropped.
        title: of the page.
    """

    def __init__(self, step, vocab, sessions=256, idle=300.0, title="A recurrent network that types along"):
        guards.check_sizes(sessions=sessions)
        guards.check_rates(idle=idle)
        guards.check_begins(step)
        self.vocab, self.idle, self.title = as_vocab(vocab), idle, title
        self.pool = SessionPool(step, step.begin_state(sessions))
        self.sessions = set()
        self.port = self._http = self._worker = None

    async def start(self, port=0):
        """Listen on a port of 127.0.0.1; 0 lets the system choose one, which is then ``port``."""
        application = Application(
            [("/", Page, {"server": self}), ("/stream", _Session, {"server": self})],
            websocket_max_message_size=LARGEST_MESSAGE,
            websocket_ping_interval=20,
            log_function=lambda handler: None,
        )
        (listening,) = bind_sockets(port, "127.0.0.1")
        self.port = listening.getsockname()[1]
        self._http = HTTPServer(application, max_body_size=LARGEST_MESSAGE, max_header_size=LARGEST_MESSAGE)
        self._http.add_socket(listening)
        self._worker = asyncio.create_task(answer_all(self.pool))

    async def stop(self):
        """Take no more connections, tell every session, and end."""
        self._http.stop()
        for session in list(self.sessions):
            session.leave(1001, "the server stops")
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        await self._http.close_all_connections()


class _Local:
    """What both handlers refuse: a page of another site that was led here by a name of its own."""

    def prepare(self):
        """Answer only those who ask for this machine by its own name."""
        if self.request.host_name not in HERE:
            raise HTTPError(403, "ask for 127.0.0.1 or localhost")


class Page(_Local, RequestHandler):
    """The page that types along."""

    def initialize(self, server):
        """Remember whose page it is."""
        self.server = server

    def get(self):
        """Send the page."""
        self.set_header("X-Frame-Options", "DENY")
        self.write(pages.fill_page("live.html", title=self.server.title))


class _Session(_Local, WebSocketHandler):
    """One client: a row of the pool from its first moment to its last."""

    def initialize(self, server):
        """Remember the server; there is no row yet."""
        self.server, self.pool, self.vocab = server, server.pool, server.vocab
        self.row = self.scores = self.work = self.timer = None

    def open(self):
        """Take a row, or refuse where there is none."""
        try:
            self.row = self.pool.open()
        except ValueError:
            self.close(1013, "all places are taken: try again later")
            return
        self.server.sessions.add(self)
        self.wait()

    def wait(self):
        """Begin to count the seconds of silence anew."""
        if self.timer is not None:
            self.timer.cancel()
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.server.idle, self.leave, 1000, "nothing was said for a while")

    def leave(self, code, reason):
        """End a session from this side."""
        self.close(code, reason)
        self.on_close()

    def on_close(self):
        """Give the row back, and drop the character that is under way: its answer would go to the row's next owner."""
        if self.work is not None:
            self.work.cancel()
        if self.timer is not None:
            self.timer.cancel()
        if self.row is not None:
            self.pool.close(self.row)
            self.row = None
        self.server.sessions.discard(self)

    async def on_message(self, message):
        """Answer a message; tornado hands over the next one when this is done."""
        if self.row is None:
            return
        self.wait()
        self.work = asyncio.ensure_future(self.answer(message))
        try:
            answer = await self.work
            await self.write_message(answer)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                raise
        except WebSocketClosedError:
            pass
        finally:
            self.work = None

    async def answer(self, message):
        """Return what a message is answered with."""
        try:
            action, value, options = _understood(message)
            return await getattr(self, f"do_{action}")(value, **options)
        except ValueError as error:
            return {"error": str(error)}

    async def step(self, character):
        """Read a character and keep the scores of the next one."""
        self.scores = await self.pool.read(self.row, self.vocab[character])

    async def do_read(self, text):
        """Read on; say how surprising each character was, and what may come next."""
        bits = []
        for character in text:
            bits.append(self.surprise(self.vocab[character]))
            await self.step(character)
        p = _probabilities(self.scores)
        best = np.argsort(-p)[:5]
        return {"bits": bits, "next": [[self.vocab.tokens[i], round(float(p[i]), 4)] for i in best]}

    def surprise(self, token_id):
        """Return the bits of an id under the present scores; the first character and unknown ones are not judged."""
        if self.scores is None or token_id == 0:
            return 0.0
        return round(-math.log2(max(_probabilities(self.scores)[token_id], 1e-9)), 2)

    async def do_suggest(self, length):
        """Say what is likeliest to follow; the state stays where the text ends."""
        kept, scores = [part[:, self.row].copy() for part in self.pool.state], self.scores
        written = ""
        for _ in range(length if scores is not None else 0):
            written += self.vocab.tokens[1 + int(self.scores[1:].argmax())]
            await self.step(written[-1])
        for part, before in zip(self.pool.state, kept, strict=True):
            part[:, self.row] = before
        self.scores = scores
        return {"suggestion": written}

    async def do_write(self, length, temperature=1.0, seed=None):
        """Write on at random; the state goes on too."""
        if self.scores is None:
            raise ValueError('there is nothing to go on from: send {"read": "…"} first')
        generator, written = np.random.default_rng(seed), ""
        for _ in range(length):
            p = _probabilities(self.scores, temperature)
            written += self.vocab.tokens[int(generator.choice(len(p), p=p))]
            await self.step(written[-1])
        return {"written": written}

    async def do_restart(self, _):
        """Forget the text."""
        for part in self.pool.state:
            part[:, self.row] = 0
        self.scores = None
        return {"restarted": True}


def _probabilities(scores, temperature=1.0):
    """Return the distribution of the next character, (V,), in float64; <unk>, id 0, is never written."""
    guards.check_scores(scores, temperature)
    scores = np.asarray(scores, "f8") / temperature
    p = np.exp(scores - scores[1:].max())
    p[0] = 0.0
    return p / p.sum()


def _understood(message):
    """Return the action, its value and its options, or raise a ValueError that says what a message may be."""
    try:
        given = json.loads(message)
    except (ValueError, TypeError, RecursionError):  # no JSON, no text, or brackets a thousand deep
        given = None
    actions = [
        action for action in ("read", "suggest", "write", "restart") if isinstance(given, dict) and action in given
    ]
    if len(actions) != 1:
        raise ValueError('send one of {"read": "text"}, {"suggest": 40}, {"write": 40} or {"restart": true} as JSON')
    action = actions[0]
    value, options = given[action], {name: given[name] for name in given if name != action}
    if action == "read" and not (isinstance(value, str) and 1 <= len(value) <= LONGEST_READ):
        raise ValueError(f"read takes a text of 1 to {LONGEST_READ} characters: send a longer one in pieces")
    if action in ("suggest", "write") and not (guards.is_whole(value, 1) and value <= LONGEST_WRITE):
        raise ValueError(f"{action} takes a number of characters from 1 to {LONGEST_WRITE}")
    if options and (action != "write" or set(options) - {"temperature", "seed"}):
        raise ValueError(f"{action} takes no {', '.join(sorted(options))}")
    temperature, seed = options.get("temperature", 1.0), options.get("seed")
    if not (guards.is_positive(temperature) and 0.05 <= temperature <= 20):
        raise ValueError("temperature must be a number from 0.05 to 20")
    if seed is not None and not guards.is_whole(seed, 0):
        raise ValueError("seed must be a whole number from 0 on")
    return action, value, options


def _load_step(name):
    """Return the step in NumPy and the vocabulary of a checkpoint's name, or of a quantised file's path."""
    guards.check_text(name=name)
    if name.endswith(".safetensors"):
        weights, tokens = shipping.load_quantised(name)
        step, vocab = shipping.NumpyStep(weights), Vocab(tokens[1:])
        if len(vocab) != len(step.b_q):
            raise ValueError(f"{name} scores {len(step.b_q)} tokens but names {len(vocab)}: save it with vocab.tokens")
        return step, vocab
    model, vocab = pretrained.load_model(name)
    return shipping.NumpyStep(shipping.named_weights(model)), vocab


async def serve_until_stopped(server, port):
    """Serve until a signal comes."""
    await server.start(port)
    stopped = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run
            asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    print(f"Typing along at http://127.0.0.1:{server.port}/ (Ctrl-C stops it)", flush=True)
    try:
        await stopped.wait()
    finally:
        await server.stop()
        print("Stopped.", flush=True)


def _main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="shakespeare_gru", help="a checkpoint, or a .safetensors file")
    parser.add_argument("--port", type=int, default=8765, help="on 127.0.0.1; 0 lets the system choose")
    parser.add_argument("--sessions", type=int, default=256, help="how many may be open at once")
    parser.add_argument("--idle", type=float, default=300, help="seconds of silence after which one is dropped")
    arguments = parser.parse_args()
    try:
        step, vocab = _load_step(arguments.network)
        server = Server(step, vocab, arguments.sessions, arguments.idle, f"{arguments.network} types along")
        asyncio.run(serve_until_stopped(server, arguments.port))
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    _main()
