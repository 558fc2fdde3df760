"""Halves of message records become whole ones, or the run is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from testbed.analysis.records import RECORD_DTYPE
from testbed.errors import MeasurementError
from testbed.run.join import RX_DTYPE, TX_DTYPE, join_records

MESSAGES = [(0, 1, 0), (0, 1, 1), (0, 2, 0), (2, 1, 0)]  # source, destination, number in the stream


def tx(messages: Sequence[tuple[int, int, int]] = MESSAGES) -> np.ndarray[Any, Any]:
    lines = np.zeros(len(messages), TX_DTYPE)
    for place, (src, dst, msn) in enumerate(messages):
        lines[place] = (place, 4096, 1000 + place, 1100, 1200, msn, src, dst, place, 1)
    return lines


def rx(messages: Sequence[tuple[int, int, int]] = MESSAGES) -> np.ndarray[Any, Any]:
    lines = np.zeros(len(messages), RX_DTYPE)
    for place, (src, dst, msn) in enumerate(messages):
        lines[place] = (msn, 2000 + 10 * src + msn, 3000 + 10 * src + msn, src, dst, 7, 4096)
    return lines


def join(sent: np.ndarray[Any, Any], received: np.ndarray[Any, Any]) -> Any:
    return join_records([sent.tobytes()], [received.tobytes()])


def test_join_halves_in_any_order_gives_whole_records_in_canonical_order() -> None:
    records = join(tx()[[2, 0, 3, 1]], rx()[::-1])
    assert records.dtype == RECORD_DTYPE
    assert records["intended_ps"].tolist() == [1000, 1001, 1002, 1003]
    assert records["src"].tolist() == [0, 0, 0, 2]
    assert records["dst"].tolist() == [1, 1, 2, 1]
    assert records["delivered_ps"].tolist() == [2000, 2001, 2000, 2020]
    assert records["completed_ps"].tolist() == [3000, 3001, 3000, 3020]
    assert records["retransmits"].tolist() == [0, 1, 2, 3]
    assert records["marks"].tolist() == [7] * 4


def test_join_parts_of_many_processes_are_one_run() -> None:
    whole = join(tx(), rx())
    parts = join_records(
        [tx()[:1].tobytes(), b"", tx()[1:].tobytes()], [rx()[2:].tobytes(), rx()[:2].tobytes()]
    )
    np.testing.assert_array_equal(parts, whole)


def test_join_unmeasured_arrivals_are_left_out() -> None:
    assert len(join(tx(MESSAGES[:2]), rx())) == 2


def test_join_message_delivered_twice_is_refused() -> None:
    with pytest.raises(MeasurementError, match="message 1 of stream 0 -> 1 was delivered twice"):
        join(tx(), rx([*MESSAGES, (0, 1, 1)]))


@pytest.mark.parametrize("lost", range(4))
def test_join_message_never_delivered_is_refused(lost: int) -> None:
    src, dst, msn = MESSAGES[lost]
    with pytest.raises(MeasurementError, match=f"message {msn} of stream {src} -> {dst} was never delivered"):
        join(tx(), rx([message for message in MESSAGES if message != (src, dst, msn)]))


def test_join_nothing_delivered_at_all_is_refused() -> None:
    with pytest.raises(MeasurementError, match="was never delivered"):
        join(tx(), rx([]))


def test_join_short_message_is_refused() -> None:
    received = rx()
    received["bytes"][2] = 4095
    with pytest.raises(MeasurementError, match="message 0 of stream 0 -> 2 has 4096 bytes, 4095 arrived"):
        join(tx(), received)


def test_join_nothing_sent_is_nothing_recorded() -> None:
    assert len(join(tx([]), rx([]))) == 0


@pytest.mark.parametrize("message", [(65_535, 1, 0), (1, 65_535, 0), (0, 1, 2**32 - 1)])
def test_join_largest_numbers_do_not_collide(message: tuple[int, int, int]) -> None:
    assert len(join(tx([*MESSAGES, message]), rx([message, *MESSAGES]))) == 5
