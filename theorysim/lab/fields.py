"""The description of each field of a config: the string or the comment that stands beside it.

Example:
    >>> "seed" in field_docs(int)
    False
"""

import ast
import inspect
import re
import textwrap

__all__ = ["field_docs"]


def field_docs(kind: type) -> dict[str, str]:
    """Return field name -> description, from the docstring below, the comment behind or the comment above it.

    Fields without one, and classes whose source cannot be found, are left out.

    Example:
        >>> from theorysim.lab.sim import Paper
        >>> field_docs(Paper)["year"]
        'Year of the first version.'
    """
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return {}
    lines = source.splitlines()
    definition = ast.parse(source).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    docs = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            doc = _string(following) or _comment(lines, node)
            if doc:
                docs[node.target.id] = " ".join(doc.split())
    return docs


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else ""
    return ""


def _comment(lines: list[str], node: ast.AnnAssign) -> str:
    behind = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :]
    if match := re.match(r"\s*#\s*(.+)", behind):
        return match[1]
    above = lines[node.lineno - 2].strip() if node.lineno >= 2 else ""
    return above.removeprefix("#").strip() if above.startswith("#") else ""
