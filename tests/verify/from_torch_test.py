#!/usr/bin/env python3
"""notebooks-export/from_torch.py against an interpreter of decks that it shares nothing with (torch_deck.py). Prints TAP.

    python3 tests/verify/from_torch_test.py
"""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../notebooks-export")]
try:
    import h5py
    import torch
    import yaml
    from torch import nn

    import from_torch
    import torch_deck
except ImportError as missing:
    print(f"1..0 # SKIP needs python3-torch, python3-h5py, python3-yaml ({missing})")
    sys.exit(0)

torch.set_num_threads(1)
torch.manual_seed(3)
count = failed = 0


def ok(passed, name):
    global count, failed
    count += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {count} - {name}")


def batch_norm(channels):
    """One that has left its initial values behind."""
    module = nn.BatchNorm2d(channels, eps=1e-4)
    for t in (module.weight, module.bias, module.running_mean, module.running_var):
        nn.init.uniform_(t, 0.5, 1.5)
    return module


def export(model, shape, n=21, folder=None, loss="softmax", labels=None, classes=4, **options):
    """Exports with random data; returns the deck, the file's contents and the data."""
    images = torch.randn(n, *shape)
    labels = torch.randint(0, classes, (n,)) if labels is None else labels
    with tempfile.TemporaryDirectory() as own:
        path = os.path.join(folder or own, "net.yaml")
        text = from_torch.export(model, images, labels, path, loss=loss, **options)
        with open(path, encoding="utf-8") as file:
            assert file.read() == text
        contents = {}
        with h5py.File(path[:-5] + ".h5") as file:
            names = []
            file.visit(names.append)
            contents.update({n: torch.as_tensor(file[n][()]) for n in names if isinstance(file[n], h5py.Dataset)})
    return yaml.safe_load(text), contents, images, labels


def round_trip(name, model, shape, loss="softmax", **options):
    """The deck's network with the file's weights gives the model's outputs, the loss and the gradient's norm."""
    before = {k: t.clone() for k, t in model.state_dict().items()}
    deck, contents, images, labels = export(model, shape, loss=loss, **options)
    group = deck.get("statistics_batch")
    net = torch_deck.network(deck, *shape)
    expected = {k for k in net.state_dict() if "num_batches" not in k}
    stored = {k for k in contents if k.split(".")[0].isdigit()}
    ok(stored == expected, f"{name}: names of parameters")
    if stored != expected:
        print(f"# {sorted(stored ^ expected)}")
        return
    net.load_state_dict({k: contents[k].double() for k in expected}, strict=False)
    data = contents["images"].double(), contents[deck["data"].get("labels", "labels")]
    outputs = torch_deck.forward(net, data[0], group)
    value = torch_deck.loss(deck["loss"], outputs, data[1])
    norm = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(net.parameters()))]).norm()
    for what, one, other in (("logits", outputs[:8], contents["reference/logits"]), ("loss", value, contents["reference/loss"]),
                             ("norm of the gradient", norm, contents["reference/gradient_norm"])):
        ok(one.shape == other.shape and torch.allclose(one, other, rtol=1e-11, atol=1e-13), f"{name}: {what}")
    with torch.no_grad():
        one, other = net.eval()(data[0]).float(), model.eval()(images).flatten(1)
    ok(torch.allclose(one, other, rtol=1e-4, atol=1e-5), f"{name}: the model's own outputs")
    ok(all(torch.equal(t, before[k]) for k, t in model.state_dict().items()), f"{name}: the model is as before")


