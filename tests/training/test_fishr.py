"""Batches by domain, the pixels of the penalty, and the two phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.generalization import penalties
from ros_xai.generalization.fishr import gradient_variance
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training import fishr
from ros_xai.training.checkpoint import AnotherRun
from ros_xai.training.loop import LoopConfig
from ros_xai.training.segmentation import Augmentation, Labelled

SMALL = NetworkConfig(classes=3, widths=(4, 8, 8, 8), blocks=1, decoder=8)


def domains(count: int = 3) -> list[Labelled]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (count, 4, 8, 8), dtype=np.uint8).repeat(4, 2).repeat(4, 3)
    labels[:, :, :8] = 255
    images = np.zeros((*labels.shape, 3), np.uint8)
    for d in range(count):
        images[d, ..., 0], images[d, ..., 1] = 50 * d, 80 * (labels[d] % 3)
    return [Labelled(images[d], labels[d]) for d in range(count)]


def test_a_batch_holds_the_domains_in_order_and_labelled_pixels_only():
    batch = fishr.domain_batch(domains(), 2, 16, np.random.default_rng(0), Augmentation(1.0, 0.0))
    red = (255 * batch["image"][:, 0]).amax((1, 2)).round()
    assert red.tolist() == [0, 0, 50, 50, 100, 100]
    assert batch["pixels"].shape == (3, 16)
    small = batch["label"][:, ::4, ::4].reshape(3, -1)
    assert (small.gather(1, batch["pixels"]) != 255).all()


def test_a_domain_with_few_labels_is_drawn_again_and_one_with_none_is_named():
    sparse = domains()
    sparse[1].labels[1:] = 255
    plain = Augmentation(1.0, 0.0)
    for seed in range(8):
        batch = fishr.domain_batch(sparse, 1, 16, np.random.default_rng(seed), plain)
        small = batch["label"][:, ::4, ::4].reshape(3, -1)
        assert (small.gather(1, batch["pixels"]) != 255).all()
    sparse[1].labels[:] = 255
    with pytest.raises(ValueError, match=r"domain 2 of 3: .* without a labelled pixel"):
        fishr.domain_batch(sparse, 1, 16, np.random.default_rng(0), plain)


def test_sampled_pixels_belong_together():
    network = SegmentationNetwork(SMALL).eval()
    batch = fishr.domain_batch(domains(), 2, 16, np.random.default_rng(0), Augmentation(1.0, 0.0))
    with torch.no_grad():
        layers = network.layers(batch["image"])
        samples = fishr.sampled_pixels(layers, batch["label"], batch["pixels"])
        classifier = network.heads["main"].classifier
        for domain in samples:
            logits = domain.features @ classifier.weight[:, :, 0, 0].T + classifier.bias
            torch.testing.assert_close(domain.logits, logits)
    second = batch["pixels"][1, 0].item()  # of domain 1: image 2 or 3 of the batch
    image, row, column = 2 + second // 64, second % 64 // 8, second % 8
    assert samples[1].labels[0] == batch["label"][image, 4 * row, 4 * column]
    torch.testing.assert_close(samples[1].features[0], layers["embedding"][image, :, row, column])


@pytest.mark.parametrize("name", ["fishr", "vrex", "irm", "coral"])
def test_every_penalty_is_zero_between_identical_domains_but_irm(name):
    penalty = fishr.Fishr(2, 3, 8) if name == "fishr" else getattr(fishr, name)
    same = fishr.DomainSamples(torch.randn(30, 8), torch.randn(30, 3), torch.arange(30) % 3)
    other = fishr.DomainSamples(3 * torch.randn(30, 8), 3 * torch.randn(30, 3), same.labels)
    alike = penalty([same, same]).item()
    assert (alike > 0) if name == "irm" else (alike == pytest.approx(0, abs=1e-12))
    assert penalty([same, other]).item() > 0


def test_penalties_are_taken_of_the_samples_features_and_risks():
    samples = [
        fishr.DomainSamples(torch.randn(30, 8), torch.randn(30, 3), torch.arange(30) % 3)
        for _ in range(2)
    ]
    risks = [penalties.irm(d.logits, d.labels) for d in samples]
    assert fishr.irm(samples).item() == pytest.approx(sum(r.item() for r in risks) / 2)
    expected = penalties.coral([d.features for d in samples])
    assert fishr.coral(samples).item() == pytest.approx(expected.item())


def test_the_average_has_the_gamma_asked_for():
    first, second = (
        [fishr.DomainSamples(torch.randn(30, 8), torch.randn(30, 3), torch.arange(30) % 3)] * 2
        for _ in range(2)
    )
    module = fishr.Fishr(2, 3, 8, ema=0.5)
    module(first)
    module(second)
    past, now = (gradient_variance(*samples[0])["bias"] for samples in (first, second))
    torch.testing.assert_close(module.average.bias[0], 0.5 * past + 0.5 * now)


def untrained() -> fishr.GeneralizedSegmentation:
    torch.manual_seed(0)
    network = SegmentationNetwork(SMALL)
    return fishr.GeneralizedSegmentation(network, fishr.Fishr(3, 3, 8), weight=0.5)


def test_the_penalty_is_off_while_annealing_then_on_with_fresh_batches(tmp_path):
    module = untrained()
    weights, seen, data = [], [], domains()

    def make_batch(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        weights.append(module.weight)
        batch = fishr.domain_batch(data, 1, 8, rng, Augmentation())
        seen.append(batch["image"].sum().item())
        return batch

    loop = LoopConfig(steps=5, checkpoint_every=1)
    metrics = fishr.fit_annealed(module, make_batch, loop, 2, tmp_path)
    assert weights == [0, 0, 0.5, 0.5, 0.5]
    assert len(set(seen)) == 5
    assert metrics["loss"] == pytest.approx(metrics["risk"] + 0.5 * metrics["penalty"])
    assert bool(module.penalty.average.started)
    # A finished run is not run again, nor can it be annealed longer afterwards.
    assert fishr.fit_annealed(untrained(), make_batch, loop, 2, tmp_path) == metrics
    assert len(weights) == 5
    with pytest.raises(AnotherRun, match="anneal_steps 2 there, 3 asked"):
        fishr.fit_annealed(untrained(), make_batch, loop, 3, tmp_path)
