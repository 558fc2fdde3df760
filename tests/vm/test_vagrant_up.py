"""`vagrant up` on a bare box, with the user's own Vagrantfile: the set-up is really done in the guest.

The box stands for a public one, which these tests cannot download. The guest has the distribution's mirror but not the
Python index: the wheelhouse comes along, and so does the engine, compiled here. Not tested: KVM, VirtualBox,
vagrant-qemu, public boxes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.sandbox import sandbox
from tests.vm.vagrant_machines import Machines, Record, copy_tree

pytestmark = pytest.mark.vm

SMALL = (
    *(
        "--set",
        "sizes=4KiB",
        "--set",
        "scenarios=idle",
        "--set",
        "records=2000",
        "--set",
        "emulated_records=200",
    ),
    *("--set", "topology.leaves=2", "--set", "topology.cards=4"),
)
UP_LIMIT_S = 3600


@pytest.fixture(scope="module")
def machines(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, bare_box: Path, record: Record
) -> Iterator[Machines]:
    """A tree, and a sandbox from which the distribution's mirror is reached; no machine yet."""
    tree = tmp_path_factory.mktemp("up") / "tree"
    copy_tree(repository, tree)
    with sandbox(tmp_path_factory.mktemp("sandbox"), network=True) as one:
        yield Machines(one, tree, box=bare_box, record=record)


@pytest.fixture(scope="module")
def up(machines: Machines) -> Iterator[str]:
    """What `vagrant up` printed; the machine is destroyed at the end."""
    yield machines.vagrant("up", timeout_s=UP_LIMIT_S)
    machines.vagrant("destroy", "-f")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TB_VM_CPUS", "two", "must be a whole number of processors"),
        ("TB_VM_CPUS", "1_0", "must be a whole number of processors"),
        ("TB_VM_MEMORY", "512", "from 1024 to"),
        ("TB_VM_COUNT", "0", "must be a whole number of machines"),
        ("TB_VM_TCG", "yes", "1 lets QEMU emulate the processor"),
        ("TB_VM_BOX", "/none/such.box", "there is no such file"),
    ],
)
def test_bad_value_is_one_clear_error(machines: Machines, name: str, value: str, told: str) -> None:
    result = machines.try_vagrant("status", **{name: value})
    assert result.returncode != 0
    assert f"{name} is '{value}': " in result.stdout
    assert told in result.stdout
    assert "Vagrantfile:" not in result.stdout  # no trace of Ruby


def test_up_installs_packages_in_the_guest_and_uses_what_came_along(up: str) -> None:
    assert re.search(r"setup  packages  installing .*mininet.* \.\.\. [0-9.]+ s", up), up[-3000:]
    assert "setup  python    installing" in up
    assert "compiling the engine" not in up
    assert "provision  ready after" in up


def test_check_inside_finds_the_machine_ready(up: str, machines: Machines) -> None:
    answer = machines.inside("tb check --json")
    assert json.loads(answer[answer.index("{") :])["ready"] is True


def test_kernel_datapath_is_loaded_now_and_at_every_boot(up: str, machines: Machines) -> None:
    assert "openvswitch" in machines.inside("cat /etc/modules-load.d/*.conf; lsmod | grep ^openvswitch")


def test_second_rsync_and_provision_change_nothing(up: str, machines: Machines) -> None:
    state = (
        "stat -c '%n %Y %s' /var/log/dpkg.log /vagrant/.venv/.tb-python /vagrant/testbed/engine/_engine*.so"
    )
    before = machines.inside(state)
    assert "_engine.cpython" in before
    machines.vagrant("rsync")
    again = machines.vagrant("provision")
    assert machines.inside(state) == before
    assert "provision  ready after" in again
    assert "setup  " not in again


def test_run_from_outside_equals_the_twin_outside_bit_by_bit(
    up: str, machines: Machines, tmp_path: Path
) -> None:
    machines.tb("vm", "run", "quickstart", "--host", "tb1", *SMALL, "--out", str(tmp_path / "vm"))
    machines.tb("run", "quickstart", "--engine", "twin", *SMALL, "--out", str(tmp_path / "twin"))
    inside, outside = the_result(tmp_path / "vm"), the_result(tmp_path / "twin")
    metadata = json.loads((inside / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["control"]["datapath"] == "system"
    assert_same_records(inside, outside)


def the_result(out: Path) -> Path:
    (result,) = (out / "quickstart").iterdir()
    return result


def assert_same_records(one: Path, other: Path) -> None:
    """The same digest, and the same bytes in all files of records."""
    digests = [
        json.loads((path / "summary.json").read_text(encoding="utf-8"))["records_digest"]
        for path in (one, other)
    ]
    assert digests[0] == digests[1]
    files = [
        {path.name: path.read_bytes() for path in sorted((root / "records").glob("*.parquet"))}
        for root in (one, other)
    ]
    assert files[0]
    assert files[0].keys() == files[1].keys()
    assert files[0] == files[1]
