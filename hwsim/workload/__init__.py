"""Request traffic: files of public traces and recipes of synthetic ones, as one table of integers."""

from hwsim.workload.load import load, read
from hwsim.workload.table import RequestTable

__all__ = ["RequestTable", "load", "read"]
