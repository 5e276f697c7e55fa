"""From a request of Feast to the job that answers it."""
