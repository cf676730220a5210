"""Losses along filter-normalised rays: a fast path for stacks, a general path for any module."""
