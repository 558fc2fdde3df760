"""Frames of every wire format: strategies that draw what a format can say, and one example of each kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from testbed.engine import _engine
from testbed.engine._engine import Frame, Op, Opcode, WireFormat
from tests.engine.stations import FRAME_FIELDS

TRAILER_BYTES = 40
FIRST, LAST, MARKED, CORRUPT = 1, 2, 4, 8
DATA, ANSWERS = (Opcode.DATA, Opcode.TRIMMED), (Opcode.ACK, Opcode.NACK)

THIN = (WireFormat.THIN, WireFormat.THIN_UDP)
SUE = (WireFormat.SUE, WireFormat.SUE_COMPRESSED)
IN_UDP = (WireFormat.THIN_UDP, WireFormat.ROCE_V2, WireFormat.UDP, WireFormat.UET, WireFormat.SUE)
IN_IP = (*IN_UDP, WireFormat.TCP)
TELLS_ASKED_BYTES = (WireFormat.TCP, WireFormat.UET, WireFormat.UALINK)
"""Formats with `message_bytes` in every data packet."""
FORMATS = tuple(one for one in WireFormat if one is not WireFormat.MAC_CONTROL)
FLIT_BYTES = 640

U16 = st.integers(0, 2**16 - 1)
U24 = st.integers(0, 2**24 - 1)
U32 = st.integers(0, 2**32 - 1)


def frame_of(**values: Any) -> Frame:
    frame = Frame()
    for name, value in values.items():
        setattr(frame, name, value)
    return frame


def whole(**values: Any) -> Frame:
    """A frame of the least length that holds it."""
    frame = frame_of(**values)
    frame.frame_bytes = _engine.least_frame_bytes(frame)
    return frame


def fields(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in FRAME_FIELDS}


def damaged(data: bytes, offset: int, flip: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :]


def most_payload(wire_format: WireFormat) -> int:
    """Bytes in a packet that a test draws; the thin header's length has 13 bits."""
    return 8192 if wire_format in THIN else 9000


@st.composite
def frames(draw: st.DrawFn, wire_format: WireFormat) -> Frame:
    """Any frame that a format can say, some longer than they need be."""
    values: dict[str, Any] = {"format": wire_format, "src": draw(U16), "dst": draw(U16)}
    values |= (
        {"dscp": draw(st.integers(0, 63))}
        if wire_format in IN_IP
        else {"traffic_class": draw(st.integers(0, 7))}
    )
    if wire_format in IN_IP:
        values["entropy"] = draw(U16)
    opcodes = [*DATA, *ANSWERS]
    if wire_format is WireFormat.ROCE_V2:
        opcodes += [Opcode.NOT_READY, Opcode.CNP]
    if wire_format is WireFormat.UALINK:
        opcodes.remove(Opcode.TRIMMED)
    values["opcode"] = opcode = draw(st.sampled_from(opcodes))
    values |= draw(data(wire_format, opcode) if opcode in DATA else answers(wire_format, opcode))
    frame = whole(**values)
    slack = draw(st.sampled_from([0, 0, 0, 1, 24]))
    frame.frame_bytes += slack * FLIT_BYTES if wire_format is WireFormat.UALINK and slack == 1 else 0
    frame.frame_bytes += slack if wire_format is not WireFormat.UALINK else 0
    return frame


@st.composite
def answers(draw: st.DrawFn, wire_format: WireFormat, opcode: Opcode) -> dict[str, Any]:
    values: dict[str, Any] = {"flags": draw(st.sampled_from([0, MARKED]))}
    if opcode is Opcode.CNP:
        return values
    values |= {"psn": draw(U24), "msn": draw(U16), "op": draw(st.sampled_from([Op.PUT, Op.GET_RESPONSE]))}
    if opcode is Opcode.NOT_READY:
        return values | {"credit": draw(st.integers(0, 31))}
    if wire_format is WireFormat.ROCE_V2:
        return values
    values |= {"credit": draw(U16), "index": draw(U16), "message_bytes": draw(U24)}
    return values if wire_format in SUE else values | {"ack_bits": draw(st.integers(0, 2**64 - 1))}


