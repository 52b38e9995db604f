"""Figures of courant's result files, for scripts and notebooks (h5py and matplotlib)."""
import contextlib
import os
import textwrap
import h5py
import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize, TwoSlopeNorm, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

# one colour per regime, the same for what is predicted and what is measured
COLOURS = {
    "stable": "#a6cee3", "restrained": "#fdbf6f", "divergent": "#b2473e", "unstable_flow": "#8a6bbe",
    "undecided": "#d9d9d9", "past_limit": "#e8a6c1", "bounded": "#d6e3a4",
}
VERDICTS = {"agree": "#cfe8cf", "disagree": "#d7301f", "undecided": "#d9d9d9"}
# where what a refined check says of a cell comes from
ORIGINS = {"interpolated": "#f0f0f0", "run": "#6baed6", "drawn": "#08306b", "surprise": COLOURS["divergent"]}
# one style per curve of a training run
CURVES = {
    "loss": dict(color="#08519c", lw=1.4), "objective": dict(color="#6baed6", lw=1.2, ls="--"),
    "accuracy": dict(color="#08519c", lw=1.4), "test_accuracy": dict(color="#6baed6", lw=1.4),
    "sharpness": dict(color="#b2473e", lw=1.2), "preconditioned_sharpness": dict(color="#b2473e", lw=1.2), "limit": dict(color="black", lw=1.4, ls="--"),
}
LABELS = {
    "objective": "loss and decay", "test_accuracy": "on test data", "accuracy": "on training data", "limit": "limit of stability",
    "preconditioned_sharpness": "preconditioned sharpness",
}
LIMITS = [
    ("limit", "linear limit", dict(color="black", lw=1.8)),
    ("limit_von_neumann", "von Neumann bound", dict(color="#1b7837", lw=1.4, ls="--")),
    ("limit_far_field", "far field, 2/weight decay", dict(color="#2b2b8f", lw=1.4, ls=":")),
]
# those of mini-batches: what one run obeys, what ensembles do, and full batches
BATCH_LIMITS = [
    ("limit", "almost sure", dict(color="black", lw=1.8)),
    ("limit_epoch", "mean square of an epoch", dict(color="#1b7837", lw=1.4, ls="--")),
    ("limit_mean_square", "mean square, independent", dict(color="#8c510a", lw=1.4, ls="-.")),
    ("limit_full_batch", "full batches", dict(color="#555555", lw=1.4, ls=(0, (5, 1, 1, 1, 1, 1)))),
    LIMITS[-1],
]
# one colour for what the powers of a step do at a frequency
POWERS = {"bounded": "#08519c", "grow": COLOURS["divergent"], "grow_polynomially": "#e08214", "flow_grows": COLOURS["unstable_flow"]}
# the four rows of a one-layer network's limits: what runs obey first, its bounds drawn over it
OPERATORS = [
    ("operator", "operator, exact", dict(color="black", lw=1.8)),
    ("operator_frozen", "operator, s frozen", dict(color="#2b2b8f", lw=1.4, ls=":")),
    ("bound_circulant", "symbol, periodic", dict(color="#7fbf7b", lw=1.4)),
    ("bound", "symbol", dict(color="#1b7837", lw=1.4, ls="--")),
]
MAPS = 6  # spectral densities of so many layers fit a page
FEW = 60  # points of a curve, up to which each has a marker


class ResultError(ValueError):
    """What is wrong with a result file, with its name, in a line."""


def text(value):
    """An attribute as a string, however h5py hands it over."""
    return value.decode() if isinstance(value, bytes) else str(value)


def meanings(dataset):
    """The names of an enumeration's values, in order."""
    return text(dataset.attrs["flag_meanings"]).split()


def edges(values):
    """Cell edges around the points of an axis, and whether it is spaced logarithmically."""
    values = np.asarray(values, float)
    if len(values) == 1:
        return np.array([values[0] * 0.9, values[0] * 1.1]) if values[0] else np.array([-0.1, 0.1]), False
    ratio = values[1:] / np.where(values[:-1] > 0, values[:-1], np.nan)
    log = bool(np.all(values > 0) and (np.ptp(ratio) < 0.01 * ratio[0] or values.max() > 20 * values.min()))
    v = np.log(values) if log else values
    middle = (v[1:] + v[:-1]) / 2
    e = np.concatenate([[2 * v[0] - middle[0]], middle, [2 * v[-1] - middle[-1]]])
    return (np.exp(e) if log else e), log


def draw_regimes(axes, group, dataset, colours=COLOURS):
    """Regimes of one group as colour over learning rate and weight decay; returns the names that occur."""
    names = meanings(dataset)
    values = np.ma.masked_equal(dataset[:], 255)
    (x, log_x), (y, log_y) = edges(group["learning_rate"][:]), edges(group["weight_decay"][:])
    order = np.argsort(group["weight_decay"][:])
    if not np.all(np.diff(order) == 1):
        y, log_y = edges(np.sort(group["weight_decay"][:]))
        values = values[order]
    colour_map = ListedColormap([colours[n] for n in names])
    axes.pcolormesh(x, y, values, cmap=colour_map, norm=BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names)), rasterized=True)
    axes.set_xscale("log" if log_x else "linear")
    axes.set_yscale("log" if log_y else "linear")
    for axis, key in ((axes.xaxis, "learning_rate"), (axes.yaxis, "weight_decay")):
        if len(group[key]) == 1:
            axis.set_ticks(group[key][:], labels=[f"{group[key][0]:g}"])
    axes.set_xlabel("learning rate")
    return [n for i, n in enumerate(names) if np.any(values == i)]


