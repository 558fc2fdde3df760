"""The disk of a box: a file system made from a directory, a boot loader before it; no loop device and no mount.

Two disks from the same directory are the same, byte for byte: identifiers are fixed, and so are the times in inodes
that no tool lets one choose.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from testbed.vm.box_tools import GRUB_FILES, Tools

DISK_BYTES = 16 << 30
"""What the guest sees; the file holds only what was written."""
SECTOR_BYTES = 512
FIRST_SECTOR = 2048
"""Of the one partition; the boot loader's core lies before it."""
LABEL = "tb-root"
DISK_ID = 0x7462626F
_FILE_SYSTEM_UUID = uuid.UUID("6c1b6f0a-6f57-5d0c-9a3e-746272656164")
_HASH_SEED = uuid.UUID("a5d4c1de-26d8-5b6e-8f43-746268617368")
_GRUB_MODULES = (
    "biosdisk",
    "part_msdos",
    "ext2",
    "linux",
    "normal",
    "search",
    "search_label",
    "echo",
    "test",
)
_BOOT_CODE_BYTES = 440

_FAILED = "free space on this disk, and see the log"


def kernel_arguments() -> str:
    """The kernel's command line.

    init_on_alloc=0: Debian's kernel zeroes every page that it hands out, against leaks of old content. The guest holds
    nothing worth hiding from itself, and where the processor is emulated the zeroing is a good part of the boot.
    """
    return f"root=LABEL={LABEL} rw net.ifnames=0 console=tty0 console=ttyS0,115200 init_on_alloc=0 quiet"


def grub_configuration() -> str:
    """grub.cfg: /vmlinuz and /initrd.img are links that Debian's kernel packages keep at the newest kernel."""
    return f"""set timeout=0
search --no-floppy --label {LABEL} --set=root
linux /vmlinuz {kernel_arguments()}
initrd /initrd.img
boot
"""


def partition_table() -> str:
    """What sfdisk is to write: one bootable Linux partition up to the end."""
    return (
        f"label: dos\nlabel-id: {DISK_ID:#010x}\nunit: sectors\n\nstart={FIRST_SECTOR}, type=83, bootable\n"
    )


def make_disk(root: Path, disk: Path, *, epoch_s: int, tools: Tools) -> None:
    """Make a raw disk that boots a root directory: partition, file system, boot loader."""
    offset_bytes = FIRST_SECTOR * SECTOR_BYTES
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    table = disk.with_suffix(".sfdisk")
    table.write_text(partition_table(), encoding="ascii")
    tools.run(
        ["sh", "-c", 'sfdisk --quiet --no-reread "$1" <"$2"', "sh", disk, table],
        what="partitioning",
        remedy=_FAILED,
    )
    tools.run(_mke2fs(root, disk, offset_bytes), what="making the file system", remedy=_FAILED)
    with disk.open("r+b") as file:
        set_inode_times(file, offset_bytes=offset_bytes, epoch_s=epoch_s)
    core = disk.with_suffix(".core")
    tools.run(_grub_mkimage(core), what="making the boot loader", remedy=_FAILED)
    write_boot_loader(disk, boot=(GRUB_FILES / "boot.img").read_bytes(), core=core.read_bytes())


