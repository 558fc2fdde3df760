"""What a user asks for, as frozen values: fabric, experiment, sourced numbers, and their codec.

Knows no topology, switch or NIC by name; what needs those tables is checked by `testbed.run.resolve`.
"""
