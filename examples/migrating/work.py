"""The work that the handlers do for a message."""

import anyio


async def answer(message: str | bytes) -> str:
    if message == "slow":
        await anyio.sleep(60)
    if message == "fail":
        raise LookupError("a bug of the application")
    return f"you said {message!r}"
