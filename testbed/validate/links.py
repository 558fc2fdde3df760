"""Links that lose frames: how many are lost, and what link-level retry makes of it."""

from __future__ import annotations

import numpy as np

from testbed.validate.measure import THIN_HEADER_BYTES, share_half_width
from testbed.validate.plans import Data, Wire, card, chain, finished, records_of
from testbed.validate.row import Oracle, Row

FRAME_BYTES = 1_026
BYTE_PS = 20
LATENCY_PS = 50_000
REPLAY_PS = 70_000
INTERVAL_PS = 20_000_000
"""So far apart that nothing waits for a frame that is sent again."""
ONE = 1 << 64


def single_frames(messages: int, options: Data, *, rto_ps: int) -> Data:
    """One frame after the other over one link that loses some, each way."""
    load = {
        "arrivals": "PERIODIC",
        "destinations": [1],
        "message_bytes": FRAME_BYTES - THIN_HEADER_BYTES,
        "interval_ps": INTERVAL_PS,
        "measure_until_ps": messages * INTERVAL_PS,
    }
    wire = Wire(byte_time_ps=BYTE_PS, latency_ps=LATENCY_PS, options=options)
    return chain(card(load, rto_ps=rto_ps, retry_limit=60), card(), [wire])


def loss(quick: bool) -> list[Row]:
    """The share of frames that had to be sent again, on a link that damages a known share each way."""
    messages = 30_000 if quick else 300_000
    cases = (
        ("base 1 %", {"loss_base_2p64": ONE // 100}, 0.01),
        ("0.1 %, by the byte", {"loss_per_byte_2p64": ONE // 1000 // FRAME_BYTES}, 0.001),
    )
    return [_loss_row(name, options, share, messages) for name, options, share in cases]


def _loss_row(name: str, options: Data, share: float, messages: int) -> Row:
    """Lost data frames as the receiver's port sees them: sent less received whole."""
    twin = finished(single_frames(messages, options, rto_ps=INTERVAL_PS // 100))
    sender, receiver = (twin.counters()[node] for node in ("n0", "n1"))
    sent = sender["tx_packets"]
    return Row(
        oracle="loss",
        case=f"{name}, {sent:,} frames",
        expected=100 * share,
        measured=100 * (sent - receiver["rx_packets"]) / sent,
        unit="%",
        tolerance=100 * share_half_width(share, sent),
        source="independent losses: binomial",
    )


def retry(quick: bool) -> list[Row]:
    """With link-level retry nothing is lost; a frame that is damaged k times comes k replays later."""
    messages, share = (30_000 if quick else 300_000), 0.01
    options = {"loss_base_2p64": ONE // 100, "llr": True, "llr_latency_ps": REPLAY_PS}
    twin = finished(single_frames(messages, options, rto_ps=INTERVAL_PS))
    records = records_of(twin)
    delay_ps = (records["delivered_ps"] - records["first_byte_ps"]).astype(np.int64)
    alone_ps = LATENCY_PS + (FRAME_BYTES + 8) * BYTE_PS
    round_ps = (FRAME_BYTES + 20) * BYTE_PS + 2 * LATENCY_PS + REPLAY_PS
    extra_ps = delay_ps - alone_ps
    replays = extra_ps // round_ps
    return [
        Row(
            oracle="llr",
            case=f"retransmissions end to end, {messages:,} frames",
            expected=0,
            measured=int(records["retransmits"].sum()),
            unit="frames",
            source="nothing is lost",
        ),
        Row(
            oracle="llr",
            case="delay of a damaged frame beyond whole replays",
            expected=0,
            measured=int((extra_ps % round_ps).max()),
            unit="ps",
            source="a replay costs the frame's wire time, a round trip, and the retry's own latency",
        ),
        Row(
            oracle="llr",
            case=f"frames that needed a replay, of {len(records):,}",
            expected=100 * share,
            measured=100 * float((replays > 0).mean()),
            unit="%",
            tolerance=100 * share_half_width(share, len(records)),
            source="independent losses: binomial",
        ),
    ]


ORACLES = (
    Oracle(
        name="loss",
        subject="links",
        description="a link that loses a share of its frames",
        tolerance="99.9 % binomial interval",
        run=loss,
    ),
    Oracle(
        name="llr",
        subject="links",
        description="link-level retry: no loss, and one round trip for each replay",
        tolerance="none, but of the share of frames: 99.9 % binomial interval",
        run=retry,
    ),
)
