"""Which parameters an answer depends on, and where it flips. Pure: whoever calls says how a cell is run.

One parameter at a time goes to the ends of its range, everything else as it is. The quantity is how far the
alternative that is best at the base is ahead of the best of the others, at one quantile: it changes its sign where
another one becomes the best. Where an end of the range does that, the range is searched for the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from testbed.analysis.percentiles import percentile_name
from testbed.errors import MeasurementError
from testbed.spec.experiment import Cell
from testbed.spec.sourced import Mark

TABLE_BASE = 1000
"""A table's coordinate is its factor in permille."""
RESOLUTION = 100
"""A flip is located to one part in so many of the range."""
POINTS_PER_ROUND = 4
"""Of a range that is searched, so many values are run side by side: three rounds reach the resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One unverified number, and the range it is varied over."""

    path: str
    """As `tb assumptions` lists it."""
    unit: str
    mark: Mark
    source: str
    low: int
    """Lowest value; of a table, factor in permille."""
    base: int
    high: int
    table: tuple[int, ...] | None = None
    """The values of a table, which is scaled as a whole; None for a single number."""
    stated: bool = False
    """Whether the profile states the range; else its mark does."""

    @property
    def resolution(self) -> int:
        """How closely a flip is located."""
        return max(1, (self.high - self.low) // RESOLUTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One unverified number that is not varied."""

    path: str
    mark: Mark
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """One cell at one value of one parameter."""

    parameter: int | None
    """Its place; None: everything as it is."""
    at: int
    cell: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a cell said."""

    values_ps: Mapping[int, int | None] = field(default_factory=dict)
    """By quantile in ppm; None where too few messages lie beyond it."""
    bounds_ps: Mapping[int, tuple[int | None, int | None]] = field(default_factory=dict)
    """Intervals, likewise; only of what is as it is."""
    failure: str = ""
    """Why there is no value."""


Evaluate: TypeAlias = Callable[[str, Sequence[Request]], Sequence[Answer]]
"""Runs cells; the text says what for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """All alternatives at one value of a parameter."""

    at: int
    values_ps: Mapping[str, int]
    """By alternative; empty if a cell failed."""
    quantity_ps: int | None
    """Difference, or the value itself of an alternative that is alone; None if a cell failed."""
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """From here on away from the base, another alternative is the best."""

    at: int
    """The first value found at which it is so."""
    before: int
    """The last value found, towards the base, at which it is not."""
    best: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What one parameter does to one group."""

    parameter: int
    """Its place in the list."""
    path: str
    low: Point
    high: Point
    swing_ps: int
    """Largest less smallest quantity over low, base and high, as far as they did not fail."""
    swings_ps: Mapping[str, int]
    """The same of each alternative's own value."""
    flips: tuple[Flip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells that an answer compares: the alternatives of one scenario and size (and NIC, if variants are compared)."""

    scenario: str
    condition: str
    size_bytes: int
    nic: str
    """Of an experiment with variants and several NICs; else empty."""
    alternatives: tuple[str, ...]
    references: tuple[str, ...]
    """Of these, shown and not ranked."""
    cells: tuple[int, ...]
    quantile_ppm: int = 0
    base_ps: Mapping[str, int] = field(default_factory=dict)
    best: str = ""
    """At the base; empty for an alternative that is alone."""
    rival: str = ""
    """The best of the others at the base."""
    quantity_ps: int = 0
    measurable: bool = True
    """Whether the intervals of best and rival are apart at the base, as an answer demands."""
    responses: tuple[Response, ...] = ()
    """Largest swing first; every parameter has one."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """What is ranked."""
        ranked = tuple(name for name in self.alternatives if name not in self.references)
        return ranked or self.alternatives

    @property
    def quantile(self) -> str:
        """`p99.9`."""
        return percentile_name(self.quantile_ppm)

    @property
    def flipping(self) -> tuple[Response, ...]:
        """The parameters that decide who is best."""
        return tuple(one for one in self.responses if one.flips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Everything that was found."""

    experiment: str
    question: str
    fabric: str
    seed: int
    records: int
    """Messages of each cell."""
    runs: int
    """Cells that were run; those whose plan does not change are run once."""
    parameters: tuple[Parameter, ...]
    left_out: tuple[LeftOut, ...]
    groups: tuple[Group, ...]

    @property
    def unmoved(self) -> tuple[str, ...]:
        """The parameters that change nothing in any group."""
        moving = {
            response.parameter
            for group in self.groups
            for response in group.responses
            if response.swing_ps or any(response.swings_ps.values()) or _failed(response)
        }
        return tuple(one.path for place, one in enumerate(self.parameters) if place not in moving)


def _failed(response: Response) -> bool:
    return bool(response.low.failure or response.high.failure)


def groups_of(cells: Sequence[tuple[Cell, str]], references: Sequence[str]) -> tuple[Group, ...]:
    """The cells of an experiment, each with its scenario in words, by what an answer compares."""
    with_variants = any(cell.variant for cell, _ in cells)
    several_nics = len({cell.nic for cell, _ in cells}) > 1
    found: dict[tuple[str, int, str], list[int]] = {}
    for place, (cell, _) in enumerate(cells):
        nic = cell.nic if with_variants and several_nics else ""
        found.setdefault((cell.scenario.name, cell.size_bytes, nic), []).append(place)
    return tuple(
        Group(
            scenario=scenario,
            condition=cells[places[0]][1],
            size_bytes=size,
            nic=nic,
            alternatives=tuple(cells[place][0].variant or cells[place][0].nic for place in places),
            references=tuple(references),
            cells=tuple(places),
        )
        for (scenario, size, nic), places in found.items()
    )


def quantity(group: Group, values_ps: Mapping[str, int]) -> int:
    """How far the best at the base is ahead; the value itself where there is nothing to compare it with."""
    if not group.best:
        return values_ps[group.alternatives[0]]
    return min(values_ps[name] for name in group.candidates if name != group.best) - values_ps[group.best]


def explore(
    parameters: Sequence[Parameter], groups: Sequence[Group], quantiles_ppm: Sequence[int], evaluate: Evaluate
) -> tuple[Group, ...]:
    """The groups with what every parameter does to them, and where it flips their answer.

    `quantiles_ppm`: those that will do, the wanted one first; a group takes the first that all its cells state.
    """
    base = [Request(None, 0, cell) for group in groups for cell in group.cells]
    ends = [
        Request(place, at, cell)
        for place, parameter in enumerate(parameters)
        for at in dict.fromkeys((parameter.low, parameter.high))
        if at != parameter.base
        for group in groups
        for cell in group.cells
    ]
    known = dict(zip([*base, *ends], evaluate("ends of the ranges", [*base, *ends]), strict=True))
    based = [_based(group, known, quantiles_ppm) for group in groups]
    responded = [
        replace(group, responses=tuple(_response(group, i, one, known) for i, one in enumerate(parameters)))
        for group in based
    ]
    return _with_flips(responded, parameters, evaluate)


def _based(group: Group, known: Mapping[Request, Answer], quantiles_ppm: Sequence[int]) -> Group:
    """With quantile, values, best and rival at the base."""
    answers = {
        name: known[Request(None, 0, cell)]
        for name, cell in zip(group.alternatives, group.cells, strict=True)
    }
    failure = next((answer.failure for answer in answers.values() if answer.failure), "")
    if failure:
        raise MeasurementError(
            f"{group.scenario}: with every number as it is, {failure}",
            remedy="./tb run says more; correct the experiment first",
        )
    for quantile in quantiles_ppm:
        values = {name: answer.values_ps[quantile] for name, answer in answers.items()}
        stated = {name: value for name, value in values.items() if value is not None}
        if len(stated) == len(values):
            break
    else:
        raise MeasurementError(
            f"{group.scenario}: too few messages for {percentile_name(quantiles_ppm[0])}",
            remedy="use more --records, or a lower --quantile",
        )
    group = replace(group, quantile_ppm=quantile, base_ps=stated)
    ranked = sorted(group.candidates, key=stated.__getitem__)
    if len(ranked) < 2:
        return replace(group, quantity_ps=quantity(group, stated))
    best, rival = ranked[:2]
    group = replace(group, best=best, rival=rival)
    high, low = answers[best].bounds_ps[quantile][1], answers[rival].bounds_ps[quantile][0]
    apart = high is not None and low is not None and high < low
    same = stated[best] == stated[rival]
    return replace(group, quantity_ps=quantity(group, stated), measurable=apart or same)


def _point(group: Group, place: int, at: int, known: Mapping[Request, Answer]) -> Point:
    """All alternatives at one value."""
    answers = [known[Request(place, at, cell)] for cell in group.cells]
    failure = next((answer.failure for answer in answers if answer.failure), "")
    values = {
        name: answer.values_ps.get(group.quantile_ppm)
        for name, answer in zip(group.alternatives, answers, strict=True)
    }
    stated = {name: value for name, value in values.items() if value is not None}
    if failure or len(stated) < len(values):
        return Point(at=at, values_ps={}, quantity_ps=None, failure=failure or "too few messages")
    return Point(at=at, values_ps=stated, quantity_ps=quantity(group, stated))


def _response(group: Group, place: int, parameter: Parameter, known: Mapping[Request, Answer]) -> Response:
    base = Point(at=parameter.base, values_ps=group.base_ps, quantity_ps=group.quantity_ps)
    low, high = (
        base if at == parameter.base else _point(group, place, at, known)
        for at in (parameter.low, parameter.high)
    )
    whole = [point for point in (low, base, high) if not point.failure]
    return Response(
        parameter=place,
        path=parameter.path,
        low=low,
        high=high,
        swing_ps=_spread([point.quantity_ps or 0 for point in whole]),
        swings_ps={name: _spread([p.values_ps[name] for p in whole]) for name in group.alternatives},
    )


def _spread(values: Sequence[int]) -> int:
    return max(values) - min(values)


# ------------------------------------------------------------------------------------------------- flips


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Between a value at which the answer is that of the base, and one at which it is not."""

    group: int
    parameter: int
    same: int
    flipped: int
    best: str
    """Who is best where it has flipped."""
    resolution: int
    stuck: bool = False
    """Whether every value between failed."""

    @property
    def done(self) -> bool:
        """Whether it is known well enough."""
        return self.stuck or abs(self.flipped - self.same) <= self.resolution

    def points(self) -> list[int]:
        """The values to look at next, evenly between, from the base away."""
        width = self.flipped - self.same
        steps = (
            self.same + width * step // (POINTS_PER_ROUND + 1) for step in range(1, POINTS_PER_ROUND + 1)
        )
        return [at for at in dict.fromkeys(steps) if at not in (self.same, self.flipped)]

    def narrowed(self, best_at: Mapping[int, str | None], at_base: str) -> Search:
        """Up to the first flip away from the base; None stands for a value at which the run failed."""
        looked = [at for at in self.points() if best_at[at] is not None]
        if not looked:
            return replace(self, stuck=True)
        same = self.same
        for at in looked:
            best = best_at[at]
            if best != at_base:
                return replace(self, same=same, flipped=at, best=best or "")
            same = at
        return replace(self, same=same)


def winner(group: Group, point: Point) -> str | None:
    """Who is best at a value: that of the base, unless another is ahead of it; None if the run failed."""
    if point.quantity_ps is None:
        return None
    if point.quantity_ps >= 0:
        return group.best
    return min(group.candidates, key=lambda name: point.values_ps[name])


def _with_flips(
    groups: Sequence[Group], parameters: Sequence[Parameter], evaluate: Evaluate
) -> tuple[Group, ...]:
    """Locate every flip that an end of a range shows."""
    searches = [
        found
        for index, group in enumerate(groups)
        if group.best
        for response in group.responses
        for found in _begun(index, group, response, parameters[response.parameter])
    ]
    located = [one for one in searches if one.done]
    open_ = [one for one in searches if not one.done]
    while open_:
        requests = [
            Request(one.parameter, at, cell)
            for one in open_
            for at in one.points()
            for cell in groups[one.group].cells
        ]
        distinct = list(dict.fromkeys(requests))
        known = dict(zip(distinct, evaluate("where it flips", distinct), strict=True))
        narrowed = [_narrowed(one, groups[one.group], known) for one in open_]
        located += [one for one in narrowed if one.done]
        open_ = [one for one in narrowed if not one.done]
    return tuple(_sorted(group, [one for one in located if one.group == i]) for i, group in enumerate(groups))


def _begun(index: int, group: Group, response: Response, parameter: Parameter) -> list[Search]:
    """One search for each end at which another alternative is the best."""
    ends = [(point, winner(group, point)) for point in (response.low, response.high)]
    return [
        Search(
            group=index,
            parameter=response.parameter,
            same=parameter.base,
            flipped=point.at,
            best=best,
            resolution=parameter.resolution,
        )
        for point, best in ends
        if best is not None and best != group.best
    ]


def _narrowed(search: Search, group: Group, known: Mapping[Request, Answer]) -> Search:
    points = {at: _point(group, search.parameter, at, known) for at in search.points()}
    return search.narrowed({at: winner(group, point) for at, point in points.items()}, group.best)


def _sorted(group: Group, located: Sequence[Search]) -> Group:
    """Flips where they belong, and the parameter that moves most first."""
    flips: dict[int, list[Flip]] = {place: [] for place in range(len(group.responses))}
    for one in sorted(located, key=lambda one: one.flipped):
        flips[one.parameter].append(Flip(at=one.flipped, before=one.same, best=one.best))
    responses = [replace(one, flips=tuple(flips[one.parameter])) for one in group.responses]
    return replace(
        group,
        responses=tuple(sorted(responses, key=lambda one: (-one.swing_ps, not _failed(one), one.parameter))),
    )
