"""Radiance of rays: sun with shadows, sky, lamps, gloss, fog, over the appearance of surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.world.domains import Domain
from ros_xai.world.lamps import glow, head_light, street_light
from ros_xai.world.materials import Points, appearance
from ros_xai.world.mesh import PAVEMENT, ROAD, Material
from ros_xai.world.rays import Hits, Surface, cast, occluded
from ros_xai.world.sky import sky, sun_direction
from ros_xai.world.textures import INDEX, interpolate, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_GROUND = np.array([0.15, 0.14, 0.13], np.float32)


@dataclass(frozen=True)
class Contact:
    """Darkness below and beside what stands on the ground: a raster [R, R] about ``origin``."""

    shade: Floats
    origin: NDArray[np.float64]
    cell: float

    def at(self, xy: Floats) -> Floats:
        """Darkness [N] in [0, 1] at points [N, 2] of the ground."""
        return interpolate(self.shade, ((xy - self.origin) / self.cell).astype(np.float32))


def contact(
    outlines: NDArray[np.floating], around: NDArray[np.floating], reach: float = 60.0
) -> Contact:
    """Blurred footprints [A, 4, 2] of the agents within ``reach`` metres of a point."""
    cell = 0.15
    origin = np.asarray(around, np.float64) - reach
    canvas = np.zeros((round(2 * reach / cell),) * 2, np.float32)
    near = np.linalg.norm(outlines.mean(axis=1) - around, axis=1) < reach
    for outline in outlines[near]:
        pixels = np.round((outline - origin) / cell * 16).astype(np.int32)
        cv2.fillPoly(canvas, [pixels], 1.0, cv2.LINE_AA, 4)
    return Contact(cv2.GaussianBlur(canvas, (0, 0), 0.32 / cell), origin, cell)


@dataclass(frozen=True)
class Lighting:
    """All that lights one frame: powers of lamps [K], street_lamps [L, 3] near the camera."""

    domain: Domain
    lamps: Floats
    street_lamps: Floats
    contact: Contact
    headlights: Floats  # T_world_camera [4, 4] of the ego, whose headlights these are


@dataclass
class Rays:
    """N camera rays: origin and directions [N, 3], and the directions' change per pixel [2, 3]."""

    origins: Floats
    directions: Floats
    per_pixel: Floats


def radiance(surfaces: list[Surface], rays: Rays, hits: Hits, light: Lighting) -> Floats:
    """Radiance [N, 3] seen along rays whose nearest hits are known."""
    unit = rays.directions / np.linalg.norm(rays.directions, axis=1, keepdims=True)
    colour = np.empty((len(unit), 3), np.float32)
    missed = hits.face < 0
    colour[missed] = sky(light.domain, unit[missed])
    chosen = np.flatnonzero(~missed)
    if len(chosen):
        colour[chosen] = _surfaces(surfaces, rays, hits, light, chosen, unit[chosen])
    return colour


def gather(surfaces: list[Surface], face: NDArray[np.int32], name: str) -> NDArray[np.generic]:
    """Per-face values of the meshes' attribute ``name`` for faces counted through ``surfaces``."""
    parts = [getattr(s.mesh, name) if name != "gradients" else s.gradients for s in surfaces]
    result = np.empty((len(face), *parts[0].shape[1:]), parts[0].dtype)
    first = 0
    for values in parts:
        here = np.flatnonzero((face >= first) & (face < first + len(values)))
        result[here] = values[face[here] - first]
        first += len(values)
    return result


