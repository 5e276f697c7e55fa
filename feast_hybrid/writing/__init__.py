"""Writing to a lake so that readers see all of it or nothing: batches, logs, saved datasets, exports."""
