"""Boxes, and how long everything took: what every test with virtual machines may use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm.vagrant_machines import Record

_DURATIONS: list[tuple[str, float]] = []


@pytest.fixture(scope="session")
def record() -> Record:
    """Keeps what took how long for the summary at the end."""
    return lambda what, seconds: _DURATIONS.append((what, seconds))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _DURATIONS:
        terminalreporter.section("steps with virtual machines")
        for what, seconds in _DURATIONS:
            terminalreporter.write_line(f"{seconds:7.1f} s  {what}")


@pytest.fixture(scope="session")
def bare_box(repository: Path, tmp_path_factory: pytest.TempPathFactory, record: Record) -> Path:
    """A box such as a public Debian box is; TB_TEST_BARE_BOX names one that is built already."""
    return _box(repository, tmp_path_factory, record, bare=True)


@pytest.fixture(scope="session")
def full_box(repository: Path, tmp_path_factory: pytest.TempPathFactory, record: Record) -> Path:
    """A box with everything installed; TB_TEST_FULL_BOX names one that is built already."""
    return _box(repository, tmp_path_factory, record, bare=False)


def _box(repository: Path, temporary: pytest.TempPathFactory, record: Record, *, bare: bool) -> Path:
    from testbed.vm.box import BoxPlan, build_box
    from testbed.vm.box_root import DEFAULT_MIRROR, parse_mirror

    kind = "bare" if bare else "full"
    ready = os.environ.get(f"TB_TEST_{kind.upper()}_BOX")
    if ready:
        return Path(ready)
    out = temporary.mktemp("box") / f"{kind}.box"
    began = time.monotonic()
    build_box(
        BoxPlan(tree=repository, out=out, bare=bare, mirror=parse_mirror(DEFAULT_MIRROR)),
        step=lambda name: _step(record, f"box ({kind}): {name}"),
    )
    record(f"box ({kind}), {out.stat().st_size / 1e6:.0f} MB", time.monotonic() - began)
    return out


@contextlib.contextmanager
def _step(record: Record, name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    record(name, time.monotonic() - began)
