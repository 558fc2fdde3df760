"""Draws saved results again, and several of them over each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.errors import SpecError
from testbed.report.canvas import RUN_STYLES
from testbed.report.cells import write_cell_figures
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
    written = write_figures([view_result(result) for result in loaded], out or default)
    return written + (write_own_figures(loaded[0], out or default) if len(loaded) == 1 else [])


def write_own_figures(result: LoadedResult, out: Path) -> list[Path]:
    """The figures that each cell of a saved result has of its own; none if it kept no queues."""
    columns = result.queue_depth()
    if columns is None:
        return []
    return write_cell_figures(result.summary, result.result_id, columns, result.records, out)


def view_result(result: LoadedResult) -> RunView:
    """A saved result as the figures see it."""
    return view_run(
        result.summary,
        result_id=result.result_id,
        records=result.records,
        queue_depth=result.queue_depth(),
    )
