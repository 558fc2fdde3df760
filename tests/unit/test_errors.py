from __future__ import annotations

import pickle

import pytest

from testbed.errors import (
    FabricError,
    Interrupted,
    MeasurementError,
    NicError,
    PreflightError,
    Problem,
    Problems,
    RemoteError,
    SpecError,
    TestbedError,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (SpecError, 2),
        (PreflightError, 3),
        (FabricError, 4),
        (NicError, 5),
        (MeasurementError, 6),
        (RemoteError, 7),
        (Interrupted, 130),
    ],
)
def test_error_class_has_its_exit_code(kind: type[TestbedError], code: int) -> None:
    error = kind("what", remedy="do this")

    assert (str(error), error.remedy, error.exit_code) == ("what", "do this", code)


def test_collect_many_problems_names_each_on_a_line() -> None:
    error = SpecError.collect([Problem("a", "bad", "fix a"), Problem("b[1].c", "worse", "fix b")])

    assert str(error).splitlines() == ["a: bad (fix a)", "b[1].c: worse (fix b)"]
    assert "2 fields" in error.remedy


def test_collect_one_problem_tells_its_remedy_once() -> None:
    error = SpecError.collect([Problem("a", "bad", "fix a")])

    assert (str(error), error.remedy) == ("a: bad", "fix a")


def test_problems_empty_raises_nothing() -> None:
    Problems().raise_if_any()


def test_problems_absorb_puts_its_path_before() -> None:
    problems = Problems()
    problems.absorb(SpecError.collect([Problem("x", "bad", "fix")]), path="outer")
    problems.absorb(SpecError("plain", remedy="fix it"), path="other")

    with pytest.raises(SpecError) as caught:
        problems.raise_if_any()
    assert [p.path for p in caught.value.problems] == ["outer.x", "other"]


def test_error_survives_pickling() -> None:
    error = SpecError.collect([Problem("a", "bad", "fix a")])

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), copy.remedy, copy.problems) == (
        SpecError,
        str(error),
        error.remedy,
        error.problems,
    )
