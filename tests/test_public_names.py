"""Every public function says what it was given and what it expects when the type is wrong."""

import numpy as np
import pytest

import hwsim
from hwsim.cli import KEPT, main
from hwsim.errors import InputError

WRONG = {
    "a number as a name": (lambda: hwsim.load(3), "name: got 3 of type int, expected the name of a description"),
    "nothing as a name": (lambda: hwsim.load(None), "got None of type NoneType"),
    "a text of overrides": (lambda: hwsim.load("h100-sxm", sets="clocks.core=1 GHz"), "expected a list of overrides"),
    "a number as an override": (lambda: hwsim.load("h100-sxm", sets=[3]), "expected an override such as"),
    "no system": (
        lambda: hwsim.compile(None, "llama-3.1-8b"),
        "system: got None of type NoneType",
    ),
    "a list of models": (
        lambda: hwsim.compile("h100-sxm", ["llama-3.1-8b"]),
        "model: got ['llama-3.1-8b'] of",
    ),
    "a number as a plan": (lambda: hwsim.compile("h100-sxm", "llama-3.1-8b", 8), "expected a plan such as 'tp=8'"),
    "a chip as a model": (lambda: hwsim.compile("h100-sxm", hwsim.load("h100-sxm")), "of type Accelerator"),
    "half a budget": (lambda: hwsim.compile("h100-sxm", "llama-3.1-8b", token_budget=0.5), "token_budget: got 0.5"),
    "no deployment": (lambda: hwsim.replay(None, "azure-code"), "deployment: got None of type NoneType"),
    "figures of nothing": (
        lambda: hwsim.measure(None),
        "got None of type NoneType, expected what hwsim.replay",
    ),
    "a summary of a list": (lambda: hwsim.summary([]), "run: got [] of type list"),
    "a picture of a text": (lambda: hwsim.plot("run", "a.png"), "run: got 'run' of type str"),
    "a number as a trace": (lambda: hwsim.open_trace(3), "path: got 3 of type int"),
    "a number as a memory": (lambda: hwsim.memory.run(3, [], [], []), "memory: got 3 of type int"),
    "an address that is none": (lambda: hwsim.memory.run("hbm3-6400", [np.nan], [0], [0]), "an array of float64"),
    "a negative address": (lambda: hwsim.memory.run("hbm3-6400", [-64], [0], [0]), "request 0: got address -0x40"),
    "a negative tick": (lambda: hwsim.memory.run("hbm3-6400", [0], [0], [-1]), "earliest tick -1 after 0"),
    "columns of two lengths": (
        lambda: hwsim.memory.run("hbm3-6400", [0, 64], [0], [0]),
        "is_write: got an array",
    ),
    "a text of addresses": (lambda: hwsim.memory.run("hbm3-6400", "64", [0], [0]), "expected one dimension"),
    "half a queue": (lambda: hwsim.memory.run("hbm3-6400", [0], [0], [0], queues=1.5), "queues: got 1.5 of type float"),
    "a text as a count": (lambda: hwsim.memory.stream("hbm3-6400", "9"), "count: got '9' of type str"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_the_wrong_type_is_named(name: str) -> None:
    call, text = WRONG[name]
    with pytest.raises(InputError) as caught:
        call()
    assert text in str(caught.value)


def test_requests_in_a_list_are_refused() -> None:
    deployment = hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1")
    with pytest.raises(InputError, match=r"requests: got .* of type list, expected a request file, a recipe"):
        hwsim.replay(deployment, [(0, 10, 10)])


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    assert hwsim.memory.run("hbm3-6400", [0], [0], [0], queues=np.int64(16)).depart[0] > 0


def stopped(monkeypatch, tmp_path, where: str, *words: str) -> int:
    """Exit code of the command line when Ctrl-C comes inside `where`."""

    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, ctrl_c)
    monkeypatch.setattr("sys.argv", ["hwsim", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_ctrl_c_in_op_leaves_nothing_and_says_one_line(monkeypatch, tmp_path, capsys) -> None:
    (tmp_path / "in.csv").write_text("accelerator,op,m,n,k\nh100-sxm,gemm,64,64,64\n")
    words = ("op", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv"))
    assert stopped(monkeypatch, tmp_path, "hwsim.operators.cases.simulate_kept", *words) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == "hwsim: stopped: no result was written"
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_ctrl_c_in_a_replay_leaves_a_readable_part(monkeypatch, tmp_path, capsys) -> None:
    words = ("replay", "h100-sxm", "llama-3.1-8b", "azure-code", "--requests", "3", "-o", str(tmp_path / "out.h5"))
    assert stopped(monkeypatch, tmp_path, "hwsim.serving.replay.run", *words) == 130
    assert capsys.readouterr().err.strip() == "hwsim: stopped: no result was written" + KEPT["replay"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5.part"]
    assert not hwsim.open_trace(tmp_path / "out.h5.part").complete


@pytest.mark.parametrize(
    ("option", "text"),
    [({"output": 3}, "output: got 3 of type int"), ({"watch": 3}, "watch: got 3, expected a function")],
)
def test_where_a_replay_writes_and_whom_it_tells_are_checked_first(option: dict[str, int], text: str) -> None:
    deployment = hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1")
    with pytest.raises(InputError) as caught:
        hwsim.replay(deployment, "azure-code", **option)
    assert text in str(caught.value)
