"""Explorers of chapter 3: products of Jacobians, clipping, and the window of truncated backpropagation."""

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from rnnlib import gradients, guards, plots, scratch
from rnnlib.explore.frame import Explorer
from rnnlib.guards import check_minibatch, check_one_state, check_recorded

LARGEST = 340.0  # the logarithm of what is drawn at most: matplotlib puts ticks far beyond it, in float64 too


class JacobianLab(Explorer):
    """When does a gradient explode, and when does it vanish? A product of up to a hundred Jacobians, factor by factor.

    Args:
        num_hiddens, num_steps: H and T.
        seed: of the matrices, the inputs and the first state.
    """

    title = "Jacobian product lab"
    question = "at which scale of W_hh does the gradient of a tanh network with inputs of size 1 begin to explode?"
    most_settings = 240  # most of them kinds
    presets = {  # noqa: RUF012
        "explode": {"matrix": "Gaussian", "scale": 1.5, "units": "linear"},
        "vanish": {"matrix": "Gaussian", "scale": 1.5, "units": "tanh, inputs of size 1"},
        "saturate": {"matrix": "orthogonal", "scale": 2.0, "units": "tanh, inputs of size 3"},
        "first up, then down": {"matrix": "Gaussian", "scale": 0.9, "units": "linear"},
        "all eigenvalues 0": {"matrix": "shift", "scale": 2.0, "units": "linear"},
    }
    matrices = {  # noqa: RUF012
        "Gaussian": gradients.gaussian_matrix,
        "orthogonal": gradients.orthogonal_matrix,
        "shift": gradients.shift_matrix,
    }
    units = {  # noqa: RUF012 - the activation, and the standard deviation of what the input adds
        "linear": (gradients.linear_unit, 1.0),
        "tanh, no input": (gradients.tanh_unit, 0.0),
        "tanh, inputs of size 0.1": (gradients.tanh_unit, 0.1),
        "tanh, inputs of size 1": (gradients.tanh_unit, 1.0),
        "tanh, inputs of size 3": (gradients.tanh_unit, 3.0),
        "ReLU, inputs of size 1": (gradients.relu_unit, 1.0),
    }

    def __init__(self, num_hiddens=64, num_steps=100, seed=0):
        guards.check_seed(seed)
        guards.check_sizes(num_hiddens=num_hiddens, num_steps=num_steps)
        self.num_hiddens, self.num_steps, self.seed = num_hiddens, num_steps, seed
        super().__init__(
            matrix=widgets.ToggleButtons(options=list(self.matrices), value="Gaussian", description="matrix W_hh"),
            scale=widgets.FloatSlider(
                1.5, min=0.1, max=2.5, step=0.05, description="scale of W_hh", continuous_update=False
            ),
            units=widgets.ToggleButtons(options=list(self.units), value="tanh, inputs of size 1", description="units"),
        )

    @classmethod
    def default_arguments(cls):
        """A few units and steps are enough to move the controls."""
        return {"num_hiddens": 12, "num_steps": 30}

    def measure(self, matrix, scale, units):
        """Return the norm of dh_t / dh_0 at every step, ρ, σ and the eigenvalues of W_hh, and the units' slopes.

        Raises:
            ValueError: for a matrix or units that are not in the lists.
        """
        for name, value, known in (("matrix", matrix, self.matrices), ("units", units, self.units)):
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known: use one of {', '.join(map(repr, known))}")
        generator = torch.Generator().manual_seed(self.seed)
        W_hh = self.matrices[matrix](self.num_hiddens, scale, generator)  # (H, H)
        noise = torch.randn(self.num_steps + 1, self.num_hiddens, generator=generator, dtype=torch.float64)
        activation, size = self.units[units]
        products, slopes = gradients.jacobian_products(W_hh, size * noise[1:], torch.tanh(noise[0]), activation)
        eigenvalues = torch.linalg.eigvals(W_hh)
        sigma_max = float(torch.linalg.matrix_norm(W_hh, 2))
        finite = products.isfinite().flatten(1).all(1)  # (T,)
        norms = torch.full((len(products),), torch.inf, dtype=torch.float64)
        norms[finite] = torch.linalg.matrix_norm(products[finite], 2)
        return {
            "matrix": matrix,
            "units": units,
            "norms": norms.numpy(),  # (T,), infinite where float64 overflows
            "radius": float(eigenvalues.abs().max()),
            "sigma_max": sigma_max,
            "stretch": float(W_hh.norm()) / len(W_hh) ** 0.5,  # of a vector, on average
            "eigenvalues": eigenvalues.numpy(),
            "slopes": slopes.flatten().numpy(),
            "slope": float(slopes.square().mean().sqrt()),
        }

    def draw(self, data):
        """The norm by step beside three rates; the eigenvalues in the complex plane; the slopes."""
        fig = Figure(figsize=(7.2, 4.2))
        grid = fig.add_gridspec(2, 2, width_ratios=[3, 2], left=0.09, right=0.97, bottom=0.12, top=0.93, hspace=0.45)
        norm, plane, slope = (fig.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
        self._draw_norms(norm, data)
        limit = 1.15 * max(1, data["sigma_max"])
        plane.add_patch(Circle((0, 0), 1, fill=False, color=plots.GREY, linewidth=0.9))
        plane.add_patch(Circle((0, 0), data["sigma_max"], fill=False, color=plots.GREY, linestyle="--"))
        plane.plot(data["eigenvalues"].real, data["eigenvalues"].imag, ".", color=plots.ORANGE, markersize=4)
        plane.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", anchor="W")
        plane.set_title(f"eigenvalues: ρ = {data['radius']:.2f}, σ = {data['sigma_max']:.2f}", fontsize=10)
        slope.hist(data["slopes"], bins=np.linspace(0, 1, 21), color=plots.GREEN)
        slope.set_xlim(-0.02, 1.02)
        slope.set_xticks([0, 0.5, 1])
        slope.set_yticks([])
        slope.set_xlabel("slope", labelpad=1)
        slope.set_title(f"slopes of the units: rms {data['slope']:.2f}", fontsize=10)
        return fig

    def _draw_norms(self, axes, data):
        norms, steps = data["norms"], np.arange(1, len(data["norms"]) + 1)
        alive = (norms > 0) & np.isfinite(norms)
        shown = norms[alive] if alive.any() else np.ones(1)
        axes.set_yscale("log")
        axes.set_ylim(max(shown.min() / 30, np.exp(-LARGEST)), 300 * min(max(1, shown.max()), np.exp(LARGEST)))
        rates = (
            (data["sigma_max"], "--", plots.GREY, "bound $σ^t$"),
            (data["stretch"] * data["slope"], "-", plots.GREEN, "(stretch × rms slope)$^t$"),
            (data["radius"], ":", plots.ORANGE, "$ρ^t$"),
        )
        for rate, style, color, label in rates:
            logs = np.log(max(rate, 1e-300)) * steps
            powers = np.exp(np.where(np.abs(logs) < 2 * LARGEST, logs, np.nan))
            axes.plot(steps, powers, style, color=color, label=label)
        axes.plot(steps[alive], norms[alive], color=plots.BLUE, linewidth=2.4, label="measured")
        if not alive.all() and alive.any():
            end = steps[alive][-1]
            what = "exactly 0" if norms[-1] == 0 else "too large for float64"
            axes.annotate(f"{what}\nfrom here on", (end, norms[end - 1]), (6, -4), textcoords="offset points", va="top")
        axes.axhline(1, color=plots.GREY, linewidth=0.8)
        axes.set_xlabel("steps t")
        axes.set_title("how much of $h_0$ is left: norm of $∂h_t/∂h_0$")
        shrinks = norms[-1] < 1 and alive.all()
        axes.legend(loc="lower left" if shrinks else "lower right", bbox_to_anchor=(0 if shrinks else 1, 0.06))

    def describe(self, data):
        """Say where the norm ends, and what the spectral radius alone would have said."""
        norms, top = data["norms"], int(np.argmax(data["norms"]))
        ends = f"ends at {norms[-1]:.2g} after {len(norms)} steps"
        if norms[-1] == 0:
            ends = f"is exactly 0 from t = {np.argmin(norms > 0) + 1} on"
        elif np.isinf(norms[-1]):
            ends = f"is larger than any number of 64 bits from t = {np.argmax(np.isinf(norms)) + 1} on"
        peak = f"peaks at {norms[top]:.2g} (t = {top + 1}) and " if norms[top] > 2 * norms[-1] else ""
        return (
            f"{data['matrix']} matrix, {data['units']}: ρ = {data['radius']:.2f}, σ_max = {data['sigma_max']:.2f}; the "
            f"norm of ∂h_t/∂h_0 {peak}{ends}."
        )


class ClippingCompass(Explorer):
    """What does clipping do to the length and to the direction of a step?

    Args:
        recorded: the gradients of a training, one list of tensors a step, as ``[p.grad.clone() for p in params]``.
    """

    title = "Clipping compass"
    question = "lower θ further and further: does clipping each tensor, or each value, turn the arrow ever more?"
    most_settings = 240  # three controls
    presets = {  # noqa: RUF012
        "the usual: norm 1": {"theta": 1.0, "method": "all together, by norm"},
        "clip everything": {"theta": 0.1, "method": "all together, by norm"},
        "each value": {"theta": 0.01, "method": "each value"},
        "each tensor": {"theta": 0.1, "method": "each tensor, by its norm"},
    }

    def __init__(self, recorded):
        check_recorded(recorded)
        self.tensors = [torch.stack([g.flatten() for g in gs]).double().cpu() for gs in zip(*recorded, strict=True)]
        self.methods = {
            "all together, by norm": self._by_norm,
            "each tensor, by its norm": self._by_tensor,
            "each value": self._by_value,
        }
        super().__init__(
            theta=widgets.FloatLogSlider(
                1.0, min=-3, max=2, step=0.1, description="threshold θ", continuous_update=False
            ),
            method=widgets.ToggleButtons(
                options=list(self.methods), value="each tensor, by its norm", description="clip"
            ),
            step=widgets.IntSlider(
                min(40, len(recorded)), min=1, max=len(recorded), description="training step", continuous_update=False
            ),
        )

    @classmethod
    def default_arguments(cls):
        """Thirty made-up steps of two tensors are enough to move the controls."""
        generator = torch.Generator().manual_seed(0)
        shapes, sizes = ((4, 6), (6,)), torch.logspace(-1, 1, 30)
        return {"recorded": [[size * torch.randn(s, generator=generator) for s in shapes] for size in sizes]}

    def _by_norm(self, theta):
        norms = torch.cat(self.tensors, 1).norm(dim=1, keepdim=True)  # (steps, 1); 0 asks for a factor of 1
        return [g * torch.clamp(theta / norms, max=1) for g in self.tensors]

    def _by_tensor(self, theta):
        return [g * torch.clamp(theta / g.norm(dim=1, keepdim=True), max=1) for g in self.tensors]

    def _by_value(self, theta):
        return [g.clamp(-theta, theta) for g in self.tensors]

    def measure(self, theta, method, step):
        """Return the norms before and after, the angle between both in degrees, and whether a step was clipped.

        Raises:
            ValueError: for an unknown method, a step that was not recorded, or a theta that is not above 0.
        """
        if method not in self.methods:
            raise ValueError(f"method={method!r} is not known: use one of {', '.join(map(repr, self.methods))}")
        if not theta > 0:
            raise ValueError(f"theta={theta!r} must be above 0: it is the largest norm or value to allow")
        before = torch.cat(self.tensors, 1)  # (steps, parameters)
        if not 1 <= step <= len(before):
            raise ValueError(f"step={step!r} is not one of the {len(before)} recorded steps")
        after = torch.cat(self.methods[method](theta), 1)
        cosines = torch.cosine_similarity(before, after, dim=1).clamp(-1, 1)
        cosines[~before.any(dim=1)] = 1.0  # what is zero doesn't turn
        return {
            "theta": theta,
            "method": method,
            "step": step,
            "before": before.norm(dim=1).numpy(),
            "after": after.norm(dim=1).numpy(),
            "angles": torch.rad2deg(torch.arccos(cosines.where(cosines < 1 - 1e-12, 1.0))).numpy(),
            "clipped": (before != after).any(dim=1).numpy(),
        }

    def draw(self, data):
        """The gradient before and after, in the plane that holds both; all norms by step; their histograms."""
        fig = Figure(figsize=(7.2, 3.6))
        grid = fig.add_gridspec(1, 3, width_ratios=[6, 6, 2], left=0.11, right=0.98, bottom=0.15, top=0.91, wspace=0.45)
        compass, by_step, counts = (fig.add_subplot(place) for place in grid)
        counts.sharey(by_step)
        self._draw_compass(compass, data)
        norms = np.concatenate([data["before"], data["after"]])
        low, high = (norms[norms > 0].min(), norms.max()) if norms.any() else (0.01, 1.0)  # a log axis has no 0
        by_step.set_yscale("log")
        if not norms.any():
            by_step.set_ylim(low, high)
        steps = np.arange(1, len(data["before"]) + 1)
        by_step.plot(steps, data["before"], ".", color=plots.GREY, markersize=4, label="before")
        by_step.plot(steps, data["after"], "x", color=plots.ORANGE, markersize=4, label="after")
        at = data["step"] - 1
        by_step.plot(data["step"], data["before"][at], "o", color=plots.INK, markersize=11, fillstyle="none")
        by_step.set_xlabel("training step")
        by_step.set_ylabel("norm of the whole gradient")
        by_step.set_title(f"{data['clipped'].mean():.0%} of the steps are clipped", fontsize=10)
        by_step.legend(loc="upper right", handletextpad=0.2)
        bins = np.geomspace(low / 1.1, high * 1.1, 25)
        counts.hist(data["before"], bins, orientation="horizontal", color=plots.GREY, alpha=0.6)
        counts.hist(data["after"], bins, orientation="horizontal", histtype="step", color=plots.ORANGE, linewidth=1.5)
        counts.tick_params(labelleft=False, which="both")
        counts.set_xlabel("steps")
        if data["method"] == "all together, by norm":
            for axes in (by_step, counts):
                axes.axhline(data["theta"], color=plots.BLUE, linewidth=0.9, linestyle="--")
        return fig

    def _draw_compass(self, axes, data):
        at = data["step"] - 1
        before, after, angle = data["before"][at], data["after"][at], np.deg2rad(data["angles"][at])
        tip = after * np.cos(angle), after * np.sin(angle)
        size = before or 1.0  # of the picture, where the gradient is zero
        limit = 1.15 * size
        axes.plot([0, limit * np.cos(angle)], [0, limit * np.sin(angle)], ":", color=plots.ORANGE, linewidth=1)
        if data["method"] == "all together, by norm":
            axes.add_patch(Circle((0, 0), data["theta"], fill=False, color=plots.BLUE, linestyle="--"))
        for (x, y), color, width in (((before, 0), plots.GREY, 6), (tip, plots.ORANGE, 2.5)):
            axes.plot([0, x], [0, y], color=color, linewidth=width, solid_capstyle="butt")
            axes.plot(x, y, "o", color=color, markersize=width + 4)
        axes.set(xlim=(-0.15 * size, limit), ylim=(-0.3 * size, size), aspect="equal")
        axes.set_xlabel("along the gradient")
        axes.set_ylabel("across it")
        axes.set_title(f"step {data['step']}: turned by {data['angles'][at]:.0f}°", fontsize=10)

    def describe(self, data):
        """Say how many steps are clipped, and how far this one and the worst one turn."""
        at = data["step"] - 1
        return (
            f"{data['method']}, θ = {data['theta']:.2g}: {data['clipped'].mean():.0%} of {len(data['before'])} steps "
            f"are clipped. In step {data['step']} the norm goes from {data['before'][at]:.2g} to "
            f"{data['after'][at]:.2g} and the direction turns by {data['angles'][at]:.0f}°; in any step it turns by at "
            f"most {data['angles'].max():.0f}°."
        )


class TruncationWindow(Explorer):
    """What does cutting the graph every few steps cost the gradient, and what does it save?

    Args:
        model: a language model whose state is one tensor.
        X, Y: ids and targets of a minibatch, (N, T).
    """

    title = "Truncation window"
    question = "how long must the windows be for a cosine of 0.9 with the full gradient?"

    def __init__(self, model, X, Y):
        guards.check_truncation(model, X, Y, 1)
        check_minibatch((X, Y), model)
        check_one_state(model)
        self.model, self.T = model, X.shape[1]
        self.windows = [num_steps for num_steps in range(1, self.T + 1) if self.T % num_steps == 0]
        short = min(self.windows, key=lambda num_steps: abs(num_steps - 4))
        self.presets = {
            "one step": {"num_steps": 1, "cut": True},
            "a short window": {"num_steps": short, "cut": True},
            "nothing cut": {"num_steps": short, "cut": False},
        }
        self.reach = self._reach(X, Y)
        self.by_window = {num_steps: self._truncate(X, Y, num_steps) for num_steps in self.windows}
        super().__init__(
            num_steps=widgets.SelectionSlider(
                options=self.windows, value=self.windows[len(self.windows) // 2], description="steps in a window"
            ),
            cut=widgets.Checkbox(True, description="detach the state between windows"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained model and a short minibatch are enough to move the controls."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = scratch.ScratchRNN(5, 8, dtype=torch.float64, input_scale=0.3, sigma=0.35)
            ids = torch.randint(5, (2, 13))
        return {"model": model, "X": ids[:, :-1], "Y": ids[:, 1:]}

    def _reach(self, X, Y):
        """Return the norm of d(loss of the last step) / dh_t for t = 1 .. T."""
        state, states = self.model.begin_state(len(X)), []
        for t in range(self.T):
            logits, state = self.model(X[:, t : t + 1], state)
            states.append(state)
        loss = F.cross_entropy(logits, Y[:, -1])
        return np.array([float(gradient.norm()) for gradient in torch.autograd.grad(loss, states)])

    def _truncate(self, X, Y, num_steps):
        """Return loss, gradient and stored bytes for windows of this many steps."""
        loss, gradient = gradients.truncated_gradient(self.model, X, Y, num_steps)
        stored = gradients.backward_bytes(
            lambda: self.model(X[:, :num_steps], self.model.begin_state(len(X))), self.model.parameters()
        )
        return {"loss": loss, "gradient": gradient, "stored": stored}

    def measure(self, num_steps, cut):
        """Return loss, cosine with the full gradient, stored bytes and backward steps, for this and for every window.

        Raises:
            ValueError: for a window that does not divide the sequence.
        """
        if num_steps not in self.by_window:
            raise ValueError(f"num_steps={num_steps!r} must divide {self.T}: use one of {self.windows}")
        full = self.by_window[self.T]["gradient"]
        cosines = [float(torch.cosine_similarity(run["gradient"], full, dim=0)) for run in self.by_window.values()]
        stored = [run["stored"] for run in self.by_window.values()]
        place, windows = self.windows.index(num_steps), self.T // num_steps
        # Without a cut the backward pass of every window walks through all windows before it once more.
        not_cut = num_steps * windows * (windows + 1) // 2
        return {
            "num_steps": num_steps,
            "cut": cut,
            "loss": self.by_window[num_steps]["loss"],
            "full_loss": self.by_window[self.T]["loss"],
            "cosines": cosines,
            "stored": stored,
            "cosine": cosines[place] if cut else 1.0,
            "kilobytes": (stored[place] if cut else stored[-1]) / 1000,
            "backward_steps": self.T if cut else not_cut,
            "not_cut": not_cut,
            "kept": np.arange(self.T) >= (self.T - num_steps if cut else 0),
            "reach": self.reach,
        }

    def draw(self, data):
        """The unrolled steps with the cuts and what reaches each; below, cosine and memory by window."""
        fig = Figure(figsize=(7.2, 4.4))
        grid = fig.add_gridspec(2, 2, left=0.08, right=0.98, bottom=0.12, top=0.94, hspace=0.65, wspace=0.2)
        chain, cosine, memory = (fig.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
        self._draw_chain(chain, data)
        here = data["num_steps"] if data["cut"] else self.T
        cosine.plot(self.windows, data["cosines"], "o-", color=plots.BLUE, markersize=4)
        cosine.plot(here, data["cosine"], "o", color=plots.INK, markersize=12, fillstyle="none", clip_on=False)
        if min(data["cosines"]) > 0.99:
            cosine.set_ylim(0.989, 1.001)  # the rest is rounding
        cosine.set_title("cosine with the full gradient", fontsize=10)
        memory.plot(self.windows, np.array(data["stored"]) / 1000, "s-", color=plots.GREEN, markersize=4)
        memory.plot(here, data["kilobytes"], "o", color=plots.INK, markersize=12, fillstyle="none", clip_on=False)
        memory.set_title(f"kB stored (and {data['backward_steps']} backward steps)", fontsize=10)
        for axes in (cosine, memory):
            axes.set_xscale("log", base=2)
            axes.set_xticks(self.windows, self.windows, fontsize=11 if len(self.windows) < 9 else 8)
            axes.minorticks_off()
            axes.set_xlabel("steps in a window")
        return fig

    def _draw_chain(self, axes, data):
        steps = np.arange(1, self.T + 1)
        reach = data["reach"][data["reach"] > 0]  # in float32 some underflow, and a log axis has no 0
        floor, top = (reach.min() / 10, reach.max() * 3) if len(reach) else (0.1, 1.0)
        axes.set_yscale("log")
        axes.set_ylim(floor, top)
        for group, color, hatch in ((data["kept"], plots.ORANGE, ""), (~data["kept"], "white", "////")):
            axes.bar(
                steps[group],
                data["reach"][group],
                bottom=0,
                width=0.7,
                color=color,
                hatch=hatch,
                edgecolor=plots.ORANGE,
            )
        if data["cut"]:
            for boundary in range(data["num_steps"], self.T, data["num_steps"]):
                axes.axvline(boundary + 0.5, color=plots.INK, linestyle="--", linewidth=1)
        axes.set_xlim(0.4, self.T + 0.6)
        axes.set_xlabel("step t; dashed lines: the state is detached here; hatched: cut off")
        axes.set_title(f"gradient of the loss at step {self.T} that reaches the state of step t", fontsize=10)

    def describe(self, data):
        """Say what stays the same, what is lost and what is saved."""
        how = f"windows of {data['num_steps']} steps, {'detached' if data['cut'] else 'not detached'}"
        return (
            f"{how}: the loss is {data['loss']:.4f} (in one piece {data['full_loss']:.4f}), the cosine with the full "
            f"gradient {data['cosine']:.3f}; {data['kilobytes']:.0f} kB are stored. Going backward takes {self.T} "
            f"steps if the windows are detached, {data['not_cut']} if they are not."
        )


EXPLORERS = (JacobianLab, ClippingCompass, TruncationWindow)
