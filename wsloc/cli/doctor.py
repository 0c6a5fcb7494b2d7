"""``wsloc doctor``: what the main job needs of this machine, and what to do about what is missing."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from wsloc import __version__
from wsloc.cli.flags import with_flags
from wsloc.doctor import diagnose
from wsloc.setting_checks import optional


@dataclass(frozen=True)
class DoctorConfig:
    """Check that this machine has what the main job needs, and say what to do about the rest; nothing is downloaded."""

    arch: str = "resnet50"
    """network whose weights are looked for"""
    root: Annotated[Path | None, optional("DIR", "data")] = None
    """folder in which VOC's VOCdevkit is looked for"""


def run(config: DoctorConfig, _command: Sequence[str]) -> int:
    """Print a line for each finding, and one for each remedy. Returns 1 if the main job cannot run, else 0."""
    print(f"wsloc {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    broken = 0
    for finding in diagnose(config.arch, config.root):
        broken += finding.state == "broken"
        print(f"  {finding.state:<8}{finding.text}")
        if finding.remedy:
            print(f"  {'':<10}{with_flags(finding.remedy)}")
    print(f"{broken} to repair." if broken else "The main job can run.")
    return 1 if broken else 0
