"""Two machines at once from the full box, where there is no network at all; a sweep spread over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.sandbox import sandbox
from tests.vm.test_vagrant_up import SMALL, UP_LIMIT_S, assert_same_records, the_result
from tests.vm.vagrant_machines import Machines, Record, copy_tree

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def machines(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, full_box: Path, record: Record
) -> Iterator[Machines]:
    """Two machines that are up; the namespace they are in has no way out."""
    tree = tmp_path_factory.mktemp("many") / "tree"
    copy_tree(repository, tree)
    with sandbox(tmp_path_factory.mktemp("sandbox"), network=False) as one:
        both = Machines(one, tree, box=full_box, record=record, count=2)
        printed = both.vagrant("up", "--parallel", timeout_s=UP_LIMIT_S)
        assert "setup  packages" not in printed
        assert "setup  python" not in printed
        assert printed.count("provision  ready after") == 2, printed[-3000:]
        yield both
        both.vagrant("destroy", "-f")


def test_machines_made_with_a_count_stay_known_without_it(machines: Machines) -> None:
    printed = machines.vagrant("status", TB_VM_COUNT="")
    assert printed.count("running (libvirt)") == 2


def test_sweep_over_two_machines_equals_the_twin_of_all(machines: Machines, tmp_path: Path) -> None:
    machines.tb("vm", "run", "quickstart", "--hosts", "tb1,tb2", *SMALL, "--out", str(tmp_path / "vm"))
    machines.tb("run", "quickstart", "--engine", "twin", *SMALL, "--out", str(tmp_path / "twin"))
    assert_same_records(the_result(tmp_path / "vm"), the_result(tmp_path / "twin"))
