"""What is done on the other machine: `python3 - VERB REQUEST`, with these modules on stdin; nothing is installed there.

They run with the standard library of any Python from 3.9 on, so they import nothing of the testbed but each other;
`testbed/vm/asking.py` makes one program of them. REQUEST is one JSON object, and so is the answer on stdout, except
where a verb streams. What cannot be done is `{"error", "remedy"}` and exit code 9.

A *bundle* is one file that carries many here: a line of JSON, then their contents, one after the other.
A *job* is a command that outlives the connection. Its directory appears under its name when its supervisor stands:

    job.json  what runs, and who supervises it    command.json  which process it is    log        stdout and stderr
    exit.json how it ended, and when              files/        where it runs          results/   what it makes
"""
