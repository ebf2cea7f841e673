"""A victim for robench: a network whose convolution has a forward and a backward of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Model, hookimpl, parameter

if TYPE_CHECKING:
    from robench import Classifier, Examples, Task

ROBENCH_API = 1


class OwnConv(Model):
    """Classify by two 3 x 3 convolutions, written as matrix products of patches, and a linear map."""

    name = "ownconv"
    source = "Chellapilla, Puri and Simard 2006, High Performance Convolutional Neural Networks for Document Processing"

    width: int = parameter(default=8, help="channels of the first convolution; the second has twice as many", minimum=1)
    epochs: int = parameter(default=10, help="training: passes over the training images", minimum=1)
    learning_rate: float = parameter(default=3e-3, help="training: learning rate of Adam", minimum=0)

    def untrained(self) -> bool:
        """Tell that the weights are drawn and have to be trained."""
        return True

    def load(self, task: Task) -> Classifier:
        """Return the network with drawn weights."""
        import torch
        from robench_ownconv_layers import Convolution
        from torch import nn

        from robench import Classifier

        channels = task.shape[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.fork("weights").seed)
            network = nn.Sequential(
                Convolution(channels, self.width, stride=2), nn.ReLU(),
                Convolution(self.width, 2 * self.width, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
                nn.Linear(32 * self.width, len(task.classes)),
            )  # fmt: skip
        return Classifier(network, len(task.classes)).eval()

    def fit(self, model: Classifier, train: Examples, task: Task) -> None:
        """Train by cross-entropy, in batches of 128."""
        import torch
        from torch.nn.functional import cross_entropy

        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        for epoch in range(self.epochs):
            losses = []
            for batch in train.batches(128, task.device, task.generator("order", epoch)):
                loss = cross_entropy(model(batch.images), batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            task.log(epoch=epoch + 1, loss=sum(losses) / len(losses))

    def training_passes(self, images: int) -> tuple[int, int]:
        """Return the passes of all epochs."""
        return self.epochs * images, self.epochs * images


@hookimpl
def robench_victims() -> list[type[Model]]:
    """Offer the victim."""
    return [OwnConv]
