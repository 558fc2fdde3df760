from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import PreflightError, SpecError
from testbed.vm import hosts
from testbed.vm.hosts import HostText, host_target, parse_host, parse_openssh


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("lab3", HostText(host="lab3")),
        ("ann@lab3", HostText(host="lab3", user="ann")),
        ("ann@lab3.example.org:2222", HostText(host="lab3.example.org", user="ann", port=2222)),
        ("ann@corp.example@lab3", HostText(host="lab3", user="ann@corp.example")),
        ("192.0.2.7:22", HostText(host="192.0.2.7", port=22)),
        ("::1", HostText(host="::1")),
        ("[::1]", HostText(host="::1")),
        ("[::1]:22", HostText(host="::1", port=22)),
        ("ann@[fe80::1%eth0]:65535", HostText(host="fe80::1%eth0", user="ann", port=65535)),
        ("my_host-2", HostText(host="my_host-2")),
    ],
)
def test_parse_host_of_good_text_takes_it_apart(text: str, parsed: HostText) -> None:
    assert parse_host(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@lab3",
        "ann@",
        "ann@@lab3:x",
        "lab3:",
        "lab3:0",
        "lab3:65536",
        "lab3:ssh",
        "lab3:-1",
        "[::1",
        "[::1]22",
        "[lab3]:22",
        "::1::2",
        "-oProxyCommand=id",
        "ann;id@lab3",
        "-l@lab3",
        "lab 3",
        "lab3\n",
        "lab3/x",
        "lab3:٢٢",
    ],
)
def test_parse_host_of_bad_text_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is no host"):
        parse_host(text)


def test_parse_host_of_bad_text_suggests_the_nearest_machine() -> None:
    with pytest.raises(SpecError) as caught:
        parse_host("tb1:", ["tb1", "tb2"])
    assert caught.value.remedy.startswith("write 'tb1'")


def test_parse_openssh_keeps_every_value_of_a_keyword() -> None:
    printed = "user ann\nidentityfile ~/.ssh/a b\nidentityfile /k\nproxyjump none\n"
    assert parse_openssh(printed) == {
        "user": ["ann"],
        "identityfile": ["~/.ssh/a b", "/k"],
        "proxyjump": ["none"],
    }


CONFIG = """
Include {included}
Host lab*
  User ann
  Port 2200
  UserKnownHostsFile {known} {known}2
  GlobalKnownHostsFile /nonexistent
Host far
  ProxyJump gate
Host farther
  ProxyCommand nc %h %p
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "key").touch()
    (tmp_path / "known2").touch()
    (tmp_path / "included").write_text(
        f"Host lab3\n  HostName 192.0.2.9\n  HostKeyAlias lab\n  IdentityFile {tmp_path}/key\n"
        f"  IdentityFile {tmp_path}/absent\n",
        encoding="ascii",
    )
    path = tmp_path / "config"
    path.write_text(CONFIG.format(included=tmp_path / "included", known=tmp_path / "known"), encoding="ascii")
    return path


def test_host_target_of_an_alias_has_what_the_files_say(config: Path, tmp_path: Path) -> None:
    target = host_target("lab3", config=config)
    assert (target.name, target.host, target.user, target.port) == ("lab3", "192.0.2.9", "ann", 2200)
    assert target.identity_files == (tmp_path / "key",)
    assert target.known_hosts == (tmp_path / "known2", tmp_path / "known")
    assert target.key_alias == "lab"


def test_host_target_has_files_whose_paths_have_spaces(tmp_path: Path) -> None:
    (tmp_path / "die anderen").touch()
    path = tmp_path / "config"
    path.write_text(
        f'Host lab3\n  UserKnownHostsFile "{tmp_path}/meine ü" "{tmp_path}/die anderen"\n'
        "  GlobalKnownHostsFile none\n",
        encoding="utf-8",
    )
    target = host_target("ann@lab3", config=path)
    assert target.known_hosts == (tmp_path / "die anderen", tmp_path / "meine ü")


def test_host_target_has_the_files_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "ein Heim"
    monkeypatch.setenv("HOME", str(home))
    assert host_target("ann@lab3").known_hosts[-1] == home / ".ssh" / "known_hosts"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host lab3\n  Port 2200\n", encoding="utf-8")
    target = host_target("ann@lab3")
    assert (target.port, target.known_hosts[-1]) == (2200, home / ".ssh" / "known_hosts")
    monkeypatch.delenv("HOME")
    assert host_target("ann@lab3").known_hosts[-1] == Path.home() / ".ssh" / "known_hosts"


def test_host_target_of_a_name_that_no_host_can_have_is_refused(config: Path) -> None:
    with pytest.raises(SpecError, match="no host that is found"):
        host_target("x" * 64, config=config)


def test_host_target_what_the_user_writes_comes_before_the_files(config: Path) -> None:
    target = host_target("bob@lab3:44", config=config)
    assert (target.user, target.port) == ("bob", 44)


@pytest.mark.parametrize(("alias", "way"), [("far", "ProxyJump gate"), ("farther", "ProxyCommand nc")])
def test_host_target_behind_another_host_is_refused(config: Path, alias: str, way: str) -> None:
    with pytest.raises(SpecError, match=way) as caught:
        host_target(alias, config=config)
    assert "ssh -N -L" in caught.value.remedy


def test_host_target_of_a_bare_word_that_nobody_knows_suggests_a_machine(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_resolves", lambda _: False)
    with pytest.raises(SpecError, match="did you mean 'tb1'") as caught:
        host_target("tb12", machines=["tb1", "vm"], config=config)
    assert caught.value.remedy == "write 'tb1'"


def test_host_target_without_openssh_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError) as caught:
        host_target("ann@lab3")
    assert "openssh-client" in caught.value.remedy
