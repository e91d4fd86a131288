"""`hwsim point`: closed-loop serving points of a CSV file, one a row, with latency, throughput, energy and bound."""

from __future__ import annotations

from pathlib import Path

import click

from hwsim.errors import bad
from hwsim.files import check_target, counted, most_frequent


@click.command()
@click.argument("cases", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
def command(cases: Path, output: Path) -> None:
    """Run the serving points of CASES: all users at once, each completion replaced, ten requests a user.

    Columns: system, model, concurrency, isl, osl; software (ideal), precision (the chip's type of 16 bits), tp, pp, dp,
    ep (1), prefill_region, decode_region, routing, offload, offload_layers, kv_dtype, max_num_seqs, token_budget;
    others pass through. Added: ttft_ms, tpot_ms, itl_p99_ms, tok_s, tok_s_user, req_s, energy_j_token, power_w,
    node_j_token, wall_j_token, overload, bound, error.
    """
    from hwsim.analyse import point_file

    check_target(output)
    if output.exists() and cases.exists() and output.samefile(cases):
        raise bad("-o", f"{output}", "another file than the cases", "the answers would replace them")
    asked = point_file.read(cases)
    answers = dict(point_file.answer(asked))
    point_file.write(asked, answers, output)
    errors = [texts[-1] for texts in answers.values() if texts[-1]]
    failed = f", {len(errors)} of them cannot run (see the column error):" if errors else ""
    click.echo(f"{counted(len(answers), 'point')}{failed}{most_frequent(errors)}")
