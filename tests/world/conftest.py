"""A small town for the world's tests: built once, driven for four seconds."""

from __future__ import annotations

import pytest

from ros_xai.world.drive import Drive, drive
from ros_xai.world.network import NetworkConfig

SMALL = NetworkConfig(columns=3, rows=2, block=90.0, removed=0.0, roundabouts=0, lights=1.0)


@pytest.fixture(scope="session")
def small_drive() -> Drive:
    return drive(4, 10.0, SMALL)
