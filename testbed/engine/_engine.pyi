# The extension module: the engine, the models and the virtual clock. Times in picoseconds.
from collections.abc import Callable, Sequence
from enum import Enum

NEVER_PS: int
NO_ROUTE: int
DROP_ROUTE: int
CPU_ROUTE: int
NO_WINDOW: int

class ClockError(RuntimeError): ...
class StreamError(RuntimeError): ...
class LosslessDropError(RuntimeError): ...
class DeadlockError(RuntimeError): ...

class Opcode(Enum):
    DATA = 0
    ACK = 1
    NACK = 2
    TRIMMED = 3
    PAUSE = 4
    CREDIT = 5
    CNP = 6
    NOT_READY = 7

class Op(Enum):
    PUT = 0
    PUT_SIGNAL = 1
    SEND = 2
    GET_REQUEST = 3
    GET_RESPONSE = 4

class WireFormat(Enum):
    THIN = 0
    ROCE_V2 = 1
    MAC_CONTROL = 2
    THIN_UDP = 3
    TCP = 4
    UDP = 5
    UET = 6
    SUE = 7
    SUE_COMPRESSED = 8
    UALINK = 9

class PathChoice(Enum):
    HASH = 0
    FLOWLET = 1
    LEAST_LOADED = 2
    SPRAY = 3
    ROUND_ROBIN = 4

class Arrivals(Enum):
    NONE = 0
    PERIODIC = 1
    POISSON = 2
    CLOSED = 3
    PING_PONG = 4
    ROUNDS = 5

class Quit(Enum):
    RUNNING = 0
    DONE = 1
    DEADLOCK = 2
    ERROR = 3
    STOPPED = 4

class Frame:
    """The fields that a frame's real headers carry; `frame_bytes` counts the FCS."""

    frame_bytes: int
    payload_bytes: int
    message_bytes: int
    psn: int
    msn: int
    index: int
    src: int
    dst: int
    entropy: int
    credit: int
    ack_bits: int
    opcode: Opcode
    format: WireFormat
    op: Op
    traffic_class: int
    dscp: int
    flags: int
    def __init__(self) -> None: ...

class StageConfig:
    name: str
    latency_ps: int
    occupancy_ps: int
    occupancy_ps_per_kib: int
    stall_interval_ps: int
    servers: int
    per_card: bool
    reads_payload: bool
    coalesce_ps: int
    wake_after_ps: int
    def __init__(self) -> None: ...
    def set_jitter(self, points: Sequence[tuple[int, int]]) -> None: ...
    def set_stall(self, points: Sequence[tuple[int, int]]) -> None: ...
    def set_wake(self, points: Sequence[tuple[int, int]]) -> None: ...

class NicConfig:
    format: WireFormat
    cards: int
    mtu_bytes: int
    first_header_bytes: int
    other_header_bytes: int
    ack_bytes: int
    unit_bytes: int
    unit_header_bytes: int
    flit_bytes: int
    flit_payload_bytes: int
    data_class: int
    ack_class: int
    data_dscp: int
    ack_dscp: int
    virtual_channels: int
    int_enabled: bool
    batch_bytes: int
    batch_header_bytes: int
    batch_delay_ps: int
    reliability: str
    nacks: bool
    ordered: bool
    reorder_window_pkts: int
    window_pkts: int
    ack_every_pkts: int
    retry_limit: int
    rto_ps: int
    tlp_ps: int
    receive_depth: int
    rnr_timer_ps: int
    rnr_retry_limit: int
    congestion: str
    congestion_parameters: dict[str, int]
    cnp_interval_ps: int
    paths: int
    avoid_marked: bool
    tx_depth_pkts: int
    tx_depth_bytes: int
    ack_latency_ps: int
    ingress_latency_ps: int
    pause_reaction_ps: int
    restarts: Sequence[tuple[int, int]]
    def __init__(self) -> None: ...
    def set_stages(self, where: str, stages: Sequence[StageConfig]) -> None: ...

class WorkloadConfig:
    arrivals: Arrivals
    destinations: list[int]
    others_of: int
    message_bytes: int
    op: Op
    batch: int
    start_ps: int
    interval_ps: int
    measure_until_ps: int
    window: int
    post_until_ps: int
    common_times: bool
    reply: bool
    def __init__(self) -> None: ...

