"""`nic_settings`: what they read as, what they refuse, and what of a profile a run then uses."""

from __future__ import annotations

from typing import Any

import pytest

from nic_emulator import NICS
from nic_emulator.card import CORSAIR
from nic_emulator.profile import ENTROPY_FORMATS, Place
from nic_emulator.setup import NicSetup, configured, configured_all, setting_keys
from testbed.errors import SpecError
from testbed.report.nic import one_way_ps
from testbed.spec.sourced import Sourced

Settings = dict[str, int | str]


def setup(nic: str, **settings: int | str) -> NicSetup:
    return configured(NICS.get(nic), {key.replace("__", "."): value for key, value in settings.items()})


def names_at(nic: NicSetup, place: Place, size_bytes: int = 64) -> list[str]:
    return [stage.name for stage in nic.stages(place, size_bytes=size_bytes, op="put")]


@pytest.mark.parametrize(
    ("nic", "settings", "field", "value"),
    [
        ("transparent", {"window": 16}, "window_pkts", 16),
        ("transparent", {"window": "64KiB"}, "window_pkts", 16),
        ("transparent", {"window": "64KiB", "mtu": "1KiB"}, "window_pkts", 64),
        ("transparent", {"mtu": "8KiB"}, "mtu_bytes", 8192),
        ("transparent", {"tlp": "20us"}, "tail_loss_probe", 20_000_000),
        ("transparent", {"udp": "on", "paths": 8}, "paths", 8),
        ("transparent", {"udp": "on"}, "first_header_bytes", 54),
        ("rdma", {"retransmission_timeout": "50us"}, "retransmission_timeout", 50_000_000),
        ("sue", {"header": "standard"}, "first_header_bytes", 54),
        ("sue", {}, "first_header_bytes", 16),
        ("sue", {"virtual_channels": 2}, "virtual_channels", 2),
        ("kernel", {}, "first_header_bytes", 70),
        ("kernel", {"protocol": "udp"}, "first_header_bytes", 58),
        ("uec", {}, "first_header_bytes", 102),
    ],
)
def test_setting_replaces_its_number(nic: str, settings: Settings, field: str, value: int) -> None:
    number: Sourced = getattr(setup(nic, **settings).profile, field)
    assert number.number == value


def test_number_that_an_experiment_sets_is_no_assumption() -> None:
    number = setup("transparent", window=16).profile.window_pkts
    assert (number.mark, number.source) == ("V", "set by the experiment")


@pytest.mark.parametrize(
    ("nic", "settings", "field", "value"),
    [
        ("transparent", {}, "ordered", False),
        ("transparent", {"ordered": "on"}, "ordered", True),
        ("transparent", {"udp": "on"}, "wire_format", "thin_udp"),
        ("rdma", {"initiator": "device"}, "initiator", "device"),
        ("kernel", {}, "reliability", "selective"),
        ("kernel", {"protocol": "udp"}, "reliability", "unreliable"),
        ("kernel", {"protocol": "udp"}, "congestion", ""),
        ("uec", {"mode": "rod"}, "reliability", "go_back_n"),
        ("uec", {"mode": "rod"}, "paths", None),
        ("uec", {"mode": "rudi"}, "nacks", False),
        ("uec", {"mode": "uud"}, "ops", ("put", "put_signal", "send")),
        ("sue", {"header": "standard"}, "wire_format", "sue"),
        ("rdma", {}, "congestion", ""),
        ("rdma", {"congestion": "dcqcn"}, "congestion", "dcqcn"),
        ("uec", {}, "congestion", "nscc"),
        ("uec", {"congestion": "off"}, "congestion", ""),
        ("kernel", {"congestion": "cubic"}, "congestion", "cubic"),
    ],
)
def test_choice_replaces_its_fields(nic: str, settings: Settings, field: str, value: object) -> None:
    assert getattr(setup(nic, **settings).profile, field) == value


