"""Stand-ins for other machines, for tests of runs on them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from testbed.spec.codec import to_dict
from testbed.spec.experiment import Experiment, Scenario
from testbed.vm.runs.record import Part, Run, RunFolder, create
from tests.unit.samples import run_of

EXPERIMENT = Experiment(
    name="tiny",
    question="?",
    topology="single_switch",
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(4096,),
    scenarios=(Scenario(name="idle", kind="idle"), Scenario(name="load", kind="poisson", load_permille=500)),
    records=10,
    emulated_records=1,
)


def run_on(*hosts: str, **changes: Any) -> Run:
    """A run with one seed for each machine."""
    parts = tuple(
        Part(host=host, job=f"20260101T000000Z-0-{index}", seed=1 + index) for index, host in enumerate(hosts)
    )
    begun = Run(id="20260101T000000Z-0", began_at_s=1, experiment=EXPERIMENT, engine="twin", parts=parts)
    return replace(begun, **changes)


def folder_of(out: Path, run: Run, files: Mapping[str, Path] | None = None) -> RunFolder:
    return create(out, run, files or {})


def write_result(directory: Path, *, seed: int, name: str = "tiny", spec: Experiment = EXPERIMENT) -> None:
    """A saved result, as far as bringing it here looks at it."""
    directory.mkdir(parents=True)
    summary, _ = run_of(n=200, seed=seed)
    (directory / "spec.json").write_text(json.dumps(to_dict(spec)), encoding="utf-8")
    (directory / "summary.json").write_text(
        json.dumps(to_dict(replace(summary, experiment=name, control={"controller": spec.controller}))),
        encoding="utf-8",
    )
    (directory / "metadata.json").write_text(
        json.dumps({"control": {"controller": spec.controller}}), encoding="utf-8"
    )
    (directory / "report.txt").write_text("as it was there\n", encoding="utf-8")


@dataclass
class Job:
    """One job of a fake machine."""

    arguments: Sequence[str]
    files: Mapping[str, Path | bytes]
    exit_code: int | None = None
    log: bytes = b""
    ended: threading.Event = field(default_factory=threading.Event)


class FakeRemote:
    """A machine that runs jobs in no time, or when `finish` is called."""

    def __init__(self, name: str, calls: list[tuple[str, str]], *, outcome: int | None = 0) -> None:
        """`outcome`: how jobs end by themselves; None: they do not."""
        self.name = name
        self.outcome = outcome
        self.work: dict[str, Job] = {}
        self.lost: set[str] = set()
        self.breaks: Exception | None = None
        """Raised when a job is followed."""
        self._calls = calls

    def deploy(self, root: Path, progress: Callable[[int, int], None]) -> SimpleNamespace:
        self._calls.append(("deploy", self.name))
        progress(1, 2)
        return SimpleNamespace(files=1, sent_bytes=2_000_000, removed=0)

    def start(self, job: str, arguments: Sequence[str], *, files: Mapping[str, Path | bytes]) -> None:
        self._calls.append(("start", self.name))
        self.work[job] = Job(
            arguments, {k: v if isinstance(v, bytes) else v.read_bytes() for k, v in files.items()}
        )
        if self.outcome is not None:
            self.finish(job, self.outcome)

    def finish(self, job: str, exit_code: int) -> None:
        one = self.work[job]
        one.log += f"stage one\nended with {exit_code}".encode()
        one.exit_code = exit_code
        one.ended.set()

    def status(self, job: str) -> SimpleNamespace:
        one = self.work.get(job)
        state = (
            "lost"
            if job in self.lost
            else "absent"
            if one is None
            else "ended"
            if one.ended.is_set()
            else "running"
        )
        return SimpleNamespace(
            job=job,
            state=state,
            exit_code=one.exit_code if one else None,
            log_bytes=len(one.log) if one else 0,
        )

    def follow(self, job: str, offset: int, sink: Callable[[bytes], None]) -> SimpleNamespace:
        self._calls.append(("follow", self.name))
        if self.breaks is not None:
            raise self.breaks
        one = self.work[job]
        assert one.ended.wait(20), "nobody ended the job"
        sink(one.log[offset:])
        return self.status(job)

    def stop(self, job: str) -> None:
        self._calls.append(("stop", self.name))
        self.finish(job, 130)

    def fetch(self, job: str, into: Path, progress: Callable[[int, int], None]) -> list[Path]:
        self._calls.append(("fetch", self.name))
        one = self.work[job]
        spec = json.loads(bytes(one.files["spec.json"]))  # type: ignore[arg-type]
        count = int(one.arguments[one.arguments.index("--repeat") + 1]) if "--repeat" in one.arguments else 1
        for seed in range(spec["seed"], spec["seed"] + count):
            write_result(into / "tiny" / f"20260101T00000{seed}Z-{self.name}", seed=seed)
        return []

    def remove(self, job: str) -> None:
        self._calls.append(("remove", self.name))
        self.work.pop(job, None)
        self.lost.discard(job)


class FakeConnections:
    """Stands in for `testbed.vm.runs.connections.Connections`."""

    def __init__(self, *remotes: FakeRemote) -> None:
        self.remotes = {remote.name: remote for remote in remotes}
        self.lines: list[str] = []

    def __getitem__(self, host: str) -> FakeRemote:
        return self.remotes[host]

    def another(self, host: str) -> FakeRemote:
        return self.remotes[host]

    def told(self, host: str, text: str) -> None:
        self.lines.append(f"{host}: {text}")

    def note(self, host: str) -> Callable[[str], None]:
        return lambda text: self.told(host, text)

    def deploy(self, hosts: Sequence[str], root: Path) -> None:
        for host in hosts:
            self[host].deploy(root, lambda done, whole: None)
