"""A client of a run: begins it, goes on with it wherever it stands, or stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import Interrupted, RemoteError, SpecError, TestbedError
from testbed.vm.runs.connections import Connections, Meter
from testbed.vm.runs.log import Lines
from testbed.vm.runs.record import Part, RunFolder
from testbed.vm.runs.sent import SPEC, spec_bytes
from testbed.vm.runs.together import Crowd, together
from testbed.vm.ssh import ConnectionLost
from testbed.vm.tree import program_digest

if TYPE_CHECKING:
    from testbed.vm.remote import Remote

_TAIL_BYTES = 2_000
"""How much of a job's log is told again by a client that comes later."""


class JobError(RemoteError):
    """A run ended with an error there, which its log has told."""

    def __init__(self, host: str, exit_code: int) -> None:
        super().__init__(
            f"{host}: the run ended there with exit code {exit_code}",
            remedy="see what it said, above",
        )
        self.job_exit_code = exit_code


class Session:
    """One client of a run, whose lock it holds. Ctrl-C ends the run; any other end of the client leaves it going."""

    def __init__(
        self, folder: RunFolder, connections: Connections, tell: Callable[[str], None], *, root: Path
    ) -> None:
        self._folder = folder
        self._connections = connections
        self._tell = tell
        self._root = root
        self._fresh: set[int] = set()

    def start(self) -> None:
        """Start every part that does not run and is not done, on machines that have this tree."""
        waiting = self._waiting()
        states = together(self._state, waiting)
        to_start = [i for i, state in zip(waiting, states, strict=True) if state in ("absent", "lost")]
        if to_start:
            self._keep_to_one_program(whole=len(to_start) == len(self._folder.run.parts))
        parts = self._folder.run.parts
        self._connections.deploy(list(dict.fromkeys(parts[i].host for i in to_start)), self._root)
        self._or_end(Crowd(self._start, to_start))

    def follow(self) -> None:
        """Follow all parts to their ends and fetch what they made; a part that fails ends the others.

        When a connection cannot be had again, the other parts are fetched before that is raised.
        """
        self._or_end(Crowd(self._follow, self._waiting()))

    def stop(self) -> None:
        """End every part that is not done, remove what it made there, and forget the run."""
        self.end_jobs()
        together(self._clear, self._waiting())
        self._folder.remove()

    def end_jobs(self) -> None:
        """End every part that is not done; whoever follows it sees that."""
        together(self._stop, self._waiting())

    def publish(self) -> list[Path]:
        """See `testbed.vm.runs.publish`."""
        from testbed.vm.runs.publish import publish  # draws, with what takes a while to load

        return publish(self._folder)

    def _or_end(self, crowd: Crowd[int, None]) -> None:
        """Wait for threads; a part that fails, and Ctrl-C, end the run."""
        try:
            crowd.wait(fatal=(JobError,))
        except (JobError, KeyboardInterrupt):
            self.end_jobs()
            crowd.settle()
            self.stop()
            raise

    def _waiting(self) -> list[int]:
        return [i for i, part in enumerate(self._folder.run.parts) if part.state != "fetched"]

    def _remote(self, part: Part) -> Remote:
        return self._connections[part.host]

    def _state(self, index: int) -> str:
        part = self._folder.run.parts[index]
        status = self._remote(part).status(part.job)
        if status.state == "lost":
            self._connections.told(
                part.host,
                "the machine was restarted in mid-run, or the run lost its supervisor; it begins again there",
            )
            self._remote(part).stop(part.job)  # without a supervisor it may still be running
            self._remote(part).remove(part.job)
        return status.state

    def _keep_to_one_program(self, *, whole: bool) -> None:
        """Refuse to mix results of two programs; a run that begins as a `whole` takes what is here now."""
        run, here = self._folder.run, program_digest(self._root)
        if run.program and run.program != here:
            if not whole:
                raise SpecError(
                    f"this tree is not what it was when run {run.id} began, of which only a part begins again",
                    remedy=f"./tb vm stop {self._folder.reference}, and run it again as a whole; "
                    "or undo the changes of this tree",
                )
            self._tell("the run begins again as a whole, with this tree as it is now")
        if run.program != here:
            self._folder.save(replace(run, program=here))

    def _start(self, index: int) -> None:
        folder, part = self._folder, self._folder.run.parts[index]
        experiment = replace(folder.run.experiment, seed=part.seed)
        kept = {
            path.relative_to(folder.files).as_posix(): path
            for path in sorted(folder.files.rglob("*"))
            if path.is_file()
        }
        folder.set_part(index, replace(part, state="started"))  # before it is: no job without a record
        self._remote(part).start(
            part.job,
            job_arguments(part, folder.run.engine),
            files={**kept, SPEC: spec_bytes(experiment)},
        )
        self._fresh.add(index)

    def _follow(self, index: int) -> None:
        folder, part = self._folder, self._folder.run.parts[index]
        remote = self._remote(part)
        offset = 0 if index in self._fresh else max(0, remote.status(part.job).log_bytes - _TAIL_BYTES)
        lines = Lines(lambda text: self._said(part, text), skip_first=offset > 0)
        try:
            status = remote.follow(part.job, offset, lines)
        finally:
            lines.close()
        if status.state != "ended" or status.exit_code is None:
            raise RemoteError(
                f"{part.host}: the run is gone from there",
                remedy="see why: was the machine restarted, or out of memory?",
            )
        if status.exit_code != 0:
            raise JobError(part.host, status.exit_code)
        remote.fetch(part.job, folder.part(index), Meter(self._connections.note(part.host), "fetched"))
        fetched = replace(part, state="fetched")
        folder.set_part(index, fetched)
        if not folder.run.keep:
            remote.remove(part.job)
            folder.set_part(index, replace(fetched, removed=True))

    def _stop(self, index: int) -> None:
        part = self._folder.run.parts[index]
        remote = self._connections.another(part.host)
        if remote.status(part.job).state in ("running", "lost"):
            try:
                remote.stop(part.job)
            except RemoteError:
                if remote.status(part.job).state != "absent":  # another client was quicker
                    raise

    def _clear(self, index: int) -> None:
        part = self._folder.run.parts[index]
        if not self._folder.run.keep:
            self._remote(part).remove(part.job)

    def _said(self, part: Part, text: str) -> None:
        """A line of a job, with its machine if there are several."""
        self._tell(f"{part.host}: {text}" if len(self._folder.run.hosts) > 1 else text)


def job_arguments(part: Part, engine: str) -> list[str]:
    """The command line `tb ...` of a part; `{job}` is its directory there."""
    arguments = ["run", SPEC, "--engine", engine, "--out", "{job}/results", "--quiet"]
    if part.cells:
        arguments += ["--cells", ",".join(part.cells)]
    if part.seeds > 1:
        arguments += ["--repeat", str(part.seeds)]
    return arguments


def picked_up_later(error: TestbedError, reference: str) -> TestbedError:
    """An error that ended the client but not the run, with how to go on."""
    attach = f"./tb vm attach {reference} picks it up"
    lives = isinstance(error, ConnectionLost | Interrupted)
    error.remedy = f"the run goes on there; {attach}" if lives else f"{error.remedy}; then {attach}"
    return error
