"""Small messages: what does it pay to let several share a packet, and what delay does that add?

`off`: each message has a packet of its own. `SIZE:TIME`: up to SIZE bytes of messages to one card share a packet, and
the first of them waits for others at most TIME; with 0ns it waits for the port alone. Cards post one message at a time
(idle), or sixteen at once, as a card that sends activations does (bursts, busy); `flood` goes as fast as it can, to one
card each: a stream has 64 packets in flight, so that messages with a packet each are limited by it.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

BATCHES = {
    "off": "off",
    "1k-0ns": "1KiB:0ns",
    "4k-0ns": "4KiB:0ns",
    "4k-100ns": "4KiB:100ns",
    "4k-500ns": "4KiB:500ns",
    "4k-2us": "4KiB:2us",
}

EXPERIMENT = Experiment(
    name="batching",
    question="From which load and batch on do small messages gain more than they wait?",
    topology="single_switch",
    topology_parameters={"cards": 8, "rate": "400Gbps"},
    switch="tomahawk5",
    variants=tuple(Variant(name=name, nic_settings={"batch": text}) for name, text in BATCHES.items()),
    nics=("transparent",),
    sizes_bytes=(64, 256, 1024),
    scenarios=(
        Scenario(name="idle", kind="idle", records=20_000),
        Scenario(name="bursts", kind="poisson", load_permille=100, batch=16),
        Scenario(name="busy", kind="poisson", load_permille=400, batch=16),
        Scenario(name="flood", kind="permutation"),
    ),
    records=400_000,
    emulated_records=36_000,
)
