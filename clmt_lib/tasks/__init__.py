"""What is asked of a model, and how the answer is scored."""

from clmt_lib.tasks.bootstrap import DRAWS, Bootstrap, draws_used, interval, pool, with_interval

__all__ = ["DRAWS", "Bootstrap", "draws_used", "interval", "pool", "with_interval"]
