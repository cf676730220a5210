"""Volumes of neural-network minima along random filter-normalised rays."""
