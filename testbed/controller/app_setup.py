"""What a controller's application is told before it starts. Values only; imports no framework."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from testbed.controller.timing import RuleOptions
from testbed.spec.experiment import FRAMEWORKS
from testbed.spec.fabric import Fabric

VARIABLE = "TESTBED_CONTROLLER_FRAMEWORK"
"""The environment variable that chooses one."""


def available() -> tuple[str, ...]:
    """Those that are installed."""
    return tuple(name for name in FRAMEWORKS if importlib.util.find_spec(package_of(name)) is not None)


def package_of(framework: str) -> str:
    """The Python package of a framework."""
    return framework.replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A fabric, and what the rules are to do in it."""

    fabric: Fabric
    rules: RuleOptions
    cards_per_nic: int = 1
    macs: Mapping[str, tuple[str, ...]] | None = None
    """By endpoint; None: the cards'."""

    def dpids(self) -> dict[int, str]:
        """A switch's datapath id is its entity number."""
        names = self.fabric.node_names()
        return {names.index(switch.name): switch.name for switch in self.fabric.switches}
