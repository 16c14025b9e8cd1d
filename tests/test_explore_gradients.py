"""What the explorers of chapter 3 measure, at values that are known."""

import numpy as np
import pytest
import torch

from rnnlib import drawings, explore, gradients, scratch, text


@pytest.fixture(scope="module")
def lab():
    return explore.JacobianLab()


@pytest.fixture(scope="module")
def compass():
    return explore.ClippingCompass(**explore.ClippingCompass.default_arguments())


@pytest.fixture(scope="module")
def window():
    return explore.TruncationWindow(**explore.TruncationWindow.default_arguments())


def test_linear_rotation_keeps_the_norm(lab):
    for scale in (0.5, 1.0, 2.0):
        data = lab.measure("orthogonal", scale, "linear")
        assert data["norms"] == pytest.approx(scale ** np.arange(1, 101), rel=1e-9)
        assert data["radius"] == pytest.approx(scale) and data["sigma_max"] == pytest.approx(scale)


def test_shift_explodes_with_eigenvalues_of_zero(lab):
    data = lab.measure("shift", 2.0, "linear")
    assert data["radius"] == 0 and data["sigma_max"] == pytest.approx(2)
    assert data["norms"][:63] == pytest.approx(2.0 ** np.arange(1, 64))
    assert not data["norms"][63:].any(), "64 units hand on for 63 steps"
    assert "exactly 0 from t = 64 on" in lab.describe(data)


def test_spectral_radius_decides_the_linear_limit_only(lab):
    assert lab.measure("Gaussian", 1.5, "linear")["norms"][-1] > 1e12
    assert lab.measure("Gaussian", 1.5, "tanh, inputs of size 1")["norms"][-1] < 1e-4
    rises = lab.measure("Gaussian", 0.9, "linear")["norms"]
    assert rises.max() > 1.2 > 1 > 1e-2 > rises[-1]


@pytest.mark.parametrize("matrix", explore.JacobianLab.matrices)
@pytest.mark.parametrize("units", explore.JacobianLab.units)
def test_no_norm_exceeds_the_bound(lab, matrix, units):
    data = lab.measure(matrix, 1.3, units)
    bound = data["sigma_max"] ** np.arange(1, 101)
    assert (data["norms"] <= bound * (1 + 1e-9)).all()
    assert data["slopes"].min() >= 0
    assert data["slopes"].max() <= 1


def test_larger_inputs_saturate(lab):
    kinds = ("tanh, no input", "tanh, inputs of size 0.1", "tanh, inputs of size 1", "tanh, inputs of size 3")
    slopes = [lab.measure("orthogonal", 0.9, units)["slope"] for units in kinds]
    assert slopes == sorted(slopes, reverse=True) and slopes[-1] < 0.5


def test_picture_shows_what_was_measured(lab):
    data = lab.measure("Gaussian", 0.9, "linear")
    curves = {line.get_label(): line.get_ydata() for line in lab.draw(data).axes[0].lines}
    assert curves["measured"] == pytest.approx(data["norms"])
    assert curves["$ρ^t$"] == pytest.approx(0.9 ** np.arange(1, 101))


def test_unknown_choices_are_named(lab, compass, window):
    with pytest.raises(ValueError, match="matrix='round' is not known: use one of 'Gaussian', 'orthogonal', 'shift'"):
        lab.figure(matrix="round")
    with pytest.raises(ValueError, match="method='no' is not known"):
        compass.figure(method="no")
    with pytest.raises(ValueError, match="step=99 is not one of the 30"):
        compass.figure(step=99)
    with pytest.raises(ValueError, match="theta=0 must be above 0"):
        compass.figure(theta=0)
    with pytest.raises(ValueError, match="num_steps=5 is not known: use one of 1, 2, 3, 4, 6, 12"):
        window.figure(num_steps=5)
    with pytest.raises(ValueError, match="recorded is empty"):
        explore.ClippingCompass([])


def test_compass_by_norm_keeps_the_direction(compass):
    for theta in (0.01, 1.0, 100.0):
        data = compass.measure(theta, "all together, by norm", 1)
        assert data["angles"].max() < 0.01
        assert data["after"] == pytest.approx(np.minimum(data["before"], theta))
        assert (data["clipped"] == (data["before"] > theta)).all()


@pytest.mark.parametrize("method", ["each tensor, by its norm", "each value"])
def test_compass_by_other_rules_turns(compass, method):
    data = compass.measure(0.05, method, 30)
    assert data["angles"].max() > 5 and data["clipped"].all()
    assert not compass.measure(1e6, method, 30)["clipped"].any()


