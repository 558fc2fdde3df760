"""Builds the emulated fabric: the only room that touches Mininet, namespaces, Open vSwitch and processes.

Nothing is re-exported here, so that `testbed.fabric.clean` can be used where Mininet is not installed.
"""
