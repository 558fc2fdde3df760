"""Parts run on real frames, merged, are the whole run: each cell has its share of the frames, and their records.

An application of another's programs the switches: its tables are merged, too.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.run.loader import load_experiment
from testbed.run.merge import merge_results
from testbed.run.spread import split_cells
from testbed.spec.overrides import apply_overrides
from tests.fabric.command_line import Ended, Place, Running, running
from tests.fabric.test_live_run import SINGLE_PATH

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

SPEC = (
    "topology=single_switch",
    "topology.cards=3",
    "scenarios=load",
    "nics=transparent,rdma",
    "sizes=4KiB",
    "records=300",
    "emulated_records=101",
)


def place_of(directory: Path, out: Path) -> Place:
    """A state of its own, and results beside those of others."""
    directory.mkdir()
    return replace(Place.below(directory), out=out)


def result_of(run: Running) -> dict[str, Any]:
    ended = Ended(run.process, time.monotonic())
    assert ended.code == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def files(result: Path) -> dict[str, bytes]:
    """Content by name, but for metadata, which tell of time and machine, and for figures, which name the result."""
    told = (path for path in result.rglob("*") if path.is_file() and path.parent.name != "figures")
    return {str(path.relative_to(result)): path.read_bytes() for path in told if path.name != "metadata.json"}


def test_parts_on_real_frames_merged_are_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for figures in ("write_figures", "write_cell_figures"):  # they take longer than all else
        monkeypatch.setattr(f"testbed.run.assemble.{figures}", lambda *_: [])
    out, application = tmp_path / "out", tmp_path / "single_path.py"
    out.mkdir()
    application.write_text(SINGLE_PATH, encoding="utf-8")
    chosen = ("--controller", str(application))
    experiment = replace(apply_overrides(load_experiment("quickstart"), SPEC), controller=str(application))
    split = split_cells(experiment, "emulation", 2)
    wanted = [(), *(("--cells", ",".join(cells)) for cells in split)]
    with ExitStack() as stack:  # all at once: they share nothing but where results go
        places = [place_of(tmp_path / f"run {number}", out) for number in range(len(wanted))]
        runs = [
            stack.enter_context(running(place, SPEC, "--json", *chosen, *options))
            for place, options in zip(places, wanted, strict=True)
        ]
        whole, *parts = [result_of(run) for run in runs]
    assert load_experiment(str(Path(whole["directory"]) / "spec.json")) == experiment
    assert [part["part_of"] for part in parts] == [2, 2]

    directories = [Path(part["directory"]) for part in parts]
    outcome = merge_results(directories, experiment, engine="emulation", out=out)
    expected, found = files(Path(whole["directory"])), files(outcome.directory)
    assert found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]
    assert "tables.json" in found
    clock = outcome.summary.clock
    assert (clock.equal, clock.emulated_records) == (True, whole["clock"]["emulated_records"])
    assert clock.emulated_records >= 2 * 51
    metadata = json.loads((outcome.directory / "metadata.json").read_text(encoding="utf-8"))
    original = json.loads((Path(whole["directory"]) / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["control"] == original["control"]
    assert metadata["emulation"].keys() == original["emulation"].keys()
    assert [one["cells"] for one in metadata["parts"]] == [list(cells) for cells in split]