@pytest.mark.parametrize("nic", NICS.names())
def test_profile_by_default_has_nothing_that_is_off(nic: str) -> None:
    profile = setup(nic).profile
    assert profile.receives is None
    assert profile.max_inline is None
    assert list(profile.congestions) == [profile.congestion] * bool(profile.congestion)
    assert profile.cnp_interval is None
    assert not profile.choices
    assert not any(stage.when for stage in profile.stages)
    assert profile.paths is None or profile.wire_format in ENTROPY_FORMATS


@pytest.mark.parametrize(
    ("settings", "post", "send"),
    [
        ({}, ["host_post", "doorbell", "wqe_fetch"], ["dma_read", "nic_pipeline"]),
        ({"post": "inline"}, ["host_post", "doorbell", "wqe_fetch"], ["nic_pipeline"]),
        ({"post": "blueflame"}, ["host_post", "doorbell"], ["nic_pipeline"]),
        ({"initiator": "device"}, ["card_post", "doorbell", "wqe_fetch"], ["dma_read", "nic_pipeline"]),
    ],
)
def test_posting_decides_which_stages_a_small_message_passes(
    settings: Settings, post: list[str], send: list[str]
) -> None:
    assert names_at(setup("rdma", **settings), "post") == post
    assert names_at(setup("rdma", **settings), "send") == send


def test_inline_payload_above_the_limit_is_fetched_and_so_is_what_a_get_asks_for() -> None:
    nic = setup("rdma", post="inline")
    assert "dma_read" not in names_at(nic, "send", 220)
    assert "dma_read" in names_at(nic, "send", 221)
    assert "dma_read" in [stage.name for stage in nic.stages("send", size_bytes=64, op="get")]


def test_completion_by_interrupt_replaces_polling() -> None:
    assert names_at(setup("rdma"), "notify") == ["completion_write", "host_poll"]
    assert names_at(setup("rdma", completion="interrupt"), "notify") == ["completion_write", "interrupt"]


@pytest.mark.parametrize(
    ("nic", "settings", "sum_ps"),
    [
        ("transparent", {}, 1_902_250),
        ("rdma", {}, 2_159_250),
        ("rdma", {"post": "inline"}, 1_658_125),
        ("rdma", {"post": "blueflame"}, 1_158_125),
        ("uec", {}, 1_439_250),
        ("sue", {}, 394_000),
        ("ualink", {}, 250_000),
    ],
)
def test_stages_one_way_add_up(nic: str, settings: Settings, sum_ps: int) -> None:
    assert one_way_ps(setup(nic, **settings)) == sum_ps


def test_kernel_stages_there_and_back_are_in_the_public_range() -> None:
    assert 15_000_000 <= 2 * one_way_ps(setup("kernel")) <= 30_000_000


@pytest.mark.parametrize("nic", ["sue", "ualink"])
def test_scale_up_stages_there_and_back_leave_room_for_a_switch_below_the_target(nic: str) -> None:
    target_ps = {"sue": 2_000_000, "ualink": 1_000_000}[nic]
    assert 2 * (one_way_ps(setup(nic)) + 250_000) <= target_ps


