"""What is done on the other machine: `python3 - VERB REQUEST`, with this file on stdin; nothing is installed there.

It runs alone, with the standard library of any Python from 3.9 on, so it imports nothing of the testbed. REQUEST is one
JSON object, and so is the answer on stdout, except where a verb streams. What cannot be done is `{"error", "remedy"}`
and exit code 9.

A *bundle* is one file that carries many here: a line of JSON, then their contents, one after the other.
A *job* is a command that outlives the connection. Its directory appears under its name when its supervisor stands:

    job.json  what runs, and who supervises it    command.json  which process it is    log        stdout and stderr
    exit.json how it ended, and when              files/        where it runs          results/   what it makes
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

REFUSED = 9
"""Exit code of what is answered by an error."""
STATE = os.path.join(os.path.expanduser("~"), ".local", "state", "transparent-nic-testbed")
JOBS = os.path.join(STATE, "jobs")
WHEELS = "build/wheels"
WHEELS_COMPLETE = WHEELS + "/complete"
ENGINE = "testbed/engine/_engine*.so*"
# What of a tree stays where it is: at its top, and anywhere.
_TOP = frozenset({".git", ".vagrant", ".vm", ".venv", "build", "dist", "results"})
_ANYWHERE = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".cache"})
_PATTERNS = ("*.pyc", "*.egg-info", "._engine*", ".#*")
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DEPLOYED = ".vm/deployed.json"
_CODE = ("testbed/", "nic_emulator/")
_CHUNK = 1 << 20
_RESERVED = 512
_POLL_S = 0.1
_LOCK_WAIT_S = 30
_BUNDLE_LIFE_S = 86_400

Request = dict[str, Any]
Answer = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer
    """What the other side is told, with a remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


# Files -----------------------------------------------------------------------------------------------------


def walk(root: str) -> Iterator[tuple[str, str]]:
    """All files and links of a tree that deploying cares for: (path below `root` with slashes, path)."""
    yield from _walk(root, "")
    wheels = os.path.join(root, WHEELS)
    if os.path.isdir(wheels):
        yield from _walk(wheels, WHEELS + "/")


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        name = entry.name
        if (not prefix and name in _TOP) or name in _ANYWHERE:
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _PATTERNS):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{name}/")
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield prefix + name, entry.path


def sha256(path: str) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def mode_of(status: os.stat_result) -> int:
    """What is kept of a file's mode: whether it is a program."""
    return 0o755 if status.st_mode & stat.S_IXUSR else 0o644


def _manifest(tree: str) -> dict[str, list[Any]]:
    """[size, mode, SHA-256] of each file there; a link has no SHA-256, so that it differs from every file."""
    cache = _Hashes(tree)
    found: dict[str, list[Any]] = {}
    for path, where in walk(tree) if os.path.isdir(tree) else ():
        status = os.lstat(where)
        known = "" if stat.S_ISLNK(status.st_mode) else cache.sha256(where, status)
        found[path] = [status.st_size, mode_of(status), known]
    cache.save()
    return found


class _Hashes:
    """Remembers the SHA-256 of files as long as their size, times and inode are the same."""

    def __init__(self, tree: str) -> None:
        name = hashlib.sha256(os.fsencode(tree)).hexdigest()[:32]
        self._file = os.path.join(STATE, "hashes", name + ".json")
        self._old: dict[str, list[Any]] = _read_json(self._file) or {}
        self._new: dict[str, list[Any]] = {}

    def sha256(self, path: str, status: os.stat_result) -> str:
        key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._old.get(path)
        value = known[1] if known and known[0] == key else sha256(path)
        if time.time_ns() - status.st_ctime_ns > 2 * 10**9:  # else it may change again within one tick
            self._new[path] = [key, value]
        return str(value)

    def save(self) -> None:
        if self._new != self._old:
            with contextlib.suppress(OSError):  # only time is lost
                os.makedirs(os.path.dirname(self._file), exist_ok=True)
                _write_json(self._file, self._new)


