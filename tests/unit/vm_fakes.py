"""Stand-ins for the programs that machines are made with: scripts that note how they were called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def install(directory: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a script on the PATH before all else; what its calls were is in the file that comes back."""
    directory.mkdir(parents=True, exist_ok=True)
    calls = directory / f"{name}.calls"
    script = directory / name
    script.write_text(f'#!/bin/sh\necho "$*" >> "{calls}"\n{body}\n', encoding="utf-8")
    script.chmod(0o755)
    before = os.environ["PATH"]
    if str(directory) not in before.split(os.pathsep):
        monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{before}")
    return calls


ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIJ2PvbPYbLnvWpYV3hdL2Nn1wdLvFkVLYJwcQ7JwzWLn"
STATUS = r"""1795474863,tb1,metadata,provider,libvirt
1795474863,tb1,provider-name,libvirt
1795474863,tb1,state,running
1795474863,tb2,provider-name,libvirt
1795474863,tb2,state,shutoff
1795474863,tb3,provider-name,libvirt
1795474863,tb3,state,not_created
1795474863,tb3,state-human-long,The Libvirt domain is not created. Run `vagrant up`%!(VAGRANT_COMMA) then look.
1795474863,,ui,info,Current machine states:\n\ntb1   running (libvirt)
"""
SSH_CONFIG = """Host tb1
  HostName 192.168.121.9
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile "/a tree/.vagrant/machines/tb1/libvirt/private_key"
  IdentityFile /other\\ key
  IdentitiesOnly yes
  LogLevel FATAL

Host tb4
  HostName 127.0.0.1
  Port 2200
  IdentityFile /k
"""
