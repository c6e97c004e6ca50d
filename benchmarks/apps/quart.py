"""Quart's."""

from quart import Quart

from ._quart import with_routes

app = with_routes(Quart(__name__))
