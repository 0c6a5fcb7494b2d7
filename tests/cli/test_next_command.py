"""The command that ``wsloc train-classifier`` names in the end."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import tyro

from wsloc.cli.options import parse_localize
from wsloc.cli.train_classifier import TrainClassifierConfig, next_command


@pytest.mark.parametrize(
    ("flags", "command"),
    [
        ("voc --year 2007 --root R --test-split test", "voc --root R --year 2007 --split test"),
        ("voc --year 2007 --root R --limit 9 --download", "voc --root R --year 2007 --split train --limit 9"),
        ("voc --split val --classes cat dog", "voc --split val --classes cat dog"),
        ("voc --ids train.txt --limit 9 --test-split val", "voc --split val"),
        ("coco --annotations my.json", "coco --split train2017 --annotations my.json"),
        ("wsol --root R", "wsol --root R --split train"),
        ("folder --root R --labels l.csv --ids i.txt", "folder --root R --labels l.csv --ids i.txt"),
    ],
)
@pytest.mark.parametrize("arch", ["timm:resnet18", "mynet:make"])
def test_the_next_command_names_the_same_images(flags: str, command: str, arch: str) -> None:
    words = ["--dataset", *flags.split(), "--arch", arch]
    config = tyro.cli(TrainClassifierConfig, args=words, config=(tyro.conf.OmitArgPrefixes,))
    said = shlex.split(next_command(config, Path("my net.safetensors")))
    own = ["--arch", arch] if arch == "mynet:make" else []
    assert said == ["wsloc", "localize", "--dataset", *command.split(), "--checkpoint", "my net.safetensors", *own]
    parse_localize(said[2:])