def _points(surfaces: list[Surface], rays: Rays, hits: Hits, chosen: NDArray[np.intp]) -> Points:
    """Surface coordinates of the hits, and the size of a pixel in them."""
    face = hits.face[chosen]
    corners = gather(surfaces, face, "uv")  # [M, 3, 2]
    b = hits.barycentric[chosen]
    uv = corners[:, 0] + b[:, :1] * (corners[:, 1] - corners[:, 0])
    uv += b[:, 1:] * (corners[:, 2] - corners[:, 0])
    normal, direction = hits.normal[chosen], rays.directions[chosen]
    cosine = np.minimum(np.einsum("nk,nk->n", normal, direction), -1e-4)
    gradients = gather(surfaces, face, "gradients")  # [M, 2, 3]
    footprint = np.zeros_like(uv)
    for change in rays.per_pixel:
        # d(hit point) / d(pixel): the ray's change, slid along the ray onto the plane
        slide = hits.distance[chosen, None] * (
            change - direction * ((normal @ change) / cosine)[:, None]
        )
        footprint += np.abs(np.einsum("nak,nk->na", gradients, slide))
    material = gather(surfaces, face, "material")
    colour, params = gather(surfaces, face, "colour"), gather(surfaces, face, "params")
    return Points(material, uv, np.maximum(footprint, 1e-4), colour, params)


def _surfaces(
    surfaces: list[Surface],
    rays: Rays,
    hits: Hits,
    light: Lighting,
    chosen: NDArray[np.intp],
    unit: Floats,
) -> Floats:
    domain = light.domain
    points = _points(surfaces, rays, hits, chosen)
    looks = appearance(points)
    flat, distance = hits.normal[chosen], hits.distance[chosen]
    normal = _bent_normals(surfaces, hits, chosen, points.material, unit)
    place = rays.origins[chosen] + rays.directions[chosen] * distance[:, None]
    label = gather(surfaces, hits.face[chosen], "label")
    ground = ((label == ROAD) | (label == PAVEMENT)) & (normal[:, 2] > 0.7)
    wet = ground * np.float32(domain.wet)
    looks.albedo *= (1 - 0.45 * wet)[:, None]

    direct, sun = _sun(surfaces, domain, place, normal, flat)
    incoming = direct + _ambient(domain, normal)
    low = np.flatnonzero((place[:, 2] < 0.3) & (normal[:, 2] > 0.7))
    incoming[low] *= (1 - 0.8 * light.contact.at(place[low, :2]))[:, None]
    if domain.dark > 0:
        lamps = street_light(light.street_lamps, place, normal)
        incoming += domain.dark * (lamps + head_light(light.headlights, place, normal))
    colour = looks.albedo * incoming
    colour += _reflection(domain, looks.gloss, normal, unit, sun)
    colour += looks.emission * np.float32(domain.dark)
    puddles = np.flatnonzero(wet)
    if len(puddles):
        colour[puddles] += _wet_mirror(surfaces, light, points, puddles, place, unit) * domain.wet
    lamp = gather(surfaces, hits.face[chosen], "lamp")
    lit = np.flatnonzero(lamp >= 0)
    colour[lit] += glow(points.colour[lit], light.lamps[lamp[lit]])
    length = distance * np.linalg.norm(rays.directions[chosen], axis=1)
    clear = np.exp(-domain.fog * length)[:, None]
    haze = np.float32(domain.horizon) * 0.95
    return np.asarray(colour * clear + haze * (1 - clear), np.float32)


def _bent_normals(
    surfaces: list[Surface],
    hits: Hits,
    chosen: NDArray[np.intp],
    material: NDArray[np.uint8],
    unit: Floats,
) -> Floats:
    """Unit normals [M, 3] of light: interpolated over the triangle, never turned from the ray."""
    corners = gather(surfaces, hits.face[chosen], "normals")
    b = hits.barycentric[chosen]
    normal = corners[:, 0] + b[:, :1] * (corners[:, 1] - corners[:, 0])
    normal += b[:, 1:] * (corners[:, 2] - corners[:, 0])
    flat = hits.normal[chosen]
    # a leaf is lit as its crown is, from whichever side it is seen
    back = (np.einsum("nk,nk->n", normal, flat) < 0) & (material != Material.LEAF)
    normal[back] *= -1
    away = np.maximum(np.einsum("nk,nk->n", normal, unit), 0)
    normal -= away[:, None] * unit
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-3, normal / np.maximum(length, 1e-3), flat), np.float32)


