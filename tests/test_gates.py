"""LSTM and GRU from scratch against torch.nn, what a step does to the memory, and the tasks that need one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rnnlib import gates, layers, memory_tasks, scratch, text, training

STEPS = {nn.LSTM: gates.lstm_step, nn.GRU: gates.gru_step}
sizes = st.integers(1, 5)


def parts(state):
    """Return the tensors of a state, be it one or a tuple."""
    return state if isinstance(state, tuple) else (state,)


def level(state, index):
    """Return what a state of nn.LSTM or nn.GRU, (layers * directions, N, H), holds for one layer and direction."""
    tensors = tuple(part[index] for part in parts(state))
    return tensors if isinstance(state, tuple) else tensors[0]


def by_scan(layer, step, inputs, state):
    """Compute what a layer of torch.nn computes, with this book's steps: outputs and last state, in the same form."""
    ends, index = [], 0
    for depth in range(layer.num_layers):
        found = []
        for suffix in ("", "_reverse")[: 1 + layer.bidirectional]:
            params = gates.from_torch(layer, f"l{depth}{suffix}")
            sequence = inputs.flip(0) if suffix else inputs
            outputs, end = gates.scan(step, sequence, level(state, index), params)
            found.append(outputs.flip(0) if suffix else outputs)
            ends.append(parts(end))
            index += 1
        inputs = torch.cat(found, dim=2)
    stacked = tuple(torch.stack(tensors) for tensors in zip(*ends, strict=True))
    return inputs, stacked if isinstance(state, tuple) else stacked[0]


def largest_difference(layer, step, T, N, seed=0):
    """Return the largest difference in outputs, states and all gradients between a layer and this book's steps."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(T, N, layer.input_size, generator=generator, dtype=torch.float64).requires_grad_()
    rows = layer.num_layers * (1 + layer.bidirectional)
    pieces = [
        torch.randn(rows, N, layer.hidden_size, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2 if isinstance(layer, nn.LSTM) else 1)
    ]
    state = tuple(pieces) if isinstance(layer, nn.LSTM) else pieces[0]
    found = []
    for outputs, end in (by_scan(layer, step, inputs, state), layer(inputs, state)):
        tensors = [outputs, *parts(end)]
        weights = [torch.linspace(-1, 2, tensor.numel(), dtype=torch.float64).view_as(tensor) for tensor in tensors]
        loss = sum((weight * tensor**2).sum() for weight, tensor in zip(weights, tensors, strict=True))
        gradients = torch.autograd.grad(loss, [inputs, *pieces, *layer.parameters()])
        found.append([*tensors, *gradients])
    return max(float((ours - theirs).detach().abs().max()) for ours, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("layer_class", STEPS)
@settings(max_examples=30, deadline=None)
@given(D=sizes, H=sizes, T=sizes, N=sizes, layers=st.integers(1, 3), both=st.booleans(), seed=st.integers(0, 99))
def test_equals_torch_in_outputs_states_and_gradients(layer_class, D, H, T, N, layers, both, seed):
    torch.manual_seed(seed)
    layer = layer_class(D, H, num_layers=layers, bidirectional=both, dtype=torch.float64)
    assert largest_difference(layer, STEPS[layer_class], T, N, seed) < 1e-10


def test_equals_torch_at_length_one_and_batch_one():
    for layer_class, step in STEPS.items():
        torch.manual_seed(0)
        assert largest_difference(layer_class(3, 4, dtype=torch.float64), step, T=1, N=1) < 1e-12


# Planted faults: each of these must be seen by the comparison above


def swapped_gates(X, state, params):
    params = list(params)
    params[:6] = params[3:6] + params[:3]  # forget gate where the input gate belongs
    return gates.lstm_step(X, state, params)


def squashed_cell(X, state, params):
    H, (_, C) = gates.lstm_step(X, state, params)
    return H, (H, torch.tanh(C))


def cell_without_tanh(X, state, params):
    H, C = state
    I_t, F_t, C_tilde, O_t = gates.lstm_gates(X, H, params)
    C = F_t * C + I_t * C_tilde
    return O_t * C, (O_t * C, C)


def reset_before(X, H, params):
    """The GRU of the paper's later version: the reset gate acts before the product."""
    W_xr, W_hr, b_r, W_xz, W_hz, b_z, W_xh, W_hh, b_xh, b_hh = params
    R_t = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    Z_t = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    H_tilde = torch.tanh(X @ W_xh + b_xh + (R_t * H) @ W_hh + b_hh)
    H = Z_t * H + (1 - Z_t) * H_tilde
    return H, H


