"""What goes wrong in an experiment, and when. Pure.

A failure is text: WHERE@WHEN:WHAT.

    l1<>s1@100us-300us:down          no carrier, both ways; up again at 300 us
    l1<>s1@100us-110us/1ms*20:down   flapping: 20 times, once every millisecond
    l1>s1@100us-200us:loss=100%      silent loss in one direction: the carrier stays
    l1>s1@100us-200us:ber=1e-6       corruption: bit error ratio behind the FEC
    l1<>s1@100us-200us:rate=100Gbps  a slower link; `delay=1us` makes it longer
    s1@100us-200us:restart           a switch: its buffer is lost, its ports are down until it is back
    c3@100us-200us:restart           a card with its NIC
    c3@100us:process                 the process that stands in for the NIC is ended, and started again
    controller@100us-200us:lost      nobody reacts meanwhile; the switches go on forwarding

Of parallel cables all have it, unless the sender's port is named: `l1.5>s1`. Without an end (`@100us:down`) it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FailureKind: TypeAlias = Literal["down", "loss", "ber", "rate", "delay", "restart", "process", "lost"]
CONTROLLER = "controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure, once: a text with a period becomes several. Nodes by name; whether they exist is not checked yet."""

    kind: FailureKind
    where: str
    """The sender of a link, or the node, or `controller`."""
    receiver: str = ""
    """The far end of a link; empty for a node."""
    port: int | None = None
    """Of the sender; None: every link between the two."""
    both: bool = False
    """Both directions of a link."""
    from_ps: int
    until_ps: int
    """FOREVER_PS: it does not end."""
    loss_ppm: int = 0
    ber_e18: int = 0
    rate_bps: int = 0
    delay_ps: int = 0
    text: str = ""
    """As it was written."""