def _mke2fs(root: Path, disk: Path, offset_bytes: int) -> list[str | Path]:
    # Inodes without checksums: their times are written afterwards. Tables are whole, so that no guest fills them.
    extended = (
        f"offset={offset_bytes},hash_seed={_HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    )
    blocks_kib = (DISK_BYTES - offset_bytes) // 1024
    fixed: list[str | Path] = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-U", str(_FILE_SYSTEM_UUID)]
    return [*fixed, "-O", "^metadata_csum", "-i", "32768", "-E", extended, "-d", root, disk, f"{blocks_kib}k"]


def _grub_mkimage(core: Path) -> list[str | Path]:
    return [
        *("grub-mkimage", "--format", "i386-pc", "--prefix", "(hd0,msdos1)/boot/grub", "--output", core),
        *_GRUB_MODULES,
    ]


def write_boot_loader(disk: Path, *, boot: bytes, core: bytes) -> None:
    """Put GRUB's first sector into the disk's (beside the partition table), and its core behind that."""
    room_bytes = (FIRST_SECTOR - 1) * SECTOR_BYTES
    if len(core) > room_bytes:
        raise ValueError(f"GRUB's core has {len(core)} bytes; before the partition are {room_bytes}")
    with disk.open("r+b") as file:
        file.write(boot[:_BOOT_CODE_BYTES])
        file.seek(SECTOR_BYTES)
        file.write(core)


def compress(disk: Path, image: Path, *, tools: Tools) -> None:
    """Make a compressed qcow2 of a raw disk; clusters are written in order, so that two are the same."""
    tools.run(
        ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", disk, image],
        what="compressing the disk",
        remedy=_FAILED,
    )


# Inodes ----------------------------------------------------------------------------------------------------
#
# mke2fs copies the times of a file to its inode, also the time of its last change (ctime), which is the moment the
# build wrote it. Layout: https://docs.kernel.org/filesystems/ext4/globals.html, without checksums (see _mke2fs).


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """What of a superblock leads to the inodes."""

    inodes: int
    inodes_per_group: int
    inode_bytes: int
    block_bytes: int
    first_data_block: int
    descriptor_bytes: int


_SUPERBLOCK = 1024
_MAGIC = 0xEF53
_METADATA_CSUM = 0x400
_64BIT = 0x80


def _geometry(superblock: bytes) -> _Geometry:
    def word(at: int) -> int:
        return int(struct.unpack_from("<I", superblock, at)[0])

    def half(at: int) -> int:
        return int(struct.unpack_from("<H", superblock, at)[0])

    if half(0x38) != _MAGIC:
        raise ValueError("there is no ext4 file system")
    if word(0x64) & _METADATA_CSUM:
        raise ValueError("inodes have checksums")
    return _Geometry(
        inodes=word(0x0),
        inodes_per_group=word(0x28),
        inode_bytes=half(0x58),
        block_bytes=1024 << word(0x18),
        first_data_block=word(0x14),
        descriptor_bytes=half(0xFE) if word(0x60) & _64BIT else 32,
    )


def set_inode_times(file: BinaryIO, *, offset_bytes: int, epoch_s: int) -> int:
    """Give each inode in use its mtime as atime and ctime, no nanoseconds, and `epoch_s` as birth; return how many."""
    file.seek(offset_bytes + _SUPERBLOCK)
    geometry = _geometry(file.read(1024))
    changed = 0
    for at, count in _inode_tables(file, geometry, offset_bytes):
        file.seek(at)
        table = bytearray(file.read(count * geometry.inode_bytes))
        in_group = 0
        for start in range(0, len(table), geometry.inode_bytes):
            if struct.unpack_from("<H", table, start)[0]:  # its mode; 0 where it was never used
                _set_times(table, start, epoch_s)
                in_group += 1
        if in_group:
            file.seek(at)
            file.write(table)
        changed += in_group
    return changed


def _inode_tables(file: BinaryIO, geometry: _Geometry, offset_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the inode table of each group is in the file, and how many inodes it has."""
    groups = -(-geometry.inodes // geometry.inodes_per_group)
    file.seek(offset_bytes + (geometry.first_data_block + 1) * geometry.block_bytes)
    descriptors = file.read(groups * geometry.descriptor_bytes)
    for group in range(groups):
        start = group * geometry.descriptor_bytes
        block = struct.unpack_from("<I", descriptors, start + 0x8)[0]
        if geometry.descriptor_bytes >= 64:
            block |= struct.unpack_from("<I", descriptors, start + 0x28)[0] << 32
        yield offset_bytes + block * geometry.block_bytes, geometry.inodes_per_group


def _set_times(table: bytearray, start: int, epoch_s: int) -> None:
    mtime_s = struct.unpack_from("<I", table, start + 0x10)[0]
    struct.pack_into("<II", table, start + 0x8, mtime_s, mtime_s)  # atime, ctime
    if struct.unpack_from("<H", table, start + 0x80)[0] >= 0x18:  # with the fields up to the time of birth
        struct.pack_into("<IIIII", table, start + 0x84, 0, 0, 0, epoch_s, 0)
