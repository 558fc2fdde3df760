"""An Open vSwitch of a run's own: database and switch daemon in one network namespace, files in one directory.

The system's Open vSwitch is neither used nor touched. The daemons stay in the foreground, and end with the process
that started them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from testbed.errors import FabricError, PreflightError, TestbedError
from testbed.fabric.holders import Holders
from testbed.fabric.state import RunState
from testbed.process_table import stat_of

Datapath: TypeAlias = Literal["system", "netdev"]
"""The kernel's, or the one in user space."""

PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
SCHEMAS = ("/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema")
_KERNEL_MODULE = Path("/sys/module/openvswitch")
_START_DEADLINE_S = 300.0
_BUILD_DEADLINE_S = 1800
_QUERY_DEADLINE_S = 300
_END_DEADLINE_S = 5.0
_ALIVE_S = 0.5
_POLL_INTERVAL_S = 0.005
_LOG_LINES = 8
_DIRECTORIES = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge to be made."""

    name: str
    dpid: int
    ports: Mapping[int, str]
    """Interfaces by their OpenFlow numbers."""


def inside(netns_pid: int) -> list[str]:
    """What goes before a command that is to run in a process's network namespace, and to end with its starter."""
    return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{netns_pid}/ns/net", "--"]


def bridge_words(bridge: Bridge, *, datapath: Datapath, controller: str) -> Iterator[str]:
    """Arguments of `ovs-vsctl` that make a bridge, its controller and its ports."""
    name, handle = bridge.name, f"@{bridge.name}"
    yield from ("--", f"--id={handle}", "create", "Controller", f'target="{controller}"')
    yield from ("max_backoff=1000", "inactivity_probe=0", "connection_mode=out-of-band")
    yield from ("--", "add-br", name, "--", "set", "Bridge", name, f"datapath_type={datapath}")
    yield from ("fail_mode=secure", "protocols=OpenFlow13", f"controller={handle}")
    yield from (f"other_config:datapath-id={bridge.dpid:016x}", "other_config:disable-in-band=true")
    for number, interface in bridge.ports.items():
        yield from ("--", "add-port", name, interface)
        yield from ("--", "set", "Interface", interface, f"ofport_request={number}")


def missing_programs() -> list[str]:
    """What of Open vSwitch is not on this machine."""
    missing = [name for name in PROGRAMS if _which(name) is None]
    return missing + ([] if any(Path(path).exists() for path in SCHEMAS) else ["vswitch.ovsschema"])


def best_datapath() -> Datapath:
    """The kernel's where it can be used: its module may be absent, or closed to us."""
    if not _KERNEL_MODULE.exists():
        if modprobe := _which("modprobe"):
            subprocess.run([modprobe, "--quiet", "openvswitch"], capture_output=True, check=False)
        if not _KERNEL_MODULE.exists():
            return "netdev"
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | dict.fromkeys(_DIRECTORIES, directory)
        done = subprocess.run(["ovs-dpctl", "dump-dps"], capture_output=True, check=False, env=environment)
    return "system" if done.returncode == 0 else "netdev"


def try_instance() -> str:
    """Start an instance in a namespace of its own, and end it; what is wrong, or nothing."""
    with tempfile.TemporaryDirectory() as directory:
        holders = Holders()
        instance = None
        try:
            (pid,) = holders.start(["control"]).values()
            instance = OpenVSwitch(netns_pid=pid, directory=Path(directory), datapath=best_datapath())
            instance.start()
            instance.add([Bridge(name="s1", dpid=1, ports={})], controller="tcp:127.0.0.1:6653")
        except TestbedError as error:
            return str(error).replace("\n", "; ")
        finally:
            if instance is not None:
                instance.stop()
            holders.stop()
    return ""


