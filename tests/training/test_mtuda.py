"""Who is trained by which loss, what labels can reach, and which head is deployed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training.mtuda import (
    Adaptation,
    AdaptationConfig,
    adaptation_batch,
    adaptation_heads,
)
from ros_xai.training.segmentation import Augmentation, Labelled

SMALL = NetworkConfig(classes=3, widths=(4, 8, 8, 8), blocks=1, decoder=8)
LEVELS = ("", "_auxiliary")
METHODS = ("source-only", "advent", "multi-dis", "mtkt")


def batch(targets: int = 2) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    parts = {f"target{t}": torch.rand(2, 3, 64, 64, generator=g) for t in range(targets)}
    label = torch.randint(0, 3, (2, 64, 64), generator=g)
    return {"image": torch.rand(2, 3, 64, 64, generator=g), "label": label, **parts}


def adaptation(method: str, targets: int = 2, **config) -> Adaptation:
    torch.manual_seed(0)
    settings = AdaptationConfig(method=method, width=4, teacher_steps=0, **config)
    return Adaptation(SegmentationNetwork(SMALL), settings, targets).train()


def gradients(module: Adaptation, losses: dict[str, torch.Tensor], name: str) -> set[str]:
    """Names of the parameters that one loss reaches."""
    module.zero_grad(set_to_none=True)
    losses[name].backward(retain_graph=True)
    return {k for k, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum()}


@pytest.mark.parametrize(
    ("method", "count"), [("source-only", 0), ("advent", 1), ("multi-dis", 4), ("mtkt", 2)]
)
def test_every_method_has_its_discriminators_at_both_levels(method, count):
    assert len(adaptation(method).discriminators) == 2 * count


def test_multi_dis_of_one_target_has_no_other_target_to_tell_apart():
    assert len(adaptation("multi-dis", targets=1).discriminators) == 2


class Seen(nn.Module):
    """In place of a discriminator: the values of each of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[float]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(x.flatten().tolist())
        return x


@pytest.mark.parametrize(
    ("method", "games"),
    [
        ("advent", {"union": ("main", [0], [1, 2, 3])}),
        (
            "multi-dis",
            {f"source_{t}": ("main", [0], [t]) for t in (1, 2, 3)}
            | {f"others_{t}": ("main", [s for s in (1, 2, 3) if s != t], [t]) for t in (1, 2, 3)},
        ),
        ("mtkt", {f"source_{t}": (f"target{t - 1}", [0], [t]) for t in (1, 2, 3)}),
    ],
)
def test_every_discriminator_tells_its_own_domains_apart_by_its_own_head(method, games):
    module = adaptation(method, targets=3)
    heads = [name for name, _ in module.network.config.heads]

    def maps(features, head, size, sizes):  # one value for each head and domain
        return tuple(torch.full((1, 1, 1, 1), 10.0 * heads.index(head) + d) for d in range(4))

    module._self_information = maps
    for name in module.discriminators:
        module.discriminators[name] = Seen()
    module(batch(3))
    assert set(module.discriminators) == {name + level for name in games for level in LEVELS}
    for name, (head, *domains) in games.items():
        for level in LEVELS:
            zeros, ones = ([10 * heads.index(head + level) + d for d in each] for each in domains)
            # Those it calls 1 shall look like 0; then it learns to tell both.
            assert module.discriminators[name + level].calls == [ones, zeros, ones]


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_two_players_train_only_themselves(method):
    module = adaptation(method)
    losses = module(batch())
    fooling = gradients(module, losses, "adversarial")
    telling = gradients(module, losses, "discriminators")
    assert fooling and all(name.startswith("network.") for name in fooling)
    assert telling and all(name.startswith("discriminators.") for name in telling)
    used = {name.split(".")[1] for name in telling}
    assert used == set(module.discriminators)  # each auxiliary discriminator of each target too


