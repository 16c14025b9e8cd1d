"""What explorers are given: texts that a reader types, models, recorded gradients."""

import torch

from rnnlib.guards import check_minibatch, check_sizes


def check_typed(vocab, characters):
    """Refuse a text that has a character which the network has never seen, or none at all."""
    if not characters:
        raise ValueError("the text is empty: type some letters that the network has seen")
    unknown = [repr(character) for character in dict.fromkeys(characters) if character not in vocab]
    if unknown:
        shown = ", ".join(unknown[:8]) + (" and others" if len(unknown) > 8 else "")
        raise ValueError(f"the network has never seen {shown}: type other characters")


def check_one_state(model):
    """Refuse a model whose state is not one tensor (N, H)."""
    state = model.begin_state(1, device="meta")
    if not isinstance(state, torch.Tensor) or state.dim() != 2:
        raise ValueError(
            f"the state of this {type(model).__name__} is not one tensor (N, H), which is what is drawn: give a "
            "ScratchRNN or a FastRNN"
        )


def check_numbers(what, values):
    """Refuse NaN and infinity, which can't be drawn."""
    if not torch.as_tensor(values).isfinite().all():
        raise ValueError(f"{what} holds NaN or infinity, which can't be drawn: has the training diverged?")


def check_ribbon(text, batch_size, longest):
    """Refuse a cleaned text that is too short to be cut into two steps a row, or too long to be drawn."""
    check_sizes(batch_size=batch_size)
    if batch_size > 4:
        raise ValueError(f"batch_size={batch_size!r} can't be drawn: give 1 to 4")
    if not text:
        raise ValueError("nothing is left of the text when it is cleaned: give one with letters")
    needed = 2 * batch_size + 1
    if not needed <= len(text) <= longest:
        raise ValueError(
            f"a text of {len(text)} characters, as it is when it is cleaned, can't be drawn in {batch_size} rows: give "
            f"{needed} to {longest} characters"
        )


def check_recorded(recorded):
    """Refuse a record of no training step, and gradients that are not finite."""
    if not recorded:
        raise ValueError("recorded is empty: give the gradients of at least one training step")
    for step, grads in enumerate(recorded, start=1):
        if not all(torch.isfinite(g).all() for g in grads):
            raise ValueError(f"the gradients of step {step} hold NaN or infinity: record the steps before it alone")


def check_sequences(X, Y, model):
    """Refuse all but ids X and targets Y of the same shape (N, T)."""
    check_minibatch((X, Y), model)
    check_one_state(model)
