"""A custom file for `mn`: its test `reach` sends an ICMP echo from every host to every other."""

import socket
import struct
from typing import Any

ECHO_REQUEST, ECHO_REPLY = 8, 0


def answers(address: str) -> bool:
    """Whether that address answers an echo, in three tries of two seconds."""
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 7, 1)
    checksum = 0xFFFF - sum(struct.unpack("!4H", head))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        link.settimeout(2)
        for _ in range(3):
            link.sendto(struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum, 7, 1), (address, 0))
            try:
                answer, (sender, _port) = link.recvfrom(2048)
            except TimeoutError:
                continue
            if sender == address and answer[20] == ECHO_REPLY:
                return True
    return False


def reach(net: Any) -> None:
    """Print which ordered pairs of hosts hear each other, and what the switches are called."""
    pairs = [(a, b) for a in net.hosts for b in net.hosts if a is not b]
    heard = [a.cmd(f"/usr/bin/python3 {PROBE} {b.IP()}").strip() for a, b in pairs]
    interfaces = [i.name for node in net.hosts + net.switches for i in node.intfList() if "-eth" in i.name]
    print(f"\nreached {heard.count('True')} of {len(pairs)}")
    print("interfaces " + " ".join(sorted(interfaces)))
    print("dpids " + " ".join(sorted(f"{switch.name}={switch.dpid}" for switch in net.switches)))


PROBE = reach.__code__.co_filename
tests = {"reach": reach}

if __name__ == "__main__":
    import sys

    print(answers(sys.argv[1]))
