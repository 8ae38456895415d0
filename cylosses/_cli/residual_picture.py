"""The picture of `--plot`: how residuals are distributed, and which of them the losses come from.

The axis of residuals is linear if all of them are readable there. If a few are far beyond the others, it ends before those, which
are counted at its ends. If residuals are of very different sizes, it is logarithmic on both sides of 0.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cylosses._cli.picture import BLUES, GREEN, GREY, ORANGE, PURPLE, as_png, default_settings, finish, new_figure
from cylosses._cli.residuals import EDGES, Residuals, Spread, Vector

if TYPE_CHECKING:
    from cylosses._cli.score import Request, Score

_COLOURS = (BLUES[1], ORANGE, GREEN, PURPLE, BLUES[0], BLUES[2])
_STYLES = ("-", "--", ":", "-.")
_LINE = 110  # characters of the heading
# The last bin is the only one without an end that can be drawn.
_ENDS = np.minimum(EDGES[1:], np.finfo(float).max)


@default_settings()
def draw(residuals: Residuals, request: "Request", result: "Score") -> bytes:
    """Return the picture of what a request has scored, as PNG."""
    losses, lines = [spec.text for spec in request.losses], _heading(residuals, request, result)
    # Long headings and legends get more room.
    figure = new_figure(8 + 0.18 * max(len(lines) - 3, 0) + 0.22 * max(len(losses) - 12, 0))
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    panels: Any = figure.subplot_mosaic([["residuals"], ["losses"]])
    data = _Data(residuals)
    beyond = 0.0
    if data.total:
        beyond = _draw_histogram(panels["residuals"], data)
        _draw_shares(panels["losses"], data, losses)
    else:
        for panel in panels.values():
            _say(panel, "no finite residuals" if data.pairs.nan or data.pairs.infinite else "no pairs")
    panels["residuals"].set_title("Residuals")
    panels["losses"].set_title("Which residuals the losses come from")
    _list_facts(panels["residuals"], data, beyond)
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
        self.end = float(_ENDS[used[-1]]) if used.size else 0.0  # no |residual| is larger

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
        return float(high) - float(low)


# --- the histogram --------------------------------------------------------------------------------------------------------


class _Bars(NamedTuple):
    """Bars of a histogram."""

    sizes: Vector  # ascending |residual| at which they end, on both sides of 0
    ends: Vector  # the same on the axis
    label: str
    ticks: dict[float, str] | None  # None: those of matplotlib


def _draw_histogram(panel: Any, data: _Data) -> float:
    """Draw the histogram; return the percentage that is beyond its axis."""
    typical, nearly_all = data.quantile(0.5), data.quantile(0.99)
    if nearly_all > 30 * typical:
        bars = _logarithmic_bars(data)
    elif data.end > 4 * nearly_all:
        bars = _linear_bars(data, 1.5 * nearly_all)
    else:
        bars = _linear_bars(data, data.end)
    heights = 100 * (data.amounts.between(bars.sizes) / data.total)
    edges = np.concatenate([-bars.ends[::-1], bars.ends])
    # What is beyond the axis gets a bar of its own at either end, with a gap before it.
    widths = np.diff(edges)
    widths = np.concatenate([widths[:1], widths, widths[-1:]])
    centres = np.concatenate([[edges[0]], (edges[1:] + edges[:-1]) / 2, [edges[-1]]])
    centres[[0, -1]] += [-widths[0], widths[-1]]
    # In the middle, what is exactly 0 stands on the rest.
    at_zero = 100 * (data.zero / data.total)
    heights[len(bars.sizes)] = max(heights[len(bars.sizes)] - at_zero, 0)
    others, at_middle = float(heights.max()), float(heights[len(bars.sizes)])
    colours = [ORANGE, *[BLUES[1]] * (len(heights) - 2), ORANGE]
    panel.bar(centres, heights, widths, color=colours, edgecolor="white", lw=0.5)
    panel.bar([0], [at_zero], widths[len(bars.sizes)], at_middle, color=GREY, edgecolor="white", lw=0.5)
    if others and at_middle + at_zero > 4 * others:
        panel.set_ylim(0, 1.4 * others)
        near = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
        panel.annotate(f"0: {_percent(at_zero)}", (0, 1), (8, -4), **near)
    used = np.append(centres[heights > 0], 0.0)
    panel.set_xlim(used.min() - 1.5 * widths[0], used.max() + 1.5 * widths[-1])
    if not data.end:
        panel.set_xlim(-1, 1)
    panel.set(xlabel=bars.label, ylabel=f"% of {data.unit}")
    if bars.ticks is not None:
        panel.set_xticks(list(bars.ticks), list(bars.ticks.values()))
    return float(heights[0] + heights[-1])


def _linear_bars(data: _Data, limit: float) -> _Bars:
    """Return bars of one width, a power of two, so that integers are in the middle of a bar, and all edges are edges of bins."""
    limit = limit or 1.0
    # Freedman and Diaconis' rule, within what can be seen.
    width = 2 * data.spread_of_half() / np.cbrt(data.pairs.finite())
    exponent = round(math.log2(width if 0 < width < math.inf else limit / 30))
    # The last edge is at most 127/2 widths from 0: seven binary digits, which bins have.
    exponent = max(min(exponent, math.floor(math.log2(limit / 8))), math.ceil(math.log2(limit / 63.5)))
    number = math.ceil(limit / 2.0**exponent - 0.5)
    halves: Vector = np.arange(1, 2 * number + 2, 2, dtype=np.float64)
    half = math.ldexp(1.0, exponent - 1)
    unit, label = _unit(limit, "prediction − target")
    with np.errstate(over="ignore"):  # the last edge may be beyond float64
        return _Bars(halves * half, halves * (half / unit), label, None)


def _logarithmic_bars(data: _Data) -> _Bars:
    low, high = math.floor(math.log10(data.quantile(0.01))), math.ceil(math.log10(data.end))
    number = int(min(12 * (high - low), 48, max(2 * np.cbrt(data.pairs.finite()), 10)))
    powers = np.linspace(low, high, number + 1)
    middle = max(0.5, (high - low) / 12)  # half the width of the bar around 0, in decades
    ticks = {0.0: "0"}
    step = _step_of_decades((high - low) / 5)
    for power in range(low, high + 1):
        at = power - low + middle
        if power % step == 0 and at > 0.6 * step:
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
    places = [low, *place(np.stack([EDGES[used], _ENDS[used]], axis=1).ravel())]

    def draw_curve(spread: Spread, **style: Any) -> None:
        at_zero, shares = _shares(spread)
        before = np.concatenate([[at_zero], shares[used[:-1]]])
        heights = np.stack([before, shares[used]], axis=1).ravel()
        panel.plot(places, [100 * at_zero, *(100 * heights)], **style)

    draw_curve(data.amounts, color=GREY, lw=1.2, ls=(0, (1, 1)), label=data.unit)
    for k, (loss, spread) in enumerate(zip(losses, data.losses, strict=True)):
        style: dict[str, Any] = {"color": _COLOURS[k % len(_COLOURS)], "ls": _STYLES[k // len(_COLOURS) % len(_STYLES)]}
        style["lw"] = max(2.8 - 0.7 * k, 1.3)  # so that equal curves are seen
        largest = spread.by_size().max()
        if 0 < largest < math.inf:
            draw_curve(spread, label=loss + (_half(data, spread) if len(losses) < 6 else ""), **style)
        else:
            panel.plot([], [], label=f"{loss}: {'beyond float64' if largest else 'all 0'}", **style)
    panel.set(ylabel="% up to this |residual|", ylim=(0, 102))
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
    share = 100 * (data.by_size[at:].sum() / data.total)
    return f"\nhalf of it from {_number(EDGES[at])} on: {_percent(share)} of {data.unit}"


def _size_axis(panel: Any, data: _Data) -> tuple[Callable[[Vector], Vector], float]:
    """Set the axis of |residual|; return the function from it to the place there, and the lower end."""
    typical = data.quantile(0.5)
    if data.end <= 20 * typical:
        unit, label = _unit(data.end, "|prediction − target|")
        panel.set(xlabel=label, xlim=(0, 1.02 * (data.end / unit)))
        return lambda sizes: sizes / unit, 0.0
    low, high = math.log10(data.quantile(0.01)) - 0.1, math.log10(data.end) + 0.1
    step = _step_of_decades((high - low) / 6)
    powers = [power for power in range(math.floor(low), math.ceil(high)) if power % step == 0]
    if high - low < 3.5:
        ticks = {power + math.log10(digit): f"{digit * 10.0**power:g}" for power in powers for digit in (1, 2, 5)}
    else:
        ticks = {power: f"$10^{{{power}}}$" for power in powers}
    panel.set_xticks(list(ticks), list(ticks.values()))
    panel.set(xlabel="|prediction − target|", xlim=(low, high))
    return np.log10, low


def _unit(limit: float, label: str) -> tuple[float, str]:
    """Return a power of ten in which numbers up to a limit have short ticks, and the label of an axis in it."""
    power = math.floor(math.log10(limit))
    if -4 < power < 5:
        return 1.0, label
    return 10.0**power, f"{label if label[0] == '|' else f'({label})'} / $10^{{{power}}}$"


def _step_of_decades(least: float) -> int:
    """Return every how many decades ticks are drawn."""
    return next(step for step in (1, 2, 3, 5, 10, 20, 50, 100, 200) if step >= least)


# --- text -----------------------------------------------------------------------------------------------------------------


def _heading(residuals: Residuals, request: "Request", result: "Score") -> list[str]:
    """Return what was scored, the number of pairs, and the values of the losses."""
    lines = [f"{request.predictions} against {request.targets}"]
    if request.table:
        more = f" and {len(request.table) - 1} more" if len(request.table) > 1 else ""
        lines = [f"{request.table[0]}{more}: {lines[0]}"]
    options = {name: getattr(request, name) for name in ("on", "filter", "weight", "where")}
    texts = [f"{name} {value if isinstance(value, str) else ', '.join(value)}" for name, value in options.items() if value]
    texts += [f"{result.missing:,} left out, with a missing value"] if result.missing else []
    pairs = residuals.pairs
    lines.append("; ".join([_pairs(pairs.finite() + pairs.infinite + pairs.nan), *texts]))
    lines = [*map(_shortened, lines)]
    if result.values:
        axis = f" over axis {', '.join(map(str, request.axis))}" if request.axis else ""
        values = [f"{spec.text} {_range(value)}" for spec, value in zip(request.losses, result.values, strict=True)]
        values[0] = f"{request.reduction} loss{axis}: {values[0]}"
        # Lines are broken between losses only.
        lines += textwrap.wrap("; ".join(value.replace(" ", "\N{NO-BREAK SPACE}") for value in values), _LINE)
    return lines


def _range(value: Any) -> str:
    """Return the value of a loss as text, or of slices the least and the largest value."""
    numbers = np.ravel(value)
    return " to ".join(f"{number:.6g}" for number in ([numbers.min(), numbers.max()] if numbers.size > 1 else numbers))


def _list_facts(panel: Any, data: _Data, beyond: float) -> None:
    """List beside a panel what is not to be seen in it, or not well; `beyond` is the percentage that is beyond its axis."""
    facts = []
    if data.end:
        quantiles = {name: data.quantile(share, of_zeros=True) for name, share in (("half", 0.5), ("99 %", 0.99))}
        facts += [f"{name} within ±{_number(size)}" for name, size in quantiles.items()]
        for name, of_sign in (("negative", data.amounts.negative), ("positive", data.amounts.positive)):
            if used := np.flatnonzero(of_sign[:-1]).tolist():
                sign = "−" if name == "negative" else ""
                share = 100 * (of_sign[:-1].sum() / data.total)
                facts.append(f"{name}: {_percent(share)}, to {sign}{_number(EDGES[used[-1]])}")
    if beyond:
        facts.append(f"beyond the axis: {_percent(beyond)}")
    counted = (("exactly 0", data.pairs.zero), ("infinite", data.pairs.infinite), ("NaN", data.pairs.nan))
    facts += [f"{name}: {_pairs(number)}" for name, number in counted if number]
    for k, fact in enumerate(facts):
        colour = ORANGE if fact.startswith(("beyond", "infinite", "NaN")) else "black"
        panel.text(1.015, 1 - 0.075 * k, fact, transform=panel.transAxes, va="top", fontsize=9, color=colour)


def _say(panel: Any, text: str) -> None:
    """Write in the middle of an empty panel."""
    panel.set(xticks=[], yticks=[])
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color=GREY, fontsize=12)


def _number(size: float) -> str:
    """Return three digits, as much as bins tell."""
    return f"{float(f'{size:.3g}'):,g}"


def _pairs(number: float) -> str:
    return f"{number:,.0f} {'pair' if number == 1 else 'pairs'}"


def _percent(percent: float) -> str:
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.3g} %" if not 99.95 <= percent < 100 else "> 99.9 %"


def _shortened(line: str) -> str:
    """Return text in one line that matplotlib can draw; of long names, the ends tell more than the beginnings."""
    text = " ".join(line.encode("utf-8", "replace").decode().split())
    return text if len(text) <= _LINE else f"{text[: _LINE // 2 - 1]}…{text[-_LINE // 2 :]}"
