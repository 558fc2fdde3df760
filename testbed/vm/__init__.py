"""Machines other than this one that run experiments: virtual machines, and any Linux host with an SSH server."""
