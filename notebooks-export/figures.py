"""Figures of courant's result files, for scripts and notebooks (h5py and matplotlib)."""
import textwrap
import h5py
import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

# one colour per regime, the same for what is predicted and what is measured
COLOURS = {
    "stable": "#a6cee3", "restrained": "#fdbf6f", "divergent": "#b2473e", "unstable_flow": "#8a6bbe",
    "undecided": "#d9d9d9", "past_limit": "#e8a6c1",
}
# one style per curve of a training run
CURVES = {
    "loss": dict(color="#08519c", lw=1.4), "objective": dict(color="#6baed6", lw=1.2, ls="--"),
    "accuracy": dict(color="#08519c", lw=1.4), "test_accuracy": dict(color="#6baed6", lw=1.4),
    "sharpness": dict(color="#b2473e", lw=1.2), "limit": dict(color="black", lw=1.4, ls="--"),
}
LABELS = {"objective": "loss and decay", "test_accuracy": "on test data", "accuracy": "on training data", "limit": "limit of stability"}
LIMITS = [
    ("limit", "linear limit", dict(color="black", lw=1.8)),
    ("limit_von_neumann", "von Neumann bound", dict(color="#1b7837", lw=1.4, ls="--")),
    ("limit_far_field", "far field, 2/weight decay", dict(color="#2b2b8f", lw=1.4, ls=":")),
]


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
    """The learning-rate limits of every weight decay as lines, clipped to the axes; returns legend handles."""
    alpha = group["weight_decay"][:]
    order = np.argsort(alpha)
    window = axes.get_xlim(), axes.get_ylim()
    handles = []
    for name, label, style in LIMITS:
        values = group[name][:]
        if not np.any(np.isfinite(values)):
            continue
        marker = "o" if len(alpha) == 1 else None
        axes.plot(values[order], alpha[order], marker=marker, **style)
        handles.append(Line2D([], [], label=label, marker=marker, **style))
    axes.set_xlim(window[0])
    axes.set_ylim(window[1])
    return handles


def heading(file):
    """What the deck says it is about, or else its name."""
    return "\n".join(textwrap.wrap(text(file.attrs.get("about", "")) or text(file.attrs.get("model", "")), 80))


def stability_map(file):
    """Predicted regimes beside what the trainer found, with the limits; file is an open h5py.File."""
    from matplotlib import pyplot as plt

    panels = [("predicted", file["map"], file["map/regime"])]
    if "trainer/global" in file:
        panels.append(("trained from the deck's weights", file["trainer/global"], file["trainer/global/regime"]))
    if "trainer/local" in file:
        panels.append(("local check", file["trainer/local"], file["trainer/local/verdict"]))
    figure, all_axes = plt.subplots(1, len(panels), figsize=(1.2 + 4.3 * len(panels), 4.9), sharey=True, squeeze=False)
    seen, handles = [], []
    verdicts = {"agree": "#cfe8cf", "disagree": "#d7301f", "undecided": "#d9d9d9"}
    for axes, (title, group, dataset) in zip(all_axes[0], panels):
        local = dataset.name.endswith("verdict")
        names = draw_regimes(axes, group, dataset, verdicts if local else COLOURS)
        lines = draw_limits(axes, file["map"])
        handles = handles or lines
        if local:
            error = np.abs(group["growth"][:] / file["map/growth"][:] - 1)
            axes.legend(handles=[Patch(color=verdicts[n], label=n) for n in names], loc="upper right", fontsize=8)
            title += f": growth off by {np.nanmedian(error):.1e} (median)"
        else:
            seen += [n for n in names if n not in seen]
        axes.set_title(title, fontsize=10)
    all_axes[0][0].set_ylabel("weight decay")
    patches = [Patch(color=COLOURS[n], label=n.replace("_", " ")) for n in COLOURS if n in seen]
    figure.legend(handles=patches + handles, loc="lower center", ncol=len(patches) + len(handles), fontsize=8, frameon=False)
    figure.suptitle(heading(file), fontsize=11)
    figure.tight_layout(rect=(0, 0.06, 1, 0.98))
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
    marker = "o" if len(steps) <= 60 and name != "limit" else None
    axes.plot(steps, values, label=LABELS.get(name, name), marker=marker, ms=3, **style)
    if name + "_residual" in group:
        residual = group[name + "_residual"][:][known]
        axes.fill_between(steps, values - residual, values + residual, color=style["color"], alpha=0.2, lw=0)
    return True


