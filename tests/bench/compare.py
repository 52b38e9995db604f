#!/usr/bin/env python3
"""courant beside PyTorch and beside the machine's matrix products, in one run.

    python3 tests/bench/compare.py [--nets N1,N2] [--precisions f64] [--threads 1,2] [--work hvp_kept,sgd] [--repetitions 7]

Four programs answer the same lines in turn, in an order that rotates from one repetition to the next: build/tests/bench-nets,
started as `bench-nets FOLDER -threads n`, peer_torch.py with the C library's allocator, the same with jemalloc preloaded, and one
matrix product of numpy for each thread (each on one thread, all at once). The protocol stands at the head of peer_torch.py. What is
not there (torch, jemalloc, bench-nets) is said once and left out.

A ratio is the faster peer's time (the one of smaller median) over ours, taken repetition by repetition; `of GEMM` is our rate of
floating-point operations, counted as an ideal program would need them, over the rate of the matrix products of the same repetition.
Quartiles are in brackets. A goal is met when the lower quartile reaches it.
"""
import argparse
import ctypes.util
import json
import os
import shlex
import subprocess
import sys
import time

try:
    import numpy as np
    import yaml
except ImportError as missing:
    sys.exit(f"compare.py: needs python3-numpy and python3-yaml ({missing})")

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BATCH = 128
# jemalloc at its best for a program that frees and takes the same large arrays all the time: it gives none back
JEMALLOC = "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"
WORK = ("gradient", "hvp_recomputed", "hvp_kept", "sgd")
# times the faster peer, by net and work; then the share of the GEMM rate
RATIO_GOALS = {
    ("N0", "hvp_kept"): {"f64": 50, "f32": 50}, ("N1", "hvp_kept"): {"f64": 4, "f32": 4},
    ("N2", "hvp_kept"): {"f64": 2.3, "f32": 1.6}, ("N3", "hvp_kept"): {"f64": 3.5, "f32": 2},
    ("N1", "sgd"): {"f64": 3, "f32": 3}, ("N2", "sgd"): {"f64": 1.6, "f32": 1.3}, ("N3", "sgd"): {"f64": 2, "f32": 1.2},
}
GEMM_GOALS = {("N2", "hvp_kept"): {"f64": 0.85, "f32": 0.85}}


class Server:
    """A program that answers a line with a line of JSON."""

    def __init__(self, name, command, **environment):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | {k: str(v) for k, v in environment.items()})

    def send(self, line):
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass

    def receive(self):
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            return {"error": line.strip() or f"{self.name} has ended, status {self.process.wait()}"}

    def ask(self, line):
        self.send(line)
        return self.receive()

    def close(self):
        self.process.communicate()


def gemm_server():
    """Answers f32|f64 with the rate of one matrix product; the environment says how many threads."""
    n, rng = 1280, np.random.default_rng(1)
    matrices = {p: [rng.random((n, n)).astype(kind) for _ in range(3)] for p, kind in (("f32", "f4"), ("f64", "f8"))}
    for a, b, c in matrices.values():
        np.matmul(a, b, out=c)
    for line in sys.stdin:
        a, b, c = matrices[line.strip()]
        start = time.perf_counter()
        np.matmul(a, b, out=c)
        print(json.dumps({"rate": 2 * n**3 / (time.perf_counter() - start)}), flush=True)


