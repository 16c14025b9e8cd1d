"""What a run stands on: seeds, threads, device, modes of PyTorch, budgets, a report of what is installed."""

import contextlib
import importlib.metadata
import os
import platform
import random
import time

import numpy as np
import torch

THREADS = torch.get_num_threads()  # PyTorch's own choice, or OMP_NUM_THREADS: as it was before any chapter


def setup(seed=0):
    """Make a chapter repeatable and return the device to train on.

    Seeds Python, NumPy and PyTorch, sets the number of CPU threads (:func:`_quickest_threads`) and the figure style of
    the book.

    Args:
        seed: a whole number; the same seed gives the same run on the same machine.

    Returns:
        torch.device: CUDA, else Apple MPS, else the CPU.

    Raises:
        ValueError: for a seed that is not a whole number from 0 to 2**32 - 1, as NumPy needs it.
    """
    from rnnlib import guards, plots

    if not guards.is_whole(seed, 0) or seed >= 2**32:
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2**32 - 1 = {2**32 - 1}")
    torch.set_num_threads(_quickest_threads())  # before the seeds, since the trial draws weights
    seed = int(seed)  # Python's own generator refuses a NumPy number
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plots.use_style()
    return best_device()


def _quickest_threads():
    """Return with how many CPU threads a small network runs fastest now: 1, 2, 4, … up to PyTorch's own number.

    On an idle machine a second thread makes a training step up to a third shorter. On a busy one the two wait for each
    other, and it can take a hundred times as long. So a short trial decides; ``OMP_NUM_THREADS=1`` in the environment
    keeps it at one.
    """
    best, shortest = 1, _seconds_of_trial(1)
    while 2 * best <= THREADS and (seconds := _seconds_of_trial(2 * best)) < 0.9 * shortest:
        best, shortest = 2 * best, seconds
    return best


def _seconds_of_trial(num_threads):
    """Return the real seconds that a few training steps of a small network take with this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    layer, X = torch.nn.RNN(28, 256), torch.zeros(35, 32, 28)  # X: (T, N, V)
    for step in range(8):
        if step == 1:  # the threads are awake
            start = time.perf_counter()
        layer(X)[0].sum().backward()
    torch.set_num_threads(before)
    return time.perf_counter() - start


def best_device():
    """Return CUDA if there is one, else Apple MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@contextlib.contextmanager
def evaluating(model):
    """Run a model in evaluation mode, and give it back as it was."""
    from rnnlib import guards

    guards.check_networks(model=model)
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextlib.contextmanager
def single_steps():
    """Ready a loop of single steps, which looks at what it is given before it begins.

    oneDNN is off: it prepares every call, which pays for large batches only. Guards
    trust the loop.
    """
    from rnnlib import guards

    was_enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    try:
        with guards.trusting():
            yield
    finally:
        torch.backends.mkldnn.enabled = was_enabled


def new_generator(seed):
    """Return a torch.Generator with this seed, or one that the system seeds for None."""
    from rnnlib import guards

    if seed is not None:
        guards.check_seed(seed)
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def quick_mode():
    """Tell whether the reader asked for short trainings with the environment variable ``RNNLIB_QUICK=1``."""
    return os.environ.get("RNNLIB_QUICK", "").lower() not in ("", "0", "no", "false", "off")


def budget(full, quick=None):
    """Return ``full``, or ``quick`` when ``RNNLIB_QUICK=1``.

    >>> epochs = budget(130, quick=3)

    Args:
        full: the value of a full run, such as a number of epochs.
        quick: the value of a quick run; by default a twentieth of ``full``, at least 1.
    """
    if not quick_mode():
        return full
    return max(1, full // 20) if quick is None else quick


def bfloat16_where_fast():
    """Compute in bfloat16 on a CPU that can, with oneDNN; without oneDNN it is 30 times slower than float32."""
    able = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    return torch.autocast("cpu", torch.bfloat16, enabled=able and torch.cpu._is_avx512_bf16_supported())


DIFFERS = "Differs from the page:"


@contextlib.contextmanager
def finding(verdict):
    """Print ``verdict`` if all assertions of the block hold, else what differs from the page, by their message.

    For what a chapter found with its text, seed and sizes, which a reader may change; what is true of any text is a
    plain assertion. The printed line is compared in every test run, so a finding of the book itself can't get lost.

    >>> with finding("Verified: the text is short"):
    ...     assert len("time traveller") < 10, "this text has 10 characters or more"
    Differs from the page: this text has 10 characters or more

    Args:
        verdict: the line to print, such as "Verified: clipping is nearly idle here".
    """
    try:
        yield
    except AssertionError as error:
        print(DIFFERS, str(error) or "with these settings something else was found")
    else:
        print(verdict)


def environment_report():
    """Describe this machine in a few lines: versions, device, threads, mode and the data found.

    Returns:
        str: one fact a line, ready to print or to paste into a bug report.
    """
    from rnnlib import data

    lines = [f"Python       {platform.python_version()} on {platform.system()} {platform.machine()}"]
    for package in ("torch", "numpy", "matplotlib", "ipywidgets", "jupyterlab", "ipykernel", "d2l"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        lines.append(f"{package:<12} {version}")
    device = best_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    lines.append(f"{'device':<12} {name}, {torch.get_num_threads()} of {os.cpu_count()} CPU threads in use")
    lines.append(f"{'mode':<12} {'quick (RNNLIB_QUICK=1)' if quick_mode() else 'full'}")
    lines.extend(f"{corpus:<12} {_without_home(place)}" for corpus, place in data.where().items())
    return "\n".join(lines)


def _without_home(place):
    """Write a path without the folders that are private to this machine, so that a report can be shared."""
    folders = {"$RNNLIB_DATA": os.environ.get("RNNLIB_DATA"), "$RNNLIB_CACHE": os.environ.get("RNNLIB_CACHE"), "~": "~"}
    for name, folder in folders.items():
        prefix = os.path.abspath(os.path.expanduser(folder)) + os.sep if folder else None
        if prefix and place.startswith(prefix):
            return os.path.join(name, place.removeprefix(prefix))
    return place
