"""Workflows, metadata and the citation: what they name exists, and they agree with one another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lowland.version import __version__

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: Path) -> dict[str, Any]:
    """A YAML file; the word `on` is a key, not the value true that YAML 1.1 makes of it."""
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return content


def commands(workflow: dict[str, Any]) -> list[str]:
    """The commands of a workflow, once for each value of a matrix."""
    found = []
    for job in workflow["jobs"].values():
        ((name, values),) = job.get("strategy", {}).get("matrix", {"": [""]}).items()
        steps = [step["run"] for step in job["steps"] if "run" in step]
        found += [
            step.replace(f"${{{{ matrix.{name} }}}}", value)
            for step in steps
            for value in (values if f"matrix.{name} " in step else values[:1])
        ]
    return found


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_exists(path: Path) -> None:
    """Every target and script that a workflow's steps name exists."""
    for command in commands(read(path)):
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets(), command
        elif words[0] not in ("test", ".venv/bin/python"):
            assert (ROOT / words[0]).is_file(), command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read(path: Path) -> None:
    """A workflow only reads the repository, ends by itself, and leaves no credentials in the checkout."""
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert int(job["timeout-minutes"]) > 0
        assert job.get("permissions", {}) in ({}, {"id-token": "write"})
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] == "false"


def test_every_check_is_run() -> None:
    """The workflows run all that `make check` and the gate run; the slow tests run weekly."""
    run = {command.split()[1] for path in WORKFLOWS for command in commands(read(path)) if "make" in command}
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    rest = re.search(r"^check-rest: (.*)$", rules, re.MULTILINE)
    assert rest is not None
    assert {*rest[1].split(), "test", "audit", "test-lowest", "test-newest"} - {"test-slow"} <= run
    assert ".ci/run" in commands(read(ROOT / ".github" / "workflows" / "weekly.yml"))


def test_classifiers_name_the_pythons_that_are_tested() -> None:
    """The Python versions that the package claims are those that its workflow tests, the lowest first."""
    job = read(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["tests"]
    tested = job["strategy"]["matrix"]["python"]
    claimed = [
        found[1]
        for classifier in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
    ]
    assert claimed == tested and PROJECT["requires-python"] == f">={tested[0]}"


def test_citation_names_this_version() -> None:
    """CITATION.cff has the package's version and licence, and its date is that of the changelog."""
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == __version__ and citation["license"] == PROJECT["license"]
    heading = f"## [{__version__}] - {citation['date-released']}"
    assert heading in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()


def test_hooks_are_the_projects_own_commands() -> None:
    """Every hook of pre-commit runs a tool that the development extra installs."""
    installed = {re.split(r"[><=]", name)[0] for name in PROJECT["optional-dependencies"]["dev"]}
    named = {"lint-imports": "import-linter"}
    for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        for hook in repository["hooks"]:
            tool = Path(hook["entry"].split()[0]).name
            assert named.get(tool, tool) in installed, hook["id"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to measure on")
def test_the_gpu_script_needs_a_gpu(tmp_path: Path) -> None:
    """Without a CUDA device the script for GPUs says so in one sentence, exit code 2, and writes nothing."""
    script, out = ROOT / "benchmarks" / "gpu.sh", tmp_path / "gpu.json"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(["bash", script, out], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "PyTorch sees none here." in done.stderr
    assert not out.exists()


def test_every_page_is_in_the_navigation() -> None:
    """The site's navigation names each page of docs/ once, and pages that are made of files that exist."""

    def pages(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        parts = part.values() if isinstance(part, dict) else part
        return [page for inner in parts for page in pages(inner)]

    named = pages(read(ROOT / "mkdocs.yml")["nav"])
    own = {page for page in named if (ROOT / "docs" / page).is_file()}
    assert own == {path.name for path in (ROOT / "docs").glob("*.md")} and len(named) == len(set(named))
    assert all((ROOT / page).is_file() for page in set(named) - own - {"index.md"})


def test_every_extra_is_locked_and_tested() -> None:
    """The lock and the environments at both ends of the ranges have all extras of the package."""
    extras = sorted(PROJECT["optional-dependencies"])
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert sorted(re.findall(r"--extra (\S+)", rules)) == extras
    assert [sorted(found.split(",")) for found in re.findall(r"'\.\[(.*)\]'", rules)] == [extras]
