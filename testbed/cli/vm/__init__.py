"""`tb vm`: experiments on other machines, one module for each group of verbs."""

from __future__ import annotations

import typer

from testbed.cli.vm import box, machines, run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Experiments in virtual machines and on other hosts.",
)

app.command("box")(box.box)
app.command("up")(machines.up)
app.command("list")(machines.list_)
app.command("halt")(machines.halt)
app.command("destroy")(machines.destroy)
app.command("ssh", cls=machines.WordsAfterDashes)(machines.ssh)
app.command("run", epilog=run.EPILOG)(run.run)
app.command("attach")(run.attach)
app.command("runs")(run.runs)
app.command("stop")(run.stop)
