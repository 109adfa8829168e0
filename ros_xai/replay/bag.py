"""Bags to read: MCAP files, sqlite3 files and rosbag2 folders, intact or cut off."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import Connection, MessageDefinitionFormat, QosDurability
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

STORAGE = (".mcap", ".db3")


class BagError(Exception):
    """A bag that cannot be read at all, with what was wrong and what was expected."""


class DecodeError(ValueError):
    """Bytes of a message that are not CDR of its type."""


class Record(NamedTuple):
    """One recorded message as serialised by DDS: CDR with its four bytes of encapsulation."""

    topic: str
    type: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class Topic:
    """A topic of a bag; `definition` is empty where the bag holds none."""

    name: str
    type: str
    latched: bool = False
    definition: str = ""


class Source(Protocol):
    """One storage file or one rosbag2 folder."""

    path: Path
    topics: list[Topic]
    foreign: list[str]

    def records(self) -> Iterator[Record]:
        """Messages of the topics by time of recording."""


class Bag:
    """A bag by path: a .mcap or .db3 file, or a folder of rosbag2 or of such files.

    After `records` ran out, `damages` says where and why a file could not be read to its end.
    `foreign` names what is left out, as it is no CDR of a ROS 2 type: MCAP may hold JSON beside it.

    Raises:
        FileNotFoundError: nothing is at the path.
        BagError: what is there is no bag.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.files = _storage_files(self.path)
        self._unopened: list[str] = []
        self.sources = self._open()
        self.damages = list(self._unopened)
        self.foreign = [text for source in self.sources for text in source.foreign]
        self.topics: dict[str, Topic] = {}
        for source in self.sources:
            self.topics |= {topic.name: topic for topic in source.topics}
        self._typestore: Typestore = get_typestore(Stores.ROS2_JAZZY)
        for topic in self.topics.values():
            self._register(topic)

    def records(self) -> Iterator[Record]:
        """All messages, file after file, by time of recording within each."""
        self.damages = list(self._unopened)
        for source in self.sources:
            last_ns = None
            try:
                for record in source.records():
                    last_ns = record.log_ns
                    yield record
            # A damaged file makes its reader raise anything; what came before stays good.
            except Exception as error:
                where = "at its beginning"
                if last_ns is not None:
                    where = f"after the message recorded at {last_ns / 1e9:.3f} s"
                self.damages.append(f"{source.path.name} breaks off {where}: {_text(error)}")

    def decode(self, record: Record) -> Any:
        """The message as an object of rosbags; raises DecodeError."""
        if record.type not in self._typestore.types:
            raise DecodeError(f"{record.type} on {record.topic}: the bag holds no definition of it")
        try:
            return self._typestore.deserialize_cdr(record.data, record.type)
        except SerdeError as error:
            raise DecodeError(f"{record.type} on {record.topic}: {error}") from error

    def sha256(self) -> str:
        """Hash of the bytes of all storage files."""
        digest = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def _open(self) -> list[Source]:
        metadata = self.path / "metadata.yaml"
        if metadata.is_file():
            try:
                return [_Indexed(self.path)]
            except Exception as error:
                self._unopened.append(f"{metadata.name} does not fit its files: {_text(error)}")
        sources = []
        for path in self.files:
            try:
                sources.append(_open_file(path))
            except Exception as error:
                self._unopened.append(f"{path.name} cannot be read: {_text(error)}")
        if not sources:
            raise BagError(f"{self.path} is no bag: {'; '.join(self._unopened)}")
        return sources

    def _register(self, topic: Topic) -> None:
        if topic.definition and topic.type not in self._typestore.types:
            known = self._typestore.types
            types = get_types_from_msg(topic.definition, topic.type)
            self._typestore.register({name: t for name, t in types.items() if name not in known})


def _open_file(path: Path) -> Source:
    try:
        return _Indexed(path)
    except Exception:
        # Without its index or with a hole in it: read what can be read, from the beginning.
        return _McapStream(path) if path.suffix == ".mcap" else _SqliteStream(path)


