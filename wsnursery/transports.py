"""The seam for transports of your own: what the engine asks for, and the events it deals in.

``docs/transports.md`` shows how to write one, and `wsnursery.testing.check_transport` checks it.
"""

from ._protocol import Accept as Accept
from ._protocol import Close as Close
from ._protocol import Connect as Connect
from ._protocol import Disconnect as Disconnect
from ._protocol import Incoming as Incoming
from ._protocol import Outgoing as Outgoing
from ._protocol import Reject as Reject
from ._transport import Transport as Transport
from ._types import Scope as Scope
from ._websocket import make_websocket as make_websocket

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
