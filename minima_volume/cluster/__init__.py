"""Tasks that any process can compute, and one process writes."""
