"""Numbers as texts, the way the reference writes them. Source: manifest contract, section 1.4."""

from __future__ import annotations

import math


def number_text(value: int | float) -> str:
    """A number as the reference writes it where text is wanted: `1.0` -> `1`, `1000000.0` -> `1e+06`."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, _, exponent = f"{value!r}".partition("e")
    digits = mantissa.lstrip("-").replace(".", "").strip("0") or "0"
    power = math.floor(math.log10(abs(value))) if value else 0
    if exponent:
        power = int(exponent)
    if value and (power < -4 or power >= 6):
        sign = "-" if value < 0 else ""
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    text = mantissa if not exponent else f"{value:.17f}".rstrip("0")
    return text.removesuffix(".0").removesuffix(".")
