"""A libvirt of the tests' own, in namespaces that end with the tests.

Daemons, machines and their network live in mount, network and process namespaces of one process tree: the machine's
own libvirt, its networks, pools and firewall are not touched, and may run beside it. The kernel ends everything in
there when its first process ends, and that one when the tests do, however they do: there are no leftovers to look for
but files below `directory`. The way out, where there is one, is slirp4netns: sockets of an ordinary process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PROGRAMS = (
    "unshare",
    "nsenter",
    "setpriv",
    "tini",
    "slirp4netns",
    "libvirtd",
    "virtlogd",
    "virsh",
    "vagrant",
    "rsync",
)
START_LIMIT_S = 90
OWN_DIRECTORIES = (
    "/run/libvirt",
    "/var/lib/libvirt",
    "/etc/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
)
"""Where libvirt keeps what it knows and makes: in the sandbox these are directories of its own."""
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
cgroup_controllers = []
"""
LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
"""
TIED = ("setpriv", "--pdeathsig", "KILL")
"""What is started with this ends with the process that started it."""
IN_NAMESPACES = (*TIED, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
INIT = ("tini", "--")
"""Process 1 of the namespaces: QEMU becomes a daemon, and whoever started it waits until somebody has reaped it."""
INNER = """\
set -e
for directory in {directories}; do
    mkdir -p "$directory"
    mkdir -p "$OWN$directory"
    mount --bind "$OWN$directory" "$directory"
done
mkdir -p /etc/libvirt/qemu/networks /var/lib/libvirt/images /var/lib/libvirt/dnsmasq
cp "$OWN/qemu.conf" "$OWN/libvirtd.conf" /etc/libvirt/
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
virtlogd --pid-file "$OWN/virtlogd.pid" > "$OWN/virtlogd.log" 2>&1 &
libvirtd --pid-file "$OWN/libvirtd.pid" > "$OWN/libvirtd.log" 2>&1 &
exec sleep infinity
"""


class SandboxError(Exception):
    """The sandbox does not work; the message ends with what its daemons said."""


class Sandbox:
    """Runs programs where its libvirt is; `directory` takes all files."""

    def __init__(self, directory: Path, *, network: bool) -> None:
        self.directory = directory
        self.vagrant_home = directory / "vagrant.d"
        self._network = network
        self._init_pid = 0
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Bring libvirt up; with a way out to the network, if it is to have one."""
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise SandboxError(f"not installed: {' '.join(missing)}; ./tb test --vm installs them")
        own = self.directory / "libvirt"
        own.mkdir(parents=True)
        (own / "qemu.conf").write_text(QEMU_CONF, encoding="ascii")
        (own / "libvirtd.conf").write_text(LIBVIRTD_CONF, encoding="ascii")
        inner = INNER.format(directories=" ".join(OWN_DIRECTORIES))
        outer = self._popen(
            [*IN_NAMESPACES, "--net", *INIT, "sh", "-c", inner], env=_environment(OWN=str(own))
        )
        self._init_pid = wait_for("process 1", lambda: child_of(outer.pid), self._said)
        if self._network:
            out = [
                "slirp4netns",
                "--configure",
                "--mtu=1400",
                "--disable-host-loopback",
                str(self._init_pid),
                "tap0",
            ]
            self._popen([*TIED, *out])
            wait_for("tap0", lambda: self._succeeds("ip", "link", "show", "tap0"), self._said)
        wait_for("libvirtd", lambda: self._succeeds("virsh", "-c", "qemu:///system", "version"), self._said)

    def stop(self) -> None:
        """End everything in it; returns when all of it is gone."""
        if self._init_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init_pid, signal.SIGKILL)  # the kernel ends the rest of the namespace
        for process in reversed(self._processes):
            if process.poll() is None and process is not self._processes[0]:
                process.kill()
            process.wait(timeout=60)
        self._processes.clear()

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside."""
        return ["nsenter", "--target", str(self._init_pid), "--mount", "--net", "--pid", "--", *argv]

    def environment(self, **more: str) -> dict[str, str]:
        """What Vagrant and libvirt see inside."""
        settings = {"LIBVIRT_DEFAULT_URI": "qemu:///system", "VAGRANT_HOME": str(self.vagrant_home)}
        settings |= {
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
        }
        return _environment(**settings, **more)

    def run(
        self, *argv: str, cwd: Path, timeout_s: float, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end; stdout and stderr in one."""
        process = subprocess.Popen(
            [*TIED, *self.command("env", "-C", str(cwd), *argv)],
            env=self.environment(**(more or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise SandboxError(f"{' '.join(argv)}: not done after {timeout_s:.0f} s:\n{output}") from None
        return subprocess.CompletedProcess(list(argv), process.returncode, output)

    def _succeeds(self, *argv: str) -> bool:
        return (
            subprocess.run(self.command(*argv), capture_output=True, check=False, timeout=60).returncode == 0
        )

    def _popen(self, argv: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.directory / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _said(self) -> str:
        ended = [f"{p.args}: ended with {p.returncode}" for p in self._processes if p.poll() is not None]
        logs = sorted([*self.directory.glob("*.log"), *(self.directory / "libvirt").glob("*.log")])
        texts = [
            f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs if log.stat().st_size
        ]
        return "\n".join([*ended, *texts])


@contextlib.contextmanager
def sandbox(directory: Path, *, network: bool) -> Iterator[Sandbox]:
    """A running one; it is gone afterwards."""
    one = Sandbox(directory, network=network)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def _environment(**more: str) -> dict[str, str]:
    ours = ("TB_", "VAGRANT_", "LIBVIRT_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def child_of(pid: int) -> int:
    """The first child of a process; 0 if it has none."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(text[0]) if text else 0


def wait_for(what: str, probe: Callable[[], int], said: Callable[[], str]) -> int:
    """What `probe` answers, once it does; a `SandboxError` that ends with `said()` if it does not."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(0.2)
    raise SandboxError(f"{what} did not come up within {START_LIMIT_S} s\n{said()}")
