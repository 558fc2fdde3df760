"""What the tests of connections to other machines share: a real sshd, and a network that fails on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if os.geteuid() != 0 and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs root: sshd lets nobody else in"))


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own agent is none of the tests' business."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(scope="module")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One server for the tests of a module that leave it as it is."""
    with Sshd(tmp_path_factory.mktemp("sshd") / "d") as server:
        yield server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server of this test alone."""
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def proxy(shared_sshd: Sshd) -> Iterator[Proxy]:
    """A proxy in front of the shared server, of this test alone."""
    with Proxy(shared_sshd.port) as proxy:
        yield proxy
