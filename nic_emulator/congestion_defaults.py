"""Parameters of the congestion-control parts (`nic_emulator/congestion/`), by the names that the parts know them by."""

from __future__ import annotations

from collections.abc import Mapping

from nic_emulator.profile import const
from testbed.spec.sourced import Sourced

_HPCC = "alibaba-edu/High-Precision-Congestion-Control simulation/run.py, config.txt"
_DCQCN = "DCQCN, SIGCOMM 2015 (10.1145/2785956.2787484)"
_HTSIM = "spcl/HTSIM htsim/sim/uec.cpp, initNsccParams @8a33f33e"
_LINUX = "net/ipv4 of Linux"

FIXED_WINDOW: dict[str, Mapping[str, Sourced]] = {
    "fixed_window": {
        "window_bytes": const(262_144, "byte", "assumed", "400 Gb/s times 5 us"),
    }
}
DCQCN: dict[str, Mapping[str, Sourced]] = {
    "dcqcn": {
        "g_log2": const(8, "log2", "V", f"g = 1/256: {_HPCC}"),
        "alpha_timer_ps": const(1_000_000, "ps", "V", f"vendor's 1 us; 55 us in the paper: {_HPCC}"),
        "decrease_interval_ps": const(4_000_000, "ps", "V", f"vendor's 4 us; 50 us in the paper: {_HPCC}"),
        "increase_timer_ps": const(300_000_000, "ps", "V", f"vendor's 300 us; 55 us in the paper: {_HPCC}"),
        "byte_counter_bytes": const(0, "byte", "V", f"none: {_HPCC}"),
        "fast_recovery_stages": const(1, "stages", "V", f"vendor's; 5 in the paper, {_DCQCN}: {_HPCC}"),
        "additive_increase_bps": const(
            80_000_000, "bit/s", "E", f"5 Mb/s at 25 Gb/s, scaled to 400: {_HPCC}"
        ),
        "hyper_increase_bps": const(800_000_000, "bit/s", "E", f"50 Mb/s at 25 Gb/s, scaled to 400: {_HPCC}"),
        "min_rate_bps": const(1_000_000_000, "bit/s", "V", f"MIN_RATE 1000Mb/s: {_HPCC}"),
        "clamp_target": const(0, "yes/no", "V", f"{_HPCC}"),
    }
}
DCTCP: dict[str, Mapping[str, Sourced]] = {
    "dctcp": {
        "g_log2": const(4, "log2", "V", "g = 1/16: RFC 8257, section 4.2; tcp_dctcp.c"),
        "initial_window_pkts": const(10, "packets", "V", "RFC 6928"),
        "min_window_pkts": const(2, "packets", "V", f"tcp_dctcp.c: {_LINUX}"),
        "max_window_bytes": const(4 << 20, "byte", "M", f"net.ipv4.tcp_wmem, 4 MiB: {_LINUX}"),
    }
}
CUBIC: dict[str, Mapping[str, Sourced]] = {
    "cubic": {
        "beta_permille": const(700, "permille", "V", "RFC 9438, section 4.6"),
        "c_permille": const(400, "permille", "V", "C = 0.4: RFC 9438, section 5"),
        "initial_window_pkts": const(10, "packets", "V", "RFC 6928"),
        "max_window_bytes": const(4 << 20, "byte", "M", f"net.ipv4.tcp_wmem, 4 MiB: {_LINUX}"),
        "fast_convergence": const(1, "yes/no", "V", "RFC 9438, section 4.7"),
    }
}
NSCC: dict[str, Mapping[str, Sourced]] = {
    "nscc": {
        "base_rtt_ps": const(
            0, "ps", "E", f"0: of a full packet between the endpoints farthest apart, on this fabric; {_HTSIM}"
        ),
        "target_delay_ps": const(0, "ps", "V", f"0: 3/4 of the base round trip, with trimming; {_HTSIM}"),
        "reference_rtt_ps": const(12_000_000, "ps", "V", _HTSIM),
        "reference_bps": const(100_000_000_000, "bit/s", "V", _HTSIM),
        "proportional_permille": const(4_000, "permille", "V", _HTSIM),
        "fair_permille": const(5_000, "permille", "V", _HTSIM),
        "eta_permille": const(150, "permille", "V", _HTSIM),
        "fast_permille": const(250, "permille", "V", _HTSIM),
        "fast_increase_delay_ps": const(1_000_000, "ps", "assumed", "an eighth of a round trip or so"),
        "gamma_permille": const(800, "permille", "V", _HTSIM),
        "max_decrease_permille": const(500, "permille", "V", _HTSIM),
        "delay_gain_ppm": const(12_500, "ppm", "V", _HTSIM),
        "quick_adapt_delay_permille": const(4_000, "permille", "V", _HTSIM),
        "quick_adapt_gate_log2": const(3, "log2", "V", _HTSIM),
        "max_window_permille": const(1_500, "permille", "E", "one and a half bandwidth-delay products"),
        "adjust_pkts": const(8, "packets", "V", _HTSIM),
    }
}
