"""Two tenants who share a fabric and cannot reach each other.

Run with `--controller experiments/controllers/tenant_isolation.py`.
The first half of the NICs is one tenant's, the second the other's. The rules are those of the testbed; above them,
where a frame enters the fabric, a rule for each card of the other tenant drops what is sent to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.controller.app import FabricApp
from testbed.controller.rules import card_mac
from testbed.controller.tables import FORWARDING_TABLE, Flow, Match, SwitchTables

ISOLATION_PRIORITY = 1000


class TenantIsolation(FabricApp):
    """The fabric's rules, and walls at its edge."""

    def tables(self, down: frozenset[int]) -> Mapping[str, SwitchTables]:
        """The testbed's tables, and what drops frames from one tenant to the other."""
        return {
            name: SwitchTables(flows=(*tables.flows, *self.walls(name)), groups=tables.groups)
            for name, tables in super().tables(down).items()
        }

    def walls(self, switch: str) -> list[Flow]:
        """Rules without an action: they drop."""
        fabric = self.setup.fabric
        tenant = {e.name: i >= len(fabric.endpoints) // 2 for i, e in enumerate(fabric.endpoints)}
        return [
            Flow(
                table=FORWARDING_TABLE,
                priority=ISOLATION_PRIORITY,
                match=Match(in_port=link.port_at(switch), eth_dst=mac),
            )
            for link in fabric.links_of(switch)
            if link.other(switch) in tenant
            for index, endpoint in enumerate(fabric.endpoints)
            if tenant[endpoint.name] != tenant[link.other(switch)]
            for mac in self.macs(index)
        ]

    def macs(self, nic: int) -> list[str]:
        """The addresses of a NIC's cards."""
        cards = self.setup.cards_per_nic
        return [card_mac(nic * cards + card) for card in range(cards)]
