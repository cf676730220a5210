"""The common look of all pictures, marks for numbers with a caveat, and output files."""
