from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from testbed.errors import PreflightError, SpecError
from testbed.vm import box, box_add, box_image, box_root, box_tools, box_tree
from testbed.vm.box_tools import Tools

MIRROR = box_root.parse_mirror(box_root.DEFAULT_MIRROR)
EPOCH_S = 1_700_000_000


def plan_in(tree: Path, *, bare: bool = True) -> box.BoxPlan:
    return box.BoxPlan(tree=tree, out=tree / "out" / "a.box", bare=bare, mirror=MIRROR)


def tools_in(directory: Path) -> Tools:
    return Tools(log=directory / "log", environment={})


@contextmanager
def no_step(_: str) -> Iterator[None]:
    yield


# Where packages come from ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "debian.org", "ftp://deb.debian.org/debian", "http://", "http://a/b [x]"]
)
def test_mirror_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="no address"):
        box_root.parse_mirror(text)


@pytest.mark.parametrize(
    ("text", "security"),
    [
        ("http://deb.debian.org/debian/", "http://deb.debian.org/debian-security"),
        (
            "http://snapshot.debian.org/archive/debian/20261101T000000Z",
            "http://snapshot.debian.org/archive/debian-security/20261101T000000Z",
        ),
        ("https://apt.example.org/mirror", box_root.SECURITY_MIRROR),
    ],
)
def test_mirror_names_its_security_archive(text: str, security: str) -> None:
    assert box_root.parse_mirror(text).security == security


def test_snapshot_may_be_out_of_date_in_the_build_and_is_not_left_in_the_guest() -> None:
    snapshot = box_root.parse_mirror("http://snapshot.debian.org/archive/debian/20261101T000000Z")
    assert snapshot.sources().count("[check-valid-until=no]") == 3
    assert snapshot.guest_sources() == MIRROR.sources()
    assert "check-valid-until" not in MIRROR.guest_sources()


def test_mirror_that_does_not_answer_is_named() -> None:
    nobody = box_root.parse_mirror("http://127.0.0.1:9/debian")
    with pytest.raises(PreflightError, match=r"127\.0\.0\.1:9.*InRelease") as caught:
        box_root.require_mirror(nobody, timeout_s=2)
    assert "--mirror" in caught.value.remedy


def test_packages_of_set_up_are_read_from_its_script(repository: Path) -> None:
    found = box_root.set_up_packages((repository / "tools" / "setup.sh").read_text(encoding="utf-8"))
    assert {"g++", "python3-venv", "mininet", "openvswitch-switch"} <= set(found)


def test_set_up_without_a_list_of_packages_is_an_error() -> None:
    with pytest.raises(ValueError, match="base_packages"):
        box_root.set_up_packages("packages=(a b)\n")


# The disk --------------------------------------------------------------------------------------------------


def test_boot_loader_finds_the_root_by_its_label() -> None:
    text = box_image.grub_configuration()
    assert f"search --no-floppy --label {box_image.LABEL} --set=root" in text
    assert f"root=LABEL={box_image.LABEL} " in text
    fstab = (box_root.BOX_FILES / "root/etc/fstab").read_text(encoding="utf-8")
    assert fstab.startswith(f"LABEL={box_image.LABEL} / ext4 ")


def test_build_writes_the_boot_loaders_configuration(tmp_path: Path) -> None:
    box.write_boot_configuration(tmp_path)
    assert (tmp_path / "boot/grub/grub.cfg").read_text(encoding="ascii") == box_image.grub_configuration()


def test_boot_loader_leaves_the_partition_table(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"T" * (box_image.FIRST_SECTOR * 512) + b"P" * 512)
    box_image.write_boot_loader(disk, boot=b"B" * 512, core=b"C" * 700)
    data = disk.read_bytes()
    assert data[:440] == b"B" * 440
    assert data[440:512] == b"T" * 72
    assert data[512:1212] == b"C" * 700
    assert data[1212:] == b"T" * (box_image.FIRST_SECTOR * 512 - 1212) + b"P" * 512


def test_boot_loader_too_large_for_its_room_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    with pytest.raises(ValueError, match="core"):
        box_image.write_boot_loader(disk, boot=b"", core=bytes(box_image.FIRST_SECTOR * 512))
    assert disk.read_bytes() == b""


