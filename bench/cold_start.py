"""Cold start: from `spark-submit` to the first prediction readable on Kafka."""

from typing import Final

from bench.replay import new_job
from bench.stage import Stage
from bench.timeline import Timeline

TIMEOUT_S: Final = 300.0


def cold_start_s(stage: Stage, name: str, topic: str, network: str) -> float:
    """Seconds; the bars lie on the topic before."""
    with new_job(stage, name, topic, network, (0, 1)) as job:  # noqa: SIM117 - the job first
        with Timeline(stage.broker, job.predictions_topic, list) as timeline:
            timeline.wait_for(1, TIMEOUT_S, job.program.check)
            return timeline.reached(1).at_s - job.started_s
