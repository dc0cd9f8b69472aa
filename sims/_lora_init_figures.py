"""x."""
FIGURES = []
