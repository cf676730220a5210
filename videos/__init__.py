"""Landscape films and exports; run `make videos`."""
