"""The real ``d2l`` package, loaded beside current releases for side-by-side comparison.

``d2l`` is the package of the book "Dive into Deep Learning". Its release 0.17.0 is from 2021, so three things
stand in the way of running it today. They are met here, and only here; the rest of ``rnnlib`` never imports d2l.

1. ``from d2l import torch`` imports torchvision, although no RNN function uses it. The public Linux wheel of
   torchvision is linked against the CUDA build of PyTorch. Beside a CPU build its compiled operators can't be loaded,
   and its import stops at the first one that it wants to describe. Declaring two operator *schemas* (a name and the
   types of the arguments, no code) lets the real torchvision import. Calling these operators still raises an error.
   Where the operators can be loaded, nothing is declared.
2. d2l 0.17.0 calls ``IPython.display.set_matplotlib_formats``, which IPython 9 removed. The function that took its
   place is called instead, as d2l 0.17.5 does.
3. d2l adds up its loss as ``float(loss)`` without ``detach()``. Current PyTorch warns about it once, with a path of
   your machine in the text. The sum is right, so this one warning from this one module is silenced.

Nothing numerical changes: what you get is the published d2l, with its own models, training loop and results.

One part of the book is not in its package: the parameters and the recurrence that ``d2l.RNNModelScratch`` asks for are
left to its reader. ``d2l_model`` supplies them, written for this package to the book's recipe.
"""

import contextlib
import sys
import warnings

import torch

_REMEDY = 'in the folder of the book, pip install -c constraints.txt ".[d2l]" installs what it needs'


def load_d2l():
    """Import the published d2l 0.17 and return it as the module that its book calls ``d2l``.

    >>> d2l = load_d2l()
    >>> vocab = d2l.Vocab(list("time traveller"))

    Calling it again returns the same module.

    Returns:
        module: ``d2l.torch``.

    Raises:
        ImportError: if d2l or something that it needs is missing or fails, whatever its own exception was. The
            message is one sentence with the reason.
    """
    try:
        with warnings.catch_warnings():
            # Old code and new libraries: deprecation notices about d2l's own source help no reader of this book.
            warnings.simplefilter("ignore")
            _import_torchvision()
            from d2l import torch as d2l
    except Exception as error:
        # An old package beside new ones fails in many ways (RuntimeError, AttributeError, OSError, ...).
        raise ImportError(_reason(error), name="d2l") from error
    if not hasattr(d2l, "train_ch8"):
        version = getattr(sys.modules["d2l"], "__version__", "of another series")
        raise ImportError(
            f"d2l {version} is installed, but the comparison needs the functions of d2l 0.17 ({_REMEDY}).",
            name="d2l",
        )
    d2l.use_svg_display = _use_svg_display
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True", module=r"d2l\.torch")
    return d2l


@contextlib.contextmanager
def quiet_animator():
    """Let d2l's training functions record their curve instead of drawing it.

    d2l draws its live curve as SVG and switches the whole notebook to SVG, whose bytes differ from run to run. Inside
    this context ``d2l.Animator`` is a recorder with the same two calls; training itself is not touched, and
    ``d2l.Animator`` is put back at the end, also after an error.

    >>> with quiet_animator() as points:
    ...     d2l.train_ch8(net, batches, vocab, lr, num_epochs, device)
    >>> epochs, perplexities = zip(*points)

    ``train_ch8`` adds a point every 10 epochs, so a run of fewer than 10 epochs gives none. Its printed lines still
    appear; they hold its speed, so they differ from run to run.

    Yields:
        list: one tuple ``(x, value, ...)`` for each call of ``Animator.add``, so ``(epoch, perplexity)`` for
            ``train_ch8``.

    Raises:
        ImportError: as ``load_d2l``.
    """
    d2l = load_d2l()
    points = []

    class Recorder:
        """Takes the place of ``d2l.Animator``: the same arguments, no figure."""

        def __init__(self, *args, **kwargs):
            pass

        def add(self, x, y):
            """Remember one point of each curve."""
            points.append((x, *y) if hasattr(y, "__len__") else (x, y))

    drawing = d2l.Animator
    d2l.Animator = Recorder
    try:
        yield points
    finally:
        d2l.Animator = drawing


def d2l_model(vocab_size, num_hiddens, device):
    """Return d2l's ``RNNModelScratch`` with the parameters and the recurrence that its book describes.

    Args:
        vocab_size: number of distinct tokens, the size of each input and output.
        num_hiddens: size of the hidden state.
        device: where the parameters live, as for ``train_ch8``.

    Returns:
        d2l.RNNModelScratch: ready for ``train_ch8``; ``.params`` holds ``W_xh, W_hh, b_h, W_hq, b_q``.

    Raises:
        ImportError: as ``load_d2l``.
    """
    return load_d2l().RNNModelScratch(vocab_size, num_hiddens, device, _small_params, _zero_state, _tanh_rnn)


def _small_params(vocab_size, num_hiddens, device):
    """Draw weights of standard deviation 0.01, the recipe of the book; biases start at zero."""
    W_xh = 0.01 * torch.randn(vocab_size, num_hiddens, device=device)
    W_hh = 0.01 * torch.randn(num_hiddens, num_hiddens, device=device)
    W_hq = 0.01 * torch.randn(num_hiddens, vocab_size, device=device)
    b_h, b_q = torch.zeros(num_hiddens, device=device), torch.zeros(vocab_size, device=device)
    return [weight.requires_grad_() for weight in (W_xh, W_hh, b_h, W_hq, b_q)]


def _zero_state(batch_size, num_hiddens, device):
    """Return the state before the first token: d2l expects a tuple, here of one tensor."""
    return (torch.zeros(batch_size, num_hiddens, device=device),)


def _tanh_rnn(inputs, state, params):
    """Run over ``inputs`` (T, N, V) and return the logits of all steps, (T*N, V), and the last state."""
    W_xh, W_hh, b_h, W_hq, b_q = params
    H = state[0]
    outputs = []
    for X in inputs:
        H = torch.tanh(X @ W_xh + H @ W_hh + b_h)
        outputs.append(H @ W_hq + b_q)  # in every step, as the book has it
    return torch.cat(outputs), (H,)


def _import_torchvision():
    """Import torchvision; where only its compiled operators are missing, declare the two that stop the import."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        # The stopped import has left some submodules behind; a second one must start afresh.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                torch.library.define(
                    f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )
        import torchvision  # noqa: F401


def _reason(error):
    """Say in one sentence why d2l can't be loaded, and what to do where that is known."""
    cause = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return f"d2l can't be loaded: {cause} ({_REMEDY})."
    return f"d2l can't be loaded beside the installed releases: {type(error).__name__}: {cause}."


def _use_svg_display():
    """Do what d2l's function of this name did, with the call that current releases of IPython offer."""
    from IPython import get_ipython
    from matplotlib_inline import backend_inline

    if get_ipython() is not None:  # in a plain Python program there is no notebook whose format could change
        backend_inline.set_matplotlib_formats("svg")
