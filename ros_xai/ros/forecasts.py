"""Forecasts as standard messages: structured clouds for programs, markers for people."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ros_xai.data.forecasting import HORIZON, STEP
from ros_xai.forecasting.forecaster import Forecast
from ros_xai.forecasting.stability import Stability

Array = NDArray[np.float64]

# float64 positions: city frames are kilometres from their origin.
POINTS = np.dtype(
    [("x", "<f8"), ("y", "<f8"), ("t", "<f4"), ("track_id", "<u4"), ("mode", "u1")]
    + [(name, "<f8") for name in ("probability", "sigma_x", "sigma_y")]
)
ATTRIBUTION = np.dtype(
    [("track_id", "<u4")]
    + [(name, "<f4") for name in ("state", "map", "neighbours", "divergence")]
    + [("ignores_context", "u1")]
)
COLOURS = ((0.1, 0.7, 0.3), (1.0, 0.55, 0.0))  # by whether the context matters to the forecast


def stability_type(radii: tuple[float, ...]) -> np.dtype[Any]:
    """Fields of forecast/stability: NaN where a point was not forecast from all distances."""
    names = ["dispersion", *(f"convergence_{radius:g}m" for radius in radii)]
    return np.dtype(
        [("x", "<f8"), ("y", "<f8"), ("track_id", "<u4")] + [(name, "<f4") for name in names]
    )


def track_numbers(id: NDArray[np.str_]) -> NDArray[np.uint32]:
    """Ids as numbers: decimal ones as they are (modulo 2^32), the first 8 digits of others in
    hexadecimal (UUIDs), else a hash of the text."""
    return np.array([_number(name) for name in id.tolist()], dtype=np.uint32)


def _number(name: str) -> int:
    try:
        return int(name) % 2**32
    except ValueError:
        pass
    try:
        return int(name[:8], 16) % 2**32
    except ValueError:
        return hash_of(name)


def hash_of(name: str) -> int:
    """FNV-1a of the text, 32 bits: the same in every process."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def points(forecast: Forecast, number: NDArray[np.uint32]) -> NDArray[Any]:
    """One row [N*K*T] per agent, mode and step: x, y m in the map frame; t s ahead; track_id; mode
    0.. by falling probability; probability of the mode; sigma_x, sigma_y m along the map's axes."""
    N, K, T = forecast.modes.shape[:3]
    order = np.argsort(-forecast.probabilities, axis=1, kind="stable")
    take = order[..., None, None]
    modes = np.take_along_axis(forecast.modes, take, axis=1)
    variance = np.diagonal(forecast.covariances, axis1=-2, axis2=-1)
    sigma = np.sqrt(np.take_along_axis(variance, take, axis=1))
    out = np.zeros((N, K, T), POINTS)
    out["x"], out["y"] = modes[..., 0], modes[..., 1]
    out["sigma_x"], out["sigma_y"] = sigma[..., 0], sigma[..., 1]
    out["t"] = STEP * np.arange(1, HORIZON + 1)
    out["track_id"] = number[:, None, None]
    out["mode"] = np.arange(K)[:, None]
    out["probability"] = np.take_along_axis(forecast.probabilities, order, axis=1)[..., None]
    return out.reshape(-1)


def attribution(forecast: Forecast, number: NDArray[np.uint32]) -> NDArray[Any]:
    """One row per agent: metres of the forecast due to state, map and neighbours; nats by which the
    context changes it; whether it would be the same without."""
    out = np.zeros(len(number), ATTRIBUTION)
    out["track_id"] = number
    for column, name in enumerate(("state", "map", "neighbours")):
        out[name] = forecast.attribution[:, column]
    out["divergence"], out["ignores_context"] = forecast.divergence, forecast.ignores_context
    return out


def stability(
    found: Stability, present: Array, number: NDArray[np.uint32], radii: tuple[float, ...]
) -> NDArray[Any]:
    """One row per agent at its present position [N,2]: m and s."""
    out = np.zeros(len(number), stability_type(radii))
    out["x"], out["y"] = present.T
    out["track_id"], out["dispersion"] = number, found.dispersion
    for column, radius in enumerate(radii):
        out[f"convergence_{radius:g}m"] = found.convergence[:, column]
    return out


def markers(
    forecast: Forecast, present: Array, number: NDArray[np.uint32], header: Any, modes: int
) -> MarkerArray:
    """The likeliest modes of each agent as lines, as opaque as they are probable: green where the
    context matters to the forecast, orange where it would be the same without."""
    shown = [Marker(header=header, action=Marker.DELETEALL)]
    order = np.argsort(-forecast.probabilities, axis=1, kind="stable")[:, :modes]
    for i, start in enumerate(present.tolist()):
        red, green, blue = COLOURS[int(forecast.ignores_context[i])]
        for rank, mode in enumerate(order[i].tolist()):
            line = Marker(header=header, ns=f"mode {rank}", id=int(number[i] & 0x7FFFFFFF))
            line.type, line.scale.x = Marker.LINE_STRIP, 0.3
            alpha = max(0.15, float(forecast.probabilities[i, mode]))
            line.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
            line.pose.orientation.w = 1.0
            path = [start, *forecast.modes[i, mode].tolist()]
            line.points = [Point(x=x, y=y) for x, y in path]
            shown.append(line)
    return MarkerArray(markers=shown)
