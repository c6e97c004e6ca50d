"""Which tests stay in one process under pytest-xdist: those that share a server, or a file."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

from tests.servers._rows import SERVERS


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # it is not typed
    """Hands out files, with two exceptions: the largest files would leave other processors idle.

    A file in `tests/servers` is handed out server by server, so that each server starts once. The
    explorations share nothing and are handed out one by one.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        match PurePosixPath(file).parts:
            case ("tests", "explore", *_):
                return nodeid
            case ("tests", "servers", *_):
                return f"{file} {_server_of(test)}"
            case _:
                return file


def _server_of(test: str) -> str:
    """The name of the row of the table of servers that a test has as a parameter."""
    parameters = f"-{test.partition('[')[2].removesuffix(']')}-"
    return max((name for name in SERVERS if f"-{name}-" in parameters), key=len, default="")
