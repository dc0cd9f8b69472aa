"""Formulas of captions and claims on a page and in a terminal."""

import pytest

from theorysim.lab.formulas import in_html, in_text


@pytest.mark.parametrize(
    ("formula", "page", "line"),
    [
        ("$n$", "<i>n</i>", "n"),
        ("$S_0$", "<i>S</i><sub>0</sub>", "S_0"),
        ("$10^{-4}$", "10<sup>−4</sup>", "10^(−4)"),
        (r"$\mathrm{E}[T]$", "E[<i>T</i>]", "E[T]"),
        (r"$h_\infty$", "<i>h</i><sub>∞</sub>", "h_∞"),
        (r"$\sigma_1 = 0.1$", "<i>σ</i><sub>1</sub> = 0.1", "σ_1 = 0.1"),
        (r"$T \leq m$", "<i>T</i> ≤ <i>m</i>", "T ≤ m"),
        (r"$\tilde s-1$", "<i>s\u0303</i> − 1", "s\u0303 − 1"),
        (
            r"$\sqrt{V_m(\tilde s-1)}$",
            '√<span class="root"><i>V</i><sub><i>m</i></sub>(<i>s\u0303</i> − 1)</span>',
            "√(V_m(s\u0303 − 1))",
        ),
        (r"$\frac{n+1}{N}$", "(<i>n</i> + 1)/<i>N</i>", "(n + 1)/N"),
        (r"$\log x$", "log\u2009<i>x</i>", "log\u2009x"),
        ("$a<b$", "<i>a</i> &lt; <i>b</i>", "a < b"),
        (r"$\unknown{x$", "unknown\u2009<i>x</i>", "unknown\u2009x"),
    ],
)
def test_a_formula_is_shown_in_both(formula, page, line):
    assert in_html(formula) == page
    assert in_text(formula) == line


def test_words_around_formulas_are_escaped_and_a_single_dollar_stays():
    assert in_html("<b> & $n$ for 5 $") == "&lt;b&gt; &amp; <i>n</i> for 5 $"
    assert in_text("<b> & $n$ for 5 $") == "<b> & n for 5 $"