def draw_limits(axes, group):
    """The learning-rate limits of every weight decay as lines, their intervals shaded, clipped to the axes; returns legend handles."""
    alpha = group["weight_decay"][:]
    order = np.argsort(alpha)
    window = axes.get_xlim(), axes.get_ylim()
    handles = []
    for name, label, style in BATCH_LIMITS if "limit_full_batch" in group else LIMITS:
        values = group[name][:]
        if not np.any(np.isfinite(values)):
            continue
        marker = "o" if np.count_nonzero(np.isfinite(values)) == 1 else None
        axes.plot(values[order], alpha[order], marker=marker, **style)
        if name + "_low" in group:
            axes.fill_betweenx(alpha[order], group[name + "_low"][:][order], group[name + "_high"][:][order], color=style["color"], alpha=0.2, lw=0)
        handles.append(Line2D([], [], label=label, marker=marker, **style))
    axes.set_xlim(window[0])
    axes.set_ylim(window[1])
    return handles


def draw_cells(axes, group, where, **style):
    """A mark at each of these cells, however small they are on the page; returns how many."""
    y, x = np.nonzero(where)
    axes.scatter(group["learning_rate"][:][x], group["weight_decay"][:][y], lw=0, rasterized=True, **style)
    return len(y)


def draw_origins(axes, group):
    """Which cells of a refined check were run, drawn at random or interpolated, and draws that were a surprise."""
    dataset = group["interpolated"]
    names, values = meanings(dataset), dataset[:]
    draw_regimes(axes, group, dataset, {**ORIGINS, "drawn": ORIGINS["run"]})
    counts = {name: int(np.sum(values == i)) for i, name in enumerate(names)}
    for name, size in (("drawn", 3), ("surprise", 14)):
        draw_cells(axes, group, values == names.index(name), s=size, color=ORIGINS[name])
    axes.legend(handles=[Patch(color=ORIGINS[n], label=f"{n}: {counts[n]}") for n in ORIGINS if counts[n]], loc="upper right", fontsize=8)
    return f"checks run in {1 - counts['interpolated'] / values.size:.1%} of the cells"