@pytest.mark.skipif(shutil.which("mke2fs", path=box_tools.search_path()) is None, reason="no mke2fs")
def test_inodes_lose_the_time_at_which_files_were_written(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("x", encoding="ascii")
    for path in (root / "d" / "f", root / "d", root):
        os.utime(path, (EPOCH_S + 5, EPOCH_S))
    disk.write_bytes(b"")
    os.truncate(disk, 8 << 20)
    tools = Tools(log=tmp_path / "log", environment={"E2FSPROGS_FAKE_TIME": str(EPOCH_S)})
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-O", "^metadata_csum", "-E", "offset=1048576"]
    tools.run([*make, "-d", root, disk, "4096k"], what="mke2fs", remedy="-")
    with disk.open("r+b") as file:
        assert box_image.set_inode_times(file, offset_bytes=1 << 20, epoch_s=EPOCH_S) >= 4
    shown = tools.run(["debugfs", "-R", "stat /d/f", f"{disk}?offset=1048576"], what="debugfs", remedy="-")
    for name in ("ctime", "atime", "mtime", "crtime"):
        assert f"{name}: {EPOCH_S:#010x}:00000000" in shown
    check = ["sh", "-c", 'tail -c +1048577 "$1" >"$1.fs" && e2fsck -f -n "$1.fs"', "sh", disk]
    tools.run(check, what="e2fsck", remedy="-")


def test_inode_times_are_not_set_in_what_is_no_file_system(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(8192))
    with (tmp_path / "disk").open("r+b") as file, pytest.raises(ValueError, match="no ext4"):
        box_image.set_inode_times(file, offset_bytes=0, epoch_s=EPOCH_S)


def test_inode_times_are_not_set_under_checksums(tmp_path: Path) -> None:
    superblock = bytearray(8192)
    struct.pack_into("<H", superblock, 1024 + 0x38, 0xEF53)
    struct.pack_into("<I", superblock, 1024 + 0x64, 0x400)
    (tmp_path / "disk").write_bytes(superblock)
    with (tmp_path / "disk").open("r+b") as file, pytest.raises(ValueError, match="checksums"):
        box_image.set_inode_times(file, offset_bytes=0, epoch_s=EPOCH_S)


# The box file ----------------------------------------------------------------------------------------------


def test_metadata_names_the_size_of_the_disk() -> None:
    assert box.box_metadata() == {"provider": "libvirt", "format": "qcow2", "virtual_size": 16}


def test_packed_box_is_the_same_whenever_it_is_packed(tmp_path: Path) -> None:
    packed = []
    for name in ("a", "b"):
        contents = tmp_path / name
        contents.mkdir()
        (contents / "box.img").write_bytes(b"image")
        os.utime(contents / "box.img", (len(packed), len(packed)))
        manifest = {"image_sha256": box.sha256_of(contents / "box.img")}
        box.pack_box(
            contents,
            tmp_path / f"{name}.box",
            manifest=manifest,
            tools=Tools(log=tmp_path / "log", environment={"SOURCE_DATE_EPOCH": "1"}),
        )
        packed.append((tmp_path / f"{name}.box").read_bytes())
    assert packed[0] == packed[1]


def test_another_image_has_another_time_so_libvirt_does_not_keep_the_old_one() -> None:
    one, other = box.image_mtime_s("0" * 63 + "1"), box.image_mtime_s("1" + "0" * 63)
    assert one != other
    names = {box_add.volume_name(box.BARE_BOX, mtime_s) for mtime_s in (one, other)}
    assert len(names) == 2
    assert f"transparent-nic-VAGRANTSLASH-debian12-bare_vagrant_box_image_0_{one}_box.img" in names


def test_manifest_lists_installed_packages_and_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: b\nStatus: install ok installed\nVersion: 2:1-3\nDescription: x\n Version: 9\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: a\nStatus: install ok installed\nVersion: 1.0\n",
        encoding="utf-8",
    )
    (tmp_path / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-1-amd64")
    assert box_root.installed_packages(tmp_path) == [
        {"name": "a", "version": "1.0"},
        {"name": "b", "version": "2:1-3"},
    ]
    assert box_root.kernel_version(tmp_path) == "6.1.0-1-amd64"


def test_tree_without_repository_has_a_fixed_date(tmp_path: Path) -> None:
    assert box_tree.tree_epoch_s(tmp_path) == box_tree.FIXED_EPOCH_S


# What a machine lacks --------------------------------------------------------------------------------------


def test_missing_tools_are_named_by_their_packages() -> None:
    absent = {"mmdebstrap", "qemu-img"}
    missing = box_tools.missing_packages(
        find=lambda tool: None if tool in absent else f"/bin/{tool}",
        exists=lambda path: path != box_tools.GRUB_FILES / "boot.img",
    )
    assert missing == ["grub-pc-bin", "mmdebstrap", "qemu-utils"]


def test_missing_tool_is_an_error_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_tools, "missing_packages", lambda: ["mmdebstrap"])
    with pytest.raises(PreflightError, match="mmdebstrap") as caught:
        box_tools.require_tools()
    assert caught.value.remedy.endswith("apt-get install --no-install-recommends mmdebstrap")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lacks nothing."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(box, "require_tools", lambda: None)
    monkeypatch.setattr(box, "give_to_caller", lambda _: None)
    monkeypatch.setattr(box_root, "require_mirror", lambda _: None)
    monkeypatch.setattr(box, "_SPACE_BYTES", {True: 1, False: 1})


