"""Programs: write a template, bind amounts and rates to it, run the batch.

The engine that runs them is hwsim/_core/engine.pyx; rows.pxd describes the tables.
"""

from hwsim.operators.binding import LAW_DTYPE, RESOURCE_DTYPE, Bound, bind
from hwsim.operators.deadlock import explain_deadlock
from hwsim.operators.executor import Outcome, Single, run_many, run_one
from hwsim.operators.template import Cell, Counter, Law, Loop, Resource, Slot, Template, TemplateBuilder

__all__ = [
    "LAW_DTYPE",
    "RESOURCE_DTYPE",
    "Bound",
    "Cell",
    "Counter",
    "Law",
    "Loop",
    "Outcome",
    "Resource",
    "Single",
    "Slot",
    "Template",
    "TemplateBuilder",
    "bind",
    "explain_deadlock",
    "run_many",
    "run_one",
]
