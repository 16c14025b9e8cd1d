"""Models on torch.nn against networks from scratch, and the fast network against the slow one."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rnnlib import gates, scratch, text, training
from rnnlib.d2l_bridge import d2l_model, load_d2l
from rnnlib.layers import FastRNN, LanguageModel, ManyToOne, copy_weights, end_state, zero_state
from rnnlib.scratch import ScratchRNN
from rnnlib.sentiment import BothWays, SentimentClassifier

LAYERS = (nn.RNN, nn.GRU, nn.LSTM)
FORMS = list(itertools.product(LAYERS, (1, 2), (False, True)))
every_form = pytest.mark.parametrize(("layer", "num_layers", "bidirectional"), FORMS)
sizes = st.integers(1, 6)


def random_scratch(vocab_size, num_hiddens, seed):
    """A network from scratch in float64 whose biases are not zero either."""
    torch.manual_seed(seed)
    net = scratch.ScratchRNN(vocab_size, num_hiddens, dtype=torch.float64, sigma=0.5)
    for p in net.params:
        p.data.add_(0.3 * torch.randn_like(p))
    return net


def random_torch(vocab_size, num_hiddens, seed):
    torch.manual_seed(seed)
    return LanguageModel(nn.RNN(vocab_size, num_hiddens, dtype=torch.float64), vocab_size)


def gradients(net, ids, targets, H):
    """Return logits, last state, and the gradients with respect to the parameters by name and to the first state."""
    H = H.clone().requires_grad_()
    logits, last = net(ids, H)
    net.zero_grad()
    (F.cross_entropy(logits, targets) + last.square().sum()).backward()
    return logits, last, H.grad, {name: p.grad for name, p in net.named_parameters()}


def assert_equal_networks(ours, theirs, N, T, seed):
    torch.manual_seed(seed)
    V, num_hiddens = ours.vocab_size, ours.num_hiddens
    ids, targets = torch.randint(V, (N, T)), torch.randint(V, (T * N,))
    H = torch.randn(N, num_hiddens, dtype=torch.float64)
    logits, last, dH, grads = gradients(ours, ids, targets, H)
    their_logits, their_last, their_dH, their_grads = gradients(theirs, ids, targets, H[None])
    W_xh, W_hh, b_h, W_hq, b_q = (grads[f"params.{i}"] for i in range(5))
    pairs = [
        (logits, their_logits),
        (last, their_last[0]),
        (dH, their_dH[0]),
        (W_xh.T, their_grads["rnn.weight_ih_l0"]),
        (W_hh.T, their_grads["rnn.weight_hh_l0"]),
        (b_h, their_grads["rnn.bias_ih_l0"]),
        (W_hq.T, their_grads["linear.weight"]),
        (b_q, their_grads["linear.bias"]),
    ]
    for a, b in pairs:
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(V=sizes, num_hiddens=sizes, N=sizes, T=sizes, seed=st.integers(0, 10**6))
def test_nn_rnn_equals_scratch_with_copied_weights(V, num_hiddens, N, T, seed):
    ours, theirs = random_scratch(V, num_hiddens, seed), random_torch(V, num_hiddens, seed + 1)
    copy_weights(ours, theirs)
    assert_equal_networks(ours, theirs, N, T, seed)


@settings(max_examples=60, deadline=None)
@given(V=sizes, num_hiddens=sizes, N=sizes, T=sizes, seed=st.integers(0, 10**6))
def test_scratch_equals_nn_rnn_with_copied_weights(V, num_hiddens, N, T, seed):
    ours, theirs = random_scratch(V, num_hiddens, seed), random_torch(V, num_hiddens, seed + 1)
    copy_weights(theirs, ours)
    assert_equal_networks(ours, theirs, N, T, seed)


def test_weights_survive_the_round_trip():
    ours, again, theirs = random_scratch(4, 3, 0), random_scratch(4, 3, 1), random_torch(4, 3, 2)
    copy_weights(ours, theirs)
    copy_weights(theirs, again)
    assert all(torch.equal(a, b) for a, b in zip(ours.params, again.params, strict=True))


def test_the_second_bias_is_zero_and_frozen_so_that_training_is_equal_too():
    ours, theirs = random_scratch(7, 5, 0), random_torch(7, 5, 1)
    copy_weights(ours, theirs)
    assert not theirs.rnn.bias_hh_l0.requires_grad and not theirs.rnn.bias_hh_l0.any()
    free = copy.deepcopy(theirs)
    free.rnn.bias_hh_l0.requires_grad_(True)
    batches = text.random_batches(torch.arange(200) % 7, 4, 5, offset=0, seed=3)
    perplexities = []
    for net in (ours, theirs, free):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        for _ in range(3):
            batches._generator.manual_seed(3)
            scratch.train_epoch(net, batches, optimizer)
        perplexities.append(scratch.perplexity(net, batches))
    assert perplexities[1] == pytest.approx(perplexities[0], rel=1e-10)
    assert abs(perplexities[2] / perplexities[0] - 1) > 1e-4, "a second bias that learns changes the training"


def test_counts():
    ours = scratch.ScratchRNN(28, 512)
    theirs = LanguageModel(nn.RNN(28, 512), 28)
    assert sum(p.numel() for p in ours.parameters()) == 291_356
    assert sum(p.numel() for p in theirs.parameters()) == 291_868


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_twin_biases_move_their_sum_twice_as_fast(optimizer):
    model = random_torch(5, 4, 0)
    before = model.rnn.bias_ih_l0 + model.rnn.bias_hh_l0
    logits, _ = model(torch.randint(5, (3, 6)))
    logits.logsumexp(1).mean().backward()
    assert torch.allclose(model.rnn.bias_ih_l0.grad, model.rnn.bias_hh_l0.grad, rtol=0, atol=1e-14)
    start = model.rnn.bias_ih_l0.detach().clone()
    optimizer(model.parameters(), lr=0.1).step()
    one = model.rnn.bias_ih_l0 - start
    assert torch.allclose(model.rnn.bias_ih_l0 + model.rnn.bias_hh_l0 - before, 2 * one, atol=1e-12)


BAD_LAYERS = {
    "two layers": nn.RNN(4, 3, num_layers=2),
    "both directions": nn.RNN(4, 3, bidirectional=True),
    "relu": nn.RNN(4, 3, nonlinearity="relu"),
    "no bias": nn.RNN(4, 3, bias=False),
    "gates": nn.GRU(4, 3),
}


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_copying_to_another_kind_of_network_is_refused(case):
    layer = BAD_LAYERS[case]
    with pytest.raises(ValueError, match="has no equal among ScratchRNNs"):
        copy_weights(scratch.ScratchRNN(4, 3), LanguageModel(layer, 4))


def test_copying_needs_a_pair_of_equal_sizes():
    model = LanguageModel(nn.RNN(4, 3), 4)
    with pytest.raises(ValueError, match=r"are \(4, 5\) in the ScratchRNN, but \(4, 3\)"):
        copy_weights(scratch.ScratchRNN(4, 5), model)
    with pytest.raises(ValueError, match="not between a LanguageModel and a LanguageModel"):
        copy_weights(model, model)
    with pytest.raises(ValueError, match="not between a ScratchLSTM and a LanguageModel"):
        copy_weights(gates.ScratchLSTM(4, 3), model)


# The language model on any recurrent layer


@every_form
def test_language_model_has_the_book_s_interface(layer, num_layers, bidirectional):
    V, num_hiddens, N, T = 7, 5, 3, 4
    model = LanguageModel(layer(V, num_hiddens, num_layers, bidirectional=bidirectional), V)
    state = model.begin_state(N)
    parts = state if layer is nn.LSTM else (state,)
    rows = num_layers * (1 + bidirectional)
    assert len(parts) == (2 if layer is nn.LSTM else 1)
    assert all(part.shape == (rows, N, num_hiddens) and not part.any() for part in parts)
    logits, after = model(torch.randint(V, (N, T)), state)
    assert logits.shape == (T * N, V)
    after = after if layer is nn.LSTM else (after,)
    assert [part.shape for part in after] == [part.shape for part in parts]


@every_form
def test_logits_are_time_first_and_of_one_sequence_each(layer, num_layers, bidirectional):
    """Row t * N + n belongs to step t of sequence n: what a sequence gets alone, it gets in company."""
    torch.manual_seed(1)
    model = LanguageModel(layer(7, 5, num_layers, bidirectional=bidirectional), 7)
    ids = torch.randint(7, (3, 4))
    logits, _ = model(ids)
    for n in range(3):
        alone, _ = model(ids[n : n + 1])
        assert torch.allclose(logits.reshape(4, 3, 7)[:, n], alone, atol=1e-6)


@pytest.mark.parametrize(("layer", "num_layers"), list(itertools.product(LAYERS, (1, 3))))
def test_a_text_may_be_read_in_pieces(layer, num_layers):
    model = LanguageModel(layer(7, 5, num_layers), 7)
    ids = torch.randint(7, (2, 9))
    whole, end = model(ids)
    first, state = model(ids[:, :4])
    second, state = model(ids[:, 4:], state)
    assert torch.allclose(whole, torch.cat([first, second]), atol=1e-6)
    for a, b in zip(end, state, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_only_one_direction_keeps_the_future_out(layer):
    ids = torch.tensor([[1, 2, 3, 4]])
    changed = torch.tensor([[1, 2, 3, 5]])
    for bidirectional in (False, True):
        model = LanguageModel(layer(7, 5, bidirectional=bidirectional), 7)
        same = torch.equal(model(ids)[0][:3], model(changed)[0][:3])
        assert same is not bidirectional


def test_one_hot_input_is_an_embedding_with_the_identity():
    layer = nn.GRU(6, 4)
    plain = LanguageModel(layer, 6)
    embedded = LanguageModel(layer, 6, nn.Embedding.from_pretrained(torch.eye(6)))
    embedded.linear = plain.linear
    ids = torch.randint(6, (2, 5))
    assert torch.allclose(plain(ids)[0], embedded(ids)[0], atol=1e-7)


def test_any_module_may_embed():
    embedding = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    logits, _ = LanguageModel(nn.RNN(3, 5), 9, embedding)(torch.randint(9, (2, 6)))
    assert logits.shape == (12, 9)


def test_dropout_works_in_training_alone():
    model = LanguageModel(nn.RNN(6, 50), 6, dropout=0.5)
    ids = torch.randint(6, (2, 5))
    assert not torch.equal(model(ids)[0], model(ids)[0])
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])


@pytest.mark.parametrize("layer", LAYERS)
def test_float64_goes_all_the_way(layer):
    model = LanguageModel(layer(6, 4, dtype=torch.float64), 6)
    logits, _ = model(torch.randint(6, (2, 5)))
    assert logits.dtype == torch.float64


@pytest.mark.parametrize("layer", LAYERS)
def test_trains_measures_and_writes_like_any_model_of_the_book(layer):
    vocab = text.Vocab("abcab")
    ids = vocab[list("abc" * 120)]
    model = LanguageModel(layer(4, 16), 4)
    batches = text.sequential_batches(ids, 4, 10, offset=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    history = training.fit(model, batches, 12, valid_batches=batches, optimizer=optimizer, report=lambda *_: None)
    assert history.status == "finished"
    assert history[-1]["valid"] < 1.2
    assert scratch.generate(model, vocab, "abc", 6, temperature=0) == "abcabcabc"


WRONG = [
    (
        lambda: LanguageModel(nn.RNN(4, 3), 5),
        r"reads 4 numbers a step, but a one-hot row has vocab_size=5: make it RNN\(5, 3\)",
    ),
    (lambda: LanguageModel(nn.RNN(4, 3, batch_first=True), 4), "batch_first=True"),
    (lambda: LanguageModel(nn.LSTM(4, 3, proj_size=2), 4), "proj_size=2"),
    (lambda: LanguageModel(nn.Linear(4, 3), 4), "is a Linear: it must be an nn.RNN"),
    (lambda: LanguageModel(nn.RNN(4, 3), 4, nn.Embedding(5, 4)), r"is \(5, 4\), but .* nn.Embedding\(4, 4\)"),
    (lambda: LanguageModel(nn.RNN(4, 3), 0), "vocab_size=0"),
    (lambda: LanguageModel(nn.RNN(4, 3), 4)(torch.tensor([[4]])), "id 4 is outside 0 to 3"),
    (lambda: LanguageModel(nn.RNN(4, 3), 4)(torch.tensor([1, 2])), r"shape \(N, T\)"),
    (lambda: LanguageModel(nn.RNN(4, 3), 4)(torch.tensor([[1]]), torch.zeros(1, 3)), "begin_state"),
    (lambda: LanguageModel(nn.LSTM(4, 3), 4)(torch.tensor([[1]]), torch.zeros(1, 1, 3)), r"an LSTM needs \(H, C\)"),
    (lambda: zero_state(nn.RNN(4, 3), -1), "batch_size=-1 must be a whole number of at least 1"),
    (lambda: gates.ScratchLSTM(4, 3).begin_state(2.5), "batch_size=2.5 must be"),
    (lambda: ManyToOne(nn.RNN(4, 3), 0), "num_outputs=0"),
    (lambda: ManyToOne(nn.RNN(4, 3, batch_first=True), 1), "batch_first=True"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_errors_name_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Many to one


@every_form
def test_end_state_is_where_output_ends(layer, num_layers, bidirectional):
    recurrent = layer(4, 3, num_layers, bidirectional=bidirectional)
    output, state = recurrent(torch.randn(5, 2, 4), zero_state(recurrent, 2))
    expected = torch.cat([output[-1, :, :3], output[0, :, 3:]], dim=1)
    assert torch.allclose(end_state(recurrent, state), expected)


@every_form
def test_padding_changes_no_answer(layer, num_layers, bidirectional):
    torch.manual_seed(2)
    model = ManyToOne(layer(4, 3, num_layers, bidirectional=bidirectional), 2, nn.Embedding(9, 4))
    lengths = torch.tensor([2, 5, 1, 4])
    ids = torch.randint(9, (4, 5))
    together = model(ids, lengths)
    alone = torch.cat([model(ids[n : n + 1, :length]) for n, length in enumerate(lengths)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.allclose(together, model(ids), atol=1e-3), "without lengths the padding is read"


WRONG_LENGTHS = [
    ([2, 0], "a length of 0 is outside 1 to 3"),
    ([-1, 2], "a length of -1 is outside 1 to 3"),
    ([2, 4], "a length of 4 is outside 1 to 3, the steps of these rows"),
    ([2], "lengths must be a tensor of 2 whole numbers, one for each sequence"),
    ([1.0, 2.0], "2 whole numbers"),
]


@pytest.mark.parametrize(("lengths", "message"), WRONG_LENGTHS)
@pytest.mark.parametrize("layer", [nn.GRU(4, 3), nn.GRU(4, 3, bidirectional=True), BothWays(nn.GRU, 4, 3)])
def test_wrong_lengths_are_named(layer, lengths, message):
    ids, lengths = torch.zeros(2, 3, dtype=torch.long), torch.tensor(lengths)
    with pytest.raises(ValueError, match=message):
        SentimentClassifier(nn.Embedding(9, 4), layer)(ids, lengths)
    with pytest.raises(ValueError, match=message):
        ManyToOne(nn.GRU(4, 3), 1, nn.Embedding(9, 4))(ids, lengths)


WRONG_READERS = [
    (nn.Embedding(9, 4), nn.GRU(4, 3, batch_first=True), "batch_first=True"),
    (nn.Embedding(9, 4), nn.LSTM(4, 3, proj_size=2), "proj_size=2"),
    (nn.Embedding(9, 4), nn.Linear(4, 3), "is a Linear"),
    (nn.Embedding(9, 5), nn.GRU(4, 3), "gives 5 numbers a word but the layer reads 4"),
    (nn.Sequential(nn.Dropout(), nn.Embedding(9, 5)), BothWays(nn.GRU, 4, 3), "gives 5 numbers a word"),
]


@pytest.mark.parametrize(("embedding", "layer", "message"), WRONG_READERS)
def test_a_classifier_refuses_what_it_can_not_read(embedding, layer, message):
    with pytest.raises(ValueError, match=message):
        SentimentClassifier(embedding, layer)


def test_reads_vectors_without_an_embedding_and_lists_of_lengths():
    model = ManyToOne(nn.GRU(3, 4), 1)
    assert model(torch.randn(6, 7, 3)).shape == (6, 1)
    assert model(torch.randn(2, 7, 3), [7, 3]).shape == (2, 1)


SENTENCE = "the time traveller for so it will be convenient to speak of him was expounding a recondite matter to us "


def twins(V, H, seed=0, biases=1.0, **options):
    """Return a ScratchRNN and a FastRNN with the same weights, the biases drawn with this standard deviation."""
    torch.manual_seed(seed)
    slow = ScratchRNN(V, H, **options)
    for b in (slow.params[2], slow.params[4]):
        b.data.normal_(std=biases)
    fast = FastRNN(V, H, **options)
    fast.load_state_dict(slow.state_dict())
    return slow, fast


@settings(derandomize=True, deadline=None, max_examples=30)
@given(V=sizes, H=sizes, N=sizes, T=sizes, seed=st.integers(0, 99))
@example(V=1, H=1, N=1, T=1, seed=0)
@example(V=28, H=33, N=4, T=35, seed=0)
def test_is_the_loop_of_the_book(V, H, N, T, seed):
    """Logits, last state and every gradient, that of the first state included."""
    models = twins(V, H, seed, dtype=torch.float64, sigma=H**-0.5)
    ids, first = torch.randint(V, (N, T)), torch.randn(N, H, dtype=torch.float64)
    towards = torch.randn(T * N, V, dtype=torch.float64), torch.randn(N, H, dtype=torch.float64)
    results = []
    for model in models:
        H_0 = first.clone().requires_grad_()
        outputs = model(ids, H_0)
        torch.autograd.backward(outputs, towards)
        results.append([*outputs, H_0.grad, *(p.grad for p in model.params)])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_gradients_are_those_of_finite_differences():
    _, model = twins(3, 4, dtype=torch.float64, sigma=0.5)
    ids, H = torch.randint(3, (2, 5)), torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in model.named_parameters()]

    def run(H, *params):
        return torch.func.functional_call(model, dict(zip(names, params, strict=True)), (ids, H))

    assert torch.autograd.gradcheck(run, (H, *model.params))


def test_tanh_of_any_number():
    """A state is tanh of its input for numbers of any size, to the last digit of a float32."""
    model = FastRNN(9, 1)
    drive = [0.0, 1e-9, -1e-3, 0.5, -3.0, 40.0, -1e38, float("inf"), -float("inf")]
    model.params[0].data = torch.tensor(drive)[:, None]  # W_xh: token i adds the number i
    _, state = model(torch.arange(9)[:, None])
    torch.testing.assert_close(state[:, 0], torch.tanh(torch.tensor(drive)), rtol=0, atol=1.2e-7)


@pytest.mark.parametrize(("num_hiddens", "input_scale"), [(64, 1.0), (128, 0.01)])
def test_trains_step_for_step_as_d2l_and_as_the_loop(monkeypatch, num_hiddens, input_scale):
    """The same weights and minibatches give the same losses in 20 steps, with a carried state and clipping."""
    corpus = text.Vocab(SENTENCE)[(list(SENTENCE) * 9)[: 20 * 4 * 10 + 1]]
    batches = text.sequential_batches(corpus, 4, 10, offset=0)
    slow, fast = twins(28, num_hiddens, biases=0.0, input_scale=input_scale)
    rivals = {"the loop": lambda: train(slow, batches), "fast": lambda: train(fast, batches)}
    try:
        d2l = load_d2l()
    except ImportError:  # tests/test_d2l_bridge.py sees to it that the reason is a good one
        d2l = None
    else:
        theirs = d2l_model(28, num_hiddens, torch.device("cpu"))
        for p, q in zip(slow.params, theirs.params, strict=True):
            q.data.copy_(p.data)
        rivals["d2l"] = lambda: train_as_d2l(d2l, theirs, batches)
    losses, cross_entropy = [], F.cross_entropy

    def recorded(logits, targets, **options):
        losses.append(cross_entropy(logits, targets))
        return cross_entropy(logits, targets, **options)

    monkeypatch.setattr(F, "cross_entropy", recorded)
    curves = {}
    for name, run in rivals.items():
        losses.clear()
        run()
        curves[name] = torch.stack(losses).detach()
    fastest = curves.pop("fast")
    assert len(fastest) == 20 and fastest[-1] < fastest[0] - 0.3, "something was learned"
    for curve in curves.values():
        torch.testing.assert_close(fastest, curve, rtol=1e-6, atol=1e-6)


def train(model, batches):
    scratch.train_epoch(model, batches, torch.optim.SGD(model.parameters(), lr=1.0), clip=1.0)


def train_as_d2l(d2l, net, batches):
    def updater(batch_size):
        d2l.sgd(net.params, 1.0, batch_size)

    d2l.train_epoch_ch8(net, batches, F.cross_entropy, updater, torch.device("cpu"), use_random_iter=False)


def test_a_state_is_not_changed_afterwards():
    """The returned state is the reader's own: no later run writes into it, and ids and weights stay as they were."""
    _, model = twins(5, 4)
    ids, weights = torch.randint(5, (2, 3)), copy.deepcopy(model.state_dict())
    _, state = model(ids)
    before = state.clone()
    logits, _ = model(ids, state)
    logits.sum().backward()
    assert torch.equal(state, before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_wrong_input_is_explained_as_by_the_loop():
    model = FastRNN(5, 4)
    with pytest.raises(ValueError, match=r"^id 5 is outside 0 to 4"):
        model(torch.tensor([[5]]))
    with pytest.raises(ValueError, match="call begin_state"):
        model(torch.tensor([[1], [2]]), torch.zeros(3, 4))