def refuses(message, model, shape=(3, 8, 8), **options):
    """export() raises one error with this message in it, and leaves no file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            export(model, shape, folder=folder, **options)
            got = "nothing"
        except from_torch.ExportError as error:
            got = str(error)
        ok(message in got and not os.listdir(folder), f"refused: {message}")
        if message not in got:
            print(f"# got: {got}")


def head(features, outputs=4):
    return nn.Flatten(), nn.Linear(features, outputs)


round_trip("plain", nn.Sequential(
    nn.Conv2d(1, 3, 5, padding=2), nn.SiLU(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.Tanh(), nn.MaxPool2d(2, 1), *head(64)), (1, 14, 14))
relu = nn.ReLU()
round_trip("one activation twice", nn.Sequential(
    nn.Conv2d(2, 3, 3), relu, nn.Conv2d(3, 3, 3), relu, nn.AdaptiveAvgPool2d(1), *head(3)), (2, 9, 7))
round_trip("every activation", nn.Sequential(
    nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, bias=False), nn.LeakyReLU(0.2), nn.Conv2d(3, 3, 1), nn.GELU(), nn.Conv2d(3, 3, 2),
    nn.Sigmoid(), nn.Conv2d(3, 3, (3, 5), padding=(1, 2)), nn.Softplus(), nn.Conv2d(3, 3, 3, padding="same"), nn.ReLU(),
    nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(3, 4, bias=False)), (2, 12, 11))
block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), batch_norm(4), nn.SiLU())
round_trip("nested, batch norm", nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), batch_norm(4)), nn.Sequential(block, nn.AvgPool2d(2)), *head(36)),
    (1, 12, 12), statistics_batch=7)
round_trip("batch norm, the last group smaller", nn.Sequential(
    nn.Conv2d(1, 2, 3), batch_norm(2), nn.SiLU(), *head(72)), (1, 8, 8), statistics_batch=6)
round_trip("circular, logistic", nn.Sequential(
    nn.Conv2d(1, 3, 5, padding=2, padding_mode="circular"), nn.SiLU(),
    nn.Conv2d(3, 1, 3, padding="same", padding_mode="circular"), nn.AdaptiveAvgPool2d(1)), (1, 9, 8), "logistic", classes=2)
round_trip("squared, targets", nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), *head(108)), (1, 8, 8), "squared", labels=torch.randn(21, 4))
round_trip("squared, labels", nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), *head(108)), (1, 8, 8), "squared")

section = {"rule": "gd", "learning_rate": 1e-5, "steps": 3}
deck, contents, *_ = export(nn.Sequential(nn.Conv2d(1, 2, 3), *head(72)), (1, 8, 8), name="a: b", train=section)
ok(deck["model"] == "a: b" and deck["train"] == section, "name and train section")
deck, contents, *_ = export(nn.Sequential(nn.Conv2d(1, 2, 3), *head(72)).double(), (1, 8, 8), n=5)
ok(contents["0.weight"].dtype == torch.double and contents["reference/logits"].shape == (5, 4), "double weights; fewer than 8 samples")

tail = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
for message, module in {
    "groups=2": nn.Conv2d(4, 4, 3, groups=2),
    "dilation=(2, 2)": nn.Conv2d(4, 4, 3, dilation=2),
    "stride=(1, 2)": nn.Conv2d(4, 4, 3, stride=(1, 2)),
    "padding=(0, 1)": nn.Conv2d(4, 4, 3, padding=(0, 1)),
    "padding='same' with a kernel of (2, 2)": nn.Conv2d(4, 4, 2, padding="same"),
    "padding_mode='reflect'": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "padding=(2, 2) with padding_mode='circular'": nn.Conv2d(4, 4, 3, padding=2, padding_mode="circular"),
    "affine=False": nn.BatchNorm2d(4, affine=False),
    "track_running_stats=False": nn.BatchNorm2d(4, track_running_stats=False),
    "momentum=None": nn.BatchNorm2d(4, momentum=None),
    "approximate='tanh'": nn.GELU("tanh"),
    "beta=2": nn.Softplus(2),
    "threshold=3": nn.Softplus(threshold=3),
    "ceil_mode=True": nn.MaxPool2d(2, ceil_mode=True),
    "padding=1 with count_include_pad": nn.AvgPool2d(2, padding=1),
    "padding=1: windows": nn.AvgPool2d(2, padding=1, count_include_pad=False),
    "divisor_override=3": nn.AvgPool2d(2, divisor_override=3),
    "kernel_size=(2, 1)": nn.AvgPool2d((2, 1)),
    "windows of 3 with stride 3 do not tile an input of 8": nn.MaxPool2d(3),
    "dilation=2": nn.MaxPool2d(2, dilation=2),
    "return_indices=True": nn.MaxPool2d(2, return_indices=True),
    "output_size=2": nn.AdaptiveAvgPool2d(2),
    "Dropout): no layer of decks; it is random": nn.Dropout(),
    "ConvTranspose2d): no layer": nn.ConvTranspose2d(4, 4, 2, stride=2, output_padding=1),
    "GroupNorm): no layer": nn.GroupNorm(2, 4),
    "ELU): no layer": nn.ELU(),
    "Identity): no layer of decks; leave it out": nn.Identity(),
    "hooks": nn.utils.weight_norm(nn.Conv2d(4, 4, 3)),
    "requires_grad=False": nn.Conv2d(4, 4, 3).requires_grad_(False),
    "works on the last dimension alone": nn.Linear(8, 8),
}.items():
    refuses(message, nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(module), *tail))
refuses("layer 1 ('1.0', Dropout)", nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Dropout()), *tail))
refuses("start_dim=2", nn.Sequential(nn.Flatten(2), nn.Linear(64, 4)))
shared = nn.Conv2d(3, 3, 1)
refuses("layer 1 ('1', Conv2d): it shares its weights with layer 0 ('0', Conv2d)", nn.Sequential(shared, shared, *head(192)))
refuses("layer 2 ('2', Linear) does not fit its input of shape [192]", nn.Sequential(nn.ReLU(), *head(10)))
refuses("its output has the shape [4, 8, 8]", nn.Sequential(nn.Conv2d(3, 4, 1)))
refuses("Linear: expected a torch.nn.Sequential", nn.Linear(3, 4))
refuses("no parameters", nn.Sequential(nn.Flatten()), classes=192)
net = nn.Sequential(nn.Conv2d(3, 4, 1), *head(256))
refuses("20 labels", net, labels=torch.zeros(20, dtype=torch.long))
refuses("labels from 0 to 4; expected 0 to 3", net, labels=torch.arange(21) % 5)
refuses("the logistic loss takes one output; the network has 4", net, loss="logistic", classes=2)
refuses("3 targets a sample", net, loss="squared", labels=torch.randn(21, 3))
refuses("loss 'hinge'", net, loss="hinge")
refuses("expected [n,c,h,w]", net, shape=(8, 8))

with tempfile.TemporaryDirectory() as folder:
    two = nn.Sequential(nn.Conv2d(3, 4, 3, groups=1, dilation=2), nn.Dropout(), nn.GELU("tanh"), *head(64))
    try:
        export(two, (3, 8, 8), folder=folder)
        lines = []
    except from_torch.ExportError as error:
        lines = str(error).splitlines()
    ok(len(lines) == 4 and all(f"layer {i}" in line for i, line in enumerate(lines[1:])), "one error names every place")

with tempfile.TemporaryDirectory() as folder:
    paths = [os.path.join(folder, name) for name in ("net.yaml", "net.h5")]
    for path in paths:  # either of the two may be somebody's own
        with open(path, "w", encoding="utf-8") as file:
            file.write("kept")
        try:
            export(net, (3, 8, 8), folder=folder)
            got = "nothing"
        except from_torch.ExportError as error:
            got = str(error)
        with open(path, encoding="utf-8") as file:
            kept = file.read()
        ok(got.startswith(f"{path}: there already") and os.listdir(folder) == [os.path.basename(path)] and kept == "kept", "a file that is there is kept")
        os.remove(path)
    export(net, (3, 8, 8), folder=folder)
    deck, contents, *_ = export(net, (3, 8, 8), folder=folder, n=5, force=True)
    ok(len(contents["images"]) == 5, "force writes over it")

print(f"1..{count}")
sys.exit(failed > 0)
