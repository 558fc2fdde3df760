"""Published parameters of the congestion-control parts, and a time line that drives one part."""

from __future__ import annotations

US = 1_000_000
MS = 1_000 * US
S = 1_000 * MS

DCQCN_PAPER = {  # Zhu et al., SIGCOMM 2015, at 40 Gb/s; the rates that it leaves open are assumed
    "g_log2": 8,
    "alpha_timer_ps": 55 * US,
    "decrease_interval_ps": 0,
    "increase_timer_ps": 55 * US,
    "byte_counter_bytes": 10_000_000,
    "fast_recovery_stages": 5,
    "additive_increase_bps": 40_000_000,
    "hyper_increase_bps": 400_000_000,
    "min_rate_bps": 10_000_000,
    "clamp_target": 1,
}
DCQCN_VENDOR = {  # alibaba-edu/High-Precision-Congestion-Control simulation/run.py, scaled to 400 Gb/s as there
    "g_log2": 8,
    "alpha_timer_ps": 1 * US,
    "decrease_interval_ps": 4 * US,
    "increase_timer_ps": 300 * US,
    "byte_counter_bytes": 0,
    "fast_recovery_stages": 1,
    "additive_increase_bps": 80_000_000,
    "hyper_increase_bps": 800_000_000,
    "min_rate_bps": 1_000_000_000,
    "clamp_target": 0,
}
DCTCP = {"g_log2": 4, "initial_window_pkts": 10, "min_window_pkts": 2, "max_window_bytes": 1 << 22}
CUBIC = {
    "beta_permille": 700,
    "c_permille": 400,
    "initial_window_pkts": 10,
    "max_window_bytes": 1 << 22,
    "fast_convergence": 1,
}
NSCC = {  # spcl/HTSIM htsim/sim/uec.cpp initNsccParams, for its own 12 us
    "base_rtt_ps": 12 * US,
    "target_delay_ps": 9 * US,
    "reference_rtt_ps": 12 * US,
    "reference_bps": 100_000_000_000,
    "proportional_permille": 4000,
    "fair_permille": 5000,
    "eta_permille": 150,
    "fast_permille": 250,
    "fast_increase_delay_ps": 1 * US,
    "gamma_permille": 800,
    "max_decrease_permille": 500,
    "delay_gain_ppm": 12_500,
    "quick_adapt_delay_permille": 4000,
    "quick_adapt_gate_log2": 3,
    "max_window_permille": 1500,
    "adjust_pkts": 8,
}
SETS = {
    "fixed_window": {"window_bytes": 65_536},
    "dcqcn": DCQCN_PAPER,
    "dctcp": DCTCP,
    "cubic": CUBIC,
    "nscc": NSCC,
}