def _sun(
    surfaces: list[Surface], domain: Domain, place: Floats, normal: Floats, flat: Floats
) -> tuple[Floats, Floats]:
    """Sunlight on the surface [N, 3], and the sun's radiance where it is not hidden."""
    direction = sun_direction(domain)
    facing = normal @ direction
    lit = np.flatnonzero(facing > 0)
    visible = np.zeros(len(place), np.float32)
    if max(domain.sun) > 0.05 and len(lit):
        start = place[lit] + flat[lit] * np.float32(0.02)
        towards = np.ascontiguousarray(np.broadcast_to(direction, start.shape))
        visible[lit] = ~occluded(surfaces, start, towards)
    else:
        visible[lit] = 1
    sun = visible[:, None] * np.float32(domain.sun)
    return np.clip(facing, 0, 1)[:, None] * sun, sun


def _ambient(domain: Domain, normal: Floats) -> Floats:
    """Light of the sky above and of the ground below a tilted surface."""
    above = np.float32(0.34) * (np.float32(domain.zenith) + np.float32(domain.horizon))
    below = _GROUND * (np.float32(domain.sun) * np.sin(np.deg2rad(domain.sun_elevation)) + above)
    up = (0.5 + 0.5 * normal[:, 2])[:, None]
    return np.asarray(up * above + (1 - up) * below, np.float32)


def _wet_mirror(
    surfaces: list[Surface],
    light: Lighting,
    points: Points,
    chosen: NDArray[np.intp],
    place: Floats,
    unit: Floats,
) -> Floats:
    """What the water on the ground mirrors: one more ray, off a slightly wavy film."""
    uv, extent = points.uv[chosen], points.footprint[chosen].min(axis=1)
    kind = np.full(len(chosen), INDEX["leaf"], np.uint8)
    waves = [sample(kind, uv + np.float32(shift), extent)[:, :1] - 1 for shift in (0.0, 0.71)]
    normal = np.concatenate([*waves, np.full_like(waves[0], 1 / 0.05)], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    d = unit[chosen]
    cosine = np.clip(-(normal * d).sum(1), 0, 1)
    mirrored = np.ascontiguousarray(d + 2 * cosine[:, None] * normal, np.float32)
    start = place[chosen] + np.float32([0, 0, 0.02])
    hits = cast(surfaces, start, mirrored)
    scene = sky(light.domain, mirrored, clouds=False)
    hit = np.flatnonzero(hits.face >= 0)
    face = hits.face[hit]
    colour, lamp = gather(surfaces, face, "colour"), gather(surfaces, face, "lamp")
    scene[hit] = 0.7 * colour * _ambient(light.domain, hits.normal[hit])
    lit = np.flatnonzero(lamp >= 0)
    scene[hit[lit]] += glow(colour[lit], light.lamps[lamp[lit]])
    fresnel = 0.04 + 0.96 * (1 - cosine) ** 5
    return np.asarray(0.75 * fresnel[:, None] * scene, np.float32)


def _reflection(domain: Domain, gloss: Floats, normal: Floats, unit: Floats, sun: Floats) -> Floats:
    """Sky and sun mirrored in paint, glass and water (Schlick's Fresnel term, F0 = 0.05)."""
    result = np.zeros((len(gloss), 3), np.float32)
    shiny = np.flatnonzero(gloss > 0.05)
    if len(shiny):
        n, d = normal[shiny], unit[shiny]
        cosine = np.clip(-(n * d).sum(1), 0, 1)
        mirrored = d + 2 * cosine[:, None] * n
        fresnel = (0.05 + 0.95 * (1 - cosine) ** 5) * gloss[shiny]
        scene = sky(domain, mirrored, clouds=False)
        # below about 12 degrees a town's sky is houses, below the horizon its ground
        houses = np.clip((mirrored[:, 2] - 0.02) / 0.2, 0, 1)[:, None]
        scene = scene * (0.18 + 0.82 * houses)
        lobe = np.clip(mirrored @ sun_direction(domain), 0, 1) ** 180
        scene += 6 * lobe[:, None] * sun[shiny]
        result[shiny] = fresnel[:, None] * scene
    return result
