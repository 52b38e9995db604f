#!/usr/bin/env python3
"""Writes the reference files of tests/verify/torch/ with PyTorch's automatic differentiation, in double precision.

    python3 tests/verify/torch_reference.py             all of them (needs python3-torch, python3-h5py, python3-yaml)
    python3 tests/verify/torch_reference.py lenet       those named
    python3 tests/verify/torch_reference.py --output F  into the folder F

Each CASE.h5 holds a deck, what the deck reads, and what has to come out; n samples, p parameters, k outputs:

    attribute deck              the deck's text; its data and weights are in CASE.h5 itself, relative to the file's folder
    images [n,c,h,w]            and labels [n], or targets [n,k]
    0.weight, 5.shortcut.1.bias, ..   the parameters, and running_mean and running_var of batch norms, by PyTorch's names
    attribute parameters        the names in the order of theta, one a line (running statistics are no parameters)
    direction [p]               v, of unit length, in the order of theta
    logits [n,k]                outputs; a batch norm uses the statistics of each group of `statistics_batch` samples
    logits_evaluation [n,k]     outputs with the running statistics (nets with batch norm)
    loss [], gradient [p]       L and its gradient
    hessian_product [p]         H v
    gauss_newton_product [p]    J^T (Hessian of the loss in the outputs) J v
    d3 [p], d4 []               D^3L[v,v,.] and D^4L[v,v,v,v], in the smaller cases
    trajectory/RULE [21,p]      theta before and after each of 20 steps, attribute train: the deck's section
    losses/RULE [20]            L before each of those steps

Derivatives are checked by central differences of the next lower one before anything is written. Weights and data are on a
coarse binary grid, exact in single precision too. A seed belongs to the case: a second run on the same machine writes the same bytes,
another machine differs in the last bits.
"""
import argparse
import os

import h5py
import numpy as np
import torch
import yaml

import torch_deck

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch")

RESNET8 = """
  - conv: {channels: 4, kernel: 3, padding: same, bias: false}
  - batch_norm: {}
  - swish: {}
""" + "".join(f"""\
  - residual:
      layers:
        - conv: {{channels: {channels}, kernel: 3, stride: {stride}, padding: 1, bias: false}}
        - batch_norm: {{}}
        - swish: {{}}
        - conv: {{channels: {channels}, kernel: 3, padding: same, bias: false}}
        - batch_norm: {{}}
{f'''      shortcut:
        - conv: {{channels: {channels}, kernel: 1, stride: {stride}, bias: false}}
        - batch_norm: {{}}
''' if stride > 1 else ''}  - swish: {{}}
""" for channels, stride in ((4, 1), (8, 2), (16, 2))) + """\
  - global_mean: {}
  - dense: {features: 10}
"""

