"""A contact sheet: one moment in every domain, with its ground truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.world.camera import Camera, meter
from ros_xai.world.domains import DOMAINS
from ros_xai.world.drive import Drive
from ros_xai.world.mesh import CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

# rgb of the classes, in the hues that CamVid's users know
PALETTE = np.array(
    [
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
    ],
    np.uint8,
)
assert len(PALETTE) == len(CLASSES)


def contact_sheet(run: Drive, step: int, camera: Camera, columns: int = 3) -> Image:
    """Panels rgb of a step: every domain (without sensor noise), depth, classes, instances."""
    surfaces = run.surfaces(step)
    panels, frame = [], None
    for name, look in DOMAINS.items():
        quiet = replace(look, response=replace(look.response, noise=0.0))
        frame = run.frame(step, camera, look, surfaces)
        exposure = meter(frame.radiance, look.response)
        panels.append(_titled(run.image(frame, step, quiet, exposure), name))
    assert frame is not None
    near = np.clip(4.0 / np.maximum(frame.depth, 1e-3), 0, 1) * (frame.depth > 0)
    shaded = cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    panels.append(_titled(np.ascontiguousarray(shaded), "inverse depth"))
    panels.append(_titled(PALETTE[frame.label], "classes"))
    hues = np.random.default_rng(1).integers(60, 255, (len(run.scene.models), 3)).astype(np.uint8)
    hues[0] = 20
    panels.append(_titled(hues[frame.instance], "instances"))
    rows = [np.hstack(panels[k : k + columns]) for k in range(0, len(panels), columns)]
    return np.vstack(rows[: len(panels) // columns])


def _titled(image: Image, title: str) -> Image:
    image = np.ascontiguousarray(image)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            image, title, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA
        )
    return image
