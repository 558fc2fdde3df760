"""Runs on other machines: what is sent, who does which part, where a run stands, and what becomes of its results."""
