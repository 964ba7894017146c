"""Every command that the README tells is run by a test: by one named here, or right here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from scaler.api.config import load
from scaler.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LAGCAST = Path(sys.executable).with_name("lagcast")

HERE = "tests/cli/test_readme.py"
# The beginning of a command, and the test that runs it. `make` targets are the recipes below.
RUN_BY = {
    "lagcast run": "tests/process/test_unreachable.py::test_it_goes_on_ticking",
    "lagcast status": "tests/cli/test_status_command.py::test_json_is_what_the_controller_serves",
    "lagcast demo": "tests/cli/test_demo_command.py::test_it_draws_a_picture",
    "lagcast simulate": "tests/lab/test_simulate_from_kafka.py::test_the_topic_s_past_is_simulated",
    "lagcast compare": "tests/simulations/commands/test_compare.py::test_a_report_and_rows_of_every_run",
    "lagcast tune": "tests/simulations/commands/test_tune.py::test_a_command_that_was_killed_loses_nothing",
    "lagcast lab up": f"{HERE}::test_the_labs_commands_in_their_order",
    "lagcast lab status": f"{HERE}::test_the_labs_commands_in_their_order",
    "lagcast lab load": f"{HERE}::test_the_labs_commands_in_their_order",
    "lagcast lab down": f"{HERE}::test_the_labs_commands_in_their_order",
    # Word by word in docs/install.md, which that test follows.
    **dict.fromkeys(
        (
            "kubectl apply --server-side -k manifests/crd",
            "kubectl apply --server-side -k manifests/base",
            "kubectl --namespace inference get predictivescalers",
        ),
        "tests/lab/test_install.py::test_every_command_of_the_page_was_typed",
    ),
    "lagcast validate": "tests/api/test_commands.py::test_right_files",
    "lagcast explain": "tests/explain/test_explain_command.py::test_json_from_the_controller",
    "make help": f"{HERE}::test_make_help_lists_the_targets",
}
# What a target of the Makefile runs, and why that is tested: a test cannot run the tests.
RECIPES = {
    "make demo": ["lagcast demo"],
    "make lab-demo": ["lagcast lab demo"],
    "make test": [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "lint-imports",
        '-m pytest -q -n 2 -m "not lab and not slow"',
        '-m pytest -q -n 2 -m "slow and not lab"',
        "-m pytest -m lab",
    ],
    "make lint": ["ruff check .", "ruff format --check .", "mypy", "lint-imports"],
    "make unit": ['-m pytest -q -n 2 -m "not lab and not slow"'],
    "make lab-test": ["LAGCAST_LAB=required", "-m pytest -m lab"],
    "make lab-race": ["lagcast lab race"],
    "make bench": ["lagcast bench"],
    "make bench-kernel": ["-m simulations.bench_kernel", "-m simulations.bench_requests"],
    "make bench-controller": ["-m simulations.lab.bench_controller"],
    "make verify": ["-m scaler.api.reference", "diff -u docs/configuration.md"],
}


def told(text: str) -> list[str]:
    """The commands in a text: each line of a block marked `sh`, and what stands in backticks and begins like one."""
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [span for span in re.findall(r"`([^`\n]+)`", outside) if re.match(r"(lagcast|make) [a-z]", span)]
    return list(dict.fromkeys(found))


def known(command: str) -> str | None:
    """The entry of the tables above that covers a command; None when no test runs it."""
    names = [name for name in (*RUN_BY, *RECIPES) if command == name or command.startswith(f"{name} ")]
    exact = [name for name in names if name.startswith("lagcast") or command == name]
    return max(exact, key=len, default=None)


COMMANDS = told(README)


def test_commands_are_found_in_blocks_and_in_backticks() -> None:
    block = "```sh\nmake a\n# no\nlagcast run \\\n  --config x\n```\n\n```yaml\nkind: X\n```\n"
    text = f"Say `make b` or `lagcast --x`.\n\n{block}"
    assert told(text) == ["make a", "lagcast run    --config x", "make b"]


def test_a_command_without_a_test_is_found_out() -> None:
    for command in ("make coffee", "lagcast fly", "kubectl delete ns default", "pip install x", "make test FAST=1"):
        assert known(command) is None


def test_the_readme_tells_the_two_commands_of_a_fresh_machine() -> None:
    assert {"make demo", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_test_runs_it(command: str) -> None:
    name = known(command)
    assert name is not None, f"no test runs `{command}` of README.md: write one, and name it in {HERE}"
    if name in RUN_BY:
        file, _, function = RUN_BY[name].partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), RUN_BY[name]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lagcast ")])
def test_its_words_and_options_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    found: click.Command = main
    context = click.Context(main, info_name="lagcast")
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        inner = found.get_command(context, words[0])
        assert inner is not None, f"{words[0]} is no command of {found.name}"
        context = click.Context(inner, parent=context, info_name=words.pop(0))
        found = inner
    if words:  # a command named without its options is a mention
        found.make_context(found.name, words, parent=context.parent)


@pytest.mark.parametrize("target", RECIPES)
def test_make_would_run_what_the_tests_run(target: str) -> None:
    done = subprocess.run(["make", "-n", *target.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in RECIPES[target]:
        assert part in done.stdout
    for program in re.findall(r"\.venv/bin/([a-z-]+)", done.stdout):
        assert Path(sys.executable).with_name(program).exists(), f"{target} runs {program}, which is not installed"


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {target.split()[1] for target in RECIPES} - {"demo"} <= listed
    assert "demo" in listed


def test_the_resource_in_the_readme_and_the_example_are_valid(tmp_path: Path) -> None:
    blocks: list[str] = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for n, block in enumerate(blocks):
        path = tmp_path / f"{n}.yaml"
        path.write_text(block, encoding="utf-8")
        assert load(path)
    assert load(ROOT / "manifests" / "examples" / "scalers.yaml")


def test_files_that_the_readme_links_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    for command in COMMANDS:
        if command.startswith("kubectl apply -f "):
            assert list(yaml.safe_load_all((ROOT / command.split()[-1]).read_text(encoding="utf-8")))


@pytest.mark.lab
def test_the_labs_commands_in_their_order(tmp_path: Path) -> None:
    where = ["--dir", str(tmp_path / "lab")]

    def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(LAGCAST), "lab", *arguments], capture_output=True, text=True, timeout=300, check=False
        )

    try:
        assert lab("up", "--only", "kafka", *where).returncode == 0
        status = lab("status", "-o", "json", *where)
        assert status.returncode == 0
        assert "serving" in status.stdout
        state: dict[str, Any] = json.loads(next((tmp_path / "lab").glob("*.json")).read_text(encoding="utf-8"))
        bootstrap = state["endpoints"]["kafka"]["bootstrap"]
        words = shlex.split(next(c for c in COMMANDS if c.startswith("lagcast lab load")))[3:]
        words[words.index("--bootstrap") + 1] = bootstrap
        words[words.index("--duration") + 1] = "1s"
        sent = lab("load", *words)
        assert sent.returncode == 0, sent.stderr
    finally:
        down = lab("down", *where)
    assert down.returncode == 0
    assert lab("status", *where).returncode != 0
