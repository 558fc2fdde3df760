"""Runs the models under the sanitizers that the extension in argv[1] was built with; prints what it did."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

CARDS = 24
"""As many as any plan has, at most."""


def main(extension: str, plans: str) -> None:
    """Load that extension instead of the tree's, and run each plan in the twin and through the codec."""
    spec = importlib.util.spec_from_file_location("testbed.engine._engine", extension)
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    sys.modules["testbed.engine._engine"] = engine
    import testbed.engine

    testbed.engine._engine = engine
    from testbed.engine.plan import build_plan

    messages = 0
    for data in json.loads(Path(plans).read_text(encoding="utf-8")):
        twin = engine.Twin(build_plan(data))
        twin.trace_queues(10**9, 1000)
        twin.trace_packets(
            [(src, dst, psn) for src in range(CARDS) for dst in range(CARDS) for psn in range(30)]
        )
        twin.run(engine.NEVER_PS)
        assert twin.done
        assert twin.counters()
        assert twin.tx_records()
        assert twin.hop_samples()
        twin.queue_samples()
        twin.int_samples()
        twin.flow_samples()
        twin.punt_samples()
        messages += twin.messages
    frames = _codec(engine)
    print(json.dumps({"messages": messages, "frames": frames}))


def _codec(engine: object) -> int:
    """Every format and many sizes, whole, cut and damaged."""
    count = 0
    for wire_format in engine.WireFormat:  # type: ignore[attr-defined]
        if wire_format == engine.WireFormat.MAC_CONTROL:  # type: ignore[attr-defined]
            continue
        for payload in (1, 37, 38, 39, 63, 64, 1000, 4095, 4096, 8192):
            frame = engine.Frame()  # type: ignore[attr-defined]
            frame.format, frame.payload_bytes, frame.flags = wire_format, payload, 3
            frame.frame_bytes = engine.least_frame_bytes(frame)  # type: ignore[attr-defined]
            for snap in (0, 10, 0xFFFFFFFF):
                data = engine.encode(frame, snap)  # type: ignore[attr-defined]
                for cut in range(0, len(data), max(1, len(data) // 50)):
                    engine.decode(data[:cut])  # type: ignore[attr-defined]
                    engine.decode(data[:cut] + bytes([data[cut] ^ 0xFF]) + data[cut + 1 :])  # type: ignore[attr-defined]
                    count += 2
    return count


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
