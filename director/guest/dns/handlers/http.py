"""A domain that a web server knows. Source: DNS contract, section 9 and its corrections."""

from __future__ import annotations

from ..passing import Passing


class Http(Passing):
    name = "http"
