#!/usr/bin/env python3
"""Draws a result file of courant: plot.py FILE.h5 [OTHER.h5] [-o FILE.png]"""
import argparse
import os
import sys

try:
    import matplotlib

    matplotlib.use("Agg")
    import figures
except ImportError as missing:
    sys.exit(f"plot.py: needs python3-h5py and python3-matplotlib ({missing})")


def refuse(status, message):
    """Ends with a line that says why, and the exit status of courant for it."""
    print(f"plot.py: {message}", file=sys.stderr)
    sys.exit(status)


def main():
    parser = argparse.ArgumentParser(description="Draws a result file of courant.")
    parser.add_argument("file", help="a result file (HDF5)")
    parser.add_argument("other", nargs="?", help="another map on the same axes: draw where the two differ")
    parser.add_argument("-o", "--output", help="the picture (default: FILE with .png)")
    arguments = parser.parse_args()
    output = arguments.output or os.path.splitext(arguments.file)[0] + ".png"
    try:
        figures.draw(arguments.file, arguments.other).savefig(output, dpi=150)
    except figures.ResultError as error:
        refuse(2, error)
    except ValueError as error:  # the picture's format
        refuse(2, f"{output}: {error}")
    except OSError as error:
        refuse(4, f"{output}: {error.strerror}")
    print(output)


if __name__ == "__main__":
    main()
