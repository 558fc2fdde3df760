"""Every NIC model over links that lose, hold up and copy frames, and flap: each message arrives once, whole, in order.

One oracle for each NIC, in the modes in which its transport differs. The expected value is what was posted; what is
lost of an unreliable transport is what its packets were lost with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from testbed.errors import TestbedError
from testbed.validate.delivery_runs import ONE, Delivery, Disorder, Outcome, deliver_many
from testbed.validate.row import Oracle, Relation, Row

MESSAGES = 1_000_000
"""Of each NIC, at least."""
QUICK_MESSAGES = 20_000

Settings = Mapping[str, Any]

_LATE: dict[str, int] = {"reorder_2p64": ONE // 50, "reorder_delay_ps": 2_000_000}
_TWICE: dict[str, int] = {"duplicate_2p64": ONE // 50}
DISORDERS: tuple[Disorder, ...] = (
    Disorder(name="loss 1e-6", links={"loss_base_2p64": ONE // 10**6}, weight=6),
    Disorder(name="loss 1e-4", links={"loss_base_2p64": ONE // 10**4}, weight=3),
    Disorder(name="loss 1e-2", links={"loss_base_2p64": ONE // 100}),
    Disorder(name="reordering", links=_LATE),
    Disorder(name="duplicates", links=_TWICE),
    Disorder(name="flapping", flaps=True),
    Disorder(
        name="all at once",
        links={"loss_base_2p64": ONE // 1000, "loss_per_byte_2p64": ONE // 4_000_000} | _LATE | _TWICE,
        flaps=True,
    ),
    Disorder(name="full buffer", switch_settings={"buffer": "200KB"}, incast=True),
    Disorder(name="PFC", switch_settings={"lossless": "2,3,4,5", "buffer": "2MB"}, incast=True),
    Disorder(
        name="LLR, loss 1e-2",
        links={"loss_base_2p64": ONE // 100},
        switch="tomahawk_ultra",
        switch_settings={"llr": "on"},
    ),
    Disorder(
        name="CBFC, loss 1e-4",
        links={"loss_base_2p64": ONE // 10**4},
        switch="tomahawk_ultra",
        switch_settings={"cbfc": "on"},
        incast=True,
    ),
)
TRIMMING = Disorder(
    name="trimming, loss 1e-4",
    links={"loss_base_2p64": ONE // 10**4},
    switch="spectrum4",
    switch_settings={"trim": "128B:6", "buffer": "200KB", "paths": "spray"},
    incast=True,
)
ECN: Mapping[str, str] = {"ecn": "20KB:80KB:20%"}
"""What a congestion control needs to see."""

MODES: Mapping[str, tuple[Settings, ...]] = {
    "transparent": (
        {},
        {"udp": "on", "paths": 8},
        {"ordered": "on"},
        {"batch": "1KiB", "tlp": "20us"},
        {"batch": "4KiB:300ns", "ordered": "on", "cards": 4},
        {"congestion": "dctcp", "cards": 2},
    ),
    "rdma": (
        {},
        {"receive_depth": 8},
        {"congestion": "dcqcn", "cards": 2},
        {"initiator": "device", "post": "blueflame", "cards": 4},
    ),
    "kernel": ({}, {"congestion": "cubic"}, {"protocol": "udp"}, {"cards": 2}),
    "uec": ({}, {"mode": "rod"}, {"mode": "rudi"}, {"mode": "uud"}, {"cards": 4}),
    "sue": ({}, {"header": "standard"}, {"batch": "off"}, {"virtual_channels": 1, "cards": 4}),
    "ualink": ({}, {"batch": "off"}, {"cards": 4}),
}
"""By NIC, the settings under which its transport differs."""
SIZES: tuple[tuple[int, int, int], ...] = ((64, 16, 70), (1, 3, 10), (5_000, 4, 17), (300_001, 2, 3))
"""Bytes, messages outstanding, share in per cent."""


def cases_of(nic: str) -> Iterator[tuple[str, Disorder, Settings, Sequence[Delivery]]]:
    """Each mode in each disorder, with every size; operations take turns."""
    turn = count()
    for settings in MODES[nic]:
        for disorder in (*DISORDERS, *([TRIMMING] if nic in ("uec", "transparent") else [])):
            if "congestion" in settings or nic in ("kernel", "uec"):
                disorder = replace(disorder, switch_settings={**disorder.switch_settings, **ECN})
            words = ", ".join(f"{key}={value}" for key, value in settings.items())
            ops = Delivery(nic=nic, disorder=disorder, settings=settings).setup.profile.ops
            if "receive_depth" in settings:
                ops = ("send",)
            loads = [
                Delivery(
                    nic=nic,
                    disorder=disorder,
                    settings=settings,
                    op=ops[next(turn) % len(ops)],
                    size_bytes=size_bytes,
                    window=window,
                )
                for size_bytes, window, _ in SIZES
            ]
            yield f"{words + ', ' if words else ''}{disorder.name}", disorder, settings, loads


def delivery(quick: bool, *, nic: str) -> list[Row]:
    """Every mode of a NIC in every disorder."""
    cases = list(cases_of(nic))
    weights = sum(disorder.weight for _, disorder, _, _ in cases)
    messages = QUICK_MESSAGES if quick else MESSAGES
    rows: list[Row] = []
    total = 0
    for name, disorder, _, loads in cases:
        share = -(-messages * disorder.weight // weights)
        found, trouble, lossy = Outcome(), "", loads[0].setup.profile.reliability == "unreliable"
        for load, (_, _, percent) in zip(loads, SIZES, strict=True):
            try:
                outcome = deliver_many(load, max(1, share * percent // 100))
            except (TestbedError, RuntimeError) as error:
                trouble = f" ({error})"
                continue
            found += outcome
        total += found.posted
        rows += _rows(nic, name, found, trouble, lossy=lossy, exact=not disorder.copies)
    rows.append(_row(nic, "messages in all", messages, total, relation="at_least"))
    return rows


def _rows(nic: str, name: str, found: Outcome, trouble: str, *, lossy: bool, exact: bool) -> list[Row]:
    """What must hold of one mode in one disorder."""
    case = f"{name}: "
    if lossy:
        lost = found.posted - found.delivered
        rows = [
            _row(
                nic,
                f"{case}lost{trouble}",
                found.lost_packets if exact else found.posted,
                lost,
                relation="at_most",
            ),
            _row(nic, f"{case}sent again", 0, found.resent_packets),
        ]
    else:
        rows = [
            _row(nic, f"{case}once and whole{trouble}", found.posted + bool(trouble), found.delivered),
            _row(nic, f"{case}out of order", 0, found.disordered),
            _row(nic, f"{case}sent again", found.lost_packets, found.resent_packets, relation="at_least"),
        ]
    unsettled = found.leaked + found.miscounted
    return [*rows, _row(nic, f"{case}frames left over, wrong counts", 0, unsettled)]


def _row(nic: str, case: str, expected: int, measured: int, relation: Relation = "equal") -> Row:
    return Row(
        oracle=f"delivery-{nic}",
        case=case,
        expected=expected,
        measured=measured,
        unit="",
        source="each message is delivered once and whole; each lost packet is sent again at least once",
        relation=relation,
    )


ORACLES = tuple(
    Oracle(
        name=f"delivery-{nic}",
        subject="delivery",
        description=f"{nic}: every message once, whole and in order through loss, reordering, copies and flaps",
        tolerance="none",
        run=partial(delivery, nic=nic),
    )
    for nic in MODES
)
