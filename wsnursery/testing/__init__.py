"""Test what happens when the connection breaks: an ASGI server in memory, with faults.

It works for every ASGI application with WebSockets, on trio and on asyncio. See
``docs/testing.md`` for an introduction.
"""

from ._client import Client as Client
from ._client import connect as connect
from ._conformance import Block as Block
from ._conformance import PairFactory as PairFactory
from ._conformance import Remote as Remote
from ._conformance import check_transport as check_transport
from ._conversation import Scenario as Scenario
from ._conversation import conversation as conversation
from ._engines import check_engine as check_engine
from ._errors import ApplicationStuck as ApplicationStuck
from ._errors import ConnectionEnded as ConnectionEnded
from ._errors import Deadlock as Deadlock
from ._errors import HandshakeDenied as HandshakeDenied
from ._errors import Leak as Leak
from ._errors import Livelock as Livelock
from ._explore import ExplorationFailed as ExplorationFailed
from ._explore import FailedRun as FailedRun
from ._explore import Report as Report
from ._explore import explore as explore
from ._faults import CloseAt as CloseAt
from ._faults import Delay as Delay
from ._faults import FailReceive as FailReceive
from ._faults import FailSend as FailSend
from ._faults import Fault as Fault
from ._faults import Garbage as Garbage
from ._faults import StallSend as StallSend
from ._faults import VanishAt as VanishAt
from ._leaks import no_leaks as no_leaks
from ._peer import Peer as Peer
from ._personalities import BASIC as BASIC
from ._personalities import DAPHNE as DAPHNE
from ._personalities import FOREIGN_EXCEPTION as FOREIGN_EXCEPTION
from ._personalities import GRANIAN as GRANIAN
from ._personalities import GRANIAN_OLD as GRANIAN_OLD
from ._personalities import HYPERCORN_ASYNCIO as HYPERCORN_ASYNCIO
from ._personalities import HYPERCORN_TRIO as HYPERCORN_TRIO
from ._personalities import RAISES_OSERROR as RAISES_OSERROR
from ._personalities import RAISES_RUNTIMEERROR as RAISES_RUNTIMEERROR
from ._personalities import SERVERS as SERVERS
from ._personalities import SILENT as SILENT
from ._personalities import UVICORN as UVICORN
from ._personalities import UVICORN_LEGACY as UVICORN_LEGACY
from ._personalities import UVICORN_OLD as UVICORN_OLD
from ._personalities import Personality as Personality
from ._plan import ALL_FAULTS as ALL_FAULTS
from ._plan import ActionKind as ActionKind
from ._plan import FaultKind as FaultKind
from ._run import InjectedBug as InjectedBug
from ._run import InjectedError as InjectedError
from ._run import Run as Run
from ._server import Server as Server
from ._target import Target as Target
from ._transcript import Transcript as Transcript
from ._transcript import TranscriptEntry as TranscriptEntry
from ._virtual import virtual_backend as virtual_backend