# name: samples, channels, height, width; classes; network; further keys; whether d3 and d4 are written
CASES = {
    "lenet": ((6, 1, 28, 28), 10, """
  - conv: {channels: 8, kernel: 5, padding: 2}
  - swish: {}
  - average_pool: {size: 2}
  - conv: {channels: 16, kernel: 5}
  - swish: {}
  - average_pool: {size: 2}
  - flatten: {}
  - dense: {features: 10}
""", "loss: softmax\n", False),
    "resnet8": ((24, 1, 16, 16), 10, RESNET8, "loss: softmax\nstatistics_batch: 8\n", False),
    "strided": ((10, 2, 17, 20), 3, """
  - conv: {channels: 3, kernel: 4, stride: 2, padding: 1}
  - gelu: {}
  - conv: {channels: 4, kernel: [3, 2], bias: false}
  - tanh: {}
  - max_pool: {size: 2, stride: 1}
  - conv: {channels: 3, kernel: 2, stride: 2}
  - softplus: {}
  - conv: {channels: 4, kernel: [1, 3], padding: 2}
  - sigmoid: {}
  - conv: {channels: 3, kernel: 3, stride: 3, padding: valid}
  - swish: {beta: 1.5}
  - flatten: {}
  - dense: {features: 3}
""", "loss: softmax\n", True),
    "circular": ((9, 2, 9, 7), 2, """
  - conv: {channels: 3, kernel: 3, padding: circular}
  - swish: {}
  - conv: {channels: 2, kernel: 5, padding: circular, bias: false}
  - tanh: {}
  - conv: {channels: 1, kernel: 3, stride: 2, padding: circular}
  - global_mean: {}
""", "loss: logistic\n", True),
    "two_layer": ((12, 1, 6, 5), 3, """
  - conv: {channels: 2, kernel: 3}
  - tanh: {}
  - flatten: {}
  - dense: {features: 3}
""", "loss: softmax\n", True),
    "squared": ((11, 2, 6, 6), 4, """
  - conv: {channels: 3, kernel: 3, stride: 2, padding: 1}
  - softplus: {}
  - average_pool: {size: 2, stride: 1}
  - flatten: {}
  - dense: {features: 5}
  - gelu: {}
  - dense: {features: 4, bias: false}
""", "loss: squared\n", True),
    "batch_norm_small": ((12, 2, 6, 5), 3, """
  - conv: {channels: 3, kernel: 3, bias: false}
  - batch_norm: {epsilon: 0.001}
  - swish: {}
  - flatten: {}
  - dense: {features: 3}
""", "loss: softmax\nstatistics_batch: 4\n", True),
    "repeat": ((10, 1, 8, 8), 4, """
  - conv: {channels: 4, kernel: 3, padding: same}
  - leaky_relu: {}
  - repeat:
      times: 2
      layers:
        - conv: {channels: 4, kernel: 3, padding: same, bias: false}
        - leaky_relu: {slope: 0.2}
        - residual: {layers: [conv: {channels: 4, kernel: 1}, relu: {}]}
  - max_pool: {size: 4}
  - global_sum: {}
  - dense: {features: 4}
""", "loss: softmax\n", False),
}
COMMON = "weight_decay: 0.01, batch: full, steps: 20}"
TRAJECTORIES = {
    "gd": "{rule: gd, learning_rate: 0.5, " + COMMON,
    "momentum": "{rule: momentum, momentum: 0.9, learning_rate: 0.1, " + COMMON,
    "nesterov": "{rule: momentum, momentum: 0.9, nesterov: true, learning_rate: 0.1, " + COMMON,
    "adam": "{rule: adam, learning_rate: 0.02, " + COMMON,
    "adamw": "{rule: adam, decoupled: true, learning_rate: 0.02, " + COMMON,
    "momentum_decoupled": "{rule: momentum, momentum: 0.9, decoupled: true, learning_rate: 0.1, " + COMMON,
}


def grid(values, bits):
    """Rounded to multiples of 2^-bits: exact in every precision, and small when compressed."""
    return torch.round(values * 2**bits) / 2**bits


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def draw_weights(net, generator):
    """Weights of variance 1/fan-in, so that nothing saturates; small biases; batch norms off their initial values."""
    def normal(t):
        return torch.randn(t.shape, generator=generator, dtype=t.dtype)

    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = grid(1 + 0.2 * normal(module.weight), 10)
            module.running_mean.copy_(grid(0.2 * normal(module.running_mean), 10))
            module.running_var.copy_(grid(0.8 + 0.2 * normal(module.running_var).abs(), 10))
        elif hasattr(module, "weight"):
            fan_in = module.weight[0].numel()
            module.weight.data = grid(normal(module.weight) / fan_in**0.5, 10)
        if getattr(module, "bias", None) is not None:
            module.bias.data = grid(0.1 * normal(module.bias), 10)


