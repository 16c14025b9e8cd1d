"""The first cell of every chapter: seeds, device, budgets, the report; and an import that costs little."""

import importlib.metadata
import os
import pkgutil
import random
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

import rnnlib
from rnnlib import data, environment, plots


@pytest.fixture(autouse=True)
def _style():
    """Leave the style of the book to no other test."""
    with matplotlib.rc_context():
        yield


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_same_seed_same_draws():
    rnnlib.setup(seed=7)
    first = draws()
    assert draws() != first
    rnnlib.setup(seed=7)
    assert draws() == first
    rnnlib.setup(seed=8)
    assert all(a != b for a, b in zip(draws(), first, strict=True))
    rnnlib.setup()
    default = draws()
    rnnlib.setup(seed=0)
    assert draws() == default


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, None])
def test_a_seed_that_numpy_refuses_is_named_before_anything_is_seeded(seed):
    torch.manual_seed(3)
    expected = torch.initial_seed(), random.getstate()
    with pytest.raises(ValueError, match=f"seed={seed} must be a whole number from 0 to"):
        rnnlib.setup(seed)
    assert (torch.initial_seed(), random.getstate()) == expected


def test_a_seed_may_be_a_numpy_number():
    rnnlib.setup(np.int64(3))
    assert torch.initial_seed() == 3


def test_setup_sets_the_threads_and_the_style(monkeypatch):
    monkeypatch.setattr(environment, "_quickest_threads", lambda: 2)
    matplotlib.rcParams["axes.spines.top"] = True
    try:
        assert rnnlib.setup() == environment.best_device()
        assert torch.get_num_threads() == 2
        assert matplotlib.rcParams["axes.spines.top"] is plots.STYLE["axes.spines.top"] is False
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("default", "seconds", "expected"),
    [
        (1, {1: 1.0}, 1),  # OMP_NUM_THREADS=1, or one core: more are never tried
        (2, {1: 1.0, 2: 0.7}, 2),  # an idle machine
        (2, {1: 1.0, 2: 30.0}, 1),  # a busy one
        (2, {1: 1.0, 2: 0.95}, 1),  # not worth a core
        (6, {1: 1.0, 2: 0.7, 4: 0.5}, 4),
        (64, {1: 1.0, 2: 0.7, 4: 0.8}, 2),  # eight would not be tried
    ],
)
def test_threads_are_those_that_run_a_small_network_fastest(monkeypatch, default, seconds, expected):
    monkeypatch.setattr(environment, "THREADS", default)
    monkeypatch.setattr(environment, "_seconds_of_trial", seconds.__getitem__)
    assert environment._quickest_threads() == expected


