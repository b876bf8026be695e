"""`python -P -m chat.engine.worker LOG`: the process that holds the model. The client starts it; nobody types
this.

Requests come on descriptor 0, events go out on 1, everything else goes to 2, which the client made the log;
the argument is its name.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def take_pipes() -> tuple[int, int]:
    """Moves the conversation to descriptors that nobody else knows, and what would be printed to the log.

    Before llama_cpp is imported: it and its backends write to 1 and 2 as they please.
    """
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, events


def main() -> None:
    """Serves until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, events = take_pipes()
    from chat.engine.worker.pipe import Pipe

    pipe = Pipe(requests, events)
    pipe.listen()
    from chat.engine.worker import log
    from chat.engine.worker.server import Server

    if len(sys.argv) > 1:
        log.bound(Path(sys.argv[1]))
        pipe.on_ping = log.turn_over

    Server(pipe).run()


if __name__ == "__main__":
    main()
