from __future__ import annotations

from dataclasses import replace

from nic_emulator import NICS
from nic_emulator.profile import NicProfile
from nic_emulator.setup import configured
from testbed.run.assumptions import assumptions_of_nic, assumptions_of_run
from testbed.run.loader import load_experiment
from testbed.run.resolve import resolve
from testbed.spec.sourced import Sourced, assumptions_of


def used(nic: str, **settings: int | str) -> NicProfile:
    """A profile as a run uses it."""
    return configured(NICS.get(nic), settings).profile


def test_assumptions_of_nic_list_every_unverified_number_once() -> None:
    for name in NICS.names():
        profile = used(name)
        found = assumptions_of_nic(profile)
        places = [place for row in found for place in row.path.split(", ")]
        assert len(places) == len(set(places))
        outside_stages = {row.path for row in assumptions_of(profile, name) if ".stages[" not in row.path}
        assert outside_stages <= set(places)


def test_assumptions_of_nic_table_is_one_row_with_its_delays_and_probabilities() -> None:
    row = next(row for row in assumptions_of_nic(used("rdma")) if ".jitter" in row.path)
    assert row.path == "rdma.post.host_post.jitter, rdma.notify.host_poll.jitter"
    assert isinstance(row.value, tuple)
    assert row.value[0] == 0
    assert list(row.value) == sorted(row.value)
    assert row.source.startswith("at 0, 50, ")
    assert (row.unit, row.mark) == ("ps", "assumed")


def test_assumptions_of_nic_same_number_of_other_stages_stay_apart() -> None:
    paths = [row.path for row in assumptions_of_nic(used("rdma"))]
    assert "rdma.post.wqe_fetch.latency" in paths
    assert "rdma.send.dma_read.latency" in paths  # the same value from the same source


def test_assumptions_of_nic_tables_that_differ_stay_apart() -> None:
    profile = used("rdma")
    zero = Sourced(0, "ppm", "assumed", "x"), Sourced(7, "ps", "E", "y")
    stages = tuple(replace(s, jitter=(zero,)) if s.name == "host_poll" else s for s in profile.stages)
    rows = {row.path: row for row in assumptions_of_nic(replace(profile, stages=stages))}
    assert rows["rdma.notify.host_poll.jitter"].value == (7,)
    assert "rdma.post.host_post.jitter" in rows


def test_assumptions_of_run_cover_nics_and_switch() -> None:
    resolved = resolve(load_experiment("quickstart"))
    paths = [row.path for row in assumptions_of_run(resolved)]
    assert {path.partition(".")[0] for path in paths} >= {
        *resolved.experiment.nics,
        resolved.switch.profile.name,
    }


def test_assumptions_of_run_hold_pfc_and_ecn_only_where_they_are_on() -> None:
    experiment = load_experiment("quickstart")
    plain = {row.path for row in assumptions_of_run(resolve(experiment))}
    settings = {"lossless": "3", "paths": "flowlet:1us"}
    more = {row.path for row in assumptions_of_run(resolve(replace(experiment, switch_settings=settings)))}
    assert more - plain == {
        "tomahawk5.pfc.pause_quanta",
        "tomahawk5.pfc.generation",
        "tomahawk5.headroom.port_mtu",
        "tomahawk5.headroom.lossless_mtu",
        "tomahawk5.headroom.phy",
        "tomahawk5.paths.flowlet_entries",
        "transparent.reorder_window_pkts",
    }


def test_assumptions_of_run_over_links_that_reorder_hold_what_bears_it() -> None:
    experiment = load_experiment("quickstart")
    plain = {row.path for row in assumptions_of_run(resolve(experiment))}
    parameters = {**experiment.topology_parameters, "reorder": "1e-3"}
    more = {
        row.path for row in assumptions_of_run(resolve(replace(experiment, topology_parameters=parameters)))
    }
    assert more - plain == {"link.reorder_delay", "transparent.reorder_window_pkts"}


def test_assumptions_of_run_leave_out_what_the_experiment_sets() -> None:
    experiment = replace(load_experiment("quickstart"), switch="tomahawk_ultra")
    assert "tomahawk_ultra.buffer.pool" in {row.path for row in assumptions_of_run(resolve(experiment))}
    sets = replace(experiment, switch_settings={"buffer": "100MB"})
    assert "tomahawk_ultra.buffer.pool" not in {row.path for row in assumptions_of_run(resolve(sets))}


def test_assumptions_of_run_of_many_ports_name_no_limit_of_ports() -> None:
    experiment = replace(load_experiment("quickstart"), switch="spectrum4")
    assert "spectrum4.max_ports" not in {row.path for row in assumptions_of_run(resolve(experiment))}


def paths_of(nics: tuple[str, ...], **settings: int | str) -> set[str]:
    """The places of every assumption of the quickstart with other NICs and their settings."""
    experiment = replace(load_experiment("quickstart"), nics=nics, nic_settings=settings)
    return {place for row in assumptions_of_run(resolve(experiment)) for place in row.path.split(", ")}


def test_assumptions_of_run_hold_what_a_nic_setting_switches_on_and_no_more() -> None:
    plain = paths_of(("transparent",))
    assert paths_of(("transparent",), udp="on", paths=8) - plain == {"transparent.reorder_window_pkts"}
    assert paths_of(("transparent",), batch="1KiB") - plain == {
        "transparent.batching.delay",
        "transparent.batching.header",
    }
    assert paths_of(("transparent",), window=16) - plain == set()
    assert plain - paths_of(("transparent",), window=16) == {"transparent.window_pkts"}


def test_assumptions_of_run_hold_congestion_control_only_where_it_is_on() -> None:
    plain = paths_of(("transparent",))
    assert paths_of(("transparent",), congestion="dctcp") - plain == {
        "transparent.congestions[dctcp][initial_window_pkts]",
        "transparent.congestions[dctcp][min_window_pkts]",
        "transparent.congestions[dctcp][max_window_bytes]",
    }


def test_assumptions_of_run_without_acknowledgements_have_none_about_them() -> None:
    places = paths_of(("kernel",), protocol="udp")
    assert "kernel.softirq.occupancy" not in places
    assert "kernel.receive.softirq.occupancy" in places
    assert not places & {"kernel.window_pkts", "kernel.ack_latency", "kernel.retransmission_timeout"}


def test_assumptions_of_run_hold_the_card_where_several_share_a_nic() -> None:
    more = paths_of(("transparent",), cards=4) - paths_of(("transparent",))
    assert {path.split(".")[-2] for path in more} == {"card_dma", "card_memory", "pcie_switch"}


def test_assumptions_of_run_hold_a_signal_only_where_messages_signal() -> None:
    experiment = replace(load_experiment("quickstart"), nics=("transparent",))
    signalling = tuple(replace(scenario, op="put_signal") for scenario in experiment.scenarios)
    plain, more = (
        {row.path for row in assumptions_of_run(resolve(one))}
        for one in (experiment, replace(experiment, scenarios=signalling))
    )
    assert more - plain == {"transparent.signal.signal.latency"}
