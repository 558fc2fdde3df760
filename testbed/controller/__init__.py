"""Forwarding state: computed purely from the fabric, loaded by whoever runs it."""
