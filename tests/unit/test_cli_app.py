from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner, Result

from testbed import __version__, errors
from testbed.cli.app import ErrorsAsText, app

Tb = Callable[..., Result]

VERBS = ("run", "list", "show", "check", "plot", "assumptions", "test", "validate", "bench", "lint", "clean")


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=ErrorsAsText, pretty_exceptions_enable=False)

    @app.callback()
    def options() -> None: ...

    @app.command("fail")
    def fail() -> None:
        raise error

    return app


def test_version_option_prints_the_package_version(tb: Tb) -> None:
    result = tb("--version")
    assert (result.exit_code, result.stdout) == (0, f"transparent-nic-testbed {__version__}\n")


def test_an_interruption_while_it_is_loaded_ends_it_in_order() -> None:
    script = """
import runpy, sys

class Interruption:
    def find_spec(self, name, *_):
        if name == "testbed.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interruption())
runpy.run_module("testbed.cli", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\nremedy: nothing was begun\n")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_an_example(tb: Tb, verb: str) -> None:
    result = tb(verb, "--help")
    assert result.exit_code == 0
    assert f"./tb {verb}" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("rnu",),
        ("list", "--no-such-option"),
        ("run", "--repeat", "0"),
        ("run", "--seed", "-1"),
        ("run", "--seed", "many"),
        ("run", "--engine", "wall-clock"),
        ("plot",),
        ("assumptions",),
    ],
)
def test_usage_error_exits_2_and_leaves_stdout_empty(tb: Tb, arguments: tuple[str, ...]) -> None:
    result = tb(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error" in result.stderr


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.SpecError, 2),
        (errors.PreflightError, 3),
        (errors.FabricError, 4),
        (errors.NicError, 5),
        (errors.MeasurementError, 6),
        (errors.RemoteError, 7),
        (errors.Interrupted, 130),
    ],
)
def test_testbed_error_becomes_message_remedy_and_exit_code(
    kind: type[errors.TestbedError], code: int
) -> None:
    result = CliRunner().invoke(app_that_raises(kind("it broke", remedy="mend it")), ["fail"])
    assert result.exit_code == code
    assert result.stderr == "error: it broke\nremedy: mend it\n"
    assert result.stdout == ""


def test_keyboard_interrupt_exits_130_with_a_message() -> None:
    result = CliRunner().invoke(app_that_raises(KeyboardInterrupt()), ["fail"])
    assert result.exit_code == 130
    assert result.stderr.startswith("error: interrupted\nremedy: ")


def test_command_line_loads_no_heavy_package_before_a_verb_runs(repository: Path) -> None:
    heavy = ("numpy", "matplotlib", "pyarrow", "scipy", "mininet", "testbed.engine", "testbed.spec")
    code = f"import sys, testbed.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def commands(group: Any) -> Iterator[Any]:
    """Every verb below a group, and the group."""
    yield group
    for one in getattr(group, "commands", {}).values():
        yield from commands(one)


def test_help_shows_every_bracket_that_was_written() -> None:
    texts = [
        text
        for command in commands(typer.main.get_command(app))
        for text in (command.help, command.epilog, *(getattr(one, "help", None) for one in command.params))
        if text
    ]
    assert len(texts) > 100
    for text in texts:
        plain = text.replace("[bold]", "").replace("[/]", "").replace("\\[", "[")
        assert Text.from_markup(text).plain == plain
