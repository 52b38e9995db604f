#!/usr/bin/env python3
"""Turns a PyTorch network with data into a deck and an HDF5 file that courant reads.

In a script:

    from from_torch import export
    export(model, images, labels, "my-net.yaml", loss="softmax", train={"rule": "gd", "learning_rate": 0.1, "steps": 500})

then `courant info my-net.yaml`, `courant spectrum my-net.yaml` and so on. To see it at work on a small network:

    python3 from_torch.py --demo my-net.yaml

Beside the deck stands my-net.h5: the data, the weights by name, and what courant has to find again when it loads them (export() says more).
Files that are there already are kept, unless export() is told force=True, the program --force.
"""
import argparse
import copy
import json
import os
import re
import sys

try:
    import h5py
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"from_torch.py: needs python3-torch and python3-h5py ({missing})")


class ExportError(ValueError):
    """What of a network or its data has no counterpart in a deck, with every place named."""


# ---- one converter per module: its layer as {name: options}; `Unsupported` names what a deck cannot say ----
class Unsupported(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Unsupported(what)


def one(module, option):
    """An option that PyTorch takes as a number or a pair and a deck as one number."""
    value = getattr(module, option)
    pair = value if isinstance(value, tuple) else (value, value)
    require(len(set(pair)) == 1, f"{option}={value}: a deck has one number for both directions")
    return pair[0]


def conv(module, x):
    kernel = module.kernel_size
    odd = all(k % 2 for k in kernel)
    require(module.groups == 1, f"groups={module.groups}")
    require(module.dilation == (1, 1), f"dilation={module.dilation}")
    require(module.padding_mode in ("zeros", "circular"), f"padding_mode='{module.padding_mode}'")
    half = tuple((k - 1) // 2 for k in kernel)
    require(module.padding != "same" or odd, f"padding='same' with a kernel of {kernel}: it pads more on one side")
    pad = {"same": half, "valid": (0, 0)}.get(module.padding, module.padding)
    stride = one(module, "stride")
    if pad == (0, 0):
        padding = "valid"
    elif module.padding_mode == "circular":
        require(odd and pad == half,
                f"padding={module.padding} with padding_mode='circular': a deck pads (kernel - 1) / 2, kernels being odd")
        padding = "circular"
    elif odd and pad == half and stride == 1:
        padding = "same"
    else:
        require(pad[0] == pad[1], f"padding={module.padding}: a deck has one number for both directions")
        padding = pad[0]
    options = {"channels": module.out_channels, "kernel": kernel[0] if kernel[0] == kernel[1] else list(kernel)}
    if stride != 1:
        options["stride"] = stride
    return {"conv": options | {"padding": padding} | ({} if module.bias is not None else {"bias": False})}


def dense(module, x):
    require(x.ndim == 2, f"on inputs of shape {list(x.shape[1:])} it works on the last dimension alone; put a Flatten before it")
    return {"dense": {"features": module.out_features} | ({} if module.bias is not None else {"bias": False})}


def batch_norm(module, x):
    require(module.affine, "affine=False")
    require(module.track_running_stats and module.running_mean is not None, "track_running_stats=False")
    require(module.momentum is not None, "momentum=None")
    return {"batch_norm": {"epsilon": module.eps, "momentum": module.momentum}}


def flatten(module, x):
    require(module.start_dim == 1 and module.end_dim in (-1, x.ndim - 1), f"start_dim={module.start_dim}, end_dim={module.end_dim}")
    return {"flatten": {}}


def gelu(module, x):
    require(getattr(module, "approximate", "none") == "none", f"approximate='{module.approximate}': a deck's gelu is the one with erf")
    return {"gelu": {}}


def softplus(module, x):
    require(module.beta == 1, f"beta={module.beta}")
    require(module.threshold >= 20, f"threshold={module.threshold}: a deck's softplus has no cut-off")
    return {"softplus": {}}


def pool(name):
    def convert(module, x):
        require(not module.ceil_mode, "ceil_mode=True")
        size, stride = one(module, "kernel_size"), one(module, "stride")
        padded = " with count_include_pad" if getattr(module, "count_include_pad", False) else ""
        require(one(module, "padding") == 0, f"padding={module.padding}{padded}: windows have to tile the input")
        require(getattr(module, "divisor_override", None) is None, f"divisor_override={getattr(module, 'divisor_override', None)}")
        require(getattr(module, "dilation", 1) in (1, (1, 1)), f"dilation={getattr(module, 'dilation', 1)}")
        require(not getattr(module, "return_indices", False), "return_indices=True")
        for extent in x.shape[2:]:
            require((extent - size) % stride == 0, f"windows of {size} with stride {stride} do not tile an input of {extent}")
        return {name: {"size": size} | ({"stride": stride} if stride != size else {})}
    return convert


def global_mean(module, x):
    size = module.output_size
    require(size in (1, (1, 1)), f"output_size={size}: only 1, the mean over the whole image, is a layer of decks")
    return {"global_mean": {}}


CONVERTERS = {
    nn.Conv2d: conv, nn.Linear: dense, nn.BatchNorm2d: batch_norm, nn.Flatten: flatten, nn.AdaptiveAvgPool2d: global_mean,
    nn.AvgPool2d: pool("average_pool"), nn.MaxPool2d: pool("max_pool"), nn.GELU: gelu, nn.Softplus: softplus,
    nn.ReLU: lambda module, x: {"relu": {}}, nn.LeakyReLU: lambda module, x: {"leaky_relu": {"slope": module.negative_slope}},
    nn.SiLU: lambda module, x: {"swish": {}}, nn.Tanh: lambda module, x: {"tanh": {}}, nn.Sigmoid: lambda module, x: {"sigmoid": {}},
}
HINTS = {
    nn.Dropout: "it is random; leave it out", nn.Dropout2d: "it is random; leave it out", nn.Identity: "leave it out",
    nn.Softmax: "the loss has it", nn.LogSoftmax: "the loss has it",
}


def leaves(model, prefix=""):
    """(name, module) of a Sequential's modules in their order, those of nested ones in their place."""
    for name, module in model._modules.items():  # named_children() leaves out what stands there twice
        if type(module).forward is nn.Sequential.forward and isinstance(module, nn.Sequential):
            yield from leaves(module, f"{prefix}{name}.")
        else:
            yield prefix + name, module


def place_of(position, name, module):
    return f"layer {position} ('{name}', {type(module).__name__})"


def refuse(problems):
    if problems:
        raise ExportError("this network cannot be written as a deck\n  " + "\n  ".join(problems))


def double_copy(model):
    """The model in double precision on the CPU, the original left alone."""
    refuse([place_of(i, name, module) + ": it has hooks, such as those of weight_norm" for i, (name, module) in enumerate(leaves(model))
            if module._forward_hooks or module._forward_pre_hooks])
    return copy.deepcopy(model).cpu().double()


@torch.no_grad()
def convert(model, sample):
    """The deck's list of layers and the number of outputs; sample [1,c,h,w] finds the shapes."""
    if not (isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward):
        raise ExportError(f"{type(model).__name__}: expected a torch.nn.Sequential")
    network, problems, seen, x = [], [], {}, sample.double()
    for position, (name, module) in enumerate(leaves(double_copy(model).eval())):
        place, kind, known = place_of(position, name, module), type(module), len(problems)
        try:
            require(kind in CONVERTERS, "no layer of decks" + (f"; {HINTS[kind]}" if kind in HINTS else ""))
            tied = next((seen[id(p)] for p in module.parameters() if id(p) in seen), None)
            require(tied is None, f"it shares its weights with {tied}")
            seen.update({id(p): place for p in module.parameters()})
            require(all(p.requires_grad for p in module.parameters()),
                    "requires_grad=False; courant trains all (train.layer_rates can freeze them)")
            network.append(CONVERTERS[kind](module, x))
        except Unsupported as what:
            problems.append(f"{place}: {what}")
        try:
            x = module(x)
        except Exception as what:  # shapes are unknown from here on
            if len(problems) == known:
                problems.append(f"{place} does not fit its input of shape {list(x.shape[1:])}: {what}")
            break
        if not isinstance(x, torch.Tensor):  # of what is no layer of decks, or returns indices as well
            break
    if not problems and x[0].numel() != x.shape[1]:
        problems.append(f"its output has the shape {list(x.shape[1:])}; expected [k]")
    refuse(problems)
    return network, x.shape[1]


# ---- losses: the labels as the file holds them, and the sum over some samples ----
def check_labels(loss, labels, n, outputs):
    labels = torch.as_tensor(labels).detach().cpu()
    if len(labels) != n:
        raise ExportError(f"{n} images but {len(labels)} labels")
    if loss == "squared" and labels.is_floating_point():
        labels = labels.reshape(n, -1)
        if labels.shape[1] != outputs:
            raise ExportError(f"{labels.shape[1]} targets a sample, but the network has {outputs} outputs")
        return labels
    labels = labels.reshape(n, -1)
    if labels.shape[1] != 1 or not torch.equal(labels, labels.round()):
        raise ExportError(f"labels for the loss {loss}: expected one whole number a sample")
    classes = 2 if loss == "logistic" else outputs
    if loss == "logistic" and outputs != 1:
        raise ExportError(f"the logistic loss takes one output; the network has {outputs}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ExportError(f"labels from {labels.min():g} to {labels.max():g}; expected 0 to {classes - 1}")
    return labels[:, 0].long()


def loss_sum(loss, outputs, labels):
    if loss == "logistic":
        return F.binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs), reduction="sum")
    if loss == "softmax":
        return F.cross_entropy(outputs, labels, reduction="sum")
    targets = labels if labels.ndim == 2 else F.one_hot(labels, outputs.shape[1])
    return 0.5 * (outputs - targets.to(outputs)).square().sum()


def reference(model, images, labels, loss, group):
    """Logits of the first 8 samples, mean loss and norm of its gradient, in double precision, group by group."""
    model = double_copy(model).train()
    total, logits = 0.0, []
    for first in range(0, len(images), group):
        outputs = model(images[first : first + group].double()).flatten(1)
        part = loss_sum(loss, outputs, labels[first : first + group]) / len(images)
        part.backward()
        total += part.item()
        if first < 8:
            logits.append(outputs.detach())
    gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    return {"logits": torch.cat(logits)[:8], "loss": total, "gradient_norm": gradient.norm().item()}


# ---- the deck's text ----
def flow(value):
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text  # YAML 1.1 wants the point
    if isinstance(value, str) and not re.fullmatch(r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z_][\w./+-]*", value, re.IGNORECASE):
        return json.dumps(value)
    return str(value)


def deck_text(sections):
    """The deck: one line a section, one line a layer."""
    lines = []
    for key, value in sections.items():
        if key == "network":
            lines += ["network:"] + [f"  - {name}: {flow(options)}" for layer in value for name, options in layer.items()]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def check_free(stem, extension, force):
    there = [name for name in (stem + extension, stem + ".h5") if os.path.lexists(name)]
    if there and not force:
        raise ExportError(f"{' and '.join(there)}: there already; force=True, or --force, writes over it")


def export(model, images, labels, deck_path, loss="softmax", name=None, train=None, statistics_batch=128, force=False):
    """Writes the deck `deck_path` (NAME.yaml) and, beside it, NAME.h5 with data, weights and reference values.

    model       torch.nn.Sequential, nested ones too, of Conv2d, Linear, Flatten, BatchNorm2d, ReLU, LeakyReLU, SiLU, GELU, Tanh, Sigmoid,
                Softplus, AvgPool2d, MaxPool2d and AdaptiveAvgPool2d(1). It is not changed.
    images      [n,c,h,w], any precision or uint8, as the network takes them
    labels      [n] whole numbers (logistic: 0 or 1); for squared, of an integer type, or else they are targets [n,k]
    loss        softmax, logistic (one output) or squared (1/2 |output - target|^2, mean over the samples)
    name        the deck's model (default: the file's name)
    train       the deck's train section as a dict; without it the deck has none
    statistics_batch    for networks with batch norm: how many consecutive samples share their statistics
    force       write over files that are there

    The deck lists the layers flat, so parameters are renumbered: '0.weight' belongs to its first layer. NAME.h5 holds images; labels or
    targets; each parameter, running_mean and running_var by that name, in single or double precision as in the model; the attribute
    `parameters`, a line "deck's name<tab>model's name" each; and the group `reference`, computed in double precision:

        logits [min(n,8),k]     outputs of the first samples; a batch norm in training mode, over groups of statistics_batch
        loss []                 mean loss over all samples, without weight decay
        gradient_norm []        Euclidean norm of its gradient with respect to all parameters
        attributes samples and, with batch norm, statistics_batch: what all of it is over

    Raises ExportError, naming every module and option that a deck cannot say, or the file that is there. Returns the deck's text.
    """
    stem, extension = os.path.splitext(deck_path)
    if extension not in (".yaml", ".yml"):
        raise ExportError(f"{deck_path}: expected a name that ends in .yaml")
    check_free(stem, extension, force)
    if loss not in ("softmax", "logistic", "squared"):
        raise ExportError(f"loss '{loss}': expected softmax, logistic or squared")
    images = torch.as_tensor(images).detach().cpu()
    if images.ndim != 4 or not len(images):
        raise ExportError(f"images of shape {list(images.shape)}: expected [n,c,h,w]")
    network, outputs = convert(model, images[:1])
    labels = check_labels(loss, labels, len(images), outputs)

    data, names = {"images": images, "targets" if labels.ndim == 2 else "labels": labels}, []
    for position, (path, module) in enumerate(leaves(model)):
        for key, value in module.state_dict().items():
            if key != "num_batches_tracked":
                data[f"{position}.{key}"] = value.detach().cpu().to(torch.promote_types(value.dtype, torch.float32))
                names.append(f"{position}.{key}\t{path}.{key}")
    if not any(True for _ in model.parameters()):
        raise ExportError("the network has no parameters to train")

    file = os.path.basename(stem) + ".h5"
    sections = {
        "model": name or os.path.basename(stem),
        "data": {"source": "hdf5", "file": file} | ({"labels": "targets"} if labels.ndim == 2 else {}),
        "network": network, "loss": loss, "weights": {"init": "file", "file": file},
    }
    if any("batch_norm" in layer for layer in network):
        sections["statistics_batch"] = statistics_batch
    if train:
        sections["train"] = train
    results = reference(model, images, labels, loss, sections.get("statistics_batch", 128))
    with h5py.File(stem + ".h5", "w") as out:
        out.attrs["parameters"] = "\n".join(names)
        for key, value in data.items():
            out.create_dataset(key, data=value.numpy())
        for key, value in results.items():
            out.create_dataset(f"reference/{key}", data=np.asarray(value, dtype="f8"))
        out["reference"].attrs["samples"] = len(images)
        if "statistics_batch" in sections:
            out["reference"].attrs["statistics_batch"] = statistics_batch
    text = deck_text(sections)
    with open(deck_path, "w", encoding="utf-8") as out:
        out.write(text)
    return text


def demo(deck_path, force):
    """A small network on ten noisy patterns, after some steps of Adam."""
    torch.manual_seed(1)
    labels = torch.arange(120) % 10
    images = torch.randn(10, 1, 12, 12)[labels] + 0.5 * torch.randn(120, 1, 12, 12)
    features = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(), nn.AvgPool2d(2), nn.Conv2d(6, 12, 3), nn.SiLU())
    model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))
    rule = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        rule.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        rule.step()
    train = {"rule": "momentum", "momentum": 0.9, "learning_rate": 0.05, "weight_decay": 1e-4, "batch": "full", "steps": 200}
    print(export(model, images, labels, deck_path, train=train, statistics_batch=60, force=force))
    print(f"{deck_path} and {os.path.splitext(deck_path)[0]}.h5 written; next: courant spectrum {deck_path}")


def main():
    parser = argparse.ArgumentParser(description="Turns a PyTorch network with data into a deck and an HDF5 file; see export().")
    parser.add_argument("--demo", metavar="DECK.yaml", required=True, help="write the deck of a small network")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    arguments = parser.parse_args()
    try:
        demo(arguments.demo, arguments.force)
    except (ExportError, OSError) as error:
        print(f"from_torch.py: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ExportError) else 4)


if __name__ == "__main__":
    main()
