"""`tb validate`: the model against closed forms and published figures, one line for each oracle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json, stderr, stdout, table

if TYPE_CHECKING:
    from rich.table import Table

    from testbed.validate.row import Oracle, Row
    from testbed.validate.runner import Finding

LEAST_WIDTH = 100
"""On a narrower terminal lines are longer than it: numbers are not cut."""
WIDTH = 110
COLUMNS = ("oracle", "cases>", "worst case", "expected>", "measured>", "difference>", "allowed>", "verdict")
_SIGNS = {"equal": "", "at_most": "≤ ", "at_least": "≥ "}
_CASE_COLUMNS = 40


def validate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="An oracle or a subject; all by default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cases and shorter runs: seconds, wider intervals.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Show every case, not the worst of each oracle.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="List the oracles and run nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the model with closed forms and published figures: expected, measured, difference, verdict.

    Needs no root. Ends with 6 if any row does not hold, and names it.

    [bold]Examples[/]

      ./tb validate --quick            every oracle, in seconds

      ./tb validate                    as the release is checked, two minutes

      ./tb validate pfc --all          each case of a subject

      ./tb validate --list
    """
    from testbed.validate import chosen
    from testbed.validate.runner import require_all, run_oracles

    oracles = chosen(names or [])
    if list_only:
        _show_list(oracles, as_json=as_json)
        return
    with _progress(len(oracles)) as report:
        findings = run_oracles(oracles, quick=quick, report=report)
    if as_json:
        print_json(findings_json(findings, quick=quick))
    else:
        console = stdout()
        console.width = max(console.width, LEAST_WIDTH)
        for text in (findings_table(oracles, findings, every=every), _closing(findings)):
            console.print(text, highlight=False, width=min(console.width, WIDTH))
    require_all(findings)


def findings_json(findings: Sequence[Finding], *, quick: bool) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "quick": quick,
        "holds": not any(finding.failed for finding in findings),
        "rows": [row.to_dict() for finding in findings for row in finding.rows],
    }


def findings_table(oracles: Sequence[Oracle], findings: Sequence[Finding], *, every: bool) -> Table:
    """Grouped by subject; of each oracle the worst case and all that fail, or every case."""
    cells: list[tuple[str, ...]] = []
    subject = None
    for oracle, finding in zip(oracles, findings, strict=True):
        if oracle.subject != subject:
            subject = oracle.subject
            cells.append((f"[bold]{subject}[/]", *[""] * (len(COLUMNS) - 1)))
        for place, row in enumerate(_shown(finding, every=every)):
            first = (f"  {oracle.name}", f"{len(finding.rows):,}") if place == 0 else ("", "")
            cells.append((*first, *_cells(row)))
    made = table(COLUMNS, cells)
    for column in made.columns:
        column.no_wrap = True
    made.columns[2].max_width, made.columns[2].no_wrap = _CASE_COLUMNS, False
    return made


def _shown(finding: Finding, *, every: bool) -> Sequence[Row]:
    from testbed.validate.row import worst

    return finding.rows if every else (finding.failed or (worst(finding.rows),))


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "[green]holds[/]" if row.verdict == "holds" else "[red]fails[/]"
    case = row.case.replace("[", r"\[")
    unit = f" {row.unit}" if row.unit else ""
    numbers = (f"{_SIGNS[row.relation]}{number(row.expected)}{unit}", number(row.measured))
    allowed = f"± {number(row.tolerance)}" if row.tolerance else "exact" if row.relation == "equal" else ""
    return (case, *numbers, number(row.difference), allowed, verdict)


def number(value: float) -> str:
    """Whole numbers with their thousands apart, others with four digits."""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _closing(findings: Sequence[Finding]) -> str:
    rows = sum(len(finding.rows) for finding in findings)
    failed = sum(len(finding.failed) for finding in findings)
    verdict = "[green]all hold[/]" if not failed else f"[red]{failed:,} fail[/]"
    return (
        f"\n{rows:,} cases of {len(findings)} oracles: {verdict}; formulas and tolerances: docs/validation.md"
    )


def _show_list(oracles: Sequence[Oracle], *, as_json: bool) -> None:
    names = ("name", "subject", "description", "tolerance")
    listed = [{name: getattr(oracle, name) for name in names} for oracle in oracles]
    if as_json:
        print_json({"oracles": listed})
        return
    rows = [(oracle["name"], oracle["subject"], oracle["description"]) for oracle in listed]
    stdout().print(table(("oracle", "subject", "what it compares"), rows), highlight=False)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Finding], None]]:
    """A bar on a terminal, a line for each oracle elsewhere; on stderr."""
    if not sys.stderr.isatty():
        done = iter(range(1, total + 1))
        yield lambda finding: typer.echo(f"{next(done)}/{total}  {_line(finding)}", err=True)
        return
    from rich.progress import Progress

    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("oracles", total=total)

        def report(finding: Finding) -> None:
            bar.update(task, advance=1, description=finding.oracle)

        yield report


def _line(finding: Finding) -> str:
    verdict = f"{len(finding.failed)} fail" if finding.failed else "holds"
    return f"{finding.oracle}: {len(finding.rows):,} cases, {verdict}, {finding.wall_s:.1f} s"
