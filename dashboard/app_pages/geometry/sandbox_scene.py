"""Sandbox as data for the browser's picture, and the words around it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from beft_core.scores.approaches import APPROACHES, PAPER
from dashboard.app_pages.geometry.sandbox_jumps import Jump, Position

SENTENCE = (
    "How far did a bias turn, and how much longer did it become? The projection ratio is made of just these two. "
    "b: before the fine-tune; b′: after."
)
"""Sentence below the title of the page."""
SLIDERS: dict[str, tuple[str, str, float, float, float, str]] = {
    # key in the URL: field of Position, words, least, most, step, unit
    "r": ("ratio", "Length of b′, relative to b", 0.0, 2.0, 0.01, ""),
    "angle": ("angle", "Angle from b to b′", -180.0, 180.0, 0.5, "°"),
    "len": ("length", "Length of b", 0.4, 1.0, 0.05, ""),
    "grad": ("gradient", "Length of the gradient at b", 0.0, 1.0, 0.05, ""),
    "graddir": ("direction", "Direction of −∇", -180.0, 180.0, 5.0, "°"),
}
"""Fields of a position: their names in the URL, and the sliders that the picture draws for them."""
WIDE = 1.2
"""Width of a picture to its height."""
START = Position()
IN_ONE = "All in one picture, with the formula"
HOW = (
    "Three pictures, as in Fig. 3 of the paper, share one b′: drag its tip in any of them, or use the "
    "arrow keys on it, or the sliders. In one picture the lines of equal score can be compared."
)
"""Words on how to move it."""
JUMP_TO = "Jump to a place where the approaches disagree"


def scene(position: Position, jump: Jump | None, overlay: bool) -> dict[str, Any]:
    """Describe the picture to the browser: the position, a pair to walk between, the sliders, one picture or three, and
    their shape.
    """
    return {
        "position": asdict(position),
        "pair": _pair(jump),
        "sliders": [
            {"name": name, "words": words, "least": least, "most": most, "step": step, "unit": unit}
            for name, words, least, most, step, unit in SLIDERS.values()
        ],
        "overlay": overlay,
        "wide": WIDE,
    }


def _pair(jump: Jump | None) -> list[dict[str, float]] | None:
    if jump is None or jump.b is None:
        return None
    return [{name: getattr(one, name) for name in ("length", "ratio", "angle")} for one in (jump.a, jump.b)]


def computed() -> list[str]:
    """Write the formulas and what the lines are, a paragraph each, in Markdown."""
    approaches = [APPROACHES[key] for key in (PAPER, "magnitude", "fisher")]
    return [
        *(f"**{one.label}**: `{one.formula}`  \n:small[{one.reference}]" for one in approaches),
        "*pre* is b, which lies on the axis u; *post* is b′. The picture is a bias of two numbers and one training "
        "example, so Fisher is the squared length of one gradient. Solid line: all b′ with the present projection "
        "ratio. That is a straight piece inside the circle ‖b′‖ = ‖b‖, where ‖b′‖ cos α is fixed, and an arc of a "
        "circle through the origin outside, where cos α / ‖b′‖ is. Thin lines: the same for 0.25 to 1.75. The dashed "
        "rhombus and the pale circle join all b′ at the present L1 or L2 distance from b; the rhombus has corners "
        "because L1 depends on the axes. Dotted circle: all gradients with the present Fisher score. No random "
        "numbers take part.",
    ]
