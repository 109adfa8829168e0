"""The nodes as processes of their own: started, fed, killed, reconfigured, flooded, stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from tests.integration.perception_car import ANSWERS, PATIENCE_S, Car, bundle


@pytest.fixture
def car(ros_context: Any, sensors: Any, tmp_path: Path) -> Iterator[Car]:
    made = Car(ros_context, sensors, tmp_path)
    yield made
    made.close()


def test_one_process_answers_every_node_and_decodes_each_image_once(car: Car) -> None:
    process = car.perception()
    car.answered(*ANSWERS, more=10)
    fed = set(range(100, car.stamp + 1, 100))
    for topic in ANSWERS:
        stamps = [time.nanoseconds // 10**6 for time in car.answers[topic]]
        assert set(stamps) <= fed
        assert stamps == sorted(stamps)
    # Both nodes have taken the images: each was decoded, and turned to rgb, for one of them only.
    car.until(lambda: int(car.values("nodes")["decoding.saved"]) > 10, True)
    told = car.values("nodes")
    assert told["depth"] == told["segmentation"] == "active"
    assert "explanation" not in told
    assert car.stop(process) == 0
    assert "Traceback" not in car.log.read_text()


def test_the_manager_stops_and_starts_all_nodes(car: Car) -> None:
    car.perception()
    car.answered(*ANSWERS)
    stopped = car.call(Trigger, "/perception/stop", Trigger.Request())
    assert stopped.success, stopped.message
    car.fresh("nodes")
    assert {car.values("nodes")[name] for name in ("depth", "segmentation")} == {"inactive"}
    car.until(lambda: car.peer.count_subscribers("/image") == 0)
    started = car.call(Trigger, "/perception/start", Trigger.Request())
    assert started.success, started.message
    car.answered(*ANSWERS)


def test_lifecycle_by_hand_from_unconfigured_to_finalized(car: Car) -> None:
    car.perception(nodes="depth", depth__autostart=False)

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return car.call(ChangeState, "/depth/change_state", request).success

    def state() -> str:
        return car.call(GetState, "/depth/get_state", GetState.Request()).current_state.label

    assert state() == "unconfigured"
    assert not change(Transition.TRANSITION_ACTIVATE)
    assert change(Transition.TRANSITION_CONFIGURE)
    assert state() == "inactive"
    assert car.peer.count_subscribers("/image") == 0
    assert change(Transition.TRANSITION_ACTIVATE)
    car.answered("depth/image")
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert change(Transition.TRANSITION_CLEANUP)
    assert state() == "unconfigured"
    assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state() == "finalized"


def test_a_killed_process_is_started_again_while_the_other_answers_on(car: Car) -> None:
    process = car.perception("--separate", "--respawn")
    car.answered(*ANSWERS)
    killed = car.pid("depth")
    os.kill(killed, signal.SIGKILL)
    car.answered("segmentation/labels")
    car.until(lambda: car.pid("depth") != killed, feeding=True)
    car.answered(*ANSWERS)
    assert "depth ended with code -9" in car.log.read_text()
    children = [car.pid("depth"), car.pid("segmentation")]
    assert car.stop(process) == 0
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_parameters_change_live_as_a_set_or_not_at_all(car: Car) -> None:
    car.perception(nodes="depth")
    car.answered("depth/image")

    def put(**values: Any) -> Any:
        parameters: list[ParameterMessage] = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=parameters)
        return car.call(SetParametersAtomically, "/depth/set_parameters_atomically", request).result

    refused = put(sync_slop=0.07, rings=[2, -1])
    assert not refused.successful
    assert "expected numbers from 0" in refused.reason
    assert "deactivate" in put(engine="onnxruntime").reason
    assert not put(sync_slop=5.0).successful  # out of its range
    assert put(latency_tolerance_ms=1.0, rings=[2, 5]).successful
    car.answered("depth/image", more=1)

    # The tolerance took effect: no answer of any machine takes less than a millisecond.
    def complaint() -> str:
        return car.status["depth"].message if "depth" in car.status else ""

    car.until(lambda: "of 1 ms" in complaint() or "over 1 ms" in complaint(), feeding=True)


def test_under_overload_the_newest_wins_and_the_rest_is_counted(car: Car) -> None:
    car.perception()
    car.answered(*ANSWERS)

    def flood() -> bool:
        for _ in range(20):
            car.feed()
        told = car.values("depth")
        return int(told.get("drops.image.superseded", "0")) > 0

    car.until(flood)
    car.answered(*ANSWERS)
    stamps = [time.nanoseconds for time in car.answers["depth/image"]]
    assert stamps == sorted(stamps)
    status = car.fresh("depth")
    assert "internal_error" not in str(status.values)


def test_a_bag_that_starts_again_is_answered_again(car: Car) -> None:
    car.perception("--use-sim-time")
    clock = car.peer.create_publisher(Clock, "/clock", 10)

    def tick() -> None:
        clock.publish(Clock(clock=Time(nanoseconds=car.stamp * 10**6).to_msg()))

    def answered(topics: tuple[str, ...], earlier_than_ms: int) -> None:
        before = {topic: len(car.answers[topic]) for topic in topics}

        def enough() -> bool:
            tick()
            fresh = {t: car.answers[t][n:] for t, n in before.items()}
            return all(
                sum(stamp.nanoseconds < earlier_than_ms * 10**6 for stamp in stamps) >= 3
                for stamps in fresh.values()
            )

        car.until(enough, feeding=True)

    car.stamp = 1_000_000
    answered(ANSWERS, 2_000_000)
    car.stamp = 0
    answered(ANSWERS, 1_000_000)


def test_a_node_whose_weights_come_late_starts_by_itself(car: Car) -> None:
    late = car.folder / "late.safetensors"
    car.perception(segmentation__weights=str(late), perception__retry_period=0.5)
    car.answered("depth/image")
    status = car.fresh("nodes")
    assert status.level == b"\x02"
    assert "segmentation is unconfigured" in status.message
    assert "late.safetensors" in status.message
    bundle(late)
    car.answered(*ANSWERS)
    assert car.fresh("nodes").level == b"\x00"


def test_two_cameras_in_namespaces_of_their_own(car: Car) -> None:
    seen: dict[str, list[int]] = {"front": [], "rear": []}
    senders = {}
    for place, heights in seen.items():
        car.perception("--namespace", place, nodes="depth")
        for topic, kind in (("image", Image), ("camera_info", CameraInfo)):
            senders[place, topic] = car.peer.create_publisher(kind, f"/{place}/{topic}", 10)
        car.peer.create_subscription(
            CameraInfo,
            f"/{place}/depth/camera_info",
            lambda m, s=heights: s.append(round(m.k[0])),
            10,
        )
    focal = {"front": 50, "rear": 90}

    def fed() -> bool:
        car.stamp += 100
        for place in seen:
            calibration = car.sensors.camera_info(car.stamp, float(focal[place]))
            senders[place, "camera_info"].publish(calibration)
            senders[place, "image"].publish(car.sensors.image(car.stamp))
        return all(len(focals) >= 3 for focals in seen.values())

    car.until(fed)
    assert {place: set(focals) for place, focals in seen.items()} == {"front": {50}, "rear": {90}}


def test_a_second_copy_of_ctrl_c_does_not_cut_the_end_short(car: Car) -> None:
    process = car.perception()
    car.answered(*ANSWERS)
    process.send_signal(signal.SIGINT)
    assert car.stop(process) == 0


def test_what_cannot_run_ends_with_what_was_expected(car: Car) -> None:
    process = car.perception(depth__rings=[-1])
    assert process.wait(PATIENCE_S) == 2
    assert "rings: expected numbers from 0" in car.log.read_text()
    process = car.perception("--remap", "__node:=everything")
    assert process.wait(PATIENCE_S) == 2
    assert "expected the node depth; it was renamed to everything" in car.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--config", "{folder}/broken.yaml"), "Couldn't parse params file"),
        (("--remap", "a b:=c"), "Couldn't parse remap rule: '-r a b:=c'"),
    ],
)
def test_arguments_that_ros_cannot_read_end_it_with_one_line_even_if_respawned(
    car: Car, arguments: tuple[str, ...], told: str
) -> None:
    (car.folder / "broken.yaml").write_text("depth:\n  rings: [1\n")
    given = [each.format(folder=car.folder) for each in arguments]
    process = car.start("perception", "--nodes", "depth", "--respawn", *given)
    assert process.wait(PATIENCE_S) == 2
    log = [line for line in car.log.read_text().splitlines() if "[rcl]" not in line]
    started, why, ended = log
    assert "started as process" in started and ended == "perception ended with code 2"
    assert told in why and "/src/" not in why
