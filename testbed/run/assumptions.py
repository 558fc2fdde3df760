"""Which unverified numbers a run rests on: those of its NICs, its switch and its links. Pure."""

from __future__ import annotations

from nic_emulator import NICS
from nic_emulator.profile import NicProfile
from testbed.links.latency import used_numbers
from testbed.run.resolve import Resolved
from testbed.spec.sourced import Assumption, assumptions_of


def assumptions_of_run(resolved: Resolved) -> tuple[Assumption, ...]:
    """Every unverified number, once, under a path that names its place."""
    found: list[Assumption] = []
    for name in resolved.experiment.nics:
        found += _of_nic(NICS.get(name))
    found += assumptions_of(resolved.switch_profile, resolved.switch_profile.name)
    for path, number in used_numbers(resolved.fabric).items():
        found += assumptions_of(number, path)
    return tuple(found)


def _of_nic(profile: NicProfile) -> list[Assumption]:
    """A NIC's numbers; stages by place and name."""
    staged = {f"{profile.name}.{stage.place}.{stage.name}": stage for stage in profile.stages}
    found = [line for path, stage in staged.items() for line in assumptions_of(stage, path)]
    return found + [line for line in assumptions_of(profile, profile.name) if ".stages[" not in line.path]
