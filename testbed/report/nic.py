"""A NIC as text: its stages, wire format, reliability and congestion control, every number with its source. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from nic_emulator.profile import PLACES, NicProfile, Place, Stage
from nic_emulator.setup import NicSetup, setting_keys
from testbed.report.sourced_text import sourced_text, unverified_line
from testbed.spec.sourced import Sourced
from testbed.units import format_time

SMALL_BYTES = 64
"""The message that the sum of the stages is for."""

_PLACE_WORDS: dict[Place, str] = {
    "post": "posting, for each message",
    "send": "memory to wire, for each packet",
    "ingress": "wire to NIC, for each packet",
    "receive": "NIC to memory, for each packet",
    "notify": "telling the peer, for each message",
    "local": "between cards of one NIC, by the PCIe switch",
    "bridge": "between two cards of a pair, by their bridge",
    "signal": "beside the notice, for a put with signal",
}
_ONE_WAY: tuple[Place, ...] = ("post", "send", "ingress", "receive", "notify")
_STAGE_NUMBERS = (
    "latency",
    "occupancy",
    "occupancy_per_kib",
    "servers",
    "coalesce",
    "stall_interval",
    "wake_after",
)
_RELIABILITY_WORDS = {
    "selective": "selective retransmission",
    "go_back_n": "go-back-N",
    "unreliable": "no retransmission",
}


def one_way_ps(setup: NicSetup, size_bytes: int = SMALL_BYTES) -> int:
    """What the stages of an idle NIC and of its idle peer take for a message of one packet, the wire apart."""
    stages = [stage for place in _ONE_WAY for stage in setup.stages(place, size_bytes=size_bytes, op="put")]
    return sum(_idle_ps(stage, size_bytes) for stage in stages)


def _idle_ps(stage: Stage, size_bytes: int) -> int:
    per_kib = stage.occupancy_per_kib.number if stage.place != "ingress" else 0
    fixed = stage.latency.number + stage.occupancy.number + stage.coalesce.number
    return fixed + -(-size_bytes * per_kib // 1024)


def nic_text(written: NicProfile, setup: NicSetup, width: int) -> str:
    """What a NIC is as it is set, at most `width` columns where words allow it; `written` is its whole profile."""
    groups = list(_groups(setup))
    lines = [
        *textwrap.wrap(_summary(setup.profile), width),
        f"one way, {SMALL_BYTES} B, idle, without wire, jitter and stalls: {format_time(one_way_ps(setup))}",
        unverified_line(groups),
        *sourced_text(groups, width, {}),
        "",
        "settings",
        *_settings(written, setup, width),
    ]
    if setup.profile.notes:
        lines += ["", "notes", *(line for note in setup.profile.notes for line in _indented(note, width))]
    return "\n".join(lines)


def _summary(profile: NicProfile) -> str:
    """What kind of NIC it is."""
    order = ", in order" if profile.ordered else ""
    congestion = profile.congestion or "none"
    hop = "; all cards on one switch" if profile.single_hop else ""
    return (
        f"{profile.initiator}-initiated; header {profile.wire_format};"
        f" {_RELIABILITY_WORDS[profile.reliability]}{order}; congestion control {congestion};"
        f" operations {', '.join(profile.ops)}{hop}"
    )


def _groups(setup: NicSetup) -> Iterator[tuple[str, list[tuple[str, Sourced]]]]:
    """The numbers in use, under titles."""
    profile = setup.profile
    for place in PLACES:
        stages = setup.stages(place, size_bytes=SMALL_BYTES, op="put")
        if stages:
            yield f"{place}: {_PLACE_WORDS[place]}", [row for stage in stages for row in _stage_rows(stage)]
    yield "wire format", list(_wire_rows(profile))
    yield "reliability and flow control", list(_reliability_rows(setup))
    if profile.congestion:
        yield f"congestion control: {profile.congestion}", [*profile.congestions[profile.congestion].items()]


def _stage_rows(stage: Stage) -> Iterator[tuple[str, Sourced]]:
    """What a stage has; a table by its median and its end."""
    for name in _STAGE_NUMBERS:
        number = getattr(stage, name)
        if number.source != "none" and (number.number or name == "latency"):
            yield (
                f"{stage.name} {name}{', each card' if stage.per_card and name == 'latency' else ''}",
                number,
            )
    for name in ("jitter", "stall", "wake"):
        for ppm, ps in getattr(stage, name):
            yield f"{stage.name} {name}, {ppm.number / 10_000:g} %", ps


def _wire_rows(profile: NicProfile) -> Iterator[tuple[str, Sourced]]:
    for name in (
        "mtu_bytes",
        "first_header_bytes",
        "other_header_bytes",
        "ack_bytes",
        "data_class",
        "ack_class",
    ):
        yield name, getattr(profile, name)
    for group in ("framing", "batching"):
        part = getattr(profile, group)
        for name in part.__slots__ if part is not None else ():
            yield f"{group} {name}", getattr(part, name)
    for name in ("max_inline", "paths", "virtual_channels"):
        if getattr(profile, name) is not None:
            yield name, getattr(profile, name)


def _reliability_rows(setup: NicSetup) -> Iterator[tuple[str, Sourced]]:
    profile = setup.profile
    names = (
        "window_pkts",
        "ack_every_pkts",
        "ack_latency",
        "retransmission_timeout",
        "retry_limit",
        "tail_loss_probe",
        "reorder_window_pkts",
        "tx_depth_pkts",
        "tx_depth_bytes",
        "cnp_interval",
    )
    for name in names:
        number = getattr(profile, name)
        if number is not None and name not in setup.unused:
            yield name, number
    if profile.receives is not None:
        for name in profile.receives.__slots__:
            yield f"receives {name}", getattr(profile.receives, name)


def _settings(written: NicProfile, setup: NicSetup, width: int) -> Iterator[str]:
    """What can be set, and for choices what is and what each of them means."""
    plain = [key for key in setting_keys(written) if key not in written.choices]
    parts = [f"congestion={name}" for name in written.congestions]
    yield from _indented(", ".join(plain) + (f" ({', '.join(['off', *parts])})" if parts else ""), width)
    for key, choice in written.choices.items():
        values = "|".join(f"[{one}]" if one == setup.chosen[key] else one for one in choice.options)
        yield from _indented(f"{key}={values}: {choice.about}", width)


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")
