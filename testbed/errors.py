"""Errors that a user can see: the class says whose fault it is, the remedy says what to do.

Every error raised on purpose is one of these. This module imports nothing of the testbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar


class TestbedError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest makes of its name
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __reduce__(
        self,
    ) -> tuple[Callable[..., TestbedError], tuple[type[TestbedError], str, dict[str, Any]]]:
        """Errors cross process borders, and pickle knows nothing of keyword-only arguments."""
        return _rebuilt, (type(self), str(self), dict(self.__dict__))


def _rebuilt(cls: type[TestbedError], message: str, state: dict[str, Any]) -> TestbedError:
    """An unpickled error."""
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a spec."""

    path: str
    """Which field, e.g. `scenarios[1].load_permille`."""
    problem: str
    """What is wrong with it."""
    remedy: str
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem} ({self.remedy})"


class SpecError(TestbedError):
    """What the user wrote is wrong: a name, a value, a combination."""

    exit_code = 2

    def __init__(self, message: str, *, remedy: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = problems

    @classmethod
    def collect(cls, problems: Iterable[Problem]) -> SpecError:
        """One error for many problems: one line `path: problem (remedy)` each; a single one has its remedy apart."""
        found = tuple(problems)
        if len(found) == 1:
            return cls(f"{found[0].path}: {found[0].problem}", remedy=found[0].remedy, problems=found)
        remedy = f"correct the {len(found)} fields named above"
        return cls("\n".join(map(str, found)), remedy=remedy, problems=found)


class PreflightError(TestbedError):
    """The machine lacks something that the run needs."""

    exit_code = 3


class FabricError(TestbedError):
    """The emulated fabric could not be built, or a part of it died."""

    exit_code = 4


class NicError(TestbedError):
    """A NIC emulator broke its contract."""

    exit_code = 5


class MeasurementError(TestbedError):
    """The run ended, but its data cannot be trusted."""

    exit_code = 6


class RemoteError(TestbedError):
    """Another machine cannot be reached, is not who it should be, or does not do what it should."""

    exit_code = 7


class Interrupted(TestbedError):  # noqa: N818 - what the user did, not an error
    """The user stopped the run."""

    exit_code = 130


class Problems:
    """Collects what is wrong with a spec, so that the user sees all of it at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, path: str, problem: str, remedy: str) -> None:
        """Note one problem."""
        self._found.append(Problem(path, problem, remedy))

    def absorb(self, error: SpecError, *, path: str) -> None:
        """Take over the problems of an error that arose below `path`."""
        if not error.problems:
            self.add(path or "value", str(error), error.remedy)
        for found in error.problems:
            self.add(f"{path}.{found.path}" if path else found.path, found.problem, found.remedy)

    def raise_if_any(self) -> None:
        """Raise one `SpecError` with everything found; return if nothing was."""
        if self._found:
            raise SpecError.collect(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
