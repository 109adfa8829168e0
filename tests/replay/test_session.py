"""Replays through rclpy into small nodes with a worker thread each."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image, PointCloud2

from ros_xai.replay.bag import Bag
from ros_xai.replay.player import find_type
from ros_xai.replay.session import UNANSWERED, Pace, ReplayError, Session
from ros_xai.world.bag_writer import BagWriter


class Echo(Node):
    """Answers every image, in a thread and after a while, with the same bytes on `answer`.

    `work` may drop an image by returning False; with `deaf` the first image is never counted.
    """

    def __init__(
        self,
        context: Any,
        work: Callable[[int], bool] = lambda index: True,
        deaf: bool = False,
        name: str = "echo",
    ) -> None:
        super().__init__(
            name,
            context=context,
            parameter_overrides=[Parameter("use_sim_time", Parameter.Type.BOOL, True)],
        )
        self.received: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.frames_in = self.answered = 0
        self.work, self.deaf = work, deaf
        self.clock_seen: list[int] = []
        self._answer = self.create_publisher(Image, f"/{name}/answer", QoSProfile(depth=5))
        self._jobs: queue.Queue[bytes | None] = queue.Queue()
        self._busy = threading.Event()
        qos = QoSProfile(depth=5)
        self.create_subscription(Image, "/camera/image", self._image, qos, raw=True)
        self.create_subscription(PointCloud2, "/lidar/points", self._points, qos, raw=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def idle(self) -> bool:
        return self._jobs.unfinished_tasks == 0

    def pending(self) -> int:
        return self._jobs.unfinished_tasks

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self.destroy_node()

    def _points(self, data: bytes) -> None:
        self.received["/lidar/points"] += 1

    def _image(self, data: bytes) -> None:
        self.clock_seen.append(self.get_clock().now().nanoseconds)
        self.frames_in += 1
        self._jobs.put(data)
        if not (self.deaf and self.frames_in == 1):
            self.received["/camera/image"] += 1

    def _run(self) -> None:
        while (data := self._jobs.get()) is not None:
            if self.work(self.answered + sum(self.drops.values())):
                self._answer.publish(data)
                self.published["/echo/answer"] += 1
                self.answered += 1
            else:
                self.drops["image.unwanted"] += 1
            self._jobs.task_done()


@pytest.fixture
def echo(ros_context: Any) -> Iterator[Callable[..., Echo]]:
    made: list[Echo] = []

    def make(*arguments: Any, **more: Any) -> Echo:
        made.append(Echo(ros_context, *arguments, **more))
        return made[-1]

    yield make
    for node in made:
        node.stop()


def answers(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, time, data) for connection, time, data in reader.messages()]


def images(path: Path) -> list[tuple[int, bytes]]:
    return [(r.log_ns, r.data) for r in Bag(path).records() if r.topic == "/camera/image"]


def test_lockstep_answers_every_frame_at_its_own_time(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    def slow(index: int) -> bool:
        time.sleep(0.02 * (index % 3))
        return True

    node = echo(slow)
    out = tmp_path / "out" / "outputs.mcap"
    outcome = Session(
        Bag(drive), [node], "/camera/image", out, Pace(lockstep=True), ros_context
    ).run()
    expected = images(drive)
    assert [(log, data) for topic, log, data in answers(out)] == expected
    assert node.clock_seen == [log for log, _ in expected]
    assert outcome.recorded == {"/echo/answer": 10}
    assert outcome.sent == {"/tf_static": 1, "/camera/image": 10, "/lidar/points": 10} or (
        outcome.sent == {"/camera/image": 10, "/lidar/points": 10}
    )
    assert outcome.lost == {}
    assert [frame.stamp_ns for frame in outcome.frames] == [a.stamp_ns for a in outcome.arrivals]
    assert [frame.log_ns for frame in outcome.frames] == [a.clock_ns for a in outcome.arrivals]
    waits = [a.wall_s - f.wall_s for f, a in zip(outcome.frames, outcome.arrivals)]
    assert waits[2] > 0.04 > 0 < waits[0]


def test_lockstep_twice_gives_the_same_file(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    rng = np.random.default_rng(0)

    def uneven(index: int) -> bool:
        time.sleep(rng.uniform(0, 0.01))
        return index % 4 != 1

    files = []
    for name in ("first", "second"):
        out = tmp_path / f"{name}.mcap"
        node = echo(uneven)
        outcome = Session(Bag(drive), [node], None, out, Pace(lockstep=True), ros_context).run()
        assert outcome.nodes["echo"] == {
            "frames_in": 10,
            "answered": 7,
            "pending": 0,
            "drops": {"image.unwanted": 3},
        }
        files.append(out.read_bytes())
        node.destroy_node()
    assert files[0] == files[1]


def test_a_message_that_is_never_taken_is_counted_and_the_replay_goes_on(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    node = echo(deaf=True)
    pace = Pace(lockstep=True, lost_after_s=0.3)
    out = tmp_path / "outputs.mcap"
    outcome = Session(Bag(drive), [node], "/camera/image", out, pace, ros_context).run()
    assert outcome.lost == {"/camera/image": 1}
    assert len(answers(out)) == 10


def test_an_answer_that_never_comes_ends_the_wait(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    release = threading.Event()

    def hang(index: int) -> bool:
        return release.wait(2.0) or True

    node = echo(hang)
    pace = Pace(lockstep=True, lost_after_s=0.1)
    out = tmp_path / "outputs.mcap"
    outcome = Session(Bag(drive), [node], None, out, pace, ros_context).run()
    release.set()
    assert outcome.lost[UNANSWERED] >= 3
    assert "did not come to rest for 0.3 s" in outcome.stopped
    assert outcome.sent["/camera/image"] < 10


def test_an_answer_that_is_lost_on_its_way_is_waited_for_once(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    def claim(index: int) -> bool:
        node.published["/echo/answer"] += index == 4  # one that was never sent
        return True

    node = echo(claim)
    pace = Pace(lockstep=True, lost_after_s=0.3)
    out = tmp_path / "outputs.mcap"
    outcome = Session(Bag(drive), [node], None, out, pace, ros_context).run()
    assert outcome.lost == {"/echo/answer": 1}
    assert not outcome.stopped
    assert len(answers(out)) == 10


def test_rate_scales_the_time_between_messages(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    node = echo()
    out = tmp_path / "outputs.mcap"
    outcome = Session(Bag(drive), [node], "/camera/image", out, Pace(rate=3.0), ros_context).run()
    assert outcome.wall_s >= 0.9 / 3.0  # never early; how late depends on the machine
    assert len(answers(out)) == 10
    assert all(a.clock_ns - f.log_ns >= 0 for f, a in zip(outcome.frames, outcome.arrivals))


def test_an_interrupted_replay_keeps_what_it_has(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    def interrupt() -> None:
        if node.answered == 4:
            raise KeyboardInterrupt

    node = echo()
    out = tmp_path / "outputs.mcap"
    session = Session(Bag(drive), [node], "/camera/image", out, Pace(lockstep=True), ros_context)
    outcome = session.run(interrupt)
    assert outcome.stopped == "interrupted"
    assert [data for _, _, data in answers(out)] == [data for _, data in images(drive)[:4]]


def test_damaged_messages_reach_the_nodes_as_they_are(
    bag_of: Any, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any
) -> None:
    cut_off = b"\x00\x01\x00\x00\x01\x00\x00\x00\x02"

    def write(bag: BagWriter) -> None:
        bag.cdr("/camera/image", "sensor_msgs/msg/Image", cut_off, 1)

    node = echo()
    out = tmp_path / "outputs.mcap"
    outcome = Session(
        Bag(bag_of(write)), [node], "/camera/image", out, Pace(lockstep=True), ros_context
    ).run()
    assert [data for _, _, data in answers(out)] == [cut_off]
    assert outcome.lost == {}


def test_topics_without_a_message_package_are_named(
    bag_of: Any, tmp_path: Path, ros_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(bag: BagWriter) -> None:
        bag.transforms("/tf", 1, [("map", "base_link", np.eye(4))])

    monkeypatch.setattr("ros_xai.replay.player.find_type", lambda name: None)
    out = tmp_path / "outputs.mcap"
    session = Session(Bag(bag_of(write)), [], None, out, Pace(lockstep=True), ros_context)
    assert session.run().unplayable == ["/tf"]


@pytest.mark.parametrize(
    "name",
    ["none_msgs/msg/Image", "sensor_msgs/msg/Imagine", "foxglove.Log", "sensor_msgs/Image", ""],
)
def test_a_type_that_is_not_installed_or_none_has_no_class(name: str) -> None:
    assert find_type("sensor_msgs/msg/Image") is Image
    assert find_type(name) is None


def test_a_subscription_that_cannot_match_stops_the_start(
    drive: Path, tmp_path: Path, echo: Callable[..., Echo], ros_context: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ros_xai.replay.player.Player.listeners", lambda self, topic: 0)
    pace = Pace(lockstep=True, discovery_s=0.1)
    out = tmp_path / "outputs.mcap"
    with pytest.raises(ReplayError, match="/camera/image"):
        Session(Bag(drive), [echo()], None, out, pace, ros_context).run()
    assert not out.exists()
