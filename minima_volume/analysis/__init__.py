"""Tables of results as data frames, and what is computed from them; no torch."""