class Objective:
    """L and its derivatives along v, each from the one below by one more backward pass."""

    def __init__(self, net, deck, images, labels):
        self.net, self.deck, self.images, self.labels = net, deck, images, labels
        self.parameters = list(net.parameters())

    def place(self, theta):
        torch.nn.utils.vector_to_parameters(theta.clone(), self.parameters)

    def outputs(self):
        return torch_deck.forward(self.net, self.images, self.deck.get("statistics_batch"))

    def loss(self):
        return torch_deck.loss(self.deck["loss"], self.outputs(), self.labels)

    def backward(self, value):
        """Gradient of a scalar; zero where it does not depend on a parameter."""
        parts = torch.autograd.grad(value, self.parameters, create_graph=True, allow_unused=True)
        return flat([torch.zeros_like(p) if g is None else g for g, p in zip(parts, self.parameters)])

    def derivatives(self, v, order):
        """[L, gradient, Hv, D^3L[v,v,.], D^4L[v,v,v,.]], as far as order says."""
        chain = [self.loss()]
        chain.append(self.backward(chain[0]))
        while len(chain) <= order:
            chain.append(self.backward(chain[-1] @ v))
        return [d.detach() for d in chain]

    def gauss_newton_product(self, v):
        outputs = self.outputs()
        dummy = torch.zeros_like(outputs, requires_grad=True)
        jv = torch.autograd.grad(self.backward((outputs * dummy).sum()) @ v, dummy)[0]
        free = outputs.detach().requires_grad_()
        slope = torch.autograd.grad(torch_deck.loss(self.deck["loss"], free, self.labels), free, create_graph=True)[0]
        curved = torch.autograd.grad((slope * jv).sum(), free)[0]
        return self.backward((outputs * curved).sum()).detach()


def check_differences(objective, theta, v, chain):
    """Every derivative along v against a central difference of the one below."""
    h, sides = 2.0**-18, []
    for side in (h, -h):
        objective.place(theta + side * v)
        sides.append(objective.derivatives(v, len(chain) - 2))
    for order, (above, below) in enumerate(zip(*sides), 1):
        exact = chain[1] @ v if order == 1 else chain[order]
        error = ((above - below) / (2 * h) - exact).norm() / (1e-2 + exact.norm())
        assert error < 1e-8, f"derivative {order} is off by {error:.1e}"
    objective.place(theta)


def check_kinks(net, images):
    """No input of a relu is so small, no two largest of a max_pool so close, that rounding or the differences' step decide."""
    margins = []

    def watch(module, inputs, _):
        x = inputs[0]
        if isinstance(module, torch.nn.MaxPool2d):
            windows = torch.nn.functional.unfold(x.reshape(-1, 1, *x.shape[2:]), module.kernel_size, stride=module.stride)
            top = windows.topk(2, 1).values
            margins.append((top[:, 0] - top[:, 1]).min())
        else:
            margins.append(x.abs().min())

    kinked = [m for m in net.modules() if isinstance(m, (torch.nn.ReLU, torch.nn.LeakyReLU, torch.nn.MaxPool2d))]
    handles = [m.register_forward_hook(watch) for m in kinked]
    net(images)
    for handle in handles:
        handle.remove()
    assert min(margins, default=1) > 1e-6, f"a kink lies {min(margins):.1e} away"


def optimiser(section, parameters):
    lr, decay = section["learning_rate"], section["weight_decay"]
    if section["rule"] == "adam":
        return (torch.optim.AdamW if section.get("decoupled") else torch.optim.Adam)(parameters, lr, weight_decay=decay)
    coupled = 0 if section.get("decoupled") else decay
    return torch.optim.SGD(parameters, lr, section.get("momentum", 0), weight_decay=coupled, nesterov=section.get("nesterov", False))


def trajectory(objective, theta, section):
    """States before and after each step, and the loss before it."""
    objective.place(theta)
    rule = optimiser(section, objective.parameters)
    states, losses = [theta], []
    for _ in range(section["steps"]):
        rule.zero_grad()
        loss = objective.loss()
        loss.backward()
        if section.get("decoupled") and section["rule"] != "adam":  # torch.optim has it for Adam alone
            for p in objective.parameters:
                p.data.mul_(1 - section["learning_rate"] * section["weight_decay"])
        rule.step()
        losses.append(loss.detach())
        states.append(flat(objective.parameters).detach())
    objective.place(theta)
    return torch.stack(states), torch.stack(losses)


