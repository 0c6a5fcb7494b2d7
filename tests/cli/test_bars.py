"""The remaining time that a progress bar tells."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import pytest
from tqdm import tqdm

from wsloc.cli import bars


def test_the_wait_for_the_first_items_tells_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty images: the first after 49 seconds, then two each second; after eleven, 49 are left: 24 seconds."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    made: list[Any] = []

    class Drawn(bars._Bar):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named, file=io.StringIO(), mininterval=0, miniters=1)
            self._time = lambda: now[0]
            self.start_t = self.last_print_t = 0.0
            made.append(self)

    monkeypatch.setattr(bars, "_Bar", Drawn)
    lines = []
    for count, _ in enumerate(bars.kept_bar(range(60), "boxes", "image"), start=0):
        if count:
            lines.append(str(made[0]))
        now[0] += 49 if count == 0 else 0.5
    assert "1/60 [00:49<?]" in lines[0]
    assert "11/60 [00:54<00:24," in lines[10]
    assert issubclass(bars._Bar, tqdm)


def test_in_a_log_a_bar_is_drawn_every_thirty_seconds() -> None:
    """tqdm reads its settings when it is first imported, which must not be too early."""
    code = (
        "from wsloc.cli.main import run_verb; run_verb('localize', ['--limit', '0']); "
        "import tqdm; print(tqdm.tqdm(range(3)).mininterval)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TQDM_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout == "30.0\n"