def trajectory(file):
    """A training run over its steps: loss, accuracy, sharpness beside the limit of stability; panels without numbers left out."""
    from matplotlib import pyplot as plt

    group = file["trajectory"]
    panels = [names for names in (["loss", "objective"], ["accuracy", "test_accuracy"], ["sharpness", "limit"])
              if names[0] in group and np.any(np.isfinite(group[names[0]][:]))]
    if not panels:
        raise ValueError("its /trajectory holds no loss, accuracy or sharpness")
    figure, all_axes = plt.subplots(len(panels), 1, figsize=(7.2, 0.9 + 2.3 * len(panels)), sharex=True, squeeze=False)
    for axes, names in zip(all_axes[:, 0], panels):
        drawn = [name for name in names if draw_curve(axes, group, name)]
        lowest, highest = axes.dataLim.intervaly
        if names[0] != "accuracy" and 0 < 20 * lowest < highest:
            axes.set_yscale("log")
        elif names[0] == "sharpness" and lowest >= 0:
            axes.set_ylim(bottom=0)
        on_test = names[0] == "accuracy" and text(group.attrs.get("evaluated", "")) == "test samples"
        axes.set_ylabel("test accuracy" if on_test else names[0])
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
    for colour, k in zip(colours, moving):
        axes.plot(epochs, distance[:, k].T, color=colour, lw=0.6, alpha=0.35)
        known = np.isfinite(distance[:, k]).any(0)
        axes.plot(epochs[known], np.nanmedian(distance[:, k][:, known], axis=0), color=colour, lw=1.8, label=f"k = {perturb[k]:.10g}")
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


def draw_eigenvalues(axes, group):
    """Eigenvalues in the order of the file, residuals as error bars, hollow where the solver did not converge."""
    values, residual, side, status = (group[name][:] for name in ("eigenvalue", "residual", "side", "status"))
    for i, name in enumerate(meanings(group["side"])):
        mine = np.flatnonzero(side == i)
        if len(mine):
            axes.errorbar(mine, values[mine], residual[mine], fmt="none", ecolor=SIDES[name]["color"], capsize=2, lw=1)
            axes.plot(mine, values[mine], ls="none", ms=4, mfc="none", **SIDES[name])
            converged = mine[status[mine] == 0]
            axes.plot(converged, values[converged], ls="none", ms=4, label=name, **SIDES[name])
    if "above" in group.attrs:
        axes.axhline(group.attrs["above"], color="black", lw=1, ls="--")
    axes.axhline(0, color="black", lw=0.5)
    axes.set_ylabel("eigenvalue")
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.grid(alpha=0.3, lw=0.5)
    if len(np.unique(side)) > 1:
        axes.legend(fontsize=8, frameon=False)


def spectrum(file):
    """Eigenvalues with their residuals above the layers that each one's vector lives in."""
    from matplotlib import pyplot as plt

    group = file["spectrum"]
    if not len(group["eigenvalue"]):
        raise ValueError("its /spectrum holds no eigenvalue")
    weights, names = group["eigenvector_layer_weight"][:], [text(name) for name in group["layer_name"][:]]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(max(5.5, 1.8 + 0.24 * len(weights)), 4.2 + 0.2 * len(names)), sharex=True,
                                         gridspec_kw={"height_ratios": [3, 0.6 + 0.2 * len(names)]}, layout="constrained")
    draw_eigenvalues(top, group)
    image = bottom.imshow(np.ma.masked_invalid(weights.T), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    bottom.set_yticks(range(len(names)), labels=names)
    bottom.set_ylabel("layer")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    bottom.set_xlabel("eigenvalue, outermost of each end first")
    figure.colorbar(image, ax=bottom, label="part of the vector")
    top.set_title(text(group.attrs["operator"]).replace("_", " "), fontsize=10)
    figure.suptitle(heading(file), fontsize=11)
    return figure


DRAWERS = {"map": stability_map, "ensemble": ensemble, "trajectory": trajectory, "spectrum": spectrum}


def draw(path):
    """The figure that fits whatever the file holds."""
    with h5py.File(path, "r") as file:
        for group, drawer in DRAWERS.items():
            if group in file:
                return drawer(file)
    raise ValueError("it holds nothing that can be drawn")
