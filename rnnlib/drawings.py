"""The drawings of the chapters that stand still: ideas that are spatial, before their formulas."""

import math

import matplotlib
import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path

from rnnlib import beyond, lettering, plots


def draw_unrolled(word="time"):
    """Return a diagram of a recurrent network: folded, and unrolled over the characters of a word."""
    fig, axes = plots.new_figure(height=3.4)
    _column(axes, 0, "X", "H", "O")
    _curve(axes, [(0.34, 1.15), (1.05, 1.5), (1.05, 0.5), (0.34, 0.85)])
    axes.text(0.92, 1, "$W_{hh}$", fontsize=10, va="center")
    for y, shape in enumerate(["$(N, V)$", "$(N, H)$", "$(N, V)$"]):
        axes.text(-0.42, y, shape, color=plots.GREY, fontsize=9, ha="right", va="center")
    axes.text(1.7, 1, "=", fontsize=20, ha="center", va="center")
    left = 2.4
    _box(axes, left, 1, "$H_0$", facecolor="white")
    axes.text(left, 0.55, "zeros", ha="center", color=plots.GREY, fontsize=9)
    for t, character in enumerate(word, start=1):
        x = left + 1.5 * t
        _column(axes, x, f"X_{t}", f"H_{t}", f"O_{t}")
        draw_arrow(axes, (x - 1.5 + 0.36, 1), (x - 0.36, 1))
        axes.text(x - 0.75, 1.12, "$W_{hh}$", ha="center", fontsize=10)
        names = {"ha": "center", "fontsize": 11, "family": lettering.font_families()}
        axes.text(x, -0.62, f"“{lettering.token_label(character)}”", **names)
        following = word[t] if t < len(word) else "?"
        axes.text(x, 2.42, f"“{lettering.token_label(following)}”", **names)
    axes.text(0, -0.62, "reads", ha="center", color=plots.GREY, fontsize=10)
    axes.text(0, 2.42, "predicts", ha="center", color=plots.GREY, fontsize=10)
    axes.set_xlim(-1.05, left + 1.5 * len(word) + 0.7)
    axes.set_ylim(-0.8, 2.7)
    axes.axis("off")
    return fig


def draw_task_shapes():
    """Return a diagram of four ways to connect inputs, states and outputs over time."""
    fig, panels = plots.new_figure(height=2.7, columns=4, width_ratios=[3, 3, 3, 6])
    state, decoder = (matplotlib.colors.to_rgba(colour, 0.35) for colour in (plots.SKY, plots.YELLOW))
    output = matplotlib.colors.to_rgba(plots.GREEN, 0.25)
    forms = {  # name: under each step what it reads, steps that write an output
        "one to many": (["$X$", "$O$", "$O$"], {0, 1, 2}),
        "many to one": (["$X$", "$X$", "$X$"], {2}),
        "many to many,\naligned": (["$X$", "$X$", "$X$"], {0, 1, 2}),
        "encoder-decoder": (["$X$", "$X$", "$X$", "go", "$O$", "$O$"], {3, 4, 5}),
    }
    for axes, (name, (reads, writes)) in zip(panels, forms.items(), strict=True):
        for t, read in enumerate(reads):
            _box(axes, t, 0, read, facecolor="white", dashed=read != "$X$")
            draw_arrow(axes, (t, 0.3), (t, 0.7))
            _box(axes, t, 1, "$H$", facecolor=decoder if t > 2 else state)
            if t:
                draw_arrow(axes, (t - 0.64, 1), (t - 0.36, 1))
            if t in writes:
                _box(axes, t, 2, "$O$", facecolor=output)
                draw_arrow(axes, (t, 1.3), (t, 1.7))
            if read == "$O$":
                _curve(axes, [(t - 0.66, 2), (t - 0.3, 2), (t - 0.7, 0), (t - 0.34, 0)], linestyle="--")
        axes.set_xlim(-0.5, len(reads) - 0.5)
        axes.set_ylim(-0.5, 2.5)
        axes.axis("off")
        axes.set_title(name, fontsize=10, loc="center")
    return fig


def _box(axes, x, y, label, facecolor, dashed=False):
    shape = FancyBboxPatch((x - 0.3, y - 0.24), 0.6, 0.48, boxstyle="round,pad=0.04", facecolor=facecolor)
    shape.set(edgecolor=plots.GREY if dashed else plots.INK, linestyle="--" if dashed else "-")
    axes.add_patch(shape)
    axes.text(x, y, label, ha="center", va="center", fontsize=12 if label.startswith("$") else 10)


