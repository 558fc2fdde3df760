"""Public host keys as text: lines of `ssh-keygen`, fingerprints, known_hosts files. Verifies nothing itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from testbed.run.files import replacing

_KEY = re.compile(r"\b((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+) (AAAA[A-Za-z0-9+/]+={0,2})(?=\s|$)")
PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "ssh-rsa")
"""Of which key a fingerprint is shown, where there are several."""


def public_keys(text: str) -> dict[str, str]:
    """The public keys in a text, by their type, base64; what is no whole key is left out."""
    found: dict[str, str] = {}
    for kind, encoded in _KEY.findall(text):
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
        name, *rest = _fields(blob) or [b""]
        if rest and name == kind.encode("ascii"):
            found[kind] = encoded
    return found


def _fields(blob: bytes) -> list[bytes]:
    """The parts of a public key, each after its length [RFC 4253, 6.6: the first names its type]; none if it is cut."""
    parts = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        parts.append(blob[4 : 4 + size])
        if len(blob) < 4 + size:
            return []
        blob = blob[4 + size :]
    return parts


def fingerprint(encoded: str) -> str:
    """`SHA256:...` of a base64 key, as OpenSSH writes it."""
    digest = hashlib.sha256(base64.b64decode(encoded)).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def shown_fingerprint(keys: dict[str, str]) -> str:
    """The fingerprint of the key that a client takes first."""
    kind = next((kind for kind in PREFERRED if kind in keys), next(iter(keys)))
    return fingerprint(keys[kind])


def known_hosts_text(name: str, keys: dict[str, str]) -> str:
    """A known_hosts file that knows one machine by its alias."""
    return "".join(f"{name} {kind} {encoded}\n" for kind, encoded in sorted(keys.items()))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    with replacing(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def remove_others(paths: Iterable[Path], kept: Path) -> None:
    """Remove files of machines that are no more."""
    for path in paths:
        if path != kept:
            path.unlink(missing_ok=True)