def _read_json(path: str) -> Any:  # noqa: ANN401 - any JSON
    """The value in a file, or None if there is no such file or no JSON in it."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _write_json(path: str, value: object) -> None:
    """Write and rename."""
    new = f"{path}.{os.getpid()}.new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(new, path)


def _reserve(directory: str, name: str) -> None:
    """Take the room of a small file now: the disk may be full when it is to be written."""
    with open(os.path.join(directory, f".{name}"), "wb") as file:
        file.write(b" " * _RESERVED)
        os.fsync(file.fileno())


def _fill(directory: str, name: str, value: object) -> None:
    """Write into the reserved room, and give the file its name."""
    reserved = os.path.join(directory, f".{name}")
    with open(reserved, "r+b") as file:
        file.write(json.dumps(value).encode().ljust(_RESERVED))
        file.flush()
        os.fsync(file.fileno())
    os.rename(reserved, os.path.join(directory, name))


@contextlib.contextmanager
def _locked(path: str, kind: int, remedy: str) -> Iterator[int]:
    """Hold a lock on a file or directory; waits for half a minute."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor, kind, path, remedy)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, path: str, remedy: str) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refused(f"{path} is in use by another run or transfer", remedy) from None
            time.sleep(_POLL_S)
        else:
            return


def _unpack(bundle: str, into: str) -> list[str]:
    """Write the files that a bundle carries below a directory; every one must be what its header says."""
    with open(bundle, "rb") as file:
        names = []
        for path, size, mode, expected in json.loads(file.readline()):
            where = _below(into, path)
            os.makedirs(os.path.dirname(where), exist_ok=True)
            digest = hashlib.sha256()
            with open(where, "wb") as out:
                while size > 0:
                    chunk = file.read(min(size, _CHUNK))
                    if not chunk:
                        break
                    digest.update(chunk)
                    out.write(chunk)
                    size -= len(chunk)
                os.fchmod(out.fileno(), mode)
            if size or digest.hexdigest() != expected:
                raise Refused(
                    f"{path} did not arrive as it was sent", "run it again; was the file being changed?"
                )
            names.append(path)
    return names


def is_below(path: str) -> bool:
    """Whether a path leads to something below the directory it starts from."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def _below(directory: str, path: str) -> str:
    if not is_below(path):
        raise Refused(f"{path!r} is no path below {directory}", "give a relative path without `..`")
    return os.path.join(directory, path)


def _free_bytes(path: str) -> int:
    """What this user may still write on the disk that holds, or will hold, a path."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


# The tree --------------------------------------------------------------------------------------------------


def _tree(request: Request) -> str:
    return os.path.join(os.path.expanduser("~"), os.path.expanduser(request["tree"]))


def survey(request: Request) -> Answer:
    """What is in the tree, where a bundle for it goes, and who is using it."""
    tree = _tree(request)
    if not _ours(tree):
        raise Refused(f"{tree} holds other files, and is no tree of the testbed", "name another --directory")
    incoming = os.path.join(tree, ".vm", "incoming")
    os.makedirs(incoming, exist_ok=True)
    for entry in os.scandir(incoming):  # of transfers that nobody will finish
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > _BUNDLE_LIFE_S:
            _forget(entry.path)
    files = _manifest(tree)
    engines = {}
    for path in files:
        if path.endswith(".key") and fnmatch.fnmatchcase(path, ENGINE):
            with open(os.path.join(tree, path), encoding="utf-8") as file:
                engines[path] = file.read()
    return {
        "tree": tree,
        "files": files,
        "engines": engines,
        "incoming": incoming,
        "free_bytes": _free_bytes(tree),
        "deployed": _read_json(os.path.join(tree, _DEPLOYED)) or [],
        "busy": _busy(tree),
    }


def _ours(tree: str) -> bool:
    """Whether it is a tree of the testbed, whole or begun, or could become one."""
    return (
        not os.path.isdir(tree)
        or os.path.exists(os.path.join(tree, _DEPLOYED))
        or (os.path.isdir(os.path.join(tree, "testbed")) and os.path.exists(os.path.join(tree, "tb")))
        or not set(os.listdir(tree)) - {".vm", "lost+found"}
    )


def _busy(tree: str) -> list[str]:
    """The jobs of this user that use a tree."""
    real = os.path.realpath(tree)
    return [
        name
        for name in _job_names()
        if os.path.realpath((_read_json(os.path.join(JOBS, name, "job.json")) or {}).get("tree", "/")) == real
        and _in_use(os.path.join(JOBS, name))
    ]


