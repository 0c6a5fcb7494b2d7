"""The docs as a site: every link leads somewhere there, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from docs_site import with_site_links

REPOSITORY = Path(__file__).parents[1]
GITHUB = "https://github.com/wsloc/wsloc"
FILES = {"index.md", "changelog.md", "formats.md", "images/report.png"}


@pytest.mark.parametrize(
    ("source", "page", "written", "shown"),
    [
        ("README.md", "index.md", "[a](docs/formats.md#exports)", "[a](formats.md#exports)"),
        ("README.md", "index.md", "![a](docs/images/report.png)", "![a](images/report.png)"),
        ("README.md", "index.md", "[a](LICENSE)", f"[a]({GITHUB}/blob/main/LICENSE)"),
        ("docs/formats.md", "formats.md", "[a](../README.md) [b](#c)", "[a](index.md) [b](#c)"),
        ("docs/formats.md", "formats.md", "[a](../wsloc/boxes.py)", f"[a]({GITHUB}/blob/main/wsloc/boxes.py)"),
        ("docs/formats.md", "formats.md", "[a](https://x.y/z)", "[a](https://x.y/z)"),
        ("docs/formats.md", "formats.md", "`x[0](y)` and\n```\nx[0](y)\n```\n", "`x[0](y)` and\n```\nx[0](y)\n```\n"),
        # What is called like a page, but lies elsewhere.
        ("README.md", "index.md", "[a](formats.md)", f"[a]({GITHUB}/blob/main/formats.md)"),
    ],
)
def test_links_lead_to_pages_of_the_site_or_to_the_repository(source: str, page: str, written: str, shown: str) -> None:
    assert with_site_links(written, source, page, FILES, GITHUB) == shown


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="formats/#data-sets"' in start
    assert 'src="images/report.png"' in start
    assert (tmp_path / "site" / "tutorial" / "index.html").is_file()
    assert not (tmp_path / "site" / "voc12-animals-920").exists()
