"""Explorers of chapter 11: rows that grow, a maze, and a recurrence."""

import itertools
import math

import ipywidgets as widgets
import numpy as np
import torch
from torch import nn

from rnnlib import beyond, drawings, guards, mazes, plots
from rnnlib.explore.frame import Explorer
from rnnlib.layers import ManyToOne


class StartLength(Explorer):
    """How short must the first rows be, so that parity of 32 bits is learned?"""

    title = "Start length"
    question = "with rows of 32 from the start, is anything learned? And with 8, or 2?"
    most_settings = 40  # each is a training
    presets = {"2": {"start": 2}, "4": {"start": 4}, "32, all at once": {"start": 32}}  # noqa: RUF012
    goal = 32

    def __init__(self, max_steps=400):
        guards.check_sizes(max_steps=max_steps)
        self.max_steps = max_steps
        super().__init__(
            start=widgets.IntSlider(2, min=1, max=self.goal, description="first length", continuous_update=False),
            seed=widgets.IntSlider(0, min=0, max=4, description="seed", continuous_update=False),
        )

    @classmethod
    def default_arguments(cls):
        """Few steps are enough to move the controls."""
        return {"max_steps": 30}

    def train(self, start, seed):
        """Yield what is known so far, after each minibatch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = ManyToOne(nn.LSTM(1, 32), 2)
        data = {"start": start, "seed": seed, "lengths": [], "rights": [], "solved": False}
        for length, right in itertools.islice(beyond.parity_steps(model, start, self.goal, seed), self.max_steps):
            data["lengths"].append(length)
            data["rights"].append(right)
            data["solved"] = length == self.goal and right >= 0.97
            yield data
            if data["solved"]:
                return

    def measure(self, start, seed):
        """Return the length and the share of right answers of every minibatch until the goal or the last step."""
        *_, data = self.train(start, seed)
        return data

    def measure_on_page(self, start, seed):
        """The same, shown on the way."""
        for number, data in enumerate(self.train(start, seed), start=1):
            if number % 100 == 0:
                self.publish(data)
        return data

    def draw(self, data):
        """Share of right answers above, length of the rows below."""
        fig, (right, length) = plots.stacked_axes(4.0, [3, 2], left=0.1, bottom=0.11, right=0.97, hspace=0.2)
        steps = np.arange(1, len(data["rights"]) + 1)
        right.plot(steps, data["rights"], ".", color=plots.BLUE, markersize=4)
        right.axhline(0.5, color=plots.GREY, linewidth=0.8, linestyle=":")
        right.set(ylim=(0, 1.04), ylabel="share right", xticklabels=[])
        length.step(steps, data["lengths"], where="mid", color=plots.ORANGE)
        length.axhline(self.goal, color=plots.GREY, linewidth=0.8, linestyle=":")
        length.set(ylim=(0, self.goal * 1.1), ylabel="bits in a row", xlabel="minibatch of 64 rows")
        for axes in (right, length):
            axes.set_xlim(0, self.max_steps)
        right.set_title(f"first rows of {data['start']}, seed {data['seed']}")
        return fig

    def describe(self, data):
        """Say whether the goal was reached, and when."""
        begun = f"begun with rows of {data['start']}"
        if data["solved"]:
            return f"{begun}, rows of {self.goal} are right after {len(data['rights'])} minibatches."
        last = data["rights"][-50:]
        return (
            f"{begun}, rows of {data['lengths'][-1]} are reached after {len(data['rights'])} minibatches; "
            f"the last {len(last)} are {np.mean(last):.0%} right, and guessing gets 50%."
        )


class MazeWalk(Explorer):
    """How does a trained policy carry the sign to the junction?

    Args:
        policy: a :class:`rnnlib.mazes.Policy`.
    """

    title = "The maze"
    question = "trained in corridors of 10: will it turn right after 40?"
    presets = {  # noqa: RUF012
        "as trained": {"length": 10, "sign": "up"},
        "the other sign": {"length": 10, "sign": "down"},
        "four times as long": {"length": 40, "sign": "up"},
    }
    signs = {"up": 1, "down": 2}  # noqa: RUF012
    shown = 8

    def __init__(self, policy):
        guards.check_language_models(policy=policy)
        self.policy = policy
        super().__init__(
            length=widgets.IntSlider(10, min=2, max=60, description="corridor, steps"),
            sign=widgets.ToggleButtons(options=list(self.signs), description="sign"),
        )

    @classmethod
    def default_arguments(cls):
        """An untrained policy is enough to move the controls."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {"policy": mazes.Policy(12)}

    @torch.no_grad()
    def walk(self, length, sign):
        """Walk ahead to the junction; return the states (L + 1, H) and the chances of the three actions there."""
        maze = mazes.TMaze(1, length, torch.Generator().manual_seed(0))
        maze.sign = torch.tensor([sign])
        state, states = self.policy.begin_state(1), []
        for _ in range(length + 1):
            scores, _, state = self.policy(maze.observe(), state)
            states.append(state)
            maze.act(torch.zeros(1, dtype=torch.int64))
        return torch.cat(states).numpy(), scores.softmax(1)[0].tolist()

    def measure(self, length, sign):
        """Return the states along the corridor of the units that the two signs move apart most, and the chances."""
        states = {name: self.walk(length, number) for name, number in self.signs.items()}
        apart = np.abs(states["up"][0] - states["down"][0])  # (L + 1, H)
        units = np.argsort(-apart[-1])[: self.shown]
        walked, chances = states[sign]
        return {
            "length": length,
            "sign": sign,
            "units": units,
            "states": walked[:, units],
            "apart": apart[:, units].mean(1),
            "chances": chances,
        }

    def draw(self, data):
        """The maze, below it the states on the way, and how far apart the signs are."""
        fig, (maze, states, apart) = plots.stacked_axes(4.8, [2, 3, 2], left=0.12, bottom=0.1, hspace=0.25)
        drawings.draw_maze_on(maze, data["length"], self.signs[data["sign"]], place=data["length"])
        _, up, down = data["chances"]
        maze.set_title(f"at the junction: up {up:.0%}, down {down:.0%}")
        steps = np.arange(-0.5, data["length"] + 1)
        states.pcolormesh(steps, np.arange(self.shown + 1), data["states"].T, cmap="PuOr", vmin=-1, vmax=1)
        states.set(ylabel=f"{self.shown} units", yticks=[], xticklabels=[])
        apart.plot(np.arange(data["length"] + 1), data["apart"], color=plots.BLUE)
        apart.set(ylim=(0, 2), ylabel="signs apart", xlabel="step")
        for axes in (states, apart):
            axes.set_xlim(maze.get_xlim())
        return fig

    def describe(self, data):
        """Say what happens at the junction."""
        chance = data["chances"][self.signs[data["sign"]]]
        return (
            f"the sign says {data['sign']}; {data['length']} steps later the policy turns {data['sign']} with "
            f"probability {chance:.2f}; in these units the two signs lie {data['apart'][-1]:.2f} apart."
        )


