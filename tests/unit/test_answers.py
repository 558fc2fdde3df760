from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from testbed.analysis.answers import answers, approximate_time, readable_size
from testbed.analysis.records import Records
from testbed.analysis.summary import CellSummary
from tests.unit.samples import IDLE, LOAD, cell_of, random_records, records_of

N = 20_000
NETWORK = np.random.default_rng(1).integers(1_000_000, 2_000_000, N)


def two(a: Records, b: Records) -> list[CellSummary]:
    return [cell_of(LOAD, 4096, "transparent", a), cell_of(LOAD, 4096, "rdma", b)]


def answer(a: Records, b: Records) -> str:
    (sentence,) = answers(two(a, b))
    return sentence


def test_answers_software_only_says_how_many_times_and_that_it_is_software() -> None:
    a = records_of(n=N, network=NETWORK)
    b = records_of(n=N, network=NETWORK, software=2_000_100)
    text = answer(a, b)
    assert text.startswith(
        "under 60 % load, the p99.9 of a 4 KiB put is 2.0 times lower with transparent than with rdma"
    )
    assert "practically all of the difference is host software" in text


def test_answers_both_parts_gives_their_shares() -> None:
    text = answer(
        records_of(n=N, network=NETWORK), records_of(n=N, network=NETWORK + 1_000_000, software=3_000_100)
    )
    assert "75 % of the difference is host software, 25 % the NICs and the fabric" in text


def test_answers_first_slower_says_higher_and_still_shares() -> None:
    text = answer(
        records_of(n=N, network=NETWORK + 1_000_000, software=3_000_100), records_of(n=N, network=NETWORK)
    )
    assert "3.0 times higher with transparent than with rdma" in text
    assert "75 % of the difference is host software" in text


def test_answers_parts_of_opposite_sign_are_given_as_times() -> None:
    text = answer(
        records_of(n=N, network=NETWORK + 500_000), records_of(n=N, network=NETWORK, software=1_500_100)
    )
    assert "host software adds 1.50 µs, the NICs and the fabric take 500 ns off that" in text


def test_answers_rest_larger_than_the_difference_names_it_first() -> None:
    text = answer(
        records_of(n=N, network=NETWORK, software=500_000),
        records_of(n=N, network=NETWORK + 1_500_000, software=0),
    )
    assert "the NICs and the fabric add 1.50 µs, host software takes 500 ns off that" in text


def test_answers_small_ratio_is_a_percentage() -> None:
    text = answer(records_of(n=N), records_of(n=N, network=333))
    assert "4.8 % lower with transparent" in text


def test_answers_same_value_says_the_same() -> None:
    text = answer(records_of(n=N), records_of(n=N))
    assert "is the same with transparent as with rdma, 650 ps" in text
    assert "times" not in text


def test_answers_overlapping_intervals_claim_nothing() -> None:
    text = answer(random_records(N, 1), random_records(N, 2))
    assert "does not differ measurably" in text
    assert "lower" not in text
    assert "higher" not in text


def test_answers_too_few_messages_says_which_and_how_many() -> None:
    text = answer(random_records(N, 1), random_records(5_000, 2))
    assert "cannot be compared (only 5 of the 5,000 messages with rdma lie beyond it, 10 are needed)" in text


def test_answers_one_nic_is_stated_alone() -> None:
    (text,) = answers([cell_of(IDLE, 65_536, "transparent", records_of(n=N))])
    assert text == "unloaded, the p99.9 of a 64 KiB put is 650 ps with transparent."


def test_answers_one_sentence_per_scenario_and_other_nic_with_a_clause_per_size() -> None:
    cells = [
        cell_of(scenario, size, nic, records_of(n=N, software=100 + extra))
        for scenario in (IDLE, LOAD)
        for size in (4096, 65_536)
        for extra, nic in enumerate(("transparent", "rdma", "kernel"))
    ]
    found = answers(cells)
    assert [text.split(",")[0] for text in found] == [
        "unloaded",
        "unloaded",
        "under 60 % load",
        "under 60 % load",
    ]
    assert [text.count(" put ") for text in found] == [2, 2, 2, 2]
    assert "kernel" in found[1]
    assert "rdma" not in found[1]


