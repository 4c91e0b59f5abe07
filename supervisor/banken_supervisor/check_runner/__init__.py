"""The process that runs the checks: it asks the supervisor which there are, and tells it what came of each run."""
