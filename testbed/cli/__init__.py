"""The command line, `./tb VERB`: one module per verb. It may import every room; no room may import it.

A verb's module imports what it works with inside its function, so that `./tb --help` loads none of it.
"""
