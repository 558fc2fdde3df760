"""Benchmark results as data: one row per figure. A target is shown beside the figure, never enforced."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.errors import SpecError

_TARGET = re.compile(r"(median|ratio) (>=|<=) ([0-9.]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One figure: its median and spread, beside the reference measured in the same run."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    reference_name: str | None = None
    reference_median: float | None = None
    ratio: float | None = None
    """`median` over `reference_median`."""
    target: str | None = None
    """Such as "median >= 8" or "ratio <= 1.5"."""

    def __post_init__(self) -> None:
        """Refuse a target that cannot be judged."""
        if self.target is None:
            return
        match = _TARGET.match(self.target)
        if match is None or (match[1] == "ratio" and self.ratio is None):
            raise SpecError(
                f"benchmark {self.name!r}: target {self.target!r} cannot be judged",
                remedy='write "median >= N", "ratio <= N" or the like; a ratio needs a reference',
            )

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        match = _TARGET.match(self.target) if self.target else None
        if match is None:
            return None
        value = self.ratio if match[1] == "ratio" else self.median
        assert value is not None  # __post_init__
        return value >= float(match[3]) if match[2] == ">=" else value <= float(match[3])

    def to_dict(self) -> dict[str, object]:
        """The row as JSON holds it, with the verdict."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark script: `run(quick)` returns its rows."""

    name: str
    description: str
    run: Callable[[bool], list[BenchRow]]


def discover(directory: Path) -> Iterator[Benchmark]:
    """The scripts `bench_*.py` of a directory, by name; they may import from the tree that they are in."""
    # Before installed packages: one of them is called `tests`, too.
    sys.path.insert(0, str(directory.parents[1]))
    for path in sorted(directory.glob("bench_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None  # a .py file always has a spec and a loader
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        description = (module.__doc__ or "").partition("\n")[0]
        yield Benchmark(name=path.stem.removeprefix("bench_"), description=description, run=module.run)
