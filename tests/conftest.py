"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """SIGINT has its effect here and in what tests start, also in a suite that a script runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the tree."""
    return REPOSITORY


@pytest.fixture
def tb() -> Callable[..., Result]:
    """Runs a command line in this process: `tb("list", "--json")`; stdout and stderr apart."""
    from testbed.cli.app import app

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="tb")

    return call
