"""kill -9 at random moments in every phase of every long verb; what is resumed must have the undisturbed bytes."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TRIES = 8
"""A phase of milliseconds may be over before the signal comes."""
DEMO = "--dataset demo --root ../demo --input-size 64 --limit 24".split()
LEARNING = "--arch demo --refiner pixel-classifier --working-size 48".split()
TEST = "--test-dataset demo --test-root ../demo --test-split train --test-limit 20".split()
DETECTOR = (
    "--arch fasterrcnn_small_cnn --backbone none --image-size 64 --batch-size 4 --epochs 3 --zoom 0 --device cpu"
).split()


@dataclass(frozen=True, slots=True)
class Job:
    """A verb, typed in a folder of its own.

    Attributes:
        words: of the command line.
        out: the folder that it writes.
        resume: what is added to continue it; nothing for verbs that start again.
        needs: a folder that another job made, copied first.
    """

    words: tuple[str, ...]
    out: str
    resume: tuple[str, ...] = ("--resume",)
    needs: str | None = None


JOBS = {
    "localize": Job(
        ("localize", *DEMO, *LEARNING, *"--checkpoint-every 8 --save-maps --overlays 4 --out run".split()), "run"
    ),
    "evaluate": Job(("evaluate", "run"), "run", (), "run"),
    "report": Job(("report", "run"), "run", (), "run"),
    "export": Job(("export", "run", "--format", "coco"), "run", (), "run"),
    "train-classifier": Job(
        ("train-classifier", *DEMO, *"--arch demo --epochs 6 --device cpu --out net".split()), "net"
    ),
    "train-detector": Job(
        ("train-detector", "--boxes-from", "run", *DETECTOR, *TEST, "--out", "detector"), "detector", needs="run"
    ),
    "self-train": Job(
        ("self-train", "--boxes-from", "run", *DETECTOR, *"--rounds 1 --folds 2 --out rounds".split()),
        "rounds",
        needs="run",
    ),
}
PHASES = (
    ("maps", "localize", "wsloc.runs.learn_over_set:store_maps"),
    ("learning", "localize", "wsloc.runs.learn_over_set:fit_stored"),
    ("cut", "localize", "wsloc.main_job:execute"),
    ("joining", "localize", "wsloc.runs.run_folder:RunFolder.join"),
    ("metrics", "localize", "wsloc.main_job:write_summary"),
    ("completion", "localize", "wsloc.main_job:finish"),
    ("evaluate", "evaluate", "wsloc.cli.evaluate:run"),
    ("report", "report", "wsloc.cli.report:run"),
    ("export", "export", "wsloc.cli.export:run"),
    ("classifier: features", "train-classifier", "wsloc.fitting.fit:compute_features"),
    ("classifier: training", "train-classifier", "wsloc.fitting.fit:train"),
    ("detector: training", "train-detector", "wsloc.detection.learner:train"),
    ("detector: test", "train-detector", "wsloc.detection.train_detector:judge_detector"),
    ("self-training", "self-train", "wsloc.detection.self_train:self_train"),
)
"""Name, verb, and the function during which is killed."""


def drill(folder: Path, count: int, seed: int, jobs: Sequence[str] = tuple(JOBS)) -> tuple[str, list[str]]:
    """Kill ``count`` processes, spread over the phases of some verbs: a table, and what went wrong."""
    os.environ["OMP_NUM_THREADS"] = "1"
    phases = [phase for phase in PHASES if phase[1] in jobs]
    durations = undisturbed(folder, jobs)
    draw, kills, faults = random.Random(seed), Counter[str](), list[str]()
    for number in range(count):
        name, verb, target = phases[number % len(phases)]
        job, place = JOBS[verb], folder / f"killed-{number}"
        for attempt in range(_TRIES):
            prepare(folder, place, job)
            # Shorter at each attempt: the machine may be less busy than it was.
            moment = draw.uniform(0, durations[target]) * 0.8**attempt
            if in_child(place, job.words, {target: moment}) == -signal.SIGKILL:
                kills[name] += 1
                faults += [f"{name}, {moment:.3f} s: {fault}" for fault in gone_on(folder, place, job)]
                break
        shutil.rmtree(place)
    lines = [
        f"{kills.total()} processes killed, {len(faults)} differences.",
        "",
        "| phase | command | seconds of the phase | kills |",
        "|---|---|---:|---:|",
        *(f"| {name} | {verb} | {durations[target]:.2f} | {kills[name]} |" for name, verb, target in phases),
    ]
    return "\n".join(lines), faults


def undisturbed(folder: Path, jobs: Sequence[str]) -> dict[str, float]:
    """Run each job to its end in ``folder/NAME``; the seconds that each phase took."""
    durations: dict[str, float] = {}
    for name in jobs:
        place = folder / name
        prepare(folder, place, JOBS[name])
        targets: dict[str, float | None] = {target: None for _, verb, target in PHASES if verb == name}
        status = in_child(place, JOBS[name].words, targets)
        if status != 0:
            raise SystemExit(f"{name} ended with status {status}:\n{(place / 'log.txt').read_text()[-2000:]}")
        durations |= json.loads((place / "seconds.json").read_text())
    return durations


def prepare(folder: Path, place: Path, job: Job) -> None:
    """A fresh folder for a job, with what it needs."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if job.needs is not None:
        shutil.copytree(folder / "localize" / job.needs, place / job.needs)


