"""Put first on PYTHONPATH of the program under test: a connection that leaves this machine ends the process.

Python imports it in every process that the program starts, the worker included.
"""

import os
import socket
import sys

LOCAL = ("127.0.0.1", "::1", "localhost", "")


def _refuse(what: object) -> None:
    with open(os.environ["RPCHAT_NETWORK_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{sys.argv}: {what}\n")
    os._exit(97)


def _watch(name: str) -> None:
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *args: object) -> object:
        address = args[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:  # type: ignore[index]
            _refuse(address)
        return original(self, *args)

    setattr(socket.socket, name, guarded)


for method in ("connect", "connect_ex", "sendto"):
    _watch(method)

_resolve = socket.getaddrinfo


def _guarded_resolve(host: object, *args: object, **kwargs: object) -> object:
    if host is not None and host not in LOCAL:
        _refuse(host)
    return _resolve(host, *args, **kwargs)  # type: ignore[arg-type]


socket.getaddrinfo = _guarded_resolve  # type: ignore[assignment]
