"""Draw the recorded results beside d2l's: `python -m benchmarks picture` writes rnnlib/results/overview.png."""

import json

from benchmarks import record
from rnnlib import plots

MODELS = ("FastRNN", "nn.RNN", "ScratchRNN", "d2l 0.17")  # from the bottom up


def rows_of(name):
    """Return the rows that a benchmark has recorded."""
    return json.loads((record.RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def draw():
    """Return a Figure: training speed as a multiple of d2l's, and CPU seconds to a training perplexity of 1.1."""
    plots.use_style()
    fig, (speeds, races) = plots.new_figure(9, 3.2, columns=2, width_ratios=[1, 1.1])
    ratios = {(row["H"], row["model"]): row["ratio to d2l"] for row in rows_of("speed") if "ratio to d2l" in row}
    for num_hiddens, shift, colour in ((256, 0.2, plots.SKY), (512, -0.2, plots.BLUE)):
        widths = [ratios[num_hiddens, model] for model in MODELS]
        places = [place + shift for place in range(len(MODELS))]
        bars = speeds.barh(places, widths, height=0.38, color=colour, label=f"H = {num_hiddens}")
        speeds.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    speeds.set_yticks(range(len(MODELS)), MODELS)
    speeds.margins(x=0.15)
    speeds.set_title("training speed on a CPU, d2l = 1")
    speeds.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    runs = rows_of("recipes")[::-1]
    bars = races.barh([row["recipe"] for row in runs], [row["CPU s to 1.1"] for row in runs], color=plots.BLUE)
    races.bar_label(bars, fmt="%.1f s", padding=3, fontsize=9)
    races.margins(x=0.2)
    races.set_title("CPU seconds to perplexity 1.1")
    return fig


def write():
    """Draw the picture and keep it beside the results."""
    (record.RESULTS / "overview.png").write_bytes(plots.png(draw()))
