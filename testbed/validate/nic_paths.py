"""What a message passes in each NIC, by the names of the stages, and what its packets weigh, layer by layer.

The names are written out here, so that a stage that a setup forgets, doubles or misplaces is noticed; the numbers are
the profile's. Bytes are summed up from the specifications of the layers. Nothing here asks the setup or the engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from nic_emulator.card import CORSAIR
from nic_emulator.profile import NOTHING_PS, NicProfile, OpName, Stage
from testbed.spec.parameters import ParameterValue
from testbed.validate.nic_plans import profile_of

Settings: TypeAlias = Mapping[str, ParameterValue]
Kind: TypeAlias = Literal["put", "put_signal", "send", "request", "response"]

_ETHERNET, _IP, _UDP, _FCS = 14, 20, 8, 4
_IP_UDP = _ETHERNET + _IP + _UDP + _FCS
LEAST_FRAME = 64
"""Bytes of the smallest Ethernet frame."""
GAP = 20
"""Preamble, delimiter and gap around each."""
PREAMBLE = 8
HEADERS = {
    "thin": _ETHERNET + 8 + _FCS,
    "thin_udp": _IP_UDP + 8,
    "rocev2": _IP_UDP + 12 + 4,  # BTH and ICRC; more depends on the packet
    "tcp": _ETHERNET + _IP + 20 + 12 + _FCS,  # with timestamps
    "udp": _IP_UDP + 12,  # the program's own
    "uet": _IP_UDP + 12 + 44,  # PDS of RUD and ROD, SES
    "sue": _IP_UDP + 8,
    "sue_compressed": 4 + 8 + _FCS,
}
RETH, AETH, IMMEDIATE, LENGTH = 16, 4, 4, 4
FLIT, FLIT_PAYLOAD, OPERATION, OPERATION_HEADER = 640, 628, 256, 16


def frame_bytes(
    header: str, payload: int, kind: Kind = "put", *, first: bool = True, last: bool = True
) -> int:
    """A data packet from Ethernet header to FCS; of UALink its flits, less what the wire adds to a frame."""
    if header == "ualink":
        carried = payload + max(1, -(-payload // OPERATION)) * OPERATION_HEADER
        if kind == "request":
            carried += LENGTH
        return -(-carried // FLIT_PAYLOAD) * FLIT - GAP
    size = HEADERS[header] + payload
    if header == "rocev2":
        size += -payload % 4
        if kind == "request" or (first and kind in ("put", "put_signal")):
            size += RETH
        if kind == "response" and (first or last):
            size += AETH
        if kind == "put_signal" and last:
            size += IMMEDIATE
    elif kind == "request":
        size += LENGTH
    return max(LEAST_FRAME, size)


class Server:
    """A stage of the profile as a queue: one item at a time for each server, in order."""

    def __init__(self, stage: Stage) -> None:
        self.latency_ps = stage.latency.number
        self.each_ps = stage.occupancy.number
        self.per_kib_ps = stage.occupancy_per_kib.number
        self.coalesce_ps = stage.coalesce.number
        self._free_ps = [0] * stage.servers.number
        self._gathered_ps = 0
        self._out_ps = 0

    def held_ps(self, size: int) -> int:
        """How long an item holds it."""
        return self.each_ps + -(-size * self.per_kib_ps // 1024)

    def passed_ps(self, now_ps: int, size: int) -> int:
        """When an item that comes now leaves."""
        if self.coalesce_ps:
            if now_ps >= self._gathered_ps:
                self._gathered_ps = now_ps + self.coalesce_ps
            now_ps = self._gathered_ps
        soonest = min(range(len(self._free_ps)), key=self._free_ps.__getitem__)
        self._free_ps[soonest] = max(now_ps, self._free_ps[soonest]) + self.held_ps(size)
        self._out_ps = max(self._out_ps, self._free_ps[soonest] + self.latency_ps)
        return self._out_ps


def through(servers: Iterable[Server], now_ps: int, size: int) -> int:
    """When an item leaves the last of several."""
    for server in servers:
        now_ps = server.passed_ps(now_ps, size)
    return now_ps


_CARD = {
    "card_dma": Stage(
        name="card_dma",
        place="send",
        latency=NOTHING_PS,
        occupancy_per_kib=CORSAIR.dma_per_kib,
        servers=CORSAIR.dma_engines,
    ),
    "lpddr": Stage(
        name="lpddr", place="send", latency=CORSAIR.lpddr_latency, occupancy_per_kib=CORSAIR.lpddr_per_kib
    ),
    "card_pcie_switch": Stage(name="pcie_switch", place="send", latency=CORSAIR.pcie_switch_latency),
    "bridge": Stage(
        name="bridge",
        place="bridge",
        latency=CORSAIR.bridge_latency,
        occupancy_per_kib=CORSAIR.bridge_per_kib,
    ),
    "card_memory": Stage(name="card_memory", place="local", latency=CORSAIR.memory_latency),
    "local_pcie_switch": Stage(
        name="pcie_switch",
        place="local",
        latency=CORSAIR.pcie_switch_latency,
        occupancy_per_kib=CORSAIR.pcie_per_kib,
    ),
}
"""What cards bring with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A NIC under settings, and all that a message meets in it."""

    nic: str
    header: str
    post: tuple[str, ...]
    send: tuple[str, ...]
    ingress: tuple[str, ...]
    receive: tuple[str, ...]
    notify: tuple[str, ...]
    ops: tuple[OpName, ...]
    settings: Settings = field(default_factory=dict)
    signal: tuple[str, ...] = ()
    """Behind `notify`, of a put with signal."""
    least: int = 1
    most: int = 1 << 30
    """The sizes for which this is the way."""

    @property
    def name(self) -> str:
        """The NIC and its settings."""
        return " ".join([self.nic, *(f"{key}={value}" for key, value in self.settings.items())])

    @property
    def profile(self) -> NicProfile:
        """Its numbers."""
        return profile_of(self.nic)

    @property
    def mtu_bytes(self) -> int:
        """Payload of a full packet."""
        return int(self.settings.get("mtu", self.profile.mtu_bytes.number))

    def servers(self, place: str, without: Collection[str] = ()) -> list[Server]:
        """Fresh servers of one place, by their names."""
        return [Server(self._stage(place, name)) for name in getattr(self, place) if name not in without]

    def _stage(self, place: str, name: str) -> Stage:
        if name in _CARD:
            return _CARD[name]
        found = [stage for stage in self.profile.stages if (stage.place, stage.name) == (place, name)]
        assert len(found) == 1, f"{self.nic} has {len(found)} stages {name} at {place}"
        return found[0]

    @property
    def ingress_ps(self) -> int:
        """Latency from the last bit to the transport."""
        return sum(server.latency_ps for server in self.servers("ingress"))

    def packets(self, size: int, kind: Kind) -> Iterator[tuple[int, int]]:
        """Payload and frame of each packet of a message."""
        if kind == "request":
            yield 0, frame_bytes(self.header, 0, kind)
            return
        count = -(-size // self.mtu_bytes)
        for index in range(count):
            payload = min(self.mtu_bytes, size - index * self.mtu_bytes)
            first, last = index == 0, index == count - 1
            yield payload, frame_bytes(self.header, payload, kind, first=first, last=last)


def card_stage(name: str) -> Server:
    """A fresh server of a card."""
    return Server(_CARD[name])


_DMA = ("dma_read", "nic_pipeline")
_PIPELINE = ("nic_pipeline",)
_ALL: tuple[OpName, ...] = ("put", "put_signal", "send", "get")
_PUTS: tuple[OpName, ...] = ("put", "put_signal", "send")
_INLINE_MOST = 220


def _transparent() -> Iterator[Way]:
    plain = Way(
        nic="transparent",
        header="thin",
        post=("descriptor",),
        send=("card_read", "pcie_switch", "nic_pcie", "nic_pipeline", "mac_tx"),
        ingress=("mac_rx", "nic_pipeline"),
        receive=("nic_pcie", "pcie_switch", "card_write"),
        notify=("flag",),
        signal=("signal",),
        ops=("put", "put_signal", "get"),
    )
    yield plain
    yield replace(plain, header="thin_udp", settings={"udp": "on"})
    yield replace(plain, settings={"ordered": "on"})
    for settings, more in (({"memory": "capacity"}, ("lpddr",)), ({"cards": 4}, ("card_dma",))):
        yield replace(plain, settings=settings, send=more + plain.send, receive=plain.receive + more)


def _rdma() -> Iterator[Way]:
    host = ("host_post", "doorbell")
    plain = Way(
        nic="rdma",
        header="rocev2",
        post=(*host, "wqe_fetch"),
        send=_DMA,
        ingress=_PIPELINE,
        receive=("dma_write",),
        notify=("completion_write", "host_poll"),
        ops=_ALL,
    )
    yield plain
    told = ("completion_write", "interrupt")
    yield replace(plain, notify=told, settings={"completion": "interrupt"})
    card = replace(
        plain,
        post=("card_post", "doorbell", "wqe_fetch"),
        notify=("completion_write", "card_poll"),
        settings={"initiator": "device"},
    )
    yield card
    for kind, request in (("inline", ("wqe_fetch",)), ("blueflame", ())):
        for way in (plain, card):
            pushed = replace(way, post=way.post[:2] + request, settings={"post": kind, **way.settings})
            yield replace(pushed, send=_PIPELINE, most=_INLINE_MOST, ops=_PUTS)
            yield replace(pushed, least=_INLINE_MOST + 1)
    before, behind = ("card_dma", "card_pcie_switch"), ("card_pcie_switch", "card_dma")
    yield replace(plain, send=before + _DMA, receive=plain.receive + behind, settings={"cards": 4})


def _kernel() -> Iterator[Way]:
    behind = ("qdisc", "driver", "doorbell", "descriptor_fetch")
    tcp = Way(
        nic="kernel",
        header="tcp",
        post=("system_call", "copy_in", "tcp_ip", *behind),
        send=_DMA,
        ingress=_PIPELINE,
        receive=("dma_write", "interrupt", "softirq"),
        notify=("socket_wake_up", "copy_out"),
        ops=("put", "send"),
    )
    yield replace(tcp, most=10 * 4096)  # ten segments, its initial window
    yield replace(tcp, settings={"congestion": "off"})
    udp = ("system_call", "copy_in", "udp_ip", *behind)
    yield replace(tcp, header="udp", post=udp, settings={"protocol": "udp"})


def _uec() -> Iterator[Way]:
    for mode in ("rud", "rod", "rudi", "uud"):  # the last two with the header of the first, against them
        yield Way(
            nic="uec",
            header="uet",
            settings={"mode": mode},
            post=("card_post", "doorbell"),
            send=_DMA,
            ingress=_PIPELINE,
            receive=("dma_write",),
            notify=("completion_write", "card_poll"),
            signal=("signal",),
            ops=_PUTS if mode == "uud" else _ALL,
        )


def _accelerators() -> Iterator[Way]:
    sue = Way(
        nic="sue",
        header="sue_compressed",
        settings={"header": "compressed"},
        post=("command",),
        send=("memory_read", "packing", "mac_tx"),
        ingress=("mac_rx", "unpacking"),
        receive=("memory_write",),
        notify=("flag",),
        ops=("put", "get"),
    )
    yield sue
    yield replace(sue, header="sue", settings={"header": "standard"})
    yield Way(
        nic="ualink",
        header="ualink",
        post=("command",),
        send=("memory_read", "transaction_tx", "link_tx"),
        ingress=("link_rx", "transaction_rx"),
        receive=("memory_write",),
        notify=("flag",),
        ops=("put", "get"),
    )


WAYS: tuple[Way, ...] = (*_transparent(), *_rdma(), *_kernel(), *_uec(), *_accelerators())
"""Every NIC in its main modes."""
