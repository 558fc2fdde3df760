"""The text of failures: every kind can be written, and what is wrong is named with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.spec.disturbance import MAX_REPETITIONS
from testbed.spec.fabric import FOREVER_PS
from testbed.spec.failures import Failure, parse_failures
from testbed.units import format_rate, format_ratio, format_time

US = 10**6
BOTH = {"where": "l1", "receiver": "s1", "both": True}
ONE_WAY = {"where": "l1", "receiver": "s1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l1<>s1@100us-300us:down", {"kind": "down", **BOTH, "until_ps": 300 * US}),
        ("l1>s1@100us:down", {"kind": "down", **ONE_WAY, "until_ps": FOREVER_PS}),
        ("l1>s1@100us-200us:loss=100%", {"kind": "loss", **ONE_WAY, "loss_ppm": 10**6}),
        ("l1>s1@100us-200us:ber=1e-6", {"kind": "ber", **ONE_WAY, "ber_e18": 10**12}),
        ("l1<>s1@100us-200us:rate=100Gbps", {"kind": "rate", **BOTH, "rate_bps": 10**11}),
        ("l1<>s1@100us-200us:delay=1us", {"kind": "delay", **BOTH, "delay_ps": US}),
        (" l1.5 <> s1 @ 100us - 200us : delay = 1us ", {"kind": "delay", **BOTH, "port": 5, "delay_ps": US}),
        ("s1@100us-200us:restart", {"kind": "restart", "where": "s1"}),
        ("c3@100us:process", {"kind": "process", "where": "c3", "until_ps": 100 * US + 1}),
        ("c3@100us-200us:process", {"kind": "process", "where": "c3"}),
        ("controller@100us-200us:lost", {"kind": "lost", "where": "controller"}),
        (
            "*<>*@100us-200us:loss=1%",
            {"kind": "loss", "where": "*", "receiver": "*", "both": True, "loss_ppm": 10**4},
        ),
    ],
)
def test_failure_of_each_kind_is_read(text: str, expected: dict[str, Any]) -> None:
    times = {"from_ps": 100 * US, "until_ps": 200 * US}
    assert parse_failures([text]) == (Failure(**times | expected, text=text.strip()),)


def test_failure_of_a_link_without_a_time_is_there_from_the_beginning() -> None:
    (found,) = parse_failures(["l1>s1:ber=1e-9"])
    assert (found.from_ps, found.until_ps) == (0, FOREVER_PS)


def test_failure_with_a_period_is_one_each_time_that_it_comes() -> None:
    found = parse_failures(
        ["l1<>s1@100us-110us/1ms*3:down", "c3@5us/10us*2:process", "s1@1us-2us/100ms:restart"]
    )
    assert [(one.kind, one.from_ps // US, one.until_ps - one.from_ps) for one in found] == [
        *(("down", us, 10 * US) for us in (100, 1_100, 2_100)),
        *(("process", us, 1) for us in (5, 15)),
        *(("restart", 1 + 100_000 * n, US) for n in range(10)),
    ]
    assert {one.text for one in found[:3]} == {"l1<>s1@100us-110us/1ms*3:down"}


TIMES = st.integers(0, 10**12)
VALUES = st.one_of(
    st.just(("down", "", 0)),
    st.integers(1, 10**6).map(lambda ppm: ("loss", "loss_ppm", ppm)),
    st.integers(1, 5 * 10**17).map(lambda ber: ("ber", "ber_e18", ber)),
    st.sampled_from([10**9, 25 * 10**9, 10**11]).map(lambda rate: ("rate", "rate_bps", rate)),
    st.integers(1, 10**12).map(lambda delay: ("delay", "delay_ps", delay)),
)
WRITTEN = {
    "loss_ppm": lambda ppm: f"{ppm}ppm",
    "ber_e18": format_ratio,
    "rate_bps": format_rate,
    "delay_ps": format_time,
}


@given(
    from_ps=TIMES,
    lasts_ps=st.integers(1, 10**12),
    value=VALUES,
    port=st.none() | st.integers(1, 512),
    both=st.booleans(),
    times=st.integers(1, 4),
)
def test_failure_of_a_link_as_written_is_the_one_read(
    from_ps: int, lasts_ps: int, value: tuple[str, str, int], port: int | None, both: bool, times: int
) -> None:
    kind, field, number = value
    cable = "l1" if port is None else f"l1.{port}"
    period_ps = lasts_ps + 7
    when = f"{format_time(from_ps)}-{format_time(from_ps + lasts_ps)}/{format_time(period_ps)}*{times}"
    what = f"{kind}={WRITTEN[field](number)}" if field else kind
    text = f"{cable}{'<>' if both else '>'}s1@{when}:{what}"

    found = parse_failures([text])

    assert [(one.from_ps, one.until_ps) for one in found] == [
        (from_ps + n * period_ps, from_ps + n * period_ps + lasts_ps) for n in range(times)
    ]
    for one in found:
        assert (one.kind, one.where, one.receiver, one.port, one.both) == (kind, "l1", "s1", port, both)
        assert not field or getattr(one, field) == number


BAD = [
    ("", "not WHERE@WHEN:WHAT", "l1<>s1@100us-300us:down"),
    ("l1<>s1", "not WHERE@WHEN:WHAT", "l1<>s1@100us-300us:down"),
    ("*>*@1us-2us:loss=1%", "not WHERE@WHEN:WHAT", "l1<>s1"),
    ("l1.5@1us-2us:restart", "not WHERE@WHEN:WHAT", "l1<>s1"),
    ("l1>s1@1us:dwn", "did you mean 'down'?", "write 'down'"),
    ("l1@1us:down", "'down' is of a link, and this is a node", "a node: restart, process"),
    ("l1>s1@1us-2us:restart", "'restart' is of a node, and this is a link", "s1@100us-200us:restart"),
    ("controller@1us:restart", "'restart' is of a node, and this is a controller", "a controller: lost"),
    ("s1@1us:lost", "'lost' is of a controller, and this is a node", "controller@100us-200us:lost"),
    ("*<>*@1us-2us:down", "of every link at once", "name the link"),
    ("*<>*@1us-2us:rate=1Gbps", "of every link at once", "name the link"),
    ("s1:restart", "does not say when", "s1@100us-200us:restart"),
    ("controller:lost", "does not say when", "controller@100us-200us:lost"),
    ("l1>s1@1us-2us:loss", "'loss' needs a value", "loss=100%"),
    ("l1>s1@1us-2us:ber=", "'ber' needs a value", "ber=1e-6"),
    ("l1>s1@1us-2us:down=3", "'down' takes no value", "l1<>s1@100us-300us:down"),
    ("l1>s1@1us-2us:loss=0%", "0 of a million", "1ppm to 100%"),
    ("l1>s1@1us-2us:loss=101%", "1,010,000 of a million", "1ppm to 100%"),
    ("l1>s1@1us-2us:loss=1", "is not a share", "'1%'"),
    ("l1>s1@1us-2us:ber=0", "no bit error ratio", "1e-6"),
    ("l1>s1@1us-2us:ber=0.6", "no bit error ratio", "up to 0.5"),
    ("l1>s1@1us-2us:ber=high", "is not a ratio", "1e-6"),
    ("l1>s1@1us-2us:rate=3Gbps", "no whole number of picoseconds", "2.56Gbps and 3.125Gbps"),
    ("l1>s1@1us-2us:rate=100", "is not a rate", "400Gbps"),
    ("l1>s1@1us-2us:delay=0ns", "is zero", "500ns"),
    ("l1>s1@1us-2us:delay=2s", "2s longer", "at most 1s"),
    ("l1>s1@2us-1us:down", "from 2us until 1us is at no time", "end after it begins"),
    ("l1>s1@1us-1us:down", "from 1us until 1us is at no time", "end after it begins"),
    ("l1>s1@soon-2us:down", "'soon' is not a time", "units: ps"),
    ("l1>s1@1us-2us/1us:down", "lasts 1us and comes back every 1us", "longer period"),
    ("l1>s1@1us/1ms:down", "lasts for good and comes back every 1ms", "longer period"),
    ("l1>s1@1us-2us/1ms*0:down", "comes 0 times", "1 to 10,000"),
    ("l1>s1@1us-2us/10us:down", "comes 100,000 times in 1s", "/10us*100"),
]


@pytest.mark.parametrize(("text", "problem", "remedy"), BAD)
def test_failure_badly_written_is_named_with_what_to_write(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_failures([text])
    assert str(caught.value).startswith(f"failures[0]: '{text}': ")
    assert problem in str(caught.value)
    assert remedy in caught.value.remedy


def test_failures_badly_written_are_named_all_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_failures(["l1@1us:down", "s1@1us-2us:restart", "x"])
    assert [problem.path for problem in caught.value.problems] == ["failures[0]", "failures[2]"]


@given(st.text(max_size=40) | st.from_regex(r"[a-c<>*.@:/=\-0-9us%]{0,30}", fullmatch=True))
def test_failure_of_any_text_is_read_or_refused(text: str) -> None:
    found: tuple[Failure, ...] = ()
    remedy = ""
    try:
        found = parse_failures([text])
    except SpecError as error:
        remedy = error.remedy
    assert bool(remedy) == (not found)
    assert len(found) <= MAX_REPETITIONS
