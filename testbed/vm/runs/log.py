"""What a job says, brought to the user line by line."""

from __future__ import annotations

from collections.abc import Callable


class Lines:
    """Takes bytes as they come and tells whole lines; the last one when it is closed."""

    def __init__(self, tell: Callable[[str], None], *, skip_first: bool = False) -> None:
        """With `skip_first` what comes before the first line end is left out: a line that began earlier."""
        self._tell = tell
        self._skip = skip_first
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Bytes of any number."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._line(line)

    def close(self) -> None:
        """Nothing more will come."""
        if self._rest:
            self._line(self._rest)
        self._rest = b""

    def _line(self, line: bytes) -> None:
        if self._skip:
            self._skip = False
        else:
            self._tell(line.decode("utf-8", errors="replace").rstrip("\r"))