def heading(file):
    """What the deck says it is about, or else its name."""
    about = text(file.attrs.get("about", "")) or text(file.attrs.get("model", ""))
    lines = -(-len(about) // 80) or 1
    return "\n".join(textwrap.wrap(about, min(80, len(about) // lines + 8)))  # lines of like length


def stability_map(file):
    """Predicted regimes beside what the trainer found, with the limits; file is an open h5py.File."""
    from matplotlib import pyplot as plt

    panels = [("predicted", file["map"], file["map/regime"])]
    if "trainer/global" in file:
        panels.append(("trained from the deck's weights", file["trainer/global"], file["trainer/global/regime"]))
    if "trainer/local" in file:
        panels.append(("local check", file["trainer/local"], file["trainer/local/verdict"]))
    refined = [group for _, group, _ in panels[1:] if "interpolated" in group][:1]  # the same for both checks
    count = len(panels) + len(refined)
    figure, all_axes = plt.subplots(1, count, figsize=(1.2 + 4.3 * count, 4.9), sharey=True, squeeze=False)
    seen, handles = [], []
    for axes, (title, group, dataset) in zip(all_axes[0], panels):
        local = dataset.name.endswith("verdict")
        names = draw_regimes(axes, group, dataset, VERDICTS if local else COLOURS)
        lines = draw_limits(axes, file["map"])
        handles = handles or lines
        if local:
            error = np.abs(group["growth"][:] / file["map/growth"][:] - 1)
            if refined:
                error = error[group["interpolated"][:] != meanings(group["interpolated"]).index("interpolated")]
            axes.legend(handles=[Patch(color=VERDICTS[n], label=n) for n in names], loc="upper right", fontsize=8)
            title += f": growth off by {np.nanmedian(error):.1e} (median)"
        else:
            seen += [n for n in names if n not in seen]
        axes.set_title(title, fontsize=10)
    for group in refined:
        all_axes[0][-1].set_title(draw_origins(all_axes[0][-1], group), fontsize=10)
    all_axes[0][0].set_ylabel("weight decay")
    patches = [Patch(color=COLOURS[n], label=n.replace("_", " ")) for n in COLOURS if n in seen]
    rows = 1 if len(patches) + len(handles) <= 3 * count else 2
    columns = -(-(len(patches) + len(handles)) // rows)
    figure.legend(handles=patches + handles, loc="lower center", ncol=columns, fontsize=8, frameon=False)
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0.02 + 0.04 * rows, 1, 0.98))
    return figure


def differences(file, other):
    """Two maps on the same axes, such as a full and a refined one: the cells in which predictions or checks differ, marked and counted."""
    from matplotlib import pyplot as plt

    panels = [(title, path, colours) for title, path, colours in (
        ("predicted", "map/regime", COLOURS), ("trained from the deck's weights", "trainer/global/regime", COLOURS),
        ("local check", "trainer/local/verdict", VERDICTS)) if path in file and path in other]
    for key in ("learning_rate", "weight_decay"):
        if "map" not in file or "map" not in other or not np.array_equal(file["map"][key][:], other["map"][key][:]):
            raise ResultError(f"{file.filename}: its map has not the same axes as that of {other.filename}")
    figure, all_axes = plt.subplots(1, len(panels), figsize=(1.2 + 4.3 * len(panels), 4.9), sharey=True, squeeze=False)
    for axes, (title, path, colours) in zip(all_axes[0], panels):
        group, ours, theirs = file[path].parent, file[path][:], other[path][:]
        pale = {name: 0.4 * np.array(to_rgb(colour)) + 0.6 for name, colour in colours.items()}
        draw_regimes(axes, group, file[path], pale)
        count = draw_cells(axes, group, ours != theirs, s=14, color="black")
        axes.set_title(f"{title}: {count} of {ours.size} differ", fontsize=10)
    all_axes[0][0].set_ylabel("weight decay")
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def draw_curve(axes, group, name):
    """A dataset over the steps where it was computed (NaN elsewhere), with its residual as a band; returns whether it was anywhere."""
    if name not in group:
        return False
    values = np.asarray(group[name][()], float)
    steps = group["step"][:]
    if values.ndim == 0:
        values = np.full(len(steps), values)
    known = np.isfinite(values)
    if not known.any():
        return False
    steps, values, style = steps[known], values[known], CURVES[name]
    marker = "o" if len(steps) <= (1 if name == "limit" else FEW) else None
    axes.plot(steps, values, label=LABELS.get(name, name), marker=marker, ms=3, **style)
    residual_name = {"preconditioned_sharpness": "preconditioned_residual"}.get(name, name + "_residual")
    if residual_name in group:
        residual = group[residual_name][:][known]
        axes.fill_between(steps, values - residual, values + residual, color=style["color"], alpha=0.2, lw=0)
    return True


def trajectory(file):
    """A training run over its steps: loss, accuracy, sharpness beside the limit of stability; panels without numbers left out.

    The limit of Adam is one of the preconditioned sharpness, which has a panel of its own then.
    """
    from matplotlib import pyplot as plt

    group = file["trajectory"]
    sharp = [["preconditioned_sharpness", "limit"], ["sharpness"]] if "preconditioned_sharpness" in group else [["sharpness", "limit"]]
    panels = [names for names in (["loss", "objective"], ["accuracy", "test_accuracy"], *sharp)
              if names[0] in group and np.any(np.isfinite(group[names[0]][:]))]
    if not panels:
        raise ResultError(f"{file.filename}: its /trajectory holds no loss, accuracy or sharpness")
    figure, all_axes = plt.subplots(len(panels), 1, figsize=(7.2, 0.9 + 2.3 * len(panels)), sharex=True, squeeze=False)
    for axes, names in zip(all_axes[:, 0], panels):
        drawn = [name for name in names if draw_curve(axes, group, name)]
        lowest, highest = axes.dataLim.intervaly
        if names[0] != "accuracy" and 0 < 20 * lowest < highest:
            axes.set_yscale("log")
        elif names in sharp and lowest >= 0:
            axes.set_ylim(bottom=0)
        on_test = names[0] == "accuracy" and text(group.attrs.get("evaluated", "")) == "test samples"
        axes.set_ylabel("test accuracy" if on_test else names[0].replace("_", "\n"))
        axes.grid(alpha=0.3, lw=0.5)
        if len(drawn) > 1:
            axes.legend(fontsize=8, frameon=False)
    all_axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    all_axes[-1, 0].set_xlabel("step")
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def draw_accuracies(axes, group):
    """Test accuracies as a table of seeds and perturbations, with the standard deviation of each row and column at its margin."""
    seeds, perturb, accuracy = group["seed"][:], group["perturb"][:], 100 * group["test_accuracy"][:]
    rows, columns = accuracy.shape
    shown = np.ma.masked_invalid(accuracy)
    span = (shown.max() - shown.min() if shown.count() else 0) or 1
    axes.imshow(shown, cmap="Blues", aspect="auto", vmax=shown.min() + 2 * span)  # its lower half: numbers stay readable
    size = 8 if columns <= 8 else 6
    for (i, j), value in np.ndenumerate(accuracy):
        axes.text(j, i, f"{value:.2f}" if np.isfinite(value) else "-", ha="center", va="center", fontsize=size)
    for name, x, y in (("row_std", np.full(rows, columns), np.arange(rows)), ("column_std", np.arange(columns), np.full(columns, rows))):
        for a, b, value in zip(x, y, 100 * group[name][:]):
            axes.text(a, b, f"{value:.2f}" if np.isfinite(value) else "-", ha="center", va="center", fontsize=size, style="italic")
    axes.set_xlim(-0.5, columns + 0.5)
    axes.set_ylim(rows + 0.5, -0.5)
    axes.set_xticks(range(columns + 1), labels=[*(f"{k:.10g}" for k in perturb), "std"])
    axes.set_yticks(range(rows + 1), labels=[*(f"{s:.10g}" for s in seeds), "std"])
    axes.set_xlabel("perturbation k")
    axes.set_ylabel("seed")
    axes.set_title("test accuracy, %", fontsize=10)


def draw_distances(axes, group):
    """Distance from the base run over the epochs: a thin line a run, a thick one the median over the seeds of each perturbation."""
    from matplotlib import pyplot as plt

    epochs, perturb = group["epoch"][:], group["perturb"][:]
    distance = np.where(group["distance"][:] > 0, group["distance"][:], np.nan)  # 0: identical to the base run, or the base run itself
    moving = [k for k in range(len(perturb)) if np.isfinite(distance[:, k]).any()]
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, max(len(moving), 1)))
    marker = "o" if len(epochs) <= FEW else None
    for colour, k in zip(colours, moving):
        axes.plot(epochs, distance[:, k].T, color=colour, lw=0.6, alpha=0.35, marker=marker, ms=2.5)
        known = np.isfinite(distance[:, k]).any(0)
        axes.plot(epochs[known], np.nanmedian(distance[:, k][:, known], axis=0), color=colour, lw=1.8, marker=marker, ms=5,
                  label=f"k = {perturb[k]:.10g}")
    if moving:
        axes.set_yscale("log")
        axes.legend(fontsize=8, frameon=False)
    else:
        known = np.isfinite(group["distance"][:]).any()
        axes.text(0.5, 0.5, "all runs are identical" if known else "not computed", ha="center", va="center", transform=axes.transAxes)
        axes.set_yticks([])
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.grid(alpha=0.3, lw=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epochs")
    axes.set_title("distance from the base run", fontsize=10)


def ensemble(file):
    """Runs that differ by rounding alone: their accuracies as a table beside their distances over the epochs."""
    from matplotlib import pyplot as plt

    group = file["ensemble"]
    rows, columns = group["test_accuracy"].shape
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5 + 0.62 * columns, max(3.6, 1.6 + 0.36 * rows)),
                                         gridspec_kw={"width_ratios": [1 + 0.62 * columns, 4.9]})
    draw_accuracies(left, group)
    draw_distances(right, group)
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


