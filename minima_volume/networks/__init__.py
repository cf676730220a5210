"""A trained model at rest: flat parameters and filter norms, samples, losses, directions, precision, curvature."""
