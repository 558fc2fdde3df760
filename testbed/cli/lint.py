"""`tb lint`: every check of style and types, each with its time."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

CPP_ROOMS = ("testbed", "nic_emulator", "tests")
COMPILE_COMMANDS = Path("build") / "release" / "compile_commands.json"
# The build compiles the extension as one unit; clang-tidy wants a command for each source file.
EACH_SOURCE = Path("build") / "lint" / "compile_commands.json"
EXTENSION_TARGET = "_engine.dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One tool, as the commands that run it: all of them must succeed."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def lint(
    fix: Annotated[
        bool, typer.Option("--fix", help="Let ruff and clang-format correct what they can.")
    ] = False,
) -> None:
    """Check style and types: ruff, mypy --strict, clang-format, clang-tidy.

    [bold]Examples[/]

      ./tb lint

      ./tb lint --fix
    """
    from testbed.run.loader import ROOT

    failed = [check.name for check in checks(ROOT, fix=fix) if not run_check(check, ROOT)]
    if failed:
        typer.echo(f"lint: {', '.join(failed)} found something")
        raise typer.Exit(1)
    typer.echo("lint: clean")


def checks(root: Path, *, fix: bool) -> tuple[Check, ...]:
    """The checks, fast ones first."""
    python, scripts = sys.executable, Path(sys.executable).parent
    sources = [str(path.relative_to(root)) for path in cpp_files(root)]
    format_mode = ("-i",) if fix else ("--dry-run", "-Werror")
    clang_format = (python, str(scripts / "clang-format"), *format_mode, *sources)
    tidy = (python, str(scripts / "clang-tidy"), "-p", str(EACH_SOURCE.parent), "--quiet")
    return (
        Check(name="ruff check", commands=((python, "-m", "ruff", "check", *(("--fix",) if fix else ())),)),
        Check(
            name="ruff format", commands=((python, "-m", "ruff", "format", *(() if fix else ("--check",))),)
        ),
        Check(name="clang-format", commands=(clang_format,) if sources else ()),
        Check(name="mypy", commands=((python, "-m", "mypy"),)),
        Check(name="clang-tidy", commands=tuple((*tidy, source) for source in write_commands(root))),
    )


def cpp_files(root: Path) -> list[Path]:
    """Every C++ file of the tree."""
    return sorted(path for room in CPP_ROOMS for path in (root / room).rglob("*.[ch]pp"))


def write_commands(root: Path) -> list[str]:
    """Write a compile command, with the extension's flags, for each source; return the sources."""
    try:
        entries = json.loads((root / COMPILE_COMMANDS).read_text(encoding="utf-8"))
    except OSError:
        return []
    flags = next(
        (_flags(entry["command"]) for entry in entries if EXTENSION_TARGET in entry["command"]), None
    )
    sources = [str(path) for path in cpp_files(root) if path.suffix == ".cpp"]
    if flags is None or not sources:
        return []
    commands = [
        {"directory": str(root), "file": source, "arguments": [*flags, "-c", source]} for source in sources
    ]
    target = root / EACH_SOURCE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(commands, indent=1), encoding="utf-8")
    return sources


def _flags(command: str) -> list[str]:
    """A compile command without its input and output."""
    words = shlex.split(command)
    end = min(words.index(word) for word in ("-o", "-c") if word in words)
    return words[:end]


def run_check(check: Check, root: Path) -> bool:
    """Run one check, its commands side by side; print its name, verdict and time, and what it found."""
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(lambda command: _run(command, root), check.commands))
    bad = [output for code, output in results if code != 0]
    verdict = "failed" if bad else "ok" if check.commands else "nothing to check"
    typer.echo(f"{check.name:<14} {verdict:<8} {time.monotonic() - began:5.1f} s")
    for output in bad:
        typer.echo(output.rstrip())
    return not bad


def _run(command: tuple[str, ...], root: Path) -> tuple[int, str]:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
