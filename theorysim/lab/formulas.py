r"""Formulas in captions and claims, `$…$` in the TeX that Matplotlib knows, for a web page and a terminal.

A page that is complete in itself cannot load a typesetter. The formulas of a caption are short, so italics,
sub- and superscripts and Unicode symbols are enough; what is not known is shown by its name.

Example:
    >>> in_html(r"the exact $S_m$ & $\sqrt{2n-1}$")
    'the exact <i>S</i><sub><i>m</i></sub> &amp; √<span class="root">2<i>n</i> − 1</span>'
    >>> in_text(r"the exact $S_m$ & $\sqrt{2n-1}$")
    'the exact S_m & √(2n − 1)'
"""

import html
import re
from collections import deque
from collections.abc import Callable

__all__ = ["in_html", "in_text"]

_FORMULA = re.compile(r"\$([^$]+)\$")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi "
        "varphi chi psi omega Gamma Delta Theta Lambda Pi Sigma Phi Psi Omega".split(),
        "αβγδϵεζηθκλμνξπρστϕφχψωΓΔΘΛΠΣΦΨΩ",
        strict=True,
    )
)
_SYMBOLS = {"infty": "∞", "sum": "∑", "prod": "∏", "int": "∫", "cdot": "·", "|": "‖", "partial": "∂"}
_SYMBOLS |= {",": "\u2009", ";": "\u2009", "!": ""}
_SIGNS = {"leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "approx": "≈", "sim": "∼", "in": "∈"}
_SIGNS |= {"times": "×", "pm": "±", "to": "→", "propto": "∝", "-": "−"} | {sign: sign for sign in "+=<>"}
_ACCENTS = {"tilde": "\u0303", "hat": "\u0302", "bar": "\u0304"}
_UPRIGHT = {"mathrm", "mathbf", "text", "operatorname"}
_IGNORED = {"left", "right", "displaystyle"}


def in_html(text: str) -> str:
    """Return `text` escaped for HTML, its formulas set in italics with sub- and superscripts.

    Example:
        >>> in_html("x < y, $p^{(1)}$")
        'x &lt; y, <i>p</i><sup>(1)</sup>'
    """
    return _each(text, html.escape, lambda formula: _sequence(deque(_TOKEN.findall(formula))))


def in_text(text: str) -> str:
    r"""Return `text` with its formulas in one line of Unicode.

    Example:
        >>> in_text(r"$\sigma_{m,j} \leq 1$, $p^{(1)}$")
        'σ_(m,j) ≤ 1, p^(1)'
    """

    def flat(formula: str) -> str:
        line = re.sub(r"</?i>", "", _sequence(deque(_TOKEN.findall(formula))))
        for tag, mark in (("sub", "_"), ("sup", "^"), ('span class="root"', "")):
            pattern = f"<{tag}>([^<]*)</{tag.split()[0]}>"
            line = re.sub(pattern, lambda found, mark=mark: mark + _bracketed(found[1]), line)
        return html.unescape(line)

    return _each(text, str, flat)


def _each(text: str, plain: Callable[[str], str], formula: Callable[[str], str]) -> str:
    parts = _FORMULA.split(text)  # words and formulas in turn
    return "".join(formula(part) if place % 2 else plain(part) for place, part in enumerate(parts))


def _sequence(tokens: deque[str]) -> str:
    """Set tokens up to the brace that closes them."""
    found = ""
    while tokens:
        if tokens[0] == "}":
            tokens.popleft()
            break
        sign = _SIGNS.get(tokens[0].removeprefix("\\"))
        if sign is None:
            found += _atom(tokens)
        else:
            tokens.popleft()
            found += f" {html.escape(sign)} " if found else html.escape(sign)
    return found


def _atom(tokens: deque[str]) -> str:
    """Set one token with its arguments."""
    if not tokens:
        return ""
    token = tokens.popleft()
    name = token.removeprefix("\\")
    if token == "{":
        return _sequence(tokens)
    if token in "_^":
        tag = "sub" if token == "_" else "sup"
        return f"<{tag}>{_atom(tokens)}</{tag}>"
    if token == name:
        return f"<i>{token}</i>" if token.isalpha() else html.escape(token)
    if name == "frac":
        return f"{_bracketed(_atom(tokens))}/{_bracketed(_atom(tokens))}"
    if name == "sqrt":
        return f'√<span class="root">{_atom(tokens)}</span>'
    if name in _UPRIGHT:
        return re.sub(r"</?i>", "", _atom(tokens))
    if name in _ACCENTS:
        return re.sub(r"(\w)(?=</i>|$)", rf"\1{_ACCENTS[name]}", _atom(tokens), count=1)
    if name in _GREEK:
        return f"<i>{_GREEK[name]}</i>"
    return "" if name in _IGNORED else _SYMBOLS.get(name, f"{name}\u2009")


def _bracketed(content: str) -> str:
    """The content in brackets, unless it is one symbol, one number or bracketed already."""
    shown = re.sub(r"<[^>]*>", "", content)
    whole = re.fullmatch(r"\w\W?|[\d.]+|∞|\([^()]*\)", shown)
    return content if whole else f"({content})"
