"""Settings that say which machines do the work of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from wsloc.errors import UserError
from wsloc.setting_checks import optional, require, require_above


@dataclass(frozen=True)
class MachineSettings:
    """Which machines do the work; none of it changes a result."""

    shard: Annotated[str | None, optional("K/N", "all of it")] = None
    """do only the K-th of N shares of the images, such as 3/16; wsloc merge-runs joins the shares"""
    engine: Literal["local", "ray"] = "local"
    """local: this process; ray: Ray Data, on a cluster or on this machine (pip install 'wsloc[ray]')"""
    ray_address: Annotated[str | None, optional("ADDRESS", "RAY_ADDRESS, or a local Ray")] = None
    """ray: address of a running cluster, such as auto, or HOST:6379"""
    ray_timeout: float = 3600
    """ray: stop if no result comes for this many seconds (> 0)"""

    def __post_init__(self) -> None:
        if self.shard is not None:
            number, count = self.numbered_shard
            require(1 <= number <= count, f"`shard` must be from 1/{count} to {count}/{count}, not {self.shard}.")
        require(self.engine == "ray" or self.ray_address is None, "`ray_address` is only for `engine='ray'`.")
        require_above(self, "ray_timeout", 0)

    @property
    def numbered_shard(self) -> tuple[int, int]:
        """The number of the share, from 1, and how many there are.

        Raises:
            UserError: if it is not written as K/N.
        """
        found = re.fullmatch(r"(\d{1,6})/([1-9]\d{0,5})", self.shard or "1/1")
        if found is None:
            raise UserError(f"`shard` must be K/N, such as 3/16, not {self.shard!r}.")
        return int(found[1]), int(found[2])
