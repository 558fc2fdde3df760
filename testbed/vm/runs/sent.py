"""What a run sends: the experiment as values, so that its script may import what it likes, and the files it names.

A relative reference that stays below the current directory is the same there, below the job's files. Any other is
given a place of its own, which the experiment that is sent names; in results the user's own words are put back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from testbed.analysis.summary import RunSummary
from testbed.report.text import report_text
from testbed.run.files import storing
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.experiment import CONTROLLER_FILES, Experiment

SPEC = "spec.json"
"""The experiment, among the files of a job."""
_TOPOLOGY = ".py"
_PLACES = "given"
_RESTORED = ("spec.json", "summary.json", "metadata.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An experiment that finds its files on another machine."""

    experiment: Experiment
    files: Mapping[str, Path]
    """By their place there."""
    originals: Mapping[str, str]
    """What the user wrote, by what is written instead."""


def pack(experiment: Experiment) -> Sent:
    """The experiment as it is sent; the files that it names exist, since it has been resolved."""
    files: dict[str, Path] = {}
    places: dict[str, str] = {}
    for reference in dict.fromkeys(_references(experiment)):
        place = _place(reference, len(files))
        places[reference] = reference if place == str(PurePosixPath(reference)) else place
        files[place] = Path(reference)
    return Sent(
        experiment=replace(
            experiment,
            topology=places.get(experiment.topology, experiment.topology),
            controller=places.get(experiment.controller, experiment.controller),
            variants=tuple(
                replace(one, topology=places.get(one.topology, one.topology)) for one in experiment.variants
            ),
        ),
        files=files,
        originals={place: reference for reference, place in places.items() if place != reference},
    )


def _references(experiment: Experiment) -> Iterator[str]:
    """Every file that an experiment names."""
    for topology in (experiment.topology, *(one.topology for one in experiment.variants)):
        if topology.endswith(_TOPOLOGY):
            yield topology
    if experiment.controller.endswith(CONTROLLER_FILES):
        yield experiment.controller


def _place(reference: str, number: int) -> str:
    """Where a file goes: where it is named, if that is below the job's files and free."""
    path = PurePosixPath(reference)
    stays = not path.is_absolute() and ".." not in path.parts
    if stays and str(path) != SPEC and path.parts[0] != _PLACES:
        return str(path)
    return f"{_PLACES}/{number}/{path.name}"


def restore(result: Path, originals: Mapping[str, str]) -> None:
    """Put the user's own references back into a result; harmless when repeated."""
    if not originals:
        return
    for name in _RESTORED:
        value = _restored(json.loads((result / name).read_text(encoding="utf-8")), originals)
        _write(result / name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        if name == "summary.json":
            summary = from_dict(RunSummary, value)
            _write(result / "report.txt", report_text(summary, result=summary.experiment))


def _restored(value: Any, originals: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """With each place in any text replaced."""
    if isinstance(value, dict):
        return {key: _restored(item, originals) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, originals) for item in value]
    if isinstance(value, str):
        for place, reference in originals.items():
            value = value.replace(place, reference)
    return value


def _write(path: Path, text: str) -> None:
    with storing(path):
        path.write_text(text, encoding="utf-8")


def spec_bytes(experiment: Experiment) -> bytes:
    """The file `SPEC`."""
    return (json.dumps(to_dict(experiment), indent=2, ensure_ascii=False) + "\n").encode()