@st.composite
def data(draw: st.DrawFn, wire_format: WireFormat, opcode: Opcode) -> dict[str, Any]:
    flags = draw(st.integers(0, 7))
    op = draw(st.sampled_from(ops(wire_format, opcode, flags)))
    values: dict[str, Any] = {"flags": flags, "op": op, "psn": draw(U24)}
    if op is not Op.GET_REQUEST:
        least = 0 if opcode is Opcode.TRIMMED else 1
        values["payload_bytes"] = draw(st.integers(least, most_payload(wire_format)))
        if flags & 3 == FIRST | LAST and wire_format is not WireFormat.ROCE_V2 and draw(st.booleans()):
            each, count = draw(st.integers(least, 100)), draw(st.integers(1, 40))
            values |= {"payload_bytes": each * count, "credit": count}
    if tells_message_bytes(wire_format, op, flags):
        values["message_bytes"] = draw(U32)
    if wire_format is WireFormat.ROCE_V2:
        told = (op is Op.GET_RESPONSE and flags & 3) or (op is Op.PUT_SIGNAL and flags & LAST)
        return values | ({"msn": draw(U16)} if told else {})
    values["msn"] = draw(U16)
    if not flags & LAST and not (wire_format is WireFormat.UET and flags & FIRST):
        values["index"] = draw(st.integers(0, 2**15 - 1) if wire_format in THIN else U16)
    return values


def ops(wire_format: WireFormat, opcode: Opcode, flags: int) -> list[Op]:
    """What a packet at this place of its message can say that it is of."""
    if wire_format in THIN and not flags & LAST:
        return [Op.PUT, Op.GET_RESPONSE]
    found = [Op.PUT, Op.SEND, Op.GET_RESPONSE]
    if wire_format is not WireFormat.ROCE_V2 or flags & LAST:
        found.append(Op.PUT_SIGNAL)
    if opcode is Opcode.DATA and flags & 3 == FIRST | LAST:
        found.append(Op.GET_REQUEST)
    return found


def tells_message_bytes(wire_format: WireFormat, op: Op, flags: int) -> bool:
    """Whether the data packet says how long its message is, or where it is in the stream."""
    if op is Op.GET_REQUEST or wire_format in TELLS_ASKED_BYTES:
        return True
    return wire_format is WireFormat.ROCE_V2 and bool(flags & FIRST) and op in (Op.PUT, Op.PUT_SIGNAL)


@st.composite
def control_frames(draw: st.DrawFn) -> Frame:
    return control(
        draw(st.sampled_from([Opcode.PAUSE, Opcode.CREDIT])),
        {number: draw(U16) for number in draw(st.sets(st.integers(0, 7)))},
    )


def control(opcode: Opcode, words: dict[int, int]) -> Frame:
    """A MAC control frame with a 16-bit word for each class that it names."""

    def packed(classes: range) -> int:
        return sum(words.get(number, 0) << 16 * place for place, number in enumerate(classes))

    return frame_of(
        format=WireFormat.MAC_CONTROL,
        opcode=opcode,
        frame_bytes=64,
        src=0xFFFF,
        dst=0xFFFF,
        credit=sum(1 << number for number in words),
        ack_bits=packed(range(4)),
        psn=packed(range(4, 6)),
        message_bytes=packed(range(6, 8)),
    )


FRAMES = st.one_of(control_frames(), *(frames(one) for one in FORMATS))


def example_kinds(wire_format: WireFormat) -> dict[str, Frame]:
    """One frame of each kind that a format has, by name."""
    base: dict[str, Any] = {"format": wire_format, "src": 3, "dst": 7, "psn": 0x123456, "traffic_class": 3}
    base |= {"entropy": 0xC123} if wire_format in IN_IP else {}
    roce = wire_format is WireFormat.ROCE_V2
    found: dict[str, Frame] = {}
    places = {"middle": 0, "first": FIRST, "last": LAST, "only": FIRST | LAST}
    for place, flags in places.items():
        for op in ops(wire_format, Opcode.DATA, flags):
            values = base | {"op": op, "flags": flags}
            if op is not Op.GET_REQUEST:
                values["payload_bytes"] = 101
            if tells_message_bytes(wire_format, op, flags):
                values["message_bytes"] = 5000
            if not roce:
                values |= {"msn": 5}
                values |= {"index": 9} if not flags else {}
            found[f"{op.name}_{place}"] = whole(**values)
    if not roce:
        batch = base | {"flags": FIRST | LAST, "payload_bytes": 192, "credit": 3, "msn": 6}
        found["batch"] = whole(**batch)
    if wire_format is not WireFormat.UALINK:
        found["trimmed"] = whole(**base, opcode=Opcode.TRIMMED, flags=FIRST | MARKED, payload_bytes=38)
    for opcode in ANSWERS:
        values = base | {"opcode": opcode, "msn": 0x3457, "op": Op.GET_RESPONSE}
        if not roce:
            values |= {"credit": 64, "message_bytes": 4096, "index": 1 if opcode is Opcode.NACK else 0}
        if not roce and wire_format not in SUE:
            values["ack_bits"] = 0x8000000000000001
        found[opcode.name] = whole(**values)
    if roce:
        found["NOT_READY"] = whole(**base, opcode=Opcode.NOT_READY, msn=4, credit=14)
        found["CNP"] = whole(**base | {"opcode": Opcode.CNP, "psn": 0, "dscp": 48})
    return found
