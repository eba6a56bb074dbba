"""Makes pages of the site out of files that lie beside docs/, and links between files links between pages.

Used by mkdocs (`hooks` in mkdocs.yml). The README is the first page. A link to a file of code leads to a page
with the code; a link to a folder is only its text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "records/LOG.md",
    "records/RULES.md",
    "records/PROTOCOL.md",
)
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]*)(#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml"}


def page_of(path: str) -> str:
    """Names the page of a file of the project, `docs/choosing.md` or `examples/plain.py` for example."""
    if path == "README.md":
        return "index.md"
    path = path.removeprefix("docs/")
    return path if path.endswith((".md", ".png")) else f"{path}.md"


def file_of(page: str) -> str:
    """Names the file that a page is made of."""
    if page == "index.md":
        return "README.md"
    return page if page in BESIDE else f"docs/{page}"


def linked_code() -> set[str]:
    """Finds the files of code that pages link to."""
    found = set()
    for source in [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in BESIDE)]:
        for link in LINK.finditer(source.read_text(encoding="utf-8")):
            target = (source.parent / link[2]).resolve()
            if link[2] and target.suffix in LANGUAGES and target.is_file() and target.is_relative_to(ROOT):
                found.add(target.relative_to(ROOT).as_posix())
    return found


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of files beside docs/."""
    for name in BESIDE:
        files.append(File.generated(config, page_of(name), content=(ROOT / name).read_text(encoding="utf-8")))
    for name in sorted(linked_code()):
        path = ROOT / name
        text = f"# {name}\n\n```{LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8')}```\n"
        page = File.generated(config, page_of(name), content=text)
        page.inclusion = page.inclusion.__class__.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between files into links between pages."""
    here = page.file.src_uri

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = os.path.normpath(os.path.join(os.path.dirname(file_of(here)), target))  # noqa: PTH118, PTH120
        if (ROOT / path).is_dir():
            return text
        return f"[{text}]({os.path.relpath(page_of(path), os.path.dirname(here) or '.')}{anchor})"  # noqa: PTH120

    return LINK.sub(turned, markdown)
