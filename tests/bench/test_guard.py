"""A guard against a slower job that no machine's pace can hide: what Spark does in a micro-batch.

Each Spark job, stage and task costs some tens of milliseconds, whatever the bars: they are most of
what a live minute takes. Seconds are measured by `make bench`, in the same run as those of others.
"""

from typing import Final

from bench.series import random_walk
from tests.streams import RunningStream

SYMBOLS: Final = 10
MINUTES: Final = 100
# One job reads, keeps the windows and predicts for Kafka; one counts the rows that it left, and one
# writes all Parquet tables.
JOBS: Final = 3


def test_a_micro_batch_is_three_jobs_whose_stages_have_a_task_a_shard_at_most(
    stream: RunningStream,
) -> None:
    stream.publish(bar for minute in random_walk(SYMBOLS, MINUTES) for bar in minute)
    (query,) = stream.queries
    (batch,) = [progress for progress in query.recentProgress if progress.numInputRows]
    tracker = stream.spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(str(query.runId))]
    stages = [tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds]
    tasks = [stage.numTasks for stage in stages if stage]

    assert batch.numInputRows == SYMBOLS * MINUTES
    assert len(jobs) == JOBS
    assert len(tasks) <= 2 * JOBS
    assert max(tasks) <= stream.settings.window.shards
