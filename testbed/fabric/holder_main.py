"""Holds the namespaces of a fabric: forks one sleeping process per node, each in namespaces of its own.

A script for `python -I -S` and the bare standard library, because its start-up time is part of every run's;
it imports nothing of the testbed. `holders.py` is the other end of its pipes:

    in   {"names": [...], "parent": PID}\\n     the nodes, and the process whose end is its own end
    out  {"pids": [...]}\\n                     every namespace is there
    in   {"configure": true}\\n                 the interfaces are in place
    out  {"interfaces": [[...], ...]}\\n        every interface is up, its offloads off
    in   end of file, or the parent's end      everything ends

A failure is answered with {"error": text}. It is in a session of its own, so that no Ctrl-C reaches it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_SLAVE = 0x4000, 0x80000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = 0x8913, 0x8914, 0x8946
IFF_UP, IFF_NOARP = 0x1, 0x80

SLEEPER = ("/bin/sleep", "infinity")
"""What a holder becomes: a tenth of the memory of an interpreter."""

OFFLOADS = {
    "rx checksums": (0x14, 0x15),
    "tx checksums": (0x16, 0x17),
    "TCP segmentation": (0x1E, 0x1F),
    "generic segmentation": (0x23, 0x24),
    "generic receive": (0x2B, 0x2C),
}
"""What would change frames or merge them: ETHTOOL_G... and ETHTOOL_S... [linux/ethtool.h]."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _enter_namespaces() -> None:
    """New network and mount namespaces, with the /sys that belongs to them, as Mininet's mnexec does."""
    _checked(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare")
    _checked(_libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None), "mount slave /")
    _checked(_libc.mount(b"sysfs", b"/sys", b"sysfs", ctypes.c_ulong(0), None), "mount /sys")
    _disable_ipv6()


def _disable_ipv6() -> None:
    """Before any interface exists, so that not one neighbour or router solicitation gets out."""
    for scope in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        if os.path.exists(path):  # else this kernel has no IPv6
            with open(path, "w", encoding="ascii") as setting:
                setting.write("1")


def _set_flags(control: socket.socket, name: str, flags: int) -> None:
    request = struct.pack("16sh14x", name.encode(), 0)
    (now,) = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), (now | flags) & 0xFFFF))


def _ethtool(control: socket.socket, name: str, command: int) -> int:
    """One `struct ethtool_value` with data 0: its data afterwards."""
    value = ctypes.create_string_buffer(struct.pack("II", command, 0), 8)
    fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(value)))
    return int(struct.unpack("II", value.raw)[1])


def _configure_interfaces(node: str) -> list[str]:
    """Offloads off, no ARP, up; the names of the node's interfaces.

    Others (loopback, and the sit0 or tunl0 that some drivers put into every namespace) are not ours.
    """
    names = [name for _, name in socket.if_nameindex() if name.startswith(f"{node}-eth")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _set_flags(control, "lo", IFF_UP)
        for name in names:
            for what, (get, put) in OFFLOADS.items():
                if _ethtool(control, name, get):
                    _ethtool(control, name, put)
                    if _ethtool(control, name, get):
                        raise OSError(f"{name}: {what} offload stays on")
            _set_flags(control, name, IFF_UP | IFF_NOARP)
    return names


def _hold(name: str, index: int, parent: int, gate: int, report: int) -> None:
    """The life of one holder: it never returns, but becomes a `sleep`."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    try:
        _enter_namespaces()
        _report(report, index, [])
        os.read(gate, 1)  # end of file once the interfaces are in place
        _report(report, index, _configure_interfaces(name))
    except OSError as error:
        _report(report, index, f"node {name}: {error}")
        os._exit(1)
    os.execv(SLEEPER[0], [f"testbed:{name}", *SLEEPER[1:]])


def _report(report: int, index: int, result: list[str] | str) -> None:
    """One datagram: a socket pair of type SEQPACKET keeps reports whole, however long."""
    os.write(report, json.dumps([index, result]).encode())


def _gather(reports: socket.socket, count: int) -> list[list[str]]:
    """One report of every holder; the first failure ends it."""
    found: list[list[str]] = [[] for _ in range(count)]
    for _ in range(count):
        index, result = json.loads(reports.recv(1 << 17))
        if isinstance(result, str):
            raise OSError(result)
        found[index] = result
    return found


def _read_request(parent_fd: int) -> dict[str, object] | None:
    """The next line on standard input; None once the parent has closed it or is dead."""
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([0, parent_fd], [], [])
        chunk = b"" if parent_fd in ready else os.read(0, 1 << 16)
        if not chunk:
            return None
        text += chunk
    request: dict[str, object] = json.loads(text)
    return request


def _answer(message: dict[str, object]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _fork_holders(names: list[str], pids: list[int], report: socket.socket) -> int:
    """Fork one holder per name, filling `pids`; the gate: closing it lets them configure."""
    gate_in, gate_out = os.pipe()
    me = os.getpid()
    for index, name in enumerate(names):
        pid = os.fork()
        if pid == 0:
            os.close(gate_out)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            _hold(name, index, me, gate_in, report.fileno())
        pids.append(pid)
    os.close(gate_in)
    return gate_out


def _serve(parent_fd: int, names: list[str], pids: list[int]) -> None:
    """The conversation of the module docstring."""
    reports, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        gate = _fork_holders(names, pids, report)
        report.close()
        _gather(reports, len(names))
        _answer({"pids": pids})
        if _read_request(parent_fd) is None:
            return
        os.close(gate)
        _answer({"interfaces": _gather(reports, len(names))})
    except OSError as error:
        _answer({"error": str(error)})
    _read_request(parent_fd)


def _end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def main() -> int:
    """Serve one fabric; 0 when it has ended."""
    line = sys.stdin.buffer.readline()
    request = json.loads(line)
    try:
        parent_fd = os.pidfd_open(int(request["parent"]))
    except ProcessLookupError:
        return 0
    pids: list[int] = []
    try:
        _serve(parent_fd, request["names"], pids)
    except BrokenPipeError:
        pass  # the parent is gone: nobody to answer to
    finally:
        _end(pids)
    return 0


if __name__ == "__main__":
    sys.exit(main())
