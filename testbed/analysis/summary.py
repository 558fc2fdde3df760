"""What a run found, as values: one `CellSummary` per cell, one `RunSummary` per run. Pure.

`testbed.spec.codec.to_dict` and `from_dict` turn a `RunSummary` into summary.json and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from testbed.analysis.breakdown import (
    Components,
    TailPart,
    components_beyond,
    exact_sum,
    mean_components,
    window_of,
)
from testbed.analysis.events import events_of
from testbed.analysis.failures import FailureEvent, Outage
from testbed.analysis.inband import InBand
from testbed.analysis.percentiles import (
    QUANTILES_PPM,
    Percentile,
    SeedSpread,
    across_seeds,
    percentile_name,
    percentiles,
)
from testbed.analysis.records import Picoseconds, Records, digest, latencies_ps
from testbed.analysis.recovery import Recovery, recovery_of
from testbed.spec.experiment import Cell, Scenario
from testbed.spec.sourced import Assumption
from testbed.units import PS_PER_S, format_permille

STEADY_PERMILLE = 950
"""Of an offered load, what must arrive while it is offered for latencies to be those of a steady state."""
_LEAST_RATED = 100
_LEAST_STEADY = 10_000
"""Messages of a run that is long enough to tell a load that cannot be carried from one that has just begun."""
_OPEN_LOOP = frozenset({"poisson", "incast", "pairs"})
ANSWER_QUANTILE_PPM = 999_000
"""The answers compare NICs or variants at p99.9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """What the records of one cell say."""

    id: str
    scenario: str
    condition: str
    """The scenario in words, e.g. `under 60 % load`."""
    size_bytes: int
    nic: str
    n: int
    percentiles: Mapping[str, Percentile]
    """By name: p50, p90, p99, p99.9, p99.99."""
    min_ps: int | None
    mean_ps: int | None
    max_ps: int | None
    retransmits: int
    """Over all messages."""
    marked_messages: int
    """Messages with at least one congestion mark."""
    components: Components | None
    """Mean over all messages."""
    components_beyond: TailPart | None
    """Mean over the messages slower than p99.9."""
    components_window: TailPart | None
    """Mean over the messages inside the interval of p99.9: what the attribution is made of."""
    variant: str = ""
    """Empty where the experiment has none."""
    destination: int | None = None
    """The endpoint whose messages are summarised; None: all messages are."""
    events: Mapping[str, int] = field(default_factory=dict)
    """How often frames were dropped, marked, paused; by name (`testbed.analysis.events`), none that is zero."""
    lost: int = 0
    """Messages of an unreliable transport that never arrived; `n` and all times are without them."""
    recovery: Recovery | None = None
    """Of the messages with a packet that was sent again; None where there are none."""
    failures: tuple[FailureEvent, ...] = ()
    """What went wrong, and what followed from it, in order of time; the first 1,000."""
    outage: Outage | None = None
    """What that did to messages; None without failures."""
    load_permille: int | None = None
    """What an open loop offers; None: it is idle, or its senders wait for their messages."""
    offered_bps: int | None = None
    """Payload that was intended, per time; None: too few messages, or senders that wait for their messages."""
    closed_loop: bool = False
    """Whether senders post as fast as their messages complete."""
    goodput_bps: int | None = None
    """Payload that has arrived, per time (`rate_bps`); None: too few messages."""
    nics_ps: int | None = None
    """What the NICs at both ends take of a message of one packet when idle: their stages without jitter."""
    records_digest: str = ""
    """SHA-256 over all records of the cell, whatever it is called: the same records, the same digest."""
    emulated_records: int = 0
    """How many of its messages real frames carried, too."""
    emulated_digest: str = ""
    """SHA-256 over the records of these, as the real frames left them; empty without any."""
    inband: InBand | None = None
    """What packets with in-band telemetry tell of each hop; None where no packet carries any."""

    @property
    def saturated(self) -> bool:
        """Whether messages come faster than they arrive: latencies grow as long as the run lasts."""
        if self.offered_bps is None or self.goodput_bps is None or self.n < _LEAST_STEADY:
            return False
        return self.goodput_bps * 1000 < self.offered_bps * STEADY_PERMILLE

    @property
    def alternative(self) -> str:
        """What tells the cells of one scenario and size apart in words: the variant, or the NIC if there is none."""
        return self.variant or self.nic


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStatement:
    """Which clock a run had, and how exact it was."""

    engine: str
    """emulation or twin."""
    clock: str
    """virtual, dilated or twin."""
    emulated_records: int
    """Records that came from real frames."""
    twin_records: int
    """Records that the twin computed."""
    equal: bool | None
    """Whether every record that both have is the same, bit for bit; None if only one of them ran."""
    difference: str | None = None
    """The first difference, in words."""
    foreign_frames: int = 0
    """Frames of strangers that reached a card or a switch; left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run: what was asked, what came out, what it rests on."""

    experiment: str
    question: str
    seed: int
    fabric: str
    """The fabric in one line."""
    clock: ClockStatement
    cells: tuple[CellSummary, ...]
    """In the experiment's order."""
    records_digest: str
    """SHA-256 over all records in canonical order."""
    assumptions: tuple[Assumption, ...]
    answers: tuple[str, ...]
    variants: Mapping[str, str] = field(default_factory=dict)
    """By name: what each variant sets, in words."""
    failures: tuple[str, ...] = ()
    """What goes wrong, as written; a variant's own are in `variants`."""
    control: Mapping[str, str] = field(default_factory=dict)
    """What the experiment sets of its control plane; `controller`: who programs the switches."""
    budget_ps: int = 0
    """The time that small messages are to make; 0: none."""
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Row and column of each variant in the table of the budget."""
    part_of: int = 0
    """How many cells the experiment has, where these are only some of them; 0: these are all."""


def measured(records: Records, destination: int | None) -> Records:
    """The records that the percentiles of a cell are of."""
    return records if destination is None else records[records["dst"] == destination]


def summarise_cell(
    cell: Cell,
    all_records: Records,
    counters: Mapping[str, Mapping[str, int]] | None = None,
    *,
    lost: int = 0,
    goodput_bps: int | None = None,
) -> CellSummary:
    """Everything the summary says of one cell; its records are in canonical order, and without what was lost.

    `goodput_bps` is of all that arrived, where that is more than what was recorded.
    """
    records = measured(all_records, cell.scenario.measured_destination)
    latency = latencies_ps(records)
    n = len(latency)
    found = {percentile.name: percentile for percentile in percentiles(latency)}
    answered = next(p for p in found.values() if p.quantile_ppm == ANSWER_QUANTILE_PPM)
    return CellSummary(
        id=cell.id,
        scenario=cell.scenario.name,
        condition=condition(cell.scenario),
        size_bytes=cell.size_bytes,
        nic=cell.nic,
        n=n,
        percentiles=found,
        min_ps=int(latency.min()) if n else None,
        mean_ps=(2 * exact_sum(latency) + n) // (2 * n) if n else None,
        max_ps=int(latency.max()) if n else None,
        retransmits=int(records["retransmits"].sum(dtype=np.uint64)),
        marked_messages=int(np.count_nonzero(records["marks"])),
        components=mean_components(records),
        components_beyond=components_beyond(records, ANSWER_QUANTILE_PPM),
        components_window=window_of(records, answered),
        variant=cell.variant,
        destination=cell.scenario.measured_destination,
        events=events_of(counters or {}),
        lost=lost,
        recovery=recovery_of(records),
        load_permille=cell.scenario.load_permille or None,
        offered_bps=rate_bps(records["intended_ps"], cell.size_bytes)
        if cell.scenario.kind in _OPEN_LOOP
        else None,
        closed_loop=cell.scenario.kind == "permutation" and not cell.scenario.load_permille,
        goodput_bps=goodput_bps
        if goodput_bps is not None
        else rate_bps(records["completed_ps"], cell.size_bytes),
        records_digest=digest([("", all_records)]),
    )


def rate_bps(times_ps: Picoseconds, size_bytes: int) -> int | None:
    """Payload per time between the tenth and the ninetieth of a hundred messages, in order of one of their times.

    Both ends of a run are left out: there the fabric fills, and empties. None with fewer than 100 messages.
    """
    n = len(times_ps)
    if n < _LEAST_RATED:
        return None
    times = np.partition(times_ps, (n // 10, n - n // 10))
    span_ps = int(times[n - n // 10]) - int(times[n // 10])
    payload = size_bytes * (n - 2 * (n // 10))
    return payload * 8 * PS_PER_S // span_ps if span_ps else None


def condition(scenario: Scenario) -> str:
    """A scenario in words that can begin a sentence."""
    load = format_permille(scenario.load_permille).replace("%", " %")
    if scenario.kind == "idle":
        return "unloaded"
    batch = f" in batches of {scenario.batch}" if scenario.batch > 1 else ""
    if scenario.kind in ("poisson", "pairs"):
        pairs = "in pairs " if scenario.kind == "pairs" else ""
        return f"{pairs}under {load} load{' of each card' if scenario.load_of == 'card' else ''}{batch}"
    if scenario.kind == "incast":
        return f"under {scenario.fan_in}→1 incast"
    at = f"at {load} load" if scenario.load_permille else "at full rate"
    if scenario.kind == "victim":
        return f"beside {scenario.fan_in}→1 incast {at}"
    if scenario.kind == "permutation":
        return f"in a permutation {at}"
    return "in a ping-pong"


def largest_assumptions(assumptions: tuple[Assumption, ...], limit: int = 3) -> tuple[Assumption, ...]:
    """The longest of the assumed times that add to a latency: what moves it most; without any, the first ones."""
    times = [found for found in assumptions if found.unit == "ps" and not found.path.endswith(_NOT_ADDED)]
    return tuple(sorted(times, key=_longest_ps, reverse=True)[:limit]) or assumptions[:limit]


_NOT_ADDED = ("timeout", "interval")
"""Times between rare events are no part of a message's latency."""


