"""Telling people: channels, outbox, delivery."""
