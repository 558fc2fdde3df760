"""`tb capture` on real frames: every frame has its virtual time, and the run is the one without a capture."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import RawPcapNgReader

from testbed.analysis.records import digest
from testbed.engine import _engine
from testbed.links.latency import link_latency_ps
from testbed.run import capture_cell, emulation
from testbed.run.dissector import DISSECTOR
from testbed.run.loader import load_experiment
from testbed.run.progress import NullProgress
from testbed.spec.overrides import apply_overrides
from tests.fabric.command_line import LONG, SMALL, START_DEADLINE_S, Ended, Place, Running, finished, start
from tests.fabric.emulated import inject, twin_run
from tests.tshark import tshark_fields

pytestmark = [
    pytest.mark.fabric,
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed"),
]
PORTS = ("s1-eth1", "l1-eth3", "c1-eth0")
"""Both ends of a link between switches, and a card."""
FRAME = dict[str, Any]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.below(tmp_path)


def packets(path: Path) -> list[FRAME]:
    """What scapy reads, with the trailer as the engine's decoder reads it."""
    found = []
    with RawPcapNgReader(str(path)) as reader:
        for data, about in reader:
            what, frame, trailer = _engine.decode(data)
            assert what == "frame"
            assert frame is not None
            assert trailer is not None
            found.append(
                {
                    "port": about.ifname.decode(),
                    "way": {1: "in", 2: "out"}[about.direction],
                    "time_ns": (about.tshigh << 32) + about.tslow,
                    "first_bit_ps": trailer["first_bit_ps"],
                    "link_seq": trailer["link_seq"],
                    "psn": frame.psn,
                    "frame_bytes": frame.frame_bytes,
                }
            )
            assert about.tsresol == 10**9
    return found


def job_of(ports: tuple[str, ...], *overrides: str) -> capture_cell.CaptureJob:
    experiment = apply_overrides(load_experiment("quickstart"), [*SMALL, *overrides])
    return capture_cell.plan_capture(experiment, cell_id=None, ports=ports, records=300)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, emulation.Emulated]]:
    """Plan and outcome of each run on real frames."""
    found = []
    original = emulation.emulate

    def emulate(live: Any, plan: Any, **more: Any) -> emulation.Emulated:
        found.append((plan, original(live, plan, **more)))
        return found[-1][1]

    monkeypatch.setattr(emulation, "emulate", emulate)
    return found


@pytest.mark.parametrize("nic", ["transparent", "rdma"])
def test_capture_verb_frames_have_virtual_times_and_are_all_there(
    emulated: list[tuple[Any, emulation.Emulated]], tmp_path: Path, nic: str
) -> None:
    job = job_of(PORTS, f"nics={nic}")
    outcome = capture_cell.capture_cell(job, tmp_path / "all.pcapng", NullProgress())
    ((plan, run),) = emulated
    found = packets(outcome.path)
    latency_ps = {
        port.interface: link_latency_ps(port.link.medium, port.link.length_mm, port.link.rate_bps)
        for port in job.ports
    }
    assert all(latency_ps.values())
    for one in found:
        taken_ps = latency_ps[one["port"]] if one["way"] == "out" else 0
        assert one["time_ns"] == (one["first_bit_ps"] - taken_ps) // 1000
    assert [one["time_ns"] for one in found] == sorted(one["time_ns"] for one in found)

    counts = Counter((one["port"], one["way"]) for one in found)
    switch, card = run.counters, run.counters["c1"]
    assert counts["s1-eth1", "out"] == switch["s1"]["port1.out_frames"]
    assert counts["l1-eth3", "out"] == switch["l1"]["port3.out_frames"] > 0
    assert counts.total() > 500
    waiting = card["tx_packets"] + card["tx_acks"] - counts["c1-eth0", "out"]
    assert 0 <= waiting < 10, "what the card had not sent yet when the last message was in"
    assert counts["c1-eth0", "in"] == switch["l1"]["port1.out_frames"]
    # Both ends of one link.
    assert counts["s1-eth1", "in"] == counts["l1-eth3", "out"]
    assert counts["l1-eth3", "in"] == counts["s1-eth1", "out"]
    for port, way in counts:
        numbers = [one["link_seq"] for one in found if (one["port"], one["way"]) == (port, way)]
        assert numbers == list(range(len(numbers))), "every frame of that direction, in its order"
    shown = {(one.port, "in"): one.in_frames for one in outcome.written.ports}
    shown |= {(one.port, "out"): one.out_frames for one in outcome.written.ports}
    assert Counter(shown) == counts, "in Counters what is missing is 0"

    twin = twin_run(plan)
    assert run.records.tobytes() == twin.records.tobytes(), "the capture changed nothing"
    assert outcome.records_digest == digest([(job.run.cell.id, twin.records)])
    assert outcome.records == len(twin.records) >= 300


