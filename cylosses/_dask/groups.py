"""One score for each group of a Dask DataFrame: exact totals by key of each partition, merged along a tree.

Partitions and their totals are pandas frames; a frame of totals has the keys as its index and a column of totals for each loss.
Missing keys are keys like others: no row is left out unseen.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from cylosses import Loss, StreamingLoss
from cylosses._dask.operands import stand_in, with_reduction

_COUNT = "count"


def score(frame: Any, columns: dict[str, Any], by: Any, loss: Any, n_threads: int | None, split_every: int | None) -> Any:
    """Return the lazy frame of the scores: a row for each group, in the order of the keys."""
    losses = _by_column(loss)
    if not (hasattr(frame, "map_partitions") and hasattr(frame, "reduction") and hasattr(frame, "columns")):
        raise TypeError(f"frame must be a Dask DataFrame, got {type(frame).__name__}")
    if len(set(frame.columns)) < len(frame.columns):
        raise ValueError("frame has several columns of one name, of which none can be told from the others")
    keys = list(by) if isinstance(by, list | tuple) else [by]
    if not keys:
        raise ValueError("by must name at least one column")
    for name, column in [*columns.items(), *(("by", key) for key in keys)]:
        if column is not None and column not in frame.columns:
            raise ValueError(f"{name}={column!r} is no column of the frame: it has {', '.join(map(repr, frame.columns))}")
    given = {name: column for name, column in columns.items() if column is not None}
    dtypes = {name: _dtype(frame._meta, given, item, n_threads) for name, item in losses.items()}
    chunk = partial(_totals, columns=given, keys=keys, losses=losses, n_threads=n_threads)
    finish = partial(_scores, dtypes=dtypes)
    return frame.reduction(
        chunk, combine=_merged, aggregate=finish, meta=finish(chunk(frame._meta)), token="score-by", split_every=split_every
    )


def _by_column(loss: Any) -> dict[Any, Loss]:
    """Return the losses that were asked for by their columns."""
    given = loss if isinstance(loss, Mapping) else list(loss) if isinstance(loss, list | tuple) else [loss]
    for item in given.values() if isinstance(given, Mapping) else given:
        if not isinstance(item, Loss):
            raise TypeError(f"loss must be a loss object such as SmoothL1Loss(), or a list or mapping of them, got {item!r}")
        item.check_one_parameter()  # an array of them has no place in a group
        item.streaming()  # refuses the reduction none
    named = dict(given) if isinstance(given, Mapping) else {item.name: item for item in given}
    if not named:
        raise ValueError("loss must hold at least one loss")
    if len(named) < len(given):
        raise ValueError("losses of one name need columns of their own: pass a mapping, {column: loss}")
    if _COUNT in named:
        raise ValueError(f"{_COUNT!r} is the column of the counts, so it cannot be that of a loss")
    return named


def _dtype(empty: Any, columns: dict[str, Any], loss: Loss, n_threads: int | None) -> np.dtype[Any]:
    """Return the dtype of a column of scores; TypeError for columns that are no numbers."""
    ones = {name: stand_in(empty[column].to_numpy()) for name, column in columns.items()}
    pair = ones.pop("predicted"), ones.pop("observed")
    return np.asarray(with_reduction(loss, "none")(*pair, **ones, n_threads=n_threads)).dtype


def _totals(part: Any, columns: dict[str, Any], keys: list[Any], losses: dict[Any, Loss], n_threads: int | None) -> Any:
    """Return the totals of the groups of one partition."""
    groups = part.groupby(keys, sort=True, dropna=False, observed=True)
    order, bounds, index = _ordered(groups)
    arrays = {name: part[column].to_numpy()[order] for name, column in columns.items()}
    totals: dict[Any, list[StreamingLoss]] = {name: [loss.streaming() for _ in index] for name, loss in losses.items()}
    for group, (start, stop) in enumerate(pairwise(bounds)):
        settings = {name: values[start:stop] for name, values in arrays.items()}
        pair = settings.pop("predicted"), settings.pop("observed")
        for of_loss in totals.values():
            of_loss[group].update(*pair, **settings, n_threads=n_threads)
    return _frame(part, index, {name: _objects(of_loss) for name, of_loss in totals.items()})


def _merged(parts: Any) -> Any:
    """Return the totals of keys that occur several times as one each."""
    groups = parts.groupby(level=list(range(parts.index.nlevels)), sort=True, dropna=False, observed=True)
    order, bounds, index = _ordered(groups)
    columns = {}
    for name in parts.columns:
        held = parts[name].to_numpy()[order]
        merged = []
        for start, stop in pairwise(bounds):
            total = held[start].loss.streaming()
            for other in held[start:stop]:
                total.merge(other)
            merged.append(total)
        columns[name] = _objects(merged)
    return _frame(parts, index, columns)


def _scores(parts: Any, dtypes: dict[Any, np.dtype[Any]]) -> Any:
    """Return the results of totals that may still have to be merged."""
    totals = _merged(parts)
    columns = {name: np.array([total.compute() for total in totals[name]], dtype) for name, dtype in dtypes.items()}
    first = next(iter(dtypes))
    columns[_COUNT] = np.array([total.count for total in totals[first]], np.int64)
    return _frame(parts, totals.index, columns)


def _ordered(groups: Any) -> tuple[Any, Any, Any]:
    """Return the rows in the order of their groups, where each group starts and the last one stops, and the keys in order."""
    index = groups.size().index
    numbers = groups.ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(len(index) + 1)), index


def _objects(items: list[StreamingLoss]) -> Any:
    column = np.empty(len(items), object)
    column[:] = items
    return column


def _frame(like: Any, index: Any, columns: dict[Any, Any]) -> Any:
    """Return a pandas frame; its class is that of the partitions, so that pandas need not be imported."""
    return type(like)(columns, index=index)
