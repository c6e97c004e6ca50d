"""A route of Litestar. Run it with ``hypercorn -k trio examples.frameworks.litestar_app:app``."""

from litestar import Litestar, asgi, get
from litestar.logging import LoggingConfig
from litestar.types import Receive, Scope, Send

from examples.frameworks.feed import feed


@get("/")
async def page() -> str:
    return "a page"


@asgi("/feed/{name:str}", copy_scope=True)
async def mounted_feed(scope: Scope, receive: Receive, send: Send) -> None:
    await feed(scope, receive, send)


# Without this setting Litestar does not log a handler that fails.
logging_config = LoggingConfig(log_exceptions="always")

app = Litestar([page, mounted_feed], logging_config=logging_config)
