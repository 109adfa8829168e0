"""Ray casting on Embree: nearest hits and occlusion against the static world and the movers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from ros_xai.world.mesh import Mesh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hits:
    """Nearest hits of N rays: distance in units of the direction, inf = none.

    face [N] counts through the meshes of the caster in order, -1 = none; barycentric [N, 2] are
    the weights of corners 1 and 2; normal [N, 3] is unit and faces the ray.
    """

    distance: Floats
    face: NDArray[np.int32]
    barycentric: Floats
    normal: Floats


class Surface:
    """One mesh ready for rays, with the gradients of its surface coordinates."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.scene = EmbreeScene()
        # the geometry must live as long as the scene
        corners = np.ascontiguousarray(mesh.corners, np.float32)
        self._geometry = TriangleMesh(self.scene, corners) if len(mesh) else None
        self.gradients = uv_gradients(mesh)


def uv_gradients(mesh: Mesh) -> Floats:
    """d uv / d position [F, 2, 3], in the plane of each triangle."""
    edges = mesh.corners[:, 1:] - mesh.corners[:, :1]  # [F, 2, 3]
    delta = mesh.uv[:, 1:] - mesh.uv[:, :1]  # [F, 2 edges, 2]
    a = np.einsum("fk,fk->f", edges[:, 0], edges[:, 0])
    b = np.einsum("fk,fk->f", edges[:, 0], edges[:, 1])
    c = np.einsum("fk,fk->f", edges[:, 1], edges[:, 1])
    determinant = np.maximum(a * c - b * b, 1e-12)[:, None]
    first = (c[:, None] * delta[:, 0] - b[:, None] * delta[:, 1]) / determinant  # [F, 2]
    second = (a[:, None] * delta[:, 1] - b[:, None] * delta[:, 0]) / determinant
    return first[:, :, None] * edges[:, :1] + second[:, :, None] * edges[:, 1:]


def cast(surfaces: list[Surface], origins: Floats, directions: Floats) -> Hits:
    """Nearest hit of each ray (origins, directions [N, 3], any length) over all surfaces."""
    count = len(directions)
    distance = np.full(count, np.inf, np.float32)
    face = np.full(count, -1, np.int32)
    barycentric = np.zeros((count, 2), np.float32)
    normal = np.zeros((count, 3), np.float32)
    first = 0
    for surface in surfaces:
        if len(surface.mesh):
            found = surface.scene.run(origins, directions, output=True)
            nearer = np.flatnonzero((found["primID"] >= 0) & (found["tfar"] < distance))
            distance[nearer] = found["tfar"][nearer]
            face[nearer] = found["primID"][nearer] + first
            barycentric[nearer, 0] = found["u"][nearer]
            barycentric[nearer, 1] = found["v"][nearer]
            normal[nearer] = found["Ng"][nearer]
        first += len(surface.mesh)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    away = np.einsum("nk,nk->n", normal, directions) > 0
    normal[away] *= -1
    return Hits(distance, face, barycentric, normal)


def occluded(surfaces: list[Surface], origins: Floats, directions: Floats) -> NDArray[np.bool_]:
    """Whether anything lies on each ray [N]."""
    hidden = np.zeros(len(directions), bool)
    for surface in surfaces:
        open_rays = np.flatnonzero(~hidden)
        if len(surface.mesh) and len(open_rays):
            found = surface.scene.run(origins[open_rays], directions[open_rays], query="OCCLUDED")
            hidden[open_rays] = found != -1
    return hidden
