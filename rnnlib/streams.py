"""Many streams at once: a pool of states, a server, and a rival to count against
(chapter 10)."""

import asyncio

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import guards

# Many at once


class Pool:
    """The states of many sessions, a row each; what waits together takes one step.

    step: called as a :class:`NumpyStep` is; state: its parts for all rows, (L, rows,
    H).
    """

    def __init__(self, step, state):
        guards.check_pool(step, state)
        self.step, self.state = step, state
        self.free = list(range(state[0].shape[1]))
        self.queue, self.waiting = asyncio.Queue(), {}

    def open(self):
        """Return a free row, its state at zero."""
        guards.check_room(self.free)
        row = self.free.pop()
        for part in self.state:
            part[:, row] = 0
        return row

    def close(self, row):
        """Give a row back."""
        guards.check_free(row, self.free, self.state[0].shape[1])
        self.free.append(row)

    async def read(self, row, token_id):
        """Let a session read an id; return the scores (V,) of what comes next."""
        guards.check_idle(row, self.waiting)
        scores = asyncio.get_running_loop().create_future()
        self.waiting[row] = scores
        self.queue.put_nowait((row, token_id, scores))
        return await scores


def make_step(pool, jobs):
    """Make one step with the states of these jobs, (row, id, scores to come), alone."""
    rows, ids, answers = (list(column) for column in zip(*jobs, strict=True))
    before = [part[:, rows] for part in pool.state]  # (L, N, H)
    try:
        outputs, *after = pool.step(np.array(ids), *before)
    except Exception as error:  # whatever it is, those who wait must hear of it
        for answer in answers:
            answer.set_exception(error)
        return
    for part, new in zip(pool.state, after, strict=True):
        part[:, rows] = new
    for answer, scores in zip(answers, outputs, strict=True):
        answer.set_result(scores)


async def serve(pool, make_step=make_step):
    """Take all that wait, wait for none, make one step with them; and again."""
    while True:
        jobs = [await pool.queue.get()]
        while not pool.queue.empty():
            jobs.append(pool.queue.get_nowait())
        jobs = [job for job in jobs if not job[2].done()]  # some have left
        if jobs:
            make_step(pool, jobs)
        await asyncio.sleep(0)  # the others' turn


async def talk(pool, vocab, reader, writer):
    """Answer each byte of a client with the likeliest next character, until it
    leaves."""
    row = pool.open()
    try:
        while byte := await reader.read(1):
            scores = await pool.read(row, vocab[byte.decode("latin-1")])
            likeliest = 1 + scores[1:].argmax()  # not <unk>
            writer.write(vocab.tokens[likeliest].encode())
            await writer.drain()
    finally:
        pool.close(row)
        writer.close()


# A rival for the state


class CachedBlock(nn.Module):
    """A level of a decoder that reads one token a call and keeps keys and values."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x, cache, t):
        """Read token t, x (N, D); cache (2, N, heads, context, D / heads)."""
        qkv = self.to_qkv(self.norm(x)).unflatten(1, (3, self.num_heads, -1))
        q, cache[0, :, :, t], cache[1, :, :, t] = qkv.unbind(1)  # (N, heads, D / heads)
        keys, values = cache[:, :, :, : t + 1]  # (N, heads, t + 1, D / heads)
        seen = F.scaled_dot_product_attention(q[:, :, None], keys, values)
        x = x + self.join(seen.flatten(1))  # (N, D)
        return x + self.narrow(F.gelu(self.widen(self.norm_mlp(x))))


class CachedDecoder(nn.Module):
    """A small decoder that reads one token a call, to count what a step costs."""

    def __init__(self, vocab_size, width, num_heads, num_layers, context, batch_size=1):
        super().__init__()
        guards.check_heads(num_heads, width=width)
        guards.check_sizes(vocab_size=vocab_size, num_layers=num_layers)
        guards.check_sizes(context=context, batch_size=batch_size)
        self.num_read = 0
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context, width)
        blocks = (CachedBlock(width, num_heads) for _ in range(num_layers))
        self.blocks, self.linear = nn.ModuleList(blocks), nn.Linear(width, vocab_size)
        shape = num_layers, 2, batch_size, num_heads, context, width // num_heads
        self.register_buffer("cache", torch.zeros(shape), persistent=False)

    def forward(self, ids):
        """Read the next ids (N,) and return the logits (N, V)."""
        guards.check_next(self, ids)
        x = self.embedding(ids) + self.positions.weight[self.num_read]  # (N, D)
        for block, cache in zip(self.blocks, self.cache, strict=True):
            x = block(x, cache, self.num_read)
        self.num_read += 1
        return self.linear(x)
