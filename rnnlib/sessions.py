"""Many streams at once: a pool of states and a server (chapter 10)."""

import asyncio

import numpy as np

from rnnlib import guards


class SessionPool:
    """The states of many sessions, a row each; what waits together takes one step.

    step: called as a NumpyStep is; state: its parts for all rows, (L, rows, H).
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


def step_sessions(pool, jobs):
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


async def serve(pool, make_step=step_sessions):
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
    """Answer each byte of a client with the likeliest next character, to the end."""
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
