"""Explorers of chapter 9: where a decoder looks, what one state can hold, what a beam keeps."""

import copy

import ipywidgets as widgets
import torch

from rnnlib import attention, drawings, guards, plots, pretrained
from rnnlib.attention import BOS, EOS, LETTERS, PHONEMES
from rnnlib.explore import frames
from rnnlib.explore.frame import Explorer

MAX_STEPS = 20  # of what the explorers write
LONGEST = 16  # letters of a word, as in the dictionary


# Drawings


# What a word gives


def _letters_of(word):
    """Return a word in small letters; raise a ValueError that names the remedy unless it has 1 to 16 of a to z."""
    letters = word.strip().lower()
    if not 1 <= len(letters) <= LONGEST or not all(letter in LETTERS.tokens[4:] for letter in letters):
        raise ValueError(f"{word!r} can't be read: type one word of 1 to {LONGEST} letters from a to z")
    return letters


@torch.no_grad()
def look(model, source, max_steps=MAX_STEPS):
    """Return what a model writes for a source (1, S), <eos> included, its weights (T, S) and logits (T, V)."""
    written = attention.greedy(model, source, max_steps)  # (1, T)
    logits, _, weights = model.decoder(attention.shift_right(written), model.encoder(source))
    return written[0].tolist(), weights[0].cpu().numpy(), logits[0].cpu()


@torch.no_grad()
def phoneme_network(model):
    """Return an EncoderDecoder with dot scores for pages."""
    encoder, decoder = model.encoder, model.decoder
    layers = {
        "ahead": (encoder.embedding, encoder.rnn.ahead),
        "back": (encoder.embedding, encoder.rnn.back),
        "decoder": (decoder.embedding, decoder.rnn),
    }
    linear = {"keys": encoder.to_keys, "state": encoder.to_state, "join": decoder.join, "readout": decoder.readout}
    parts = {name: {"E": frames.compact(E.weight)} | frames.by_gate(layer) for name, (E, layer) in layers.items()}
    parts |= {name: {"W": frames.compact(L.weight.T), "b": frames.compact(L.bias)} for name, L in linear.items()}
    return {"letters": LETTERS.tokens, "phonemes": PHONEMES.tokens} | parts


class PhonemeExplorer(Explorer):
    """What explorers of a model from letters to phonemes share: the page has its network, in numbers of 16 bits."""

    def on_page(self):
        """Return a twin whose network has the numbers that its page carries."""
        twin = copy.copy(self)
        twin.model = frames.rounded(self.model)
        return twin

    def assets(self):
        """The network itself, so that a reader of the page may type."""
        return {"reads": type(self).__name__, "network": phoneme_network(self.model)}


# Explorers


class AttentionInspector(PhonemeExplorer):
    """What does the decoder look at when it says a phoneme? Type any word.

    Args:
        model: an EncoderDecoder with attention from letters to phonemes; that of the checkpoint by default.
        word: the word to begin with.
    """

    title = "Attention inspector"
    question = "which letters does it look at for the phoneme of the step you choose?"
    presets = {  # noqa: RUF012
        "photograph": {"word": "photograph", "step": 1},
        "nation": {"word": "nation", "step": 3},
        "knight": {"word": "knight", "step": 1},
        "not in any dictionary": {"word": "jabberwockian", "step": 5},
    }

    def __init__(self, model=None, word="photograph"):
        guards.check_text(word=word)
        self.model = model or pretrained.trained_phoneme_model()
        super().__init__(
            word=widgets.Text(word, description="word", continuous_update=False),
            step=widgets.IntSlider(1, min=1, max=MAX_STEPS, description="step of the decoder"),
        )

    def measure(self, word, step):
        """Return letters, phonemes, weights (T, S), the step that is shown, and the three likeliest phonemes there."""
        letters = _letters_of(word)
        device = next(self.model.parameters()).device
        ids, weights, logits = look(self.model, torch.tensor([LETTERS[list(letters)]], device=device))
        step = min(step, len(ids))
        p, best = logits.softmax(-1)[step - 1].topk(3)
        return {
            "letters": letters,
            "phonemes": PHONEMES.decode(ids),
            "weights": weights,
            "step": step,
            "candidates": list(zip(PHONEMES.decode(best), p.tolist(), strict=True)),
        }

    def draw(self, data):
        """The map with the chosen row framed, the row as bars, and the candidates."""
        fig, axes = plots.stacked_axes(5.2, [3.4, 1.5], left=0.1, right=0.97, hspace=0.3)
        grid, bars = axes
        row, S = data["step"] - 1, len(data["letters"])
        drawings.draw_map_on(grid, data["weights"], data["letters"], data["phonemes"])
        grid.plot([-0.5, S - 0.5, S - 0.5, -0.5, -0.5], [row - 0.5] * 2 + [row + 0.5] * 2 + [row - 0.5], plots.ORANGE)
        grid.set_title("each row: where the decoder looks before it says this phoneme", fontsize=10)
        bars.bar(range(S), data["weights"][row], color=plots.ORANGE)
        bars.set_xticks(range(S), data["letters"], family="monospace")
        bars.set(xlim=(-0.5, S - 0.5), ylim=(0, 1.05), ylabel="weight")
        names = ", ".join(f"{name.replace('<eos>', '⏎')} {p:.2f}" for name, p in data["candidates"])
        bars.set_title(f"step {data['step']}; likeliest: {names}", fontsize=10)
        return fig

    def describe(self, data):
        """Say what is written and where most of the weight lies."""
        row = data["weights"][data["step"] - 1]
        place = int(row.argmax())
        spoken = " ".join(phoneme for phoneme in data["phonemes"] if phoneme != "<eos>")
        now = data["phonemes"][data["step"] - 1].replace("<eos>", "the end (⏎)")
        return (
            f"“{data['letters']}” is read as {spoken}. At step {data['step']} it says {now} and looks most at letter "
            f"{place + 1}, “{data['letters'][place]}”, with weight {row[place]:.2f}."
        )


