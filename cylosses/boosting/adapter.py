"""What objectives and metrics share: a loss with its settings, and what these make of the targets of a call."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np

from cylosses import default_floating_point_mode
from cylosses.boosting.batch import Batch
from cylosses.boosting.scale import robust_scale
from cylosses.boosting.terms import Terms, loss_of
from cylosses.losses import LOSSES
from cylosses.losses.base import LEAST

# Datasets whose scales are remembered: training and evaluation sets take turns.
_REMEMBERED = 4


class Adapter:
    """What objectives and metrics share: a loss with a parameter and a scale, each a number or ``"auto"``."""

    __slots__ = ("_fixed", "_parameter", "_remembered", "_scale", "loss")

    no_jit: ClassVar[bool] = True
    """Tells CatBoost to leave the methods as they are."""
    _own: ClassVar[str]  # the attribute and keyword that only this kind has
    loss: str
    """Name of the loss in `LOSSES`."""
    _scale: float | Literal["auto"]
    _parameter: float | Literal["auto"] | None
    _fixed: Terms | None
    _remembered: tuple[tuple[Batch, tuple[Terms, ...]], ...]

    def __init__(self, loss: str, scale: float | Literal["auto"], parameter: dict[str, Any]) -> None:
        asked: object = loss
        if not isinstance(asked, str) or asked not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}")
        cls = LOSSES[loss]
        own = cls.parameter_name
        for name in parameter:
            if name != own:
                raise TypeError(f"{loss} has {'no parameter' if own is None else f'the parameter {own!r}'}, got {name!r}")
        given = None
        if own is not None:
            given = parameter.get(own, "auto" if cls.parameter_is_length else cls.default)
            if not isinstance(given, str):
                given = getattr(loss_of(loss, "sum", given), own)  # checked by the loss
                if not isinstance(given, float):
                    raise TypeError(f"{own} must be one real number or 'auto', got {given!r}: each output has the same loss")
            elif given != "auto":
                raise ValueError(f"{own} must be a number or 'auto', got {given!r}")
            elif not cls.parameter_is_length:
                raise ValueError(f"{own} has no unit that targets could set: it must be a number, got 'auto'")
        put = object.__setattr__
        put(self, "loss", loss)
        put(self, "_scale", checked_scale(scale))
        put(self, "_parameter", given)
        put(self, "_remembered", ())
        put(self, "_fixed", None if self._scale == "auto" else self._terms(self._scale))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    @property
    def __name__(self) -> str:
        """Name of the loss, which XGBoost prints."""
        return self.loss

    @property
    def scale(self) -> float | Literal["auto"]:
        """Scale of the targets, in their units, or ``"auto"``."""
        return self._scale

    @property
    def parameter(self) -> float | Literal["auto"] | None:
        """Parameter of the loss, or ``"auto"``; None for a loss without."""
        return self._parameter

    def _settings(self) -> dict[str, Any]:
        parameter = {} if self._parameter is None else {str(LOSSES[self.loss].parameter_name): self._parameter}
        return {"loss": self.loss, self._own: getattr(self, self._own), "scale": self._scale} | parameter

    @default_floating_point_mode()
    def __repr__(self) -> str:
        settings = self._settings()
        first = settings.pop("loss")
        texts = (f"{name}={'float(' + repr('inf') + ')' if value == np.inf else repr(value)}" for name, value in settings.items())
        return f"{type(self).__name__}({', '.join((repr(first), *texts))})"

    @default_floating_point_mode()
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._settings() == other._settings()

    @default_floating_point_mode()
    def __hash__(self) -> int:
        return hash((type(self), *self._settings().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self._settings())

    # Copies of what cannot change are the same, as those of strings are. CatBoost's get_params copies its parameters, and
    # sklearn.base.clone insists on getting those that it set.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _parameter_at(self, scale: float) -> float | None:
        """Return the parameter as a number."""
        if self._parameter != "auto":
            return self._parameter
        fraction = LOSSES[self.loss].boosting_default
        assert fraction is not None  # a parameter that is no length is never "auto"
        return max(fraction * scale, LEAST)  # 0 is no length

    def _terms(self, scale: float) -> Terms:
        return Terms.of(self.loss, self._parameter_at(scale), scale)

    def _columns(self, batch: Batch) -> Iterator[tuple[Batch, Terms]]:
        """Yield the targets of a dataset one by one, with their terms, from memory if they were seen before."""
        columns = tuple(batch.columns())
        if self._fixed is not None:
            yield from ((column, self._fixed) for column in columns)
            return
        remembered = self._remembered
        terms = next((known for seen, known in remembered if batch.same(seen)), None)
        if terms is None:
            terms = tuple(self._terms(robust_scale(column.target, column.weight)) for column in columns)
            # A copy, since the caller's arrays may change. One assignment, so that threads see all of it or nothing.
            target, weight = batch.target.copy(), None if batch.weight is None else batch.weight.copy()
            latest = ((Batch(target, target, weight), terms), *remembered[: _REMEMBERED - 1])
            object.__setattr__(self, "_remembered", latest)
        yield from zip(columns, terms, strict=True)

    def _terms_of_block(self) -> Terms:
        """Return the terms for a part of a dataset."""
        if self._fixed is None:
            raise ValueError(
                "scale='auto' needs all targets at once, but CatBoost passes them in blocks: "
                f"give {type(self).__name__}(...).for_targets(y, sample_weight) to CatBoost, or scale=<number>"
            )
        return self._fixed

    @default_floating_point_mode()
    def for_targets(self, targets: Any, sample_weight: Any = None) -> Self:
        """Return the same with numbers in place of ``"auto"``, worked out from targets. CatBoost needs them.

        Parameters
        ----------
        targets : array_like of shape (n,)
            The targets of the training.
        sample_weight : array_like of shape (n,), optional
            Their weights.

        Returns
        -------
        Objective or Metric
            Of the class of this one; this one itself is not changed.

        Examples
        --------
        >>> from cylosses.boosting import Metric
        >>> Metric("huber", "catboost").for_targets([1.0, 2.0, 3.0, 4.0, 1000.0])
        Metric('huber', booster='catboost', scale=1.482602218505602, delta=0.2965204437011204)
        """
        settings = self._settings()
        scale = settings["scale"] = robust_scale(targets, sample_weight) if self._scale == "auto" else self._scale
        if self._parameter is not None:
            settings[str(LOSSES[self.loss].parameter_name)] = self._parameter_at(scale)
        return type(self)(**settings)


def checked_scale(scale: Any) -> float | Literal["auto"]:
    if isinstance(scale, str) and scale == "auto":
        return "auto"
    try:
        number = float("nan") if isinstance(scale, str | bool) else float(scale)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < np.inf:
        raise ValueError(f"scale must be a positive number or 'auto', got {scale!r}")
    return number


def rebuild(cls: type[Adapter], settings: dict[str, Any]) -> Any:
    return cls(**settings)
