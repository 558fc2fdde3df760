"""Randomness and check sums against published vectors and exact quantiles."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.engine import _engine

# Random123 (Salmon et al., SC'11), tests/kat_vectors: philox4x32 10.
PHILOX = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
# RFC 3720 appendix B.4, where the CRC is printed in the order of its bytes on the wire, and the usual check value.
CRC32C = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 00000400"
            " 00000014 00000018 28000000 00000000 02000000 00000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),
    (b"", 0),
]
MEAN_PS = 10**12
WORDS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(("counter", "key", "block"), PHILOX, ids=["zeros", "ones", "pi"])
def test_philox_known_answers_are_met(counter: tuple[int, ...], key: tuple[int, int], block: str) -> None:
    found = _engine.philox(*counter, (key[1] << 32) | key[0])  # type: ignore[call-arg]
    assert " ".join(f"{word:08x}" for word in found) == block


@given(WORDS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), WORDS)
@settings(max_examples=50, deadline=None)
def test_stream_number_is_a_philox_block_of_its_place(
    seed: int, entity: int, purpose: int, counter: int
) -> None:
    block = _engine.philox(counter & 0xFFFFFFFF, counter >> 32, entity, purpose, seed)
    assert _engine.random_at(seed, entity, purpose, counter) == (block[1] << 32) | block[0]


def test_streams_of_neighbouring_places_have_nothing_in_common() -> None:
    draws = {
        _engine.random_at(seed, entity, purpose, counter)
        for seed in (1, 2)
        for entity in range(8)
        for purpose in range(8)
        for counter in range(100)
    }
    assert len(draws) == 2 * 8 * 8 * 100


@given(st.binary(max_size=9000))
@settings(max_examples=200, deadline=None)
def test_crc32c_fast_equals_portable(data: bytes) -> None:
    assert _engine.crc32c(data) == _engine.crc32c_portable(data)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1359, 1360, 4079, 4080, 4081, 8160, 8161, 16384, 100_003])
def test_crc32c_fast_equals_portable_around_its_lanes(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert _engine.crc32c(data) == _engine.crc32c_portable(data)


@pytest.mark.parametrize(("data", "crc"), CRC32C)
def test_crc32c_known_answers_are_met(data: bytes, crc: int) -> None:
    assert (_engine.crc32c(data), _engine.crc32c_portable(data)) == (crc, crc)


def exact_ps(word: int) -> float:
    """-ln(u) times the mean for u = (word | 1) / 2^64, without cancellation near u = 1."""
    u = word | 1
    return MEAN_PS * (64 * math.log(2) - math.log(u) if u < 2**63 else -math.log1p((u - 2**64) / 2**64))


@given(WORDS)
@settings(max_examples=500, deadline=None)
def test_exponential_is_exact_to_a_hundred_millionth_of_the_mean(word: int) -> None:
    assert abs(_engine.exponential_ps(word, MEAN_PS) - exact_ps(word)) <= 1e-8 * MEAN_PS + 1


def test_exponential_grid_relative_error_is_below_a_millionth() -> None:
    words = [int(2**64 * (k + 0.5) / 20_000) for k in range(19_800)]  # quantiles above 1 % of the mean
    words += [2**k for k in range(63)] + [2**k + 2 ** (k - 1) for k in range(1, 63)]
    worst = max(abs(_engine.exponential_ps(word, MEAN_PS) / exact_ps(word) - 1) for word in words)
    assert worst < 1e-6


def test_exponential_is_monotonic_and_bounded() -> None:
    ends = [_engine.exponential_ps(word, MEAN_PS) for word in (2**64 - 1, 2**63, 2**63 - 1, 2**62, 1, 0)]
    assert ends == sorted(ends)
    assert ends[0] == 0
    assert ends[-1] == ends[-2]
    assert abs(ends[-1] - 64 * math.log(2) * MEAN_PS) < 1e-8 * MEAN_PS
    assert _engine.exponential_ps(0, 10**15) < 10**17  # no overflow for means of up to 1000 s


def test_exponential_moments_are_those_of_the_distribution() -> None:
    count = 200_000
    draws = (
        np.array([_engine.exponential_ps(_engine.random_at(7, 3, 5, k), MEAN_PS) for k in range(count)])
        / MEAN_PS
    )
    for power, moment in ((1, 1), (2, 2), (3, 6)):
        error = math.sqrt((math.factorial(2 * power) - moment**2) / count)
        assert abs((draws**power).mean() - moment) < 3.3 * error  # 99.9 %
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 3.3 / math.sqrt(count)


def test_exponential_draws_pass_kolmogorov_smirnov() -> None:
    count = 100_000
    draws = sorted(_engine.exponential_ps(_engine.random_at(1, 0, 0x1001, k), MEAN_PS) for k in range(count))
    cdf = 1 - np.exp(-np.array(draws) / MEAN_PS)
    distance = np.abs(cdf - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.95 / math.sqrt(count)  # 99.9 %


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[int, int]]:
    inner = draw(st.lists(st.integers(1, 2**32 - 1), max_size=8, unique=True).map(sorted))
    values = draw(
        st.lists(st.integers(0, 10**12), min_size=len(inner) + 2, max_size=len(inner) + 2).map(sorted)
    )
    return list(zip([0, *inner, 2**32], values, strict=True))


@given(tables(), WORDS)
@settings(max_examples=300, deadline=None)
def test_quantile_table_is_linear_between_its_points(points: list[tuple[int, int]], word: int) -> None:
    p = word >> 32
    place = max(k for k, (low, _) in enumerate(points) if low <= p)
    (p0, v0), (p1, v1) = points[place], points[place + 1]
    assert _engine.quantile_ps(points, word) == v0 + (v1 - v0) * (p - p0) // (p1 - p0)


def test_quantile_table_ends_are_its_first_and_last_value() -> None:
    points = [(0, 5), (2**31, 10), (2**32, 2**33)]
    assert _engine.quantile_ps(points, 0) == 5
    assert _engine.quantile_ps(points, 1 << 63) == 10
    assert _engine.quantile_ps(points, 2**64 - 1) == 10 + (2**33 - 10) * (2**31 - 1) // 2**31


@pytest.mark.parametrize(
    "points",
    [
        [(0, 1)],
        [(1, 0), (2**32, 1)],
        [(0, 0), (2**32 - 1, 1)],
        [(0, 5), (2**32, 4)],
        [(0, 0), (9, 1), (9, 2), (2**32, 3)],
        [(0, 0), (9, 5), (8, 6), (2**32, 7)],
    ],
)
def test_quantile_table_that_is_none_is_refused(points: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="quantile table"):
        _engine.quantile_ps(points, 0)