# ---- what an ideal program computes ----
def convolutions(network, shape):
    """Floating-point operations of each convolution for one image of that shape [c,h,w], and the shape of the output."""
    flops = []
    for layer in network:
        ((name, o),) = layer.items()
        c, h, w = shape
        if name == "conv":
            k, stride = o["kernel"], o.get("stride", 1)
            pad = {"valid": 0, "same": (k - 1) // 2, "circular": (k - 1) // 2}.get(o.get("padding", "valid"), o.get("padding"))
            shape = o["channels"], (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1
            flops.append(2 * c * k * k * shape[0] * shape[1] * shape[2])
        elif name in ("average_pool", "max_pool"):
            size, stride = o["size"], o.get("stride", o["size"])
            shape = c, (h - size) // stride + 1, (w - size) // stride + 1
        elif name == "residual":
            inside, shape = convolutions(o["layers"], shape)
            flops += inside + convolutions(o.get("shortcut", []), (c, h, w))[0]
    return flops, shape


def operations(deck, work):
    """The first layer passes no gradient on, and has no tangent coming in."""
    data = deck["data"]
    flops, _ = convolutions(deck["network"], (data.get("channels", 1), data["size"], data["size"]))
    whole, first = sum(flops), flops[0]
    count = {"gradient": 3 * whole - first, "sgd": 3 * whole - first, "hvp_kept": 6 * whole - 4 * first,
             "hvp_recomputed": 8 * whole - 5 * first}[work]
    return count * (BATCH if work == "sgd" else data["samples"])


# ---- the run ----
def peer_environment(allocator, threads):
    """Of PyTorch with the allocator torch, the C library's, or jemalloc."""
    preload = {"LD_PRELOAD": ctypes.util.find_library("jemalloc"), "MALLOC_CONF": JEMALLOC} if allocator == "jemalloc" else {}
    return {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)} | preload


def start(arguments, threads, notices):
    """The programs of one thread count: ours, peers, matrix products."""
    ours, peers = None, []
    command = shlex.split(arguments.ours)
    if os.access(command[0], os.X_OK):
        ours = Server("courant", command + [HERE, "-threads", str(threads)], OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=1)
    else:
        notices.add(f"no {command[0]} (ninja -C build makes it): PyTorch alone")
    peer = [sys.executable, os.path.join(HERE, "peer_torch.py"), "--threads", str(threads)]
    jemalloc = ctypes.util.find_library("jemalloc")
    for name, preload in (("torch", None), ("jemalloc", jemalloc)):
        if name == "jemalloc" and not preload:
            notices.add("no libjemalloc (libjemalloc2): PyTorch with the C library's allocator alone")
            continue
        server = Server(name, peer, **peer_environment(name, threads))
        if server.ask("rest") == {}:
            with open(f"/proc/{server.process.pid}/maps", encoding="utf-8") as maps:
                loaded = name in maps.read()
            if name == "torch" or loaded:
                peers.append(server)
            else:
                server.close()
                notices.add(f"{preload} cannot be preloaded: PyTorch with the C library's allocator alone")
        else:
            notices.add("no PyTorch (python3-torch, python3-yaml): our own times alone")
            break
    product = [sys.executable, os.path.abspath(__file__), "--gemm"]
    gemms = [Server("gemm", product, OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1) for _ in range(threads)]
    return ours, peers, gemms


def measure(line, precision, ours, peers, gemms, repetitions):
    """Answers of each program, {name: [answer, ..]}, and the rates of the matrix products, repetition by repetition."""
    programs = ([ours] if ours else []) + peers
    answers, rates = {p.name: [] for p in programs}, []
    for i in range(repetitions):
        turn = i % (len(programs) + 1)
        for program in ([*programs, None] * 2)[turn : turn + len(programs) + 1]:
            if program is None:
                for gemm in gemms:
                    gemm.send(precision)
                rates.append(sum(gemm.receive()["rate"] for gemm in gemms))
            elif not any("error" in a for a in answers[program.name]):
                answers[program.name].append(program.ask(line))
    for peer in peers:
        peer.ask("rest")
    return answers, np.array(rates)


def quartiles(values):
    return np.quantile(values, (0.5, 0.25, 0.75))


def plural(threads):
    return f"{threads} thread{'s' * (threads > 1)}"


def milliseconds(seconds):
    if seconds is None:
        return "-"
    values = 1e3 * quartiles(seconds)
    digits = 0 if values[0] >= 1000 else 1 if values[0] >= 100 else 2 if values[0] >= 10 else 3
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*values, d=digits)


