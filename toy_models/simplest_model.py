"""The simplest model through four points, and polynomials through the same points that bend far more.

All curves have zero training error, so that the data cannot choose between them. They differ in their roughness ∫ f″² dx
between the outer points, given in the legend. The volume hypothesis claims that simple solutions fill more of parameter
space and that training finds them for this reason.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.polynomial import Polynomial

from minima_volume.drawing import style
from toy_models.closed_forms import roughness
from toy_models.diagram import render

NODES = np.array([-1.5, -0.6, 0.4, 1.5])
LINE = Polynomial([1.0, 0.55])
ARROW = {"arrowstyle": "-", "lw": 0.5, "shrinkB": 3}
LOW, HIGH = NODES[0], NODES[-1]
# Each factor multiplies ∏(x − xᵢ), which vanishes at the data: any factor leaves the fit exact.
FACTORS = {"degree 4": [0.75], "degree 5": [-0.35, 1.0], "degree 6": [-0.95, 0.1, 0.75]}


def draw() -> Figure:
    """Draw the line, the polynomials and the four points that all of them fit."""
    figure, axes = plt.subplots(figsize=(style.SINGLE_COLUMN, 2.9))
    x = np.linspace(LOW - 0.3, HIGH + 0.3, 600)
    axes.plot(x, LINE(x), color=style.BLUE, lw=2.2, zorder=3, label=f"straight line: {roughness(LINE, LOW, HIGH):.0f}")
    for (name, factor), color in zip(FACTORS.items(), (style.ORANGE, style.VERMILION, style.PURPLE), strict=True):
        curve = LINE + Polynomial.fromroots(NODES) * Polynomial(factor)
        axes.plot(x, curve(x), color=color, lw=1.1, label=f"{name}: {roughness(curve, LOW, HIGH):,.0f}")
    axes.plot(NODES, LINE(NODES), "o", color=style.BLACK, ms=5.5, zorder=5)
    axes.annotate("training data", (NODES[2], LINE(NODES[2])), (0.35, 2.25), ha="center", size=7, arrowprops=ARROW)
    axes.set(xlim=(x[0], x[-1]), ylim=(-0.75, 2.75), xlabel="input $x$ (arbitrary units)")
    axes.set_ylabel("prediction $f(x)$ (arbitrary units)")
    figure.legend(
        title="zero training error, roughness $\\int f\\,^{\\prime\\prime}(x)^2\\,dx$",
        loc="outside upper center",
        ncols=2,
    )
    return figure


if __name__ == "__main__":
    render("simplest_model", draw)
