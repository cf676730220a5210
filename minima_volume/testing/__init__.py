"""Bodies and ellipsoids of known volume, the oracles of tests and benchmarks."""
