"""Toy diagrams from closed forms; run `make toy`."""
