"""What takes minutes: run by `make soak`, never by `make test`."""
