"""Experiment scripts, one question each; every file here is listed and run by its name."""
