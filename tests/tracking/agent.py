"""W&B's own sweep agent on a sweep file, its server's answers replaced: ``python -m tests.tracking.agent FILE RUNS``.

``RUNS`` is JSON: a list of [run id, parameters], which the server would have chosen, one after another.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import wandb
import yaml
from wandb.apis.public import sweeps
from wandb.wandb_agent import Agent


def main() -> None:
    """Runs the agent until the server says to exit."""
    text, runs = Path(sys.argv[1]).read_text(), json.loads(sys.argv[2])
    waiting = list(runs)

    def heartbeat(api: Any, agent_id: str, metrics: dict[str, Any], states: dict[str, bool]) -> list[dict[str, Any]]:
        if states:
            return []
        if not waiting:
            return [{"type": "exit"}]
        run_id, parameters = waiting.pop(0)
        args = {name: {"value": value} for name, value in parameters.items()}
        return [{"type": "run", "run_id": run_id, "program": yaml.safe_load(text)["program"], "args": args}]

    sweeps._sweep_with_runs = lambda *_, **__: {"config": text}
    sweeps._register_agent = lambda *_, **__: {"id": "agent1"}
    sweeps._agent_heartbeat = heartbeat
    wandb.Api = lambda *_, **__: None
    Agent.POLL_INTERVAL = 0.1
    os.environ["WANDB_SWEEP_ID"] = "sweep1"
    Agent(None, multiprocessing.Queue(), sweep_id="sweep1", count=len(runs)).run()


if __name__ == "__main__":
    main()
