"""Where a tail came from, as text, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.analysis.answers import approximate_time, readable_size
from testbed.analysis.breakdown import share_ppm
from testbed.analysis.explain import Explanation, Kind, Part
from testbed.analysis.hops import CARD_TIER, Flow, Hop, Network, Outcome
from testbed.analysis.tail import ExplainedTail, PlaceShare, Resends, Tail
from testbed.report.describe import tier_name
from testbed.report.layout import Scale, choose_scale, empty_table, printed, prose
from testbed.units import BYTES_PER_KIB, PPM_PER_WHOLE, PS_PER_US

MOST_PLACES = 8
_PERCENT_PPM = PPM_PER_WHOLE // 100
_MICROSECONDS = Scale(PS_PER_US, "µs", 2)
_WAITING = (Kind.QUEUE, Kind.PAUSE)
_ALL = 200
"""What lacks less than one in so many of the whole is practically all of it."""
_LEAST_NAMED = 5
"""A port with less than one in so many of the waiting is not named for it."""
_LEAST_TOLD = 20
"""A part of less than one in so many of the excess is not worth a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Parts of a latency that are told together."""

    name: str
    phrase: str
    """In a sentence."""
    kind: Kind
    role: tuple[int, int] | None = None
    """For waiting: from which tier to which."""

    def holds(self, part: Part, network: Network) -> bool:
        """Whether a part belongs here."""
        return part.kind is self.kind and (self.role is None or role_of(part, network) == self.role)


NAMES: dict[Kind, tuple[str, str]] = {
    Kind.SOURCE_SOFTWARE: ("software, sender", "software at the sender"),
    Kind.SOURCE_NIC: ("NIC, sender", "the sender's NIC"),
    Kind.SOURCE_QUEUE: ("waiting in the NIC", "waiting for a turn in the sender's NIC"),
    Kind.MESSAGE: ("rest of the message", "sending the rest of the message"),
    Kind.RETRANSMISSION: ("sent again", "packets that had to be sent again"),
    Kind.QUEUE: ("waiting", "waiting"),
    Kind.PAUSE: ("paused", "ports that were paused"),
    Kind.WIRE: ("links", "links"),
    Kind.PIPELINE: ("switch pipelines", "switch pipelines"),
    Kind.SERIALISATION: ("serialisation", "serialisation"),
    Kind.REPLAY: ("link retry", "links that sent a frame again"),
    Kind.RECEIVER_NIC: ("NIC, receiver", "the receiver's NIC"),
    Kind.NOTIFICATION: ("software, receiver", "software at the receiver"),
}
"""In the order of a message's way: in a table, and in a sentence."""


def role_of(part: Part, network: Network) -> tuple[int, int]:
    """From which tier to which the port of a part leads."""
    return network.tiers[part.node], network.tiers[network.wires[part.node, part.port].peer]


def rows_of(tail: Tail, network: Network) -> list[Row]:
    """What the messages lost time in, along their way; waiting by what the ports lead to."""
    found = {part for group in tail.groups for part in group.sums_ps}
    highest = max(network.tiers.values())
    rows: list[Row] = []
    for kind, (name, phrase) in NAMES.items():
        here = [part for part in found if part.kind is kind]
        if kind is not Kind.QUEUE:
            rows += [Row(name=name, phrase=phrase, kind=kind)] * bool(here)
            continue
        for role in sorted({role_of(part, network) for part in here}, key=_along_the_way):
            ends = " → ".join(tier_name(tier, highest) for tier in role)
            rows.append(Row(name=f"{name}, {ends}", phrase=f"{phrase} at {ends} ports", kind=kind, role=role))
    return rows


def _along_the_way(role: tuple[int, int]) -> tuple[bool, int]:
    """Up, and then down again."""
    down = role[0] > role[1]
    return down, -role[0] if down else role[0]


# ------------------------------------------------------------------------------------------------- text