def put_text(place, name, text):
    """A text attribute of fixed length, which C reads without a second allocation."""
    place.attrs.create(name, text.encode(), dtype=h5py.string_dtype("utf-8", len(text.encode())))


def write(path, deck_text, names, datasets, sections):
    with h5py.File(path, "w") as file:
        put_text(file, "deck", deck_text)
        put_text(file, "parameters", "\n".join(names))
        for name, values in datasets.items():
            values = np.asarray(values)
            options = dict(compression="gzip", compression_opts=9, shuffle=values.dtype != np.int64) if values.size > 500 else {}
            if name == "direction":
                options["shuffle"] = False  # few different numbers
            file.create_dataset(name, data=values, **options)
        for name, text in sections.items():
            put_text(file[f"trajectory/{name}"], "train", text)


def make(case, seed, folder):
    (n, c, h, w), classes, layers, further, higher = CASES[case]
    squared = case == "squared"
    text = (f"model: {case}\n"
            f"data: {{source: hdf5, file: {case}.h5{', labels: targets' if squared else ''}}}\n"
            f"network:{layers}{further}"
            f"weights: {{init: file, file: {case}.h5}}\n"
            f"train: {TRAJECTORIES['gd']}\n")
    deck = yaml.safe_load(text)
    generator = torch.Generator().manual_seed(seed)
    images = grid(torch.randn(n, c, h, w, generator=generator, dtype=torch.double), 5)
    labels = torch.randint(0, classes, (n,), generator=generator)
    if squared:
        labels = grid(torch.randn(n, classes, generator=generator, dtype=torch.double), 6)
    net = torch_deck.network(deck, c, h, w)
    draw_weights(net, generator)
    stored = {k: t.clone() for k, t in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    objective = Objective(net, deck, images, labels)
    theta = flat(objective.parameters).detach()
    v = torch.round(torch.randn(len(theta), generator=generator, dtype=torch.double) * 32)
    v = v / v.norm()

    chain = objective.derivatives(v, 4 if higher else 2)
    check_kinks(net, images)
    check_differences(objective, theta, v, chain)
    results = {
        "images": images, "targets" if squared else "labels": labels, **stored, "direction": v,
        "logits": objective.outputs().detach(), "loss": chain[0], "gradient": chain[1], "hessian_product": chain[2],
        "gauss_newton_product": objective.gauss_newton_product(v),
    }
    if higher:
        results.update(d3=chain[3], d4=chain[4] @ v)
    if "statistics_batch" in deck:
        net.load_state_dict(stored, strict=False)
        results["logits_evaluation"] = net.eval()(images).detach()
        net.train()
    sections = TRAJECTORIES if case == "two_layer" else {}
    for rule, section in sections.items():
        results[f"trajectory/{rule}"], results[f"losses/{rule}"] = trajectory(objective, theta, yaml.safe_load(section))
    path = os.path.join(folder, case + ".h5")
    write(path, text, [name for name, _ in net.named_parameters()], results, sections)
    print(f"{path}: {len(theta)} parameters, loss {chain[0]:.6f}, |g| {chain[1].norm():.4f}, |Hv| {chain[2].norm():.4f}, "
          f"{os.path.getsize(path) / 1000:.0f} kB")


def main():
    parser = argparse.ArgumentParser(description="Writes the reference files of tests/verify/torch/.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--output", default=FOLDER, metavar="FOLDER", help="where they go (default: tests/verify/torch)")
    arguments = parser.parse_args()
    unknown = [c for c in arguments.cases if c not in CASES]
    if unknown:
        parser.error(f"no case '{unknown[0]}'; there are {', '.join(CASES)}")
    torch.set_num_threads(1)
    os.makedirs(arguments.output, exist_ok=True)
    for seed, case in enumerate(CASES, 1):
        if not arguments.cases or case in arguments.cases:
            make(case, seed, arguments.output)


if __name__ == "__main__":
    main()
