"""From a verb and a request to an answer."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

from testbed.vm.agent.deploy import install, survey
from testbed.vm.agent.files import Answer, Refused, Request, forget
from testbed.vm.agent.jobs import remove, status, stop
from testbed.vm.agent.results import follow, results, send
from testbed.vm.agent.start import prepare, start

REFUSED = 9
"""Exit code of what is answered by an error."""

_VERBS = {
    verb.__name__: verb for verb in (survey, install, forget, prepare, start, status, stop, results, remove)
}
_STREAMS = {verb.__name__: verb for verb in (follow, send)}


def _refusal(error: Exception) -> Answer:
    if isinstance(error, Refused):
        return {"error": str(error), "remedy": error.remedy}
    remedy = "see the message of that machine's system"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space on that machine's disk"
    elif isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        remedy = "give the directory to the user who logs in there, or name another --directory"
    elif isinstance(error, (FileExistsError, IsADirectoryError, NotADirectoryError)):
        remedy = "move what is in the way there, or name another --directory"
    return {"error": str(error), "remedy": remedy}


def main(verb: str, request: Request) -> int:
    """Do what is asked; returns the exit code."""
    try:
        if verb in _STREAMS:
            _STREAMS[verb](request)
            return 0
        answer, code = _VERBS[verb](request), 0
    except BrokenPipeError:  # nobody listens
        return REFUSED
    except (Refused, OSError, subprocess.SubprocessError) as error:
        answer, code = _refusal(error), REFUSED
    if verb in _STREAMS:
        sys.stderr.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(json.dumps(answer) + "\n")
    return code
