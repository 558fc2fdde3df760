"""The root directory of a box: which packages, from where, and what is changed in it."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PreflightError, SpecError
from testbed.vm.box_tools import KEYRING, Tools, in_namespaces

RELEASE = "bookworm"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
BOX_FILES = Path(__file__).resolve().parent / "box_files"
"""What is copied into the root directory (`root/`), and the scripts that change it."""

BARE_PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "zstd", "kmod", "udev"),
    *("systemd-sysv", "systemd-resolved", "systemd-timesyncd", "libpam-systemd", "dbus"),
    *("openssh-server", "sudo", "rsync", "ca-certificates", "netbase"),
    *("iproute2", "iputils-ping", "procps", "less", "python3"),
)
"""What a public Debian box has."""
_LEFT_OUT = ("man", "doc", "locale", "info", "lintian")
_KEPT = ("doc/*/copyright", "locale/locale.alias")

MIRROR_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Where packages come from."""

    main: str
    security: str

    @property
    def is_snapshot(self) -> bool:
        """Whether it shows the archive as it was at some time: its index files have run out."""
        return "/archive/" in self.main

    def sources(self) -> str:
        """apt's one-line sources."""
        options = " [check-valid-until=no]" if self.is_snapshot else ""
        return (
            f"deb{options} {self.main} {RELEASE} main\n"
            f"deb{options} {self.main} {RELEASE}-updates main\n"
            f"deb{options} {self.security} {RELEASE}-security main\n"
        )

    def guest_sources(self) -> str:
        """What apt in the guest uses: the same; after a snapshot the public archive, which is kept up to date."""
        return (
            Mirror(main=DEFAULT_MIRROR, security=SECURITY_MIRROR).sources()
            if self.is_snapshot
            else self.sources()
        )


def parse_mirror(text: str) -> Mirror:
    """A mirror from its address; raises `SpecError`.

    Where a part of the path is `debian`, the security archive is `debian-security` in its place, as on
    snapshot.debian.org and most mirrors; else it is Debian's own.
    """
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\[\]]", text):
        raise SpecError(
            f"--mirror {text!r} is no address of a Debian mirror",
            remedy=f"write e.g. {DEFAULT_MIRROR} or http://snapshot.debian.org/archive/debian/20261101T000000Z",
        )
    main = text.rstrip("/")
    security = re.sub(r"/debian(?=/|$)", "/debian-security", main, count=1)
    return Mirror(main=main, security=SECURITY_MIRROR if security == main else security)


def require_mirror(mirror: Mirror, *, timeout_s: float = MIRROR_TIMEOUT_S) -> None:
    """Raise `PreflightError` unless the mirror has the release."""
    for base, suite in ((mirror.main, RELEASE), (mirror.security, f"{RELEASE}-security")):
        address = f"{base}/dists/{suite}/InRelease"
        try:
            with urllib.request.urlopen(address, timeout=timeout_s) as answer:
                answer.read(1)
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise PreflightError(
                f"the mirror does not answer: {address}: {reason}",
                remedy="check the network, or name another mirror with --mirror URL",
            ) from error


def set_up_packages(setup_script: str) -> tuple[str, ...]:
    """The distribution's packages that tools/setup.sh installs, from its text: it holds the only list of them."""
    found: list[str] = []
    for name in ("base_packages", "fabric_packages"):
        match = re.search(rf"^{name}=\(([^)]*)\)$", setup_script, re.MULTILINE)
        if match is None:
            raise ValueError(f"tools/setup.sh has no list {name}")
        found += match[1].split()
    return tuple(found)


def mmdebstrap_command(root: Path, sources: Path, packages: Sequence[str]) -> list[str]:
    """Makes a root directory from packages, and a box of it, in namespaces of its own."""
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    kept = [f"--dpkgopt=path-include=/usr/share/{name}" for name in _KEPT]
    return in_namespaces(
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=apt", "--architectures=amd64"),
        *(f"--keyring={KEYRING}", f"--include={','.join(packages)}", *left_out, *kept),
        '--aptopt=Acquire::Retries "3"',
        f"--customize-hook={BOX_FILES / 'customize.sh'}",
        *(RELEASE, root, sources),
    )


def make_root(root: Path, *, mirror: Mirror, packages: Sequence[str], tools: Tools) -> None:
    """Install packages into a new directory and make a box of it."""
    sources = root.with_name("sources.list")
    sources.write_text(mirror.sources(), encoding="utf-8")
    tools.run(
        mmdebstrap_command(root, sources, packages),
        what="installing packages",
        remedy="check the network and the mirror, see the log; another mirror: --mirror URL",
    )
    # mmdebstrap leaves what it was given; which file it is called is its own.
    for old in (root / "etc/apt/sources.list", *(root / "etc/apt/sources.list.d").glob("*")):
        old.unlink(missing_ok=True)
    (root / "etc/apt/sources.list").write_text(mirror.guest_sources(), encoding="utf-8")


def finish_root(root: Path, *, tools: Tools) -> None:
    """Remove what belongs to one machine or differs between two builds."""
    tools.run([BOX_FILES / "finish.sh", root], what="cleaning the root directory", remedy="see the log")


def installed_packages(root: Path) -> list[dict[str, str]]:
    """Name and version of each package in a root directory, by name."""
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status") == "install ok installed":
            found.append({"name": fields["Package"], "version": fields["Version"]})
    return sorted(found, key=lambda package: package["name"])


def kernel_version(root: Path) -> str:
    """The version of the kernel that a root directory boots, as `uname -r` says it."""
    return (root / "vmlinuz").readlink().name.removeprefix("vmlinuz-")
