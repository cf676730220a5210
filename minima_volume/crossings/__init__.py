"""Where rays cross thresholds: scan, bracket, Newton steps, nested landscapes, float64 corrections."""
