"""What `tb vm runs` tells of each run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.vm.runs.record import RunFolder


def runs_json(folders: Sequence[RunFolder]) -> dict[str, Any]:
    """What `tb vm runs --json` prints."""
    return {"runs": [_run_json(folder) for folder in folders]}


def _run_json(folder: RunFolder) -> dict[str, Any]:
    from testbed.vm.runs.record import is_held

    parts = folder.run.parts
    count = {state: sum(part.state == state for part in parts) for state in ("new", "started", "fetched")}
    words = {"new": "to start", "started": "started", "fetched": "fetched"}
    told = [f"{number} {words[state]}" for state, number in count.items() if number]
    if len(parts) == 1:
        told = [words[parts[0].state]]
    return {
        "run": folder.run.id,
        "experiment": folder.run.experiment.name,
        "engine": folder.run.engine,
        "machines": list(folder.run.hosts),
        "state": ", ".join(told) + (", followed" if is_held(folder.directory) else ""),
        "since": datetime.fromtimestamp(folder.run.began_at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
    }
