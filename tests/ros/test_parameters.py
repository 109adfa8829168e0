from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from ros_xai.core.config import ConfigError
from ros_xai.ros.parameters import Parameters, markdown_table, parameter


@dataclass(frozen=True)
class Config:
    low: float = parameter(0.0, "lower end, m", bounds=(-10.0, 10.0))
    high: float = parameter(1.0, "upper end, m", bounds=(-10.0, 10.0))
    count: int = parameter(3, "how many", bounds=(1, 5))
    mode: Literal["fast", "exact"] = parameter("fast", "way to do it")
    weights: str = parameter("", "a file", reload=True)
    autostart: bool = parameter(True, "start by itself", read_only=True)
    rings: tuple[int, ...] = parameter((), "beams")
    matrix: tuple[float, ...] = parameter((1.0, 2.0), "numbers")

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"expected low < high; got {self.low} and {self.high}")


class Setup:
    def __init__(self, context, **start):
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = Node("tester", context=context, parameter_overrides=overrides)
        self.locked = False
        self.parameters = Parameters(self.node, Config, lambda: self.locked)

    @property
    def config(self):
        return self.parameters.config

    def set(self, *changes):
        return self.node.set_parameters_atomically(list(changes))


def test_defaults_and_start_values(ros_context):
    setup = Setup(ros_context, high=2.5, rings=[1, 2])
    assert setup.config == Config(high=2.5, rings=(1, 2))


def test_descriptors_tell_type_range_choices_and_meaning(ros_context):
    node = Setup(ros_context).node
    low, count, mode, autostart = node.describe_parameters(["low", "count", "mode", "autostart"])
    assert low.description == "lower end, m"
    assert (low.floating_point_range[0].from_value, low.floating_point_range[0].to_value) == (
        -10.0,
        10.0,
    )
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 5)
    assert mode.additional_constraints == "one of fast, exact"
    assert autostart.read_only


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"low": 11.0}, "low out of range"),
        ({"count": 6}, "count out of range"),
        ({"count": 2.0}, "expecting type 'INTEGER'"),
        ({"mode": "slow"}, "mode: expected one of ['fast', 'exact']; got 'slow'"),
        ({"rings": ["a"]}, "rings[0]: expected int; got 'a'"),
        ({"rings": 4}, "rings"),
        ({"low": 2.0}, "expected low < high; got 2.0 and 1.0"),
    ],
)
def test_unusable_start_values_say_what_was_expected(ros_context, start, says):
    with pytest.raises(ConfigError) as caught:
        Setup(ros_context, **start)
    assert "/tester" in str(caught.value)
    assert says in str(caught.value)


def test_a_set_of_changes_is_judged_as_a_whole(ros_context):
    setup = Setup(ros_context)
    refused = setup.set(Parameter("low", value=2.0))
    assert not refused.successful
    assert refused.reason == "expected low < high; got 2.0 and 1.0"
    assert setup.config == Config()
    assert setup.set(Parameter("low", value=2.0), Parameter("high", value=3.0)).successful
    assert setup.config == Config(low=2.0, high=3.0)


def test_a_snapshot_does_not_change(ros_context):
    setup = Setup(ros_context)
    before = setup.config
    setup.set(Parameter("high", value=5.0))
    assert (before.high, setup.config.high) == (1.0, 5.0)


def test_reload_parameters_are_refused_while_the_node_is_configured(ros_context):
    setup = Setup(ros_context)
    setup.locked = True
    refused = setup.set(Parameter("weights", value="new.safetensors"))
    assert not refused.successful
    assert "deactivate and clean up" in refused.reason
    setup.locked = False
    assert setup.set(Parameter("weights", value="new.safetensors")).successful
    assert setup.config.weights == "new.safetensors"


def test_read_only_parameters_stay(ros_context):
    setup = Setup(ros_context)
    assert not setup.set(Parameter("autostart", value=False)).successful
    assert setup.config.autostart


@pytest.mark.parametrize("empty", [[], Parameter.Type.INTEGER_ARRAY, Parameter.Type.BOOL_ARRAY])
def test_an_array_may_become_empty_however_the_client_types_it(ros_context, empty):
    setup = Setup(ros_context, rings=[1, 2])
    change = Parameter("rings", value=empty) if empty == [] else Parameter("rings", empty, value=[])
    assert setup.set(change).successful
    assert setup.config.rings == ()


def test_an_array_of_whole_numbers_serves_for_floats(ros_context):
    setup = Setup(ros_context)
    assert setup.set(Parameter("matrix", value=[1, 2, 3])).successful
    assert setup.config.matrix == (1.0, 2.0, 3.0)


def test_a_parameter_cannot_be_removed(ros_context):
    setup = Setup(ros_context, rings=[1])
    refused = setup.set(Parameter("rings", Parameter.Type.NOT_SET))
    assert "cannot be removed" in refused.reason
    assert setup.config.rings == (1,)


def test_other_parameters_of_the_node_are_none_of_our_business(ros_context):
    setup = Setup(ros_context)
    setup.node.declare_parameter("elsewhere", 1)
    assert setup.set(Parameter("elsewhere", value=2)).successful
    assert setup.config == Config()


def test_a_misspelt_start_value_is_reported_with_the_closest_name(ros_context, capfd):
    Setup(ros_context, hihg=2.0, use_sim_time=False)
    written = "".join(capfd.readouterr())
    assert "parameter hihg is unknown and has no effect; did you mean high?" in written
    assert "use_sim_time" not in written


def test_the_table_of_a_page_has_every_field():
    lines = markdown_table(Config).splitlines()
    assert len(lines) == 2 + 8
    assert "| `low` | float | `0.0` | -10 to 10 | live | lower end, m |" in lines
    assert "| `mode` | str | `fast` | fast, exact | live | way to do it |" in lines
    assert '| `weights` | str | `""` |  | unconfigured | a file |' in lines
    assert "| `autostart` | bool | `True` |  | at start | start by itself |" in lines
    assert "| `rings` | list of int | `[]` |  | live | beams |" in lines
