"""What pages fold away with HTML's <details>, which a repository shows folded as well, becomes a dropdown of the theme."""

import re

from sphinx.application import Sphinx

FOLD = re.compile(r"^<details>\n<summary>(.+?)</summary>\n(.*?)^</details>$", re.DOTALL | re.MULTILINE)


def _fold(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = FOLD.sub(r"::::{dropdown} \1\n\2::::", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _fold)
    return {"parallel_read_safe": True}
