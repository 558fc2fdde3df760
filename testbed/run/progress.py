"""What a run tells about how far it is. Who shows it, and how, is not decided here: must not import rich."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """The listener a run reports to. Calls come from one thread, in the order of the methods below."""

    def start(self, total_messages: int) -> None:
        """The run begins; it will complete `total_messages` over all its cells, engines and stages."""

    def stage(self, name: str) -> None:
        """A stage begins: a cell on a clock ("poisson-4KiB-rdma, virtual"), or a step such as "build"."""

    def update(self, virtual_ps: int, messages_done: int, work_ppm: int) -> None:
        """The stage's virtual time; messages done so far in the whole run; and how much of its work that is.

        A message on real frames is more work than one in the twin, so time left follows from the work.
        """

    def note(self, text: str) -> None:
        """Something to tell once, such as what a dead run had left and is removed now."""

    def finish(self) -> None:
        """Nothing more will come, whether the run succeeded or not."""


class NullProgress:
    """Listens and shows nothing."""

    def start(self, total_messages: int) -> None:
        """See `Progress.start`."""

    def stage(self, name: str) -> None:
        """See `Progress.stage`."""

    def update(self, virtual_ps: int, messages_done: int, work_ppm: int) -> None:
        """See `Progress.update`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""

    def finish(self) -> None:
        """See `Progress.finish`."""
