"""What the machine offers, before anything is built: each probe looks at one thing and changes nothing.

Probes only report; `require` decides what a run cannot do without. Must not import Mininet.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.controller.app_setup import available
from testbed.errors import PreflightError
from testbed.fabric.capacity import read_limits
from testbed.fabric.ovs_instance import missing_programs, try_instance

ROOT = Path(__file__).resolve().parents[2]
COMMAND_TIMEOUT_S = 60
GIB = 1024**3

Status = Literal["ok", "missing", "limited"]
Need = Literal["twin", "emulation", "comfort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the preflight table."""

    name: str
    found: str
    minimum: str
    status: Status
    need: Need
    """What cannot do without it: any run (twin), one on real frames (emulation), or nothing (comfort)."""
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A program that must be there, and the least version of it."""

    name: str
    args: tuple[str, ...]
    version: str
    """Regular expression whose first group is the version."""
    minimum: str
    need: Need
    meaning: str
    package: str


BINARIES = (
    Binary(
        name="ip",
        args=("-Version",),
        version=r"iproute2-(\d[\d.]*)",
        minimum="5.10",
        need="emulation",
        meaning="makes network namespaces and veth pairs",
        package="iproute2",
    ),
    Binary(
        name="ethtool",
        args=("--version",),
        version=r"version (\d[\d.]*)",
        minimum="5.0",
        need="emulation",
        meaning="switches offloads off, so that frames stay as they were sent",
        package="ethtool",
    ),
    Binary(
        name="tcpdump",
        args=("--version",),
        version=r"tcpdump version (\d[\d.]*)",
        minimum="4.9",
        need="comfort",
        meaning="captures the frames of a run",
        package="tcpdump",
    ),
    Binary(
        name="tshark",
        args=("--version",),
        version=r"TShark \(Wireshark\) (\d[\d.]*)",
        minimum="3.0",
        need="comfort",
        meaning="decodes captured frames; some tests use it",
        package="tshark",
    ),
)


def check_machine() -> tuple[Finding, ...]:
    """Every probe, in the order in which a user would mend things."""
    return (*(probe() for probe in PROBES), *(probe_binary(binary) for binary in BINARIES))


def blocking(findings: Iterable[Finding], need: Literal["twin", "emulation"]) -> tuple[Finding, ...]:
    """The findings without which a run of this kind cannot start."""
    needs = {"twin"} if need == "twin" else {"twin", "emulation"}
    return tuple(finding for finding in findings if finding.status == "missing" and finding.need in needs)


def require(need: Literal["twin", "emulation"]) -> None:
    """Raise one `PreflightError` that lists all that is missing for such a run."""
    probes: list[Callable[[], Finding]] = [probe_python, probe_extension]
    if need == "emulation":
        probes += [probe_root, probe_mininet, probe_namespaces, probe_packet_sockets]
        probes += [probe_open_vswitch, probe_controller]
    findings = [probe() for probe in probes]
    if need == "emulation":
        findings += [probe_binary(binary) for binary in BINARIES if binary.need == "emulation"]
    missing = blocking(findings, need)
    if missing:
        raise PreflightError(
            "this machine cannot do the run: "
            + "; ".join(f"{finding.name}: {finding.found} ({finding.meaning})" for finding in missing),
            remedy="; ".join(dict.fromkeys(finding.remedy for finding in missing)),
        )


def require_program(name: str) -> None:
    """Raise `PreflightError` unless a program that not every run needs is there, and new enough."""
    finding = probe_binary(next(binary for binary in BINARIES if binary.name == name))
    if finding.status != "ok":
        raise PreflightError(f"{finding.name}: {finding.found} ({finding.meaning})", remedy=finding.remedy)


def probe_binary(binary: Binary) -> Finding:
    """Whether a program is there, and new enough."""
    path = _which(binary.name)
    version = _version(_output(path, *binary.args), binary.version) if path else None
    status: Status = "ok"
    if path is None or (version and _as_tuple(version) < _as_tuple(binary.minimum)):
        status = "missing" if binary.need != "comfort" else "limited"
    return Finding(
        name=binary.name,
        found=(version or "version unknown") if path else "not installed",
        minimum=binary.minimum,
        status=status,
        need=binary.need,
        meaning=binary.meaning,
        remedy=f"apt-get install {binary.package}",
    )


def probe_python() -> Finding:
    """The interpreter this runs in."""
    return Finding(
        name="python",
        found=".".join(map(str, sys.version_info[:3])),
        minimum="3.11",
        status="ok" if sys.version_info >= (3, 11) else "missing",
        need="twin",
        meaning="runs the testbed",
        remedy="Debian 12, Ubuntu 24.04 or newer",
    )


def probe_extension() -> Finding:
    """Whether the compiled engine can be loaded."""
    try:
        importlib.import_module("testbed.engine._engine")
        found, loads = "loads", True
    except ImportError as error:
        found, loads = f"does not load: {error}", False
    return Finding(
        name="engine",
        found=found,
        minimum="",
        status="ok" if loads else "missing",
        need="twin",
        meaning="the compiled extension: models, clocks, packet input and output",
        remedy="./tb compiles it; if it is there but does not load, rm -rf build and ./tb again",
    )


def probe_root() -> Finding:
    """Whether namespaces and raw sockets may be made. The verbs that need it become root through sudo first."""
    allowed = os.geteuid() == 0
    return Finding(
        name="root",
        found="yes" if allowed else f"no: user id {os.geteuid()}",
        minimum="",
        status="ok" if allowed else "missing",
        need="emulation",
        meaning="network namespaces and packet sockets need root; the twin does not",
        remedy="sudo ./tb ..., or --engine twin",
    )


def probe_mininet() -> Finding:
    """Whether Mininet's Python package and its helper are there."""
    package = importlib.util.find_spec("mininet") is not None
    helper = _which("mnexec") is not None
    return Finding(
        name="mininet",
        found="installed" if package and helper else "not installed" if not package else "mnexec is missing",
        minimum="2.3",
        status="ok" if package and helper else "missing",
        need="emulation",
        meaning="makes the hosts and links of the fabric",
        remedy="apt-get install mininet",
    )


