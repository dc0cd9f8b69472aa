"""x."""

FIGURES = []