def tail_text(found: ExplainedTail, *, title: str, width: int | None = None) -> str:
    """Heading, where the time goes, the places, the slowest message, and the answer."""
    tail = found.tail
    parts = [
        prose(_heading(found, title), width),
        _parts_table(tail, found.network),
        *_places_table(tail, found.network),
        _slowest_table(found.slowest[0], found.network),
        prose([*_resend_lines(tail), ("answer", answer(found))], width),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _heading(found: ExplainedTail, title: str) -> list[tuple[str, str]]:
    tail, slow = found.tail, found.tail.slowest
    return [
        ("tail", title),
        (
            "",
            f"{slow.messages:,} of {tail.messages:,} messages took {approximate_time(tail.threshold_ps)} or more: "
            f"{approximate_time(slow.latency_ps)} in the mean, {approximate_time(tail.excess_ps)} more than those "
            "at the median",
        ),
    ]


def _parts_table(tail: Tail, network: Network) -> str:
    """One row per part, one column per group; then what the slowest have more than the median, and its share."""
    table = empty_table(["part"], [*(group.name for group in tail.groups), "excess", "share"])
    scale = choose_scale([group.latency_ps for group in tail.groups])
    for row in rows_of(tail, network):
        means = [group.mean_of_ps(_chosen(row, network)) for group in tail.groups]
        excess = means[-1] - means[0]
        table.add_row(
            row.name, *map(scale.number, means), scale.number(excess), percent(excess, tail.excess_ps)
        )
    means = [group.latency_ps for group in tail.groups]
    table.add_section()
    table.add_row("latency", *map(scale.number, means), scale.number(tail.excess_ps), "100 %")
    return printed(table, False) + f"mean times in {scale.unit}; excess: {tail.slowest.name} less p50\n"


def _chosen(row: Row, network: Network) -> Callable[[Part], bool]:
    return lambda part: row.holds(part, network)


def _places_table(tail: Tail, network: Network) -> list[str]:
    """The worst of them; none if no message waited."""
    places = waiting_places(tail)
    if not places:
        return []
    whole = sum(place.mean_ps for place in places)
    table = empty_table(["where", "what"], ["mean", "of the waiting", "messages"])
    table.add_column("most often behind", no_wrap=True)
    for place in places[:MOST_PLACES]:
        table.add_row(
            place_name(place.part, network),
            NAMES[place.part.kind][0],
            _MICROSECONDS.number(place.mean_ps),
            percent(place.mean_ps, whole),
            f"{place.cases:,}",
            behind_text(place, network),
        )
    others = len(places) - MOST_PLACES
    rest = sum(place.mean_ps for place in places[MOST_PLACES:])
    note = f"mean over all of the {tail.slowest.name}, in {_MICROSECONDS.unit}"
    note += f"; {percent(rest, whole)} at {others:,} other places" if others > 0 else ""
    return [printed(table, False) + note + "\n"]


def waiting_places(tail: Tail) -> list[PlaceShare]:
    """Where the slowest messages waited, were paused or were sent again by the link, the worst first."""
    places = [place for kind in (Kind.QUEUE, Kind.PAUSE, Kind.REPLAY) for place in tail.places[kind]]
    return sorted(places, key=lambda place: (-place.mean_ps, place.part))


def place_name(part: Part, network: Network) -> str:
    """`l2 port 3 → c7, class 3`."""
    return f"{network.port_name(part.node, part.port)}, class {part.traffic_class}"


def behind_text(place: PlaceShare, network: Network) -> str:
    """Which flow was mostly ahead, and in how many of the cases."""
    if not place.behind_cases:
        return ""
    return f"{flow_text(place.behind, place.part.node, network)} ({percent(place.behind_cases, place.cases)} of these)"


def flow_text(flow: Flow | None, node: int, network: Network) -> str:
    """`c4 → c7`; a card does not tell its flows apart, and on a port without a queue a frame is on its way out."""
    if flow is not None:
        return network.flow_name(flow)
    return "frames of its own card" if network.tiers[node] == CARD_TIER else "a frame on its way out"


def _slowest_table(one: Explanation, network: Network) -> str:
    """The way of the packet that completed the slowest message."""
    message = one.message
    scale = _MICROSECONDS
    table = empty_table(["the slowest message's way"], ["ready", "waits", "paused", "leaves"])
    table.add_column("behind", no_wrap=True)
    for hop in one.path:
        queued = hop.wait_ps - hop.paused_ps
        table.add_row(
            f"{network.port_name(hop.entity, hop.port)}, class {hop.traffic_class}",
            scale.number(hop.arrived_ps - message.intended_ps),
            scale.number(queued) if queued else "–",
            scale.number(hop.paused_ps) if hop.paused_ps else "–",
            scale.number(hop.started_ps - message.intended_ps),
            _ahead(hop, network) if hop.wait_ps else "",
        )
    for name, time_ps in (
        ("in the receiver's memory", message.delivered_ps),
        ("receiver told", message.completed_ps),
    ):
        table.add_row(name, scale.number(time_ps - message.intended_ps), "", "", "", "")
    resent = "" if one.resend is None else f"; the packet was sent {one.resend.times + 1} times"
    note = (
        f"{scale.unit} after the intended time, {approximate_time(message.intended_ps)} into the run; "
        f"message {message.msn:,} of {network.flow_name(message.flow)}{resent}"
    )
    return printed(table, False) + note + "\n"


def _ahead(hop: Hop, network: Network) -> str:
    if hop.behind is None:
        size = f"{_size(hop.ahead_bytes)}, " if hop.ahead_bytes else ""
        return size + flow_text(None, hop.entity, network)
    of_flow = percent(hop.ahead_flow_bytes, hop.ahead_bytes)
    return f"{_size(hop.ahead_bytes)}, {of_flow} of it {network.flow_name(hop.behind)}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / BYTES_PER_KIB:,.1f} KiB" if size_bytes >= BYTES_PER_KIB else f"{size_bytes} B"


def _resend_lines(tail: Tail) -> list[tuple[str, str]]:
    found = tail.resends
    lines: list[str] = []
    if found.messages:
        lines.append(_resend_text(found))
    if found.held:
        lines.append(
            f"{found.held:,} were posted while an earlier message of their flow had packets that were being sent again"
        )
    return [("sent again" if not index else "", text) for index, text in enumerate(lines)]


def _resend_text(found: Resends) -> str:
    causes = {
        "dropped by a switch": found.dropped,
        "trimmed by a switch": found.trimmed,
        "refused by the receiver or lost on a wire": found.refused,
    }
    how = ", ".join(f"{count:,} {name}" for name, count in causes.items() if count)
    return (
        f"{found.messages:,} of these messages waited for a packet that was sent again ({how}): "
        f"{found.timed_out:,} for a time-out, {found.messages - found.timed_out:,} for a negative acknowledgement"
    )


def answer(found: ExplainedTail) -> str:
    """One sentence: what the tail is made of, and where most of the waiting is."""
    tail, network, cell = found.tail, found.network, found.summary
    who = f"{cell.condition}, the {tail.slowest.name} of {readable_size(cell.size_bytes)} puts with {cell.alternative}"
    if tail.excess_ps <= 0:
        return f"{who} take no longer than the median: there is no tail to explain."
    excess = [(row, _excess(row, tail, network)) for row in rows_of(tail, network)]
    largest = sorted(excess, key=lambda item: -item[1])[:2]
    told = [(row, ps) for row, ps in largest if _LEAST_TOLD * ps >= tail.excess_ps]
    shares = [f"{_share(ps, tail.excess_ps)} is {row.phrase}" for row, ps in told]
    where = _worst_place(tail, network) if any(row.kind in _WAITING for row, _ in told) else ""
    if any(row.kind is Kind.SOURCE_QUEUE for row, _ in told):
        where += _held_up(tail)
    longer = f"take {approximate_time(tail.excess_ps)} longer than the median"
    return f"{who} {longer}: {' and '.join(shares) or 'no part of it stands out'}{where}."


def _held_up(tail: Tail) -> str:
    """Why messages wait in the NIC, if it is for packets that are sent again."""
    if 2 * tail.resends.held <= tail.slowest.messages:
        return ""
    often = percent(tail.resends.held, tail.slowest.messages)
    return f"; {often} of them were held up by earlier messages of which packets had to be sent again"


def _share(part: int, whole: int) -> str:
    return "practically all of it" if _ALL * part >= (_ALL - 1) * whole else percent(part, whole)


def _worst_place(tail: Tail, network: Network) -> str:
    """Where most of the waiting is, and behind whom; where it is all over the fabric, that."""
    places = [place for kind in _WAITING for place in tail.places[kind]]
    worst, whole = max(places, key=lambda place: place.mean_ps), sum(place.mean_ps for place in places)
    share = percent(worst.mean_ps, whole)
    if _LEAST_NAMED * worst.mean_ps < whole:
        return f"; that is spread over {len(places):,} ports, none of them with more than {share} of it"
    text = f"; {share} of the waiting is at {place_name(worst.part, network)}"
    if not worst.behind_cases:
        return text
    often = percent(worst.behind_cases, worst.cases)
    return f"{text}, behind {flow_text(worst.behind, worst.part.node, network)} in {often} of the cases"


def _excess(row: Row, tail: Tail, network: Network) -> int:
    chosen = _chosen(row, network)
    return tail.slowest.mean_of_ps(chosen) - tail.median.mean_of_ps(chosen)


def percent(part: int, whole: int) -> str:
    """`62 %`, with a decimal below one."""
    ppm = share_ppm(part, whole)
    if _PERCENT_PPM <= 20 * abs(ppm) < 20 * _PERCENT_PPM:
        return f"{ppm / _PERCENT_PPM:.1f} %".replace("-", "−")
    return f"{(2 * ppm + _PERCENT_PPM) // (2 * _PERCENT_PPM)} %".replace("-", "−")


# ------------------------------------------------------------------------------------------------- JSON


def tail_json(found: ExplainedTail, *, result: str, figures: Sequence[Path]) -> dict[str, Any]:
    """Everything, times in picoseconds, as docs/json.md names it."""
    tail, network = found.tail, found.network
    return {
        "result": result,
        "cell": tail.cell,
        "messages": tail.messages,
        "slowest_ppm": tail.slowest_ppm,
        "threshold_ps": tail.threshold_ps,
        "excess_ps": tail.excess_ps,
        "groups": [
            {
                "name": group.name,
                "messages": group.messages,
                "latency_ps": group.latency_ps,
                "parts": [
                    {**_part_json(part, network), "mean_ps": group.mean_ps(part)}
                    for part in sorted(group.sums_ps)
                ],
            }
            for group in tail.groups
        ],
        "excess": [
            {
                "kind": one.part.kind.value,
                "slowest_ps": one.tail_ps,
                "median_ps": one.median_ps,
                "excess_ps": one.excess_ps,
                "share_ppm": one.share_ppm,
            }
            for one in tail.excess
        ],
        "places": [_place_json(place, network) for places in tail.places.values() for place in places],
        "resends": {
            name: getattr(tail.resends, name)
            for name in ("messages", "timed_out", "dropped", "trimmed", "refused", "held")
        },
        "slowest": [_message_json(one, network) for one in found.slowest],
        "answer": answer(found),
        "figures": [str(path) for path in figures],
    }


def _part_json(part: Part, network: Network) -> dict[str, Any]:
    """Kind and place; the place is null where there is none."""
    placed = part.node >= 0
    return {
        "kind": part.kind.value,
        "node": network.names[part.node] if placed else None,
        "port": part.port if placed else None,
        "peer": network.names[network.wires[part.node, part.port].peer] if placed else None,
        "traffic_class": part.traffic_class if placed else None,
    }


def _place_json(place: PlaceShare, network: Network) -> dict[str, Any]:
    return {
        **_part_json(place.part, network),
        "mean_ps": place.mean_ps,
        "share_ppm": place.share_ppm,
        "messages": place.cases,
        "behind": _flow_json(place.behind, network),
        "behind_messages": place.behind_cases,
    }


def _flow_json(flow: Flow | None, network: Network) -> list[str] | None:
    return None if flow is None else [network.card_name(end) for end in flow]


def _message_json(one: Explanation, network: Network) -> dict[str, Any]:
    message, resend = one.message, one.resend
    return {
        "src": network.card_name(message.src),
        "dst": network.card_name(message.dst),
        "msn": message.msn,
        "intended_ps": message.intended_ps,
        "latency_ps": message.latency_ps,
        "parts": [{**_part_json(part, network), "ps": ps} for part, ps in sorted(one.parts.items())],
        "hops": [_hop_json(hop, network) for hop in one.path],
        "resend_times": 0 if resend is None else resend.times,
        "resend_timed_out": None if resend is None else resend.timed_out,
        "resend_how": None if resend is None else resend.how,
    }


def _hop_json(hop: Hop, network: Network) -> dict[str, Any]:
    return {
        "node": network.names[hop.entity],
        "port": hop.port,
        "peer": network.names[network.wires[hop.entity, hop.port].peer],
        "traffic_class": hop.traffic_class,
        "arrived_ps": hop.arrived_ps,
        "started_ps": hop.started_ps,
        "paused_ps": hop.paused_ps,
        "ahead_bytes": hop.ahead_bytes,
        "ahead_flow_bytes": hop.ahead_flow_bytes,
        "ahead_flow": _flow_json(hop.behind, network),
        "outcome": Outcome(hop.outcome).name.lower(),
    }
