"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights; without it the test is skipped, in CI it fails."""
    value = os.environ.get("WSLOC_TEST_DATA")
    if not value:
        if os.environ.get("CI"):
            pytest.fail("WSLOC_TEST_DATA is not set, but CI must run on real photographs and weights")
        pytest.skip("WSLOC_TEST_DATA does not name a folder with VOCdevkit and weights")
    return Path(value).resolve()
