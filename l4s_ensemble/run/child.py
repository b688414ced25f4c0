"""The process of a stage: reads a request from standard input and writes a report."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from l4s_ensemble.config import build
from l4s_ensemble.errors import L4SError
from l4s_ensemble.run.files import explain, module_of_system, no_room, write_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.stage import Stage, StageContext

resource = module_of_system("resource")

DISK_FULL = 74
"""Exit status where there is no room for a report either."""

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
        return _run(stage, context, report)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        try:
            return _report(error, stage.name, report)
        except OSError as another:  # there is no room for the report either
            if no_room(another):
                return DISK_FULL
            raise


def _run(stage: Stage, context: StageContext, report: Path) -> int:
    summary = stage.function()(context)
    write_json(report, {"summary": summary, "digest": summary.get("digest"), **usage()})
    return 0


def _report(error: Exception, name: str, report: Path) -> int:
    """Report why a stage failed: errors for the user in the report, others in the log."""
    if no_room(error):
        return DISK_FULL
    known = explain(error) if isinstance(error, OSError) else error
    if isinstance(known, L4SError):
        write_json(report, {"error": _fields(known)})
    else:
        # Not a user's mistake but ours: the traceback is what helps to mend it.
        text = "".join(traceback.format_exception(error))
        logging.getLogger("l4s_ensemble").error("%s\n%s", name, text)
    return 1


def _stop_when_alone() -> None:
    """Stop this process when its parent has ended.

    Else a stage would work on in a folder that the next command takes for its own.
    """
    sys.stdin.read()  # until the other end closes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(130)


def _fields(error: L4SError) -> dict[str, Any]:
    values = {k: getattr(error, k) for k in ("what", "where", "found", "allowed", "fix")}
    plain = {k: None if v is None else str(v) for k, v in values.items()}
    return {"kind": type(error).__name__, **plain}


def usage() -> dict[str, float]:
    """Peak memory of this process and of its largest worker, MiB, and their processor seconds.

    On Windows only the processor seconds of this process are known.
    """
    if resource is None:
        return {"cpu_seconds": round(time.process_time(), 2)}
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