class Recurrence(Explorer):
    """What does h = a h + b remember?"""

    title = "h = a h + b"
    question = "the marked value shall be kept for 30 steps, whatever comes after it: which a, fixed or chosen?"
    presets = {  # noqa: RUF012
        "forgets at once": {"a": 0.5, "gate": "fixed"},
        "slow": {"a": 0.95, "gate": "fixed"},
        "never lets go": {"a": 1.0, "gate": "fixed"},
        "chosen by the input": {"gate": "chosen by the input"},
    }
    marks = (6, 40)

    def __init__(self, num_steps=60):
        guards.check_sizes(num_steps=num_steps)
        self.num_steps = num_steps
        super().__init__(
            a=widgets.FloatSlider(0.9, min=0.0, max=1.0, step=0.01, description="a, what is kept"),
            signal=widgets.ToggleButtons(options=["pulses", "pulses in noise"], description="input x"),
            gate=widgets.ToggleButtons(options=["fixed", "chosen by the input"], description="a and b"),
        )

    def measure(self, a, signal, gate):
        """Return the input, and the states of h = a h + b with b = (1 - a) x, or with a = 0 at the marks and 1 between.

        Where a is 1, b = (1 - a) x would write nothing at all, so there b = x: the state adds up what it reads.
        """
        generator = torch.Generator().manual_seed(1)
        noise = 0.35 * torch.randn(self.num_steps, generator=generator)
        x = noise if signal == "pulses in noise" else torch.zeros(self.num_steps)
        x[list(self.marks)] = torch.tensor([1.0, -0.6])
        kept = torch.full_like(x, a)
        written = x * (1 - a if a < 1 else 1.0)
        if gate != "fixed":
            marked = torch.zeros(self.num_steps, dtype=torch.bool)
            marked[list(self.marks)] = True
            kept, written = (~marked).float(), x * marked
        h = beyond.linear_recurrence(kept, written, torch.zeros(()))
        return {"a": a, "gate": gate, "x": x.numpy(), "h": h.numpy()}

    def draw(self, data):
        """The input above, the state below."""
        fig, (above, below) = plots.stacked_axes(4.2, [1, 1], left=0.12, bottom=0.12, hspace=0.2)
        steps = np.arange(self.num_steps)
        plots.narrow_bars(above, steps, data["x"], color=plots.SKY)
        above.plot(self.marks, data["x"][list(self.marks)], "o", color=plots.ORANGE)
        above.set(ylabel="input x", ylim=(-1.3, 1.3), xticklabels=[])
        below.plot(steps, data["h"], color=plots.BLUE)
        below.set(ylabel="state h", xlabel="step")
        low, high = data["h"].min(), data["h"].max()
        below.set_ylim(min(low, -0.1) * 1.1, max(high, 0.1) * 1.1)
        for axes in (above, below):
            axes.axhline(0, color=plots.GREY, linewidth=0.6)
            axes.set_xlim(-1, self.num_steps)
        above.set_title(
            "a and b chosen by the input" if data["gate"] != "fixed" else f"a = {data['a']:.2f} at every step"
        )
        return fig

    def describe(self, data):
        """Say what is left of the first mark 30 steps later."""
        first = self.marks[0]
        now, later = data["h"][first], data["h"][first + 30]
        if data["gate"] != "fixed":
            return f"with a and b chosen by the input, h is {now:.2f} at the mark and {later:.2f} 30 steps later."
        if data["a"] == 1.0:
            return "a = 1.00: nothing is forgotten, and everything that comes in is added on top."
        if data["a"] == 0.0:
            return "a = 0.00: everything is forgotten at once, h is the input."
        half = math.log(0.5) / math.log(data["a"])
        return (
            f"a = {data['a']:.2f}: half of what was written is gone after {half:.1f} steps; of the first mark a share "
            f"of {data['a'] ** 30:.3f} is left 30 steps later."
        )


EXPLORERS = (StartLength, MazeWalk, Recurrence)