class Bottleneck(Explorer):
    """How long a string can a decoder copy from one state, and with attention? Measured beforehand.

    Args:
        rows: dicts with ``model`` ("none" or "dot"), ``hidden`` and the exact match at each length, "1" to "25".
    """

    title = "Bottleneck"
    question = "how much further does a state of twice the size carry, and how far does attention?"
    presets = {  # noqa: RUF012
        "short": {"length": 4},
        "long": {"length": 18},
        "longer than ever seen": {"length": 25},
        "a large state": {"length": 10, "hidden": 128},
    }

    def __init__(self, rows):
        guards.check_rows_with(("model", "hidden", "1"), rows)
        self.curves = {(row["model"], row["hidden"]): row for row in reversed(rows)}
        self.lengths = sorted(int(key) for key in rows[0] if key.isdecimal())
        sizes = sorted({row["hidden"] for row in rows})
        super().__init__(
            length=widgets.IntSlider(10, min=self.lengths[0], max=self.lengths[-1], description="length of the string"),
            hidden=widgets.ToggleButtons(options=sizes, value=sizes[len(sizes) // 2], description="hidden units H"),
        )

    @classmethod
    def default_arguments(cls):
        """Curves that halve are enough to move the controls."""
        curve = {str(length): 0.5**length for length in range(1, 26)}
        flat = {str(length): 1.0 for length in range(1, 26)}
        sizes = (32, 64, 128)
        return {"rows": [{"model": m, "hidden": h} | c for h in sizes for m, c in (("none", curve), ("dot", flat))]}

    def measure(self, length, hidden):
        """Return both curves for this size of the state, and the exact match at this length."""
        curves = {
            name: [self.curves[kind, hidden][str(n)] for n in self.lengths]
            for name, kind in (("without attention", "none"), ("with attention", "dot"))
        }
        at = {name: curve[self.lengths.index(length)] for name, curve in curves.items()}
        return {"length": length, "hidden": hidden, "curves": curves, "at": at}

    def draw(self, data):
        """Exact match by length; the trained lengths end at a dotted line."""
        fig, axes = plots.new_figure(height=3.6)
        styles = {"without attention": (plots.BLUE, "o-"), "with attention": (plots.ORANGE, "s--")}
        for name, (colour, line) in styles.items():
            axes.plot(self.lengths, data["curves"][name], line, color=colour, markersize=4, label=name)
        axes.axvline(20.5, color=plots.GREY, linestyle=":", linewidth=1)
        axes.text(20.6, 1.06, "longer than trained", fontsize=9, color=plots.GREY, va="bottom")
        axes.axvspan(data["length"] - 0.5, data["length"] + 0.5, color=plots.YELLOW, alpha=0.25, linewidth=0)
        axes.set(xlim=(0, self.lengths[-1] + 1), ylim=(-0.04, 1.05), xlabel="length of the string")
        axes.set_ylabel("copied without a mistake")
        axes.legend(loc="lower left")
        return fig

    def describe(self, data):
        """Say both shares."""
        without, with_it = (data["at"][name] for name in ("without attention", "with attention"))
        return (
            f"H = {data['hidden']}, strings of {data['length']} letters: {without:.0%} are copied without a mistake "
            f"from one state, {with_it:.0%} with attention."
        )


class BeamTree(PhonemeExplorer):
    """What does a beam keep, and what does it cut? Type any word.

    Args:
        model: an EncoderDecoder from letters to phonemes; that of the checkpoint by default.
        word: the word to begin with.
    """

    title = "Beam"
    question = "does a wider beam find a likelier way to say this word, and is it a better one?"
    presets = {  # noqa: RUF012
        "greedy": {"width": 1},
        "a beam of three": {"width": 3},
        "read": {"word": "read", "width": 3},
        "a hard name": {"word": "sioux", "width": 4},
    }
    shown_cut = 2  # beginnings shown at each step that fell out

    def __init__(self, model=None, word="lead"):
        guards.check_text(word=word)
        self.model = model or pretrained.trained_phoneme_model()
        super().__init__(
            word=widgets.Text(word, description="word", continuous_update=False),
            width=widgets.IntSlider(3, min=1, max=5, description="width of the beam"),
        )

    @torch.no_grad()
    def measure(self, word, width):
        """Return the steps of the search, each a list of nodes (parent, phoneme, log-probability, fate)."""
        letters = _letters_of(word)
        device = next(self.model.parameters()).device
        source = torch.tensor([LETTERS[list(letters)]], device=device)
        memory, state = self.model.encoder(source), None
        ids, scores, steps, alive, ended = torch.full_like(source[:, :1], BOS), torch.zeros(1), [], [0], 0
        for _ in range(MAX_STEPS):
            logits, state, _ = self.model.decoder(ids, memory, state)  # (K, 1, V)
            room = width - ended
            log_p = logits[:, -1].log_softmax(-1).cpu()
            found, parents, tokens = attention.extend_beams(scores, log_p, room + self.shown_cut)
            nodes = []
            for place, (score, parent, token) in enumerate(
                zip(found.tolist(), parents.tolist(), tokens.tolist(), strict=True)
            ):
                fate = "cut" if place >= room else "ended" if token == EOS else "kept"
                nodes.append({"parent": alive[parent], "phoneme": PHONEMES.tokens[token], "score": score, "fate": fate})
            steps.append(nodes)
            alive = [place for place, node in enumerate(nodes) if node["fate"] == "kept"]
            ended += sum(node["fate"] == "ended" for node in nodes)
            if not alive:
                break
            ids = tokens[alive, None].to(device)
            scores, state = found[alive], state[:, parents[alive].to(device)]
        texts = attention.beam_search(self.model, source, width, MAX_STEPS)
        results = [(score, " ".join(PHONEMES.decode(text))) for score, text in texts]
        return {"word": letters, "width": width, "steps": steps, "results": results}

    def draw(self, data):
        """A tree from left to right: kept beginnings, ended texts, and what was cut."""
        fig, (axes,) = plots.stacked_axes(4.4, [1], left=0.02, right=0.985, bottom=0.06)
        styles = {"kept": (plots.SKY, "-"), "ended": (plots.YELLOW, "-"), "cut": ("#EEEEEE", ":")}
        size = 9.5 if len(data["steps"]) <= 9 else 7.5
        for t, nodes in enumerate(data["steps"]):
            for place, node in enumerate(nodes):
                colour, line = styles[node["fate"]]
                start = (t, -node["parent"])
                axes.plot([start[0], t + 1], [start[1], -place], line, color=plots.GREY, linewidth=1, zorder=1)
                label = f"{node['phoneme'].replace('<eos>', '⏎')}\n{node['score']:.1f}"
                box = {"boxstyle": "round,pad=0.2", "facecolor": colour, "edgecolor": "none"}
                axes.text(t + 1, -place, label, ha="center", va="center", fontsize=size, bbox=box, zorder=2)
        axes.text(0, 0, data["word"], ha="center", va="center", bbox={"facecolor": "white", "edgecolor": "none"})
        rows = max(4, *(len(nodes) for nodes in data["steps"]))
        axes.set(xlim=(-0.5, max(4, len(data["steps"])) + 0.4), ylim=(0.4 - rows, 0.6))
        axes.set_title("blue: kept, yellow: ended (⏎), grey: cut; the numbers are log p so far", fontsize=10)
        axes.axis("off")
        return fig

    def describe(self, data):
        """Name the results with their log-probabilities."""
        found = "; ".join(f"{text} ({score:.2f})" for score, text in data["results"][:3])
        return f"“{data['word']}” with a beam of {data['width']}: {found}."


EXPLORERS = (AttentionInspector, Bottleneck, BeamTree)
