"""The machines of a run: their connections, and what is told of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from testbed.errors import TestbedError
from testbed.vm.remote import Remote
from testbed.vm.runs.together import together
from testbed.vm.ssh import ConnectionLost, Link, Trust
from testbed.vm.target import Target

_TOLD_EVERY_S = 5.0


class Meter:
    """Tells how many bytes of a transfer are done, every few seconds."""

    def __init__(self, note: Callable[[str], None], verb: str) -> None:
        self._note, self._verb = note, verb
        self._last_s = time.monotonic()

    def __call__(self, done_bytes: int, whole_bytes: int) -> None:
        """So many of so many."""
        now_s = time.monotonic()
        if now_s - self._last_s >= _TOLD_EVERY_S:
            self._last_s = now_s
            self._note(f"{self._verb} {size_text(done_bytes)} of {size_text(whole_bytes)}")


def size_text(size_bytes: int) -> str:
    """E.g. `2.1 MB`, `17 kB`."""
    return f"{size_bytes / 10**6:,.1f} MB" if size_bytes >= 10**5 else f"{size_bytes / 10**3:,.0f} kB"


class Connections:
    """Connections to machines, made all at once; a context manager that ends them."""

    def __init__(self, targets: Sequence[Target], trust: Trust, tell: Callable[[str], None]) -> None:
        """`tell` gets lines for the user, by any thread."""
        self._tell = tell
        self._is_closed = False
        self._targets = {target.name: target for target in targets}
        self._trust = _one_by_one(trust)
        self._links: list[Link] = []
        self._remotes: dict[str, Remote] = {}

    def __enter__(self) -> Connections:
        try:
            for name in self._targets:
                self._remotes[name] = self.another(name)
            together(lambda link: link.attempt(lambda _: None), list(self._links))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, host: str) -> Remote:
        return self._remotes[host]

    def another(self, host: str) -> Remote:
        """A machine by one more connection, for a thread of its own."""
        target = self._targets[host]
        link = Link(target, self._trust, note=self._say)
        self._links.append(link)
        return Remote(link, target.tree)

    def close(self) -> None:
        """End all connections; what runs there goes on. Threads that still use one are not heard any more."""
        self._is_closed = True
        for link in self._links:
            link.close()

    def deploy(self, hosts: Sequence[str], root: Path) -> None:
        """Bring the tree to these machines, all at once; what is still on its way at an error is taken back."""
        try:
            together(lambda host: self._deploy(host, root), hosts)
        except (KeyboardInterrupt, TestbedError) as error:
            if not isinstance(error, ConnectionLost):
                together(self._take_back, hosts)
            raise

    def _take_back(self, host: str) -> None:
        if bundle := self[host].bundle:
            try:
                self.another(host).forget(bundle)
            except TestbedError:
                self.told(host, f"{bundle} is left there; what is sent there after a day removes it")

    def _deploy(self, host: str, root: Path) -> None:
        began_s = time.monotonic()
        deployed = self[host].deploy(root, Meter(self.note(host), "sent"))
        spent_s = time.monotonic() - began_s
        if deployed.files or deployed.removed:
            removed = f", {deployed.removed:,} removed" if deployed.removed else ""
            sent = (
                f"{deployed.files:,} files, {size_text(deployed.sent_bytes)} sent in {spent_s:.1f} s{removed}"
            )
            self.told(host, sent)
        else:
            self.told(host, "tree up to date")

    def told(self, host: str, text: str) -> None:
        """Tell a line about a machine."""
        self._say(f"{host}: {text}")

    def _say(self, text: str) -> None:
        if not self._is_closed:
            self._tell(text)

    def note(self, host: str) -> Callable[[str], None]:
        """Tells a line about a machine."""
        return lambda text: self.told(host, text)


def _one_by_one(trust: Trust) -> Trust:
    """The same, with one question after another."""
    confirm, asking = trust.confirm, threading.Lock()
    if confirm is None:
        return trust

    def ask(question: str) -> bool:
        with asking:
            return confirm(question)

    return Trust(host_key=trust.host_key, confirm=ask)
