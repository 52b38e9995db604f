"""Figures of courant's result files, for scripts and notebooks (h5py and matplotlib)."""
import h5py
import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# one colour per regime, the same for what is predicted and what is measured
COLOURS = {
    "stable": "#a6cee3", "restrained": "#fdbf6f", "divergent": "#b2473e", "unstable_flow": "#8a6bbe",
    "undecided": "#d9d9d9", "past_limit": "#e8a6c1",
}
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
    figure.suptitle(text(file.attrs["about"]) or text(file.attrs["model"]), fontsize=11)
    figure.tight_layout(rect=(0, 0.06, 1, 0.98))
    return figure


def draw(path):
    """The figure that fits whatever the file holds."""
    with h5py.File(path, "r") as file:
        if "map" in file:
            return stability_map(file)
    raise ValueError(f"{path}: holds nothing that can be drawn")
