"""From an experiment to a saved result: preflight, orchestration, collection; not how it is shown."""
