"""What the probes would find on a server that does everything well."""

import copy
from typing import Any

from wsnursery._doctor._examination import OURS, RAW, SHUTDOWNS, Findings

Facts = dict[str, Any]

RETURNED: Facts = {"outcome": "returned", "seconds": 0.001}
GONE: Facts = {
    "outcome": "raised",
    "error": "BrokenPipeError",
    "text": "",
    "is_os_error": True,
    "seconds": 0.0,
}
EVENT: Facts = {**RETURNED, "code": 4001, "reason": "bye", "messages": 0}
LEFT: Facts = {"status": 101, "end": "left"}
ENDED: Facts = {"outcome": None, "group": False, "cleaned": 2, "seconds": 0.01}
CUT: Facts = {**ENDED, "outcome": "WebSocketDisconnected"}


def closed(code: int) -> Facts:
    return {"client": {"status": 101, "end": "close", "code": code}}


RAW_FACTS: dict[str, Facts] = {
    "hello": {
        "spec_version": "2.5",
        "extensions": ["websocket.http.response"],
        "backend": "trio",
        "python": "3.11.7",
        "server": {"perfect": "1.0"},
        "libraries": {"anyio": "4.16.0"},
    },
    "leave": EVENT,
    "late_send": {"sends": [GONE] * 5, "receive": {"outcome": "hangs", "seconds": 0.3}},
    "blocked_send": {
        "sent": 3_400_000,
        "blocks": True,
        "cancellable": True,
        "freed": True,
        "send": GONE,
        "receive": EVENT,
    },
    "full_queue": {"sends": [GONE] * 3, "receive": EVENT},
    "unread": {"taken": 3_000_000},
    "cancelled_receive": {"sent": 400, "lost": 0},
    "concurrent_send": {"sent": 80, "whole": 80, "failed": None},
    "end": {**RETURNED, **closed(1000)},
    "send_loop": {**GONE, "sent": 0, "ticks": 0},
    "early_frame": {"accept": RETURNED, "receive": {"event": "websocket.receive"}},
    "shutdown": {"notified": EVENT, **closed(1012)},
}

OUR_FACTS: dict[str, Facts] = {
    "leave": {},
    "send_loop": {**CUT, "sent": 1, "ticks": 1},
    "blocked_send": {**CUT, "blocks": True, "needs_reset": False, "unwound": 0.5},
    "full_queue": CUT,
    "unread": {**ENDED, "taken": 3_000_000, "kept": 64},
    "cancelled_receive": {**ENDED, "sent": 400, "lost": 0},
    "concurrent_send": {**ENDED, "sent": 80, "whole": 80},
    "end": {},
    "early_frame": {**ENDED, "received": "early"},
    "shutdown": {**ENDED, **closed(1001)},
}

VARIANTS: dict[str, Facts] = {
    "read": {**ENDED, "read_code": 4001},
    "busy": CUT,
    "close": {**ENDED, **closed(1001)},
    "return": {**ENDED, **closed(1000)},
    "raise": {**ENDED, "outcome": "LookupError", **closed(1011)},
}


def facts_of(script: str) -> Facts:
    kind, name, variant = script.split("/")
    facts = (RAW_FACTS if kind == "raw" else OUR_FACTS)[name]
    if kind == "ours":
        facts = {**facts, **VARIANTS.get(variant.rpartition("-")[2], {})}
    return copy.deepcopy({"over": True, "reached": True, "alive": True, "client": LEFT, **facts})


def perfect() -> Findings:
    return Findings(
        {script: facts_of(script) for run in (*OURS, *RAW, *SHUTDOWNS) for script in run.scripts}
    )
