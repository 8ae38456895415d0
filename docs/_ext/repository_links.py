"""Links of pages to files of the repository: to the page that includes the file, or, where there is none, its name alone.

Pictures stay: Sphinx copies them.

The pages are also read in the repository, where such links work.
"""

import re
from functools import partial

from sphinx.application import Sphinx

PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "performance.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+([^)#]+)(#[^)]*)?\)")
GALLERY = re.compile(r"examples/(\w+)\.py")


def _of_the_site(page: str, link: re.Match[str]) -> str:
    text, path = link[1], link[2].rstrip("/")
    if path in PAGES and PAGES[path] != f"{page}.md":
        return f"[{text}]({PAGES[path]})"
    if example := GALLERY.fullmatch(path):
        return f"[{text}](gallery/{example[1]}.rst)"
    return text if text.startswith("`") else f"`{text}`"


def _translate(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = LINK.sub(partial(_of_the_site, page), source[0])


def _translate_included(app: Sphinx, path: object, parent: str, source: list[str]) -> None:
    # The files at the root link downwards, to docs/ and its neighbours.
    text = re.sub(r"\]\(docs/", "](", source[0])
    text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!http|#)([\w./-]+)\)", lambda link: _of_root(link, app), text)
    source[0] = text


def _of_root(link: re.Match[str], app: Sphinx) -> str:
    text, path = link[1], link[2].rstrip("/")
    if path in PAGES:
        return f"[{text}]({PAGES[path]})"
    if path.removesuffix(".md") in app.env.found_docs:
        return link[0]
    return text if text.startswith("`") else f"`{text}`"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _translate)
    app.connect("include-read", _translate_included)
    return {"parallel_read_safe": True}
