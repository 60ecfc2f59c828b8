"""Where new tokens are delivered. One module a secrets manager, each behind `contract`."""
