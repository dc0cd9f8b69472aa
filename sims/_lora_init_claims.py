"""x."""

from ._beside import Claims

CLAIMS = Claims()
