#!/usr/bin/env python3
"""PyTorch's times for the benchmark's networks, one repetition a line, so that another program can alternate with it.

    python3 tests/bench/peer_torch.py [--threads n] [--decks FOLDER]

reads lines `NET f32|f64 WORK` and answers each with one line of JSON, {"seconds": s, "rss_mb": peak resident memory}, or
{"error": text}. NET is a deck NET.yaml in the folder (default: this file's own). WORK is

    gradient          loss and gradient over all samples
    hvp_recomputed    a Hessian-vector product from nothing: forward, backward, and backward through that
    hvp_kept          the product alone, the graph of the gradient kept from before
    sgd               one step of SGD with momentum on 128 samples, batch after batch

Building the network, the data, a graph to be kept, and one warm-up run are outside the time, the latter within the peak of memory. They are
done at the first line for that net, precision and work, and kept until a line asks for something else; `rest` answers {} and drops
them. The program ends with its input.
"""
import argparse
import json
import os
import resource
import sys
import time

BATCH = 128
HERE = os.path.dirname(os.path.abspath(__file__))


class Case:
    """A network with data and what one kind of work needs; run() is what is timed.

    file: weights and data in place of random ones, as bench-nets writes a problem.
    """

    def __init__(self, deck, precision, work, file=None):
        data = deck["data"]
        n, c, size = data["samples"], data.get("channels", 1), data["size"]
        kind = {"f32": torch.float32, "f64": torch.float64}[precision]
        torch.manual_seed(data["seed"])
        self.net = torch_deck.network(deck, c, size, size).to(kind)
        reset_peak()  # finding the shapes takes a forward pass
        self.parameters = list(self.net.parameters())
        self.name = deck["loss"]
        self.images = torch.randn(n, c, size, size).to(kind)
        self.labels = torch.randint(0, data["classes"], (n,))
        self.direction = [torch.randn_like(p) for p in self.parameters]
        if file:
            self.load(torch.from_numpy(np.fromfile(file)))
        self.run = getattr(self, work)
        if work == "hvp_kept":
            self.slope = torch.autograd.grad(self.loss(), self.parameters, create_graph=True)
        if work == "sgd":
            if n < BATCH:
                raise ValueError(f"{n} samples are less than a batch of {BATCH}")
            self.rule, self.first = torch.optim.SGD(self.parameters, lr=1e-3, momentum=0.9), 0

    def load(self, numbers):
        targets = [*self.parameters, self.images.permute(0, 2, 3, 1), self.labels]
        for target, values in zip(targets, numbers.split([t.numel() for t in targets])):
            target.data.copy_(values.view(target.shape))

    def loss(self, part=slice(None)):
        return torch_deck.loss(self.name, self.net(self.images[part]), self.labels[part])

    def gradient(self):
        torch.autograd.grad(self.loss(), self.parameters)

    def hvp_recomputed(self):
        slope = torch.autograd.grad(self.loss(), self.parameters, create_graph=True)
        torch.autograd.grad(slope, self.parameters, self.direction)

    def hvp_kept(self):
        return torch.autograd.grad(self.slope, self.parameters, self.direction, retain_graph=True)

    def product(self, v):
        """The Hessian's product with a vector [p] of numpy, from a kept graph."""
        for target, part in zip(self.direction, torch.from_numpy(v).split([p.numel() for p in self.parameters])):
            target.copy_(part.view(target.shape))
        return torch.cat([part.reshape(-1) for part in self.hvp_kept()]).numpy()

    def sgd(self):
        part = slice(self.first, self.first + BATCH)
        self.rule.zero_grad()
        self.loss(part).backward()
        self.rule.step()
        self.first = (self.first + BATCH) % (len(self.images) - BATCH + 1)


def reset_peak():
    """Lets the peak of resident memory start again, where Linux allows it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def peak_megabytes():
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(float(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WORK = ("gradient", "hvp_recomputed", "hvp_kept", "sgd")


def answer(state, line, folder):
    """The answer to one line; state is a dict with the last line's Case."""
    if line == "rest":
        state.clear()
        return {}
    try:
        net, precision, work = line.split()
        if precision not in ("f32", "f64") or work not in WORK:
            raise ValueError(f"expected NET f32|f64 {'|'.join(WORK)}, not '{line}'")
        if line not in state:
            state.clear()
            with open(os.path.join(folder, net + ".yaml"), encoding="utf-8") as file:
                state[line] = Case(yaml.safe_load(file), precision, work)
            state[line].run()
        start = time.perf_counter()
        state[line].run()
        seconds = time.perf_counter() - start
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return {"error": str(error)}
    return {"seconds": seconds, "rss_mb": peak_megabytes()}


def main():
    parser = argparse.ArgumentParser(description="PyTorch's times, one repetition for each line of input (see this file's head).")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--decks", default=HERE, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch_deck.BatchNorm.fused = True
    state = {}
    for line in sys.stdin:
        print(json.dumps(answer(state, line.strip(), arguments.decks)), flush=True)


sys.path.insert(0, os.path.join(HERE, "../verify"))
try:
    import numpy as np
    import torch
    import yaml

    import torch_deck
except ImportError as error:
    sys.exit(f"peer_torch.py: needs python3-torch and python3-yaml ({error})")

if __name__ == "__main__":
    main()
