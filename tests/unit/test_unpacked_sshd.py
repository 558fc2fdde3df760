from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.vm_fakes import install


def test_server_that_starts_leaves_the_users_that_others_see(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have the file mounted, which is their /etc/passwd: it may be replaced, not written."""
    for name, body in {"id": "echo 0", "getent": "exit 2", "mkdir": "", "unshare": ""}.items():
        calls = install(tmp_path / "bin", name, body, monkeypatch)
    here = tmp_path / "usr" / "sbin"
    here.mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "some-linux-gnu").mkdir(parents=True)
    (here / "sshd").write_bytes((repository / "tools" / "unpacked_sshd.sh").read_bytes())
    (here / "passwd").write_text("as it was\n", encoding="ascii")
    with (here / "passwd").open(encoding="ascii") as mounted:
        subprocess.run(["sh", str(here / "sshd"), "-D"], check=True)
        assert mounted.read() == "as it was\n"
    assert "\nsshd:x:" in (here / "passwd").read_text(encoding="utf-8")
    assert sorted(path.name for path in here.iterdir()) == ["passwd", "sshd"]
    assert calls.read_text(encoding="utf-8").endswith(f"{here}/sshd.unpacked -D\n")
