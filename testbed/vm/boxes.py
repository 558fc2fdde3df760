"""From a box to the disk image in it: a .box file, a plain image, or the name of a box that Vagrant has."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from testbed.errors import PreflightError, SpecError
from testbed.run.files import replacing
from testbed.vm import vagrant
from testbed.vm.kvm import no_qemu
from testbed.vm.places import box_directory, images_directory
from testbed.vm.processes import remove_partials

PROVIDERS = ("libvirt", "qemu")
"""Boxes of these hold an image that QEMU boots as it is."""
_PREFERRED = ("debian12.box", "debian12-bare.box")
_IMAGE_SUFFIXES = (".qcow2", ".img", ".raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A disk image that machines are laid over."""

    path: Path
    format: str
    """As QEMU calls it, e.g. qcow2."""


def find_box(root: Path, box: str | None) -> Path:
    """The file that `--box` names, or by default the one that was built here."""
    if box is None:
        built = [path for path in box_directory(root).glob("*.box") if path.is_file()]
        by_name = {path.name: path for path in built}
        chosen = next((by_name[name] for name in _PREFERRED if name in by_name), None)
        if chosen is None and not built:
            raise PreflightError(
                "there is no box here", remedy="build one: ./tb vm box; or name one: --box FILE"
            )
        return chosen or max(built, key=lambda path: path.stat().st_mtime_ns)
    path = Path(box).expanduser()
    if path.is_file():
        return path.absolute()
    return _of_vagrant(box)


def _of_vagrant(name: str) -> Path:
    """The image of a box that Vagrant has, of its newest version."""
    directory = vagrant.boxes_directory() / vagrant.folder_of(name)
    found = [
        path
        for path in directory.glob("**/box.img")
        if set(path.relative_to(directory).parts) & set(PROVIDERS)
    ]
    if not found:
        raise SpecError(
            f"--box {name}: there is no such file, and Vagrant has no box of that name for {' or '.join(PROVIDERS)}",
            remedy="give the path of a .box file or of an image, or build one: ./tb vm box",
        )
    return max(found, key=lambda path: _version(path.relative_to(directory).parts[0]))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def image_of(root: Path, box: Path) -> Image:
    """The image in a box, taken out of it if need be; a plain image is used where it is."""
    if box.suffix in _IMAGE_SUFFIXES or not tarfile.is_tarfile(box):
        return Image(path=box, format=image_format(box))
    status = box.stat()
    key = hashlib.sha256(f"{box}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:16]
    path = images_directory(root) / f"{key}.img"
    if not path.is_file():
        try:
            with tarfile.open(box) as archive:
                _unpack(archive, box, path)
        except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise _no_box(box, f"it is cut or damaged ({error})") from error
    return Image(path=path, format=image_format(path))


def _unpack(archive: tarfile.TarFile, box: Path, path: Path) -> None:
    metadata = _metadata(archive, box)
    provider = metadata.get("provider")
    if provider not in PROVIDERS:
        raise SpecError(
            f"{box} is a box for {provider}",
            remedy=f"use one for {' or '.join(PROVIDERS)}, or ./tb vm up without --qemu",
        )
    disks = metadata.get("disks")
    name = disks[0].get("path", "box.img") if isinstance(disks, list) and disks else "box.img"
    source = _member(archive, str(name))
    if source is None:
        raise _no_box(box, f"it has no {name}")
    remove_partials(path)
    with replacing(path) as partial, source, partial.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _metadata(archive: tarfile.TarFile, box: Path) -> dict[str, object]:
    source = _member(archive, "metadata.json")
    if source is None:
        raise _no_box(box, "it has no metadata.json")
    try:
        metadata = json.loads(source.read())
    except ValueError as error:
        raise _no_box(box, "its metadata.json cannot be read") from error
    if not isinstance(metadata, dict):
        raise _no_box(box, "its metadata.json is no table")
    return metadata


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes] | None:
    """A file of the archive, whichever way its name is written there."""
    for written in (name, f"./{name}"):
        try:
            return archive.extractfile(written)
        except KeyError:
            continue
    return None


def _no_box(box: Path, why: str) -> SpecError:
    return SpecError(
        f"{box} is no box: {why}", remedy="give a .box file, or an image: build one with ./tb vm box"
    )


def image_format(path: Path) -> str:
    """The format of an image, as qemu-img tells it."""
    command = ["qemu-img", "info", "--output=json", "--force-share", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise no_qemu(command[0]) from error
    if done.returncode != 0:
        raise SpecError(f"{path} is no image: {done.stderr.strip()}", remedy="give a .box file or an image")
    return str(json.loads(done.stdout)["format"])


def remove_unused(root: Path, used: Iterable[Path]) -> None:
    """Remove images that no machine is laid over any more."""
    kept = set(used)
    for path in images_directory(root).glob("*.img"):
        if path not in kept:
            path.unlink(missing_ok=True)
