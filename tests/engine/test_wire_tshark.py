"""Frames of every format as Wireshark and scapy read them, neither of which shares code with the testbed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.roce import BTH
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from testbed.engine import _engine
from testbed.engine._engine import Frame, Op, Opcode, WireFormat
from tests.engine.frames import (
    DATA,
    FIRST,
    FORMATS,
    IN_IP,
    LAST,
    THIN,
    TRAILER_BYTES,
    control,
    example_kinds,
    fields,
    frames,
    whole,
)

DISSECTOR = Path(__file__).parents[2] / "testbed" / "engine" / "wireshark" / "tnic.lua"
SEVERITY_WARN, SEVERITY_ERROR = 0x600000, 0x800000
"""As Wireshark's epan/proto.h has them."""
tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed: tools/setup.sh packages installs it"
)


def write_capture(path: Path, packets: list[bytes]) -> None:
    """A pcap of Ethernet, 1 ms between packets."""
    records = [
        struct.pack("<4I", number // 1000, number % 1000 * 1000, len(data), len(data)) + data
        for number, data in enumerate(packets)
    ]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    path.write_bytes(head + b"".join(records))


def read_capture(path: Path, names: list[str]) -> list[dict[str, list[str]]]:
    """The values of named fields, for each packet."""
    command = ["tshark", "-n", "-X", f"lua_script:{DISSECTOR}", "-r", str(path), "-T", "json"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "lua" not in done.stderr.lower(), done.stderr
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def all_frames() -> dict[str, Frame]:
    """Each kind of each format."""
    found = {f"{one.name} {kind}": frame for one in FORMATS for kind, frame in example_kinds(one).items()}
    for opcode in (Opcode.PAUSE, Opcode.CREDIT):
        found[f"MAC_CONTROL {opcode.name}"] = control(opcode, {0: 1, 3: 0xFFFF})
    return found


def with_telemetry(hops: int) -> bytes:
    """A thin packet with this much telemetry, trailer and all; the engine's decoder confirms it."""
    frame = example_kinds(WireFormat.THIN)["PUT_only"]
    grown = 4 + 16 * hops
    frame.frame_bytes += grown
    data = _engine.encode(frame)
    stack = bytes([1, hops, 8 - hops, 4]) + struct.pack(">IHHII", 9, 1, 2, 800, 3 << 24 | 10) * hops
    inner = data[:-TRAILER_BYTES]
    built = inner[:12] + b"\x88\xb6" + stack + inner[14 : len(inner) - grown] + data[-TRAILER_BYTES:]
    assert _engine.decode(built)[0] == "frame"
    return built


@tshark
@pytest.mark.parametrize("with_trailer", [False, True])
def test_capture_of_every_kind_tshark_finds_nothing_wrong(tmp_path: Path, with_trailer: bool) -> None:
    kinds = {name: _engine.encode(frame) for name, frame in all_frames().items()}
    kinds |= {f"telemetry {hops}": with_telemetry(hops) for hops in (0, 3, 8)}
    path = tmp_path / "kinds.pcap"
    write_capture(path, [data if with_trailer else data[:-TRAILER_BYTES] for data in kinds.values()])
    names = ["_ws.malformed", "_ws.expert.severity", "_ws.expert.message", "tnic_trailer.link_seq"]
    packets = read_capture(path, names)
    assert len(packets) == len(kinds)
    for name, layers in zip(kinds, packets, strict=True):
        assert "_ws.malformed" not in layers, name
        worst = max((int(one, 0) for one in layers.get("_ws.expert.severity", [])), default=0)
        assert worst < SEVERITY_ERROR, (name, layers)
        assert ("tnic_trailer.link_seq" in layers) == with_trailer, name


@tshark
def test_capture_of_a_bad_length_tshark_finds_it_wrong(tmp_path: Path) -> None:
    data = bytearray(_engine.encode(example_kinds(WireFormat.TCP)["PUT_only"])[:-TRAILER_BYTES])
    data[14 + 2] ^= 0x40  # the length of the datagram
    write_capture(tmp_path / "bad.pcap", [bytes(data)])
    (layers,) = read_capture(tmp_path / "bad.pcap", ["_ws.expert.severity"])
    assert max(int(one, 0) for one in layers["_ws.expert.severity"]) >= SEVERITY_ERROR


@tshark
def test_roce_fields_in_tshark_are_those_of_the_frame(tmp_path: Path) -> None:
    kinds = example_kinds(WireFormat.ROCE_V2)
    path = tmp_path / "roce.pcap"
    write_capture(path, [_engine.encode(frame)[:-TRAILER_BYTES] for frame in kinds.values()])
    names = ("bth.opcode", "bth.psn", "bth.destqp", "bth.padcnt", "bth.a", "reth.dmalen", "aeth.msn", "immdt")
    packets = read_capture(
        path, [f"infiniband.{name}" for name in names] + ["udp.srcport", "ip.dsfield.dscp"]
    )
    for (kind, frame), layers in zip(kinds.items(), packets, strict=True):
        shown = {name: int(layers[name][0], 0) for name in layers if layers[name][0] not in ("True", "False")}
        psn = (frame.psn - 1) % 2**24 if frame.opcode is Opcode.ACK else frame.psn
        assert shown["infiniband.bth.psn"] == psn, kind
        pair = 0x10 + frame.src + (0x100000 if frame.op is Op.GET_RESPONSE else 0)
        assert shown["infiniband.bth.destqp"] == pair, kind
        assert (shown["udp.srcport"], shown["ip.dsfield.dscp"]) == (frame.entropy, frame.dscp), kind
        if frame.opcode in DATA:
            assert shown["infiniband.bth.padcnt"] == -frame.payload_bytes % 4, kind
        if frame.message_bytes:
            assert shown["infiniband.reth.dmalen"] == frame.message_bytes, kind
        if "infiniband.aeth.msn" in shown:
            assert shown["infiniband.aeth.msn"] == frame.msn, kind
        if frame.op is Op.PUT_SIGNAL:
            assert shown["infiniband.immdt"] == frame.msn, kind
    opcodes = [int(layers["infiniband.bth.opcode"][0], 0) for layers in packets]
    assert set(opcodes) == {*range(0x11 + 1), 0x81} - {0x03, 0x05}  # SEND with immediate is not in use


@tshark
def test_own_formats_in_tshark_have_the_frame_fields(tmp_path: Path) -> None:
    """The dissector was written from docs/wire-format.md, and agrees with the codec."""
    kinds = [frame for one in (*THIN, WireFormat.UALINK) for frame in example_kinds(one).values()]
    path = tmp_path / "own.pcap"
    write_capture(path, [_engine.encode(frame)[:-TRAILER_BYTES] for frame in kinds])
    names = ("psn", "first", "class", "credit", "msn", "bitmap")
    packets = read_capture(
        path,
        [f"{proto}.{name}" for proto in ("tnic", "tnic_ualink") for name in names]
        + ["tnic.length", "tnic.batch.bytes", "tnic_ualink.payload_bytes", "tnic_ualink.flits"],
    )
    for frame, layers in zip(kinds, packets, strict=True):
        proto = "tnic" if frame.format in THIN else "tnic_ualink"
        about = (fields(frame), layers)
        assert int(layers[f"{proto}.psn"][0]) == frame.psn, about
        assert int(layers[f"{proto}.class"][0]) == frame.traffic_class, about
        if frame.opcode in DATA:
            assert int(layers[f"{proto}.first"][0] in ("1", "True")) == frame.flags & FIRST, about
            assert int(layers[f"{proto}.msn"][0]) == frame.msn, about
        else:
            assert int(layers[f"{proto}.credit"][0]) == frame.credit, about
            assert int(layers[f"{proto}.bitmap"][0], 0) == frame.ack_bits, about
        if proto == "tnic" and frame.opcode in DATA and frame.flags & LAST:
            assert int(layers["tnic.length"][0]) == frame.payload_bytes, about
        if proto == "tnic" and frame.credit and frame.opcode in DATA:
            assert [int(one) for one in layers["tnic.batch.bytes"]] == [64] * 3
        if proto == "tnic_ualink":
            assert int(layers["tnic_ualink.payload_bytes"][0]) == frame.payload_bytes, about
            assert int(layers["tnic_ualink.flits"][0]) == (frame.frame_bytes + 20) // 640, about


@tshark
def test_sue_in_tshark_has_the_frame_fields(tmp_path: Path) -> None:
    kinds = [
        frame for one in (WireFormat.SUE, WireFormat.SUE_COMPRESSED) for frame in example_kinds(one).values()
    ]
    path = tmp_path / "sue.pcap"
    write_capture(path, [_engine.encode(frame)[:-TRAILER_BYTES] for frame in kinds])
    names = ("npsn", "apsn", "psn_high", "op", "vc", "xpuid", "asks", "alone")
    packets = read_capture(path, [f"tnic_sue.{name}" for name in names])
    for frame, layers in zip(kinds, packets, strict=True):
        shown = {name: layers[f"tnic_sue.{name}"][0] for name in names}
        low = "npsn" if frame.opcode in DATA else "apsn"
        psn = int(shown["psn_high"]) << 16 | int(shown[low])
        assert psn == (frame.psn - 1 if frame.opcode is Opcode.ACK else frame.psn)
        assert int(shown["op"]) == (1 if frame.opcode is Opcode.NACK else 0)
        assert (int(shown["xpuid"]), int(shown["vc"])) == (frame.src, frame.traffic_class & 3)
        assert int(shown["asks"]) == frame.op.value
        assert (shown["alone"] in ("1", "True")) == (frame.opcode not in DATA)


@tshark
def test_sockets_and_uet_in_tshark_have_the_frame_fields(tmp_path: Path) -> None:
    protos = {WireFormat.UDP: "tnic_udp", WireFormat.UET: "tnic_uet"}
    kinds = [frame for one in protos for frame in example_kinds(one).values()]
    path = tmp_path / "in_udp.pcap"
    write_capture(path, [_engine.encode(frame)[:-TRAILER_BYTES] for frame in kinds])
    names = (
        "psn",
        "first",
        "last",
        "msn",
        "index",
        "messages",
        "credit",
        "marked_bytes",
        "bitmap",
        "payload_bytes",
    )
    packets = read_capture(
        path,
        [f"{proto}.{name}" for proto in protos.values() for name in names]
        + [
            "tnic_udp.opcode",
            "tnic_udp.cause",
            "tnic_udp.op",
            "tnic_uet.type",
            "tnic_uet.opcode",
            "tnic_uet.cut",
        ]
        + ["tnic_uet.source", "tnic_uet.destination", "tnic_uet.request_bytes", "tnic_uet.ack_psn_offset"]
        + ["tnic_uet.cause", "tnic_uet.cut_packet", "tnic_udp.cut"],
    )
    for frame, layers in zip(kinds, packets, strict=True):
        proto = protos[frame.format]
        shown = {name.removeprefix(f"{proto}."): values[0] for name, values in layers.items()}
        numbers = {name: int(text, 0) for name, text in shown.items() if text not in ("True", "False")}
        about = (fields(frame), layers)
        uet, is_ack = frame.format is WireFormat.UET, frame.opcode is Opcode.ACK
        assert numbers["psn"] == frame.psn - (1 if uet and is_ack else 0), about
        if uet:
            assert (numbers["source"], numbers["destination"]) == (frame.src, frame.dst), about
            assert numbers["type"] == {Opcode.ACK: 8, Opcode.NACK: 12}.get(frame.opcode, 2), about
        else:
            assert numbers["opcode"] == frame.opcode.value, about
        if frame.opcode in DATA:
            assert numbers["msn"] == frame.msn, about
            assert (shown["first"] in ("1", "True")) == bool(frame.flags & FIRST), about
            assert (shown["last"] in ("1", "True")) == bool(frame.flags & LAST), about
            if frame.flags & 3 == FIRST | LAST:
                assert numbers["messages"] == frame.credit, about
            elif not frame.flags & FIRST and not frame.flags & LAST:
                assert numbers["index"] == frame.index, about
            if uet:
                assert numbers["request_bytes"] == frame.message_bytes, about
                assert (shown["cut"] in ("1", "True")) == (frame.opcode is Opcode.TRIMMED), about
                codes = {Op.SEND: 5, Op.GET_REQUEST: 2, Op.GET_RESPONSE: 0x30}
                assert numbers["opcode"] == codes.get(frame.op, 1), about
            elif frame.op is not Op.GET_REQUEST:
                assert numbers["payload_bytes"] == frame.payload_bytes, about
        else:
            assert (numbers["credit"], numbers["marked_bytes"]) == (frame.credit, frame.message_bytes), about
            assert numbers["bitmap"] == frame.ack_bits, about
            if uet and is_ack:
                assert numbers["psn"] + numbers["ack_psn_offset"] & 0xFFFF == frame.msn, about
            else:
                assert numbers["cause"] == frame.msn, about
                assert numbers["cut_packet" if uet else "cut"] == frame.index, about


@tshark
def test_credits_in_tshark_have_each_class(tmp_path: Path) -> None:
    words = {0: 1, 3: 0xFFFF, 7: 640}
    sent = [control(Opcode.CREDIT, words), control(Opcode.PAUSE, words)]
    write_capture(tmp_path / "credits.pcap", [_engine.encode(frame) for frame in sent])
    credit, pause = read_capture(
        tmp_path / "credits.pcap", ["tnic_credit.class", "tnic_credit.cells", "tnic_trailer.link_seq"]
    )
    assert credit["tnic_credit.class"] == [str(number) for number in words]
    assert credit["tnic_credit.cells"] == [str(cells) for cells in words.values()]
    assert "tnic_credit.class" not in pause
    assert "tnic_trailer.link_seq" in pause


@tshark
def test_telemetry_in_tshark_has_its_hops_and_the_thin_header(tmp_path: Path) -> None:
    write_capture(tmp_path / "int.pcap", [with_telemetry(3)])
    names = ["tnic_int.hops", "tnic_int.room", "tnic_int.node", "tnic_int.latency_ns", "tnic_int.class"]
    names += ["tnic_int.queue", "tnic.psn", "tnic_trailer.frame_bytes"]
    (layers,) = read_capture(tmp_path / "int.pcap", names)
    assert [layers[name] for name in names[:3]] == [["3"], ["5"], ["9"] * 3]
    assert [layers[name] for name in names[3:6]] == [["800"] * 3, ["3"] * 3, ["10"] * 3]
    assert layers["tnic.psn"] == [str(0x123456)]
    assert layers["tnic_trailer.frame_bytes"] == [str(26 + 101 + 4 + 3 * 16)]


def conversation(messages: int) -> list[Frame]:
    """Segments of a TCP stream, each acknowledged."""
    found: list[Frame] = []
    base: dict[str, Any] = {"format": WireFormat.TCP, "entropy": 0xC123, "traffic_class": 3}
    for psn in range(messages):
        segment = base | {"src": 3, "dst": 7, "psn": psn, "msn": psn, "flags": FIRST | LAST}
        found.append(whole(**segment, payload_bytes=1000, message_bytes=1 + 1000 * psn))
        answer = base | {"src": 7, "dst": 3, "psn": psn + 1, "msn": psn, "opcode": Opcode.ACK}
        found.append(whole(**answer, credit=0xFFFF))
    return found


@tshark
def test_tcp_stream_tshark_sees_no_loss_and_no_warning(tmp_path: Path) -> None:
    frames_sent = conversation(20)
    path = tmp_path / "tcp.pcap"
    write_capture(path, [_engine.encode(frame)[:-TRAILER_BYTES] for frame in frames_sent])
    names = [
        "_ws.expert.severity",
        "_ws.expert.message",
        "tcp.len",
        "tcp.options.timestamp.tsval",
        "tcp.stream",
    ]
    packets = read_capture(path, names)
    for frame, layers in zip(frames_sent, packets, strict=True):
        severities = [int(one, 0) for one in layers.get("_ws.expert.severity", [])]
        assert max(severities, default=0) < SEVERITY_WARN, layers
        assert layers["tcp.len"] == [str(frame.payload_bytes)]
        assert layers["tcp.options.timestamp.tsval"] == [str(frame.psn)]
        assert layers["tcp.stream"] == ["0"]


# ---------------------------------------------------------------------------- scapy


@given(frames(WireFormat.ROCE_V2))
@settings(max_examples=150, deadline=None)
def test_roce_icrc_scapy_computes_the_same(frame: Frame) -> None:
    data = _engine.encode(frame)[:-TRAILER_BYTES]
    packet = Ether(data)
    assert BTH in packet
    built = packet[BTH].compute_icrc(data[14 + 20 + 8 : -4])
    assert bytes(built) == data[-4:]


@given(st.sampled_from(IN_IP).flatmap(frames))
@settings(max_examples=300, deadline=None)
def test_checksums_scapy_computes_the_same(frame: Frame) -> None:
    """IPv4 of every format that has it; TCP and UDP of what comes from sockets."""
    data = _engine.encode(frame)[:-TRAILER_BYTES]
    packet = Ether(data)[IP]
    again = packet.copy()
    del again.chksum
    if frame.format is WireFormat.TCP:
        del again[TCP].chksum
    if frame.format is WireFormat.UDP:
        del again[UDP].chksum
    read = IP(bytes(again))
    assert read.chksum == packet.chksum
    if frame.format is WireFormat.TCP:
        assert read[TCP].chksum == packet[TCP].chksum
    elif frame.format is WireFormat.UDP:
        assert read[UDP].chksum == packet[UDP].chksum != 0
    else:
        assert packet[UDP].chksum == 0