@pytest.mark.parametrize(
    ("ps", "text"),
    [
        (0, "0 ps"), (7, "7 ps"), (999, "999 ps"), (1_000, "1.00 ns"), (12_345, "12.3 ns"),
        (812_000, "812 ns"), (999_700, "1.00 µs"), (2_134_000, "2.13 µs"),
        (213_400_000, "213 µs"), (3_000_000_000, "3.00 ms"),
        (9_999_999, "10.0 µs"), (9_530_000, "9.53 µs"), (99_970_000, "100 µs"),
        (-1_500_000, "−1.50 µs"), (5 * 10**15, "5000 s"),
    ],
)  # fmt: skip
def test_approximate_time_has_three_digits(ps: int, text: str) -> None:
    assert approximate_time(ps) == text


@pytest.mark.parametrize(("size", "text"), [(4096, "4 KiB"), (1 << 20, "1 MiB"), (1500, "1500 B")])
def test_readable_size(size: int, text: str) -> None:
    assert readable_size(size) == text


def variants(
    records: dict[str, Records], *, nic: str = "transparent", drops: dict[str, int] | None = None
) -> list[CellSummary]:
    """One cell per variant, all of one NIC, scenario and size."""
    return [
        replace(
            cell_of(LOAD, 4096, nic, one, variant=name),
            events={"discards": (drops or {})[name]} if name in (drops or {}) else {},
        )
        for name, one in records.items()
    ]


def slower(**more_ps: int) -> dict[str, Records]:
    return {name: records_of(n=N, network=NETWORK + more) for name, more in more_ps.items()}


def test_answers_few_variants_compare_the_first_with_each_other() -> None:
    found = answers(variants(slower(dac=0, aec=1_000_000, dr=4_000_000)))
    assert [text.split("put ")[1] for text in found] == [
        "is 1.5 times lower with dac than with aec (2.00 µs and 3.00 µs).",
        "is 3.0 times lower with dac than with dr (2.00 µs and 6.00 µs).",
    ]


def test_answers_many_variants_name_the_best_and_the_worst() -> None:
    (text,) = answers(variants(slower(a=2_000_000, b=0, c=6_000_000, d=1_000)))
    assert text == (
        "under 60 % load, the p99.9 of a 4 KiB put is lowest with b (2.00 µs; d does not differ measurably from it) "
        "and 4.0 times higher with c (8.00 µs), the highest of 4."
    )


def test_answers_many_variants_leave_references_out_of_the_ranking() -> None:
    (text,) = answers(variants(slower(a=2_000_000, b=0, c=6_000_000, d=1_000_000)), references=["b"])
    assert text == (
        "under 60 % load, the p99.9 of a 4 KiB put is lowest with d (3.00 µs) and 2.7 times higher with c (8.00 µs), "
        "the highest of 3; for reference, 2.00 µs with b."
    )


def test_answers_many_variants_with_overlapping_intervals_claim_nothing() -> None:
    (text,) = answers(variants({name: random_records(N, seed) for seed, name in enumerate("abcd")}))
    assert "does not differ measurably between 4 variants" in text
    assert "lowest" not in text


def test_answers_many_variants_that_are_alike_are_said_to_be() -> None:
    (text,) = answers(variants(slower(a=0, b=0, c=0, d=0)))
    assert text == "under 60 % load, the p99.9 of a 4 KiB put is the same with all 4 variants, 2.00 µs."


def test_answers_many_variants_too_few_messages_says_so() -> None:
    (text,) = answers(variants({name: random_records(100, seed) for seed, name in enumerate("abcd")}))
    assert "cannot be compared (only 0 of the 100 messages with a lie beyond it, 10 are needed)" in text


def test_answers_several_nics_compare_their_variants_apart() -> None:
    several = slower(a=0, b=2_000_000)
    found = answers([*variants(several), *variants(several, nic="rdma")])
    assert [text.split(",")[0] for text in found] == [
        "under 60 % load with transparent",
        "under 60 % load with rdma",
    ]


