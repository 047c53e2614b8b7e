"""Contrast between two colours: WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

from __future__ import annotations

TEXT = 4.5
"""Least contrast ratio of text to its ground (success criterion 1.4.3)."""

Colour = str | tuple[float, float, float]
"""Colour as ``#rrggbb``, or red, green and blue of sRGB from 0 to 1."""


def rgb(colour: Colour) -> tuple[float, float, float]:
    """Convert a colour to red, green and blue from 0 to 1."""
    if isinstance(colour, tuple):
        return colour
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def luminance(colour: Colour) -> float:
    """Compute the relative luminance of a colour, 0 (black) to 1 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    """Compute the contrast ratio of two colours, 1 (alike) to 21 (black on white)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def blend(colour: Colour, ground: Colour, opacity: float) -> Colour:
    """Mix a colour with the ground that shines through it; ``opacity``: 0 to 1."""
    red, green, blue = (g + opacity * (c - g) for c, g in zip(rgb(colour), rgb(ground), strict=True))
    return red, green, blue
