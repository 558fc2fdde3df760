"""What switches sample: the frame's own first bytes, where it came from and goes to, and how well samples estimate."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from testbed.analysis.inband import INT_DTYPE
from testbed.analysis.sflow import FLOW_DTYPE, NO_EGRESS
from testbed.engine import _engine
from testbed.engine._engine import Frame, WireFormat
from testbed.validate.plans import (
    FOREVER_PS,
    Wire,
    card,
    chain,
    finished,
    leaf_spine,
    one_message,
    poisson,
    records_of,
)
from tests.engine.frames import FORMATS, TRAILER_BYTES, example_kinds
from tests.engine.stations import FIRST_ENDPOINT, Station, bench, data_frame

HEADER_BYTES = 128
THIN_HEADER = 26
"""Bytes around the payload of a thin frame, FCS included."""


def samples_of(twin: _engine.Twin) -> npt.NDArray[np.void]:
    return np.frombuffer(twin.flow_samples(), FLOW_DTYPE)


def header_of(sample: np.void) -> bytes:
    return bytes(sample["header"])[: int(sample["header_bytes"])]


def to_second(frame: Frame) -> Frame:
    frame.src, frame.dst = FIRST_ENDPOINT, FIRST_ENDPOINT + 1
    return frame


@pytest.mark.parametrize("wire_format", FORMATS, ids=lambda one: one.name)
def test_header_of_a_sample_is_that_of_the_frame(wire_format: WireFormat) -> None:
    frames = [to_second(frame) for frame in example_kinds(wire_format).values()]
    whole = [_engine.encode(frame)[:-TRAILER_BYTES] for frame in frames]
    sends = [(number * 10**6, frame) for number, frame in enumerate(frames)]
    twin = bench([Station(sends=sends), Station()], sflow_interval=1)
    twin.run(FOREVER_PS)
    samples = samples_of(twin)
    assert [header_of(sample) for sample in samples] == [data[:HEADER_BYTES] for data in whole]
    assert samples["frame_bytes"].tolist() == [frame.frame_bytes for frame in frames]
    assert {*samples["ingress_port"].tolist(), *samples["egress_port"].tolist()} == {1, 2}
    assert any(len(data) > HEADER_BYTES for data in whole) or wire_format is WireFormat.UALINK


def test_header_of_a_frame_with_telemetry_has_the_hops_before_this_switch() -> None:
    data = chain(
        card(one_message(1, 1000), int_enabled=True), card(), [Wire()] * 4, int_enabled=True, sflow_interval=1
    )
    twin = finished(data)
    hops = np.frombuffer(twin.int_samples(), INT_DTYPE)
    sampled = [sample for sample in samples_of(twin) if int(sample["payload_bytes"]) == 1000]
    assert len(sampled) == len(hops) == 3
    for place, sample in enumerate(sampled):
        header = header_of(sample)
        assert header[12:18] == bytes([0x88, 0xB6, 1, place, 8 - place, 4])
        assert int(sample["frame_bytes"]) == 1000 + THIN_HEADER + 4 + 16 * place
        for number in range(place):
            at = 18 + 16 * number
            assert int.from_bytes(header[at : at + 4], "big") == int(hops["switch"][number])
            assert int.from_bytes(header[at + 8 : at + 12], "big") == int(hops["latency_ns"][number])


def test_frame_without_a_route_has_no_egress_and_leaves_the_others_theirs() -> None:
    lost, sent = data_frame(0, 1), data_frame(0, 1)
    lost.dst = 0  # the pacemaker, which no rule names
    twin = bench([Station(sends=[(0, sent), (10**6, lost), (2 * 10**6, sent)]), Station()], sflow_interval=1)
    twin.run(FOREVER_PS)
    assert samples_of(twin)["egress_port"].tolist() == [2, NO_EGRESS, 2]
    assert twin.counters()["hub"]["no_route_discards"] == 1


def test_samples_estimate_the_bytes_of_each_pair_within_the_standard_error() -> None:
    """196 sqrt(1 / c) % with c samples, 19 times of 20 (Phaal and Panchen, Packet Sampling Basics, sflow.org)."""
    payload, interval = 1000, 20
    loads = [
        poisson([(n + 1) % 6, (n + 2) % 6], payload, interval_ps=10**6, until_ps=6 * 10**9) for n in range(6)
    ]
    data: dict[str, Any] = leaf_spine(
        [card(load) for load in loads], leaves=2, spines=2, sflow_interval=interval
    )
    twin = finished(data)
    records, samples = records_of(twin), samples_of(twin)
    assert records["retransmits"].sum() == 0
    links = {(b, b_port) for a, _, b, b_port, *_ in data["links"] if a < len(loads)}
    first = [(int(one["switch"]), int(one["ingress_port"])) in links for one in samples]
    at_source = samples[np.array(first) & (samples["payload_bytes"] == payload)]
    truth = Counter(zip(records["src"].tolist(), records["dst"].tolist(), strict=True))
    found = Counter(zip(at_source["src"].tolist(), at_source["dst"].tolist(), strict=True))
    assert len(truth) == len(found) == 12
    outside = 0
    for pair, messages in truth.items():
        wire_bytes = messages * (payload + THIN_HEADER)
        estimate = found[pair] * interval * (payload + THIN_HEADER)
        outside += abs(estimate - wire_bytes) * 100 > 196 * found[pair] ** -0.5 * wire_bytes
    assert min(found.values()) > 80
    assert outside <= 2  # of 12, each with a probability of 1 in 20 or less
    whole = sum(found.values())
    assert abs(whole * interval / sum(truth.values()) - 1) <= 1.96 * whole**-0.5
    assert set(samples["switch"].tolist()) <= {*range(6, 6 + 4)}
