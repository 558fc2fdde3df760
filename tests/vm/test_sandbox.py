"""The tests' own libvirt, before any machine is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.vm import sandbox as module
from tests.vm.sandbox import SandboxError, sandbox

pytestmark = pytest.mark.vm

HOLD = """\
import sys, time
from pathlib import Path
from tests.vm.sandbox import sandbox
with sandbox(Path(sys.argv[1]), network=True):
    print("up", flush=True)
    time.sleep(600)
"""


def processes_of(directory: Path) -> set[int]:
    """Processes that were told this directory, by command line or environment."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(directory) in told:
            found.add(int(process.name))
    return found - {os.getpid()}


def test_sandbox_ends_with_a_killed_test_run_and_leaves_no_process(repository: Path, tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    directory.mkdir()
    command = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(
        command, env=environment, cwd=repository, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "up\n"
            assert len(processes_of(directory)) >= 4
        finally:
            holder.kill()
    end = time.monotonic() + 20
    while processes_of(directory) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes_of(directory) == set()


def test_sandbox_leaves_the_machines_own_libvirt_alone(tmp_path: Path) -> None:
    def state() -> tuple[str, list[str]]:
        firewall = subprocess.run(
            ["nft", "list", "ruleset"], capture_output=True, text=True, check=True
        ).stdout
        return firewall, sorted(os.listdir("/sys/class/net"))

    before = state()
    pools = Path("/var/lib/libvirt/images")
    images = sorted(pools.iterdir()) if pools.exists() else []
    with sandbox(tmp_path, network=False) as one:
        made = one.run(
            "virsh", "pool-define-as", "default", "dir", "--target", str(pools), cwd=tmp_path, timeout_s=60
        )
        assert made.returncode == 0, made.stdout
        one.run("touch", str(pools / "of-the-tests"), cwd=tmp_path, timeout_s=60)
        assert state() == before
    assert (sorted(pools.iterdir()) if pools.exists() else []) == images
    assert (tmp_path / "libvirt" / "var" / "lib" / "libvirt" / "images" / "of-the-tests").exists()


def test_sandbox_whose_libvirt_does_not_start_fails_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIBVIRTD_CONF", "this is no setting\n")
    monkeypatch.setattr(module, "START_LIMIT_S", 5)
    told = r"libvirtd did not come up within 5 s(.|\n)*libvirtd\.conf"
    with pytest.raises(SandboxError, match=told), sandbox(tmp_path, network=False):
        pass
    assert processes_of(tmp_path) == set()
