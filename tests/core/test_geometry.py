import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ros_xai.core import geometry

vectors = st.tuples(*[st.floats(-3, 3)] * 3)


@given(vectors)
def test_quaternions_agree_with_scipy(rotation_vector):
    rotation = Rotation.from_rotvec(rotation_vector)
    q = rotation.as_quat()
    np.testing.assert_allclose(
        geometry.rotation_from_quaternion(q), rotation.as_matrix(), atol=1e-12
    )
    back = geometry.quaternion_from_rotation(rotation.as_matrix())
    assert back[3] >= 0
    # q and -q are the same rotation.
    assert abs(abs(back @ q) - 1) < 1e-12


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_have_no_small_divisor(axis):
    rotation = Rotation.from_rotvec(np.pi * axis).as_matrix()
    np.testing.assert_allclose(np.abs(geometry.quaternion_from_rotation(rotation)[:3]), axis)


def test_zero_quaternion_is_refused():
    with pytest.raises(ValueError, match="non-zero quaternion"):
        geometry.rotation_from_quaternion([0, 0, 0, 0])


@given(vectors, vectors, vectors)
def test_inverse_undoes_the_transform(rotation_vector, translation, point):
    T = geometry.pose(Rotation.from_rotvec(rotation_vector).as_matrix(), translation)
    points = np.array([point])
    np.testing.assert_allclose(
        geometry.transform(geometry.invert(T), geometry.transform(T, points)), points, atol=1e-9
    )
    np.testing.assert_allclose(geometry.invert(T), np.linalg.inv(T), atol=1e-9)


@given(st.floats(-3.1, 3.1))
def test_yaw_is_the_angle_about_z(angle):
    assert geometry.yaw(geometry.pose(geometry.rotation_z(angle), [1, 2, 3])) == pytest.approx(
        angle
    )


def test_transform_keeps_float32():
    assert geometry.transform(np.eye(4), np.zeros((2, 3), np.float32)).dtype == np.float32