def _longest_ps(assumption: Assumption) -> int:
    """A number, or the last entry of a table: the most that it can add."""
    value = assumption.value
    return max(value, default=0) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpread:
    """One cell over the runs of several seeds."""

    id: str
    percentiles: Mapping[str, SeedSpread | None]
    """By name; None where a run does not state that percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatSummary:
    """Several runs of one experiment that differ in the seed."""

    seeds: tuple[int, ...]
    cells: tuple[CellSpread, ...]
    """In the experiment's order."""


def summarise_repeats(runs: Sequence[RunSummary]) -> RepeatSummary:
    """Mean and t-interval of each percentile of each cell over the runs."""
    names = [percentile_name(quantile_ppm) for quantile_ppm in QUANTILES_PPM]
    return RepeatSummary(
        seeds=tuple(run.seed for run in runs),
        cells=tuple(
            CellSpread(id=cell.id, percentiles={name: _spread(runs, cell.id, name) for name in names})
            for cell in runs[0].cells
        ),
    )


def _spread(runs: Sequence[RunSummary], cell_id: str, name: str) -> SeedSpread | None:
    """A percentile over the runs; None unless every run states it."""
    cells = [cell for run in runs for cell in run.cells if cell.id == cell_id]
    values = [cell.percentiles[name].value_ps for cell in cells if name in cell.percentiles]
    stated = [value for value in values if value is not None]
    return across_seeds(stated) if len(stated) == len(runs) else None
