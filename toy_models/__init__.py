"""Diagrams from closed forms; run `make toy`."""