SIDES = {"largest": dict(color="#08519c", marker="o"), "smallest": dict(color="#b2473e", marker="s")}


def draw_sides(axes, group, x, y, **style):
    """A mark for each eigenvalue, by the end of the spectrum it is at; hollow where the solver did not converge."""
    side, status = group["side"][:], group["status"][:]
    for i, name in enumerate(meanings(group["side"])):
        mine, converged = side == i, (side == i) & (status == 0)
        if mine.any():
            axes.plot(x[mine], y[mine], ls="none", ms=4, mfc="none", **SIDES[name], **style)
            axes.plot(x[converged], y[converged], ls="none", ms=4, label=name, **SIDES[name], **style)


def draw_eigenvalues(axes, group):
    """Eigenvalues in the order of the file, residuals as error bars."""
    values, residual, side = (group[name][:] for name in ("eigenvalue", "residual", "side"))
    for i, name in enumerate(meanings(group["side"])):
        mine = np.flatnonzero(side == i)
        axes.errorbar(mine, values[mine], residual[mine], fmt="none", ecolor=SIDES[name]["color"], capsize=2, lw=1)
    draw_sides(axes, group, np.arange(len(values)), values)
    if "above" in group.attrs:
        axes.axhline(group.attrs["above"], color="black", lw=1, ls="--")
    axes.axhline(0, color="black", lw=0.5)
    axes.set_ylabel("eigenvalue")
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.grid(alpha=0.3, lw=0.5)
    if len(np.unique(side)) > 1:
        axes.legend(fontsize=8, frameon=False)


def draw_density(axes, group):
    """Density of all eigenvalues with its interval, and those that were computed as marks on the axis."""
    density, values = group["density"], group["eigenvalue"][:]
    place, middle, low, high = (density[name][:] for name in ("value", "density", "density_low", "density_high"))
    alone = 1 / (density["above"][0] * density.attrs["kernel_width"] * np.sqrt(2 * np.pi))  # peak of one eigenvalue
    if middle.max() > 20 * alone:  # outliers would not be seen
        axes.set_yscale("log")
        axes.set_ylim(alone / 10, 2 * high.max())
        low = np.maximum(low, alone / 100)
    axes.plot(place, middle, color="black", lw=1.2, label="all, estimated")
    axes.fill_between(place, low, high, color="black", alpha=0.2, lw=0, label="95 % interval")
    draw_sides(axes, group, values, np.zeros(len(values)), transform=axes.get_xaxis_transform(), clip_on=False, zorder=3)
    if "above" in group.attrs:
        axes.axvline(group.attrs["above"], color="black", lw=1, ls="--")
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(fontsize=8, frameon=False)
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("density, integral 1")
    axes.set_title(f"density by number, kernel of width {number(density.attrs['kernel_width'])}", fontsize=10)


def spectrum(file):
    """Eigenvalues with their residuals above the layers that each one's vector lives in; beside them the density of all, if it is there."""
    from matplotlib import pyplot as plt

    group = file["spectrum"]
    if not len(group["eigenvalue"]):
        raise ResultError(f"{file.filename}: its /spectrum holds no eigenvalue")
    weights, names = group["eigenvector_layer_weight"][:], [text(name) for name in group["layer_name"][:]]
    widths = [max(5.5, 1.8 + 0.24 * len(weights)), *([5.5] if "density" in group else [])]
    figure = plt.figure(figsize=(sum(widths), 4.2 + 0.2 * len(names)), layout="constrained")
    grid = figure.add_gridspec(2, len(widths), width_ratios=widths, height_ratios=[3, 0.6 + 0.2 * len(names)])
    top = figure.add_subplot(grid[0, 0])
    bottom = figure.add_subplot(grid[1, 0], sharex=top)
    top.tick_params(labelbottom=False)
    draw_eigenvalues(top, group)
    if "density" in group:
        draw_density(figure.add_subplot(grid[:, 1]), group)
    image = bottom.imshow(np.ma.masked_invalid(weights.T), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    bottom.set_yticks(range(len(names)), labels=names)
    bottom.set_ylabel("layer")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    bottom.set_xlabel("eigenvalue, outermost of each end first")
    figure.colorbar(image, ax=bottom, label="part of the vector")
    top.set_title(text(group.attrs["operator"]).replace("_", " "), fontsize=10)
    figure.suptitle(heading(file), fontsize=11)
    return figure


def number(value):
    """A number for a title: five digits, powers of ten where they are shorter."""
    return f"{value:.5g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def frequency_axis(axis, values, label):
    """An axis over radians, with ticks at multiples of pi."""
    low, high = np.min(values), np.max(values)
    ticks = [k * np.pi / 2 for k in range(-2, 3) if low - 0.2 <= k * np.pi / 2 <= high + 0.2]
    names = {-2: r"$-\pi$", -1: r"$-\pi/2$", 0: "0", 1: r"$\pi/2$", 2: r"$\pi$"}
    axis.set_ticks(ticks, labels=[names[round(2 * t / np.pi)] for t in ticks])
    axis.set_label_text(label)


def draw_frequencies(axes, group, values, norm=None, cmap="viridis"):
    """Values over both frequencies as colour, with a bar; a half plane w_x >= 0 is completed, f(-w) = f(w). Returns the bar."""
    x, y = group["frequency_x"][:], group["frequency_y"][:]
    if x[0] == 0 and len(x) > 1:
        opposite = np.abs(np.exp(1j * (y[:, None] + y)) - 1).argmin(1)  # the row of -y
        x, values = np.concatenate([-x[:0:-1], x]), np.hstack([values[opposite][:, :0:-1], values])
    image = axes.pcolormesh(x, y, values, cmap=cmap, norm=norm, shading="nearest", rasterized=True)
    window = axes.get_xlim(), axes.get_ylim()
    frequency_axis(axes.xaxis, x, "$w_x$, radian")
    frequency_axis(axes.yaxis, y, "$w_y$, radian")
    axes.set(xlim=window[0], ylim=window[1], aspect="equal")
    return axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04)


