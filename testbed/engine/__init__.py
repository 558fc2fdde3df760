"""The engine: time, event order, frames, links, clocks and packet io, in C++ (`_engine`), and how it is fed.

Knows no NIC and no switch by name. Must not import Mininet, the report, or anything that starts a process.
"""
