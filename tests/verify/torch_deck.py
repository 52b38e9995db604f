"""The network and loss of a deck in PyTorch, written from the deck reference alone.

It shares no code with courant and none with notebooks-export/from_torch.py, so that each can be checked against it.
The modules nest as the deck does, so that PyTorch's own naming of parameters is the one to compare with.
"""
import torch
from torch import nn
from torch.nn import functional as F


class Pointwise(nn.Module):
    """An activation given as a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class BatchNorm(nn.BatchNorm2d):
    """Training mode in single operations: third derivatives through PyTorch's own are wrong, as they hold the variance fixed."""

    fused = False  # True: PyTorch's own, for timings

    def forward(self, x):
        if self.fused or not self.training:
            return super().forward(x)
        centred = x - x.mean((0, 2, 3), keepdim=True)
        scale = (centred.square().mean((0, 2, 3), keepdim=True) + self.eps).rsqrt()
        return centred * scale * self.weight[:, None, None] + self.bias[:, None, None]


class Residual(nn.Module):
    """layers(x) + shortcut(x), the shortcut being the identity where there is none."""

    def __init__(self, layers, shortcut):
        super().__init__()
        self.layers = layers
        if shortcut is not None:
            self.shortcut = shortcut

    def forward(self, x):
        return self.layers(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


def conv(x, channels, kernel, stride=1, padding="valid", bias=True):
    kernel = tuple(kernel) if isinstance(kernel, list) else (kernel, kernel)
    pad = {"valid": 0}.get(padding, padding)
    if padding in ("same", "circular"):
        assert all(k % 2 for k in kernel) and (padding == "circular" or stride == 1)
        pad = tuple((k - 1) // 2 for k in kernel)
    return nn.Conv2d(x.shape[1], channels, kernel, stride, pad, bias=bias, padding_mode="circular" if padding == "circular" else "zeros")


def window(pool, x, size, stride=None):
    stride = stride or size
    assert all((extent - size) % stride == 0 for extent in x.shape[2:]), "windows have to tile the input"
    return pool(size, stride)


LAYERS = {
    "conv": conv,
    "dense": lambda x, features, bias=True: nn.Linear(x.shape[1], features, bias),
    "flatten": lambda x: nn.Flatten(),
    "batch_norm": lambda x, epsilon=1e-5, momentum=0.1: BatchNorm(x.shape[1], epsilon, momentum),
    "relu": lambda x: nn.ReLU(),
    "leaky_relu": lambda x, slope=0.01: nn.LeakyReLU(slope),
    "swish": lambda x, beta=1: nn.SiLU() if beta == 1 else Pointwise(lambda u: u * torch.sigmoid(beta * u)),
    "gelu": lambda x: nn.GELU(),
    "tanh": lambda x: nn.Tanh(),
    "sigmoid": lambda x: nn.Sigmoid(),
    "softplus": lambda x: Pointwise(lambda u: F.softplus(u, threshold=1e9)),
    "average_pool": lambda x, **keys: window(nn.AvgPool2d, x, **keys),
    "max_pool": lambda x, **keys: window(nn.MaxPool2d, x, **keys),
    "global_mean": lambda x: Pointwise(lambda u: u.mean((2, 3))),
    "global_sum": lambda x: Pointwise(lambda u: u.sum((2, 3))),
    "residual": lambda x, layers, shortcut=None: Residual(sequence(layers, x), shortcut and sequence(shortcut, x)),
    "repeat": lambda x, times, layers: sequence([{"sequence": {"layers": layers}}] * times, x),
    "sequence": lambda x, layers: sequence(layers, x),  # one copy of a repeat; no layer of decks
}


def sequence(network, x):
    """A list of layers for inputs like x [n,c,h,w] as nn.Sequential, in double precision."""
    built = nn.Sequential()
    for i, entry in enumerate(network):
        ((name, options),) = entry.items()
        layer = LAYERS[name](x, **(options or {})).double()
        built.add_module(str(i), layer)
        with torch.no_grad():
            x = layer.eval()(x)
    return built


def network(deck, channels, height, width):
    """The deck's network for images of that shape, in training mode and double precision."""
    return sequence(deck["network"], torch.zeros(1, channels, height, width, dtype=torch.double)).train()


def forward(net, images, group=None):
    """Outputs [n,k] over consecutive groups of samples, each with its own batch statistics."""
    return torch.cat([net(part) for part in images.split(group or len(images))])


def loss(name, outputs, labels):
    """The mean loss over the samples."""
    if name == "logistic":
        return F.binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs))
    if name == "softmax":
        return F.cross_entropy(outputs, labels.long())
    assert name == "squared"
    targets = labels if labels.ndim == 2 else F.one_hot(labels.long(), outputs.shape[1])
    return 0.5 * (outputs - targets.to(outputs)).square().sum(1).mean()
