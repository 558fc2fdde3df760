from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.run.loader import experiment_names, load_experiment
from testbed.run.resolve import resolve
from testbed.spec.experiment import Scenario, Variant
from tests.unit.samples import GOOD


def scenario(**changes: Any) -> dict[str, Any]:
    return {"scenarios": (Scenario(**{"name": "s", "kind": "idle"} | changes),)}


def topology(name: str, **parameters: Any) -> dict[str, Any]:
    return {"topology": name, "topology_parameters": parameters}


def variants(*several: object) -> dict[str, Any]:
    return {"variants": several}


def failures(*texts: str) -> dict[str, Any]:
    return {"failures": texts}


A = Variant(name="a")
TWICE = (Scenario(name="a", kind="idle"), Scenario(name="a", kind="pingpong"))

# what is wrong, what it is changed to, the path that is named, a part of the message
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("name empty", {"name": ""}, "name", "is no name"),
    ("name is a path", {"name": "../x"}, "name", "is no name"),
    ("name too long", {"name": "x" * 200}, "name", "longer than"),
    ("no question", {"question": " "}, "question", "is no text"),
    ("unknown topology", topology("leaf_spin"), "topology", "did you mean 'leaf_spine'?"),
    ("topology is no text", {"topology": 7}, "topology", "is no text"),
    ("unknown parameter", topology("leaf_spine", leafs=4), "topology_parameters.leafs", "'leaves'"),
    ("negative count", topology("leaf_spine", leaves=-4), "topology_parameters.leaves", "out of range"),
    ("absurd count", topology("single_switch", cards=10**9), "topology_parameters.cards", "out of range"),
    ("no whole byte time", topology("dumbbell", rate="300Gbps"), "topology_parameters.rate", "picoseconds"),
    ("cable too long", topology("dumbbell", length="9m"), "topology_parameters.length", "too long"),
    ("unknown medium", topology("dumbbell", medium="wet string"), "topology_parameters.medium", "unknown"),
    ("parameter is a float", topology("dumbbell", left=1.5), "topology_parameters.left", "whole number"),
    ("parameters are a list", {"topology_parameters": ["k"]}, "topology_parameters", "no mapping"),
    ("one card only", topology("single_switch", cards=1), "topology_parameters", "no peer"),
    ("unknown switch", {"switch": "tomahawk"}, "switch", "did you mean 'tomahawk"),
    ("rate not on the switch", topology("dumbbell", rate="25Gbps"), "switch", "no ports of 25Gbps"),
    ("too many ports", topology("single_switch", cards=129), "switch", "129 ports of 51.6Tbps"),
    ("too many slow ports", topology("single_switch", cards=257, rate="100Gbps"), "switch", "has 256"),
    ("no NIC", {"nics": ()}, "nics", "at least one"),
    ("unknown NIC", {"nics": ("rmda",)}, "nics[0]", "did you mean 'rdma'?"),
    ("NIC twice", {"nics": ("rdma", "rdma")}, "nics", "appears 2 times"),
    ("NICs as text", {"nics": "rdma"}, "nics", "no list"),
    ("NIC is a number", {"nics": (3,)}, "nics[0]", "is no name"),
    ("no size", {"sizes_bytes": ()}, "sizes_bytes", "at least one"),
    ("size 0", {"sizes_bytes": (0,)}, "sizes_bytes[0]", "out of range"),
    ("size negative", {"sizes_bytes": (64, -1)}, "sizes_bytes[1]", "out of range"),
    ("size above 1 GiB", {"sizes_bytes": (2**30 + 1,)}, "sizes_bytes[0]", "out of range"),
    ("size is a float", {"sizes_bytes": (1e3,)}, "sizes_bytes[0]", "no whole number"),
    ("size is text", {"sizes_bytes": ("4KiB",)}, "sizes_bytes[0]", "no whole number"),
    ("size twice", {"sizes_bytes": (64, 64)}, "sizes_bytes", "64 appears 2 times"),
    ("no scenario", {"scenarios": ()}, "scenarios", "at least one"),
    ("scenario is text", {"scenarios": ("idle",)}, "scenarios[0]", "is no Scenario"),
    ("scenario twice", {"scenarios": TWICE}, "scenarios", "'a' appears 2 times"),
    ("scenario name", scenario(name="A b"), "scenarios[0].name", "is no name"),
    ("scenario kind", scenario(kind="posson"), "scenarios[0].kind", "did you mean 'poisson'?"),
    ("load 0", scenario(kind="poisson"), "scenarios[0].load_permille", "0 is out of range"),
    (
        "load 100 %",
        scenario(kind="poisson", load_permille=1000),
        "scenarios[0].load_permille",
        "no steady state",
    ),
    ("load negative", scenario(kind="poisson", load_permille=-1), "scenarios[0].load_permille", "range"),
    ("load a float", scenario(kind="poisson", load_permille=0.6), "scenarios[0].load_permille", "whole"),
    ("load when idle", scenario(load_permille=100), "scenarios[0].load_permille", "idle has no load"),
    (
        "permutation above line rate",
        scenario(kind="permutation", load_permille=1001),
        "scenarios[0].load_permille",
        "out of range",
    ),
    ("incast without load", scenario(kind="incast", fan_in=8), "scenarios[0].load_permille", "range"),
    ("incast without fan-in", scenario(kind="incast", load_permille=500), "scenarios[0].fan_in", "range"),
    (
        "incast of all endpoints",
        scenario(kind="incast", load_permille=500, fan_in=16),
        "scenarios[0].fan_in",
        "only 16 endpoints",
    ),
    ("fan-in without incast", scenario(fan_in=8), "scenarios[0].fan_in", "no fan-in"),
    (
        "victim of all endpoints",
        scenario(kind="victim", fan_in=14),
        "scenarios[0].fan_in",
        "14 senders and a receiver, a victim and its destination, but only 16 endpoints",
    ),
    ("victim without fan-in", scenario(kind="victim"), "scenarios[0].fan_in", "range"),
    ("scenario records negative", scenario(records=-1), "scenarios[0].records", "range"),
    ("unknown setting", {"switch_settings": {"alpha_log": 1}}, "switch_settings.alpha_log", "'alpha_log2'"),
    ("settings are a list", {"switch_settings": ["ecn"]}, "switch_settings", "no mapping"),
    ("setting is a float", {"switch_settings": {"alpha_log2": 0.5}}, "switch_settings.alpha_log2", "whole"),
    ("more packets than numbers", {"sizes_bytes": (2**30,)}, "sizes_bytes[0]", "more than 32,768 packets"),
    ("unknown NIC setting", {"nic_settings": {"tpl": "1us"}}, "nic_settings.tpl", "did you mean 'tlp'?"),
    ("NIC setting of another", {"nic_settings": {"rdma.tlp": "1us"}}, "nic_settings.rdma.tlp", "rdma has no"),
    ("setting not of all NICs", {"nic_settings": {"post": "inline"}}, "nic_settings.post", "transparent"),
    (
        "setting of an absent NIC",
        {"nic_settings": {"uec.mode": "x"}},
        "nic_settings.uec.mode",
        "unknown mode",
    ),
    ("NIC settings are a list", {"nic_settings": ["cards"]}, "nic_settings", "no mapping"),
    (
        "telemetry in shared packets",
        {"switch_settings": {"int": "on"}, "nic_settings": {"transparent.batch": "1KiB:200ns"}},
        "nic_settings.batch",
        "with in-band telemetry hold one message",
    ),
    ("five cards", {"nic_settings": {"cards": 5}}, "nic_settings.cards", "from 1 to 4"),
    ("operation unknown", scenario(op="pull"), "scenarios[0].op", "unknown operation 'pull'"),
    ("operation not of the NIC", {**scenario(op="send")}, "scenarios[0].op", "transparent cannot send"),
    ("batch 0", scenario(batch=0), "scenarios[0].batch", "out of range"),
    ("batch in a closed loop", scenario(kind="pingpong", batch=2), "scenarios[0].batch", "no batches"),
    ("host agents", {"host_agents": "frozen"}, "host_agents", "befalls no host agent"),
    (
        "variant's NIC setting",
        variants(A, Variant(name="b", nic_settings={"cards": 9})),
        "variant 'b': nic_settings.cards",
        "from 1 to 4",
    ),
    (
        "variant's host agents",
        variants(Variant(name="a", host_agents="frozen")),  # type: ignore[arg-type]
        "variants[0].host_agents",
        "befalls",
    ),
    ("ualink over two switches", {"nics": ("ualink",)}, "topology", "cards on its own switch"),
    (
        "victim with several cards",
        {**scenario(kind="victim", fan_in=4), "nic_settings": {"cards": 2}},
        "scenarios[0].kind",
        "one card each",
    ),
    (
        "incast of all cards",
        {**scenario(kind="incast", load_permille=500, fan_in=31), "nic_settings": {"cards": 2}},
        "scenarios[0].fan_in",
        "16 endpoints of 2 cards",
    ),
    ("variants are one", {"variants": A}, "variants", "is no list"),
    ("variant is text", variants("a"), "variants[0]", "is no Variant"),
    ("variant twice", variants(A, A), "variants", "'a' appears 2 times"),
    ("variant name", variants(Variant(name="A b")), "variants[0].name", "is no name"),
    (
        "variant's parameters are a list",
        variants(A, Variant(name="b", topology_parameters=["k"])),  # type: ignore[arg-type]
        "variants[1].topology_parameters",
        "no mapping",
    ),
    ("variant's switch", variants(A, Variant(name="b", switch="idael")), "variant 'b': switch", "'ideal'"),
    (
        "variant's setting",
        variants(A, Variant(name="b", switch_settings={"pahts": "hash"})),
        "variant 'b': switch_settings.pahts",
        "did you mean 'paths'?",
    ),
    (
        "variant's cable",
        variants(A, Variant(name="b", topology_parameters={"length": "9m"})),
        "variant 'b': topology_parameters.length",
        "too long",
    ),
    (
        "variant's ports",
        variants(A, Variant(name="b", topology_parameters={"rate": "25Gbps"})),
        "variant 'b': switch",
        "no ports of",
    ),
    ("records 0", {"records": 0}, "records", "out of range"),
    ("records absurd", {"records": 10**15}, "records", "out of range"),
    ("records a bool", {"records": True}, "records", "no whole number"),
    ("emulated records negative", {"emulated_records": -1}, "emulated_records", "out of range"),
    ("seed negative", {"seed": -1}, "seed", "out of range"),
    ("seed too large", {"seed": 2**64}, "seed", "out of range"),
    ("snap negative", {"snap_bytes": -1}, "snap_bytes", "out of range"),
    ("failures are one text", {"failures": "l1>s1:down"}, "failures", "no list of texts"),
    ("failure is a number", {"failures": (7,)}, "failures", "no list of texts"),
    ("failure unknown", failures("l1>s1@1us:dwn"), "failures[0]", "did you mean 'down'?"),
    (
        "failure of no node",
        failures("l1>s1:down", "l1>s9:down"),
        "failures[1]",
        "unknown node 's9'; did you mean",
    ),
    ("failure of no link", failures("l1>l2:down"), "failures[0]", "no link from l1 to l2"),
    ("failure of no port", failures("l1.9>s1:down"), "failures[0]", "no link from l1 to s1 on port 9"),
    ("restart of no node", failures("x1@1us-2us:restart"), "failures[0]", "unknown node 'x1'"),
    ("restart of a far node", failures("c77@1us-2us:restart"), "failures[0]", "did you mean 'c7'?"),
    ("process of a switch", failures("s1@1us:process"), "failures[0]", "s1 is a switch"),
    ("card that stays away", failures("c1@1us:restart"), "failures[0]", "never comes back"),
    ("rate as it is", failures("l1>s1:rate=800Gbps"), "failures[0]", "not slower than the 800Gbps of l1-s1"),
    ("rate above", failures("c1>l1:rate=800Gbps"), "failures[0]", "not slower than the 400Gbps of c1-l1"),
    (
        "restarts at once",
        failures("s1@1us-9us:restart", "s1@5us-6us:restart"),
        "failures",
        "are of s1 at one time",
    ),
    ("restart that touches", failures("c1@1us-5us:restart", "c1@5us:process"), "failures", "c1 at one time"),
    (
        "controller lost twice",
        failures("controller@1us:lost", "controller@9us:lost"),
        "failures",
        "are of controller at one time",
    ),
    (
        "no controller to lose",
        {"controller": "static"} | failures("controller@1us:lost"),
        "failures[0]",
        "there is none that could be lost",
    ),
    (
        "restart with credits",
        {"switch": "tomahawk_ultra", "switch_settings": {"cbfc": "on"}} | failures("s1@1us-2us:restart"),
        "failures[0]",
        "would wait for ever for the credits",
    ),
    ("controller unknown", {"controller": "ruy"}, "controller", "did you mean 'ryu'?"),
    ("controller is a number", {"controller": 7}, "controller", "is no text"),
    (
        "control setting unknown",
        {"control_settings": {"falover": "on"}},
        "control_settings.falover",
        "'failover'",
    ),
    ("control time", {"control_settings": {"detection": "fast"}}, "control_settings.detection", "not a time"),
    ("control settings a list", {"control_settings": ["failover"]}, "control_settings", "no mapping"),
    (
        "variant's failure unknown",
        variants(Variant(name="a", failures=("l1>s1@1us:dwn",))),
        "variants[0].failures[0]",
        "did you mean 'down'?",
    ),
    (
        "variant's failure of no node",
        variants(A, Variant(name="b", failures=("l1>s9:down",))),
        "variant 'b': failures[0]",
        "unknown node 's9'",
    ),
    (
        "variant's control setting",
        variants(A, Variant(name="b", control_settings={"paths": "all"})),
        "variant 'b': control_settings.paths",
        "no use of paths",
    ),
]


