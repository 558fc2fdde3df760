"""All verbs in one application, and the one place where an error becomes text and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from testbed import __version__
from testbed.cli import (
    assumptions,
    bench,
    capture,
    check,
    clean,
    counters,
    lint,
    ping,
    plot,
    run,
    sensitivity,
    sflow,
    show,
    tail,
    test,
    validate,
)
from testbed.cli import list as list_verb
from testbed.cli.output import print_error
from testbed.errors import Interrupted, TestbedError


class ErrorsAsText(TyperGroup):
    """Shows a `TestbedError` as message and remedy, and ends with its exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # the context class is private to typer
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except TestbedError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            interrupted = Interrupted(
                "interrupted", remedy="what it had built is removed; ./tb clean checks that"
            )
            print_error(interrupted)
            raise typer.Exit(interrupted.exit_code) from error


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transparent-nic-testbed {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=ErrorsAsText,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    epilog="[bold]Exit codes[/]  0 done · 1 a test, a check or the lint found something · 2 your input · "
    "3 this machine lacks something · 4 the fabric · 5 a NIC · 6 the data cannot be trusted · 7 another machine · "
    "130 interrupted"
)
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Tail latency of accelerator-to-accelerator transfers through an emulated Ethernet fabric.

    [bold]Examples[/]

      ./tb run                         the quickstart: 16 cards, 400 Gb/s, real frames

      ./tb run quickstart --engine twin --set topology.leaves=8

      ./tb show leaf_spine             a topology, as text; --draw fabric.png as a picture

      ./tb test                        every test this machine can run
    """


app.command("run", epilog=run.EPILOG)(run.run)
app.command("list")(list_verb.list_)
app.command("show")(show.show)
app.command("check")(check.check)
app.command("plot")(plot.plot)
app.command("counters")(counters.counters)
app.command("tail")(tail.tail)
app.command("sflow")(sflow.sflow)
app.command("assumptions")(assumptions.assumptions)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("test", context_settings=test.PASS_THROUGH)(test.test)
app.command("capture", epilog=capture.EPILOG)(capture.capture)
app.command("bench")(bench.bench)
app.command("ping")(ping.ping)
app.command("validate")(validate.validate)
app.command("lint")(lint.lint)
app.command("clean")(clean.clean)
