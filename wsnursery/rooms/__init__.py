"""Rooms: every message to every member, and a slow client can stop nobody.

`Room` is the heart; `Rooms` keeps them by name; `Backplane` joins those of several processes.
"""

from ._backplane import Backplane as Backplane
from ._backplane import Envelope as Envelope
from ._backplane import Gap as Gap
from ._backplane import InProcessBackplane as InProcessBackplane
from ._member import JoinOptions as JoinOptions
from ._member import Member as Member
from ._member import Overflow as Overflow
from ._presence import Joined as Joined
from ._presence import Left as Left
from ._presence import Presence as Presence
from ._registry import Rooms as Rooms
from ._room import Room as Room
from ._room import RoomStatistics as RoomStatistics

__all__ = [
    "Backplane",
    "Envelope",
    "Gap",
    "InProcessBackplane",
    "JoinOptions",
    "Joined",
    "Left",
    "Member",
    "Overflow",
    "Presence",
    "Room",
    "RoomStatistics",
    "Rooms",
]

# Show the public path in reprs, tracebacks and pickles, not the private module.
for _public in (globals()[name] for name in __all__):
    if isinstance(_public, type):
        _public.__module__ = __name__
