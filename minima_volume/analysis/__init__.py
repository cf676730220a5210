"""Result tables as data frames, and what is computed from them. This wing does not import torch."""
