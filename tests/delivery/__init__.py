"""New tokens on their way: by fakes that fail, die and lie, and by every order of events."""
