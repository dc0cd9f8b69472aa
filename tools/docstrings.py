"""Lets the API reference show the `Example:` of a docstring as code; its reader knows the plural only."""

import re
from typing import Any

from griffe import Extension, Object

__all__ = ["Examples"]


class Examples(Extension):
    """Rename the section before the docstring is parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called by the reader for every object that it has collected."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
