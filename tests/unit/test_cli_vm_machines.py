from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from testbed.cli.vm.machines import up


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What Vagrant is told of machines by a user who stands in some directory."""
    found: dict[str, str] = {}

    def takes(_root: Path, _names: list[str], *, settings: Mapping[str, str], **_: object) -> None:
        found.update(settings)

    monkeypatch.setattr("testbed.vm.vagrant_run.up", takes)
    monkeypatch.setattr("testbed.vm.qemu_state.load", lambda *_: None)
    for name in ("TB_VM_BOX", "TB_VM_COUNT", "TB_VM_TCG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.mark.parametrize("by_option", [True, False])
def test_up_with_the_file_of_a_box_names_it_from_the_root(
    told: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_option: bool
) -> None:
    (tmp_path / "my.box").touch()
    if not by_option:
        monkeypatch.setenv("TB_VM_BOX", "my.box")
    up(box="my.box" if by_option else None)
    assert told == {"TB_VM_BOX": str(tmp_path / "my.box")}


def test_up_with_the_name_of_a_box_leaves_it(told: dict[str, str]) -> None:
    up(box="debian/bookworm64", cpus=3, tcg=True)
    assert told == {"TB_VM_BOX": "debian/bookworm64", "TB_VM_CPUS": "3", "TB_VM_TCG": "1"}
