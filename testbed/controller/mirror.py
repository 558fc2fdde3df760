"""A bridge's tables as `ovs-ofctl` writes them to `SwitchTables`, with Open vSwitch's Python library. Pure.

What no switch here knows is kept by name in `other`, for `asic.check_tables` to refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from ovs.flow.kv import KVDecoders, KVParser
from ovs.flow.ofp import OFPFlow

from testbed.controller.tables import CPU_PORT, Bucket, Flow, Group, GroupKind, Match, SwitchTables
from testbed.errors import SpecError

IPV4 = 0x0800
_FIELDS = {
    "in_port": "in_port",
    "dl_dst": "eth_dst",
    "dl_src": "eth_src",
    "dl_type": "eth_type",
    "dl_vlan": "vlan_vid",
    "dl_vlan_pcp": "vlan_pcp",
    "nw_tos": "ip_dscp",
}
_PROTOCOLS = {"ip": IPV4, "ipv6": 0x86DD, "arp": 0x0806}
_KINDS: Mapping[str, GroupKind] = {"select": "select", "ff": "fast_failover"}
_PLAIN = KVDecoders(default=lambda key, value: (key, value))
"""Keys and values as they are written."""


def tables_of(flows: Iterable[str], groups: Iterable[str]) -> SwitchTables:
    """Tables from the lines of `dump-flows --no-stats` and of `dump-groups`."""
    return SwitchTables(
        flows=tuple(flow_of(line) for line in flows if "actions=" in line),
        groups=tuple(group_of(line) for line in groups if "group_id=" in line),
    )


@lru_cache(maxsize=1 << 17)  # switches of a tier have most rules in common, and a change is of few
def flow_of(line: str) -> Flow:
    """One rule."""
    parsed = OFPFlow(line)
    fields: dict[str, Any] = {}
    other = []
    priority = 0x8000  # what a rule has of which none is written
    for field in parsed.match_kv:
        key, text = field.meta.kstring, field.meta.vstring
        if key == "priority":
            priority = field.value
        elif key in _PROTOCOLS:
            fields["eth_type"] = _PROTOCOLS[key]
        elif key in _FIELDS and "/" not in text:
            fields[_FIELDS[key]] = _value(key, field.value, text)
        else:
            other.append(f"{key}={text}" if text else key)
    does: dict[str, Any] = {"other": tuple(_limits(parsed.info))}
    for action in parsed.actions_kv:
        _add_action(action, does)
    match = Match(**fields, other=tuple(other))
    return Flow(table=parsed.info.get("table", 0), priority=priority, match=match, **does)


def _value(key: str, value: Any, text: str) -> int | str:  # noqa: ANN401
    if key == "nw_tos":
        return int(value) >> 2  # the code point is in the upper six bits
    return text if key in ("dl_dst", "dl_src") else int(value)


def _limits(info: Mapping[str, Any]) -> Iterator[str]:
    """A rule that ends by itself is none that a switch here could have."""
    yield from (f"{name}={info[name]:g}" for name in ("idle_timeout", "hard_timeout") if name in info)


def _add_action(action: Any, does: dict[str, Any]) -> None:  # noqa: ANN401
    """Note what an action does; what is not known, or known already, goes to `other`."""
    key, value = action.key, action.value
    found: tuple[str, int] | None = None
    if key == "drop":
        return
    if key == "CONTROLLER" or (key == "output" and value.get("port") == "CONTROLLER"):
        found = ("output", CPU_PORT)
    elif key == "output" and isinstance(value.get("port"), int):
        found = ("output", value["port"])
    elif key in ("group", "set_queue", "goto_table"):
        found = ({"group": "group", "set_queue": "queue", "goto_table": "goto"}[key], int(value))
    if found is None or found[0] in does:
        meta = action.meta
        does["other"] = (*does["other"], f"{meta.kstring}{meta.delim}{meta.vstring}{meta.end_delim}")
    else:
        does[found[0]] = found[1]


def group_of(line: str) -> Group:
    """One group; a `SpecError` if it is none that tables can hold."""
    head, *texts = line.strip().split(",bucket=")
    about = _pairs(head)
    kind = _KINDS.get(about["type"])
    buckets = [_bucket(_pairs(text), kind) for text in texts]
    if kind is None or None in buckets or set(about) != {"group_id", "type"}:
        raise SpecError(
            f"group {about['group_id']} is none that a switch here can have: {line.strip()}",
            remedy="use groups of type select or fast failover, each bucket with one output and nothing else",
        )
    return Group(
        number=int(about["group_id"]), kind=kind, buckets=tuple(bucket for bucket in buckets if bucket)
    )


def _pairs(text: str) -> dict[str, str]:
    parser = KVParser(text, _PLAIN)
    parser.parse()
    return {pair.key: pair.value for pair in parser.kv()}


def _bucket(fields: Mapping[str, str], kind: GroupKind | None) -> Bucket | None:
    """None if a bucket does more, or other, than to send out of a port."""
    action, _, port = fields.get("actions", "").partition(":")
    known = {"bucket_id", "weight", "watch_port", "actions"}
    watched = fields.get("watch_port")
    if action != "output" or not port.isdigit() or not set(fields) <= known or watched not in (None, port):
        return None
    weight = int(fields.get("weight", 1)) if kind == "select" else 1
    return Bucket(port=int(port), weight=weight, watched=watched is not None)
