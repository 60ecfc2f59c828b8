"""The composition root: settings, the parts put together, and the process that runs them."""
