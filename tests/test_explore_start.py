"""The explorers of chapter 0: what the network wrote is what it was sure of, and one unit counts."""

import itertools

import numpy as np
import pytest
import torch

from rnnlib import pretrained, scratch
from rnnlib.explore import start


@pytest.fixture(scope="module")
def poet():
    return pretrained.load_model("shakespeare_lstm")


def test_without_risk_it_writes_what_generate_writes(poet):
    model, vocab = poet
    ids, chances, cells = start.write_on(model, vocab, "The king ", 40, 0)
    assert "The king " + "".join(vocab.decode(ids)) == scratch.generate(model, vocab, "The king ", 40, temperature=0)
    assert chances.shape == (40, len(vocab)) and cells.shape == (40, 2 * 384)
    assert torch.allclose(chances.sum(1), torch.ones(40))


def test_what_it_hesitated_between_is_the_distribution_that_it_drew_from(poet):
    model, vocab = poet
    data = start.Voice().measure("The king ", 0.5, 7)
    logits, _ = model(torch.tensor([vocab[[*"The king ", *data["written"][:6]]]]), model.begin_state(1))
    p = scratch.next_token_probabilities(logits[-1].detach(), 0.5)
    for token, chance in data["candidates"]:
        assert chance == pytest.approx(p[vocab[token]].item(), abs=1e-4)
    assert data["sure"][6] == pytest.approx(p[vocab[data["written"][6]]].item(), abs=1e-4)


def test_a_beginning_that_the_network_can_not_read_is_refused_by_name():
    explorer = start.Voice()
    for beginning, named in (("café", "é"), ("日", "日"), ("", "empty")):
        with pytest.raises(ValueError, match=named):
            explorer.measure(beginning, 0.0, 1)


def lengths(explorer, **values):
    return np.mean([explorer.measure(seed=seed, **values)["length"] for seed in (1, 2, 3)])


def test_the_counter_shortens_lines_and_another_number_does_not():
    explorer = start.LineCounter()
    believes = explorer.believes[0]
    assert believes[45] - believes[2] > 1, "it rises along the line"
    assert np.ptp(explorer.believes[1][3:45]) < 0.5 * np.ptp(believes[3:45])
    free = lengths(explorer, way="free", position=20)
    short, long = (lengths(explorer, way="the counter held", position=position) for position in (45, 2))
    other = lengths(explorer, way="another number held", position=45)
    assert short < 0.7 * free and long > 1.3 * free
    assert abs(other / free - 1) < 0.3


def test_no_other_number_counts_as_well(poet):
    """They were found by asking each of the 768 how far along the line it goes, in what the network writes."""
    model, vocab = poet
    ids, _, cells = start.write_on(model, vocab, "\n", 3000, 0.8, seed=1)
    verses = vocab.decode(ids)[:-1]
    places = list(itertools.accumulate(verses, lambda since, c: 0 if c == "\n" else since + 1, initial=-1))[1:]
    told = np.abs(np.corrcoef(cells[1:].numpy().T, places)[-1, :-1])  # (768,)
    counter, other = start.LineCounter.units
    assert set(told.argsort()[-2:]) == {counter, 284}
    assert told[counter] > 0.8 and told[other] < 0.2


def test_what_is_held_is_held(poet):
    model, vocab = poet
    for unit, value in itertools.product((421, 3), (-0.5, 0.9)):
        _, _, cells = start.write_on(model, vocab, "\n", 5, 0.8, hold=[(unit, value)])
        assert torch.allclose(cells[:, unit], torch.full((5,), value))


def test_the_cells_are_those_of_the_network_that_read(poet):
    model, vocab = poet
    ids, _, cells = start.write_on(model, vocab, "The king ", 4, 0.8)
    _, (_, c) = model(torch.tensor([vocab[[*"The king ", *vocab.decode(ids[:3])]]]))
    assert torch.allclose(cells[3], c.flatten(), atol=1e-5)
