"""Every NIC in random modes, with random workloads over links in random disorder: once, whole, in order, no hang.

A share of what `./tb validate delivery` does with a million messages of each NIC, but with settings that nobody chose.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from nic_emulator import NICS
from testbed.errors import SpecError
from testbed.validate import delivery, delivery_runs
from testbed.validate.delivery_runs import ONE, Data, Delivery, Disorder, Outcome, deliver

SEEDS = range(150)
UNTIL_PS = 60_000_000
SLOW_UNTIL_PS = 400_000_000
"""A message through the kernel takes ten times as long."""
SIZES_BYTES = (1, 3, 64, 255, 1_000, 2_048, 4_096, 4_097, 20_000, 65_536, 300_000)
CHOICES: dict[str, tuple[Any, ...]] = {
    "cards": (1, 1, 2, 3, 4),
    "mtu": (256, 1_024, 4_096, 8_192),
    "window": (1, 2, 7, 16, 64),
    "retransmission_timeout": ("30us", "100us"),
    "memory": ("performance", "capacity"),
    "paths": (1, 2, 16, 64),
    "tlp": ("off", "8us", "20us"),
    "batch": ("off", "256", "256:200ns", "1KiB", "1KiB:2us"),
    "virtual_channels": (1, 2, 4),
    "receive_depth": (0, 1, 2, 16),
    "ordered": ("off", "on"),
    "udp": ("off", "on"),
    "initiator": ("host", "device"),
    "protocol": ("tcp", "tcp", "udp"),
    "mode": ("rud", "rod", "rudi", "uud"),
    "header": ("compressed", "standard"),
    "congestion": ("off", "fixed_window", "dctcp", "cubic", "dcqcn", "nscc"),
}
SWITCHES: tuple[tuple[str, Data], ...] = (
    ("tomahawk5", {}),
    ("tomahawk5", {"buffer": "300KB", "ecn": "20KB:80KB:20%"}),
    ("tomahawk5", {"lossless": "3", "buffer": "2MB"}),
    ("tomahawk_ultra", {"llr": "on"}),
    ("spectrum4", {"trim": "128B:6", "buffer": "200KB"}),
    ("jericho2c_plus", {}),
)


def some_settings(random: Random, nic: str) -> Data:
    """Some of the settings that a NIC takes, drawn."""
    drawn = {key: random.choice(values) for key, values in CHOICES.items() if random.random() < 0.5}
    settings: Data = {}
    for key, value in drawn.items():
        try:
            Delivery(nic=nic, disorder=Disorder(name="none"), settings={**settings, key: value}).setup  # noqa: B018
        except SpecError:
            continue  # it has no such thing, or not together with the others
        settings[key] = value
    return settings


def some_disorder(random: Random) -> Disorder:
    """Some kinds of disorder at once."""
    kinds: tuple[Data, ...] = (
        {"loss_base_2p64": ONE // random.choice((10**6, 10**4, 1_000, 100))},
        {"loss_per_byte_2p64": ONE // random.choice((10**7, 10**6))},
        {"reorder_2p64": ONE // random.choice((10, 100)), "reorder_delay_ps": random.randrange(1, 4_000_000)},
        {"duplicate_2p64": ONE // random.choice((10, 100))},
    )
    links: Data = {}
    for kind in kinds:
        links |= kind if random.random() < 0.6 else {}
    switch, settings = random.choice(SWITCHES)
    if "lossless" in settings:  # its headroom counts on frames that come one after the other
        links = {key: value for key, value in links.items() if key.startswith("loss")}
    return Disorder(
        name="drawn",
        links=links,
        flaps=random.random() < 0.3,
        switch=switch,
        switch_settings=settings,
        incast=random.random() < 0.4,
    )


def some_delivery(nic: str, seed: int) -> Delivery:
    """One workload; the same for the same seed."""
    random = Random(f"{nic} {seed}")
    settings, disorder = some_settings(random, nic), some_disorder(random)
    profile = Delivery(nic=nic, disorder=disorder, settings=settings).setup.profile
    return Delivery(
        nic=nic,
        disorder=disorder,
        settings=settings,
        op=random.choice(profile.ops),
        size_bytes=random.choice(SIZES_BYTES),
        window=random.choice((1, 2, 5, 20)),
    )


@pytest.mark.parametrize("nic", NICS.names())
def test_delivery_drawn_modes_and_disorder_every_message_arrives_once_and_whole(nic: str) -> None:
    total = Outcome()
    for seed in SEEDS:
        one = some_delivery(nic, seed)
        found = deliver(one, until_ps=SLOW_UNTIL_PS if nic == "kernel" else UNTIL_PS, seed=seed)
        total += found
        assert found.posted > 0, (seed, one)
        assert (found.leaked, found.miscounted, found.disordered) == (0, 0, 0), (seed, one, found)
        if one.setup.profile.reliability == "unreliable":
            assert found.resent_packets == 0, (seed, one, found)
        else:
            assert found.delivered == found.posted, (seed, one, found)
            assert found.resent_packets >= found.lost_packets, (seed, one, found)
    assert total.posted > 2_000
    assert total.lost_packets > 100
    assert total.hit > 50


def test_transport_that_sends_nothing_again_is_found_in_every_lossy_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = delivery_runs.delivery_plan

    def unreliable(one: Delivery, **more: Any) -> Data:
        data = plan(one, **more)
        for node in data["nodes"][: delivery_runs.ENDPOINTS]:
            node["config"] |= {"reliability": "unreliable", "ordered": False, "congestion": ""}
        return data

    monkeypatch.setattr(delivery_runs, "delivery_plan", unreliable)
    rows = delivery.delivery(True, nic="kernel")
    failed = {row.case for row in rows if row.verdict == "fails"}
    assert {f"{name}: once and whole" for name in ("loss 1e-2", "all at once", "full buffer")} <= failed
