"""Metric depth from one image and a few LiDAR beams: the class that nodes and scripts use."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from ros_xai.core.camera import scale_intrinsics
from ros_xai.core.config import from_mapping
from ros_xai.depth.deployed import make_engine
from ros_xai.depth.inputs import FOCAL, network_input, resize_sparse
from ros_xai.depth.network import DepthNetwork, NetworkConfig, build
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import ENGINE_NAMES, check_engine
from ros_xai.engines.loading import load_for

SHIPPED = Path(__file__).parents[1] / "weights" / "depth.safetensors"
MAX_PIXELS = 640 * 192
LEAST_SIDE = 64  # at 32 the coarsest map is one pixel, which reflection padding cannot extend


class DepthEstimator:
    """(image, sparse depth, intrinsics) -> dense metric depth.

    Works without LiDAR (all-zero sparse depth) and with any number of beams, less well.
    """

    def __init__(self, engine: Engine, max_pixels: int = MAX_PIXELS) -> None:
        self.engine = engine
        self.max_pixels = max_pixels

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        engine: str = "torch",
        threads: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> DepthEstimator:
        """The shipped network, or the one in a .safetensors file with its .json card beside it.

        engine: the name of an engine, or the folder of a bundle by `ros_xai prune depth`, which
        holds its own network.

        Raises FileNotFoundError when a file is missing, ValueError for files of something else,
        EngineError for a bundle that cannot be used.
        """
        check_engine(engine)
        if engine not in ENGINE_NAMES:
            return cls(load_for("depth", engine, threads)[0], max_pixels)
        return cls(make_engine(load_network(weights), engine, threads), max_pixels)

    def __call__(
        self,
        image: NDArray[np.uint8],
        sparse_depth: NDArray[np.float32],
        intrinsics: ArrayLike,
    ) -> NDArray[np.float32]:
        """Depth [H, W] metres along the optical axis, finite and positive everywhere.

        image: uint8 [H, W, 3] rgb, rectified; sparse_depth: [H, W] metres, 0 = no return;
        intrinsics: [3, 3] pixels of this image. Raises ValueError for shapes that do not fit and
        for intrinsics that no camera has.
        """
        _check(image, sparse_depth, intrinsics)
        height, width = sparse_depth.shape
        rows, columns = network_size(height, width, intrinsics, self.max_pixels)
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        K = scale_intrinsics(intrinsics, columns / width, rows / height)
        frame = network_input(small, resize_sparse(sparse_depth, rows, columns), K)
        outputs = self.engine({"image": frame.image[None], "geometry": frame.geometry[None]})
        disparity = cv2.resize(outputs["disparity"][0, 0], (width, height))
        return np.asarray(np.float32(frame.scale) / disparity, dtype=np.float32)


def network_size(
    height: int, width: int, intrinsics: ArrayLike, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """Rows and columns the network works at: multiples of 32, near its canonical focal length,
    no larger than the image needs or than ``max_pixels`` but for LEAST_SIDE."""
    K = np.asarray(intrinsics, dtype=np.float64)
    scale = min(1.0, FOCAL / K[0, 0], float(np.sqrt(max_pixels / (height * width))))
    rows, columns = (max(LEAST_SIDE, 32 * round(n * scale / 32)) for n in (height, width))
    return rows, columns


def load_card(weights: str | Path | None = None) -> NetworkConfig:
    """The architecture that the card beside the weights names.

    Raises FileNotFoundError without the card, ValueError for one of something else.
    """
    card = _existing(_weights_path(weights).with_suffix(".json"))
    try:
        return from_mapping(NetworkConfig, json.loads(card.read_text())["network"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{card}: expected the card of a depth network; got {error!r}") from error


def load_network(weights: str | Path | None = None) -> DepthNetwork:
    """Network with the weights of a .safetensors file, built as its .json card says.

    Raises FileNotFoundError without the two files, ValueError for those of something else.
    """
    network, file = build(load_card(weights)), _existing(_weights_path(weights))
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{file}: expected weights of its card's network; {error}") from error
    return network.eval()


def _weights_path(weights: str | Path | None) -> Path:
    return SHIPPED if weights is None else Path(weights)


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"no {file}: expected NAME.safetensors and NAME.json beside it")
    return file


def _check(
    image: NDArray[np.uint8], sparse_depth: NDArray[np.float32], intrinsics: ArrayLike
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"expected an rgb image uint8 [H, W, 3]; got {image.dtype} {list(image.shape)}"
        )
    if sparse_depth.shape != image.shape[:2]:
        raise ValueError(
            f"expected a sparse depth of the image's {list(image.shape[:2])}; "
            f"got {list(sparse_depth.shape)}"
        )
    K = np.asarray(intrinsics, dtype=np.float64)
    if K.shape != (3, 3) or not np.isfinite(K).all() or not (K[0, 0] > 0 and K[1, 1] > 0):
        raise ValueError(
            f"expected finite intrinsics [3, 3] with focal lengths above 0; got {K.tolist()}"
        )
