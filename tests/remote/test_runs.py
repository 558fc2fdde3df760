"""`tb vm run` and its sisters, over real SSH servers on loopback; and true runs there, equal to runs here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.remote.miniature import is_running
from tests.remote.proxy import Proxy
from tests.remote.run_place import DIRECTORY, JOBS, Place, digest_of, until
from tests.remote.sshd import Sshd
from tests.unit.remote_runs import write_result


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sshd, Sshd, Proxy]]:
    base = tmp_path_factory.mktemp("runs")
    with Sshd(base / "one") as one, Sshd(base / "two") as two, Proxy(one.port) as proxy:
        yield one, two, proxy


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory, servers: tuple[Sshd, Sshd, Proxy]) -> Place:
    one, two, proxy = servers
    place = Place(tmp_path_factory.mktemp("place"), {"near": (one, proxy.port), "far": (two, two.port)})
    write_result(place.control / "result", seed=1)
    return place


@pytest.fixture
def place(shared_place: Place) -> Iterator[Place]:
    shared_place.reset()
    yield shared_place
    shared_place.let_go()


def contents(directory: Path) -> dict[str, bytes]:
    """Of each file, by its name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def said_lines(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^(?:\w+: )?line (\d+)$", text, re.MULTILINE)]


# ------------------------------------------------------------------------------------------------- true runs


class Here(NamedTuple):
    """A run of this machine alone, of an experiment that names a file by its absolute path."""

    options: tuple[str, ...]
    result: Path
    printed: str


@pytest.fixture(scope="module")
def here(shared_place: Place) -> Here:
    topology = shared_place.script.parent / "mine.py"
    shutil.copyfile(shared_place.tree / "topologies" / "single_switch.py", topology)
    options = ("--engine", "twin", "--set", f"topology={topology}", "--set", "topology.cards=3")
    code, printed, said = shared_place.tb("run", shared_place.script.name, *options)
    assert code == 0, said
    (result,) = shared_place.results()
    kept = shutil.move(result, shared_place.control / result.name)
    return Here(options, kept, printed.replace(str(result), "RESULT"))


def test_a_run_there_prints_and_saves_what_one_here_does(here: Here, place: Place) -> None:
    code, printed, said = place.tb(
        "vm", "run", place.script.name, *here.options, "--hosts", "near,far", "--directory", DIRECTORY
    )
    assert code == 0, said
    (there,) = place.results()
    assert place.left() == []
    assert digest_of(there) == digest_of(here.result)
    assert printed.replace(str(there), "RESULT") == here.printed
    assert (there / "spec.json").read_bytes() == (here.result / "spec.json").read_bytes()
    assert sorted(path.name for path in there.iterdir()) == sorted(
        path.name for path in here.result.iterdir()
    )
    deployed = re.findall(
        r"^(\w+): (?:\d+ files, [\d.]+ MB sent in [\d.]+ s|tree up to date)$", said, re.MULTILINE
    )
    assert sorted(deployed) == ["far", "near"]
    assert all(f"{host}: idle-4KiB-" in said for host in deployed)


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_a_run_goes_on_while_the_connection_is_cut(place: Place, servers: tuple[Sshd, Sshd, Proxy]) -> None:
    place.stand_in()
    client = place.begin_run()
    client.await_line("line 5")
    servers[2].reset()
    client.await_line("again")
    place.let_go()
    code, _, said = client.end()
    assert code == 0, said
    numbers = said_lines(said)
    assert numbers == list(range(len(numbers)))  # each line once
    (result,) = place.results()
    assert contents(result) == contents(place.control / "result")
    assert place.left() == []


def test_a_run_whose_client_is_killed_is_attached_to(place: Place) -> None:
    place.stand_in()
    client = place.begin_run()
    client.await_line("line 5")
    client.strike(signal.SIGKILL)
    client.end()
    code, printed, _ = place.tb("vm", "runs", "--json")
    (run,) = json.loads(printed)["runs"]
    assert (run["machines"], run["state"]) == (["near"], "started")
    later = place.begin("vm", "attach")
    later.await_line("line ")
    code, _, said = place.tb("vm", "attach", run["run"])
    assert (code, "another client follows" in said) == (2, True)
    place.let_go()
    code, printed, said = later.end()
    assert code == 0, said
    (result,) = place.results()
    assert f"saved        {result}\n" in printed
    assert place.left() == []


def test_a_run_that_fails_there_has_its_exit_code_and_no_result(place: Place) -> None:
    place.stand_in()
    place.let_go(fail=True)
    code, printed, said = place.begin_run().end()
    assert (code, printed) == (4, "")
    assert "went on" in said
    assert "error: near: the run ended there with exit code 4" in said
    assert place.results() == place.left() == []


def test_ctrl_c_ends_the_runs_on_all_machines(place: Place) -> None:
    place.stand_in()
    client = place.begin_run(hosts="near,far")
    client.await_line("near: line ")
    client.await_line("far: line ")
    client.strike(signal.SIGINT)
    code, _, said = client.end()
    assert code == 130, said
    assert {"near: cleaned up", "far: cleaned up"} <= set(said.splitlines())
    assert place.results() == place.left() == []


def test_a_client_that_is_ended_leaves_the_run_going_and_another_stops_it(place: Place) -> None:
    place.stand_in()
    client = place.begin_run()
    client.await_line("line 5")
    client.strike(signal.SIGTERM)
    code, _, said = client.end()
    assert code == 130
    (run,) = (place.out / ".vm").iterdir()
    assert f"remedy: the run goes on there; ./tb vm attach {run.name} --out '{place.out}' picks it up" in said
    code, _, said = place.tb("vm", "stop")
    assert code == 0, said
    assert place.results() == place.left() == []


def test_a_detached_run_is_stopped_while_another_client_follows(place: Place) -> None:
    place.stand_in()
    code, printed, said = place.begin_run("--detach").end()
    assert code == 0, said
    (run,) = (place.out / ".vm").iterdir()
    assert printed == f"{run.name} runs on near; ./tb vm attach {run.name} --out '{place.out}'\n"
    client = place.begin("vm", "attach")
    client.await_line("line ")
    code, _, said = place.tb("vm", "stop")
    assert code == 0, said
    code, _, said = client.end()
    assert code == 130
    assert "cleaned up" in said
    assert place.results() == place.left() == []


def test_a_machine_that_is_gone_is_replaced_by_another(
    place: Place, servers: tuple[Sshd, Sshd, Proxy]
) -> None:
    place.stand_in()
    code, _, said = place.begin_run("--detach").end()
    assert code == 0, said
    (run,) = (place.out / ".vm").iterdir()
    servers[2].refuse()
    try:
        code, _, said = place.tb("vm", "attach")
        assert code == 7
        assert f"./tb vm attach {run.name}" in said
        place.let_go()
        code, _, said = place.tb("vm", "attach", "--hosts", "far")
        assert code == 0, said
    finally:
        servers[2].accept()
    assert len(place.results()) == 1
    (job,) = place.left()  # what the first machine had begun is there still
    until(lambda: "exit_code" in (Path(job) / "exit.json").read_text(), lambda: "it has not ended")
    shutil.rmtree(job)


@pytest.mark.parametrize("verb", ["attach", "stop"])
def test_a_run_that_has_lost_its_supervisor_is_ended_before_it_begins_again_or_is_forgotten(
    place: Place, verb: str
) -> None:
    place.stand_in()
    client = place.begin_run()
    client.await_line("line 5")
    (job,) = (place.servers["near"].home / JOBS).iterdir()
    command = json.loads((job / "command.json").read_text())["pid"]
    os.kill(json.loads((job / "job.json").read_text())["supervisor"]["pid"], signal.SIGKILL)
    code, _, said = client.end()
    assert (code, "the run is gone from there" in said) == (7, True)
    assert is_running(command)
    later = place.begin("vm", verb)
    until(lambda: not is_running(command), lambda: f"it goes on: {later.lines}")
    place.let_go()
    code, _, said = later.end()
    assert code == 0, said
    assert len(place.results()) == (verb == "attach")
    assert place.left() == []


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_a_pin_is_trusted(place: Place) -> None:
    place.stand_in()
    place.let_go()
    place.known_hosts.write_text("", encoding="utf-8")
    code, _, said = place.begin_run().end()
    assert code == 7
    assert place.servers["near"].fingerprint in said
    assert place.results() == []
    assert not (place.out / ".vm").exists()
    code, _, said = place.begin_run("--host-key", place.servers["near"].fingerprint).end()
    assert code == 0, said
    assert place.servers["near"].fingerprint in said


def test_a_spec_that_is_wrong_is_refused_before_any_machine_is_asked(
    place: Place, servers: tuple[Sshd, Sshd, Proxy]
) -> None:
    before = servers[2].connections
    code, _, said = place.begin_run("--set", "switch=tomahawk9").end()
    assert code == 2
    assert "tomahawk9" in said
    assert servers[2].connections == before
