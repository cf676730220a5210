"""Estimate log-volumes and the Gaussian local volume from radii, diagnose and compare them. NumPy only."""
