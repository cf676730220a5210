"""Draw rays.svg: a basin cut at the loss threshold, a star of rays in it, and the loss along one of them."""

import math
from collections.abc import Sequence
from pathlib import Path

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8a8a8a", "#222222"
CENTRE, SCALE = (205.0, 186.0), 146.0
# Lobes (height, angle in radians, sharpness) on a disc: the shape of the basin.
LOBES = ((0.42, 0.5, 5.0), (0.55, 2.35, 9.0), (0.30, 4.1, 4.0), (0.25, 5.4, 14.0))
HALO = 'stroke="#ffffff" stroke-width="5" stroke-linejoin="round" paint-order="stroke"'  # words stay readable on lines
CHOSEN = 1  # the ray whose loss is drawn on the right
ANGLES = [2 * math.pi * (k + 0.37) / 14 for k in range(14)]


def radius(angle: float) -> float:
    """Radius of the basin in a direction."""
    return 0.55 + sum(height * math.exp(sharp * (math.cos(angle - at) - 1)) for height, at, sharp in LOBES)


def place(angle: float, r: float) -> tuple[float, float]:
    """Pixels of a point in the left panel."""
    return CENTRE[0] + SCALE * r * math.cos(angle), CENTRE[1] - SCALE * r * math.sin(angle)


def path(points: Sequence[tuple[float, float]], style: str, closed: bool = False) -> str:
    """A line through points."""
    joined = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{joined}{" Z" if closed else ""}" {style}/>'


def text(x: float, y: float, words: str, color: str = INK, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}" text-anchor="{anchor}" {HALO}>{words}</text>'


def basin() -> list[str]:
    """The left panel."""
    circle = [2 * math.pi * k / 240 for k in range(240)]
    parts = [
        path([place(a, s * radius(a)) for a in circle], style, closed=True)
        for s, style in (
            (1.18, f'fill="none" stroke="{GREY}" stroke-width="1" stroke-dasharray="3 4"'),
            (1.0, f'fill="{BLUE}" fill-opacity="0.12" stroke="{BLUE}" stroke-width="3"'),
            (0.66, f'fill="none" stroke="{GREY}" stroke-width="1"'),
            (0.36, f'fill="none" stroke="{GREY}" stroke-width="1"'),
        )
    ]
    for number, angle in enumerate(ANGLES):
        color, width = (ORANGE, 4) if number == CHOSEN else (INK, 1.2)
        x, y = place(angle, radius(angle))
        parts.append(path([CENTRE, (x, y)], f'stroke="{color}" stroke-width="{width}"'))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if number == CHOSEN else 3.5}" fill="{color}"/>')
    parts.append(f'<circle cx="{CENTRE[0]}" cy="{CENTRE[1]}" r="6" fill="{INK}"/>')
    x, y = place(ANGLES[CHOSEN], 0.6 * radius(ANGLES[CHOSEN]))
    return [
        *parts,
        text(CENTRE[0], CENTRE[1] + 34, "θ*", INK, "middle"),
        text(x - 16, y - 8, "r", ORANGE),
        text(CENTRE[0], 380, "basin: loss ≤ τ", BLUE, "middle"),
    ]


def along() -> list[str]:
    """The right panel: the loss along the chosen ray."""
    left, bottom, width, height = 440.0, 318.0, 240.0, 250.0
    level = bottom - 0.45 * height
    curve = [(x / 60, 0.05 + 0.4 * (x / 60 / 0.62) ** 3.2) for x in range(61)]
    points = [(left + width * x, bottom - height * y) for x, y in curve if y < 1.04]
    cross = left + 0.62 * width
    return [
        path([(left, bottom - height - 8), (left, bottom), (left + width, bottom)],
             f'fill="none" stroke="{INK}" stroke-width="1.5"'),
        path([(left, level), (left + width, level)], f'stroke="{BLUE}" stroke-width="2.5"'),
        path(points, f'fill="none" stroke="{ORANGE}" stroke-width="4"'),
        path([(cross, level), (cross, bottom)], f'stroke="{ORANGE}" stroke-width="1.5" stroke-dasharray="4 4"'),
        f'<circle cx="{cross:.1f}" cy="{level:.1f}" r="6" fill="{ORANGE}"/>',
        text(left + 8, level - 9, "τ", BLUE),
        text(left + 8, bottom - height + 8, "loss"),
        text(cross, bottom + 26, "r", ORANGE, "middle"),
        text(left + width / 2, 380, "along one ray", INK, "middle"),
    ]  # fmt: skip


def main() -> None:
    """Write the file beside this script."""
    label = (
        "Left: a basin around the minimum, cut at loss = tau, with rays in random directions that end on the contour. "
        "Right: the loss along one ray rises through tau at the radius r."
    )
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 390" role="img" font-size="23" '
        'font-family="Helvetica, Arial, sans-serif">'
    )
    body = [f"<title>{label}</title>", '<rect width="700" height="390" rx="10" fill="#ffffff"/>', *basin(), *along()]
    Path(__file__).with_suffix(".svg").write_text("\n".join([head, *body, "</svg>", ""]))


if __name__ == "__main__":
    main()
