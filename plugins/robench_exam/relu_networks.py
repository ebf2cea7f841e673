"""Small ReLU networks: random hidden layers, a readout by least squares, and the truth by (mixed-integer) programs."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from robench import Classifier, ThreatModel
from robench.bounds.relu_chain import chain_of
from robench_exam.ground import PIXELS, SHAPE, Cases, Floats, Ground, random_images, rounded, tensor
from robench_exam.mixed_integer import Program
from robench_exam.polyhedra import within

CLASSES, TRAIN = 5, 400
#: Images of each network, and units of each hidden layer.
DEEP, WIDTHS = 30, (12, 8)
CONVOLUTIONAL, CHANNELS = 30, 4
SHALLOW, UNITS = 40, 6


def relu(threat: ThreatModel) -> Ground:
    """Return a network of two hidden layers; the truth by mixed-integer programs."""
    generator = np.random.default_rng(4)
    first, second = (_random_layer(generator, *size) for size in ((PIXELS, WIDTHS[0]), WIDTHS))
    return _programmed(threat, generator, [nn.Flatten(), first, nn.ReLU(), second, nn.ReLU()], DEEP)


def convolution(threat: ThreatModel) -> Ground:
    """Return a network of one convolution; the truth by mixed-integer programs."""
    generator = np.random.default_rng(5)
    layer = nn.Conv2d(SHAPE[0], CHANNELS, 3, stride=2, padding=1)
    weight = generator.standard_normal(layer.weight.shape) / np.sqrt(layer.weight[0].numel() / 2)
    layer.weight.data = tensor(weight)
    layer.bias = nn.Parameter(tensor(-weight.sum((1, 2, 3)) / 2))
    return _programmed(threat, generator, [layer, nn.ReLU(), nn.Flatten()], CONVOLUTIONAL)


def relu_regions(threat: ThreatModel) -> Ground:
    """Return a network of six hidden units; the truth by the nearest point of each of its 64 linear regions."""
    generator = np.random.default_rng(6)
    hidden = _random_layer(generator, PIXELS, UNITS)
    network, images = _read_out(generator, [nn.Flatten(), hidden, nn.ReLU()], SHALLOW)
    readout: nn.Linear = network[-1]  # type: ignore[assignment]  # _read_out puts it there
    parts = [part.detach().double().numpy() for part in (hidden.weight, hidden.bias, readout.weight, readout.bias)]
    cases = Cases.upto(SHALLOW, 1e-3)
    for image in images:
        if not cases.full:
            label = int((parts[2] @ np.maximum(parts[0] @ image + parts[1], 0) + parts[3]).argmax())
            cases.add(image, label, *_through_regions(image, label, parts, threat))
    return cases.ground(network, CLASSES)


def _through_regions(image: Floats, label: int, parts: list[Floats], threat: ThreatModel) -> tuple[float, Floats]:
    """Return by how much the radius exceeds the distance to the nearest error (L2), and that error."""
    weight, bias, readout, offset = parts
    reach = threat.eps * np.linalg.norm(weight, axis=1)
    own = weight @ image + bias
    ways = [
        (1.0,) if value > far else (-1.0,) if value < -far else (1.0, -1.0)
        for value, far in zip(own, reach, strict=True)
    ]
    best, where = -threat.eps, image
    for signs in itertools.product(*ways):
        on = np.array(signs)
        rows, bounds = on[:, None] * weight, -on * bias
        active = (readout * (on > 0)) @ weight
        constant = (readout * (on > 0)) @ bias + offset
        for other in range(CLASSES):
            if other != label:
                lead, least = active[other] - active[label], constant[label] - constant[other]
                found, point = within(image, np.vstack([rows, lead]), np.append(bounds, least), threat.eps)
                best, where = (found, point) if found > best else (best, where)
    return best, where


def _programmed(threat: ThreatModel, generator: np.random.Generator, layers: list[nn.Module], count: int) -> Ground:
    network, images = _read_out(generator, layers, count)
    chain = chain_of(Classifier(network, CLASSES).eval().requires_grad_(False))
    cases = Cases.upto(count, 1e-3)
    for image in images:
        if not cases.full:
            program = Program(chain, image, threat)
            label = int(program.logits.argmax())
            cases.add(image, label, *program.lead(label))
    return cases.ground(network, CLASSES)


def _random_layer(generator: np.random.Generator, inputs: int, outputs: int) -> nn.Linear:
    """Return a layer that is about 0 in the middle of its inputs."""
    layer = nn.Linear(inputs, outputs)
    weight = generator.standard_normal((outputs, inputs)) * np.sqrt(2 / inputs)
    middle = 0.5 if inputs == PIXELS else 0.2
    layer.weight.data, layer.bias.data = tensor(weight), tensor(-middle * weight.sum(1))
    return layer


def _read_out(
    generator: np.random.Generator, layers: list[nn.Module], count: int
) -> tuple[nn.Sequential, Floats]:  # fmt: skip
    """Return the layers with a readout that tells random clusters apart, and images between two clusters each."""
    centres = random_images(generator, CLASSES)
    labels = np.arange(TRAIN) % CLASSES
    train = np.clip(centres[labels] + 0.1 * generator.standard_normal((TRAIN, PIXELS)), 0, 1)
    hidden = nn.Sequential(*layers).double()
    with torch.no_grad():
        inputs = hidden(torch.from_numpy(train).view(-1, *SHAPE)).flatten(1).numpy()
    wanted = 4 * (labels[:, None] == np.arange(CLASSES)) - 1.0
    solved, *_ = np.linalg.lstsq(np.hstack([inputs, np.ones((TRAIN, 1))]), wanted, rcond=1e-6)
    readout = nn.Linear(inputs.shape[1], CLASSES)
    readout.weight.data, readout.bias.data = tensor(solved[:-1].T), tensor(solved[-1])
    pairs = np.stack([generator.choice(CLASSES, 2, replace=False) for _ in range(2 * count)])
    share = generator.uniform(0.3, 0.5, (2 * count, 1))
    images = centres[pairs[:, 0]] * (1 - share) + centres[pairs[:, 1]] * share
    noise = 0.03 * generator.standard_normal(images.shape)
    return nn.Sequential(*layers, readout).float(), rounded(np.clip(images + noise, 0, 1))
