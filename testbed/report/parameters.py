"""Parameters and the values they take, as text: for tables, figures and sentences."""

from __future__ import annotations

from testbed.analysis.answers import approximate_time
from testbed.analysis.sensitivity import TABLE_BASE, Group, Parameter


def short_path(path: str) -> str:
    """The paths of a merged row in one: `rdma.{post.host_post, notify.host_poll}.stall`."""
    paths = [one.split(".") for one in path.split(", ")]
    if len(paths) == 1:
        return path
    shortest = min(map(len, paths))
    before = _common(paths, shortest)
    after = _common([one[::-1] for one in paths], shortest - before)
    middle = [".".join(one[before : len(one) - after]) for one in paths]
    ends = (".".join(paths[0][:before]), ".".join(paths[0][len(paths[0]) - after :]) if after else "")
    return ".".join(part for part in (ends[0], "{" + ", ".join(middle) + "}", ends[1]) if part)


def _common(paths: list[list[str]], most: int) -> int:
    """How many parts all paths begin with."""
    return next((at for at in range(most) if len({one[at] for one in paths}) > 1), most)


def value_text(parameter: Parameter, at: int) -> str:
    """A value with its unit: `2.00 µs`, `64 packets`; of a table the factor, `×0.5`."""
    if parameter.table is not None:
        return f"×{at / TABLE_BASE:.3g}"
    if parameter.unit == "ps":
        return approximate_time(at)
    if parameter.unit == "yes/no":
        return "yes" if at else "no"
    return f"{at:,} {parameter.unit}".replace("-", "−")


def range_text(parameter: Parameter) -> str:
    """`0.5 … 2 µs`, the unit once where both ends share it."""
    low, high = value_text(parameter, parameter.low), value_text(parameter, parameter.high)
    number, _, unit = low.partition(" ")
    return f"{number if unit and high.endswith(f' {unit}') else low} … {high}"


def quantity_name(group: Group) -> str:
    """What is drawn and tabulated, in words."""
    if not group.best:
        return f"{group.quantile} of {group.alternatives[0]}"
    others = group.rival if len(group.candidates) == 2 else "the best of the others"
    return f"{group.quantile} of {others} less that of {group.best}"
