"""What all explorers share: a pure function from values to a figure, and thin controls over it."""

import os

from IPython.display import display

from rnnlib import plots
from rnnlib.explore import frames
from rnnlib.guards import check_typed
from rnnlib.text import clean


def typed(vocab, characters):
    """Return what a reader typed as a network can read it: as it is, or cleaned as the texts of the book are.

    Raises:
        ValueError: for characters that the network has never seen even so.
    """
    if not all(character in vocab for character in characters):
        characters = clean(characters) or characters
    check_typed(vocab, characters)
    return characters


def _choices(control):
    """Return the values that a control offers, or None where it is not a choice."""
    options = getattr(control, "options", None)
    if options is None:
        return None
    return [option[1] if isinstance(option, tuple) else option for option in options]


class Explorer:
    """One question that a reader answers by moving at most three controls.

    A subclass names its controls in ``__init__`` and writes three pure functions: ``measure(**values)`` computes,
    ``draw(data)`` makes the figure, ``describe(data)`` says its finding in a sentence.

    Attributes:
        title, question: the heading, and what to predict before moving anything.
        presets: settings worth trying, by name.
        controls: dict of ipywidgets by name; their values are the arguments of ``measure``. For a choice take
            ToggleButtons: JupyterLab keeps the arrow keys from a Dropdown and moves to another cell instead.
        most_settings: how many pictures a page without a kernel may have of it.
    """

    title = ""
    question = ""
    presets: dict[str, dict] = {}  # noqa: RUF012 - a table that nobody changes
    most_settings = 120

    def __init__(self, **controls):
        self.controls = controls
        self._picture = self._sentence = None
        self._setting_preset = False

    @classmethod
    def default_arguments(cls):
        """Return the arguments that build a small instance, for :func:`rnnlib.explore.catalogue`."""
        return {}

    def measure(self, **values):
        """Compute what the figure shows, without drawing."""
        raise NotImplementedError

    def draw(self, data):
        """Return the Figure of measured data."""
        raise NotImplementedError

    def describe(self, data):
        """Return the finding in measured data as a sentence, the figure's text for readers who can't see it."""
        raise NotImplementedError

    def settings(self):
        """Return each control's values to draw for pages without a kernel, a dict of lists; their grid is drawn."""
        return frames.settings_to_draw(self, self.most_settings)

    def on_page(self):
        """Return what a page without a kernel shows: this explorer, or a twin whose network is small enough for it."""
        return self

    def assets(self):
        """Return what a page without a kernel needs to compute by itself; most compute nothing."""
        return {}

    def values(self, **values):
        """Return the controls' values, replaced by those that are given.

        Raises:
            ValueError: for a name that is not a control, or a value that a choice does not offer.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(
                    f"{name!r} is not a control of {type(self).__name__}: it has {', '.join(self.controls)}"
                )
            choices = _choices(self.controls[name])
            if choices is not None and value not in choices:
                raise ValueError(f"{name}={value!r} is not known: use one of {', '.join(map(repr, choices))}")
        return {name: control.value for name, control in self.controls.items()} | values

    def figure(self, **values):
        """Return the Figure for these values; what is not given comes from the controls."""
        return self.draw(self.measure(**self.values(**values)))

    def readout(self, **values):
        """Return the finding for these values as a sentence."""
        return self.describe(self.measure(**self.values(**values)))

    def show(self):
        """Show controls, picture and finding. Without a running kernel the stored picture and sentence remain."""
        import ipywidgets as widgets

        for control in self.controls.values():
            control.style.description_width = "200px"
            control.layout.width, control.layout.max_width = "540px", "95%"  # a zoomed page is narrower
            if isinstance(control, widgets.ToggleButtons):
                control.style.button_width, control.layout.display = "auto", "flex"  # beside its label
            else:
                control.tooltip = control.description  # for a name cut off at the edge
            control.observe(self._on_change, "value")
        heading = widgets.HTML(f"<b>{self.title}</b><br>Predict first: {self.question}")
        buttons = [self._preset_button(name) for name in self.presets]
        wrap = widgets.Layout(flex_flow="row wrap")
        row = widgets.HBox([widgets.Label("Try:"), *buttons], layout=wrap) if buttons else None
        box = widgets.VBox([heading, *self.controls.values(), *([row] if row else [])])
        bundle = box._repr_mimebundle_()
        names = ", ".join(control.description for control in self.controls.values())
        hint = f"Run this cell in JupyterLab to move: {names}."
        bundle["text/plain"] = f"{self.title}. Predict first: {self.question} {hint}"
        bundle["text/markdown"] = f"**{self.title}**  \nPredict first: {self.question}\n\n*{hint}*"
        display(bundle, raw=True)
        self._picture = self._sentence = None
        self._refresh()
        if folder := os.environ.get("RNNLIB_FRAMES"):  # `make notebooks` asks for pictures of all settings
            frames.write_frames(self, folder)

    def measure_on_page(self, **values):
        """Measure for the page; a slow explorer overrides this to :meth:`publish` what it has on the way."""
        return self.measure(**values)

    def publish(self, data):
        """Show measured data on the page; the sentence is also the picture's alternative text."""
        sentence = self.describe(data)
        if self._sentence is None:
            self._picture = plots.Picture(self.draw(data), sentence)
            text = {"text/markdown": f"**Seen:** {sentence}", "text/plain": f"Seen: {sentence}"}
            self._sentence = display(text, raw=True, display_id=True)
        else:
            self._picture.alt = sentence
            self._picture.update(self.draw(data))
            self._say("Seen", sentence)

    def _refresh(self):
        """Measure and show; a bad input is explained in the sentence while the old picture stays."""
        try:
            data = self.measure_on_page(**self.values())
        except ValueError as error:
            if self._sentence is None:
                raise
            self._say("Not possible", error)
            return
        self.publish(data)

    def _say(self, what, text):
        """Replace the finding."""
        self._sentence.update({"text/markdown": f"**{what}:** {text}", "text/plain": f"{what}: {text}"}, raw=True)

    def _respond(self):
        """Refresh after a reader's move; an error would go unseen beside the old picture, so it is told."""
        try:
            self._refresh()
        except Exception as error:
            self._say("Error", f"{type(error).__name__}: {error}")
            raise

    def _on_change(self, change):
        if not self._setting_preset:
            self._respond()

    def _preset_button(self, name):
        import ipywidgets as widgets

        button = widgets.Button(description=name, layout=widgets.Layout(width="auto"))

        def press(_):
            self._setting_preset = True
            try:
                for control, value in self.presets[name].items():
                    self.controls[control].value = value
            finally:
                self._setting_preset = False
            self._respond()

        button.on_click(press)
        return button
