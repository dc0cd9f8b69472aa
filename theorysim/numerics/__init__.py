"""Mathematics that several theories share; each file is named after what it computes."""

__all__ = ["binomial", "stats", "validation"]
