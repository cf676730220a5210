"""From radii to volumes: log-volumes, the Gaussian local volume, their diagnostics and comparisons. NumPy only."""