def install(request: Request) -> Answer:
    """Make a tree what the wanted manifest says, with the files of a bundle: what differs, and that manifest."""
    tree = _tree(request)
    staged = request["bundle"] + ".files"
    lock = os.path.join(tree, "testbed")
    os.makedirs(lock, exist_ok=True)
    try:
        with _locked(lock, fcntl.LOCK_EX, "wait until it has ended, or `tb vm stop`"):
            busy = _busy(tree)
            if busy:
                raise Refused(
                    f"{tree} is in use by {', '.join(busy)}", "wait until it has ended, or `tb vm stop`"
                )
            new = set(_unpack(request["bundle"], staged))
            new.remove(request["wanted"])
            wanted: dict[str, list[Any]] = _read_json(_below(staged, request["wanted"]))
            there = _manifest(tree)
            changed = [
                path
                for path in wanted
                if path not in new and (path not in there or there[path][2] != wanted[path][2])
            ]
            if changed:
                raise Refused(f"{changed[0]} was changed in {tree} meanwhile", "run it again")
            record = os.path.join(tree, _DEPLOYED)
            earlier = set(_read_json(record) or ())
            removed = [path for path in there if path not in wanted and is_stale(path, earlier, wanted)]
            _write_json(record, sorted(earlier | set(wanted)))
            for path in removed:
                _remove_file(tree, path)
            for path, (_, mode, _) in wanted.items():
                where = _below(tree, path)
                if path in new:
                    os.makedirs(os.path.dirname(where), exist_ok=True)
                    os.replace(_below(staged, path), where)
                elif there[path][1] != mode:
                    os.chmod(where, mode)
            _write_json(record, sorted(wanted))
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        _forget(request["bundle"])
    return {"removed": len(removed)}


def is_stale(path: str, earlier: set[str], wanted: dict[str, list[Any]]) -> bool:
    """Whether a file that is not wanted goes: one that came this way before, or one among the code.

    What the machine made for itself stays: its engine, and its wheels unless a whole set of them comes.
    """
    if path.startswith(WHEELS + "/"):
        return WHEELS_COMPLETE in wanted
    return not fnmatch.fnmatchcase(path, ENGINE) and (path in earlier or path.startswith(_CODE))


def _remove_file(tree: str, path: str) -> None:
    """Remove a file, and the directories that are empty without it."""
    where = _below(tree, path)
    os.unlink(where)
    with contextlib.suppress(OSError):
        while True:
            where = os.path.dirname(where)
            if os.path.samefile(where, tree):
                return
            os.rmdir(where)


def forget(request: Request) -> Answer:
    """Remove a bundle that did not arrive; says how much room there is."""
    if request["bundle"].endswith(".bundle"):
        _forget(request["bundle"])
    return {"free_bytes": _free_bytes(os.path.dirname(request["bundle"]))}


