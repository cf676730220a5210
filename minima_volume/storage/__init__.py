"""Files that are whole or absent: atomic writes, archives with checksums, tables, and the layout of `results/`."""