def draw_arrow(axes, start, end):
    """Draw a straight arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": plots.INK, "shrinkA": 0, "shrinkB": 0})


def _curve(axes, points, linestyle="-"):
    """Draw an arrow along a Bézier curve with four control points."""
    path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    colour = plots.INK if linestyle == "-" else plots.GREY
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle="->", mutation_scale=12, linestyle=linestyle, color=colour))


def _column(axes, x, read, state, predicted):
    """Draw one time step: the input under the state under the output, with the names of the weights between them."""
    _box(axes, x, 0, f"${read}$", facecolor="white")
    _box(axes, x, 1, f"${state}$", facecolor=matplotlib.colors.to_rgba(plots.SKY, 0.35))
    _box(axes, x, 2, f"${predicted}$", facecolor=matplotlib.colors.to_rgba(plots.GREEN, 0.25))
    for y, weight in ((0, "$W_{xh}$"), (1, "$W_{hq}$")):
        draw_arrow(axes, (x, y + 0.3), (x, y + 0.7))
        axes.text(x + 0.07, y + 0.5, weight, fontsize=10, va="center")


def draw_three_ways(num_positions=8):
    """Return a diagram of how the last position can hear of the first: by recurrence, convolution and attention."""
    fig, panels = plots.new_figure(height=3.0, columns=3)
    last = num_positions - 1
    dilated = [num_positions // 2 >> level for level in range(num_positions.bit_length() - 1)][::-1]
    heights = [0, *(1 + level for level in range(len(dilated)))]
    places = np.cumsum([0, *dilated])  # of the path through the convolutions
    paths = {
        "recurrence": [(0, 0), *((t, 1) for t in range(num_positions))],
        "convolution, dilated": list(zip(places, heights, strict=True)),
        "attention": [(0, 0), (last, 1)],
    }
    layers = {name: {y for _, y in path} for name, path in paths.items()}
    faint = {"color": plots.GREY, "linewidth": 0.7, "alpha": 0.6, "zorder": 1}
    for axes, (name, path) in zip(panels, paths.items(), strict=True):
        for t in range(num_positions):
            if name == "recurrence":
                axes.plot([t, t], [0, 1], **faint)
                axes.plot([max(t - 1, 0), t], [1, 1], **faint)
            elif name == "attention":
                for source in range(num_positions):
                    axes.plot([source, t], [0, 1], **faint)
            else:
                for level, step in enumerate(dilated):
                    for source in (t - step, t, t + step):
                        if 0 <= source <= last:
                            axes.plot([source, t], [level, level + 1], **faint)
            for y in layers[name]:
                axes.plot(t, y, "o", color=plots.SKY, markersize=9, zorder=3)
        axes.plot(*zip(*path, strict=True), "-", color=plots.ORANGE, linewidth=2.8, zorder=2)
        for place in (path[0], path[-1]):
            axes.plot(*place, "o", color=plots.ORANGE, markersize=11, zorder=4)
        axes.set(xlim=(-0.5, last + 0.5), ylim=(-0.4, max(heights) + 0.4), title=name)
        axes.axis("off")
    return fig


def draw_passes(runs, landmarks):
    """Return the Figure of bits per character by passes over the text, ten rounds a pass.

    Args:
        runs: histories of :func:`rnnlib.training.fit` by name.
        landmarks: bits per character by name.
    """
    fig, axes = plots.new_figure(height=3.8)
    looks = zip(("-", "--", "-.", ":"), (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PINK), strict=True)
    for (name, history), (style, colour) in zip(runs.items(), looks, strict=False):
        for column, look in (("train", {"linestyle": style, "label": name}), ("valid", {"marker": "o"})):
            rounds, perplexities = history.column(column)
            look = {"linestyle": "none", "fillstyle": "none", "color": colour} | look
            axes.plot(np.array(rounds) / 10, np.log2(perplexities), **look)
    plots.landmark_lines(axes, landmarks)
    axes.set(xlabel="passes over the text", ylabel="bits per character", ylim=(1.7, 3.1))
    axes.legend(title="lines: training, circles: held-out", bbox_to_anchor=(1, 0.88))
    return fig


# Of each cell: (label, x, y) of what is computed, by name, and the arrows between the names. A product is a valve in a
# pipe, which a gate turns: the pipe is upright where its name is in UPRIGHT.
CELL_DIAGRAMS = {
    "LSTM": (
        {
            "old": ("$C_{t-1}$", 0, 3),
            "keep": ("×", 1.7, 3),
            "add": ("+", 4.9, 3),
            "tap": ("•", 6.3, 3),
            "new": ("$C_t$", 9, 3),
            "write": ("×", 4.9, 1.75),
            "tanh": ("tanh", 6.3, 2.05),
            "show": ("×", 7.6, 2.05),
            "out": ("$H_t$", 9, 2.05),
            "F": ("forget gate\n$F_t = \\sigma(\\cdot)$", 1.7, 0.3),
            "I": ("input gate\n$I_t = \\sigma(\\cdot)$", 3.3, 0.3),
            "G": ("candidate\n$\\tilde C_t = \\tanh(\\cdot)$", 4.9, 0.3),
            "O": ("output gate\n$O_t = \\sigma(\\cdot)$", 7.6, 0.3),
            "in": ("$X_t,\\ H_{t-1}$", 0, -0.9),
        },
        "old keep, keep add, add tap, tap new, F keep, I write, G write, write add, tap tanh, tanh show, O show, "
        "show out",
    ),
    "GRU": (
        {
            "old": ("$H_{t-1}$", 0, 3),
            "keep": ("×", 1.7, 3),
            "add": ("+", 4.9, 3),
            "new": ("$H_t$", 9, 3),
            "fork": ("•", 1.7, 1.95),
            "flip": ("1 − $Z_t$", 3.3, 1.95),
            "write": ("×", 4.9, 1.95),
            "reset": ("×", 6.6, 0.9),
            "say": ("$H_{t-1} W_{hh} + b_{hh}$", 8.5, 0.9),
            "Z": ("update gate\n$Z_t = \\sigma(\\cdot)$", 1.7, 0.1),
            "G": ("candidate\n$\\tilde H_t = \\tanh(\\cdot)$", 4.9, 0.9),
            "R": ("reset gate\n$R_t = \\sigma(\\cdot)$", 6.6, -0.25),
            "in": ("$X_t,\\ H_{t-1}$", 0, -1.3),
        },
        "old keep, keep add, add new, Z fork, fork keep, fork flip, flip write, G write, write add, say reset, "
        "R reset, reset G",
    ),
}
UPRIGHT = ("write",)
CARRIED = {"old", "keep", "add", "tap", "new"}


def draw_cell(cell):
    """Return the Figure of one step of an ``"LSTM"`` or a ``"GRU"``: the state that is carried runs along the top."""
    parts, arrows = CELL_DIAGRAMS[cell]
    fig, axes = plots.new_figure(height=3.5)
    gates = [name for name in parts if len(name) == 1]
    boxes = {name: _cell_part(axes, name, *part) for name, part in parts.items()}
    boxes = {name: patch for name, patch in boxes.items() if patch is not None}
    for start, end in (pair.split() for pair in arrows.split(", ")):
        _, *begin = parts[start]
        _, *to = parts[end]
        style = {
            "arrowstyle": "-" if end in ("tap", "fork") else "-|>",
            "mutation_scale": 12,
            "shrinkA": 0,
            "shrinkB": 1,
        }
        style |= {"patchA": boxes.get(start), "patchB": boxes.get(end)}
        style |= {"color": plots.BLUE, "linewidth": 3.2} if {start, end} <= CARRIED else {"color": plots.INK}
        if start == "I":  # up, then to the side
            style["connectionstyle"] = "angle,angleA=90,angleB=0"
        axes.annotate("", to, begin, arrowprops=style)
    low = parts["in"][2]
    readers = [*gates, *(name for name in parts if name == "say")]
    axes.plot([0.6, max(parts[name][1] for name in readers)], [low, low], color=plots.GREY, linewidth=1)
    for name in readers:  # the gates all read the same two things
        _, x, y = parts[name]
        style = {"arrowstyle": "-|>", "color": plots.GREY, "shrinkA": 0, "shrinkB": 1, "patchB": boxes[name]}
        axes.annotate("", (x, y), (x, low), arrowprops=style)
        if "say" in parts and name in ("G", "say"):  # the candidate meets the old state behind the reset gate alone
            axes.text(x + 0.12, low + 0.5, "$X_t$" if name == "G" else "$H_{t-1}$", fontsize=10, va="center")
    axes.set_xlim(-0.6, 9.8)
    axes.set_ylim(low - 0.35, 3.4)
    axes.axis("off")
    return fig


def draw_way_back(states, dO, D, params):
    """Return the Figure of gradients that go back through an unrolled network, each arrow with its product.

    states: (T + 1, 1, H), the first one before the first step; dO: (T, 1, V), the gradient at each output; D:
    (T, 1, H), that before each tanh; params: as of :func:`rnnlib.scratch.rnn_params`.
    """
    _, W_hh, _, W_hq, _ = params
    fig, (axes,) = plots.stacked_axes(5.0, [1], left=0.01, right=0.99, bottom=0.01)
    words = {"ha": "center", "va": "center", "fontsize": 8.5, "linespacing": 1.5}
    arrow = ARROW | {"color": plots.ORANGE, "linewidth": 1.5, "mutation_scale": 11}
    green, sky, yellow = (matplotlib.colors.to_rgba(colour, 0.3) for colour in (plots.GREEN, plots.SKY, plots.YELLOW))

    def box(x, y, name, numbers, colour):
        style = {"boxstyle": "round,pad=0.3", "edgecolor": plots.GREY, "facecolor": colour}
        axes.text(x, y, f"${name}$\n{numbers}", bbox=style, **words)

    for t in range(1, len(states)):
        x, from_output, to_past = 3.2 * t, dO[t - 1] @ W_hq.T, D[t - 1] @ W_hh.T
        box(x, 5, rf"\partial L / \partial O_{t}", _row(dO[t - 1]), green)
        box(x, 3.5, rf"\partial L / \partial H_{t}", _row(D[t - 1] / (1 - states[t] ** 2)), "white")
        box(x, 2, rf"\Delta_{t}", _row(D[t - 1]), sky)
        box(x, 0, rf"H_{t - 1}^\top\,\Delta_{t}", _rows(states[t - 1].T @ D[t - 1]), yellow)
        for y in (4.6, 3.1):
            axes.annotate("", (x, y - 0.7), (x, y), arrowprops=arrow)
        axes.annotate("", (x, 0.58), (x, 1.6), arrowprops=arrow)
        axes.text(x + 0.12, 4.25, f"$W_{{hq}}^\\top$: {_row(from_output)}", **words | {"ha": "left"})
        axes.text(x + 0.12, 2.75, f"$\\odot$ {_row(1 - states[t] ** 2)}", **words | {"ha": "left"})
        axes.plot([x - 0.93, x - 1.27, x - 1.27], [2, 2, 3.5], color=plots.ORANGE, linewidth=1.5)
        axes.annotate("", (x - 2.25, 3.5), (x - 1.25, 3.5), arrowprops=arrow)
        axes.text(x - 1.45, 1.4, f"$W_{{hh}}^\\top$:\n{_row(to_past)}", **words)
        axes.text(x + 1.6, 0, "+" if t + 1 < len(states) else "=", **words | {"fontsize": 13})
    box(0.2, 3.5, r"\partial L / \partial H_0", _row(D[0] @ W_hh.T), "white")
    last = 3.2 * len(states)
    total = sum(before.T @ delta for before, delta in zip(states[:-1], D, strict=True))
    box(last, 0, r"\partial L / \partial W_{hh}", _rows(total), yellow)
    axes.text(last - 0.4, 3.5, "nothing comes back\nfrom after the end", **words | {"color": plots.GREY})
    axes.set_xlim(-0.8, last + 1)
    axes.set_ylim(-0.75, 5.5)
    axes.axis("off")
    return fig


def _row(vector):
    """Write a row of numbers with two decimals."""
    numbers = [f"{round(value, 2) + 0.0:.2f}" for value in vector.flatten().tolist()]
    return f"({', '.join(numbers)})".replace("-", "−")


def _rows(matrix):
    return "\n".join(_row(row) for row in matrix)


def draw_stretches(matrices):
    """Return the Figure of what matrices, lists of two rows by name, make of a circle in one step and in two."""
    angle = torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)  # (points, 2)
    fig, panels = plots.new_figure(height=2.9, columns=len(matrices), sharex=True, sharey=True)
    for axes, (name, numbers) in zip(panels, matrices.items(), strict=True):
        W = torch.tensor(numbers, dtype=torch.float64)
        lines = (("before", circle, ":", plots.GREY), ("one step", circle @ W, "-", plots.ORANGE))
        lines += (("two steps", circle @ W @ W, "--", plots.BLUE),)
        for label, points, style, colour in lines:
            axes.plot(points[:, 0], points[:, 1], style, color=colour, linewidth=1.8, label=label)
        sigma = float(torch.linalg.matrix_norm(W, 2))
        longest = torch.linalg.svd(W).Vh[0] * sigma  # of the image, a row
        longest = longest if longest[1] > 0 else -longest
        axes.annotate("", longest.tolist(), (0, 0), arrowprops=ARROW | {"color": plots.INK})
        where = {"ha": "right", "va": "bottom", "transform": axes.transAxes, "fontsize": 9.5}
        axes.text(0.98, 0.03, rf"$\sigma_{{\max}} = {sigma:.2f}$", **where)
        axes.plot(0, 0, "o", color=plots.INK, markersize=3)
        axes.set(title=name, aspect="equal", xlabel="unit 1", xlim=(-2, 2), ylim=(-2, 2))
    panels[0].set_ylabel("unit 2")
    panels[0].legend(loc="lower left", fontsize=8)
    return fig


def _cell_part(axes, name, label, x, y):
    """Draw a part of a cell before the arrows, which end where it does; return its patch."""
    if label == "×":  # a valve: two triangles, tip to tip
        along, across = 0.3, 0.21
        corners = [(-along, -across), (-along, across), (along, -across), (along, across)]
        if name in UPRIGHT:
            corners = [(across * 1.1, along) for across, along in ((b, a) for a, b in corners)]
        valve = Polygon([(x + dx, y + dy) for dx, dy in corners], facecolor=plots.SKY, edgecolor=plots.INK, zorder=3)
        axes.add_patch(valve)
        beside = (x + 0.42, y) if name in UPRIGHT else (x, y + 0.34)
        axes.text(*beside, label, ha="center", va="center", fontsize=11)
        return valve
    if label == "•":  # where a pipe forks
        axes.text(
            x, y, label, ha="center", va="center", fontsize=12, color=plots.BLUE if name in CARRIED else plots.INK
        )
        return None
    style = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": plots.GREY}
    if len(name) == 1:
        style["facecolor"] = plots.YELLOW if name == "G" else plots.SKY
    elif label == "+":
        style["boxstyle"] = "circle,pad=0.15"
    text = axes.text(x, y, label, ha="center", va="center", fontsize=10, bbox=style, zorder=3)
    return text.get_bbox_patch()


def draw_carried(plain, carried):
    """Return the Figure of how far the state of each step depends on the first one (chapter 5).

    Args:
        plain: sizes of the derivative by step for a plain network, one sequence for each seed.
        carried: ``{forget bias: [(all paths, direct path), …]}`` for LSTMs, one pair for each seed.
    """
    fig, axes = plots.new_figure(height=3.8)
    steps = range(1, len(plain[0]) + 1)
    for seed, sizes in enumerate(plain):
        axes.plot(steps, sizes, ":", color=plots.GREY, label="_" * (seed > 0) + "plain RNN")
    for (bias, seeds), color in zip(carried.items(), (plots.SKY, plots.BLUE, plots.ORANGE), strict=True):
        for seed, (all_paths, direct) in enumerate(seeds):
            name = "_" * (seed > 0) + f"LSTM, b = {bias}: "  # each kind of line is named once
            axes.plot(steps, all_paths, "-", color=color, label=name + "all paths")
            axes.plot(steps, direct, "--", color=color, label=name + "direct path")
    axes.set(yscale="log", ylim=(1e-16, 4), xlabel="steps", ylabel="size of the derivative (log)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def draw_recall(recall, looks, chances):
    """Return the Figure of how many answers are right by length: a dot for each seed, a line through the means.

    Args:
        recall: ``{task: {cell: {length: shares right, one for each seed}}}``.
        looks: ``{cell: (color, marker, dash)}``.
        chances: ``{task: share right by guessing}``.
    """
    fig, columns = plots.new_figure(height=4.0, columns=len(recall), sharey=True, squeeze=False)
    for axes, (task, cells) in zip(columns[0], recall.items(), strict=True):
        for place, (cell, shares) in enumerate(cells.items()):
            color, marker, dash = looks[cell]
            x = [length * 1.08 ** (place - 2) for length in shares]  # side by side
            axes.plot(x, [np.mean(s) for s in shares.values()], dash, marker=marker, color=color, label=cell)
            for position, seeds in zip(x, shares.values(), strict=True):
                axes.plot([position] * len(seeds), seeds, ".", color=color, markersize=4)
        axes.axhline(chances[task], color=plots.GREY, linewidth=0.6, label="guessing")
        axes.set(xscale="log", title=task, xlabel="length (log)")
        axes.set_xticks(list(shares), [str(length) for length in shares])
        axes.minorticks_off()
    columns[0][0].set_ylabel("share right at the last check")
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def draw_kept(kept):
    """Return the Figure of the mean forget gate by the character just read, the space in another colour (chapter 5)."""
    order = sorted(kept, key=lambda character: float(kept[character].mean()))
    fig, axes = plots.new_figure(height=2.8)
    colors = [plots.ORANGE if character == " " else plots.SKY for character in order]
    axes.bar(range(len(order)), [float(kept[character].mean()) for character in order], color=colors)
    names = ["␣" if character == " " else lettering.literal_text(character) for character in order]
    axes.set_xticks(range(len(order)), names)
    axes.set(xlabel="character just read", ylabel="mean forget gate")
    return fig


def draw_two_readers(num_steps=4):
    """Return the Figure of a bidirectional layer unrolled over time: inputs, both chains of states, outputs."""
    fig, (axes,) = plots.stacked_axes(3.0, [1], left=0.14, bottom=0.02)
    rows = {"inputs": (0, "X", "#EEEEEE"), "ahead": (1, r"\overrightarrow{H}", plots.SKY)}
    rows["back"] = (2, r"\overleftarrow{H}", plots.YELLOW)
    rows["outputs"] = (3, "O", "#EEEEEE")
    arrow = {"arrowstyle": "-|>", "color": plots.INK, "shrinkA": 15, "shrinkB": 15, "mutation_scale": 12}
    box = {"boxstyle": "round,pad=0.35", "edgecolor": plots.GREY}
    for name, (height, letter, colour) in rows.items():
        axes.text(-0.55, height, name, ha="right", va="center")
        for t in range(num_steps):
            label = f"${letter}_{t + 1}$"
            axes.text(t, height, label, ha="center", va="center", zorder=3, bbox={**box, "facecolor": colour})
    for t in range(num_steps):
        for start, end, bend in (
            ((t, 0), (t, 1), 0),
            ((t, 2), (t, 3), 0),
            ((t, 0), (t, 2), 0.5),
            ((t, 1), (t, 3), -0.5),
        ):
            axes.annotate("", end, start, arrowprops={**arrow, "connectionstyle": f"arc3,rad={bend}"})
        if t:
            axes.annotate("", (t, 1), (t - 1, 1), arrowprops={**arrow, "color": plots.BLUE, "linewidth": 2})
            axes.annotate("", (t - 1, 2), (t, 2), arrowprops={**arrow, "color": plots.ORANGE, "linewidth": 2})
    axes.set_xlim(-0.6, num_steps - 0.4)
    axes.set_ylim(-0.5, 3.5)
    axes.axis("off")
    return fig


def draw_horizons(horizons):
    """Draw what a forecast may know: the past up to now, and an arrow to the hour of each horizon."""
    fig, axes = plots.new_figure(height=2.3)
    axes.axvspan(-30, 0, color=plots.SKY, alpha=0.3)
    axes.plot([-30, max(horizons)], [0, 0], color=plots.INK, linewidth=1)
    axes.plot(0, 0, "s", color=plots.INK)
    axes.text(-15, 0.5, "known: the state has read it", ha="center")
    axes.text(-0.8, -0.5, "now, t", ha="right")
    for h in horizons:
        style = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.3", "color": plots.ORANGE}
        axes.annotate("", (h, 0.04), (0, 0.04), arrowprops=style)
        axes.text(h, -0.5, str(h), ha="center", color=plots.ORANGE)
    axes.text(max(horizons), -1.0, "horizon h (hours)", ha="right", color=plots.ORANGE)
    axes.set(ylim=(-1.2, 1.3), xlim=(-31, max(horizons) + 2), yticks=[], xticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    return fig


def draw_reading(length=6, num_windows=4, num_hours=10):
    """Draw which hours are read, as bars, and where an answer is learned from, as dots: windows and carried state."""
    fig, (upper, lower) = plots.new_figure(height=2.8, rows=2, height_ratios=[3, 1])
    for row in range(num_windows):
        upper.barh(-row, length, left=row, height=0.7, color=plots.SKY, alpha=0.6)
        upper.plot(row + length - 0.5, -row, "o", color=plots.ORANGE)
    upper.set_title(f"windows: {length * num_windows} hours are read for {num_windows} answers, each from zeros")
    lower.barh(0, num_hours, height=0.7, color=plots.SKY, alpha=0.6)
    lower.plot([hour + 0.5 for hour in range(num_hours)], [0] * num_hours, "o", color=plots.ORANGE)
    lower.set_title(f"carried state: {num_hours} hours are read for {num_hours} answers")
    for axes, low in ((upper, 0.4 - num_windows), (lower, -0.6)):
        axes.set(xlim=(-0.2, num_hours + 0.2), ylim=(low, 0.6), yticks=[], xticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
    return fig


SHAPES = {
    "many to one": (["c", "a", "b", "i", "n"], {4: "2"}, "letters → syllables"),
    "one to many": (["2"], {0: "b", 1: "a", 2: "n", 3: "d", 4: "o", 5: "⏎"}, "syllables → a word"),
    "many to many, aligned": (["K", "AE", "B", "IH", "N"], {1: "1", 3: "0"}, "phonemes → stress"),
    "encoder → decoder": (["c", "a", "b"], {3: "K", 4: "AE", 5: "B", 6: "⏎"}, "letters → phonemes"),
}


def draw_four_shapes():
    """Return the Figure of four ways to read and write sequences: inputs below, states, outputs above."""
    fig, grid = plots.new_figure(height=4.6, rows=2, columns=2)
    arrow = {"arrowstyle": "-|>", "color": plots.INK, "shrinkA": 9, "shrinkB": 9, "mutation_scale": 10}
    for axes, (name, (inputs, outputs, task)) in zip(grid.flat, SHAPES.items(), strict=True):
        steps = max(len(inputs), max(outputs) + 1)
        for t in range(steps):
            writes = name == "encoder → decoder" and t >= len(inputs)
            axes.plot(t, 1, "s" if writes else "o", markersize=15, color=plots.YELLOW if writes else plots.SKY)
            if t:
                axes.annotate("", (t, 1), (t - 1, 1), arrowprops=arrow)
            for place, letter in ((0, inputs[t] if t < len(inputs) else ""), (2, outputs.get(t, ""))):
                if letter:
                    axes.text(t, place, letter, ha="center", va="center", family="monospace")
                    ends = ((t, 1), (t, 0)) if place == 0 else ((t, 2), (t, 1))
                    axes.annotate("", *ends, arrowprops=arrow)
        axes.set(xlim=(-0.7, 6.7), ylim=(-0.45, 2.4))
        axes.set_title(f"{name}: {task}", fontsize=10)
        axes.axis("off")
    return fig


def draw_one_look():
    """Return the Figure of one query, four keys in the plane, their products and the weights."""
    query, letters = np.array([2.0, 1.0]), "this"
    keys = np.array([[1.8, 0.2], [1.2, 1.3], [-1.0, 1.2], [-0.3, -1.4]])
    scores = keys @ query
    weights = np.exp(scores) / np.exp(scores).sum()
    fig, (plane, products, shares) = plots.new_figure(height=2.9, columns=3, width_ratios=[1.4, 1, 1])
    vectors = {"query": query} | dict(zip(letters, keys, strict=True))
    for name, vector in vectors.items():
        colour = plots.ORANGE if name == "query" else plots.BLUE
        arrow = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.8}
        plane.annotate("", vector, (0, 0), arrowprops=arrow)
        plane.text(*(vector * 1.16), name, color=colour, ha="center", va="center")
    plane.set(xlim=(-1.8, 2.9), ylim=(-1.9, 1.9), aspect="equal", title="a query and four keys")
    plane.axis("off")
    for axes, values, title in ((products, scores, "query · key"), (shares, weights, "weights (softmax)")):
        axes.bar(range(4), values, color=plots.BLUE)
        axes.axhline(0, color=plots.GREY, linewidth=0.8)
        axes.set_xticks(range(4), letters)
        axes.set_title(title)
    shares.set_ylim(0, 1)
    return fig


def draw_map_on(axes, weights, columns, rows):
    """Draw weights (T, S): dark where a row looks; letters below, what was written at the side."""
    T, S = weights.shape
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.vlines(np.arange(S + 1) - 0.5, -0.5, T - 0.5, "#DDDDDD", linewidth=0.6)
    axes.hlines(np.arange(T + 1) - 0.5, -0.5, S - 0.5, "#DDDDDD", linewidth=0.6)
    axes.set_xticks(range(len(columns)), [lettering.visible_text(c) for c in columns], family="monospace")
    axes.set_yticks(range(len(rows)), [row.replace("<eos>", "⏎") for row in rows], family="monospace")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def draw_maps(maps):
    """Return a Figure of attention maps below each other, each given by weights (T, S), source and written tokens."""
    fig, grid = plots.new_figure(height=2.7 * len(maps), rows=len(maps), squeeze=False)
    for axes, (weights, source, written) in zip(grid[:, 0], maps, strict=True):
        image = draw_map_on(axes, weights, source, written)
    fig.colorbar(image, ax=grid, label="weight", fraction=0.04)
    return fig


def draw_speeds(steps, batches):
    """Return a Figure: how many times as fast as torch.nn ways to make a step are, and onnxruntime on whole batches."""
    fig, (left, right) = plots.new_figure(height=2.9, columns=2)
    names = [name.removeprefix("eager ") for name in steps]
    left.barh(names[::-1], list(steps.values())[::-1], color=plots.BLUE)
    left.set_title("one step (bare nn.GRU: 1)")
    right.barh([f"nn.{name}" for name in batches], list(batches.values()), color=plots.ORANGE)
    right.set_title("ONNX, 32 rows of 128 (nn: 1)")
    for axes in (left, right):
        axes.axvline(1, color=plots.GREY, linestyle=":")
        axes.set_xlabel("times as fast")
        axes.set_xlim(0, 1.2 * max(bar.get_width() for bar in axes.patches))
        axes.bar_label(axes.containers[0], fmt="%.1f", padding=3)
    return fig


def draw_context_cost(rows):
    """Return a Figure of the table of :class:`ContextCost`: cost of a step and memory kept by characters read."""

    def column(name, N):
        return [row[name] for row in rows if row["streams"] == N]

    contexts = column("context", 1)
    fig, (cost, memory) = plots.new_figure(height=3.4, columns=2)
    look = {("GRU", 1): ("o-", plots.BLUE), ("GRU", 32): ("o--", plots.BLUE)}
    look |= {("decoder", 1): ("s-", plots.ORANGE), ("decoder", 32): ("s--", plots.ORANGE)}
    for (name, N), (line, colour) in look.items():
        cost.loglog(contexts, column(name, N), line, color=colour, label=f"{name}, {N}")
        memory.loglog(contexts, column("GRU kB" if name == "GRU" else "cache kB", N), line, color=colour)
    cost.loglog(contexts, column("no cache", 1), "^:", color=plots.GREY, label="no cache, 1")
    cost.set_title("cost of a step (one GRU step: 1)")
    memory.set_title("kB kept")
    for axes in (cost, memory):
        axes.set_xlabel("characters read before")
        axes.set_xticks(contexts[::2], [f"{T:,}" for T in contexts[::2]])
        axes.minorticks_off()
    cost.legend(fontsize=8, title="streams at once", title_fontsize=8, handlelength=3.2)
    return fig


def draw_streams(rows):
    """Return a Figure: characters a second by streams in a batch, as a multiple of one stream."""
    streams = [row["streams"] for row in rows]
    fig, axes = plots.new_figure(height=3.0)
    for name, line in (("eager nn.GRU, bare", "o-"), ("NumPy", "s--"), ("onnxruntime", "^:")):
        axes.loglog(streams, [row[name] for row in rows], line, label=name)
    axes.set_xlabel("streams in a batch")
    axes.set_ylabel("times one stream")
    axes.set_xticks(streams, streams)
    axes.set_yticks([1, 2, 4, 8, 16], [1, 2, 4, 8, 16])
    axes.minorticks_off()
    axes.legend()
    return fig


ARROW = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 0, "shrinkB": 0}


def draw_parity_machine():
    """Return the Figure of the machine that solves parity: two states, and a one goes from each to the other."""
    fig, axes = plots.new_figure(height=1.9)
    for x, name in ((0, "even\nso far"), (3, "odd\nso far")):
        axes.scatter([x], [0], s=3300, facecolor="white", edgecolor=plots.BLUE, linewidth=2)
        axes.text(x, 0, name, ha="center", va="center")
    for start, end, bend, height in ((0.42, 2.58, -0.35, 0.62), (2.58, 0.42, -0.35, -0.62)):
        style = ARROW | {"color": plots.INK, "connectionstyle": f"arc3,rad={bend}"}
        axes.annotate("", (end, np.sign(height) * 0.25), (start, np.sign(height) * 0.25), arrowprops=style)
        axes.text(1.5, height * 1.5, "reads 1", ha="center", va="center")
    for x, side in ((0, -1), (3, 1)):
        style = ARROW | {"color": plots.GREY, "connectionstyle": f"arc3,rad={-2.2 * side}"}
        axes.annotate("", (x + side * 0.38, -0.25), (x + side * 0.38, 0.25), arrowprops=style)
        axes.text(x + side * 1.25, 0, "reads 0", ha="center", va="center", color=plots.GREY)
    axes.set_xlim(-1.8, 4.8)
    axes.set_ylim(-1.15, 1.15)
    axes.axis("off")
    return fig


def draw_dropout_masks(num_units=10, num_steps=16, p=0.4, seed=0):
    """Return the Figure of what is dropped (dark): units at random, the same units, or entries of W_hh."""
    generator = torch.Generator().manual_seed(seed)
    plain = torch.rand(num_units, num_steps, generator=generator) < p
    locked = (torch.rand(num_units, 1, generator=generator) < p).expand(-1, num_steps)
    weights = torch.rand(num_units, num_units, generator=generator) < p
    fig, panels = plots.new_figure(height=2.5, columns=3, width_ratios=[num_steps, num_steps, num_units])
    names = ("plain: a mask for each step", "locked: one mask for all", r"weight drop: $W_{hh}$")
    for axes, mask, name in zip(panels, (plain, locked, weights), names, strict=True):
        axes.pcolormesh(~mask.flip(0).numpy(), cmap="gray", edgecolors=plots.GREY, linewidth=0.4, vmin=-0.3, vmax=1)
        axes.set(xticks=[], yticks=[], title=name, aspect="equal")
        axes.set_xlabel("to unit" if name.startswith("weight") else "time step")
    panels[0].set_ylabel("unit")
    panels[2].set_ylabel("from unit")
    return fig


def draw_scan_rounds(num_steps=8):
    """Return the Figure of a doubling scan: in each round every stretch is joined with the one before it."""
    fig, axes = plots.new_figure(height=2.9)
    rounds = math.ceil(math.log2(num_steps))
    for level in range(rounds + 1):
        reach = 2**level
        for t in range(num_steps):
            first = max(0, t - reach + 1)
            label = str(t) if first == t else f"{first}–{t}"
            face = plots.SKY if first == 0 else "white"
            box = {"boxstyle": "round,pad=0.3", "facecolor": face, "edgecolor": plots.GREY}
            axes.text(t, -level, label, ha="center", va="center", fontsize=10, bbox=box)
            if level < rounds:
                starts = [t - reach, t] if t >= reach else [t]
                for start in starts:
                    colour = plots.ORANGE if start < t else plots.GREY
                    end = (t - 0.08 if start < t else t, -level - 0.76)
                    axes.annotate("", end, (start, -level - 0.24), arrowprops=ARROW | {"color": colour})
        axes.text(-0.8, -level, "steps" if level == 0 else f"round {level}", ha="right", va="center")
    axes.set_xlim(-1.9, num_steps - 0.4)
    axes.set_ylim(-rounds - 0.4, 0.4)
    axes.axis("off")
    return fig


def draw_looks(num_steps=24):
    """Return the Figure of who looks where: weights by the step that looks and the step that is looked at."""
    t = torch.arange(num_steps)
    age = t[:, None] - t
    generator = torch.Generator().manual_seed(3)
    k = torch.randn(num_steps, 1, 1, generator=generator)
    values = torch.eye(num_steps)[:, None]  # (T, 1, T): which step a weight falls on
    keys = k.expand(-1, 1, num_steps)
    fig, panels = plots.new_figure(height=2.7, columns=3, sharey=True)
    weights = [beyond.wkv_parallel(keys, values, torch.tensor(w), torch.tensor(0.0))[:, 0] for w in (0.02, 0.5)]
    scores = torch.randn(num_steps, num_steps, generator=generator)
    weights.append(scores.masked_fill((age < 0) | (age >= 6), -torch.inf).softmax(1))
    names = ("RWKV-like, slow decay", "RWKV-like, fast decay", "local attention, 6 steps")
    for axes, weight, name in zip(panels, weights, names, strict=True):
        axes.imshow(weight.numpy(), cmap="cividis", vmin=0, vmax=0.5, aspect="auto")
        axes.set(title=name, xlabel="looks at step")
    panels[0].set_ylabel("step")
    return fig


def draw_maze_on(axes, length, sign, place=None):
    """Draw a T-maze of a length: the sign (1 up, 2 down) at its start, and who walks there as a dot."""
    wall = {"color": plots.INK, "linewidth": 2}
    far = length - 0.5 + max(1.0, length / 12)  # the wall behind the junction: a number stands before it
    middle = (length - 0.5 + far) / 2
    for side in (-1, 1):
        axes.plot([-0.5, length - 0.5], [side * 0.5] * 2, **wall)
        axes.plot([length - 0.5] * 2, [side * 0.5, side * 1.6], **wall)
        goal = (side == 1) == (sign == 1)
        axes.text(middle, side * 1.3, "+1" if goal else "−1", ha="center", va="center", fontsize=11)
    axes.plot([far] * 2, [-1.6, 1.6], **wall)
    axes.plot([-0.5] * 2, [-0.5, 0.5], **wall)
    arrow = ARROW | {"color": plots.ORANGE, "linewidth": 2}
    axes.annotate("", (0, 0.42 if sign == 1 else -0.42), (0, 0), arrowprops=arrow)
    if place is not None:
        axes.plot([place if place < length else middle], [0], "o", color=plots.BLUE, markersize=9)
    axes.set_xlim(-1, far + 0.5)
    axes.set_ylim(-1.9, 1.9)
    axes.axis("off")


def draw_maze(length=10):
    """Return the Figure of both mazes: they differ at the first step alone."""
    fig, panels = plots.new_figure(height=2.6, rows=2)
    for axes, sign, name in zip(panels, (1, 2), ("sign up", "sign down"), strict=True):
        draw_maze_on(axes, length, sign, place=1)
        axes.set_title(name)
    return fig
