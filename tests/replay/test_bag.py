"""Reading bags of every kind, intact, cut off or with foreign content."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ros_xai.replay.bag import Bag, BagError, DecodeError, Record
from ros_xai.world.bag_messages import compressed, typestore
from ros_xai.world.bag_writer import BagWriter

COMPRESSED = "sensor_msgs/msg/CompressedImage"


def rosbag2(
    folder: Path,
    plugin: StoragePlugin,
    messages: int = 40,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    """A rosbag2 folder written by rosbags, with distinct payloads of 5 kB."""
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/camera", COMPRESSED, typestore=typestore())
        for index in range(messages):
            message = compressed(index + 1, "camera", bytes([index]) * 5000, "jpeg")
            writer.write(connection, index + 1, typestore().serialize_cdr(message, COMPRESSED))
    return folder


def payloads(bag: Bag) -> list[int]:
    return [int(bag.decode(record).data[0]) for record in bag.records()]


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("mode", list(CompressionMode))
def test_folders_of_both_storages_and_all_compressions(
    tmp_path: Path, plugin: StoragePlugin, mode: CompressionMode
) -> None:
    if plugin == StoragePlugin.SQLITE3 and mode == CompressionMode.STORAGE:
        pytest.skip("sqlite3 storage has no compression of its own")
    bag = Bag(rosbag2(tmp_path / "bag", plugin, mode=mode))
    assert payloads(bag) == list(range(40))
    assert bag.damages == []
    assert bag.topics["/camera"].type == COMPRESSED


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_single_file_and_a_folder_without_metadata(tmp_path: Path, plugin: StoragePlugin) -> None:
    folder = rosbag2(tmp_path / "bag", plugin)
    (file,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    assert payloads(Bag(file)) == list(range(40))
    (folder / "metadata.yaml").unlink()
    assert payloads(Bag(folder)) == list(range(40))


def large(path: Path) -> Path:
    """An MCAP file of several chunks whose payloads do not compress."""
    rng = np.random.default_rng(0)
    with BagWriter(path) as bag:
        for index in range(60):
            data = bytes([index]) + rng.bytes(53_000)  # 20 to a chunk of 1 MiB
            bag.compressed("/camera", index + 1, "camera", data, log_ns=1 + (index ^ 1))
    return path


def test_an_mcap_file_that_is_cut_off_is_read_up_to_the_break(tmp_path: Path) -> None:
    path = large(tmp_path / "bag.mcap")
    whole = list(Bag(path).records())
    assert [record.log_ns for record in whole] == sorted(record.log_ns for record in whole)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    bag = Bag(path)
    read = list(bag.records())
    assert len(read) in (20, 40)
    assert read == whole[: len(read)]
    assert bag.damages[0].startswith("bag.mcap breaks off after the message recorded at 0.000 s")


def test_a_damaged_chunk_ends_the_reading_and_is_named(tmp_path: Path) -> None:
    path = large(tmp_path / "bag.mcap")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    bag = Bag(path)
    read = payloads(bag)
    assert 0 < len(read) < 60
    assert len(bag.damages) == 1
    assert len(payloads(bag)) == len(read)  # reading again starts anew
    assert len(bag.damages) == 1


def test_a_sqlite_file_that_is_cut_off_is_read_up_to_the_break(tmp_path: Path) -> None:
    folder = rosbag2(tmp_path / "bag", StoragePlugin.SQLITE3, messages=200)
    (file,) = folder.glob("*.db3")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    bag = Bag(folder)
    read = payloads(bag)
    assert 50 < len(read) < 150
    assert read == list(range(len(read)))
    assert any("breaks off" in damage for damage in bag.damages)


def test_a_missing_split_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = rosbag2(tmp_path / "bag", StoragePlugin.MCAP)
    (file,) = folder.glob("*.mcap")
    shutil.copy(file, folder / "bag_1.mcap")
    file.write_bytes(b"")
    bag = Bag(folder)
    assert payloads(bag) == list(range(40))
    assert any(file.name in damage for damage in bag.damages)


def test_bytes_that_are_no_message_are_refused_by_decode(bag_of: Any) -> None:
    def write(bag: BagWriter) -> None:
        bag.cdr("/camera", COMPRESSED, b"\x00\x01\x00\x00" + b"\xff" * 40, 1)

    bag = Bag(bag_of(write))
    (record,) = bag.records()
    with pytest.raises(DecodeError, match="/camera"):
        bag.decode(record)


def test_types_that_the_bag_defines_itself_are_decoded(tmp_path: Path) -> None:
    types = get_types_from_msg("uint8 level\nfloat64 value\n", "own_msgs/msg/Reading")
    store = typestore_with(types)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        name = "own_msgs/msg/Reading"
        connection = writer.add_connection("/reading", name, typestore=store)
        message = store.types[name](level=3, value=1.5)
        writer.write(connection, 1, store.serialize_cdr(message, name))
    bag = Bag(tmp_path / "bag")
    (record,) = bag.records()
    assert bag.decode(record).value == 1.5
    with pytest.raises(DecodeError, match="no definition"):
        bag.decode(Record("/x", "other_msgs/msg/Unknown", 1, b""))


@pytest.mark.parametrize(
    ("schema", "encoding", "told"),
    [
        (("foxglove.Log", "jsonschema"), "json", "/app: 2 x foxglove.Log in json"),
        (None, "json", "/app: 2 x no type in json"),
        (None, "cdr", "/app: 2 x no type in cdr"),
        (("std_msgs/msg/String", "ros2msg"), "json", "/app: 2 x std_msgs/msg/String in json"),
        (("foxglove.Log", "ros2msg"), "cdr", "/app: 2 x foxglove.Log in cdr"),
    ],
)
def test_what_is_no_ros_2_in_an_mcap_file_is_named_and_left_out(
    tmp_path: Path, schema: tuple[str, str] | None, encoding: str, told: str
) -> None:
    path = tmp_path / "mixed.mcap"
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2")
        definition, _ = typestore().generate_msgdef(COMPRESSED, ros_version=2)
        ours = writer.register_channel(
            "/camera", "cdr", writer.register_schema(COMPRESSED, "ros2msg", definition.encode())
        )
        number = 0 if schema is None else writer.register_schema(*schema, b"string data")
        foreign = writer.register_channel("/app", encoding, number)
        for index in range(6):
            message = compressed(index + 1, "camera", bytes([index]) * 50, "jpeg")
            data = bytes(typestore().serialize_cdr(message, COMPRESSED))
            writer.add_message(ours, index, data, index)
            if index in (1, 4):
                writer.add_message(foreign, index, b"{}", index)
        writer.finish()
    bag = Bag(path)
    assert payloads(bag) == list(range(6))
    assert bag.damages == []
    assert list(bag.topics) == ["/camera"]
    assert [text.replace("__schemaless__", "no type") for text in bag.foreign] == [told]


def typestore_with(types: Any) -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(types)
    return store


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_latched_topics_are_known_as_such(tmp_path: Path, plugin: StoragePlugin) -> None:
    qos = Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
        QosTime(0, 0), QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
    )  # fmt: skip
    with Writer(tmp_path / "bag", version=9, storage_plugin=plugin) as writer:
        for topic, offered in (("/latched", [qos]), ("/volatile", [])):
            connection = writer.add_connection(
                topic, COMPRESSED, typestore=typestore(), offered_qos_profiles=offered
            )
            message = compressed(1, "camera", bytes(100_000), "jpeg")
            for index in range(20):
                data = typestore().serialize_cdr(message, COMPRESSED)
                writer.write(connection, index, data)
    intact = Bag(tmp_path / "bag")
    assert {name: topic.latched for name, topic in intact.topics.items()} == {
        "/latched": True,
        "/volatile": False,
    }
    (file,) = (path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    assert Bag(tmp_path / "bag").topics["/latched"].latched


def test_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = large(tmp_path / "bag.mcap")
    assert Bag(path).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_no_bag_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no bag at"):
        Bag(tmp_path / "none.mcap")
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    with pytest.raises(BagError, match=r"\.mcap or \.db3"):
        Bag(text)
    with pytest.raises(BagError, match="file in"):
        Bag(tmp_path)
    (tmp_path / "fake.mcap").write_bytes(b"no bag at all")
    with pytest.raises(BagError, match="fake"):
        Bag(tmp_path / "fake.mcap")
