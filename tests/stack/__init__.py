"""The system as a whole, with things that go wrong."""
