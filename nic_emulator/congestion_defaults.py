"""Parameters of the congestion-control parts (`nic_emulator/congestion/`), by the names that the parts know them by.

docs/congestion.md says where they are from; not verified here is what is not verified there.
"""

from __future__ import annotations

from collections.abc import Mapping

from nic_emulator.profile import const
from testbed.spec.sourced import Sourced

_HPCC = "alibaba-edu/High-Precision-Congestion-Control simulation/run.py @9f4be2a9"
_HTSIM = "spcl/HTSIM htsim/sim/uec.cpp @8a33f33e"
_RECEIVE_BUFFER = const(4 << 20, "byte", "assumed", "stands for the receiver's buffer")

FIXED_WINDOW: dict[str, Mapping[str, Sourced]] = {
    "fixed_window": {
        "window_bytes": const(262_144, "byte", "assumed", "400 Gb/s times 5 us"),
    }
}
DCQCN: dict[str, Mapping[str, Sourced]] = {
    "dcqcn": {
        "g_log2": const(8, "log2", "V", f"g = 1/256: {_HPCC}"),
        "alpha_timer_ps": const(1_000_000, "ps", "V", f"ConnectX's; 55 us in the paper: {_HPCC}"),
        "decrease_interval_ps": const(4_000_000, "ps", "V", f"ConnectX's; none in the paper: {_HPCC}"),
        "increase_timer_ps": const(300_000_000, "ps", "V", f"ConnectX's; 55 us in the paper: {_HPCC}"),
        "byte_counter_bytes": const(0, "byte", "V", f"none; 10 MB in the paper: {_HPCC}"),
        "fast_recovery_stages": const(1, "stages", "V", f"ConnectX's; 5 in the paper: {_HPCC}"),
        "additive_increase_bps": const(80_000_000, "bit/s", "V", f"5 Mb/s for each 25 Gb/s, at 400: {_HPCC}"),
        "hyper_increase_bps": const(800_000_000, "bit/s", "V", f"50 Mb/s for each 25 Gb/s, at 400: {_HPCC}"),
        "min_rate_bps": const(1_000_000_000, "bit/s", "V", _HPCC),
        "clamp_target": const(0, "yes/no", "V", _HPCC),
    }
}
DCTCP: dict[str, Mapping[str, Sourced]] = {
    "dctcp": {
        "g_log2": const(4, "log2", "V", "g = 1/16, dctcp_shift_g of Linux"),
        "initial_window_pkts": const(10, "packets", "M", "RFC 6928"),
        "min_window_pkts": const(2, "packets", "M", "Linux"),
        "max_window_bytes": _RECEIVE_BUFFER,
    }
}
CUBIC: dict[str, Mapping[str, Sourced]] = {
    "cubic": {
        "beta_permille": const(700, "permille", "M", "RFC 9438, section 4.6"),
        "c_permille": const(400, "permille", "M", "C = 0.4: RFC 9438, section 5"),
        "initial_window_pkts": const(10, "packets", "M", "RFC 6928"),
        "max_window_bytes": _RECEIVE_BUFFER,
        "fast_convergence": const(1, "yes/no", "M", "RFC 9438, section 4.7"),
    }
}
NSCC: dict[str, Mapping[str, Sourced]] = {
    "nscc": {
        "base_rtt_ps": const(
            0,
            "ps",
            "E",
            f"0: of a full packet between the endpoints farthest apart, on this fabric; {_HTSIM}",
        ),
        "target_delay_ps": const(0, "ps", "V", f"0: 3/4 of the base round trip, with trimming; {_HTSIM}"),
        "reference_rtt_ps": const(12_000_000, "ps", "V", _HTSIM),
        "reference_bps": const(100_000_000_000, "bit/s", "V", _HTSIM),
        "proportional_permille": const(4_000, "permille", "V", _HTSIM),
        "fair_permille": const(5_000, "permille", "V", _HTSIM),
        "eta_permille": const(150, "permille", "V", _HTSIM),
        "fast_permille": const(250, "permille", "V", _HTSIM),
        "fast_increase_delay_ps": const(1_000_000, "ps", "V", _HTSIM),
        "gamma_permille": const(800, "permille", "V", _HTSIM),
        "max_decrease_permille": const(500, "permille", "V", _HTSIM),
        "delay_gain_ppm": const(12_500, "ppm", "V", _HTSIM),
        "quick_adapt_delay_permille": const(4_000, "permille", "V", _HTSIM),
        "quick_adapt_gate_log2": const(3, "log2", "V", _HTSIM),
        "max_window_permille": const(1_500, "permille", "V", _HTSIM),
        "adjust_pkts": const(8, "packets", "V", _HTSIM),
    }
}
