from __future__ import annotations

import hashlib

import numpy as np
import pytest

from testbed.analysis.records import (
    KEY,
    RECORD_DTYPE,
    canonical_order,
    digest,
    first_difference,
    latencies_ps,
    require_forward,
)
from testbed.errors import MeasurementError
from tests.unit.samples import random_records, records_of


def test_record_layout_is_packed_little_endian() -> None:
    assert RECORD_DTYPE.itemsize == 4 + 4 + 8 + 8 + 5 * 8 + 4 + 4
    record = np.zeros(1, RECORD_DTYPE)
    record["src"], record["intended_ps"], record["marks"] = 1, 2, 3
    packed = record.tobytes()
    assert packed[:4] == b"\x01\0\0\0"
    assert packed[24:32] == (2).to_bytes(8, "little")
    assert packed[68:] == b"\x03\0\0\0"


def test_canonical_order_shuffled_sorts_by_time_then_source_then_sequence() -> None:
    rng = np.random.default_rng(7)
    records = np.zeros(5000, RECORD_DTYPE)
    records["intended_ps"] = rng.integers(0, 800, 5000)  # many ties
    records["src"] = rng.integers(0, 4, 5000)
    records["seq"] = rng.permutation(5000)
    ordered = canonical_order(records)
    keys = [tuple(int(r[name]) for name in KEY) for r in records]
    assert [tuple(int(r[name]) for name in KEY) for r in ordered] == sorted(keys)


@pytest.mark.parametrize("swap", [("src", 1, 0), ("seq", 1, 0), ("intended_ps", 1, 0)])
def test_canonical_order_one_key_out_of_order_is_noticed(swap: tuple[str, int, int]) -> None:
    field, first, second = swap
    records = np.zeros(2, RECORD_DTYPE)
    records[field] = [first, second]
    assert canonical_order(records)[field].tolist() == [0, 1]


def test_canonical_order_ordered_returns_the_same_array() -> None:
    records = records_of(n=100)
    assert canonical_order(records) is records


def test_digest_is_that_of_the_documented_bytes() -> None:
    records = records_of(n=3)
    expected = hashlib.sha256(b"a-4KiB-x\0" + (3).to_bytes(8, "little") + records.tobytes()).hexdigest()
    assert digest([("a-4KiB-x", records)]) == expected


def test_digest_more_records_than_a_chunk_is_that_of_all_bytes() -> None:
    records = records_of(n=(1 << 16) + 5)
    whole = hashlib.sha256(b"c\0" + len(records).to_bytes(8, "little") + records.tobytes()).hexdigest()
    assert digest([("c", records)]) == whole


def test_digest_depends_on_values_and_cells_but_not_on_order_of_arrival() -> None:
    records = random_records(500, 1)
    base = digest([("a", records)])
    shuffled = records[np.random.default_rng(1).permutation(500)]
    assert digest([("a", shuffled)]) == base
    assert digest([("b", records)]) != base
    changed = records.copy()
    changed["marks"][499] = 1
    assert digest([("a", changed)]) != base
    # the count keeps records of two cells apart
    assert digest([("a", records[:1]), ("a", records[1:])]) != base


def test_first_difference_equal_is_none() -> None:
    records = random_records(1000, 1)
    assert first_difference(records, records[::-1].copy()) is None


def test_first_difference_one_picosecond_names_record_field_and_values() -> None:
    a = records_of(n=70_000)
    b = a.copy()
    b["delivered_ps"][69_999] += 1
    b["completed_ps"][69_999] += 1
    text = first_difference(a, b, names=("virtual", "twin"))
    assert text is not None
    value = int(a["delivered_ps"][69_999])
    assert "record 69,999" in text
    assert f"delivered_ps is {value} in virtual and {value + 1} in twin (+1)" in text
    assert "completed_ps" in text
    assert "posted_ps" not in text


def test_first_difference_reports_the_first_of_several() -> None:
    a = records_of(n=100)
    b = a.copy()
    b["marks"][[20, 90]] = 5
    assert "record 20 " in (first_difference(a, b) or "")


def test_first_difference_record_missing_in_the_middle_names_both_messages() -> None:
    a = records_of(n=10)
    text = first_difference(a, np.delete(a, 4))
    assert text is not None
    assert "record 4 is another message" in text


def test_first_difference_shorter_names_the_first_record_that_is_missing() -> None:
    a = records_of(n=10)
    text = first_difference(a[:8], a, names=("virtual", "twin"))
    assert text is not None
    assert text.startswith("virtual has 8 records, twin has 10; only twin has record 8:")


def test_latencies_another_layout_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no message records"):
        latencies_ps(np.zeros(3, np.dtype([("a", "<u4")])))


def test_latencies_backwards_is_refused_instead_of_wrapping() -> None:
    records = records_of(n=5)
    records["completed_ps"][3] = 0
    with pytest.raises(MeasurementError, match="record 3"):
        latencies_ps(records)


def test_require_forward_times_out_of_order_names_both_fields() -> None:
    records = records_of(n=5)
    records["posted_ps"][2] = records["first_byte_ps"][2] + np.uint64(1)
    with pytest.raises(MeasurementError, match=r"record 2 .*first_byte_ps \d+ is before posted_ps"):
        require_forward(records)
