"""A pool of states: many sessions, each answered as if it were alone."""

import asyncio
import random

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.shipping import CachedDecoder
from rnnlib import layers, sessions, shipping, text

V, H = 11, 8
VOCAB = text.Vocab("abcdefghij")


def network(layer=nn.LSTM, seed=0):
    torch.manual_seed(seed)
    model = layers.LanguageModel(layer(V, H, num_layers=2), V).eval()
    for p in model.parameters():
        p.data.mul_(3)  # so that a wrong state shows
    return shipping.NumpyStep(shipping.named_weights(model))


def finished(program):
    """Run a program to its end; one that waits for an answer that never comes is an error after 20 seconds."""
    return asyncio.run(asyncio.wait_for(program, timeout=20))


def alone(step, ids):
    """Return the scores of a session that has the network to itself."""
    state, found = step.begin_state(1), []
    for i in ids:
        scores, *state = step(np.array([i]), *state)
        found.append(scores[0])
    return found


class Working:
    """A pool with its worker."""

    def __init__(self, step, rows):
        self.pool = sessions.SessionPool(step, step.begin_state(rows))

    async def __aenter__(self):
        self.worker = asyncio.create_task(sessions.serve(self.pool))
        return self.pool

    async def __aexit__(self, *error):
        self.worker.cancel()


async def session(pool, ids, pause):
    row = pool.open()
    found = []
    for i in ids:
        found.append(await pool.read(row, i))
        await pause()
    pool.close(row)
    return found


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_many_sessions_are_answered_as_if_alone(layer):
    step, chance = network(layer), random.Random(0)
    texts = [[chance.randrange(V) for _ in range(chance.randrange(5, 40))] for _ in range(64)]

    async def pause():
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def main():
        async with Working(step, 64) as pool:
            found = await asyncio.gather(*(session(pool, ids, pause) for ids in texts))
            assert sorted(pool.free) == list(range(64)) and pool.queue.empty()
            return found

    for ids, found in zip(texts, finished(main()), strict=True):
        np.testing.assert_allclose(found, alone(step, ids), atol=1e-5)


def test_rows_are_used_again_and_begin_at_zero():
    step = network()

    async def main():
        async with Working(step, 1) as pool:
            for ids in ([1, 2, 3], [4, 5], [6]):
                found = await session(pool, ids, lambda: asyncio.sleep(0))
                np.testing.assert_allclose(found, alone(step, ids), atol=1e-5)

    finished(main())


def test_what_waits_together_takes_one_step():
    step, sizes = network(), []

    def counted(ids, *state):
        sizes.append(len(ids))
        return step(ids, *state)

    async def main():
        pool = sessions.SessionPool(counted, step.begin_state(10))
        rows = [pool.open() for _ in range(10)]
        reads = [asyncio.create_task(pool.read(row, 1)) for row in rows]
        await asyncio.sleep(0)
        worker = asyncio.create_task(sessions.serve(pool))
        await asyncio.gather(*reads)
        worker.cancel()

    finished(main())
    assert sizes == [10]


def test_a_client_that_leaves_does_not_touch_the_next_owner_of_its_row():
    step = network()

    async def main():
        pool = sessions.SessionPool(step, step.begin_state(1))
        row = pool.open()
        leaving = asyncio.create_task(pool.read(row, 3))
        await asyncio.sleep(0)  # its character waits in the queue
        leaving.cancel()
        pool.close(row)
        assert pool.open() == row
        worker = asyncio.create_task(sessions.serve(pool))
        scores = await pool.read(row, 5)
        worker.cancel()
        np.testing.assert_allclose(scores, alone(step, [5])[0], atol=1e-6)
        assert pool.queue.empty()

    finished(main())


def test_a_session_twice_in_a_batch_is_refused():
    step = network()

    async def main():
        async with Working(step, 2) as pool:
            row = pool.open()
            first = asyncio.create_task(pool.read(row, 1))
            await asyncio.sleep(0)
            with pytest.raises(ValueError, match=rf"row {row} waits for an answer already"):
                await pool.read(row, 2)
            np.testing.assert_allclose(await first, alone(step, [1])[0], atol=1e-6)

    finished(main())


def test_a_full_pool_and_a_row_closed_twice_get_a_sentence():
    step = network()
    pool = sessions.SessionPool(step, step.begin_state(1))
    row = pool.open()
    with pytest.raises(ValueError, match="all places are taken: close a session first, or make the pool larger"):
        pool.open()
    pool.close(row)
    with pytest.raises(ValueError, match="row 0 was given back already"):
        pool.close(row)


def test_an_error_in_the_network_reaches_those_who_wait_and_the_worker_goes_on():
    step = network()

    async def main():
        async with Working(step, 2) as pool:
            row = pool.open()
            with pytest.raises(ValueError, match="id 99 is outside 0 to 10"):
                await asyncio.wait_for(pool.read(row, 99), 5)
            np.testing.assert_allclose(await pool.read(row, 1), alone(step, [1])[0], atol=1e-6)

    finished(main())


def test_server_of_bytes():
    step = network(nn.GRU)

    async def client(port, sent):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        came = b""
        for byte in sent:
            writer.write(bytes([byte]))
            came += await reader.read(1)
        writer.close()
        return came.decode()

    async def main():
        async with Working(step, 8) as pool:
            server = await asyncio.start_server(lambda *ends: sessions.talk(pool, VOCAB, *ends), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            answers = await asyncio.gather(*(client(port, text) for text in (b"abc", b"jihg", b"a\xff\n\0")))
            server.close()
            for _ in range(50):
                await asyncio.sleep(0.01)
                if len(pool.free) == 8:
                    break
            assert len(pool.free) == 8, "rows come back when clients leave"
            return answers

    answers = finished(main())
    for sent, came in zip(("abc", "jihg", "a???"), answers, strict=True):
        scores = alone(step, [VOCAB[c] for c in sent])
        assert came == "".join(VOCAB.tokens[1 + row[1:].argmax()] for row in scores)


# The rival


def full_pass(decoder, ids):
    """Compute the decoder's logits for ids (T,) without a cache: the whole text at once, with a mask."""
    T = len(ids)
    x = decoder.embedding(ids) + decoder.positions.weight[:T]  # (T, D)
    mask = torch.ones(T, T).tril().bool()
    for block in decoder.blocks:
        q, k, v = block.to_qkv(block.norm(x)).chunk(3, dim=1)
        split = [part.unflatten(1, (block.num_heads, -1)).transpose(0, 1) for part in (q, k, v)]  # (heads, T, d)
        scores = split[0] @ split[1].transpose(1, 2) / split[0].shape[2] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(2)
        x = x + block.join((weights @ split[2]).transpose(0, 1).flatten(1))
        x = x + block.narrow(torch.nn.functional.gelu(block.widen(block.norm_mlp(x))))
    return decoder.linear(x)


@torch.no_grad()
def test_cached_decoder_is_the_full_pass():
    torch.manual_seed(0)
    decoder = CachedDecoder(V, 16, 4, num_layers=2, context=12, batch_size=2)
    ids = torch.randint(V, (2, 12))
    steps = torch.stack([decoder(column) for column in ids.T], dim=1)  # (N, T, V)
    for row, found in zip(ids, steps, strict=True):
        torch.testing.assert_close(found, full_pass(decoder, row), atol=1e-5, rtol=1e-5)
