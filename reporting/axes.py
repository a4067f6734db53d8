"""Axes: which range to show, where its ticks stand, and which pixel a number falls on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] linearly (`log`: by its logarithm) on the pixels [start, stop]."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel at which `value` stands."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.stop - self.start) * (at - low) / (high - low)


def extent(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """The range from the least to the greatest finite value, and `margin` of it on either side; never empty."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    # A range as narrow as this is one number after rounding; around it, half of itself.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 1.0
        return low - room, high + room
    return low - margin * (high - low), high + margin * (high - low)


def log_extent(values: Iterable[float], margin: float = 0.04) -> tuple[float, float]:
    """`extent` by the logarithm, for values above zero."""
    low, high = extent((math.log(value) for value in values if value > 0 and math.isfinite(value)), margin)
    return math.exp(low), math.exp(high)


def tick_step(low: float, high: float, about: int = 5) -> float:
    """The distance 1, 2 or 5 times a power of ten that gives about so many ticks."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    return min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough))) * power


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of `tick_step` from low to high."""
    step = tick_step(low, high, about)
    decimals = max(0, 1 - math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, decimals) + 0.0 for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from low to high, both above zero, and as many of their multiples as it takes for four ticks."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) >= 4:
            return inside
    return ticks(low, high)


def thinned(pixels: Sequence[float], gap: float) -> list[int]:
    """Numbers of those ticks, from the first on, that keep `gap` pixels from the one before."""
    kept: list[int] = []
    for number, pixel in enumerate(pixels):
        if not kept or abs(pixel - pixels[kept[-1]]) >= gap:
            kept.append(number)
    return kept


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels near the wanted ones, in their order, `gap` apart and, if there is room, in [low, high]."""
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], number))
    places = [0.0] * len(wanted)
    at = low - gap
    for number in order:
        at = places[number] = max(wanted[number], at + gap)
    at = max(high, low + gap * (len(wanted) - 1)) + gap
    for number in reversed(order):
        at = places[number] = min(places[number], at - gap)
    return places
