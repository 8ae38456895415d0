"""Losses as they are written on the command line: `huber`, or `huber:delta=2`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cylosses import LOSSES, Loss
from cylosses._cli.source import InputError, one_line

# Which losses each parameter belongs to.
OWNERS: dict[str, list[str]] = {}
for _name, _loss in LOSSES.items():
    if _loss.parameter_name is not None:
        OWNERS.setdefault(_loss.parameter_name, []).append(_name)


@dataclass(frozen=True)
class LossSpec:
    """A loss and its parameter."""

    name: str = "smooth_l1"
    parameters: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The loss as it is written on the command line."""
        return ":".join(
            [
                self.name,
                *(
                    f"{name}={value:g}" if value == float(f"{value:g}") else f"{name}={value!r}"
                    for name, value in self.parameters.items()
                ),
            ]
        )

    def make(self, reduction: str) -> Loss:
        """Return the loss object; an InputError has the library's words for a bad parameter."""
        settings: dict[str, Any] = {"reduction": reduction, **self.parameters}
        try:
            return LOSSES[self.name](**settings)
        except (TypeError, ValueError) as error:
            raise InputError(one_line(error)) from None


def parse_losses(texts: Sequence[str], given: dict[str, float]) -> tuple[LossSpec, ...]:
    """Return the losses of `--loss` options; `given` are parameters of options of their own, each of the one loss that takes it."""
    specs = [_parse(text) for text in texts]
    for name, value in given.items():
        takers = [spec for spec in specs if LOSSES[spec.name].parameter_name == name]
        if not takers:
            own = LOSSES[specs[0].name].parameter_name
            takes = f"takes --{own}" if own is not None else "has no parameter"
            losses = specs[0].name if len(specs) == 1 else "the losses here"
            raise InputError(
                f"--{name} belongs to {' and '.join(OWNERS[name])}; {losses} {takes if len(specs) == 1 else 'have others'}"
            )
        if len(takers) > 1 or takers[0].parameters:
            raise InputError(
                f"--{name}: which loss it belongs to is not told; write it as --loss {takers[0].name}:{name}={value:g}"
            )
        specs[specs.index(takers[0])] = LossSpec(takers[0].name, {name: value})
    made = [LossSpec(spec.name, spec.parameters or _defaults(spec.name)) for spec in specs]
    for spec in made:
        if made.count(spec) > 1:
            raise InputError(f"--loss {spec.text} is given twice")
    return tuple(made)


def _defaults(name: str) -> dict[str, float]:
    own = LOSSES[name].parameter_name
    return {} if own is None else {own: LOSSES[name].default}


def _parse(text: str) -> LossSpec:
    name, colon, rest = text.partition(":")
    if name not in LOSSES:
        raise InputError(f"Invalid value for '--loss': {text!r} is not one of {', '.join(map(repr, LOSSES))}.")
    if not colon:
        return LossSpec(name)
    own = LOSSES[name].parameter_name
    parameter, _, value = rest.partition("=")
    if parameter != own:
        takes = f"{name}:{own}=VALUE is how its parameter is written" if own is not None else f"{name} has no parameter"
        raise InputError(f"--loss {text}: {takes}")
    try:
        return LossSpec(name, {parameter: float(value)})
    except ValueError:
        raise InputError(f"--loss {text}: {value!r} is not a number") from None
