from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.fabric

HERE = Path(__file__).parent
OWN_NAMESPACES = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


def mn(repository: Path, run_dir: Path, name: str, topo: str) -> subprocess.CompletedProcess[str]:
    """The real `mn` on one of our files, from another directory, in namespaces of its own."""
    if shutil.which("mn") is None:
        pytest.skip("mn is not installed")
    arguments = [run_dir, repository / "topologies" / f"{name}.py", HERE / "mn_probe.py", topo]
    command = [*OWN_NAMESPACES, "sh", str(HERE / "mn_sandbox.sh"), *map(str, arguments)]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200, check=False
    )


def line(output: str, word: str) -> list[str]:
    found = re.search(rf"^{word} (.*)$", output, re.MULTILINE)
    assert found, output
    return found[1].split()


@pytest.mark.parametrize(
    ("name", "topo", "reached", "dpids"),
    [
        ("single_switch", "single_switch,3", "6 of 6", ["l1=0000000000000001"]),
        ("dumbbell", "dumbbell,1,right=2", "6 of 6", ["l1=0000000000000001", "l2=0000000000000002"]),
        ("squadrack", "squadrack,servers=1", "2 of 2", ["l1=0000000000000001"]),
        (
            "leaf_spine",  # one spine: no loop
            "leaf_spine,1,2,2",
            "2 of 2",
            ["l1=0000000000000001", "l2=0000000000000002", "s1=0000000000000003"],
        ),
    ],
)
def test_topology_file_under_mn_reaches_all_hosts(
    repository: Path, tmp_path: Path, name: str, topo: str, reached: str, dpids: list[str]
) -> None:
    done = mn(repository, tmp_path, name, topo)

    assert done.returncode == 0, done.stdout
    assert " ".join(line(done.stdout, "reached")) == reached
    assert line(done.stdout, "dpids") == dpids


def test_topology_file_under_mn_has_the_ports_of_the_fabric(repository: Path, tmp_path: Path) -> None:
    from topologies.dumbbell import build

    done = mn(repository, tmp_path, "dumbbell", "dumbbell,1,1")

    fabric = build(1, 1)
    expected = {link.interface_at(name) for link in fabric.links for name in (link.a, link.b)}
    assert set(line(done.stdout, "interfaces")) == expected


def test_topology_file_under_mn_with_bad_value_prints_the_remedy(repository: Path, tmp_path: Path) -> None:
    done = mn(repository, tmp_path, "dumbbell", "dumbbell,0")

    assert done.returncode != 0
    assert "left: 0 is out of range" in done.stdout
    assert "Traceback" not in done.stdout