def probe_namespaces() -> Finding:
    """Whether a namespace and a veth pair can be made: makes both, in a namespace that ends at once."""
    made = _succeeds("unshare", "--net", "ip", "link", "add", "tbp0", "type", "veth", "peer", "name", "tbp1")
    unprivileged = os.geteuid() != 0
    return Finding(
        name="namespaces",
        found="can be made" if made else "not tried without root" if unprivileged else "cannot be made",
        minimum="",
        status="ok" if made else "limited" if unprivileged else "missing",
        need="emulation",
        meaning="each host of the fabric is a network namespace with veth pairs",
        remedy="a container needs CAP_SYS_ADMIN, CAP_NET_ADMIN (docker run --privileged) and the veth module",
    )


def probe_packet_sockets() -> Finding:
    """Whether frames can be sent and received raw."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        found, allowed = "can be opened", True
    except OSError as error:
        found, allowed = f"cannot be opened: {error.strerror}", False
    unprivileged = os.geteuid() != 0
    return Finding(
        name="AF_PACKET",
        found=found,
        minimum="",
        status="ok" if allowed else "limited" if unprivileged else "missing",
        need="emulation",
        meaning="how cards and switches exchange Ethernet frames",
        remedy="a container needs CAP_NET_RAW",
    )


def probe_open_vswitch() -> Finding:
    """Whether Open vSwitch is installed, and an instance of our own can start: starts one, which ends at once."""
    version = _version(_output("ovs-vswitchd", "--version"), r"Open vSwitch\) (\d[\d.]*)")
    problem, unprivileged = "", os.geteuid() != 0
    if missing := missing_programs():
        problem = f"not installed: {', '.join(missing)}"
    elif not unprivileged:
        problem = try_instance()
    works = not problem and not unprivileged
    found = problem or (
        f"{version}, not tried without root" if unprivileged else version or "version unknown"
    )
    return Finding(
        name="open vswitch",
        found=found,
        minimum="2.13",
        status="ok" if works else "missing" if problem else "limited",
        need="emulation",
        meaning="the bridges of the control plane, an instance for each run",
        remedy="apt-get install openvswitch-switch"
        if missing
        else "a container needs CAP_NET_ADMIN and /dev/net/tun",
    )


def probe_controller() -> Finding:
    """Which framework the controller can run on."""
    found = available()
    return Finding(
        name="controller",
        found=" and ".join(found) or "neither Ryu nor os-ken",
        minimum="",
        status="ok" if found else "missing",
        need="emulation",
        meaning="programs the bridges; os-ken stands in where Ryu cannot be installed",
        remedy="./tb installs both; see build/setup-python.log",
    )


def probe_cores() -> Finding:
    """How many CPUs this process may use."""
    cores = len(os.sched_getaffinity(0))
    return Finding(
        name="cores",
        found=str(cores),
        minimum="2",
        status="ok" if cores >= 2 else "limited",
        need="comfort",
        meaning="results are the same on any number; fewer take longer",
        remedy="a larger machine",
    )


def probe_memory() -> Finding:
    """How much memory is free, here and in the control group."""
    free_kib = read_limits().memory_kib
    enough = free_kib is None or free_kib >= 2 * GIB // 1024
    return Finding(
        name="memory",
        found="no limit" if free_kib is None else f"{free_kib * 1024 / GIB:.1f} GiB free",
        minimum="2 GiB",
        status="ok" if enough else "limited",
        need="comfort",
        meaning="bounds how many cards and switches run on real frames; each run is checked against it",
        remedy="a smaller fabric, or a larger machine",
    )


def probe_shared_memory() -> Finding:
    """Whether /dev/shm takes a segment of the virtual clock."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = 0
    return Finding(
        name="shared memory",
        found=f"{free // 1024**2:,} MiB free" if free else "no /dev/shm",
        minimum="32 MiB",
        status="ok" if free >= 32 * 1024**2 else "missing",
        need="emulation",
        meaning="the virtual clock of all processes lies in it",
        remedy="mount a tmpfs on /dev/shm (docker run --shm-size=256m)",
    )


