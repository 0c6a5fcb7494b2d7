"""What scripts/fuzz_readers.py starts from is sound, so that it gets farther than to what is refused at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wsloc.errors import UserError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from fuzz_targets import TARGETS


def _is_read(read: Callable[[], object]) -> bool:
    try:
        read()
    except UserError:
        return False
    return True


@pytest.mark.parametrize("name", TARGETS)
def test_each_seed_is_read_and_each_reader_reads_one(name: str, tmp_path: Path) -> None:
    target = TARGETS[name](tmp_path)
    read = []
    for seed in target.seeds:
        assert target.mended(seed) == seed
        for file in target.files:
            file.write_bytes(seed)
        read.append([_is_read(reader) for reader in target.readers])
    assert all(map(any, read))
    assert all(map(any, zip(*read, strict=True)))


def test_a_changed_header_of_safetensors_has_its_length_again(tmp_path: Path) -> None:
    target = TARGETS["weights"](tmp_path)
    (bare,) = (seed for seed in target.seeds if seed[8:10] == b'{"' and b"__metadata__" not in seed)
    changed = bare.replace(b'"weight"', b'"weights_of_another_name"')
    target.files[0].write_bytes(changed)
    assert not _is_read(target.readers[0])
    target.files[0].write_bytes(target.mended(changed))
    assert _is_read(target.readers[0])
