"""Long flows into one port: equal shares, and the queue where the published analysis puts it, NICs and switch included.

N cards send to one behind the same switch, or each to a peer over one link for all (a dumbbell), and always have more.
After a warm-up each sender's packets are counted, and the queue of the shared port is followed, change by change. The
parts alone are compared with their equations in tests/engine/test_congestion_*.py; here they hear what NICs, links and
switches tell them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.depths import SAMPLE_DTYPE, SampleKind
from testbed.spec.fabric import Fabric
from testbed.spec.parameters import ParameterValue
from testbed.validate.measure import twin_of
from testbed.validate.nic_plans import IDLE, around_switch, setup_of
from testbed.validate.plans import Data, Field, finished, records_of
from testbed.validate.row import Oracle, Row
from topologies import build_fabric

MS_PS = 10**9
COUNTS = (2, 8, 32)
MTU_BYTES = 4_096
GAP_BYTES = 20
MESSAGE_BYTES = 1 << 20
MOST_SAMPLES = 8_000_000
JAIN = 0.95
"""Jain's index of fairness, (sum x)^2 / n sum x^2: what counts as equal shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incast:
    """N senders with one kind of congestion control, and where it is watched."""

    nic: str
    settings: Mapping[str, ParameterValue]
    switch_settings: Mapping[str, ParameterValue]
    frame_bytes: int
    rate: str
    warm_up_ps: int
    watched_ps: int
    config: Mapping[str, Field] = field(default_factory=dict)
    """Fields of the NICs' configuration that are no settings."""

    @property
    def byte_ps(self) -> int:
        """Of a byte on each link."""
        return 8_000 // int(self.rate.removesuffix("Gbps"))

    def plan(self, senders: int, *, dumbbell: bool = False) -> Data:
        """The last card receives; the others start within a microsecond. Or each has a peer behind one link for all."""
        end_ps = self.warm_up_ps + self.watched_ps
        loads = [
            {
                "arrivals": "CLOSED",
                "destinations": [senders + number if dumbbell else senders],
                "window": 4,
                "start_ps": number * 1_000_000 // senders,
                "measure_until_ps": 2 * end_ps,
            }
            for number in range(senders)
        ]
        data = around_switch(
            setup_of(self.nic, self.settings),
            [*loads, *[IDLE] * (senders if dumbbell else 1)],
            size_bytes=MESSAGE_BYTES,
            switch="tomahawk5",
            switch_settings=self.switch_settings,
            rate=self.rate,
            fabric=_dumbbell(senders, self.rate) if dumbbell else None,
        )
        for node in data["nodes"]:
            if node["kind"] == "nic":
                node["config"] |= self.config
        return data


def _dumbbell(pairs: int, rate: str) -> Fabric:
    """Two leaves and one spine, one link each, for all of the pairs."""
    few = {"leaves": 2, "spines": 1, "cards": 2 * pairs, "oversubscription": pairs}
    return build_fabric("leaf_spine", {**few, "rate": rate, "uplink_rate": rate})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen after the warm-up."""

    packets: npt.NDArray[np.float64]
    """New ones of each sender."""
    depths_bytes: npt.NDArray[np.float64]
    """Of the queue, each as long as in `held_ps`."""
    held_ps: npt.NDArray[np.float64]

    @property
    def jain(self) -> float:
        """1 for equal shares, 1/n for one that takes all."""
        return float(self.packets.sum() ** 2 / (len(self.packets) * (self.packets**2).sum()))

    @property
    def mean_bytes(self) -> float:
        """Of the queue, over time."""
        return float((self.depths_bytes * self.held_ps).sum() / self.held_ps.sum())

    def quantile_bytes(self, share: float) -> float:
        """The depth that the queue does not exceed for that share of the time."""
        order = np.argsort(self.depths_bytes, kind="stable")
        reached = np.searchsorted(np.cumsum(self.held_ps[order]), share * self.held_ps.sum())
        return float(self.depths_bytes[order][min(reached, len(order) - 1)])

    def utilisation(self, incast: Incast) -> float:
        """Of the receiver's link."""
        slot_ps = (incast.frame_bytes + GAP_BYTES) * incast.byte_ps
        return float(self.packets.sum()) * slot_ps / incast.watched_ps


