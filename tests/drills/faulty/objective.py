"""JVAE with a fault."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.objectives.common.elbo import joint_terms

from .spec import FaultySpec

REPAIRED = "MMVAE_BENCH_TEST_REPAIRED"
"""Set to anything: there is no fault any more."""


class Faulty(Objective):
    """The joint ELBO, until the step of the fault."""

    spec: FaultySpec

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO, or the fault."""
        terms = joint_terms(self, batch, lambda_=50.0)
        if self.training and self.step_done + 1 == self.spec.at and REPAIRED not in os.environ:
            self._fail(terms)
        return terms

    def _fail(self, terms: Terms) -> None:
        if self.spec.fault == "raise":
            raise ZeroDivisionError(f"the fault of step {self.spec.at}")
        if self.spec.fault == "nan":
            terms.parts["joint/kl"] = terms.parts["joint/kl"] * math.nan
            terms.loss = terms.loss + terms.parts["joint/kl"].mean()
            return
        # A real shortage: the process may have little more address space than it has now, and asks for much more.
        num_pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = num_pages * resource.getpagesize() + 2**26
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        if self.spec.fault == "memory":
            bytearray(2**31)
        torch.empty(2**31)
