"""How many students fit on one machine? N kernels run chapter 2 at once, then N students move its sliders at once.

    python -m benchmarks.classroom

For each N, in quick mode as in a classroom: the seconds until the last kernel has run all cells; meanwhile, how long a
newcomer waits for a small cell in a kernel of his own; then, with every student pressing a key on the temperature desk
every two seconds, the time from the message of the slider to the message with the new picture; and the memory of one
kernel. Seconds not called CPU are wall-clock, so run it on an otherwise idle machine; the record says how busy it was
at the start. docs/classroom.md plans with these numbers.
"""

import os
import statistics
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
from jupyter_client import KernelManager

from benchmarks import record

CHAPTER = Path(__file__).resolve().parent.parent / "notebooks" / "02_rnn_from_scratch.ipynb"
STUDENTS = (1, 2, 5, 10)
PRESSES, THINKING = 10, 2.0  # key presses of each student, seconds between two of them


class Student:
    """A kernel with its client, and the chapter."""

    def __init__(self):
        environment = os.environ | {"RNNLIB_QUICK": "1", "RNNLIB_LIVE": "1", "OMP_NUM_THREADS": "1"}
        self.manager = KernelManager()
        self.manager.start_kernel(cwd=str(CHAPTER.parent), env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)

    def run(self, source):
        """Run a cell and return its seconds.

        Raises:
            RuntimeError: if it fails.
        """
        start = time.perf_counter()
        reply = self.client.execute_interactive(source, timeout=1200, output_hook=lambda message: None)
        if reply["content"]["status"] == "error":
            raise RuntimeError(reply["content"]["evalue"])
        return time.perf_counter() - start

    def read_chapter(self):
        """Run all code cells of the chapter, but for those that fail on purpose."""
        for cell in nbformat.read(CHAPTER, as_version=4).cells:
            if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", []):
                self.run(cell.source)

    def press(self, comm, value):
        """Send a slider's new value and return the seconds until the kernel has sent the new picture."""
        client = self.client
        content = {"comm_id": comm, "data": {"method": "update", "state": {"value": value}, "buffer_paths": []}}
        start = time.perf_counter()
        sent = client.session.send(client.shell_channel.socket, "comm_msg", content)
        while True:
            message = client.get_iopub_msg(timeout=120)
            mine = message["parent_header"].get("msg_id") == sent["header"]["msg_id"]
            if mine and message["msg_type"] == "update_display_data" and "image/png" in message["content"]["data"]:
                return time.perf_counter() - start

    def comm(self, control):
        """Return the id of the channel of a slider."""
        found = []
        source = f"print('comm', desk.controls[{control!r}].comm.comm_id)"
        self.client.execute_interactive(
            source,
            timeout=120,
            output_hook=lambda m: found.append(m["content"]["text"]) if m["msg_type"] == "stream" else None,
        )
        return "".join(found).split()[1]

    def megabytes(self):
        """Return the resident memory of the kernel, and the part that it shares with no other process."""
        memory = psutil.Process(self.manager.provisioner.process.pid).memory_full_info()
        return memory.rss / 1e6, memory.uss / 1e6

    def cpu_seconds(self):
        """Return the CPU seconds that the kernel has used so far."""
        times = psutil.Process(self.manager.provisioner.process.pid).cpu_times()
        return times.user + times.system

    def leave(self):
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def at_once(functions):
    """Run functions in threads of their own; return their results.

    Raises:
        RuntimeError: if one of them failed.
    """
    results, errors = [None] * len(functions), []

    def call(i):
        try:
            results[i] = functions[i]()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(functions)} students failed; the first: {errors[0]}")
    return results


def newcomer_waits(newcomer, finished):
    """Run a small cell every second until all others are done; return the seconds that each took."""
    waits = []
    while not finished.is_set():
        waits.append(newcomer.run("sum(range(1000))"))
        time.sleep(1)
    return waits


def play(student, comm, turn, students):
    """Press a key every two seconds, not all students in the same moment; return the seconds of each press."""
    time.sleep(THINKING * turn / students)
    waits = []
    for i in range(PRESSES):
        wait = student.press(comm, round(1.1 + 0.1 * ((i + turn) % 9), 1))  # never the value that is set
        waits.append(wait)
        time.sleep(max(0.0, THINKING - wait))
    return waits


def measure(number):
    """Return the row of one number of students."""
    busy = os.getloadavg()[0]
    newcomer, *students = [Student() for _ in range(number + 1)]
    try:
        finished = threading.Event()
        small = []
        watcher = threading.Thread(target=lambda: small.extend(newcomer_waits(newcomer, finished)))
        start = time.perf_counter()
        watcher.start()
        at_once([student.read_chapter for student in students])
        chapter = time.perf_counter() - start
        finished.set()
        watcher.join()
        newcomer.leave()
        reading = statistics.median(student.cpu_seconds() for student in students)
        comms = [student.comm("temperature") for student in students]
        turns = [
            lambda s=s, c=c, i=i: play(s, c, i, number) for i, (s, c) in enumerate(zip(students, comms, strict=True))
        ]
        presses = sorted(wait for waits in at_once(turns) for wait in waits)
        pressing = statistics.median(student.cpu_seconds() for student in students) - reading
        memory = [student.megabytes() for student in students]
    finally:
        for student in students:
            student.leave()
    return {
        "students": number,
        "load before": round(busy, 1),
        "chapter 2, s": round(chapter, 1),
        "CPU s of one student": round(reading, 1),
        "small cell meanwhile, ms": round(1000 * statistics.median(small)),
        "small cell meanwhile, slowest, ms": round(1000 * max(small)),
        "slider, ms": round(1000 * statistics.median(presses)),
        "slider, 9 of 10 below, ms": round(1000 * presses[int(0.9 * len(presses))]),
        "CPU ms of a key press": round(1000 * pressing / PRESSES),
        "memory of a kernel, MB": round(max(rss for rss, _ in memory)),
        "its own share, MB": round(max(uss for _, uss in memory)),
    }


def main():
    numbers = [int(number) for number in sys.argv[1:]] or STUDENTS
    rows = []
    for number in numbers:
        rows.append(measure(number))
        print(rows[-1], flush=True)
        record.write("classroom", rows)


if __name__ == "__main__":
    main()