def row(case, answers, rates, flops, goals):
    """One line of the table and its numbers; adds to goals [(text, met)]."""
    net, precision, work, threads = case
    failed = {name: a[-1]["error"] for name, a in answers.items() if "error" in a[-1]}
    seconds = {name: np.array([x["seconds"] for x in a]) for name, a in answers.items() if name not in failed}
    peers = [name for name in seconds if name != "courant"]
    best = min(peers, key=lambda name: np.median(seconds[name])) if peers else None
    own, ratio, share = seconds.get("courant"), None, None
    if own is not None:
        share = flops / own / rates
        ratio = seconds[best] / own if best else None
    for values, table, what in ((ratio, RATIO_GOALS, "times PyTorch's speed"), (share, GEMM_GOALS, "of the GEMM rate")):
        goal = table.get((net, work), {}).get(precision)
        if goal and values is not None:
            low = np.quantile(values, 0.25)
            place = f"{net} {precision} {work}, {plural(threads)}"
            goals.append((f"{place}: {low:.3g} {what} at the lower quartile, goal {goal:g}", low >= goal))
    rss = [max(x.get("rss_mb", 0) for x in answers[name]) for name in ("courant", best) if name in seconds]
    text = "{:3} {:3} {:14} {:1}  {:28} {:28} {:8}  {:22} {:20} {}".format(
        net, precision, work, threads, milliseconds(own), milliseconds(seconds.get(best)), best or "-",
        "-" if ratio is None else "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles(ratio)),
        "-" if share is None else "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * quartiles(share))), " / ".join(f"{r:.0f}" for r in rss) or "-")
    for name, error in failed.items():
        text += f"\n    {name}: {error}"
    return text, {"net": net, "precision": precision, "work": work, "threads": threads, "flops": flops, "gemm_rate": rates.tolist(),
                  "seconds": {name: s.tolist() for name, s in seconds.items()}, "errors": failed}


def words(allowed):
    """A parser of lists of such words."""
    def parse(text):
        unknown = [w for w in text.split(",") if w not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(allowed)}")
        return text.split(",")
    return parse


def main():
    nets = sorted(f[:-5] for f in os.listdir(HERE) if f.endswith(".yaml"))
    parser = argparse.ArgumentParser(description="courant beside PyTorch and the machine's matrix products (see this file's head).")
    parser.add_argument("--nets", type=words(nets), default=nets, help=f"of {','.join(nets)}")
    parser.add_argument("--precisions", type=words(("f64", "f32")), default=["f64", "f32"])
    parser.add_argument("--threads", type=lambda t: [int(n) for n in t.split(",")], default=[1, 2], help="thread counts (default 1,2)")
    parser.add_argument("--work", type=words(WORK), default=list(WORK), help=f"of {','.join(WORK)}")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--ours", default=os.path.join(ROOT, "build/tests/bench-nets"), metavar="COMMAND")
    parser.add_argument("--output", metavar="FILE.json", help="every repetition's time")
    parser.add_argument("--gemm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.gemm:
        return gemm_server()

    notices, goals, rows, shown = set(), [], [], set()
    head = "ours, ms", "faster peer, ms", "which", "ratio", "of GEMM", "peak MB"
    print("net     work       threads  {:28} {:28} {:8}  {:22} {:20} {}".format(*head))
    for threads in arguments.threads:
        ours, peers, gemms = start(arguments, threads, notices)
        for notice in sorted(notices - shown):
            print("note:", notice)
        shown |= notices
        for net in arguments.nets:
            with open(os.path.join(HERE, net + ".yaml"), encoding="utf-8") as file:
                deck = yaml.safe_load(file)
            for precision in arguments.precisions:
                for work in arguments.work:
                    if work == "sgd" and deck["data"]["samples"] < BATCH or not (ours or peers):
                        continue
                    measured = measure(f"{net} {precision} {work}", precision, ours, peers, gemms, arguments.repetitions)
                    text, numbers = row((net, precision, work, threads), *measured, operations(deck, work), goals)
                    rows.append(numbers)
                    print(text, flush=True)
        for server in [ours, *peers, *gemms]:
            if server:
                server.close()
    for precision in arguments.precisions:
        for threads in arguments.threads:
            rates = [rate for r in rows if (r["precision"], r["threads"]) == (precision, threads) for rate in r["gemm_rate"]]
            if rates:
                print("GEMM {} on {}: {:.1f} [{:.1f}, {:.1f}] GF/s".format(precision, plural(threads), *(quartiles(rates) / 1e9)))
    for text, met in goals:
        print("met   " if met else "missed", text)
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