@pytest.mark.parametrize(
    ("drops", "expected"),
    [
        ({"a": 1_200}, "dropped with a (1,200) only."),
        ({"a": 3, "c": 1}, "dropped with a (3) and c (1) only."),
        (dict.fromkeys("abcde", 1), "dropped with all variants but f."),
        (dict.fromkeys("abcdef", 1), None),
        ({}, None),
    ],
)
def test_answers_tell_which_variants_drop(drops: dict[str, int], expected: str | None) -> None:
    found = [
        text
        for text in answers(variants(slower(**dict.fromkeys("abcdef", 0)), drops=drops))
        if "dropped" in text
    ]
    assert [text.split(" are ")[1] for text in found] == ([expected] if expected else [])


def test_answers_tell_which_variant_marks_most_and_least() -> None:
    marked = {"off": 0, "low": 15_000, "high": 40}
    cells = [
        replace(cell, marked_messages=marked[cell.variant]) for cell in variants(slower(off=0, low=0, high=0))
    ]
    assert answers(cells)[-1] == (
        "under 60 % load, 75 % of the 4 KiB puts carry a congestion mark with low, the most, and 0 % with off, "
        "the least."
    )


def many(slow: dict[str, int], sizes: tuple[int, ...] = (64, 4096)) -> list[CellSummary]:
    """Six NICs, the same tail but for what is added."""
    return [
        cell_of(LOAD, size, nic, records_of(n=20_000, network=300_000 + added + np.arange(20_000) % 7))
        for size in sizes
        for nic, added in slow.items()
    ]


SIX = {"a": 100_000, "b": 200_000, "c": 300_000, "d": 400_000, "e": 500_000, "f": 0}


def test_answers_many_nics_name_the_best_once_for_sizes_in_a_row() -> None:
    (text,) = answers(many(SIX))
    assert text.startswith(
        "under 60 % load, the p99.9 of a put is lowest with f from 64 B to 4 KiB (300 ns and"
    )
    assert "a 1.33 times that" in text
    assert "e 2.66 times that" in text
    assert text.count("lowest") == 1


def test_answers_many_nics_that_overlap_are_not_told_apart() -> None:
    (text,) = answers(many({**SIX, "a": 0}, sizes=(64,)))
    assert "does not differ measurably between a and f at 64 B" in text


def test_answers_many_nics_leave_out_what_cannot_be_carried_and_say_so() -> None:
    cells = many(SIX, sizes=(64,))
    full = [replace(cell, offered_bps=100, goodput_bps=94 if cell.nic == "f" else 96) for cell in cells]
    best, beyond = answers(full)
    assert "lowest with a" in best
    assert beyond == "under 60 % load, more is offered than arrives with f."


def disturbed(digests: dict[str, str]) -> list[CellSummary]:
    cell = cell_of(LOAD, 64, "a", records_of(n=20_000))
    return [
        replace(cell, variant=name, emulated_records=50 * bool(digest), emulated_digest=digest)
        for name, digest in digests.items()
    ]


@pytest.mark.parametrize(
    ("digests", "says"),
    [
        ({"calm": "aa", "stopped": "aa"}, "all 50 records of a on real frames are the same, bit for bit"),
        ({"stopped": "aa"}, "a has no variant with undisturbed host agents to compare with"),
        ({"calm": "aa", "stopped": "ab"}, "the records of a differ"),
        ({"calm": "", "stopped": ""}, "the twin has none to disturb"),
    ],
)
def test_answers_about_host_agents_compare_the_records_of_real_frames(
    digests: dict[str, str], says: str
) -> None:
    assert says in answers(disturbed(digests), disturbed={"stopped": "stopped"})[0]


def test_answers_tell_the_goodput_where_a_variant_cannot_keep_up() -> None:
    base = cell_of(LOAD, 64, "a", records_of(n=20_000))
    rates = {"fast": 1_280 * 10**9, "slow": 64 * 10**9}
    cells = [
        replace(base, variant=name, offered_bps=1_280 * 10**9, goodput_bps=rate)
        for name, rate in rates.items()
    ]
    assert (
        "under 60 % load, the goodput of 64 B puts is highest with fast, 1,280 Gb/s (2,500 M messages/s), and 20.0 "
        "times lower with slow, 64 Gb/s (125 M messages/s)." in answers(cells)
    )
