from __future__ import annotations

import threading

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock


def values(status):
    return {entry.key: entry.value for entry in status.values}


def test_autostart_makes_a_node_that_answers_with_stamp_and_frame_of_the_input(rig):
    r = rig().connect()
    assert r.node.state == "active"
    r.send(7)
    r.until(lambda: r.answers)
    header = r.answers[0].header
    assert (header.stamp.sec, header.frame_id) == (7, "camera")
    r.until(r.node.idle)
    assert r.node.received == {"/car/image": 1}
    assert r.node.published == {"/car/echo/image": 1, "/car/echo/latency": 1}
    assert (r.node.frames_in, r.node.answered) == (1, 1)
    assert r.accounted()


def test_without_autostart_nothing_is_loaded_until_told(rig):
    r = rig(autostart=False)
    assert r.node.state == "unconfigured"
    assert r.node.loaded == []
    assert r.images.get_subscription_count() == 0
    assert r.node.pending() == 0
    r.node.trigger_configure()
    assert (r.node.state, r.node.loaded) == ("inactive", ["good"])
    assert list(r.node.subscriptions) == []
    r.node.trigger_activate()
    r.connect().send(1)
    r.until(lambda: r.answers)


def test_every_transition_and_back(rig):
    r = rig().connect()
    r.send(1)
    r.until(lambda: r.answers)
    r.node.trigger_deactivate()
    assert r.node.state == "inactive"
    assert list(r.node.subscriptions) == []
    assert r.node.loaded == ["good"]
    r.node.trigger_cleanup()
    assert (r.node.state, r.node.loaded) == ("unconfigured", [])
    publishers = [publisher.topic_name for publisher in r.node.publishers]
    assert "/car/echo/image" not in publishers
    r.node.trigger_configure()
    r.node.trigger_activate()
    r.connect().send(2)
    r.until(lambda: len(r.answers) == 2)
    r.node.trigger_shutdown()
    assert (r.node.state, r.node.loaded) == ("finalized", [])


def test_the_lifecycle_services_drive_the_node(rig):
    r = rig()
    client = r.peer.create_client(ChangeState, "echo/change_state")
    r.until(client.service_is_ready)
    request = ChangeState.Request()
    request.transition.label = "deactivate"
    future = client.call_async(request)
    r.until(future.done)
    assert future.result().success
    assert r.node.state == "inactive"


def test_a_model_that_cannot_be_loaded_leaves_a_node_that_says_why_and_recovers(rig):
    r = rig(model="missing")
    assert r.node.state == "unconfigured"
    status = r.status()
    assert status.level == DiagnosticStatus.ERROR
    assert "no file missing.safetensors" in status.message
    r.node.set_parameters([Parameter("model", value="other")])
    r.node.trigger_configure()
    r.node.trigger_activate()
    assert (r.node.state, r.node.loaded) == ("active", ["other"])
    assert "missing" not in r.status().message


def test_what_waits_is_dropped_as_inactive_and_the_frame_in_work_ends(rig):
    r = rig().connect()
    r.node.open.clear()
    r.send(1)
    r.until(lambda: r.node.monitor._begun is not None)
    r.send(2)
    threading.Timer(0.1, r.node.open.set).start()
    r.node.trigger_deactivate()
    assert r.node.answered == 1
    assert r.node.drops == {"image.inactive": 1}
    assert r.node.forgotten == ["inactive"]
    assert r.accounted()


def test_the_newest_frame_wins_and_the_executor_is_never_blocked(rig):
    r = rig().connect()
    r.node.open.clear()
    r.send(1)
    r.until(lambda: r.node.monitor._begun is not None)
    for stamp in range(2, 6):
        r.send(stamp)  # returns when the callback has, although the worker is held
    assert r.accounted()
    assert not r.node.idle()
    r.node.open.set()
    r.until(lambda: len(r.answers) == 2)
    r.until(r.node.idle)
    assert [answer.header.stamp.sec for answer in r.answers] == [1, 5]
    assert r.node.drops == {"image.superseded": 3}
    assert r.accounted()