def probe_disk() -> Finding:
    """How much room results have."""
    free = shutil.disk_usage(ROOT).free
    return Finding(
        name="disk",
        found=f"{free / GIB:.0f} GiB free",
        minimum="2 GiB",
        status="ok" if free >= 2 * GIB else "limited",
        need="comfort",
        meaning="records of a run take up to a gigabyte",
        remedy="remove old directories of results/, or --out DIR elsewhere",
    )


def probe_real_time() -> Finding:
    """Whether the scheduler class SCHED_FIFO is allowed."""
    allowed = _succeeds("chrt", "-f", "1", "true")
    return Finding(
        name="SCHED_FIFO",
        found="allowed" if allowed else "refused",
        minimum="",
        status="ok" if allowed else "limited",
        need="comfort",
        meaning="speed under other load; results do not depend on it",
        remedy="root, or CAP_SYS_NICE",
    )


PROBES: tuple[Callable[[], Finding], ...] = (
    probe_python,
    probe_extension,
    probe_root,
    probe_mininet,
    probe_namespaces,
    probe_packet_sockets,
    probe_open_vswitch,
    probe_controller,
    probe_shared_memory,
    probe_cores,
    probe_memory,
    probe_disk,
    probe_real_time,
)


def _which(name: str) -> str | None:
    """The program's path; /usr/sbin is not on every user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _run(name: str, *args: str) -> subprocess.CompletedProcess[str] | None:
    path = _which(name)
    if path is None:
        return None
    try:
        return subprocess.run(
            [path, *args], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _succeeds(name: str, *args: str) -> bool:
    done = _run(name, *args)
    return done is not None and done.returncode == 0


def _output(name: str, *args: str) -> str:
    done = _run(name, *args)
    return done.stdout + done.stderr if done is not None and done.returncode == 0 else ""


def _version(text: str, pattern: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].rstrip(".") if match else None


def _as_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
