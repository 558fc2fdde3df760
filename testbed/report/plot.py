"""Draws saved results again, and several of them over each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.errors import SpecError
from testbed.report.canvas import RUN_STYLES
from testbed.report.figures import write_figures
from testbed.report.view import RunView, view_run
from testbed.run.store import LoadedResult, load_result


def plot_results(paths: Sequence[Path], out: Path | None = None) -> list[Path]:
    """Draw the figures of saved results, one line style per run; the paths written.

    Without `out`, one result is drawn into its own `figures/`, several into `./figures`.
    """
    if not paths:
        raise SpecError("no result to plot", remedy="name at least one result directory")
    if len(paths) > len(RUN_STYLES):
        raise SpecError(
            f"{len(paths)} results over each other could not be told apart",
            remedy=f"plot at most {len(RUN_STYLES)} at once",
        )
    loaded = [load_result(Path(path)) for path in paths]
    default = loaded[0].directory / "figures" if len(loaded) == 1 else Path("figures")
    return write_figures([view_result(result) for result in loaded], out or default)


def view_result(result: LoadedResult) -> RunView:
    """A saved result as the figures see it."""
    return view_run(
        result.summary,
        result_id=result.result_id,
        records=result.records,
        queue_depth=result.queue_depth(),
    )