def test_adversarial_loss_of_untrained_players_is_the_weighted_log_two():
    module = adaptation("mtkt")
    for discriminator in module.discriminators.values():
        torch.nn.init.zeros_(discriminator[-1].weight)
        torch.nn.init.zeros_(discriminator[-1].bias)
    losses = module(batch())
    assert losses["adversarial"].item() == pytest.approx(2 * (1e-3 + 2e-4) * math.log(2), rel=1e-4)
    assert losses["discriminators"].item() == pytest.approx(2 * 2 * math.log(2), rel=1e-4)


def test_the_agnostic_head_is_taught_by_the_specific_heads_alone():
    module = adaptation("mtkt")
    losses = module(batch())
    assert not any(".agnostic." in k for k in gradients(module, losses, "segmentation"))
    assert not any(".agnostic." in k for k in gradients(module, losses, "adversarial"))
    taught = gradients(module, losses, "transfer")
    heads = {name.split(".")[2] for name in taught if name.startswith("network.heads.")}
    assert heads == {"agnostic"}


def test_transfer_is_the_weighted_sum_over_targets_each_taught_on_its_own_images():
    module, shown = adaptation("mtkt", transfer=3.0).eval(), batch()
    heads = module.network.heads
    with torch.no_grad():
        for t in range(2):
            heads[f"target{t}"].classifier.weight.mul_(2 + t)
        images = torch.cat([shown["image"], shown["target0"], shown["target1"]])
        fused = module.network.encode(images)["fused"]
        expected = 0.0
        for t, own in enumerate((fused[2:4], fused[4:6])):
            teacher = heads[f"target{t}"](own)[1].log_softmax(1)
            student = heads["agnostic"](own)[1].log_softmax(1)
            divergence = nn.functional.kl_div(student, teacher, log_target=True, reduction="none")
            expected += 3 * divergence.sum(1).mean().item()
    assert module(shown)["transfer"].item() == pytest.approx(expected, rel=1e-5) and expected > 0


def test_an_evaluation_is_no_step_of_the_warm_up():
    module = adaptation("mtkt").eval()
    module(batch())
    assert module.step.item() == 0


def test_the_agnostic_head_sees_source_labels_where_asked_to():
    module = adaptation("mtkt", agnostic_source=1.0)
    reached = gradients(module, module(batch()), "segmentation")
    assert "network.heads.agnostic.classifier.weight" in reached


def test_teaching_starts_after_the_warm_up_and_the_count_is_part_of_the_state():
    torch.manual_seed(0)
    config = AdaptationConfig(method="mtkt", width=4, teacher_steps=2)
    module = Adaptation(SegmentationNetwork(SMALL), config, 2).train()
    assert ["transfer" in module(batch()) for _ in range(4)] == [False, False, True, True]
    assert module.state_dict()["step"].item() == 4


def test_source_only_does_not_look_at_the_targets():
    module, first = adaptation("source-only"), batch()
    changed = {**first, "target0": torch.rand(2, 3, 64, 64)}
    assert module(first)["loss"].item() == module(changed)["loss"].item()


def test_target_batches_hold_images_and_no_labels():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    source = Labelled(images, np.zeros((4, 32, 32), np.uint8))
    drawn = adaptation_batch(source, [images, images], 3, rng, Augmentation())
    assert sorted(drawn) == ["image", "label", "target0", "target1"]
    assert all(drawn[name].shape == (3, 3, 32, 32) for name in ("image", "target0", "target1"))


@pytest.mark.parametrize("method", METHODS)
def test_the_deployed_network_is_the_first_head_alone(method):
    module = adaptation(method)
    head = adaptation_heads(module.config, 2)[0][0]
    deployed, image = module.deployed(), torch.rand(1, 3, 32, 48)
    assert list(deployed.heads) == ["main"]
    with torch.no_grad():
        torch.testing.assert_close(deployed(image), module.network.eval()(image, head))


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_finite_and_sum_up(method):
    losses = adaptation(method)(batch())
    parts = [v for k, v in losses.items() if k not in ("loss", "domain_accuracy")]
    assert losses["loss"].item() == pytest.approx(sum(p.item() for p in parts), rel=1e-5)