class OpenVSwitch:
    """A running instance."""

    def __init__(
        self, *, netns_pid: int, directory: Path, datapath: Datapath, state: RunState | None = None
    ) -> None:
        self._enter = inside(netns_pid)
        self._directory = directory
        self._state = state
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._datapath: Datapath = datapath
        self._environment = os.environ | dict.fromkeys(_DIRECTORIES, str(directory))
        self._database = f"unix:{directory}/db.sock"

    def processes(self) -> dict[str, int]:
        """Its daemons."""
        return {name: process.pid for name, process in self._processes.items()}

    def version(self) -> str:
        """Of Open vSwitch, as its daemon tells it: the last word of the first line."""
        return self._run("version", [_program("ovs-vswitchd"), "--version"]).splitlines()[0].split()[-1]

    def start(self) -> None:
        """Start both daemons on an empty database."""
        if missing := missing_programs():
            raise PreflightError(
                f"not found: {', '.join(missing)}",
                remedy="install Open vSwitch: `apt install openvswitch-switch`",
            )
        schema = next(path for path in SCHEMAS if Path(path).exists())
        file = str(self._directory / "conf.db")
        self._run("database", ["ovsdb-tool", "create", file, schema])
        remote = f"--remote=punix:{self._directory}/db.sock"
        self._daemon("ovsdb-server", [file, remote])
        self._wait_for(self._directory / "db.sock", "ovsdb-server")
        self._vsctl("database", ["--retry", "--no-wait", "init"])  # the socket is there before it listens
        self._daemon("ovs-vswitchd", [self._database])

    def add(self, bridges: Sequence[Bridge], *, controller: str) -> None:
        """Make all bridges in one transaction; when it returns, the daemon has them and they their ports."""
        words = [
            word
            for bridge in bridges
            for word in bridge_words(bridge, datapath=self._datapath, controller=controller)
        ]
        self._vsctl("bridges", words)
        for bridge in bridges:
            numbers = self.port_states(bridge.name)
            if missing := [interface for number, interface in bridge.ports.items() if number not in numbers]:
                raise self._failure("bridges", f"bridge '{bridge.name}' lacks {', '.join(missing)}")

    def flows(self, bridge: str) -> list[str]:
        """The rules of a bridge as `ovs-ofctl` writes them, without their counters."""
        return self._ofctl("--no-stats", "dump-flows", bridge)

    def groups(self, bridge: str) -> list[str]:
        """The groups of a bridge as `ovs-ofctl` writes them."""
        return self._ofctl("dump-groups", bridge)[1:]

    def flow_statistics(self, bridge: str) -> list[str]:
        """The rules with their ages and counters."""
        return self._ofctl("dump-flows", bridge)

    def port_states(self, bridge: str) -> dict[int, bool]:
        """Whether each port has a carrier, as the bridge sees it."""
        states: dict[int, bool] = {}
        number = None
        for line in self._ofctl("dump-ports-desc", bridge):
            words = line.split()
            head = words[0].partition("(")[0] if words else ""
            if line.startswith(" ") and "): addr:" in line:
                number = int(head) if head.isdigit() else None
            elif number is not None and words[0] == "state:":
                states[number] = "LINK_DOWN" not in words
        return states

    def log(self, name: str) -> str:
        """The last lines of a process's log."""
        try:
            lines = (
                (self._directory / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            )
        except OSError:
            return ""
        return "\n".join(lines[-_LOG_LINES:])

    def end(self) -> None:
        """Let the daemons end."""
        for process in self._processes.values():
            process.terminate()

    def stop(self) -> None:
        """End the daemons, and wait for them; without its database a switch daemon does not hear anything."""
        patience_s = 0.0 if self._dead() else _END_DEADLINE_S
        self.end()
        for process in self._processes.values():
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _daemon(self, name: str, arguments: Sequence[str]) -> None:
        options = [f"--unixctl={self._directory}/{name}.ctl", f"--log-file={self._directory}/{name}.log"]
        quiet = ["--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn"]
        self._processes[name] = process = subprocess.Popen(
            [*self._enter, _program(name), *arguments, *options, *quiet],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._state:
            self._state.record_child(name, process.pid)

    def _wait_for(self, path: Path, name: str) -> None:
        deadline = time.monotonic() + _START_DEADLINE_S
        while not path.exists():
            if stat_of(self._processes[name].pid) is None or time.monotonic() > deadline:
                raise self._failure("database", f"{name} did not start")
            time.sleep(_POLL_INTERVAL_S)

    def _vsctl(self, step: str, words: Iterable[str]) -> None:
        limit = f"--timeout={_BUILD_DEADLINE_S}"
        self._run(step, ["ovs-vsctl", limit, f"--db={self._database}", *words])

    def _ofctl(self, *words: str) -> list[str]:
        limit = f"--timeout={_QUERY_DEADLINE_S}"
        return self._run("tables", ["ovs-ofctl", limit, "-O", "OpenFlow13", *words]).splitlines()

    def _run(self, step: str, command: Sequence[str]) -> str:
        with subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                output, problem = self._outcome(running)
            except BaseException:
                running.kill()
                raise
        if running.returncode != 0:
            raise self._failure(step, problem.strip().replace("\n", "; "))
        return output

    def _outcome(self, running: subprocess.Popen[str]) -> tuple[str, str]:
        """What a command prints; one that asks a dead daemon, or one whose database is dead, gets no answer."""
        while True:
            try:
                return running.communicate(timeout=_ALIVE_S)
            except subprocess.TimeoutExpired:
                if self._dead():
                    running.kill()

    def _dead(self) -> list[str]:
        return [f"{name} (pid {pid}) died" for name, pid in self.processes().items() if stat_of(pid) is None]

    def _failure(self, step: str, problem: str) -> FabricError:
        """With the name of a daemon that is dead, and the last lines of the logs."""
        dead = self._dead()
        logs = [f"{name}: {text}" for name in ("ovsdb-server", "ovs-vswitchd") if (text := self.log(name))]
        text = "; ".join([f"could not build the control plane: step '{step}'", *dead, problem])
        return FabricError(
            "\n".join([text, *logs]),
            remedy="see the log lines above; `./tb check` tries an instance of its own",
        )


def _which(name: str) -> str | None:
    """The program's path; /usr/sbin is not on every PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _program(name: str) -> str:
    path = _which(name)
    assert path is not None  # missing_programs
    return path
