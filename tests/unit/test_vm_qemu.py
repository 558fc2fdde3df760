from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.cli.run import ended_by_signal
from testbed.errors import Interrupted, PreflightError, RemoteError, SpecError
from testbed.vm import boxes, console, kvm, openssh, places, processes, qemu, qemu_up, set_up
from testbed.vm.qemu_boot import Patience, wait_until_open
from testbed.vm.qemu_command import boot_command
from testbed.vm.qemu_state import QemuMachine, load
from testbed.vm.target import Target
from tests.unit.test_vm_machines import qemu as saved
from tests.unit.vm_fakes import ED25519, install

QEMU_IMG = (
    'case $1 in info) echo \'{"format": "qcow2"}\';; create) for disk; do :; done; touch "$disk";; esac'
)
# Goes on in the background as QEMU does, its words still on the command line.
QEMU = """for word; do [ "$last" = -pidfile ] && pidfile=$word; last=$word; done
sh -c 'echo $$ > "$0"; while :; do sleep 0.1; done' "$pidfile" >/dev/null 2>&1 &
while ! [ -s "$pidfile" ]; do sleep 0.01; done"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A QEMU that boots nothing; ends what a test leaves."""
    install(tmp_path / "bin", "qemu-img", QEMU_IMG, monkeypatch)
    calls = install(tmp_path / "bin", kvm.QEMU, QEMU, monkeypatch)
    yield calls
    for path in tmp_path.rglob("qemu.pid"):
        if process := processes.known(int(path.read_text(encoding="ascii"))):
            process.end(signal.SIGKILL, str(path))


