"""Rules and groups as `ovs-ofctl` writes them (`-O OpenFlow13 dump-flows`, `dump-groups`). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.controller.tables import CPU_PORT, Bucket, Flow, Group, Match, SwitchTables

_ETHER_TYPES = {0x0800: "ip"}
_GROUP_KINDS = {"select": "select", "fast_failover": "ff"}


def flow_text(flow: Flow) -> str:
    """One rule."""
    matched = ",".join([f"priority={flow.priority}", *_fields(flow.match)])
    return f"table={flow.table}, {matched} actions={','.join(_actions(flow)) or 'drop'}"


def group_text(group: Group) -> str:
    """One group."""
    buckets = ",".join(f"bucket={_bucket(group, bucket)}" for bucket in group.buckets)
    return f"group_id={group.number},type={_GROUP_KINDS[group.kind]}" + (f",{buckets}" if buckets else "")


def tables_text(tables: SwitchTables) -> list[str]:
    """All groups, then all rules, a line each."""
    return [*map(group_text, tables.groups), *map(flow_text, tables.flows)]


def _fields(match: Match) -> Iterator[str]:
    if match.in_port is not None:
        yield f"in_port={match.in_port}"
    if match.eth_type is not None:
        yield _ETHER_TYPES.get(match.eth_type, f"dl_type=0x{match.eth_type:04x}")
    if match.vlan_vid is not None:
        yield f"dl_vlan={match.vlan_vid}"
    if match.vlan_pcp is not None:
        yield f"dl_vlan_pcp={match.vlan_pcp}"
    if match.eth_src is not None:
        yield f"dl_src={match.eth_src}"
    if match.eth_dst is not None:
        yield f"dl_dst={match.eth_dst}"
    if match.ip_dscp is not None:
        yield f"ip_dscp={match.ip_dscp}"
    yield from match.other


def _actions(flow: Flow) -> Iterator[str]:
    if flow.queue is not None:
        yield f"set_queue:{flow.queue}"
    if flow.output is not None:
        yield "CONTROLLER:65535" if flow.output == CPU_PORT else f"output:{flow.output}"
    if flow.group is not None:
        yield f"group:{flow.group}"
    if flow.goto is not None:
        yield f"goto_table:{flow.goto}"
    yield from flow.other


def _bucket(group: Group, bucket: Bucket) -> str:
    weight = f"weight:{bucket.weight}," if group.kind == "select" else ""
    watched = bucket.watched or group.kind == "fast_failover"
    return f"{weight}{f'watch_port:{bucket.port},' if watched else ''}actions=output:{bucket.port}"
