"""From the two halves of message records, as the engine keeps them, to whole records. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.records import RECORD_DTYPE, Records, canonical_order
from testbed.errors import MeasurementError

TX_DTYPE = np.dtype(
    [
        ("seq", "<u8"),
        ("message_bytes", "<u8"),
        ("intended_ps", "<u8"),
        ("posted_ps", "<u8"),
        ("first_byte_ps", "<u8"),
        ("msn", "<u8"),
        ("src", "<u4"),
        ("dst", "<u4"),
        ("retransmits", "<u4"),
        ("acked", "<u4"),
    ]
)
"""The sender's half; layout of `TxRecord` in testbed/engine/group.hpp."""
RX_DTYPE = np.dtype(
    [
        ("msn", "<u8"),
        ("delivered_ps", "<u8"),
        ("completed_ps", "<u8"),
        ("src", "<u4"),
        ("dst", "<u4"),
        ("marks", "<u4"),
        ("bytes", "<u4"),
    ]
)
"""The receiver's half; layout of `RxRecord` in testbed/engine/group.hpp."""

_NO_KEY = np.uint64(2**64 - 1)
"""No endpoint sends to itself."""
_COMMON = ("src", "dst", "seq", "message_bytes", "intended_ps", "posted_ps", "first_byte_ps", "retransmits")
_RECEIVED = ("delivered_ps", "completed_ps", "marks")


def is_lossy(plan_data: Mapping[str, Any]) -> bool:
    """Whether a plan has NICs that may lose messages."""
    nics = (node["config"] for node in plan_data["nodes"] if node["kind"] == "nic")
    return any(config["reliability"] == "unreliable" for config in nics)


def join_records(tx_parts: Sequence[bytes], rx_parts: Sequence[bytes], *, lossy: bool = False) -> Records:
    """All measured messages in canonical order; every one must have arrived, once and whole.

    Args:
        tx_parts: senders' halves.
        rx_parts: receivers' halves.
        lossy: of an unreliable transport: what has not arrived is left out.
    """
    tx = np.concatenate([np.frombuffer(part, TX_DTYPE) for part in tx_parts])
    rx = np.concatenate([np.frombuffer(part, RX_DTYPE) for part in rx_parts])
    place, here = _places(tx, rx)
    if not here.all():
        if not lossy:
            lost = tx[~here][0]
            raise _broken(
                f"message {lost['msn']} of stream {lost['src']} -> {lost['dst']} was never delivered"
            )
        tx, place = tx[here], place[here]
    got = rx[place]
    _require_whole(tx, got)
    records = np.empty(len(tx), RECORD_DTYPE)
    for name in _COMMON:
        records[name] = tx[name]
    for name in _RECEIVED:
        records[name] = got[name]
    return canonical_order(records)


def count_lost(
    tx_parts: Sequence[bytes], rx_parts: Sequence[bytes], *, until_ps: int, dst: int | None = None
) -> int:
    """Messages intended up to a time, for one destination or all, that never arrived."""
    tx = np.concatenate([np.frombuffer(part, TX_DTYPE) for part in tx_parts])
    rx = np.concatenate([np.frombuffer(part, RX_DTYPE) for part in rx_parts])
    _, here = _places(tx, rx)
    lost = tx[~here]
    wanted = lost["intended_ps"] <= until_ps
    return int(np.count_nonzero(wanted if dst is None else wanted & (lost["dst"] == dst)))


def _places(
    tx: npt.NDArray[np.void], rx: npt.NDArray[np.void]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """For each sent message the place of its arrival, and whether it has one."""
    rx_keys, order = _sorted_keys(rx)
    if (rx_keys[1:] == rx_keys[:-1]).any():
        twice = rx[order[1:]][rx_keys[1:] == rx_keys[:-1]][0]
        raise _broken(
            f"message {twice['msn']} of stream {twice['src']} -> {twice['dst']} was delivered twice"
        )
    keys = _keys(tx)
    found = np.searchsorted(rx_keys, keys)
    here = np.append(rx_keys, _NO_KEY)[found] == keys
    return np.append(order, 0)[found], here


def _keys(records: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """(src, dst, msn) in one word: 16 + 16 + 32 bits."""
    src, dst = records["src"].astype(np.uint64), records["dst"].astype(np.uint64)
    return np.asarray((src << np.uint64(48)) | (dst << np.uint64(32)) | records["msn"], dtype=np.uint64)


def _sorted_keys(records: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    keys = _keys(records)
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def _require_whole(tx: npt.NDArray[np.void], got: npt.NDArray[np.void]) -> None:
    """As many bytes must arrive as were sent."""
    short = tx["message_bytes"] != got["bytes"]
    if short.any():
        line, arrived = tx[short][0], got[short][0]
        raise _broken(
            f"message {line['msn']} of stream {line['src']} -> {line['dst']} has {line['message_bytes']} bytes,"
            f" {arrived['bytes']} arrived"
        )


def _broken(what: str) -> MeasurementError:
    return MeasurementError(what, remedy="the NIC model is at fault; please report the spec of this run")
