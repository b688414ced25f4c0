"""The process a stage runs in: reads its order from standard input, leaves a report."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from l4s_ensemble.config import build
from l4s_ensemble.errors import L4SError
from l4s_ensemble.run.files import explain, write_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.stage import Stage, StageContext

GRACE_S = 10.0
"""Time for a stage to stop in order once it is told to."""


def main() -> int:
    """Run one stage; 0 if it is whole."""
    order = json.loads(sys.stdin.readline())
    # Not SIGINT: a command in the background may have been told to ignore that.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    start_logging(order["log_level"])
    stage = Stage(**order["stage"])
    context = StageContext(
        run=Path(order["run"]),
        out=Path(order["out"]),
        config=build(order["config"]),
        params=stage.params,
        needs=tuple(stage.needs),
        jobs=order["jobs"],
        device=order["device"],
    )
    report = Path(order["report"])
    try:
        summary = stage.function()(context)
        told = {"summary": summary, "digest": summary.get("digest"), **usage()}
        write_json(report, told)
    except L4SError as error:
        write_json(report, {"error": _told(error)})
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        known = explain(error) if isinstance(error, OSError) else None
        if known is not None:
            write_json(report, {"error": _told(known)})
            return 1
        # Not a user's mistake but ours: the traceback is what helps to mend it.
        logging.getLogger("l4s_ensemble").error("%s\n%s", stage.name, traceback.format_exc())
        return 1
    return 0


def _stop_when_alone() -> None:
    """Stop this process once the one that waits for it is gone.

    Else a stage would work on in a folder that the next command takes for its own.
    """
    sys.stdin.read()  # until the other end closes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(130)


def _told(error: L4SError) -> dict[str, Any]:
    values = {k: getattr(error, k) for k in ("what", "where", "found", "allowed", "fix")}
    plain = {k: None if v is None else str(v) for k, v in values.items()}
    return {"kind": type(error).__name__, **plain}


def usage() -> dict[str, float]:
    """Peak memory of this process and of its largest worker, MiB, and their processor seconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    per_mib = 1024 if sys.platform != "darwin" else 1024**2
    return {
        "peak_memory_mb": round(own.ru_maxrss / per_mib, 1),
        "peak_worker_memory_mb": round(workers.ru_maxrss / per_mib, 1),
        "cpu_seconds": round(own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
