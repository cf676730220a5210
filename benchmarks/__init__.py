"""What the engine and the estimators cost, and how right they are."""
