"""A leaf-spine with one stream of single packets across it, while something fails: which packets are lost, and when.

Packets follow each other at a fixed interval and nothing else is under way, so each is on the wire of the failing link
at a known time: it has come over the card's link, and one pipeline latency later its first bit goes on. NICs are ideal
and send nothing again. Two spines, so that each leaf has one other way; cards and links all of one rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from testbed.engine import _engine
from testbed.links.latency import link_latency_ps
from testbed.run.join import RX_DTYPE, TX_DTYPE
from testbed.run.plan import cell_plan
from testbed.run.resolve import Network, resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment, Scenario
from testbed.spec.fabric import Link
from testbed.validate.measure import Times
from testbed.validate.plans import Data, card, finished

US = 10**6
FIRST_PS = 100 * US
"""When things fail."""
INTERVAL_PS = 10_000
PAYLOAD_BYTES = 64
TIMES = {"detection": "10us", "control_latency": "30us", "rule_install": "2us", "link_up": "7us"}
"""Of the control plane, unless a case sets others."""
_BASE = Experiment(
    name="probes",
    question="?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 8},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(PAYLOAD_BYTES,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=1),),
    records=1,
    emulated_records=0,
)


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A fabric with something that fails, and a stream from one of its cards to another."""

    failures: tuple[str, ...] = ()
    control: dict[str, str] = field(default_factory=dict)
    """Over `TIMES`."""
    src: str = "c1"
    dst: str = "c7"
    """By default c7, to which the hash of leaf l1 goes by s1."""
    at_spine: bool = False
    """Whether times are those behind s1, in place of those behind the first leaf."""
    early_ps: int = 0
    """By how much each packet is ahead of a multiple of the interval there."""
    until_ps: int = 300 * US
    interval_ps: int = INTERVAL_PS
    payload_bytes: int = PAYLOAD_BYTES

    @cached_property
    def network(self) -> Network:
        """As experiments have it."""
        experiment = replace(
            _BASE,
            failures=self.failures,
            control_settings={**TIMES, **self.control},
        )
        return resolve(experiment).networks[0]

    @cached_property
    def data(self) -> Data:
        """The plan of an experiment, its NICs by ideal ones."""
        network = self.network
        cell = resolve(_BASE).cells[0]
        schedule = schedule_of(cell, network.fabric, cards_per_nic=1)
        data = cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=1)
        names = [endpoint.name for endpoint in network.fabric.endpoints]
        for node in data["nodes"][: len(names)]:
            load = self._load(names.index(self.dst)) if node["name"] == self.src else {}
            ours: dict[str, Any] = {"reliability": "unreliable"}
            restarts = {key: node["config"][key] for key in ("restarts",) if key in node["config"]}
            node.update(card(load, **ours, **restarts))
        return data

    def _load(self, dst: int) -> Data:
        return {
            "arrivals": "PERIODIC",
            "destinations": [dst],
            "message_bytes": self.payload_bytes,
            "start_ps": self.interval_ps - self._way_ps % self.interval_ps - self.early_ps,
            "interval_ps": self.interval_ps,
            "measure_until_ps": self.until_ps,
        }

    def _leaf_of(self, name: str) -> str:
        return self.network.fabric.links_of(name)[0].other(name)

    @cached_property
    def _way_ps(self) -> int:
        """From the first bit at the card to the first bit behind the leaf, or the spine."""
        home = self._leaf_of(self.src)
        pipeline_ps = self.network.switch.profile.pipeline_latency.number
        way_ps = _latency_ps(self.network.fabric.links_of(self.src)[0]) + pipeline_ps
        if self.at_spine:
            links = self.network.fabric.links_of("s1")
            way_ps += _latency_ps(next(link for link in links if home in (link.a, link.b))) + pipeline_ps
        return way_ps

    @cached_property
    def twin(self) -> _engine.Twin:
        """After the last packet."""
        return finished(self.data)

    @cached_property
    def lost_ps(self) -> Times:
        """When the packets that never arrived began there, or would have; ascending."""
        sent = np.frombuffer(self.twin.tx_records(), TX_DTYPE)
        arrived = np.frombuffer(self.twin.rx_records(), RX_DTYPE)
        keys = [records["msn"] << np.uint64(32) | records["src"] for records in (sent, arrived)]
        lost = sent["first_byte_ps"][~np.isin(*keys)]
        return np.sort(lost.astype(np.int64)) + self._way_ps


def _latency_ps(link: Link) -> int:
    return link_latency_ps(link.medium, link.length_mm, link.rate_bps, lanes=link.lanes, fec=link.fec)
