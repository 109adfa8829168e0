"""sensor_msgs/CameraInfo to and from a checked camera, and rectification with OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo

from ros_xai.core.camera import scale_intrinsics
from ros_xai.ros.errors import MessageError

Array = NDArray[np.float64]

# distortion model -> lengths of D that OpenCV takes for it
MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
# Far above any camera; the maps of a rectification take 6 bytes a pixel.
_MAX_PIXELS = 2**26
# Focal lengths in image sizes: below is wider than any fisheye lens, above is a telescope.
_FOCAL_RANGE = (0.1, 100.0)
# Of P's last column: focal length times stereo baseline, pixels times metres.
_MAX_SHIFT = 1e9
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Camera:
    """A calibrated camera; hashable, so that what is made from it can be kept.

    Attributes:
        width, height: size of the image, pixels.
        k: intrinsics of the image as it is, 3x3 row-major, pixels.
        model, distortion: the lens model and its coefficients D; all zero or none: no distortion.
        r: rotation from the camera to the rectified camera, 3x3 row-major.
        p: projection of the rectified image, 3x4 row-major, pixels; None: K.
    """

    width: int
    height: int
    k: tuple[float, ...]
    model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()
    r: tuple[float, ...] = _IDENTITY
    p: tuple[float, ...] | None = None

    @property
    def intrinsics(self) -> Array:
        """K [3,3] of the image as it is."""
        return np.array(self.k).reshape(3, 3)

    @property
    def projection(self) -> Array:
        """P [3,4] of the rectified image."""
        if self.p is None:
            return np.hstack([self.intrinsics, np.zeros((3, 1))])
        return np.array(self.p).reshape(3, 4)

    @property
    def is_rectified(self) -> bool:
        """Whether the image as it is follows the pinhole K: no distortion and no rotation."""
        return not any(self.distortion) and bool(np.allclose(self.r, _IDENTITY, atol=1e-6))

    def rectified(self) -> Camera:
        """The camera of the rectified image, whose K is P's left 3x3.

        By ROS convention P takes points of the message's frame, so R is not to be applied to them.
        """
        P = self.projection
        return Camera(self.width, self.height, _flat(P[:, :3]), p=_flat(P))

    def check_size(self, height: int, width: int) -> None:
        """Raises MessageError `camera_info` when the image is not of the calibrated size."""
        if (height, width) != (self.height, self.width):
            raise _error(
                f"expected an image of the calibrated {self.width}x{self.height}; "
                f"got {width}x{height}: calibrate for this size, or set binning and roi"
            )


def _flat(matrix: ArrayLike) -> tuple[float, ...]:
    return tuple(np.asarray(matrix, dtype=np.float64).ravel().tolist())


def _error(text: str) -> MessageError:
    return MessageError("camera_info", text)


class _Region(NamedTuple):
    x_offset: int
    y_offset: int
    width: int
    height: int


class _Calibration(NamedTuple):
    """The fields of a CameraInfo that make a camera, to be compared as a whole."""

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning_x: int
    binning_y: int
    roi: _Region


def from_message(message: CameraInfo) -> Camera:
    """The camera of the published image: binning and region of interest are applied to K and P.

    Pixel centres are at integers, so binning by b moves u to (u + 0.5) / b - 0.5.

    Raises:
        MessageError: `camera_info`, the calibration is missing or cannot be of a real camera.
    """
    roi = message.roi
    return _camera(
        _Calibration(
            message.width,
            message.height,
            str(message.distortion_model),
            tuple(message.d),
            tuple(message.k),
            tuple(message.r),
            tuple(message.p),
            message.binning_x,
            message.binning_y,
            _Region(roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
    )


# With every image comes the same calibration, which is checked once.
@lru_cache(maxsize=8)
def _camera(message: _Calibration) -> Camera:
    width, height = int(message.width), int(message.height)
    if not 0 < width * height <= _MAX_PIXELS:
        raise _error(
            f"expected width and height of 1 to {_MAX_PIXELS} pixels; got {width}x{height}"
        )
    K, R, P = _matrix(message, "k", 3), _matrix(message, "r", 3), _matrix(message, "p", 4)
    _check_intrinsics("k", K, width, height)
    if P.any():
        _check_intrinsics("p", P[:, :3], width, height)
        if not (np.abs(P[:, 3]) < _MAX_SHIFT).all():
            raise _error(f"expected p with a last column below {_MAX_SHIFT:g}; got {P.tolist()}")
    x, y, width, height = _region(message, width, height)
    bin_x, bin_y = max(message.binning_x, 1), max(message.binning_y, 1)
    crop = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    model, distortion = _distortion(message)
    return Camera(
        width=width // bin_x,
        height=height // bin_y,
        k=_flat(scale_intrinsics(crop @ K, 1 / bin_x, 1 / bin_y)),
        model=model,
        distortion=distortion,
        r=_rotation(R),
        p=_flat(scale_intrinsics(crop @ P, 1 / bin_x, 1 / bin_y)) if P.any() else None,
    )


def _matrix(message: _Calibration, name: str, columns: int) -> Array:
    matrix = np.array(getattr(message, name), dtype=np.float64).reshape(3, columns)
    if not np.isfinite(matrix).all():
        raise _error(f"expected finite numbers in {name}; got {matrix.tolist()}")
    return matrix


def _check_intrinsics(name: str, K: Array, width: int, height: int) -> None:
    if not K.any():
        raise _error(f"{name} is all zero: the camera is not calibrated; calibrate it")
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if not np.array_equal(K, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]):
        raise _error(f"expected {name} as [fx 0 cx; 0 fy cy; 0 0 1]; got {K.tolist()}")
    low, high = (factor * max(width, height) for factor in _FOCAL_RANGE)
    if not (low <= fx <= high and low <= fy <= high):
        raise _error(
            f"expected focal lengths of {low:g} to {high:g} pixels for {width}x{height}; "
            f"got fx={fx:g}, fy={fy:g} in {name}"
        )
    if not (-width / 2 <= cx <= 1.5 * width and -height / 2 <= cy <= 1.5 * height):
        raise _error(
            f"expected the principal point in or near the {width}x{height} image; "
            f"got cx={cx:g}, cy={cy:g} in {name}"
        )


def _region(message: _Calibration, width: int, height: int) -> tuple[int, int, int, int]:
    roi = message.roi
    x, y = int(roi.x_offset), int(roi.y_offset)
    # A size of 0 means the full image.
    roi_width, roi_height = int(roi.width) or width - x, int(roi.height) or height - y
    if roi_width <= 0 or roi_height <= 0 or x + roi_width > width or y + roi_height > height:
        raise _error(
            f"expected a roi within {width}x{height}; got {roi.width}x{roi.height} at ({x}, {y})"
        )
    bin_x, bin_y = message.binning_x, message.binning_y
    if bin_x > roi_width or bin_y > roi_height:
        raise _error(f"expected binning below the image size; got {bin_x}x{bin_y}")
    return x, y, roi_width, roi_height


def _distortion(message: _Calibration) -> tuple[str, tuple[float, ...]]:
    model, distortion = message.distortion_model, _flat(message.d)
    if not any(distortion):
        return model if model in MODELS else "plumb_bob", ()
    if model not in MODELS:
        raise _error(f"expected distortion_model one of {', '.join(MODELS)}; got {model!r}")
    if len(distortion) not in MODELS[model] or not np.isfinite(distortion).all():
        lengths = " or ".join(map(str, MODELS[model]))
        raise _error(f"expected {lengths} finite coefficients d of {model}; got {distortion}")
    return model, distortion


def _rotation(R: Array) -> tuple[float, ...]:
    if not R.any():
        return _IDENTITY
    bounded = bool((np.abs(R) < 1.001).all())
    if not bounded or not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise _error(f"expected a rotation (or all zero) in r; got {R.tolist()}")
    return _flat(R)


def to_message(camera: Camera, header: Any = None) -> CameraInfo:
    """The CameraInfo of a camera; one without distortion says so by five zeros of plumb_bob."""
    message = CameraInfo()
    if header is not None:
        message.header = header
    message.width, message.height = camera.width, camera.height
    message.distortion_model = camera.model if camera.distortion else "plumb_bob"
    message.d = list(camera.distortion) or [0.0] * 5
    message.k = list(camera.k)
    message.r = list(camera.r)
    message.p = camera.projection.ravel().tolist()
    return message


class Rectifier:
    """Remaps images of a camera to its rectified image.

    Attributes:
        camera: the camera of the result.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera.rectified()
        module: Any = cv2.fisheye if camera.model == "equidistant" else cv2
        self._map1, self._map2 = module.initUndistortRectifyMap(
            camera.intrinsics,
            np.array(camera.distortion or (0.0,) * 4),
            np.array(camera.r).reshape(3, 3),
            self.camera.intrinsics,
            (camera.width, camera.height),
            cv2.CV_16SC2,
        )

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """The rectified image of an image [H,W] or [H,W,C]; 0 where the camera does not see.

        Raises:
            MessageError: `camera_info`, the image is not of the calibrated size.
        """
        return self._mapped(image, cv2.INTER_LINEAR)

    def nearest(self, image: NDArray[Any]) -> NDArray[Any]:
        """As a call, of the nearest pixel each: for depths and labels, which do not mix."""
        return self._mapped(image, cv2.INTER_NEAREST)

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Pixels [H,W] of the rectified image that the camera sees."""
        white = np.full((self.camera.height, self.camera.width), 255, np.uint8)
        seen: NDArray[np.bool_] = self(white) == 255
        return seen

    def _mapped(self, image: NDArray[Any], interpolation: int) -> NDArray[Any]:
        self.camera.check_size(*image.shape[:2])
        rectified: NDArray[Any] = cv2.remap(image, self._map1, self._map2, interpolation)
        return rectified


@lru_cache(maxsize=8)
def rectifier(camera: Camera) -> Rectifier:
    """The camera's Rectifier, whose maps are made once."""
    return Rectifier(camera)
