#!/usr/bin/env python3
"""courant spectrum beside SciPy's eigsh with PyTorch's products: the top 10 eigenvalues and the bottom one of the Hessian.

    python3 tests/bench/eigen.py [--nets N1,N2] [--precisions f64] [--threads 1] [--work products,whole,ranks] [--repetitions 7]
    python3 tests/bench/eigen.py --count [--nets N1,N2] [--precisions f64] [--threads 2]

Both reach the same residual of every eigenvalue, 1e-6 |H| with products in double and 1e-4 |H| with those in single precision, measured
in double. --work is of

    products    a side's time is its number of products times the median time of a product, timed in turn as compare.py does, the
                faster of PyTorch's two allocators. Ours multiply in single precision for either residual, but for the last product
                with each vector, which is in double and gives value and residual. They are those of the search and of the
                certificate that nothing was missed, which the peer has none of: `search` is the ratio without it
    whole       both programs from start to end on N1, one after the other, as a check of that
    ranks       courant spectrum on N2 by one MPI rank and by two, one thread each, from start to end

The peer is eigsh twice, which='LA' with k=10 and which='SA' with k=1, from a start of fixed seed, each with the basis of fewest
products, the default or ncv=40, and the loosest tol (two a decade) whose residuals are small enough. Its products do not depend on who
multiplies. So --count lets eigsh run on courant's products with the problem of the deck, which takes an hour for N2, and keeps what it
finds in eigen-peer.json; it comes again when a deck changes. The other runs compare the eigenvalues there with ours. For `whole`
PyTorch has courant's weights and data.
"""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

from compare import HERE, ROOT, milliseconds, measure, np, peer_environment, plural, quartiles, start, words, yaml

try:
    import h5py
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
except ImportError as missing:
    sys.exit(f"eigen.py: needs python3-h5py and python3-scipy ({missing})")

KINDS = {"f32": np.float32, "f64": np.float64}
TARGETS = {"f32": 1e-4, "f64": 1e-6}  # of a residual, times the norm
ENDS = {"largest": ("LA", 10), "smallest": ("SA", 1)}
GOALS = {"N0": 60, "N2": 4, "N3": 4}
RANKS_GOAL = 1.8
WORK = ("products", "whole", "ranks")
PEER = os.path.join(HERE, "eigen-peer.json")


def deck_file(net):
    return os.path.join(HERE, net + ".yaml")


# ---- the peer ----
def solve(product, size, precision, which, k, tol, ncv):
    """eigsh as its user calls it: eigenvalues, outermost first, vectors [k,size], and the number of products."""
    count = 0

    def multiply(v):
        nonlocal count
        count += 1
        return product(v)

    first = np.random.default_rng(1).standard_normal(size).astype(KINDS[precision])
    operator = LinearOperator((size, size), multiply, dtype=KINDS[precision])
    values, vectors = eigsh(operator, k, which=which, tol=tol, ncv=min(ncv, size), v0=first)
    outermost = np.argsort(values if which == "SA" else -values)
    return values[outermost], vectors.T[outermost], count


class Products:
    """courant's products of one net and precision, by bench-nets; a vector that came before is not multiplied again."""

    def __init__(self, server, net, precision, folder):
        self.server, self.known, self.file = server, {}, os.path.join(folder, f"{net}-{precision}")
        self.line = f"{net} {precision} product {self.file}"

    def __call__(self, v):
        v = np.ascontiguousarray(v)
        if v.tobytes() not in self.known:
            v.astype(float).tofile(self.file)
            ask(self.server, self.line)
            self.known[v.tobytes()] = np.fromfile(self.file).astype(v.dtype)
        return self.known[v.tobytes()]


def ask(server, line):
    answer = server.ask(line)
    if "error" in answer:
        sys.exit(f"eigen.py: {line}: {answer['error']}")
    return answer


def residuals(precise, values, vectors):
    """|H x - lambda x| in double precision, the innermost first, as it is the last to converge."""
    for value, x in zip(values[::-1].astype(float), vectors[::-1].astype(float)):
        x = x / np.linalg.norm(x)
        yield np.linalg.norm(precise(x) - value * x)


def attempt(product, precise, size, precision, end, norm, tol, ncv):
    """The solve with this tol, or None where a residual is too large."""
    try:
        values, vectors, count = solve(product, size, precision, *ENDS[end], tol, ncv)
    except ArpackNoConvergence:
        return None
    found = []
    for residual in residuals(precise, values, vectors):
        if not residual <= TARGETS[precision] * norm:
            return None
        found.append(residual)
    return {"products": count, "ncv": ncv, "tol": tol, "eigenvalues": values.tolist(), "residuals": found[::-1]}


