"""The Wireshark dissector of the testbed's formats: where it is, and how it gets into a user's Wireshark."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from testbed.errors import PreflightError
from testbed.run.files import storing
from testbed.run.preflight import require_program

DISSECTOR = Path(__file__).resolve().parents[1] / "engine" / "wireshark" / "tnic.lua"
_FOLDER = re.compile(r"^Personal Lua Plugins:\s*(.+)$", re.MULTILINE)


def install() -> Path:
    """Copy it to where Wireshark and tshark look for the user's own plug-ins in Lua."""
    require_program("tshark")
    done = subprocess.run(["tshark", "-G", "folders"], capture_output=True, text=True, check=False)
    folder = _FOLDER.search(done.stdout)
    if folder is None:
        raise PreflightError(
            "this tshark names no folder for plug-ins in Lua",
            remedy=f"install a Wireshark with Lua, or copy {DISSECTOR} by hand",
        )
    target = Path(folder[1], DISSECTOR.name)
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DISSECTOR, target)
    return target
