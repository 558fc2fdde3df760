"""Queues, pauses and buffers over time: as the engine follows them, as a result keeps them, as figures need them. Pure.

What is kept of a cell is exact: every change of every queue, up to `MOST_KEPT` changes from the start. Depths by class
are left out for ports at which one class alone ever waited, since the depth of the port says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.hops import CARD_TIER, tiers_of_plan

Samples = npt.NDArray[np.void]
"""An array of `SAMPLE_DTYPE`."""

SAMPLE_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("time_ps", "<u8"),
        ("entity", "<u4"),
        ("port", "<u2"),
        ("traffic_class", "u1"),
        ("kind", "u1"),
        ("value", "<u8"),
    ]
)
"""Layout of `QueueSample` in testbed/engine/telemetry.hpp."""
MOST_KEPT = 800_000
MOST_ROWS = 60
"""A heat map with more could not be read."""
BINS = 240


class SampleKind(IntEnum):
    """What a sample tells."""

    QUEUE = 0  # depth of one class of an egress port, in bytes
    PAUSE_RECEIVED = 1  # a class of a port is stopped by its neighbour: 1, free again: 0
    PAUSE_SENT = 2  # the neighbour at a port has been told to stop a class: 1, to go on: 0
    BUFFER = 3  # of the whole switch, in bytes
    PORT = 4  # depth of all classes of an egress port, in bytes


PAUSES = (SampleKind.PAUSE_RECEIVED, SampleKind.PAUSE_SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What was followed in one cell, with the names of the nodes it was followed at."""

    samples: Samples
    """By time."""
    names: Mapping[int, str]
    """By entity; those at which something was followed, and their neighbours."""
    tiers: Mapping[int, int]
    """By entity: cards -1, leaves 0, the switches above them 1, and so on."""
    peers: Mapping[tuple[int, int], int]
    """The entity at the far end, by entity and port."""

    def label(self, entity: int, port: int) -> str:
        """`l1:3 → s2`; a card has one port, so it has no number."""
        number = "" if self.tiers[entity] == CARD_TIER else f":{port}"
        peer = self.peers.get((entity, port))
        return f"{self.names[entity]}{number}" + (f" → {self.names[peer]}" if peer is not None else "")

    def of(self, *kinds: SampleKind) -> Samples:
        """The samples of some kinds."""
        return self.samples[np.isin(self.samples["kind"], kinds)]

    @property
    def cut_note(self) -> str:
        """What a time axis must add where there was more than is kept."""
        return f"; cut after {MOST_KEPT:,} changes" if len(self.samples) >= MOST_KEPT else ""

    @property
    def until_ps(self) -> int:
        """The last change."""
        return int(self.samples["time_ps"][-1]) if len(self.samples) else 0


def followed_in(plan: Mapping[str, Any], samples: Samples) -> Followed:
    """What the engine followed in the run of a plan, as far as it is kept."""
    peers = {}
    for a, a_port, b, b_port, *_ in plan["links"]:
        peers[a, a_port], peers[b, b_port] = b, a
    return Followed(
        samples=_kept(samples[np.argsort(samples["time_ps"], kind="stable")]),
        names={entity: node["name"] for entity, node in enumerate(plan["nodes"])},
        tiers=tiers_of_plan(plan),
        peers=peers,
    )


