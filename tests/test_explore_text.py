"""The explorers and diagrams of chapter 1, at values that are known."""

import pytest
import torch

from rnnlib.drawings import draw_task_shapes, draw_unrolled
from rnnlib.explore.text import OPENING, BatchRibbon, TensorTape
from rnnlib.text import Vocab


def texts(fig):
    """Return all that is written in the titles and texts of a figure."""
    return [text.get_text() for axes in fig.axes for text in [*axes.texts, axes.title, axes._left_title]]


# Tensor tape


def test_tape_puts_time_first():
    tape = TensorTape()
    data = tape.measure("the time / traveller / machines", "time first", 2)
    assert data["rows"] == ["the time", "travelle", "machines"], "cut to the shortest"
    assert data["inputs"].shape == (8, 3, 28)
    assert data["slice"].shape == (3, 28)
    assert tape.vocab.decode(data["slice"].argmax(1)) == ["e", "a", "c"]
    assert "inputs (T=8, N=3, V=28); the frame is inputs[2]" in texts(tape.draw(data))
    assert "(T=8, N=3, V=28); inputs[2] is character 2 of every sentence" in tape.describe(data)


def test_tape_batch_first_slices_a_sentence():
    tape = TensorTape()
    data = tape.measure("the time / traveller / machines", "batch first", 2)
    assert data["inputs"].shape == (3, 8, 28)
    assert "".join(tape.vocab.decode(data["slice"].argmax(1))) == "machines"
    assert "all of sentence 2" in tape.describe(data)


def test_tape_axes_grow_as_predicted():
    tape = TensorTape()
    shape = tape.measure("time / mill", "time first", 0)["inputs"].shape
    assert shape == (4, 2, 28)
    assert tape.measure("time / mill / tide", "time first", 0)["inputs"].shape == (4, 3, 28), "a sentence: N"
    assert tape.measure("times / mills", "time first", 0)["inputs"].shape == (5, 2, 28), "a letter each: T"


def test_tape_both_layouts_hold_the_same_numbers():
    tape = TensorTape()
    time_first, batch_first = (
        tape.measure("time / mill", layout, 0)["inputs"] for layout in ("time first", "batch first")
    )
    assert torch.equal(time_first.transpose(0, 1), batch_first)


def test_tape_draws_a_single_one_in_each_row():
    tape = TensorTape()
    data = tape.measure("time / mill", "time first", 1)
    squares = tape.draw(data).axes[1].collections[0].get_facecolor().reshape(2, 28, 4)
    coloured = (squares != 1).any(axis=2)
    assert coloured.tolist() == data["slice"].bool().tolist()
    assert coloured.sum(axis=1).tolist() == [1, 1]


def test_tape_takes_the_last_step_of_a_shorter_text():
    assert TensorTape().measure("time", "time first", 11)["step"] == 3
    assert "character 3 of the only sentence" in TensorTape().readout(text="time", step=11)


def test_tape_has_the_vocabulary_it_is_given():
    tape = TensorTape(Vocab("emit"))
    assert tape.measure("time", "time first", 0)["inputs"].shape == (4, 1, 5)
    assert tape.measure("tame", "time first", 0)["X"].tolist() == [[4, 0, 2, 1]], "a letter it lacks is <unk>, id 0"


def test_tape_explains_texts_it_cannot_draw():
    tape = TensorTape()
    with pytest.raises(ValueError, match="has a sentence without letters: write one to four"):
        tape.figure(text="time / 123")
    with pytest.raises(ValueError, match="5 sentences are too many to draw"):
        tape.figure(text="a/b/c/d/e")


# Batch ribbon


def test_ribbon_starts_by_hand():
    """78 characters, 2 rows of 5: 7 minibatches, rows of 35, so that row 1 begins at 35."""
    data = BatchRibbon().measure("sequential", 5, 0)
    assert data["starts"].tolist() == [[5 * k, 35 + 5 * k] for k in range(7)]
    assert data["continues"].all() and data["continues"].shape == (6, 2)


def test_ribbon_random_pieces_are_the_same_grid_in_another_order():
    data = BatchRibbon().measure("random", 5, 3)
    starts = data["starts"].flatten().tolist()
    assert len(set(starts)) == len(starts) == 14
    assert all((start - 3) % 5 == 0 for start in starts)
    assert not data["continues"].all()


@pytest.mark.parametrize("scheme", ["sequential", "random"])
def test_ribbon_counts_what_it_says(scheme):
    ribbon = BatchRibbon()
    sentence = ribbon.readout(scheme=scheme, num_steps=12, offset=11)
    assert "2 x 12 characters from offset 11: 2 of them" in sentence
    assert "30 of 78 characters are not read" in sentence
    assert ("2 of 2 rows continue" in sentence) == (scheme == "sequential")


def test_ribbon_of_one_minibatch():
    assert "1 of them; one has none to continue" in BatchRibbon("the time traveller", 2).readout(num_steps=8)


def test_ribbon_draws_every_piece_with_its_label():
    fig = BatchRibbon().figure(scheme="sequential", num_steps=5, offset=0)
    labels = [f"{k}.{i}" for k in range(7) for i in range(2)]
    assert [text for text in texts(fig) if text in labels] == labels
    assert arrows(fig) == 10, "6 minibatches drawn, 2 rows: 5 x 2 continue one before"


def test_ribbon_draws_no_arrow_where_nothing_continues():
    ribbon = BatchRibbon()
    assert not ribbon.measure("random", 5, 0)["continues"].any()
    assert arrows(ribbon.figure(scheme="random", num_steps=5, offset=0)) == 0


def arrows(fig):
    """Count the arrows between the minibatches of a ribbon."""
    return sum(getattr(text, "arrow_patch", None) is not None for text in fig.axes[1].texts)


def test_ribbon_takes_your_text():
    ribbon = BatchRibbon("It was low water, and the mill stood still.", batch_size=3)
    assert ribbon.text == "it was low water and the mill stood still"
    assert ribbon.measure("sequential", 4, 0)["starts"].shape == (3, 3)


def test_ribbon_explains_texts_it_cannot_draw():
    with pytest.raises(ValueError, match=r"156 characters.* give 5 to 132"):
        BatchRibbon(OPENING * 2)
    with pytest.raises(ValueError, match="batch_size=9 can't be drawn: give 1 to 4"):
        BatchRibbon(OPENING, 9)
    with pytest.raises(ValueError, match=r"4 characters.* give 5 to 132"):
        BatchRibbon("time")


# Diagrams


def test_unrolled_shares_its_weights():
    """One folded copy and one for each character, under the same three names."""
    written = texts(draw_unrolled("time"))
    assert [written.count(name) for name in ("$W_{xh}$", "$W_{hh}$", "$W_{hq}$")] == [5, 5, 5]
    assert [written.count(f"“{character}”") for character in "time?"] == [1, 2, 2, 2, 1]


def test_task_shapes_read_and_write_where_they_should():
    rows = [
        [round(text.get_position()[1]) for text in axes.texts if text.get_text()] for axes in draw_task_shapes().axes
    ]
    counts = [[ys.count(y) for y in (0, 1, 2)] for ys in rows]
    assert counts == [[3, 3, 3], [3, 3, 1], [3, 3, 3], [6, 6, 3]], "inputs, states, outputs"
