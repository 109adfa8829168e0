"""The forecasting node in a scene, for those who test it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.nodes.forecasting_scene import Street


@pytest.fixture
def street(ros_context: Any) -> Iterator[Callable[..., Street]]:
    """Makes forecasting nodes with the given parameters."""
    made: list[Street] = []

    def make(**parameters: Any) -> Street:
        made.append(Street(ros_context, **parameters))
        return made[-1]

    yield make
    for each in made:
        each.close()
