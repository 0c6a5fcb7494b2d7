"""Fuzzing guided by coverage: whatever a file holds, its reader raises nothing but errors that have a sentence.

    pip install atheris
    python scripts/fuzz_readers.py voc --seconds 600

A finding is an input that raises another error; it is kept and the search goes on. An input that takes ten seconds or
two gibibytes ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import atheris
from torch._weights_only_unpickler import Unpickler

with atheris.instrument_imports(include=["wsloc", "yaml"]):
    from fuzz_targets import TARGETS, Target

    from wsloc.errors import ItemError, UserError

atheris.instrument_func(Unpickler.load)
TIMEOUT_SECONDS = 10
MAX_MIB = 2048


def _try(target: Target, findings: Path, content: bytes) -> None:
    """Have all readers of a target read a content; what they should not raise is printed once for each place."""
    content = target.mended(content)
    for file in target.files:
        file.write_bytes(content)
    for read in target.readers:
        try:
            read()
        except (UserError, ItemError):
            continue
        except BaseException as error:  # panics of Rust are no Exception
            place = traceback.extract_tb(error.__traceback__)[-1]
            file = findings / f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
            if not file.exists():
                file.write_bytes(content)
                traceback.print_exc()


def _fuzz(target: Target, folder: Path, findings: Path, seconds: int) -> None:
    """Fuzz until the time is over; the library ends the process then."""
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for index, seed in enumerate(target.seeds):
        (corpus / str(index)).write_bytes(seed)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode(errors="surrogatepass")) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    logging.disable()
    warnings.simplefilter("ignore")
    options = {
        "max_total_time": seconds, "timeout": TIMEOUT_SECONDS, "rss_limit_mb": MAX_MIB, "dict": words, "max_len": 8192,
        "len_control": 0, "artifact_prefix": f"{findings}/", "print_final_stats": 1,
    }  # fmt: skip
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]
    atheris.Setup(arguments, lambda content: _try(target, findings, content))
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz a reader of wsloc.")
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for the inputs that fail")
    asked = parser.parse_args()
    findings = asked.findings.resolve() / asked.target
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        files = Path(name, "files")
        files.mkdir()
        target = TARGETS[asked.target](files)
        process = multiprocessing.get_context("fork").Process(
            target=_fuzz, args=(target, Path(name), findings, asked.seconds)
        )
        process.start()
        process.join()
    found = sorted(path.name for path in findings.iterdir())
    print(f"{asked.target}: {len(found)} findings {found}, the fuzzer's exit status is {process.exitcode}")
    return 1 if found or process.exitcode else 0


if __name__ == "__main__":
    sys.exit(main())
