"""No defense: the row every other row is compared with."""

from __future__ import annotations

from robench import Defense


class Undefended(Defense):
    """Leave the victim as it is: f_defended = f."""

    name = "none"
    undefended = True
