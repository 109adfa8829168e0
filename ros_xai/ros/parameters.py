"""ROS parameters from a frozen dataclass: one field, one parameter."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ros_xai.core.config import ConfigError, from_mapping
from ros_xai.ros.diagnostics import Limits

C = TypeVar("C")

_FOREIGN_PREFIXES = ("qos_overrides.", "use_sim_time", "start_type_description_service")


def parameter(
    default: Any,
    description: str,
    *,
    bounds: tuple[float, float] | None = None,
    read_only: bool = False,
    reload: bool = False,
) -> Any:
    """A field of a node's configuration that becomes a ROS parameter.

    Args:
        default: a bool, int, float, str, or a tuple of them (an array parameter). A field whose
            type is a Literal of strings takes only those.
        description: one sentence with the unit, for `ros2 param describe` and the node's page.
        bounds: smallest and largest allowed value, both included.
        read_only: fixed once the node has started.
        reload: read when the node configures, so refused while it is configured.
    """
    metadata = {
        "description": description,
        "bounds": bounds,
        "read_only": read_only,
        "reload": reload,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class NodeConfig:
    """The parameters that all perception nodes share."""

    autostart: bool = parameter(
        True, "configure and activate by itself when created", read_only=True
    )
    latency_tolerance_ms: float = parameter(
        100.0, "a frame that takes longer is a WARN in /diagnostics, ms", bounds=(1.0, 1e5)
    )
    latency_error_after: float = parameter(
        2.0, "slower than the tolerance for this long is an ERROR, s", bounds=(0.0, 1e4)
    )
    input_timeout: float = parameter(2.0, "no input for this long is STALE, s", bounds=(0.1, 1e4))

    @property
    def limits(self) -> Limits:
        """When the node is unwell."""
        return Limits(self.latency_tolerance_ms, self.latency_error_after, self.input_timeout)


class Parameters(Generic[C]):
    """Declares the fields of `config_class` on `node` and keeps the valid values as one instance.

    `config` is replaced as a whole after a set of changes was found valid, so that a reader in
    another thread takes one consistent snapshot. A check of several values together belongs in the
    dataclass's `__post_init__`, as a ValueError.

    Args:
        locked: whether the node is configured, which is when `reload` parameters are refused.

    Raises:
        ConfigError: a start value has the wrong type, is out of bounds, or does not fit the others.
    """

    def __init__(self, node: Node, config_class: type[C], locked: Callable[[], bool]) -> None:
        self._fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
        self._class = config_class
        self._locked = locked
        self._values = {name: self._declare(node, field) for name, field in self._fields.items()}
        try:
            self.config = self._build(self._values)
        except ValueError as error:
            raise ConfigError(
                f"parameters of {node.get_fully_qualified_name()}: {error}"
            ) from error
        self._warn_of_unknown(node)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._accept)

    def _declare(self, node: Node, field: dataclasses.Field[Any]) -> Any:
        default: Any = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            declared = node.declare_parameter(
                field.name, default, _descriptor(field, _choices(self._class, field.name))
            )
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            where = node.get_fully_qualified_name()
            raise ConfigError(f"parameters of {where}: {error}") from error
        return declared.value

    def _build(self, values: Mapping[str, Any]) -> C:
        return from_mapping(
            self._class,
            {n: _as_tuple(v) if _is_array(self._fields[n]) else v for n, v in values.items()},
        )

    def _validate(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        known = [change for change in changes if change.name in self._fields]
        for change in known:
            if change.type_ == Parameter.Type.NOT_SET:
                return _refused(f"{change.name} cannot be removed; set its default instead")
            if self._fields[change.name].metadata["reload"] and self._locked():
                return _refused(
                    f"{change.name} is read when the node configures; "
                    "deactivate and clean up the node, set it, then configure again"
                )
        try:
            self._build({**self._values, **{change.name: change.value for change in known}})
        except ValueError as error:
            return _refused(str(error))
        return SetParametersResult(successful=True)

    def _accept(self, changes: list[Parameter[Any]]) -> None:
        known = {change.name: change.value for change in changes if change.name in self._fields}
        if known:
            self._values = {**self._values, **known}
            self.config = self._build(self._values)

    def _warn_of_unknown(self, node: Node) -> None:
        """rclpy drops start values of undeclared parameters without a word: a misspelt one too."""
        for name in node._parameter_overrides:
            if name in self._fields or name.startswith(_FOREIGN_PREFIXES):
                continue
            close = difflib.get_close_matches(name, self._fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            node.get_logger().warning(f"parameter {name} is unknown and has no effect{hint}")


def markdown_table(config_class: type[Any]) -> str:
    """The parameters of a node's page: name, type, default, range, when it may change, meaning."""
    lines = [
        "| parameter | type | default | allowed | change | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for field in dataclasses.fields(config_class):
        meta = field.metadata
        choices = _choices(config_class, field.name)
        kind = str(field.type).replace("tuple[", "list of ").removesuffix(", ...]")
        low_high = f"{meta['bounds'][0]:g} to {meta['bounds'][1]:g}" if meta["bounds"] else ""
        allowed = ", ".join(choices) or low_high
        change = "at start" if meta["read_only"] else "unconfigured" if meta["reload"] else "live"
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        shown = '`""`' if default == "" else f"`{default}`"
        cells = (
            f"`{field.name}`",
            "str" if choices else kind,
            shown,
            allowed,
            change,
            meta["description"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _choices(config_class: type[Any], name: str) -> tuple[str, ...]:
    """The strings that the field's type allows; empty where it is no Literal."""
    hint = typing.get_type_hints(config_class)[name]
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _descriptor(field: dataclasses.Field[Any], choices: tuple[str, ...]) -> ParameterDescriptor:
    meta = field.metadata
    descriptor = ParameterDescriptor(
        name=field.name, description=meta["description"], read_only=meta["read_only"]
    )
    if choices:
        descriptor.additional_constraints = "one of " + ", ".join(choices)
    # rclpy takes an empty list for an array of bytes, and YAML's [] for an unset value: only
    # a dynamic type lets an array parameter be empty. `_build` checks the elements.
    descriptor.dynamic_typing = _is_array(field)
    if meta["bounds"] and isinstance(field.default, float):
        low, high = map(float, meta["bounds"])
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif meta["bounds"]:
        low, high = map(int, meta["bounds"])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def _is_array(field: dataclasses.Field[Any]) -> bool:
    return isinstance(field.default, tuple)


def _as_tuple(value: Any) -> Any:
    """The array parameter's value as a tuple; a value that is no array stays, to be refused."""
    if value is None:
        return ()
    return value if isinstance(value, bool | int | float | str) else tuple(value)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
