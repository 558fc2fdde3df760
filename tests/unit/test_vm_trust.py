"""known_hosts files as OpenSSH reads them, and what is said of a key that is not in them as it should be."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import RemoteError, SpecError
from testbed.vm.ssh import trust
from testbed.vm.ssh.trust import HostKey, Trust, known_keys, name_of, remember, verify
from testbed.vm.target import Target

KEY = HostKey(type="ssh-ed25519", blob=b"a key")
OTHER = HostKey(type="ssh-ed25519", blob=b"another key")
RSA = HostKey(type="ssh-rsa", blob=b"a key of another type")


def line(names: str, key: HostKey = KEY) -> str:
    return f"{names} {key.type} {base64.b64encode(key.blob).decode()} comment\n"


def hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.fixture(autouse=True)
def _no_global_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "GLOBAL_FILE", tmp_path / "global")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


@pytest.fixture
def target(file: Path) -> Target:
    return Target(name="lab", host="Lab3.example.org", user="ann", known_hosts=(file,))


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        ("lab3.example.org", True),
        ("other,lab3.example.org", True),
        ("LAB3.example.org", True),
        ("*.example.org", True),
        ("lab?.example.org", True),
        ("*.example.org,!lab3.example.org", False),
        ("lab3", False),
        ("lab3xexample.org", False),
        ("[lab3.example.org]:22", False),
        (hashed("lab3.example.org"), True),
        (hashed("lab4.example.org"), False),
        ("|1|damaged", False),
    ],
)
def test_names_of_a_line_hold_as_in_openssh(target: Target, file: Path, names: str, holds: bool) -> None:
    file.write_text(line(names))
    assert [known.key for known in known_keys(target)] == [KEY] * holds


def test_port_other_than_22_is_part_of_the_name(target: Target, file: Path) -> None:
    file.write_text(line("lab3.example.org") + line("[lab3.example.org]:2222", OTHER))
    assert [known.key for known in known_keys(replace(target, port=2222))] == [OTHER]


def test_alias_stands_for_host_and_port(target: Target) -> None:
    assert name_of(replace(target, port=2222, key_alias="vm-of-ann")) == "vm-of-ann"


def test_lines_that_are_no_keys_make_nothing_known(target: Target, file: Path) -> None:
    name = "lab3.example.org"
    file.write_text(
        f"\n# {line(name)}{name}\n{name} ssh-rsa\n{name} ssh-rsa ???\n{name} ssh-rsa ü\n"
        f"|1|ü|ü {line(name)}@cert-authority\n@cert-authority {line(name)}@revoked\n"
    )
    assert known_keys(target) == []


def test_files_are_read_in_order_and_the_global_one_last(target: Target, tmp_path: Path) -> None:
    first, second, everybody = tmp_path / "1", tmp_path / "2", tmp_path / "global"
    for path in (first, second, everybody):
        path.write_text("# comment\n" + line("lab3.example.org"))
    known = known_keys(replace(target, known_hosts=(first, second, tmp_path / "missing")))
    assert [str(one) for one in known] == [f"{path}, line 2" for path in (first, second, everybody)]


def test_file_that_cannot_be_read_is_an_error(target: Target, file: Path) -> None:
    file.mkdir()
    with pytest.raises(SpecError, match="cannot be read"):
        known_keys(target)


def test_known_key_is_trusted_without_a_question(target: Target, file: Path) -> None:
    file.write_text(line("lab3.example.org", OTHER) + line("lab3.example.org"))
    before = file.read_text()
    assert verify(target, Trust(), KEY) == ""
    assert file.read_text() == before


@pytest.mark.parametrize("known", [OTHER, RSA])
def test_changed_key_names_line_fingerprints_and_remedy(target: Target, file: Path, known: HostKey) -> None:
    file.write_text("\n" + line("lab3.example.org", known))
    asked: list[str] = []
    sure = Trust(host_key=KEY.fingerprint, confirm=lambda question: bool(asked.append(question)) or True)
    with pytest.raises(RemoteError) as caught:
        verify(target, sure, KEY)
    for part in (f"{file}, line 2", KEY.fingerprint, known.fingerprint):
        assert part in str(caught.value)
    assert f"ssh-keygen -f '{file}' -R 'lab3.example.org'" in caught.value.remedy
    assert asked == []


def test_revoked_key_is_refused_even_if_known_and_pinned(target: Target, file: Path) -> None:
    file.write_text(line("lab3.example.org") + "@revoked " + line("*"))
    with pytest.raises(RemoteError, match=f"revoked.*{file}, line 2"):
        verify(target, Trust(host_key=KEY.fingerprint), KEY)


def test_other_key_revoked_makes_this_one_neither_known_nor_changed(target: Target, file: Path) -> None:
    file.write_text("@revoked " + line("lab3.example.org", OTHER))
    with pytest.raises(RemoteError, match="is not known"):
        verify(target, Trust(), KEY)


def test_pin_that_differs_is_refused_even_if_the_key_is_known(target: Target, file: Path) -> None:
    file.write_text(line("lab3.example.org"))
    with pytest.raises(RemoteError, match="not the one that was given") as caught:
        verify(target, Trust(host_key=OTHER.fingerprint), KEY)
    assert "/etc/ssh/ssh_host_ed25519_key.pub" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["", "MD5:00:11", "SHA256:", "sha256:" + "a" * 43, "SHA256:" + "a" * 43 + "="]
)
def test_pin_in_another_form_is_the_users_error(text: str) -> None:
    with pytest.raises(SpecError, match="no fingerprint"):
        Trust(host_key=text)


def test_remembered_key_is_appended_behind_a_line_without_an_end(target: Target, file: Path) -> None:
    file.write_text(line("elsewhere").strip())
    remember(file, name_of(target), KEY)
    assert file.read_text().split("\n")[0] == line("elsewhere").strip()
    assert [str(known) for known in known_keys(target)] == [f"{file}, line 2"]


def test_remembered_key_makes_a_private_file_in_a_private_directory(tmp_path: Path) -> None:
    path = tmp_path / ".ssh" / "known_hosts"
    remember(path, "lab", KEY)
    assert [oct(one.stat().st_mode & 0o777) for one in (path.parent, path)] == ["0o700", "0o600"]


def test_key_that_cannot_be_kept_is_not_trusted(target: Target) -> None:
    nowhere = Path("/proc/none/known_hosts")  # root may write anywhere else
    with pytest.raises(SpecError, match="cannot be kept") as caught:
        verify(replace(target, known_hosts=(nowhere,)), Trust(host_key=KEY.fingerprint), KEY)
    assert line(name_of(target)).removesuffix(" comment\n") in caught.value.remedy
