"""What is best? Joint search over chip, model and deployment."""

from codesign.optimize.ladder import ladder as ladder
from codesign.optimize.ladder import optimize as optimize
from codesign.optimize.result import Result as Result
