"""Figures."""
FIGURES = ()
