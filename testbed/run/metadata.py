"""What a result needs to be trusted later: versions, commit, machine.

What cannot be read is None, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.commit import tree_commit

PACKAGES = (
    "numpy",
    "scipy",
    "pyarrow",
    "matplotlib",
    "hdrhistogram",
    "networkx",
    "rich",
    "typer",
    "mininet",
    "ryu",
    "os-ken",
    "ovs",
)
ROOT = Path(__file__).resolve().parents[2]

SCHEMA_VERSION = 1
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def collect_metadata(root: Path = ROOT) -> dict[str, Any]:
    """Everything known of the program and the machine, as JSON values."""
    commit = tree_commit(root)
    return {
        "schema_version": SCHEMA_VERSION,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "project_version": __version__,
        "git_commit": commit and commit.removesuffix("+"),
        "git_dirty": commit and commit.endswith("+"),
        "python": platform.python_version(),
        "packages": {name: _package_version(name) for name in PACKAGES},
        "machine": _machine(),
    }


def _machine() -> dict[str, Any]:
    return {
        "kernel": platform.release() or None,
        "system": _os_name(),
        "architecture": platform.machine() or None,
        "cpu_model": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(),
        "governor": _text(_GOVERNOR),
        "load_average": _load_average(),
    }


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _field(path: Path, name: str) -> str | None:
    """The first `name : value` of a file in the manner of /proc."""
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", _text(path) or "", re.MULTILINE)
    return found[1].strip() if found else None


def _memory_bytes() -> int | None:
    found = re.fullmatch(r"(\d+) kB", _field(Path("/proc/meminfo"), "MemTotal") or "")
    return int(found[1]) * 1024 if found else None


def _os_name() -> str | None:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(Path("/etc/os-release")) or "", re.MULTILINE)
    return found[1] if found else None


def _load_average() -> list[float] | None:
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None
