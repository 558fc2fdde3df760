"""Tail latency of accelerator-to-accelerator transfers through an emulated Ethernet fabric.

The rooms of this package, and which may import which, are in docs/architecture.md.
"""

from __future__ import annotations

__version__ = "0.1.0"
