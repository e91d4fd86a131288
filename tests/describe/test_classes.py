"""Accelerators are described by class: the word `class` decides about the fields, also inside other descriptions."""

from pathlib import Path

import pytest

from hwsim.describe import gpu, load, systolic
from hwsim.describe.classes import CLASSES
from hwsim.describe.kinds import class_of
from hwsim.describe.schema import json_schema
from hwsim.errors import InputError

KINDS = ("accelerator", "generation")


@pytest.mark.parametrize("class_", CLASSES)
def test_every_class_has_its_own_blocks(class_: str) -> None:
    for kind in KINDS:
        assert class_ in class_of(kind).subclasses()


def test_the_class_of_a_chip_reaches_the_objects_that_hold_it() -> None:
    assert isinstance(load("h100-sxm-x8").accelerator, gpu.Accelerator)
    tpu = load("tpu-v6e-x8").accelerator
    assert isinstance(tpu, systolic.Accelerator)
    assert (tpu.units.tensor.arrays, tpu.units.tensor.rows) == (4, 256)
    assert isinstance(load("jax").kernels["tpu-v6"], systolic.Kernels)
    assert isinstance(load("ideal").kernels["hopper"], gpu.Kernels)


@pytest.mark.parametrize("chip", ["tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7"])
def test_the_arrays_of_a_chip_make_its_published_peak(chip: str) -> None:
    published = {"tpu-v5e": 197e12, "tpu-v5p": 459e12, "tpu-v6e": 918e12, "tpu-v7": 2307e12}
    accelerator = load(chip)
    tensor = accelerator.units.tensor
    assert tensor.per_cycle["bf16"] == 2 * tensor.arrays * tensor.rows * tensor.cols
    peak = float(tensor.count * tensor.per_cycle["bf16"] * accelerator.clocks.core)
    assert peak == pytest.approx(published[chip], rel=0.003)


WRONG = {
    "extends: tpu-v6e\ntiers: {l2: {capacity: 50 MiB, source: a, status: assumed}}\n": "unknown field 'l2'",
    "extends: h100-sxm\nunits: {tensor: {rows: 128}}\n": "unknown field 'rows'",
    "extends: tpu-v6e\nunits: {tensor: {rows: 128 B}}\n": "units.tensor.rows: got '128 B', expected a whole number",
    "extends: tpu-v6e\nunits: {tensor: {arrays: 8}}\n": "got 524288 FLOP, expected 2 x arrays x rows x cols = 1048576",
    "extends: groq-lpu\nunits: {tensor: {planes: 8}}\n": "got 819200 FLOP, expected 2 x planes x rows x cols = 1638400",
    "extends: groq-lpu\nunits: {tensor: {planes: 2}}\n": "units.tensor.per_cycle.int8: got 819200 FLOP",
    "extends: tpu-v6e\nclass: sistolic\n": "class: got 'sistolic', expected one of gpu, systolic, ",
    "extends: tpu-v6e\ngeneration: hopper\n": "generation: got 'hopper', expected a generation of class systolic",
    "extends: tpu-v6e\nclass: null\n": "class: got nothing, expected one of gpu, systolic",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_field_of_another_class_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load(file, "accelerator")
    assert WRONG[text] in str(caught.value), str(caught.value)


def test_the_schema_of_accelerators_has_the_fields_of_every_class() -> None:
    text = str(json_schema("accelerator"))
    assert "'l2'" in text
    assert "'arrays'" in text
