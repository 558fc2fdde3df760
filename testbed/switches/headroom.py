"""How much a lossless priority group must hold after it has asked its neighbour to stop. Pure.

Between the decision to pause and the last byte that still comes, a port receives: the frame that its own transmitter
was busy with, what is on the cable both ways, what the MACs hold, and what the neighbour sends until it stops. Small
frames fill whole cells, which costs up to cell/64 times their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from testbed.registry import Registry
from testbed.spec.sourced import Sourced
from testbed.switches.profile import Pfc, Response, SwitchProfile
from testbed.units import BYTES_PER_KIB, PS_PER_S, format_length, format_rate

FORMULA = "sonic-net/sonic-swss cfgmgr/buffer_headroom_mellanox.lua @18913fa3"

NUMBERS: Registry[Sourced] = Registry(
    "number of the headroom",
    {
        "port_mtu": Sourced(9_100, "byte", "M", "SONiC's default MTU of a port; from memory, not verified"),
        "lossless_mtu": Sourced(
            1_024, "byte", "M", "SONiC's default MTU of lossless traffic; from memory, not verified"
        ),
        "phy": Sourced(
            200_000,
            "ps",
            "E",
            "FEC and two modules, 63 + 2 x 10 ns, both ways: what the media of this project take at most",
        ),
    },
)
"""What the formula takes for granted of ports and links."""
MAC_PHY_DELAY_KIB = Fraction("0.8")
"""In both directions: platform/mellanox/asic_table.j2 of sonic-net/sonic-buildimage."""
PROPAGATION_M_PER_S = 198_000_000
"""In any cable, as the formula has it."""

_SMALLEST_FRAME_BYTES = 64
_BYTES_PER_QUANTUM = 64  # 512 bit times
_MBPS = 10**6


def response(pfc: Pfc, rate_bps: int) -> Response:
    """The entry for a rate; between two rates that of the faster one, which has at least as many quanta."""
    return next((entry for entry in pfc.response if entry.rate_bps >= rate_bps), pfc.response[-1])


def reaction_ps(pfc: Pfc, rate_bps: int) -> int:
    """How long a port of this rate may go on after a pause frame has arrived."""
    bits = response(pfc, rate_bps).quanta.number * _BYTES_PER_QUANTUM * 8
    return bits * PS_PER_S // rate_bps


def formula_headroom(pfc: Pfc, *, rate_bps: int, length_mm: int, cell_bytes: int) -> int:
    """Headroom of one priority group, by SONiC's formula for `xoff`, in bytes, rounded up to whole KiB."""
    on_cable = (
        Fraction(2 * length_mm, 1000)
        * Fraction(rate_bps, _MBPS)
        * 10**9
        / PROPAGATION_M_PER_S
        / (8 * BYTES_PER_KIB)
    )
    peer_response = response(pfc, rate_bps).quanta.number * _BYTES_PER_QUANTUM
    in_flight = NUMBERS.get("port_mtu").number + on_cable + MAC_PHY_DELAY_KIB * BYTES_PER_KIB + peer_response
    needed = NUMBERS.get("lossless_mtu").number + in_flight * _cell_occupancy(cell_bytes)
    return -(-needed // BYTES_PER_KIB) * BYTES_PER_KIB


def _cell_occupancy(cell_bytes: int) -> Fraction:
    """Memory per byte if all frames are of the size that wastes most of it."""
    if cell_bytes > 2 * _SMALLEST_FRAME_BYTES:
        return Fraction(cell_bytes, _SMALLEST_FRAME_BYTES)
    return Fraction(2 * cell_bytes, 1 + cell_bytes)


def published_headroom(profile: SwitchProfile, rate_bps: int, length_mm: int) -> Sourced | None:
    """What ships for the shortest cable class of that rate that covers this length; None if nothing does."""
    fitting = [
        entry for entry in profile.pfc.shipped if entry.rate_bps == rate_bps and entry.length_mm >= length_mm
    ]
    return min(fitting, key=lambda entry: entry.length_mm).headroom if fitting else None


def auto_headroom(profile: SwitchProfile, rate_bps: int, length_mm: int) -> int:
    """The larger of what ships, and of the formula with what it leaves out.

    The model takes a frame into its buffer behind the pipeline, so what the pipeline holds comes on top, and so does
    what comes while the pause frame is made and while both directions pass FEC and modules.
    """
    shipped = published_headroom(profile, rate_bps, length_mm)
    return max(_by_model(profile, rate_bps, length_mm), shipped.number if shipped else 0)


def auto_numbers(profile: SwitchProfile, rate_bps: int, length_mm: int) -> Mapping[str, Sourced]:
    """The sourced numbers that `auto_headroom` rests on, by name."""
    shipped = published_headroom(profile, rate_bps, length_mm)
    if shipped is not None and shipped.number >= _by_model(profile, rate_bps, length_mm):
        return {f"pfc.shipped[{format_rate(rate_bps)} {format_length(length_mm)}]": shipped}
    entry = response(profile.pfc, rate_bps)
    return {
        **{f"headroom.{name}": NUMBERS.get(name) for name in NUMBERS.names()},
        f"pfc.response[{entry.label}]": entry.quanta,
    }


def _by_model(profile: SwitchProfile, rate_bps: int, length_mm: int) -> int:
    cell_bytes = profile.buffer.cell.number
    more_ps = profile.pipeline_latency.number + profile.pfc.generation.number + NUMBERS.get("phy").number
    more = Fraction(more_ps * rate_bps, 8 * PS_PER_S) * _cell_occupancy(cell_bytes)
    by_formula = formula_headroom(profile.pfc, rate_bps=rate_bps, length_mm=length_mm, cell_bytes=cell_bytes)
    return by_formula + -(-more // BYTES_PER_KIB) * BYTES_PER_KIB