def watched(incast: Incast, senders: int, *, dumbbell: bool = False) -> Outcome:
    """One run; the queue is that of the receiver of an incast, or of the first leaf's way up."""
    data = incast.plan(senders, dumbbell=dumbbell)
    twin = twin_of(data)
    twin.run(incast.warm_up_ps)
    before = twin.counters()
    end_ps = incast.warm_up_ps + incast.watched_ps
    twin.trace_queues(end_ps, MOST_SAMPLES)
    twin.run(end_ps)
    after = twin.counters()
    names = [node["name"] for node in data["nodes"][:senders]]
    packets = [_new_packets(after[name]) - _new_packets(before[name]) for name in names]
    first_switch = next(number for number, node in enumerate(data["nodes"]) if node["kind"] == "switch")
    depths, held = _depths(twin.queue_samples(), (first_switch, senders + 1), incast)
    return Outcome(np.array(packets, dtype=np.float64), depths, held)


def _new_packets(counters: Mapping[str, int]) -> int:
    return counters["tx_packets"] - counters["tx_retransmits"]


def _depths(
    samples: bytes, port: tuple[int, int], incast: Incast
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Every depth of a queue, and for how long it was that."""
    every = np.frombuffer(samples, SAMPLE_DTYPE)
    mine = every[
        (every["entity"] == port[0]) & (every["port"] == port[1]) & (every["kind"] == SampleKind.PORT)
    ]
    times = np.append(mine["time_ps"].astype(np.int64), incast.warm_up_ps + incast.watched_ps)
    if len(mine) == 0:
        return np.zeros(1), np.full(1, float(incast.watched_ps))
    return mine["value"].astype(np.float64), np.diff(times).astype(np.float64)


def rows_of(
    oracle: str,
    name: str,
    incast: Incast,
    senders: int,
    *,
    least_utilisation: float,
    fair_source: str,
    dumbbell: bool = False,
) -> tuple[Outcome, list[Row]]:
    """What holds for each: shares and utilisation."""
    outcome = watched(incast, senders, dumbbell=dumbbell)
    name += ", dumbbell" if dumbbell else ""
    window = f"{incast.warm_up_ps // MS_PS} to {(incast.warm_up_ps + incast.watched_ps) // MS_PS} ms"
    return outcome, [
        Row(
            oracle=oracle,
            case=f"{name}, {senders} flows, {window}: Jain's index",
            expected=JAIN,
            measured=outcome.jain,
            unit="index",
            relation="at_least",
            source=fair_source,
        ),
        Row(
            oracle=oracle,
            case=f"{name}, {senders} flows: utilisation",
            expected=100 * least_utilisation,
            measured=100 * outcome.utilisation(incast),
            unit="%",
            relation="at_least",
            source="the queue is hardly ever empty",
        ),
    ]


# ------------------------------------------------------------------------------------------------------ DCTCP

DCTCP_K_PKTS = 65
DCTCP_FRAME = 70 + MTU_BYTES
DCTCP_ROUND_TRIP_PS = 8_000_000
"""Unloaded: 0.8 us to the wire, 1.1 on it, 0.2 to the transport, 4.9 to its answer, 0.8 and 0.2 back."""
DCTCP = Incast(
    nic="kernel",
    settings={},
    switch_settings={"ecn": f"step:{DCTCP_K_PKTS * DCTCP_FRAME}B"},
    frame_bytes=DCTCP_FRAME,
    rate="100Gbps",
    warm_up_ps=10 * MS_PS,
    watched_ps=10 * MS_PS,
)


def dctcp(quick: bool) -> list[Row]:
    """Kernel TCP on 100G: its copies cannot fill more."""
    del quick
    return [row for senders in COUNTS for row in _dctcp_rows(senders)]


def _dctcp_rows(senders: int) -> Iterator[Row]:
    source = "Alizadeh et al., DCTCP, SIGCOMM 2010, section 3.3: Qmax = K + N, A = sqrt(2 N (C RTT + K)) / 2"
    settled = replace(
        DCTCP, warm_up_ps=30 * MS_PS, watched_ps=60 * MS_PS
    )  # windows of 3 packets drift slowly
    bounds = {"least_utilisation": 0.99, "fair_source": source}
    yield from rows_of("dctcp", "K 65", settled, senders, dumbbell=True, **bounds)[1]  # type: ignore[arg-type]
    outcome, rows = rows_of("dctcp", "K 65", DCTCP, senders, **bounds)  # type: ignore[arg-type]
    yield from rows
    product_pkts = DCTCP_ROUND_TRIP_PS / DCTCP.byte_ps / DCTCP_FRAME
    amplitude = math.sqrt(2 * senders * (product_pkts + DCTCP_K_PKTS)) / 2
    highest = DCTCP_K_PKTS + senders
    for name, share, expected, relation in (
        ("99 % of the time", 0.99, highest + 2, "at_most"),
        ("99 % of the time, twice the amplitude below", 0.01, highest - 2 * amplitude, "at_least"),
    ):
        yield Row(
            oracle="dctcp",
            case=f"K 65, {senders} flows: queue {name}",
            expected=expected,
            measured=outcome.quantile_bytes(share) / DCTCP_FRAME,
            unit="packets",
            relation=relation,  # type: ignore[arg-type]
            source=source,
        )


# ------------------------------------------------------------------------------------------------------ DCQCN

DCQCN_FRAME = 62 + MTU_BYTES
LINE_BPS = 400e9
LOSSLESS: Mapping[str, ParameterValue] = {"lossless": "3"}
VENDOR_MARKS = (1_600_000, 6_400_000, 0.2)
"""100 KB, 400 KB and 0.2 for each 25 Gb/s: alibaba-edu/HPCC simulation/run.py."""
PAPER_MARKS = (800_000, 3_200_000, 0.2)
"""At 400G: SimAI.conf."""
PAPER: Mapping[str, int] = {
    "alpha_timer_ps": 55_000_000,
    "decrease_interval_ps": 0,
    "increase_timer_ps": 55_000_000,
    "byte_counter_bytes": 10_000_000,
    "fast_recovery_stages": 5,
    "additive_increase_bps": 400_000_000,
    "hyper_increase_bps": 4_000_000_000,
    "min_rate_bps": 100_000_000,
    "clamp_target": 1,
}
"""Zhu et al., SIGCOMM 2015, its rates ten times as high for ten times the line; hyper increase and floor assumed."""


def _dcqcn(marks: tuple[int, int, float], settings: Mapping[str, ParameterValue], **config: Field) -> Incast:
    kmin, kmax, pmax = marks
    return Incast(
        nic="rdma",
        settings={"congestion": "dcqcn", "window": 4_096, **settings},
        switch_settings={"ecn": f"{kmin}B:{kmax}B:{pmax:.0%}", **LOSSLESS},
        frame_bytes=DCQCN_FRAME,
        rate="400Gbps",
        warm_up_ps=20 * MS_PS,
        watched_ps=20 * MS_PS,
        config=config,
    )


VENDOR_DCQCN = _dcqcn(VENDOR_MARKS, {})
PAPER_DCQCN = _dcqcn(
    PAPER_MARKS, {f"congestion.{name}": value for name, value in PAPER.items()}, cnp_interval_ps=50_000_000
)


def fixed_point_bytes(senders: int) -> float:
    """Queue of DCQCN's only fixed point, in packets and seconds: p^3 = R_AI N^2 / (tau C^2) (1 / B + N / (T C))^2."""
    line = LINE_BPS / 8 / MTU_BYTES
    increase = PAPER["additive_increase_bps"] / 8 / MTU_BYTES
    alpha_s, timer_s = PAPER["alpha_timer_ps"] / 1e12, PAPER["increase_timer_ps"] / 1e12
    counter = PAPER["byte_counter_bytes"] / MTU_BYTES
    marked = math.cbrt(
        increase * senders**2 / (alpha_s * line**2) * (1 / counter + senders / (timer_s * line)) ** 2
    )
    kmin, kmax, pmax = PAPER_MARKS
    return kmin + marked / pmax * (kmax - kmin)


def dcqcn(quick: bool) -> list[Row]:
    """RDMA on 400G, as ConnectX is set and as the paper has it."""
    del quick
    source = "Zhu et al., DCQCN, SIGCOMM 2015"
    rows = []
    for senders in COUNTS:
        outcome, found = rows_of(
            "dcqcn", "ConnectX", VENDOR_DCQCN, senders, least_utilisation=0.95, fair_source=source
        )
        rows += found
        rows.append(
            Row(
                oracle="dcqcn",
                case=f"ConnectX, {senders} flows: queue 99 % of the time",
                expected=VENDOR_MARKS[1] / 1000,
                measured=outcome.quantile_bytes(0.99) / 1000,
                unit="kB",
                relation="at_most",
                source="below Kmax: alibaba-edu/HPCC simulation/run.py",
            )
        )
        outcome, found = rows_of(
            "dcqcn", "paper", PAPER_DCQCN, senders, least_utilisation=0.95, fair_source=source
        )
        rows += found
        _, found = rows_of(
            "dcqcn",
            "ConnectX",
            VENDOR_DCQCN,
            senders,
            least_utilisation=0.95,
            fair_source=source,
            dumbbell=True,
        )
        rows += found
        expected = fixed_point_bytes(senders)
        rows.append(
            Row(
                oracle="dcqcn",
                case=f"paper, {senders} flows: mean queue",
                expected=expected / 1000,
                measured=outcome.mean_bytes / 1000,
                unit="kB",
                tolerance=expected / 4000,
                source="fixed point of its fluid model: Zhu et al., ECN or Delay, CoNEXT 2016",
            )
        )
    return rows


LEAST_RATE_BPS = 1_000_000_000
"""MIN_RATE 1000Mb/s: alibaba-edu/HPCC simulation/run.py."""


def least_rate(quick: bool) -> list[Row]:
    """Beside one that floods the port a flow hears of congestion all the time, and sends at the least rate."""
    return [_least_rate_row(size) for size in ((64, 4_096) if quick else (64, 256, 1_024, 4_096))]


def _least_rate_row(size: int) -> Row:
    load = {"arrivals": "CLOSED", "destinations": [0], "window": 64, "measure_until_ps": 3 * MS_PS}
    setup = setup_of("rdma", {"congestion": "dcqcn"})
    data = around_switch(setup, [IDLE, load, load], size_bytes=size)
    _, _, flood, hub = data["nodes"]
    flood["workload"] |= {"message_bytes": MESSAGE_BYTES}
    flood["config"] |= {"congestion": "", "congestion_parameters": {}}
    hub["config"]["ecn"] = [[1, 1, 1_000_000]] * 8
    records = records_of(finished(data))
    starts_ps = np.sort(records["first_byte_ps"][records["src"] == 1].astype(np.int64))
    gaps_ps = np.diff(starts_ps[starts_ps > MS_PS])
    return Row(
        oracle="dcqcn-pace",
        case=f"messages of {size:,} B",
        expected=(78 + size + GAP_BYTES) * 8 * 10**12 / LEAST_RATE_BPS,
        measured=float(np.median(gaps_ps)),
        unit="ps",
        source="a rate is a share of the line's: Ethernet frame and gap over it; rdma-hw.cc paces by packet size, too",
    )


# ------------------------------------------------------------------------------------------------------- NSCC

NSCC_FRAME = 102 + MTU_BYTES
NSCC_STAGES_PS = 500_000 + 72_000 + 200_000 + 200_000 + 50_000 + 200_000
"""To the wire, of it PCIe for 4 KiB; ingress; making of an answer; ingress of that."""
NSCC_LINKS_PS = 4 * 77_753 + 2 * 600_000 + (NSCC_FRAME + 8 + 90 + 8) * 20
NSCC_BASE_PS = NSCC_STAGES_PS + NSCC_LINKS_PS
NSCC_PRODUCT_BYTES = NSCC_BASE_PS // 20
NSCC = Incast(
    nic="uec",
    settings={},
    switch_settings={"ecn": f"{NSCC_PRODUCT_BYTES // 5}B:{NSCC_PRODUCT_BYTES * 4 // 5}B:100%"},
    frame_bytes=NSCC_FRAME,
    rate="400Gbps",
    warm_up_ps=5 * MS_PS,
    watched_ps=10 * MS_PS,
)


def nscc(quick: bool) -> list[Row]:
    """Ultra Ethernet on 400G."""
    del quick
    return [row for senders in COUNTS for row in _nscc_rows(senders)]


def _nscc_rows(senders: int) -> Iterator[Row]:
    source = "spcl/HTSIM htsim/sim/uec.cpp: target 3/4 of the base round trip; marks from 0.2 to 0.8 of the product"
    bounds = {"least_utilisation": 0.99, "fair_source": source}
    yield from rows_of("nscc", "htsim", NSCC, senders, dumbbell=True, **bounds)[1]  # type: ignore[arg-type]
    outcome, rows = rows_of("nscc", "htsim", NSCC, senders, **bounds)  # type: ignore[arg-type]
    yield from rows
    expected = NSCC_PRODUCT_BYTES * 3 / 4
    yield Row(
        oracle="nscc",
        case=f"htsim, {senders} flows: mean queue",
        expected=expected / 1000,
        measured=outcome.mean_bytes / 1000,
        unit="kB",
        tolerance=(0.2 * expected + senders * NSCC_FRAME / 2) / 1000,
        source=source,
    )
    parameters = NSCC.plan(senders)["nodes"][0]["config"]["congestion_parameters"]
    yield Row(
        oracle="nscc",
        case=f"base round trip of the fabric, {senders} flows",
        expected=NSCC_BASE_PS,
        measured=parameters["base_rtt_ps"],
        unit="ps",
        source="stages, four links, two passes of the switch, two frames",
    )


def _oracle(name: str, description: str, tolerance: str, run: Callable[[bool], Any]) -> Oracle:
    return Oracle(name=name, subject="congestion", description=description, tolerance=tolerance, run=run)


ORACLES = (
    _oracle(
        "dctcp",
        "2, 8 and 32 flows of kernel TCP: equal shares, queue at K",
        "bounds: K + N and two packets; twice the sawtooth of its analysis",
        dctcp,
    ),
    _oracle(
        "dcqcn",
        "2, 8 and 32 flows of RDMA: equal shares, queue at its fixed point",
        "bounds; 25 % of the fluid model's fixed point, which knows no packets and no delay",
        dcqcn,
    ),
    _oracle(
        "dcqcn-pace",
        "a flow at the least rate leaves its packets so far apart as their bytes on the wire ask for",
        "none: picoseconds",
        least_rate,
    ),
    _oracle(
        "nscc",
        "2, 8 and 32 flows of Ultra Ethernet: equal shares, queue at the target delay",
        "20 % of the target, and half a packet of each flow, whose windows are whole packets",
        nscc,
    ),
)
