"""SSH to other machines, by paramiko, which only this room may import.

Keys only, never passwords. A host key must be known, pinned or confirmed: `Trust`. A `Connection` raises
`ConnectionLost` when it ends; a `Link` makes it again.
"""

from testbed.vm.ssh.connection import Connection, connect
from testbed.vm.ssh.link import Link
from testbed.vm.ssh.trust import Trust
from testbed.vm.ssh.wire import ConnectionLost

__all__ = ["Connection", "ConnectionLost", "Link", "Trust", "connect"]
