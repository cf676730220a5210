"""Sharpness measures of a minimum: curvature, worst-case loss nearby, Fisher–Rao norm, local learning coefficient."""
