"""Albedo, gloss and emission of surface points, per material, from surface coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import Material
from ros_xai.world.streets import DASHED, DOUBLE, SOLID
from ros_xai.world.textures import INDEX, NONE, coverage, periodic, sample, scatter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_TEXTURE = np.full(256, NONE, np.uint8)
for _material, _name in {
    Material.LANE: "asphalt",
    Material.ASPHALT: "asphalt",
    Material.CROSSING: "asphalt",
    Material.PAVERS: "pavers",
    Material.GRASS: "grass",
    Material.FACADE: "plaster",
    Material.ROOF: "roof",
    Material.LEAF: "leaf",
    Material.BARK: "bark",
    Material.BRICK: "brick",
    Material.CONCRETE: "plaster",
    Material.CLOTH: "cloth",
}.items():
    _TEXTURE[_material] = INDEX[_name]
_STAINED = np.zeros(256, bool)
_STAINED[
    [
        Material.LANE,
        Material.ASPHALT,
        Material.CROSSING,
        Material.PAVERS,
        Material.FACADE,
        Material.ROOF,
        Material.BRICK,
        Material.CONCRETE,
        Material.GRASS,
    ]
] = True
_GLOSS = np.zeros(256, np.float32)
_GLOSS[[Material.PAINT, Material.GLASS, Material.METAL, Material.LAMP, Material.PLATE]] = (
    0.9,
    1.0,
    0.35,
    0.5,
    0.3,
)
_LINE = np.array([0.62, 0.62, 0.58], np.float32)
_GLASS = np.array([0.025, 0.030, 0.036], np.float32)
_WINDOW_LIGHT = np.array([1.0, 0.72, 0.38], np.float32)


@dataclass
class Points:
    """N surface points: uv and its footprint [N, 2] in metres, colour [N, 3], params [N, 6]."""

    material: NDArray[np.uint8]
    uv: Floats
    footprint: Floats
    colour: Floats
    params: Floats


@dataclass
class Appearance:
    """albedo, emission [N, 3] (emission of lit windows at full darkness), gloss [N] in [0, 1]."""

    albedo: Floats
    emission: Floats
    gloss: Floats


def appearance(points: Points) -> Appearance:
    """What the points look like before any light."""
    texture = _TEXTURE[points.material].copy()
    facade = points.material == Material.FACADE
    brick = facade & (points.params[:, 5] % 1 >= 0.5) & (points.params[:, 5] > 0)
    texture[brick] = INDEX["brick"]
    extent = np.sqrt(points.footprint[:, 0] * points.footprint[:, 1])
    extent = np.maximum(extent, points.footprint.max(axis=1) / 4)
    albedo = points.colour * sample(texture, points.uv, extent)
    stained = np.flatnonzero(_STAINED[points.material])
    stain = np.full(len(stained), INDEX["stain"], np.uint8)
    shift = points.params[stained, 5:6] * np.float32(3.7)
    albedo[stained] *= sample(stain, points.uv[stained] + shift, extent[stained])
    result = Appearance(albedo, np.zeros_like(albedo), _GLOSS[points.material])
    for material, paint in _PAINTERS.items():
        chosen = np.flatnonzero(points.material == material)
        if len(chosen):
            paint(points, chosen, result)
    np.clip(result.albedo, 0.003, 0.9, out=result.albedo)
    return result


def _mix(result: Appearance, chosen: NDArray[np.intp], share: Floats, colour: Floats) -> None:
    share = share[:, None]
    result.albedo[chosen] += share * (colour - result.albedo[chosen])


def _lane(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """params: width, left marking, right marking, length, stop line; v = 0 at the right border."""
    s, t = points.uv[chosen].T
    fs, ft = points.footprint[chosen].T
    width, left, right, length, stop = points.params[chosen, :5].T
    from_left = width - t
    dash = periodic(s, 6.0, 3.0, fs)
    line = np.zeros_like(s)
    for code, distance, inset in ((left, from_left, 0.0), (right, t, 0.18)):
        across = coverage(distance, inset - 0.065, inset + 0.065, ft)
        double = coverage(distance, 0.07, 0.17, ft)
        line += np.where(code == DASHED, across * dash, 0)
        line += np.where(code == SOLID, across, 0) + np.where(code == DOUBLE, double, 0)
    bar = coverage(length - s, 0.35, 0.75, fs) * coverage(t, 0.1, width - 0.1, ft)
    worn = 0.82 + 0.18 * np.sin(s * 1.7 + t * 5.1)
    # tyres darken two tracks
    track = np.exp(-(((np.abs(t - width / 2) - 0.75) / 0.35) ** 2))
    result.albedo[chosen] *= (1 - 0.10 * track)[:, None]
    _mix(result, chosen, np.clip(line + bar * stop, 0, 1) * worn, _LINE)


def _crossing(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    s, t = points.uv[chosen].T
    fs, ft = points.footprint[chosen].T
    width = points.params[chosen, 0]
    bars = periodic(s, 1.0, 0.5, fs) * coverage(t, 0.15, width - 0.15, ft)
    _mix(result, chosen, bars * 0.92, _LINE)


def _facade(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """params: bay, storey, window width and height as shares, ground floor, seed."""
    u, z = points.uv[chosen].T
    fu, fz = points.footprint[chosen].T
    bay, storey, share_w, share_h, base, seed = points.params[chosen].T
    rise = z - base
    column, row = np.floor(u / bay), np.floor(rise / storey)
    above = coverage(rise, 0.0, 1e6, fz)

    def opening(margin: float) -> Floats:
        w, h = share_w * bay + 2 * margin, share_h * storey + 2 * margin
        x = periodic(u - (bay - w) / 2, bay, w, fu)
        y = periodic(rise - 0.55 * (storey - share_h * storey) + margin, storey, h, fz)
        inside: Floats = x * y * above
        return inside

    wall = result.albedo[chosen]
    trim = np.where((scatter(seed) < 0.5)[:, None], 0.62, wall * 0.55)
    band = periodic(rise + 0.12, storey, 0.14, fz) * above * (scatter(seed + 7) < 0.4)
    _mix(result, chosen, band, np.clip(wall * 1.35, 0, 0.8))
    _mix(result, chosen, opening(0.09), trim.astype(np.float32))
    glass = opening(0.0)
    tint = scatter(column, row, seed)
    pane = _GLASS + (tint[:, None] > 0.72) * tint[:, None] * np.array([0.30, 0.28, 0.24])
    _mix(result, chosen, glass, pane.astype(np.float32))
    cross = periodic(u - bay / 2 + 0.03, bay, 0.06, fu) * glass
    _mix(result, chosen, cross, trim.astype(np.float32))
    result.gloss[chosen] = glass * 0.8
    lit = scatter(column + 31, row, seed) < 0.28
    warmth = 0.25 + 0.75 * scatter(column, row + 17, seed)
    result.emission[chosen] = (glass * lit * warmth)[:, None] * _WINDOW_LIGHT * 0.35


def _shop(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """params: height, seed, width. Fascia with letters above panes between pillars."""
    u, z = points.uv[chosen].T
    fu, fz = points.footprint[chosen].T
    height, seed, width = points.params[chosen, :3].T
    panes = np.maximum(1, np.round(width / 2.2))
    pitch = width / panes
    glass = periodic(u - 0.07, pitch, pitch - 0.14, fu) * coverage(z, 0.45, height - 0.85, fz)
    door = (np.floor(u / pitch) == np.floor(panes * scatter(seed))) & (z < height - 0.9)
    glass = np.where(door, periodic(u - 0.16, pitch, pitch - 0.32, fu), glass)
    shade = scatter(np.floor(u / 0.37), np.floor(z / 0.5), seed)
    hue = np.stack([scatter(np.floor(u / 0.37), seed + k) for k in range(3)], axis=1)
    goods = _GLASS + 0.16 * (shade[:, None] ** 3) * (0.6 + 0.4 * hue)
    _mix(result, chosen, glass, goods.astype(np.float32))
    letter = scatter(np.floor(u / 0.16), seed + 3) < 0.62
    rows = coverage(z, height - 0.56, height - 0.24, fz)
    middle = coverage(u, width * 0.2, width * 0.8, fu)
    bright = result.albedo[chosen].mean(axis=1) > 0.3
    ink = np.where(bright[:, None], 0.04, 0.75).astype(np.float32)
    stroke = periodic(u, 0.16, 0.11, fu)
    _mix(result, chosen, letter * rows * middle * stroke, np.broadcast_to(ink, (len(u), 3)))
    result.gloss[chosen] = glass * 0.7
    result.emission[chosen] = (
        glass[:, None] * _WINDOW_LIGHT * 0.30 * (scatter(seed + 5) < 0.6)[:, None]
    )


def _disc(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """Round sign, uv in [-1, 1]: red ring on white, or a white glyph. params: kind, glyph."""
    u, v = points.uv[chosen].T
    kind, glyph = points.params[chosen, :2].T
    f = points.footprint[chosen].max(axis=1)
    radius = np.hypot(u, v)
    field = coverage(radius, -1, np.where(kind == 0, 0.70, 0.0), f)
    _mix(result, chosen, field, np.float32([0.75, 0.75, 0.75]))
    ink = np.where(kind[:, None] == 0, 0.02, 0.75).astype(np.float32)
    cells = scatter(np.abs(np.floor(u / 0.22)), np.floor(v / 0.28), glyph) < 0.5
    inside = coverage(radius, -1, 0.52, f) * cells
    _mix(result, chosen, inside, np.broadcast_to(ink, (len(u), 3)))


def _warning(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """Triangular sign, uv in [-1, 1]: red border, white field, black glyph. params: -, glyph."""
    u, v = points.uv[chosen].T
    glyph = points.params[chosen, 1]
    f = points.footprint[chosen].max(axis=1)
    edge = np.minimum(v + 1, (1 - v) / 2 - np.abs(u))
    _mix(result, chosen, coverage(edge, 0.16, 9, f), np.float32([0.75, 0.75, 0.72]))
    cells = scatter(np.abs(np.floor(u / 0.15)), np.floor(v / 0.2), glyph) < 0.5
    _mix(result, chosen, coverage(edge, 0.36, 9, f) * cells, np.float32([0.02, 0.02, 0.02]))


def _board(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """Board, uv in [-1, 1]: rim, lines of text. params: half width, glyph, half height."""
    u, v = points.uv[chosen].T
    half, glyph, tall = points.params[chosen, :3].T
    fu, fv = points.footprint[chosen].T
    x, y = u * half, v * tall
    bright = result.albedo[chosen].mean(axis=1) > 0.35
    ink = np.where(bright[:, None], 0.03, 0.75).astype(np.float32)
    rim = 1 - coverage(np.abs(x), -1, half - 0.05, fu * half) * coverage(
        np.abs(y), -1, tall - 0.05, fv * tall
    )
    line = np.floor((y + tall) / 0.22)
    letters = scatter(np.floor(x / 0.09), line, glyph) < 0.6
    text = letters * periodic(x, 0.09, 0.06, fu * half) * periodic(y + tall, 0.22, 0.12, fv * tall)
    inside = coverage(np.abs(x), -1, half - 0.12, fu * half)
    _mix(
        result, chosen, np.clip(rim + 0.9 * text * inside, 0, 1), np.broadcast_to(ink, (len(u), 3))
    )


def _plate(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    u, v = points.uv[chosen].T
    fu, fv = points.footprint[chosen].T
    text = (
        periodic(u, 0.065, 0.035, fu) * coverage(v, 0.025, 0.095, fv) * coverage(u, 0.06, 0.46, fu)
    )
    _mix(result, chosen, text * 0.9, np.float32([0.02, 0.02, 0.02]))


def _paint(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """params: 1 where panels are marked, x of three seams, height of the belt. u = x, v = z."""
    x, z = points.uv[chosen].T
    fx, fz = points.footprint[chosen].T
    marked, *seams, belt = points.params[chosen, :5].T
    line = sum(coverage(x, at - 0.008, at + 0.008, fx) for at in seams)
    line = line * coverage(z, 0.3, belt, fz)
    handle = coverage(z, belt - 0.13, belt - 0.10, fz) * sum(
        coverage(x, at + 0.06, at + 0.2, fx) for at in seams[:2]
    )
    dark = result.albedo[chosen] * 0.25
    _mix(result, chosen, np.clip(line + handle, 0, 1) * marked, dark)


def _cloth(points: Points, chosen: NDArray[np.intp], result: Appearance) -> None:
    """params[0] = 1: stripes of an awning."""
    stripes = periodic(points.uv[chosen, 0], 0.6, 0.3, points.footprint[chosen, 0])
    _mix(result, chosen, stripes * points.params[chosen, 0], np.float32([0.7, 0.7, 0.66]))


_PAINTERS: dict[Material, Callable[[Points, NDArray[np.intp], Appearance], None]] = {
    Material.LANE: _lane,
    Material.CROSSING: _crossing,
    Material.FACADE: _facade,
    Material.SHOP: _shop,
    Material.DISC: _disc,
    Material.WARNING: _warning,
    Material.BOARD: _board,
    Material.PLATE: _plate,
    Material.CLOTH: _cloth,
    Material.PAINT: _paint,
}
