"""The picture of `--plot`: how residuals are distributed, and which of them the losses come from.

The axis of residuals is linear if all of them are readable there. If a few are far beyond the others, it ends before those, which are
counted at its ends. If residuals are of very different sizes, it is logarithmic on both sides of 0.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cylosses._cli.picture import BLUES, GREEN, GREY, ORANGE, PURPLE, as_png, finish, new_figure
from cylosses._cli.residuals import EDGES, Residuals, Spread, Vector

if TYPE_CHECKING:
    from cylosses._cli.score import Request, Score

_COLOURS = (BLUES[1], ORANGE, GREEN, PURPLE, BLUES[0], BLUES[2])
_STYLES = ("-", "--", ":", "-.")
_LINE = 110  # characters of the heading


def draw(residuals: Residuals, request: "Request", result: "Score") -> bytes:
    """Return the picture of what a request has scored, as PNG."""
    losses, lines = [spec.text for spec in request.losses], _heading(residuals, request, result)
    # Long headings and legends get more room.
    figure = new_figure(8 + 0.18 * max(len(lines) - 3, 0) + 0.22 * max(len(losses) - 12, 0))
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    panels: Any = figure.subplot_mosaic([["residuals"], ["losses"]])
    data = _Data(residuals)
    if data.total:
        _draw_histogram(panels["residuals"], data)
        _draw_shares(panels["losses"], data, losses)
    else:
        for panel in panels.values():
            _say(panel, "no finite residuals" if data.pairs.nan or data.pairs.infinite else "no pairs")
    panels["residuals"].set_title("Residuals")
    panels["losses"].set_title("Which residuals the losses come from")
    _list_facts(panels["residuals"], data)
    for panel in panels.values():
        finish(panel, grid="y")
    return as_png(figure)


class _Data:
    """What is drawn: pairs, or where they have weights, weight."""

    def __init__(self, residuals: Residuals) -> None:
        self.pairs, self.losses = residuals.pairs, residuals.losses
        weights = residuals.weights
        # A sum of weights may be larger than float64 can be.
        weighted = residuals.is_weighted and math.isfinite(weights.finite())
        self.amounts, self.unit = (weights, "weight") if weighted else (self.pairs, "pairs")
        self.zero, self.total = self.amounts.zero, self.amounts.finite()
        self.by_size = self.amounts.by_size()
        used = np.flatnonzero(self.by_size)
        self.end = float(EDGES[used[-1] + 1]) if used.size else 0.0  # larger than any |residual|

    def quantile(self, share: float, of_zeros: bool = False) -> float:
        """Return the |residual| below which there is this share of all, or of all that are not 0; to the resolution of the bins."""
        sums = np.cumsum(self.by_size) + (self.zero if of_zeros else 0.0)
        if of_zeros and self.zero >= share * sums[-1]:
            return 0.0
        return float(EDGES[min(np.searchsorted(sums, share * sums[-1]), len(sums) - 1)])

    def spread_of_half(self) -> float:
        """Return how far the quartiles of the residuals are from each other."""
        amounts = self.amounts
        sums = np.cumsum(np.concatenate([amounts.negative[-2::-1], [self.zero], amounts.positive[:-1]]))
        sizes = np.concatenate([-EDGES[-2::-1], [0.0], EDGES[:-1]])
        low, high = sizes[np.searchsorted(sums, [0.25 * sums[-1], 0.75 * sums[-1]])]
        return float(high / 2 - low / 2) * 2 if high / 2 - low / 2 < 2.0**1022 else math.inf


# --- the histogram --------------------------------------------------------------------------------------------------------


class _Bars(NamedTuple):
    """Bars of a histogram."""

    sizes: Vector  # ascending |residual| at which they end, on both sides of 0
    ends: Vector  # the same on the axis
    label: str
    ticks: dict[float, str] | None  # None: those of matplotlib


def _draw_histogram(panel: Any, data: _Data) -> None:
    typical, nearly_all = data.quantile(0.5), data.quantile(0.99)
    if nearly_all > 30 * typical:
        bars = _logarithmic_bars(data)
    elif data.end > 4 * nearly_all:
        bars = _linear_bars(data, 1.5 * nearly_all)
    else:
        bars = _linear_bars(data, data.end)
    heights = 100 / data.total * data.amounts.between(bars.sizes)
    edges = np.concatenate([-bars.ends[::-1], bars.ends])
    middle, inner = len(bars.sizes), heights[1:-1]
    at_zero = 100 / data.total * data.zero
    others = float(np.delete(heights, middle).max(initial=heights[middle] - at_zero))
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    panel.bar(centres, inner, widths, color=BLUES[1], edgecolor="white", lw=0.5)
    panel.bar([0], [at_zero], widths[middle - 1], heights[middle] - at_zero, color=GREY, edgecolor="white", lw=0.5)
    # What is beyond, beside the last bars.
    beyond = np.array([edges[0] - widths[0], edges[-1] + widths[-1]])
    panel.bar(beyond, heights[[0, -1]], widths[[0, -1]], color=ORANGE, edgecolor="white", lw=0.5)
    if others and heights[middle] > 4 * others:
        panel.set_ylim(0, 1.4 * others)
        panel.annotate(
            f"0: {_percent(at_zero)}", (0, 1), (8, -4), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
        )
    panel.set_xlim(*_limits(np.concatenate([[beyond[0]], centres, [beyond[1]]]), heights, widths))
    panel.set(xlabel=bars.label, ylabel=f"% of {data.unit}")
    if bars.ticks is not None:
        panel.set_xticks(list(bars.ticks), list(bars.ticks.values()))


def _limits(centres: Vector, heights: Vector, widths: Vector) -> tuple[float, float]:
    """Return the ends of the axis: around 0 and all bars."""
    used = centres[heights > 0]
    return min(used.min(initial=0), 0) - 1.5 * widths[0], max(used.max(initial=0), 0) + 1.5 * widths[-1]


def _linear_bars(data: _Data, limit: float) -> _Bars:
    """Return bars of one width, a power of two, so that integers are in the middle of a bar, and all edges are edges of bins."""
    limit = limit or 1.0
    # Freedman and Diaconis' rule, within what can be seen.
    width = 2 * data.spread_of_half() / np.cbrt(data.pairs.finite())
    exponent = round(math.log2(width if 0 < width < math.inf else limit / 30))
    # The last edge is at most 127/2 widths from 0: seven binary digits, which bins have.
    exponent = max(min(exponent, math.floor(math.log2(limit / 4))), math.ceil(math.log2(limit / 63.5)))
    number = math.ceil(limit / 2.0**exponent - 0.5)
    halves = 2 * np.arange(number + 1) + 1.0
    power = math.floor(math.log10(limit))
    power = 0 if -4 < power < 5 else power
    unit = f" / $10^{{{power}}}$" if power else ""
    return _Bars(
        halves * 2.0 ** (exponent - 1), halves * (2.0 ** (exponent - 1) / 10.0**power), f"prediction − target{unit}", None
    )


def _logarithmic_bars(data: _Data) -> _Bars:
    low, high = math.floor(math.log10(data.quantile(0.01))), math.ceil(_log10(data.end))
    number = int(min(12 * (high - low), 48, max(2 * np.cbrt(data.pairs.finite()), 10)))
    powers = np.linspace(low, high, number + 1)
    middle = max(0.5, (high - low) / 12)  # half the width of the bar around 0, in decades
    ticks = {0.0: "0"}
    step = math.ceil((high - low) / 5)
    for power in range(high, low - 1, -step):
        at = power - low + middle
        if at > 0.6 * step:
            ticks |= {-at: f"$-10^{{{power}}}$", at: f"$10^{{{power}}}$"}
    with np.errstate(over="ignore"):
        sizes = 10.0**powers
    return _Bars(sizes, powers - low + middle, f"prediction − target, logarithmic beyond $\\pm10^{{{low}}}$", ticks)


# --- the losses -----------------------------------------------------------------------------------------------------------


def _draw_shares(panel: Any, data: _Data, losses: Sequence[str]) -> None:
    if not data.end:
        _say(panel, "all residuals are 0")
        return
    place, low = _size_axis(panel, data)
    used = np.flatnonzero(data.by_size)
    # Within a bin curves rise evenly, between bins that have something they do not.
    sizes = np.stack([EDGES[used], EDGES[used + 1]], axis=1).ravel()
    places = [low, *(place(float(size)) for size in sizes)]

    def draw_curve(spread: Spread, **style: Any) -> None:
        at_zero, shares = _shares(spread)
        before = np.concatenate([[at_zero], shares[used[:-1]]])
        heights = np.stack([before, shares[used]], axis=1).ravel()
        panel.plot(places, [100 * at_zero, *(100 * heights)], **style)

    draw_curve(data.amounts, color=GREY, lw=1.2, ls=(0, (1, 1)), label=data.unit)
    for k, (loss, spread) in enumerate(zip(losses, data.losses, strict=True)):
        style = {"color": _COLOURS[k % len(_COLOURS)], "ls": _STYLES[k // len(_COLOURS) % len(_STYLES)], "lw": 1.8}
        largest = spread.by_size().max()
        if 0 < largest < math.inf:
            draw_curve(spread, label=loss + (_half(data, spread) if len(losses) < 6 else ""), **style)
        else:
            panel.plot([], [], label=f"{loss}: {'infinite' if largest else 'all 0'}", **style)
    panel.set(ylabel="% from |residuals| up to this", ylim=(0, 102))
    panel.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0)


def _shares(spread: Spread) -> tuple[float, Vector]:
    """Return the share of residuals that are 0, and the cumulative shares of bins, of amounts whose sum may be beyond float64."""
    amounts = spread.by_size()
    largest = max(amounts.max(), spread.zero)
    sums = spread.zero / largest + np.cumsum(amounts / largest)
    return float(spread.zero / largest / sums[-1]), sums / sums[-1]


def _half(data: _Data, spread: Spread) -> str:
    """Return a line about the largest residuals that half of a loss is from."""
    at = int(np.searchsorted(_shares(spread)[1], 0.5))
    share = 100 / data.total * data.by_size[at:].sum()
    return f"\nhalf is from ≥ {_number(EDGES[at])}, {_percent(share)} of {data.unit}"


def _size_axis(panel: Any, data: _Data) -> tuple[Callable[[float], float], float]:
    """Set the axis of |residual|; return the function from it to the place there, and the lower end."""
    if data.end <= 20 * data.quantile(0.5):
        power = math.floor(math.log10(data.end))
        power = 0 if -4 < power < 5 else power
        panel.set(xlabel="|prediction − target|" + (f" / $10^{{{power}}}$" if power else ""))
        panel.set_xlim(0, min(data.end, EDGES[-2]) / 10.0**power * 1.02)
        return lambda size: min(size, EDGES[-2]) / 10.0**power, 0.0
    low, high = _log10(data.quantile(0.01)) - 0.1, _log10(data.end) + 0.1
    step = math.ceil((high - low) / 6)
    powers = [power for power in range(math.ceil(low), math.floor(high) + 1) if power % step == 0]
    panel.set_xticks(powers, [f"$10^{{{power}}}$" for power in powers])
    panel.set(xlabel="|prediction − target|", xlim=(low, high))
    return _log10, low


# --- text -----------------------------------------------------------------------------------------------------------------


def _heading(residuals: Residuals, request: "Request", result: "Score") -> list[str]:
    """Return what was scored, the number of pairs, and the values of the losses."""
    lines = [f"{request.predictions} against {request.targets}"]
    if request.table:
        more = f" and {len(request.table) - 1} more" if len(request.table) > 1 else ""
        lines = [f"{request.table[0]}{more}: {lines[0]}"]
    options = {name: getattr(request, name) for name in ("on", "filter", "weight", "where")}
    texts = [f"{name} {value if isinstance(value, str) else ', '.join(value)}" for name, value in options.items() if value]
    pairs = residuals.pairs
    count = round(pairs.finite() + pairs.infinite + pairs.nan)
    lines.append("; ".join([f"{count:,} {'pair' if count == 1 else 'pairs'}", *texts]))
    values = [_value(spec.text, request, value) for spec, value in zip(request.losses, result.values, strict=False)]
    return [*map(_shortened, lines), *textwrap.wrap(" · ".join(values), _LINE)]


def _value(loss: str, request: "Request", value: Any) -> str:
    """Return the value of a loss, or of slices the range of their values; without spaces at which a line could be broken."""
    numbers = np.ravel(value)
    shown = " to ".join(f"{number:.6g}" for number in ([numbers.min(), numbers.max()] if numbers.size > 1 else numbers))
    axis = f" over axis {', '.join(map(str, request.axis))}" if request.axis else ""
    return f"{request.reduction} {loss}{axis}: {shown}".replace(" ", "\N{NO-BREAK SPACE}")


def _list_facts(panel: Any, data: _Data) -> None:
    """List beside a panel what is not to be seen in it, or not well."""
    facts = []
    if data.end:
        facts += [f"half within ±{_number(data.quantile(0.5, of_zeros=True))}"]
        facts += [f"99 % within ±{_number(data.quantile(0.99, of_zeros=True))}"]
        for name, of_sign in (("negative", data.amounts.negative), ("positive", data.amounts.positive)):
            if used := np.flatnonzero(of_sign[:-1]).tolist():
                sign = "−" if name == "negative" else ""
                share = 100 / data.total * of_sign[:-1].sum()
                facts.append(f"{name}: {_percent(share)}, to {sign}{_number(EDGES[used[-1]])}")
    counted = (("0", data.pairs.zero), ("infinite", data.pairs.infinite), ("NaN", data.pairs.nan))
    facts += [f"{name}: {number:,.0f} pairs" for name, number in counted if number]
    for k, fact in enumerate(facts):
        colour = ORANGE if fact.startswith(("infinite", "NaN")) else "black"
        panel.text(1.015, 1 - 0.075 * k, fact, transform=panel.transAxes, va="top", fontsize=9, color=colour)


def _say(panel: Any, text: str) -> None:
    """Write in the middle of an empty panel."""
    panel.set(xticks=[], yticks=[])
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color=GREY, fontsize=12)


def _log10(size: float) -> float:
    return math.log10(min(size, EDGES[-2]))  # of what may be infinity


def _number(size: float) -> str:
    return f"{size:.3g}"


def _percent(percent: float) -> str:
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.3g} %" if not 99.95 <= percent < 100 else "> 99.9 %"


def _shortened(line: str) -> str:
    """Return text in one line that matplotlib can draw; of long names, the ends tell more than the beginnings."""
    text = " ".join(line.encode("utf-8", "replace").decode().split())
    return text if len(text) <= _LINE else f"{text[: _LINE // 2 - 1]}…{text[-_LINE // 2 :]}"