def test_compass_agrees_with_clip_gradients(compass):
    recorded = explore.ClippingCompass.default_arguments()["recorded"]
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in recorded[-1]]
    for p, g in zip(params, recorded[-1], strict=True):
        p.grad = g.clone()
    before = gradients.clip_gradients(params, 2.0)
    data = compass.measure(2.0, "all together, by norm", 30)
    assert data["before"][-1] == pytest.approx(float(before), rel=1e-5)
    assert data["after"][-1] == pytest.approx(float(torch.cat([p.grad.flatten() for p in params]).norm()), rel=1e-5)


def test_compass_draws_norms_and_the_turned_arrow(compass):
    data = compass.measure(0.05, "each value", 30)
    arrow, by_step, _ = compass.draw(data).axes
    drawn = {line.get_label(): line.get_ydata() for line in by_step.lines}
    assert np.array_equal(drawn["before"], data["before"]) and np.array_equal(drawn["after"], data["after"])
    ((x, y),) = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in arrow.lines[-2:-1]]
    assert np.hypot(x, y) == pytest.approx(data["after"][-1])
    assert np.rad2deg(np.arctan2(y, x)) == pytest.approx(data["angles"][-1], abs=1e-3)
    assert "100% of the steps are clipped" in (by_step.get_title(), by_step.get_title("left"))


def test_window_draws_what_is_kept_and_what_it_costs(window):
    data = window.measure(3, True)
    chain, cosine, memory = window.draw(data).axes
    bars = {round(bar.get_x() + 0.35): bar for bar in chain.patches}
    assert [bars[t].get_height() for t in range(1, 13)] == pytest.approx(data["reach"].tolist())
    assert [t for t in range(1, 13) if not bars[t].get_hatch()] == [10, 11, 12]
    assert [line.get_xdata()[0] for line in chain.lines] == [3.5, 6.5, 9.5], "the cuts"
    assert list(cosine.lines[0].get_ydata()) == data["cosines"]
    assert list(memory.lines[0].get_ydata()) == [stored / 1000 for stored in data["stored"]]


def test_window_keeps_the_loss_and_changes_the_gradient(window):
    for num_steps in window.windows:
        data = window.measure(num_steps, True)
        assert data["loss"] == pytest.approx(data["full_loss"], abs=1e-12)
        assert data["kept"].sum() == num_steps
    assert window.measure(12, True)["cosine"] == pytest.approx(1)
    cosines = window.measure(1, True)["cosines"]
    assert cosines[0] < 0.999 and cosines[0] == min(cosines)


def test_window_without_a_cut_keeps_everything_at_a_price(window):
    data = window.measure(3, False)
    assert data["cosine"] == 1 and data["kept"].all()
    assert data["backward_steps"] == 3 + 6 + 9 + 12
    assert data["kilobytes"] == window.measure(12, True)["kilobytes"] > window.measure(3, True)["kilobytes"]
    assert window.measure(3, True)["backward_steps"] == 12


def test_reach_is_what_autograd_gives(window):
    """The gradient that reaches h_t is 0 for no step, and at the last it is that of the output layer alone."""
    arguments = explore.TruncationWindow.default_arguments()
    model, X, Y = arguments["model"], arguments["X"], arguments["Y"]
    with torch.no_grad():
        logits, _ = model(X)
        _, dO = gradients.cross_entropy(logits[-len(X) :], Y[:, -1])
        expected = dO @ model.params[3].T
    assert window.reach[-1] == pytest.approx(float(expected.norm()))
    assert (window.reach > 0).all()


# What the explorers stand on


def test_jacobian_products_against_autograd():
    torch.manual_seed(0)
    W, drive, h = torch.randn(5, 5).double(), torch.randn(7, 5).double(), torch.randn(5).double()
    for unit in (gradients.linear_unit, gradients.tanh_unit, gradients.relu_unit):

        def last(h, unit=unit):
            for x in drive:
                h, _ = unit(x + h @ W)
            return h

        products, slopes = gradients.jacobian_products(W, drive, h, unit)
        expected = torch.autograd.functional.jacobian(last, h).T
        assert products.shape == (7, 5, 5) and slopes.shape == (7, 5)
        assert torch.allclose(products[-1], expected, rtol=1e-12, atol=1e-12)


