"""Files that are complete or absent: atomic writes, archives with checksums, tables, and the paths under `results/`."""
