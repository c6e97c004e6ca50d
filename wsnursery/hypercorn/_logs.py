"""Where the log lines of the library go when it runs the server process."""

from __future__ import annotations

import logging

import hypercorn.config

logger = logging.getLogger("wsnursery.hypercorn")
"""What `serve` and `run` say themselves."""


def show_log(config: hypercorn.config.Config) -> None:
    """Write what the library logs to where Hypercorn writes its own lines, in the same form.

    An application that has set up logging itself is left alone. Call it when the application has
    been imported.

    Args:
        config: Its ``errorlog`` is the place, its ``loglevel`` the level.
    """
    own, root = logging.getLogger("wsnursery"), logging.getLogger()
    target = config.log.error_logger
    is_set_up = any(isinstance(handler, logging.StreamHandler) for handler in own.handlers)
    if target is None or root.handlers or is_set_up:
        return
    for handler in target.handlers:
        own.addHandler(handler)
    if own.level == logging.NOTSET:
        own.setLevel(target.level)
