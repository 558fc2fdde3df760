"""`python -m testbed.cli`: what `./tb` runs."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded ends it in order, too."""
    _find_system_programs()
    try:
        from testbed.cli.app import app
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\nremedy: nothing was begun\n")
        sys.exit(_INTERRUPTED)
    app(prog_name="tb")


def _find_system_programs() -> None:
    """`ip` is in /usr/sbin, which `su` and many users' shells leave out."""
    directories = os.environ.get("PATH", os.defpath).split(":")
    missing = [directory for directory in ("/usr/sbin", "/sbin") if directory not in directories]
    os.environ["PATH"] = ":".join([*directories, *missing])


if __name__ == "__main__":
    main()
