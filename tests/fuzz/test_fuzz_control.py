"""The control plane's share of fuzzing in every test run; docs/host-agent.md says how to run more."""

from __future__ import annotations

import pytest

from nic_emulator.control.card import CardControl
from nic_emulator.control.commands import COMMANDS
from nic_emulator.control.protocol import Message
from tests.fuzz.fuzz_control import CODES, corpus, fuzz

INPUTS = 50_000


@pytest.mark.slow
def test_fuzz_control_finds_nothing_and_gets_everywhere() -> None:
    tally = fuzz(inputs=INPUTS, seed=7)
    assert tally.inputs == INPUTS
    assert tally.accepted > INPUTS // 2
    assert tally.replies > 2 * tally.accepted
    assert tally.closed > INPUTS // 100
    assert tally.codes == CODES


def test_fuzz_control_corpus_names_every_command() -> None:
    kept = b"".join(corpus())
    assert [command for command in COMMANDS if f'"{command}"'.encode() not in kept] == []


def test_fuzz_control_finds_a_fault_that_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NIC that opens streams before it refuses one of them."""
    whole = CardControl._open_stream

    def opens_first(nic: CardControl, card: int, peers: tuple[int, ...]) -> Message:
        nic._streams[0].add(max(peers))
        return whole(nic, card, peers)

    monkeypatch.setattr(CardControl, "_open_stream", opens_first)
    with pytest.raises(AssertionError, match="a refused message changed the NIC"):
        fuzz(inputs=5000, seed=7)