class _Indexed:
    """An intact file or folder, through rosbags."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Reader(path) as reader:
            self.topics = [
                Topic(
                    connection.topic,
                    connection.msgtype,
                    any(
                        qos.durability == QosDurability.TRANSIENT_LOCAL
                        for qos in connection.ext.offered_qos_profiles
                    ),
                    connection.msgdef.data
                    if connection.msgdef.format == MessageDefinitionFormat.MSG
                    else "",
                )
                for connection in reader.connections
                if _playable(connection.msgtype, _encoding(connection))
            ]
            self.foreign = [
                _foreign(each.topic, each.msgtype, _encoding(each), each.msgcount)
                for each in reader.connections
                if not _playable(each.msgtype, _encoding(each))
            ]

    def records(self) -> Iterator[Record]:
        with Reader(self.path) as reader:
            for connection, log_ns, data in reader.messages():
                if not _playable(connection.msgtype, _encoding(connection)):
                    continue
                yield Record(connection.topic, connection.msgtype, log_ns, bytes(data))


@dataclass
class _McapStream:
    """An MCAP file without its index, read from the front; each chunk is sorted by itself."""

    path: Path
    topics: list[Topic] = field(init=False)
    foreign: list[str] = field(init=False)

    def __post_init__(self) -> None:
        seen: dict[str, Topic] = {}
        foreign: Counter[tuple[str, str, str]] = Counter()
        with contextlib.suppress(Exception):  # the break is reported when the records are read
            for channel, schema, _ in self._messages():
                if not _playable(schema.name, channel.message_encoding):
                    foreign[channel.topic, schema.name, channel.message_encoding] += 1
                elif channel.topic not in seen:
                    latched = _latched(channel.metadata.get("offered_qos_profiles", ""))
                    definition = schema.data.decode() if schema.encoding == "ros2msg" else ""
                    seen[channel.topic] = Topic(channel.topic, schema.name, latched, definition)
        if not seen:
            raise BagError("no whole message of ROS 2 in it")
        self.topics = list(seen.values())
        self.foreign = [_foreign(*what, count) for what, count in foreign.items()]

    def records(self) -> Iterator[Record]:
        for channel, schema, message in self._messages():
            if not _playable(schema.name, channel.message_encoding):
                continue
            yield Record(channel.topic, schema.name, message.log_time, message.data)

    def _messages(self) -> Iterator[tuple[Channel, Schema, Message]]:
        schemas = {0: Schema(id=0, name="", encoding="", data=b"")}  # of channels without one
        channels: dict[int, Channel] = {}
        with self.path.open("rb") as file:
            for outer in StreamReader(file, emit_chunks=True).records:
                inner = breakup_chunk(outer, True) if isinstance(outer, Chunk) else [outer]
                schemas |= {record.id: record for record in inner if isinstance(record, Schema)}
                channels |= {record.id: record for record in inner if isinstance(record, Channel)}
                messages = [record for record in inner if isinstance(record, Message)]
                for message in sorted(messages, key=lambda message: message.log_time):
                    channel = channels[message.channel_id]
                    yield channel, schemas[channel.schema_id], message


@dataclass
class _SqliteStream:
    """A sqlite3 file that is cut off, row by row."""

    path: Path
    topics: list[Topic] = field(init=False)
    foreign: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        with self._connection() as connection:
            rows = connection.execute("SELECT name, type, offered_qos_profiles FROM topics")
            self.topics = [Topic(n, kind, _latched(qos)) for n, kind, qos in rows]

    def records(self) -> Iterator[Record]:
        query = (
            "SELECT topics.name, topics.type, messages.timestamp, messages.data FROM messages"
            " JOIN topics ON topics.id = messages.topic_id ORDER BY messages.id"
        )
        with self._connection() as connection:
            for topic, kind, log_ns, data in connection.execute(query):
                yield Record(topic, kind, log_ns, data)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        uri = f"file:{self.path}?immutable=1&mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            # SQLite refuses a file shorter than its header says, save to who may mend schemas.
            connection.execute("PRAGMA writable_schema=ON")
            yield connection


def _storage_files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"no bag at {path}: expected a .mcap or .db3 file or a folder")
    if path.is_file():
        if path.suffix not in STORAGE:
            raise BagError(f"{path} is no bag: expected a file that ends in {' or '.join(STORAGE)}")
        return [path]
    patterns = ((f"*{suffix}", f"*{suffix}.zstd") for suffix in STORAGE)
    files = sorted(found for pattern in itertools.chain(*patterns) for found in path.glob(pattern))
    if not files:
        raise BagError(f"no {' or '.join(STORAGE)} file in {path}")
    return files


def _encoding(connection: Connection) -> str:
    return getattr(connection.ext, "serialization_format", "")


def _playable(kind: str, encoding: str) -> bool:
    """Whether messages are CDR of a type such as sensor_msgs/msg/Image."""
    return encoding == "cdr" and "/" in kind


def _foreign(topic: str, kind: str, encoding: str, count: int) -> str:
    return f"{topic}: {count} x {kind or 'no type'} in {encoding or 'no encoding'}"


def _latched(qos: str) -> bool:
    """Whether rosbag2's text of offered QoS, of any version, says transient local."""
    return re.search(r"durability: (1\b|transient_local)", qos) is not None


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
