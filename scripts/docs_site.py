"""What mkdocs is told about links: README.md is the first page, and what is not a page of the site is on GitHub.

The pages keep the links that GitHub needs; mkdocs.yml names this file as a hook.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages outside of the folder of the docs, and what they are called in the site."""
_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages outside of the folder."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        file = os.path.join(os.path.dirname(config.config_file_path), path)  # noqa: PTH118, PTH120
        files.append(File.generated(config, page, abs_src_path=file))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page with links that are right in the site."""
    source = next((path for path, name in PAGES.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")
    pages = {file.src_uri for file in files}
    return with_site_links(markdown, source, page.file.src_uri, pages, config.repo_url.rstrip("/"))


def with_site_links(markdown: str, source: str, page: str, pages: set[str], repository: str) -> str:
    """The text with each relative link leading to a page of the site, or to the repository.

    Args:
        markdown: of the page.
        source: its path in the repository.
        page: its path in the site.
        pages: paths of all files of the site.
        repository: address of the repository.
    """

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        inside = PAGES.get(target, target.removeprefix("docs/"))
        if inside in pages and (target in PAGES or target.startswith("docs/")):
            return match[1] + posixpath.relpath(inside, posixpath.dirname(page) or ".")
        return f"{match[1]}{repository}/blob/main/{target}"

    parts = _CODE.split(markdown)
    # Every second part is code, in which nothing is a link.
    return "".join(part if index % 2 else _LINK.sub(link, part) for index, part in enumerate(parts))
