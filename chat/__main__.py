"""The console script."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def run(args: Sequence[str] | None = None) -> int:
    """Run `rpchat` with these arguments (else those of the process) and return its exit status."""
    from chat.cli.failure import exit_status
    from chat.cli.root import rpchat

    try:
        status = rpchat.main(args, prog_name="rpchat", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last resort: every error ends as one line and a status
        return exit_status(error)
    return status if isinstance(status, int) else 0


def main() -> None:
    """Run `rpchat` and end the process with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")
    sys.exit(run())


if __name__ == "__main__":
    main()
