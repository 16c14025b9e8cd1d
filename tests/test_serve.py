"""The server of sessions under good, bad, vanishing and many clients; all on loopback."""

import asyncio
import contextlib
import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from rnnlib import layers, serve, shipping, text

LETTERS = "abcdefghijklmnopqrstuvwxyz .,"
VOCAB = text.Vocab(LETTERS)


def network():
    torch.manual_seed(0)
    model = layers.LanguageModel(nn.GRU(len(VOCAB), 24), len(VOCAB)).eval()
    for p in model.parameters():
        p.data.mul_(3)  # so that a wrong state shows
    return shipping.NumpyStep(shipping.named_weights(model))


STEP = network()


def alone(read):
    """Return the bits and the last distribution of a session that has the network to itself."""
    state, scores, bits = STEP.begin_state(1), None, []
    for character in read:
        i = VOCAB[character]
        bits.append(0.0 if scores is None or i == 0 else -np.log2(serve._probabilities(scores)[i]))
        scores, *state = STEP(np.array([i]), *state)
        scores = scores[0]
    return bits, serve._probabilities(scores), scores, state


def served(body, **options):
    """Run a coroutine with a running server; afterwards it must have stopped cleanly, with every row free."""

    async def main():
        server = serve.Server(STEP, VOCAB, **options)
        await server.start()
        try:
            return await asyncio.wait_for(body(server), 120)
        finally:
            await server.stop()
            assert not server.sessions and len(server.pool.free) == len(server.pool.state[0][0])

    return asyncio.run(main())


async def connect(server):
    return await websocket_connect(f"ws://127.0.0.1:{server.port}/stream")


async def ask(client, message):
    sent = message if isinstance(message, (str, bytes)) else json.dumps(message)
    await client.write_message(sent, binary=isinstance(message, bytes))
    answer = await client.read_message()
    return None if answer is None else json.loads(answer)


