from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from testbed.errors import RemoteError
from testbed.vm import machines
from testbed.vm.runs import connections as connections_module
from testbed.vm.ssh import ConnectionLost, Trust
from testbed.vm.target import Target
from tests.unit.remote_runs import FakeConnections, FakeRemote, folder_of, run_on
from tests.unit.test_cli_run import SCRIPT

Tb = Callable[..., Result]


class Machines:
    """Machines a to c, that are not there."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.calls: list[tuple[str, str]] = []
        self.remotes = {name: FakeRemote(name, self.calls) for name in "abc"}
        self.asked: list[dict[str, Any]] = []
        self.trusts: list[Trust] = []
        self.refuses: Exception | None = None

    def targets_of(self, hosts: Sequence[str], **options: Any) -> list[Target]:
        self.asked.append({"hosts": list(hosts), **options})
        return [Target(name=host, host=host, user="u") for host in (hosts or ["a"])]

    def connect_if_any(
        self, targets: Sequence[Target], trust: Trust, tell: Callable[[str], None]
    ) -> FakeConnections:
        """As `connect`; nobody refuses who is not asked."""
        opened = self.connect(targets, trust, tell)
        return opened if targets else _Opened([], None, tell)

    def connect(
        self, targets: Sequence[Target], trust: Trust, tell: Callable[[str], None]
    ) -> FakeConnections:
        self.trusts.append(trust)
        return _Opened([self.remotes[target.name] for target in targets], self.refuses, tell)


class _Opened(FakeConnections):
    def __init__(
        self, remotes: Sequence[FakeRemote], refuses: Exception | None, tell: Callable[[str], None]
    ) -> None:
        super().__init__(*remotes)
        self._refuses, self._tell = refuses, tell

    def __enter__(self) -> _Opened:
        if self._refuses:
            raise self._refuses
        return self

    def __exit__(self, *exception: object) -> None: ...

    def told(self, host: str, text: str) -> None:
        self._tell(f"{host}: {text}")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    fake = Machines(tmp_path / "out")
    monkeypatch.setattr(machines, "targets_of", fake.targets_of)
    monkeypatch.setattr(connections_module, "Connections", fake.connect)
    return fake


@pytest.fixture
def vm_run(tb: Tb, there: Machines, tmp_path: Path) -> Tb:
    script = tmp_path / "tiny.py"
    script.write_text(SCRIPT, encoding="utf-8")

    def call(*options: str) -> Result:
        return tb("vm", "run", str(script), "--engine", "twin", "--out", str(there.out), *options)

    return call


def test_the_report_is_on_stdout_and_all_else_on_stderr(vm_run: Tb, there: Machines) -> None:
    result = vm_run()
    assert result.exit_code == 0, result.stderr
    (directory,) = (there.out / "tiny").iterdir()
    assert result.stdout.startswith("tiny ")
    assert f"saved        {directory}\n" in result.stdout
    assert "stage one\nended with 0\n" in result.stderr
    assert there.asked == [{"hosts": [], "identity": None, "directory": None}]


def test_json_is_that_of_a_run_here(vm_run: Tb, there: Machines) -> None:
    printed = json.loads(vm_run("--json").stdout)
    assert printed["directory"] == str(next((there.out / "tiny").iterdir()))
    assert len(json.loads(vm_run("--json", "--repeat", "3", "--hosts", "b,c").stdout)["runs"]) == 3


def test_what_is_wrong_with_the_experiment_is_told_before_a_machine_is_asked(
    vm_run: Tb, there: Machines
) -> None:
    result = vm_run("--set", "switch=tomahawk9", "--host", "a")
    assert result.exit_code == 2
    assert not there.asked
    assert not there.out.exists()


def test_a_place_for_results_that_cannot_be_is_refused_before_any_machine_is_asked(
    vm_run: Tb, there: Machines
) -> None:
    there.out.mkdir()
    (there.out / "tiny").touch()
    result = vm_run("--host", "a")
    assert result.exit_code == 2
    assert f"--out {there.out / 'tiny'}: cannot be written" in result.stderr
    assert not there.asked


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--host", "a", "--hosts", "b,c"), "exclude each other"),
        (("--host", ""), "name no machine"),
        (("--hosts", " ,"), "name no machine"),
        (("--host-key", ""), "no fingerprint"),
        (("--host", "a", "--directory", ""), "--directory is empty"),
        (("--hosts", "b,c", "--repeat", "2", "--host-key", "SHA256:x"), "--host-key is of one machine"),
    ],
)
def test_options_that_contradict_or_say_nothing_are_refused(
    vm_run: Tb, there: Machines, options: tuple[str, ...], problem: str
) -> None:
    result = vm_run(*options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not there.calls


def test_without_a_terminal_nobody_is_asked_and_a_pin_is_handed_on(vm_run: Tb, there: Machines) -> None:
    pin = f"SHA256:{'x' * 43}"
    result = vm_run("--host-key", pin)
    assert result.exit_code == 0, result.stderr
    assert (there.trusts[0].host_key, there.trusts[0].confirm) == (pin, None)


def test_machines_without_work_are_named_and_not_used(vm_run: Tb, there: Machines) -> None:
    result = vm_run("--hosts", "a,b,c", "--repeat", "2")
    assert result.exit_code == 0, result.stderr
    assert "not used, since there is no more to share: c\n" in result.stderr
    assert not [host for _, host in there.calls if host == "c"]


def test_the_exit_code_of_the_run_there_is_that_of_the_command(vm_run: Tb, there: Machines) -> None:
    there.remotes["a"].outcome = 6
    result = vm_run()
    assert (result.exit_code, result.stdout) == (6, "")
    assert "error: a: the run ended there with exit code 6\n" in result.stderr
    assert list(there.out.iterdir()) == []


def test_a_run_that_has_begun_nowhere_is_forgotten(
    vm_run: Tb, there: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(root: Path, progress: object) -> None:
        raise RemoteError("a: the disk is full", remedy="free space")

    monkeypatch.setattr(there.remotes["a"], "deploy", full)
    result = vm_run()
    assert result.exit_code == 7
    assert result.stderr.endswith("error: a: the disk is full\nremedy: free space\n")
    assert not list(there.out.glob(".vm/*"))


def test_a_detached_run_is_listed_attached_to_and_then_forgotten(tb: Tb, vm_run: Tb, there: Machines) -> None:
    there.remotes["b"].outcome = None
    printed = vm_run("--hosts", "b,c", "--repeat", "2", "--detach", "--json", "--directory", "d").stdout
    run = json.loads(printed)["run"]
    listed = tb("vm", "runs", "--out", str(there.out), "--json").stdout
    (row,) = json.loads(listed)["runs"]
    assert (row["run"], row["machines"], row["state"]) == (run, ["b", "c"], "2 started")
    there.refuses = ConnectionLost("b refuses", remedy="start it")
    result = tb("vm", "attach", "--out", str(there.out))
    assert result.exit_code == 7
    assert (
        f"remedy: the run goes on there; ./tb vm attach {run} --out {there.out} picks it up\n"
        in result.stderr
    )
    there.refuses = None
    there.remotes["b"].finish(f"{run}-0", 0)
    there.remotes["b"].outcome = 0
    result = tb("vm", "attach", run[:-1], "--out", str(there.out))
    assert result.exit_code == 0, result.stderr
    assert there.asked[-1] == {"hosts": ["b", "c"], "identity": None, "directory": "d"}
    assert "mean over the seeds 1, 2" in result.stdout
    assert tb("vm", "runs", "--out", str(there.out)).stdout == "no run on another machine is unfinished\n"


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_a_client_could_not_remove_there_the_next_one_removes(
    tb: Tb, vm_run: Tb, there: Machines, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    def lost(*_: object) -> None:
        raise ConnectionLost("a is lost", remedy="look")

    with monkeypatch.context() as patch:
        patch.setattr(FakeRemote, "remove", lost)
        assert vm_run("--host", "a").exit_code == 7
    assert there.remotes["a"].work
    there.refuses = ConnectionLost("a refuses", remedy="start it") if is_gone else None
    monkeypatch.setattr(connections_module, "Connections", there.connect_if_any)
    result = tb("vm", "attach", "--out", str(there.out))
    assert result.exit_code == 0, result.stderr
    assert bool(there.remotes["a"].work) == ("a refuses" in result.stderr) == is_gone
    assert not (there.out / ".vm").exists()


def test_a_run_is_finished_on_another_machine(tb: Tb, vm_run: Tb, there: Machines) -> None:
    there.remotes["b"].outcome = None
    assert vm_run("--host", "b", "--detach").exit_code == 0
    result = tb("vm", "attach", "--hosts", "c", "--out", str(there.out))
    assert result.exit_code == 0, result.stderr
    assert there.calls[-5:] == [(verb, "c") for verb in ("deploy", "start", "follow", "fetch", "remove")]
    assert re.search(r"b: what was begun there, job \S+-0, is left to itself", result.stderr)


def test_stop_ends_what_runs_and_forgets_it(tb: Tb, vm_run: Tb, there: Machines) -> None:
    there.remotes["b"].outcome = None
    assert vm_run("--host", "b", "--detach").exit_code == 0
    result = tb("vm", "stop", "--out", str(there.out))
    assert result.exit_code == 0, result.stderr
    assert there.calls[-2:] == [("stop", "b"), ("remove", "b")]
    assert list(there.out.iterdir()) == []


def test_stop_that_does_not_reach_a_machine_says_how_to_forget_the_run(
    tb: Tb, vm_run: Tb, there: Machines
) -> None:
    assert vm_run("--detach").exit_code == 0
    there.refuses = ConnectionLost("a refuses", remedy="start it")
    result = tb("vm", "stop", "--out", str(there.out))
    assert result.exit_code == 7
    (run,) = (there.out / ".vm").iterdir()
    assert f"remedy: start it; if that machine is gone for good, remove {run}\n" in result.stderr


def test_runs_are_listed_with_their_machines_and_states(
    tb: Tb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets
    folder_of(tmp_path, run_on("tb1", "ann@[fe80::1]:22"))
    result = tb("vm", "runs", "--out", str(tmp_path))
    assert result.exit_code == 0
    assert "tiny" in result.stdout
    assert "tb1, ann@[fe80::1]:22" in result.stdout
    assert "2 to start" in result.stdout
    assert "1970-01-01 00:00:01Z" in result.stdout


@pytest.mark.parametrize("verb", ["run", "attach", "runs", "stop"])
def test_help_of_a_verb_shows_an_example(tb: Tb, verb: str) -> None:
    result = tb("vm", verb, "--help")
    assert result.exit_code == 0
    assert f"./tb vm {verb}" in result.stdout
