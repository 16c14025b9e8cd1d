"""Chapter 11: a maze, REINFORCE against hand calculations, and what a policy without memory can't do."""

import itertools

import torch

from rnnlib import mazes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def walk(maze, *actions):
    """Let all take the same actions; return what was seen before each, and the rewards."""
    seen, rewards = [], []
    for action in actions:
        seen.append(maze.observe().argmax(1).tolist())
        rewards.append([round(reward, 2) for reward in maze.act(torch.full((len(maze.sign),), action)).tolist()])
    return seen, rewards


def test_a_walk_by_hand():
    maze = mazes.TMaze(2, 2, generator())
    maze.sign = torch.tensor([1, 2])
    seen, rewards = walk(maze, 0, 1, 0, 0, 1, 0)
    assert seen == [[0, 1], [2, 2], [2, 2], [3, 3], [3, 3], [3, 3]]
    assert rewards == [[0, 0], [-0.05, -0.05], [0, 0], [-0.05, -0.05], [1, -1], [0, 0]]
    assert maze.done.all()


def test_the_junction_looks_alike_for_both_signs():
    maze = mazes.TMaze(200, 5, generator())
    assert 60 < (maze.sign == 1).sum() < 140
    for _ in range(5):
        maze.act(torch.zeros(200, dtype=torch.int64))
    assert len(maze.observe().unique(dim=0)) == 1


def test_returns_by_hand():
    rewards = torch.tensor([[0.0, 1.0], [2.0, 0.0], [4.0, 8.0]])
    assert mazes.discounted_returns(rewards, 0.5).tolist() == [[2.0, 3.0], [4.0, 4.0], [4.0, 8.0]]


def test_the_policy_gradient_is_that_of_the_expected_reward():
    """One step, three actions: E[R] can be written down, and its gradient is known."""
    scores = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    worth = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    (expected,) = torch.autograd.grad((scores.softmax(0) * worth).sum(), scores)
    actions = torch.multinomial(scores.detach().softmax(0), 200_000, replacement=True, generator=generator())
    log_p = scores.log_softmax(0)[actions][None]  # (T, N) = (1, 200000)
    nothing, alive = torch.zeros_like(log_p), torch.ones_like(log_p, dtype=torch.bool)
    loss = mazes.policy_loss(log_p, nothing, nothing, worth[actions][None], alive)
    (got,) = torch.autograd.grad(loss, scores)
    assert (got + expected).abs().max() < 5e-3, "the loss falls where the reward grows"


def test_steps_after_the_turn_do_not_count():
    log_p = torch.tensor([[-1.0, -1.0], [-2.0, -2.0]], requires_grad=True)
    nothing = torch.zeros(2, 2)
    alive = torch.tensor([[True, True], [True, False]])
    mazes.policy_loss(log_p, nothing, nothing, torch.ones(2, 2), alive).backward()
    assert log_p.grad[1, 1] == 0 and log_p.grad[1, 0] != 0


def test_the_forecast_learns_the_return_and_does_not_move_the_actor():
    value = torch.zeros(1, 4, requires_grad=True)
    log_p = torch.full((1, 4), -1.0)
    loss = mazes.policy_loss(log_p, torch.zeros(1, 4), value, torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool))
    loss.backward()
    assert torch.allclose(value.grad, torch.full((1, 4), -0.25)), "half of the slope of (value - 1)², a mean of four"


def test_an_episode_has_one_row_a_step():
    torch.manual_seed(0)
    maze = mazes.TMaze(16, 3, generator())
    log_p, entropy, value, rewards, alive = mazes.play(mazes.Policy(8), maze, 40, generator())
    assert log_p.shape == entropy.shape == value.shape == rewards.shape == alive.shape
    assert alive[0].all() and (rewards[~alive] == 0).all()
    assert ((rewards.abs() == 1).sum(0) <= 1).all(), "each turns once at most"


def share_right(make, num_minibatches, seed=0, length=4):
    torch.manual_seed(seed)
    steps = mazes.maze_steps(make(), lambda length, right: length, length, seed)
    rights = [right for _, right in itertools.islice(steps, num_minibatches)]
    return sum(rights[-20:]) / 20


def test_with_memory_the_maze_is_solved_and_without_it_half_of_the_time():
    assert share_right(mazes.Policy, 200) > 0.9
    assert abs(share_right(mazes.Forgetful, 200) - 0.5) < 0.1


def test_a_forgetful_policy_acts_alike_after_either_sign():
    torch.manual_seed(0)
    policy, junction = mazes.Forgetful(), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    states = torch.randn(2, 1, 32)
    scores = [policy(junction, state)[0] for state in states]
    assert torch.equal(*scores)
