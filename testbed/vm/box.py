"""Building a Vagrant box from the distribution's packages alone: no loop device, no mount, no virtual machine.

The same packages and the same tree give the same file, byte for byte: nothing of the machine, the moment or the
order of work is in it. Whatever happens, nothing stays but the finished box, its manifest, and a log in build/box/.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.commit import tree_commit
from testbed.errors import PreflightError
from testbed.vm import box_image, box_root, box_tree
from testbed.vm.box_tools import Tools, require_tools
from testbed.vm.processes import remove_partials

FULL_BOX = "transparent-nic/debian12"
BARE_BOX = "transparent-nic/debian12-bare"
_SPACE_BYTES = {True: 3 << 30, False: 7 << 30}
"""What a build takes at its largest: root directory, disk, image and box; estimated, with room."""
_WORK = "work"
_MTIME_SPREAD_S = 10_000_000

Step = Callable[[str], AbstractContextManager[None]]
"""Shows one step of the build, by its name, while it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPlan:
    """Which box, from where, to where."""

    tree: Path
    """The project's tree."""
    out: Path
    """The file to make; its manifest is beside it."""
    bare: bool
    mirror: box_root.Mirror

    @property
    def name(self) -> str:
        """Under what name Vagrant knows it."""
        return BARE_BOX if self.bare else FULL_BOX

    @property
    def manifest(self) -> Path:
        """Where its manifest goes."""
        return self.out.with_suffix(".json")

    @property
    def work(self) -> Path:
        """The directory of logs and of what is built meanwhile."""
        return self.tree / "build" / "box"


def default_out(tree: Path, *, bare: bool) -> Path:
    """Where a box goes unless the user says otherwise."""
    return tree / "build" / "box" / f"{'debian12-bare' if bare else 'debian12'}.box"


def require_buildable(plan: BoxPlan) -> None:
    """Raise `PreflightError` for what this machine lacks to build a box, before anything is built."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise PreflightError(
            f"boxes are built for amd64, and this machine is {platform.machine()}",
            remedy="build it on an amd64 machine, or use a public box: ./tb vm up --box NAME",
        )
    if os.geteuid() != 0:
        raise PreflightError("building a box needs root", remedy="sudo ./tb vm box")
    require_tools()
    for directory in {plan.work, plan.out.parent}:
        _require_space(directory, _SPACE_BYTES[plan.bare] if directory == plan.work else 1 << 30)
    box_root.require_mirror(plan.mirror)


def _require_space(directory: Path, needed_bytes: int) -> None:
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise PreflightError(
            f"building a box needs {needed_bytes / 1e9:.1f} GB in {directory}; {free_bytes / 1e9:.1f} GB are free",
            remedy="free space on that disk",
        )


def build_box(plan: BoxPlan, *, step: Step) -> dict[str, Any]:
    """Build a box and its manifest; return the manifest. Nothing else stays, whatever happens."""
    require_buildable(plan)
    with _work_directory(plan.work) as work:
        epoch_s = box_tree.FIXED_EPOCH_S if plan.bare else box_tree.tree_epoch_s(plan.tree)
        # Before the build: the tree may change meanwhile.
        commit = None if plan.bare else tree_commit(plan.tree)
        log = plan.work / f"{plan.out.stem}.log"
        log.write_bytes(b"")
        give_to_caller(log)
        tools = Tools(log=log, environment=_environment(work, epoch_s))
        root = work / "root"
        packages: tuple[str, ...] = box_root.BARE_PACKAGES
        if not plan.bare:
            script = (plan.tree / "tools" / "setup.sh").read_text(encoding="utf-8")
            packages += box_root.set_up_packages(script)
        with step("packages"):
            box_root.make_root(root, mirror=plan.mirror, packages=packages, tools=tools)
        if not plan.bare:
            with step("set-up"):
                box_tree.install_tree(plan.tree, root, epoch_s=epoch_s, tools=tools)
        with step("disk"):
            write_boot_configuration(root)
            box_root.finish_root(root, tools=tools)
            box_image.make_disk(root, work / "disk.raw", epoch_s=epoch_s, tools=tools)
        contents = work / "box"
        contents.mkdir()
        with step("image"):
            box_image.compress(work / "disk.raw", contents / "box.img", tools=tools)
        with step("box"):
            manifest = _box_manifest(plan, root, epoch_s=epoch_s, commit=commit)
            manifest["image_sha256"] = sha256_of(contents / "box.img")
            partial = work / "box.partial"
            pack_box(contents, partial, manifest=manifest, tools=tools)
            manifest |= {"box_sha256": sha256_of(partial), "box_bytes": partial.stat().st_size}
            _put_in_place(partial, plan, manifest)
    return manifest


def write_boot_configuration(root: Path) -> None:
    """Put grub.cfg where the boot loader looks for it."""
    directory = root / "boot" / "grub"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "grub.cfg").write_text(box_image.grub_configuration(), encoding="ascii")


def _environment(work: Path, epoch_s: int) -> dict[str, str]:
    """What programs see: nothing of this machine's, besides its proxies."""
    proxies = {
        name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ
    }
    fixed = {"HOME": "/root", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "TMPDIR": str(work)}
    dates = {"SOURCE_DATE_EPOCH": str(epoch_s), "E2FSPROGS_FAKE_TIME": str(epoch_s)}
    return {**proxies, **fixed, **dates}


