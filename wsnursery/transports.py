"""For writing your own transport: the interface that the engine calls, and its events.

``docs/transports.md`` shows how to write one, and `wsnursery.testing.check_transport` checks it.
"""

from ._engine.events import Accept as Accept
from ._engine.events import Close as Close
from ._engine.events import Connect as Connect
from ._engine.events import Disconnect as Disconnect
from ._engine.events import Incoming as Incoming
from ._engine.events import Outgoing as Outgoing
from ._engine.events import Reject as Reject
from ._engine.transport import Transport as Transport
from ._engine.websocket import make_websocket as make_websocket
from ._types import Scope as Scope

__all__ = [
    "Accept",
    "Close",
    "Connect",
    "Disconnect",
    "Incoming",
    "Outgoing",
    "Reject",
    "Scope",
    "Transport",
    "make_websocket",
]