def _forget(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


# Processes -------------------------------------------------------------------------------------------------


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _process(pid: int) -> tuple[str, list[str]] | None:
    """Name and fields of /proc/PID/stat from the state on (state, parent, group, session, ...); None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return head.partition("(")[2], tail.split()


def _identity(pid: int) -> dict[str, Any]:
    """What no other process has: its id, when it was started, and since which start of the machine."""
    process = _process(pid)
    return {"pid": pid, "started": process[1][19] if process else "gone", "boot": _boot()}


def _alive(identity: dict[str, Any] | None) -> bool:
    if not identity or identity["boot"] != _boot():
        return False
    process = _process(identity["pid"])
    return process is not None and process[1][19] == identity["started"] and process[1][0] not in "ZX"


def _receivers(leader: int, name: str) -> list[int]:
    """Whom a signal for a command goes to: its group, as Ctrl-C would; SIGKILL to all that it started.

    `sudo` hands a signal on to what it runs, which must not have it twice.
    """
    found = {int(pid): _process(int(pid)) for pid in os.listdir("/proc") if pid.isdigit()}
    table = {pid: process for pid, process in found.items() if process is not None}

    def above(pid: int) -> Iterator[int]:
        while pid in table and pid != leader:
            pid = int(table[pid][1][1])
            yield pid

    if name == "SIGKILL":
        return [
            pid
            for pid, (_, f) in table.items()
            if int(f[3]) == leader or pid == leader or leader in above(pid)
        ]
    return [
        pid
        for pid, (_, fields) in table.items()
        if int(fields[2]) == leader and not any(table[p][0] == "sudo" for p in above(pid) if p in table)
    ]


def _deliver(pids: list[int], name: str) -> None:
    denied = []
    for pid in pids:
        try:
            os.kill(pid, getattr(signal, name))
        except ProcessLookupError:
            continue
        except PermissionError:
            denied.append(str(pid))
    if not denied:
        return
    command = ["sudo", "-n", "kill", "-s", name[3:], "--", *denied]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        done = None
    if (done is None or done.returncode) and any(_process(int(pid)) for pid in denied):
        raise Refused(
            f"the run belongs to root, and this user may not end it (processes {', '.join(denied)})",
            "log in as root, or allow sudo without a password",
        )


# Jobs ------------------------------------------------------------------------------------------------------


def _directory(request: Request) -> str:
    if not _JOB_NAME.fullmatch(request["job"]):
        raise Refused(f"{request['job']!r} is no name of a job", "use letters, digits, `.`, `_` and `-`")
    return os.path.join(JOBS, request["job"])


def _job_names() -> list[str]:
    return sorted(n for n in os.listdir(JOBS) if _JOB_NAME.fullmatch(n)) if os.path.isdir(JOBS) else []


def _in_use(directory: str) -> bool:
    """Whether a job's supervisor or its command is there."""
    if os.path.exists(os.path.join(directory, "exit.json")):
        return False
    identities = [(_read_json(os.path.join(directory, "job.json")) or {}).get("supervisor")]
    identities.append(_read_json(os.path.join(directory, "command.json")))
    return any(_alive(identity) for identity in identities)


def _status(directory: str) -> Answer:
    answer: Answer = {
        "job": os.path.basename(directory),
        "state": "absent",
        "exit_code": None,
        "log_bytes": 0,
    }
    answer |= {"started_at_s": None, "ended_at_s": None, "free_bytes": _free_bytes(directory)}
    job = _read_json(os.path.join(directory, "job.json"))
    if job is None:
        return answer
    # Whether it lives is asked first: one that ends in between has then left its exit.json.
    lives = _alive(job["supervisor"])
    end = _read_json(os.path.join(directory, "exit.json"))
    answer["state"] = "ended" if end else "running" if lives else "lost"
    answer["started_at_s"] = job["started_at_s"]
    answer["log_bytes"] = os.path.getsize(os.path.join(directory, "log"))
    answer.update(end or {})
    return answer


def status(request: Request) -> Answer:
    """State of a job."""
    return _status(_directory(request))


def jobs(request: Request) -> Answer:
    """States of all jobs of this user."""
    return {"jobs": [_status(os.path.join(JOBS, name)) for name in _job_names()]}


def prepare(request: Request) -> Answer:
    """State of a job, and where the bundle with its files goes."""
    directory = _directory(request)
    os.makedirs(JOBS, exist_ok=True)
    for entry in os.scandir(JOBS):
        old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _BUNDLE_LIFE_S
        if old and entry.name.startswith(".") and entry.name.endswith((".bundle", ".gone")):
            _forget(entry.path)
    return {"incoming": JOBS, **_status(directory)}


def start(request: Request) -> Answer:
    """Start a job, unless there is one of this name."""
    directory = _directory(request)
    tree = _tree(request)
    os.makedirs(JOBS, exist_ok=True)
    try:
        with _locked(JOBS, fcntl.LOCK_EX, "run it again"):
            if not os.path.exists(directory):
                if not os.access(os.path.join(tree, "tb"), os.X_OK):
                    raise Refused(
                        f"there is no testbed in {tree}", "copy it there first, or name another --directory"
                    )
                new = os.path.join(JOBS, f".{request['job']}.new")
                _forget(new)
                os.makedirs(os.path.join(new, "files"))
                os.makedirs(os.path.join(new, "results"))
                if request["bundle"]:
                    _unpack(request["bundle"], os.path.join(new, "files"))
                _launch(tree, new, directory, request)
    finally:
        if request["bundle"]:
            _forget(request["bundle"])
    return _status(directory)


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
    lock = os.open(os.path.join(tree, "testbed"), os.O_RDONLY)
    _lock(lock, fcntl.LOCK_SH, tree, "run it again")
    for name in ("command.json", "exit.json"):
        _reserve(new, name)
    arguments = [argument.replace("{job}", directory) for argument in request["arguments"]]
    value = {"job": request["job"], "tree": tree, "arguments": arguments, "started_at_s": time.time()}
    _write_json(os.path.join(new, "job.json"), {**value, "supervisor": _identity(os.getpid())})
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
            env={**os.environ, **request["environment"]},
            start_new_session=True,
        )
    except OSError as error:
        os.write(log, f"error: {tree}/tb: {error}\n".encode())
        code = 127
    else:
        _fill(directory, "command.json", _identity(command.pid))
        code = command.wait()
    _fill(directory, "exit.json", {"exit_code": code if code >= 0 else 128 - code, "ended_at_s": time.time()})


