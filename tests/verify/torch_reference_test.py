#!/usr/bin/env python3
"""The reference files of tests/verify/torch/ are what torch_reference.py writes with the PyTorch at hand. Prints TAP.

    python3 tests/verify/torch_reference_test.py
"""
import contextlib
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
try:
    import h5py
    import numpy as np

    import torch_reference
except ImportError as missing:
    print(f"1..0 # SKIP needs python3-torch, python3-h5py, python3-yaml ({missing})")
    sys.exit(0)


def contents(path):
    """Datasets and attributes by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        for name in ["/", *found]:
            found.update({f"{name} @{key}": value for key, value in file[name].attrs.items()})
    return found


def apart(stored, fresh):
    """Relative distance of two arrays of numbers; infinite when they are no such thing of the same shape."""
    a, b = np.asarray(stored), np.asarray(fresh)
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind != "f":
        return 0 if np.array_equal(a, b) else np.inf
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300)


failed = 0
stored = {name[:-3] for name in os.listdir(torch_reference.FOLDER) if name.endswith(".h5")}
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    sys.argv = ["torch_reference.py", "--output", folder]
    torch_reference.main()
    both = {case: (contents(os.path.join(torch_reference.FOLDER, case + ".h5")) if case in stored else {},
                   contents(os.path.join(folder, case + ".h5"))) for case in torch_reference.CASES}
print(f"1..{len(both) + 1}")
print(f"{'ok' if stored == set(both) else 'not ok'} 1 - a file for every case")
failed += stored != set(both)
for number, (case, (old, new)) in enumerate(both.items(), 2):
    far = {name: apart(old[name], new[name]) for name in old.keys() & new.keys()}
    passed = old.keys() == new.keys() and max(far.values()) <= 1e-12
    print(f"{'ok' if passed else 'not ok'} {number} - {case}: {max(far.values(), default=np.inf):.0e} at most")
    for name in [*sorted(old.keys() ^ new.keys()), *(n for n in far if far[n] > 1e-12)]:
        print(f"# {name}: {far.get(name, 'only in one of them')}")
    failed += not passed
sys.exit(failed > 0)
