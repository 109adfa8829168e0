"""The lifecycle node that every perception node is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, JumpThreshold
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import (
    LifecycleNode,
    LifecyclePublisher,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.qos import QoSProfile

from ros_xai.ros import qos
from ros_xai.ros.diagnostics import Finding, Monitor, to_latency, to_status
from ros_xai.ros.parameters import NodeConfig, Parameters
from ros_xai.ros.pipeline import Arrival, Frame, Pipeline

SUCCESS, ERROR = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.ERROR
# Long enough for a frame in work to end, short enough for a stop by SIGINT within 2 s.
_STOP_S = 1.0


C = TypeVar("C", bound=NodeConfig)
P = TypeVar("P")


class PerceptionNode(LifecycleNode, Generic[C, P]):
    """Messages in by raw subscriptions, work in a thread of its own, newest frame first.

    A node defines `load`, `connect`, `process` and `unload`, and where it keeps messages waiting,
    `waiting` and `forget`. Its state is made in `load`, which runs in this constructor already.
    It hands frames over by `pipeline.submit` and counts what it refuses by `pipeline.drop`.
    Every message on a trigger input ends exactly once: whenever nothing is in flight,
    `frames_in == answered + monitor.frame_drops() + pending()`.

    Args:
        name: the node's name.
        trigger: the input whose every message is to be answered; drops of it are `<trigger>.<why>`.
        config_class: the parameters, a frozen dataclass.
        arguments: of `rclpy.lifecycle.LifecycleNode`.

    Raises:
        ConfigError: the start values of the parameters cannot be used.
    """

    def __init__(self, name: str, trigger: str, config_class: type[C], **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._identity: dict[str, str] = {}
        self._configured = self._active = False
        self._failure = ""
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._parameters_of_node = Parameters(self, config_class, lambda: self._configured)
        self.monitor = Monitor(trigger, lambda: self.config.limits)
        self.pipeline = Pipeline(trigger, self._answer, self.monitor, self._log_drop)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.output())
        # A steady clock: the ROS clock may stand still, and then most of all a report is needed.
        self.create_timer(
            1.0,
            self._report,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=lambda jump: self.forget("clock_jump") if self._active else None,
        )
        if self.config.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # What a node defines

    def load(self, config: C) -> dict[str, str]:
        """Makes the model ready and the outputs; returns what identifies it in diagnostics."""
        raise NotImplementedError

    def connect(self) -> None:
        """Subscribes to the inputs with `listen`."""
        raise NotImplementedError

    def process(self, frame: Frame[P]) -> None:
        """Answers one frame, in the worker's thread, timing its parts in `frame.stages`.

        Raises:
            MessageError: the frame cannot be used; it is dropped as `<trigger>.<reason>`.
        """
        raise NotImplementedError

    def unload(self) -> None:
        """Frees the model."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Trigger messages that wait for their partners."""
        return 0

    def forget(self, why: str) -> None:
        """Drops, as `<trigger>.<why>`, what waits for partners."""

    def findings(self) -> Iterable[Finding]:
        """What the node has to say of its health beyond the common."""
        return ()

    # What a node uses

    @property
    def config(self) -> C:
        """The present parameters; take it once per frame, it is replaced as a whole."""
        return self._parameters_of_node.config

    def output(self, message_type: type[Any], topic: str, profile: QoSProfile | None = None) -> Any:
        """A lifecycle publisher, to be published on with `publish`; for `load`."""
        publisher: Any = self.create_lifecycle_publisher(
            message_type,
            topic,
            profile or qos.output(),
            qos_overriding_options=qos.overridable(),
        )
        self._outputs.append(publisher)
        return publisher

    def listen(
        self,
        message_type: type[Any],
        topic: str,
        name: str,
        callback: Callable[[Arrival], None],
        profile: QoSProfile | None = None,
    ) -> None:
        """Subscribes; `name` heads the reasons of drops, and is the trigger's for a trigger. The
        quality of service is that of sensors where none is given.

        Messages come as bytes and are decoded here, so that a malformed one is a counted drop.
        """
        resolved = self.resolve_topic_name(topic)
        subscription = self.create_subscription(
            message_type,
            topic,
            lambda data: self.pipeline.receive(data, message_type, resolved, name, callback),
            profile or qos.sensor_input(),
            callback_group=self._input_group,
            qos_overriding_options=qos.overridable(),
            raw=True,
        )
        self._inputs.append(subscription)

    def publish(self, publisher: LifecyclePublisher[Any], message: Any) -> None:
        """Publishes and counts."""
        if publisher.is_activated:
            publisher.publish(message)
            self.monitor.message_out(publisher.topic_name)

    @staticmethod
    def heard(publisher: LifecyclePublisher[Any]) -> bool:
        """Whether anybody listens: what is made for people only costs nothing while nobody does."""
        return bool(publisher.get_subscription_count())

    # What replay, the manager of a process and tests watch

    @property
    def state(self) -> str:
        """The lifecycle state: unconfigured, inactive, active or finalized."""
        label: str = self._state_machine.current_state[1]
        return label

    @property
    def failure(self) -> str:
        """Why the last transition failed; empty when it did not."""
        return self._failure

    @property
    def received(self) -> Counter[str]:
        """Messages whose callback has returned, bad ones included, by resolved topic."""
        return self.monitor.received

    @property
    def published(self) -> Counter[str]:
        """Messages published, /diagnostics aside, by resolved topic."""
        return self.monitor.published

    @property
    def drops(self) -> Counter[str]:
        """Messages dropped, by `<input>.<why>`."""
        return self.monitor.drops

    @property
    def frames_in(self) -> int:
        """Trigger messages that came."""
        return self.monitor.frames_in

    @property
    def answered(self) -> int:
        """Trigger messages answered."""
        return self.monitor.answered

    def idle(self) -> bool:
        """Whether nothing that could be answered now is unanswered."""
        return self.pipeline.pending() == 0

    def pending(self) -> int:
        """Trigger messages in the mailbox, in work, or waiting for partners."""
        return self.pipeline.pending() + (self.waiting() if self._configured else 0)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model; when that fails the node is unconfigured again and says why."""
        try:
            self._identity = self.load(self.config)
            self._latency = self.output(DiagnosticArray, "~/latency")
        except Exception as error:
            return self._failed("configure", error)
        self._configured, self._failure = True, ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the worker and subscribes."""
        result = super().on_activate(state)
        try:
            self.pipeline.start()
            self._active = True
            self.connect()
        except Exception as error:
            return self._failed("activate", error)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and lets the frame in work end; what waits is dropped as inactive."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model."""
        result = super().on_cleanup(state)
        self._free()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops and frees, from any state."""
        result = super().on_shutdown(state)
        self._free()
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything, so that the node can be configured again."""
        self._free()
        return SUCCESS

    def destroy_node(self) -> None:
        """Stops the worker before what it publishes on goes away."""
        self._halt()
        super().destroy_node()

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        self._failure = f"cannot {transition}: {type(error).__name__}: {error}"
        self.get_logger().error(self._failure)
        return ERROR

    def _halt(self) -> None:
        if not self._active:
            return
        self._active = False
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if not self.pipeline.stop(_STOP_S):
            self.get_logger().warning(f"the frame in work did not end within {_STOP_S:g} s")
        self.forget("inactive")

    def _free(self) -> None:
        self._halt()
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs, self._identity = [], {}
        self._configured = False
        self.unload()

    def _answer(self, frame: Frame[P]) -> None:
        self.process(frame)
        latency = to_latency(self.get_fully_qualified_name(), frame.header, frame.stages.ms)
        self.publish(self._latency, latency)

    def _log_drop(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=5.0)

    def _report(self) -> None:
        found = [Finding("error", self._failure)] if self._failure else []
        if self._active:
            found += [*self.monitor.findings(), *self.findings()]
        else:
            found.append(Finding("ok", "inactive" if self._configured else "unconfigured"))
        name = f"{self.get_fully_qualified_name()}: {self.get_name()}"
        status = to_status(name, found, {**self._identity, **self.monitor.values()})
        report = DiagnosticArray(status=[status])
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)
