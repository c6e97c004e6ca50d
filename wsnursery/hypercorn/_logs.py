"""The log of the library when it runs the server process."""

from __future__ import annotations

import logging
from copy import copy
from importlib.metadata import version

import hypercorn.config

from wsnursery._backend.running import running_on_trio

logger = logging.getLogger("wsnursery.hypercorn")
"""The logger of `serve` and `run`."""


def show_log(config: hypercorn.config.Config) -> None:
    """Write the library's log where Hypercorn writes its own, in the same format.

    If the application has configured logging, nothing changes. So call this after the application
    has been imported.

    Args:
        config: Its ``errorlog`` is the destination, its ``loglevel`` the level.
    """
    own, root = logging.getLogger("wsnursery"), logging.getLogger()
    # Use a copy, because a configuration that has made its logger cannot be pickled.
    target = copy(config).log.error_logger
    is_set_up = any(isinstance(handler, logging.StreamHandler) for handler in own.handlers)
    if target is None or root.handlers or is_set_up:
        return
    for handler in target.handlers:
        own.addHandler(handler)
    if own.level == logging.NOTSET:
        own.setLevel(target.level)


def log_start(config: hypercorn.config.Config, addresses: list[str]) -> None:
    """Log what was started, and with which limits.

    Args:
        config: The configuration.
        addresses: The addresses on which it listens.
    """
    worker = "trio" if running_on_trio() else "asyncio"
    logger.info(
        "started on %s: wsnursery %s, Hypercorn %s, %s worker, %d process(es), "
        "messages up to %d bytes, %s descriptors",
        ", ".join(addresses),
        version("wsnursery"),
        version("hypercorn"),
        worker,
        config.workers,
        config.websocket_max_message_size,
        _descriptors(),
    )


def _descriptors() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "unlimited"
    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