def draw_power(axes, group, values, title, top=0):
    """Values that are positive or 0, over six decades; top: a larger value that the colours have to hold. Returns the colour bar."""
    top = np.max(values, initial=top, where=np.isfinite(values))
    floor = np.max([np.min(values, initial=top, where=values > 0), 1e-6 * top])
    axes.set_title(title, fontsize=10)
    return draw_frequencies(axes, group, np.maximum(values, floor), LogNorm(floor, top) if floor < top else None)


def draw_growth(axes, group, values, title):
    """Amplification per step over two frequencies: white is 1, blue decays, red grows."""
    high = np.nanmax(values)
    grows = np.isfinite(high) and high > 1 + 1e-9
    low = 0 if grows else min(np.nanmin(values), 0.999)
    bar = draw_frequencies(axes, group, values, TwoSlopeNorm(1, low, high) if grows else Normalize(low, 1), "RdBu_r" if grows else "Blues_r")
    if grows:
        ticks = [*np.linspace(low, 1, 4), *np.linspace(1, high, 4)[1:]]
        bar.set_ticks(ticks, labels=[f"{t:.3g}" for t in ticks])
    axes.set_title(title, fontsize=10)


def span(values, low, high):
    """The range of values with a margin, inside of low..high."""
    return max(low, values.min() - 0.5), min(high, values.max() + 0.5)


def draw_region(axes, file, points):
    """The region of absolute stability and points z over it: (label, what, z, style) each; how many of what are outside is told.

    z [n], or [2,n] with other places of the same n, which are drawn and not counted.
    """
    group = file["stability_function"]
    x, y, magnitude = group["real"][:], group["imaginary"][:], group["magnitude"][:]
    axes.contourf(x, y, magnitude, [-1, 1], colors=[COLOURS["stable"]], alpha=0.6)
    axes.contour(x, y, magnitude, [1], colors="black", linewidths=0.8)
    axes.axhline(0, color="black", lw=0.4)
    axes.axvline(0, color="black", lw=0.4)
    stable_y, stable_x = np.nonzero(magnitude <= 1)
    seen = [np.concatenate([[0], x[stable_x] + 1j * y[stable_y]])]
    outside, total = {}, {}
    for label, what, z, style in points:
        z = np.atleast_2d(z)
        inside = (z.real >= x[0]) & (z.real <= x[-1]) & (z.imag >= y[0]) & (z.imag <= y[-1])
        outside[what] = outside.get(what, 0) + np.count_nonzero(~inside[0])
        total[what] = total.get(what, 0) + len(z[0])
        seen.append(z[inside])
        if inside.any():
            axes.plot(z[inside].real, z[inside].imag, ls="", label=label, **style)
    seen = np.concatenate(seen)
    left, right = span(seen.real, x[0], x[-1])
    low, high = span(seen.imag, y[0], y[-1])
    wide, tall = max(0, 0.7 * (high - low) - right + left) / 2, max(0, 0.7 * (right - left) - high + low) / 2  # no narrow strips
    labels = axes.get_legend_handles_labels()[1]
    room = 0.08 * len(labels) * (high - low + 2 * tall)  # above, for the legend
    axes.set(xlim=(left - wide, right + wide), ylim=(low - tall, high + tall + room), aspect="equal")
    if labels:
        axes.legend(fontsize=8, loc="upper left", frameon=False)
    told = ",\n".join(f"{n} of {total[what]} {what}" for what, n in outside.items() if n)
    if told:
        axes.text(0.98, 0.02, told + "\noutside this window", ha="right", fontsize=8, transform=axes.transAxes)
    axes.set_xlabel("Re z")
    axes.set_ylabel("Im z")
    axes.set_title(f"$|R(z)| \\leq 1$ of {text(group.attrs['stepper'])}", fontsize=10)


def split_by_powers(group):
    """Which frequencies do what when a step is repeated: (name, mask) of those that occur."""
    kinds = group["powers"][:]
    return [(name, kinds == i) for i, name in enumerate(meanings(group["powers"])) if np.any(kinds == i)]