class _ForwardingConfig:
    """The fields that all switches have; no class of the extension."""

    hash_seed: int
    groups: list[list[int]]
    weights: list[list[int]]
    route: list[int]
    watched: list[int]
    ingress_routes: list[tuple[int, list[int]]]
    punt_latency_ps: int
    updates: Sequence[dict[str, object]]
    """These four cannot be read back."""
    port_states: Sequence[tuple[int, int, int]]
    restarts: Sequence[tuple[int, int]]
    packet_outs: Sequence[tuple[int, int, bytes]]
    path_choice: PathChoice
    flowlet_gap_ps: int
    flowlet_entries: int
    load_quantum_bytes: int
    ecn: list[tuple[int, int, int]]
    ecn_at_enqueue: bool
    class_of_pcp: list[int]
    class_of_dscp: list[int]

class SwitchConfig(_ForwardingConfig):
    pipeline_latency_ps: int
    cut_through: bool
    buffer_bytes: int
    cell_bytes: int
    alpha_log2: int
    reserved_bytes: int
    ingress_alpha_log2: int
    pg_reserved_bytes: int
    lossless_classes: int
    lossless_alpha_log2: int
    headroom_bytes: list[int]
    headroom_pool_bytes: int
    xon_offset_bytes: int
    pause_quanta: int
    pfc_generation_ps: int
    pause_reaction_ps: int
    assert_lossless: bool
    watchdog_detection_ps: int
    watchdog_restoration_ps: int
    credit_bytes: int
    dwrr_quantum_bytes: list[int]
    shaper_ps_per_kib: list[int]
    shaper_burst_bytes: list[int]
    trim_bytes: int
    trim_class: int
    int_enabled: bool
    sflow_interval: int
    def __init__(self) -> None: ...

class VoqSwitchConfig(_ForwardingConfig):
    pipeline_latency_ps: int
    pause_reaction_ps: int
    buffer_bytes: int
    voq_limit_bytes: int
    credit_bytes: int
    credit_latency_ps: int
    fabric_latency_ps: int
    egress_buffer_bytes: int
    credit_speedup_permille: int
    def __init__(self) -> None: ...

class Plan:
    def __init__(self, seed: int) -> None: ...
    def add_nic(self, name: str, config: NicConfig, workloads: Sequence[WorkloadConfig]) -> int: ...
    def add_switch(self, name: str, config: SwitchConfig) -> int: ...
    def add_voq_switch(self, name: str, config: VoqSwitchConfig) -> int: ...
    def add_python(
        self,
        name: str,
        factory: Callable[[str, int, int], object],
        ingress_delay_ps: int,
        last_bit: bool,
        max_frame_bytes: int = 9216,
    ) -> int: ...
    def add_link(
        self,
        a: int,
        a_port: int,
        b: int,
        b_port: int,
        byte_time_ps: int,
        latency_ps: int,
        features: dict[str, object] = ...,
    ) -> None: ...
    @property
    def node_names(self) -> list[str]: ...
    @property
    def wires(self) -> int: ...
    @property
    def sources(self) -> int: ...

class Twin:
    def __init__(self, plan: Plan) -> None: ...
    def run(self, until_ps: int) -> bool: ...
    def trace_queues(self, until_ps: int, limit: int) -> None: ...
    @property
    def done(self) -> bool: ...
    @property
    def now_ps(self) -> int: ...
    @property
    def next_event_ps(self) -> int: ...
    @property
    def hops(self) -> int: ...
    @property
    def messages(self) -> int: ...
    @property
    def frames_in_use(self) -> int: ...
    def tx_records(self) -> bytes: ...
    def rx_records(self) -> bytes: ...
    def trace_packets(self, packets: Sequence[tuple[int, int, int]]) -> None: ...
    def queue_samples(self) -> bytes: ...
    def hop_samples(self) -> bytes: ...
    def flow_samples(self) -> bytes: ...
    def int_samples(self) -> bytes: ...
    def punt_samples(self) -> bytes: ...
    def apply_update(self, node: str | int, time_ps: int, tables: dict[str, object]) -> None: ...
    def apply_packet_out(self, node: str | int, time_ps: int, port: int, frame: bytes) -> None: ...
    @property
    def int_interval(self) -> int: ...
    def counters(self) -> dict[str, dict[str, int]]: ...