@pytest.mark.parametrize(("change", "path", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_resolve_bad_spec_is_refused_with_path_and_remedy(
    change: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(replace(GOOD, **change))

    found = {problem.path: problem for problem in caught.value.problems}
    assert path in found, caught.value
    assert message in str(found[path])
    assert found[path].remedy
    assert caught.value.exit_code == 2


def test_resolve_many_faults_are_one_message() -> None:
    bad = replace(
        GOOD,
        name="?",
        switch="tomahawk7",
        nics=("rmda",),
        sizes_bytes=(0,),
        seed=-1,
        **topology("leaf_spine", leaves=0, rate="x", colour=1),
        **scenario(kind="poisson", load_permille=1000),
    )
    with pytest.raises(SpecError) as caught:
        resolve(bad)

    assert len(str(caught.value).splitlines()) == 9
    assert caught.value.remedy == "correct the 9 fields named above"


def test_resolve_fault_of_all_variants_is_named_once_and_without_them() -> None:
    bad = replace(
        GOOD,
        switch="idael",
        variants=(A, Variant(name="b", topology_parameters={"leafs": 2}), Variant(name="c")),
    )
    with pytest.raises(SpecError) as caught:
        resolve(bad)

    assert [problem.path for problem in caught.value.problems] == [
        "switch",
        "variant 'b': topology_parameters.leafs",
    ]


@pytest.mark.parametrize("controller", ["", "static", "ryu", "os-ken", "my/app.py", "tables.json"])
def test_resolve_takes_every_way_to_program_switches(controller: str) -> None:
    assert resolve(replace(GOOD, controller=controller)).experiment.controller == controller


def test_resolve_good_spec_gives_fabric_switch_and_cells() -> None:
    resolved = resolve(GOOD)

    assert len(resolved.fabric.endpoints) == 16
    assert resolved.switch.profile.name == "tomahawk5"
    assert [cell.id for cell in resolved.cells] == [
        "idle-4KiB-transparent",
        "idle-4KiB-rdma",
        "idle-64KiB-transparent",
        "idle-64KiB-rdma",
        "load-4KiB-transparent",
        "load-4KiB-rdma",
        "load-64KiB-transparent",
        "load-64KiB-rdma",
    ]


@pytest.mark.parametrize(
    "change",
    [
        scenario(kind="incast", load_permille=999, fan_in=15),
        scenario(kind="incast", load_permille=1, fan_in=1),
        {**scenario(kind="incast", load_permille=500, fan_in=30), "nic_settings": {"cards": 2}},
        {"nics": ("ualink",), **topology("squadrack")},
        {"nic_settings": {"uec.mode": "rod", "rdma.post": "inline", "cards": 4}},
        {"nics": ("rdma",), **scenario(op="send", batch=64)},
        scenario(kind="permutation"),
        scenario(kind="permutation", load_permille=1000),
        scenario(kind="pingpong"),
        scenario(kind="victim", fan_in=13),
        scenario(kind="victim", fan_in=1, load_permille=1000),
        {"variants": [A]},
        topology("single_switch", cards=128),
        topology("dumbbell", rate="25Gbps") | {"switch": "ideal"},
        {"seed": 2**64 - 1, "sizes_bytes": (1, 32_768 * 4096), "snap_bytes": 0, "emulated_records": 0},
        {"nics": ["rdma"], "sizes_bytes": [64]},
    ],
)
def test_resolve_spec_at_the_limits_is_accepted(change: dict[str, Any]) -> None:
    resolve(replace(GOOD, **change))


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_loads_and_resolves(name: str) -> None:
    experiment = load_experiment(name)

    resolved = resolve(experiment)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert len({cell.id for cell in resolved.cells}) == len(resolved.cells)


def test_quickstart_is_what_the_readme_promises() -> None:
    resolved = resolve(load_experiment("quickstart"))

    tiers = [switch.tier for switch in resolved.fabric.switches]
    assert (len(resolved.fabric.endpoints), tiers.count(0), tiers.count(1)) == (16, 4, 2)
    assert len(resolved.cells) == 12
    assert resolved.experiment.records == 10**6
    assert resolved.experiment.emulated_records >= 100_000


@pytest.mark.parametrize(
    ("scenario", "cards", "says"),
    [
        (
            Scenario(name="x", kind="poisson", load_permille=300, load_of="card"),
            4,
            "no steady load of one port",
        ),
        (Scenario(name="x", kind="idle", load_of="card"), 1, "the load of idle is a port's"),
    ],
)
def test_loads_of_cards_that_make_no_sense_are_refused(scenario: Scenario, cards: int, says: str) -> None:
    spec = replace(GOOD, scenarios=(scenario,), nic_settings={"cards": cards})
    with pytest.raises(SpecError, match=says):
        resolve(spec)


def test_pairs_need_an_even_number_of_cards() -> None:
    odd = replace(
        GOOD,
        topology="single_switch",
        topology_parameters={"cards": 3},
        scenarios=(Scenario(name="x", kind="pairs", load_permille=300),),
    )
    with pytest.raises(SpecError, match="odd number of cards"):
        resolve(odd)


def test_most_bytes_gives_large_messages_fewer_records() -> None:
    spec = replace(GOOD, sizes_bytes=(64, 1 << 20), records=1000, most_bytes=100 << 20)
    assert {cell.size_bytes: spec.records_of(cell) for cell in spec.cells()} == {64: 1000, 1 << 20: 100}
