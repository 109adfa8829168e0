"""The figure of `ros_xai bench plop`: what every class forgot, by method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "plop_forgetting.svg"
SHOWN = ("fine-tuning", "lwf", "mib", "plop", "plop-rehearsal")


def plot_forgetting(figures: dict[str, Any], path: Path = FIGURE) -> None:
    """Bars of forgetting per class (best IoU before the last step minus the last), one panel per
    data set; figures as written to docs/results/plop.json."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "plop"  # the same figures, the same bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(figures), 1, figsize=(9, 3 * len(figures)), squeeze=False)
    for axis, (name, arms) in zip(axes[:, 0], figures.items()):
        classes = list(arms[SHOWN[0]]["forgetting"])
        for i, arm in enumerate(SHOWN):
            lost = [arms[arm]["forgetting"][c] or 0.0 for c in classes]
            axis.bar(np.arange(len(classes)) + (i - 2) * 0.16, lost, 0.16, label=arm)
        axis.set_xticks(np.arange(len(classes)), classes)
        axis.set_ylabel("IoU forgotten")
        axis.set_title(name)
        axis.axhline(0, color="black", linewidth=0.6)
    axes[0, 0].legend(ncols=len(SHOWN), fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