def make_box(path: Path, **metadata: object) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in (("./metadata.json", json.dumps(metadata).encode()), ("./box.img", b"image")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def my_box(root: Path) -> Path:
    path = root / "my.box"
    return path if path.exists() else make_box(path, provider="libvirt")


def create(root: Path, name: str = "tb1") -> QemuMachine:
    return qemu.create(root, name, box=my_box(root), cpus=3, memory_mib=2048, accelerator="tcg")


TCG = kvm.Choice(accelerator="tcg")


def test_boot_command_keeps_the_machine_on_loopback_and_escapes_commas(tmp_path: Path) -> None:
    machine = replace(saved(tmp_path, "tb1"), directory=tmp_path / "a,b")
    command = boot_command(machine, 4022)
    assert "user,id=net,hostfwd=tcp:127.0.0.1:4022-:22" in command
    assert any(word.startswith(f"file={tmp_path}/a,,b/disk.qcow2,") for word in command)
    assert command[command.index("-accel") + 1] == "tcg,thread=multi"


def test_machine_is_made_started_ended_and_removed(tmp_path: Path, programs: Path) -> None:
    machine = create(tmp_path)
    assert load(tmp_path, "tb1") == machine
    assert not machine.is_running()
    started = qemu.start(machine, TCG)
    assert load(tmp_path, "tb1") == started
    assert started.is_running()
    qemu.end(started)
    assert not started.is_running()
    qemu.destroy(tmp_path, started)
    assert load(tmp_path, "tb1") is None
    assert not list(places.images_directory(tmp_path).iterdir())


def test_image_of_a_box_stays_while_another_machine_needs_it(tmp_path: Path, programs: Path) -> None:
    first, second = create(tmp_path, "tb1"), create(tmp_path, "tb2")
    first = qemu.start(first, TCG)
    assert first.image == second.image
    qemu.destroy(tmp_path, second)
    assert first.image.read_bytes() == b"image"


def test_start_that_fails_says_what_qemu_says_and_leaves_no_process(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = create(tmp_path)
    install(tmp_path / "bin", kvm.QEMU, f"{QEMU}; echo no memory >&2; exit 1", monkeypatch)
    with pytest.raises(PreflightError, match="no memory"):
        qemu.start(machine, TCG)
    pid = int(machine.pidfile.read_text(encoding="ascii"))
    assert processes.known(pid) is None


@pytest.mark.parametrize("again", [True, False])
def test_qemu_of_a_command_that_was_killed_is_ended_by_the_next(
    tmp_path: Path, programs: Path, again: bool
) -> None:
    """It was started, and who it is was not noted any more."""
    machine = create(tmp_path)
    qemu.start(machine, TCG)
    machine.save()
    first = processes.known(int(machine.pidfile.read_text(encoding="ascii")))
    assert first is not None
    if again:
        assert qemu.start(machine, TCG).is_running()
    else:
        qemu.destroy(tmp_path, machine)
    assert not first.is_alive(machine.mark())


def test_up_waits_for_a_machine_that_a_killed_command_has_left_booting(
    tmp_path: Path, programs: Path, boots: None
) -> None:
    qemu.start(create(tmp_path), TCG)
    assert up(tmp_path, "tb1")[0] == "tb1: runs already"
    machine = load(tmp_path, "tb1")
    assert machine is not None
    assert (machine.opened, machine.set_up) == (True, True)


def test_what_killed_commands_left_half_made_is_removed(tmp_path: Path, programs: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    places = (create(tmp_path, "tb2").image, tmp_path / ".vm" / "qemu" / "tb1")
    dead = [path.with_name(f".{path.name}.{child.pid}.new") for path in places]
    alive = [path.with_name(f".{path.name}.{os.getppid()}.new") for path in places]
    for path in (*dead, *alive):
        path.mkdir()
    places[0].unlink()
    create(tmp_path, "tb1")
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in alive)


def test_start_when_its_port_was_taken_takes_another(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = create(tmp_path)
    once = (
        f'mkdir "{tmp_path}/once" && {{ echo "Could not set up host forwarding rule" >&2; exit 1; }}\n{QEMU}'
    )
    install(tmp_path / "bin", kvm.QEMU, once, monkeypatch)
    assert qemu.start(machine, TCG).is_running()


def test_process_with_another_command_line_is_never_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            process = processes.known(child.pid)
            assert process is not None
            while not processes.command_line(child.pid):  # it is only just being started
                time.sleep(0.01)
            process.end(signal.SIGKILL, "another's mark")
            replace(process, started="another time").end(signal.SIGKILL, "sleep")
            assert child.poll() is None
            assert process.is_alive("sleep 60")
            process.end(signal.SIGKILL, "sleep 60")
            assert child.wait() == -signal.SIGKILL
            assert not process.is_alive("sleep 60")
        finally:
            child.kill()


def test_console_tells_its_keys_once_the_last_line_is_there() -> None:
    begun = f"[ OK ] boot\r\n{console.BEGIN}\r\nssh-ed25519 {ED25519} root@x\r\n"
    assert console.host_keys(begun) == {}
    assert console.host_keys(begun + console.END) == {"ssh-ed25519": ED25519}


def test_console_key_that_another_message_cut_is_left_out() -> None:
    cut = f"{console.BEGIN}\nssh-ed25519 {ED25519[:40]}[  9.1] systemd\nssh-rsa {ED25519}\n{console.END}"
    assert console.host_keys(cut) == {}


def test_console_last_lines_have_no_escapes(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_text("first\r\n\x1b[0;32m  OK  \x1b[0m Started\r\n\n", encoding="ascii")
    assert console.last_lines(path, 1) == ["OK   Started"]


def test_patience_that_ends_shows_the_end_of_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = saved(tmp_path, "tb1")
    machine.console.write_text("Kernel panic - not syncing\n", encoding="ascii")
    monkeypatch.setattr(QemuMachine, "is_running", lambda _: True)
    now = [0.0]
    told: list[str] = []

    def sleep(_: float) -> None:
        now[0] += 7

    patience = Patience(machine=machine, note=told.append, clock=lambda: now[0], sleep=sleep)
    for _ in range(258):
        patience.a_moment("its SSH server")
    with pytest.raises(RemoteError, match=r"(?s)SSH server did not come within 1800 s.*Kernel panic"):
        patience.a_moment("its SSH server")
    assert told[0] == "tb1: waiting for its SSH server, 14 s"


def test_patience_with_a_machine_that_ended_is_an_error_at_once(tmp_path: Path) -> None:
    patience = Patience(machine=saved(tmp_path, "tb1"), note=lambda _: None)
    with pytest.raises(RemoteError, match="ended while it booted"):
        patience.a_moment("its SSH server")


@pytest.mark.parametrize(
    ("metadata", "told"), [({"provider": "virtualbox"}, "a box for virtualbox"), ({}, "a box for None")]
)
def test_box_of_another_provider_is_refused(tmp_path: Path, metadata: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        boxes.image_of(tmp_path, make_box(tmp_path / "x.box", **metadata))


def test_box_that_is_cut_is_refused_and_leaves_no_image(tmp_path: Path) -> None:
    plain, packed = make_box(tmp_path / "x.box", provider="libvirt"), tmp_path / "packed.box"
    packed.write_bytes(gzip.compress(plain.read_bytes())[:-40])
    plain.write_bytes(plain.read_bytes()[:1538])
    for box in (plain, packed):
        with pytest.raises(SpecError, match="cut or damaged"):
            boxes.image_of(tmp_path, box)
    assert not list(places.images_directory(tmp_path).glob("*"))


def test_find_box_takes_the_whole_one_before_the_bare_one(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no box here"):
        boxes.find_box(tmp_path, None)
    directory = tmp_path / "build" / "box"
    directory.mkdir(parents=True)
    for name in ("debian12.box", "debian12-bare.box"):
        (directory / name).touch()
    assert boxes.find_box(tmp_path, None).name == "debian12.box"


def test_find_box_by_vagrants_name_takes_the_newest_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path))
    for version, provider in (("9.1", "libvirt"), ("10.0", "libvirt"), ("11.0", "virtualbox")):
        image = tmp_path / "boxes" / "debian-VAGRANTSLASH-b" / version / provider / "box.img"
        image.parent.mkdir(parents=True)
        image.touch()
    assert "/10.0/" in str(boxes.find_box(tmp_path, "debian/b"))
    with pytest.raises(SpecError, match="no box of that name"):
        boxes.find_box(tmp_path, "debian/c")


def test_ssh_command_never_takes_an_unknown_key_and_quotes_paths() -> None:
    target = Target(
        name="tb1",
        host="127.0.0.1",
        user="vagrant",
        port=4022,
        identity_files=(Path("/a b/key%1"),),
        known_hosts=(Path("/a b/known"),),
        key_alias="tb1",
    )
    command = openssh.ssh_command(target, ["ls", "-l"])
    for option in (
        "StrictHostKeyChecking=yes",
        'UserKnownHostsFile="/a b/known"',
        'IdentityFile="/a b/key%%1"',
        "HostKeyAlias=tb1",
    ):
        assert command[command.index(option) - 1] == "-o"
    assert command[-4:] == ["--", "127.0.0.1", "ls", "-l"]
    read = subprocess.run(
        [*command[:1], "-G", *command[1:-3], "h"], capture_output=True, text=True, check=True
    )
    assert "identityfile /a b/key%%1" in read.stdout
    assert "userknownhostsfile /a b/known" in read.stdout


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that is open at once, and needs nothing brought."""

    def opened(machine: QemuMachine, _: object) -> QemuMachine:
        made = replace(machine, opened=True)
        made.save()
        return made

    monkeypatch.setattr(qemu_up, "wait_until_open", opened)
    monkeypatch.setattr(qemu_up, "bring_tree", lambda *_: None)
    monkeypatch.setattr(qemu_up, "provision", lambda *_: None)


def up(root: Path, *names: str, **wanted: int) -> list[str]:
    told: list[str] = []
    qemu_up.up(
        root,
        names,
        wanted=qemu_up.Wanted(**wanted),
        defaults=qemu_up.Defaults(cpus=2, memory_mib=1024, box=str(my_box(root))),
        choose=lambda: TCG,
        note=told.append,
    )
    return told


def test_up_twice_starts_once_and_after_a_halt_again(tmp_path: Path, programs: Path, boots: None) -> None:
    up(tmp_path, "tb1")
    first = load(tmp_path, "tb1")
    assert first is not None
    assert first.set_up
    assert "tb1: runs already" in up(tmp_path, "tb1")
    qemu.end(first)
    up(tmp_path, "tb1", cpus=4)
    again = load(tmp_path, "tb1")
    assert again is not None
    assert again.is_running()
    assert (again.cpus, again.memory_mib, again.process == first.process) == (4, 1024, False)
    with pytest.raises(SpecError, match="runs with 4 cores"):
        up(tmp_path, "tb1", cpus=2)


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), Interrupted("ended", remedy="-"), RemoteError("x", remedy="-")]
)
def test_up_that_is_stopped_while_a_machine_boots_leaves_nothing(
    tmp_path: Path, programs: Path, boots: None, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def fails(*_: object) -> None:
        assert load(tmp_path, "tb2") is not None
        raise stop

    monkeypatch.setattr(qemu_up, "wait_until_open", fails)
    with pytest.raises(type(stop)):
        up(tmp_path, "tb1", "tb2")
    assert (load(tmp_path, "tb1"), load(tmp_path, "tb2")) == (None, None)
    assert len(programs.read_text(encoding="ascii").splitlines()) == 2
    assert not list(tmp_path.rglob("qemu.pid"))


def test_up_that_is_stopped_ends_all_machines_though_one_does_not_end(
    tmp_path: Path, programs: Path, boots: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = qemu.end, []

    def end(machine: QemuMachine) -> None:
        asked.append(machine.name)
        if machine.name == "tb2" and machine.process:
            raise RemoteError("does not end", remedy="-")
        real(machine)

    def fails(*_: object) -> None:
        monkeypatch.setattr(qemu, "end", end)
        raise KeyboardInterrupt

    monkeypatch.setattr(qemu_up, "wait_until_open", fails)
    with pytest.raises(RemoteError, match="does not end"):
        up(tmp_path, "tb1", "tb2", "tb3")
    assert {"tb1", "tb2", "tb3"} <= set(asked)
    assert [name for name in ("tb1", "tb2", "tb3") if load(tmp_path, name)] == ["tb2"]


@pytest.mark.parametrize(
    ("stop", "runs"), [(KeyboardInterrupt(), False), (RemoteError("x", remedy="-"), True)]
)
def test_up_that_fails_while_it_sets_up_keeps_the_machine_and_only_an_error_lets_it_run(
    tmp_path: Path,
    programs: Path,
    boots: None,
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    runs: bool,
) -> None:
    def fails(*_: object) -> None:
        raise stop

    monkeypatch.setattr(qemu_up, "provision", fails)
    with pytest.raises(type(stop)):
        up(tmp_path, "tb1")
    machine = load(tmp_path, "tb1")
    assert machine is not None
    assert (machine.is_running(), machine.set_up) == (runs, False)


def test_set_up_that_is_ended_does_not_wait_for_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = (
        f"case $* in *provision.sh) echo $$ > {tmp_path}/pid; sleep 1; kill -TERM $PPID; exec sleep 60;; esac"
    )
    install(tmp_path / "bin", "ssh", ssh, monkeypatch)
    began_s = time.monotonic()
    with pytest.raises(Interrupted), ended_by_signal():
        set_up.provision(saved(tmp_path, "tb1").target(), lambda _: None)
    assert time.monotonic() - began_s < 30
    assert processes.known(int((tmp_path / "pid").read_text(encoding="ascii"))) is None


def test_key_that_cannot_be_made_is_an_error_with_what_ssh_keygen_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = saved(tmp_path, "tb1")
    machine.known_hosts.touch()
    install(tmp_path / "bin", "ssh-keygen", "echo No space left >&2; exit 255", monkeypatch)
    with pytest.raises(PreflightError, match="No space left"):
        wait_until_open(machine, lambda _: None)


def test_up_with_a_bad_name_makes_nothing(tmp_path: Path, programs: Path) -> None:
    for name in ("../x", "TB1", "", "-a", "a" * 33):
        with pytest.raises(SpecError, match="no name for a machine"):
            up(tmp_path, "tb1", name)
    assert not (tmp_path / ".vm" / "qemu").exists()


def test_known_process_of_nobody_is_none() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert processes.known(child.pid) is None
    assert processes.known(os.getpid()) is not None