def gone_on(folder: Path, place: Path, job: Job) -> list[str]:
    """Continue a killed job; how its folder differs from that of the undisturbed one."""
    status = in_child(place, (*job.words, *job.resume))
    said = (place / "log.txt").read_text().splitlines()[-1:]
    if status != 0 and not (status == 2 and "is complete" in "".join(said)):
        return [f"ended with status {status}: {said}"]
    ours, theirs = files_of(place / job.out), files_of(folder / job.words[0] / job.out)
    return [f"{name} differs" for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]


def files_of(out: Path) -> dict[str, bytes]:
    """What the folder of a run holds, but for the manifest and the log, which tell the time, and the lock."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "log.txt", ".lock")
    }


def in_child(place: Path, words: Sequence[str], moments: Mapping[str, float | None] | None = None) -> int:
    """Run a command line in a process of its own, forked so that nothing must be imported anew.

    To be called in a process that has computed nothing yet: threads of its libraries would not be in the fork.

    Args:
        place: folder in which it is typed.
        words: of the command line.
        moments: by function, seconds from its begin until the process is killed; None to measure how long it takes.

    Returns:
        Its exit status, or the negative number of the signal that ended it.
    """
    importlib.import_module("wsloc.main_job")
    importlib.import_module("wsloc.detection.self_train")
    child = multiprocessing.get_context("fork").Process(target=_typed, args=(place, tuple(words), moments or {}))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _typed(place: Path, words: tuple[str, ...], moments: Mapping[str, float | None]) -> None:
    from wsloc.cli.main import main

    os.chdir(place)
    seconds: dict[str, float] = {}
    with Path("log.txt").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        for target, moment in moments.items():
            _watch(target, moment, seconds)
        status = main(words)
    Path("seconds.json").write_text(json.dumps(seconds))
    sys.exit(status)


def _watch(target: str, moment: float | None, seconds: dict[str, float]) -> None:
    """Replace a function by one that measures it, or that kills the process a while after it begins."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    own: Callable[..., Any] = getattr(owner, name)

    def watched(*given: Any, **named: Any) -> Any:
        begun = time.monotonic()
        if moment is not None:
            timer = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        result = own(*given, **named)
        return measured(result, begun) if inspect.isgenerator(result) else noted(result, begun)

    def noted(result: Any, begun: float) -> Any:
        seconds[target] = seconds.get(target, 0.0) + time.monotonic() - begun
        return result

    def measured(stream: Iterator[Any], begun: float) -> Iterator[Any]:
        yield from stream
        noted(None, begun)

    setattr(owner, name, watched)
