"""Lines of ovs-ofctl to tables: what is known, and what is kept by name."""

from __future__ import annotations

import pytest

from testbed.controller.mirror import flow_of, group_of, tables_of
from testbed.controller.tables import CPU_PORT, Bucket, Flow, Group, Match
from testbed.errors import SpecError

MAC = "02:54:4e:00:00:01"


@pytest.mark.parametrize(
    ("line", "flow"),
    [
        (" priority=0 actions=goto_table:1", Flow(table=0, priority=0, goto=1)),
        (
            " priority=5,dl_vlan=3,dl_vlan_pcp=1 actions=set_queue:3,goto_table:1",
            Flow(table=0, priority=5, match=Match(vlan_vid=3, vlan_pcp=1), queue=3, goto=1),
        ),
        (
            " priority=5,ip,nw_tos=184 actions=set_queue:5,goto_table:1",
            Flow(table=0, priority=5, match=Match(eth_type=0x0800, ip_dscp=46), queue=5, goto=1),
        ),
        (
            f" table=1, priority=10,in_port=1,dl_dst={MAC} actions=group:1",
            Flow(table=1, priority=10, match=Match(in_port=1, eth_dst=MAC), group=1),
        ),
        (
            " table=1, dl_type=0x88b5 actions=drop",
            Flow(table=1, priority=0x8000, match=Match(eth_type=0x88B5)),
        ),
        (" table=1, priority=0 actions=CONTROLLER:65535", Flow(table=1, priority=0, output=CPU_PORT)),
    ],
)
def test_flow_of_a_rule_that_switches_know(line: str, flow: Flow) -> None:
    assert flow_of(line) == flow


@pytest.mark.parametrize(
    ("line", "match", "action"),
    [
        (
            f" table=1, priority=9,dl_dst={MAC}/ff:ff:ff:00:00:00 actions=output:2",
            f"dl_dst={MAC}/ff:ff:ff:00:00:00",
            "",
        ),
        (" table=1, priority=9,tcp,tp_dst=80 actions=drop", "tcp tp_dst=80", ""),
        (f" priority=8 actions=set_field:{MAC}->eth_dst,output:2", "", f"set_field:{MAC}->eth_dst"),
        (" priority=8 actions=output:1,output:2", "", "output:2"),
        (" idle_timeout=50, priority=7 actions=output:1", "", "idle_timeout=50"),
    ],
)
def test_flow_of_what_no_switch_knows_is_kept_by_name(line: str, match: str, action: str) -> None:
    flow = flow_of(line)
    assert (" ".join(flow.match.other), " ".join(flow.other)) == (match, action)


def test_group_of_weights_and_watched_ports() -> None:
    text = " group_id=1,type=select,bucket=weight:3,watch_port:1,actions=output:1,bucket=actions=output:2"
    buckets = (Bucket(port=1, weight=3, watched=True), Bucket(port=2))
    assert group_of(text) == Group(number=1, kind="select", buckets=buckets)


@pytest.mark.parametrize(
    "line",
    [
        " group_id=4,type=all,bucket=actions=output:2",
        " group_id=4,type=select,bucket=actions=set_field:1->ip_dscp,output:2",
        " group_id=4,type=ff,bucket=watch_port:1,actions=output:2",
    ],
)
def test_group_of_a_kind_that_no_switch_has_is_refused_by_number(line: str) -> None:
    with pytest.raises(SpecError, match="group 4"):
        group_of(line)


def test_tables_of_skips_the_head_line() -> None:
    assert tables_of(["OFPST_FLOW reply"], ["OFPST_GROUP_DESC reply (OF1.3) (xid=0x2):"]).flows == ()
