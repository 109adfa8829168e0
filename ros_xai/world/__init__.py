"""The synthetic driving world: traffic, scenes, rays, sensors, exact ground truth."""
