"""Attention asked as one table of whole steps: the core sums a step up and prices it as the reference does."""

import numpy as np
import pytest
from serve_cases import Case, random_case

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.operators.mapper.gpu.step_form import StepForm
from hwsim.operators.mapper.gpu.step_grid import StepGrid
from hwsim.operators.mapper.gpu.step_surface import CAPACITY, NONE, StepSurface, slot_of
from hwsim.reference import serve as reference


class MadeUp(StepSurface):
    """A surface whose samples are drawn from their cell's number instead of simulated."""

    def __init__(self, case: Case, one_kernel: bool) -> None:
        rng = np.random.default_rng(case.seed)
        longest = int((case.requests.prompt_tokens + case.requests.output_tokens).max(initial=1))
        some = {name: int(rng.integers(1, 60)) for name in StepForm.__dataclass_fields__}
        flags = {"one_kernel": one_kernel, "heads_first": bool(rng.integers(2))}
        self.form = StepForm(**(some | flags | {"parts": rng.integers(1, 4, 129 * (case.rules.max_tokens + 1))}))
        axes = (
            np.arange(1, 5),
            np.array([0, 1, 8, 32, 128]),
            np.append(0, 2 ** np.arange(4, 12)),
            np.append(0, 2 ** np.arange(7)),
            2 ** np.arange(2, 3 + longest.bit_length()),
            2 ** np.arange(4, 12),
            2 ** np.arange(4, 12),
        )
        self.grid = StepGrid(axes, self.form)
        self.keys, self.offsets = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.int64)

    def fill(self, cells: np.ndarray) -> None:
        for cell in np.unique(cells[self.find(cells) == NONE]).tolist():
            place = slot_of(cell)
            while self.keys[place]:
                place = (place + 1) % CAPACITY
            self.keys[place], self.offsets[place] = cell + 1, cell % 997 - 300


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
