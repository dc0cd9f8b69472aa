"""Claims."""
from ._beside import Claims
CLAIMS = Claims()
