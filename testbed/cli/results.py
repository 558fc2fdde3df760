"""Saved results, found by directory or by the name of their experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.errors import SpecError
from testbed.run.loader import results_dir


def find_result(reference: str, *, root: Path | None = None) -> Path:
    """The result directory that is meant: its path, or an experiment's name for the newest of its results."""
    path = Path(reference)
    if (path / "summary.json").is_file():
        return path
    for parent in (path, (root or results_dir()) / reference):
        # The names begin with the time, so the last one is the newest.
        found = sorted(
            child.parent for child in parent.glob("*/summary.json") if not child.parent.name.startswith(".")
        )
        if found:
            return found[-1]
    raise SpecError(
        f"no result at {reference}",
        remedy="give a directory that holds a summary.json, or an experiment that was run",
    )


def read_summary(result: Path) -> dict[str, Any]:
    """The result's summary.json."""
    path = result / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} cannot be read: {error}", remedy="give another result") from error
    if not isinstance(summary, dict):
        raise SpecError(f"{path} is not a summary", remedy="give another result")
    return summary