def _kept(samples: Samples) -> Samples:
    """Without what the depths of the ports say anyway, and not more than `MOST_KEPT`."""
    by_class = samples["kind"] == SampleKind.QUEUE
    ports = _port_keys(samples)
    pairs = np.unique(ports[by_class] * 8 + samples["traffic_class"][by_class])
    alone, count = np.unique(pairs // 8, return_counts=True)
    needless = by_class & np.isin(ports, alone[count == 1])
    kept: Samples = samples[~needless][:MOST_KEPT]
    return kept


def _port_keys(samples: Samples) -> npt.NDArray[np.int64]:
    """(entity, port) in one number."""
    return np.asarray(samples["entity"].astype(np.int64) << 16 | samples["port"], dtype=np.int64)


# ------------------------------------------------------------------------------------------------- saved

_SAVED: Mapping[str, str] = {"value": "depth_bytes"}
"""Columns that are called otherwise than the fields they hold."""


def columns_of(cell_id: str, followed: Followed) -> dict[str, npt.NDArray[Any]]:
    """As equally long columns, to be saved."""
    samples = followed.samples
    columns = {_SAVED.get(name, name): samples[name] for name in SAMPLE_DTYPE.names or ()}
    names = np.array([followed.names[entity] for entity in range(len(followed.names))] or [""])
    tiers = np.array([followed.tiers[entity] for entity in range(len(followed.names))] or [0])
    keys, place = np.unique(_port_keys(samples), return_inverse=True)
    ends = np.array([followed.peers.get((key >> 16, key & 0xFFFF), -1) for key in keys.tolist()], np.int64)
    peer = ends[place] if len(keys) else np.zeros(0, np.int64)
    return columns | {
        "cell": np.full(len(samples), cell_id),
        "node": names[samples["entity"]],
        "tier": tiers[samples["entity"]],
        "peer_entity": peer,
        "peer": np.where(peer < 0, "", names[peer]),
    }


def followed_of(columns: Mapping[str, npt.NDArray[Any]], cell_id: str) -> Followed:
    """One cell of what was saved."""
    here = np.flatnonzero(np.asarray(columns["cell"]) == cell_id)
    samples: Samples = np.empty(len(here), SAMPLE_DTYPE)
    for name in SAMPLE_DTYPE.names or ():
        samples[name] = np.asarray(columns[_SAVED.get(name, name)])[here]
    _, first = np.unique(_port_keys(samples), return_index=True)
    names: dict[int, str] = {}
    tiers: dict[int, int] = {}
    peers: dict[tuple[int, int], int] = {}
    for place in here[first].tolist():
        entity, port = int(columns["entity"][place]), int(columns["port"][place])
        names[entity], tiers[entity] = str(columns["node"][place]), int(columns["tier"][place])
        peer = int(columns["peer_entity"][place])
        if peer >= 0:
            peers[entity, port] = peer
            names.setdefault(peer, str(columns["peer"][place]))
    return Followed(samples=samples, names=names, tiers=tiers, peers=peers)


# ------------------------------------------------------------------------------------------------- for figures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthMap:
    """The largest depth of each port in each of equally long bins."""

    ports: tuple[tuple[int, int], ...]
    """Entity and port; the highest tier first, then by number."""
    all_ports: int
    """How many ever held something."""
    edges_ps: npt.NDArray[np.int64]
    depth_bytes: npt.NDArray[np.int64]
    """Row by port, column by bin."""


def depth_map(followed: Followed) -> DepthMap | None:
    """All ports that ever held something, or the deepest of too many; None if none did."""
    samples = followed.of(SampleKind.PORT)
    peaks: dict[int, int] = {}
    keys = _port_keys(samples)
    for key in np.unique(keys).tolist():
        peak = int(samples["value"][keys == key].max())
        if peak:
            peaks[key] = peak
    if not peaks:
        return None
    deepest = sorted(peaks, key=lambda key: (-peaks[key], key))[:MOST_ROWS]
    rows = sorted(deepest, key=lambda key: (-followed.tiers[key >> 16], key))
    edges = np.linspace(0, max(followed.until_ps, 1), BINS + 1).astype(np.int64)
    return DepthMap(
        ports=tuple((key >> 16, key & 0xFFFF) for key in rows),
        all_ports=len(peaks),
        edges_ps=edges,
        depth_bytes=np.stack([_largest(samples[keys == key], edges) for key in rows]),
    )


def _largest(samples: Samples, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The largest value within each bin of a value that holds until it changes; 0 before its first change."""
    times, values = samples["time_ps"].astype(np.int64), samples["value"].astype(np.int64)
    at_start = np.searchsorted(times, edges[:-1], side="right") - 1
    largest = np.where(at_start >= 0, values[at_start], 0)
    places = np.minimum(np.searchsorted(edges, times, side="right") - 1, len(edges) - 2)
    np.maximum.at(largest, places, values)
    return largest


def intervals(samples: Samples, until_ps: int) -> list[tuple[int, int]]:
    """From when to when a value was 1 rather than 0; of several classes, any."""
    found: list[tuple[int, int]] = []
    stopped: set[int] = set()
    began = 0
    for time_ps, traffic_class, value in zip(
        samples["time_ps"].tolist(), samples["traffic_class"].tolist(), samples["value"].tolist(), strict=True
    ):
        before = bool(stopped)
        (stopped.add if value else stopped.discard)(traffic_class)
        if stopped and not before:
            began = time_ps
        elif before and not stopped:
            found.append((began, time_ps))
    return [*found, (began, until_ps)] if stopped else found