def follow(request: Request) -> None:
    """Stream the log from an offset on until the job has ended."""
    directory = _directory(request)
    _there(directory)
    listener = select.poll()
    listener.register(1, 0)  # tells when nobody reads any more
    with open(os.path.join(directory, "log"), "rb", buffering=0) as log:
        log.seek(request["offset"])
        while True:
            running = _status(directory)["state"] == "running"  # asked before reading: nothing comes after
            _copy(log.fileno(), 1, None)
            if not running or listener.poll(_POLL_S * 1000):
                return


def _copy(source: int, sink: int, size: int | None) -> int:
    """Copy so many bytes, or all there are; returns how many there were."""
    copied = 0
    while size is None or copied < size:
        chunk = memoryview(os.read(source, _CHUNK if size is None else min(_CHUNK, size - copied)))
        if not chunk:
            break
        copied += len(chunk)
        while chunk:
            chunk = chunk[os.write(sink, chunk) :]
    return copied


def stop(request: Request) -> Answer:
    """Send the command of a job a signal, unless it had that one, and wait for its end."""
    directory = _directory(request)
    _there(directory)
    deadline = time.monotonic() + request["wait_s"]
    sent = os.path.join(directory, request["signal"])
    while _in_use(directory):
        command = _read_json(os.path.join(directory, "command.json"))
        if command and _alive(command) and not os.path.exists(sent):
            _deliver(_receivers(command["pid"], request["signal"]), request["signal"])
            with contextlib.suppress(OSError), open(sent, "wb"):
                pass
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S / 2)
    return {**_status(directory), "in_use": _in_use(directory)}


def _there(directory: str) -> None:
    if not os.path.exists(os.path.join(directory, "job.json")):
        raise Refused(
            f"there is no job {os.path.basename(directory)}", "`./tb vm runs` lists the runs that are known"
        )


def _over(directory: str) -> None:
    if _in_use(directory):
        raise Refused(
            f"job {os.path.basename(directory)} still runs", "wait until it has ended, or `tb vm stop`"
        )


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
    directory = _directory(request)
    _there(directory)
    _over(directory)
    return {"files": [[name, os.path.getsize(path), sha256(path)] for name, path in _results(directory)]}


def send(request: Request) -> None:
    """Stream the results from one file on, or that file alone: before each a line of JSON, [path, offset, size]."""
    offset = request["offset"]
    for name, path in _results(_directory(request)):
        if name < request["first"] or (request["alone"] and name != request["first"]):
            continue
        source = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(source).st_size
            offset = os.lseek(source, offset if name == request["first"] else 0, os.SEEK_SET)
            os.write(1, json.dumps([name, offset, size]).encode() + b"\n")
            if _copy(source, 1, size - offset) != size - offset:
                raise Refused(f"{name} became shorter while it was read", "run it again")
        finally:
            os.close(source)


def remove(request: Request) -> Answer:
    """Remove a job that has ended."""
    directory = _directory(request)
    if os.path.exists(directory):
        _over(directory)
        gone = os.path.join(JOBS, f".{request['job']}.{os.getpid()}.gone")
        os.rename(directory, gone)
        try:
            shutil.rmtree(gone)
        except PermissionError:  # of a run under sudo
            subprocess.run(["sudo", "-n", "rm", "-rf", "--", gone], stdin=subprocess.DEVNULL, check=True)
    return {}


_VERBS = {
    verb.__name__: verb
    for verb in (survey, install, forget, prepare, start, status, jobs, stop, results, remove)
}
_STREAMS = {verb.__name__: verb for verb in (follow, send)}


def _refusal(error: Exception) -> Answer:
    if isinstance(error, Refused):
        return {"error": str(error), "remedy": error.remedy}
    remedy = "see the message of that machine's system"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space on that machine's disk"
    elif isinstance(error, PermissionError):
        remedy = "give the directory to the user who logs in there, or name another --directory"
    return {"error": str(error), "remedy": remedy}


def main(verb: str, request: Request) -> int:
    """Do what is asked; returns the exit code."""
    try:
        if verb in _STREAMS:
            _STREAMS[verb](request)
            return 0
        answer, code = _VERBS[verb](request), 0
    except BrokenPipeError:  # nobody listens
        return REFUSED
    except (Refused, OSError, subprocess.SubprocessError) as error:
        answer, code = _refusal(error), REFUSED
    if verb in _STREAMS:
        sys.stderr.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(json.dumps(answer) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
