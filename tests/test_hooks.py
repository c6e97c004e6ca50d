"""The events that hooks are given."""

import dataclasses
import inspect
from typing import Any
from uuid import uuid4

import pytest

from wsnursery import hooks

EVENTS = [
    kind
    for _, kind in inspect.getmembers(hooks, inspect.isclass)
    if issubclass(kind, hooks.Event) and kind is not hooks.Event
]


@pytest.mark.parametrize("kind", EVENTS)
def test_events_are_frozen_and_say_of_which_connection_and_when(kind: Any) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert names[:2] == ["connection", "time"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind(uuid4(), *(0.0 for _ in names[1:])).time = 1.0


def test_the_docstring_lists_every_event() -> None:
    assert hooks.__doc__ is not None
    for kind in EVENTS:
        assert f"`{kind.__name__}`" in hooks.__doc__
