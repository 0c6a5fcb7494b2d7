"""What a process took: seconds on the clock and of the processor, and the peak of its memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process that ended.

    Attributes:
        clock: seconds from its start to its end.
        processor: seconds that its threads worked, which a busy machine does not change much.
        peak_bytes: of its memory.
    """

    clock: float
    processor: float
    peak_bytes: int


def measure_process(command: Sequence[str], folder: Path | None = None, statuses: Sequence[int] = (0,)) -> Usage:
    """Run a command, silently, to its end.

    Args:
        command: its words.
        folder: to run it in; None for that of this process.
        statuses: that it may end with.

    Raises:
        RuntimeError: if it ends with another status.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if (code := os.waitstatus_to_exitcode(status)) not in statuses:
        raise RuntimeError(f"{' '.join(command)} ended with status {code}")
    return Usage(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