def update_gate_swapped(X, H, params):
    W_xr, W_hr, b_r, W_xz, W_hz, b_z, *candidate = params
    return gates.gru_step(X, H, [W_xr, W_hr, b_r, -W_xz, -W_hz, -b_z, *candidate])  # sigmoid(-a) = 1 - sigmoid(a)


def summed_candidate_bias(X, H, params):
    *others, b_xh, b_hh = params
    return gates.gru_step(X, H, [*others, b_xh + b_hh, torch.zeros_like(b_hh)])


FAULTS = [
    (nn.LSTM, swapped_gates),
    (nn.LSTM, squashed_cell),
    (nn.LSTM, cell_without_tanh),
    (nn.GRU, reset_before),
    (nn.GRU, update_gate_swapped),
    (nn.GRU, summed_candidate_bias),
]


@pytest.mark.parametrize(("layer_class", "faulty"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_planted_fault_is_seen(layer_class, faulty):
    torch.manual_seed(0)
    layer = layer_class(3, 4, dtype=torch.float64)
    assert largest_difference(layer, faulty, T=5, N=2) > 1e-3


def test_reset_placements_agree_only_where_nothing_tells_them_apart():
    """With an open reset gate (R = 1) both placements are the same function; with a half-open one they are not."""
    torch.manual_seed(0)
    params = gates.from_torch(nn.GRU(3, 4, dtype=torch.float64))
    X, H = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    assert not torch.allclose(reset_before(X, H, params)[0], gates.gru_step(X, H, params)[0], atol=1e-3)
    params[2] = torch.full_like(params[2], 100.0)  # b_r
    assert torch.allclose(reset_before(X, H, params)[0], gates.gru_step(X, H, params)[0], atol=1e-12)


# The models


@pytest.mark.parametrize(("model_class", "num_gates"), [(gates.ScratchLSTM, 4), (gates.ScratchGRU, 3)])
def test_parameters_and_shapes(model_class, num_gates):
    model = model_class(28, 16)
    count = num_gates * (28 * 16 + 16 * 16 + 16) + 16 * 28 + 28 + (16 if num_gates == 3 else 0)
    assert sum(p.numel() for p in model.parameters()) == count
    ids = torch.randint(28, (2, 5))
    logits, state = model(ids)
    assert logits.shape == (10, 28)
    assert all(part.shape == (2, 16) for part in parts(state))
    assert len(parts(state)) == len(parts(model.begin_state(2)))


@pytest.mark.parametrize("model_class", [gates.ScratchLSTM, gates.ScratchGRU])
def test_reading_in_pieces_with_the_state_handed_on_is_reading_at_once(model_class):
    model = model_class(7, 5, dtype=torch.float64, sigma=0.5)
    ids = torch.randint(7, (3, 8))
    logits, end = model(ids)
    first, state = model(ids[:, :3])
    rest, state = model(ids[:, 3:], state)
    assert torch.allclose(torch.cat([first, rest]), logits, atol=1e-12)
    for ours, theirs in zip(parts(state), parts(end), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(("model_class", "layer_class"), [(gates.ScratchLSTM, nn.LSTM), (gates.ScratchGRU, nn.GRU)])
def test_scratch_model_equals_the_language_model_on_torch(model_class, layer_class):
    theirs = layers.LanguageModel(layer_class(7, 5), 7).double()
    ours = model_class(7, 5, dtype=torch.float64)
    params = [*gates.from_torch(theirs.rnn), theirs.linear.weight.T, theirs.linear.bias]
    with torch.no_grad():
        for mine, copied in zip(ours.params, params, strict=True):
            mine.copy_(copied)
    ids = torch.randint(7, (3, 6))
    assert torch.allclose(ours(ids)[0], theirs(ids)[0], atol=1e-12)


@pytest.mark.parametrize("model_class", [gates.ScratchLSTM, gates.ScratchGRU])
def test_trains_and_writes_like_every_model_of_the_book(model_class):
    vocab = text.Vocab("abc")
    ids = vocab[list("abc" * 60)]
    batches = text.sequential_batches(ids, 4, 10)
    model = model_class(len(vocab), 16)
    history = training.fit(
        model,
        batches,
        epochs=40,
        valid_batches=text.sequential_batches(ids, 4, 10, offset=0),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
        report=lambda *_: None,
    )
    assert history[-1]["valid"] < 1.1
    assert scratch.generate(model, vocab, "ab", 6, temperature=0) == "abcabcab"


def test_state_of_another_form_is_named():
    lstm, gru = gates.ScratchLSTM(5, 3), gates.ScratchGRU(5, 3)
    ids = torch.zeros(2, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"the state is one tensor, not two: an LSTM needs \(H, C\)"):
        lstm(ids, gru.begin_state(2))
    with pytest.raises(ValueError, match="call begin_state"):
        gru(ids, lstm.begin_state(2))
    with pytest.raises(ValueError, match="call begin_state"):
        lstm(ids, lstm.begin_state(3))


def test_from_torch_wants_gates():
    with pytest.raises(ValueError, match=r"give an nn\.LSTM or nn\.GRU"):
        gates.from_torch(nn.RNN(3, 4))
    for layer in (nn.LSTM(3, 4, bias=False), nn.GRU(3, 4, bias=False), nn.LSTM(3, 4, proj_size=2)):
        with pytest.raises(ValueError, match="with biases, without proj_size"):
            gates.from_torch(layer)


# What one step does to the memory


def test_direct_path_is_the_forget_gate_and_the_full_jacobian_is_more():
    torch.manual_seed(0)
    params = gates.from_torch(nn.LSTM(3, 4, dtype=torch.float64))
    X, C, O_before = torch.randn(1, 3).double(), torch.randn(4).double(), torch.rand(1, 4).double()
    H = O_before * torch.tanh(C)
    _, F_t, _, _ = gates.lstm_gates(X, H, params)

    def direct(C):
        return gates.lstm_step(X, (H, C[None]), params)[1][1][0]

    def full(C):
        return gates.lstm_step(X, (O_before * torch.tanh(C), C[None]), params)[1][1][0]

    jacobian = torch.autograd.functional.jacobian
    assert torch.allclose(jacobian(direct, C), torch.diag(F_t[0]), atol=1e-12)
    assert (jacobian(full, C) - torch.diag(F_t[0])).abs().max() > 1e-3


def test_forget_gate_open_and_input_gate_shut_keeps_the_cell_exactly():
    params = gates.from_torch(nn.LSTM(3, 4, dtype=torch.float64))
    params[2], params[5] = torch.full((4,), -1000.0).double(), torch.full((4,), 1000.0).double()  # b_i, b_f
    state = torch.zeros(2, 4).double(), torch.randn(2, 4).double()
    _, (_, C) = gates.scan(gates.lstm_step, torch.randn(50, 2, 3).double(), state, params)
    assert torch.equal(C, state[1])


# Forget bias


def forget_biases(lstm):
    """Return the sum of both forget biases of every layer and direction."""
    forget = slice(lstm.hidden_size, 2 * lstm.hidden_size)
    names = [name for name, _ in lstm.named_parameters() if name.startswith("bias_ih")]
    return [
        (lstm.get_parameter(name) + lstm.get_parameter(name.replace("_ih_", "_hh_")))[forget].detach() for name in names
    ]


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
def test_forget_bias_is_set_once_in_every_layer_and_direction(layers, both):
    lstm = nn.LSTM(3, 4, num_layers=layers, bidirectional=both)
    before = {name: parameter.clone() for name, parameter in lstm.named_parameters()}
    assert gates.set_forget_bias(lstm, 1.0) is lstm
    found = forget_biases(lstm)
    assert len(found) == layers * (1 + both)
    for bias in found:
        assert torch.equal(bias, torch.ones(4)), "set in both biases, it would be 2"
    for name, parameter in lstm.named_parameters():
        others = [k for k in range(4) if k != 1 or name.startswith("weight")]
        for k in others:
            assert torch.equal(parameter.chunk(4)[k], before[name].chunk(4)[k]), "only the forget bias changes"


def test_forget_bias_of_something_else_is_refused():
    for layer in (nn.GRU(2, 3), nn.LSTM(2, 3, bias=False)):
        with pytest.raises(ValueError, match="has no forget bias"):
            gates.set_forget_bias(layer, 1.0)


@pytest.mark.parametrize(("bias", "steps"), [(0, 1.0), (1, 2.2), (2, 5.5), (3, 14.3)])
def test_half_life(bias, steps):
    assert round(gates.half_life(bias), 1) == steps
    assert torch.sigmoid(torch.tensor(float(bias), dtype=torch.float64)) ** gates.half_life(bias) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rnn", "remember the first symbol", 5, 0), "cell='rnn' is not known; choose one of 'RNN', 'GRU'"),
        (("RNN", "remember", 5, 0), "task='remember' is not known; choose one of 'remember the first symbol'"),
        (("RNN", "remember the first symbol", 5, 0, 0), "max_steps=0 must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_learned_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        memory_tasks.learn(*arguments)


def test_half_life_is_what_an_lstm_does():
    """Closed input gate, forget bias 3 and zero weights: after 14.3 steps half of the cell is left."""
    lstm = gates.set_forget_bias(nn.LSTM(1, 1, dtype=torch.float64), 3.0)
    params = [torch.zeros_like(p) if p.dim() == 2 else p for p in gates.from_torch(lstm)]
    params[2] = torch.full((1,), -1000.0).double()
    C, steps = torch.ones(1, 1).double(), 0
    while C > 0.5:
        _, (_, C) = gates.lstm_step(torch.zeros(1, 1).double(), (torch.zeros(1, 1).double(), C), params)
        steps += 1
    assert steps == math.ceil(gates.half_life(3.0)) == 15


# Tasks


def test_remember_first_can_be_answered_from_the_first_step_alone():
    inputs, targets = memory_tasks.remember_first(200, 6, torch.Generator().manual_seed(0))
    assert inputs.shape == (200, 7, 8) and targets.shape == (200,)
    assert torch.equal(inputs[:, 0].argmax(1), targets)
    assert (inputs[:, 1:].argmax(2) >= 4).all(), "the noise has symbols of its own"
    assert torch.equal(inputs.sum(2), torch.ones(200, 7))
    assert set(targets.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("length", [2, 3, 10])
def test_add_two_marks_one_number_in_each_half(length):
    inputs, targets = memory_tasks.add_two(300, length, torch.Generator().manual_seed(0))
    numbers, marks = inputs.unbind(2)
    assert torch.equal(marks[:, : length // 2].sum(1), torch.ones(300))
    assert torch.equal(marks[:, length // 2 :].sum(1), torch.ones(300))
    assert torch.allclose(targets[:, 0], (numbers * marks).sum(1))


def test_chance_is_what_the_best_constant_gets():
    generator = torch.Generator().manual_seed(0)
    for task in memory_tasks.TASKS.values():
        _, targets = task.draw(20_000, 10, generator)
        constant = torch.zeros(20_000, 4) if task.num_outputs == 4 else torch.ones(20_000, 1)
        assert task.share_right(constant, targets) == pytest.approx(task.chance, abs=0.01)


def test_cells_start_with_the_bias_that_they_are_named_for():
    for bias in (0, 1, 3):
        (found,) = forget_biases(memory_tasks.CELLS[f"LSTM, b = {bias}"](2, 3))
        assert torch.equal(found, torch.full((3,), float(bias)))


def test_a_short_delay_is_learned_and_the_run_repeats():
    first = memory_tasks.learn("LSTM, b = 1", "remember the first symbol", 5, seed=0, max_steps=300)
    again = memory_tasks.learn("LSTM, b = 1", "remember the first symbol", 5, seed=0, max_steps=300)
    assert first["right"] > 0.9
    assert (first["right"], first["steps"]) == (again["right"], again["steps"])
