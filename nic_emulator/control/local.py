"""The NICs of a plan in the twin, in this process, each behind its control socket: cards to script without root."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from nic_emulator.control.nics import GroupSnapshot, NicControls
from nic_emulator.control.sockets import listen_at
from testbed.engine import _engine
from testbed.engine.plan import PlanData, build_plan

_SLICE_PS = 10_000_000
_FOREVER_S = 1e9
_YIELD_S = 1e-4


class LocalCards:
    """Serves every NIC of a plan at `DIRECTORY/NAME.sock`; runs once each has been told to start.

    A context manager; at its end nobody listens any more, and a run that is under way is given up.

    Args:
        data: plan data; its workloads are what a client may load, not what is run unasked.
        directory: for the sockets; it must exist.
    """

    def __init__(self, data: PlanData, directory: Path) -> None:
        nics = [(entity, node["name"]) for entity, node in enumerate(data["nodes"]) if node["kind"] == "nic"]
        self._paths = {name: directory / f"{name}.sock" for _, name in nics}
        self._controls = NicControls(data, {entity: listen_at(self._paths[name]) for entity, name in nics})
        self._turning = threading.Lock()
        self._reader_waits = False
        self._over = False
        self._thread = threading.Thread(target=self._run, name="cards")
        self._thread.start()

    def socket(self, name: str) -> Path:
        """Where a NIC listens; KeyError for a name that is none."""
        return self._paths[name]

    def close(self) -> None:
        """End the run and the sockets."""
        self._over = True
        self._thread.join()
        self._controls.close()
        for path in self._paths.values():
            path.unlink()

    def __enter__(self) -> LocalCards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        data = self._controls.wait_started(_FOREVER_S, lambda: self._over)
        if data is None:
            return
        try:
            twin = _engine.Twin(build_plan(data))
            self._controls.read_from(self._snapshot_of(twin))
            self._turn(twin)
            reason = "DONE" if twin.done else "STOPPED" if self._over else "DEADLOCK"
        except (RuntimeError, ValueError) as error:
            reason = f"ERROR: {error}"
        self._controls.end(reason)

    def _turn(self, twin: _engine.Twin) -> None:
        """A slice of virtual time after the other, so that counters can be read between two of them."""
        going_on = True
        while going_on and not self._over:
            with self._turning:
                going_on = twin.run(max(twin.now_ps, twin.next_event_ps) + _SLICE_PS)
            if self._reader_waits:  # a lock goes to whoever runs, not to whoever waits
                time.sleep(_YIELD_S)

    def _snapshot_of(self, twin: _engine.Twin) -> Callable[[], GroupSnapshot]:
        def snapshot() -> GroupSnapshot:
            self._reader_waits = True
            with self._turning:
                self._reader_waits = False
                return twin.now_ps, twin.messages, twin.counters()

        return snapshot
