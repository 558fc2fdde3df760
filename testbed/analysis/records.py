"""Message records: their layout, their canonical order, their digest, and how two sets of them differ.

Pure: imports no clock, no file and no fabric. The engine writes the same layout (`Record` in C++).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from testbed.errors import MeasurementError

Records: TypeAlias = npt.NDArray[np.void]
"""An array of `RECORD_DTYPE`."""
Picoseconds: TypeAlias = npt.NDArray[np.uint64]
"""An array of times or durations in picoseconds."""

RECORD_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("src", "<u4"),  # entity id of the sender
        ("dst", "<u4"),  # entity id of the receiver
        ("seq", "<u8"),  # counts the messages of a sender
        ("message_bytes", "<u8"),
        ("intended_ps", "<u8"),  # when the open loop wanted to send it
        ("posted_ps", "<u8"),  # the NIC has the work
        ("first_byte_ps", "<u8"),  # its first bit is on the sender's wire
        ("delivered_ps", "<u8"),  # its last byte is in the receiver's memory
        ("completed_ps", "<u8"),  # the receiver has been told
        ("retransmits", "<u4"),
        ("marks", "<u4"),
    ]
)

TIMES = ("intended_ps", "posted_ps", "first_byte_ps", "delivered_ps", "completed_ps")
"""The times of a record in the order in which they must come."""
KEY = ("intended_ps", "src", "seq")
"""What the canonical order sorts by; no two messages of a cell share it."""

_DIGEST_CHUNK_RECORDS = 1 << 16
_COMPARE_CHUNK_RECORDS = 1 << 16


def latencies_ps(records: Records) -> Picoseconds:
    """Each message's latency, from the intended time to the receiver's notification."""
    _require_layout(records)
    late = records["completed_ps"] - records["intended_ps"]
    if (records["completed_ps"] < records["intended_ps"]).any():
        index = int(np.argmax(records["completed_ps"] < records["intended_ps"]))
        raise _backwards(records, index, "intended_ps", "completed_ps")
    return np.asarray(late, dtype=np.uint64)


def canonical_order(records: Records) -> Records:
    """The records sorted by (intended_ps, src, seq); the same array if it already is."""
    _require_layout(records)
    if _is_ordered(records):
        return records
    intended = np.ascontiguousarray(records["intended_ps"])
    order = np.argsort(intended)
    intended = intended[order]
    tied = np.zeros(len(order), np.bool_)
    tied[1:] = intended[1:] == intended[:-1]
    tied[:-1] |= tied[1:]
    # Few messages share their intended time: only those need the slower sort by three keys.
    among = records[order[tied]]
    order[tied] = order[tied][np.lexsort((among["seq"], among["src"], among["intended_ps"]))]
    return records[order]


def digest(cells: Iterable[tuple[str, Records]]) -> str:
    """SHA-256 over all records of a run, free of clock and machine, as hex.

    For each cell, in the order given (an experiment's): its id in UTF-8, a NUL, the number of its records as
    u64 little-endian, then the packed records in canonical order.
    """
    sha = hashlib.sha256()
    for cell_id, records in cells:
        ordered = np.ascontiguousarray(canonical_order(records))
        sha.update(cell_id.encode() + b"\0" + len(ordered).to_bytes(8, "little"))
        for start in range(0, len(ordered), _DIGEST_CHUNK_RECORDS):
            sha.update(ordered[start : start + _DIGEST_CHUNK_RECORDS].view(np.uint8).data)
    return sha.hexdigest()


def first_difference(
    a: Records, b: Records, *, names: tuple[str, str] = ("the first", "the second")
) -> str | None:
    """The first record, in canonical order, in which two sets differ, in words; None if they are equal."""
    left, right = canonical_order(a), canonical_order(b)
    index = _first_unequal(left, right)
    if index is not None:
        return _describe(left[index], right[index], index, names)
    if len(left) == len(right):
        return None
    longer, name = (left, names[0]) if len(left) > len(right) else (right, names[1])
    shared = min(len(left), len(right))
    return (
        f"{names[0]} has {len(left):,} records, {names[1]} has {len(right):,}; "
        f"only {name} has record {shared:,}: {_identity(longer[shared])}"
    )


def _require_layout(records: Records) -> None:
    """An array of another layout would be read as nonsense."""
    if records.dtype != RECORD_DTYPE:
        raise MeasurementError(
            f"these are no message records: their layout is {records.dtype}",
            remedy="give records as the engine of this version writes them",
        )


def _is_ordered(records: Records) -> bool:
    """Whether each record's key is at least the one before it."""
    intended, src, seq = (np.ascontiguousarray(records[name]) for name in KEY)
    tied = intended[1:] == intended[:-1]
    if not np.all(intended[1:] >= intended[:-1]):
        return False
    src_low, src_high = src[:-1][tied], src[1:][tied]
    seq_low, seq_high = seq[:-1][tied], seq[1:][tied]
    return bool(np.all((src_low < src_high) | ((src_low == src_high) & (seq_low <= seq_high))))


def _first_unequal(left: Records, right: Records) -> int | None:
    """The first index that both have and in which they differ."""
    shared = min(len(left), len(right))
    for start in range(0, shared, _COMPARE_CHUNK_RECORDS):
        stop = min(start + _COMPARE_CHUNK_RECORDS, shared)
        unequal = (_words(left[start:stop]) != _words(right[start:stop])).any(axis=1)
        if unequal.any():
            return start + int(np.argmax(unequal))
    return None


def _words(records: Records) -> npt.NDArray[np.uint64]:
    """The records as rows of 64-bit words, which compare faster than fields."""
    return np.ascontiguousarray(records).view("<u8").reshape(len(records), -1)


def _describe(left: np.void, right: np.void, index: int, names: tuple[str, str]) -> str:
    """One differing record in words: another message, or the fields that differ."""
    if any(left[name] != right[name] for name in KEY):
        return (
            f"record {index:,} is another message: {names[0]} has {_identity(left)}, "
            f"{names[1]} has {_identity(right)}"
        )
    fields = [name for name in RECORD_DTYPE.names or () if left[name] != right[name]]
    values = ", ".join(
        f"{name} is {int(left[name])} in {names[0]} and {int(right[name])} in {names[1]}"
        f" ({int(right[name]) - int(left[name]):+d})"
        for name in fields
    )
    return f"record {index:,} ({_identity(left)}): {values}"


def _identity(record: np.void) -> str:
    """Which message it is."""
    return (
        f"message {int(record['seq'])} from entity {int(record['src'])} to {int(record['dst'])}, "
        f"intended at {int(record['intended_ps'])} ps"
    )


def _backwards(records: Records, index: int, earlier: str, later: str) -> MeasurementError:
    """The error for a record whose times run backwards."""
    record: Any = records[index]
    return MeasurementError(
        f"record {index:,} ({_identity(record)}): {later} {int(record[later])} is before "
        f"{earlier} {int(record[earlier])}",
        remedy="this is a bug of the model: report it with the experiment and the seed",
    )


def require_forward(records: Records) -> None:
    """Raise `MeasurementError` unless the times of every record come in their order."""
    _require_layout(records)
    for earlier, later in pairwise(TIMES):
        backwards = records[later] < records[earlier]
        if backwards.any():
            raise _backwards(records, int(np.argmax(backwards)), earlier, later)
