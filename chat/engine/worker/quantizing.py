"""`python -P -m chat.engine.worker.quantizing IN OUT TYPE [--requantize]`: one file into a smaller one.

A process of its own: llama.cpp's function takes minutes, cannot be told to stop, and may abort. TYPE is a
number of `llama_ftype`. Progress goes to descriptor 1, one JSON object a line: {"op": "tensor", "done",
"total"}, at the end {"op": "done", "before", "after"} (bytes of the weights, null where llama.cpp did not
say) or {"op": "failed", "message"}. Everything else goes to 2, which the caller made the log. It ends when
the caller closes its end of descriptor 0.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
import threading
import time

TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")
"""How llama.cpp counts: `[   3/ 291] blk.0.attn_k.weight - ...`."""
SIZE = re.compile(r"(model|quant) size\s*=\s*([\d.]+) MiB")
FAILED = re.compile(r"failed to quantize: (.*)")


class Progress:
    """What llama.cpp logs, made into lines for the caller."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._line = ""
        self.sizes: dict[str, int] = {}
        self.cause = ""

    def heard(self, text: str) -> None:
        """A piece of the log; a line may come in several."""
        begun = not self._line
        self._line += text
        found = TENSOR.match(self._line)
        if begun and found:
            self.send({"op": "tensor", "done": int(found[1]) - 1, "total": int(found[2])})
        if text.endswith("\n"):
            for kind, size in SIZE.findall(self._line):
                self.sizes[kind] = round(float(size) * (1 << 20))
            failed = FAILED.search(self._line)
            if failed:
                self.cause = failed[1].strip()
            self._line = ""

    def send(self, event: dict[str, object]) -> None:
        """One line to the caller; when it has gone, the work is for nobody."""
        try:
            os.write(self._events, json.dumps(event).encode() + b"\n")
        except OSError:
            os._exit(1)


def end_with_the_caller(requests: int) -> None:
    """Ends the process when the caller closes its end of the pipe, on purpose or by dying."""
    while os.read(requests, 64):
        pass
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Quantize; exit status 0 when it went well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from chat.engine.worker.__main__ import take_pipes

    requests, events = take_pipes()
    threading.Thread(target=end_with_the_caller, args=(requests,), daemon=True).start()
    source, out, kind, *options = arguments

    import llama_cpp.llama_cpp as api

    progress = Progress(events)

    @api.llama_log_callback  # type: ignore[untyped-decorator]
    def heard(_level: int, text: bytes | None, _data: ctypes.c_void_p) -> None:
        said = (text or b"").decode("utf-8", "replace")
        os.write(2, said.encode())
        progress.heard(said)

    api.llama_log_set(heard, ctypes.c_void_p(0))
    os.write(2, f"{time.strftime('%Y-%m-%d %H:%M:%S')} I rpchat: quantizing {source}\n".encode())
    params = api.llama_model_quantize_default_params()
    params.ftype = int(kind)
    params.nthread = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    params.allow_requantize = "--requantize" in options
    status = api.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params))
    if status:
        progress.send({"op": "failed", "message": progress.cause or "llama.cpp gave no reason"})
    else:
        sizes = {"before": progress.sizes.get("model"), "after": progress.sizes.get("quant")}
        progress.send({"op": "done", **sizes})
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
