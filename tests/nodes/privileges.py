"""A thread as an ordinary user's: tests may run as root, to whom Linux forbids nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_VERSION_3 = 0x20080522  # of capget(2)
_CAP_SYS_NICE = 23


def unprivileged(work: Callable[[], T]) -> T:
    """What `work` returns in a thread that must not raise its priority; those it starts inherit."""

    def run() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # 0: the calling thread
        # Effective, permitted and inheritable, the lower 32 capabilities and the others.
        sets = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        for which in (0, 1):
            sets[which] &= ~(1 << _CAP_SYS_NICE)
        assert libc.capset(header, sets) == 0
        return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