@pytest.mark.usefixtures("able")
def test_build_as_ordinary_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PreflightError, match="needs root"):
        box.require_buildable(plan_in(tmp_path))


@pytest.mark.usefixtures("able")
def test_build_on_another_architecture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(PreflightError, match="aarch64"):
        box.require_buildable(plan_in(tmp_path))


@pytest.mark.usefixtures("able")
def test_build_without_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_SPACE_BYTES", {True: 1 << 60, False: 1 << 60})
    with pytest.raises(PreflightError, match="are free"):
        box.require_buildable(plan_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_command_line_refuses_a_bad_mirror_before_anything_else(tb: Callable[..., Result]) -> None:
    result = tb("vm", "box", "--mirror", "nonsense")
    assert result.exit_code == 2
    assert "no address" in result.stderr


# Failures leave nothing ------------------------------------------------------------------------------------


def fake_program(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    (directory / name).chmod(0o755)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("able")
def test_build_whose_tool_fails_shows_its_last_words_and_leaves_only_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "bin", "unshare", "echo no such suite; exit 25")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    tree = tmp_path / "tree"
    with pytest.raises(PreflightError, match=r"(?s)ended with 25.*no such suite"):
        box.build_box(plan_in(tree), step=no_step)
    assert [path.relative_to(tree) for path in tree.rglob("*") if path.is_file()] == [Path("build/box/a.log")]
    assert list((tree / "build/box").glob(".work*")) == []


@pytest.mark.usefixtures("able")
def test_interrupted_build_ends_what_it_started_and_leaves_only_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "bin", "unshare", f"sleep 300 & echo $! >{tmp_path}/pid; wait")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    tree = tmp_path / "tree"

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="ascii").strip():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        box.build_box(plan_in(tree), step=no_step)
    thread.join()
    started = int((tmp_path / "pid").read_text(encoding="ascii"))
    assert not is_alive(started)
    assert list((tree / "build/box").iterdir()) == [tree / "build/box/a.log"]
    assert not (tree / "out").exists()


def test_interrupt_while_a_tool_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class InterruptedStart(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", InterruptedStart)
    with pytest.raises(KeyboardInterrupt):
        tools_in(tmp_path).run(["sleep", "300"], what="sleep", remedy="-")
    assert not is_alive(started[0])


def test_tool_ends_when_the_build_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    tool = ["sh", "-c", f"echo $$ >{pid}; exec sleep 300"]
    build = (
        "from pathlib import Path; from testbed.vm.box_tools import Tools; "
        f"Tools(log=Path({str(tmp_path / 'log')!r}), environment={{}}).run({tool!r}, what='x', remedy='-')"
    )
    process = subprocess.Popen([sys.executable, "-c", build])
    try:
        while not pid.exists() or not pid.read_text(encoding="ascii").strip():
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    limit = time.monotonic() + 10
    while is_alive(int(pid.read_text(encoding="ascii"))):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_tool_sees_only_the_environment_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODY", "else")
    output = Tools(log=tmp_path / "log", environment={"MINE": "1"}).run(["env"], what="env", remedy="-")
    assert "MINE=1" in output
    assert "SOMEBODY" not in output


# The first start -------------------------------------------------------------------------------------------


def test_scripts_of_the_box_are_sound_shell() -> None:
    scripts = [*box_root.BOX_FILES.glob("*.sh"), *(box_root.BOX_FILES / "root/usr/local/sbin").iterdir()]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)
        assert os.access(script, os.X_OK)
