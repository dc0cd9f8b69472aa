"""Numbers as a reader wants them: as many digits as the standard error leaves meaningful.

Example:
    >>> measured(12.6342, 0.0487)
    '12.634 ± 0.049'
    >>> number(0.000123456)
    '1.235 × 10⁻⁴'
    >>> duration(75)
    '1 min 15 s'
"""

import math

__all__ = ["duration", "measured", "number"]


def number(value: float | int | None, *, digits: int = 4) -> str:
    """Return `value` with `digits` significant digits, and a dash for a number that does not exist.

    Example:
        >>> number(1234.5678), number(float("nan"))
        ('1235', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 < exponent < 6:
        decimals = max(digits - 1 - exponent, 0)
        text = f"{value:.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−", 1)
    mantissa, power = f"{value:.{digits - 1}e}".split("e")  # rounds 9.9996 up to the next power
    return mantissa.replace("-", "−") + _power(int(power))


def measured(value: float | int | None, error: float | int | None) -> str:
    """Return `value ± error`, the error with two digits and the value to the same decimal place.

    Example:
        >>> measured(0.5, 0.0), measured(1.5e-9, 2e-11)
        ('0.5', '(1.500 ± 0.020) × 10⁻⁹')
    """
    if value is None or math.isnan(value):
        return "–"
    if error is None or not math.isfinite(error) or error <= 0 or not math.isfinite(value):
        return number(value)
    place = math.floor(math.log10(error)) - 1
    largest = max(abs(value), error)
    if place < -7 or largest >= 1e6:
        scale = math.floor(math.log10(largest))
        decimals = max(scale - place, 0)
        shown = f"({value / 10.0**scale:.{decimals}f} ± {error / 10.0**scale:.{decimals}f})"
        return shown.replace("-", "−") + _power(scale)
    decimals = max(-place, 0)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−", 1)


def duration(seconds: float | int | None) -> str:
    """Return a time span in the one or two units that matter.

    Example:
        >>> duration(0.25), duration(7300)
        ('0.2 s', '2 h 1 min')
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _power(exponent: int) -> str:
    return " × 10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
