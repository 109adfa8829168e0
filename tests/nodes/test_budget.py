"""What an explanation may take of the machine: its share of a second, its thread's priority."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from ros_xai.nodes.budget import Budget, be_nice, set_apart
from ros_xai.nodes.explained_tasks import TASKS, Submit
from ros_xai.nodes.explained_view import View
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.ros.errors import MessageError
from tests.nodes.explanation_scene import Scene, image
from tests.nodes.privileges import unprivileged
from tests.waiting import until

linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="elsewhere a thread has no policy")


def test_the_budget_rests_in_proportion(monkeypatch) -> None:
    """20 ms of work at 250 ms per second: 60 ms of rest."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def predict(inputs: np.ndarray) -> np.ndarray:
        now[0] += 0.02
        return inputs

    budget = Budget(250.0, lambda: True)
    call = budget.metered(predict)
    call(np.zeros(1, np.float32))
    call(np.zeros(1, np.float32))
    assert now[0] == pytest.approx(0.16)
    assert budget.ms == pytest.approx(40)
    with pytest.raises(MessageError, match="deactivated"):
        Budget(250.0, lambda: False).metered(predict)(np.zeros(1, np.float32))


def priorities() -> tuple[int, int]:
    """Policy and niceness of the calling thread."""
    thread = threading.get_native_id()
    return os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)


@linux
def test_the_working_thread_gives_way_to_others() -> None:
    """Policy and niceness of the thread that asks, and of one that it starts; no other's."""
    found: list[tuple[int, int]] = []

    def work(idle: bool) -> None:
        be_nice(7, idle)
        found.append(priorities())
        inner = threading.Thread(target=lambda: found.append(priorities()))
        inner.start()
        inner.join()

    before = priorities()
    for idle in (True, False):
        worker = threading.Thread(target=work, args=(idle,))
        worker.start()
        worker.join()
    nice = max(7, before[1])
    assert found == 2 * [(os.SCHED_IDLE, nice)] + 2 * [(os.SCHED_OTHER, nice)]
    assert priorities() == before


@linux
def test_what_is_set_apart_raises_here_what_it_raises() -> None:
    def fail() -> None:
        raise MessageError("target", f"at {priorities()}")

    before = priorities()
    with pytest.raises(MessageError, match=f"at .{os.SCHED_IDLE}, "):
        set_apart(3, True, fail)
    assert priorities() == before


@linux
def test_an_ordinary_user_may_change_priorities_while_the_node_runs(
    ros_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without CAP_SYS_NICE no thread leaves SCHED_IDLE, or becomes less nice than it was."""
    found: list[tuple[int, int]] = []

    class Look:
        """Every image is an answer; asked why, it looks at the thread that asks."""

        def __init__(self, config: ExplanationConfig) -> None: ...

        def connect(self, node: Any, submit: Submit) -> None:
            node.listen(Image, "image", "answer", lambda arrival: submit(arrival, self._ask))

        def _ask(self, config: ExplanationConfig) -> View:
            found.append(priorities())
            raise MessageError("target", "there was only a look")

    monkeypatch.setitem(TASKS, "segmentation", Look)
    scene = unprivileged(lambda: Scene(ros_context, task="segmentation", by="image"))
    usual = priorities()[1]
    wanted = [(True, 12), (False, 5), (True, 0), (False, 0)]
    for count, (idle, niceness) in enumerate(wanted, 1):
        changes = [Parameter("idle", value=idle), Parameter("niceness", value=niceness)]
        assert all(result.successful for result in scene.node.set_parameters(changes))
        scene.send("image", image(100 * count))
        until(lambda: sum(scene.node.drops.values()) == count)  # noqa: B023
    scene.close()
    assert scene.node.drops == {"answer.target": len(wanted)}
    assert found == [
        (os.SCHED_IDLE if idle else os.SCHED_OTHER, max(usual, niceness))
        for idle, niceness in wanted
    ]
