"""What describes the installation in several places says the same everywhere."""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = dict(re.findall(r"^([a-z-]+):.*?## (.+)$", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
# conda-forge's name for what the Python package index calls otherwise.
CONDA_NAME = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
# conda must install what d2l asks for, or pip would bring a second copy of it.
CONDA_ALONE = {"python", "pip", "jupyter"}


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments):
    """Run make as a reader does, although these tests may run inside a make with variables of its own."""
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
    env = {name: value for name, value in os.environ.items() if name not in inherited}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def requirements(*extras):
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [Requirement(line) for line in lines]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def conda():
    """Return the ranges of environment.yml by conda name, and its pip lines."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = [line for entry in lines if isinstance(entry, dict) for line in entry["pip"]]
    ranges = {}
    for line in lines:
        if isinstance(line, str):
            name, _, specifier = line.partition(" ")
            assert name not in ranges, f"environment.yml names {name} twice"
            # conda's =3.11 is any 3.11
            ranges[name] = SpecifierSet(re.sub(r"^=(\d[\d.]*)$", r"==\1.*", specifier))
    return ranges, pip


def test_environment_yml_agrees_with_pyproject():
    ranges, pip = conda()
    pip = [Requirement(line) for line in pip if line != "-e ."]
    found = ranges | {requirement.name: requirement.specifier for requirement in pip}
    wanted = {CONDA_NAME.get(r.name, r.name): r.specifier for r in requirements("lab", "d2l", "ship", "test")}
    assert set(found) == set(wanted) | CONDA_ALONE
    assert {name: specifier for name, specifier in found.items() if name in wanted} == wanted


def test_repo2docker_finds_one_version_of_python():
    """It reads `python =3.11` alone; without it, it would take a Python that is too old for the book."""
    line = re.search(r"^  - python =(\d\.\d+)$", (ROOT / "environment.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(line.group(1))
    after = ROOT / "postBuild"
    assert os.access(after, os.X_OK)
    assert "python -m rnnlib.data" in after.read_text(encoding="utf-8")


def test_environment_yml_installs_rnnlib_itself_from_conda_forge_alone():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "rnnlib"
    assert environment["channels"] == ["conda-forge"]
    assert conda()[1] == ["d2l==0.17.0", "-e ."]


def test_conda_environment_holds_what_d2l_asks_for():
    try:
        asked = importlib.metadata.requires("d2l")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("d2l is not installed")
    names = {Requirement(line).name for line in asked}
    assert {CONDA_NAME.get(name, name) for name in names} <= set(conda()[0])


def test_constraints_are_exact_and_unique():
    names = [canonicalize_name(pin.name) for pin in pins()]
    assert len(names) == len(set(names))
    assert names == sorted(names)
    for pin in pins():
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{pin} is not one exact version"


def test_constraints_cover_and_satisfy_every_requirement():
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins()}
    for requirement in requirements(*EXTRAS):
        name = canonicalize_name(requirement.name)
        assert name in versions, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(versions[name]), f"{name} {versions[name]} is not in {requirement}"


def test_torch_and_torchvision_are_pinned_as_a_pair():
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pins()}
    try:
        if importlib.metadata.version("torchvision").split("+")[0] != versions["torchvision"]:
            pytest.skip("the installed torchvision is not the pinned one")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("torchvision is not installed")
    (torch,) = (r for r in map(Requirement, importlib.metadata.requires("torchvision")) if r.name == "torch")
    assert torch.specifier.contains(versions["torch"])


def test_every_package_of_rnnlib_is_installed():
    listed = {name.replace(".", "/") for name in PROJECT["tool"]["setuptools"]["packages"]}
    there = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "rnnlib").rglob("__init__.py")}
    assert listed == there


def test_licence_files():
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    text = (ROOT / "LICENSE-CC-BY-4.0.md").read_text(encoding="utf-8")
    assert "creativecommons.org/licenses/by/4.0" in text
    assert "CC0" in text


def test_every_target_of_make_is_described():
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE).group(1).split()
    assert sorted(phony) == sorted(TARGETS)


def test_make_installs_extras_that_exist():
    named = {
        extra
        for call in re.findall(r"call pip_install,(.+)\)$", MAKEFILE, re.MULTILINE)
        for extra in re.split(r"\$\(comma\)", call)
    }
    assert named == set(EXTRAS)


@needs_make
def test_make_alone_prints_the_targets():
    shown = make()
    assert shown.returncode == 0
    assert not shown.stderr
    for target, description in TARGETS.items():
        assert re.search(rf"^  make {target} +{re.escape(description)}$", shown.stdout, re.MULTILINE)


@needs_make
def test_make_names_the_remedy_for_a_missing_python(tmp_path):
    shown = make("install", "PYTHON=no-such-python", f"VENV={tmp_path.as_posix()}/new")
    assert shown.returncode != 0
    assert "needs Python 3.11 or newer" in shown.stderr
    assert "make PYTHON=python3.12 install" in shown.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_calls_targets_that_exist(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = {name for step in steps for name in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE)}
    assert called
    assert called <= set(TARGETS)
    for step in steps:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))


def test_there_are_four_workflows():
    assert [path.stem for path in WORKFLOWS] == ["ci", "gpu", "pages", "weekly"]


def test_ci_script_runs_the_tests():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.startswith("#!/usr/bin/env bash\n")
    lines = script.splitlines()
    assert "make test < /dev/null" in lines, "with set -e a failure ends the script"
    assert any("make test-browser" in line for line in lines)


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="a shell script")
@pytest.mark.parametrize("tests_pass", [True, False])
def test_ci_script_skips_the_browser_loudly_and_never_hides_a_failure(tmp_path, tests_pass):
    """On a machine without Chromium and package manager: stand-ins for the commands that the script calls."""
    for name in ("bash", "dirname", "id", "timeout"):
        (tmp_path / name).symlink_to(shutil.which(name))
    stand_in = tmp_path / "make"
    stand_in.write_text(f"#!{shutil.which('bash')}\necho made $@\nexit {0 if tests_pass else 3}\n")
    stand_in.chmod(0o755)
    environment = {"PATH": str(tmp_path)}
    run = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60)
    if tests_pass:
        assert run.returncode == 0, run.stderr
        assert "SKIPPED: the browser tests" in run.stdout
        (tmp_path / "chromium").symlink_to(shutil.which("true"))
        run = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60)
        assert "made test-browser" in run.stdout and "SKIPPED" not in run.stdout
    else:
        assert run.returncode == 3
        assert "test-browser" not in run.stdout
