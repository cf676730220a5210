"""Formulas behind the toy diagrams: areas of star-shaped basins, radii along rays, and volumes that follow from them."""

import math

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Array = NDArray[np.float64]


def roughness(curve: Polynomial, low: float, high: float) -> float:
    """Return ∫ f″(x)² dx from `low` to `high`, which is 0 for a straight line."""
    bending = (curve.deriv(2) ** 2).integ()
    return float(bending(high) - bending(low))


def sampled_area(radii: Array) -> tuple[float, float]:
    """Return the area π·mean(r²) of a star-shaped region from radii in uniform directions, and its standard error."""
    squares = math.pi * radii**2
    return float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(len(squares)))


def l_area(arm: float, width: float) -> float:
    """Return the area 2aw − w² of the L made of the bars [0, a]×[0, w] and [0, w]×[0, a]."""
    return 2 * arm * width - width**2


def l_star_area(arm: float, width: float, center: tuple[float, float]) -> float:
    """Return the area of the L that is visible in straight lines from a centre (p, q) in the lying bar, p > w.

    It is the whole bar, a·w, and a triangle of the standing bar behind its opening: a·w + w²(w − q) / 2(p − w).

    Raises:
        ValueError: The centre is elsewhere, or sees the far end of the standing bar.
    """
    p, q = center
    if not (width < p < arm and 0 < q < width and width + width * (width - q) / (p - width) <= arm):
        raise ValueError(
            f"Expected a centre in the lying bar that sees a triangle of the other, got {center}: move it."
        )
    return arm * width + width**2 * (width - q) / (2 * (p - width))


def l_radii(angles: Array, arm: float, width: float, center: tuple[float, float]) -> Array:
    """Return the distance from a centre in the lying bar to the first edge of the L in each direction."""
    lying = _box_exit(angles, center, (0.0, arm), (0.0, width))
    standing = _box_exit(angles, center, (0.0, width), (0.0, arm))
    crosses_opening = np.abs(center[0] + lying * np.cos(angles) - width / 2) < width / 2
    leaves_upwards = np.isclose(center[1] + lying * np.sin(angles), width)
    return np.where(leaves_upwards & crosses_opening, standing, lying)


def product_radii(angles: Array, scale: float, slack: float) -> Array:
    """Return the radii from the minimum (a, 1/a) to the edge of the basin |w₁w₂ − 1| ≤ s of the model f = w₁w₂x.

    Along a ray w₁w₂ − 1 = βr + γr² with β = a·sin φ + cos φ / a and γ = sin φ·cos φ. The radius is the smallest positive
    root of βr + γr² = ±s. It is finite in every direction.
    """
    linear = scale * np.sin(angles) + np.cos(angles) / scale
    quadratic = np.sin(angles) * np.cos(angles)
    return np.minimum(_first_root(quadratic, linear, slack), _first_root(quadratic, linear, -slack))


def product_star_area(slack: float) -> float:
    """Return the area visible from a minimum of f = w₁w₂x within |w₁w₂ − 1| ≤ s < 1.

    It is 2(1+s)δ + 4s·artanh ε − 2(1−s)·artanh δ, with ε² = s/(1+s) and δ² = 2s/(1+s). The tangents from the minimum to
    the far hyperbola w₁w₂ = 1+s cut off the infinite arms of the basin. The area does not depend on the scale a, because
    (w₁, w₂) → (a·w₁, w₂/a) preserves areas.
    """
    epsilon, delta = math.sqrt(slack / (1 + slack)), math.sqrt(2 * slack / (1 + slack))
    return 2 * (1 + slack) * delta + 4 * slack * math.atanh(epsilon) - 2 * (1 - slack) * math.atanh(delta)


def product_horizon(scale: float, slack: float) -> tuple[Array, Array]:
    """Return the points (w₁, w₂) where the tangents of `product_star_area` touch the far edge and meet the near one."""
    far, near = 1 + slack, 1 - slack
    signs = np.array([-1.0, 1.0])
    touch = scale * far * (1 + signs * math.sqrt(1 - 1 / far))
    hit = touch * (1 + signs * math.sqrt(1 - near / far))
    return np.stack([touch, far / touch]), np.stack([hit, near / hit])


def cutoff_size(trained: float, new_loss: float, threshold: float) -> float:
    """Return the data size D/(1 − τ/ε) at which a minimum reaches the threshold.

    D examples are fitted without error and every further one costs ε, so that the mean loss is ε(1 − D/size). It reaches
    the threshold τ at this size, and never (infinity) if ε ≤ τ.
    """
    return trained / (1 - threshold / new_loss) if new_loss > threshold else math.inf


def lost_log_volume(size: Array, trained: float, new_loss: float, threshold: float, n_params: int) -> Array:
    """Return the loss of log volume (n/2)·ln(1 − mean loss / τ) of a quadratic basin, in nats; −∞ from the cutoff on.

    A bowl of loss m + ½hr² has radius² 2(τ − m)/h. Here m is the mean loss of `cutoff_size`, zero up to the trained size.
    """
    mean_loss = new_loss * np.clip(1 - trained / size, 0, None)
    with np.errstate(divide="ignore"):
        return np.asarray(n_params / 2 * np.log(np.clip(1 - mean_loss / threshold, 0, None)))


def rounded_index(coefficient: Array, last: int = 99) -> Array:
    """Return the index k of the first grid coefficient (k/99)² beyond the true crossing."""
    return np.asarray(np.floor(last * np.sqrt(coefficient)) + 1)


def grid_step(index: Array, n_params: int) -> Array:
    """Return the distance 2n·ln((k+1)/k) ≈ 2n/k between neighbouring rounded log volumes n·ln r with r ∝ (k/99)²."""
    return np.asarray(2 * n_params * np.log1p(1 / index))


def _box_exit(angles: Array, center: tuple[float, float], x: tuple[float, float], y: tuple[float, float]) -> Array:
    """Return the distance to the far side of a box, also from a centre outside if the ray passes through it."""
    ahead = []
    for start, (low, high), slope in zip(center, (x, y), (np.cos(angles), np.sin(angles)), strict=True):
        with np.errstate(divide="ignore"):
            ahead.append(np.where(slope > 0, high - start, start - low) / np.abs(slope))
    return np.minimum(*ahead)


def _first_root(quadratic: Array, linear: Array, level: float) -> Array:
    """Return the smallest positive root of quadratic·r² + linear·r = level, or infinity if there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(linear**2 + 4 * quadratic * level)
        roots = 2 * level / (linear + np.stack([spread, -spread]))  # this form is accurate for a small quadratic
    return np.asarray(np.where(roots > 0, roots, np.inf).min(axis=0))
