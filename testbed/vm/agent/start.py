"""Starting a job, which outlives the connection."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time

from testbed.vm.agent.files import (
    JOBS,
    LEFT_S,
    Answer,
    Refused,
    Request,
    discard,
    fill,
    lock,
    locked,
    reserve,
    tree_of,
    unpack,
    write_json,
)
from testbed.vm.agent.jobs import begun, directory_of, status_of
from testbed.vm.agent.processes import identity_of


def prepare(request: Request) -> Answer:
    """State of a job, and where the bundle with its files goes."""
    directory = directory_of(request)
    os.makedirs(JOBS, exist_ok=True)
    for entry in os.scandir(JOBS):
        old = time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_S
        if old and entry.name.startswith(".") and entry.name.endswith((".bundle", ".gone")):
            discard(entry.path)
    return {"incoming": JOBS, **status_of(directory)}


def start(request: Request) -> Answer:
    """Start a job, unless there is one of this name."""
    directory = directory_of(request)
    tree = tree_of(request)
    os.makedirs(JOBS, exist_ok=True)
    try:
        with locked(JOBS, fcntl.LOCK_EX, "run it again"):
            if not os.path.exists(directory):
                if not os.access(os.path.join(tree, "tb"), os.X_OK):
                    raise Refused(
                        f"there is no testbed in {tree}", "copy it there first, or name another --directory"
                    )
                new = begun(request)
                discard(new)
                try:
                    os.makedirs(os.path.join(new, "files"))
                    os.makedirs(os.path.join(new, "results"))
                    if request["bundle"]:
                        unpack(request["bundle"], os.path.join(new, "files"))
                    _launch(tree, new, directory, request)
                finally:
                    discard(new)
    finally:
        if request["bundle"]:
            discard(request["bundle"])
    return status_of(directory)


def _launch(tree: str, new: str, directory: str, request: Request) -> None:
    """Start the supervisor as nobody's child; returns when the job has its name."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            code = 1
            try:
                _supervise(tree, new, directory, request, writing)
                code = 0
            except (OSError, Refused) as error:
                with contextlib.suppress(OSError):
                    os.write(writing, str(error).encode())
            finally:
                os._exit(code)
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    if said != "started":
        raise Refused(
            f"the job could not be started: {said or 'its supervisor died'}", "free space on that disk"
        )


def _supervise(tree: str, new: str, directory: str, request: Request, ready: int) -> None:
    """Run the command of a job to its end."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    for name in os.listdir("/proc/self/fd"):
        if int(name) != ready:
            with contextlib.suppress(OSError):
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDWR)  # becomes 0
    os.dup2(null, 1)
    os.dup2(null, 2)
    # While it runs, nobody changes the tree. The command does not inherit this: it may leave daemons behind.
    held = os.open(os.path.join(tree, "testbed"), os.O_RDONLY)
    lock(held, fcntl.LOCK_SH, tree, "run it again")
    for name in ("command.json", "exit.json"):
        reserve(new, name)
    arguments = [argument.replace("{job}", directory) for argument in request["arguments"]]
    value = {"job": request["job"], "tree": tree, "arguments": arguments, "started_at_s": time.time()}
    write_json(os.path.join(new, "job.json"), {**value, "supervisor": identity_of(os.getpid())})
    log = os.open(os.path.join(new, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.rename(new, directory)
    os.write(ready, b"started")
    os.close(ready)
    try:
        command = subprocess.Popen(
            [os.path.join(tree, "tb"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=os.path.join(directory, "files"),
            start_new_session=True,
        )
    except OSError as error:
        os.write(log, f"error: {tree}/tb: {error}\n".encode())
        code = 127
    else:
        fill(directory, "command.json", identity_of(command.pid))
        code = command.wait()
    fill(directory, "exit.json", {"exit_code": code if code >= 0 else 128 - code, "ended_at_s": time.time()})
