"""`tb sensitivity`: which assumed numbers the answer of an experiment depends on, and at which value it flips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json, table_width

if TYPE_CHECKING:
    from testbed.run.sensitivity import SensitivityOutcome


def sensitivity(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A name in experiments/, or the path of a script.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one field; may be repeated."),
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=1, help="Messages of each cell; 40,000 by default.", show_default=False)
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="These scenarios alone.", show_default=False)
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE,...", help="These sizes, e.g. 4KiB.", show_default=False)
    ] = None,
    quantile: Annotated[
        str | None,
        typer.Option(
            metavar="P", help="Such as p99; by default p99.9, or the highest that the records allow."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="Parameters whose path has this in it; `*` stands for anything."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of all randomness.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where results go: OUT/EXPERIMENT/sensitivity-TIME-ID/.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Vary every assumed number of an experiment, one at a time: what does the answer depend on, where does it flip?

    Runs in the twin; needs no root. Ranges and method: docs/sensitivity.md.

    [bold]Examples[/]

      ./tb sensitivity quickstart

      ./tb sensitivity quickstart --scenario load --size 4KiB --only 'rdma.*stall'

      ./tb sensitivity switch_shootout --set variants=tomahawk5,spectrum4 --json
    """
    from testbed.cli.progress_view import ProgressView
    from testbed.cli.run import ended_by_signal
    from testbed.cli.writable import ensure_writable
    from testbed.report.sensitivity import sensitivity_text
    from testbed.run import preflight
    from testbed.run.loader import load_experiment, results_dir
    from testbed.run.sensitivity import RECORDS, run_study, study_of
    from testbed.spec.overrides import apply_overrides

    options = {"records": records or RECORDS, "scenarios": scenario, "sizes": size, "seed": seed}
    settings = [f"{key}={value}" for key, value in options.items() if value is not None]
    adjusted = apply_overrides(load_experiment(experiment), [*settings, *(overrides or [])])
    wanted = None if quantile is None else parse_quantile(quantile)
    study = study_of(adjusted, only=only, quantile_ppm=wanted)
    preflight.require("twin")
    target = out or results_dir()
    ensure_writable(target, option="--out")
    view = ProgressView()
    with ended_by_signal():
        try:
            outcome = run_study(study, out=target, progress=view)
        finally:
            view.finish()
    if as_json:
        print_json(sensitivity_json(outcome))
        return
    typer.echo(sensitivity_text(outcome.found, width=table_width()))
    typer.echo("\n".join(map(str, (outcome.directory, *outcome.figures))))


def sensitivity_json(outcome: SensitivityOutcome) -> dict[str, Any]:
    """What `--json` prints: sensitivity.json, and where everything is."""
    from testbed.spec.codec import to_dict

    paths = {"directory": str(outcome.directory), "figures": [str(path) for path in outcome.figures]}
    return {**to_dict(outcome.found), **paths}


def parse_quantile(text: str) -> int:
    """Parts per million from `p99.9`, `99.9` or `99.9%`; above 0 and below 100 %."""
    from testbed.errors import SpecError
    from testbed.units import PPM_PER_WHOLE, parse_ppm

    number = text.removeprefix("p").removesuffix("%")
    remedy = "write e.g. p99.9"
    try:
        found = parse_ppm(f"{number}%")
    except SpecError as error:
        raise SpecError(f"--quantile '{text}' is no percentile", remedy=remedy) from error
    if not 0 < found < PPM_PER_WHOLE:
        raise SpecError(f"--quantile '{text}' is not between p0 and p100", remedy=remedy)
    return found
