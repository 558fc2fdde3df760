"""Jobs: where they stand, how they are ended and removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time

from testbed.vm.agent.files import JOBS, POLL_S, Answer, Refused, Request, discard, free_bytes, read_json
from testbed.vm.agent.processes import deliver, is_alive, receivers, sudo

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def directory_of(request: Request) -> str:
    """Where the job of a request is, or would be."""
    if not _NAME.fullmatch(request["job"]):
        raise Refused(f"{request['job']!r} is no name of a job", "use letters, digits, `.`, `_` and `-`")
    return os.path.join(JOBS, request["job"])


def begun(request: Request) -> str:
    """Where the job of a request is until its supervisor stands."""
    return os.path.join(JOBS, f".{request['job']}.new")


def job_names() -> list[str]:
    """All jobs of this user."""
    return sorted(n for n in os.listdir(JOBS) if _NAME.fullmatch(n)) if os.path.isdir(JOBS) else []


def in_use(directory: str) -> bool:
    """Whether a job's supervisor or its command is there."""
    if os.path.exists(os.path.join(directory, "exit.json")):
        return False
    identities = [(read_json(os.path.join(directory, "job.json")) or {}).get("supervisor")]
    identities.append(read_json(os.path.join(directory, "command.json")))
    return any(is_alive(identity) for identity in identities)


def busy_in(tree: str) -> list[str]:
    """The jobs of this user that use a tree."""
    real = os.path.realpath(tree)
    return [
        name
        for name in job_names()
        if os.path.realpath((read_json(os.path.join(JOBS, name, "job.json")) or {}).get("tree", "/")) == real
        and in_use(os.path.join(JOBS, name))
    ]


def require_job(directory: str) -> None:
    """Refuse what cannot be asked of a job that is not there."""
    if not os.path.exists(os.path.join(directory, "job.json")):
        raise Refused(
            f"there is no job {os.path.basename(directory)}", "`./tb vm runs` lists the runs that are known"
        )


def require_over(directory: str) -> None:
    """Refuse what cannot be done to a job under way."""
    if in_use(directory):
        raise Refused(
            f"job {os.path.basename(directory)} still runs", "wait until it has ended, or ./tb vm stop"
        )


def status_of(directory: str) -> Answer:
    """What is known of the job in a directory."""
    answer: Answer = {
        "job": os.path.basename(directory),
        "state": "absent",
        "exit_code": None,
        "log_bytes": 0,
        "free_bytes": free_bytes(directory),
    }
    job = read_json(os.path.join(directory, "job.json"))
    if job is None:
        return answer
    # Whether it lives is asked first: one that ends in between has then left its exit.json.
    lives = is_alive(job["supervisor"])
    end = read_json(os.path.join(directory, "exit.json"))
    answer["state"] = "ended" if end else "running" if lives else "lost"
    answer["log_bytes"] = os.path.getsize(os.path.join(directory, "log"))
    answer["exit_code"] = end["exit_code"] if end else None
    return answer


def status(request: Request) -> Answer:
    """State of a job."""
    return status_of(directory_of(request))


def stop(request: Request) -> Answer:
    """Send the command of a job a signal, unless it had that one, and wait for its end."""
    directory = directory_of(request)
    require_job(directory)
    deadline = time.monotonic() + request["wait_s"]
    sent = os.path.join(directory, request["signal"])
    while in_use(directory):
        command = read_json(os.path.join(directory, "command.json"))
        if command and is_alive(command) and not os.path.exists(sent):
            deliver(receivers(command["pid"], request["signal"]), request["signal"])
            with contextlib.suppress(OSError), open(sent, "wb"):
                pass
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S / 2)
    return {**status_of(directory), "in_use": in_use(directory)}


def remove(request: Request) -> Answer:
    """Remove a job that has ended."""
    directory = directory_of(request)
    discard(begun(request))
    if os.path.exists(directory):
        require_over(directory)
        gone = os.path.join(JOBS, f".{request['job']}.{os.getpid()}.gone")
        os.rename(directory, gone)
        try:
            shutil.rmtree(gone)
        except PermissionError as error:  # of a run under sudo
            if not sudo("rm", "-rf", "--", gone):
                raise Refused(
                    f"{error.filename} belongs to root, and this user may not remove it",
                    f"log in as root, or remove {gone} there",
                ) from None
    return {}
