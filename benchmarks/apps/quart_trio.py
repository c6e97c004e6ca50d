"""Quart-Trio's."""

from quart_trio import QuartTrio

from ._quart import with_routes

app = with_routes(QuartTrio(__name__))