def cheapest(product, precise, size, precision, end, norm):
    """The solve of fewest products that reaches the residual."""
    best = []
    for ncv in (max(2 * ENDS[end][1] + 1, 20), 40):
        steps, tried = 0, {}
        while steps not in tried and abs(steps) < 6:  # loosens tol as long as that will do, or tightens it until it does
            tol = TARGETS[precision] * 10 ** (1 + steps / 2)
            tried[steps] = attempt(product, precise, size, precision, end, norm, tol, ncv)
            print(f"  {end}, ncv {ncv}, tol {tol:.2g}: {tried[steps]['products'] if tried[steps] else 'residual too large'}", flush=True)
            steps += 1 if tried[steps] else -1
        best += [a for a in tried.values() if a]
    return min(best, key=lambda a: a["products"])


def count_peer(server, net, precision, folder):
    """What eigsh takes for both ends."""
    precise = Products(server, net, "f64", folder)
    product = precise if precision == "f64" else Products(server, net, precision, folder)
    size = parameters(problem_file(server, net, folder), net)
    norm = abs(solve(product, size, precision, "LM", 1, 1e-2, 20)[0][0])
    print(f"{net} {precision}: {size} weights, |H| = {norm:.6g}", flush=True)
    return {end: cheapest(product, precise, size, precision, end, norm) for end in ENDS}


def problem_file(server, net, folder):
    """courant's weights, images and labels, for peer_torch.py."""
    path = os.path.join(folder, net + "-problem")
    if not os.path.exists(path):
        ask(server, f"{net} f64 problem {path}")
    return path


def parameters(path, net):
    with open(deck_file(net), encoding="utf-8") as file:
        data = yaml.safe_load(file)["data"]
    return os.path.getsize(path) // 8 - data["samples"] * (data["size"] ** 2 * data.get("channels", 1) + 1)


def peer_process(net, precision, threads, problem):
    """The peer's whole run, in a process of its own: eigenvalues of both ends and products."""
    import peer_torch

    peer_torch.torch.set_num_threads(threads)
    peer_torch.torch_deck.BatchNorm.fused = True
    with open(deck_file(net), encoding="utf-8") as file:
        case = peer_torch.Case(yaml.safe_load(file), precision, "hvp_kept", problem)
    with open(PEER, encoding="utf-8") as file:
        known = json.load(file)[net][precision]
    size = sum(p.numel() for p in case.parameters)
    found = {end: solve(case.product, size, precision, *ENDS[end], known[end]["tol"], known[end]["ncv"]) for end in ENDS}
    print(json.dumps({"eigenvalues": {end: values.tolist() for end, (values, _, _) in found.items()},
                      "products": sum(count for _, _, count in found.values())}))


# ---- ours ----
def spectrum(arguments, net, precision, threads, folder, launch=()):
    """One run of the command: its seconds, the products of search and certificate, and per end eigenvalues and residuals."""
    output = os.path.join(folder, "spectrum.h5")
    command = [*launch, *shlex.split(arguments.courant), "spectrum", deck_file(net), "-threads", str(threads), "-force",
               "-output", output, "-eps_tol", str(TARGETS[precision]), "-precision", "single"]
    for end, option in (("largest", "-hessian_max_eps_nev"), ("smallest", "-hessian_min_eps_nev")):
        command += [option, str(ENDS[end][1])]
    begin = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                           env=os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"})
    seconds = time.perf_counter() - begin
    if ended.returncode:
        sys.exit(f"eigen.py: {shlex.join(command)}\n{ended.stderr}")
    searched, certified = re.search(r"^(\d+) products, and (\d+) to see", ended.stdout, re.MULTILINE).groups()
    result = {"seconds": seconds, "products": int(searched), "certificate": int(certified)}
    with h5py.File(output) as file:
        group = file["spectrum"]
        result["norm"] = float(group.attrs["norm"])
        for number, end in enumerate(ENDS):
            rows = group["side"][:] == number
            result[end] = {"eigenvalues": group["eigenvalue"][rows].tolist(), "residuals": group["residual"][rows].tolist()}
    return result


