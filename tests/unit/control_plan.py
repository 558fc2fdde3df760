"""Two cards and a cable, and a NIC's control plane without a socket, for the tests of the control plane."""

from __future__ import annotations

from typing import Any

from nic_emulator.control.card import CardControl, Connection
from nic_emulator.control.nics import workload_check
from nic_emulator.control.protocol import VERSION, Message, Splitter, decode, encode

COUNTERS = {"tx_messages": 3, "rx_messages": 4}
NIC_CONFIG = {"rto_ps": 1_000_000_000, "ack_latency_ps": 1000, "ingress_latency_ps": 1000}


def workload(destination: int, *, messages: int = 100, **more: Any) -> Message:
    """So many messages of 4 KiB to one card, one each microsecond."""
    return {
        "arrivals": "PERIODIC",
        "destinations": [destination],
        "message_bytes": 4096,
        "interval_ps": 1_000_000,
        "measure_until_ps": messages * 1_000_000,
        **more,
    }


def two_cards(**given: Message) -> dict[str, Any]:
    """Plan data: `c1` and `c2`, idle unless given a workload, 400 Gb/s, a cable of 5 ns."""
    nodes = [
        {
            "kind": "nic",
            "name": name,
            "config": NIC_CONFIG,
            "stages": {},
            "workload": given.get(name, {"arrivals": "NONE"}),
        }
        for name in ("c1", "c2")
    ]
    return {"seed": 1, "nodes": nodes, "links": [[0, 0, 1, 0, 20, 5000]]}


def control(*, cards: int = 1, checked: bool = True) -> CardControl:
    """Of `c1`, in a fabric of two NICs with so many cards each."""
    engine = workload_check(two_cards()["nodes"][0])
    return CardControl(
        "c1",
        first_card=0,
        cards=cards,
        fabric_cards=2 * cards,
        check_workload=lambda _card, fields: engine(0, fields) if checked else None,
        read_counters=lambda: (5, 7, COUNTERS),
    )


class Talk:
    """A client without a socket."""

    def __init__(self, card: CardControl, *, greet: bool = True) -> None:
        self.connection = Connection(card)
        self._splitter = Splitter()
        self._number = 0
        if greet:
            assert self.ask("hello", version=VERSION)["ok"]

    def send(self, data: bytes) -> list[Message]:
        """Everything that comes back."""
        self.connection.receive(data)
        return self.read()

    def read(self) -> list[Message]:
        found = []
        while output := self.connection.output:
            self._splitter.feed(output)
            self.connection.written(len(output))
        while (body := self._splitter.next()) is not None:
            found.append(decode(body))
        return found

    def ask(self, command: str, **arguments: Any) -> Message:
        """The reply to one request; its events are dropped."""
        self._number += 1
        answers = self.send(encode({"id": self._number, "command": command, **arguments}))
        (reply,) = [answer for answer in answers if "ok" in answer]
        assert reply["id"] == self._number
        return reply

    def refused(self, command: str, **arguments: Any) -> str:
        """The code of an error."""
        reply = self.ask(command, **arguments)
        assert reply["ok"] is False
        assert reply["error"]["message"]
        assert reply["error"]["remedy"]
        code: str = reply["error"]["code"]
        return code

    def load_and_start(self) -> None:
        assert self.ask("open_stream", card=0, peers=[1])["ok"]
        assert self.ask("load_workload", card=0, workload=workload(1))["ok"]
        assert self.ask("start")["ok"]