@contextmanager
def _work_directory(parent: Path) -> Iterator[Path]:
    for directory in (parent.parent, parent):
        if not directory.exists():
            directory.mkdir(parents=True)
            give_to_caller(directory)
    remove_partials(parent / _WORK)
    work = parent / f".{_WORK}.{os.getpid()}.new"
    work.mkdir()
    try:
        work.chmod(0o755)  # apt downloads as a user of its own
        yield work
    finally:
        shutil.rmtree(work)


def remove_unfinished(tree: Path, *, dry_run: bool) -> list[str]:
    """Remove what builds that were killed have left; says what."""
    left = remove_partials(tree / "build" / "box" / _WORK, dry_run=dry_run)
    return [f"unfinished box {path}" for path in left]


def _box_manifest(plan: BoxPlan, root: Path, *, epoch_s: int, commit: str | None) -> dict[str, Any]:
    """What is in a box, and from what it was made."""
    return {
        "name": plan.name,
        "release": box_root.RELEASE,
        "architecture": "amd64",
        "kernel": box_root.kernel_version(root),
        "mirror": plan.mirror.main,
        "security_mirror": plan.mirror.security,
        "source_date_epoch": epoch_s,
        "tree_commit": commit,
        "disk_bytes": box_image.DISK_BYTES,
        "packages": box_root.installed_packages(root),
    }


def box_metadata() -> dict[str, Any]:
    """metadata.json of a box, which tells Vagrant for which provider it is."""
    return {"provider": "libvirt", "format": "qcow2", "virtual_size": box_image.DISK_BYTES >> 30}


def image_mtime_s(image_sha256: str) -> int:
    """The time in the box of its image: another one for another image.

    vagrant-libvirt tells unversioned boxes apart by this time alone: with the same time, a machine would be made from
    the image of the box that was there before.
    """
    return box_tree.FIXED_EPOCH_S + int(image_sha256[:12], 16) % _MTIME_SPREAD_S


def pack_box(contents: Path, box: Path, *, manifest: dict[str, Any], tools: Tools) -> None:
    """Make a box file from a directory with `box.img`."""
    (contents / "metadata.json").write_text(_json(box_metadata()), encoding="utf-8")
    (contents / "manifest.json").write_text(_json(manifest), encoding="utf-8")
    names = ("metadata.json", "manifest.json", "box.img")
    mtime_s = image_mtime_s(manifest["image_sha256"])
    tools.run(
        [
            *("tar", "--create", "--file", box, "--directory", contents, "--format=ustar", "--sort=name"),
            *(f"--mtime=@{mtime_s}", "--owner=root:0", "--group=root:0", "--mode=0644", *names),
        ],
        what="packing the box",
        remedy="free space on this disk, and see the log",
    )


def _put_in_place(partial: Path, plan: BoxPlan, manifest: dict[str, Any]) -> None:
    """Give the box its name when it is whole, and to the user who called sudo."""
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    beside = plan.out.with_name(f"{plan.out.name}.partial")
    try:
        shutil.move(partial, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        give_to_caller(beside)
        plan.manifest.write_text(_json(manifest), encoding="utf-8")
        give_to_caller(plan.manifest)
        beside.replace(plan.out)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def give_to_caller(path: Path) -> None:
    """Under sudo, what was made belongs to the one who called it."""
    if os.geteuid() == 0 and os.environ.get("SUDO_UID"):
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1")))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