# ---- the work ----
def differences(one, other):
    """The largest difference of two sides' eigenvalues, and whether all are within the residuals."""
    worst, agree = 0, True
    for end in ENDS:
        difference = np.abs(np.subtract(one[end]["eigenvalues"], other[end]["eigenvalues"]))
        worst = max(worst, difference.max())
        agree &= bool(np.all(difference <= np.add(one[end]["residuals"], other[end]["residuals"])))
    return worst, agree


def relative_residual(side, norm):
    return max(max(side[end]["residuals"]) for end in ENDS) / norm


def time_products(arguments, net, precision, programs):
    """Seconds of a product, repetition by repetition, of each program."""
    answers, _ = measure(f"{net} {precision} hvp_kept", precision, *programs, [], arguments.repetitions)
    for name, given in answers.items():
        if "error" in given[-1]:
            sys.exit(f"eigen.py: {name}: {given[-1]['error']}")
    return {name: np.array([a["seconds"] for a in given]) for name, given in answers.items()}


def compare_products(arguments, net, precision, threads, programs, known, folder, goals):
    """One line of the table and its numbers; adds to goals [(text, met)]."""
    ours, peers = programs
    own, peer = spectrum(arguments, net, precision, threads, folder), known[net][precision]
    seconds = time_products(arguments, net, precision, programs)
    best = min((p.name for p in peers), key=lambda name: np.median(seconds[name]))
    other = "f64" if precision == "f32" else "f32"
    own_seconds = {precision: seconds["courant"], other: time_products(arguments, net, other, (ours, []))["courant"]}
    ask(ours, "rest")
    last = sum(len(own[end]["eigenvalues"]) for end in ENDS)
    search = (own["products"] - last) * own_seconds["f32"] + last * own_seconds["f64"]
    theirs = sum(peer[end]["products"] for end in ENDS) * seconds[best]
    ratio, ratio_search = theirs / (search + own["certificate"] * own_seconds["f32"]), theirs / search
    worst, agree = differences(own, peer)
    if net in GOALS:
        low = np.quantile(ratio, 0.25)
        goals.append((f"{net} {precision}, {plural(threads)}: {low:.3g} times the peer's speed at the lower quartile, goal {GOALS[net]}",
                      low >= GOALS[net] and agree and relative_residual(own, own["norm"]) <= TARGETS[precision]))
    print("{:3} {:3} {:10} {:18} {:26} {:26} {:8}  {:20} {:20} {:17} {:.1e} {}".format(
        net, precision, f"{own['products']} + {own['certificate']}", " + ".join(f"{peer[e]['products']} ({peer[e]['ncv']})" for e in ENDS),
        milliseconds(own_seconds["f32"]), milliseconds(seconds[best]), best, "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles(ratio)),
        "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles(ratio_search)),
        " / ".join(f"{relative_residual(side, own['norm']):.1e}" for side in (own, peer)), worst,
        "within the residuals" if agree else "MORE THAN THE RESIDUALS"), flush=True)
    return {"net": net, "precision": precision, "threads": threads, "ours": own, "best": best,
            "seconds": {name: s.tolist() for name, s in seconds.items()}, "own_seconds": {kind: s.tolist() for kind, s in own_seconds.items()},
            "ratio": ratio.tolist(), "ratio_search": ratio_search.tolist()}


def compare_whole(arguments, precision, threads, programs, known, rows, folder):
    """Both programs on N1, the peer's process with the allocator that was the faster one there."""
    net, (ours, peers) = "N1", programs
    row = next((r for r in rows if (r["net"], r["precision"], r["threads"]) == (net, precision, threads)), None)
    best = row["best"] if row else peers[-1].name
    command = [sys.executable, os.path.abspath(__file__), "--peer", net, precision, str(threads), problem_file(ours, net, folder)]
    own = spectrum(arguments, net, precision, threads, folder)
    begin = time.perf_counter()
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | peer_environment(best, threads))
    seconds, peer = time.perf_counter() - begin, json.loads(answer.stdout)
    worst = max(np.abs(np.subtract(peer["eigenvalues"][end], own[end]["eigenvalues"])).max() for end in ENDS)
    expected = f", by products {np.median(row['ratio']):.2f}" if row else ""
    counted = sum(known[net][precision][end]["products"] for end in ENDS)
    print(f"{net} {precision} whole runs, {plural(threads)}: ours {own['seconds']:.1f} s, eigsh on PyTorch ({best}) {seconds:.1f} s, ratio "
          f"{seconds / own['seconds']:.2f}{expected}; its products {peer['products']}, counted {counted}; "
          f"eigenvalues differ by {worst:.1e}", flush=True)
    return {"net": net, "precision": precision, "threads": threads, "whole": {"ours": own["seconds"], best: seconds}}


