"""A task's process: `python -m ros_xai.fleet.child FOLDER`. It dies when its parent does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Die when the parent does: a killed worker leaves no replay behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")


def main(folder: Path) -> None:
    """Tie the process to its parent, then load what takes seconds and do the task."""
    end_with(int(os.environ["ROS_XAI_PARENT"]))
    from ros_xai.fleet.perform import perform_in

    perform_in(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
