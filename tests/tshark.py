"""What tshark makes of a capture."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def tshark_fields(path: Path, fields: Sequence[str], *options: str) -> list[list[str]]:
    """A row for each packet, with its fields in that order."""
    command = ["tshark", "-n", "-r", str(path), *options, "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]
