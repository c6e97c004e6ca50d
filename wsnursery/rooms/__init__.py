"""Rooms: every message goes to every member, and a slow client cannot delay the others.

`Room` and `Rooms` exist in one process. `SharedRooms` have their members on several workers and
machines. An `Engine` such as `wsnursery.redis.RedisEngine` numbers and carries their messages.
"""

from ._engine import Carried as Carried
from ._engine import Engine as Engine
from ._engine import EngineAway as EngineAway
from ._engine import EngineMisconfigured as EngineMisconfigured
from ._engine import EngineState as EngineState
from ._engine import EngineStatistics as EngineStatistics
from ._engine import MessageTooBig as MessageTooBig
from ._engine import Outgoing as Outgoing
from ._engine import Sink as Sink
from ._engine import Snapshot as Snapshot
from ._fanout import RoomStatistics as RoomStatistics
from ._member import JoinOptions as JoinOptions
from ._member import Member as Member
from ._member import Overflow as Overflow
from ._memberships import Memberships as Memberships
from ._memberships import TooManyRooms as TooManyRooms
from ._memory import MemoryEngine as MemoryEngine
from ._position import Position as Position
from ._position import Stamp as Stamp
from ._presence import Joined as Joined
from ._presence import Left as Left
from ._presence import Presence as Presence
from ._presence import PresenceEvent as PresenceEvent
from ._registry import Rooms as Rooms
from ._room import Room as Room
from ._shared import SharedRooms as SharedRooms
from ._shared import SharedStatistics as SharedStatistics
from ._shared_room import Person as Person

__all__ = [
    "Carried",
    "Engine",
    "EngineAway",
    "EngineMisconfigured",
    "EngineState",
    "EngineStatistics",
    "JoinOptions",
    "Joined",
    "Left",
    "Member",
    "Memberships",
    "MemoryEngine",
    "MessageTooBig",
    "Outgoing",
    "Overflow",
    "Person",
    "Position",
    "Presence",
    "PresenceEvent",
    "Room",
    "RoomStatistics",
    "Rooms",
    "SharedRooms",
    "SharedStatistics",
    "Sink",
    "Snapshot",
    "Stamp",
    "TooManyRooms",
]

# Show the public path in reprs, tracebacks and pickles, not the private module.
for _public in (globals()[name] for name in __all__):
    if isinstance(_public, type):
        _public.__module__ = __name__
