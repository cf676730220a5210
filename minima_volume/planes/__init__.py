"""The loss on planes and lines through minima, along random directions and along training paths."""