def draw_amplification(axes, group):
    """|G| of a linear PDE over frequency, coloured by what its powers do; dashed, the largest power where that is above |G|."""
    values, bound = group["amplification"][:], group["power_bound"][:]
    if len(values) > 1:
        return draw_growth(axes, group, values, "|G|")
    x = group["frequency_x"][:]
    axes.plot(x, values[0], color="#9ecae1", lw=1)
    for name, mask in split_by_powers(group):
        axes.plot(x[mask[0]], values[mask], ls="", marker="o", ms=3, color=POWERS[name], label=name.replace("_", " "))
    bounded = (group["powers"][:] == 0) & np.isfinite(bound)
    if np.any(bound[bounded] > 1.01 * np.maximum(values[bounded], 1)):
        axes.plot(x, np.where(bounded, bound, np.nan)[0], color="#6baed6", lw=1, ls="--", label="largest $|G^n|$")
    axes.axhline(1, color="black", lw=0.8, ls=":")
    axes.set_ylim(0, 1.08 * max(1, axes.dataLim.y1))
    frequency_axis(axes.xaxis, x, "w, radian per grid point")
    axes.set_ylabel("|G| per step")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("amplification factor", fontsize=10)


def draw_transient(axes, group):
    """Norms of the powers of the step's matrix beside those of its spectral radius."""
    n, norms, radius = group["power"][:], group["transient_growth"][:], group["propagator_radius"][()]
    with np.errstate(over="ignore", under="ignore"):
        powers = radius ** n
    for values, style in ((norms, dict(color="#08519c", marker="o", ms=3, label="$|G^n|$")),
                          (powers, dict(color="black", lw=1, ls="--", label="$\\rho(G)^n$"))):
        seen = np.isfinite(values) & (values > 1e-20) & (values < 1e20)
        axes.plot(n[seen], values[seen], **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("n, steps")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"powers of the step's matrix, radius {number(radius)}", fontsize=10)


def limit_of_step(limit):
    """The longest stable step, in words."""
    return {0: "0, every step is too long", np.inf: "none, no step is too long"}.get(limit, number(limit))


def pde_symbol(file):
    """Linear PDE: amplification over frequency, and dt lambda over the stepper's region; between walls, the matrix too."""
    from matplotlib import pyplot as plt

    group, step = file["symbol"], file["symbol"].attrs["step"]
    z = step * (group["symbol_real"][:] + 1j * group["symbol_imaginary"][:])
    z = np.array([z, z.conj()])  # the coefficients are real: -w has the conjugate; of a pair the file holds one
    points = [("symbol, " + name.replace("_", " "), "frequencies", z[:, mask], dict(marker="o", ms=3.5, color=POWERS[name]))
              for name, mask in split_by_powers(group)]
    if "matrix" in file:
        matrix = file["matrix"]
        points.append(("matrix", "eigenvalues", step * (matrix["eigenvalue_real"][:] + 1j * matrix["eigenvalue_imaginary"][:]),
                       dict(marker="x", ms=5, mew=0.7, color="black")))
    powers = "matrix" in file and np.any(np.isfinite(file["matrix/transient_growth"][:]))  # left out for large grids
    panels = 2 + powers
    figure, axes = plt.subplots(1, panels, figsize=(0.6 + 4.4 * panels, 4.6))
    draw_amplification(axes[0], group)
    draw_region(axes[1], file, points)
    if powers:
        draw_transient(axes[2], file["matrix"])
    limits = [f"limit by the {name}: {limit_of_step(file[name]['limit'][()])}" for name in ("symbol", "matrix")
              if name in file and not np.isnan(file[name]["limit"][()])]
    figure.suptitle(f"{heading(file)}\n{'; '.join(['step ' + number(step), *limits])}", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def draw_windows(axes, group):
    """Under each curve the learning rates and weight decays that are stable by the symbol or by the operator; a point is the deck."""
    rate, decay, reach = (group.attrs[name] for name in ("learning_rate", "weight_decay", "reach"))
    least = {name: group["alpha_min_" + name][()] for name, _, _ in OPERATORS}
    known = np.array([v for v in [decay, *least.values(), reach / rate] if np.isfinite(v) and v > 0])
    alpha = np.geomspace(known.min() / 10, known.max() * 10, 400)
    if np.isinf(reach):
        axes.text(0.5, 0.4, "no learning rate is too long", ha="center", transform=axes.transAxes)
        axes.set_xlim(rate / 30, rate * 30)
    for name, label, style in OPERATORS:
        limit = np.minimum(reach / np.maximum(alpha + group["lambda_max_" + name][()], 1e-300), 1e3 * rate if np.isinf(reach) else np.inf)
        stable = (alpha >= least[name]) & np.isfinite(limit)
        axes.plot(limit[stable], alpha[stable], label=label, **style)
        if stable.any() and least[name] > alpha[0]:
            axes.plot([0, limit[stable][0]], [alpha[stable][0]] * 2, **style)
        if name == "operator":
            axes.fill_betweenx(alpha, 0, limit, where=stable, color=COLOURS["stable"], alpha=0.5, lw=0)
    axes.plot(rate, decay, ls="", marker="*", ms=9, color=COLOURS["divergent"], label="the deck")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(alpha[0], alpha[-1])
    axes.set_xlabel("learning rate")
    axes.set_ylabel("weight decay")
    axes.legend(fontsize=8, framealpha=0.9)
    axes.set_title(f"stable on the left of each line; slack {number(group['slack'][()])}", fontsize=10)


def first_end(group):
    """The end of the spectrum that the symbol reaches farthest: 0 overshoots first, 1 grows by itself."""
    return np.nanargmax(np.abs(group["extreme"][:]))


def first_frequency(group):
    """The frequency (x, y) that goes unstable first, and whether it is a point of the grid; NaN where none does."""
    w = np.array([group["first_unstable_frequency_" + axis][first_end(group)] for axis in "xy"])
    apart = [np.abs(np.exp(1j * group["frequency_" + axis][:]) - np.exp(1j * v)).min() for axis, v in zip("xy", w)]
    return w, max(apart) < 1e-9


def mark_first(axes, group, colour="none"):
    """A ring around the frequency that goes unstable first, and around its opposite, filled with the colour of the value there."""
    w, _ = first_frequency(group)
    axes.plot(*np.array([w, -w]).T, ls="", marker="o", ms=11, mfc=colour, mec="#e7298a", mew=1.6, clip_on=False)


def draw_symbol(axes, group):
    """The symbol's size on the grid, and its extreme over continuous frequencies, which may lie between the points, in the ring."""
    symbol, extreme = group["symbol"][:], abs(group["extreme"][first_end(group)])
    title = "symbol, negated" if np.all(symbol <= 0) else "symbol" if np.all(symbol >= 0) else "|symbol|"
    w, on_grid = first_frequency(group)
    if np.isnan(w).any():
        draw_power(axes, group, np.abs(symbol), title)
        return
    place = "in the ring" if on_grid else "in the ring, off the grid"
    bar = draw_power(axes, group, np.abs(symbol), f"{title}\n{number(extreme)} {place}", extreme)
    mark_first(axes, group, bar.cmap(bar.norm(extreme)))


def draw_kernel(axes, group):
    """The kernel that goes unstable first."""
    end = first_end(group)
    kernel = group["first_unstable_kernel"][end]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("kernel that goes unstable first", fontsize=10)
    if not np.all(np.isfinite(kernel)):
        axes.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axes.transAxes)
        return
    top = np.abs(kernel).max()
    axes.figure.colorbar(axes.imshow(kernel, cmap="RdBu_r", vmin=-top, vmax=top), ax=axes, fraction=0.046, pad=0.04)
    axes.set_xlabel(("overshoots", "grows by itself")[end])


