"""Quality of service by REP-2003, always as fresh copies.

rclpy writes overrides into the profile it is given, so that a shared constant such as
`qos_profile_sensor_data` would carry one topic's override to every other.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor_input() -> QoSProfile:
    """Best effort, the last 5: what `SensorDataQoS` is; it fits every publisher's reliability."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def output() -> QoSProfile:
    """Reliable, the last 5: fits best-effort and reliable subscribers (RViz, rosbag2) alike."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """Reliable, the last one kept for subscribers that come later."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def overridable() -> QoSOverridingOptions:
    """Lets parameters `qos_overrides.<topic>.<publisher|subscription>.<policy>` set a policy."""
    return QoSOverridingOptions(
        (
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        )
    )
