"""What a machine's serial console printed: its public host keys, and its last words."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.vm.host_keys import public_keys

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"
"""As cloud-init writes them."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])|[\x00-\x08\x0b-\x1f\x7f]")
_TAIL_BYTES = 64 * 1024


def host_keys(text: str) -> dict[str, str]:
    """The host keys between the two lines, by type, base64; none until the second line is there."""
    _, begun, rest = text.partition(BEGIN)
    inside, ended, _ = rest.partition(END)
    return public_keys(plain(inside)) if begun and ended else {}


def plain(text: str) -> str:
    """A text without what moves a terminal's cursor."""
    return _ESCAPES.sub("", text)


def read(path: Path) -> str:
    """All that a console printed; nothing if it did not begin."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The last lines that have something in them."""
    lines = (line.strip() for line in plain(read(path)[-_TAIL_BYTES:]).splitlines())
    return [line for line in lines if line][-count:]
