"""What a server makes impossible: the one table of what is expected to fail, and why.

Every row is a strict expectation. When a new version of the server fixes the problem, the test
fails and the row must be removed. docs/servers.md lists the rows for users.
"""

from dataclasses import dataclass
from fnmatch import fnmatch

LEGACY = "uvicorn*-legacy*"


@dataclass(frozen=True)
class Limit:
    """A rule that cannot be kept on some servers.

    Attributes:
        servers: patterns of the names of their rows, separated by spaces.
        rule: the rule of the contract.
        tests: the tests that show it, with their parameters if only some are affected.
        reason: what happens instead, for the operator of the server.
        upstream: the cause in the server.
    """

    servers: str
    rule: str
    tests: tuple[str, ...]
    reason: str
    upstream: str

    def is_about(self, server: str, test: str) -> bool:
        return any(fnmatch(server, pattern) for pattern in self.servers.split()) and any(
            name in {test, test.partition("[")[0]} for name in self.tests
        )


LIMITS = (
    Limit(
        "anycorn*",
        "C5",
        ("test_leaving_a_client_that_stops_reading",),
        "the block waits until the client reads or the system drops the connection",
        "send runs in a shielded cancel scope (tcp_server.py)",
    ),
    Limit(
        LEGACY,
        "D2",
        ("test_close_frame_on_a_line_that_stays_open", "test_frame_that_breaks_the_protocol"),
        "the handler is notified up to 10 s later, when the TCP connection has been closed",
        "websockets.legacy reports the end after the TCP connection, for which it waits 10 s",
    ),
    Limit(
        "granian* daphne",
        "T1",
        ("test_headers",),
        "the headers given to accept() are not sent",
        "only the subprotocol of websocket.accept is used (daphne: ws_protocol.py)",
    ),
    Limit(
        "granian*",
        "D7",
        ("test_client_that_leaves_before_accept",),
        "accept() succeeds, and the disconnect comes after it",
        "receive() waits for the accept",
    ),
    Limit(
        "granian*",
        "X5",
        ("test_sigterm",),
        "the process ends without notifying the handlers, and clients see the connection cut",
        "the event loop is stopped while applications run",
    ),
    Limit(
        "daphne",
        "X5",
        ("test_sigterm",),
        "the process may end without notifying the handlers, or before their clean-up has ended",
        "server.py: kill_all_applications meets a KeyError, or waits for the first to end only",
    ),
    Limit(
        "daphne",
        "S6",
        ('test_message[""]', 'test_message[b""]'),
        "empty messages are not sent",
        "ws_protocol.py: `if message.get('text')`",
    ),
    Limit(
        "daphne",
        "S10",
        ("test_client_that_stops_reading",),
        "sends never wait: unread messages are kept in memory without a limit",
        "sendMessage writes to the transport without checking whether it has room",
    ),
    Limit(
        "daphne",
        "R2",
        ("test_client_that_sends_too_fast",),
        "what the handler does not read is kept in memory without a limit",
        "the queue of an application has no bound (server.py: asyncio.Queue())",
    ),
    Limit(
        "daphne",
        "C3",
        (
            "test_own_close_code[1001]",
            "test_own_close_code[1008]",
            "test_own_close_code[1011]",
            "test_own_close_code[1012]",
        ),
        "the client gets a code that is 3900 higher: 4901 for 1001, 4911 for 1011",
        "autobahn's sendClose takes only 1000 and 3000 to 4999",
    ),
    Limit(
        "daphne",
        "C1",
        ("test_own_close_reason",),
        "the close reason is not sent",
        "serverClose has no argument for it (ws_protocol.py)",
    ),
)


def limit_of(server: str, test: str) -> Limit | None:
    """The row about a test on a server, if there is one.

    Args:
        server: the name of the server's row.
        test: the test's name, with its other parameters in brackets.
    """
    return next((limit for limit in LIMITS if limit.is_about(server, test)), None)
