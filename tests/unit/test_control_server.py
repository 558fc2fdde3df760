"""Cards behind real sockets: clients, agents, who may connect, and what happens to those that do not behave."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nic_emulator.control import CardClient, ControlError
from nic_emulator.control.agent import attend
from nic_emulator.control.commands import peers_of
from nic_emulator.control.local import LocalCards
from nic_emulator.control.protocol import encode
from nic_emulator.control.server import MOST_CLIENTS
from nic_emulator.control.sockets import connect_to, listen_at
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from tests.unit.control_plan import two_cards, workload

LONG = 10_000_000
"""Messages of a run that does not end while a test looks at it."""
FAR_PS = 1 << 61
NOBODY = 65534


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[LocalCards]:
    with LocalCards(two_cards(), tmp_path) as cards:
        yield cards


def set_off(cards: LocalCards, messages: int) -> None:
    for name, peer in (("c1", 1), ("c2", 0)):
        with CardClient(cards.socket(name)) as nic:
            nic.open_streams([peer])
            nic.load_workload(workload(peer, messages=messages))
            nic.start()


def test_client_scripts_two_cards_and_counts_what_the_twin_counts(cards: LocalCards) -> None:
    set_off(cards, 500)
    twin = _engine.Twin(build_plan(two_cards(c1=workload(1, messages=500), c2=workload(0, messages=500))))
    twin.run(FAR_PS)
    with CardClient(cards.socket("c1")) as nic:
        assert nic.wait_ended(timeout_s=20) == "DONE"
        found = nic.counters()
        assert nic.status().state == "ended"
    assert found.counters == twin.counters()["c1"]
    assert found.messages == twin.messages


def test_client_reads_counters_that_only_grow_while_the_cards_run(cards: LocalCards) -> None:
    set_off(cards, LONG)
    with CardClient(cards.socket("c2")) as nic:
        while not nic.status().messages:
            pass
        seen = [nic.counters()]
        while len(seen) < 20 or seen[-1].virtual_ps == seen[0].virtual_ps:
            seen.append(nic.counters())
        with pytest.raises(ControlError, match="does not wait for a host") as caught:
            nic.stop()
        assert caught.value.code == "too_late"
        assert nic.status().state == "running"
    assert seen == sorted(seen, key=lambda snapshot: snapshot.virtual_ps)
    assert seen[-1].counters["tx_messages"] > seen[0].counters["tx_messages"]


def test_client_is_told_of_states_and_can_leave_and_come_back(cards: LocalCards) -> None:
    with CardClient(cards.socket("c1")) as watcher:
        watcher.subscribe("state")
        set_off(cards, 10)
        states = [watcher.next_event(timeout_s=20).fields["state"] for _ in range(3)]
        assert states == ["loaded", "running", "ended"]
        with pytest.raises(ControlError, match="in time") as caught:
            watcher.next_event(timeout_s=0.01)
        assert caught.value.code == "timeout"
    with CardClient(cards.socket("c1")) as again:
        assert again.status().clients == 1
        assert again.wait_ended() == "DONE"


def test_agents_see_two_cards_through_a_run(cards: LocalCards) -> None:
    reasons: list[str] = []

    def agent(name: str, peer: int) -> None:
        reasons.append(attend(cards.socket(name), [workload(peer)], patience_s=10))

    agents = [threading.Thread(target=agent, args=each) for each in (("c1", 1), ("c2", 0))]
    for thread in agents:
        thread.start()
    for thread in agents:
        thread.join(20)
    assert reasons == ["DONE", "DONE"]


def test_agent_that_comes_to_a_running_card_only_follows_it(cards: LocalCards) -> None:
    set_off(cards, 1000)
    assert attend(cards.socket("c1"), [workload(1, messages=5)], patience_s=10) == "DONE"
    with CardClient(cards.socket("c1")) as nic:
        assert nic.counters().counters["tx_messages"] >= 1000


def test_agent_without_a_card_gives_up(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no NIC listens"):
        attend(tmp_path / "none.sock", [], patience_s=0.05)


def test_agent_that_is_refused_gives_up_at_once(cards: LocalCards) -> None:
    with pytest.raises(ControlError, match="no workload"):
        attend(cards.socket("c1"), [workload(1, message_bytes=0)], patience_s=10)


@pytest.mark.parametrize(
    ("fields", "peers"),
    [
        ({"arrivals": "NONE", "destinations": [1]}, []),
        ({"arrivals": "CLOSED", "destinations": [3, 1, 3]}, [1, 3]),
        ({"arrivals": "POISSON", "others_of": 4}, [0, 1, 3]),
    ],
)
def test_peers_of_a_workload_are_its_streams(fields: dict[str, object], peers: list[int]) -> None:
    assert sorted(peers_of(fields, own=2)) == peers


# ------------------------------------------------------------------------------------------------ who may


def test_socket_is_its_owners_alone(cards: LocalCards) -> None:
    about = cards.socket("c1").stat()
    assert about.st_mode & 0o777 == 0o600
    assert about.st_uid == os.geteuid()


_CONNECT_AS = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
import socket
client = socket.socket(socket.AF_UNIX)
client.settimeout(5)
client.connect(sys.argv[2])
print(client.recv(4096)[4:].decode(), client.recv(1))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_socket_another_user_is_refused_even_if_it_is_open_to_all() -> None:
    directory = Path(tempfile.mkdtemp())  # not in tmp_path: its parents are closed to others
    directory.chmod(0o755)
    try:
        with LocalCards(two_cards(), directory) as cards:
            command = [sys.executable, "-I", "-S", "-c", _CONNECT_AS, str(NOBODY), str(cards.socket("c1"))]
            shut = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "PermissionError" in shut.stderr
            cards.socket("c1").chmod(0o666)
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert '"code":"not_owner"' in said
            assert said.endswith("b''\n")
            with CardClient(cards.socket("c1")) as nic:
                assert nic.status().clients == 1
    finally:
        directory.rmdir()


def test_socket_deeper_than_the_kernel_takes_is_found(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with LocalCards(two_cards(), deep) as cards, CardClient(cards.socket("c1")) as nic:
        assert nic.status().name == "c1"


def test_socket_path_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with listen_at(tmp_path / "x.sock"), pytest.raises(OSError, match="in use"):
        listen_at(tmp_path / "x.sock")


# ------------------------------------------------------------------------------------------------ who misbehaves


def test_client_too_many_is_told_so(cards: LocalCards) -> None:
    clients = [CardClient(cards.socket("c1")) for _ in range(MOST_CLIENTS)]
    try:
        with pytest.raises(ControlError, match="clients already") as caught:
            CardClient(cards.socket("c1"))
        assert caught.value.code == "too_many_clients"
        clients.pop().close()
        while clients[0].status().clients == MOST_CLIENTS:  # until the NIC has seen that it has gone
            pass
        with CardClient(cards.socket("c1")) as next_one:
            assert next_one.status().clients == MOST_CLIENTS
        with CardClient(cards.socket("c2")) as other:
            assert other.status().clients == 1
    finally:
        for client in clients:
            client.close()


def test_client_that_announces_too_much_is_told_and_let_go(cards: LocalCards) -> None:
    with connect_to(cards.socket("c1"), 5) as rude:
        rude.sendall(struct.pack(">I", 1 << 30))
        said = b""
        while data := rude.recv(4096):
            said += data
    assert b'"bad_length"' in said


def test_client_that_never_reads_holds_up_nobody(cards: LocalCards) -> None:
    with connect_to(cards.socket("c1"), 5) as deaf:
        deaf.setblocking(False)
        flood = encode({"id": 1, "command": "hello", "version": 1})
        flood += encode({"id": 1, "command": "status"}) * 1000
        try:
            while True:
                deaf.send(flood)
        except BlockingIOError:
            pass
        set_off(cards, 1000)
        with CardClient(cards.socket("c1")) as nic:
            assert nic.wait_ended(timeout_s=20) == "DONE"


def test_client_that_leaves_in_mid_message_is_forgotten(cards: LocalCards) -> None:
    with CardClient(cards.socket("c1")) as nic:
        for cut in (1, 4, 10):
            with connect_to(cards.socket("c1"), 5) as brief:
                brief.sendall(encode({"id": 1, "command": "status"})[:cut])
                brief.shutdown(socket.SHUT_WR)
                assert brief.recv(1) == b""
        assert nic.status().clients == 1


def test_cards_that_are_closed_in_mid_run_let_go(tmp_path: Path) -> None:
    with LocalCards(two_cards(), tmp_path) as cards:
        set_off(cards, LONG)
        nic = CardClient(cards.socket("c1"))
        nic.subscribe("state")
    with nic:
        assert nic.next_event(timeout_s=5).fields == {"state": "ended", "reason": "STOPPED"}
        with pytest.raises(ControlError) as caught:
            nic.next_event(timeout_s=5)
        assert caught.value.code == "lost"
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ the manual


def test_manual_example_runs(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "host-agent.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "c1 sent 1000 messages" in done.stdout


def test_manual_names_every_command_and_error(repository: Path) -> None:
    from nic_emulator.control.commands import COMMANDS

    text = (repository / "docs" / "host-agent.md").read_text(encoding="utf-8")
    sources = (repository / "nic_emulator" / "control").glob("*.py")
    codes = {
        code
        for source in sources
        for code in re.findall(r'code="([a-z_]+)"', source.read_text(encoding="utf-8"))
    }
    assert len(codes) >= 12
    assert [word for word in (*COMMANDS, *sorted(codes)) if f"`{word}`" not in text] == []
