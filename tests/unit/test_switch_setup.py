"""`switch_settings`: what they read as, what they refuse, and which numbers a run then rests on."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.switches import SWITCHES
from testbed.switches.profile import NO_THRESHOLD
from testbed.switches.settings import PARSERS, Curve, PathChoice, Shaper, Trim, Watchdog
from testbed.switches.setup import SwitchSetup, configured

GBPS = 10**9
LINKS = [(400 * GBPS, 3_000)]


def setup_of(name: str = "ideal", /, **settings: int | str) -> SwitchSetup:
    return configured(SWITCHES.get(name), settings)


def refused(name: str = "ideal", /, **settings: int | str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        setup_of(name, **settings)
    return caught.value


@pytest.mark.parametrize("name", SWITCHES.names())
def test_setup_without_settings_is_the_profile_with_everything_off(name: str) -> None:
    profile = SWITCHES.get(name)
    setup = configured(profile, {})
    assert setup == SwitchSetup(profile=profile, cut_through=bool(profile.features.cut_through.number))


@pytest.mark.parametrize(
    ("key", "text", "field", "value"),
    [
        ("lossless", "3,4", "lossless_classes", (3, 4)),
        ("lossless", 3, "lossless_classes", (3,)),
        ("lossless", "none", "lossless_classes", ()),
        ("lossless", "default", "lossless_classes", (3, 4)),
        ("headroom", "auto", "headroom_bytes", None),
        ("headroom", "500KB", "headroom_bytes", 500_000),
        ("headroom", 4096, "headroom_bytes", 4096),
        ("watchdog", "100us:200us", "watchdog", Watchdog(detection_ps=10**8, restoration_ps=2 * 10**8)),
        ("watchdog", "off", "watchdog", None),
        ("ecn", "100KB:400KB:20%", "curve", Curve(kmin_bytes=10**5, kmax_bytes=4 * 10**5, pmax_ppm=200_000)),
        ("ecn", "step:100KB", "curve", Curve(kmin_bytes=10**5, kmax_bytes=10**5, pmax_ppm=10**6)),
        ("ecn", "0B:1KB:0.01%", "curve", Curve(kmin_bytes=0, kmax_bytes=1_000, pmax_ppm=100)),
        ("ecn", "off", "curve", None),
        ("ecn_at", "enqueue", "ecn_at_enqueue", True),
        ("scheduling", "strict", "weights", ()),
        ("scheduling", "dwrr", "weights", (14, 14, 14, 15, 15, 14, 14, 14)),
        ("scheduling", "dwrr:1,1,1,15,14,1,strict,strict", "weights", (1, 1, 1, 15, 14, 1, 0, 0)),
        (
            "shaper",
            "3:100Gbps:64KB",
            "shapers",
            (Shaper(traffic_class=3, ps_per_kib=81_920, burst_bytes=64_000),),
        ),
        ("paths", "hash", "paths", PathChoice(kind="hash")),
        ("paths", "flowlet:500ns", "paths", PathChoice(kind="flowlet", flowlet_gap_ps=500_000)),
        ("paths", "least_loaded:1us", "paths", PathChoice(kind="least_loaded", flowlet_gap_ps=10**6)),
        ("paths", "least_loaded", "paths", PathChoice(kind="least_loaded")),
        ("paths", "spray", "paths", PathChoice(kind="spray")),
        ("paths", "round_robin", "paths", PathChoice(kind="round_robin")),
        ("hash_seed", "same", "same_seed", True),
        ("trim", "64B:6", "trim", Trim(size_bytes=64, traffic_class=6)),
        ("int", "on", "telemetry", True),
        ("sflow", 1000, "sflow_interval", 1000),
        ("cut_through", "off", "cut_through", False),
        ("llr", "on", "llr", True),
        ("cbfc", "on", "cbfc", True),
    ],
)
def test_setting_reads_as(key: str, text: int | str, field: str, value: object) -> None:
    assert getattr(setup_of("ideal", **{key: text}), field) == value


@pytest.mark.parametrize(
    ("key", "text", "group", "name", "value"),
    [
        ("alpha_log2", -2, "buffer", "alpha_log2", -2),
        ("alpha_log2", "-2", "buffer", "alpha_log2", -2),
        ("ingress_alpha_log2", "none", "buffer", "ingress_alpha_log2", NO_THRESHOLD),
        ("lossless_alpha_log2", 1, "pfc", "alpha_log2", 1),
        ("buffer", "64MB", "buffer", "pool", 64_000_000),
    ],
)
def test_setting_of_a_number_takes_its_place_and_is_no_assumption(
    key: str, text: int | str, group: str, name: str, value: int
) -> None:
    number = getattr(getattr(setup_of("tomahawk_ultra", **{key: text}).profile, group), name)
    assert (number.number, number.mark) == (value, "V")


def test_setting_of_the_pipeline_latency_is_exact() -> None:
    assert setup_of("tomahawk5", pipeline_latency="612.5ns").profile.pipeline_latency.number == 612_500


BAD: list[tuple[str, int | str, str]] = [
    ("lossless", "3,3", "twice"),
    ("lossless", "8", "0 to 7"),
    ("lossless", "yes", "0 to 7"),
    ("headroom", "many", "not a size"),
    ("headroom", 0, "above zero"),
    ("alpha_log2", 17, "-16 to 16"),
    ("alpha_log2", "half", "-16 to 16"),
    ("buffer", "100B", "less than one cell"),
    ("buffer", "0B", "above zero"),
    ("ecn", "100KB:20%", "no marking curve"),
    ("ecn", "400KB:100KB:20%", "KMIN is above KMAX"),
    ("ecn", "100KB:400KB:0%", "PMAX"),
    ("ecn", "100KB:400KB:101%", "PMAX"),
    ("ecn_at", "egress", "dequeue"),
    ("scheduling", "dwrr:1,2", "no scheduling"),
    ("scheduling", "dwrr:0,1,1,1,1,1,1,1", "1 to 1,000"),
    ("scheduling", "fifo", "no scheduling"),
    ("shaper", "3:100Gbps", "no shaper"),
    ("shaper", "3:100Gbps:64KB;3:1Gbps:1KB", "twice"),
    ("paths", "sprai", "did you mean 'spray'"),
    ("paths", "flowlet", "unknown path choice"),
    ("paths", "flowlet:0ns", "zero"),
    ("hash_seed", "random", "own"),
    ("trim", "64B", "SIZE:CLASS"),
    ("trim", "20B:6", "shorter than 64 B"),
    ("int", "yes", "neither on nor off"),
    ("sflow", -1, "0 to"),
    ("watchdog", "100us", "DETECTION:RESTORATION"),
    ("watchdog", "0us:1us", "zero"),
    ("cut_through", 1, "neither on nor off"),
    ("pipeline_latency", "fast", "not a time"),
]


@pytest.mark.parametrize(("key", "text", "says"), BAD)
def test_setting_that_makes_no_sense_is_refused_with_its_key(key: str, text: int | str, says: str) -> None:
    error = refused("spectrum4", **{key: text})
    assert [problem.path for problem in error.problems] == [key]
    assert says in str(error.problems[0])
    assert error.remedy


def test_bad_settings_cover_every_key_that_can_be_wrong() -> None:
    assert set(PARSERS) - {key for key, _, _ in BAD} == {
        "ingress_alpha_log2",
        "lossless_alpha_log2",
        "llr",
        "cbfc",
    }


def test_settings_with_many_problems_name_all_of_them_at_once() -> None:
    error = refused("tomahawk5", alpha=1, ecn="soon", trim="64B:6", sflow=-1)
    assert {problem.path for problem in error.problems} == {"alpha", "ecn", "trim", "sflow"}


def test_setting_unknown_suggests_the_nearest() -> None:
    assert "did you mean 'lossless'" in str(refused(losless="3"))


@pytest.mark.parametrize(
    ("name", "key", "text", "has"),
    [
        ("tomahawk5", "trim", "64B:6", "tomahawk6, spectrum4, ideal"),
        ("tomahawk5", "llr", "on", "tomahawk_ultra, ideal"),
        ("spectrum4", "cbfc", "on", "tomahawk_ultra, ideal"),
        ("linux_bridge", "lossless", "3", "tomahawk5"),
        ("linux_bridge", "cut_through", "on", "tomahawk5"),
        ("falcon", "paths", "spray", "tomahawk6"),
        ("falcon", "paths", "flowlet:1us", "tomahawk6"),
        ("spectrum3", "int", "on", "tomahawk6"),
        ("jericho2c_plus", "lossless", "3", "tomahawk5"),
        ("jericho2c_plus", "alpha_log2", -1, "tomahawk5"),
    ],
)
def test_setting_of_a_feature_that_a_product_has_not_names_those_that_have(
    name: str, key: str, text: int | str, has: str
) -> None:
    error = refused(name, **{key: text})
    assert name in str(error)
    assert has in error.remedy


@pytest.mark.parametrize("name", SWITCHES.names())
def test_settings_that_ask_for_nothing_fit_every_product(name: str) -> None:
    off: dict[str, Any] = {
        "lossless": "none",
        "ecn": "off",
        "paths": "hash",
        "trim": "off",
        "int": "off",
        "llr": "off",
        "cbfc": "off",
        "cut_through": "off",
        "scheduling": "strict",
        "watchdog": "off",
        "sflow": 0,
    }
    assert not setup_of(name, **off).cut_through


def test_voq_switch_takes_ecn_and_a_buffer() -> None:
    setup = setup_of("jericho2c_plus", ecn="step:1MB", buffer="1GB")
    assert setup.curve is not None
    assert setup.profile.buffer.pool.number == 10**9


def test_headroom_by_itself_follows_the_link_and_a_size_holds_for_all() -> None:
    auto, fixed = setup_of("tomahawk5", lossless=3), setup_of("tomahawk5", lossless=3, headroom="500KB")
    assert auto.headroom(400 * GBPS, 3_000) == 439_296
    assert auto.headroom(800 * GBPS, 3_000) == 607_232
    assert fixed.headroom(800 * GBPS, 3_000) == fixed.headroom(100 * GBPS, 1_000) == 500_000


def test_shared_buffer_is_what_the_headroom_pool_leaves_of_the_shipped_one() -> None:
    assert setup_of("tomahawk5").shared_bytes == 166_600_000
    assert setup_of("tomahawk5", lossless=3).shared_bytes == 166_600_000 - 29_423_360
    assert setup_of("tomahawk5", lossless=3, buffer="8MB").shared_bytes == 8_000_000


@pytest.mark.parametrize("name", SWITCHES.names())
def test_credits_of_every_profile_fit_into_a_16_bit_count_of_cells(name: str) -> None:
    profile = SWITCHES.get(name)
    assert 16_384 <= profile.links.cbfc_credit.number < 65_536 * profile.buffer.cell.number


def test_reaction_is_that_of_the_port_that_must_stop_soonest() -> None:
    assert setup_of("tomahawk5").reaction_ps([100 * GBPS, 800 * GBPS]) == 579_200
    assert setup_of("tomahawk5").reaction_ps([100 * GBPS]) == 2_017_280


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"ecn": "step:100KB"}, {"features.ecn"}),
        ({"ecn": "default"}, {"features.ecn", "ecn.kmin", "ecn.kmax", "ecn.pmax"}),
        ({"scheduling": "dwrr"}, {"scheduling.weights", "scheduling.quantum"}),
        ({"scheduling": "dwrr:1,1,1,1,1,1,1,1"}, {"scheduling.quantum"}),
        ({"paths": "flowlet:1us"}, {"features.dlb", "paths.flowlet_entries"}),
        ({"paths": "least_loaded"}, {"features.per_packet", "paths.load_quantum"}),
        ({"llr": "on"}, {"features.llr", "links.llr_latency"}),
        ({"cbfc": "on"}, {"features.cbfc", "links.cbfc_credit", "pfc.generation"}),
        ({"trim": "64B:6", "int": "on"}, {"features.trimming", "features.telemetry"}),
        ({"trim": "off", "headroom": "1KB", "lossless_alpha_log2": 1}, set()),
    ],
)
def test_used_numbers_grow_only_by_what_is_on(settings: dict[str, int | str], more: set[str]) -> None:
    without, having = setup_of().used_numbers(LINKS), setup_of(**settings).used_numbers(LINKS)
    assert set(having) - set(without) == {f"ideal.{path}" for path in more}


def test_used_numbers_of_lossless_are_those_of_pfc_at_the_ports_in_use() -> None:
    plain = set(setup_of("tomahawk5").used_numbers(LINKS))
    assert not [path for path in plain if "pfc" in path or "headroom" in path]
    lossless = set(setup_of("tomahawk5", lossless=3).used_numbers(LINKS)) - plain
    assert lossless == {
        f"tomahawk5.{path}"
        for path in (
            "features.pfc",
            "buffer.headroom_pool",
            "buffer.group_reserved",
            "pfc.alpha_log2",
            "pfc.xon_offset",
            "pfc.pause_quanta",
            "pfc.generation",
            "pfc.response[400Gbps]",
            "headroom.port_mtu",
            "headroom.lossless_mtu",
            "headroom.phy",
        )
    }


def test_used_numbers_leave_out_a_feature_that_the_experiment_decides() -> None:
    assert "tomahawk5.features.cut_through" in setup_of("tomahawk5").used_numbers(LINKS)
    decided = setup_of("tomahawk5", cut_through="off").used_numbers(LINKS)
    assert "tomahawk5.features.cut_through" not in decided


def test_used_numbers_of_a_voq_switch_are_those_of_its_queues() -> None:
    paths = set(setup_of("jericho2c_plus").used_numbers(LINKS))
    assert "jericho2c_plus.voq.credit" in paths
    assert "jericho2c_plus.buffer.alpha_log2" not in paths
