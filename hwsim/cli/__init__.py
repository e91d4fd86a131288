"""The command line: one file per verb, each imported only when asked for (`hwsim --help` stays quick)."""

from __future__ import annotations

import importlib
import os
import sys

import click

from hwsim import __version__
from hwsim.errors import HwsimError

# verb -> (module of hwsim.cli, one line of help); the module's attribute `command` is the click command.
VERBS: dict[str, tuple[str, str]] = {
    "list": ("list", "Names of descriptions"),
    "show": ("show", "Print a description, its numbers and their sources"),
    "check": ("check", "Find every fault of description files"),
    "roofline": ("roofline", "Rooflines of systems with a model's operators on them"),
    "schema": ("schema", "JSON schema of a kind of descriptions, for editors"),
    "replay": ("replay", "Replay a request trace on a system, a model and a plan"),
    "rerun": ("rerun", "Repeat a recorded run and compare every number"),
    "fetch": ("fetch", "Download a public request trace"),
    "op": ("op", "Time, bound and energy of the operators of a CSV file"),
    "point": ("point", "Latency, throughput and energy of the serving points of a CSV file"),
    "validate": ("validate", "Compare simulated with measured times"),
    "sweep": ("sweep", "Run all points of a study, on a laptop or a cluster"),
    "search": ("search", "Look for the best points of a study"),
    "merge": ("merge", "Join the shards of a study into its result"),
    "status": ("status", "How far a running study is"),
    "memory": ("memory", "Requests through one channel of a memory, command by command"),
    "cache": ("cache", "Show or clear the kept results of simulations"),
}


# What is kept of a run that Ctrl-C ended, by verb.
KEPT = {
    "replay": "; a trace that was begun stays as its .part file, whole up to the attribute rows_committed",
    "sweep": "; answered points are kept, --resume goes on with the others",
    "search": "; answered points are kept, --resume goes on with the others",
}
STOPPED = 130  # exit code of a program that Ctrl-C ended


class Verbs(click.Group):
    """A group that knows its verbs by name and loads the module of the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        return importlib.import_module(f"hwsim.cli.{VERBS[name][0]}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hwsim")
def cli() -> None:
    """Cycle-level simulation of LLM inference on described AI accelerators."""


def main() -> None:
    """Run the command line; errors become one message and an exit code (1 failed, 2 bad input, 130 stopped)."""
    try:
        code = cli.main(prog_name="hwsim", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        kept = next((KEPT[word] for word in sys.argv[1:2] if word in KEPT), "")
        print(f"hwsim: stopped: no result was written{kept}", file=sys.stderr)
        sys.exit(STOPPED)
    except HwsimError as error:
        print(f"hwsim: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of the output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"hwsim: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError:
        print("hwsim: out of memory: ask for less at once", file=sys.stderr)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
