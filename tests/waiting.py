"""Waiting, with an end, for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def pause() -> None:
    time.sleep(0.002)


def until(
    condition: Callable[[], Any],
    seconds: float = 60.0,
    meanwhile: Callable[[], Any] = pause,
    state: Callable[[], Any] = lambda: "what the test waits for did not come",
) -> None:
    """Returns once the condition holds; fails after so many seconds, saying the state."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, state()
        meanwhile()