def one_layer_symbol(file):
    """One layer: symbol and amplification over frequency, the kernel that goes first, and where the bounds and the operator are stable."""
    from matplotlib import pyplot as plt

    group = file["symbol"]
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(9.6, 8.6))
    draw_symbol(a, group)
    w, on_grid = first_frequency(group)
    missed = "" if on_grid or np.isnan(w).any() else "\nthe ring is off the grid"
    draw_growth(b, group, group["amplification"][:], f"amplification at rate {number(group.attrs['learning_rate'])}, "
                                                     f"decay {number(group.attrs['weight_decay'])}{missed}")
    mark_first(b, group)
    draw_kernel(c, group)
    draw_windows(d, group)
    figure.suptitle(f"{heading(file)}\nsymbol of the {text(group.attrs['normalisation']).split(':')[0]}", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def symbol(file):
    """What `courant symbol` found for a linear PDE or for a one-layer network."""
    return (pde_symbol if "powers" in file["symbol"] else one_layer_symbol)(file)


def draw_layers(axes, group):
    """Bound and exact largest eigenvalue of each layer's block as bars; the line is the largest eigenvalue of all layers together."""
    names = [text(n) for n in group["name"][:]]
    place = np.arange(len(names))
    for shift, key, colour in ((-0.2, "bound", "#a6cee3"), (0.2, "exact", "#08519c")):
        axes.bar(place + shift, group[key][:], 0.4, color=colour, label=key)
    whole = group.attrs.get("lambda_max", np.nan)
    if np.isfinite(whole):
        axes.axhline(whole, color="#b2473e", lw=1, ls="--", label="all layers together")
    states = [meanings(group["status"])[i].replace("_", " ") for i in group["status"][:]]
    labels = [n if s == "holds" else f"{n}: {s}" for n, s in zip(names, states)]
    every = max(1, len(names) // 24)
    crowded = len(max(labels, key=len)) > 2 or len(names) > 12
    axes.set_xticks(place[::every], labels=labels[::every], rotation=60 if crowded else 0, fontsize=7 if crowded else None)
    axes.set_yscale("log")
    axes.set_xlabel("layer")
    axes.set_ylabel("largest eigenvalue")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("each layer's block of the Hessian;\n"
                   f"layer {text(group.attrs['bottleneck'])} has the highest bound, and the lowest limit by it", fontsize=10)


def layer_points(group):
    """z = -learning rate (lambda + weight decay) for the layers' bounds and exact values and for the whole."""
    rate, decay = group.attrs["learning_rate"], group.attrs["weight_decay"]
    rows = [("bound", "bounds", group["bound"][:], dict(marker="o", ms=5, color="#6baed6")), ("exact", "exact eigenvalues", group["exact"][:], dict(marker="x", ms=5, color="#08519c")),
            ("all layers together", "eigenvalue of all layers", np.array([group.attrs.get("lambda_max", np.nan)]), dict(marker="D", ms=4, color="#b2473e"))]
    return [(label, what, -rate * (values[np.isfinite(values)] + decay) + 0j, style) for label, what, values, style in rows]


def layers(file):
    """A deep network layer by layer: bounds beside exact values, their points in the region, and spectral densities of what layers read."""
    from matplotlib import pyplot as plt

    group = file["layers"]
    names = [text(n) for n in group["name"][:]]
    pictured = [n for n in np.array(names)[np.argsort(-group["cfl"][:])] if n in group and group[n]["spectral_density"].size > 1][:MAPS]
    pictured.sort(key=names.index)
    columns = 2 if len(pictured) in (2, 4) else 3
    rows = 1 + -(-len(pictured) // columns)
    figure = plt.figure(figsize=(10.5, 0.9 + 3.7 * rows))
    grid = figure.add_gridspec(rows, 6)
    draw_layers(figure.add_subplot(grid[0, :3]), group)
    draw_region(figure.add_subplot(grid[0, 3:]), file, layer_points(group))
    for i, name in enumerate(pictured):
        width = 6 // columns
        first = width * (i % columns)
        axes = figure.add_subplot(grid[1 + i // columns, first:first + width])
        density = group[name]["spectral_density"][:]
        draw_power(axes, group[name], density, f"spectral density before layer {name}")
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def draw_state(axes, group, name):
    """The state before or after: a curve for each field in one dimension, colour of the first field in two."""
    state, x, y = group[name][:], group["x"][:], group["y"][:]
    if len(y) > 1:
        top = np.nanmax(np.abs(state[0]))
        image = axes.pcolormesh(x, y, state[0], cmap="RdBu_r", vmin=-top, vmax=top, shading="nearest", rasterized=True)
        axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04)
        axes.set_aspect("equal")
        axes.set_ylabel("y")
    else:
        for field, values in enumerate(state[:, 0]):
            axes.plot(x, values, lw=1.2, marker="." if len(x) <= 128 else None, ms=4, label=f"field {field}")
        axes.axhline(0, color="black", lw=0.4)
        if len(state) > 1:
            axes.legend(fontsize=8, frameon=False)
    axes.set_xlabel("x")
    axes.set_title("initial state" if name == "initial" else f"after {group.attrs['steps_taken']} steps", fontsize=10)


def draw_norm(axes, group):
    """Norm and largest value of the state over the steps."""
    steps, seen = group["step"][:], []
    for name, label, colour in (("norm", "2-norm", "#08519c"), ("maximum", "largest value", "#6baed6")):
        values = group[name][:]
        known = np.isfinite(values) & (values > 0)
        axes.plot(steps[known], values[known], color=colour, lw=1.4, label=label)
        seen.extend(values[known])
    axes.set_yscale("log" if max(seen, default=0) > 10 * min(seen, default=0) else "linear")
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(fontsize=8, frameon=False)
    axes.set_xlabel("step")
    axes.set_title("size of the state", fontsize=10)


def draw_measured(axes, group):
    """Measured growth over predicted, for each frequency of one dimension."""
    x = group["frequency_x"][:]
    axes.plot(x, group["predicted_growth"][0], color="black", lw=1, label="predicted")
    axes.plot(x, group["measured_growth"][0], ls="", marker="o", ms=4, mfc="none", color="#b2473e", label="measured")
    axes.axhline(1, color="black", lw=0.8, ls=":")
    frequency_axis(axes.xaxis, x, "w, radian per grid point")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"growth per step, apart by {group.attrs['largest_difference']:.0e} at most", fontsize=10)


def draw_measured_2d(axes, group):
    """Over two frequencies: measured growth, predicted growth, and the one over the other."""
    measured, predicted = group["measured_growth"][:], group["predicted_growth"][:]
    draw_growth(axes[0], group, predicted, "growth per step, predicted")
    draw_growth(axes[1], group, measured, "growth per step, measured")
    ends = [np.nanmin(predicted), np.nanmax(predicted)]
    axes[2].plot(ends, ends, color="black", lw=1)
    axes[2].plot(predicted.ravel(), measured.ravel(), ls="", marker="o", ms=3, mfc="none", mew=0.6, color="#b2473e", rasterized=True)
    axes[2].set_xlabel("predicted")
    axes[2].set_ylabel("measured")
    axes[2].set_title(f"apart by {group.attrs['largest_difference']:.0e} at most", fontsize=10)


def flow(file):
    """A linear PDE that was stepped: growth of each frequency, measured and predicted, the state before and after, its size."""
    from matplotlib import pyplot as plt

    group = file["flow"]
    flat, measured = len(group["y"]) == 1, "measured_growth" in group
    rows, columns = (1, 3) if not measured else (2, 2) if flat else (2, 3)
    figure, all_axes = plt.subplots(rows, columns, figsize=(3.9 * columns + 0.9 * (columns == 2), 3.6 * rows + 0.5))
    all_axes = all_axes.ravel()
    draw_state(all_axes[0], group, "initial")
    draw_state(all_axes[1], group, "final")
    draw_norm(all_axes[2], group)
    if measured:
        draw_measured(all_axes[3], group) if flat else draw_measured_2d(all_axes[3:], group)
    figure.suptitle(f"{heading(file)}\nstep {number(group.attrs['step_length'])} by {text(group.attrs['stepper'])}", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


DRAWERS = {
    "map": stability_map, "ensemble": ensemble, "trajectory": trajectory, "spectrum": spectrum, "symbol": symbol, "layers": layers,
    "flow": flow,
}


def reason(error):
    """What an exception says, in a line."""
    if getattr(error, "errno", None):
        return os.strerror(error.errno)
    said = str(error.args[0]) if error.args else type(error).__name__
    return f"not a whole result file ({' '.join(said.split())})"


def opened(path):
    """A result file, open for reading, if it is one and whole."""
    try:
        file = h5py.File(path, "r")
        conventions, complete = text(file.attrs.get("Conventions", "")), file.attrs.get("complete", 0)
    except Exception as error:  # of a damaged file, of any kind
        raise ResultError(f"{path}: {reason(error)}") from error
    if conventions == "courant-1" and complete == 1:
        return file
    file.close()
    raise ResultError(f"{path}: " + ("its run was interrupted; -resume goes on" if conventions == "courant-1" else "not a result file of courant"))


def draw(path, other=None):
    """The figure that fits whatever the file holds; with another map, where the two differ. Raises ResultError."""
    paths = [path, other] if other else [path]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(opened(name)) for name in paths]
        try:
            drawer = differences if other else next((d for group, d in DRAWERS.items() if group in files[0]), None)
            if not drawer:
                raise ResultError(f"{path}: it holds nothing that can be drawn")
            return drawer(*files)
        except ResultError:
            raise
        except Exception as error:  # of a damaged file, of any kind
            raise ResultError(f"{' or '.join(paths)}: {reason(error)}") from error
