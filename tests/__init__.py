"""Tests, in the same folders as the wings they test."""
