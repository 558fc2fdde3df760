"""Making the tree here what another machine wants it to be."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import os
import time
from typing import Any

from testbed.vm.agent.files import (
    LEFT_S,
    LOCK_WAIT_S,
    Answer,
    InUse,
    Refused,
    Request,
    below,
    discard,
    free_bytes,
    locked,
    read_json,
    tree_of,
    unpack,
    write_json,
)
from testbed.vm.agent.jobs import busy_in
from testbed.vm.agent.tree import ENGINE, is_stale, manifest_of

_DEPLOYED = ".vm/deployed.json"
_IN_USE = "wait until it has ended, or ./tb vm stop"
_TRY_S = 1.0


def survey(request: Request) -> Answer:
    """What is in the tree, where a bundle for it goes, and who is using it."""
    tree = tree_of(request)
    if os.path.lexists(tree) and not os.path.isdir(tree):
        raise Refused(f"{tree} is no directory", "name another --directory")
    if not _ours(tree):
        raise Refused(f"{tree} holds other files, and is no tree of the testbed", "name another --directory")
    incoming = os.path.join(tree, ".vm", "incoming")
    os.makedirs(incoming, exist_ok=True)
    for entry in os.scandir(incoming):  # of transfers that nobody will finish
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_S:
            discard(entry.path)
    files = manifest_of(tree)
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
        "free_bytes": free_bytes(tree),
        "deployed": read_json(os.path.join(tree, _DEPLOYED)) or [],
        "busy": busy_in(tree),
    }


def _ours(tree: str) -> bool:
    """Whether it is a tree of the testbed, whole or begun, or could become one."""
    return (
        not os.path.isdir(tree)
        or os.path.exists(os.path.join(tree, _DEPLOYED))
        or (os.path.isdir(os.path.join(tree, "testbed")) and os.path.exists(os.path.join(tree, "tb")))
        or not set(os.listdir(tree)) - {".vm", "lost+found"}
    )


def install(request: Request) -> Answer:
    """Make a tree what the wanted manifest says, with the files of a bundle: what differs, and that manifest.

    Several may do so at once, and a run may begin in a tree as soon as it is right: then there is nothing to do.
    """
    tree, staged = tree_of(request), request["bundle"] + ".files"
    with contextlib.suppress(FileExistsError), open(os.path.join(tree, _DEPLOYED), "x") as record:
        record.write("[]")  # whoever comes now finds a tree that was begun
    top = os.path.join(tree, "testbed")
    os.makedirs(top, exist_ok=True)
    try:
        new = set(unpack(request["bundle"], staged))
        new.remove(request["wanted"])
        wanted: dict[str, list[Any]] = read_json(below(staged, request["wanted"]))
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            with locked(top, fcntl.LOCK_SH, _IN_USE):
                if _is_right(tree, wanted):
                    return {"removed": 0}
            _require_idle(tree)
            try:
                with locked(top, fcntl.LOCK_EX, _IN_USE, wait_s=_TRY_S):
                    return {"removed": _replace(tree, staged, new, wanted)}
            except InUse:
                if time.monotonic() > deadline:
                    raise
    finally:
        discard(staged)
        discard(request["bundle"])


def _require_idle(tree: str) -> None:
    busy = busy_in(tree)
    if busy:
        raise Refused(f"{tree} is in use by {', '.join(busy)}", _IN_USE)


def _is_right(tree: str, wanted: dict[str, list[Any]]) -> bool:
    """Whether nothing is to be changed."""
    there = manifest_of(tree)
    earlier = set(read_json(os.path.join(tree, _DEPLOYED)) or ())
    return all(there.get(path, [])[1:] == row[1:] for path, row in wanted.items()) and not any(
        is_stale(path, earlier, wanted) for path in there if path not in wanted
    )


def _replace(tree: str, staged: str, new: set[str], wanted: dict[str, list[Any]]) -> int:
    """Put what was staged in its place, and remove what is stale; returns how many files that were."""
    _require_idle(tree)
    there = manifest_of(tree)
    changed = [
        path
        for path in wanted
        if path not in new and (path not in there or there[path][2] != wanted[path][2])
    ]
    if changed:
        raise Refused(f"{changed[0]} was changed in {tree} meanwhile", "run it again")
    record = os.path.join(tree, _DEPLOYED)
    earlier = set(read_json(record) or ())
    removed = [path for path in there if path not in wanted and is_stale(path, earlier, wanted)]
    write_json(record, sorted(earlier | set(wanted)))
    for path in removed:
        _remove_file(tree, path)
    for path, (_, mode, _) in wanted.items():
        where = below(tree, path)
        if path in new:
            os.makedirs(os.path.dirname(where), exist_ok=True)
            os.replace(below(staged, path), where)
        elif there[path][1] != mode:
            os.chmod(where, mode)
    write_json(record, sorted(wanted))
    return len(removed)


def _remove_file(tree: str, path: str) -> None:
    """Remove a file, and the directories that are empty without it."""
    where = below(tree, path)
    os.unlink(where)
    with contextlib.suppress(OSError):
        while True:
            where = os.path.dirname(where)
            if os.path.samefile(where, tree):
                return
            os.rmdir(where)
