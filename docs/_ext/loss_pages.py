"""A page of the reference for each loss of the registry: its curves, the class and its functions.

The pages are written before Sphinx looks for sources, into docs/api/losses, which git does not keep.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from loss_curves import draw
from matplotlib import pyplot
from sphinx.application import Sphinx

from cylosses import LOSSES, Loss

PAGE = """# {name}: {title}

```{{image}} /api/losses/{name}.svg
:alt: Value, derivative and IRLS weight of {title} against the error
:class: loss-curves
```

## {cls}

```{{eval-rst}}
.. currentmodule:: cylosses

.. autoclass:: {cls}
```

Its methods, ``grad``, ``value_and_grad``, ``grad_and_hess`` and ``streaming`` among them, are those of every [loss](../losses.md).

## {name}_loss

```{{eval-rst}}
.. autofunction:: {name}_loss
```

## {name}_loss_backward

```{{eval-rst}}
.. autofunction:: {name}_loss_backward
```
"""


def title_of(cls: type[Loss]) -> str:
    """Return how the docstring calls a loss, without what it says of it."""
    heading = (cls.__doc__ or "").strip().splitlines()[0]
    return heading.split(":")[0].split(",")[0].rstrip(".")


def write_if_new(path: Path, text: str) -> None:
    """Leave a page as it is if nothing changed, so that Sphinx does not read it again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "api" / "losses"
    folder.mkdir(exist_ok=True)
    for name, cls in LOSSES.items():
        write_if_new(folder / f"{name}.md", PAGE.format(name=name, cls=cls.__name__, title=title_of(cls)))
        figure = draw(cls)
        figure.savefig(folder / f"{name}.svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