class Loss(Enum):
    MISSING = 0
    TRIMMED = 1
    TIMEOUT = 2

class CongestionPart:
    """A congestion-control part, stepped by hand; wrong parameters, and a clock that runs back, are ValueErrors."""

    def __init__(
        self, name: str, parameters: dict[str, int], byte_time_ps: int = 20, mtu_bytes: int = 4096
    ) -> None: ...
    def sent(self, now_ps: int, bytes: int) -> None: ...
    def acknowledged(
        self, now_ps: int, bytes: int, marked_bytes: int, rtt_ps: int, in_flight_bytes: int
    ) -> None: ...
    def lost(self, how: Loss, now_ps: int, bytes: int) -> None: ...
    def notified(self, now_ps: int) -> None: ...
    def window_bytes(self) -> int: ...
    def ps_per_kib(self, now_ps: int) -> int: ...

class Clock:
    def __init__(self, fd: int, plan: Plan, group_of: Sequence[int], create: bool) -> None: ...
    @property
    def ready(self) -> bool: ...
    @property
    def ready_count(self) -> int: ...
    def start(self) -> None: ...
    def quit(self, reason: Quit) -> None: ...
    def set_punt_latency_ps(self, latency_ps: int) -> None: ...
    @property
    def held(self) -> bool: ...
    @property
    def barrier_ps(self) -> int: ...
    def release(self, barrier_ps: int, orders: int) -> None: ...
    def lower(self, group: int, time_ps: int) -> None: ...
    def reach_ps(self, from_: int, to: int) -> int: ...
    def set_reach_ps(self, from_: int, to: int, value: int) -> None: ...
    def echo_ps(self, wire: int) -> int: ...
    def progress(self) -> dict[str, int]: ...

class MemberPlace:
    def __init__(self, netns: str, interfaces: Sequence[str]) -> None: ...

class Group:
    """A copy of the fabric that is about to be run; for `VirtualGroup.resume` only."""

    def apply_update(self, node: str | int, time_ps: int, tables: dict[str, object]) -> None: ...
    def apply_packet_out(self, node: str | int, time_ps: int, port: int, frame: bytes) -> None: ...

class VirtualGroup:
    def __init__(
        self,
        plan: Plan,
        group_of: Sequence[int],
        number: int,
        clock: Clock,
        places: Sequence[MemberPlace],
        snap_bytes: int = 0xFFFFFFFF,
        punts_fd: int = -1,
    ) -> None: ...
    def run(self) -> Quit: ...
    def resume(self, plan: Plan, now_ps: int, prepare: Callable[[Group], None]) -> None: ...
    def tx_records(self) -> bytes: ...
    def rx_records(self) -> bytes: ...
    def flow_samples(self) -> bytes: ...
    def int_samples(self) -> bytes: ...
    def punt_samples(self) -> bytes: ...
    def apply_update(self, node: str | int, time_ps: int, tables: dict[str, object]) -> None: ...
    def apply_packet_out(self, node: str | int, time_ps: int, port: int, frame: bytes) -> None: ...
    @property
    def hops(self) -> int: ...
    def counters(self) -> dict[str, dict[str, int]]: ...
    def snapshot(self) -> tuple[int, int, dict[str, dict[str, int]]]: ...

def reliability_names() -> list[str]: ...
def congestion_names() -> list[str]: ...
def prepare_process(name: str, cpu: int, priority: int) -> str: ...
def philox(a: int, b: int, c: int, d: int, key: int) -> tuple[int, int, int, int]: ...
def random_at(seed: int, entity: int, purpose: int, counter: int) -> int: ...
def exponential_ps(random: int, mean_ps: int) -> int: ...
def quantile_ps(points: Sequence[tuple[int, int]], random: int) -> int: ...
def crc32c(data: bytes) -> int: ...
def crc32c_portable(data: bytes) -> int: ...
def carries(frame: Frame) -> bool: ...
def least_frame_bytes(frame: Frame) -> int: ...
def least_bytes(format: WireFormat) -> tuple[int, int, int]: ...
def encode(
    frame: Frame,
    snap_bytes: int = 0xFFFFFFFF,
    first_bit_ps: int = 0,
    link_seq: int = 0,
    byte_time_ps: int = 0,
) -> bytes: ...
def decode(data: bytes) -> tuple[str, Frame | None, dict[str, int] | None]: ...
