"""The look of the project's pictures and the marks that they share."""