@pytest.mark.parametrize(
    ("format", "reason"),
    [
        ("refused", "image.encoding"),
        ("broken work", "image.internal_error"),
        ("broken callback", "image.internal_error"),
    ],
)
def test_a_bad_frame_is_counted_and_the_next_is_answered(rig, format, reason):
    r = rig().connect()
    r.send(1, format)
    r.until(r.node.idle)
    assert r.node.drops == {reason: 1}
    r.send(2)
    r.until(lambda: r.answers)
    assert r.answers[0].header.stamp.sec == 2
    r.until(r.node.idle)
    assert r.accounted()
    assert reason in values(r.status())["last_error"]


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x00\x00", b"\x00\x01\x00\x00" + b"\xff" * 9])
def test_malformed_bytes_are_a_counted_drop(rig, data):
    r = rig().connect()
    r.images.publish(data)
    r.until(lambda: r.node.frames_in == 1)
    r.until(lambda: r.node.received["/car/image"] == 1)
    assert r.node.drops == {"image.truncated_cdr": 1}
    r.send(2)
    r.until(lambda: r.answers)


def test_latency_has_the_frames_stamp_and_its_stages(rig):
    r = rig().connect()
    seen: list[DiagnosticArray] = []
    r.peer.create_subscription(DiagnosticArray, "echo/latency", seen.append, 10)
    r.until(lambda: r.node._latency.get_subscription_count() == 1)
    r.send(9)
    r.until(lambda: seen)
    assert seen[0].header.stamp.sec == 9
    stages = {entry.key: float(entry.value) for entry in seen[0].status[0].values}
    assert list(stages) == ["decode", "wait", "inference"]
    assert all(ms >= 0 for ms in stages.values())


def test_diagnostics_come_by_themselves_and_name_model_and_state(rig):
    r = rig()
    status = r.status()
    assert status.name == "/car/echo: echo"
    assert status.level == DiagnosticStatus.STALE
    assert status.message == "waiting for the first image"
    assert values(status)["model"] == "good"
    assert values(status)["latency_ms.p50"] == "waiting"
    r.node.trigger_deactivate()
    status = r.status()
    assert (status.level, status.message) == (DiagnosticStatus.OK, "inactive")


def test_a_node_whose_worker_hangs_keeps_reporting(rig):
    r = rig(latency_tolerance_ms=50.0, latency_error_after=0.5).connect()
    r.node.open.clear()
    r.send(1)
    r.until(lambda: r.status().level == DiagnosticStatus.ERROR)
    r.node.open.set()


def test_reload_parameters_follow_the_lifecycle(rig):
    r = rig()
    (refused,) = r.node.set_parameters([Parameter("model", value="other")])
    assert not refused.successful
    r.node.trigger_deactivate()
    r.node.trigger_cleanup()
    (accepted,) = r.node.set_parameters([Parameter("model", value="other")])
    assert accepted.successful


def test_qos_is_sensor_data_and_one_override_stays_with_its_topic(rig):
    r = rig(
        **{
            "qos_overrides./car/image.subscription.reliability": "reliable",
            "qos_overrides./car/echo/image.publisher.depth": 3,
            "qos_overrides./car/echo/image.publisher.durability": "transient_local",
        }
    )
    (subscription,) = r.node.subscriptions
    assert subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert r.node.echo.qos_profile.depth == 3
    assert r.node.echo.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    other = type(r.node)(context=r.context, namespace="other")
    (subscription,) = other.subscriptions
    assert subscription.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert subscription.qos_profile.depth == qos_profile_sensor_data.depth
    assert other.echo.qos_profile.durability == DurabilityPolicy.VOLATILE
    assert qos_profile_sensor_data.reliability == ReliabilityPolicy.BEST_EFFORT
    other.destroy_node()


def test_a_clock_that_jumps_back_makes_the_node_forget(rig):
    r = rig(use_sim_time=True).connect()
    publisher = r.peer.create_publisher(Clock, "/clock", QoSProfile(depth=1))
    r.until(lambda: publisher.get_subscription_count() == 1)

    def clock(second: int) -> None:
        message = Clock()
        message.clock.sec = second
        publisher.publish(message)
        r.until(lambda: r.node.get_clock().now().nanoseconds == second * 10**9)

    clock(100)
    clock(101)
    assert r.node.forgotten == []
    clock(50)
    assert r.node.forgotten == ["clock_jump"]
