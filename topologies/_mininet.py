"""A fabric as a Mininet topology, so that every file here works with `mn --custom`.

Mininet is imported only when a topology is asked for: everything else works without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from testbed.errors import SpecError
from testbed.spec.fabric import Fabric

if TYPE_CHECKING:
    from mininet.topo import Topo

Value: TypeAlias = int | str


def to_topo(fabric: Fabric) -> Topo:
    """The same nodes, links and port numbers; rates and lengths are for the emulator, Mininet gets none.

    Each switch has a datapath id of its own: Mininet would derive the same one for l1 and s1.
    """
    from mininet.topo import Topo

    topo = Topo()
    for endpoint in fabric.endpoints:
        topo.addHost(endpoint.name)
    for number, switch in enumerate(fabric.switches, start=1):
        topo.addSwitch(switch.name, dpid=f"{number:016x}")
    for link in fabric.links:
        topo.addLink(link.a, link.b, port1=link.a_port, port2=link.b_port)
    return topo


def mininet_factory(build: Callable[..., Fabric]) -> Callable[..., Topo]:
    """What `mn --topo NAME,2,rate=100Gbps` calls; a bad parameter ends `mn` with its remedy, not a trace."""

    def factory(*positional: Value, **named: Value) -> Topo:
        """The Mininet topology of these parameters."""
        try:
            return to_topo(build(**_by_name(build, positional), **named))
        except SpecError as error:
            raise SystemExit(f"error: {error}\nremedy: {error.remedy}") from None

    factory.__doc__ = inspect.getdoc(build)
    return factory


def _by_name(build: Callable[..., Fabric], positional: tuple[Value, ...]) -> dict[str, Value]:
    """Positional values by the builder's parameter names."""
    names = list(inspect.signature(build).parameters)
    if len(positional) > len(names):
        raise SpecError(f"{len(positional)} values", remedy=f"at most {len(names)}: {', '.join(names)}")
    return dict(zip(names, positional, strict=False))
