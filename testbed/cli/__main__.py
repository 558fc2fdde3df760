"""`python -m testbed.cli`: what `./tb` runs."""

from __future__ import annotations

from testbed.cli.app import app


def main() -> None:
    app(prog_name="tb")


if __name__ == "__main__":
    main()