def test_matrices_are_what_their_names_say():
    generator = torch.Generator().manual_seed(3)
    W = gradients.gaussian_matrix(20, 0.7, generator)
    assert torch.linalg.eigvals(W).abs().max() == pytest.approx(0.7)
    Q = gradients.orthogonal_matrix(20, 1.5, generator)
    assert torch.allclose(Q @ Q.T, 1.5**2 * torch.eye(20).double())
    S = gradients.shift_matrix(4, 3.0)
    assert torch.equal(torch.tensor([1.0, 0, 0, 0]).double() @ S, torch.tensor([0, 3.0, 0, 0]).double())
    assert not torch.linalg.matrix_power(S, 4).any()


def test_truncated_gradient_against_the_whole():
    arguments = explore.TruncationWindow.default_arguments()
    model, X, Y = arguments["model"], arguments["X"], arguments["Y"]
    logits, _ = model(X)
    loss = torch.nn.functional.cross_entropy(logits, Y.T.reshape(-1))
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.params))])
    total, gradient = gradients.truncated_gradient(model, X, Y, 12)
    assert total == pytest.approx(float(loss.detach())) and torch.allclose(gradient, expected, atol=1e-14)
    longer, same = gradients.truncated_gradient(model, X, Y, 50)
    assert longer == total and torch.equal(same, gradient)
    with pytest.raises(ValueError, match="num_steps=0"):
        gradients.truncated_gradient(model, X, Y, 0)


def test_backward_bytes_grow_with_the_window():
    arguments = explore.TruncationWindow.default_arguments()
    model, X = arguments["model"], arguments["X"]
    few, many = (gradients.backward_bytes(lambda n=n: model(X[:, :n]), model.parameters()) for n in (3, 12))
    assert 3 < many / few < 5
    with torch.no_grad():
        assert gradients.backward_bytes(lambda: model(X)) == 0


def test_gradient_by_lag_of_a_known_network():
    """For a linear network with a rotation times 0.5 every step back halves the gradient."""
    W = gradients.orthogonal_matrix(6, 0.5)

    def run(drive):
        H = torch.zeros_like(drive[0])
        for a in drive:
            H = a + H @ W
        return H

    norms = gradients.gradient_by_lag(run, torch.randn(9, 2, 6, dtype=torch.float64))
    assert norms.tolist() == pytest.approx([0.5**lag for lag in range(9)])


def test_the_way_back_is_drawn_with_the_numbers_of_bptt():
    torch.manual_seed(0)
    params = scratch.rnn_params(3, 2, dtype=torch.float64, sigma=0.7)
    inputs, states = text.one_hot(torch.tensor([[0, 1, 0]]), 3, torch.float64), [torch.zeros(1, 2).double()]
    for X in inputs:
        states.append(scratch.rnn(X[None], states[-1], params)[1])
    targets = torch.tensor([1, 0, 2])
    _, dO = gradients.cross_entropy(torch.cat(states[1:]) @ params[3] + params[4], targets)
    dO = dO.reshape(3, 1, 3)
    D, dH = [], torch.zeros(1, 2).double()
    for t in (2, 1, 0):
        D.insert(0, (dO[t] @ params[3].T + dH) * (1 - states[t + 1] ** 2))
        dH = D[0] @ params[1].T
    figure = drawings.draw_way_back(torch.stack(states), dO, torch.stack(D), params)
    drawn = {words.get_text().partition("\n")[0]: words.get_text() for words in figure.axes[0].texts}
    _, grads, at_start = gradients.bptt(inputs, targets, states[0], params)
    written = drawn[r"$\partial L / \partial W_{hh}$"].replace("−", "-").replace("(", "").replace(")", "")
    rows = [[float(number) for number in row.split(", ")] for row in written.splitlines()[1:]]
    assert torch.tensor(rows).numpy() == pytest.approx(grads[1].numpy(), abs=0.0051)
    first = ", ".join(f"{round(number, 2) + 0.0:.2f}".replace("-", "−") for number in at_start[0].tolist())
    assert drawn[r"$\partial L / \partial H_0$"].endswith(f"({first})")


def test_a_circle_becomes_an_ellipse():
    panels = drawings.draw_stretches({"shift": [[0.0, 1.6], [0.0, 0.0]], "twice": [[2.0, 0.0], [0.0, 0.5]]}).axes
    shift, twice = ([np.linalg.norm(line.get_xydata(), axis=1).max() for line in axes.lines[:3]] for axes in panels)
    assert shift == pytest.approx([1, 1.6, 0]) and twice == pytest.approx([1, 2, 4])