def test_a_trial_of_threads_leaves_their_number_alone():
    assert environment._seconds_of_trial(2) > 0
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, False, "cuda"), (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_best_device(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert rnnlib.setup() == torch.device(expected)


@pytest.mark.parametrize("mode", [None, "", "0"])
def test_budget_of_a_full_run(monkeypatch, mode):
    if mode is None:
        monkeypatch.delenv("RNNLIB_QUICK", raising=False)
    else:
        monkeypatch.setenv("RNNLIB_QUICK", mode)
    assert rnnlib.budget(130, quick=3) == 130
    assert rnnlib.budget(130) == 130
    assert rnnlib.budget(1.2, quick=20) == 1.2


def test_budget_of_a_quick_run(monkeypatch):
    monkeypatch.setenv("RNNLIB_QUICK", "1")
    assert rnnlib.budget(130, quick=3) == 3
    assert rnnlib.budget(1.2, quick=20) == 20
    assert rnnlib.budget(5, quick=0) == 0, "nothing is a budget too"
    assert [rnnlib.budget(full) for full in (130, 20, 19, 1)] == [6, 1, 1, 1], "a twentieth, at least 1"


def test_a_finding_prints_its_verdict_or_what_differs(capsys):
    with rnnlib.finding("Verified: few kinds"):
        assert True
    with rnnlib.finding("Verified: few kinds"):
        raise AssertionError("1,041 kinds here")
    assert capsys.readouterr().out == "Verified: few kinds\nDiffers from the page: 1,041 kinds here\n"


def test_a_finding_without_a_message_still_says_that_it_differs(capsys):
    with rnnlib.finding("Verified: few kinds"):
        raise AssertionError
    assert capsys.readouterr().out == "Differs from the page: with these settings something else was found\n"


def test_a_finding_hides_no_other_error():
    with pytest.raises(KeyError), rnnlib.finding("Verified: nothing"):
        raise KeyError("a")


def facts(report):
    """Return the report as a dict: each line is a name and what is known of it."""
    return dict(re.fullmatch(r"(\S+) +(\S.*)", line).groups() for line in report.splitlines())


def test_report_has_one_fact_a_line(monkeypatch):
    monkeypatch.setenv("RNNLIB_QUICK", "1")
    report = facts(rnnlib.environment_report())
    assert list(report) == [
        *("Python", "torch", "numpy", "matplotlib", "ipywidgets", "jupyterlab", "ipykernel", "d2l"),
        *("device", "mode", *data.where()),
    ]
    assert report["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert report["torch"] == importlib.metadata.version("torch")
    assert report["mode"] == "quick (RNNLIB_QUICK=1)"
    monkeypatch.setenv("RNNLIB_QUICK", "0")
    assert facts(rnnlib.environment_report())["mode"] == "full"


def test_report_of_a_small_machine(monkeypatch, tmp_path):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("RNNLIB_CACHE", str(tmp_path))
    monkeypatch.delenv("RNNLIB_DATA", raising=False)
    report = facts(rnnlib.environment_report())
    assert report["torch"] == report["d2l"] == "not installed"
    assert report["device"] == "cpu, 1 of 2 CPU threads in use"
    assert report["time_machine"].startswith("http")


def test_report_can_be_shared(monkeypatch, tmp_path):
    places = {"time_machine": str(tmp_path / "data" / "a.txt"), "shakespeare": str(tmp_path / "b" / "c.txt")}
    monkeypatch.setattr(data, "where", lambda: places)
    monkeypatch.setenv("RNNLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RNNLIB_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    report = facts(rnnlib.environment_report())
    assert report["time_machine"] == os.path.join("$RNNLIB_DATA", "a.txt")
    assert report["shakespeare"] == os.path.join("~", "b", "c.txt")


def test_report_names_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Deep Thought 42")
    assert facts(rnnlib.environment_report())["device"].startswith("Deep Thought 42, ")


# The package


def modules_after(code):
    """Return the names of the top-level packages and of rnnlib's modules that this code has loaded."""
    code += "\nimport sys\nprint(*[name for name in sys.modules if name.startswith('rnnlib') or '.' not in name])"
    code += "\nprint(*[name for name in sys.modules if name == 'matplotlib.pyplot'])"
    environ = {**os.environ, "PYTHONPATH": str(Path(rnnlib.__file__).parent.parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    return set(run.stdout.split())


def test_import_loads_nothing_that_is_not_needed():
    loaded = modules_after("import rnnlib")
    assert "torch" in loaded and "rnnlib.environment" in loaded
    assert not loaded & {"matplotlib", "ipywidgets", "pooch", "requests", "IPython", "d2l", "torchvision"}
    assert {name for name in loaded if name.startswith("rnnlib.")} == {"rnnlib.environment"}


def test_training_loads_no_figures_and_setup_no_pyplot():
    loaded = modules_after(
        "import rnnlib\n"
        "rnnlib.training, rnnlib.scratch, rnnlib.text, rnnlib.data\n"
        "assert 'matplotlib' not in __import__('sys').modules\n"
        "rnnlib.setup()\n"
    )
    assert {"rnnlib.training", "rnnlib.scratch", "rnnlib.text", "rnnlib.data", "rnnlib.plots"} <= loaded
    assert not loaded & {"ipywidgets", "pooch", "matplotlib.pyplot"}


def test_the_first_minibatch_needs_little():
    loaded = modules_after(
        "import rnnlib\n"
        "vocab = rnnlib.text.Vocab('the time traveller')\n"
        "next(iter(rnnlib.text.sequential_batches(vocab[list('the time traveller')], 2, 3)))\n"
    )
    assert {name for name in loaded if name.startswith("rnnlib.")} == {
        "rnnlib.environment",
        "rnnlib.guards",
        "rnnlib.text",
    }
    assert not loaded & {"matplotlib", "sklearn", "pandas", "scipy", "pooch", "IPython"}


def test_submodules_are_attributes():
    for name in rnnlib.__all__:
        value = getattr(rnnlib, name)
        if name in rnnlib._SUBMODULES:
            assert value is sys.modules[f"rnnlib.{name}"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", rnnlib.__version__)


def test_every_module_can_be_reached():
    files = {module.name for module in pkgutil.iter_modules(rnnlib.__path__)}
    assert files - {"environment", "checkpoints"} == set(rnnlib._SUBMODULES)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(AttributeError) as caught:
        _ = rnnlib.texts
    message = str(caught.value)
    assert message.startswith("module 'rnnlib' has no attribute 'texts'; it has ")
    assert all(name in message for name in rnnlib.__all__)
    with pytest.raises(ImportError):
        from rnnlib import nothing_of_this_name  # noqa: F401


def test_dir_names_everything():
    assert dir(rnnlib) == sorted(rnnlib.__all__)
    assert {"setup", "budget", "environment_report", "text", "training", "plots", "explore", "check"} <= set(
        dir(rnnlib)
    )
