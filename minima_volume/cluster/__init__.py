"""Tasks that can be computed anywhere, and Dask as the engine that has others compute them."""
