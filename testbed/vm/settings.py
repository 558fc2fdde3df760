"""What TB_VM_* in the environment say of machines, the same for Vagrant's and for those of plain QEMU."""

from __future__ import annotations

import os

from testbed.errors import SpecError

LIMITS = {"TB_VM_CPUS": (1, 256), "TB_VM_MEMORY": (1024, 1_048_576), "TB_VM_COUNT": (1, 64)}
"""The least and the most; memory in MiB. The Vagrantfile has the same."""
DEFAULTS = {"TB_VM_CPUS": 2, "TB_VM_MEMORY": 3072, "TB_VM_COUNT": 1}


def number(name: str) -> int:
    """A number from the environment, or its default."""
    text = os.environ.get(name, "")
    if not text:
        return DEFAULTS[name]
    least, most = LIMITS[name]
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise SpecError(
            f"{name} is '{text}', which is no whole number from {least:,} to {most:,}",
            remedy=f"e.g. {name}={DEFAULTS[name]}",
        )
    return int(text)


def box(given: str | None = None) -> str | None:
    """The box that is given, else the one that the environment names: a file by its absolute path, or a name."""
    text = given or os.environ.get("TB_VM_BOX") or None
    path = os.path.expanduser(text or "")
    return os.path.abspath(path) if os.path.isfile(path) else text


def tcg() -> bool | None:
    """Whether TCG is wanted; None if that is left to what works here."""
    text = os.environ.get("TB_VM_TCG", "")
    if text not in ("", "0", "1"):
        raise SpecError(f"TB_VM_TCG is '{text}'", remedy="1: QEMU emulates the processor; 0: never")
    return {"": None, "0": False, "1": True}[text]