def test_host_stalls_scale_their_rate_and_jitter_its_length() -> None:
    plain, often = setup("rdma"), setup("rdma", host_stalls="x10", host_jitter="x0.5")
    for before, after in zip(plain.profile.stages, often.profile.stages, strict=True):
        assert after.stall_interval.number * 10 == before.stall_interval.number
        assert [ps.number for _, ps in after.jitter] == [ps.number // 2 for _, ps in before.jitter]
    none = setup("rdma", host_stalls="off", host_jitter="off")
    assert not any(
        stage.jitter or stage.stall or stage.stall_interval.number for stage in none.profile.stages
    )


def test_congestion_parameter_is_read_in_its_unit() -> None:
    parameters = setup(
        "rdma", congestion="dcqcn", congestion__alpha_timer_ps="55us", congestion__min_rate_bps="1Gbps"
    ).profile.congestions["dcqcn"]
    assert parameters["alpha_timer_ps"].number == 55_000_000
    assert parameters["min_rate_bps"].number == 10**9
    assert parameters["g_log2"].number == 8


def test_dcqcn_alone_sends_notifications() -> None:
    assert setup("rdma", congestion="dcqcn").profile.cnp_interval is not None
    assert setup("rdma", congestion="fixed_window").profile.cnp_interval is None


# ------------------------------------------------------------------------------------------------- cards


def test_one_card_in_its_performance_memory_adds_no_stage() -> None:
    assert setup("transparent", cards=1, memory="performance").profile == setup("transparent").profile


def test_several_cards_have_engines_each_and_share_the_way_to_the_nic() -> None:
    send = setup("transparent", cards=4).profile.at("send")
    assert (send[0].name, send[0].per_card, send[0].servers) == ("card_dma", True, CORSAIR.dma_engines)
    assert not any(stage.per_card for stage in send[1:])
    assert [stage.name for stage in setup("rdma", cards=2).profile.at("send")][:2] == [
        "card_dma",
        "pcie_switch",
    ]


def test_cards_that_share_a_stage_do_so_before_what_each_has_and_the_other_way_round_to_send() -> None:
    for name in NICS.names():
        nic = setup(name, cards=4, memory="capacity")
        for place in ("post", "receive", "notify", "send"):
            own = [stage.per_card for stage in nic.profile.at(place)]
            assert own == sorted(own, reverse=place == "send"), (name, place)


def test_cards_of_a_pair_have_a_bridge_unless_they_use_the_switch() -> None:
    bridge = setup("transparent", cards=2)
    assert [stage.name for stage in bridge.profile.at("bridge")] == ["card_dma", "bridge"]
    assert [stage.name for stage in bridge.profile.at("local")] == ["card_dma", "card_memory", "pcie_switch"]
    assert not setup("transparent", cards=2, local="switch").profile.at("bridge")
    assert not setup("transparent").profile.at("local")


def test_capacity_memory_is_slower_at_both_ends() -> None:
    plain, slow = setup("transparent"), setup("transparent", memory="capacity")
    access_ps = CORSAIR.lpddr_latency.number + -(-64 * CORSAIR.lpddr_per_kib.number // 1024)
    assert one_way_ps(slow) - one_way_ps(plain) == 2 * access_ps


# ------------------------------------------------------------------------------------------------- refusals

REFUSED: list[tuple[str, Settings, str, str]] = [
    ("transparent", {"windw": 3}, "windw", "did you mean 'window'?"),
    ("transparent", {"post": "inline"}, "post", "unknown setting of transparent"),
    ("transparent", {"host_stalls": "x2"}, "host_stalls", "transparent has no setting 'host_stalls'"),
    ("rdma", {"initiator": "device", "host_stalls": "x2"}, "host_stalls", "no host software"),
    ("rdma", {"initiator": "device", "completion": "interrupt"}, "completion", "does nothing"),
    ("rdma", {"host_stalls": "10"}, "host_stalls", "is no scale"),
    ("rdma", {"host_stalls": "x0"}, "host_stalls", "is no scale"),
    ("rdma", {"post": "inlin"}, "post", "did you mean 'inline'?"),
    ("rdma", {"tlp": "1us"}, "tlp", "rdma has no setting 'tlp'"),
    ("rdma", {"congestion": "dctcp"}, "congestion", "unknown congestion control of rdma"),
    ("rdma", {"congestion.g_log2": 3}, "congestion.g_log2", "unknown parameter of congestion=off"),
    ("rdma", {"congestion": "dcqcn", "congestion.g": 3}, "congestion.g", "unknown parameter"),
    ("rdma", {"congestion": "dcqcn", "congestion.g_log2": "3x"}, "congestion.g_log2", "no whole number"),
    ("kernel", {"protocol": "udp", "congestion": "cubic"}, "congestion", "unknown congestion control"),
    ("transparent", {"paths": 4}, "paths", "no field that spreads"),
    ("transparent", {"udp": "on", "paths": 65}, "paths", "from 1 to 64"),
    ("transparent", {"window": 65}, "window", "65 packets"),
    ("transparent", {"window": "512KiB"}, "window", "128 packets"),
    ("transparent", {"mtu": 63}, "mtu", "63 bytes of payload"),
    ("transparent", {"mtu": "10KiB"}, "mtu", "10,240 bytes of payload"),
    ("transparent", {"batch": "8KiB"}, "batch", "a packet holds 4,096"),
    ("transparent", {"batch": "1KiB:x"}, "batch", "is not a time"),
    ("transparent", {"tlp": "100us"}, "tlp", "comes with the time-out"),
    ("uec", {"retransmission_timeout": "10us"}, "retransmission_timeout", "comes with the time-out"),
    ("uec", {"mode": "uud", "tlp": "8us"}, "tlp", "uec has no tlp with the other settings"),
    ("kernel", {"protocol": "udp", "tlp": "off"}, "tlp", "no tlp"),
    ("transparent", {"cards": 5}, "cards", "from 1 to 4"),
    ("transparent", {"memory": "hbm"}, "memory", "unknown memory"),
    ("transparent", {"local": "switch"}, "local", "no other beside it"),
    ("sue", {"virtual_channels": 7}, "virtual_channels", "7 classes from class 2"),
    ("sue", {"receive_depth": 4}, "receive_depth", "sue has no setting"),
]


@pytest.mark.parametrize(("nic", "settings", "path", "message"), REFUSED)
def test_setting_that_makes_no_sense_is_refused_with_a_remedy(
    nic: str, settings: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        configured(NICS.get(nic), settings)
    found = {problem.path: problem for problem in caught.value.problems}
    assert message in found[path].problem
    assert found[path].remedy


def test_setting_with_a_name_is_for_that_nic_and_goes_before_one_for_all() -> None:
    settings: Settings = {"mtu": "1KiB", "rdma.mtu": "2KiB", "rdma.post": "inline"}
    nics = configured_all(["transparent", "rdma"], settings, known=NICS)
    assert [nic.profile.mtu_bytes.number for nic in nics.values()] == [1024, 2048]
    assert nics["transparent"].settings == {"mtu": "1KiB"}


def test_setting_for_a_nic_that_does_not_run_is_checked_and_has_no_effect() -> None:
    assert list(configured_all(["rdma"], {"uec.mode": "rod"}, known=NICS)) == ["rdma"]
    with pytest.raises(SpecError, match=r"uec\.mode: unknown mode 'rdo'"):
        configured_all(["rdma"], {"uec.mode": "rdo"}, known=NICS)


def test_setting_that_no_nic_has_is_named_once() -> None:
    with pytest.raises(SpecError) as caught:
        configured_all(["transparent", "rdma"], {"tpl": "1us"}, known=NICS)
    assert [problem.path for problem in caught.value.problems] == ["tpl"]
    assert "did you mean 'tlp'?" in str(caught.value)


@pytest.mark.parametrize("nic", NICS.names())
def test_every_value_of_every_choice_of_a_nic_makes_a_setup(nic: str) -> None:
    for key, choice in NICS.get(nic).choices.items():
        for value in choice.options:
            assert configured(NICS.get(nic), {key: value}).chosen[key] == value
    assert len(set(setting_keys(NICS.get(nic)))) == len(setting_keys(NICS.get(nic)))


@pytest.mark.parametrize(
    ("nic", "settings", "every_pkts"),
    [
        ("transparent", {}, 16),
        ("transparent", {"window": 8}, 4),  # half of the window
        ("transparent", {"window": 1}, 1),
        ("transparent", {"congestion": "dctcp"}, 2),  # its smallest window
        ("transparent", {"congestion": "fixed_window", "congestion__window_bytes": "32KiB"}, 4),
        ("kernel", {}, 2),
        ("kernel", {"congestion": "cubic"}, 1),
        ("uec", {}, 1),
        ("uec", {"congestion": "off"}, 16),
        ("rdma", {"congestion": "dcqcn"}, 16),  # a rate, and no window
    ],
)
def test_acknowledgements_come_before_the_smallest_window_is_used_up(
    nic: str, settings: Settings, every_pkts: int
) -> None:
    assert setup(nic, **settings).profile.ack_every_pkts.number == every_pkts