def compare_ranks(arguments, precision, folder, goals):
    """courant spectrum on N2 by one rank and by two, in turn."""
    times = {1: [], 2: []}
    for _ in range(arguments.runs):
        for ranks, seconds in times.items():
            launch = [*shlex.split(arguments.mpiexec), "-n", str(ranks)]
            seconds.append(spectrum(arguments, "N2", precision, 1, folder, launch)["seconds"])
    gain = np.divide(times[1], times[2])
    text = "N2 {}, two MPI ranks of one thread: {:.1f} s, one rank {:.1f} s, {:.2f} times [{:.2f}, {:.2f}]".format(
        precision, np.median(times[2]), np.median(times[1]), *quartiles(gain))
    print(text, flush=True)
    low = np.quantile(gain, 0.25)
    goals.append((f"N2 {precision}, two MPI ranks: {low:.3g} times the speed of one, goal {RANKS_GOAL}", low >= RANKS_GOAL))
    return {"net": "N2", "precision": precision, "ranks": times}


def count(arguments, server, folder):
    for net in arguments.nets:
        for precision in arguments.precisions:
            found = count_peer(server, net, precision, folder)
            ask(server, "rest")
            known = read_peer()
            known.setdefault(net, {})[precision] = found
            with open(PEER, "w", encoding="utf-8") as file:
                json.dump(known, file, indent=1)
                file.write("\n")


def read_peer():
    try:
        with open(PEER, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def run(arguments, programs, folder):
    known, goals, rows, threads = read_peer(), [], [], arguments.threads
    cases = [(net, precision) for net in arguments.nets for precision in arguments.precisions]
    for net, precision in cases:
        if precision not in known.get(net, {}) and arguments.work != ["ranks"]:
            sys.exit(f"eigen.py: {os.path.basename(PEER)} has no {net} {precision}: --count first")
    if "products" in arguments.work:
        head = ("products", "peer's (ncv)", "ours in f32, ms", "faster peer, ms", "which", "ratio", "search", "residuals / |H|",
                "eigenvalues differ by")
        print("net     {:10} {:18} {:26} {:26} {:8}  {:20} {:20} {:17} {}".format(*head))
        rows = [compare_products(arguments, *case, threads, programs, known, folder, goals) for case in cases]
    for net, precision in cases:
        if "whole" in arguments.work and net == "N1":
            rows.append(compare_whole(arguments, precision, threads, programs, known, rows, folder))
    if "ranks" in arguments.work:
        rows += [compare_ranks(arguments, precision, folder, goals) for precision in arguments.precisions]
    for text, met in goals:
        print("met   " if met else "missed", text)
    return rows


def main():
    nets = sorted(f[:-5] for f in os.listdir(HERE) if f.endswith(".yaml"))
    parser = argparse.ArgumentParser(description="courant spectrum beside eigsh with PyTorch's products (see this file's head).")
    parser.add_argument("--nets", type=words(nets), default=nets, help=f"of {','.join(nets)}")
    parser.add_argument("--precisions", type=words(KINDS), default=["f64", "f32"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=words(WORK), default=list(WORK), help=f"of {','.join(WORK)}")
    parser.add_argument("--repetitions", type=int, default=7, help="of a product")
    parser.add_argument("--runs", type=int, default=1, help="of one rank and two")
    parser.add_argument("--count", action="store_true", help="the peer's products anew")
    parser.add_argument("--ours", default=os.path.join(ROOT, "build/tests/bench-nets"), metavar="COMMAND")
    parser.add_argument("--courant", default=os.path.join(ROOT, "build/courant"), metavar="COMMAND")
    parser.add_argument("--mpiexec", default="mpiexec", metavar="COMMAND")
    parser.add_argument("--output", metavar="FILE.json", help="every repetition's time")
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        net, precision, threads, problem = arguments.peer
        return peer_process(net, precision, int(threads), problem)

    notices = set()
    ours, peers, gemms = start(arguments, arguments.threads, notices)
    for notice in sorted(notices):
        print("note:", notice)
    if not ours or not (peers or arguments.count):
        sys.exit("eigen.py: needs bench-nets and PyTorch")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.count:
            count(arguments, ours, folder)
        else:
            rows = run(arguments, (ours, peers), folder)
    for server in [ours, *peers, *gemms]:
        server.close()
    if arguments.output and not arguments.count:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