def test_capture_verb_twice_writes_the_same_file(tmp_path: Path) -> None:
    job = job_of(PORTS, "snap=64B")
    files = [
        capture_cell.capture_cell(job, tmp_path / name, NullProgress()).path.read_bytes()
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


def test_capture_verb_leaves_out_and_counts_what_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = emulation.emulate

    def emulate(live: Any, plan: Any, **more: Any) -> emulation.Emulated:
        inject(live, "c1", "c1-eth0", bytes(64), bytes(64))
        return original(live, plan, **more)

    monkeypatch.setattr(emulation, "emulate", emulate)
    outcome = capture_cell.capture_cell(job_of(("l1-eth1",)), tmp_path / "x.pcapng", NullProgress())
    (port,) = outcome.written.ports
    assert port.foreign_frames == 2
    assert len(packets(outcome.path)) == port.in_frames + port.out_frames


# ------------------------------------------------------------------------------------------ the command line


def words(overrides: tuple[str, ...]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_capture_verb_tshark_decodes_header_and_trailer(place: Place) -> None:
    path = place.out / "all.pcapng"
    ports = [word for port in PORTS[:2] for word in ("--port", port)]
    ended = finished(
        place.command(
            "capture", "quickstart", *words(SMALL), *ports, "--records", "200", "--out", str(path), "--json"
        )
    )
    assert ended.code == 0, ended.stderr
    assert "real frames" in ended.stderr
    told = json.loads(ended.stdout)
    assert told["file"] == str(path)
    assert place.left() == [str(path)]
    names = ["frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction", "tnic.psn"]
    names += [
        "tnic_trailer.first_bit_ps",
        "tnic_trailer.link_seq",
        "tnic_trailer.frame_bytes",
        "_ws.malformed",
    ]
    rows = tshark_fields(path, names, "-X", f"lua_script:{DISSECTOR}")
    found = packets(path)
    assert len(rows) == len(found) == sum(one["in_frames"] + one["out_frames"] for one in told["ports"]) > 100
    for row, one in zip(rows, found, strict=True):
        assert row == [
            one["port"],
            f"{one['time_ns'] // 10**9}.{one['time_ns'] % 10**9:09}",
            {"in": "0x00000001", "out": "0x00000002"}[one["way"]],
            str(one["psn"]),
            str(one["first_bit_ps"]),
            str(one["link_seq"]),
            str(one["frame_bytes"]),
            "",
        ]


def started(place: Place, *options: str) -> Running:
    path = str(place.out / "all.pcapng")
    command = place.command(
        "capture", "quickstart", *words(LONG), "--port", "l1-eth1", "--out", path, *options
    )
    return Running(place, start(command))


def ended_by(run: Running, number: signal.Signals) -> Ended:
    try:
        run.await_frames()
        return run.strike_group(number)
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_capture_verb_interrupted_leaves_no_file(place: Place, number: signal.Signals) -> None:
    ended = ended_by(started(place, "--records", "3000000"), number)
    assert ended.code == 130, ended.stderr
    assert len(ended.errors()) == 1
    assert place.left() == []


def test_capture_verb_killed_is_cleaned_up_by_the_next(place: Place) -> None:
    ended = ended_by(started(place, "--records", "3000000"), signal.SIGKILL)
    assert ended.code == -signal.SIGKILL
    deadline = time.monotonic() + START_DEADLINE_S
    while any(Path(f"/proc/{pid}").exists() for pid in place.children().values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert any(".partial" in left for left in place.left())
    assert finished(place.command("clean")).code == 0
    assert place.left() == []


def test_capture_verb_disk_is_full_ends_with_6_and_no_file(tmp_path: Path) -> None:
    place = Place.below(tmp_path, disk="1m")
    path = str(place.out / "all.pcapng")
    ended = finished(
        place.command(
            "capture", "quickstart", *words(SMALL), "--port", "l1-eth1", "--records", "3000", "--out", path
        )
    )
    assert ended.code == 6, ended.stderr
    assert "bytes free" in ended.errors()[0]
    assert "free space on that disk" in ended.stderr
    assert place.left() == []