async def until(true, seconds=5.0):
    """Wait until something is true."""
    for _ in range(int(100 * seconds)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def test_200_sessions_20000_characters_each_as_if_alone():
    chance = random.Random(0)
    texts = ["".join(chance.choices(LETTERS, k=100)) for _ in range(200)]

    async def client(server, read):
        socket, answers, at = await connect(server), [], 0
        while at < len(read):
            size = chance.randrange(1, 30)
            answers.append(await ask(socket, {"read": read[at : at + size]}))
            at += size
            if chance.random() < 0.2:
                await ask(socket, {"suggest": 3})  # must not move the state
        socket.close()
        return answers

    async def body(server):
        return await asyncio.gather(*(client(server, read) for read in texts))

    for read, answers in zip(texts, served(body, sessions=200), strict=True):
        bits, p, *_ = alone(read)
        found = [b for answer in answers for b in answer["bits"]]
        np.testing.assert_allclose(found, bits, atol=0.011)
        best = answers[-1]["next"]
        np.testing.assert_allclose([q for _, q in best], np.sort(p)[::-1][:5], atol=2e-4)


def test_suggestion_and_writing_are_those_of_the_network():
    async def body(server):
        client = await connect(server)
        await ask(client, {"read": "the cat"})
        suggested = await ask(client, {"suggest": 12})
        again = await ask(client, {"suggest": 12})
        written = await ask(client, {"write": 8, "temperature": 0.5, "seed": 3})
        after = await ask(client, {"read": "."})
        return suggested["suggestion"], again["suggestion"], written["written"], after

    suggested, again, written, after = served(body)
    *_, scores, state = alone("the cat")
    expected = ""
    for _ in range(12):
        i = 1 + int(scores[1:].argmax())
        expected += VOCAB.tokens[i]
        (scores,), *state = STEP(np.array([i]), *state)
    assert suggested == again == expected
    assert len(written) == 8 and set(written) <= set(LETTERS)
    bits, p, *_ = alone("the cat" + written + ".")
    assert after["bits"] == [pytest.approx(bits[-1], abs=0.011)], "writing moved the state on"
    assert after["next"][0][1] == pytest.approx(p.max(), abs=2e-4)


def test_restart_forgets():
    async def body(server):
        client = await connect(server)
        await ask(client, {"read": "some text"})
        assert await ask(client, {"restart": True}) == {"restarted": True}
        return await ask(client, {"read": "abc"})

    np.testing.assert_allclose(served(body)["bits"], alone("abc")[0], atol=0.011)


REFUSED = {
    "no JSON": ("hello", 'send one of {"read": "text"}'),
    "bytes": (b"\xff\xfe\x00", "as JSON"),
    "a list": ([1, 2], "as JSON"),
    "nothing": ({}, "as JSON"),
    "two actions": ({"read": "a", "write": 3}, "as JSON"),
    "brackets": ("[" * 8000, "as JSON"),
    "empty": ({"read": ""}, "read takes a text of 1 to 1000 characters"),
    "too long": ({"read": "a" * 1001}, "send a longer one in pieces"),
    "a number to read": ({"read": 7}, "read takes a text"),
    "too much to write": ({"write": 201}, "from 1 to 200"),
    "half a character": ({"suggest": 1.5}, "from 1 to 200"),
    "truth": ({"suggest": True}, "from 1 to 200"),
    "an option of another": ({"read": "a", "seed": 3}, "read takes no seed"),
    "cold": ({"write": 3, "temperature": 0}, "temperature must be a number from 0.05 to 20"),
    "no number": ('{"write": 3, "temperature": NaN}', "temperature must be"),
    "a seed below 0": ({"write": 3, "seed": -1}, "seed must be"),
    "nothing read yet": ({"write": 3}, "there is nothing to go on from"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_gets_a_sentence_and_the_session_goes_on(name):
    message, sentence = REFUSED[name]

    async def body(server):
        client = await connect(server)
        refused = await ask(client, message)
        return refused, await ask(client, {"read": "abc"})

    refused, after = served(body)
    assert list(refused) == ["error"] and sentence in refused["error"]
    np.testing.assert_allclose(after["bits"], alone("abc")[0], atol=0.011)


def test_unknown_characters_are_unk():
    async def body(server):
        client = await connect(server)
        return await ask(client, {"read": "aé\ud800b"})

    np.testing.assert_allclose(served(body)["bits"], alone("aé?b")[0], atol=0.011)


def test_a_message_that_is_too_large_ends_that_session_alone():
    async def body(server):
        good, bad = await connect(server), await connect(server)
        await ask(good, {"read": "ab"})
        assert await ask(bad, "x" * 100_000) is None
        assert bad.close_code == 1009
        await until(lambda: len(server.sessions) == 1)
        return await ask(good, {"read": "c"})

    assert served(body)["bits"] == [pytest.approx(alone("abc")[0][-1], abs=0.011)]


def test_one_session_too_many_is_told_so():
    async def body(server):
        clients = [await connect(server) for _ in range(2)]
        await ask(clients[0], {"read": "a"})
        third = await connect(server)
        assert await third.read_message() is None
        assert (third.close_code, third.close_reason) == (1013, "all places are taken: try again later")
        clients[1].close()
        await until(lambda: len(server.sessions) == 1)
        return await ask(await connect(server), {"read": "ab"})

    np.testing.assert_allclose(served(body, sessions=2)["bits"], alone("ab")[0], atol=0.011)


def test_silence_is_dropped_and_words_are_not():
    async def body(server):
        silent, talking = await connect(server), await connect(server)
        for _ in range(8):
            await ask(talking, {"read": "a"})
            await asyncio.sleep(0.05)
        assert await silent.read_message() is None
        assert (silent.close_code, silent.close_reason) == (1000, "nothing was said for a while")
        return len(server.sessions)

    assert served(body, idle=0.25) == 1


def test_clients_that_vanish_leave_nothing_behind():
    """Sockets are cut while a long message is being read; the rows' next owners must not notice."""

    async def vanish(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        message = json.dumps({"read": "z" * 900}).encode()
        writer.write(b"\x81\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message)  # the mask is zero
        await writer.drain()
        await asyncio.sleep(0.002 * random.random())
        writer.transport.abort()

    async def body(server):
        for _ in range(5):
            await asyncio.gather(*(vanish(server) for _ in range(6)))
            await until(lambda: not server.sessions)
            assert len(server.pool.free) == 6
            clients = [await connect(server) for _ in range(6)]
            for client in clients:
                answer = await ask(client, {"read": "hello"})
                np.testing.assert_allclose(answer["bits"], alone("hello")[0], atol=0.011)
                client.close()
            await until(lambda: not server.sessions)
        await until(lambda: server.pool.queue.empty())

    served(body, sessions=6)


def test_a_stop_in_the_middle_tells_the_clients():
    async def body(server):
        clients = [await connect(server) for _ in range(5)]
        for client in clients:
            await client.write_message(json.dumps({"read": "a" * 1000}))
        await asyncio.sleep(0.01)
        await server.stop()
        for client in clients:
            message = await client.read_message()
            assert message is None or "bits" in json.loads(message)
            if message is not None:
                assert await client.read_message() is None
            assert client.close_code in (1001, None)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port)

    served(body)


def test_many_sessions_in_a_row_keep_no_memory():
    async def body(server):
        async def visit():
            client = await connect(server)
            await ask(client, {"read": "abc"})
            client.close()
            await until(lambda: not server.sessions)

        await visit()
        gc.collect()
        before = sum(type(thing) is serve._Session for thing in gc.get_objects())
        for _ in range(40):
            await visit()
        await asyncio.sleep(0.05)
        gc.collect()
        return sum(type(thing) is serve._Session for thing in gc.get_objects()) - before

    assert served(body) <= 2


def test_page_and_hosts():
    async def fetch(server, path="/", host=None):
        request = HTTPRequest(f"http://127.0.0.1:{server.port}{path}", headers={"Host": host} if host else None)
        return await AsyncHTTPClient().fetch(request)

    async def body(server):
        page = await fetch(server)
        assert b"<textarea" in page.body and b"{{" not in page.body and b"<h1>Mine</h1>" in page.body
        await fetch(server, host="localhost:9")
        with pytest.raises(HTTPClientError, match="403"):
            await fetch(server, host="evil.example")
        strange = HTTPRequest(f"ws://127.0.0.1:{server.port}/stream", headers={"Origin": "http://evil.example"})
        with pytest.raises(HTTPClientError, match="403"):
            await websocket_connect(strange)

    served(body, title="Mine")


def test_listens_on_loopback_alone():
    async def body(server):
        (listening,) = server._http._sockets.values()
        assert listening.getsockname()[0] == "127.0.0.1"
        outside = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
        for address in {address for address in outside if not address.startswith("127.")}:
            with pytest.raises(OSError):
                await asyncio.wait_for(asyncio.open_connection(address, server.port), 2)

    served(body)


def test_files_and_checkpoints_are_loaded(tmp_path):
    step, vocab = serve._load_step("time_machine_lstm")
    assert len(vocab) == 28 and len(step.begin_state(1)) == 2
    torch.manual_seed(0)
    model = layers.LanguageModel(nn.GRU(len(VOCAB), 6), len(VOCAB))
    shipping.save_quantised(tmp_path / "mine.safetensors", model, VOCAB.tokens)
    step, vocab = serve._load_step(str(tmp_path / "mine.safetensors"))
    assert vocab.tokens == VOCAB.tokens and step.num_hiddens == 6
    shipping.save_quantised(tmp_path / "other.safetensors", model, VOCAB.tokens[:-1])
    with pytest.raises(ValueError, match=r"scores 30 tokens but names 29: save it with vocab.tokens"):
        serve._load_step(str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="name='mine' is not known"):
        serve._load_step("mine")


def start(*arguments):
    command = [sys.executable, "-m", "rnnlib.serve", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_and_stops_cleanly(sign):
    process = start("time_machine_gru", "--port", "0")
    try:
        line = process.stdout.readline()
        assert line.startswith("Typing along at http://127.0.0.1:")
        port = int(line.split(":")[2].split("/")[0])

        async def body():
            client = await websocket_connect(f"ws://127.0.0.1:{port}/stream")
            return await ask(client, {"read": "the time trave"})

        assert asyncio.run(body())["next"][0][0] == "l", "the network has read The Time Machine"
        process.send_signal(sign)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "Stopped.\n", "")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_the_command_refuses_in_a_sentence():
    process = start("nothing_like_it")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == ""
    assert err.startswith("name='nothing_like_it' is not known; choose one of") and "Traceback" not in err
