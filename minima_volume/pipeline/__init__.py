"""Run a study: four stages, their settings, command line and records."""
