"""`python -m testbed.cli`: what `./tb` runs."""

from __future__ import annotations

import os

from testbed.cli.app import app


def main() -> None:
    _find_system_programs()
    app(prog_name="tb")


def _find_system_programs() -> None:
    """`ip` is in /usr/sbin, which `su` and many users' shells leave out."""
    directories = os.environ.get("PATH", os.defpath).split(":")
    missing = [directory for directory in ("/usr/sbin", "/sbin") if directory not in directories]
    os.environ["PATH"] = ":".join([*directories, *missing])


if __name__ == "__main__":
    main()
