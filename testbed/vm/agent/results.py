"""What a job says and makes, sent to the other side."""

from __future__ import annotations

import json
import os
import select

from testbed.vm.agent.files import POLL_S, Answer, Refused, Request, copy, sha256
from testbed.vm.agent.jobs import directory_of, require_job, require_over, status_of


def follow(request: Request) -> None:
    """Stream the log from an offset on until the job has ended."""
    directory = directory_of(request)
    require_job(directory)
    listener = select.poll()
    listener.register(1, 0)  # tells when nobody reads any more
    with open(os.path.join(directory, "log"), "rb", buffering=0) as log:
        log.seek(request["offset"])
        while True:
            running = status_of(directory)["state"] == "running"  # asked before reading: nothing comes after
            copy(log.fileno(), 1, None)
            if not running or listener.poll(POLL_S * 1000):
                return


def _results(directory: str) -> list[tuple[str, str]]:
    """The results of a job, by path; what is hidden is not finished."""
    root = os.path.join(directory, "results")
    found = []
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(where, name)
            if not name.startswith(".") and os.path.isfile(path):
                found.append((os.path.relpath(path, root), path))
    return sorted(found)


def results(request: Request) -> Answer:
    """[path, size, SHA-256] of each file that a job has made."""
    directory = directory_of(request)
    require_job(directory)
    require_over(directory)
    return {"files": [[name, os.path.getsize(path), sha256(path)] for name, path in _results(directory)]}


def send(request: Request) -> None:
    """Stream the results from one file on, or that file alone: before each a line of JSON, [path, offset, size]."""
    offset = request["offset"]
    for name, path in _results(directory_of(request)):
        if name < request["first"] or (request["alone"] and name != request["first"]):
            continue
        source = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(source).st_size
            offset = os.lseek(source, offset if name == request["first"] else 0, os.SEEK_SET)
            os.write(1, json.dumps([name, offset, size]).encode() + b"\n")
            if copy(source, 1, size - offset) != size - offset:
                raise Refused(f"{name} became shorter while it was read", "run it again")
        finally:
            os.close(source)
