"""One study from its row to its files: four stages, their settings, command line and records."""
