"""Frames as bytes: what is written is read back, and damage is seen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.engine import _engine
from testbed.engine._engine import Frame, Op, Opcode, WireFormat
from tests.engine.frames import (
    CORRUPT,
    FIRST,
    FORMATS,
    FRAMES,
    LAST,
    TRAILER_BYTES,
    control,
    damaged,
    fields,
    frame_of,
    whole,
)

SNAPS = st.sampled_from([0, 1, 64, 1000, 2**32 - 1])


def example_frames() -> list[Frame]:
    base = {"src": 3, "dst": 7, "psn": 0x123456, "traffic_class": 3}
    ack = base | {"opcode": Opcode.NACK, "ack_bits": 0x8000000000000001, "credit": 64}
    roce = base | {"format": WireFormat.ROCE_V2, "entropy": 0xC123, "dscp": 26}
    return [
        frame_of(**base, payload_bytes=100, frame_bytes=126, flags=FIRST | LAST, msn=5),
        frame_of(**ack, frame_bytes=64),
        frame_of(**roce, payload_bytes=101, frame_bytes=78 + 104, message_bytes=5000, flags=FIRST),
        frame_of(**roce, opcode=Opcode.ACK, msn=9, frame_bytes=66),
        control(Opcode.PAUSE, {3: 0xFFFF, 4: 0}),
        frame_of(**base, opcode=Opcode.TRIMMED, payload_bytes=38, frame_bytes=64, flags=FIRST),
        frame_of(**roce, opcode=Opcode.TRIMMED, payload_bytes=50, frame_bytes=128, message_bytes=9, flags=3),
    ]


@given(FRAMES, SNAPS, st.integers(0, 2**62), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=500, deadline=None)
def test_frame_encoded_and_decoded_is_the_same(
    frame: Frame, snap: int, first_bit_ps: int, link_seq: int, byte_time_ps: int
) -> None:
    kind, read, about = _engine.decode(_engine.encode(frame, snap, first_bit_ps, link_seq, byte_time_ps))
    assert kind == "frame"
    assert read is not None
    assert fields(read) == fields(frame)
    assert about == {
        "first_bit_ps": first_bit_ps,
        "link_seq": link_seq,
        "byte_time_ps": byte_time_ps,
        "intact": True,
    }


@given(FRAMES, SNAPS)
@settings(max_examples=200, deadline=None)
def test_frame_on_veth_has_its_length_less_fcs_and_what_snap_cuts(frame: Frame, snap: int) -> None:
    cut = max(0, frame.payload_bytes - snap)
    shown = frame.frame_bytes - 4 + (14 if frame.format is WireFormat.SUE_COMPRESSED else 0)
    if frame.format is WireFormat.UALINK:  # a descriptor in the place of flits
        shown = 14 + (20 if frame.opcode is Opcode.DATA else 28) + frame.payload_bytes
    assert len(_engine.encode(frame, snap)) == max(60, shown - cut) + TRAILER_BYTES


@pytest.mark.parametrize("place", range(7))
def test_trailer_with_any_byte_damaged_is_no_frame(place: int) -> None:
    data = _engine.encode(example_frames()[place], 2**32 - 1, 123_456_789, 42)
    for offset in range(len(data) - TRAILER_BYTES, len(data)):
        for flip in (1, 0x80, 0xFF):
            assert _engine.decode(damaged(data, offset, flip))[0] != "frame", offset


@pytest.mark.parametrize("place", [0, 2])
def test_payload_with_any_byte_damaged_is_not_intact(place: int) -> None:
    frame = example_frames()[place]
    data = _engine.encode(frame)
    header = 22 if frame.format is WireFormat.THIN else 70
    for offset in range(header, header + frame.payload_bytes):
        kind, _, about = _engine.decode(damaged(data, offset, 1 << (offset % 8)))
        assert kind == "frame"
        assert about is not None
        assert not about["intact"], offset


@pytest.mark.parametrize("place", [0, 2])
def test_packet_with_another_identity_is_not_intact(place: int) -> None:
    frame = example_frames()[place]
    data = _engine.encode(frame)
    psn = 15 if frame.format is WireFormat.THIN else 14 + 20 + 8 + 9
    for offset in (4, 5, 10, 11, psn, psn + 1, psn + 2):  # destination, source, sequence number
        kind, _, about = _engine.decode(damaged(data, offset, 1))
        assert kind == "damaged" or (about is not None and not about["intact"]), offset


@given(st.binary(max_size=300))
@example(b"")
@settings(max_examples=200, deadline=None)
def test_foreign_bytes_are_foreign(data: bytes) -> None:
    assert _engine.decode(data) == ("foreign", None, None)


@pytest.mark.parametrize("place", range(7))
def test_frame_cut_anywhere_is_no_frame(place: int) -> None:
    data = _engine.encode(example_frames()[place])
    assert {_engine.decode(data[:size])[0] for size in range(len(data))} == {"foreign"}


@given(FRAMES, st.binary(min_size=60, max_size=200))
@settings(max_examples=200, deadline=None)
def test_trailer_behind_other_bytes_is_never_intact_data_of_another(frame: Frame, other: bytes) -> None:
    kind, read, about = _engine.decode(other + _engine.encode(frame)[-TRAILER_BYTES:])
    if kind == "frame" and read is not None and about is not None and read.opcode is Opcode.DATA:
        assert not about["intact"]


@pytest.mark.parametrize("field", ["frame_bytes", "payload_bytes"])
def test_encode_frame_that_cannot_hold_its_payload_is_refused(field: str) -> None:
    frame = example_frames()[0]
    setattr(frame, field, 60 if field == "frame_bytes" else 9000)
    with pytest.raises(ValueError, match="frame"):
        _engine.encode(frame)


def test_encode_frame_never_filled_is_refused() -> None:
    with pytest.raises(ValueError, match="frame"):
        _engine.encode(Frame())


@given(FRAMES)
@settings(max_examples=100, deadline=None)
def test_damage_on_a_wire_travels_in_the_trailer_alone(frame: Frame) -> None:
    whole = _engine.encode(frame)
    frame.flags |= CORRUPT
    data = _engine.encode(frame)
    assert data[:-TRAILER_BYTES] == whole[:-TRAILER_BYTES]
    kind, read, about = _engine.decode(data)
    assert (kind, about and about["intact"]) == ("frame", True)
    assert read is not None
    assert read.flags == frame.flags


# ---------------------------------------------------------------------------- what a format cannot say


@pytest.mark.parametrize("wire_format", FORMATS)
def test_format_least_frame_is_that_of_its_least_bytes(wire_format: WireFormat) -> None:
    first, other, ack = _engine.least_bytes(wire_format)
    data = {"format": wire_format, "payload_bytes": 600}
    padding = 0 if wire_format is not WireFormat.UALINK else 620 - 600
    assert whole(**data, flags=FIRST).frame_bytes == 600 + first + padding
    assert whole(**data).frame_bytes == 600 + other + padding
    assert whole(format=wire_format, opcode=Opcode.ACK).frame_bytes == ack


@pytest.mark.parametrize(
    ("wire_format", "first", "ack"),
    [
        (WireFormat.THIN, 26, 64),
        (WireFormat.THIN_UDP, 14 + 20 + 8 + 8 + 4, 14 + 20 + 8 + 22 + 4),
        (WireFormat.ROCE_V2, 14 + 20 + 8 + 12 + 16 + 4 + 4, 14 + 20 + 8 + 12 + 4 + 4 + 4),
        (WireFormat.TCP, 14 + 20 + 20 + 12 + 4, 14 + 20 + 20 + 36 + 4),
        (WireFormat.UDP, 14 + 20 + 8 + 12 + 4, 14 + 20 + 8 + 22 + 4),
        (WireFormat.UET, 14 + 20 + 8 + 12 + 44 + 4, 14 + 20 + 8 + 32 + 4),
        (WireFormat.SUE, 14 + 20 + 8 + 8 + 4, 64),
        (WireFormat.SUE_COMPRESSED, 16, 64),
        (WireFormat.UALINK, 0, 640 - 20),
    ],
)
def test_format_header_bytes_are_the_documented_ones(wire_format: WireFormat, first: int, ack: int) -> None:
    assert _engine.least_bytes(wire_format)[::2] == (first, ack)


@pytest.mark.parametrize("wire_format", [one for one in FORMATS if one is not WireFormat.ROCE_V2])
@pytest.mark.parametrize("opcode", [Opcode.CNP, Opcode.NOT_READY, Opcode.PAUSE])
def test_notification_of_roce_in_another_format_is_refused(wire_format: WireFormat, opcode: Opcode) -> None:
    with pytest.raises(ValueError, match="cannot say"):
        _engine.encode(frame_of(format=wire_format, opcode=opcode, frame_bytes=620))


THIN_PUT: dict[str, Any] = {"payload_bytes": 96, "flags": FIRST | LAST}
UNSAYABLE: dict[str, dict[str, Any]] = {
    "no payload": THIN_PUT | {"payload_bytes": 0},
    "payload beyond 13 bits": THIN_PUT | {"payload_bytes": 8193},
    "batch that does not divide": THIN_PUT | {"credit": 5},
    "batch in a middle packet": THIN_PUT | {"flags": 0, "credit": 2},
    "batch of RoCEv2": THIN_PUT | {"format": WireFormat.ROCE_V2, "credit": 2},
    "request with payload": THIN_PUT | {"op": Op.GET_REQUEST},
    "request in two packets": {"op": Op.GET_REQUEST, "flags": FIRST},
    "index beyond 15 bits": THIN_PUT | {"flags": FIRST, "index": 2**15},
    "acknowledgement of a send": {"opcode": Opcode.ACK, "op": Op.SEND},
    "acknowledgement of 25 bits": {"opcode": Opcode.ACK, "message_bytes": 2**24},
    "cut packet of UALink": {"opcode": Opcode.TRIMMED, "format": WireFormat.UALINK},
    "PSN of 25 bits": THIN_PUT | {"psn": 2**24},
}


@pytest.mark.parametrize("name", UNSAYABLE)
def test_encode_of_what_a_format_cannot_say_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot say"):
        _engine.encode(whole(**UNSAYABLE[name]))


def test_ualink_frame_of_part_of_a_flit_is_refused() -> None:
    frame = whole(format=WireFormat.UALINK, payload_bytes=64, flags=FIRST | LAST)
    assert (frame.frame_bytes + 20) % 640 == 0
    frame.frame_bytes += 1
    with pytest.raises(ValueError, match="cannot say"):
        _engine.encode(frame)
