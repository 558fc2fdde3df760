from __future__ import annotations

import pytest

from testbed.errors import MeasurementError, NicError, TestbedError
from testbed.run.engine_errors import engine_error


@pytest.mark.parametrize(
    ("name", "kind", "remedy"),
    [
        ("StreamError", NicError, "lower the load"),
        ("StreamError", NicError, "a failure must be over before the last retry"),
        ("LosslessDropError", MeasurementError, "headroom"),
        ("DeadlockError", MeasurementError, "watchdog"),
        ("RuntimeError: testbed.engine._engine.DeadlockError: s1 port 2", MeasurementError, "watchdog"),
    ],
)
def test_engine_error_known_has_a_class_and_a_remedy(
    name: str, kind: type[TestbedError], remedy: str
) -> None:
    error = engine_error("c1: text", name)
    assert type(error) is kind
    assert str(error) == "c1: text"
    assert remedy in error.remedy


def test_engine_error_tells_times_in_readable_units() -> None:
    error = engine_error("gave up after 7 retries at 19100050000 ps, since 12 ps", "StreamError")
    assert str(error) == "gave up after 7 retries at 19.10005ms, since 12ps"


def test_engine_error_unknown_is_none() -> None:
    assert engine_error("text", "OverflowError") is None
