"""Whether this machine can hold a fabric: tools, rights, memory, processes, before anything is made.

The reckoning is pure; only `read_limits` and `check_machine` look at the machine.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PreflightError
from testbed.spec.fabric import Fabric

TOOLS = ("ip", "mnexec")
"""Without these no fabric can be built: iproute2, Mininet."""

NODE_KIB = 2_500
"""A namespace, its interfaces and its holder: 1.3 to 2.0 MiB, nearly all of it the kernel's [measured]."""
ENDPOINT_KIB = 8 * 1024
"""A NIC-emulator process with its 1 MiB of socket memory [assumed; the target is below 20 MiB]."""
SWITCH_KIB = 24 * 1024
"""A switch process with its 8 MiB of socket memory, doubled by the kernel [assumed]."""
RESERVE_KIB = 256 * 1024
"""Left to the orchestrator and to the machine."""

PIDS_PER_NODE = 3
"""Holder, emulator process, and a shell if somebody asks for one."""
DESCRIPTORS_PER_NODE = 6
"""In the orchestrator: pidfds, a shell's terminal, pipes."""
SPARE = 128
"""Processes and descriptors left for everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this machine allows; None is no limit."""

    memory_kib: int | None
    pids: int | None
    namespaces: int | None
    descriptors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a fabric takes."""

    memory_kib: int
    pids: int
    namespaces: int
    descriptors: int


def need_of(fabric: Fabric) -> Need:
    """What a fabric with all its processes takes."""
    endpoints, switches = len(fabric.endpoints), len(fabric.switches)
    nodes = endpoints + switches
    return Need(
        memory_kib=RESERVE_KIB + NODE_KIB * nodes + ENDPOINT_KIB * endpoints + SWITCH_KIB * switches,
        pids=PIDS_PER_NODE * nodes + SPARE,
        namespaces=nodes,
        descriptors=DESCRIPTORS_PER_NODE * nodes + SPARE,
    )


def shortages(need: Need, limits: Limits) -> list[str]:
    """What is missing, a phrase each."""
    rows: tuple[tuple[str, int, int | None, Callable[[int], str]], ...] = (
        ("memory", need.memory_kib, limits.memory_kib, lambda kib: f"{kib // 1024} MiB"),
        ("processes", need.pids, limits.pids, str),
        ("network namespaces", need.namespaces, limits.namespaces, str),
        ("open files", need.descriptors, limits.descriptors, str),
    )
    return [
        f"{what}: it needs {show(wanted)}, {show(allowed)} are free"
        for what, wanted, allowed, show in rows
        if allowed is not None and wanted > allowed
    ]


def check_capacity(fabric: Fabric, *, limits: Limits | None = None) -> None:
    """Raise a `PreflightError` if this machine cannot hold the fabric."""
    missing = shortages(need_of(fabric), limits or read_limits())
    if missing:
        raise PreflightError(
            f"this machine cannot hold {len(fabric.endpoints)} endpoints and {len(fabric.switches)} switches "
            f"as processes: {'; '.join(missing)}",
            remedy="make the fabric smaller, or run it with --engine twin, which needs no processes",
        )


def check_machine() -> None:
    """Raise a `PreflightError` if no fabric at all can be built here."""
    if os.geteuid() != 0:
        raise PreflightError(
            "only root may make network namespaces", remedy="use sudo, or --engine twin, which needs no root"
        )
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise PreflightError(
            f"not found: {', '.join(missing)}",
            remedy="install mininet and iproute2: `apt install mininet iproute2`",
        )


def read_limits() -> Limits:
    """The limits of this machine, and of the control group we are in."""
    groups = _control_groups()
    memory = [_meminfo_kib("MemAvailable")]
    memory += [kib for group in groups if (kib := _group_memory_kib(group)) is not None]
    pids = [_number(Path("/proc/sys/kernel/pid_max")), _number(Path("/proc/sys/kernel/threads-max"))]
    free_pids = [most - _count_processes() for most in pids if most is not None]
    free_pids += [free for group in groups if (free := _free(group, "pids.max", "pids.current")) is not None]
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Limits(
        memory_kib=min(memory),
        pids=min(free_pids, default=None),
        namespaces=_number(Path("/proc/sys/user/max_net_namespaces")),
        descriptors=None if most_files == resource.RLIM_INFINITY else most_files,
    )


def raise_descriptor_limit(fabric: Fabric) -> None:
    """Lift this process's soft limit of open files as far as the fabric needs; never lower it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = need_of(fabric).descriptors
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _meminfo_kib(key: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return int(rest.split()[0])
    raise PreflightError(f"/proc/meminfo has no {key}", remedy="use Linux 3.14 or newer")


def _count_processes() -> int:
    return sum(name.isdigit() for name in os.listdir("/proc"))


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or it says `max`."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _control_groups() -> list[Path]:
    """Where the control groups of this process are, of version 2 and of version 1's memory and pids."""
    found = []
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        root = (
            Path("/sys/fs/cgroup", controllers)
            if controllers in ("memory", "pids")
            else Path("/sys/fs/cgroup")
        )
        if controllers in ("", "memory", "pids"):
            found.append(root / path.lstrip("/"))
    return found


def _free(group: Path, most: str, used: str) -> int | None:
    limit, now = _number(group / most), _number(group / used)
    return None if limit is None or now is None else max(0, limit - now)


def _group_memory_kib(group: Path) -> int | None:
    """What the control group still allows, where the kernel could not even drop caches."""
    for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        free_bytes = _free(group, most, used)
        if free_bytes is not None:
            return (free_bytes + _cached_bytes(group)) // 1024
    return None


def _cached_bytes(group: Path) -> int:
    """Page cache that the group may drop."""
    try:
        rows = (line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        stat = {row[0]: int(row[1]) for row in rows}
    except OSError:
        return 0
    return stat.get("total_inactive_file", stat.get("inactive_file", 0))
