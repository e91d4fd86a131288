"""Attention asked as one table of whole steps: the core sums a step up and prices it as the reference does."""

import numpy as np
import pytest
from serve_cases import Case, random_case

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim._core.step_tables import FORM_ROW, MOST_PARTS
from hwsim._core.steps import Steps
from hwsim.errors import HwsimError
from hwsim.reference import serve as reference
from hwsim.reference.steps import nearest


class MadeUp:
    """A table of steps whose samples are drawn from their cell's number instead of simulated."""

    def __init__(self, case: Case, one_kernel: bool) -> None:
        rng = np.random.default_rng(case.seed)
        longest = int((case.requests.prompt_tokens + case.requests.output_tokens).max(initial=1))
        form = np.zeros(1, FORM_ROW)
        for name in FORM_ROW.names or ():
            form[name] = rng.integers(1, 60)
        form["one_kernel"], form["heads_first"] = one_kernel, rng.integers(2)
        axes = (
            np.arange(1, 5),
            np.array([0, 1, 8, 32, 128]),
            np.append(0, 2 ** np.arange(4, 12)),
            np.append(0, 2 ** np.arange(7)),
            2 ** np.arange(2, 3 + longest.bit_length()),
            2 ** np.arange(4, 12),
            2 ** np.arange(4, 12),
        )
        self.table = Steps(axes, form, rng.integers(1, 4, (case.rules.max_tokens + 1, MOST_PARTS + 1)))

    def fill(self, cells: np.ndarray) -> None:
        new = np.array([cell for cell in np.unique(cells).tolist() if self.table.offset(cell) is None], np.int64)
        self.table.put(new, new % 997 - 300)


def costs(case: Case, one_kernel: bool) -> types.Costs:
    rules = case.rules
    return types.Costs(
        np.arange(rules.max_tokens + 1), np.arange(rules.max_num_seqs + 1), None, None, 3,
        step=MadeUp(case, one_kernel), decode_order=np.zeros(rules.stages, np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("one_kernel", [True, False])
def test_core_and_reference_agree_on_steps_priced_as_a_whole(one_kernel):
    asked = 0
    for seed in range(5000, 5005):
        case = random_case(seed)
        priced = costs(case, one_kernel)
        run = ServeRun(case.requests, case.rules, priced)
        steps, chunks = np.zeros(10_000, types.STEP_DTYPE), np.zeros(10_000, types.CHUNK_DTYPE)
        count = chunk_count = 0
        while (status := run.run(steps[count:], chunks[chunk_count:])) == types.MISSING:
            count, chunk_count = count + run.n_steps, chunk_count + run.n_chunks
            missing = run.missing()
            assert np.all(missing[:, 0] == types.STEP)
            asked += len(missing)
            assert priced.step is not None
            priced.step.fill(missing[:, 1])
        assert status == types.DONE
        expected = reference.replay(case.requests, case.rules, costs(case, one_kernel))
        assert np.array_equal(steps[: count + run.n_steps], expected.steps), seed
    assert asked > 20


def test_sums_of_a_step_are_those_the_table_of_steps_is_asked_by():
    sums = reference.sums_of([(10, 0), (4, 100)], [20, 7], 8)
    assert sums == (14, 116, 400, 104, 10, 2, 4, 3, 27, 449)


def made_up() -> Steps:
    axes = [np.arange(1, 3)] * 7
    return Steps(axes, np.ones(1, FORM_ROW), np.ones((1, MOST_PARTS + 1), np.int64), bits=8)


def test_every_sample_put_is_found_and_no_other():
    table, cells = made_up(), np.random.default_rng(1).permutation(5000)[:200]
    table.put(cells[:120], 2 * cells[:120])
    table.put(cells[120:], 2 * cells[120:])
    assert [table.offset(cell) for cell in range(5000)] == [2 * c if c in cells else None for c in range(5000)]


def test_a_full_table_is_refused():
    with pytest.raises(HwsimError, match="steps of more than 224 kinds"):
        made_up().put(np.arange(225), np.arange(225))


def test_the_nearest_grid_point_is_so_by_ratio():
    grid = np.array([1, 2, 4, 8])
    assert [nearest(grid, num, 10) for num in (0, 1, 14, 15, 28, 29, 100)] == [0, 0, 0, 1, 1, 2, 3]
