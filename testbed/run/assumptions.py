"""Which unverified numbers a run rests on: those of its NICs, its switch and its links. Pure.

Each is listed once. The rows of a quantile table are one assumption: its values in ps, its probabilities in the
source. Numbers that are the same in several places of a NIC (a stage at both ends, one table of host software for two
stages) are one assumption, too: its path is their paths, separated by commas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from nic_emulator.profile import NicProfile, Stage
from nic_emulator.setup import NicSetup
from testbed.links.features import used_numbers
from testbed.run.resolve import Network, Resolved
from testbed.spec.sourced import UNVERIFIED, Assumption, Mark, Sourced, assumptions_of

_TABLES = ("jitter", "stall", "wake")
_PPM_PER_PERCENT = 10_000


def assumptions_of_run(resolved: Resolved) -> tuple[Assumption, ...]:
    """Every unverified number, once, under a path that names its places."""
    found: list[Assumption] = []
    signals = any(scenario.op == "put_signal" for scenario in resolved.experiment.scenarios)
    for network in resolved.networks:
        keeps_order = network.switch.keeps_order and not network.fabric.reorders
        for setup in network.nics.values():
            found += _of_setup(setup, keeps_order=keeps_order, signals=signals)
        for path, number in network_numbers(network).items():
            found += assumptions_of(number, path)
    return tuple(dict.fromkeys(found))


def _of_setup(setup: NicSetup, *, keeps_order: bool, signals: bool) -> list[Assumption]:
    """What a NIC rests on behind switches that keep the order of a flow, or do not, with signals or without."""
    profile, unused = setup.profile, set(setup.unused)
    if not signals:
        profile = replace(profile, stages=tuple(one for one in profile.stages if one.place != "signal"))
    if not setup.bears_reordering(keeps_order=keeps_order):
        unused.add("reorder_window_pkts")
    paths = {f"{profile.name}.{name}" for name in unused}
    return [row for row in assumptions_of_nic(profile) if row.path not in paths]


def network_numbers(network: Network) -> dict[str, Sourced]:
    """What a variant rests on beside its NICs: switches, links, and where something fails, the control plane."""
    control = network.control.used_numbers() if network.failures else {}
    return switch_numbers(network) | used_numbers(network.fabric) | control


def switch_numbers(network: Network) -> dict[str, Sourced]:
    """What its switches are made of, as far as they use it."""
    switches = {switch.name for switch in network.fabric.switches}
    links = {(link.rate_bps, link.length_mm) for link in network.fabric.links if switches & {link.a, link.b}}
    return network.switch.used_numbers(sorted(links))


def assumptions_of_nic(profile: NicProfile) -> list[Assumption]:
    """A NIC's numbers; stages by place and name."""
    found: list[Assumption] = []
    for stage in profile.stages:
        path = f"{profile.name}.{stage.place}.{stage.name}"
        found += [row for row in assumptions_of(stage, path) if "[" not in row.path]
        found += _tables(stage, path)
    found += [row for row in assumptions_of(profile, profile.name) if ".stages[" not in row.path]
    return _merged(found)


def _tables(stage: Stage, path: str) -> list[Assumption]:
    """A stage's quantile tables, each as one assumption, if anything in them is unverified."""
    tables = {name: getattr(stage, name) for name in _TABLES}
    return [_table(points, f"{path}.{name}") for name, points in tables.items() if _unverified(points)]


def _unverified(points: Sequence[tuple[Sourced, Sourced]]) -> bool:
    return any(number.mark in UNVERIFIED for point in points for number in point)


def _table(points: Sequence[tuple[Sourced, Sourced]], path: str) -> Assumption:
    marks: set[Mark] = {number.mark for point in points for number in point}
    probabilities = ", ".join(f"{ppm.number / _PPM_PER_PERCENT:g}" for ppm, _ in points)
    sources = "; ".join(dict.fromkeys(delay.source for _, delay in points))
    return Assumption(
        path=path,
        value=tuple(delay.number for _, delay in points),
        unit="ps",
        mark=max(marks, key=("V", "S", "M", "E", "assumed").index),
        source=f"at {probabilities} %: {sources}",
    )


def _merged(rows: Iterable[Assumption]) -> list[Assumption]:
    """The same number of the same thing, in however many places, as one row."""
    places: dict[tuple[object, ...], list[Assumption]] = {}
    for row in rows:
        *_, thing, name = row.path.split(".")
        own = "" if name.startswith(_TABLES) else thing  # host software is alike wherever it runs
        places.setdefault((own, name, row.value, row.unit, row.mark, row.source), []).append(row)
    return [
        Assumption(
            ", ".join(row.path for row in same), same[0].value, same[0].unit, same[0].mark, same[0].source
        )
        for same in places.values()
    ]
