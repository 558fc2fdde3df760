"""What the orchestrator and a control plane say to each other while the clock is held."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_PUNT_HEAD = struct.Struct("=QIIII")
"""Time in ps, switch, port, bytes that follow; layout of `PuntHead` in testbed/engine/virtual_clock.hpp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """What is decided while the clock is held."""

    orders: Sequence[Mapping[str, Any]] = ()
    """For the processes (`process_main`), each for the time of the hold or later."""
    processes: Sequence[str] = ()
    """NICs whose process is ended with SIGKILL, and another started in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Punt:
    """A frame that a switch has handed to its CPU."""

    time_ps: int
    switch: str
    port: int
    """By which it came."""
    frame: bytes
    """With the emulation's trailer."""


class Control(Protocol):
    """Who acts while the clock is held."""

    @property
    def punt_latency_ps(self) -> int:
        """How long after a frame has gone to a CPU the clock is held; 0: it is not."""

    def processes(self) -> dict[str, int]:
        """Those that the run cannot go on without, by name; which they are may change with each act."""

    def next_ps(self) -> int:
        """When the clock is to be held next, in virtual time; `_engine.NEVER_PS`: never of its own accord."""

    def act(self, now_ps: int, punts: Sequence[Punt]) -> Acts:
        """Do what is due. `punts` are those since the last time; some are due later."""


def read_punts(data: bytes, nodes: Sequence[str]) -> list[Punt]:
    """The frames in what switch processes have appended; `nodes` has their names by entity."""
    punts, at = [], 0
    while at < len(data):
        time_ps, entity, port, length, _ = _PUNT_HEAD.unpack_from(data, at)
        at += _PUNT_HEAD.size + length
        punts.append(Punt(time_ps=time_ps, switch=nodes[entity], port=port, frame=data[at - length : at]))
    return punts
