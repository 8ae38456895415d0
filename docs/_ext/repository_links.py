"""Links of pages to files of the repository: to the page that includes the file, or, where there is none, its name alone.

Pictures stay: Sphinx copies them.

The pages are also read in the repository, where such links work.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "performance.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([\w./-]+)(#[\w-]*)?\)")
EXAMPLE = re.compile(r"examples/(\w+)\.py")


class _Links:
    """The links of one file of the repository, as they are in a page of docs/."""

    def __init__(self, root: Path, folder: Path, page: Path) -> None:
        self.root, self.folder, self.page = root, folder, page

    def translated(self, text: str) -> str:
        return LINK.sub(self._of_the_site, text)

    def _of_the_site(self, link: re.Match[str]) -> str:
        text, path, place = link[1], (self.folder / link[2]).resolve(), link[3] or ""
        docs = self.root / "docs"
        if path.is_relative_to(docs):
            target = path
        else:
            name = path.relative_to(self.root).as_posix()
            if example := EXAMPLE.fullmatch(name):
                target = docs / "gallery" / f"{example[1]}.rst"
            elif name in PAGES and PAGES[name] != self.page.name:
                target = docs / PAGES[name]
            else:
                return text if text.startswith("`") else f"`{text}`"
        return f"[{text}]({os.path.relpath(target, self.page.parent)}{place})"


def _translate(app: Sphinx, page: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(page)).resolve()
    if path.suffix == ".md":
        source[0] = _Links(Path(app.srcdir).parent, path.parent, path).translated(source[0])


def _translate_included(app: Sphinx, path: Path, page: str, source: list[str]) -> None:
    here = Path(app.srcdir)
    source[0] = _Links(here.parent, (here / path).resolve().parent, Path(app.env.doc2path(page)).resolve()).translated(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _translate)
    app.connect("include-read", _translate_included)
    return {"parallel_read_safe": True}
