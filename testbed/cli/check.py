"""`tb check`: what this machine offers, what is missing, and what that means."""

from __future__ import annotations

from dataclasses import asdict

import typer

from testbed.cli.output import JsonOption, print_json, stdout, table

STYLE = {"ok": "green", "limited": "yellow", "missing": "red"}


def check(as_json: JsonOption = False) -> None:
    """Show what this machine offers for a run, what is missing, and what that means.

    Looks as root where sudo asks nothing, as a run on real frames does. Ends with exit code 3 when something is missing
    that such a run needs.

    [bold]Examples[/]

      ./tb check

      ./tb check --json
    """
    from testbed.cli.privilege import become_root, can_be_root
    from testbed.run import preflight

    if can_be_root():
        become_root("trying what root may do")
    findings = preflight.check_machine()
    missing = preflight.blocking(findings, "emulation")
    if as_json:
        print_json({"ready": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [
            (f.name, f.found, f.minimum, f"[{STYLE[f.status]}]{f.status}[/]", f.meaning) for f in findings
        ]
        console = stdout()
        console.print(table(["what", "found", "minimum", "status", "what it means"], rows), highlight=False)
        for finding in findings:
            if finding.status != "ok":
                console.print(f"{finding.name}: {finding.remedy}", markup=False, highlight=False)
    if missing:
        raise typer.Exit(3)
