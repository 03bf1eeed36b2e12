from tests.jobs.conftest import spark

__all__ = ["spark"]
