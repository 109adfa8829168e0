"""The distribution's helper packages where they are installed, else equivalents of ours.

The equivalents hold what the contract tests name, which is what the nodes and most users call.
"""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from types import ModuleType


def _prefer(name: str, equivalent: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        # Not installed is the normal case of an embedded environment; a package that is there but
        # broken (built for another numpy or Python) is worth a word.
        if not (isinstance(error, ModuleNotFoundError) and name.startswith(error.name or "-")):
            warnings.warn(f"{name} cannot be imported ({error}); using {equivalent}", stacklevel=2)
    return importlib.import_module(equivalent)


message_filters = _prefer("message_filters", "ros_xai.ros.equivalents.message_filters")
cv_bridge = _prefer("cv_bridge", "ros_xai.ros.equivalents.cv_bridge")
point_cloud2 = _prefer("sensor_msgs_py.point_cloud2", "ros_xai.ros.equivalents.point_cloud2")
tf2_ros = _prefer("tf2_ros", "ros_xai.ros.equivalents.tf2_ros")


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# Without tf2_msgs no node can listen to /tf_static; transforms then come as parameters. The
# module, not the package: any folder of that name on the path passes for a package.
LIVE_TF = _installed("tf2_msgs.msg")
