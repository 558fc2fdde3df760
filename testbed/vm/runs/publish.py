"""From the parts of a run, all here, to results under their names: merged if cells were spread, never half."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from testbed.errors import RemoteError, SpecError
from testbed.run.files import storing, sync, sync_tree
from testbed.run.merge import merge_results
from testbed.vm.runs.record import Part, RunFolder
from testbed.vm.runs.sent import restore


def publish(folder: RunFolder) -> list[Path]:
    """The results of a run, by seed, under OUT; the run's own directory is gone then.

    It can be ended at any point and done again: that all results are complete is noted before the first is renamed.
    """
    if not folder.run.published:
        _stage(folder)
        staged = sorted(_results(folder.staged), key=_seed)
        for result in staged:
            restore(result, folder.run.originals)
            with storing(result):
                sync_tree(result)
        names = tuple(str(result.relative_to(folder.staged)) for result in staged)
        folder.save(replace(folder.run, published=names))
    for name in folder.run.published:
        _rename(folder.staged / name, folder.out / name)
    published = [folder.out / name for name in folder.run.published]
    folder.remove()
    return published


def _stage(folder: RunFolder) -> None:
    """Complete results, in one place."""
    run = folder.run
    parts = [_of_part(folder, index, part) for index, part in enumerate(run.parts)]
    if any(part.cells for part in run.parts):
        with storing(folder.staged):
            shutil.rmtree(folder.staged, ignore_errors=True)  # what a merge that was ended has left
            folder.staged.mkdir()
        staged, sources = folder.staged.resolve(), [result.resolve() for found in parts for result in found]
        with chdir(folder.files):  # where the files are that the experiment names
            merge_results(sources, run.experiment, engine=run.engine, out=staged)
        return
    for result in (result for found in parts for result in found):
        _rename(result, folder.staged / result.parent.name / result.name)


def _of_part(folder: RunFolder, index: int, part: Part) -> list[Path]:
    """The results of one part: as many as it has seeds, unless they are staged already."""
    found = _results(folder.part(index))
    if len(found) + len(_results(folder.staged)) < part.seeds:
        raise RemoteError(
            f"{part.host}: the run left {len(found)} results, not {part.seeds}",
            remedy=f"./tb vm stop {folder.reference}, then run it again; this is a bug of the testbed",
        )
    return found


def _results(directory: Path) -> list[Path]:
    """`EXPERIMENT/ID` below a directory."""
    return [path.parent for path in sorted(directory.glob("*/*/summary.json"))]


def _seed(result: Path) -> int:
    return int(json.loads((result / "summary.json").read_text(encoding="utf-8"))["seed"])


def _rename(source: Path, target: Path) -> None:
    """Move a directory, unless that was done before."""
    if source.exists():
        if target.exists():
            raise SpecError(f"{target} is there already, and another result", remedy="move it away")
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            sync(target.parent)
